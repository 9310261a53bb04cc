/* SPDX-License-Identifier: MIT
 *
 * gallery_remake: makes the gallery of a run again from its folder: encoder.safetensors, and the options in
 * metrics.jsonl. The images must still be at their paths. */
#ifndef MOCO_EXAMPLES_GALLERY_REMAKE_H
#define MOCO_EXAMPLES_GALLERY_REMAKE_H

#include "folder/run_log.h"

/* `warn` is called for images that cannot be read. */
moco_status gallery_remake(const struct run_log *log, void (*warn)(const char *sentence), struct err *err);

#endif
