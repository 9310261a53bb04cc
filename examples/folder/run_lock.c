/* SPDX-License-Identifier: MIT
 *
 * run_lock: see run_lock.h. */
#define _DEFAULT_SOURCE /* flock, O_DIRECTORY */
#include "run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

moco_status run_lock_take(int *lock, const char *folder, struct err *err)
{
    int again = 0;
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0 || flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return MOCO_OK;
    again = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    if (again)
        return err_set(err, MOCO_ESTATE,
                       "%.300s is in use by another process; wait for its end, or choose another folder with --out",
                       folder);
    return MOCO_OK;
}
