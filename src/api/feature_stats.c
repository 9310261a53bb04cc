/* SPDX-License-Identifier: MIT
 *
 * moco/eval.h: statistics of features. */
#include "eval/feature_stats.h"

#include "api/handle.h"
#include "moco/eval.h"

_Static_assert(sizeof(moco_feature_stats) % 8 == 0, "struct sizes are multiples of 8");

void moco_feature_stats_init_sized(moco_feature_stats *stats, size_t size)
{
    moco_feature_stats defaults = {0};
    struct_init(stats, size, &defaults, sizeof defaults);
}

static moco_status check(const moco_tensor *tensor, const char *name, struct err *err)
{
    int64_t count;
    TRY(tensor_check(tensor, name, 0, &count, err));
    if (tensor->dtype != MOCO_F32 || tensor->ndim != 2)
        return err_set(err, MOCO_ESHAPE, "%s must be f32 [n,dim]", name);
    return MOCO_OK;
}

static moco_status compute(moco_device *device, const moco_tensor *features, const moco_tensor *pairs,
                           moco_feature_stats *stats, double *spectrum, struct err *err)
{
    struct feature_stats s;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(check(features, "features", err));
    if (pairs != NULL) {
        TRY(check(pairs, "pairs", err));
        if (pairs->shape[0] != features->shape[0] || pairs->shape[1] != features->shape[1])
            return err_set(err, MOCO_ESHAPE, "pairs has shape [%lld,%lld], features [%lld,%lld]; they must be the same",
                           (long long)pairs->shape[0], (long long)pairs->shape[1], (long long)features->shape[0],
                           (long long)features->shape[1]);
    }
    TRY(struct_check(stats, "stats", err));
    int64_t n = features->shape[0], dim = features->shape[1];
    TRY(feature_stats(device->handle.ctx, device->backend, device->dev, features->data,
                      pairs != NULL ? pairs->data : NULL, n, dim > INT32_MAX ? INT32_MAX : (int)dim, &s, spectrum,
                      err));
    moco_feature_stats filled = {.collapsed = s.collapsed,
                                 .n = n,
                                 .std_mean = s.std_mean,
                                 .std_min = s.std_min,
                                 .effective_rank = s.effective_rank,
                                 .uniformity = s.uniformity,
                                 .alignment = s.alignment};
    struct_write(stats, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_feature_stats_compute(moco_device *device, const moco_tensor *features, const moco_tensor *pairs,
                                       moco_feature_stats *stats, double *spectrum)
{
    struct err err = {0};
    return api_return(compute(device, features, pairs, stats, spectrum, &err), "moco_feature_stats_compute", &err);
}
