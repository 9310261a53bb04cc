/* SPDX-License-Identifier: MIT
 *
 * moco/model.h: one encoder, that is a backbone (ResNet) and a projection head, with named parameters.
 *
 * A model serves one call at a time. There is one exception: while a trainer steps on it in one thread, another
 * thread may embed, save and get. These calls see the numbers of a whole committed step, and a commit waits until
 * they have read them. */
#ifndef MOCO_MODEL_H
#define MOCO_MODEL_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_model moco_model;

/* The network. Strings are copied. Defaults: resnet50, width 1, stem "imagenet", head "mlp", dim 128, image 224,
 * zero_init 0. */
typedef struct moco_model_options {
    uint32_t struct_size;
    int32_t dim;      /* C, the length of an embedding */
    const char *arch; /* "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" */
    const char *stem; /* "imagenet" (7x7 stride 2, max-pool), "cifar" (3x3 stride 1), "small" (3x3 stride 2) */
    const char *head; /* "linear" (MoCo v1); "mlp" (MoCo v2: linear, ReLU, linear); "simclr-v1", "simclr-v2" (two and
                         three layers, each linear without bias and BN; ReLU between them; no bias in the last BN) */
    double width;     /* multiplies the channels of every layer: 1 is the standard network (64 channels in the stem) */
    double mean[3];   /* normalisation (x - mean) / std per channel, of values scaled to 0..1; ImageNet's */
    double std[3];    /* the normalised 0 and 1 must be finite in f32 */
    uint64_t seed;    /* of the initial weights */
    int32_t image_size; /* expected height and width of images (224); others work too */
    int32_t zero_init;  /* 1: the last BN of each residual branch starts with weight 0 (SimCLR), 0: with 1 (MoCo) */
} moco_model_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
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
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_model_info_init_sized(moco_model_info *info, size_t size);
#define moco_model_info_init(i) moco_model_info_init_sized((i), sizeof *(i))

/* Makes a freshly initialised encoder. Its weights are a pure function of the options: convolutions kaiming normal,
 * fan-out; BN weight 1 and bias 0 (with zero_init some weights 0); linear layers U(+-1/sqrt(fan_in)). Owned.
 * Errors: MOCO_EINVAL names the option, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_model_create(moco_model **model, moco_device *device, const moco_model_options *options);

/* Opens an encoder from a file that moco_model_save or moco_trainer_save wrote (of the latter, the query encoder).
 * Owned.
 * Errors: MOCO_EIO (the file cannot be read), MOCO_EFORMAT (its content is damaged, has tensors that its description
 * does not fit, a number that is not finite, or a running variance below 0), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_model_open(moco_model **model, moco_device *device, const char *path);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_model_free(moco_model *model);

/* Writes a safetensors file with torchvision's names (conv1.weight ... fc.2.bias), in f32 (f64 from "ref"). The
 * network's description, and its recipe if it has one, are in __metadata__. The file is written to a temporary file
 * and renamed: what was at `path` stays whole until then.
 * Errors: MOCO_EIO; MOCO_ENUMERIC: a number is not finite or a running variance is below 0 (the sentence names the
 * tensor), and nothing is written.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_save(moco_model *model, const char *path);

/* Replaces all tensors by those of the file, and the recipe if the file has one. The file must describe the same
 * network. On failure nothing changes.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_ESHAPE; MOCO_ESTATE while a trainer uses the model.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_load(moco_model *model, const char *path);

/* Fills `info`.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_model_describe(const moco_model *model, moco_model_info *info);

struct moco_augment_options; /* moco/data.h */

/* Sets the evaluation recipe: how images must be prepared for this encoder. It is the recipe that the encoder was
 * evaluated with during training, so that everybody who opens its file prepares images in the way that was measured
 * (mean and std belong to the network). moco_model_save and moco_trainer_save write it; moco_model_open and
 * moco_model_load read it, as does moco_trainer_load; files without one leave it unchanged. It does not affect
 * moco_model_embed, which takes images of any size.
 *
 * `recipe` is copied: its size, crop, resize, centre_part and interpolation. It must not draw anything at random
 * ("eval", "simclr-eval" and "none" do not). It may be set while a trainer uses the model.
 * Errors: MOCO_EINVAL names what would be drawn at random.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_set_recipe(moco_model *model, const struct moco_augment_options *recipe);

/* Fills `recipe`, whose struct_size the macro sets, for moco_loader_options.recipe or moco_augment_create.
 * Errors: MOCO_ENOTFOUND: there is none, because nobody set it or the file was written before libmoco stored it;
 * `recipe` is then unchanged.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_recipe_sized(const moco_model *model, struct moco_augment_options *recipe, size_t size);
#define moco_model_recipe(m, r) moco_model_recipe_sized((m), (r), sizeof *(r))

/* The name of tensor `index` (parameters and BN buffers, in the reference's order); NULL past the end. Borrowed from
 * the model.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_model_tensor_name(const moco_model *model, int index);

/* Copy a tensor out of the model (get) or into it (set). They convert between f32, f64 and i64
 * (num_batches_tracked). If `tensor->data` is NULL, get only fills dtype, ndim and shape.
 * Errors: MOCO_ENOTFOUND, MOCO_ESHAPE; set also MOCO_ENUMERIC: a number is not finite (in f32, if the model holds
 * f32), MOCO_EINVAL: a variance is negative or a count is invalid, MOCO_ESTATE while a trainer uses the model.
 * Threads: a model serves one call at a time. Since 0.1. */
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
 * already normalised. `out`: f32 or f64 [n, feature_dim or dim], or of a feature map [n,c,h,w], filled. Any n is
 * allowed; the model divides it into chunks.
 * Errors: MOCO_ESHAPE, MOCO_EINVAL, MOCO_ENOMEM; MOCO_ENUMERIC: a number of an image, of the model or of an
 * embedding is not finite (the sentence names it; `out` is then partly filled).
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_embed(moco_model *model, const moco_tensor *images, moco_embedding what,
                                      moco_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
