/* SPDX-License-Identifier: MIT
 *
 * tool_ranks MODULE RANKS: one rank of those that a launcher has started. Trains with the others as test_ranks has ranks
 * of threads train: the state is that of one rank up to the order of sums, and the same bits on all; a step that one rank
 * stops is stopped on all with one sentence, and tried again it gives the bits of an untouched run; ranks that are made
 * unlike are refused. Exits with 1 and a sentence if anything of it is not so. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/rank_module.h"
#include "tolerances.h"

#define STEPS 3

static struct rank k;
static int failures;

static void expect(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "rank %d of %d: %s; the last call: %d, %s\n", k.rank, k.ranks, what, (int)k.status, k.sentence);
        failures++;
    }
}

static struct rig_spec spec_of(int symmetric, int interleave)
{
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    spec.trainer.symmetric = symmetric;
    spec.trainer.interleave = interleave;
    return spec;
}

static void open_rank(const struct rig_spec *spec)
{
    expect(rank_open(&k, spec) == MOCO_OK, "the trainer was not made");
    if (failures > 0)
        exit(1);
}

static void expect_training_of_one(const struct rig_spec *spec)
{
    struct rig one;
    const char *name;
    open_rank(spec);
    rig_open(&one, spec);
    for (int i = 0; i < STEPS; i++) {
        expect(rank_step(&k, i) == MOCO_OK, "a step failed");
        rig_run(&one, i, i + 1);
    }
    for (int i = 0; (name = moco_trainer_tensor_name(one.trainer, i)) != NULL; i++)
        expect(rig_difference(&k.rig, &one, name) <= TOL_SUM_ORDER, name);
    uint64_t digest = rank_digest(&k);
    expect(digest != 0 && rank_all_same(&k, &digest, sizeof digest, "the state after three steps"), "states differ");
    rig_close(&one);
    rank_close(&k);
}

/* ---- steps that stop ---- */

enum { CANCEL, LEAVE, WRONG_BATCH, KINDS };

static void stop(int kind, int who)
{
    static const moco_status statuses[] = {MOCO_ECANCELED, MOCO_EBADDATA, MOCO_ESHAPE};
    static const char *const words[] = {"step 1 was cancelled", "ten images cannot be read",
                                        "the batch has images of 17 x 16"};
    char sentence[256];
    rank_draw(&k, 1);
    if (k.rank == who && kind == CANCEL)
        moco_trainer_cancel(k.rig.trainer);
    k.batch.h += k.rank == who && kind == WRONG_BATCH;
    if (k.rank == who && kind == LEAVE)
        rank_note(&k, moco_trainer_leave(k.rig.trainer, MOCO_EBADDATA, words[LEAVE]));
    else
        rank_note(&k, moco_trainer_step(k.rig.trainer, &k.batch, 0.05));
    snprintf(sentence, sizeof sentence, "rank %d of %d: %s", who, k.ranks, words[kind]);
    expect(k.status == statuses[kind] && strstr(k.sentence, sentence) != NULL, sentence);
}

static void expect_stops_that_leave_nothing(void)
{
    struct rig_spec spec = spec_of(0, 0);
    uint64_t digest[2];
    for (int stopped = 0; stopped < 2; stopped++) {
        open_rank(&spec);
        expect(rank_step(&k, 0) == MOCO_OK, "a step failed");
        for (int i = 0; stopped && i < KINDS * k.ranks; i++)
            stop(i % KINDS, i / KINDS);
        expect(rank_step(&k, 1) == MOCO_OK, "the retry failed");
        digest[stopped] = rank_digest(&k);
        rank_close(&k);
    }
    expect(digest[0] != 0 && digest[0] == digest[1], "a step that was stopped has left something");
}

static void expect_refusal(void)
{
    struct rig_spec spec = spec_of(0, 0);
    if (k.rank == k.ranks - 1)
        spec.trainer.temperature = 0.07;
    rank_open(&k, &spec);
    expect(k.status == MOCO_EINVAL && strstr(k.sentence, "trainer.temperature is 0.2 on rank 0 and 0.07") != NULL,
           "ranks that are made unlike were not refused");
    expect(rank_all_same(&k, k.sentence, 200, "the sentence of the refusal"), "sentences differ");
    rank_close(&k);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_comm_info info;
    moco_comm_options o;
    if (argc != 3 || moco_context_create(&context, NULL) != MOCO_OK)
        return 2;
    moco_comm_options_init(&o);
    o.bucket_bytes = 100e3;
    rank_join_module(&k, argv[1], context, &o);
    expect(k.ranks == atoi(argv[2]), "not so many ranks as were started");
    if (failures == 0) {
        for (int variant = 0; variant < 3; variant++) {
            struct rig_spec spec = spec_of(variant == 1, variant == 2);
            expect_training_of_one(&spec);
        }
        expect_stops_that_leave_nothing();
        expect_refusal();
    }
    moco_comm_info_init(&info);
    moco_comm_describe(k.comm, &info);
    if (k.rank == 0)
        printf("%d ranks of %s, own thread %d: %lld exchanges\n", info.ranks, info.engine, (int)info.own_thread,
               (long long)info.exchanges);
    moco_comm_free(k.comm);
    moco_context_free(context);
    return failures > 0;
}
