/* SPDX-License-Identifier: MIT
 *
 * torch_write: writes a file as torch.save does (the zip form of torch 1.6 and later), which torch.load reads, also
 * with weights_only. First the object is put as a pickle, with tensors among its values. Then the file is begun, and
 * the numbers of the tensors follow in the order in which these were put. What a reader would get wrong: the storage
 * of a tensor is a member of the archive, so that its size is fixed when the tensor is put. */
#ifndef MOCO_FORMAT_TORCH_WRITE_H
#define MOCO_FORMAT_TORCH_WRITE_H

#include "format/safetensors.h"
#include "pickle_write.h"

struct zip_writer;

struct torch_writer {
    struct ctx *ctx;
    struct pickle_writer pickle; /* for the caller to put values other than tensors */
    int64_t *sizes;              /* [count] bytes of the tensors put */
    int64_t count;
    struct zip_writer *zip; /* NULL before begin */
    int wide;               /* 1: the archive's sizes are in 64 bits, however small: for tests */
};

/* Nothing is written and no memory taken before the first value. `err` gets the sentences of the putting calls. */
void torch_write_start(struct torch_writer *w, struct ctx *ctx, struct err *err);

/* A tensor of its own storage, in C order; its name is not a part of it. F16 and all integers have types in torch, too. */
void torch_put_tensor(struct torch_writer *w, const struct safetensors_tensor *tensor);

/* Ends the pickle and begins the file. */
moco_status torch_write_begin(struct torch_writer *w, const char *path, struct err *err);
/* Appends to tensor number `i` as they were put. */
moco_status torch_write(struct torch_writer *w, int64_t i, const void *bytes, size_t size, struct err *err);
/* The file takes its place. Frees the writer's memory, on failure too, which leaves what was at the path. */
moco_status torch_write_commit(struct torch_writer *w, struct err *err);
void torch_write_abandon(struct torch_writer *w); /* after start, any number of times */

#endif
