/* SPDX-License-Identifier: MIT
 *
 * test_ranks_loader: trainers of several ranks, each with a loader of its own, see the pictures of one in its order and
 * end where it ends, up to the order of sums; they stop on four ranks and go on on any number; damaged pictures are
 * replaced alike; a rank whose pictures fail in the middle of an epoch stops all, and nothing is lost. Ranks are
 * threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rigs/rank_rig.h"
#include "support/scratch_folder.h"
#include "tolerances.h"

enum { SIDE = 20, BATCH = 32, PER_EPOCH = 2, IMAGES = PER_EPOCH * BATCH + 17, STEPS = 4, NOBODY = -1 };

#define RATE 0.001 /* a narrow network multiplies a rounding error at every step, and more at higher rates */

static uint8_t pixels[IMAGES][SIDE][SIDE][3];
static struct scratch_folder folder;
static struct team team;

/* What all ranks do. */
static struct {
    const char *from, *to; /* checkpoints: where they begin, and which rank 0 writes; NULL: none */
    int64_t last;          /* how many steps are then committed */
    int damaged;           /* a tenth of the pictures, on every rank */
    int torn_on;           /* the rank that alone cannot read some of them */
    int torn_every;        /* one of so many */
    int64_t max_bad;
} plan;

static int64_t order[STEPS][BATCH]; /* what was shown at each step */

static int set_up(void **state)
{
    (void)state;
    uint8_t *byte = &pixels[0][0][0][0];
    for (size_t i = 0; i < sizeof pixels; i++)
        byte[i] = (uint8_t)(i * 2654435761u >> 13);
    scratch_folder_make(&folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return 0;
}

static moco_status read_picture(void *user, int64_t id, const uint8_t **at, int32_t *w, int32_t *h)
{
    const struct rank *k = user;
    *at = &pixels[id][0][0][0];
    *w = *h = SIDE;
    int torn = plan.torn_on == k->rank && id % plan.torn_every == 2;
    return (plan.damaged && id % 10 == 3) || torn ? MOCO_EFORMAT : MOCO_OK;
}

static moco_status open_loader(struct rank *k, moco_dataset **dataset, moco_loader **loader)
{
    const moco_trainer_options *o = &k->rig.spec.trainer;
    moco_augment_options recipe;
    moco_loader_options options;
    moco_image_source source;
    moco_image_source_init(&source);
    source.count = IMAGES;
    source.read = read_picture;
    source.user = k;
    moco_status status = rank_note(k, moco_augment_options_preset(&recipe, "cifar10", o->image_h));
    moco_loader_options_init(&options);
    options.batch_size = o->batch_size;
    options.permuted = options.drop_last = 1;
    options.seed = 4;
    options.workers = 1;
    options.rank = k->rank;
    options.ranks = k->ranks;
    options.interleave = o->interleave;
    options.max_bad = plan.max_bad;
    options.recipe[0] = options.recipe[1] = &recipe;
    if (status == MOCO_OK)
        status = rank_note(k, moco_dataset_from_callback(dataset, k->rig.context, &source));
    return status == MOCO_OK ? rank_note(k, moco_loader_create(loader, *dataset, &options)) : status;
}

static void note_order(const struct rank *k, int64_t step, const moco_batch *batch)
{
    for (int i = 0; i < batch->n; i++) {
        int place = k->rig.spec.trainer.interleave ? i * k->ranks + k->rank : k->rank * batch->n + i;
        order[step][place] = batch->ids[i];
    }
}

/* Steps to the end of an epoch, or to plan.last. */
static moco_status train_epoch(struct rank *k, moco_loader *loader, int64_t *step)
{
    moco_batch batch;
    moco_batch_init(&batch);
    while (*step < plan.last) {
        moco_status status = rank_note(k, moco_loader_next(loader, &batch));
        if (status == MOCO_EEND)
            return rank_note(k, MOCO_OK);
        if (status != MOCO_OK)
            return rank_note(k, moco_trainer_leave(k->rig.trainer, status, k->sentence));
        note_order(k, *step, &batch);
        if (rank_note(k, moco_trainer_step(k->rig.trainer, &batch, RATE)) != MOCO_OK)
            return k->status;
        ++*step;
    }
    return MOCO_OK;
}

static moco_status train_epochs(struct rank *k, moco_loader *loader)
{
    const moco_trainer_options *o = &k->rig.spec.trainer;
    int64_t step, epoch, position;
    moco_status status = rank_note(k, moco_trainer_cursor(k->rig.trainer, &step, &epoch, &position));
    while (status == MOCO_OK && step < plan.last) {
        if (position == PER_EPOCH * BATCH) {
            epoch++;
            position = 0;
        }
        status = rank_note(k, moco_loader_start_keys(loader, epoch, position, step, o->seed, o->symmetric));
        if (status == MOCO_OK)
            status = train_epoch(k, loader, &step);
        position = PER_EPOCH * BATCH;
    }
    return status;
}

static void train(struct rank *k)
{
    moco_dataset *dataset = NULL;
    moco_loader *loader = NULL;
    moco_status status = MOCO_OK;
    if (plan.from != NULL)
        status = rank_note(k, moco_trainer_load(k->rig.trainer, plan.from));
    if (status == MOCO_OK)
        status = open_loader(k, &dataset, &loader);
    if (status == MOCO_OK)
        status = train_epochs(k, loader);
    if (status == MOCO_OK && plan.to != NULL && k->rank == 0)
        rank_note(k, moco_trainer_save(k->rig.trainer, plan.to, NULL));
    moco_loader_free(loader);
    moco_dataset_free(dataset);
}

static void reset(void)
{
    memset(&plan, 0, sizeof plan);
    memset(order, 0, sizeof order);
    plan.torn_on = NOBODY;
    plan.torn_every = 8;
    plan.max_bad = IMAGES;
}

static struct rig_spec spec_of(int variant)
{
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    spec.trainer.batch_size = BATCH;
    spec.queue_length = 72;
    spec.trainer.symmetric = variant == 1;
    spec.trainer.interleave = variant == 2;
    return spec;
}

static void expect_all(moco_status status, const char *sentence)
{
    for (int r = 0; r < team.ranks; r++)
        if (team.rank[r].status != status || strstr(team.rank[r].sentence, sentence) == NULL)
            fail_msg("rank %d of %d: status %d instead of %d, or not \"%s\": %s", r, team.ranks,
                     (int)team.rank[r].status, (int)status, sentence, team.rank[r].sentence);
    for (int r = 1; r < team.ranks; r++)
        rig_expect_equal(&team.rank[r].rig, &team.rank[0].rig);
}

static void open_team(const struct rig_spec *spec, int ranks)
{
    moco_comm_options o;
    moco_comm_options_init(&o);
    o.bucket_bytes = 100e3;
    team_open(&team, spec, ranks, &o);
    for (int r = 0; r < ranks; r++)
        rig_expect(team.rank[r].status, MOCO_OK);
}

/* One rank's run of all steps, and in which order it saw what. */
static void open_one(struct team *one, const struct rig_spec *spec, int64_t seen[STEPS][BATCH])
{
    open_team(spec, 1);
    plan.last = STEPS;
    team_run(&team, train);
    expect_all(MOCO_OK, "");
    memcpy(seen, order, sizeof order);
    *one = team;
}

static void expect_run_of(struct team *one, int64_t seen[STEPS][BATCH], int64_t first)
{
    const char *name;
    for (int64_t s = first; s < STEPS; s++)
        for (int i = 0; i < BATCH; i++)
            if (order[s][i] != seen[s][i])
                fail_msg("%d ranks: image %d of step %lld is %lld, and %lld with one rank", team.ranks, i, (long long)s,
                         (long long)order[s][i], (long long)seen[s][i]);
    for (int i = 0; (name = moco_trainer_tensor_name(one->rank[0].rig.trainer, i)) != NULL; i++) {
        double error = rig_difference(&team.rank[0].rig, &one->rank[0].rig, name);
        if (!(error <= TOL_SUM_ORDER))
            fail_msg("%d ranks: %s differs by %g; at most %g was expected", team.ranks, name, error, TOL_SUM_ORDER);
    }
}

/* ---- any number of ranks ---- */

static void ranks_see_the_pictures_of_one(void **state)
{
    (void)state;
    for (int variant = RANK_NARROW ? 3 : 0; variant < 4; variant++) {
        int64_t seen[STEPS][BATCH];
        struct team one;
        struct rig_spec spec = spec_of(variant);
        reset();
        plan.damaged = variant == 3;
        open_one(&one, &spec, seen);
        for (int ranks = 2; ranks <= (RANK_NARROW ? 2 : 8); ranks *= 2) {
            memset(order, 0, sizeof order);
            open_team(&spec, ranks);
            team_run(&team, train);
            expect_all(MOCO_OK, "");
            expect_run_of(&one, seen, 0);
            team_close(&team);
        }
        team_close(&one);
    }
}

/* Stops on four ranks in the middle of the first epoch, at its end, and in the second. */
static void four_stop_and_any_number_goes_on(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 8};
    char file[300];
    snprintf(file, sizeof file, "%s", scratch_path(&folder, "stopped"));
    for (int64_t stop = RANK_NARROW ? STEPS - 1 : 1; stop < STEPS; stop++) {
        int64_t seen[STEPS][BATCH];
        struct team one;
        struct rig_spec spec = spec_of(0);
        reset();
        plan.damaged = 1;
        open_one(&one, &spec, seen);
        plan.last = stop;
        plan.to = file;
        open_team(&spec, 4);
        team_run(&team, train);
        expect_all(MOCO_OK, "");
        team_close(&team);
        plan.from = file;
        plan.to = NULL;
        plan.last = STEPS;
        for (int i = RANK_NARROW; i <= 2 - RANK_NARROW; i++) {
            memset(order, 0, sizeof order);
            spec.model.seed = 100 + (uint64_t)i; /* whatever was there before does not show */
            open_team(&spec, counts[i]);
            team_run(&team, train);
            expect_all(MOCO_OK, "");
            expect_run_of(&one, seen, stop);
            team_close(&team);
        }
        team_close(&one);
    }
}

/* ---- pictures that one rank alone cannot read ---- */

/* They are replaced there; the ranks stay together. */
static void a_rank_with_torn_files_trains_with_the_others(void **state)
{
    (void)state;
    int64_t seen[STEPS][BATCH];
    struct team one;
    struct rig_spec spec = spec_of(0);
    reset();
    open_one(&one, &spec, seen);
    plan.torn_on = 2;
    open_team(&spec, 4);
    team_run(&team, train);
    expect_all(MOCO_OK, "");
    int replaced = 0;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < BATCH; i++) {
            int torn = i / (BATCH / 4) == 2 && seen[s][i] % plan.torn_every == 2;
            assert_int_equal(order[s][i], seen[s][i] + torn);
            replaced += torn;
        }
    assert_true(replaced > 2);
    team_close(&team);
    team_close(&one);
}

/* Or they are too many, in the middle of an epoch: all ranks stop before that step, with one sentence. Once they can be
 * read the run goes on as if nothing had been. */
static void too_many_on_one_rank_stop_all(void **state)
{
    (void)state;
    struct team twin;
    struct rig_spec spec = spec_of(0);
    int later = 0;
    reset();
    plan.torn_every = 20;
    plan.max_bad = 0;
    plan.last = STEPS;
    open_team(&spec, 4);
    team_run(&team, train);
    twin = team;
    for (int who = RANK_NARROW ? 3 : 0; who < 4; who++) {
        int64_t step;
        char sentence[100];
        plan.torn_on = who;
        snprintf(sentence, sizeof sentence, "rank %d of 4: moco_loader_next", who);
        open_team(&spec, 4);
        team_run(&team, train);
        expect_all(MOCO_EBADDATA, sentence);
        expect_all(MOCO_EBADDATA, "max_bad is 0");
        rig_ok(moco_trainer_cursor(team.rank[0].rig.trainer, &step, NULL, NULL));
        assert_true(step < STEPS);
        later += step > 0;
        plan.torn_on = NOBODY;
        team_run(&team, train);
        expect_all(MOCO_OK, "");
        rig_expect_equal(&team.rank[0].rig, &twin.rank[0].rig);
        team_close(&team);
    }
    assert_true(later > 0 || RANK_NARROW);
    team_close(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_see_the_pictures_of_one),
        cmocka_unit_test(four_stop_and_any_number_goes_on),
        cmocka_unit_test(a_rank_with_torn_files_trains_with_the_others),
        cmocka_unit_test(too_many_on_one_rank_stop_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
