/* SPDX-License-Identifier: MIT
 *
 * cuda_queue: what every call of the driver goes through: the lock, the context, kernels, and failures. What a reader
 * would get wrong: a call that fails, but for want of memory, fails for good. The context is broken then, so the device
 * remembers the first such failure, and says nothing else from then on. */
#include "backend/cuda/cuda.h"

/* ---- calling the driver ---- */

moco_status cuda_said(struct be_device *dev, cu_result result, const char *what, struct err *err)
{
    const char *name = NULL;
    if (result == CU_OK)
        return MOCO_OK;
    if (dev->cu->error_name(result, &name) != CU_OK || name == NULL)
        name = "an error without a name";
    if (dev->lost.status == MOCO_OK)
        err_set(&dev->lost, MOCO_EDEVICE, "%s: the device is lost: %s said %.60s (%d)", dev->name, what, name, result);
    return err_set(err, MOCO_EDEVICE, "%s", dev->lost.text);
}

void cuda_enter_lost(struct be_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    dev->cu->context_push(dev->context);
}

moco_status cuda_enter(struct be_device *dev, struct err *err)
{
    TRY(ctx_check(dev->ctx, err)); /* first: in a forked child the lock may be held for ever */
    cuda_enter_lost(dev);
    if (dev->lost.status == MOCO_OK)
        return MOCO_OK;
    err_set(err, MOCO_EDEVICE, "%s", dev->lost.text);
    cuda_leave(dev);
    return MOCO_EDEVICE;
}

void cuda_leave(struct be_device *dev)
{
    cu_context ignored;
    dev->cu->context_pop(&ignored);
    pthread_mutex_unlock(&dev->lock);
}

moco_status cuda_wait(struct be_device *dev, cu_event event, struct err *err)
{
    cu_context ignored;
    TRY(cuda_enter(dev, err));
    cuda_leave(dev);
    dev->cu->context_push(dev->context);
    cu_result result = dev->cu->event_sync(event);
    dev->cu->context_pop(&ignored);
    cuda_enter_lost(dev);
    moco_status status = cuda_said(dev, result, "cuEventSynchronize", err);
    cuda_leave(dev);
    return status;
}

/* ---- what computes: queued, and noted on the tape of a step that this thread records ---- */

moco_status cuda_fill(struct be_device *dev, void *at, size_t bytes, struct err *err)
{
    struct be_program *recorder = cuda_tape(dev);
    TRY(cuda_said(dev, dev->cu->fill(cuda_at(at), 0, bytes, dev->stream), "cuMemsetD8Async", err));
    if (recorder != NULL)
        cuda_recorded(recorder, dev->cu->fill(cuda_at(at), 0, bytes, recorder->tape), "cuMemsetD8Async");
    return MOCO_OK;
}

moco_status cuda_move(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err)
{
    struct be_program *recorder = cuda_tape(dev);
    TRY(cuda_said(dev, dev->cu->copy(cuda_at(to), cuda_at(from), bytes, dev->stream), "cuMemcpyDtoDAsync", err));
    if (recorder != NULL)
        cuda_recorded(recorder, dev->cu->copy(cuda_at(to), cuda_at(from), bytes, recorder->tape), "cuMemcpyDtoDAsync");
    return MOCO_OK;
}

/* cuDNN queues into the stream that its handle was given. */
static void record_dnn(struct be_program *recorder, struct dnn_plan *plan, const void *const at[4])
{
    struct be_device *dev = recorder->dev;
    struct err why = {0};
    moco_status status = dnn_stream_set(&dev->dnn, recorder->tape, &why);
    if (status == MOCO_OK)
        status = dnn_run(&dev->dnn, plan, at[0], at[1], at[2], at[3], &why);
    if (status != MOCO_OK && recorder->refused.status == MOCO_OK)
        recorder->refused = why;
}

moco_status cuda_dnn_run(struct be_device *dev, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                         const void *workspace, struct err *err)
{
    struct be_program *recorder = cuda_tape(dev);
    struct err why = {0};
    moco_status status = dnn_run(&dev->dnn, plan, x, w, y, workspace, &why);
    if (status == MOCO_OK && recorder != NULL) {
        record_dnn(recorder, plan, (const void *const[]){x, w, y, workspace});
        status = dnn_stream_set(&dev->dnn, dev->stream, &why);
    }
    if (status == MOCO_OK)
        return MOCO_OK;
    if (dev->lost.status == MOCO_OK)
        err_set(&dev->lost, MOCO_EDEVICE, "%s: the device is lost: %.400s", dev->name, why.text);
    return err_set(err, MOCO_EDEVICE, "%s", dev->lost.text);
}

#define KERNEL_NAME(name, args) "moco_" #name,
const char *const cuda_kernel_names[CUDA_KERNEL_COUNT] = {CUDA_KERNELS(KERNEL_NAME)};

struct grid {
    unsigned blocks, rows, layers, threads;
};

static cu_result launch(const struct be_device *dev, cu_stream stream, enum cuda_kernel kernel, const struct grid *g,
                        const void *args)
{
    void *list[] = {(void *)(uintptr_t)args};
    return dev->cu->launch(dev->kernels[kernel], g->blocks, g->rows, g->layers, g->threads, 1, 1, 0, stream, list,
                           NULL);
}

static moco_status check_grid(const struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows,
                              int layers, struct err *err)
{
    if (blocks > INT32_MAX || rows > 65535 || layers > 65535)
        return err_set(err, MOCO_ENOTSUP, "%s: %s of %lld x %d x %d blocks is larger than a GPU can run", dev->name,
                       cuda_kernel_names[kernel], (long long)blocks, rows, layers);
    return MOCO_OK;
}

moco_status cuda_launch(struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows, int layers,
                        const void *args, struct err *err)
{
    struct be_program *recorder = cuda_tape(dev);
    const char *name = cuda_kernel_names[kernel];
    if (blocks < 1 || rows < 1 || layers < 1)
        return MOCO_OK; /* nothing to do */
    TRY(check_grid(dev, kernel, blocks, rows, layers, err));
    const struct grid grid = {(unsigned)blocks, (unsigned)rows, (unsigned)layers,
                              kernel == CUDA_decide || kernel == CUDA_step_end ? 1 : CUDA_BLOCK};
    TRY(cuda_said(dev, launch(dev, dev->stream, kernel, &grid, args), name, err));
    if (recorder != NULL)
        cuda_recorded(recorder, launch(dev, recorder->tape, kernel, &grid, args), name);
    return MOCO_OK;
}

moco_status cuda_launch_load(struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows, const void *args,
                             struct err *err)
{
    TRY(check_grid(dev, kernel, blocks, rows, 1, err));
    const struct grid grid = {(unsigned)blocks, (unsigned)rows, 1, CUDA_BLOCK};
    return cuda_said(dev, launch(dev, dev->loads, kernel, &grid, args), cuda_kernel_names[kernel], err);
}

moco_status cuda_launch_items(struct be_device *dev, enum cuda_kernel kernel, int64_t items, const void *args,
                              struct err *err)
{
    int64_t blocks = (items + CUDA_BLOCK - 1) / CUDA_BLOCK;
    return cuda_launch(dev, kernel, blocks > 65536 ? 65536 : blocks, 1, 1, args, err);
}
