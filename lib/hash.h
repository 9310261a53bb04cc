/* SPDX-License-Identifier: MIT
 *
 * hash: XXH3 of 128 bits (xxhash.com), in pieces, as hex. It finds damage but does not protect against forgery. The
 * code is compiled in from xxhash.h, so that no state is allocated and no library's layout is relied on. */
#ifndef MOCO_LIB_HASH_H
#define MOCO_LIB_HASH_H

#include <stddef.h>

#define HASH_DIGITS 32

struct hash {
    _Alignas(64) unsigned char state[640];
};

void hash_start(struct hash *h);
void hash_add(struct hash *h, const void *bytes, size_t size);
/* Lower-case hex, most significant digit first (as xxh128sum prints), and a 0. More may be added afterwards. */
void hash_text(const struct hash *h, char text[HASH_DIGITS + 1]);

#endif
