/* SPDX-License-Identifier: MIT
 *
 * weights_copy: writes a file of weights in the other container: every tensor in its own type and to the bit, and
 * the values beside them. What a reader would get wrong: a torch file that became safetensors keeps the structure of
 * its dicts in one text (torch_tree.h), from which it can be made again. A safetensors file without that text
 * becomes one dict. */
#ifndef MOCO_FORMAT_WEIGHTS_COPY_H
#define MOCO_FORMAT_WEIGHTS_COPY_H

#include "format/weights.h"

/* Writes all tensors in C order; their strides are lost. Memory: the largest tensor and the tree. */
moco_status weights_copy_torch(struct weights *from, const char *path, struct err *err);
moco_status weights_copy_safetensors(struct weights *from, const char *path, struct err *err);

#endif
