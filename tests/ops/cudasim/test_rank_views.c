/* SPDX-License-Identifier: MIT
 *
 * test_rank_views: ranks with GPUs train to the same bits whether their loaders make the views in ordinary memory, or in
 * page-locked memory of the rank's device, or the device makes them of pictures that it keeps; with key views apart, as ranks
 * with a shuffle have them, in one direction and in two, and interleaved. Simulated GPUs, whose memory a simulated NCCL sums.
 * Found by this, each planted by hand: a loader of pictures that takes rank 0's share on all ranks; key views that are made of
 * query views; on one rank, views that are made of each other's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/cudasim/sim_driver.h"
#include "support/cudasim/sim_nccl.h"
#include "support/draw_image.h"
#include "support/rigs/rank_rig.h"

#define RATE 0.05

/* One step is queued call by call, two are recorded, two are repeated. */
enum { RANKS = 2, STEPS = 5, BATCH = 32, PICTURES = 2 * BATCH, SIDE = 12, VIEW = 8 };
enum how { ORDINARY, PINNED, RESIDENT, HOWS };

static uint8_t pixels[PICTURES][SIDE][SIDE][3];

/* What a rank has beside its rig. */
static struct source {
    enum how how;
    moco_dataset *set;
    moco_pictures *pictures;
    moco_loader *loader;
    int64_t loads; /* copies out of page-locked views */
} sources[HOWS][RANKS];
static struct team teams[HOWS];

static struct rig_spec spec_of(int symmetric, int interleave)
{
    struct rig_spec spec = rig_spec();
    spec.trainer.batch_size = BATCH;
    spec.trainer.symmetric = symmetric;
    spec.trainer.interleave = interleave;
    spec.queue_length = 72;
    spec.model.width = 0.03125;
    spec.model.image_size = spec.trainer.image_h = spec.trainer.image_w = VIEW;
    return spec;
}

static moco_status open_source(struct rank *k)
{
    struct source *s = k->user;
    const moco_trainer_options *trainer = &k->rig.spec.trainer;
    moco_tensor images = {
        .struct_size = sizeof images, .dtype = MOCO_U8, .ndim = 4, .shape = {PICTURES, SIDE, SIDE, 3}, .data = pixels};
    moco_augment_options view = {.struct_size = sizeof view};
    moco_loader_options o;
    moco_status status = moco_dataset_from_memory(&s->set, k->rig.context, &images, NULL);
    if (status == MOCO_OK && s->how == RESIDENT)
        status = moco_pictures_create(&s->pictures, k->rig.device, s->set, 0);
    if (status == MOCO_OK)
        status = moco_augment_options_preset(&view, "moco-v2", VIEW);
    moco_loader_options_init(&o);
    o.batch_size = BATCH;
    o.workers = 1;
    o.seed = 9;
    o.rank = k->rank;
    o.ranks = k->ranks;
    o.interleave = trainer->interleave;
    o.recipe[0] = o.recipe[1] = &view;
    o.device = s->how == PINNED ? k->rig.device : NULL;
    o.pictures = s->pictures;
    return status == MOCO_OK ? moco_loader_create(&s->loader, s->set, &o) : status;
}

static moco_status make_step(struct rank *k, int64_t step)
{
    struct source *s = k->user;
    moco_batch batch;
    moco_batch_init(&batch);
    moco_status status = MOCO_OK;
    if (step * BATCH % PICTURES == 0)
        status = moco_loader_start_keys(s->loader, step * BATCH / PICTURES, 0, step, k->rig.spec.trainer.seed,
                                        k->rig.spec.trainer.symmetric);
    if (status == MOCO_OK)
        status = moco_loader_next(s->loader, &batch);
    if (status == MOCO_OK)
        status = moco_trainer_step(k->rig.trainer, &batch, RATE);
    for (int v = 0; v < 2; v++) {
        s->loads += batch.view[v] != NULL ? sim_loads(batch.view[v]) : 0;
        s->loads += batch.key[v] != NULL ? sim_loads(batch.key[v]) : 0;
    }
    return status;
}

static void train(struct rank *k)
{
    moco_status status = k->status == MOCO_OK ? open_source(k) : k->status;
    for (int64_t step = 0; step < STEPS && status == MOCO_OK; step++)
        status = make_step(k, step);
    if (k->status == MOCO_OK)
        rank_note(k, status);
}

static void free_sources(enum how how)
{
    for (int r = 0; r < RANKS; r++) {
        moco_loader_free(sources[how][r].loader);
        moco_pictures_free(sources[how][r].pictures);
        moco_dataset_free(sources[how][r].set);
    }
}

static void expect_same(int symmetric, int interleave)
{
    struct rig_spec spec = spec_of(symmetric, interleave);
    moco_comm_options o;
    moco_comm_options_init(&o);
    o.bucket_bytes = 5e3;
    o.patience_seconds = 60;
    for (int how = 0; how < HOWS; how++) {
        struct team *team = &teams[how];
        team_open_gpus(team, &spec, RANKS, &o, 0);
        for (int r = 0; r < RANKS; r++) {
            sources[how][r] = (struct source){.how = (enum how)how};
            team->rank[r].user = &sources[how][r];
        }
        team_run(team, train);
        for (int r = 0; r < RANKS; r++)
            if (team->rank[r].status != MOCO_OK)
                fail_msg("views %d, rank %d: %s", how, r, team->rank[r].sentence);
        rig_expect_equal(&team->rank[1].rig, &team->rank[0].rig);
        rig_expect_equal(&team->rank[0].rig, &teams[0].rank[0].rig);
    }
    for (int r = 0; r < RANKS; r++) {
        assert_true(sources[ORDINARY][r].loads < 0);
        assert_true(sources[PINNED][r].loads >= 2 * STEPS);
        assert_true(sources[RESIDENT][r].loads == 0);
    }
    for (int how = 0; how < HOWS; how++) {
        free_sources((enum how)how);
        team_close(&teams[how]);
    }
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_nccl_live(), 0);
}

static void ranks_have_the_same_bits_wherever_views_are_made(void **state)
{
    (void)state;
    expect_same(0, 0);
}

static void so_they_have_in_two_directions_and_interleaved(void **state)
{
    (void)state;
    expect_same(1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_have_the_same_bits_wherever_views_are_made),
        cmocka_unit_test(so_they_have_in_two_directions_and_interleaved),
    };
    for (int i = 0; i < PICTURES; i++)
        draw_pixels(&pixels[i][0][0][0], SIDE, SIDE, i + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
