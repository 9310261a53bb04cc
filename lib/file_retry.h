/* SPDX-License-Identifier: MIT
 *
 * file_retry: what both halves of file.h share: when to repeat a system call, and the sentence about its failure. */
#ifndef MOCO_LIB_FILE_RETRY_H
#define MOCO_LIB_FILE_RETRY_H

#include "err.h"

#define FILE_REASON 128

/* 1: errno is EINTR, and not for the 1000th time in a row. Keeps errno. */
int file_again(int *tries);

/* The system's text for `error`, in `text`, which has FILE_REASON bytes and is returned. */
const char *file_reason(int error, char *text);

moco_status file_status(int error); /* MOCO_ENOMEM for ENOMEM, else MOCO_EIO */

/* Records "PATH: WHAT: reason". */
moco_status file_error(struct err *err, int error, const char *path, const char *what);

#endif
