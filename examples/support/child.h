/* SPDX-License-Identifier: MIT
 *
 * child: runs another program to its end, with its output to a file, and measures time and memory. A signal that
 * asks this program to stop is passed on. What a reader would get wrong: the peak is the child's own resident
 * memory. That is why each run of a comparison is a process. */
#ifndef MOCO_EXAMPLES_CHILD_H
#define MOCO_EXAMPLES_CHILD_H

#include "err.h"

struct child_result {
    int exit;       /* its exit status; 128 + number if a signal ended it */
    double peak_mb; /* MiB resident at most */
    double seconds;
};

/* word[0] is the program's path, the last word NULL. `log` is made anew. MOCO_EIO: it could not be run at all. */
moco_status child_run(const char *const *word, const char *log, struct child_result *result, struct err *err);

/* The signals of stop_signal.h stop the child first; child_stopped: one of them came. */
void child_catch_signals(void);
int child_stopped(void);

#endif
