/* SPDX-License-Identifier: MIT
 *
 * moco/encoder.h: an encoder in a service. A moco_encoder is what a moco_model has learnt, without anything that
 * only training needs: one set of weights that never changes, with batch norms folded into the convolutions. Any
 * number of threads use it at once. Each call computes in a workspace of its own. Workspaces are made at first use,
 * or in advance by moco_encoder_reserve, and are kept. Nothing is locked while a call computes.
 *
 * There are two kinds of threads: those that call, and the compute threads of the context, which each caller has. A
 * service that answers many callers at once makes its context with threads = 1, so that each caller computes on its
 * own processor. A program in which one thread waits for one picture leaves threads at 0. */
#ifndef MOCO_ENCODER_H
#define MOCO_ENCODER_H

#include "moco/data.h"
#include "moco/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_encoder moco_encoder;

typedef struct moco_encoder_options {
    uint32_t struct_size;
    int32_t precision; /* moco_precision; AUTO (the default): BF16 where the device has instructions for it, else F32;
                          on "ref" F64 */
    /* 1 (the default): the vector of a picture has the same bits whether the picture comes alone or among others, at
     * any position and among any number of them. 0: the device may compute several pictures in another order of
     * summation. */
    int32_t deterministic;
    int32_t workspaces;  /* most workspaces; a call that finds all of them in use waits for one. 0 (the default): twice
                            the number of processors that this process may use */
    int32_t most_images; /* most pictures of one size computed at once, rounded down to a power of two; more memory for
                            less time a picture. 0 (the default): the device chooses, 8 of 224 x 224 on "cpu" */
    int32_t plans;       /* most plans that a workspace keeps, one for each number of pictures (1, 2, 4, 8, ...), size
                            and kind of input and output; one more replaces the least recently used. 0: 16 */
} moco_encoder_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_encoder_options_init_sized(moco_encoder_options *options, size_t size);
#define moco_encoder_options_init(o) moco_encoder_options_init_sized((o), sizeof *(o))

typedef struct moco_encoder_info {
    uint32_t struct_size;
    int32_t dim;               /* length of an embedding (MOCO_PROJECTION) */
    int32_t feature_dim;       /* length of a feature vector (MOCO_FEATURES) */
    int32_t image_size;        /* expected height and width of images; others work too */
    int32_t precision;         /* the precision in which it computes */
    int32_t deterministic;     /* as in the options */
    int32_t workspaces;        /* made so far */
    int32_t most_workspaces;   /* the limit */
    int64_t weight_bytes;      /* of the weights, once for all workspaces */
    int64_t workspace_bytes;   /* of all workspaces now */
    int64_t largest_workspace; /* bytes of the largest of them */
    int64_t plans;             /* compiled so far: it stops growing when every kind of call has been made */
    char arch[16], stem[16], head[16];
    double width;
    double mean[3], std[3];
} moco_encoder_info;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_encoder_info_init_sized(moco_encoder_info *info, size_t size);
#define moco_encoder_info_init(i) moco_encoder_info_init_sized((i), sizeof *(i))

/* Makes an encoder from a model as it is now. It is a copy that training does not change, so that the model may be
 * trained further, or freed. While a trainer steps on the model in another thread, the copy is of a whole step.
 * `options` may be NULL: the defaults. Owned; it holds a reference on the device.
 * Errors: MOCO_EINVAL (names the option), MOCO_ENOTSUP (a precision that the device lacks), MOCO_ENUMERIC (a number
 * of the model is not finite), MOCO_ENOMEM.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_encoder_create(moco_encoder **encoder, moco_model *model,
                                         const moco_encoder_options *options);

/* Makes an encoder from a file that moco_model_save or moco_trainer_save wrote. While it runs it takes, in addition to
 * the encoder's memory, that of two layers on "cpu", and that of a model on other devices or if the file holds f64.
 * Owned.
 * Errors: as moco_model_open and moco_encoder_create.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_encoder_open(moco_encoder **encoder, moco_device *device, const char *path,
                                       const moco_encoder_options *options);

/* Frees the handle. NULL is allowed. Running calls continue and end as usual; the last of them releases the memory.
 * Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_encoder_free(moco_encoder *encoder);

/* Fills `info`.
 * Errors: MOCO_EINVAL.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_describe(const moco_encoder *encoder, moco_encoder_info *info);

/* Fills `recipe` with the recipe of the model or the file (moco_model_set_recipe).
 * Errors: MOCO_ENOTFOUND: there is none.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_recipe_sized(const moco_encoder *encoder, moco_augment_options *recipe, size_t size);
#define moco_encoder_recipe(e, r) moco_encoder_recipe_sized((e), (r), sizeof *(r))

/* Computes what moco_model_embed computes, with the same tensors in and out. It allocates memory and compiles when a
 * workspace meets a number of pictures, a size, a type of input or an output for the first time.
 * Errors: MOCO_ESHAPE, MOCO_EINVAL, MOCO_ENOMEM; MOCO_ENUMERIC: a number of an image or of an embedding is not
 * finite (the sentence names it; `out` is then partly filled); MOCO_ECANCELED: moco_encoder_cancel was called (`out`
 * as before); MOCO_ESTATE: the device is not ready (moco_device_open).
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed(moco_encoder *encoder, const moco_tensor *images, moco_embedding what,
                                        moco_tensor *out);

/* Makes workspaces, compiles and computes once. A later moco_encoder_embed of up to `images->shape[0]` images like
 * these then allocates nothing and compiles nothing, in up to `workspaces` threads at once. Only type and shape of
 * `images` matter (data may be NULL). It waits for running calls.
 * Errors: as moco_encoder_embed; MOCO_EINVAL: more workspaces than the options allow.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_reserve(moco_encoder *encoder, int workspaces, const moco_tensor *images,
                                          moco_embedding what);

/* ---- encoded pictures ---- */

typedef struct moco_encode_options {
    uint32_t struct_size;
    int32_t workers;    /* threads that decode while the caller computes, made for one call; 0: the caller decodes, as
                           always for a single picture. Default 1 */
    int64_t max_pixels; /* as in moco_loader_options */
    const moco_augment_options *recipe; /* how pictures are prepared; NULL: the encoder's own recipe */
    /* NULL, or called for each picture that has no vector, in their order, before the call returns, on its thread.
     * It gets the number, the path ("" for bytes) and the reason. If it returns anything but 0, it is not called
     * again. */
    moco_bad_image bad;
    void *user; /* is passed to `bad` */
} moco_encode_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_encode_options_init_sized(moco_encode_options *options, size_t size);
#define moco_encode_options_init(o) moco_encode_options_init_sized((o), sizeof *(o))

/* Turns files into vectors: it reads, decodes, crops and resizes each picture by the recipe and embeds it, and
 * decodes the next pictures while it computes. `paths` [n]; `out` as in moco_encoder_embed; `options` may be NULL:
 * the defaults. `statuses` [n] gets MOCO_OK, or why a picture has no vector: MOCO_EIO (it cannot be opened or read),
 * MOCO_EFORMAT (damaged, or not a picture), MOCO_ESHAPE (the recipe needs another size). The row of such a picture
 * is NaN, and all others are right. If `statuses` is NULL, the first such picture ends the call.
 * Errors: as moco_encoder_embed; MOCO_ENOTFOUND: there is no recipe; MOCO_EINVAL: `recipe` draws at random; if
 * `statuses` is NULL also MOCO_EFORMAT, which names the picture.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed_files(moco_encoder *encoder, const char *const *paths, int64_t n,
                                              const moco_encode_options *options, moco_embedding what, moco_tensor *out,
                                              moco_status *statuses);

/* Does the same with the bytes of JPEG, PNG or WebP files in memory: bytes[i] has sizes[i] of them.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed_bytes(moco_encoder *encoder, const void *const *bytes, const size_t *sizes,
                                              int64_t n, const moco_encode_options *options, moco_embedding what,
                                              moco_tensor *out, moco_status *statuses);

/* Cancels all running calls on this encoder, also those that wait for a workspace. Each returns MOCO_ECANCELED, at
 * the latest when its current layer has been computed, unless it is done already. Calls that begin later are not
 * affected. It is meant for a service that stops.
 * Threads: any thread may call it at any time, but not from a signal handler. Since 0.1. */
MOCO_API void moco_encoder_cancel(moco_encoder *encoder);

#ifdef __cplusplus
}
#endif
#endif
