/* SPDX-License-Identifier: MIT
 *
 * torch_tree: everything in a torch file except its tensors, as text, so that another container can keep it and the
 * file can be made again: dicts, lists, texts, numbers, and where each tensor belongs. A line for each value, in the
 * order of the file: a letter, its key in the dict around it ("" in a list), and after a tab its text; "." ends a
 * container. Tabs, line ends and backslashes within are \t, \n and \\. Letters:
 *
 *   d, D  a dict whose keys are texts, integers      i, r, b, s, n  an integer, real, bool, text, None
 *   l, t  a list, a tuple                            T              a tensor
 *
 * What a reader would get wrong: objects of programs, huge integers and bytes are not kept. In a list None
 * replaces them, so that the indices of the others do not change. */
#ifndef MOCO_FORMAT_TORCH_TREE_H
#define MOCO_FORMAT_TORCH_TREE_H

#include "format/torch/torch_write.h"
#include "format/weights.h"

#define TORCH_TREE_KEY "torch.tree" /* its key in __metadata__ */

struct torch_file;

/* Makes the tree of an open file. Free *text with mem_free. */
moco_status torch_tree_of(const struct torch_file *t, char **text, struct err *err);
/* Makes the tree of a state dict: all tensors of `w` in one dict. */
moco_status torch_tree_flat(const struct weights *w, struct ctx *ctx, char **text, struct err *err);

/* Called for each tensor, with its name, in the order of the tree. It fills in `tensor`, which is then put. */
struct torch_tree_tensors {
    void *self;
    moco_status (*next)(void *self, const char *name, struct safetensors_tensor *tensor, struct err *err);
    /* Called for each number, text and bool that is in no list; NULL: not wanted. */
    moco_status (*text)(void *self, const char *name, const char *value, struct err *err);
};

/* Puts all values of the tree into a pickle. `w` NULL: puts nothing and only calls `tensors`. The text may be hostile:
 * MOCO_EFORMAT, with the number of the line. */
moco_status torch_tree_put(const char *text, struct torch_writer *w, struct ctx *ctx,
                           const struct torch_tree_tensors *tensors, struct err *err);

#endif
