/* SPDX-License-Identifier: MIT
 *
 * bn_simd: batch norm over one run of numbers, compiled once per instruction set. What a reader would get wrong: sums
 * are f32, so that a caller folds them into doubles after a bounded number of numbers. Each loop copies its run first:
 * after a store through a pointer the compiler would have to fetch the caller's again. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd_table.h"

/* Calls BODY(at, n, place) for every unit of a run: n numbers from `at`, the first of which is channel `place` of the
 * period. Only the last unit may be short; the compiler makes two copies of the body, of which one knows that it is
 * not. */
#define EACH_UNIT(run, BODY)                                                                                           \
    do {                                                                                                               \
        size_t at_ = 0, period_ = (size_t)(run)->period, place_ = 0;                                                   \
        for (; at_ + UNIT <= (run)->count; at_ += UNIT) {                                                              \
            BODY(at_, (size_t)UNIT, place_);                                                                           \
            place_ += UNIT;                                                                                            \
            place_ = place_ >= period_ ? place_ - period_ : place_;                                                    \
        }                                                                                                              \
        if (at_ < (run)->count)                                                                                        \
            BODY(at_, (run)->count - at_, place_);                                                                     \
    } while (0)

#define EACH_VECTOR(v, n) for (size_t v = 0; v < 4 && v * LANES < (n); v++)

/* ---- statistics ---- */

/* Lanes beyond n must not count: x - mean of a zero that is not there. */
INLINE vf first_lanes(vf v, size_t n)
{
    if (n >= LANES)
        return v;
    vf kept = {0};
    memcpy(&kept, &v, n * sizeof(float));
    return kept;
}

INLINE void stats_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int bf16)
{
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = first_lanes(get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i), n - i);
        store_vf(run->sum + place + i, load_vf(run->sum + place + i) + x);
        store_vf(run->product + place + i, fma_vf(x, x, load_vf(run->product + place + i)));
    }
}

/* A period of one unit: sums stay in registers. */
INLINE void stats_narrow(const struct bn_run *run, int bf16)
{
    vf mean[4], sum[4] = {{0}}, product[4] = {{0}};
    for (size_t v = 0; v < 4; v++)
        mean[v] = load_vf(run->mean + v * LANES);
    size_t at = 0;
    for (; at + UNIT <= run->count; at += UNIT) {
        for (size_t v = 0; v < 4; v++) {
            vf x = get(run->x, at + v * LANES, LANES, bf16) - mean[v];
            sum[v] += x;
            product[v] = fma_vf(x, x, product[v]);
        }
    }
    for (size_t v = 0; v < 4; v++) {
        store_vf(run->sum + v * LANES, load_vf(run->sum + v * LANES) + sum[v]);
        store_vf(run->product + v * LANES, load_vf(run->product + v * LANES) + product[v]);
    }
    if (at < run->count)
        stats_unit(run, at, run->count - at, 0, bf16);
}

INLINE void stats_typed(const struct bn_run *given, int bf16)
{
    const struct bn_run local = *given, *run = &local;
    if (run->period == UNIT) {
        stats_narrow(run, bf16);
        return;
    }
#define BODY(at, n, place) stats_unit(run, at, n, place, bf16)
    EACH_UNIT(run, BODY);
#undef BODY
}

static void stats(const struct bn_run *run)
{
    if (run->bf16)
        stats_typed(run, 1);
    else
        stats_typed(run, 0);
}

/* ---- forward ---- */

INLINE void apply_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int bf16)
{
    uint64_t bits = 0;
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i);
        vf y = fma_vf(x, load_vf(run->scale + place + i), load_vf(run->shift + place + i));
        if (run->dy != NULL)
            y += get(run->dy, at + i, n - i, bf16);
        if (run->mask != NULL)
            bits |= (uint64_t)bits_of(y > 0) << i;
        put(run->y, at + i, run->relu ? relu_vf(y) : y, n - i, bf16);
    }
    if (run->mask != NULL)
        memcpy(run->mask + at / 8, &bits, n >= UNIT ? UNIT / 8 : (n + 7) / 8);
}

static void apply(const struct bn_run *given)
{
    const struct bn_run local = *given, *run = &local;
#define BODY_F32(at, n, place) apply_unit(run, at, n, place, 0)
#define BODY_BF16(at, n, place) apply_unit(run, at, n, place, 1)
    if (run->bf16)
        EACH_UNIT(run, BODY_BF16);
    else
        EACH_UNIT(run, BODY_F32);
#undef BODY_F32
#undef BODY_BF16
}

/* ---- backward ---- */

INLINE uint64_t mask_bits(const struct bn_run *run, size_t at, size_t n)
{
    uint64_t bits = 0;
    if (run->mask != NULL)
        memcpy(&bits, run->mask + at / 8, n >= UNIT ? UNIT / 8 : (n + 7) / 8);
    return bits;
}

/* d of one vector. */
INLINE vf gradient(const struct bn_run *run, size_t at, size_t n, uint64_t bits, int bf16)
{
    vf d = get(run->dy, at, n, bf16);
    if (run->dy2 != NULL)
        d += get(run->dy2, at, n, bf16);
    if (run->mask != NULL)
        d = (vf)((vi)d & lanes_of((uint32_t)(bits & ((UINT64_C(1) << LANES) - 1))));
    return d;
}

/* sum and product are one unit each. */
INLINE void sums_unit(const struct bn_run *run, size_t at, size_t n, const float *mean, vf sum[4], vf product[4],
                      int bf16)
{
    uint64_t bits = mask_bits(run, at, n);
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf d = gradient(run, at + i, n - i, bits >> i, bf16);
        vf x = get(run->x, at + i, n - i, bf16) - load_vf(mean + i);
        if (run->dz != NULL)
            put(run->dz, at + i, d, n - i, bf16);
        sum[v] += d;
        product[v] = fma_vf(d, x, product[v]); /* d is 0 in lanes beyond n */
    }
}

INLINE void sums_stored(const struct bn_run *run, size_t at, size_t n, size_t place, int bf16)
{
    vf sum[4], product[4];
    memcpy(sum, run->sum + place, sizeof sum);
    memcpy(product, run->product + place, sizeof product);
    sums_unit(run, at, n, run->mean + place, sum, product, bf16);
    memcpy(run->sum + place, sum, sizeof sum);
    memcpy(run->product + place, product, sizeof product);
}

INLINE void sums_typed(const struct bn_run *given, int bf16)
{
    const struct bn_run local = *given, *run = &local;
    if (run->period != UNIT) {
#define BODY(at, n, place) sums_stored(run, at, n, place, bf16)
        EACH_UNIT(run, BODY);
#undef BODY
        return;
    }
    vf sum[4] = {{0}}, product[4] = {{0}};
    size_t at = 0;
    for (; at + UNIT <= run->count; at += UNIT)
        sums_unit(run, at, UNIT, run->mean, sum, product, bf16);
    for (size_t v = 0; v < 4; v++) {
        store_vf(run->sum + v * LANES, load_vf(run->sum + v * LANES) + sum[v]);
        store_vf(run->product + v * LANES, load_vf(run->product + v * LANES) + product[v]);
    }
    if (at < run->count)
        sums_stored(run, at, run->count - at, 0, bf16);
}

static void back_sums(const struct bn_run *run)
{
    if (run->bf16)
        sums_typed(run, 1);
    else
        sums_typed(run, 0);
}

INLINE void write_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int bf16)
{
    uint64_t bits = mask_bits(run, at, n);
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf d = gradient(run, at + i, n - i, bits >> i, bf16);
        vf x = get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i);
        vf rest = fma_vf(x, load_vf(run->slope + place + i), load_vf(run->shift + place + i));
        put(run->y, at + i, fma_vf(d, load_vf(run->scale + place + i), rest), n - i, bf16);
    }
}

static void back_write(const struct bn_run *given)
{
    const struct bn_run local = *given, *run = &local;
#define BODY_F32(at, n, place) write_unit(run, at, n, place, 0)
#define BODY_BF16(at, n, place) write_unit(run, at, n, place, 1)
    if (run->bf16)
        EACH_UNIT(run, BODY_BF16);
    else
        EACH_UNIT(run, BODY_F32);
#undef BODY_F32
#undef BODY_BF16
}

extern const struct bn_loops SIMD_NAME(bn_loops);
const struct bn_loops SIMD_NAME(bn_loops) = {stats, apply, back_sums, back_write};
