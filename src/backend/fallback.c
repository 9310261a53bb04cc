/* SPDX-License-Identifier: MIT
 *
 * fallback: see fallback.h. Products are summed in double, number by number: slow, but the oracle for those of a
 * device. */
#include "backend/fallback.h"

moco_status backend_rate(const struct backend *be, struct be_device *dev, enum be_precision precision,
                         double *flops_per_second, struct err *err)
{
    *flops_per_second = 0;
    return be->rate != NULL ? be->rate(dev, precision, flops_per_second, err) : MOCO_OK;
}

moco_status backend_gemm_nt(const struct backend *be, struct be_device *dev, int64_t m, int64_t n, int64_t k,
                            const float *a, const float *b, float *c, struct err *err)
{
    if (be->gemm_nt != NULL)
        return be->gemm_nt(dev, m, n, k, a, b, c, err);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += (double)a[i * k + x] * (double)b[j * k + x];
            c[i * n + j] = (float)sum;
        }
    return MOCO_OK;
}

moco_status backend_gemm_tn(const struct backend *be, struct be_device *dev, int64_t m, int64_t n, int64_t k,
                            const float *a, const float *b, float *c, struct err *err)
{
    if (be->gemm_tn != NULL)
        return be->gemm_tn(dev, m, n, k, a, b, c, err);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += (double)a[x * m + i] * (double)b[x * n + j];
            c[i * n + j] = (float)sum;
        }
    return MOCO_OK;
}

moco_status backend_on_host(const struct backend *be, struct be_device *dev,
                            void (*body)(void *arg, int part, int parts), void *arg, struct err *err)
{
    if (be->on_host != NULL)
        return be->on_host(dev, body, arg, err);
    body(arg, 0, 1);
    return MOCO_OK;
}

moco_status backend_host_alloc(const struct backend *be, struct be_device *dev, struct ctx *ctx, size_t bytes,
                               void **out, struct err *err)
{
    if (be->host_alloc != NULL) {
        TRY(be->host_alloc(dev, bytes, out, err));
        mem_count(ctx, (int64_t)bytes);
        return MOCO_OK;
    }
    *out = mem_alloc(ctx, bytes, err);
    return *out != NULL ? MOCO_OK : MOCO_ENOMEM;
}

void backend_host_free(const struct backend *be, struct be_device *dev, struct ctx *ctx, void *memory, size_t bytes)
{
    if (be->host_free == NULL) {
        mem_free(ctx, memory);
    } else if (memory != NULL) {
        be->host_free(dev, memory, bytes);
        mem_count(ctx, -(int64_t)bytes);
    }
}

moco_status backend_param_get_f32(const struct backend *be, struct ctx *ctx, const struct be_layout *layout,
                                  const void *slab, int index, int64_t count, float *values, struct err *err)
{
    if (be->param_get_f32 != NULL)
        return be->param_get_f32(layout, slab, index, values, err);
    double *wide = mem_array(ctx, (size_t)count, sizeof *wide, err);
    if (wide == NULL)
        return MOCO_ENOMEM;
    moco_status status = be->param_get(layout, slab, index, wide, err);
    for (int64_t i = 0; i < count && status == MOCO_OK; i++)
        values[i] = (float)wide[i];
    mem_free(ctx, wide);
    return status;
}

moco_status backend_param_set_f32(const struct backend *be, struct ctx *ctx, const struct be_layout *layout, void *slab,
                                  int index, int64_t count, const float *values, struct err *err)
{
    if (be->param_set_f32 != NULL)
        return be->param_set_f32(layout, slab, index, values, err);
    double *wide = mem_array(ctx, (size_t)count, sizeof *wide, err);
    if (wide == NULL)
        return MOCO_ENOMEM;
    for (int64_t i = 0; i < count; i++)
        wide[i] = (double)values[i];
    moco_status status = be->param_set(layout, slab, index, wide, err);
    mem_free(ctx, wide);
    return status;
}

/* ---- ranks ---- */

moco_status backend_mark(const struct backend *be, struct be_device *dev, void **event, struct err *err)
{
    *event = NULL;
    return be->mark != NULL ? be->mark(dev, event, err) : be->sync(dev, err);
}

static moco_status no_ranks(const struct backend *be, struct err *err)
{
    return err_set(err, MOCO_ENOTSUP,
                   "devices \"%s\" exchange nothing by themselves; their ranks need a comm of moco_comm_open or "
                   "moco_comm_local",
                   be->name);
}

moco_status backend_ranks_id(const struct backend *be, struct be_device *dev, void *id, char library[BE_LIBRARY],
                             struct err *err)
{
    return be->ranks_id != NULL ? be->ranks_id(dev, id, library, err) : no_ranks(be, err);
}

moco_status backend_ranks_open(const struct backend *be, struct be_device *dev, const void *id, int rank, int ranks,
                               struct moco_comm_engine *engine, struct err *err)
{
    return be->ranks_open != NULL ? be->ranks_open(dev, id, rank, ranks, engine, err) : no_ranks(be, err);
}
