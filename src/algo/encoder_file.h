/* SPDX-License-Identifier: MIT
 *
 * encoder_file: saves an encoder to a file and opens it. A training checkpoint can be opened as an encoder too: its
 * query encoder. */
#ifndef MOCO_ALGO_ENCODER_FILE_H
#define MOCO_ALGO_ENCODER_FILE_H

#include "algo/encoder.h"
#include "algo/state_file.h"

/* The encoder's tensors, in `numbers`: its own, or those that are to take their place. */
struct encoder_view {
    struct encoder *encoder;
    struct encoder_numbers *numbers;
};
struct state encoder_state(struct encoder_view *view);

moco_status encoder_save(struct encoder *encoder, const char *path, struct err *err);

/* A file that holds an encoder, of which nothing but its header has been read. */
struct encoder_source {
    struct safetensors *file;
    const char *prefix;
    struct encoder *encoder; /* hollow */
};
moco_status encoder_source_open(struct encoder_source *out, struct ctx *ctx, const struct backend *be,
                                struct be_device *dev, const char *path, struct err *err);
void encoder_source_close(struct encoder_source *source);
/* Folds the file's numbers into the server's weights, once: a parameter at a time where the device can do that, without
 * memory for all of them. The server is of the encoder's network. */
moco_status encoder_source_fold(struct encoder_source *source, struct server *server, struct err *err);

moco_status encoder_open(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                         const char *path, struct err *err);
/* On failure nothing has changed. MOCO_ESHAPE: the file describes another network. */
moco_status encoder_load(struct encoder *encoder, const char *path, struct err *err);

#endif
