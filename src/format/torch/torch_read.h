/* SPDX-License-Identifier: MIT
 *
 * torch_read: the tensors of a file that torch.save wrote. Their names are the path to them through its dicts and
 * lists, one key or index after another with a '.' between: "state_dict.module.encoder_q.conv1.weight",
 * "optimizer.state.0.momentum_buffer". What a reader would get wrong: tensors are views of storages. Several may
 * share one, in any order of elements (strides). torch's own checks are not relied on.
 *
 * Files: torch_read.c opens either container, torch_storage.c makes the table of storages, torch_tensor.c reads the
 * call that makes a tensor, torch_walk.c finds all tensors among the values, torch_text.c finds everything else,
 * torch_table.c allocates the memory for all of that. */
#ifndef MOCO_FORMAT_TORCH_READ_H
#define MOCO_FORMAT_TORCH_READ_H

#include <stdatomic.h>
#include <stdint.h>

#include "codec/pickle.h"
#include "codec/zip.h"
#include "file/file.h"
#include "format/weights.h"

enum { TORCH_DTYPE_NONE = -1 }; /* a type that is not read: complex, quantized, unknown */

struct torch_storage {
    pickle_value id;  /* the tuple in the pickle that describes it */
    pickle_value key; /* its name, a text */
    int dtype;        /* an enum safetensors_dtype, or TORCH_DTYPE_NONE */
    int element;      /* bytes of an element; 0: unknown */
    int64_t numel;
    int64_t offset;                  /* in the file; -1: not known yet */
    const struct zip_member *member; /* NULL in the legacy container */
    _Atomic unsigned char proved;    /* 1: its CRC-32 was compared and is right */
};

struct torch_entry {
    pickle_value value;
    uint32_t name;    /* offset in names */
    uint32_t storage; /* index of its storage */
};

/* A value with a path that is not a tensor, or a tensor that is not read. */
struct torch_other {
    pickle_value value;
    uint32_t name;
    const char *reason; /* a string constant */
};

struct torch_file {
    struct ctx *ctx;
    struct file file;
    struct zip zip; /* .file is NULL in the legacy container */
    struct pickle pickle;
    struct torch_storage *storages; /* ordered by key */
    struct torch_entry *entries;    /* in the order of the pickle */
    struct torch_other *others;
    uint32_t *by_name; /* indices of entries, ordered by name */
    uint32_t *keys;    /* offsets in names of the keys at the root whose values are texts or numbers */
    char *names;
    char **notes;
    int64_t storage_count, count, other_count, key_count, note_count;
    size_t names_used;
    int64_t budget; /* bytes that tables may still take */
};

/* Opens the file at `path`. sniff_bytes has said which container it is. On failure `t` is empty. */
moco_status torch_open_zip(struct torch_file *t, struct ctx *ctx, const char *path, struct err *err);
moco_status torch_open_legacy(struct torch_file *t, struct ctx *ctx, const char *path, struct err *err);
void torch_close(struct torch_file *t); /* `t` may be empty */

void torch_at(const struct torch_file *t, int64_t i, struct weights_tensor *tensor);
moco_status torch_find(const struct torch_file *t, const char *name, int64_t *i, struct err *err);
moco_status torch_text(const struct torch_file *t, const char *key, char *text, size_t size, struct err *err);

/* ---- between the files of torch_*.c ---- */

/* Allocates a table, filled with 0. A pickle may have tables in proportion to its length only, whatever it claims. */
moco_status torch_table(struct torch_file *t, int64_t count, size_t size, void *table, struct err *err);

moco_status torch_storages_list(struct torch_file *t, struct err *err);
struct torch_storage *torch_storage_find(const struct torch_file *t, struct pickle_text key); /* NULL: there is none */
/* Returns -1 if it does not fit 62 bits. */
int64_t torch_storage_bytes(const struct torch_storage *s);
moco_status torch_storage_wrong(const struct torch_file *t, const struct torch_storage *s, struct err *err,
                                const char *what);

moco_status torch_walk(struct torch_file *t, struct err *err);
moco_status torch_notes(struct torch_file *t, int64_t unsaid, int64_t unnamed, struct err *err);
/* Tells whether a name of code has a meaning here. Names that have none are noted for the user. */
int torch_knows(const struct pickle *p, pickle_value global);

enum torch_what { TORCH_TENSOR, TORCH_UNREAD, TORCH_BROKEN, TORCH_NO_TENSOR };
/* Reads a CALL of the pickle. If it is TORCH_TENSOR, `tensor` (without its name) and *storage are filled. If it is
 * TORCH_UNREAD or TORCH_BROKEN, *reason, a string constant, says why. */
enum torch_what torch_tensor(const struct torch_file *t, pickle_value call, struct weights_tensor *tensor,
                             struct torch_storage **storage, const char **reason);

#endif
