/* SPDX-License-Identifier: MIT
 *
 * view_kernels: the inner loops of a view, compiled once per instruction set from view_simd.c. All of them give the
 * same bytes; a test runs each against the first. */
#ifndef MOCO_DATA_VIEW_KERNELS_H
#define MOCO_DATA_VIEW_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "pixel.h"

enum { RESAMPLE_LANES = 16 };  /* rows resampled at once */
enum { RESAMPLE_SPAN = 4096 }; /* a box wider than this is resampled row by row */
struct view_kernels {
    const char *name;
    /* Horizontal pass over `rows` rows: out[row][o] = sum over t of taps[o][t] * in[row][bounds[2 o] + t], RGB.
     * `width` outputs; tap rows are `tap_stride` long. flip: outputs from right to left. `work` has
     * view_kernels_work(width) bytes, aligned to 64. */
    void (*resample_rows)(const uint8_t *in, size_t in_stride, int rows, const int *bounds, const int32_t *taps,
                          int tap_stride, int width, int flip, uint8_t *out, size_t out_stride, uint8_t *work);
    /* Vertical: one row of `bytes` from `count` rows. */
    void (*resample_column)(const uint8_t *in, size_t in_stride, int count, const int32_t *taps, size_t bytes,
                            uint8_t *out);
    /* Applies `count` steps, none of them PIXEL_MEAN, in turn to `pixels` pixels of [pixels,3] in place; returns the sum
     * of the lumas then. */
    uint64_t (*colour)(uint8_t *rgb, size_t pixels, const struct pixel_step *steps, int count);
    /* One box pass along a row of `pixels` pixels. `in` has radius + 1 pixels of margin on both sides. */
    void (*blur_row)(const uint8_t *in, int pixels, int radius, uint32_t ww, uint32_t fw, uint8_t *out);
    /* One box pass down: a row of `bytes` from the column sums of 2 radius + 1 rows and the two rows beyond. `sums`
     * first gains `enter` and loses `leave`. */
    void (*blur_column)(uint32_t *sums, const uint8_t *enter, const uint8_t *leave, const uint8_t *before,
                        const uint8_t *after, size_t bytes, uint32_t ww, uint32_t fw, uint8_t *out);
};

/* The levels that this build has and this CPU can run, slowest first; NULL past the end. */
const struct view_kernels *view_kernels_level(int index);
const struct view_kernels *view_kernels_best(void);
size_t view_kernels_work(int width);

#endif
