/* SPDX-License-Identifier: MIT
 *
 * run_lock: keeps a second process out of a folder, for programs that have no file of their own open in it all the
 * time. What a reader would get wrong: the lock is on the folder itself, because a file that is replaced takes its
 * lock with it. */
#ifndef MOCO_EXAMPLES_RUN_LOCK_H
#define MOCO_EXAMPLES_RUN_LOCK_H

#include "err.h"

/* *lock: to be closed at the end; -1 where the file system knows no locks, which is no reason to stop. MOCO_ESTATE: a
 * process holds it. */
moco_status run_lock_take(int *lock, const char *folder, struct err *err);

#endif
