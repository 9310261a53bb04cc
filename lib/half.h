/* SPDX-License-Identifier: MIT
 *
 * half: bfloat16 as its bits, IEEE half precision read from its bits, and TF32. Conversion to bf16 rounds to nearest, ties
 * to even, as the CPU's own instructions do; a NaN stays a (quiet) NaN. */
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

#endif
