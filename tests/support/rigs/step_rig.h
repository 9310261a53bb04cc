/* SPDX-License-Identifier: MIT
 *
 * step_rig: whole training steps of MoCo through the contract alone, without the trainer: what is queued by whom and
 * when outcomes are fetched is the test's to choose. All that differs from step to step (images, orders, rates, momenta,
 * temperature, the queue's row) is a pure function of the step's number, so that two rigs on two devices of one master
 * type must agree to the bit. A call that fails fails the test, except where a status is returned. */
#ifndef MOCO_TESTS_STEP_RIG_H
#define MOCO_TESTS_STEP_RIG_H

#include "backend/backend.h"
#include "net/net.h"

enum { STEP_N = 8, STEP_GROUPS = 2, STEP_IMAGE = 16, STEP_DIM = 8, STEP_QUEUE = 24 };

struct step_rig {
    const struct backend *be;
    struct be_device *dev;
    struct be_info info;
    struct ctx *ctx;
    struct graph *graph;
    struct be_layout *layout;
    struct be_plan *query, *key;
    struct be_program *program;
    struct be_memory q, k, momentum, gradients, running_q, running_k, queue; /* state, and gradients */
    struct be_memory key_block, slab, stage_q, stage_k, embedding, keys, in_order, d_query, scratch;
    uint8_t *view[2];
    int32_t index[2 * STEP_N]; /* images of the key launch, then of the query launch */
};

void step_rig_open(struct step_rig *r, const struct backend *be, int replay);
void step_rig_close(struct step_rig *r); /* drops a step that was begun */

/* What a step is given: the arrays of `r` are filled; ranges: an array of one, for the caller to keep. */
void step_rig_draw(struct step_rig *r, int64_t step, struct be_scalars *scalars, struct be_range ranges[1]);

/* The parts of a step. begin and decide say skip; work and commit are the calls that then are or are not to be made. */
moco_status step_rig_begin(struct step_rig *r, const struct be_scalars *scalars, struct be_input *at, int *skip,
                           struct err *err);
moco_status step_rig_work(struct step_rig *r, const struct be_input *at, struct err *err);
moco_status step_rig_commit(struct step_rig *r, struct err *err);

/* A whole one, drawn, begun and ended, whose outcome is not fetched. */
struct step_rig_how {
    uint32_t veto;
    be_cancel *cancel;
    int verdict; /* ask for it before decide */
    int skipped; /* out: the device repeated the work */
};
void step_rig_step(struct step_rig *r, int64_t step, struct step_rig_how *how); /* NULL: none of it */
struct be_outcome step_rig_outcome(struct step_rig *r);

/* `count` numbers from the begin of a block of reals. */
void step_rig_write(struct step_rig *r, const struct be_memory *to, const double *values, int count);

/* Everything that a step may change, in one block (the caller frees). */
char *step_rig_state(struct step_rig *r, size_t *bytes);

/* Steps whose loss is not finite: what is wrong with them; NULL: each is told, and leaves the state as it was. The queue keeps
 * the NaN that it is given. */
const char *step_rig_finding_stops(struct step_rig *r, int steps);

/* Fails the test with the sentence unless status is `wanted`. */
void step_rig_expect(moco_status status, moco_status wanted, const struct err *err);

/* Equal to the bit? */
int step_rig_same_state(struct step_rig *a, struct step_rig *b);
int step_rig_same_outcome(const struct be_outcome *a, const struct be_outcome *b);

#define STEP_OK(call)                                                                                                  \
    do {                                                                                                               \
        struct err err = {0};                                                                                          \
        moco_status status_ = (call);                                                                                  \
        step_rig_expect(status_, MOCO_OK, &err);                                                                       \
    } while (0)

/* The call is refused with this status, and the sentence holds these words. */
#define STEP_REFUSED(call, wanted, words)                                                                              \
    do {                                                                                                               \
        struct err err = {0};                                                                                          \
        moco_status status_ = (call);                                                                                  \
        step_rig_expect(status_, (wanted), &err);                                                                      \
        step_rig_expect_words(&err, (words));                                                                          \
    } while (0)
void step_rig_expect_words(const struct err *err, const char *words);

#endif
