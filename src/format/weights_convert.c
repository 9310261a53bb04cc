/* SPDX-License-Identifier: MIT
 *
 * weights_convert: converts numbers of a file's type to the type that a caller asked for. As in moco_model_get,
 * numbers are converted through doubles, which hold all types except i64 exactly; integers that stay integers are
 * not. */
#include <string.h>

#include "format/weights_state.h"
#include "half.h"

size_t weights_number_size(enum weights_number number)
{
    static const unsigned char sizes[] = {4, 8, 8, 1, 2};
    return sizes[number];
}

int weights_converts(enum safetensors_dtype dtype, enum weights_number number)
{
    switch (number) {
    case WEIGHTS_F32:
    case WEIGHTS_F64:
        return 1;
    case WEIGHTS_I64:
        return dtype != SAFETENSORS_F64 && dtype != SAFETENSORS_F32 && dtype != SAFETENSORS_F16 &&
               dtype != SAFETENSORS_BF16;
    case WEIGHTS_U8:
        return dtype == SAFETENSORS_U8 || dtype == SAFETENSORS_BOOL;
    default:
        return dtype == SAFETENSORS_BF16;
    }
}

static void store(enum weights_number number, void *to, int64_t i, double value)
{
    if (number == WEIGHTS_F64)
        ((double *)to)[i] = value;
    else
        ((float *)to)[i] = (float)value;
}

/* By memcpy, because bytes of a file are not aligned. */
#define LOOP(type, value)                                                                                              \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type x;                                                                                                        \
        memcpy(&x, (const char *)from + i * (int64_t)sizeof x, sizeof x);                                              \
        store(number, to, i, (double)(value));                                                                         \
    }                                                                                                                  \
    break

/* Converts f32 to f64, which nearly every file needs, in strides of a fixed length that the compiler can vectorise.
 * Returns how many were converted; the rest is left to LOOP. */
static int64_t widen_f32(const char *from, int64_t count, double *to)
{
    enum { STRIDE = 256 };
    float x[STRIDE];
    int64_t i = 0;
    for (; count - i >= STRIDE; i += STRIDE) {
        memcpy(x, from + i * (int64_t)sizeof x[0], sizeof x);
        for (int k = 0; k < STRIDE; k++)
            to[i + k] = (double)x[k];
    }
    return i;
}

static void to_real(enum safetensors_dtype dtype, const void *from, int64_t count, enum weights_number number, void *to)
{
    if (dtype == SAFETENSORS_F32 && number == WEIGHTS_F64) {
        int64_t done = widen_f32(from, count, to);
        from = (const char *)from + done * (int64_t)sizeof(float);
        to = (double *)to + done;
        count -= done;
    }
    switch (dtype) {
    case SAFETENSORS_F64:
        LOOP(double, x);
    case SAFETENSORS_F32:
        LOOP(float, x);
    case SAFETENSORS_F16:
        LOOP(uint16_t, f16_to_float(x));
    case SAFETENSORS_BF16:
        LOOP(uint16_t, bf16_to_float(x));
    case SAFETENSORS_I64:
        LOOP(int64_t, x);
    case SAFETENSORS_I32:
        LOOP(int32_t, x);
    case SAFETENSORS_I16:
        LOOP(int16_t, x);
    case SAFETENSORS_I8:
        LOOP(int8_t, x);
    case SAFETENSORS_U8:
        LOOP(uint8_t, x);
    default: /* bool: any bit counts as true */
        LOOP(uint8_t, x != 0);
    }
}
#undef LOOP

#define LOOP(type, value)                                                                                              \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type x;                                                                                                        \
        memcpy(&x, (const char *)from + i * (int64_t)sizeof x, sizeof x);                                              \
        ((int64_t *)to)[i] = value;                                                                                    \
    }                                                                                                                  \
    break

static void to_integer(enum safetensors_dtype dtype, const void *from, int64_t count, void *to)
{
    switch (dtype) {
    case SAFETENSORS_I64:
        LOOP(int64_t, x);
    case SAFETENSORS_I32:
        LOOP(int32_t, x);
    case SAFETENSORS_I16:
        LOOP(int16_t, x);
    case SAFETENSORS_I8:
        LOOP(int8_t, x);
    case SAFETENSORS_U8:
        LOOP(uint8_t, x);
    default:
        LOOP(uint8_t, x != 0);
    }
}
#undef LOOP

void weights_convert(enum safetensors_dtype dtype, const void *from, int64_t count, enum weights_number number,
                     void *to)
{
    if (number == WEIGHTS_AS_IS)
        memcpy(to, from, (size_t)count * safetensors_dtype_size(dtype));
    else if (number == WEIGHTS_F32 || number == WEIGHTS_F64)
        to_real(dtype, from, count, number, to);
    else if (number == WEIGHTS_I64)
        to_integer(dtype, from, count, to);
    else
        for (int64_t i = 0; i < count * (int64_t)weights_number_size(number); i++)
            ((uint8_t *)to)[i] =
                dtype == SAFETENSORS_BOOL ? ((const uint8_t *)from)[i] != 0 : ((const uint8_t *)from)[i];
}
