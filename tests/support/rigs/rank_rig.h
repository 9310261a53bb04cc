/* SPDX-License-Identifier: MIT
 *
 * rank_rig: one rank of a training of several, as a train_rig that has its share of the rig's batches, with key views
 * apart where the trainer shuffles. What a reader would get wrong: ranks run in threads, or in processes, where a failed
 * assertion must not jump; so nothing here asserts but team_*, which belong to the test's own thread. */
#ifndef MOCO_TESTS_RANK_RIG_H
#define MOCO_TESTS_RANK_RIG_H

#include <pthread.h>

#include "support/rigs/train_rig.h"

#define RANK_MAX 8

struct rank {
    struct rig rig; /* its views are those of the whole batch */
    moco_comm *comm;
    const moco_comm_options *options;
    const uint8_t *id; /* the comm is made of it and the rank's device; NULL: it is there */
    char device[24];   /* "": the spec's */
    int rank, ranks;
    uint8_t *share[2], *key[2];
    moco_batch batch;   /* of this rank */
    moco_status status; /* of the first call that failed, or as the body says */
    char sentence[640];
    void *user;
};

/* ThreadSanitizer looks at every access of ref's arithmetic, at a hundred times the price, and sees nothing new in a second
 * mechanism. There the network is narrower, and tests run a part of what they have. */
#ifdef __SANITIZE_THREAD__
#define RANK_NARROW 1
#else
#define RANK_NARROW 0
#endif
void rank_narrow(struct rig_spec *spec); /* for tests that compare no numbers after several steps */

/* `rank->comm` or `id`, rank and ranks are set. */
moco_status rank_open(struct rank *rank, const struct rig_spec *spec);
void rank_close(struct rank *rank);
/* Draws batch `number`, or draws it and makes a step with rate 0.05. */
void rank_draw(struct rank *rank, int64_t number);
moco_status rank_step(struct rank *rank, int64_t number);
/* Notes the status, and its sentence if it is not MOCO_OK; returns it. */
moco_status rank_note(struct rank *rank, moco_status status);

/* Ranks in threads of this process. */
struct team {
    moco_context *context;
    uint8_t id[MOCO_COMM_ID_BYTES];
    int ranks;
    struct rank rank[RANK_MAX];
};

/* Each has the status of rank_open. */
void team_open(struct team *team, const struct rig_spec *spec, int ranks, const moco_comm_options *options);
/* Each on a GPU of its own of "cudasim". by_id: over NCCL alone; else over threads, and NCCL between devices. */
void team_open_gpus(struct team *team, const struct rig_spec *spec, int ranks, const moco_comm_options *options,
                    int by_id);
/* Runs `body` on every rank at once. */
void team_run(struct team *team, void (*body)(struct rank *rank));
void team_close(struct team *team);

#endif
