/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: the functions that need no handle: version, status texts, sizes of types. */
#include "moco/base.h"

int moco_version(void)
{
    return MOCO_VERSION;
}

const char *moco_status_text(moco_status status)
{
    switch (status) { /* without a default: the compiler names a code that has no text */
    case MOCO_OK:
        return "success";
    case MOCO_ENOMEM:
        return "out of memory";
    case MOCO_EINVAL:
        return "invalid argument";
    case MOCO_ESHAPE:
        return "tensor shape or type mismatch";
    case MOCO_EIO:
        return "input or output failed";
    case MOCO_EFORMAT:
        return "file is malformed";
    case MOCO_ENODEV:
        return "no such device";
    case MOCO_EDEVICE:
        return "device failed";
    case MOCO_ECOMM:
        return "communication between ranks failed";
    case MOCO_ENOTSUP:
        return "not supported here";
    case MOCO_ESTATE:
        return "call out of order";
    case MOCO_EEND:
        return "end of epoch";
    case MOCO_ECANCELED:
        return "cancelled by the caller";
    case MOCO_ENUMERIC:
        return "a number is not finite";
    case MOCO_EBADDATA:
        return "too many unreadable images";
    case MOCO_ENOTFOUND:
        return "no such name";
    case MOCO_STATUS_MAX_:
        break;
    }
    return "unknown status";
}

size_t moco_dtype_size(moco_dtype dtype)
{
    switch (dtype) {
    case MOCO_U8:
        return 1;
    case MOCO_BF16:
        return 2;
    case MOCO_F32:
        return 4;
    case MOCO_I64:
    case MOCO_F64:
        return 8;
    default:
        return 0;
    }
}
