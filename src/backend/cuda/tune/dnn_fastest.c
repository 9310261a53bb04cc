/* SPDX-License-Identifier: MIT
 *
 * dnn_fastest: see dnn_fastest.h. */
#include "backend/cuda/tune/dnn_fastest.h"

#include <math.h>
#include <string.h>

/* Runs of an engine; the first is not counted, since code is loaded then. A later engine has to be faster than those
 * before it by this part, so that what is equally fast is the same engine in every run. */
enum { RUNS = 6 };
#define FASTER 0.97f

moco_status dnn_fastest_choose(struct dnn_plan *out, struct be_device *dev, const struct dnn_conv *conv,
                               struct err *err)
{
    const char *known = dev->tuning == NULL ? NULL : dnn_tuning_find(dev->tuning, conv);
    struct err why = {0};
    if (known != NULL && dnn_choose(out, &dev->dnn, conv, 1, known, &why) == MOCO_OK)
        return MOCO_OK;
    if (known != NULL)
        dnn_tuning_doubt(dev->tuning, &why);
    return dnn_choose(out, &dev->dnn, conv, dev->tuning == NULL ? 1 : DNN_ENGINES, NULL, err);
}

static float median(float *values, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            float swap = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swap;
        }
    return values[count / 2];
}

/* Milliseconds of the engine that is taken; INFINITY: it was refused. */
static moco_status time_engine(struct be_device *dev, struct dnn_plan *plan, const void *const at[4],
                               cu_event event[RUNS + 1], float *out, struct err *err)
{
    float each[RUNS];
    struct err refused = {0};
    *out = INFINITY;
    for (int i = 0; i <= RUNS; i++) {
        TRY(cuda_said(dev, dev->cu->event_record(event[i], dev->stream), "cuEventRecord", err));
        if (i < RUNS && dnn_run(&dev->dnn, plan, at[0], at[1], at[2], at[3], &refused) != MOCO_OK)
            return MOCO_OK;
    }
    TRY(cuda_said(dev, dev->cu->event_sync(event[RUNS]), "cuEventSynchronize", err));
    for (int i = 0; i < RUNS; i++)
        TRY(cuda_said(dev, dev->cu->event_elapsed(&each[i], event[i], event[i + 1]), "cuEventElapsedTime", err));
    *out = median(each + 1, RUNS - 1);
    return MOCO_OK;
}

static moco_status time_all(struct be_device *dev, struct dnn_plan *plan, const void *const at[4],
                            cu_event event[RUNS + 1], int *fastest, struct err *err)
{
    float best = INFINITY;
    *fastest = 0;
    for (plan->taken = 0; plan->taken < plan->count; plan->taken++) {
        float now;
        TRY(time_engine(dev, plan, at, event, &now, err));
        if (now < best * FASTER) {
            best = now;
            *fastest = plan->taken;
        }
    }
    return MOCO_OK;
}

static moco_status find_fastest(struct be_device *dev, struct dnn_plan *plan, const void *const at[4], int *fastest,
                                struct err *err)
{
    cu_event event[RUNS + 1] = {NULL};
    moco_status status = MOCO_OK;
    for (int i = 0; i <= RUNS && status == MOCO_OK; i++)
        status = cuda_said(dev, dev->cu->event_create(&event[i], CU_EVENT_WITH_TIME), "cuEventCreate", err);
    if (status == MOCO_OK)
        status = time_all(dev, plan, at, event, fastest, err);
    for (int i = 0; i <= RUNS; i++)
        if (event[i] != NULL)
            dev->cu->event_destroy(event[i]);
    if (status != MOCO_OK)
        return status;
    return dnn_tuning_note(dev->tuning, &plan->conv, plan->engine[*fastest].name, err);
}

moco_status dnn_fastest_take(struct be_device *dev, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                             const void *workspace, struct err *err)
{
    const void *const at[4] = {x, w, y, workspace};
    int which = 0;
    if (plan->count < 2)
        return MOCO_OK;
    /* A convolution of the same shape may have been timed since this plan was made. */
    const char *known = dnn_tuning_find(dev->tuning, &plan->conv);
    while (known != NULL && which < plan->count && strcmp(plan->engine[which].name, known) != 0)
        which++;
    if (known == NULL || which == plan->count)
        TRY(find_fastest(dev, plan, at, &which, err));
    dnn_take(plan, which);
    return MOCO_OK;
}
