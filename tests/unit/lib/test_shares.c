/* SPDX-License-Identifier: MIT
 *
 * test_shares: what ranks may rely on. Every place of a batch is one rank's, BN groups are whole, and what the loaders
 * of any number of ranks deliver is, put together, what one loader delivers: samples, pixels, positions, replaced
 * images, and key views apart, which are those of the shuffle that docs/randomness.md defines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "permute.h"
#include "share.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

#define COUNT 103
#define W 24
#define H 20
#define SIZE 16
#define ROW ((size_t)SIZE * SIZE * 3)
#define BATCH 16
#define BATCHES ((COUNT + BATCH - 1) / BATCH)

static uint8_t pixels[COUNT * W * H * 3];
static struct ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    for (int i = 0; i < COUNT; i++)
        draw_pixels(pixels + (size_t)i * W * H * 3, W, H, i);
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

/* ---- places ---- */

static int group_of(int batch, int groups, int interleave, int place)
{
    return interleave ? place % groups : place / (batch / groups);
}

/* Said a second time, the other way round. */
static void expect_owner(int batch, int interleave, int ranks, int place, int rank, int local)
{
    assert_int_equal(rank, interleave ? place % ranks : place / (batch / ranks));
    assert_int_equal(local, interleave ? place / ranks : place % (batch / ranks));
}

static void expect_shares(int batch, int groups, int interleave, int ranks)
{
    int owner[64], whole[64], rows = batch / ranks;
    memset(owner, -1, sizeof owner);
    memset(whole, -1, sizeof whole);
    for (int rank = 0; rank < ranks; rank++)
        for (int local = 0, last = -1; local < rows; local++) {
            int place = share_place(batch, interleave, rank, ranks, local);
            assert_in_range(place, 0, batch - 1);
            assert_true(place > last);
            last = place;
            assert_int_equal(owner[place], -1);
            owner[place] = rank;
            expect_owner(batch, interleave, ranks, place, rank, local);
            /* A group of the batch is a group of the share. */
            int group = group_of(batch, groups, interleave, place);
            int own = rank * groups + group_of(rows, groups / ranks, interleave, local);
            if (whole[group] == -1)
                whole[group] = own;
            assert_int_equal(whole[group], own);
        }
    for (int filled = 0; filled <= batch; filled++)
        for (int rank = 0; rank < ranks; rank++) {
            int expected = 0;
            for (int place = 0; place < filled; place++)
                expected += owner[place] == rank;
            assert_int_equal(share_rows(batch, interleave, rank, ranks, filled), expected);
        }
}

static void every_place_is_one_ranks_and_groups_are_whole(void **state)
{
    (void)state;
    int shapes = 0;
    for (int batch = 1; batch <= 48; batch++)
        for (int groups = 1; groups <= batch; groups++)
            for (int ranks = 1; ranks <= groups; ranks++)
                for (int interleave = 0; interleave < 2; interleave++)
                    if (batch % groups == 0 && groups % ranks == 0) {
                        expect_shares(batch, groups, interleave, ranks);
                        shapes++;
                    }
    assert_in_range(shapes, 800, 2000);
}

/* ---- loaders ---- */

struct faulty {
    struct dataset base;
    struct dataset *memory;
    uint8_t bad[COUNT]; /* 1: unreadable; 2: MOCO_EIO */
};

static moco_status faulty_read(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                               struct err *err)
{
    const struct faulty *f = (const struct faulty *)ds;
    if (f->bad[id] != 0)
        return err_set(err, f->bad[id] == 1 ? MOCO_EFORMAT : MOCO_EIO, "planted damage %d", (int)id);
    return f->memory->ops->read(f->memory, id, decoder, image, err);
}

static moco_status faulty_path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    (void)ds;
    snprintf(text, size, "dir/%d.jpg", (int)id);
    return MOCO_OK;
}

static const struct dataset_ops faulty_ops = {.read = faulty_read, .path = faulty_path};

static void faulty_make(struct faulty *f)
{
    struct err err = {0};
    *f = (struct faulty){.base = {.ops = &faulty_ops, .ctx = ctx, .count = COUNT}};
    assert_int_equal(dataset_from_memory(&f->memory, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
}

static struct loader_options options(void)
{
    struct loader_options o = {
        .batch_size = BATCH, .prefetch = 2, .permuted = 1, .seed = 5, .max_bad = -1, .views = 2, .ranks = 1};
    struct err err = {0};
    assert_int_equal(augment_recipe(&o.recipe[0], "moco-v2", SIZE, &err), MOCO_OK);
    assert_int_equal(augment_recipe(&o.recipe[1], "moco-v1", SIZE, &err), MOCO_OK);
    return o;
}

static struct loader *make(const struct dataset *ds, const struct loader_options *o)
{
    struct loader *loader;
    struct err err = {0};
    if (loader_create(&loader, ctx, ds, o, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    return loader;
}

/* What one loader delivers from a position on. */
struct whole {
    int count;
    struct {
        int n;
        int64_t position, ids[BATCH];
        uint8_t view[2][BATCH * ROW];
    } batch[BATCHES];
};

static void look(struct whole *whole, const struct dataset *ds, const struct loader_options *o, int64_t position)
{
    struct loader *loader = make(ds, o);
    struct err err = {0};
    moco_batch b = {0};
    whole->count = 0;
    assert_int_equal(loader_start(loader, 3, position, &err), MOCO_OK);
    while (loader_next(loader, &b, &err) == MOCO_OK) {
        int i = whole->count++;
        whole->batch[i].n = b.n;
        whole->batch[i].position = b.position;
        memcpy(whole->batch[i].ids, b.ids, (size_t)b.n * sizeof *b.ids);
        for (int v = 0; v < 2; v++)
            memcpy(whole->batch[i].view[v], b.view[v], (size_t)b.n * ROW);
        assert_true(b.key[0] == NULL && b.key[1] == NULL && b.key_step == -1);
    }
    assert_int_equal(err.status, MOCO_OK);
    loader_free(loader);
}

/* The batches of `o`'s rank against its places of the whole, from batch `first` of that on. */
static void expect_share(struct loader *loader, const struct loader_options *o, const struct whole *whole, int first)
{
    moco_batch b = {0};
    struct err err = {0};
    for (int k = first; k < whole->count; k++) {
        int n = whole->batch[k].n, rows = share_rows(BATCH, o->interleave, o->rank, o->ranks, n);
        if (rows == 0) /* of the last one */
            continue;
        assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
        assert_int_equal(b.n, rows);
        assert_int_equal(b.position, whole->batch[k].position);
        assert_int_equal(b.epoch, 3);
        for (int i = 0; i < rows; i++) {
            int place = share_place(BATCH, o->interleave, o->rank, o->ranks, i);
            assert_int_equal(b.ids[i], whole->batch[k].ids[place]);
            for (int v = 0; v < 2; v++)
                assert_memory_equal(b.view[v] + (size_t)i * ROW, whole->batch[k].view[v] + (size_t)place * ROW, ROW);
        }
    }
    assert_int_equal(loader_next(loader, &b, &err), MOCO_EEND);
}

static const int rank_counts[] = {1, 2, 4, 8};

/* With images that are replaced, batches that are not full, from the start and from any other position. */
static void ranks_deliver_what_one_loader_does(void **state)
{
    (void)state;
    static struct whole whole;
    static const int64_t starts[] = {0, BATCH, 37, 96, 100, COUNT};
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.bad[0] = f.bad[40] = f.bad[41] = f.bad[102] = 1;
    for (int variant = 0; variant < 8; variant++)
        for (int s = 0; s < 6; s++) {
            struct loader_options o = options();
            o.drop_last = variant % 2;
            o.permuted = variant / 2 % 2;
            look(&whole, &f.base, &o, starts[s]);
            int64_t left = COUNT - starts[s];
            assert_int_equal(whole.count, (left + (o.drop_last ? 0 : BATCH - 1)) / BATCH);
            o.interleave = variant / 4;
            for (int r = 0; r < 4; r++) {
                o.ranks = rank_counts[r];
                for (o.rank = 0; o.rank < o.ranks; o.rank++) {
                    o.workers = o.rank % 3;
                    struct loader *loader = make(&f.base, &o);
                    assert_int_equal(loader_batches(loader), COUNT / BATCH + !o.drop_last);
                    assert_int_equal(loader_start(loader, 3, starts[s], &err), MOCO_OK);
                    expect_share(loader, &o, &whole, 0);
                    loader_free(loader);
                }
            }
        }
    dataset_free(f.memory);
}

/* Where any rank of n stopped, all ranks of m go on: a position says nothing of how many there were. */
static void any_number_of_ranks_goes_on(void **state)
{
    (void)state;
    static struct whole whole;
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    struct loader_options o = options();
    look(&whole, &f.base, &o, 0);
    for (int n = 0; n < 4; n++)
        for (int m = 0; m < 4; m++)
            for (int stop = 1; stop < 4; stop++) {
                struct loader_options before = o, after = o;
                before.ranks = rank_counts[n];
                after.ranks = rank_counts[m];
                before.rank = stop % before.ranks;
                after.rank = stop % after.ranks;
                struct loader *loader = make(&f.base, &before), *next = make(&f.base, &after);
                moco_batch b = {0};
                assert_int_equal(loader_start(loader, 3, 0, &err), MOCO_OK);
                for (int i = 0; i < stop; i++)
                    assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
                assert_int_equal(loader_start(next, 3, b.position, &err), MOCO_OK);
                expect_share(next, &after, &whole, stop);
                loader_free(loader);
                loader_free(next);
            }
    dataset_free(f.memory);
}

/* ---- key views apart ---- */

#define SEED 77
#define STEP 1000

static void expect_rows(const uint8_t *rows, int i, const struct whole *whole, int batch, int view, int place)
{
    assert_memory_equal(rows + (size_t)i * ROW, whole->batch[batch].view[view] + (size_t)place * ROW, ROW);
}

/* Rank `o->rank`'s batches from `position` on, of which the first is whole->batch[0] and for step STEP. */
static void expect_keys(struct loader *loader, const struct loader_options *o, const struct whole *whole, int symmetric)
{
    moco_batch b = {0};
    struct err err = {0};
    for (int k = 0; k < whole->count; k++) {
        int32_t shuffle[2][BATCH];
        assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
        assert_int_equal(b.n, BATCH / o->ranks);
        assert_int_equal(b.position, whole->batch[k].position);
        assert_int_equal(b.key_step, STEP + k);
        assert_true(b.key_seed == SEED);
        assert_int_equal(b.views, 1 + symmetric);
        assert_true((b.view[1] != NULL) == symmetric && b.key[0] != NULL && (b.key[1] != NULL) == symmetric);
        for (int d = 0; d < 2; d++)
            permute_batch(SEED, (uint64_t)(STEP + k), d, BATCH, shuffle[d]);
        for (int i = 0; i < b.n; i++) {
            int place = share_place(BATCH, o->interleave, o->rank, o->ranks, i);
            assert_int_equal(b.ids[i], whole->batch[k].ids[place]);
            for (int v = 0; v < b.views; v++)
                expect_rows(b.view[v], i, whole, k, v, place);
            for (int d = 0; d <= symmetric; d++)
                expect_rows(b.key[d], i, whole, k, 1 - d, shuffle[d][place]);
        }
    }
    assert_int_equal(loader_next(loader, &b, &err), MOCO_EEND);
}

static void key_views_are_those_of_the_shuffle(void **state)
{
    (void)state;
    static struct whole whole;
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.bad[0] = f.bad[40] = f.bad[41] = f.bad[102] = 1;
    for (int variant = 0; variant < 4; variant++) {
        struct loader_options o = options();
        int64_t position = variant % 2 * 21;
        o.drop_last = 1;
        look(&whole, &f.base, &o, position);
        o.interleave = variant / 2;
        for (int r = 0; r < 4; r++) {
            o.ranks = rank_counts[r];
            for (o.rank = 0; o.rank < o.ranks; o.rank++) {
                o.workers = (o.rank + variant) % 3;
                struct loader *loader = make(&f.base, &o);
                for (int turn = 0; turn < 4; turn++) { /* one kind after another, with a batch in hand */
                    assert_int_equal(loader_start_keys(loader, 3, position, STEP, SEED, turn % 2, &err), MOCO_OK);
                    expect_keys(loader, &o, &whole, turn % 2);
                    assert_int_equal(loader_start(loader, 3, position, &err), MOCO_OK);
                    expect_share(loader, &o, &whole, 0);
                }
                loader_free(loader);
            }
        }
    }
    dataset_free(f.memory);
}

/* An error comes where it stands among rows and key views, whoever met it first; what is bad is counted, wherever this
 * rank met it. */
static void failures_come_in_order(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 5};
    struct faulty f;
    struct err err = {0};
    moco_batch b = {0};
    faulty_make(&f);
    int32_t shuffle[BATCH];
    permute_batch(SEED, STEP + 1, 0, BATCH, shuffle);
    struct loader_options o = options();
    o.drop_last = 1;
    o.permuted = 0;
    o.ranks = 2;
    o.max_bad = 5;
    /* Of the second batch, two samples of the other rank that this one makes key views of: the later one by place is a
     * broken disk, the earlier one an unreadable image. */
    int first = -1, last = -1;
    for (int i = 0; i < BATCH / 2; i++)
        if (shuffle[i] >= BATCH / 2) {
            first = first < 0 ? i : first;
            last = i;
        }
    assert_true(first >= 0 && first < last);
    f.bad[BATCH + shuffle[first]] = 1;
    f.bad[BATCH + shuffle[last]] = 2;
    for (int i = 0; i < 4; i++)
        for (int bad = 0; bad < 2; bad++) {
            char expected[100];
            o.workers = workers[i];
            o.bad = bad ? MOCO_BAD_FAIL : MOCO_BAD_REPLACE;
            struct loader *loader = make(&f.base, &o);
            snprintf(expected, sizeof expected, "dir/%d.jpg: planted damage", BATCH + shuffle[bad ? first : last]);
            for (int round = 0; round < 5; round++) {
                err = (struct err){0};
                assert_int_equal(loader_start_keys(loader, 0, 0, STEP, SEED, 0, &err), MOCO_OK);
                assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
                assert_int_equal(loader_next(loader, &b, &err), bad ? MOCO_EFORMAT : MOCO_EIO);
                assert_non_null(strstr(err.text, expected));
                int64_t counted, images;
                double waited;
                loader_stats(loader, &counted, &images, &waited);
                assert_int_equal(counted, !bad);
                assert_int_equal(loader_start(loader, 0, 0, &err), MOCO_OK); /* its own rows are sound */
                assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
                assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
            }
            loader_free(loader);
        }
    dataset_free(f.memory);
}

/* ---- damage that one view shows ---- */

#define PICTURES 8
#define DAMAGED 5
#define SIDE 120 /* of a picture */
#define VIEW 32

static void write_pictures(struct scratch_folder *folder)
{
    static uint8_t drawn[SIDE * SIDE * 3];
    for (int i = 0; i < PICTURES; i++) {
        char name[20];
        draw_pixels(drawn, SIDE, SIDE, i);
        struct bytes jpeg = draw_jpeg(drawn, SIDE, SIDE, (struct jpeg_kind){.components = 3});
        snprintf(name, sizeof name, "%d.jpg", i);
        scratch_write(folder, name, jpeg.at, i == DAMAGED ? jpeg.size * 6 / 10 : jpeg.size);
        free(jpeg.at);
    }
}

/* Does view `v` of the damaged picture show the damage in `epoch`? -1: it may. */
static int shows(const struct loader_options *o, int64_t epoch, int v)
{
    struct augment_params params;
    struct rng rng;
    struct err err = {0};
    rng_init(&rng, o->seed, (uint64_t)epoch, DAMAGED, (unsigned)v, RNG_AUGMENT);
    assert_int_equal(augment_draw(&o->recipe[v], SIDE, SIDE, &rng, &params, &err), MOCO_OK);
    int below = params.y + params.h;
    return below < SIDE * 4 / 10 ? 0 : below > SIDE * 8 / 10 ? 1 : -1;
}

/* Shows in its own rows, or as a key view, what stands for the damaged picture. */
static void expect_replaced(const struct dataset *ds, const struct loader_options *o, int64_t epoch)
{
    struct err err = {0};
    moco_batch whole = {0}, b = {0};
    struct loader_options one = *o;
    one.ranks = 1;
    one.rank = 0;
    struct loader *ordinary = make(ds, &one);
    assert_int_equal(loader_start(ordinary, epoch, 0, &err), MOCO_OK);
    assert_int_equal(loader_next(ordinary, &whole, &err), MOCO_OK);
    assert_int_equal(whole.ids[DAMAGED], DAMAGED + 1);
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct loader *loader = make(ds, o);
        int32_t shuffle[PICTURES];
        size_t row = (size_t)VIEW * VIEW * 3;
        permute_batch(SEED, 0, 0, PICTURES, shuffle);
        assert_int_equal(loader_start_keys(loader, epoch, 0, 0, SEED, symmetric, &err), MOCO_OK);
        assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
        for (int i = 0; i < b.n; i++) {
            int place = share_place(PICTURES, 0, o->rank, o->ranks, i);
            assert_int_equal(b.ids[i], place == DAMAGED ? DAMAGED + 1 : place);
            assert_memory_equal(b.view[0] + (size_t)i * row, whole.view[0] + (size_t)place * row, row);
            assert_memory_equal(b.key[0] + (size_t)i * row, whole.view[1] + (size_t)shuffle[place] * row, row);
        }
        loader_free(loader);
    }
    loader_free(ordinary);
}

/* A loader that renders one view of a picture says what one that renders both says. */
static void damage_that_one_view_shows_is_damage_for_both(void **state)
{
    (void)state;
    struct scratch_folder folder;
    struct dataset *ds;
    struct err err = {0};
    scratch_folder_make(&folder);
    write_pictures(&folder);
    assert_int_equal(dataset_open_folder(&ds, ctx, folder.path, NULL, NULL, &err), MOCO_OK);
    struct loader_options o = {
        .batch_size = PICTURES, .prefetch = 1, .drop_last = 1, .seed = 5, .max_bad = -1, .views = 2};
    for (int v = 0; v < 2; v++) {
        assert_int_equal(augment_recipe(&o.recipe[v], "moco-v2", VIEW, &err), MOCO_OK);
        o.recipe[v].scale[0] = 0.05; /* small boxes, some of them in the sound part alone */
        o.recipe[v].scale[1] = 0.15;
    }
    int seen[2] = {0, 0};
    for (int64_t epoch = 0; epoch < 400 && seen[0] + seen[1] < 8; epoch++) {
        int first = shows(&o, epoch, 0), second = shows(&o, epoch, 1);
        if (first < 0 || second < 0 || first == second || seen[second] == 4)
            continue;
        seen[second]++; /* [1]: the key view alone shows the damage; [0]: the query view alone */
        if (second) {   /* then the query view by itself is that of a picture that can be read */
            struct loader_options alone = o;
            moco_batch b = {0};
            alone.views = 1;
            struct loader *loader = make(ds, &alone);
            assert_int_equal(loader_start(loader, epoch, 0, &err), MOCO_OK);
            assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
            assert_int_equal(b.ids[DAMAGED], DAMAGED);
            loader_free(loader);
        }
        for (int r = 0; r < 4; r++) {
            o.ranks = rank_counts[r];
            for (o.rank = 0; o.rank < o.ranks; o.rank++)
                expect_replaced(ds, &o, epoch);
        }
        o.rank = 0;
        o.ranks = 1;
    }
    assert_true(seen[0] == 4 && seen[1] == 4);
    dataset_free(ds);
    scratch_folder_remove(&folder);
}

/* ---- memory ---- */

/* A start that finds no memory leaves the epoch that runs alone. */
static void no_memory_for_keys(void **state)
{
    (void)state;
    int failures = 0, succeeded = 0;
    for (int n = 1; succeeded < 2; n++) {
        struct failing_alloc hook = {.fail_at = n / 2 + 1, .forever = n % 2};
        struct ctx *tight;
        struct dataset *ds = NULL;
        struct loader *loader = NULL;
        struct err err = {0};
        moco_batch b = {0};
        assert_int_equal(
            ctx_create(
                &tight,
                &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &hook, .threads = 1},
                &err),
            MOCO_OK);
        struct loader_options o = options();
        o.drop_last = 1;
        o.workers = 1;
        moco_status status = dataset_from_memory(&ds, tight, pixels, COUNT, H, W, NULL, &err);
        if (status == MOCO_OK)
            status = loader_create(&loader, tight, ds, &o, &err);
        if (status == MOCO_OK)
            status = loader_start(loader, 0, 0, &err);
        if (status == MOCO_OK)
            status = loader_next(loader, &b, &err);
        if (status == MOCO_OK && (status = loader_start_keys(loader, 0, 0, 0, 0, 1, &err)) == MOCO_ENOMEM) {
            failures++;
            moco_status next = loader_next(loader, &b, &(struct err){0});
            assert_true((next == MOCO_OK && b.position == 2 * BATCH) || next == MOCO_ENOMEM);
        }
        while (status == MOCO_OK)
            status = loader_next(loader, &b, &err);
        assert_true(status == MOCO_EEND || status == MOCO_ENOMEM);
        assert_true((status == MOCO_ENOMEM) == (hook.refused > 0));
        succeeded = status == MOCO_EEND ? succeeded + 1 : 0;
        loader_free(loader);
        dataset_free(ds);
        ctx_unref(tight);
        assert_int_equal(hook.live, 0);
    }
    assert_in_range(failures, 10, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_one_ranks_and_groups_are_whole),
        cmocka_unit_test(ranks_deliver_what_one_loader_does),
        cmocka_unit_test(any_number_of_ranks_goes_on),
        cmocka_unit_test(key_views_are_those_of_the_shuffle),
        cmocka_unit_test(failures_come_in_order),
        cmocka_unit_test(damage_that_one_view_shows_is_damage_for_both),
        cmocka_unit_test(no_memory_for_keys),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
