/* SPDX-License-Identifier: MIT
 *
 * view: views of pictures that lie in device memory, with the bytes of the CPU's (data/view): pixel.h has the arithmetic of
 * both. Crop, resize and flip; colour; blur. blockIdx.y is the view. What a reader would get wrong: the rows that the
 * horizontal pass of a resize makes are kept nowhere. Each pixel makes again what it needs of them, rounded as they would
 * be: with the few taps of usual pictures that costs less than memory for them. */
#include "backend/cuda/kernels/kernel.cuh"

/* ---- resize: a block a tile, a thread a pixel ---- */

struct view_tile {
    int32_t tap[2 * CUDA_VIEW_TILE][CUDA_VIEW_TAPS + 1]; /* of its columns, then of its rows; + 1: another bank each */
    int32_t low[2 * CUDA_VIEW_TILE], count[2 * CUDA_VIEW_TILE];
};

/* Eight threads an output: each sums all weights, since the order of a sum is part of it, and divides its share. */
static __device__ __forceinline__ void tile_taps(struct view_tile &tile, const struct pixel_view *v, int size, int left,
                                                 int top)
{
    int line = (int)threadIdx.x / 8, down = line >= CUDA_VIEW_TILE, place = line % CUDA_VIEW_TILE;
    int at = (down ? top : left) + place;
    if (at >= size)
        return;
    at += down ? v->oy : v->ox;
    const struct pixel_filter f = pixel_filter_make(v->cubic, down ? v->h : v->w, down ? v->rh : v->rw);
    int32_t low, count = pixel_filter_span(&f, at, &low);
    double total = 0;
    for (int t = 0; t < count; t++)
        total += pixel_filter_weight(&f, at, low, t);
    for (int t = (int)threadIdx.x % 8; t < count; t += 8)
        tile.tap[line][t] = pixel_filter_tap(pixel_filter_weight(&f, at, low, t), total);
    if (threadIdx.x % 8 == 0) {
        tile.low[line] = low;
        tile.count[line] = count;
    }
}

KERNEL(view_resize, view)
{
    SHARED(struct view_tile, tiles, [1]);
    struct view_tile &tile = tiles[0];
    const struct pixel_view *v = &a.views[blockIdx.y];
    int across = (a.size + CUDA_VIEW_TILE - 1) / CUDA_VIEW_TILE;
    int left = (int)blockIdx.x % across * CUDA_VIEW_TILE, top = (int)blockIdx.x / across * CUDA_VIEW_TILE;
    int column = (int)threadIdx.x % CUDA_VIEW_TILE, row = (int)threadIdx.x / CUDA_VIEW_TILE;
    tile_taps(tile, v, a.size, left, top);
    __syncthreads();
    int x = left + column, y = top + row, line = CUDA_VIEW_TILE + row;
    if (x >= a.size || y >= a.size)
        return;
    const struct cuda_picture picture = a.pictures[v->picture];
    const uint8_t *from =
        a.pixels + picture.at +
        ((int64_t)(v->y + tile.low[line]) * picture.w + v->x + tile.low[column]) * 3;
    int32_t r = PIXEL_HALF, g = PIXEL_HALF, b = PIXEL_HALF;
    for (int i = 0; i < tile.count[line]; i++, from += (int64_t)picture.w * 3) {
        int32_t hr = PIXEL_HALF, hg = PIXEL_HALF, hb = PIXEL_HALF, down = tile.tap[line][i];
        for (int t = 0; t < tile.count[column]; t++) {
            int32_t tap = tile.tap[column][t];
            hr += from[3 * t] * tap;
            hg += from[3 * t + 1] * tap;
            hb += from[3 * t + 2] * tap;
        }
        r += pixel_clip(hr) * down;
        g += pixel_clip(hg) * down;
        b += pixel_clip(hb) * down;
    }
    uint8_t *to =
        a.out + (((int64_t)blockIdx.y * a.size + y) * a.size + (v->flip ? a.size - 1 - x : x)) * 3;
    to[0] = pixel_clip(r);
    to[1] = pixel_clip(g);
    to[2] = pixel_clip(b);
}

/* ---- colour: a block a view; a thread has the same pixels in every pass ---- */

static __device__ __forceinline__ struct pixel_rgb recoloured(struct pixel_rgb c, const struct pixel_step *s,
                                                              int32_t mean)
{
    if (s->kind == PIXEL_HUE)
        return pixel_turn_hue(c, s->constant);
    int32_t luma = pixel_luma(c.r, c.g, c.b);
    if (s->kind == PIXEL_GREY) {
        c.r = c.g = c.b = luma;
        return c;
    }
    int32_t from = s->kind == PIXEL_LUMA ? luma : s->kind == PIXEL_MEAN ? mean : s->constant;
    c.r = pixel_blend(from, c.r, s->factor);
    c.g = pixel_blend(from, c.g, s->factor);
    c.b = pixel_blend(from, c.b, s->factor);
    return c;
}

/* Applies steps [first, end); returns the sum of the lumas of this thread's pixels. */
static __device__ __forceinline__ double colour_pass(uint8_t *view, int pixels, const struct pixel_step *steps, int first,
                                                     int end, int32_t mean)
{
    int64_t sum = 0;
    for (int i = (int)threadIdx.x; i < pixels; i += CUDA_BLOCK) {
        struct pixel_rgb c = {view[3 * i], view[3 * i + 1], view[3 * i + 2]};
        for (int s = first; s < end; s++)
            c = recoloured(c, &steps[s], mean);
        view[3 * i] = (uint8_t)c.r;
        view[3 * i + 1] = (uint8_t)c.g;
        view[3 * i + 2] = (uint8_t)c.b;
        sum += pixel_luma(c.r, c.g, c.b);
    }
    return (double)sum;
}

/* A blend towards the mean needs the picture as it is by then. Sums are whole numbers: exact in any order. */
KERNEL(view_colour, view)
{
    SHARED(int32_t, mean, [1]);
    const struct pixel_view *v = &a.views[blockIdx.y];
    int pixels = a.size * a.size, first = 0;
    uint8_t *view = a.out + (int64_t)blockIdx.y * pixels * 3;
    if (threadIdx.x == 0)
        mean[0] = 0;
    for (int s = 0; s < v->step_count; s++) {
        if (v->step[s].kind != PIXEL_MEAN)
            continue;
        __syncthreads();
        double sum = block_sum(colour_pass(view, pixels, v->step, first, s, mean[0]));
        if (threadIdx.x == 0)
            mean[0] = pixel_mean(sum, (double)pixels);
        first = s;
    }
    __syncthreads();
    if (first < v->step_count)
        colour_pass(view, pixels, v->step, first, v->step_count, mean[0]);
}

/* ---- blur: a block has whole lines in shared memory ---- */

struct view_lines {
    uint8_t byte[CUDA_VIEW_LINES];
};

/* One box pass over `bytes` bytes: [line][length][step], along the middle; beyond its ends a line goes on as it ends. */
static __device__ __forceinline__ void box_pass(const uint8_t *in, uint8_t *out, int bytes, int length, int step,
                                                const struct pixel_view *v)
{
    int radius = v->radius, last = length - 1;
    for (int i = (int)threadIdx.x; i < bytes; i += CUDA_BLOCK) {
        int at = i / step % length;
        const uint8_t *line = in + (i - at * step);
        uint32_t sum = 0;
        for (int k = at - radius; k <= at + radius; k++)
            sum += line[(k < 0 ? 0 : k > last ? last : k) * step];
        int before = at - radius - 1, after = at + radius + 1;
        uint32_t ends = (uint32_t)line[before < 0 ? 0 : before * step] + line[(after > last ? last : after) * step];
        out[i] = pixel_box(sum, ends, v->inside, v->edges);
    }
}

/* Three passes; the result is in `b`, as every thread sees it. */
static __device__ __forceinline__ void box_passes(uint8_t *a, uint8_t *b, int bytes, int length, int step,
                                                  const struct pixel_view *v)
{
    __syncthreads();
    box_pass(a, b, bytes, length, step, v);
    __syncthreads();
    box_pass(b, a, bytes, length, step, v);
    __syncthreads();
    box_pass(a, b, bytes, length, step, v);
    __syncthreads();
}

/* Along rows: as many a block as fit. */
KERNEL(view_blur_rows, view)
{
    SHARED(struct view_lines, lines, [2]);
    const struct pixel_view *v = &a.views[blockIdx.y];
    int bytes = a.size * 3, rows = CUDA_VIEW_LINES / bytes, first = (int)blockIdx.x * rows;
    uint8_t *view = a.out + ((int64_t)blockIdx.y * a.size + first) * bytes;
    if (v->radius < 0)
        return;
    bytes *= a.size - first < rows ? a.size - first : rows;
    for (int i = (int)threadIdx.x; i < bytes; i += CUDA_BLOCK)
        lines[0].byte[i] = view[i];
    box_passes(lines[0].byte, lines[1].byte, bytes, a.size, 3, v);
    for (int i = (int)threadIdx.x; i < bytes; i += CUDA_BLOCK)
        view[i] = lines[1].byte[i];
}

/* Along columns: as many of single bytes as fit. */
KERNEL(view_blur_columns, view)
{
    SHARED(struct view_lines, lines, [2]);
    const struct pixel_view *v = &a.views[blockIdx.y];
    int row = a.size * 3, wide = CUDA_VIEW_LINES / a.size, first = (int)blockIdx.x * wide;
    uint8_t *view = a.out + (int64_t)blockIdx.y * a.size * row + first;
    if (v->radius < 0)
        return;
    wide = row - first < wide ? row - first : wide;
    for (int i = (int)threadIdx.x; i < wide * a.size; i += CUDA_BLOCK)
        lines[0].byte[i] = view[i / wide * row + i % wide];
    box_passes(lines[0].byte, lines[1].byte, wide * a.size, a.size, wide, v);
    for (int i = (int)threadIdx.x; i < wide * a.size; i += CUDA_BLOCK)
        view[i / wide * row + i % wide] = lines[1].byte[i];
}
