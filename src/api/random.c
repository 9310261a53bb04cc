/* SPDX-License-Identifier: MIT
 *
 * moco/random.h: the library's orders as pure functions: the same functions that training uses. */
#include "moco/random.h"

#include "api/handle.h"
#include "permute.h"

#define EPOCH_SAMPLES_MAX (INT64_C(1) << 48)

static moco_status shuffle_permutation(uint64_t seed, int64_t step, int direction, int n, int32_t *permutation,
                                       struct err *err)
{
    TRY(api_not_null(permutation, "permutation", err));
    if (step < 0)
        return err_set(err, MOCO_EINVAL, "step is %lld; steps count from 0", (long long)step);
    if (direction != 0 && direction != 1)
        return err_set(err, MOCO_EINVAL, "direction is %d; it is 0 or 1", direction);
    if (n < 1)
        return err_set(err, MOCO_EINVAL, "n is %d; a batch has at least one image", n);
    permute_batch(seed, (uint64_t)step, direction, n, permutation);
    return MOCO_OK;
}

moco_status moco_shuffle_permutation(uint64_t seed, int64_t step, int direction, int n, int32_t *permutation)
{
    struct err err = {0};
    return api_return(shuffle_permutation(seed, step, direction, n, permutation, &err), "moco_shuffle_permutation",
                      &err);
}

static moco_status epoch_permutation(uint64_t seed, int64_t epoch, int64_t n, int64_t position, int64_t *sample,
                                     struct err *err)
{
    TRY(api_not_null(sample, "sample", err));
    if (epoch < 0)
        return err_set(err, MOCO_EINVAL, "epoch is %lld; epochs count from 0", (long long)epoch);
    if (n < 1 || n > EPOCH_SAMPLES_MAX)
        return err_set(err, MOCO_EINVAL, "n is %lld; it must be 1 to 2^48", (long long)n);
    if (position < 0 || position >= n)
        return err_set(err, MOCO_EINVAL, "position is %lld; it must be 0 to n - 1 = %lld", (long long)position,
                       (long long)(n - 1));
    struct permute p;
    permute_init(&p, seed, (uint64_t)epoch, (uint64_t)n);
    *sample = (int64_t)permute_at(&p, (uint64_t)position);
    return MOCO_OK;
}

moco_status moco_epoch_permutation(uint64_t seed, int64_t epoch, int64_t n, int64_t position, int64_t *sample)
{
    struct err err = {0};
    return api_return(epoch_permutation(seed, epoch, n, position, sample, &err), "moco_epoch_permutation", &err);
}
