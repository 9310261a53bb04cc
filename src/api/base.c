/* SPDX-License-Identifier: MIT
 *
 * moco/base.h: what needs no handle: the version, status texts, sizes of types. */
#include "moco/base.h"

int moco_version(void)
{
    return MOCO_VERSION;
}

const char *moco_status_text(moco_status status)
{
    switch (status) {
#define CASE(name, value, text)                                                                                        \
    case MOCO_##name:                                                                                                  \
        return text;
        MOCO_STATUS_MAP(CASE)
#undef CASE
    default:
        return "unknown status";
    }
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
