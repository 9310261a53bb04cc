/* SPDX-License-Identifier: MIT
 *
 * encoder: one network on a device: its numbers (master slab, running statistics of BN, batches seen) by the
 * reference's names, and the embedding of images with them. What a reader would get wrong: only the numbers belong
 * to the encoder alone. Everything else is shared with the trainer, which compiles its own plans, for its own image
 * size and precision, over the same slab. While one thread trains, another may embed with the encoder, save it or
 * read it. A thread that changes the numbers holds the lock; so does a thread that needs them unchanged while a
 * trainer runs. */
#ifndef MOCO_ALGO_ENCODER_H
#define MOCO_ALGO_ENCODER_H

#include <pthread.h>

#include "algo/serve/server.h"
#include "moco/data.h"
#include "net/net.h"

#define ENCODER_NAME 96 /* bytes of a tensor's name, 0 included */

/* All that training changes. A file is read into a fresh one, which then takes the place of the old one at once. */
struct encoder_numbers {
    struct be_memory masters;
    struct be_memory stats; /* reals [stat_total] */
    int64_t *tracked;       /* [stat_count]: num_batches_tracked of each BN */
};

/* A step of the encoder's trainer that the device has, and whose outcome nobody has asked for yet, is in flight. The
 * device then holds what the host does not count yet. Who reads both has the step land first. */
struct encoder_flight {
    void *trainer;               /* NULL: no step is in flight */
    void (*land)(void *trainer); /* asks for its outcome; the caller holds the lock */
    int busy;                    /* a call of the trainer gives the device another step: it will ask itself */
    int waiting;                 /* threads that wait until that call is over */
    pthread_cond_t over;
};

struct encoder {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    size_t real_bytes;
    struct net_config config;
    moco_augment_options recipe; /* that it was evaluated with, and is to be used with; size 0: not known */
    struct graph *graph;         /* at the configured image size */
    struct be_layout *layout;
    pthread_mutex_t lock; /* of numbers, version, config, recipe and flight; nothing else is locked while it is
                                     held */
    struct encoder_flight flight;
    struct encoder_numbers numbers;
    uint64_t version;            /* moves whenever a number does: folded weights know by it that they are stale */
    struct server *server;       /* that embeds; NULL before it is asked to for the first time */
    uint64_t folded;             /* version of what the server folded last, + 1; 0: nothing */
    _Atomic(void *) owner;       /* the trainer that uses it */
    char (*names)[ENCODER_NAME]; /* [graph->state_count] */
};

/* Shape of a tensor as it has in the reference. */
struct tensor_shape {
    int integer;  /* i64 rather than a real */
    int variance; /* no number of it is below 0 */
    int ndim;
    int64_t shape[4], count;
};

/* Initial weights from config->seed; running variance 1, mean 0. */
moco_status encoder_create(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                           const struct net_config *config, struct err *err);
/* All but the layout and the numbers, which encoder_numbers_alloc takes memory for: what a file says of itself is held
 * against its tensors before that. */
moco_status encoder_create_hollow(struct encoder **out, struct ctx *ctx, const struct backend *be,
                                  struct be_device *dev, const struct net_config *config, struct err *err);
/* The same network with the same numbers. */
moco_status encoder_copy(struct encoder **out, const struct encoder *from, struct err *err);
void encoder_free(struct encoder *encoder);

void encoder_lock(struct encoder *encoder);
/* For who reads numbers: no step is in flight then. Waits for the device, and for a call of the trainer if need be. */
void encoder_lock_landed(struct encoder *encoder);
void encoder_unlock(struct encoder *encoder);
/* Around a call of the trainer that may leave a step in flight. Threads that wait for that to land go first. */
void encoder_step_begins(struct encoder *encoder);
void encoder_step_ends(struct encoder *encoder);
/* Copies for who does not hold the lock: a checkpoint that another thread loads changes either. */
struct net_config encoder_config(struct encoder *encoder);
moco_augment_options encoder_recipe(struct encoder *encoder);
void encoder_set_recipe(struct encoder *encoder, const moco_augment_options *recipe);

/* Takes the encoder or queue whose mark this is for `owner`: MOCO_ESTATE if another has it. */
moco_status owner_take(_Atomic(void *) *mark, void *owner, const char *what, struct err *err);
void owner_release(_Atomic(void *) *mark, void *owner);

/* ---- numbers ---- */

moco_status encoder_numbers_alloc(struct encoder *encoder, struct encoder_numbers *numbers, struct err *err);
/* All but the masters. */
moco_status encoder_stats_alloc(const struct encoder *encoder, struct encoder_numbers *numbers, struct err *err);
void encoder_numbers_free(const struct encoder *encoder, struct encoder_numbers *numbers);
/* Exchanges the encoder's numbers with these: cannot fail. */
void encoder_numbers_swap(struct encoder *encoder, struct encoder_numbers *numbers);

int encoder_find(const struct encoder *encoder, const char *name); /* tensor number, -1: no such name */
void encoder_tensor_shape(const struct encoder *encoder, int i, struct tensor_shape *shape);
/* The same of a network that nobody has made an encoder of. */
void network_tensor_shape(const struct graph *graph, int i, struct tensor_shape *shape);
/* Tensors cross in the reference's shape as doubles (`size` 8), integers up to 2^53 exactly, or, all but integers, as
 * f32 (`size` 4), which spares a device of f32 half the memory's traffic. Threads: several may set tensors of one
 * encoder at once, each its own. */
moco_status encoder_tensor_get(const struct encoder *encoder, const struct encoder_numbers *numbers, int i,
                               void *values, size_t size, struct err *err);
moco_status encoder_tensor_set(const struct encoder *encoder, struct encoder_numbers *numbers, int i,
                               const void *values, size_t size, struct err *err);
/* May these values, which come from the caller, become tensor `i`? MOCO_ENUMERIC if one is not finite in the type that
 * holds it; MOCO_EINVAL for a running variance below 0. Both name the tensor behind `prefix`, and the number. */
moco_status encoder_check_values(const struct encoder *encoder, int i, const double *values, const char *prefix,
                                 struct err *err);
/* Is `value` a count of batches? MOCO_EINVAL names the tensor. */
moco_status encoder_check_count(double value, const char *name, struct err *err);

/* MOCO_ENUMERIC, naming the tensor behind `prefix`, if a running statistic is not finite. Takes no memory. */
moco_status running_check_finite(const struct encoder *encoder, const char *prefix, struct err *err);
/* The same for the parameters of one slab; `norm` gets their norm (NULL: not wanted). */
moco_status slab_check_finite(const struct encoder *encoder, const void *slab, const char *prefix, double *norm,
                              struct err *err);
/* MOCO_ENUMERIC: number `index` of an array of statistics is not finite. */
moco_status stats_bad(const struct encoder *encoder, int64_t index, const char *prefix, const char *what,
                      struct err *err);

/* ---- embedding ---- */

int encoder_embed_dim(const struct encoder *encoder, enum embed_what what);
moco_status encoder_embed_shape(struct encoder *encoder, enum embed_what what, int h, int w, struct embed_shape *shape,
                                struct err *err);
/* Folds the encoder's numbers into the server's weights, all of one state. MOCO_ENUMERIC names a tensor that holds a
 * number which is not finite. */
moco_status encoder_fold(struct encoder *encoder, struct server *server, struct err *err);
/* A warning if no batch norm has seen a batch. */
void encoder_warn_unseen(const struct encoder *encoder);
/* Writes n rows of encoder_embed_shape numbers, f32 or (`f64`) f64. */
moco_status encoder_embed(struct encoder *encoder, const struct embed_input *input, enum embed_what what, void *out,
                          int f64, struct err *err);

#endif
