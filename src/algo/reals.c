/* SPDX-License-Identifier: MIT
 *
 * reals: see reals.h. */
#include "algo/reals.h"

#include <math.h>
#include <string.h>

#include "num.h"

double real_at(const void *reals, size_t real_bytes, size_t i)
{
    return real_bytes == sizeof(double) ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}

void real_put(void *reals, size_t real_bytes, size_t i, double value)
{
    if (real_bytes == sizeof(double))
        ((double *)reals)[i] = value;
    else
        ((float *)reals)[i] = (float)value;
}

void reals_convert(void *to, size_t to_bytes, const void *from, size_t from_bytes, size_t count)
{
    if (to_bytes == from_bytes)
        memcpy(to, from, count * to_bytes);
    else if (to_bytes == sizeof(double))
        for (size_t i = 0; i < count; i++)
            ((double *)to)[i] = (double)((const float *)from)[i];
    else
        for (size_t i = 0; i < count; i++)
            ((float *)to)[i] = (float)((const double *)from)[i];
}

int64_t reals_first_bad(const void *reals, size_t real_bytes, size_t count)
{
    return real_bytes == sizeof(double) ? num_not_finite_f64(reals, count) : num_not_finite_f32(reals, count);
}

/* Beyond it a double is not finite as a float: it rounds to infinity. */
#define LARGEST_F32 0x1.fffffefffffffp127

static int64_t first_beyond_f32(const double *values, int64_t count)
{
    int64_t i = 0;
    while (i < count && fabs(values[i]) <= LARGEST_F32)
        i++;
    return i < count ? i : -1;
}

moco_status reals_check(const void *values, size_t size, int64_t count, size_t real_bytes, const char *name,
                        struct err *err)
{
    int64_t i = size > real_bytes ? first_beyond_f32(values, count) : reals_first_bad(values, size, (size_t)count);
    return i < 0 ? MOCO_OK : reals_bad(values, size, i, name, err);
}

moco_status reals_bad(const void *values, size_t size, int64_t i, const char *name, struct err *err)
{
    char text[NUM_TEXT];
    double value = real_at(values, size, (size_t)i);
    num_format_double(text, value);
    return err_set(err, MOCO_ENUMERIC, "number %lld of %s is %s, which is not finite%s", (long long)i, name, text,
                   isfinite(value) ? " in f32" : "");
}
