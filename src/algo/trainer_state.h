/* SPDX-License-Identifier: MIT
 *
 * trainer_state: the fields of a trainer, for the files that make it, step it, read it and save it. */
#ifndef MOCO_ALGO_TRAINER_STATE_H
#define MOCO_ALGO_TRAINER_STATE_H

#include "algo/trainer.h"

#define TRAINER_NAME (ENCODER_NAME + 24)

/* Offsets into the one block of device memory that a step works in. */
struct work_layout {
    size_t plans;     /* key launches, later query launches: bytes of the larger */
    size_t key_block; /* behind the key plan's own bytes: what ema_readers writes */
    size_t queries;   /* reals [directions][share][dim], order of the launches; shared: [2 share][dim] */
    size_t keys;      /* reals [directions][batch][dim], sample order, in the order in which they are enqueued; shared:
                         [2 batch][dim], both views in sample order */
    size_t
        positives;  /* queue: reals [launch_n][dim], the keys of the queries of a launch; batch: [batch][dim], those of
                         a direction, order of the launches; shared: none */
    size_t d_query; /* reals [launch_n][dim]; before the first query: what a key launch writes */
    size_t d_pairs; /* shared: reals [2 batch][dim], of what is in keys */
    size_t loss;    /* scratch */
    size_t
        exchange; /* several ranks: reals [directions][ranks][share][dim], keys in the order of every rank's launches;
                        shared: [ranks][2 share][dim], embeddings */
    size_t stage; /* reals [encoders][directions][stat_total]: staged statistics of query and key encoder */
    size_t bytes;
};

/* Host memory of a step: see trainer_rows.c. "Sample order" is the batch's own. */
struct step_buffers {
    int32_t *index;   /* what goes to the device with each batch */
    int32_t *shuffle; /* [batch]: the permutation of a direction */
};

/* What gradients are multiplied by in F16. Of 64-bit numbers alone: it is hashed as it is. */
struct loss_scale {
    double scale;    /* a power of two; 1 in other precisions */
    int64_t since;   /* steps that were committed since it last changed */
    int64_t skipped; /* steps that were not, because a gradient overflowed */
};

/* What the host needs of a step when its outcome comes. */
struct queued_step {
    double lr, loss_scale;
    double limit; /* of its gradient's norm */
    int64_t epoch, position;
};

struct trainer {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    moco_trainer_options o;   /* with what 0 stood for: precision, and the wish for groups_per_launch */
    struct net_config config; /* of the network at the trainer's image size */
    enum be_precision precision;
    int automatic; /* nobody named the precision */
    size_t real_bytes;
    int own_memory;                                                 /* of the device: see be_info */
    int dim, groups, launches, launch_groups, launch_n, directions; /* groups: of all ranks */
    int rank, ranks;
    int apart;            /* the step's key views are arrays of their own, in the order of the shuffle */
    int share;            /* images of a batch that this rank brings */
    int shared;           /* the query encoder encodes both views: one launch of 2 share images */
    int encoders;         /* 2, or 1 if shared */
    int64_t queue_length; /* 0: negatives come from the batch */

    struct graph *graph; /* at the trainer's image size */
    struct be_layout *layout;
    struct be_plan *key_plan, *query_plan;
    struct be_program *program;
    struct work_layout at;
    struct step_buffers host;
    struct be_memory work, gradients, momentum;
    struct be_memory readers; /* of the query encoder; at NULL if the precision needs none */

    struct comm *comm;    /* NULL: one rank */
    struct ranks *others; /* what a step exchanges with them; NULL: one rank */

    struct encoder *query; /* the caller's model */
    struct encoder *key;   /* its momentum average; shared: NULL */
    struct queue *queue;   /* NULL: negatives come from the batch */

    int64_t step, epoch, position;
    struct loss_scale scale;
    double gradient_scale; /* of the gradients that are in memory */
    struct {
        int known; /* every number of both encoders and of momentum was found finite, at these versions of theirs */
        uint64_t query, key;
    } finite;
    struct norm_bounds {
        double weights, momentum;
    } bounds;                  /* of the query encoder, while `finite` is known: norms are at most this */
    int readers_stale;         /* masters were set from outside: readers are refreshed before they are read */
    int broken;                /* a commit stopped half-way: only loading a checkpoint helps */
    int ahead;                 /* a step may be left in flight (encoder_flight) */
    struct queued_step queued; /* the one in flight, or the last that was */
    struct err late;           /* how a step in flight failed, if somebody else waited for it: the next call is told */
    int wary;                  /* a step in flight was given up for its large gradient: the next one is looked at */
    int reported;
    moco_step_report report;
    _Atomic int *cancel; /* the device's */

    int name_count;
    char (*names)[TRAINER_NAME];
};

/* trainer_options.c */
moco_status trainer_options_check(const moco_trainer_options *options, struct err *err);
/* The number to be saved, where the option says 0. */
int trainer_groups_per_launch(const moco_trainer_options *options, int groups, int64_t launch_pixels);
/* What is launched at once of `groups` if `wish` (1 or more) are wanted: the largest divisor that is not larger. */
int trainer_launch_groups(int wish, int groups);

/* Which tensors a state has: known before there is a trainer. Gradients come last: `saved` are those before them. */
struct state_list {
    const struct graph *graph;
    int64_t queue_length; /* 0: no queue */
    int dim, shared;
    int saved, count;
};
enum state_part { PART_QUEUE, PART_QUEUE_PTR, PART_QUERY, PART_KEY, PART_MOMENTUM, PART_GRADIENT };
struct state_list state_list_of(const struct graph *graph, int64_t queue_length, int dim, int shared);
/* What tensor `i` is. */
void state_list_part(const struct state_list *list, int i, enum state_part *part, int *index);
void state_list_name(const struct state_list *list, int i, char name[TRAINER_NAME]);
void state_list_shape(const struct state_list *list, int i, struct tensor_shape *shape);

/* Those of a trainer. */
struct state_list trainer_list(const struct trainer *trainer);
moco_status trainer_make_names(struct trainer *trainer, struct err *err);

/* Brings the query encoder's readers up to date. */
moco_status trainer_refresh(struct trainer *trainer, struct err *err);

static inline int trainer_flies(const struct trainer *t)
{
    return t->query != NULL && t->query->flight.trainer != NULL;
}

/* Number of the step that is given to the device next: one in flight counts as if it were committed. */
static inline int64_t trainer_next_step(const struct trainer *t)
{
    return t->step + trainer_flies(t);
}

/* MOCO_ESTATE after a commit that stopped half-way. */
moco_status trainer_check_whole(const struct trainer *trainer, struct err *err);

#endif
