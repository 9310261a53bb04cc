/* SPDX-License-Identifier: MIT
 *
 * late: what the files of the late device share. What a reader would get wrong: one lock guards all late devices of the
 * process, since the queue of one may have to wait for an event of another (await); it is not held while the caller's
 * code runs. */
#ifndef MOCO_TESTS_LATE_H
#define MOCO_TESTS_LATE_H

#include <pthread.h>
#include <string.h>

#include "support/late/late_device.h"

enum { LATE_BEHIND = 2, LATE_SLOTS = LATE_BEHIND + 1, LATE_EVENTS = 64, LATE_RANGES = 8 };

/* ---- memory (late_memory.c) ---- */

struct late_block {
    struct late_block *next;
    char *at;
    size_t bytes, mapped; /* asked for; mapped without the guard page */
    uint64_t number;      /* never given twice: an address may be */
};

/* Device memory that a call is about. */
struct late_range {
    const char *what; /* NULL: past the last */
    const void *at;   /* NULL: not given */
    size_t bytes;
    uint64_t block;
};

/* ---- works (late_queue.c) ---- */

struct late_call;
typedef moco_status late_run(struct be_device *dev, const struct late_call *call, const void *args, struct err *err);

/* When a call may be made, and whether it belongs to what is recorded. */
enum late_when {
    LATE_ANY,    /* not within a step that may be recorded */
    LATE_MARK,   /* anywhere, and never recorded: in a step that may be, a part ends behind it */
    LATE_STEP,   /* anywhere, and in every part of a step */
    LATE_WORK,   /* before decide */
    LATE_COMMIT, /* between decide and program_end */
    LATE_ONCE    /* of the program itself: never recorded */
};

/* A work in a queue or on a tape. Behind it lie the arguments, and behind those the host arrays, all of them copies. */
struct late_call {
    const char *name;
    late_run *run;
    size_t args, tail, size; /* bytes of arguments, of host arrays, and of all with this struct */
    enum late_when when;
    struct be_program *program; /* NULL: of no program */
    struct be_plan *plan;       /* NULL: of no plan */
    struct late_range range[LATE_RANGES];
};

/* Works one behind another. */
struct late_tape {
    char *at;
    size_t used, size, done; /* bytes; done: of works that ran */
    int64_t calls;
};

struct late_event {
    struct be_device *dev;
    int64_t device, number; /* neither is given twice, as the address of a device may be */
};

struct late_cancel {
    struct late_cancel *next;
    _Atomic int flag;
};

struct be_device {
    struct ctx *ctx;
    struct be_device *ref;
    enum late_fault fault;
    struct be_device *next; /* of all that are open */
    struct late_block *blocks;
    const struct late_block *touched; /* open for the slot that waits */
    int64_t live;
    uint64_t numbers; /* of blocks */
    struct late_tape queue;
    int breaks;  /* the next work fails */
    int running; /* works of the queue run now */
    int64_t pending, repeats;
    struct err lost; /* status MOCO_OK: it is not */
    struct late_event events[LATE_EVENTS];
    int64_t number, marked, reached;
    struct late_cancel *cancels;
    struct be_program *programs;
};

struct be_layout {
    struct be_device *dev;
    struct be_layout *ref;
    int params;
    int64_t *count; /* [params] numbers */
};

struct be_weights {
    struct be_device *dev;
    struct be_weights *ref;
    const struct be_layout *layout;
    int64_t stats;
    int folded;
};

struct be_plan {
    struct be_device *dev;
    struct be_plan *ref;
    const struct be_layout *layout;
    enum be_pass pass;
    int n, f32_input, dim;
    const struct be_weights *weights; /* INFER */
    size_t image;                     /* bytes of one that it is given */
    int64_t stats;
    void *slab;
    size_t slab_bytes;
};

/* The scalars of one step, in device memory, in front of their ranges. */
struct late_block_of_step {
    struct be_scalars scalars;
    int64_t fetched; /* failures whose outcome had been fetched when the step began */
    int repeat;
};

enum late_phase { LATE_IDLE, LATE_WORKS, LATE_JUDGED, LATE_COMMITS };

struct be_program {
    struct be_device *dev;
    struct be_program *ref, *probe; /* the probe only looks at arguments */
    struct be_program *next;
    struct be_program_spec spec;
    const struct be_layout *layout;
    _Atomic int phase; /* enum late_phase; others look whether a step of theirs is open */
    enum { LATE_EAGER, LATE_RECORD, LATE_REPEAT } mode; /* of the open step */
    pthread_t owner;                                    /* of the open step */
    double temperature;
    int warm, taped;                /* a step was made since the last reset; one was recorded */
    int part, ends;                 /* of the open step, from 0; a mark stands where it has to end */
    int dropped;                    /* the last one that was begun */
    struct late_tape *work, commit; /* [parts] */
    int parts;
    const char *stale; /* why the tapes may not be repeated */

    struct be_memory memory; /* step blocks, staged inputs, two places for inputs */
    size_t block_bytes, input_bytes;
    struct be_input given; /* of the open step: the caller's */
    char hash[33];
    int64_t opened, opened_run; /* steps begun: by the caller; in queue order */
    int64_t ended, ended_run, told;
    int64_t failed_run, failed_told; /* those of them that did not commit */
    struct be_outcome outcomes[LATE_SLOTS];

    struct be_scalars frozen; /* LATE_FROZEN */
    int has_frozen, follows;
};

/* late_memory.c: with the lock held. */
moco_status late_map(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void late_unmap(struct be_device *dev, struct be_memory *memory);
/* The block that [at, at + bytes) lies in; NULL: none. */
const struct late_block *late_find(const struct be_device *dev, const void *at, size_t bytes);
void late_unfence(const struct be_device *dev);
void late_fence(const struct be_device *dev);
void late_unfence_one(const struct late_block *block);
void late_fence_one(const struct late_block *block);
/* Finds the blocks of ranges; MOCO_EINVAL names the argument that is in none. */
moco_status late_locate(const struct be_device *dev, struct late_call *call, struct err *err);
/* Are they what they were? */
int late_still_there(const struct be_device *dev, const struct late_call *call);
void *late_take(size_t bytes); /* pages of the device's own; NULL: there are none */
void late_give(void *pages, size_t bytes);

/* late_queue.c */
void late_lock(void);
void late_unlock(void);
/* Queues a call in two halves. *tail: where its host arrays, of call->tail bytes, are to be put in between; the lock is
 * held from one to the other if the first answers MOCO_OK. */
moco_status late_queue_begin(struct be_device *dev, struct late_call *call, const void *args, void **tail,
                             struct err *err);
moco_status late_queued(struct err *err);
/* The same for a call without host arrays. */
moco_status late_queue(struct be_device *dev, struct late_call *call, const void *args, size_t bytes, struct err *err);
static inline void *late_tail(const struct late_call *call, const void *args)
{
    (void)call;
    return (char *)args + (call->args + 63) / 64 * 64;
}
/* Runs works until none is left: MOCO_OK leaves the lock held until late_waited. */
moco_status late_wait(struct be_device *dev, const char *name, struct err *err);
/* Between the two: opens the block of memory that the slot itself is about to touch; MOCO_EINVAL: there is none. */
moco_status late_touch(struct be_device *dev, const char *name, const void *at, size_t bytes, struct err *err);
void late_waited(struct be_device *dev);
/* With the lock held. late_run_one: 0: there is none, or the device is lost. */
int late_run_one(struct be_device *dev);
void late_drain(struct be_device *dev);
moco_status late_lost(const struct be_device *dev, struct err *err);
/* Runs all of a tape, within a work. */
moco_status late_repeat(struct be_device *dev, const struct late_tape *tape, struct err *err);
/* Takes, and touches, what most steps need, so that they take nothing themselves. */
moco_status late_tape_make(struct late_tape *tape, struct err *err);
void late_tape_clear(struct late_tape *tape);
void late_tape_free(struct late_tape *tape);
/* A call on it whose memory was released; NULL: none. And: is there a call of this plan on it? */
const char *late_tape_lost(const struct be_device *dev, const struct late_tape *tape);
int late_tape_has(const struct late_tape *tape, const struct be_plan *plan);

/* late_device.c: with the lock held. */
int late_reached(const struct late_event *event);

/* late_ranks.c */
moco_status late_ranks_id(struct be_device *dev, void *id, char library[BE_LIBRARY], struct err *err);
moco_status late_ranks_open(struct be_device *dev, const void *id, int rank, int ranks, struct moco_comm_engine *engine,
                            struct err *err);

/* late_network.c */
moco_status late_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                               enum be_precision precision, struct err *err);
void late_layout_free(struct be_layout *layout);
size_t late_layout_bytes(const struct be_layout *layout);
size_t late_param_at(const struct be_layout *layout, int index);
moco_status late_param_get(const struct be_layout *layout, const void *slab, int index, double *values,
                           struct err *err);
moco_status late_param_set(const struct be_layout *layout, void *slab, int index, const double *values,
                           struct err *err);
moco_status late_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                         struct err *err);
size_t late_reader_bytes(const struct be_layout *layout, int backward);
moco_status late_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err);
size_t late_key_bytes(const struct be_layout *layout);
moco_status late_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                                const struct be_layout *layout, enum be_precision precision, struct err *err);
void late_weights_free(struct be_weights *weights);
size_t late_weights_bytes(const struct be_weights *weights);
moco_status late_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err);
moco_status late_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                             struct err *err);
void late_plan_free(struct be_plan *plan);
void late_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes);
moco_status late_plan_bind(struct be_plan *plan, void *slab, struct err *err);
moco_status late_forward(struct be_plan *plan, const struct be_forward *io, struct err *err);
moco_status late_backward(struct be_plan *plan, const struct be_backward *io, struct err *err);

/* late_program.c */
moco_status late_program_create(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                struct err *err);
void late_program_free(struct be_program *program);
void late_program_reset(struct be_program *program);
moco_status late_program_begin(struct be_program *program, const struct be_scalars *scalars,
                               const struct be_input *input, struct be_input *at, int *skip, struct err *err);
int late_found(const struct be_program *program);
moco_status late_part(struct be_program *program, struct err *err);
moco_status late_verdict(struct be_program *program, struct be_outcome *out, struct err *err);
moco_status late_decide(struct be_program *program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err);
moco_status late_program_end(struct be_program *program, struct err *err);
void late_program_drop(struct be_program *program);
moco_status late_outcome(struct be_program *program, int wait, int *known, struct be_outcome *out, struct err *err);
int late_behind(const struct be_program *program);
/* With the lock held: is there a call of this plan in what was recorded? */
int late_program_has(const struct be_program *program, const struct be_plan *plan);

/* late_calls.c */
moco_status late_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err);
moco_status late_gather(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err);
moco_status late_scatter(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err);
moco_status late_check_rows(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                            int n, int dim, struct err *err);
moco_status late_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err);
moco_status late_check_stats(struct be_program *program, enum be_what what, const struct graph *graph,
                             const void *stats, struct err *err);
moco_status late_row_std(struct be_program *program, const void *rows, int n, int dim, struct err *err);
moco_status late_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err);
moco_status late_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch, struct err *err);
moco_status late_sgd(struct be_program *program, const struct be_sgd *io, struct err *err);
moco_status late_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                              int groups, struct err *err);
moco_status late_push(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err);

#endif
