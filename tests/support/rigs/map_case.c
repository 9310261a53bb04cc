/* SPDX-License-Identifier: MIT
 *
 * map_case: levels, threads and maps for tests of the cpu kernels. */
#include "support/rigs/map_case.h"

#ifdef MOCO_HAVE_ONEDNN

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "backend/cpu/kernels/simd_table.h"
#include "half.h"

enum { MOST_THREADS = 3 };

void team_leave(struct team_walk *walk)
{
    if (walk->next > 0)
        parallel_leave(&walk->scope);
    walk->next = 0;
}

int team_next(struct team_walk *walk)
{
    int next = walk->next;
    team_leave(walk);
    const struct simd_table *table = kern_level(next / MOST_THREADS);
    if (table == NULL)
        return 0;
    struct err err = {0};
    walk->team = (struct kern_team){table, 1 + next % MOST_THREADS};
    walk->level = table->name;
    if (parallel_enter(&walk->scope, walk->team.threads, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    walk->next = next + 1;
    return 1;
}

void *take(size_t bytes)
{
    void *block = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(block);
    return block;
}

size_t map_count(const struct kern_map *map)
{
    return (size_t)map->n * (size_t)map->c * (size_t)map->h * (size_t)map->w;
}

size_t map_bytes(const struct kern_map *map)
{
    return map_count(map) * (map->bf16 ? sizeof(uint16_t) : sizeof(float));
}

size_t map_place(const struct kern_map *map, size_t i)
{
    size_t pixels = (size_t)map->h * (size_t)map->w, c = i / pixels % (size_t)map->c;
    size_t n = i / pixels / (size_t)map->c, b = (size_t)map->block;
    return ((n * ((size_t)map->c / b) + c / b) * pixels + i % pixels) * b + c % b;
}

double map_round(const struct kern_map *map, double value)
{
    return (double)(map->bf16 ? bf16_to_float(bf16_from_float((float)value)) : (float)value);
}

void map_pack(const struct kern_map *map, const double *plain, void *out)
{
    for (size_t i = 0; i < map_count(map); i++) {
        if (map->bf16)
            ((uint16_t *)out)[map_place(map, i)] = bf16_from_float((float)plain[i]);
        else
            ((float *)out)[map_place(map, i)] = (float)plain[i];
    }
}

void map_unpack(const struct kern_map *map, const void *from, double *plain)
{
    for (size_t i = 0; i < map_count(map); i++) {
        size_t at = map_place(map, i);
        plain[i] = (double)(map->bf16 ? bf16_to_float(((const uint16_t *)from)[at]) : ((const float *)from)[at]);
    }
}

double draw_uniform(uint64_t seed, uint64_t i)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xd1342543de82ef95) + 1;
    for (int round = 0; round < 2; round++) {
        x ^= x >> 32;
        x *= UINT64_C(0xd6e8feb86659fd93);
    }
    x ^= x >> 32;
    return (double)(x >> 11) * 0x1p-53;
}

double draw_normal(uint64_t seed, uint64_t i)
{
    double u = 1 - draw_uniform(seed, 2 * i), v = draw_uniform(seed, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

void check_near(double got, double want, double slack, int bf16, const char *what, size_t i)
{
    if (bf16)
        slack += fabs(want) * 0x1p-8 * 1.001;
    if (!(fabs(got - want) <= slack))
        fail_msg("%s[%zu] is %.9g, not %.9g (allowed: %.3g)", what, i, got, want, slack);
}

#else
struct map_case_needs_the_cpu_device; /* ISO C wants a declaration in every file */
#endif
