/* SPDX-License-Identifier: MIT
 *
 * any_encoder: opens an encoder from a file of any program, and says what a person should know about it. What a
 * reader would get wrong: a file of another program does not say how images must be prepared, and does not verify
 * its numbers. What was assumed is therefore reported. */
#ifndef MOCO_EXAMPLES_ANY_ENCODER_H
#define MOCO_EXAMPLES_ANY_ENCODER_H

#include <moco/moco.h>

#include "err.h"

struct any_encoder {
    int imported; /* 0: libmoco wrote it, and its hashes are right */
    moco_import_report report;
    char notes[4][256]; /* lines of kind MOCO_IMPORT_NOTE, and of what was missing */
    int note_count;
};

/* Imports an encoder. `options->prefix` "." means names without a prefix. */
moco_status any_encoder_import(struct any_encoder *e, moco_model **model, moco_context *context, moco_device *device,
                               const char *path, const moco_import_options *options, struct err *err);

/* The same, but a file of libmoco is opened as such. */
moco_status any_encoder_open(struct any_encoder *e, moco_model **model, moco_context *context, moco_device *device,
                             const char *path, const moco_import_options *options, struct err *err);

/* Prints lines that begin with `label` in a column of `width`. */
void any_encoder_print(const struct any_encoder *e, const char *label, int width);

#endif
