/* SPDX-License-Identifier: MIT
 *
 * cpu_rate: measures how fast convolutions are here, with one typical convolution: 3 x 3, 64 to 64 channels at 28 x
 * 28. What a reader would get wrong: the time is the calling thread's processor time, not the clock's. The caller
 * computes a fixed share beside the other threads, so that both times agree on an idle machine; on a busy one the
 * clock also counts the time in which the caller waits for a processor. The caller may still spin for a partner
 * thread that waits for one, a whole time slice long. That is why it takes the best of several runs, and as many as
 * it takes. */
#include "backend/cpu/cpu_rate.h"

#include <time.h>

#include "backend/cpu/cpu_team.h"

#define SECONDS 0.05 /* of processor time, at least */
#define AT_MOST 1.0  /* of the clock */
#define AGREE 5      /* runs must be nearly as fast as the best one: it is no accident then */
#define NEARLY 1.1

static double seconds(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Measures until several runs agree with the best one, or time is up. CPU time of the thread, so that other programs do
 * not count. */
static moco_status best_time(const struct shim_prim *prim, void *const at[SHIM_SLOTS], double *best, struct err *err)
{
    double began = seconds(CLOCK_MONOTONIC), now = began, used = 0;
    *best = 0;
    TRY(shim_run(prim, at, err)); /* warm up */
    for (int run = 0, near = 0; run < AGREE || ((used < SECONDS || near < AGREE) && now - began < AT_MOST); run++) {
        double start = seconds(CLOCK_THREAD_CPUTIME_ID);
        TRY(shim_run(prim, at, err));
        double took = seconds(CLOCK_THREAD_CPUTIME_ID) - start;
        now = seconds(CLOCK_MONOTONIC);
        used += took;
        if (run == 0 || took < *best) {
            near = run > 0 && *best < NEARLY * took ? near : 0;
            *best = took;
        }
        near += took < NEARLY * *best;
    }
    if (*best <= 0)
        return err_set(err, MOCO_ESTATE, "cpu: the clock stands still");
    return MOCO_OK;
}

/* Measures one 3 x 3 convolution of 64 channels. Estimates of time take its rate for that of all convolutions. */
moco_status cpu_rate(struct be_device *dev, enum be_precision precision, double *flops_per_second, struct err *err)
{
    int bf16 = precision == BE_BF16;
    enum shim_order order = bf16 ? SHIM_NHWC : cpu_block(dev) == 16 ? SHIM_BLOCK16 : SHIM_BLOCK8;
    struct shim_conv shape = {
        .n = 4, .ci = 64, .co = 64, .h = 28, .w = 28, .oh = 28, .ow = 28, .kernel = 3, .stride = 1, .pad = 1};
    struct shim_conv_spec spec = {
        .pass = SHIM_FORWARD, .type = bf16 ? SHIM_BF16 : SHIM_F32, .shape = shape, .src = order, .dst = order};
    size_t map = (size_t)shape.n * 64 * 28 * 28 * (bf16 ? 2 : 4);
    struct shim_prim prim = {0};
    struct parallel_scope scope;
    char *memory = NULL;
    TRY(cpu_enter(dev, &scope, err));
    moco_status status;
    TRY_GOTO(status, shim_conv_create(&prim, dev->engine, &spec, err), done);
    memory = mem_zalloc(dev->ctx, 2 * map + prim.weights.bytes + prim.scratch, err);
    if (memory == NULL) {
        status = MOCO_ENOMEM;
        goto done;
    }
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = memory,
                            [SHIM_DST] = memory + map,
                            [SHIM_WEIGHTS] = memory + 2 * map,
                            [SHIM_SCRATCH] = memory + 2 * map + prim.weights.bytes};
    double best;
    TRY_GOTO(status, best_time(&prim, at, &best, err), done);
    *flops_per_second = 2.0 * 9 * 64 * 64 * 28 * 28 * shape.n / best;
done:
    shim_prim_free(&prim);
    mem_free(dev->ctx, memory);
    parallel_leave(&scope);
    return status;
}
