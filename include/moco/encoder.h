/* SPDX-License-Identifier: MIT
 *
 * moco/encoder.h: an encoder in a service. A moco_encoder is what a moco_model has learnt, and nothing that training
 * needs: one set of weights that never changes, with batch norms folded into the convolutions, which any number of
 * threads use at once. Each call computes in a workspace of its own; workspaces are made at first use, or in advance by
 * moco_encoder_reserve, and kept. Nothing is locked while a call computes.
 *
 * Threads of two kinds: those that call, and the compute threads of the context, which each caller has. A service that
 * answers many callers at once makes its context with threads = 1, so that each caller computes on its own processor; a
 * program in which one thread waits for one picture leaves threads at 0. */
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
    /* 1 (the default): the vector of a picture is the same bits whether it comes alone or among others, at any place
     * and in any number of them. 0: the device may compute several pictures in another order of summation. */
    int32_t deterministic;
    int32_t workspaces;  /* at most; who finds all of them taken waits for one. 0 (the default): twice as many as
                            processors that this process may use */
    int32_t most_images; /* most pictures of one size computed at once, rounded down to a power of two; more memory for
                            less time a picture. 0 (the default): as the device likes it, 8 of 224 x 224 on "cpu" */
    int32_t plans; /* kept ready by a workspace, one for each number of pictures (1, 2, 4, 8, ...), size and kind of
                            input and output in use; beyond that the one that was not used for longest goes. 0: 16 */
} moco_encoder_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_encoder_options_init_sized(moco_encoder_options *options, size_t size);
#define moco_encoder_options_init(o) moco_encoder_options_init_sized((o), sizeof *(o))

typedef struct moco_encoder_info {
    uint32_t struct_size;
    int32_t dim;               /* length of an embedding (MOCO_PROJECTION) */
    int32_t feature_dim;       /* length of a feature vector (MOCO_FEATURES) */
    int32_t image_size;        /* height and width that images are expected to have; others work too */
    int32_t precision;         /* what it computes in */
    int32_t deterministic;     /* as of the options */
    int32_t workspaces;        /* made so far */
    int32_t most_workspaces;   /* that there will be */
    int64_t weight_bytes;      /* of the weights, once for all workspaces */
    int64_t workspace_bytes;   /* of all workspaces now */
    int64_t largest_workspace; /* bytes of the largest of them */
    int64_t plans;             /* compiled so far: it stands still once every kind of call has been made */
    char arch[16], stem[16], head[16];
    double width;
    double mean[3], std[3];
} moco_encoder_info;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_encoder_info_init_sized(moco_encoder_info *info, size_t size);
#define moco_encoder_info_init(i) moco_encoder_info_init_sized((i), sizeof *(i))

/* The encoder of a model as it is now: a copy that training does not move, so that a model may be trained further, or
 * freed. While a trainer steps on it in another thread, the copy is of a whole step. `options` may be NULL: the
 * defaults. Owned; holds a reference on the device. Errors: MOCO_EINVAL (names the option), MOCO_ENOTSUP (a precision
 * that the device has not), MOCO_ENUMERIC (a number of the model is not finite), MOCO_ENOMEM. Threads: one call per
 * model. Since 0.1. */
MOCO_API moco_status moco_encoder_create(moco_encoder **encoder, moco_model *model,
                                         const moco_encoder_options *options);

/* The same from a file that moco_model_save or moco_trainer_save wrote. Takes the memory of a model beside that of the
 * encoder while it runs. Errors: as of moco_model_open and moco_encoder_create. Threads: any. Since 0.1. */
MOCO_API moco_status moco_encoder_open(moco_encoder **encoder, moco_device *device, const char *path,
                                       const moco_encoder_options *options);

/* NULL is fine. Calls in progress go on and end as ever; the last of them gives the memory back. Threads: any, once; no
 * call may begin on it afterwards. Since 0.1. */
MOCO_API void moco_encoder_free(moco_encoder *encoder);

/* Fills `info`. Errors: MOCO_EINVAL. Threads: any number of calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_describe(const moco_encoder *encoder, moco_encoder_info *info);

/* The recipe that came with the model or the file (moco_model_set_recipe). Errors: MOCO_ENOTFOUND: there is none.
 * Threads: any number of calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_recipe_sized(const moco_encoder *encoder, moco_augment_options *recipe, size_t size);
#define moco_encoder_recipe(e, r) moco_encoder_recipe_sized((e), (r), sizeof *(r))

/* What moco_model_embed computes, with the same tensors in and out. Takes memory, and compiles, when a workspace meets a
 * number of pictures, a size, a type of input or an output for the first time. Errors: MOCO_ESHAPE, MOCO_EINVAL,
 * MOCO_ENOMEM; MOCO_ENUMERIC: a number of an image or of an embedding is not finite (named; `out` is then filled in
 * part); MOCO_ECANCELED: by moco_encoder_cancel (the same); MOCO_ESTATE: the device is not ready (moco_device_open).
 * Threads: any number of calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed(moco_encoder *encoder, const moco_tensor *images, moco_embedding what,
                                        moco_tensor *out);

/* Makes workspaces, compiles and computes once, so that a later moco_encoder_embed of up to `images->shape[0]` images
 * like these takes no memory and compiles nothing, in as many threads at once as `workspaces` says. Of `images` type and
 * shape are looked at (data may be NULL). Waits for the calls that are in progress. Errors: as of moco_encoder_embed;
 * MOCO_EINVAL: more workspaces than the options allow. Threads: any number of calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_reserve(moco_encoder *encoder, int workspaces, const moco_tensor *images,
                                          moco_embedding what);

/* ---- encoded pictures ---- */

typedef struct moco_encode_options {
    uint32_t struct_size;
    int32_t workers; /* threads that decode while the caller computes, made for one call; 0: the caller decodes, as it
                           always does a single picture. Default 1 */
    int64_t max_pixels;                 /* as of moco_loader_options */
    const moco_augment_options *recipe; /* how pictures are looked at; NULL: as the encoder's own recipe says */
    /* NULL, or told of each picture that has no vector, in their order, before the call returns, on its thread: the
     * number, the path ("" of bytes), and why. Not 0: no more of them. */
    moco_bad_image bad;
    void *user; /* passed to `bad` */
} moco_encode_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_encode_options_init_sized(moco_encode_options *options, size_t size);
#define moco_encode_options_init(o) moco_encode_options_init_sized((o), sizeof *(o))

/* From files to vectors: reads, decodes, crops and resizes each picture by the recipe, and embeds it, decoding while
 * the pictures before are computed. `paths` [n]; `out` as of moco_encoder_embed; `options` may be NULL: the defaults.
 * `statuses` [n] gets MOCO_OK, or why a picture has no vector: MOCO_EIO (it cannot be opened or read), MOCO_EFORMAT
 * (damaged, or no picture), MOCO_ESHAPE (the recipe wants another size); its row is NaN then, and all others are right.
 * With `statuses` NULL the first such picture ends the call. Errors: as of moco_encoder_embed; MOCO_ENOTFOUND: there is
 * no recipe; MOCO_EINVAL: `recipe` draws at random; with `statuses` NULL also MOCO_EFORMAT, which names the picture.
 * Threads: any number of calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed_files(moco_encoder *encoder, const char *const *paths, int64_t n,
                                              const moco_encode_options *options, moco_embedding what, moco_tensor *out,
                                              moco_status *statuses);

/* The same from the bytes of JPEG, PNG or WebP files in memory: bytes[i] has sizes[i] of them. Threads: any number of
 * calls at once. Since 0.1. */
MOCO_API moco_status moco_encoder_embed_bytes(moco_encoder *encoder, const void *const *bytes, const size_t *sizes,
                                              int64_t n, const moco_encode_options *options, moco_embedding what,
                                              moco_tensor *out, moco_status *statuses);

/* Ends the calls that are in progress on this encoder, also those that wait for a workspace: each answers MOCO_ECANCELED,
 * at the latest when the layer that it is in has been computed, unless it is done already. Calls that begin later are
 * not concerned. For a service that stops. Threads: any, not from a signal handler. Since 0.1. */
MOCO_API void moco_encoder_cancel(moco_encoder *encoder);

#ifdef __cplusplus
}
#endif
#endif
