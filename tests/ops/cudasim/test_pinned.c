/* SPDX-License-Identifier: MIT
 *
 * test_pinned: views that a loader makes in page-locked memory of the device (moco_loader_options.device) are loaded from
 * there, without a copy by the host; training has the bits of views in ordinary memory, and the memory is the caller's again
 * when a step returns, also with a step in flight. On the simulated driver, which ends the program when page-locked memory is
 * written or freed before a copy has read it. test_pinned_mutations.sh plants the faults that are easily made. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_driver.h"
#include "support/draw_image.h"
#include "support/rigs/step_rig.h"
#include "support/rigs/train_rig.h"

#define OK STEP_OK
#define RATE 0.05

enum { STEPS = 6, VIEW = STEP_N * STEP_IMAGE * STEP_IMAGE * 3, PICTURES = 48, SIDE = 20, BATCH = 16 };

/* ---- the contract ---- */

/* A rig whose views are in page-locked memory, and how to close it. */
static void open_pinned(struct step_rig *r, uint8_t *ordinary[2])
{
    step_rig_open(r, backend_of_cudasim(), 1);
    for (int v = 0; v < 2; v++) {
        void *memory;
        ordinary[v] = r->view[v];
        OK(r->be->host_alloc(r->dev, VIEW, &memory, &err));
        r->view[v] = memory;
    }
}

static void close_pinned(struct step_rig *r, uint8_t *ordinary[2])
{
    for (int v = 0; v < 2; v++) {
        r->be->host_free(r->dev, r->view[v], VIEW);
        r->view[v] = ordinary[v];
    }
    step_rig_close(r);
}

/* step_rig_step overwrites the views as soon as program_end has returned. `ahead`: with the step before in flight. */
static void steps_are_the_same_and_copy_nothing(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct step_rig r, twin;
        uint8_t *ordinary[2];
        open_pinned(&r, ordinary);
        step_rig_open(&twin, backend_of_cudasim(), 0);
        for (int s = 0; s < STEPS; s++) {
            step_rig_step(&r, s, NULL);
            step_rig_step(&twin, s, NULL);
            assert_true(step_rig_outcome(&twin).committed);
            for (int v = 0; v < 2; v++)
                assert_int_equal(sim_loads(r.view[v]), s + 1);
            if (!ahead || s > 0)
                assert_true(step_rig_outcome(&r).committed);
        }
        if (ahead)
            assert_true(step_rig_outcome(&r).committed);
        assert_true(step_rig_same_state(&r, &twin));
        step_rig_close(&twin);
        close_pinned(&r, ordinary);
    }
}

/* Whoever has dropped a step may write its views, or free them. */
static void a_step_that_is_dropped_reads_no_more(void **state)
{
    (void)state;
    struct step_rig r, twin;
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    uint8_t *ordinary[2];
    int skip;
    open_pinned(&r, ordinary);
    step_rig_open(&twin, backend_of_cudasim(), 0);
    for (int s = 0; s < STEPS; s++) {
        step_rig_draw(&r, 100 + s, &scalars, ranges);
        OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
        r.be->program_drop(r.program);
        step_rig_step(&r, s, NULL); /* draws at once */
        step_rig_step(&twin, s, NULL);
        assert_true(step_rig_outcome(&r).committed && step_rig_outcome(&twin).committed);
    }
    assert_true(step_rig_same_state(&r, &twin));
    step_rig_draw(&r, STEPS, &scalars, ranges);
    OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
    r.be->program_drop(r.program);
    step_rig_close(&twin);
    close_pinned(&r, ordinary);
}

/* What the device has as view 0 if it is given `view`, and whether it was loaded from the block in which `inside` is. */
static int is_loaded_from(struct step_rig *r, const uint8_t *view, const void *inside)
{
    static uint8_t got[VIEW];
    struct be_scalars scalars;
    struct be_range ranges[1];
    struct be_input at;
    int skip;
    int64_t before = sim_loads(inside);
    step_rig_draw(r, 1, &scalars, ranges);
    const struct be_input input = {.view = {view, r->view[1]}, .index = r->index};
    OK(r->be->program_begin(r->program, &scalars, &input, &at, &skip, &err));
    OK(r->be->read(r->dev, got, at.view[0], VIEW, &err));
    assert_memory_equal(got, view, VIEW);
    r->be->program_drop(r->program);
    return (int)(sim_loads(inside) - before);
}

/* One byte outside of it, and the whole view is copied, as ordinary memory is. */
static void the_whole_view_has_to_lie_in_it(void **state)
{
    (void)state;
    struct step_rig r;
    void *exact, *large;
    step_rig_open(&r, backend_of_cudasim(), 0);
    OK(r.be->host_alloc(r.dev, VIEW, &exact, &err));
    OK(r.be->host_alloc(r.dev, 3 * VIEW, &large, &err));
    memset(exact, 5, VIEW);
    for (size_t i = 0; i < 3 * VIEW; i++)
        ((uint8_t *)large)[i] = (uint8_t)(i * 7);
    const uint8_t *first = exact, *wide = large;
    assert_int_equal(is_loaded_from(&r, first, first), 1);
    assert_int_equal(is_loaded_from(&r, first + 1, first), 0);
    assert_int_equal(is_loaded_from(&r, first - 1, first), 0);
    assert_int_equal(is_loaded_from(&r, wide, wide), 1);
    assert_int_equal(is_loaded_from(&r, wide + 2 * VIEW, wide), 1);
    assert_int_equal(is_loaded_from(&r, wide + 2 * VIEW + 1, wide), 0);
    assert_int_equal(is_loaded_from(&r, wide + VIEW + 13, wide), 1);
    r.be->host_free(r.dev, exact, VIEW);
    r.be->host_free(r.dev, large, 3 * VIEW);
    step_rig_close(&r);
}

/* Ordinary memory at an address where page-locked memory was. */
static void what_was_freed_is_forgotten(void **state)
{
    (void)state;
    struct step_rig r;
    void *memory;
    step_rig_open(&r, backend_of_cudasim(), 0);
    OK(r.be->host_alloc(r.dev, VIEW, &memory, &err));
    uintptr_t page = (uintptr_t)memory / 4096 * 4096;
    size_t bytes = ((uintptr_t)memory - page + VIEW + 4095) / 4096 * 4096; /* what was mapped there */
    r.be->host_free(r.dev, memory, VIEW);
    uint8_t *again = mmap((void *)page, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_true(again == (uint8_t *)page);
    assert_int_equal(sim_loads(memory), -1);
    memset(memory, 9, VIEW);
    assert_int_equal(is_loaded_from(&r, memory, memory), 0);
    munmap(again, bytes);
    step_rig_close(&r);
}

/* ---- trainings ---- */

static uint8_t pixels[PICTURES][SIDE][SIDE][3];
static _Atomic int lines; /* of the log that speak of memory */

static void count_lines(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    lines += strstr(line, "ordinary memory") != NULL && strstr(line, "page-locked") != NULL;
}

static _Atomic int64_t blocks; /* of the context's allocator that are held */

static void *take_block(void *user, size_t size, size_t align)
{
    void *memory = NULL;
    (void)user;
    blocks++;
    return posix_memalign(&memory, align, size) == 0 ? memory : NULL;
}

static void release_block(void *user, void *memory, size_t size)
{
    (void)user;
    (void)size;
    blocks--;
    free(memory);
}

struct training {
    struct rig rig;
    moco_dataset *set;
    moco_loader *loader;
};

static moco_status make_loader(struct training *t, moco_device *device)
{
    moco_loader_options o;
    moco_augment_options view = {.struct_size = sizeof view};
    rig_ok(moco_augment_options_preset(&view, "moco-v2", 16));
    moco_loader_options_init(&o);
    o.batch_size = BATCH;
    o.workers = 2;
    o.prefetch = 1;
    o.seed = 9;
    o.recipe[0] = o.recipe[1] = &view;
    o.device = device;
    return moco_loader_create(&t->loader, t->set, &o);
}

static void open_training(struct training *t, struct rig_spec spec)
{
    moco_tensor images = {
        .struct_size = sizeof images, .dtype = MOCO_U8, .ndim = 4, .shape = {PICTURES, SIDE, SIDE, 3}, .data = pixels};
    if (spec.device == NULL)
        spec.device = "cudasim:0";
    spec.model.width = 1.0 / 32;
    spec.trainer.groups_per_launch = 0;
    spec.context.log = count_lines;
    spec.context.alloc = take_block;
    spec.context.release = release_block;
    rig_open(&t->rig, &spec);
    for (int i = 0; i < PICTURES; i++)
        draw_pixels(&pixels[i][0][0][0], SIDE, SIDE, i + 1);
    rig_ok(moco_dataset_from_memory(&t->set, t->rig.context, &images, NULL));
    t->loader = NULL;
}

static void close_training(struct training *t)
{
    moco_loader_free(t->loader);
    moco_dataset_free(t->set);
    rig_close(&t->rig);
}

/* Is every view of the batch loaded from where it is? -1: it is not page-locked. */
static int64_t loads(const moco_batch *batch)
{
    const uint8_t *views[] = {batch->view[0], batch->view[1], batch->key[0], batch->key[1]};
    int64_t sum = 0;
    for (int v = 0; v < 4; v++)
        if (views[v] != NULL)
            sum += sim_loads(views[v]);
    return sum;
}

/* The loader's threads write into the batch before, as soon as `next` is called. */
static void run(struct training *t, int apart, int pinned)
{
    moco_batch batch;
    moco_batch_init(&batch);
    for (int64_t i = 0, at = 0; i < STEPS; i++, at += BATCH) {
        int64_t epoch = at / PICTURES, views;
        if (at % PICTURES == 0 && apart)
            rig_ok(moco_loader_start_keys(t->loader, epoch, 0, i, t->rig.spec.trainer.seed,
                                          t->rig.spec.trainer.symmetric));
        else if (at % PICTURES == 0)
            rig_ok(moco_loader_start(t->loader, epoch));
        rig_ok(moco_loader_next(t->loader, &batch));
        views = (batch.view[0] != NULL) + (batch.view[1] != NULL) + (batch.key[0] != NULL) + (batch.key[1] != NULL);
        int64_t before = loads(&batch);
        if (!pinned)
            assert_int_equal(before, -views);
        rig_ok(moco_trainer_step(t->rig.trainer, &batch, RATE));
        assert_int_equal(loads(&batch), pinned ? before + views : before);
        for (int v = 0; v < 2 && pinned; v++) /* what is the loader's is the loader's */
            if (batch.view[v] != NULL)
                memset((void *)(uintptr_t)batch.view[v], 0x11 * (v + 1), (size_t)BATCH * 16 * 16 * 3);
    }
    rig_ok(moco_trainer_wait(t->rig.trainer));
}

static void expect_same(struct rig_spec spec, int apart)
{
    struct training plain, pinned;
    open_training(&plain, spec);
    rig_ok(make_loader(&plain, NULL));
    run(&plain, apart, 0);
    spec.trainer.ahead = 1;
    open_training(&pinned, spec);
    rig_ok(make_loader(&pinned, pinned.rig.device));
    run(&pinned, apart, 1);
    rig_expect_equal(&plain.rig, &pinned.rig);
    close_training(&plain);
    close_training(&pinned);
    assert_int_equal(lines, 0);
}

static void every_mechanism_trains_to_the_same_bits(void **state)
{
    (void)state;
    for (int m = 0; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, m);
        expect_same(spec, 0);
    }
}

static void so_it_does_with_key_views_apart(void **state)
{
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct rig_spec spec = rig_spec();
        spec.trainer.symmetric = symmetric;
        expect_same(spec, 1);
    }
}

/* ---- memory ---- */

static int64_t held(struct training *t)
{
    int64_t live;
    rig_ok(moco_context_memory(t->rig.context, &live, NULL, NULL));
    return live;
}

/* As much as in ordinary memory, but for the device's notes; and it is there as long as the loader. */
static void it_is_counted_and_held(void **state)
{
    (void)state;
    struct training t;
    open_training(&t, rig_spec());
    int64_t before = held(&t), of[2];
    for (int pinned = 0; pinned < 2; pinned++) {
        rig_ok(make_loader(&t, pinned ? t.rig.device : NULL));
        of[pinned] = held(&t) - before;
        if (pinned)
            break;
        moco_loader_free(t.loader);
    }
    assert_true(of[0] > 4 * BATCH * 16 * 16 * 3);
    assert_int_equal(of[1] - of[0], 4 * (int64_t)sizeof(struct cuda_lent));
    run(&t, 0, 1);
    moco_trainer_free(t.rig.trainer);
    moco_queue_free(t.rig.queue);
    moco_model_free(t.rig.model);
    t.rig.trainer = NULL;
    t.rig.queue = NULL;
    t.rig.model = NULL;
    int64_t with_device = held(&t);
    moco_device_free(t.rig.device);
    t.rig.device = NULL;
    assert_int_equal(held(&t), with_device); /* the loader holds it */
    close_training(&t);
}

/* Without any, and without some of it: ordinary memory does, and the log has one line. */
static void where_there_is_none_ordinary_memory_does(void **state)
{
    (void)state;
    struct training plain, t;
    open_training(&plain, rig_spec());
    rig_ok(make_loader(&plain, NULL));
    run(&plain, 0, 0);
    for (int which = 0; which < 4; which += 3) {
        moco_batch batch;
        int ordinary = 0;
        open_training(&t, rig_spec());
        lines = 0;
        sim_plant(SIM_NO_MEMORY, which);
        rig_ok(make_loader(&t, t.rig.device));
        assert_int_equal(sim_planted_is_due(), 0);
        assert_int_equal(lines, 1);
        moco_batch_init(&batch);
        for (int i = 0; i < STEPS; i++) {
            if (i % 3 == 0)
                rig_ok(moco_loader_start(t.loader, i / 3));
            rig_ok(moco_loader_next(t.loader, &batch));
            for (int v = 0; v < 2; v++)
                ordinary += sim_loads(batch.view[v]) == -1;
            rig_ok(moco_trainer_step(t.rig.trainer, &batch, RATE));
        }
        assert_int_equal(ordinary, which < 2 ? 4 : 2); /* batches 0, 2, 3 and 5 come in the first slot */
        rig_expect_equal(&plain.rig, &t.rig);
        close_training(&t);
    }
    lines = 0;
    close_training(&plain);
    assert_int_equal(blocks, 0);
}

/* Nothing can be had of a device that is lost, and what it has lent is given back all the same. */
static void a_lost_device_says_so(void **state)
{
    (void)state;
    struct training t;
    moco_batch batch;
    open_training(&t, rig_spec());
    rig_ok(make_loader(&t, t.rig.device));
    moco_batch_init(&batch);
    rig_ok(moco_loader_start(t.loader, 0));
    rig_ok(moco_loader_next(t.loader, &batch));
    sim_plant(SIM_KERNEL_FAULTS, 3);
    rig_expect(moco_trainer_step(t.rig.trainer, &batch, RATE), MOCO_EDEVICE);
    assert_int_equal(sim_planted_is_due(), 0);
    moco_loader *before = t.loader;
    rig_expect(make_loader(&t, t.rig.device), MOCO_EDEVICE);
    assert_non_null(strstr(moco_error(), "the device is lost"));
    assert_null(t.loader);
    t.loader = before;
    close_training(&t);
}

/* A device of the host's memory has none of another kind; what is no device is refused. */
static void other_devices(void **state)
{
    (void)state;
    struct training t;
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    open_training(&t, spec);
    rig_expect(make_loader(&t, (moco_device *)(void *)t.set), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "options.device"));
    assert_null(t.loader);
    rig_ok(make_loader(&t, t.rig.device));
    run(&t, 0, 0);
    close_training(&t);
    assert_int_equal(lines, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_the_same_and_copy_nothing),
        cmocka_unit_test(a_step_that_is_dropped_reads_no_more),
        cmocka_unit_test(the_whole_view_has_to_lie_in_it),
        cmocka_unit_test(what_was_freed_is_forgotten),
        cmocka_unit_test(every_mechanism_trains_to_the_same_bits),
        cmocka_unit_test(so_it_does_with_key_views_apart),
        cmocka_unit_test(it_is_counted_and_held),
        cmocka_unit_test(where_there_is_none_ordinary_memory_does),
        cmocka_unit_test(a_lost_device_says_so),
        cmocka_unit_test(other_devices),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
