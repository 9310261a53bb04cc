/* SPDX-License-Identifier: MIT
 *
 * philox: see philox.h. */
#include "philox.h"

#include <math.h>

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)c0 * UINT32_C(0xD2511F53), b = (uint64_t)c2 * UINT32_C(0xCD9E8D57);
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void rng_init(struct rng *r, uint64_t seed, uint64_t epoch, uint64_t sample, unsigned view, enum rng_purpose purpose)
{
    *r = (struct rng){0};
    r->key[0] = (uint32_t)seed;
    r->key[1] = (uint32_t)(seed >> 32);
    r->counter[1] = (uint32_t)sample;
    r->counter[2] = (uint32_t)purpose << 24 | (uint32_t)(view & 255) << 16 | (uint32_t)(sample >> 32 & 0xffff);
    r->counter[3] = (uint32_t)epoch;
    r->used = 4;
}

uint32_t rng_u32(struct rng *r)
{
    if (r->used == 4) {
        philox4x32(r->counter, r->key, r->word);
        r->counter[0]++;
        r->used = 0;
    }
    return r->word[r->used++];
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t high = rng_u32(r);
    return high << 32 | rng_u32(r);
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

__extension__ typedef unsigned __int128 u128;

uint64_t rng_below(struct rng *r, uint64_t n)
{
    /* Lemire 2019: the high half of u * n is uniform once the lowest 2^64 mod n products are rejected. */
    uint64_t threshold = (0 - n) % n;
    for (;;) {
        u128 product = (u128)rng_u64(r) * n;
        if ((uint64_t)product >= threshold)
            return (uint64_t)(product >> 64);
    }
}

double rng_normal(struct rng *r)
{
    if (r->has_normal) {
        r->has_normal = 0;
        return r->normal;
    }
    double u1 = rng_uniform(r), u2 = rng_uniform(r);
    double radius = sqrt(-2.0 * log(1.0 - u1)), angle = 6.283185307179586476925 * u2;
    r->normal = radius * sin(angle);
    r->has_normal = 1;
    return radius * cos(angle);
}
