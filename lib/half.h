/* SPDX-License-Identifier: MIT
 *
 * half: bfloat16 and IEEE half precision as their bits, and TF32. Conversions round to nearest, ties to even, as the
 * instructions of CPUs and GPUs do; a NaN stays a (quiet) NaN. */
#ifndef MOCO_LIB_HALF_H
#define MOCO_LIB_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & UINT32_C(0x7fffffff)) > UINT32_C(0x7f800000))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float bf16_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What a tensor core reads of a float in TF32: 10 bits of mantissa. To nearest, ties to even. */
static inline float tf32_round(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & UINT32_C(0x7f800000)) != UINT32_C(0x7f800000))
        bits = (bits + 0xfff + (bits >> 13 & 1)) & ~UINT32_C(0x1fff);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Exact: every half, subnormal ones too, is a float. A NaN stays a NaN with the same bits at its top. */
static inline float f16_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff, bits;
    float value;
    if (rest >= 0x7c00) /* infinity or NaN */
        bits = sign | UINT32_C(0x7f800000) | (rest & 0x3ff) << 13;
    else if (rest >= 0x400)
        bits = sign | ((rest << 13) + (UINT32_C(112) << 23));
    else {
        value = (float)rest * 0x1p-24f; /* subnormal: a count of 2^-24 */
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Beyond 65504 and half of its last place: infinity. */
static inline uint16_t f16_from_float(float value)
{
    uint32_t bits, size;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    size = bits & UINT32_C(0x7fffffff);
    if (size > UINT32_C(0x7f800000))
        return (uint16_t)(sign | 0x7e00);
    if (size >= UINT32_C(0x477ff000))
        return (uint16_t)(sign | 0x7c00);
    if (size < UINT32_C(0x38800000)) { /* below 2^-14: a count of 2^-24, which is the last place of a half */
        const float half = 0.5f;
        uint32_t base;
        memcpy(&value, &size, sizeof value);
        value += half;
        memcpy(&size, &value, sizeof size);
        memcpy(&base, &half, sizeof base);
        return (uint16_t)(sign | (size - base));
    }
    size -= UINT32_C(112) << 23;
    return (uint16_t)(sign | ((size + 0xfff + (size >> 13 & 1)) >> 13));
}

#endif
