/* SPDX-License-Identifier: MIT
 *
 * augment_apply: makes a view from parameters and picture, with the bytes of Pillow 9.4 and torchvision 0.14: resize
 * (Resample.c: antialiased triangle or cubic filter in 22-bit fixed point, horizontal pass first, each pass rounded
 * to 8 bits), ImageEnhance, HSV hue, luma, GaussianBlur (BoxBlur.c: three extended box passes an axis, all
 * horizontal ones first). What a reader would get wrong: the resize makes the flip, although the reference flips
 * last. Every later operation treats left and right alike, so that the bytes are the same, and a pass is saved. */
#include <math.h>
#include <string.h>

#include "augment.h"
#include "view_kernels.h"

#define BAND_BYTES                                                                                                     \
    ((size_t)96 << 10) /* horizontally resized rows kept at a time: they stay in the second-level cache */
#define BLUR_PASSES 3

void augment_scratch_init(struct augment_scratch *scratch, struct ctx *ctx)
{
    *scratch = (struct augment_scratch){.ctx = ctx, .kernels = view_kernels_best()};
}

void augment_scratch_free(struct augment_scratch *scratch)
{
    void *const blocks[] = {scratch->rows,      scratch->line,      scratch->sums,
                            scratch->bounds[0], scratch->bounds[1], scratch->taps[0],
                            scratch->taps[1],   scratch->weights,   scratch->work};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        mem_free(scratch->ctx, blocks[i]);
    augment_scratch_init(scratch, scratch->ctx);
}

/* ---- parameters to what is done ---- */

/* BoxBlur.c, _gaussian_blur_radius: its mixture of float and double is kept. */
static float box_radius(float sigma)
{
    float sigma2 = sigma * sigma / BLUR_PASSES;
    float length = (float)sqrt(12.0 * (double)sigma2 + 1.0);
    float whole = (float)floor(((double)length - 1.0) / 2.0);
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * sigma2);
    part /= 6 * (sigma2 - (whole + 1) * (whole + 1));
    return whole + part;
}

/* The fixed-point weights of a box: of its whole pixels, and of the two of which it has a part. */
static void blur_how(double sigma, struct pixel_view *how)
{
    how->radius = -1;
    if (!(sigma > 0))
        return;
    float exact = box_radius((float)sigma);
    how->radius = (int)exact;
    how->inside = (uint32_t)((float)(1 << 24) / (exact * 2 + 1));
    how->edges = ((UINT32_C(1) << 24) - (uint32_t)(how->radius * 2 + 1) * how->inside) / 2;
}

static struct pixel_step jitter_step(const struct augment_params *p, int op)
{
    static const int kind[4] = {PIXEL_BLEND, PIXEL_MEAN, PIXEL_LUMA, PIXEL_HUE};
    struct pixel_step step = {kind[op], 0, (float)p->factor[op]};
    if (op == AUGMENT_HUE)
        step.constant = (int)(p->factor[op] * 255) & 255;
    return step;
}

void augment_how(const struct augment_params *p, struct pixel_view *how)
{
    *how = (struct pixel_view){.x = p->x,
                               .y = p->y,
                               .w = p->w,
                               .h = p->h,
                               .rw = p->rw,
                               .rh = p->rh,
                               .ox = p->ox,
                               .oy = p->oy,
                               .cubic = p->interpolation == AUGMENT_BICUBIC,
                               .flip = p->flip != 0};
    const struct pixel_step grey = {.kind = PIXEL_GREY};
    if (p->grey && p->grey_first)
        how->step[how->step_count++] = grey;
    for (int i = 0; i < 4 && p->jitter; i++)
        if (!p->skip[p->op[i]])
            how->step[how->step_count++] = jitter_step(p, p->op[i]);
    if (p->grey && !p->grey_first)
        how->step[how->step_count++] = grey;
    blur_how(p->sigma, how);
}

/* ---- pixels ---- */

/* A block of at least `bytes`: the old one if it is long enough; what it held is lost otherwise. */
static void *room(struct ctx *ctx, void *block, size_t bytes, struct err *err)
{
    if (block != NULL && mem_size(block) >= bytes)
        return block;
    mem_free(ctx, block);
    return mem_alloc(ctx, bytes, err);
}
#define ROOM(field, bytes)                                                                                             \
    do {                                                                                                               \
        (field) = room(scratch->ctx, (field), (bytes), err);                                                           \
        if ((field) == NULL)                                                                                           \
            return MOCO_ENOMEM;                                                                                        \
    } while (0)

/* Taps of outputs [first, first + count) of an axis. */
static moco_status filter_taps(struct augment_scratch *scratch, int axis, const struct pixel_filter *filter, int first,
                               int count, int *stride, struct err *err)
{
    int width = pixel_filter_width(filter);
    *stride = width;
    ROOM(scratch->bounds[axis], (size_t)count * 2 * sizeof(int));
    ROOM(scratch->taps[axis], (size_t)count * (size_t)width * sizeof(int32_t));
    ROOM(scratch->weights, (size_t)width * sizeof(double));
    double *weight = scratch->weights;
    for (int o = 0; o < count; o++) {
        double total = 0;
        int low, n = pixel_filter_span(filter, o + first, &low);
        for (int t = 0; t < n; t++) {
            weight[t] = pixel_filter_weight(filter, o + first, low, t);
            total += weight[t];
        }
        int32_t *tap = scratch->taps[axis] + (size_t)o * (size_t)width;
        for (int t = 0; t < n; t++)
            tap[t] = pixel_filter_tap(weight[t], total);
        for (int t = n; t < width; t++)
            tap[t] = 0;
        scratch->bounds[axis][2 * o] = low;
        scratch->bounds[axis][2 * o + 1] = n;
    }
    return MOCO_OK;
}

/* Crop, resize and flip. Rows are resized horizontally a band at a time, just before the vertical pass wants them. */
static moco_status resize(const struct pixel_view *p, const struct image *image, int size,
                          struct augment_scratch *scratch, uint8_t *view, struct err *err)
{
    const uint8_t *box = image->pixels + (size_t)(p->y - image->y0) * image->stride + (size_t)(p->x - image->x0) * 3;
    size_t row_bytes = (size_t)size * 3;
    if (p->w == size && p->h == size && p->rw == size && p->rh == size && !p->flip) {
        for (int y = 0; y < size; y++)
            memcpy(view + (size_t)y * row_bytes, box + (size_t)y * image->stride, row_bytes);
        return MOCO_OK;
    }
    int across, down;
    const struct pixel_filter fx = pixel_filter_make(p->cubic, p->w, p->rw),
                              fy = pixel_filter_make(p->cubic, p->h, p->rh);
    TRY(filter_taps(scratch, 0, &fx, p->ox, size, &across, err));
    TRY(filter_taps(scratch, 1, &fy, p->oy, size, &down, err));
    const int *bounds = scratch->bounds[1];
    int end = bounds[2 * size - 2] + bounds[2 * size - 1], from = 0, to = 0;
    int band = (int)(BAND_BYTES / row_bytes) & ~15;
    band = (band < 16 ? 16 : band) + down;
    ROOM(scratch->rows, (size_t)band * row_bytes);
    ROOM(scratch->work, view_kernels_work(size));
    for (int y = 0; y < size; y++) {
        int low = bounds[2 * y], count = bounds[2 * y + 1];
        if (low + count > to) { /* the band now starts at `low`; what it already has of that moves to its front */
            int kept = to > low ? to - low : 0;
            memmove(scratch->rows, scratch->rows + (size_t)(kept > 0 ? low - from : 0) * row_bytes,
                    (size_t)kept * row_bytes);
            from = low;
            to = end - from < band ? end : from + band;
            scratch->kernels->resample_rows(box + (size_t)(from + kept) * image->stride, image->stride,
                                            to - from - kept, scratch->bounds[0], scratch->taps[0], across, size,
                                            p->flip, scratch->rows + (size_t)kept * row_bytes, row_bytes,
                                            scratch->work);
        }
        scratch->kernels->resample_column(scratch->rows + (size_t)(low - from) * row_bytes, row_bytes, count,
                                          scratch->taps[1] + (size_t)y * (size_t)down, row_bytes,
                                          view + (size_t)y * row_bytes);
    }
    return MOCO_OK;
}

/* A blend towards the mean needs the picture as it is by then, so the steps before it are run first. */
static void recolour(const struct pixel_view *view, const struct view_kernels *k, uint8_t *rgb, size_t pixels)
{
    struct pixel_step steps[PIXEL_STEPS];
    int count = 0;
    for (int i = 0; i < view->step_count; i++) {
        struct pixel_step step = view->step[i];
        if (step.kind == PIXEL_MEAN) {
            uint64_t sum = k->colour(rgb, pixels, steps, count);
            step.kind = PIXEL_BLEND;
            step.constant = pixel_mean((double)sum, (double)pixels);
            count = 0;
        }
        steps[count++] = step;
    }
    if (count > 0)
        k->colour(rgb, pixels, steps, count);
}

static int clamp(int value, int most)
{
    return value < 0 ? 0 : value > most ? most : value;
}

/* Copies the first and last of `pixels` pixels at `line` into the margins beside them. */
static void extend(uint8_t *line, int pixels, int margin)
{
    const uint8_t *last = line + (size_t)(pixels - 1) * 3;
    for (int i = 1; i <= margin; i++) {
        memcpy(line - (size_t)i * 3, line, 3);
        memcpy(line + (size_t)(pixels - 1 + i) * 3, last, 3);
    }
}

static void blur_down(const uint8_t *in, int size, int radius, uint32_t ww, uint32_t fw,
                      struct augment_scratch *scratch, uint8_t *out)
{
    size_t bytes = (size_t)size * 3;
#define ROW(y) (in + (size_t)clamp((y), size - 1) * bytes)
    for (size_t i = 0; i < bytes; i++) /* the box around row -1: radius + 1 times row 0, then rows 0 to radius - 1 */
        scratch->sums[i] = (uint32_t)(radius + 1) * in[i];
    for (int y = 0; y < radius; y++)
        for (size_t i = 0; i < bytes; i++)
            scratch->sums[i] += ROW(y)[i];
    for (int y = 0; y < size; y++)
        scratch->kernels->blur_column(scratch->sums, ROW(y + radius), ROW(y - radius - 1), ROW(y - radius - 1),
                                      ROW(y + radius + 1), bytes, ww, fw, out + (size_t)y * bytes);
#undef ROW
}

/* Pillow's GaussianBlur: three box passes along each row, then three along each column. */
static moco_status blur(const struct pixel_view *p, int size, struct augment_scratch *scratch, uint8_t *view,
                        struct err *err)
{
    int radius = p->radius, margin = radius + 1;
    uint32_t ww = p->inside, fw = p->edges;
    size_t bytes = (size_t)size * 3, line = bytes + (size_t)margin * 6;
    ROOM(scratch->rows, bytes * (size_t)size);
    ROOM(scratch->line, 2 * line);
    ROOM(scratch->sums, bytes * sizeof(uint32_t));
    uint8_t *a = scratch->line + (size_t)margin * 3, *b = a + line;
    for (int y = 0; y < size; y++) {
        uint8_t *from = a, *to = b;
        memcpy(from, view + (size_t)y * bytes, bytes);
        for (int pass = 0; pass < BLUR_PASSES; pass++) {
            extend(from, size, margin);
            uint8_t *target = pass == BLUR_PASSES - 1 ? scratch->rows + (size_t)y * bytes : to;
            scratch->kernels->blur_row(from, size, radius, ww, fw, target);
            to = from;
            from = target;
        }
    }
    blur_down(scratch->rows, size, radius, ww, fw, scratch, view);
    blur_down(view, size, radius, ww, fw, scratch, scratch->rows);
    blur_down(scratch->rows, size, radius, ww, fw, scratch, view);
    return MOCO_OK;
}

moco_status augment_make(const struct pixel_view *how, const struct image *image, int size,
                         struct augment_scratch *scratch, uint8_t *view, struct err *err)
{
    TRY(resize(how, image, size, scratch, view, err));
    recolour(how, scratch->kernels, view, (size_t)size * (size_t)size);
    if (how->radius >= 0)
        TRY(blur(how, size, scratch, view, err));
    return MOCO_OK;
}

moco_status augment_apply(const struct augment_params *params, const struct image *image, int size,
                          struct augment_scratch *scratch, uint8_t *view, struct err *err)
{
    struct pixel_view how;
    augment_how(params, &how);
    return augment_make(&how, image, size, scratch, view, err);
}
