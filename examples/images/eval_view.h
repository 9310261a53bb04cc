/* SPDX-License-Identifier: MIT
 *
 * eval_view: the views by which an encoder is evaluated: by name, or as the encoder's file says. What a reader would
 * get wrong: the library's "none" needs images of the right size. Here it resizes, which leaves such images
 * unchanged. */
#ifndef MOCO_EXAMPLES_EVAL_VIEW_H
#define MOCO_EXAMPLES_EVAL_VIEW_H

#include <moco/moco.h>

#include "err.h"

#define EVAL_VIEW_TEXT 32

/* "eval", "simclr-eval", "none": views of `size` pixels. */
moco_status eval_view_named(moco_augment_options *view, const char *name, int size, struct err *err);

/* The recipe of the encoder's file, for views of `size` pixels (0: of its own size). *known 0: it has none, and `view`
 * is left alone. */
moco_status eval_view_of(moco_augment_options *view, const moco_model *model, int size, int *known, struct err *err);

/* Its name, or "resize 36 centre 32 bicubic". */
void eval_view_text(const moco_augment_options *view, char text[EVAL_VIEW_TEXT]);

#endif
