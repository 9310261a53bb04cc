/* SPDX-License-Identifier: MIT
 *
 * torch_write: writes a file as torch.save does (the zip form of torch 1.6 and later), which torch.load reads, also
 * with weights_only. First the object is put as a pickle, with tensors among its values. Then the file is begun, and
 * the numbers of the tensors follow in the order in which these were put. What a reader would get wrong: the storage
 * of a tensor is a member of the archive, so that its size is fixed when the tensor is put. */
#ifndef MOCO_FORMAT_TORCH_WRITE_H
#define MOCO_FORMAT_TORCH_WRITE_H

#include "codec/pickle_write.h"
#include "format/safetensors.h"

struct zip_writer;

struct torch_writer {
    struct ctx *ctx;
    struct pickle_writer pickle; /* the caller puts all values but tensors here */
    int64_t *sizes;              /* [count]: bytes of the tensors that were put */
    int64_t count;
    struct zip_writer *zip; /* NULL before begin */
    int wide;               /* 1: sizes in the archive are in 64 bits even if 32 would do; for tests */
};

/* Starts a pickle. No file is begun and no memory taken before the first value. Failures of the putting calls go to
 * `err`. */
void torch_write_start(struct torch_writer *w, struct ctx *ctx, struct err *err);

/* Puts a tensor with its own storage, in C order. Its name is not put. torch has a type for each of ours. */
void torch_put_tensor(struct torch_writer *w, const struct safetensors_tensor *tensor);

/* Ends the pickle and begins the file. */
moco_status torch_write_begin(struct torch_writer *w, const char *path, struct err *err);
/* Appends bytes to tensor number `i`, counted in the order in which they were put. */
moco_status torch_write(struct torch_writer *w, int64_t i, const void *bytes, size_t size, struct err *err);
/* Replaces what was at the path by the file, or leaves it there after a failure. Frees the writer's memory in any
 * case. */
moco_status torch_write_commit(struct torch_writer *w, struct err *err);
void torch_write_abandon(struct torch_writer *w); /* after start; may be called more than once */

#endif
