/* SPDX-License-Identifier: MIT
 *
 * moco/augment.h: pictures and views, one at a time. An augment handle keeps the working memory of finished views
 * for the next ones, so that any number of threads can share a handle and none allocates for long. */
#include "moco/augment.h"

#include <pthread.h>
#include <string.h>

#include "api/handle.h"
#include "data/augment.h"
#include "data/decode.h"

_Static_assert(sizeof(moco_view_params) % 8 == 0, "struct sizes are multiples of 8");

/* ---- pictures ---- */

struct moco_image {
    struct handle handle;
    struct decoder decoder; /* owns the pixels */
    struct image image;
};

static void image_destroy(struct handle *handle)
{
    moco_image *image = (moco_image *)handle;
    if (image->decoder.ctx != NULL)
        decoder_free(&image->decoder);
}

/* `what`: path or bytes, which is not to be NULL. */
static moco_status image_new(moco_image **out, moco_context *context, const void *what, const char *name,
                             int64_t max_pixels, struct err *err)
{
    TRY(api_not_null(out, "image", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(api_not_null(what, name, err));
    if (max_pixels < 0)
        return err_set(err, MOCO_EINVAL, "max_pixels is %lld; it must be positive, or 0 for the default",
                       (long long)max_pixels);
    struct ctx *ctx = context->handle.ctx;
    *out = handle_new(ctx, sizeof **out, HANDLE_IMAGE, image_destroy, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    decoder_init(&(*out)->decoder, ctx, max_pixels > 0 ? max_pixels : DECODE_MAX_PIXELS, NULL);
    return MOCO_OK;
}

static moco_status image_made(moco_image **out, moco_status status)
{
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_IMAGE);
        *out = NULL;
    }
    return status;
}

static moco_status read_image(moco_image **out, moco_context *context, const char *path, int64_t max_pixels,
                              struct err *err)
{
    TRY(image_new(out, context, path, "path", max_pixels, err));
    struct decoder *decoder = &(*out)->decoder;
    moco_status status = decode_file(decoder, path, &(*out)->image, err);
    mem_free(decoder->ctx, decoder->window);
    decoder->window = NULL;
    if (status == MOCO_EFORMAT && decoder->unopened) /* to a loader a bad sample, to who names a file none */
        status = err->status = MOCO_EIO;
    if (status != MOCO_OK)
        err_prefix(err, path);
    return image_made(out, status);
}

moco_status moco_image_read(moco_image **image, moco_context *context, const char *path, int64_t max_pixels)
{
    struct err err = {0};
    return api_return(read_image(image, context, path, max_pixels, &err), "moco_image_read", &err);
}

static moco_status decode_image(moco_image **out, moco_context *context, const void *bytes, size_t size,
                                int64_t max_pixels, struct err *err)
{
    TRY(image_new(out, context, bytes, "bytes", max_pixels, err));
    return image_made(out, decode_memory(&(*out)->decoder, bytes, size, &(*out)->image, err));
}

moco_status moco_image_decode(moco_image **image, moco_context *context, const void *bytes, size_t size,
                              int64_t max_pixels)
{
    struct err err = {0};
    return api_return(decode_image(image, context, bytes, size, max_pixels, &err), "moco_image_decode", &err);
}

void moco_image_free(moco_image *image)
{
    handle_free(image, HANDLE_IMAGE);
}

static moco_status image_pixels(const moco_image *image, moco_tensor *pixels, struct err *err)
{
    TRY(handle_check(image, HANDLE_IMAGE, "image", err));
    TRY(struct_check(pixels, "pixels", err));
    moco_tensor filled = {.dtype = MOCO_U8, .ndim = 3, .shape = {image->image.h, image->image.w, 3}};
    filled.data = image->decoder.pixels;
    struct_write(pixels, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_image_pixels(const moco_image *image, moco_tensor *pixels)
{
    struct err err = {0};
    return api_return(image_pixels(image, pixels, &err), "moco_image_pixels", &err);
}

/* ---- views ---- */

struct spare { /* working memory that no call is using */
    struct augment_scratch scratch;
    struct spare *next;
};

struct moco_augment {
    struct handle handle;
    moco_augment_options recipe;
    pthread_mutex_t lock; /* of spares */
    struct spare *spares;
};

void moco_view_params_init_sized(moco_view_params *params, size_t size)
{
    moco_view_params defaults = {.order = {0, 1, 2, 3}, .factor = {1, 1, 1, 0}};
    struct_init(params, size, &defaults, sizeof defaults);
}

static void spare_free(struct ctx *ctx, struct spare *spare)
{
    augment_scratch_free(&spare->scratch);
    mem_free(ctx, spare);
}

static void augment_destroy(struct handle *handle)
{
    moco_augment *augment = (moco_augment *)handle;
    for (struct spare *next; augment->spares != NULL; augment->spares = next) {
        next = augment->spares->next;
        spare_free(handle->ctx, augment->spares);
    }
    pthread_mutex_destroy(&augment->lock);
}

static moco_status make(moco_augment **out, moco_context *context, const moco_augment_options *recipe, struct err *err)
{
    TRY(api_not_null(out, "augment", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    moco_augment_options o = {0};
    TRY(struct_read(&o, sizeof o, recipe, "recipe", err));
    TRY(struct_reserved(o.reserved0, "moco_augment_options.reserved0", err));
    TRY(augment_check(&o, err));
    moco_augment *augment = handle_new(context->handle.ctx, sizeof *augment, HANDLE_AUGMENT, NULL, err);
    if (augment == NULL)
        return MOCO_ENOMEM;
    if (pthread_mutex_init(&augment->lock, NULL) != 0) {
        handle_free(augment, HANDLE_AUGMENT);
        return err_set(err, MOCO_ENOMEM, "no memory for a lock");
    }
    augment->handle.destroy = augment_destroy;
    augment->recipe = o;
    *out = augment;
    return MOCO_OK;
}

moco_status moco_augment_create(moco_augment **augment, moco_context *context, const moco_augment_options *recipe)
{
    struct err err = {0};
    return api_return(make(augment, context, recipe, &err), "moco_augment_create", &err);
}

void moco_augment_free(moco_augment *augment)
{
    handle_free(augment, HANDLE_AUGMENT);
}

static moco_status draw(const moco_augment *augment, int w, int h, uint64_t seed, int64_t epoch, int64_t sample,
                        int view, moco_view_params *params, struct err *err)
{
    TRY(handle_check(augment, HANDLE_AUGMENT, "augment", err));
    TRY(struct_check(params, "params", err));
    if (w < 1 || h < 1 || (int64_t)w * h > DECODE_MAX_PIXELS * 16)
        return err_set(err, MOCO_EINVAL, "a picture of %d x %d", w, h);
    if (epoch < 0 || sample < 0 || view < 0 || view > 255)
        return err_set(err, MOCO_EINVAL, "epoch %lld, sample %lld, view %d: none may be negative, and view is 0 to 255",
                       (long long)epoch, (long long)sample, view);
    struct rng rng;
    struct augment_params p;
    rng_init(&rng, seed, (uint64_t)epoch, (uint64_t)sample, (unsigned)view, RNG_AUGMENT);
    TRY(augment_draw(&augment->recipe, w, h, &rng, &p, err));
    moco_view_params filled = {
        .crop = {p.x, p.y, p.w, p.h},
        .resize = {p.rw, p.rh},
        .offset = {p.ox, p.oy},
        .jitter = p.jitter,
        .grey = p.grey,
        .flip = p.flip,
        .sigma = p.sigma,
    };
    for (int i = 0; i < 4; i++) {
        filled.order[i] = p.op[i];
        filled.factor[i] = p.factor[i];
    }
    struct_write(params, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_augment_draw(const moco_augment *augment, int w, int h, uint64_t seed, int64_t epoch, int64_t sample,
                              int view, moco_view_params *params)
{
    struct err err = {0};
    return api_return(draw(augment, w, h, seed, epoch, sample, view, params, &err), "moco_augment_draw", &err);
}

static moco_status take_spare(moco_augment *augment, struct spare **out, struct err *err)
{
    pthread_mutex_lock(&augment->lock);
    struct spare *spare = augment->spares;
    if (spare != NULL)
        augment->spares = spare->next;
    pthread_mutex_unlock(&augment->lock);
    if (spare == NULL) {
        spare = mem_zalloc(augment->handle.ctx, sizeof *spare, err);
        if (spare == NULL)
            return MOCO_ENOMEM;
        augment_scratch_init(&spare->scratch, augment->handle.ctx);
    }
    *out = spare;
    return MOCO_OK;
}

static void give_spare(moco_augment *augment, struct spare *spare)
{
    pthread_mutex_lock(&augment->lock);
    spare->next = augment->spares;
    augment->spares = spare;
    pthread_mutex_unlock(&augment->lock);
}

static moco_status check_rgb(const moco_tensor *tensor, const char *name, struct err *err)
{
    int64_t count;
    TRY(tensor_check(tensor, name, 0, &count, err));
    if (tensor->dtype != MOCO_U8 || tensor->ndim != 3 || tensor->shape[2] != 3 || tensor->shape[0] > INT32_MAX / 4 ||
        tensor->shape[1] > INT32_MAX / 4)
        return err_set(err, MOCO_ESHAPE, "%s must be u8 [h,w,3]", name);
    return MOCO_OK;
}

static moco_status apply(moco_augment *augment, const moco_tensor *image, const moco_view_params *params,
                         moco_tensor *view, struct err *err)
{
    TRY(handle_check(augment, HANDLE_AUGMENT, "augment", err));
    TRY(check_rgb(image, "image", err));
    TRY(check_rgb(view, "view", err));
    moco_view_params given = {0};
    TRY(struct_read(&given, sizeof given, params, "params", err));
    int size = augment->recipe.size, w = (int)image->shape[1], h = (int)image->shape[0];
    if (view->shape[0] != size || view->shape[1] != size)
        return err_set(err, MOCO_ESHAPE, "view is [%lld,%lld,3]; the recipe makes [%d,%d,3]", (long long)view->shape[0],
                       (long long)view->shape[1], size, size);
    struct augment_params p = {
        .x = given.crop[0],
        .y = given.crop[1],
        .w = given.crop[2],
        .h = given.crop[3],
        .rw = given.resize[0],
        .rh = given.resize[1],
        .ox = given.offset[0],
        .oy = given.offset[1],
        .jitter = given.jitter != 0,
        .grey = given.grey != 0,
        .flip = given.flip != 0,
        .sigma = given.sigma,
    };
    for (int i = 0; i < 4; i++) {
        p.op[i] = given.order[i];
        p.factor[i] = given.factor[i];
    }
    augment_params_recipe(&augment->recipe, &p);
    TRY(augment_params_check(&p, w, h, size, err));
    struct spare *spare;
    TRY(take_spare(augment, &spare, err));
    struct image rgb = {.pixels = image->data, .w = w, .h = h, .stride = (size_t)w * 3};
    moco_status status = augment_apply(&p, &rgb, size, &spare->scratch, view->data, err);
    if (status == MOCO_OK)
        give_spare(augment, spare);
    else
        spare_free(augment->handle.ctx, spare);
    return status;
}

moco_status moco_augment_apply(moco_augment *augment, const moco_tensor *image, const moco_view_params *params,
                               moco_tensor *view)
{
    struct err err = {0};
    return api_return(apply(augment, image, params, view, &err), "moco_augment_apply", &err);
}
