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

moco_status cuda_dnn_run(struct be_device *dev, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                         const void *workspace, struct err *err)
{
    struct err why = {0};
    if (dnn_run(&dev->dnn, plan, x, w, y, workspace, &why) == MOCO_OK)
        return MOCO_OK;
    if (dev->lost.status == MOCO_OK)
        err_set(&dev->lost, MOCO_EDEVICE, "%s: the device is lost: %.400s", dev->name, why.text);
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

/* ---- kernels ---- */

#define KERNEL_NAME(name, args) "moco_" #name,
const char *const cuda_kernel_names[CUDA_KERNEL_COUNT] = {CUDA_KERNELS(KERNEL_NAME)};

moco_status cuda_launch(struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows, int layers,
                        const void *args, struct err *err)
{
    void *list[] = {(void *)(uintptr_t)args};
    unsigned threads = kernel == CUDA_decide || kernel == CUDA_step_end ? 1 : CUDA_BLOCK;
    if (blocks < 1 || rows < 1 || layers < 1)
        return MOCO_OK; /* nothing to do */
    if (blocks > INT32_MAX || rows > 65535 || layers > 65535)
        return err_set(err, MOCO_ENOTSUP, "%s: %s of %lld x %d x %d blocks is larger than a GPU can run", dev->name,
                       cuda_kernel_names[kernel], (long long)blocks, rows, layers);
    return cuda_said(dev,
                     dev->cu->launch(dev->kernels[kernel], (unsigned)blocks, (unsigned)rows, (unsigned)layers, threads,
                                     1, 1, 0, dev->stream, list, NULL),
                     cuda_kernel_names[kernel], err);
}

moco_status cuda_launch_items(struct be_device *dev, enum cuda_kernel kernel, int64_t items, const void *args,
                              struct err *err)
{
    int64_t blocks = (items + CUDA_BLOCK - 1) / CUDA_BLOCK;
    return cuda_launch(dev, kernel, blocks > 65536 ? 65536 : blocks, 1, 1, args, err);
}
