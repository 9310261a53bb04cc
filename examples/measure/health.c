/* SPDX-License-Identifier: MIT
 *
 * health: see health.h. */
#include "health.h"

#include <stdlib.h>

#include "support/from_moco.h"

enum { IMAGES = 4 };

static void draw_noise(uint8_t *pixels, size_t bytes)
{
    uint32_t noise = 1;
    for (size_t i = 0; i < bytes; i++) {
        noise = noise * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(noise >> 24);
    }
}

static moco_status embed(moco_model *model, int64_t size, int64_t dim, uint8_t *pixels, float *rows, struct err *err)
{
    moco_tensor images, out;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = IMAGES;
    images.shape[1] = images.shape[2] = size;
    images.shape[3] = 3;
    images.data = pixels;
    moco_tensor_init(&out);
    out.dtype = MOCO_F32;
    out.ndim = 2;
    out.shape[0] = IMAGES;
    out.shape[1] = dim;
    out.data = rows;
    moco_status status = moco_model_embed(model, &images, MOCO_PROJECTION, &out);
    if (status == MOCO_ENUMERIC)
        return err_set(err, status, "training has diverged: the encoder's embeddings are not finite any more");
    return from_moco(status, err);
}

moco_status health_check(moco_model *model, int64_t size, struct err *err)
{
    moco_model_info info;
    moco_model_info_init(&info);
    TRY(from_moco(moco_model_describe(model, &info), err));
    size_t bytes = (size_t)IMAGES * (size_t)size * (size_t)size * 3;
    uint8_t *pixels = malloc(bytes);
    float *rows = malloc(sizeof *rows * IMAGES * (size_t)info.dim);
    moco_status status = MOCO_ENOMEM;
    if (pixels == NULL || rows == NULL) {
        err_set(err, status, "out of memory for the images that the encoder is tried with");
    } else {
        draw_noise(pixels, bytes);
        status = embed(model, size, info.dim, pixels, rows, err);
    }
    free(pixels);
    free(rows);
    return status;
}
