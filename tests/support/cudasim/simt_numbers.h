/* SPDX-License-Identifier: MIT
 *
 * simt_numbers: memory for kernels that are run by themselves, of exactly the size that is asked for: a sanitizer sees a
 * step too far. */
#ifndef MOCO_TESTS_SIMT_NUMBERS_H
#define MOCO_TESTS_SIMT_NUMBERS_H

#include <stdlib.h>
#include <string.h>

template <class T> static T *take(size_t count, int byte)
{
    T *out = (T *)malloc(count * sizeof(T));
    if (out == nullptr)
        abort();
    memset(out, byte, count * sizeof(T));
    return out;
}

/* Drawn, in [-1, 1). */
static float *numbers(size_t count)
{
    static unsigned state = 7;
    float *out = take<float>(count, 0);
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (float)(state >> 8) / (1 << 23) - 1;
    }
    return out;
}

#endif
