/* SPDX-License-Identifier: MIT
 *
 * parallel: the OpenMP team, and every `#pragma omp` of the library. What a reader would get wrong: oneDNN's
 * primitives are made for a number of threads and hang for ever if OpenMP delivers fewer (inside a parallel region
 * of the host, under OMP_THREAD_LIMIT, OMP_MAX_ACTIVE_LEVELS=0, OMP_DYNAMIC). All code that makes or runs a
 * primitive must therefore be between parallel_enter and parallel_leave; afterwards the host's own OpenMP settings
 * are as before. Two things cannot be seen from here: threads that the host's own, narrower regions took out of the
 * pool again, and the host's use of OpenMP before a fork. */
#ifndef MOCO_CPU_PARALLEL_H
#define MOCO_CPU_PARALLEL_H

#include "err.h"

struct parallel_scope {
    int threads, dynamic; /* the calling thread's settings before */
};

/* Makes the calling thread's teams `threads` wide. MOCO_ESTATE, with the reason, if OpenMP cannot deliver so many here,
 * if the system does not start them, or if they stayed behind in the parent of a forked child. */
moco_status parallel_enter(struct parallel_scope *scope, int threads, struct err *err);
void parallel_leave(const struct parallel_scope *scope);

/* Forms a team and counts it: MOCO_ESTATE, with the reason, if it is smaller than `threads`. */
moco_status parallel_check(int threads, struct err *err);

/* `threads`, or how many fewer OpenMP's settings (OMP_THREAD_LIMIT, OMP_NUM_THREADS, omp_set_num_threads) allow. */
int parallel_allowed(int threads);

/* Calls body(arg, thread, threads) once for each thread of the team, and waits. Between enter and leave only. A body
 * must not wait for another one. */
void parallel_run(int threads, void (*body)(void *arg, int thread, int threads), void *arg);

#endif
