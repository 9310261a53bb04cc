/* SPDX-License-Identifier: MIT
 *
 * augment: turns an image into a view. Drawing the parameters (augment_draw), turning them into the numbers that
 * pixels are made with (augment_how) and making the pixels (augment_make) are pure functions, so that a test can pass any
 * parameters to the second and compare with Pillow, and another device can do the third (pixel.h). What a reader
 * would get wrong: the order of the random draws is part of the format (docs/randomness.md). The order in which they
 * are applied is a different one, the reference's. */
#ifndef MOCO_DATA_AUGMENT_H
#define MOCO_DATA_AUGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"
#include "data/decode/image.h"
#include "moco/data.h"
#include "philox.h"
#include "pixel.h"

enum { AUGMENT_CROP_NONE = 0, AUGMENT_CROP_RANDOM = 1, AUGMENT_CROP_CENTRE = 2, AUGMENT_CROP_MIDDLE = 3 };
enum { AUGMENT_BILINEAR = 0, AUGMENT_BICUBIC = 1 };
enum { AUGMENT_BRIGHTNESS = 0, AUGMENT_CONTRAST = 1, AUGMENT_SATURATION = 2, AUGMENT_HUE = 3 };

#define AUGMENT_SIZE_MAX PIXEL_SIDE_MAX

/* Everything about one view that was drawn. */
struct augment_params {
    int x, y, w, h;   /* crop box in the image */
    int rw, rh;       /* the box is resized to this ... */
    int ox, oy;       /* ... and the view starts here in it (0, 0 but for resize + centre crop) */
    int jitter;       /* 1: the ops below are applied */
    int op[4];        /* AUGMENT_BRIGHTNESS..HUE in the order of application */
    double factor[4]; /* of each op, by its number; brightness, contrast, saturation: 1 is "as it is"; hue: -0.5..0.5 */
    int skip[4];      /* 1: the op is not part of the recipe (its strength is 0) */
    int grey, grey_first;
    double sigma; /* of the blur; 0: none */
    int flip;
    int interpolation; /* AUGMENT_BILINEAR, AUGMENT_BICUBIC: of the resize */
};

/* MOCO_EINVAL names the option. */
moco_status augment_check(const moco_augment_options *options, struct err *err);

/* Keeps of `options` what decides how an image is looked at without chance: size, crop, resize, centre_part and
 * interpolation; all else becomes 0. MOCO_EINVAL names what would be drawn: such a recipe is for training. */
moco_status augment_without_chance(moco_augment_options *options, struct err *err);

/* Draws for an image of w x h. The stream is rng_init(seed, epoch, sample, view, RNG_AUGMENT).
 * MOCO_ESHAPE: crop none and the image is not size x size. */
moco_status augment_draw(const moco_augment_options *options, int w, int h, struct rng *rng,
                         struct augment_params *params, struct err *err);

/* The smallest box that holds the crops of `count` views, at least one. */
struct image_box augment_shown(const struct augment_params *params, int count);

/* Parameters that a stranger made: MOCO_EINVAL names the first that augment_apply could not take for an image of w x h
 * and views of `size`. */
moco_status augment_params_check(const struct augment_params *params, int w, int h, int size, struct err *err);

/* Fills in the part of the parameters that is not drawn: which operations the recipe leaves out, when it turns grey
 * and how it resizes. */
void augment_params_recipe(const moco_augment_options *options, struct augment_params *params);

/* The same in the numbers that a device makes the view with (pixel.h). `picture` is left 0. */
void augment_how(const struct augment_params *params, struct pixel_view *how);

/* Working memory of augment_make: grows to what the largest image needed, reused from view to view. */
struct augment_scratch {
    struct ctx *ctx;
    const struct view_kernels *kernels; /* the fastest this CPU has; a test may choose another */
    uint8_t *rows;                      /* the horizontally resized rows; also the blur's second picture */
    uint8_t *work;                      /* of the horizontal resize */
    uint8_t *line;                      /* one padded row */
    uint32_t *sums;                     /* the blur's column sums */
    double *weights;                    /* of one output */
    int *bounds[2];                     /* first tap and number of taps of each output, horizontal and vertical */
    int32_t *taps[2];                   /* their weights, 22 fraction bits */
};
void augment_scratch_init(struct augment_scratch *scratch, struct ctx *ctx);
void augment_scratch_free(struct augment_scratch *scratch);

/* view: [size,size,3]. The image is read only inside the crop box. augment_apply is augment_how and augment_make. */
moco_status augment_make(const struct pixel_view *how, const struct image *image, int size,
                         struct augment_scratch *scratch, uint8_t *view, struct err *err);
moco_status augment_apply(const struct augment_params *params, const struct image *image, int size,
                          struct augment_scratch *scratch, uint8_t *view, struct err *err);

/* Recipe `name` for views of `size`; MOCO_ENOTFOUND lists the names. */
moco_status augment_recipe(moco_augment_options *options, const char *name, int size, struct err *err);

#endif
