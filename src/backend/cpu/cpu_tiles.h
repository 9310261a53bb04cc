/* SPDX-License-Identifier: MIT
 *
 * cpu_tiles: the layout of a bf16 copy of a convolution's weights, tile by tile. The masters are in tiles of 16
 * inputs x 16 outputs. In the layouts that oneDNN reads, each tile is eight cache lines of pairs. What a reader
 * would get wrong: oneDNN decides which layout it reads. One that does not have this form has no tiles, and oneDNN's
 * reorder writes it. */
#ifndef MOCO_CPU_TILES_H
#define MOCO_CPU_TILES_H

#include "backend/cpu/cpu_team.h"

struct slab_loops;

struct cpu_tiles {
    /* Offsets in the copy, in numbers: of each 16 outputs, of each 16 inputs, of each position in the kernel; a tile
     * is at their sum. NULL: the layout has another form. */
    int64_t *outputs, *inputs, *places;
    int64_t input_count, place_count; /* of those lists */
    int64_t output_count;             /* of outputs, without those that only the copy has */
    int64_t padding;                  /* entries of outputs behind those: zeros in the copy */
    size_t line;                      /* numbers from a line of a tile to the next */
    int pairs_of_outputs;
};

/* `dims` of the weights: outputs, inputs, kernel, kernel. */
moco_status cpu_tiles_plan(struct cpu_tiles *out, struct ctx *ctx, const int64_t dims[4], const struct shim_md *copy,
                           struct err *err);
void cpu_tiles_free(struct cpu_tiles *tiles, struct ctx *ctx);

/* Writes tiles `first` to `first + count` (in the masters' order), read from `from`, into the copy. */
void cpu_tiles_write(const struct cpu_tiles *tiles, const struct slab_loops *loops, size_t first, size_t count,
                     const float *from, void *copy);

#endif
