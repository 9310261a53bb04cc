/* SPDX-License-Identifier: MIT
 *
 * file_retry: see file_retry.h. */
#include "file_retry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int file_again(int *tries)
{
    return errno == EINTR && ++*tries < 1000;
}

const char *file_reason(int error, char *text)
{
    if (strerror_r(error, text, FILE_REASON) != 0)
        snprintf(text, FILE_REASON, "error %d", error);
    return text;
}

moco_status file_status(int error)
{
    return error == ENOMEM ? MOCO_ENOMEM : MOCO_EIO;
}

moco_status file_error(struct err *err, int error, const char *path, const char *what)
{
    char reason[FILE_REASON];
    return err_set(err, file_status(error), "%.300s: %s: %s", path, what, file_reason(error, reason));
}
