/* SPDX-License-Identifier: MIT
 *
 * kernels: which levels of inner loops exist, and which of them this CPU can run. */
#include "backend/cpu/kernels/kernels.h"

#include "backend/cpu/kernels/simd_table.h"

#define LEVEL(level, lanes)                                                                                            \
    extern const struct bn_loops bn_loops_##level;                                                                     \
    extern const struct map_loops map_loops_##level;                                                                   \
    extern const struct slab_loops slab_loops_##level;                                                                 \
    extern const struct infonce_loops infonce_loops_##level;                                                           \
    extern const struct conv_loops conv_loops_##level;                                                                 \
    extern const struct winograd_loops winograd_loops_##level[2];                                                      \
    static const struct simd_table table_##level = {#level,                                                            \
                                                    4 * (lanes),                                                       \
                                                    &bn_loops_##level,                                                 \
                                                    &map_loops_##level,                                                \
                                                    &slab_loops_##level,                                               \
                                                    &infonce_loops_##level,                                            \
                                                    &conv_loops_##level,                                               \
                                                    winograd_loops_##level};

LEVEL(base, 4)
#if defined(__x86_64__)
LEVEL(avx2, 8)
LEVEL(avx512, 16)
LEVEL(avx512bf16, 16)
#endif

const struct simd_table *kern_level(int index)
{
    const struct simd_table *usable[4] = {&table_base};
    int count = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        usable[count++] = &table_avx2;
    if (count == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        usable[count++] = &table_avx512;
    if (count == 3 && __builtin_cpu_supports("avx512bf16"))
        usable[count++] = &table_avx512bf16;
#endif
    return index >= 0 && index < count ? usable[index] : NULL;
}

const struct simd_table *kern_table(int isa)
{
    while (isa > 0 && kern_level(isa) == NULL)
        isa--;
    return kern_level(isa > 0 ? isa : 0);
}
