/* SPDX-License-Identifier: MIT
 *
 * moco/weights.h: the named tensors of a file that another program wrote. It reads safetensors of any origin, and
 * what torch.save writes (.pth, .pt, .pth.tar, .ckpt), in its zip form (torch 1.6 and later) and in the older form.
 * The first bytes of the file decide which kind it is, not its name.
 *
 * Nothing in such a file is ever executed. torch.save writes pickles, which are programs that torch.load runs. Here,
 * whatever a pickle would call is kept as a name, and moco_weights_note lists it. Files that torch.load refuses
 * since torch 2.6 (a Lightning checkpoint with its hyper-parameters as objects) can therefore be read as well.
 *
 * Names of a torch file start at its root: keys of dicts and indices of lists with '.' between them, for example
 * "state_dict.module.encoder_q.conv1.weight" or "optimizer.state.0.momentum_buffer". A dict that can be reached
 * under two names is listed under the first. */
#ifndef MOCO_WEIGHTS_H
#define MOCO_WEIGHTS_H

#include "moco/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_weights moco_weights;

typedef struct moco_weights_info {
    uint32_t struct_size;
    int32_t ndim;      /* 0..8; 0: one element */
    const char *name;  /* UTF-8; borrowed from the handle; "" for a file that is one tensor */
    const char *dtype; /* as it is in the file: "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL";
                          static */
    int64_t shape[8];
    int64_t stride[8]; /* elements from one index to the next in the file; moco_weights_read gives C order */
    int64_t count;     /* elements; may be 0 */
    int32_t verified;  /* 1: the file carries a checksum of this tensor's bytes, and reading it compares them */
    int32_t reserved0;
} moco_weights_info;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_weights_info_init_sized(moco_weights_info *info, size_t size);
#define moco_weights_info_init(i) moco_weights_info_init_sized((i), sizeof *(i))

/* Opens the file at `path` (copied) and checks everything except the bytes of tensors: every length, offset, size
 * and stride against the bytes that exist. The file stays open. Owned.
 * Errors: MOCO_EIO; MOCO_EFORMAT: damaged, or of another kind (the sentence says which: a TorchScript program, a
 * pickled module, a NumPy or HDF5 file, a web page); MOCO_ENOMEM.
 * Memory: at most 4 times the file's pickle or header, and 1 MiB.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_open(moco_weights **weights, moco_context *context, const char *path);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_weights_free(moco_weights *weights);

/* The kind of the file: "safetensors", "torch-zip" or "torch-legacy"; static; "" for NULL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_weights_format(const moco_weights *weights);

/* The number of tensors; 0 for NULL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API int64_t moco_weights_count(const moco_weights *weights);

/* Describes tensor `index`, from 0, in the file's order.
 * Errors: MOCO_EINVAL; MOCO_ENOTFOUND past the end.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_at(const moco_weights *weights, int64_t index, moco_weights_info *info);

/* Finds the index of the tensor of this name.
 * Errors: MOCO_ENOTFOUND; MOCO_EFORMAT: the name exists, but is not a tensor that can be read (complex or quantized
 * numbers, an object of a program); the sentence says what it is.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_find(const moco_weights *weights, const char *name, int64_t *index);

/* Copies tensor `index` into tensor->data in C order, whatever its order in the file. These conversions are
 * possible: every dtype to f32 and f64 (f64 and long integers are rounded), integers and bool to i64, u8 and bool to
 * u8, bf16 to bf16. If `tensor->data` is NULL, it only fills shape, ndim and the narrowest dtype that holds the
 * numbers exactly. If the file carries a checksum (zip's CRC-32, libmoco's own hashes), the bytes are compared with
 * it; on failure data may have been partly written.
 * Errors: MOCO_ENOTFOUND past the end, MOCO_ESHAPE, MOCO_EFORMAT: damaged, MOCO_EIO, MOCO_ENOMEM.
 * Memory: at most 0.3 MiB.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_read(moco_weights *weights, int64_t index, moco_tensor *tensor);

/* Writes the whole file in the container that the ending of `path` selects: .safetensors, or torch's zip form (.pth,
 * .pt, .pth.tar, .ckpt). Tensors keep names, types and every bit, in C order.
 *
 * From a torch file to safetensors, its texts, numbers and bools and the structure of its dicts and lists become
 * texts in __metadata__: values in dicts under their names ("epoch"), and everything in "torch.tree". From those the
 * same torch file can be made again: .pth.tar to .safetensors to .pth.tar loses only objects of programs, integers
 * beyond 64 bits, and bytes. Other safetensors files become one dict of tensors. The file is written beside `path`
 * and renamed.
 * Errors: MOCO_EINVAL: another ending, or a torch file of 4 GiB; MOCO_EFORMAT, MOCO_EIO, MOCO_ENOMEM.
 * Memory: the largest tensor.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_save(moco_weights *weights, const char *path);

/* Copies a text, number or bool that the file holds beside its tensors, as text, to `text` (ends in 0). Of
 * safetensors it is a value of __metadata__; of a torch file it is the value of that name: "epoch", "arch",
 * "optimizer.param_groups.0.lr".
 * Errors: MOCO_ENOTFOUND; MOCO_ESHAPE: `size` is too small, and the sentence says how much is needed.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_weights_text(const moco_weights *weights, const char *key, char *text, size_t size);

/* The name of text number `index`: all of a safetensors file, but of a torch file only those at the root. NULL past
 * the end. Borrowed.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_weights_key(const moco_weights *weights, int64_t index);

/* Remark number `index` on the file, one sentence: code that is named in it and was not called, a value that was not
 * read, bytes that no checksum verifies. NULL past the end. Borrowed.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_weights_note(const moco_weights *weights, int64_t index);

#ifdef __cplusplus
}
#endif
#endif
