/* SPDX-License-Identifier: MIT
 *
 * moco/model.h: one encoder, that is a backbone (ResNet) and a projection head, with named parameters.
 *
 * A model serves one call at a time. While a trainer steps on it in one thread, another may embed, save and get: these
 * see the numbers of a whole committed step, and a commit waits until they have read. */
#ifndef MOCO_MODEL_H
#define MOCO_MODEL_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_model moco_model;

/* Strings are copied. Defaults: resnet50, width 1, stem "imagenet", head "mlp", dim 128, image 224, zero_init 0. */
typedef struct moco_model_options {
    uint32_t struct_size;
    int32_t dim;      /* C, the length of an embedding */
    const char *arch; /* "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" */
    const char *stem; /* "imagenet" (7x7 stride 2, max-pool), "cifar" (3x3 stride 1), "small" (3x3 stride 2) */
    const char *head; /* "linear" (MoCo v1); "mlp" (MoCo v2: linear, ReLU, linear); "simclr-v1", "simclr-v2" (two and
                         three layers of linear without bias and BN, ReLU between them, the last BN without bias) */
    double width;     /* multiplies the channels of every layer: 1 is the standard network (64 channels in the stem) */
    double mean[3];   /* input normalisation, per channel, of values scaled to 0..1; default ImageNet's. What */
    double std[3];    /* comes of 0 and of 1 must be finite in f32 */
    uint64_t seed;    /* of the initial weights */
    int32_t image_size; /* height and width that images are expected to have (224); others work too */
    int32_t zero_init;  /* 1: the last BN of each residual branch starts with weight 0 (SimCLR), 0: with 1 (MoCo) */
} moco_model_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_model_options_init_sized(moco_model_options *options, size_t size);
#define moco_model_options_init(o) moco_model_options_init_sized((o), sizeof *(o))

typedef struct moco_model_info {
    uint32_t struct_size;
    int32_t dim;          /* length of an embedding */
    int32_t feature_dim;  /* length of a feature vector of the backbone: 512 or 2048 times width */
    int32_t tensor_count; /* of moco_model_tensor_name */
    int64_t parameters;   /* trainable numbers */
    char arch[16], stem[16], head[16];
    double width;
    int32_t image_size, reserved0;
    double mean[3], std[3];
} moco_model_info;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_model_info_init_sized(moco_model_info *info, size_t size);
#define moco_model_info_init(i) moco_model_info_init_sized((i), sizeof *(i))

/* A freshly initialised encoder (SPEC: kaiming normal fan-out convolutions, BN 1 and 0 (with zero_init some 0 and 0),
 * linear U(+-1/sqrt(fan_in))), a pure function of the options. Owned. Errors: MOCO_EINVAL names the option,
 * MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_model_create(moco_model **model, moco_device *device, const moco_model_options *options);

/* An encoder from a file that moco_model_save or moco_trainer_save wrote (of the latter, the query encoder). Owned.
 * Errors: MOCO_EIO (it cannot be read), MOCO_EFORMAT (what is in it: damage, tensors that its description does not fit,
 * a number that is not finite, a running variance below 0), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_model_open(moco_model **model, moco_device *device, const char *path);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_model_free(moco_model *model);

/* Writes a safetensors file with torchvision's names (conv1.weight ... fc.2.bias), f32 (f64 from "ref"), and the
 * network's description and its recipe, if it has one, in __metadata__. Written to a temporary file and renamed:
 * whatever was at `path` stays whole until then. Errors: MOCO_EIO; MOCO_ENUMERIC: a number is not finite or a running
 * variance below 0 (the sentence names the tensor), nothing is written. Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_save(moco_model *model, const char *path);

/* Replaces all tensors, and the recipe if the file has one, by those of the file, which must describe the same network;
 * on failure nothing changes. Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_ESHAPE; MOCO_ESTATE while a trainer uses the model.
 * Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_load(moco_model *model, const char *path);

/* Threads: any. Since 0.1. */
MOCO_API moco_status moco_model_describe(const moco_model *model, moco_model_info *info);

struct moco_augment_options; /* moco/data.h */

/* How images are to be looked at: the recipe that the encoder was evaluated with while it was trained, so that whoever
 * opens its file sees what was measured (mean and std go with the network). moco_model_save and moco_trainer_save write
 * it, moco_model_open, moco_model_load and moco_trainer_load read it; files without one leave it as it was. It says
 * nothing to moco_model_embed, which takes images of any size.
 *
 * `recipe` is copied: its size, crop, resize, centre_part and interpolation. It may not draw anything at random
 * ("eval", "simclr-eval" and "none" do not): MOCO_EINVAL names what would be drawn. Fine while a trainer has the model.
 * Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_set_recipe(moco_model *model, const struct moco_augment_options *recipe);

/* Fills `recipe`, whose struct_size is set by the macro, for moco_loader_options.recipe or moco_augment_create.
 * Errors: MOCO_ENOTFOUND: there is none, because nobody set it or the file is of before libmoco kept it; `recipe` is
 * left alone. Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_recipe_sized(const moco_model *model, struct moco_augment_options *recipe, size_t size);
#define moco_model_recipe(m, r) moco_model_recipe_sized((m), (r), sizeof *(r))

/* Name of tensor `index` (parameters and BN buffers, in the reference's order); NULL past the end. Borrowed from the
 * model. Threads: any. Since 0.1. */
MOCO_API const char *moco_model_tensor_name(const moco_model *model, int index);

/* Copies a tensor out of or into the model, converting between f32, f64 and (num_batches_tracked) i64. With
 * `tensor->data` NULL, get only fills dtype, ndim and shape. Errors: MOCO_ENOTFOUND, MOCO_ESHAPE; of set MOCO_ENUMERIC:
 * a number is not finite (in f32, where the model holds f32), MOCO_EINVAL: a variance is negative or a count is none,
 * MOCO_ESTATE while a trainer uses the model. Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_get(moco_model *model, const char *name, moco_tensor *tensor);
MOCO_API moco_status moco_model_set(moco_model *model, const char *name, const moco_tensor *tensor);

typedef enum moco_embedding {
    MOCO_FEATURES = 1,   /* backbone output after average pooling, not normalised: [n, feature_dim] */
    MOCO_PROJECTION = 2, /* head output, not normalised: [n, dim] */
    /* Feature maps: what the stages of the backbone end in (behind their last ReLU), [n, c, h, w]. c is 64, 128, 256, 512
     * times width, with ResNet-50 and deeper four times as much; h and w follow from the image's: a quarter of it in
     * layer1 with the stem "imagenet", and half as much in each further layer, rounded up. */
    MOCO_LAYER1 = 3,
    MOCO_LAYER2 = 4,
    MOCO_LAYER3 = 5,
    MOCO_LAYER4 = 6,
    MOCO_EMBEDDING_MAX_ = 0x7fffffff
} moco_embedding;

/* Encodes images with the running statistics of BN (evaluation mode). `images`: u8 [n,h,w,3] RGB, or f32 [n,3,h,w]
 * already normalised. `out`: f32 or f64 [n, feature_dim or dim] or, of a feature map, [n,c,h,w], filled. Any n; computed in chunks of the model's own.
 * Errors: MOCO_ESHAPE, MOCO_EINVAL, MOCO_ENOMEM; MOCO_ENUMERIC: a number of an image, of the model or of an embedding
 * is not finite (named; `out` is then filled in part). Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_embed(moco_model *model, const moco_tensor *images, moco_embedding what,
                                      moco_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
