/* SPDX-License-Identifier: MIT
 *
 * slab_simd: operations number by number over slabs, vectors and maps of any shape, compiled once per instruction
 * set. What a reader would get wrong: a slab may be cut anywhere. The last, partial vector therefore uses the same
 * instructions as the others (fused or not), so that every number has the same bits. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* BODY(at, n) for every vector; the last may be short. */
#define EACH_VECTOR(count, BODY)                                                                                       \
    do {                                                                                                               \
        size_t at_ = 0;                                                                                                \
        for (; at_ + LANES <= (count); at_ += LANES)                                                                   \
            BODY(at_, (size_t)LANES);                                                                                  \
        if (at_ < (count))                                                                                             \
            BODY(at_, (count)-at_);                                                                                    \
    } while (0)

/* ---- maps ---- */

INLINE void add_vector(size_t at, size_t n, int bf16, const void *a, const void *b, int relu, void *out)
{
    vf sum = get(a, at, n, bf16) + get(b, at, n, bf16);
    put(out, at, relu ? relu_vf(sum) : sum, n, bf16);
}

static void add(size_t count, int bf16, const void *a, const void *b, int relu, void *out)
{
#define BODY_F32(at, n) add_vector(at, n, 0, a, b, relu, out)
#define BODY_BF16(at, n) add_vector(at, n, 1, a, b, relu, out)
    if (bf16)
        EACH_VECTOR(count, BODY_BF16);
    else
        EACH_VECTOR(count, BODY_F32);
#undef BODY_F32
#undef BODY_BF16
}

/* Written so that NaN is not stopped: a step must see it. */
INLINE void relu_back_vector(size_t at, size_t n, int bf16, const void *dy, const void *y, void *out)
{
    vi open = ~(get(y, at, n, bf16) <= 0);
    put(out, at, (vf)(open & (vi)get(dy, at, n, bf16)), n, bf16);
}

static void relu_back(size_t count, int bf16, const void *dy, const void *y, void *out)
{
#define BODY_F32(at, n) relu_back_vector(at, n, 0, dy, y, out)
#define BODY_BF16(at, n) relu_back_vector(at, n, 1, dy, y, out)
    if (bf16)
        EACH_VECTOR(count, BODY_BF16);
    else
        EACH_VECTOR(count, BODY_F32);
#undef BODY_F32
#undef BODY_BF16
}

/* ---- vectors ---- */

INLINE void bias_vector(size_t at, size_t n, const float *bias_, int relu, float *y)
{
    vf sum = load_some(y + at, n) + load_some(bias_ + at, n);
    store_some(y + at, relu ? relu_vf(sum) : sum, n);
}

static void bias(size_t count, const float *bias_, int relu, float *y)
{
#define BODY(at, n) bias_vector(at, n, bias_, relu, y)
    EACH_VECTOR(count, BODY);
#undef BODY
}

static void scale(size_t count, const float *x, float factor, float *y)
{
#define BODY(at, n) store_some(y + (at), load_some(x + (at), n) * factor, n)
    EACH_VECTOR(count, BODY);
#undef BODY
}

static void project(size_t count, const float *a, const float *b, float along, float factor, float *y)
{
#define BODY(at, n)                                                                                                    \
    store_some(y + (at), fma_vf(load_some(b + (at), n), all_vf(-along), load_some(a + (at), n)) * factor, n)
    EACH_VECTOR(count, BODY);
#undef BODY
}

INLINE void dot_vector(vf a, vf b, vd sum[2])
{
    vd a_low, a_high, b_low, b_high;
    halves(a, &a_low, &a_high);
    halves(b, &b_low, &b_high);
    sum[0] += a_low * b_low;
    sum[1] += a_high * b_high;
}

static double dot(size_t count, const float *a, const float *b)
{
    vd sum[4] = {{0}};
    size_t at = 0;
    for (; at + 2 * LANES <= count; at += 2 * LANES) {
        dot_vector(load_vf(a + at), load_vf(b + at), sum);
        dot_vector(load_vf(a + at + LANES), load_vf(b + at + LANES), sum + 2);
    }
    for (; at < count; at += LANES)
        dot_vector(load_some(a + at, count - at), load_some(b + at, count - at), sum);
    return sum_vd((sum[0] + sum[2]) + (sum[1] + sum[3]));
}

/* ---- slabs ---- */

/* From the nearer end, so that m = 0 gives q, m = 1 gives k and equal numbers stay, all exactly. */
static void ema(size_t count, double m, const float *k, const float *q, float *out)
{
    const float *near = m < 0.5 ? q : k, *far = m < 0.5 ? k : q;
    vf step = all_vf((float)(m < 0.5 ? m : 1 - m));
#define BODY(at, n)                                                                                                    \
    do {                                                                                                               \
        vf from = load_some(near + (at), n);                                                                           \
        store_some(out + (at), fma_vf(step, load_some(far + (at), n) - from, from), n);                                \
    } while (0)
    EACH_VECTOR(count, BODY);
#undef BODY
}

INLINE void sgd_vector(size_t at, size_t n, vf minus_lr, vf momentum, vf decay, float *p, const float *g, float *v)
{
    vf weight = load_some(p + at, n), step = fma_vf(decay, weight, load_some(g + at, n));
    step = fma_vf(momentum, load_some(v + at, n), step);
    store_some(v + at, step, n);
    store_some(p + at, fma_vf(minus_lr, step, weight), n);
}

static void sgd(size_t count, float lr, float momentum, float decay, float *p, const float *g, float *v)
{
    vf minus_lr = all_vf(-lr), keep = all_vf(momentum), pull = all_vf(decay);
#define BODY(at, n) sgd_vector(at, n, minus_lr, keep, pull, p, g, v)
    EACH_VECTOR(count, BODY);
#undef BODY
}

static double pull(size_t count, float decay, const float *p, const float *g)
{
    vd sum[2] = {{0}};
    vf by = all_vf(decay);
    for (size_t at = 0; at < count; at += LANES) {
        vf x = fma_vf(by, load_some(p + at, count - at), load_some(g + at, count - at));
        dot_vector(x, x, sum);
    }
    return sum_vd(sum[0] + sum[1]);
}

INLINE void lars_vector(size_t at, size_t n, vf lr, vf momentum, vf decay, float *p, const float *g, float *v)
{
    vf weight = load_some(p + at, n), step = lr * fma_vf(decay, weight, load_some(g + at, n));
    step = fma_vf(momentum, load_some(v + at, n), step);
    store_some(v + at, step, n);
    store_some(p + at, weight - step, n);
}

static void lars(size_t count, float lr, float momentum, float decay, float *p, const float *g, float *v)
{
    vf rate = all_vf(lr), keep = all_vf(momentum), by = all_vf(decay);
#define BODY(at, n) lars_vector(at, n, rate, keep, by, p, g, v)
    EACH_VECTOR(count, BODY);
#undef BODY
}

static void narrow(size_t count, const float *from, uint16_t *to)
{
#define BODY(at, n) put(to, at, load_some(from + (at), n), n, 1)
    EACH_VECTOR(count, BODY);
#undef BODY
}

/* x * 0 is 0 but for what is not finite, and NaN stays. */
static int finite(size_t count, const float *x)
{
    vf seen[2] = {{0}};
    size_t at = 0;
    for (; at + 2 * LANES <= count; at += 2 * LANES) {
        seen[0] = fma_vf(load_vf(x + at), (vf){0}, seen[0]);
        seen[1] = fma_vf(load_vf(x + at + LANES), (vf){0}, seen[1]);
    }
    for (; at < count; at += LANES)
        seen[0] = fma_vf(load_some(x + at, count - at), (vf){0}, seen[0]);
    return bits_of(seen[0] + seen[1] == 0) == (1u << LANES) - 1;
}

enum { SIDE = 16 }; /* of a tile */

/* Two vectors of one line: the rows of two inputs, or what a tile in bf16 has of two outputs. */
static void tile(const float *from, int pairs_of_outputs, uint16_t *to, size_t line)
{
    if (!pairs_of_outputs) {
        for (size_t j = 0; j < SIDE / 2; j++)
            for (size_t o = 0; o < SIDE; o += LANES) {
                const float *at = from + 2 * j * SIDE + o;
                stream_vf(to + j * line + 2 * o, (vf)(bf16_bits(load_vf(at)) | bf16_bits(load_vf(at + SIDE)) << 16));
            }
        return;
    }
    uint32_t pairs[SIDE][SIDE / 2], turned[SIDE / 2][SIDE];
    for (size_t at = 0; at < SLAB_TILE; at += LANES) {
        vh half = to_bf16(load_vf(from + at));
        memcpy((char *)pairs + at * sizeof(uint16_t), &half, sizeof half);
    }
    for (size_t j = 0; j < SIDE / 2; j++)
        for (size_t i = 0; i < SIDE; i++)
            turned[j][i] = pairs[i][j];
    for (size_t j = 0; j < SIDE / 2; j++)
        for (size_t i = 0; i < SIDE; i += LANES) {
            vf vector;
            memcpy(&vector, &turned[j][i], sizeof vector);
            stream_vf(to + j * line + 2 * i, vector);
        }
}

extern const struct slab_loops SIMD_NAME(slab_loops);
const struct slab_loops SIMD_NAME(slab_loops) = {add, relu_back, bias, scale,  project, dot, ema,
                                                 sgd, pull,      lars, narrow, finite,  tile};
