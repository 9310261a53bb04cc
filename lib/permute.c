/* SPDX-License-Identifier: MIT
 *
 * permute: see permute.h. */
#include "permute.h"

#include "philox.h"

void permute_init(struct permute *p, uint64_t seed, uint64_t epoch, uint64_t n)
{
    int bits = 0;
    while (bits < 48 && (n - 1) >> bits != 0)
        bits++;
    p->n = n;
    p->seed = seed;
    p->epoch = epoch;
    p->rounds = 32 + 8 * bits;
    struct rng r;
    rng_init(&r, seed, epoch, 0, 0, RNG_EPOCH_KEYS);
    for (int i = 0; i < p->rounds; i++)
        p->key[i] = rng_below(&r, n);
}

uint64_t permute_at(const struct permute *p, uint64_t position)
{
    /* Round r pairs x with (key - x) mod n and swaps the pair if the pair's bit is set: bit 0 of word 0 of the block
     * whose counter names the round and the pair by its larger member. */
    uint64_t x = position;
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    for (int r = 0; r < p->rounds; r++) {
        uint64_t partner = p->key[r] >= x ? p->key[r] - x : p->key[r] + (p->n - x);
        uint64_t pair = x > partner ? x : partner;
        const uint32_t counter[4] = {(uint32_t)r, (uint32_t)pair,
                                     (uint32_t)RNG_EPOCH_BITS << 24 | (uint32_t)(pair >> 32 & 0xffff),
                                     (uint32_t)p->epoch};
        uint32_t word[4];
        philox4x32(counter, key, word);
        if (word[0] & 1)
            x = partner;
    }
    return x;
}

void permute_draw(struct rng *r, int n, int32_t *place)
{
    for (int i = 0; i < n; i++)
        place[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(r, (uint64_t)i + 1);
        int32_t held = place[i];
        place[i] = place[j];
        place[j] = held;
    }
}

void permute_batch(uint64_t seed, uint64_t step, int direction, int n, int32_t *place)
{
    struct rng r;
    rng_init(&r, seed, step, 0, (unsigned)direction, RNG_SHUFFLE);
    permute_draw(&r, n, place);
}
