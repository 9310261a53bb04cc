/* SPDX-License-Identifier: MIT
 *
 * moco/status.h: what a call can return. moco/base.h includes it; a program need not include it by itself. */
#ifndef MOCO_STATUS_H
#define MOCO_STATUS_H

/* The values never change and are never reused. moco_status_text gives the fixed text of a code, moco_error the
 * sentence of the last failure. */
typedef enum moco_status {
    MOCO_OK = 0,
    MOCO_ENOMEM = -1,     /* out of memory */
    MOCO_EINVAL = -2,     /* an argument or an option is wrong */
    MOCO_ESHAPE = -3,     /* a tensor has another shape or type than is wanted */
    MOCO_EIO = -4,        /* the system could not read or write; the file itself may be good */
    MOCO_EFORMAT = -5,    /* a file is malformed, or of another kind */
    MOCO_ENODEV = -6,     /* there is no such device in this build or machine */
    MOCO_EDEVICE = -7,    /* the device is lost */
    MOCO_ECOMM = -8,      /* communication between ranks failed */
    MOCO_ENOTSUP = -9,    /* this device, CPU or build cannot do it */
    MOCO_ESTATE = -10,    /* not now: another call must come first, or another thread is using this handle */
    MOCO_EEND = -11,      /* the epoch is over; not a failure */
    MOCO_ECANCELED = -12, /* the caller cancelled it */
    MOCO_ENUMERIC = -13,  /* a number is not finite */
    MOCO_EBADDATA = -14,  /* too many pictures cannot be read */
    MOCO_ENOTFOUND = -15, /* there is no such name */
    MOCO_STATUS_MAX_ = 0x7fffffff
} moco_status;

#endif
