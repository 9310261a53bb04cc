/* SPDX-License-Identifier: MIT
 *
 * test_loader: what a batch holds is a function of data, options, epoch and position alone: not of workers, of where a
 * run was resumed, or of which thread met a bad image first. And the ring shuts down, fails and starts again cleanly.
 * Ranks, and key views apart: test_shares.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/loader.h"
#include "data/view/augment.h"
#include "permute.h"
#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

#define COUNT 103
#define W 24
#define H 20
#define SIZE 16

static uint8_t pixels[COUNT * W * H * 3];
static struct ctx *ctx;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 16];

static void keep_log(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    pthread_mutex_lock(&log_lock);
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s\n", line);
    pthread_mutex_unlock(&log_lock);
}

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    for (int i = 0; i < COUNT; i++)
        draw_pixels(pixels + (size_t)i * W * H * 3, W, H, i);
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1, .log = keep_log}, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

/* ---- a data set whose images fail on purpose ---- */

struct faulty {
    struct dataset base;
    struct dataset *memory;
    int64_t bad_from, bad_to; /* unreadable: [from, to) */
    uint8_t bad[COUNT];       /* 1: unreadable too */
    int64_t broken;           /* MOCO_EIO */
    int slow;                 /* milliseconds a read takes */
};

static void pause_ms(int ms)
{
    struct timespec t = {0, ms * 1000000L};
    nanosleep(&t, NULL);
}

static moco_status faulty_read(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                               struct err *err)
{
    const struct faulty *f = (const struct faulty *)ds;
    if (f->slow > 0)
        pause_ms(f->slow);
    if (id == f->broken)
        return err_set(err, MOCO_EIO, "the disk is on fire");
    if ((id >= f->bad_from && id < f->bad_to) || f->bad[id])
        return err_set(err, MOCO_EFORMAT, "planted damage %d", (int)id);
    return f->memory->ops->read(f->memory, id, decoder, image, err);
}

static int32_t faulty_label(const struct dataset *ds, int64_t id)
{
    (void)ds;
    (void)id;
    return -1;
}

static moco_status faulty_path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    (void)ds;
    snprintf(text, size, "dir/%d.jpg", (int)id);
    return MOCO_OK;
}

static const struct dataset_ops faulty_ops = {faulty_read, faulty_label, faulty_path, NULL, NULL};

static void faulty_make(struct faulty *f)
{
    struct err err = {0};
    *f = (struct faulty){.base = {.ops = &faulty_ops, .ctx = ctx, .count = COUNT}, .broken = -1};
    assert_int_equal(dataset_from_memory(&f->memory, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
}

/* ---- running ---- */

static struct loader_options options(int workers)
{
    struct loader_options o = {
        .batch_size = 8, .workers = workers, .prefetch = 2, .permuted = 1, .seed = 5, .max_bad = -1, .views = 2};
    struct err err = {0};
    assert_int_equal(augment_recipe(&o.recipe[0], "moco-v2", SIZE, &err), MOCO_OK);
    assert_int_equal(augment_recipe(&o.recipe[1], "moco-v1", SIZE, &err), MOCO_OK);
    return o;
}

static struct loader *make(const struct dataset *ds, const struct loader_options *o)
{
    struct loader *loader;
    struct err err = {0};
    moco_status status = loader_create(&loader, ctx, ds, o, &err);
    if (status != MOCO_OK)
        print_error("%s\n", err.text);
    assert_int_equal(status, MOCO_OK);
    return loader;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

static uint64_t batch_hash(const moco_batch *b)
{
    uint64_t hash = mix(14695981039346656037u, b->ids, (size_t)b->n * sizeof *b->ids);
    for (int v = 0; v < b->views; v++)
        hash = mix(hash, b->view[v], (size_t)b->n * (size_t)b->h * (size_t)b->w * 3);
    return mix(hash, &b->position, sizeof b->position);
}

/* Hashes of the batches from (epoch, position) on; `last` is what ended them. */
static int run(struct loader *loader, int64_t epoch, int64_t position, uint64_t *hashes, moco_status *last,
               struct err *err)
{
    moco_batch batch = {0};
    int count = 0;
    *err = (struct err){0};
    assert_int_equal(loader_start(loader, epoch, position, err), MOCO_OK);
    while ((*last = loader_next(loader, &batch, err)) == MOCO_OK) {
        assert_int_equal(batch.epoch, epoch);
        hashes[count++] = batch_hash(&batch);
    }
    return count;
}

static void test_same_for_all_workers(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 4, 9};
    struct dataset *ds;
    struct err err = {0};
    assert_int_equal(dataset_from_memory(&ds, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
    uint64_t expected[3][13], got[13];
    for (int i = 0; i < 5; i++) {
        struct loader_options o = options(workers[i]);
        struct loader *loader = make(ds, &o);
        assert_int_equal(loader_batches(loader), 13);
        for (int epoch = 0; epoch < 3; epoch++) {
            moco_status last;
            assert_int_equal(run(loader, epoch, 0, i == 0 ? expected[epoch] : got, &last, &err), 13);
            assert_int_equal(last, MOCO_EEND);
            if (i > 0)
                assert_memory_equal(got, expected[epoch], sizeof got);
        }
        loader_free(loader);
    }
    assert_true(expected[0][0] != expected[1][0] && expected[1][0] != expected[2][0]);
    dataset_free(ds);
}

static void test_order_and_ends(void **state)
{
    (void)state;
    struct dataset *ds;
    struct err err = {0};
    assert_int_equal(dataset_from_memory(&ds, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
    for (int permuted = 0; permuted < 2; permuted++)
        for (int drop_last = 0; drop_last < 2; drop_last++) {
            struct loader_options o = options(2);
            o.permuted = permuted;
            o.drop_last = drop_last;
            struct loader *loader = make(ds, &o);
            struct permute order;
            permute_init(&order, 5, 7, COUNT);
            assert_int_equal(loader_start(loader, 7, 0, &err), MOCO_OK);
            moco_batch b = {0};
            int64_t seen = 0;
            while (loader_next(loader, &b, &err) == MOCO_OK) {
                for (int i = 0; i < b.n; i++, seen++)
                    assert_int_equal(b.ids[i], permuted ? (int64_t)permute_at(&order, (uint64_t)seen) : seen);
                assert_int_equal(b.position, seen);
                assert_true(b.n == 8 || (!drop_last && seen == COUNT));
                assert_true(b.h == SIZE && b.w == SIZE && b.views == 2);
            }
            assert_int_equal(seen, drop_last ? 96 : COUNT);
            assert_int_equal(loader_batches(loader), drop_last ? 12 : 13);
            assert_int_equal(loader_next(loader, &b, &err), MOCO_EEND);
            int64_t bad, images;
            double waited;
            loader_stats(loader, &bad, &images, &waited);
            assert_int_equal(images, seen);
            assert_int_equal(bad, 0);
            assert_true(waited >= 0);
            loader_free(loader);
        }
    dataset_free(ds);
}

/* Views of a sample depend on (seed, epoch, sample, view), not on its place: position 13 read alone is the same. */
static void test_resume_anywhere(void **state)
{
    (void)state;
    struct dataset *ds;
    struct err err = {0};
    assert_int_equal(dataset_from_memory(&ds, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
    struct loader_options o = options(3);
    struct loader *loader = make(ds, &o);
    uint64_t whole[13], rest[13];
    moco_status last;
    assert_int_equal(run(loader, 4, 0, whole, &last, &err), 13);
    for (int batch = 12; batch >= 0; batch--) {
        assert_int_equal(run(loader, 4, batch * 8, rest, &last, &err), 13 - batch);
        assert_memory_equal(rest, whole + batch, (size_t)(13 - batch) * sizeof *rest);
    }
    assert_int_equal(run(loader, 4, COUNT, rest, &last, &err), 0);
    assert_int_equal(last, MOCO_EEND);
    assert_int_equal(loader_start(loader, 4, 13, &err), MOCO_OK);
    moco_batch b = {0};
    assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
    uint8_t *view = malloc(SIZE * SIZE * 3);
    int64_t id = b.ids[0];
    memcpy(view, b.view[1], SIZE * SIZE * 3);
    assert_int_equal(loader_start(loader, 4, 8, &err), MOCO_OK);
    assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
    assert_int_equal(b.ids[5], id);
    assert_memory_equal(b.view[1] + 5 * SIZE * SIZE * 3, view, SIZE * SIZE * 3);
    free(view);
    assert_int_equal(loader_start(loader, 4, COUNT + 1, &err), MOCO_EINVAL);
    err = (struct err){0};
    assert_int_equal(loader_start(loader, -1, 0, &err), MOCO_EINVAL);
    loader_free(loader);
    dataset_free(ds);
}

static void test_bad_images(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 4};
    uint64_t expected[13] = {0}, got[13] = {0};
    char expected_log[sizeof log_text] = "";
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.bad_from = 99;
    f.bad_to = 103; /* the last four: their neighbour is number 0 */
    for (int i = 0; i < 4; i++) {
        struct loader_options o = options(workers[i]);
        struct loader *loader = make(&f.base, &o);
        moco_status last;
        log_text[0] = 0;
        assert_int_equal(run(loader, 0, 0, i == 0 ? expected : got, &last, &err), 13);
        assert_int_equal(last, MOCO_EEND);
        if (i == 0)
            strcpy(expected_log, log_text);
        else
            assert_memory_equal(got, expected, sizeof got);
        assert_string_equal(log_text, expected_log);
        assert_non_null(strstr(log_text, "dir/101.jpg cannot be read"));
        assert_non_null(strstr(log_text, "planted damage 101"));
        log_text[0] = 0;
        run(loader, 1, 0, got, &last, &err); /* known by now: not counted, not logged again */
        assert_string_equal(log_text, "");
        int64_t bad, images;
        double waited;
        loader_stats(loader, &bad, &images, &waited);
        assert_int_equal(bad, 4);
        loader_free(loader);
    }
    struct loader_options o = options(2);
    o.permuted = 0;
    struct loader *loader = make(&f.base, &o);
    moco_batch b = {0};
    assert_int_equal(loader_start(loader, 0, 96, &err), MOCO_OK);
    assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
    static const int64_t ids[7] = {96, 97, 98, 0, 0, 0, 0};
    assert_int_equal(b.n, 7);
    assert_memory_equal(b.ids, ids, sizeof ids);
    assert_memory_not_equal(b.view[0] + 3 * SIZE * SIZE * 3, b.view[0] + 4 * SIZE * SIZE * 3, SIZE * SIZE * 3);
    loader_free(loader);
    dataset_free(f.memory);
}

static void test_too_many_bad(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 4};
    struct faulty f;
    struct err err = {0}, first = {0};
    faulty_make(&f);
    for (int all = 0; all < 2; all++) {
        f.bad_from = all ? 0 : 40;
        f.bad_to = all ? COUNT : 60;
        int expected = -1;
        for (int i = 0; i < 4; i++) {
            struct loader_options o = options(workers[i]);
            o.max_bad = 7;
            struct loader *loader = make(&f.base, &o);
            uint64_t hashes[13];
            moco_status last;
            int count = run(loader, 0, 0, hashes, &last, &err);
            assert_int_equal(last, MOCO_EBADDATA);
            assert_non_null(strstr(err.text, "max_bad is 7"));
            assert_non_null(strstr(err.text, "planted damage"));
            if (i == 0) {
                expected = count;
                first = err;
            }
            assert_int_equal(count, expected);
            assert_string_equal(err.text, first.text);
            moco_batch b = {0};
            err = (struct err){0};
            assert_int_equal(loader_next(loader, &b, &err), MOCO_EBADDATA); /* again, until the next start */
            int64_t bad, images;
            double waited;
            loader_stats(loader, &bad, &images, &waited);
            assert_int_equal(bad, 8);
            run(loader, 1, 0, hashes, &last, &err); /* an epoch later they are no fewer */
            assert_int_equal(last, MOCO_EBADDATA);
            assert_non_null(strstr(err.text, "max_bad is 7"));
            loader_free(loader);
        }
    }
    /* fewer images than max_bad, and none of them good */
    struct loader_options o = options(2);
    o.max_bad = 1000;
    struct loader *loader = make(&f.base, &o);
    uint64_t hashes[13];
    moco_status last;
    assert_int_equal(run(loader, 0, 0, hashes, &last, &err), 0);
    assert_int_equal(last, MOCO_EBADDATA);
    loader_free(loader);
    dataset_free(f.memory);
}

/* An I/O error is no skip, and comes where the image stands, however early a fast thread met it. */
static void test_io_error_in_order(void **state)
{
    (void)state;
    static const int workers[] = {0, 1, 2, 4, 8};
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.broken = 37;
    for (int i = 0; i < 5; i++) {
        struct loader_options o = options(workers[i]);
        o.permuted = 0;
        struct loader *loader = make(&f.base, &o);
        uint64_t hashes[13];
        moco_status last;
        for (int round = 0; round < 20; round++) {
            assert_int_equal(run(loader, round, 0, hashes, &last, &err), 4);
            assert_int_equal(last, MOCO_EIO);
            assert_string_equal(err.text, "dir/37.jpg: the disk is on fire");
        }
        assert_int_equal(run(loader, 0, 40, hashes, &last, &err), 8);
        assert_int_equal(last, MOCO_EEND);
        loader_free(loader);
    }
    dataset_free(f.memory);
}

/* ---- images that are skipped, or end the epoch ---- */

static const uint8_t *row_of(const moco_batch *b, int view, int i)
{
    return b->view[view] + (size_t)i * SIZE * SIZE * 3;
}

/* Which positions of the order a rank's batches of 8 cover, and the rows that they must have: what a loader of the
 * undamaged images shows there. From `position` on, whatever came before. */
static void expect_skipped(const struct faulty *f, const struct loader_options *o, int64_t position)
{
    struct loader_options plain = *o;
    struct err err = {0};
    plain.bad = MOCO_BAD_REPLACE;
    plain.workers = 0;
    struct loader *whole = make(f->memory, &plain), *loader = make(&f->base, o);
    moco_batch all = {0}, b = {0};
    int64_t images = 0, at;
    assert_int_equal(loader_start(whole, 3, position, &err), MOCO_OK);
    assert_int_equal(loader_start(loader, 3, position, &err), MOCO_OK);
    while (loader_next(whole, &all, &err) == MOCO_OK) {
        int rows = 0;
        for (int i = 0; i < all.n; i++)
            rows += !f->bad[all.ids[i]];
        if (rows == 0)
            continue; /* passed over */
        assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
        assert_int_equal(b.n, rows);
        assert_int_equal(b.position, all.position);
        for (int i = 0, row = 0; i < all.n; i++) {
            if (f->bad[all.ids[i]])
                continue;
            assert_int_equal(b.ids[row], all.ids[i]);
            for (int v = 0; v < b.views; v++)
                assert_memory_equal(row_of(&b, v, row), row_of(&all, v, i), SIZE * SIZE * 3);
            row++;
        }
        images += rows;
    }
    assert_int_equal(loader_next(loader, &b, &err), MOCO_EEND);
    assert_int_equal(loader_next(loader, &b, &err), MOCO_EEND);
    double waited;
    int64_t bad;
    loader_stats(loader, &bad, &at, &waited);
    assert_int_equal(at, images);
    loader_free(whole);
    loader_free(loader);
}

/* Bad first, last, in the middle, a batch of nothing else, none readable: with any number of workers, in either order,
 * from any position, whole or shared by ranks. */
static void test_skip(void **state)
{
    (void)state;
    static const int64_t from[] = {0, 102, 50, 14, 95, 0, 0}, to[] = {1, 103, 51, 33, 103, 103, 102};
    static const int workers[] = {0, 1, 3};
    struct faulty f;
    faulty_make(&f);
    for (size_t k = 0; k < sizeof from / sizeof *from; k++) {
        memset(f.bad, 0, sizeof f.bad);
        memset(f.bad + from[k], 1, (size_t)(to[k] - from[k]));
        for (int variant = 0; variant < 24; variant++) {
            struct loader_options o = options(workers[variant % 3]);
            o.bad = MOCO_BAD_SKIP;
            o.max_bad = COUNT;
            o.permuted = variant / 3 % 2;
            o.drop_last = variant / 6 % 2;
            if (variant / 12 == 1)
                o.ranks = 4, o.rank = variant % 4, o.interleave = variant % 5 == 0;
            expect_skipped(&f, &o, 0);
            expect_skipped(&f, &o, 8);
            expect_skipped(&f, &o, 13);
        }
    }
    dataset_free(f.memory);
}

/* What was skipped is counted once, told by id with its reason, and logged below the level of warnings. */
static void test_skipped_are_told(void **state)
{
    (void)state;
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.bad[0] = f.bad[41] = f.bad[102] = 1;
    for (int workers = 0; workers < 4; workers++) {
        struct loader_options o = options(workers);
        o.bad = MOCO_BAD_SKIP;
        struct loader *loader = make(&f.base, &o);
        uint64_t hashes[13];
        moco_status last;
        int64_t id = 7, bad, images;
        double waited;
        char reason[100];
        assert_int_equal(loader_bad_after(loader, -1, &id, reason, sizeof reason), 0);
        log_text[0] = 0;
        for (int64_t epoch = 0; epoch < 2; epoch++)
            assert_int_equal(run(loader, epoch, 0, hashes, &last, &err), 13);
        assert_int_equal(last, MOCO_EEND);
        loader_stats(loader, &bad, &images, &waited);
        assert_int_equal(bad, 3);
        assert_int_equal(images, 2 * (COUNT - 3));
        static const int64_t expected[] = {0, 41, 102};
        id = -1;
        for (int i = 0; i < 3; i++) {
            char text[60];
            assert_int_equal(loader_bad_after(loader, id, &id, reason, sizeof reason), 1);
            assert_int_equal(id, expected[i]);
            snprintf(text, sizeof text, "planted damage %d", (int)id);
            assert_string_equal(reason, text);
            snprintf(text, sizeof text, "dir/%d.jpg cannot be read and is left out: planted", (int)id);
            char *line = strstr(log_text, text);
            assert_non_null(line);
            assert_null(strstr(line + 1, text));
        }
        assert_int_equal(loader_bad_after(loader, id, &id, reason, sizeof reason), 0);
        o.max_bad = 2;
        loader_free(loader);
        loader = make(&f.base, &o);
        run(loader, 0, 0, hashes, &last, &err);
        assert_int_equal(last, MOCO_EBADDATA);
        assert_non_null(strstr(err.text, "max_bad is 2"));
        run(loader, 1, 0, hashes, &last, &err);
        assert_int_equal(last, MOCO_EBADDATA);
        loader_free(loader);
    }
    dataset_free(f.memory);
}

/* The first by position, whoever met which first; batches before it are whole; from behind it the epoch goes on. */
static void test_fail(void **state)
{
    (void)state;
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    f.bad[37] = f.bad[39] = f.bad[90] = 1;
    for (int workers = 0; workers < 6; workers++) {
        struct loader_options o = options(workers);
        o.bad = MOCO_BAD_FAIL;
        o.max_bad = 0; /* says nothing here */
        o.permuted = 0;
        struct loader *loader = make(&f.base, &o);
        uint64_t hashes[13];
        moco_status last;
        for (int round = 0; round < 10; round++) {
            assert_int_equal(run(loader, round, 0, hashes, &last, &err), 4);
            assert_int_equal(last, MOCO_EFORMAT);
            assert_string_equal(err.text, "dir/37.jpg: planted damage 37");
        }
        assert_int_equal(run(loader, 0, 40, hashes, &last, &err), 6);
        assert_string_equal(err.text, "dir/90.jpg: planted damage 90");
        assert_int_equal(run(loader, 0, 91, hashes, &last, &err), 2);
        assert_int_equal(last, MOCO_EEND);
        int64_t bad, images;
        double waited;
        loader_stats(loader, &bad, &images, &waited);
        assert_int_equal(bad, 0);
        loader_free(loader);
    }
    dataset_free(f.memory);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void test_shutdown_and_back_pressure(void **state)
{
    (void)state;
    struct faulty f;
    struct err err = {0};
    faulty_make(&f);
    moco_batch b = {0};
    double begun = now();
    for (int round = 0; round < 60; round++) {
        struct loader_options o = options(1 + round % 5);
        f.slow = round % 3;
        struct loader *loader = make(&f.base, &o);
        if (round % 4 > 0)
            assert_int_equal(loader_start(loader, 0, 0, &err), MOCO_OK);
        for (int i = 0; i < round % 4 - 1; i++)
            assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
        if (round % 7 == 0)
            assert_int_equal(loader_start(loader, 1, 0, &err), MOCO_OK); /* drops what is in flight */
        loader_free(loader);
    }
    assert_true(now() - begun < 20);
    /* nobody fetches: two batches are made ready, then the threads rest; a held batch is not written to */
    f.slow = 0;
    struct loader_options o = options(4);
    struct loader *loader = make(&f.base, &o);
    assert_int_equal(loader_start(loader, 0, 0, &err), MOCO_OK);
    assert_int_equal(loader_next(loader, &b, &err), MOCO_OK);
    uint64_t hash = batch_hash(&b);
    pause_ms(100);
    assert_true(batch_hash(&b) == hash);
    loader_free(loader);
    dataset_free(f.memory);
}

static void refused(const struct loader_options *o, const struct dataset *ds, const char *word)
{
    struct loader *loader;
    struct err err = {0};
    assert_int_equal(loader_create(&loader, ctx, ds, o, &err), MOCO_EINVAL);
    assert_null(loader);
    if (strstr(err.text, word) == NULL)
        fail_msg("\"%s\" does not speak of %s", err.text, word);
}

static void test_options(void **state)
{
    (void)state;
    struct dataset *ds;
    struct err err = {0};
    assert_int_equal(dataset_from_memory(&ds, ctx, pixels, COUNT, H, W, NULL, &err), MOCO_OK);
    struct loader_options o = options(0), good = o;
    o.batch_size = 0, refused(&o, ds, "batch_size"), o = good;
    o.workers = -1, refused(&o, ds, "workers"), o = good;
    o.prefetch = 0, refused(&o, ds, "prefetch"), o = good;
    o.max_bad = -2, refused(&o, ds, "max_bad"), o = good;
    o.bad = 3, refused(&o, ds, "bad is 3"), o = good;
    o.bad = -1, refused(&o, ds, "bad is -1"), o = good;
    o.max_pixels = -1, refused(&o, ds, "max_pixels"), o = good;
    o.views = 0, refused(&o, ds, "recipe"), o = good;
    o.recipe[1].size = 17, refused(&o, ds, "16 and 17"), o = good;
    o.recipe[0].flip_p = 2, refused(&o, ds, "flip_p"), o = good;
    o.batch_size = 104, o.drop_last = 1, refused(&o, ds, "103 images, fewer than the batch of 104"), o = good;
    o.ranks = 3, refused(&o, ds, "ranks is 3 and batch_size 8"), o = good;
    o.ranks = -1, refused(&o, ds, "ranks is -1"), o = good;
    o.ranks = 2, o.rank = 2, refused(&o, ds, "rank is 2 of 2"), o = good;
    o.batch_size = 104;
    struct loader *loader = make(ds, &o);
    uint64_t hash;
    moco_status last;
    assert_int_equal(run(loader, 0, 0, &hash, &last, &err), 1);
    loader_free(loader);
    loader = make(ds, &good);
    moco_batch b = {0};
    err = (struct err){0};
    assert_int_equal(loader_next(loader, &b, &err), MOCO_ESTATE);
    loader_free(loader);
    assert_int_equal(augment_recipe(&good.recipe[0], "none", SIZE, &err), MOCO_OK);
    good.views = 1;
    loader = make(ds, &good);
    assert_int_equal(run(loader, 0, 0, &hash, &last, &err), 0);
    assert_int_equal(last, MOCO_ESHAPE);
    assert_non_null(strstr(err.text, "24 x 20"));
    loader_free(loader);
    dataset_free(ds);
}

/* Every request for memory fails once, alone and with all after it: MOCO_ENOMEM, nothing leaks, nothing hangs. */
static void test_no_memory(void **state)
{
    (void)state;
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    struct bytes jpeg = draw_jpeg(pixels, W, H, (struct jpeg_kind){.components = 3, .progressive = 0, .quality = 90});
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "class%d/%d.jpg", i % 2, i);
        scratch_write(&folder, name, i == 3 ? (const uint8_t *)"bad" : jpeg.at, i == 3 ? 3 : jpeg.size);
    }
    int succeeded = 0, failures = 0;
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
        struct loader_options o = options(n % 3);
        o.batch_size = 2;
        o.bad = n / 2 % 2; /* replaced, skipped */
        moco_status status = dataset_open_folder(&ds, tight, folder.path, NULL, NULL, &err);
        if (status == MOCO_OK)
            status = loader_create(&loader, tight, ds, &o, &err);
        if (status == MOCO_OK)
            status = loader_start(loader, 0, 0, &err);
        while (status == MOCO_OK)
            status = loader_next(loader, &b, &err);
        assert_true(status == MOCO_EEND || status == MOCO_ENOMEM);
        assert_true((status == MOCO_ENOMEM) == (hook.refused > 0));
        succeeded = status == MOCO_EEND ? succeeded + 1 : 0;
        failures += status == MOCO_ENOMEM;
        loader_free(loader);
        dataset_free(ds);
        ctx_unref(tight);
        assert_int_equal(hook.live, 0);
    }
    assert_in_range(failures, 40, 1000);
    free(jpeg.at);
    scratch_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_for_all_workers),
        cmocka_unit_test(test_order_and_ends),
        cmocka_unit_test(test_resume_anywhere),
        cmocka_unit_test(test_bad_images),
        cmocka_unit_test(test_too_many_bad),
        cmocka_unit_test(test_io_error_in_order),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_skipped_are_told),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_shutdown_and_back_pressure),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
