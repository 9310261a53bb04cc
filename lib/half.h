/* SPDX-License-Identifier: MIT
 *
 * half: bfloat16 as its bits. Rounds to nearest, ties to even, as the CPU's own instructions do; a NaN stays a (quiet) NaN. */
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

#endif
