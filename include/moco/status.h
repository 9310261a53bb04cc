/* SPDX-License-Identifier: MIT
 *
 * moco/status.h: what a call can answer. One list is the source of every code, its number and its text.
 * Included by moco/base.h; a program has no reason to include it by itself. */
#ifndef MOCO_STATUS_H
#define MOCO_STATUS_H

/* X(name, value, text). Values never change and are never reused. */
#define MOCO_STATUS_MAP(X)                                   \
    X(OK, 0, "success")                                      \
    X(ENOMEM, -1, "out of memory")                           \
    X(EINVAL, -2, "invalid argument")                        \
    X(ESHAPE, -3, "tensor shape or type mismatch")           \
    X(EIO, -4, "input or output failed")                     \
    X(EFORMAT, -5, "file is malformed")                      \
    X(ENODEV, -6, "no such device")                          \
    X(EDEVICE, -7, "device failed")                          \
    X(ECOMM, -8, "communication between ranks failed")       \
    X(ENOTSUP, -9, "not supported here")                     \
    X(ESTATE, -10, "call out of order")                      \
    X(EEND, -11, "end of epoch")                             \
    X(ECANCELED, -12, "cancelled by the caller")             \
    X(ENUMERIC, -13, "a number is not finite")               \
    X(EBADDATA, -14, "too many unreadable images")           \
    X(ENOTFOUND, -15, "no such name")

typedef enum moco_status {
#define MOCO_STATUS_ENUM_(name, value, text) MOCO_##name = value,
    MOCO_STATUS_MAP(MOCO_STATUS_ENUM_)
#undef MOCO_STATUS_ENUM_
        MOCO_STATUS_MAX_ = 0x7fffffff
} moco_status;

#endif
