/* SPDX-License-Identifier: MIT
 *
 * cpu_tiles: see cpu_tiles.h. In a blocked layout the position of a number is a sum with one term per index. Three
 * short lists therefore give the positions of all tiles. */
#include "backend/cpu/cpu_tiles.h"

#include <string.h>

#include "backend/cpu/kernels/simd_table.h"

enum { SIDE = 16, LINE = 32 }; /* numbers: channels of a tile; a line in bf16 */

static int64_t place(const struct shim_md *copy, int64_t output, int64_t input, int64_t y, int64_t x)
{
    return shim_md_place(copy, (int64_t[4]){output, input, y, x});
}

/* What `step` channels further inside a tile add: of the kind that comes in pairs, or of the other. */
static int64_t inside(const struct cpu_tiles *tiles, int pairs, int step)
{
    return pairs ? step / 2 * (int64_t)tiles->line + step % 2 : 2 * step;
}

static int regular(const struct cpu_tiles *tiles, const struct shim_md *copy, int outputs, int64_t first)
{
    int pairs = outputs == tiles->pairs_of_outputs;
    int64_t at = outputs ? place(copy, first, 0, 0, 0) : place(copy, 0, first, 0, 0);
    for (int i = 0; i < SIDE; i++) {
        int64_t to = outputs ? place(copy, first + i, 0, 0, 0) : place(copy, 0, first + i, 0, 0);
        if (to - at != inside(tiles, pairs, i))
            return 0;
    }
    return at % LINE == 0;
}

/* Is the layout one of tiles? */
static int find_form(struct cpu_tiles *tiles, const int64_t dims[4], const struct shim_md *copy)
{
    if (dims[0] % SIDE != 0 || dims[1] % SIDE != 0 || place(copy, 0, 0, 0, 0) != 0)
        return 0;
    int64_t padded[4];
    if (!shim_md_padded(copy, padded) || padded[0] % SIDE != 0 || padded[1] != dims[1] || padded[2] != dims[2] ||
        padded[3] != dims[3])
        return 0;
    tiles->output_count = dims[0] / SIDE;
    tiles->padding = padded[0] / SIDE - tiles->output_count;
    tiles->input_count = dims[1] / SIDE;
    tiles->place_count = dims[2] * dims[3];
    tiles->pairs_of_outputs = place(copy, 1, 0, 0, 0) == 1;
    int64_t line = tiles->pairs_of_outputs ? place(copy, 2, 0, 0, 0) : place(copy, 0, 2, 0, 0);
    if (line < LINE || line % LINE != 0)
        return 0;
    tiles->line = (size_t)line;
    for (int64_t i = 0; i < tiles->output_count + tiles->padding; i++)
        if (!regular(tiles, copy, 1, i * SIDE))
            return 0;
    for (int64_t i = 0; i < tiles->input_count; i++)
        if (!regular(tiles, copy, 0, i * SIDE))
            return 0;
    for (int64_t i = 0; i < tiles->place_count; i++)
        if (place(copy, 0, 0, i / dims[3], i % dims[3]) % LINE != 0)
            return 0;
    return 1;
}

moco_status cpu_tiles_plan(struct cpu_tiles *out, struct ctx *ctx, const int64_t dims[4], const struct shim_md *copy,
                           struct err *err)
{
    *out = (struct cpu_tiles){0};
    struct cpu_tiles tiles = {0};
    if (!find_form(&tiles, dims, copy))
        return MOCO_OK;
    int64_t outputs = tiles.output_count + tiles.padding;
    tiles.outputs =
        mem_array(ctx, (size_t)(outputs + tiles.input_count + tiles.place_count), sizeof *tiles.outputs, err);
    if (tiles.outputs == NULL)
        return MOCO_ENOMEM;
    tiles.inputs = tiles.outputs + outputs;
    tiles.places = tiles.inputs + tiles.input_count;
    for (int64_t i = 0; i < outputs; i++)
        tiles.outputs[i] = place(copy, i * SIDE, 0, 0, 0);
    for (int64_t i = 0; i < tiles.input_count; i++)
        tiles.inputs[i] = place(copy, 0, i * SIDE, 0, 0);
    for (int64_t i = 0; i < tiles.place_count; i++)
        tiles.places[i] = place(copy, 0, 0, i / dims[3], i % dims[3]);
    *out = tiles;
    return MOCO_OK;
}

void cpu_tiles_free(struct cpu_tiles *tiles, struct ctx *ctx)
{
    mem_free(ctx, tiles->outputs);
    *tiles = (struct cpu_tiles){0};
}

void cpu_tiles_write(const struct cpu_tiles *tiles, const struct slab_loops *loops, size_t first, size_t count,
                     const float *from, void *copy)
{
    int64_t inputs = tiles->input_count, places = tiles->place_count;
    for (size_t t = first; t < first + count; t++, from += SLAB_TILE) {
        int64_t place = (int64_t)t % places, input = (int64_t)t / places % inputs;
        int64_t output = (int64_t)t / (places * inputs);
        uint16_t *at = (uint16_t *)copy + tiles->inputs[input] + tiles->places[place];
        loops->tile(from, tiles->pairs_of_outputs, at + tiles->outputs[output], tiles->line);
        for (int64_t i = 1; output == tiles->output_count - 1 && i <= tiles->padding; i++)
            for (size_t line = 0; line < SIDE / 2; line++)
                memset(at + tiles->outputs[output + i] + line * tiles->line, 0, LINE * sizeof *at);
    }
}
