/* SPDX-License-Identifier: MIT
 *
 * moco/augment.h: one picture and one view at a time. It is for a program with a loader of its own, and for showing
 * what the network sees. One function draws the parameters of a view at random; another applies them. Both are pure:
 * the same arguments give the same result. */
#ifndef MOCO_AUGMENT_H
#define MOCO_AUGMENT_H

#include "moco/base.h"
#include "moco/data.h" /* moco_augment_options */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a picture ---- */

typedef struct moco_image moco_image;

/* Decodes a JPEG, PNG or WebP file to RGB, as PIL's convert("RGB") gives it. The content decides which of the three
 * it is. EXIF orientation is ignored, as torchvision does. A library that was built without libwebp refuses WebP,
 * and the sentence says so. Pictures of more than `max_pixels` pixels (0: 64 M) are refused before memory is taken.
 * So are pictures that would take more than 8 bytes a pixel and 4 MiB (see moco_loader_options), and PNGs wider than
 * 262,144. Owned.
 * Errors: MOCO_EFORMAT (damaged, too large, not a picture), MOCO_EIO (also: there is no such file, it may not be
 * read, it is a folder), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_image_read(moco_image **image, moco_context *context, const char *path, int64_t max_pixels);

/* Decodes `size` bytes in memory in the same way: a row of a database, a frame of a camera, the body of a request.
 * The bytes are borrowed for the call.
 * Errors: MOCO_EINVAL, MOCO_EFORMAT, MOCO_ENOMEM.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_image_decode(moco_image **image, moco_context *context, const void *bytes, size_t size,
                                       int64_t max_pixels);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_image_free(moco_image *image);

/* Points `pixels` at the picture: u8 [h,w,3], borrowed until the image is freed. Threads: any thread may call it at
 * any time. Since 0.1. */
MOCO_API moco_status moco_image_pixels(const moco_image *image, moco_tensor *pixels);

/* ---- a view ---- */

/* A checked recipe, with the working memory of the views that are being made. */
typedef struct moco_augment moco_augment;

/* Every random choice of one view. The order of application is: crop and resize, [grey if the recipe has
 * grey_first], jitter, [grey], blur, flip. */
typedef struct moco_view_params {
    uint32_t struct_size;
    int32_t crop[4];   /* x, y, w, h of the box in the picture */
    int32_t resize[2]; /* the box is resized to this width and height ... */
    int32_t offset[2]; /* ... and the view starts at this x, y in it (0, 0 except for resize + centre crop) */
    int32_t jitter;    /* 1: the four operations of `order` are applied */
    int32_t order[4];  /* in this order: 0 brightness, 1 contrast, 2 saturation, 3 hue; those whose strength in the
                          recipe is 0 are left out */
    int32_t grey;      /* 1: the view is made grey (luma) */
    int32_t flip;      /* 1: left and right are swapped */
    double factor[4];  /* of brightness, contrast, saturation (1: unchanged) and hue (-0.5 to 0.5 turns) */
    double sigma;      /* of the blur, in pixels of the view; 0: none */
} moco_view_params;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_view_params_init_sized(moco_view_params *params, size_t size);
#define moco_view_params_init(p) moco_view_params_init_sized((p), sizeof *(p))

/* Makes a handle for one recipe, which is copied. Owned.
 * Errors: MOCO_EINVAL names the option.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_augment_create(moco_augment **augment, moco_context *context,
                                         const moco_augment_options *recipe);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_augment_free(moco_augment *augment);

/* Draws the parameters of view `view` (0 to 255) of sample `sample` in `epoch`, for a picture of w x h. A loader
 * with this recipe and seed draws the same ones (docs/randomness.md).
 * Errors: MOCO_EINVAL, MOCO_ESHAPE (the recipe does not crop and the size differs).
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_augment_draw(const moco_augment *augment, int w, int h, uint64_t seed, int64_t epoch,
                                       int64_t sample, int view, moco_view_params *params);

/* Makes the view: reads `image`, u8 [h,w,3], and fills `view`, u8 [size,size,3]. The bytes are those of Pillow 9.4
 * and torchvision 0.14 for the same parameters.
 * Errors: MOCO_EINVAL (a parameter out of range, or a box that is not inside the picture; the sentence names it),
 * MOCO_ESHAPE, MOCO_ENOMEM.
 * Threads: any number may use one handle at once. Since 0.1. */
MOCO_API moco_status moco_augment_apply(moco_augment *augment, const moco_tensor *image, const moco_view_params *params,
                                        moco_tensor *view);

#ifdef __cplusplus
}
#endif
#endif
