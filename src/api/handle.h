/* SPDX-License-Identifier: MIT
 *
 * handle: what every public handle has in common (a tag, a reference count, its context, the thread whose call is
 * running), how a public call reports its failure, and how structs are read and written whose size the caller's headers
 * fixed.
 *
 * A public function looks like this, so that every failure reaches moco_error():
 *
 *     static moco_status classify(moco_knn *knn, ..., struct err *err)
 *     {
 *         struct turn turn HANDLE_TURN;
 *         TRY(handle_enter(&turn, knn, HANDLE_KNN, "knn", err));
 *         ...
 *     }
 *
 *     moco_status moco_knn_classify(moco_knn *knn, ...)
 *     {
 *         struct err err = {0};
 *         return api_return(classify(knn, ..., &err), "moco_knn_classify", &err);
 *     }
 *
 * Calls that any number of threads may make at once on one handle only check it (handle_check).
 *
 * What a reader would get wrong: the tag becomes invalid when the caller frees the handle; the object is released with
 * its last reference, and a running call holds one. Code below the API therefore never checks tags, and a freed handle
 * is refused as long as something still holds a reference. */
#ifndef MOCO_API_HANDLE_H
#define MOCO_API_HANDLE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "ctx.h"
#include "err.h"
#include "moco/base.h"

enum handle_kind {
    HANDLE_CONTEXT = 1,
    HANDLE_DEVICE,
    HANDLE_MODEL,
    HANDLE_QUEUE,
    HANDLE_TRAINER,
    HANDLE_DATASET,
    HANDLE_LOADER,
    HANDLE_KNN,
    HANDLE_IMAGE,
    HANDLE_AUGMENT,
    HANDLE_PROBE,
    HANDLE_BANK,
    HANDLE_WEIGHTS,
    HANDLE_ENCODER,
    HANDLE_COMM,
    HANDLE_PICTURES
};

struct handle { /* the first member of every public handle */
    _Atomic uint64_t tag;
    _Atomic int refs;
    _Atomic(const void *) inside;           /* the mark of the thread whose call has the handle; NULL: none */
    struct ctx *ctx;                        /* a counted reference */
    void (*destroy)(struct handle *handle); /* releases what the object holds, not the object; NULL: nothing */
};

struct moco_context {
    struct handle handle;
};

struct moco_device {
    struct handle handle;
    const struct backend *backend;
    struct be_device *dev;
    struct be_info info;
    enum be_precision best; /* what AUTO becomes */
    char name[32];
};

/* A zeroed object of `bytes` with one reference, the caller's. `destroy` must cope with a half-made object. */
void *handle_new(struct ctx *ctx, size_t bytes, enum handle_kind kind, void (*destroy)(struct handle *handle),
                 struct err *err);
void handle_ref(struct handle *handle);
void handle_unref(struct handle *handle); /* NULL is fine */

/* The body of every moco_*_free: wipes the tag and drops the caller's reference. NULL, a freed handle and a handle of
 * another kind are left alone. While a call on the handle runs, that call destroys the object as it ends. In a forked
 * child only the tag goes: threads that the object would wait for, and those that hold its locks, are not there. */
void handle_free(void *handle, enum handle_kind kind);

/* MOCO_EINVAL if `handle` is NULL, freed or of another kind (`name` is the argument's); MOCO_ESTATE in a forked child.
 */
moco_status handle_check(const void *handle, enum handle_kind kind, const char *name, struct err *err);

/* A call's hold on a handle that serves one call at a time. Declared as `struct turn turn HANDLE_TURN;` it ends with
 * the block that it is declared in, whichever way that is left. */
struct turn {
    struct handle *handle; /* NULL: nothing to leave */
    int nested;            /* an outer call of this thread has the handle and keeps it */
};
#define HANDLE_TURN __attribute__((cleanup(handle_leave))) = {0}

/* handle_check, and then takes the handle: MOCO_ESTATE if another thread's call has it, or if this is a callback of a
 * call on it. Nobody waits. The object stays until the turn ends, also if it is freed before. */
moco_status handle_enter(struct turn *turn, const void *handle, enum handle_kind kind, const char *name,
                         struct err *err);
/* The same for a call that only reads what is whole whenever callbacks run: those may make it. */
moco_status handle_enter_nested(struct turn *turn, const void *handle, enum handle_kind kind, const char *name,
                                struct err *err);
/* handle_enter of what another entered handle holds: its caller may have freed it long ago. */
moco_status handle_enter_held(struct turn *turn, struct handle *handle, enum handle_kind kind, const char *name,
                              struct err *err);
void handle_leave(struct turn *turn);

/* A call's hold on a handle that serves any number of calls at once: `struct hold hold HANDLE_HOLD;`. */
struct hold {
    struct handle *handle; /* NULL: nothing to leave */
};
#define HANDLE_HOLD __attribute__((cleanup(handle_let_go))) = {0}

/* handle_check; the object stays until the hold ends, also if it is freed before. */
moco_status handle_hold(struct hold *hold, const void *handle, enum handle_kind kind, const char *name,
                        struct err *err);
void handle_let_go(struct hold *hold);

/* handle_check without a sentence, for the calls that answer something harmless. */
int handle_valid(const void *handle, enum handle_kind kind);

/* Hands the failure to moco_error() with "`function`: " in front; MOCO_OK passes through. */
moco_status api_return(moco_status status, const char *function, struct err *err);

/* MOCO_EINVAL "`name` is NULL". */
moco_status api_not_null(const void *pointer, const char *name, struct err *err);

/* The body of the ..._init_sized functions: `defaults` has `known` bytes; fields that the caller's struct has not are
 * dropped, bytes that the library does not know are zeroed. NULL and a size that no struct has are left alone. */
void struct_init(void *given, size_t size, const void *defaults, size_t known);

/* The same for calls that fill a struct and can fail, which set struct_size themselves: NULL and a size that no struct
 * has are MOCO_EINVAL. */
moco_status struct_fill_check(const void *given, size_t size, const char *name, struct err *err);

/* Reads a caller's struct: `copy` holds `known` bytes of defaults, which the caller's min(sizes) bytes overwrite.
 * MOCO_EINVAL: NULL, not initialised by its macro (size 0 or absurd), or non-zero bytes that this library is too old to
 * know. */
moco_status struct_read(void *copy, size_t known, const void *given, const char *name, struct err *err);

/* For a struct the library fills: check before the work, write after it. */
moco_status struct_check(const void *given, const char *name, struct err *err);
void struct_write(void *given, const void *filled, size_t known);

/* A named reserved field of an input struct. */
moco_status struct_reserved(int64_t value, const char *name, struct err *err);

/* A caller's tensor: struct, dtype, ndim and shape are sane, data is there (unless `may_probe`: NULL data allowed).
 * `count` gets the number of elements, whose bytes fit a size_t. */
moco_status tensor_check(const moco_tensor *tensor, const char *name, int may_probe, int64_t *count, struct err *err);

#endif
