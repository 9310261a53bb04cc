/* SPDX-License-Identifier: MIT
 *
 * view_kernels: which levels exist, and which of them this CPU can run. */
#include "view_kernels.h"

extern const struct view_kernels view_kernels_base;
#if defined(__x86_64__)
extern const struct view_kernels view_kernels_avx2, view_kernels_avx512;
#endif

const struct view_kernels *view_kernels_level(int index)
{
    const struct view_kernels *usable[4] = {&view_kernels_base};
    int count = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        usable[count++] = &view_kernels_avx2;
    if (count == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        usable[count++] = &view_kernels_avx512;
#endif
    return index >= 0 && index < count ? usable[index] : NULL;
}

const struct view_kernels *view_kernels_best(void)
{
    int last = 0;
    while (view_kernels_level(last + 1) != NULL)
        last++;
    return view_kernels_level(last);
}

size_t view_kernels_work(int width)
{
    /* both in columns of RESAMPLE_LANES bytes, in whole squares of them */
    return (size_t)(RESAMPLE_SPAN + width + 2 * RESAMPLE_LANES) * 3 * RESAMPLE_LANES;
}
