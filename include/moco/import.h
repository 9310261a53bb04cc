/* SPDX-License-Identifier: MIT
 *
 * moco/import.h: encoders and training states out of files that other programs wrote (moco/weights.h): torchvision's and
 * timm's ResNets, checkpoints of the official MoCo, solo-learn, lightly, MMPretrain and others that keep torchvision's
 * names behind a prefix.
 *
 * What a file does not say is taken for granted, and cannot be verified: ResNet v1.5 (the stride of a bottleneck on its
 * 3x3 convolution), BN with eps 1e-5, colours in the order RGB, mean and std as the options say. Depth, width and head
 * follow from names and shapes. A 7x7 first convolution is the imagenet stem; of a 3x3 one no shape tells the stride, so
 * the caller has to name it.
 *
 * In names the parts "module", "_orig_mod" and "_fsdp_wrapped_module", which wrappers of PyTorch put in, do not count. */
#ifndef MOCO_IMPORT_H
#define MOCO_IMPORT_H

#include "moco/base.h"
#include "moco/model.h"
#include "moco/trainer.h"
#include "moco/weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which encoder, where a file's names tell queries from keys. PLAIN is an answer of moco_import_candidate only: the names
 * say neither. */
typedef enum moco_import_which {
    MOCO_IMPORT_QUERY = 0,
    MOCO_IMPORT_KEY = 1,
    MOCO_IMPORT_PLAIN = 2,
    MOCO_IMPORT_WHICH_MAX_ = 0x7fffffff
} moco_import_which;

/* IF_THERE: the file's projection head, if it has one that the options fit, else a fresh one, and the report says so.
 * TAKE: the file's, or the import fails; an "fc" that would otherwise count as a classifier is taken as a linear head.
 * FRESH: the file's is not looked at. */
typedef enum moco_import_head {
    MOCO_IMPORT_HEAD_IF_THERE = 0,
    MOCO_IMPORT_HEAD_TAKE = 1,
    MOCO_IMPORT_HEAD_FRESH = 2,
    MOCO_IMPORT_HEAD_MAX_ = 0x7fffffff
} moco_import_head;

/* Defaults: the query encoder wherever it is, the head if there is one, ImageNet's mean and std. */
typedef struct moco_import_options {
    uint32_t struct_size;
    int32_t which; /* moco_import_which, QUERY or KEY; not looked at with a prefix */
    const char
        *prefix; /* what stands before "conv1.weight" in the file's names, as moco_import_candidate tells it, with or
                           without its last '.'; NULL: looked for */
    const char *stem;  /* "imagenet", "cifar" or "small"; NULL: imagenet, if the first convolution is 7x7 */
    const char *head;  /* kind of head, as moco_model_options.head; NULL: the file's, of a fresh one "mlp" */
    int32_t dim;       /* length of an embedding; 0: the file's, of a fresh head 128 */
    int32_t take_head; /* moco_import_head */
    double mean[3];    /* input normalisation, as in moco_model_options */
    double std[3];
    uint64_t seed;      /* of a fresh head */
    int32_t image_size; /* as in moco_model_options: 224 */
    int32_t reserved0;
} moco_import_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_import_options_init_sized(moco_import_options *options, size_t size);
#define moco_import_options_init(o) moco_import_options_init_sized((o), sizeof *(o))

/* What a line of the report is about. */
typedef enum moco_import_kind {
    MOCO_IMPORT_USED = 0,       /* a tensor of the file, and what it became */
    MOCO_IMPORT_MISSING = 1,    /* a tensor that the file does not have */
    MOCO_IMPORT_UNUSED = 2,     /* a tensor of the file that nothing became of */
    MOCO_IMPORT_MISMATCHED = 3, /* another shape, or no numbers of a network */
    MOCO_IMPORT_ROUNDED = 4,    /* f64, rounded to the f32 that the device holds */
    MOCO_IMPORT_WIDENED = 5,    /* f16 or bf16 */
    MOCO_IMPORT_UNVERIFIED = 6, /* used, and no checksum in the file proves its bytes */
    MOCO_IMPORT_NOTE = 7,       /* what else a user should know: a fresh head, a dropped classifier */
    MOCO_IMPORT_KINDS = 8,
    MOCO_IMPORT_KIND_MAX_ = 0x7fffffff
} moco_import_kind;

/* Called once for each line, on the thread that imports; `sentence` is valid until it returns. It may not call functions
 * on the handles that are being imported into. */
typedef void (*moco_import_line)(void *user, int32_t kind, const char *sentence);

/* The caller sets `line` and `user`; the import fills the counts, also when it fails: of lines told until then. */
typedef struct moco_import_report {
    uint32_t struct_size;
    int32_t fresh_head;    /* 1: the head was drawn, not read */
    moco_import_line line; /* may be NULL */
    void *user;
    int64_t count[8]; /* lines of each moco_import_kind */
    char prefix[248]; /* of the encoder that was taken; of a trainer, of its query encoder */
} moco_import_report;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_import_report_init_sized(moco_import_report *report, size_t size);
#define moco_import_report_init(r) moco_import_report_init_sized((r), sizeof *(r))

typedef struct moco_import_found {
    uint32_t struct_size;
    int32_t which;    /* moco_import_which */
    char prefix[248]; /* UTF-8, ends in 0; "" for an encoder whose names have nothing in front */
} moco_import_found;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_import_found_init_sized(moco_import_found *found, size_t size);
#define moco_import_found_init(f) moco_import_found_init_sized((f), sizeof *(f))

/* Encoder number `index`, from 0, of those in the file: every prefix that "conv1.weight" and "layer1.0.conv1.weight"
 * stand behind, or "0.weight" and "4.0.conv1.weight" (a torch.nn.Sequential). Whether the rest of a ResNet is there is
 * not looked at. Errors: MOCO_ENOTFOUND past the end, MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_import_candidate(const moco_weights *weights, int64_t index, moco_import_found *found);

/* An encoder with the numbers of the file. `options` NULL: the defaults; `report` NULL: not wanted. Owned. Nothing is
 * made unless every tensor of the backbone is there, with its shape and finite numbers; num_batches_tracked alone may be
 * missing (0 then, and the report says so).
 * Errors: MOCO_ENOTFOUND: no encoder, or none under this prefix; MOCO_EINVAL: names an option, or lists the encoders of
 * the file if the options do not say which; MOCO_EFORMAT: a tensor that is missing, of another shape (another kind of
 * network: wide_resnet, resnext, resnet-d) or of no numbers; a number that is not finite, a variance below 0; damage:
 * the sentence names tensor and reason; MOCO_EIO, MOCO_ENOMEM. Memory beside the model: 8 bytes for each number of the
 * largest tensor, and 1 MiB. Threads: any. Since 0.1. */
MOCO_API moco_status moco_model_import(moco_model **model, moco_device *device, moco_weights *weights,
                                       const moco_import_options *options, moco_import_report *report);

/* The training state of the file, for a trainer that the caller made with the options that the file does not hold
 * (temperature, momentum of the key encoder, batch, BN groups) and a model and queue of its shapes: both encoders with
 * their heads, the queue, the momentum of SGD, the step (num_batches_tracked of encoder_q.bn1, over two with a symmetric
 * loss) and the epoch to go on with (position 0). Momentum comes from the "optimizer" of torch.save by the order of its
 * parameters, or by name. What a file need not have, and the report says: momentum and counters are 0 then, the queue
 * stays as it is. A queue of solo-learn, [2,C,K], fills one of length 2 K (keys of both views in turn) or, with the keys
 * of the first view, one of length K. All or nothing: on any failure the trainer is as it was.
 * Errors: as moco_model_import; MOCO_ESTATE as moco_trainer_load. Memory: as moco_trainer_load. Threads: as step.
 * Since 0.1. */
MOCO_API moco_status moco_trainer_import(moco_trainer *trainer, moco_weights *weights, moco_import_report *report);

#ifdef __cplusplus
}
#endif
#endif
