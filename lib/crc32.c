/* SPDX-License-Identifier: MIT
 *
 * crc32: see crc32.h. A message is a polynomial over two elements, and its CRC is the remainder by P = 0x104c11db7.
 * Any part of it may therefore be replaced by something with the same remainder. A block of 128 bits that is D bits
 * before another is added to that one as its halves times x^(D+64) mod P and x^D mod P, which are multiplications
 * without carries (V. Gopal et al., Fast CRC computation using PCLMULQDQ, 2009). Four blocks are processed side by
 * side, D = 512. At the end they become one, D = 128, whose CRC zlib computes. What a reader would get wrong: bits
 * are reflected, the first bit of a byte being its lowest. Constants are therefore reflected too, and multiplied by
 * x, because a product of reflected numbers comes out one bit low. */
#include "crc32.h"

#include <zlib.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

enum { BLOCK = 16, LANES = 4, LEAST = 2 * LANES * BLOCK }; /* shorter messages are zlib's */

__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i block, __m128i by, __m128i onto)
{
    __m128i low = _mm_clmulepi64_si128(block, by, 0x00), high = _mm_clmulepi64_si128(block, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

__attribute__((target("pclmul,sse4.1"))) static inline __m128i load(const unsigned char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* `size`: a multiple of 64, 64 at least. Writes a block that has the CRC of all of it, taken from a register of 0. */
__attribute__((target("pclmul,sse4.1"))) static void fold_all(uint32_t crc, const unsigned char *bytes, size_t size,
                                                              unsigned char rest[BLOCK])
{
    const __m128i by_four = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4); /* x^512, x^576 */
    const __m128i by_one = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);  /* x^128, x^192 */
    __m128i lane[LANES];
    for (int l = 0; l < LANES; l++)
        lane[l] = load(bytes + l * BLOCK);
    lane[0] =
        _mm_xor_si128(lane[0], _mm_cvtsi32_si128((int)~crc)); /* what the register holds is added to the message */
    for (size_t at = LANES * BLOCK; at < size; at += LANES * BLOCK)
        for (int l = 0; l < LANES; l++)
            lane[l] = fold(lane[l], by_four, load(bytes + at + (size_t)l * BLOCK));
    for (int l = 1; l < LANES; l++)
        lane[l] = fold(lane[l - 1], by_one, lane[l]);
    _mm_storeu_si128((__m128i *)(void *)rest, lane[LANES - 1]);
}

uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size)
{
    unsigned char rest[BLOCK];
    if (size < LEAST || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1"))
        return (uint32_t)crc32_z(crc, bytes, size);
    size_t whole = size - size % (LANES * BLOCK);
    fold_all(crc, bytes, whole, rest);
    crc = (uint32_t)crc32_z(0xffffffffu, rest, sizeof rest); /* whose complement, the register, is 0 */
    return (uint32_t)crc32_z(crc, (const unsigned char *)bytes + whole, size - whole);
}

#else

uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size)
{
    return (uint32_t)crc32_z(crc, bytes, size);
}

#endif
