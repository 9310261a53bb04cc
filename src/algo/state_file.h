/* SPDX-License-Identifier: MIT
 *
 * state_file: saves named tensors of any state to a safetensors file and loads them. Tensors are written in the
 * device's real (f32, or f64 from "ref") and read into either. What a reader would get wrong: `state_check` decides
 * whether a file fits before anything is taken from it. After that, only I/O can fail, or a file that changes while
 * it is read. */
#ifndef MOCO_ALGO_STATE_FILE_H
#define MOCO_ALGO_STATE_FILE_H

#include "algo/encoder.h"
#include "format/safetensors.h"

struct state {
    void *self;
    int count;
    size_t real_bytes; /* of the device's reals: as such numbers, or as doubles, tensors cross */
    size_t file_bytes; /* of the reals that are written */
    struct {
        const struct backend *be; /* NULL: `set` is not called side by side */
        struct be_device *dev;
    } device;
    const char *(*name)(void *self, int i);
    void (*shape)(void *self, int i, struct tensor_shape *shape);
    /* `size` of a number: 8, or 4, which no integer has. */
    moco_status (*get)(void *self, int i, void *values, size_t size, struct err *err);
    moco_status (*set)(void *self, int i, const void *values, size_t size, struct err *err);
};

/* ---- one tensor at a time, for who writes it elsewhere ---- */

/* Memory for any of the state's tensors as it is fetched. */
void *state_room(struct ctx *ctx, const struct state *state, struct err *err);
/* Tensor `i` as it is written: all but its offset and bytes; its name is borrowed from the state until the next. */
void state_describe(const struct state *state, int i, struct safetensors_tensor *tensor);
/* Its numbers, in the bytes of that type, into `values`, which has state_room; MOCO_ENUMERIC as below. */
moco_status state_fetch(const struct state *state, int i, void *values, size_t *bytes, struct err *err);

/* ---- whole files ---- */

/* MOCO_ENUMERIC, naming tensor and place, if the state holds a number that is not finite, or a variance below 0: such a
 * state is not saved. */
moco_status state_save(struct ctx *ctx, const char *path, const struct state *state,
                       const struct safetensors_metadata *metadata, struct err *err);

/* The same, but for the commit, which is the caller's. */
moco_status state_write(struct safetensors_writer **out, struct ctx *ctx, const char *path, const struct state *state,
                        const struct safetensors_metadata *metadata, struct err *err);

/* Does the file hold every tensor of the state, named with `prefix` in front, with its shape and a fitting type? With
 * `whole`, nothing else and in the device's own real. MOCO_EFORMAT names the tensor. */
moco_status state_check(const struct safetensors *file, const char *prefix, int whole, const struct state *state,
                        struct err *err);
/* Tensor `i` alone, into `values`, and from there by `set`. `values` has room for 8 bytes a number, or for 4 if
 * state_is_f32, the device's real is f32, and the tensor is none of whole numbers. */
moco_status state_read_tensor(const struct safetensors *file, const char *prefix, const struct state *state, int i,
                              void *values, struct err *err);
/* 1: every number of the file that the state wants is f32, or whole. */
int state_is_f32(const struct safetensors *file, const char *prefix, const struct state *state);
/* MOCO_EFORMAT names a number that no state may hold, as above. Memory: 8 bytes for each number of the largest tensor.
 * `set` is called for two tensors at once. */
moco_status state_read(struct ctx *ctx, const struct safetensors *file, const char *prefix, const struct state *state,
                       struct err *err);

#endif
