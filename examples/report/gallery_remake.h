/* SPDX-License-Identifier: MIT
 *
 * gallery_remake: a run's gallery, made again from what its folder holds: encoder.safetensors, and the options that
 * metrics.jsonl names. The images have to be where they were. */
#ifndef MOCO_EXAMPLES_GALLERY_REMAKE_H
#define MOCO_EXAMPLES_GALLERY_REMAKE_H

#include "folder/run_log.h"

/* `warn` is told of images that cannot be read. */
moco_status gallery_remake(const struct run_log *log, void (*warn)(const char *sentence), struct err *err);

#endif
