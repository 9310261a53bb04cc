/* SPDX-License-Identifier: MIT
 *
 * nearest: see nearest.h. Candidates are collected unsorted, and reduced to the k nearest when the array is full.
 * That costs a few operations a row, whatever k is. */
#include "eval/nearest.h"

#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { RUN = 16 }; /* cosines looked at together */

struct nearest_size nearest_size(int k)
{
    return (struct nearest_size){.k = k, .room = k + (k < 64 ? 128 : k < 1024 ? 2 * k : 2048) + RUN};
}

void nearest_begin(struct nearest *n, uint64_t *room)
{
    *n = (struct nearest){.at = room, .limit = -INFINITY};
}

/* A candidate is 64 bits: the cosine's, and the place in the bank. As a key they are such that a larger one is nearer,
 * and of equally near ones the first in the bank: then choosing needs no branch that depends on the data. */

static uint64_t raw_of(float cosine, uint32_t place)
{
    uint32_t bits;
    memcpy(&bits, &cosine, sizeof bits);
    return (uint64_t)bits << 32 | place;
}

static uint64_t key_of(uint64_t raw)
{
    uint32_t bits = (uint32_t)(raw >> 32), place = (uint32_t)raw;
    if (bits == 0x80000000u)
        bits = 0; /* -0 is 0 */
    return (uint64_t)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (uint32_t)~place;
}

static float nearest_cosine(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float cosine;
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    memcpy(&cosine, &bits, sizeof cosine);
    return cosine;
}

uint32_t nearest_place(uint64_t key)
{
    return ~(uint32_t)key;
}

static int middle(const uint64_t *x, int a, int b, int c)
{
    if (x[a] > x[b])
        return x[b] > x[c] ? b : x[a] > x[c] ? c : a;
    return x[a] > x[c] ? a : x[b] > x[c] ? c : b;
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t held = *a;
    *a = *b;
    *b = held;
}

/* Brings the k largest of `count` keys to the front. */
static void select_largest(uint64_t *x, int count, int k)
{
    for (int low = 0, high = count; high - low > 1;) {
        swap(&x[low], &x[middle(x, low, low + (high - low) / 2, high - 1)]);
        uint64_t pivot = x[low];
        int last = low; /* of those that are larger */
        for (int i = low + 1; i < high; i++) {
            uint64_t key = x[i];
            x[i] = x[last + 1];
            x[last + 1] = key;
            last += key > pivot;
        }
        swap(&x[low], &x[last]);
        if (last == k || last == k - 1)
            return;
        if (last > k)
            high = last;
        else
            low = last + 1;
    }
}

/* Leaves the k nearest, as keys, and lets nothing in again that is not nearer than the farthest of them. */
void nearest_finish(struct nearest *c, const struct nearest_size *size)
{
    for (int i = c->keys; i < c->count; i++)
        c->at[i] = key_of(c->at[i]);
    c->keys = c->count;
    if (c->count <= size->k)
        return;
    select_largest(c->at, c->count, size->k);
    c->keys = c->count = size->k;
    uint64_t farthest = c->at[0];
    for (int i = 1; i < c->count; i++)
        farthest = c->at[i] < farthest ? c->at[i] : farthest;
    c->limit = nearest_cosine(farthest);
}

/* Bit i: cosine i of RUN is above limit i. */
static unsigned above(const float *cosines, const float *limits)
{
#ifdef __SSE2__ /* of every x86-64; the compiler makes sixteen compares of the loop below */
#define ABOVE(i) _mm_castps_si128(_mm_cmpgt_ps(_mm_loadu_ps(cosines + (i)), _mm_loadu_ps(limits + (i))))
    const __m128i low = _mm_packs_epi32(ABOVE(0), ABOVE(4)), high = _mm_packs_epi32(ABOVE(8), ABOVE(12));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));
#undef ABOVE
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < RUN; i++)
        mask |= (unsigned)(cosines[i] > limits[i]) << i;
    return mask;
#endif
}

/* `count` numbers, and behind them what is above no limit. */
static const float *whole_run(const float *from, int count, float *run)
{
    if (count >= RUN)
        return from;
    for (int i = 0; i < RUN; i++)
        run[i] = i < count ? from[i] : -INFINITY;
    return run;
}

static void set_all(float *limits, float limit)
{
    for (int i = 0; i < RUN; i++)
        limits[i] = limit;
}

/* Rows come in the order of the bank, so that one which is only as near as the farthest that was kept loses. */
void nearest_offer(struct nearest *c, const struct nearest_size *size, const float *cosines, int64_t first, int n)
{
    float limits[RUN], rest[RUN];
    set_all(limits, c->limit);
    for (int i = 0; i < n; i += RUN) {
        const float *run = whole_run(cosines + i, n - i, rest);
        for (unsigned mask = above(run, limits); mask != 0; mask &= mask - 1) {
            int j = __builtin_ctz(mask);
            c->at[c->count++] = raw_of(run[j], (uint32_t)(first + i + j));
        }
        if (c->count > size->room - RUN) {
            nearest_finish(c, size);
            set_all(limits, c->limit);
        }
    }
}

/* One row after the other to RUN queries. */
void nearest_offer_rows(struct nearest *n, int count, const struct nearest_size *size, const float *cosines, int stride,
                        int64_t first, int rows)
{
    for (int q = 0; q < count; q += RUN) {
        float limits[RUN], rest[RUN];
        for (int j = 0; j < RUN; j++)
            limits[j] = q + j < count ? n[q + j].limit : INFINITY;
        for (int i = 0; i < rows; i++) {
            const float *run = whole_run(cosines + (int64_t)i * stride + q, count - q, rest);
            for (unsigned mask = above(run, limits); mask != 0; mask &= mask - 1) {
                int j = __builtin_ctz(mask);
                struct nearest *c = &n[q + j];
                c->at[c->count++] = raw_of(run[j], (uint32_t)(first + i));
                if (c->count > size->room - RUN) {
                    nearest_finish(c, size);
                    limits[j] = c->limit;
                }
            }
        }
    }
}

/* Its rows may lie before ours in the bank, so that equally near ones must be let in. */
void nearest_merge(struct nearest *n, const struct nearest_size *size, const struct nearest *other)
{
    nearest_finish(n, size);
    for (int i = 0; i < other->count; i++) {
        if (n->count > size->room - RUN)
            nearest_finish(n, size);
        n->at[n->count++] = i < other->keys ? other->at[i] : key_of(other->at[i]);
        n->keys = n->count;
    }
}
