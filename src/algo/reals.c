/* SPDX-License-Identifier: MIT
 *
 * reals: see reals.h. */
#include "algo/reals.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "num.h"

double real_at(const void *reals, size_t real_bytes, size_t i)
{
    return real_bytes == sizeof(double) ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}

void reals_from_doubles(void *reals, size_t real_bytes, const double *values, size_t count)
{
    if (real_bytes == sizeof(double)) {
        memcpy(reals, values, count * sizeof(double));
        return;
    }
    float *f32 = reals;
    for (size_t i = 0; i < count; i++)
        f32[i] = (float)values[i];
}

void reals_to_doubles(double *values, const void *reals, size_t real_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = real_at(reals, real_bytes, i);
}

int64_t reals_first_bad(const void *reals, size_t real_bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(real_at(reals, real_bytes, i)))
            return (int64_t)i;
    return -1;
}

/* Beyond these a double is not finite as a real: in f32, what rounds to infinity. */
#define LARGEST_F32 0x1.fffffefffffffp127
enum { STRIDE = 256 };

/* The first number of which |x| <= limit is not true; `count`: none. In strides without branches, since nearly always
 * none is. */
static int64_t first_beyond(const double *values, int64_t count, double limit)
{
    int64_t i = 0;
    for (int bad = 0; !bad && count - i >= STRIDE; i += bad ? 0 : STRIDE)
        for (int k = 0; k < STRIDE; k++)
            bad |= !(fabs(values[i + k]) <= limit);
    while (i < count && fabs(values[i]) <= limit)
        i++;
    return i;
}

moco_status reals_check(const double *values, int64_t count, size_t real_bytes, const char *name, struct err *err)
{
    char value[NUM_TEXT];
    int64_t i = first_beyond(values, count, real_bytes == sizeof(float) ? LARGEST_F32 : DBL_MAX);
    if (i == count)
        return MOCO_OK;
    num_format_double(value, values[i]);
    return err_set(err, MOCO_ENUMERIC, "number %lld of %s is %s, which is not finite%s", (long long)i, name, value,
                   isfinite(values[i]) ? " in f32" : "");
}
