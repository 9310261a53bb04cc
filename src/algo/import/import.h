/* SPDX-License-Identifier: MIT
 *
 * import: reads encoders and training states from files of other programs (moco/import.h). */
#ifndef MOCO_ALGO_IMPORT_H
#define MOCO_ALGO_IMPORT_H

#include "algo/encoder.h"
#include "algo/trainer.h"
#include "format/weights.h"
#include "moco/import.h"

/* Makes an encoder from the file `w`. `options` is complete: the api has filled in the defaults of moco/import.h. */
moco_status import_encoder(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                           struct weights *w, const moco_import_options *options, moco_import_report *report,
                           struct err *err);

moco_status import_candidate(struct ctx *ctx, const struct weights *w, int64_t index, moco_import_found *found,
                             struct err *err);

/* Replaces the whole state of `trainer` by that of the file, or changes nothing. */
moco_status import_trainer(struct trainer *trainer, struct weights *w, moco_import_report *report, struct err *err);

#endif
