/* SPDX-License-Identifier: MIT
 *
 * hash: see hash.h. */
#define XXH_INLINE_ALL
#include "hash.h"

#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash), "struct hash holds xxhash's state");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct hash), "struct hash is aligned as xxhash's state");

void hash_start(struct hash *h)
{
    XXH3_state_t *state = (XXH3_state_t *)(void *)h->state;
    XXH3_INITSTATE(state);
    XXH3_128bits_reset(state);
}

void hash_add(struct hash *h, const void *bytes, size_t size)
{
    if (size > 0)
        XXH3_128bits_update((XXH3_state_t *)(void *)h->state, bytes, size);
}

void hash_text(const struct hash *h, char text[HASH_DIGITS + 1])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((const XXH3_state_t *)(const void *)h->state));
    for (size_t i = 0; i < sizeof canonical.digest; i++) {
        text[2 * i] = "0123456789abcdef"[canonical.digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[canonical.digest[i] & 15];
    }
    text[HASH_DIGITS] = 0;
}
