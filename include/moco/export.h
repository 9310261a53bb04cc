/* SPDX-License-Identifier: MIT
 *
 * moco/export.h: an encoder, or a training state, as the files that other programs load.
 *
 *   path ends in     what is written                                              who loads it
 *   .safetensors     the backbone by torchvision's names                          torchvision, timm, any safetensors reader
 *   /                a folder: model.safetensors and config.json                  timm ("local-dir:"), transformers
 *   .pth, .pt        a plain state dict, as torch.save writes it                  PyTorch, mmdetection, torchvision
 *   .pkl             the backbone by detectron2's names                           detectron2
 *   .onnx            the network itself, opset 13, any batch and image size       ONNX Runtime, OpenVINO, OpenCV, ncnn
 *   .pth.tar         moco_trainer_export alone: the reference's whole checkpoint  facebookresearch/moco
 *
 * All numbers are f32 (num_batches_tracked i64), whatever the device computes in. Every file is written beside its path
 * and renamed: what was there stays whole until then, and on a failure. Memory: one tensor and the names. */
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

/* What an ONNX file is given: "images", f32 [batch,3,height,width] already normalised (x / 255 - mean) / std; or u8
 * [batch,height,width,3], which it normalises itself. */
typedef enum moco_export_input {
    MOCO_EXPORT_INPUT_F32 = 0,
    MOCO_EXPORT_INPUT_U8 = 1,
    MOCO_EXPORT_INPUT_MAX_ = 0x7fffffff
} moco_export_input;

/* Defaults: all 0, and epoch -1. */
typedef struct moco_export_options {
    uint32_t struct_size;
    int32_t format;      /* moco_export_format */
    int32_t head;        /* 1: the projection head too (fc.*; ONNX: an output "projection" beside "features"). 0: not:
                            other programs take fc for a classifier */
    int32_t onnx_input;  /* moco_export_input */
    int32_t separate_bn; /* ONNX. 0: batch norm is folded into the layer before it; 1: nodes of its own */
    int32_t reserved0;
    int64_t
        epoch; /* of moco_trainer_export: epochs that are done, as the reference counts; -1: the last batch's and 1 */
} moco_export_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_export_options_init_sized(moco_export_options *options, size_t size);
#define moco_export_options_init(o) moco_export_options_init_sized((o), sizeof *(o))

/* Writes the encoder in the form that `options` (NULL: the defaults) or the path ask for. Of a .safetensors file with
 * head 1, moco_model_open makes the encoder again. A folder is made if there is none. Other programs take images as
 * the encoder's recipe says only where the file has a place for it (config.json: size, crop, interpolation).
 * Errors: MOCO_EINVAL: no such form; a folder of a network that timm has no name for (stem not "imagenet", or width
 * not 1); a tensor of 4 GiB in a pickle. MOCO_ENUMERIC: a number is not finite in f32 (the sentence names the tensor).
 * MOCO_EIO, MOCO_ENOMEM. Threads: one call per model. Since 0.1. */
MOCO_API moco_status moco_model_export(moco_model *model, const char *path, const moco_export_options *options);

/* Writes the training state as the reference's main_moco.py does (a file for its --resume): state_dict of the module in
 * DistributedDataParallel, with both encoders and the queue; optimizer with the momentum of every parameter; epoch;
 * arch. The path ends in .pth.tar, .pth or .pt. The reference has no place for the step count, the place within an epoch,
 * and the temperature: those are its command line's. Errors: as above; MOCO_ENOTSUP: the state is not MoCo's (negatives
 * from the batch, a shared encoder, LARS). Threads: as moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_export(moco_trainer *trainer, const char *path, const moco_export_options *options);

#ifdef __cplusplus
}
#endif
#endif
