/* SPDX-License-Identifier: MIT
 *
 * map_case: what tests of the cpu kernels share: every instruction set with every number of threads, and maps packed
 * from and unpacked to plain [n][c][h][w] doubles. Blocks of exactly the needed size let sanitizers see a step too far.
 */
#ifndef MOCO_TESTS_MAP_CASE_H
#define MOCO_TESTS_MAP_CASE_H

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/kernels/kernels.h"

/* One kern_team after another: all levels of this CPU, each with 1..3 threads. Start with zeros. */
struct team_walk {
    struct kern_team team;
    const char *level;
    struct parallel_scope scope;
    int next;
};

int team_next(struct team_walk *walk); /* 0: no more; whoever leaves a walk early calls team_leave */
void team_leave(struct team_walk *walk);

/* Fails the test if it cannot have the memory. */
void *take(size_t bytes);

size_t map_count(const struct kern_map *map);
size_t map_bytes(const struct kern_map *map);
/* Where number i of [n][c][h][w] stands in the map. */
size_t map_place(const struct kern_map *map, size_t i);
void map_pack(const struct kern_map *map, const double *plain, void *out);
void map_unpack(const struct kern_map *map, const void *from, double *plain);
/* What the value becomes in the map's type. */
double map_round(const struct kern_map *map, double value);

/* Numbers that differ with (seed, i): normal, and uniform in [0, 1). */
double draw_normal(uint64_t seed, uint64_t i);
double draw_uniform(uint64_t seed, uint64_t i);

/* Fails unless |got - want| <= slack, plus half a last place of bf16 if the result was rounded to it. */
void check_near(double got, double want, double slack, int bf16, const char *what, size_t i);

#endif
#endif
