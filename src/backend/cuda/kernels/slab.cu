/* SPDX-License-Identifier: MIT
 *
 * slab: what walks over all weights: norms and checks, the optimizer with the average that goes before it, and the key
 * encoder's weights of the step. One block does one slice of one parameter. What a reader would get wrong: sums of
 * slices are added in the order of slices by one thread, never by atomics, so that equal arguments give equal bits. A slice
 * begins at a multiple of 64 bytes, so that a thread moves four numbers at a time; where fewer are left it computes with
 * zeros for the rest, which add nothing and are not stored. */
#include "backend/cuda/kernels/number.cuh"

enum { SLAB_LOADS = 2, SLAB_STEP = 4 * CUDA_BLOCK }; /* of four numbers in flight, of each array that is summed */

static __device__ __forceinline__ void put_four(float *to, const struct quad &in, int left)
{
    if (left >= 4)
        *(struct quad *)(void *)to = in;
    UNROLL for (int j = 0; j < 3; j++)
        if (left < 4 && j < left)
            to[j] = in.v[j];
}

static __device__ __forceinline__ struct cuda_rule rule_of(const struct cuda_step *s, int param)
{
    const struct cuda_range *ranges = (const struct cuda_range *)(s + 1);
    struct cuda_rule rule = {(float)s->lr, (float)s->weight_decay, 0, 0};
    for (int i = 0; i < s->range_count && ranges[i].first <= param; i++)
        if (param < ranges[i].first + ranges[i].count) {
            rule.rate = (float)(s->lr * ranges[i].rate);
            rule.decay = (float)ranges[i].weight_decay;
            rule.frozen = ranges[i].frozen;
        }
    return rule;
}

/* Of the gradient (or any slab), and with LARS of the weights and of what pulls at them. */
KERNEL(slab_sums, slab)
{
    const struct cuda_slice slice = a.slices[blockIdx.x];
    double g = 0, p = 0, pull = 0, bad = 0;
    double decay = 0, unscale = 1;
    if (a.lars && !a.params[slice.param].plain) {
        decay = rule_of(a.step, slice.param).decay;
        unscale = 1 / a.step->loss_scale;
    }
    for (int i = 4 * (int)threadIdx.x; i < slice.count; i += SLAB_LOADS * SLAB_STEP) {
        struct quad gradient[SLAB_LOADS], weights[SLAB_LOADS] = {};
        UNROLL for (int l = 0; l < SLAB_LOADS; l++) {
            gradient[l] = four_of(a.g + slice.at, i + l * SLAB_STEP, slice.count, true);
            if (a.lars)
                weights[l] = four_of(a.p + slice.at, i + l * SLAB_STEP, slice.count, true);
        }
        UNROLL for (int l = 0; l < SLAB_LOADS; l++)
            UNROLL for (int j = 0; j < 4; j++) {
                double x = gradient[l].v[j], weight = weights[l].v[j];
                g = fma(x, x, g);
                bad += !is_finite(x);
                if (a.lars) {
                    double total = fma(decay, weight, x * unscale);
                    p = fma(weight, weight, p);
                    pull = fma(total, total, pull);
                }
            }
    }
    g = block_sum(g);
    bad = block_sum(bad);
    if (a.lars) {
        p = block_sum(p);
        pull = block_sum(pull);
    }
    if (threadIdx.x == 0) {
        struct cuda_sums sums = {g, p, pull, bad > 0};
        a.sums[blockIdx.x] = sums;
    }
}

/* One block: all slices; and in a step what is to be found in them. */
KERNEL(slab_end, slab)
{
    SHARED(int, first, [CUDA_BLOCK]);
    double sum = 0;
    int bad = a.param_count;
    for (int i = (int)threadIdx.x; i < a.slice_count; i += CUDA_BLOCK) {
        sum += a.sums[i].g;
        if (a.sums[i].bad && a.slices[i].param < bad)
            bad = a.slices[i].param;
    }
    first[threadIdx.x] = bad;
    sum = block_sum(sum);
    if (threadIdx.x != 0)
        return;
    for (int i = 0; i < CUDA_BLOCK; i++)
        bad = first[i] < bad ? first[i] : bad;
    struct cuda_measure measure = {sum, bad < a.param_count ? bad : -1};
    if (a.step == nullptr) {
        *a.measure = measure;
        return;
    }
    struct cuda_step *s = a.step;
    if (measure.bad >= 0)
        finding(s, a.what, measure.bad);
    if (a.what != CUDA_GRADIENT)
        return;
    s->sum_squares = sum / (s->loss_scale * s->loss_scale);
    if (measure.bad < 0 && !is_finite(s->sum_squares))
        finding(s, CUDA_NORM, 0);
    if (sqrt(s->sum_squares) > s->gradient_limit)
        finding(s, CUDA_LIMIT, 0);
}

/* A thread a parameter. */
KERNEL(slab_rules, slab)
{
    if (!a.step->may && !a.trial)
        return;
    if (first_item() == 0) {
        a.step->updated = 1;
        a.step->infinite = 0;
    }
    for (int64_t i = first_item(); i < a.param_count; i += item_step()) {
        struct cuda_rule rule = rule_of(a.step, (int)i);
        const struct cuda_param param = a.params[i];
        if (a.lars && param.plain)
            rule.decay = 0;
        if (a.lars && !param.plain) {
            double weight = 0, pull = 0;
            for (int j = 0; j < param.slices; j++) {
                weight += a.sums[param.first_slice + j].p;
                pull += a.sums[param.first_slice + j].pull;
            }
            float rate = (float)(rule.rate * a.step->trust * sqrt(weight) / sqrt(pull));
            if (weight > 0 && pull > 0 && is_finite(rate)) /* a gradient of denormals is as good as none */
                rule.rate = rate;
        }
        a.rules[i] = rule;
    }
}

/* The same bits in the update and in what a step's key encoder reads. */
static __device__ __forceinline__ float average(double m, float k, float q)
{
    return (float)fma(m, (double)k, (1 - m) * q);
}

/* The copy of number i of a convolution's weight. Whoever has the last channel of a row pads it with zeros. */
template <class T>
static __device__ __forceinline__ void put_copy(void *copies, const struct cuda_param &param, int64_t i, float value)
{
    int64_t row = i / param.row, channel = i - row * param.row, at = param.copy + row * param.padded + channel;
    put<T>(copies, at, value);
    for (int pad = param.row; channel == param.row - 1 && pad < param.padded; pad++)
        put<T>(copies, param.copy + row * param.padded + pad, 0);
}

/* Of numbers [i, i + 4), of which `left` are there. A row that has no padding is where it is in the weight. */
template <class T>
static __device__ __forceinline__ void put_copies(void *copies, const struct cuda_param &param, int64_t i,
                                                  const struct quad &values, int left)
{
    if (left >= 4 && param.row == param.padded) {
        struct words16 out = {};
        UNROLL for (int j = 0; j < 4; j++)
            pack<T>(out.w, j, values.v[j]);
        *(word8 *)(void *)((T *)copies + param.copy + i) = (word8)out.w[1] << 32 | out.w[0];
        return;
    }
    UNROLL for (int j = 0; j < 4; j++)
        if (j < left)
            put_copy<T>(copies, param, i + j, values.v[j]);
}

STORED_KERNEL(slab_update, slab)
{
    if (!a.step->may && !a.trial)
        return;
    const struct cuda_slice slice = a.slices[blockIdx.x];
    const struct cuda_param param = a.params[slice.param];
    const struct cuda_rule rule = a.rules[slice.param];
    const float momentum = (float)a.step->sgd_momentum, unscale = (float)(1 / a.step->loss_scale);
    const double key_momentum = a.step->key_momentum;
    const bool copied = a.copies != nullptr && param.copy >= 0;
    bool finite = true;
    for (int i = 4 * (int)threadIdx.x; i < slice.count; i += SLAB_STEP) {
        const int64_t at = slice.at + i;
        const int left = slice.count - i;
        struct quad p = four_of(a.p + at, 0, left, true), v = four_of(a.v + at, 0, left, true), k = {}, g = {};
        if (a.k != nullptr)
            k = four_of(a.k + at, 0, left, true);
        if (!rule.frozen)
            g = four_of(a.g + at, 0, left, true);
        UNROLL for (int j = 0; j < 4; j++) {
            if (a.k != nullptr) { /* of the weights as they were */
                k.v[j] = average(key_momentum, k.v[j], p.v[j]);
                finite = finite && is_finite(k.v[j]);
            }
            if (!rule.frozen) {
                float pull = fmaf(rule.decay, p.v[j], g.v[j] * unscale);
                v.v[j] = a.lars ? fmaf(momentum, v.v[j], rule.rate * pull) : fmaf(momentum, v.v[j], pull);
                p.v[j] = a.lars ? p.v[j] - v.v[j] : fmaf(-rule.rate, v.v[j], p.v[j]);
            }
            finite = finite && is_finite(p.v[j]) && is_finite(v.v[j]);
        }
        if (a.k != nullptr)
            put_four(a.k + at, k, left);
        if (!rule.frozen) {
            put_four(a.v + at, v, left);
            put_four(a.p + at, p, left);
        }
        if constexpr (sizeof(T) < sizeof(float))
            if (copied)
                put_copies<T>(a.copies, param, at - param.first, p, left);
    }
    if (!finite)
        atomicOr(&a.step->infinite, 1);
}

/* What plans read of p, or (with k) of the average: convolutions' weights as copies of T, and the others as f32, if they are
 * wanted. Of T = float there are no copies. */
STORED_KERNEL(slab_readers, slab)
{
    const struct cuda_slice slice = a.slices[blockIdx.x];
    const struct cuda_param param = a.params[slice.param];
    const bool copied = param.copy >= 0;
    const double key_momentum = a.k != nullptr ? a.step->key_momentum : 0;
    for (int i = 4 * (int)threadIdx.x; i < slice.count; i += SLAB_STEP) {
        const int64_t at = slice.at + i;
        const int left = slice.count - i;
        struct quad value = four_of(a.p + at, 0, left, true);
        if (a.k != nullptr) {
            const struct quad k = four_of(a.k + at, 0, left, true);
            UNROLL for (int j = 0; j < 4; j++)
                value.v[j] = average(key_momentum, k.v[j], value.v[j]);
        }
        if constexpr (sizeof(T) < sizeof(float))
            if (copied) {
                put_copies<T>(a.copies, param, at - param.first, value, left);
                continue;
            }
        if (a.out != nullptr)
            put_four(a.out + (sizeof(T) < sizeof(float) ? param.rest : param.first) + at - param.first, value, left);
    }
}
