/* SPDX-License-Identifier: MIT
 *
 * export: writes an encoder or a training state in the forms of other programs; see moco/export.h. What a reader
 * would get wrong: the backbone's tensors are the first ones of an encoder, so that a file without the head is a
 * shorter list.
 *
 * Files: export.c chooses the form and writes those of torch and detectron2, export_tensors.c safetensors,
 * export_folder.c timm's folder, export_onnx.c and export_onnx_numbers.c the network, export_trainer.c the
 * reference's checkpoint. */
#ifndef MOCO_ALGO_EXPORT_H
#define MOCO_ALGO_EXPORT_H

#include "algo/encoder_file.h"
#include "algo/trainer.h"
#include "moco/export.h"

/* Writes the encoder to `path`. The caller has read `o`; its values are checked here. */
moco_status encoder_export(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err);
moco_status trainer_export(struct trainer *trainer, const char *path, const moco_export_options *o, struct err *err);

/* ---- between the files of export*.c ---- */

/* Sets *format to the form that the options ask for or else the path. MOCO_EINVAL if the options contradict
 * themselves. */
moco_status export_format(const char *path, const moco_export_options *o, moco_export_format *format, struct err *err);

/* Lists the encoder's tensors in f32, with the head only if `head`. The encoder must be locked. */
struct state export_state(struct encoder_view *view, int head);

/* Writes a safetensors file completely. The caller commits it, so that several files can replace old ones together. */
moco_status export_safetensors_begin(struct safetensors_writer **out, struct encoder *encoder, const char *path,
                                     int head, struct err *err);
moco_status export_safetensors(struct encoder *encoder, const char *path, int head, struct err *err);
moco_status export_folder(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err);
moco_status export_onnx(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err);

#endif
