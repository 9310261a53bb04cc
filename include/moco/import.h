/* SPDX-License-Identifier: MIT
 *
 * moco/import.h: reads encoders and training states from files that other programs wrote (moco/weights.h): ResNets
 * of torchvision and timm; checkpoints of the official MoCo, solo-learn, lightly, MMPretrain and others that keep
 * torchvision's names behind a prefix.
 *
 * Some facts are not in such a file. They are assumed and cannot be verified: ResNet v1.5 (the stride of a
 * bottleneck is on its 3x3 convolution), BN with eps 1e-5, colours in the order RGB, mean and std as the options
 * say. Depth, width and head follow from names and shapes. A 7x7 first convolution is the imagenet stem. The shape
 * of a 3x3 one does not show its stride, so the caller must name the stem.
 *
 * The parts "module", "_orig_mod" and "_fsdp_wrapped_module" of a name are ignored: wrappers of PyTorch add them. */
#ifndef MOCO_IMPORT_H
#define MOCO_IMPORT_H

#include "moco/base.h"
#include "moco/model.h"
#include "moco/trainer.h"
#include "moco/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which encoder of the file, if its names distinguish queries from keys. PLAIN is returned by moco_import_candidate
 * only: the names do not say. */
typedef enum moco_import_which {
    MOCO_IMPORT_QUERY = 0,
    MOCO_IMPORT_KEY = 1,
    MOCO_IMPORT_PLAIN = 2,
    MOCO_IMPORT_WHICH_MAX_ = 0x7fffffff
} moco_import_which;

/* What to do with the file's projection head. IF_THERE: use it if there is one that fits the options, otherwise draw
 * a fresh one, and the report says so. TAKE: use it, or the import fails; an "fc" that would otherwise count as a
 * classifier is used as a linear head. FRESH: ignore it. */
typedef enum moco_import_head {
    MOCO_IMPORT_HEAD_IF_THERE = 0,
    MOCO_IMPORT_HEAD_TAKE = 1,
    MOCO_IMPORT_HEAD_FRESH = 2,
    MOCO_IMPORT_HEAD_MAX_ = 0x7fffffff
} moco_import_head;

/* Options of an import. Defaults: the query encoder under any prefix, its head if there is one, ImageNet's mean and
 * std. */
typedef struct moco_import_options {
    uint32_t struct_size;
    int32_t which;      /* moco_import_which, QUERY or KEY; ignored with a prefix */
    const char *prefix; /* the part of the file's names before "conv1.weight", as moco_import_candidate returns it, with
                           or without its last '.'; NULL: it is searched for */
    const char *stem;   /* "imagenet", "cifar" or "small"; NULL: imagenet, if the first convolution is 7x7 */
    const char *head;   /* kind of head, as moco_model_options.head; NULL: the file's; for a fresh head "mlp" */
    int32_t dim;        /* length of an embedding; 0: the file's; for a fresh head 128 */
    int32_t take_head;  /* moco_import_head */
    double mean[3];     /* input normalisation, as in moco_model_options */
    double std[3];
    uint64_t seed;      /* of a fresh head */
    int32_t image_size; /* as in moco_model_options: 224 */
    int32_t reserved0;
} moco_import_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_import_options_init_sized(moco_import_options *options, size_t size);
#define moco_import_options_init(o) moco_import_options_init_sized((o), sizeof *(o))

/* What a line of the report is about. */
typedef enum moco_import_kind {
    MOCO_IMPORT_USED = 0,       /* a tensor of the file, and what it became */
    MOCO_IMPORT_MISSING = 1,    /* a tensor that the file does not have */
    MOCO_IMPORT_UNUSED = 2,     /* a tensor of the file that was not used */
    MOCO_IMPORT_MISMATCHED = 3, /* a tensor of another shape, or whose type is not one of a network */
    MOCO_IMPORT_ROUNDED = 4,    /* f64 numbers, rounded to the f32 that the device holds */
    MOCO_IMPORT_WIDENED = 5,    /* f16 or bf16 numbers */
    MOCO_IMPORT_UNVERIFIED = 6, /* a tensor that was used although no checksum in the file verifies its bytes */
    MOCO_IMPORT_NOTE = 7,       /* anything else a user should know: a fresh head, a dropped classifier */
    MOCO_IMPORT_KINDS = 8,
    MOCO_IMPORT_KIND_MAX_ = 0x7fffffff
} moco_import_kind;

/* Called once for each line, on the thread that imports. `sentence` is valid until it returns. It must not call
 * functions on the handles that are being imported into. */
typedef void (*moco_import_line)(void *user, int32_t kind, const char *sentence);

/* The report of an import. The caller sets `line` and `user`; the import fills the counts. If it fails, they count
 * the lines up to then. */
typedef struct moco_import_report {
    uint32_t struct_size;
    int32_t fresh_head;    /* 1: the head was drawn, not read */
    moco_import_line line; /* may be NULL */
    void *user;
    int64_t count[8]; /* lines of each moco_import_kind */
    char prefix[248]; /* prefix of the encoder that was used; of a trainer, that of its query encoder */
} moco_import_report;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_import_report_init_sized(moco_import_report *report, size_t size);
#define moco_import_report_init(r) moco_import_report_init_sized((r), sizeof *(r))

typedef struct moco_import_found {
    uint32_t struct_size;
    int32_t which;    /* moco_import_which */
    char prefix[248]; /* UTF-8, ends in 0; "" for an encoder whose names have no prefix */
} moco_import_found;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_import_found_init_sized(moco_import_found *found, size_t size);
#define moco_import_found_init(f) moco_import_found_init_sized((f), sizeof *(f))

/* Finds encoder number `index`, from 0, in the file: every prefix that occurs before both "conv1.weight" and
 * "layer1.0.conv1.weight", or before "0.weight" and "4.0.conv1.weight" (a torch.nn.Sequential). It does not check
 * whether the rest of a ResNet exists.
 * Errors: MOCO_ENOTFOUND past the end, MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_import_candidate(const moco_weights *weights, int64_t index, moco_import_found *found);

/* Makes an encoder with the numbers of the file. `options` NULL: the defaults; `report` NULL: not wanted. Owned. It
 * makes one only if every tensor of the backbone is in the file, with its shape and with finite numbers. Only
 * num_batches_tracked may be missing (it is then 0, and the report says so).
 * Errors: MOCO_ENOTFOUND: no encoder, or none under this prefix; MOCO_EINVAL: names an option, or lists the encoders
 * of the file if the options do not select one; MOCO_EFORMAT: a tensor is missing, or has another shape (another
 * kind of network: wide_resnet, resnext, resnet-d), or its type is not one of numbers; a number is not finite, a
 * variance is below 0, or the file is damaged: the sentence names tensor and reason; MOCO_EIO, MOCO_ENOMEM.
 * Memory: beside the model, 8 bytes for each number of the largest tensor, and 1 MiB.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_model_import(moco_model **model, moco_device *device, moco_weights *weights,
                                       const moco_import_options *options, moco_import_report *report);

/* Reads the training state of the file into a trainer. The caller makes that trainer with the options that the file
 * does not hold (temperature, momentum of the key encoder, batch, BN groups) and with a model and queue of the
 * file's shapes. It reads both encoders with their heads, the queue, the momentum of SGD, the step
 * (num_batches_tracked of encoder_q.bn1, divided by two with a symmetric loss) and the epoch to continue with
 * (position 0). Momentum is found in the "optimizer" of torch.save by the order of its parameters, or by name.
 *
 * Momentum, counters and queue may be missing, and the report says so: momentum and counters are then 0, and the
 * queue is unchanged. A queue of solo-learn, [2,C,K], fills a queue of length 2 K (keys of both views in turn) or
 * one of length K (keys of the first view). On any failure the trainer is unchanged.
 * Errors: as moco_model_import; MOCO_ESTATE as moco_trainer_load.
 * Memory: as moco_trainer_load.
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_import(moco_trainer *trainer, moco_weights *weights, moco_import_report *report);

#ifdef __cplusplus
}
#endif
#endif
