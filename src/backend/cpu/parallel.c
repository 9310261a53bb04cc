/* SPDX-License-Identifier: MIT
 *
 * parallel: the one file that knows OpenMP. What a reader would get wrong: omp_in_parallel is asked before the team is
 * counted, because inside an active region of the host oneDNN runs on one thread however wide a nested team could be.
 */
#include "backend/cpu/parallel.h"

#include <omp.h>

moco_status parallel_enter(struct parallel_scope *scope, int threads, struct err *err)
{
    scope->threads = omp_get_max_threads();
    scope->dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    moco_status status = parallel_check(threads, err);
    if (status != MOCO_OK)
        parallel_leave(scope);
    return status;
}

void parallel_leave(const struct parallel_scope *scope)
{
    omp_set_num_threads(scope->threads);
    omp_set_dynamic(scope->dynamic);
}

moco_status parallel_check(int threads, struct err *err)
{
    if (threads <= 1) /* needs nothing of OpenMP */
        return MOCO_OK;
    if (omp_in_parallel())
        return err_set(
            err, MOCO_ESTATE,
            "the cpu device computes on %d threads and was called inside an OpenMP parallel region, where it "
            "gets one: call it outside, or give the context 1 thread",
            threads);
    int team = 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp master
        team = omp_get_num_threads();
    }
    if (team >= threads)
        return MOCO_OK;
    const char *why = omp_get_max_active_levels() < 1    ? " (OMP_MAX_ACTIVE_LEVELS is 0)"
                      : omp_get_thread_limit() < threads ? " (OMP_THREAD_LIMIT is lower)"
                      : omp_get_dynamic()                ? " (OMP_DYNAMIC is on)"
                                                         : "";
    return err_set(err, MOCO_ESTATE, "the cpu device computes on %d threads, but OpenMP delivers only %d%s", threads,
                   team, why);
}

void parallel_run(int threads, void (*body)(void *arg, int thread, int threads), void *arg)
{
    if (threads <= 1) {
        body(arg, 0, 1);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        /* One part a thread. A team that shrank after it was counted shares out the missing parts and still ends. */
        for (int part = omp_get_thread_num(); part < threads; part += omp_get_num_threads())
            body(arg, part, threads);
    }
}
