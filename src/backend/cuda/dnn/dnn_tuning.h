/* SPDX-License-Identifier: MIT
 *
 * dnn_tuning: which engine was the fastest for each convolution on this GPU with this cuDNN, kept in a file, so that a
 * later run takes the same engines and times none. The file is JSON: one member a convolution, whose key names GPU,
 * release and convolution. It may hold those of other GPUs and releases, which stay in it. What a reader would get wrong:
 * nothing about the file is a failure. One that cannot be read or written is a line of the log, and engines are timed
 * again; and what it says is a wish, which dnn_choose grants only for an engine that may be taken. */
#ifndef MOCO_BACKEND_CUDA_DNN_TUNING_H
#define MOCO_BACKEND_CUDA_DNN_TUNING_H

#include "backend/cuda/dnn/dnn_graph.h"
#include "ctx.h"

struct dnn_tuning;

/* Reads the file, if there is one. `gpu`: what the driver calls it. `version`: of cuDNN. MOCO_ENOMEM. */
moco_status dnn_tuning_open(struct dnn_tuning **out, struct ctx *ctx, const char *path, const char *gpu, int version,
                            struct err *err);
void dnn_tuning_close(struct dnn_tuning *tuning); /* NULL is fine; saves nothing */

/* The name of the engine that was taken (dnn_engine.name); NULL: none is known. */
const char *dnn_tuning_find(const struct dnn_tuning *tuning, const struct dnn_conv *conv);

/* This engine was taken; it takes the place of what was known. MOCO_ENOMEM. */
moco_status dnn_tuning_note(struct dnn_tuning *tuning, const struct dnn_conv *conv, const char *engine,
                            struct err *err);

/* An engine that it knows was not to be had: why, in the log, once. */
void dnn_tuning_doubt(struct dnn_tuning *tuning, const struct err *why);

/* Replaces the file if anything was noted since: by what was noted, and what the file holds by now of everything else. A
 * file that is no file of tuning is left as it is. */
void dnn_tuning_save(struct dnn_tuning *tuning);

#endif
