/* SPDX-License-Identifier: MIT
 *
 * objects: the handles that other handles hold, and the conversion between a caller's tensor and one of ours. */
#ifndef MOCO_API_OBJECTS_H
#define MOCO_API_OBJECTS_H

#include "algo/encoder.h"
#include "algo/queue.h"
#include "algo/resident/resident.h"
#include "api/handle.h"
#include "comm/comm.h"
#include "moco/data.h"
#include "moco/export.h"
#include "moco/model.h"
#include "moco/queue.h"
#include "moco/trainer.h"
#include "moco/weights.h"

struct moco_model {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct encoder *encoder;
};

struct moco_queue {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct queue *queue;
};

struct moco_comm {
    struct handle handle;
    moco_device *device; /* whose memory it reaches: a counted reference; NULL: none's */
    struct comm *comm;
};

struct moco_trainer {
    struct handle handle;
    moco_model *model; /* counted references */
    moco_queue *queue;
    moco_comm *comm; /* NULL: one rank */
    struct trainer *trainer;
};

struct moco_dataset {
    struct handle handle;
    struct dataset *ds;
    moco_dataset *below[2]; /* counted references: the sets that `ds` reads from; NULL: none */
};

struct moco_pictures {
    struct handle handle;
    moco_device *device; /* counted references */
    moco_dataset *dataset;
    struct resident *resident;
    moco_pictures *of; /* a loader's own handle, which its batches name: of these, a counted reference; else NULL */
};

struct moco_weights {
    struct handle handle;
    struct weights *weights;
};

/* A model without an encoder yet, and what becomes of it: on failure *out is freed, and NULL. */
moco_status model_new(moco_model **out, moco_device *device, struct err *err);
moco_status model_made(moco_model **out, moco_status status);

/* A call's hold on a trainer and the queue that it steps on: `struct trainer_turns turns TRAINER_TURN;`. The model is
 * left free: between and beside steps it can be embedded with, and the encoder's own lock keeps a commit apart from
 * that. */
struct trainer_turns {
    struct turn trainer, queue, comm;
};
void trainer_turns_leave(struct trainer_turns *turns);
#define TRAINER_TURN __attribute__((cleanup(trainer_turns_leave))) = {{0}, {0}, {0}}
/* No step is in flight then; one that has failed is told instead. */
moco_status trainer_enter(struct trainer_turns *turns, const moco_trainer *trainer, struct err *err);

/* The network that the caller's options describe. */
moco_status model_options_read(struct net_config *config, const moco_model_options *given, struct err *err);
/* The way back; strings are static. */
void model_options_write(moco_model_options *options, const struct net_config *config);

/* NULL: the defaults. */
moco_status export_options_read(moco_export_options *options, const moco_export_options *given, struct err *err);

/* ---- embedding ---- */

/* The caller's images; with `may_probe`, data may be NULL. */
moco_status embed_images(struct embed_input *input, const moco_tensor *images, int may_probe, struct err *err);
moco_status embed_kind(enum embed_what *kind, moco_embedding what, struct err *err);
/* Is there place for n rows of that shape? */
moco_status embed_out(const moco_tensor *out, int64_t n, const struct embed_shape *row, struct err *err);

/* ---- tensors ---- */

/* What a get with data NULL answers. */
void tensor_describe(moco_tensor *tensor, const struct tensor_shape *shape, size_t real_bytes);

/* "[64,3,7,7]" */
void tensor_shape_text(char *text, size_t size, const int64_t *shape, int ndim);

/* Has the caller's tensor this shape, and a type that converts: f32 or f64, for integers i64 too? MOCO_ESHAPE shows
 * both shapes. `tensor` has passed tensor_check. */
moco_status tensor_match(const moco_tensor *tensor, const char *name, const struct tensor_shape *shape,
                         struct err *err);
void tensor_fill(const moco_tensor *tensor, const double *values, int64_t count);
void tensor_values(double *values, const moco_tensor *tensor, int64_t count);

/* A get or a set of one named tensor: checks `tensor`, converts through a block of doubles, and calls `move`, which
 * reads into (get) or writes from (set) that block. */
struct tensor_move {
    void *self;
    int index;
    moco_status (*move)(void *self, int index, double *values, struct err *err);
};
moco_status tensor_get(struct ctx *ctx, moco_tensor *tensor, const char *name, const struct tensor_shape *shape,
                       size_t real_bytes, const struct tensor_move *move, struct err *err);
moco_status tensor_set(struct ctx *ctx, const moco_tensor *tensor, const char *name, const struct tensor_shape *shape,
                       const struct tensor_move *move, struct err *err);

#endif
