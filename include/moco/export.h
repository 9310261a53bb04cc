/* SPDX-License-Identifier: MIT
 *
 * moco/export.h: writes an encoder or a training state as the files that other programs load.
 *
 *   path ends in     what is written                                              who loads it
 *   .safetensors     the backbone by torchvision's names                          torchvision, timm, other readers
 *   /                a folder: model.safetensors and config.json                  timm ("local-dir:"), transformers
 *   .pth, .pt        a plain state dict, as torch.save writes it                  PyTorch, mmdetection, torchvision
 *   .pkl             the backbone by detectron2's names                           detectron2
 *   .onnx            the network itself, opset 13, any batch and image size       ONNX Runtime, OpenVINO, OpenCV, ncnn
 *   .pth.tar         moco_trainer_export alone: the reference's whole checkpoint  facebookresearch/moco
 *
 * All numbers are f32 (num_batches_tracked i64), whatever the device computes in. Every file is written beside its
 * path and renamed: what was there before stays whole until then, and on a failure.
 * Memory: one tensor and the names. */
#ifndef MOCO_EXPORT_H
#define MOCO_EXPORT_H

#include "moco/model.h"
#include "moco/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moco_export_format {
    MOCO_EXPORT_BY_PATH = 0, /* as the table says */
    MOCO_EXPORT_SAFETENSORS = 1,
    MOCO_EXPORT_FOLDER = 2,
    MOCO_EXPORT_TORCH = 3,
    MOCO_EXPORT_DETECTRON2 = 4,
    MOCO_EXPORT_ONNX = 5,
    MOCO_EXPORT_MAX_ = 0x7fffffff
} moco_export_format;

/* The input of an ONNX file, "images". F32: f32 [batch,3,height,width], already normalised (x / 255 - mean) / std.
 * U8: u8 [batch,height,width,3], which the file normalises itself. */
typedef enum moco_export_input {
    MOCO_EXPORT_INPUT_F32 = 0,
    MOCO_EXPORT_INPUT_U8 = 1,
    MOCO_EXPORT_INPUT_MAX_ = 0x7fffffff
} moco_export_input;

/* Options of an export. Defaults: all 0, except epoch -1. */
typedef struct moco_export_options {
    uint32_t struct_size;
    int32_t format; /* moco_export_format */
    int32_t head;   /* 1: also the projection head (fc.*; ONNX: an output "projection" beside "features"). 0: without
                            it, because other programs mistake fc for a classifier */
    int32_t onnx_input;  /* moco_export_input */
    int32_t separate_bn; /* ONNX. 0: batch norm is folded into the layer before it; 1: it has nodes of its own */
    int32_t reserved0;
    int64_t
        epoch; /* moco_trainer_export: finished epochs, as the reference counts; -1: the last batch's epoch plus 1 */
} moco_export_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_export_options_init_sized(moco_export_options *options, size_t size);
#define moco_export_options_init(o) moco_export_options_init_sized((o), sizeof *(o))

/* Writes the encoder in the form that `options` (NULL: the defaults) or the path select. From a .safetensors file
 * with head 1 moco_model_open makes the encoder again. A folder is created if it does not exist. How the encoder's
 * recipe prepares images is stored only where the form has a field for it (config.json: size, crop, interpolation);
 * of other files the program that loads them must know it.
 * Errors: MOCO_EINVAL: no such form; a folder for a network that timm has no name for (stem not "imagenet", or width
 * not 1); a tensor of 4 GiB in a pickle. MOCO_ENUMERIC: a number is not finite in f32 (the sentence names the
 * tensor). MOCO_EIO, MOCO_ENOMEM.
 * Threads: a model serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_model_export(moco_model *model, const char *path, const moco_export_options *options);

/* Writes the training state as the reference's main_moco.py does, as a file for its --resume. It holds the
 * state_dict of the module in DistributedDataParallel, with both encoders and the queue; the optimizer with the
 * momentum of every parameter; epoch; arch. The path ends in .pth.tar, .pth or .pt. The reference's format has no
 * field for the step count, the position within an epoch or the temperature; they come from its command line.
 * Errors: as moco_model_export; MOCO_ENOTSUP: the state is not MoCo's (negatives from the batch, a shared encoder,
 * LARS).
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_export(moco_trainer *trainer, const char *path, const moco_export_options *options);

#ifdef __cplusplus
}
#endif
#endif
