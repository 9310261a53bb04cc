/* SPDX-License-Identifier: MIT
 *
 * gallery_remake: a run's gallery, made again from what its folder holds: encoder.safetensors, and the options that
 * metrics.jsonl names. The images have to be where they were. */
#ifndef MOCO_EXAMPLES_GALLERY_REMAKE_H
#define MOCO_EXAMPLES_GALLERY_REMAKE_H

#include "run_log.h"

moco_status gallery_remake(const struct run_log *log, struct err *err);

#endif
