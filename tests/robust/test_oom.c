/* SPDX-License-Identifier: MIT
 *
 * test_oom: the n-th allocation fails, and then all from the n-th on, for n = 0, 1, ... until the work succeeds: making
 * everything that training needs, a step, a save, a load. Each failure must be MOCO_ENOMEM with a
 * sentence, hold no memory afterwards, and leave a trainer that exists as it was to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/failing_alloc.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

static struct failing_alloc memory;
static struct scratch_folder folder;

static int set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    scratch_folder_make(&folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

static int mechanism; /* of train_rig.h */

static struct rig_spec tiny(void)
{
    struct rig_spec spec = rig_spec();
    spec.model.width = 1.0 / 32;
    spec.model.dim = 8;
    if (test_device_is_exact(test_device()))
        spec.trainer.precision = MOCO_PRECISION_F64;
    spec.context.alloc = failing_alloc;
    spec.context.release = failing_release;
    spec.context.user = &memory;
    rig_mechanism(&spec, mechanism);
    return spec;
}

/* Runs `work` with the n-th allocation failing, for each n; every `stride`-th n after the first 64. Returns how many
 * failures there were. */
static int walk(moco_status (*work)(void *user), void *user, int stride, void (*unchanged)(void *user))
{
    int failures = 0;
    for (int forever = 0; forever < 2; forever++)
        for (long long n = 0;; n += n < 64 ? 1 : stride) {
            long long live = memory.live;
            atomic_store(&memory.calls, 0);
            memory.forever = forever;
            memory.fail_at = n;
            moco_status status = work(user);
            memory.fail_at = -1;
            if (memory.live != live)
                fail_msg("request %lld%s: %lld bytes are still held", n, forever ? " and later" : "",
                         memory.live - live);
            if (status == MOCO_OK)
                break;
            failures++;
            if (status != MOCO_ENOMEM || strstr(moco_error(), "memory") == NULL)
                fail_msg("request %lld%s: status %d, \"%s\"", n, forever ? " and later" : "", (int)status,
                         moco_error());
            if (unchanged != NULL && (n < 8 || n % 16 == 0))
                unchanged(user);
        }
    return failures;
}

/* ---- making ---- */

static moco_status make_all(void *user)
{
    struct rig_spec spec = tiny();
    moco_context *context = NULL;
    moco_device *device = NULL;
    moco_model *model = NULL;
    moco_queue *queue = NULL;
    moco_trainer *trainer = NULL;
    (void)user;
    moco_status status = moco_context_create(&context, &spec.context);
    if (status == MOCO_OK)
        status = moco_device_open(&device, context, test_device());
    if (status == MOCO_OK)
        status = moco_model_create(&model, device, &spec.model);
    if (status == MOCO_OK && spec.trainer.negatives == MOCO_NEGATIVES_QUEUE)
        status = moco_queue_create(&queue, device, spec.model.dim, spec.queue_length, 3);
    if (status == MOCO_OK)
        status = moco_trainer_create(&trainer, model, queue, &spec.trainer);
    assert_true((trainer != NULL) == (status == MOCO_OK));
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return status;
}

static void making(void **state)
{
    (void)state;
    assert_true(walk(make_all, NULL, 7, NULL) > 40);
}

/* ---- a trainer that exists ---- */

struct trained {
    struct rig rig;
    char *bytes; /* what it saves */
    size_t size;
};

static void expect_unchanged(void *user)
{
    struct trained *t = user;
    size_t size;
    rig_ok(moco_trainer_save(t->rig.trainer, scratch_path(&folder, "now"), "note"));
    char *bytes = rig_read_file(scratch_path(&folder, "now"), &size);
    assert_int_equal(size, t->size);
    assert_memory_equal(bytes, t->bytes, size);
    free(bytes);
}

static void open_trained(struct trained *t)
{
    struct rig_spec spec = tiny();
    rig_open(&t->rig, &spec);
    rig_run(&t->rig, 0, 1);
    rig_ok(moco_trainer_save(t->rig.trainer, scratch_path(&folder, "first"), "note"));
    t->bytes = rig_read_file(scratch_path(&folder, "first"), &t->size);
}

static void close_trained(struct trained *t)
{
    free(t->bytes);
    rig_close(&t->rig);
}

static moco_status save(void *user)
{
    return moco_trainer_save(((struct trained *)user)->rig.trainer, scratch_path(&folder, "saved"), "note");
}

static moco_status load(void *user)
{
    return moco_trainer_load(((struct trained *)user)->rig.trainer, scratch_path(&folder, "first"));
}

static moco_status describe(void *user)
{
    int64_t length;
    return moco_checkpoint_describe(((struct trained *)user)->rig.context, scratch_path(&folder, "first"), NULL, NULL,
                                    &length, NULL, 0);
}

static moco_status step(void *user)
{
    struct trained *t = user;
    return rig_step(&t->rig, 1);
}

static void saving_and_loading(void **state)
{
    (void)state;
    struct trained t;
    open_trained(&t);
    assert_true(walk(save, &t, 23, expect_unchanged) > 40);
    assert_true(walk(load, &t, 23, expect_unchanged) > 20);
    assert_true(walk(describe, &t, 23, expect_unchanged) > 5);
    expect_unchanged(&t);
    close_trained(&t);
}

/* A step takes no memory from the context: with every request refused it goes through, with the same bits. */
static void stepping(void **state)
{
    (void)state;
    struct trained t, twin;
    open_trained(&t);
    open_trained(&twin);
    atomic_store(&memory.calls, 0);
    memory.forever = 1;
    memory.fail_at = 0;
    moco_status status = step(&t);
    memory.fail_at = -1;
    rig_ok(status);
    rig_ok(step(&twin));
    rig_expect_equal(&t.rig, &twin.rig);
    close_trained(&t);
    close_trained(&twin);
}

/* SimCLR with LARS: no queue, no key encoder, one launch. */
static void without_a_queue(void **state)
{
    mechanism = RIG_SIMCLR_LARS;
    assert_true(walk(make_all, NULL, 31, NULL) > 40);
    struct trained t;
    open_trained(&t);
    assert_true(walk(save, &t, 61, expect_unchanged) > 40);
    assert_true(walk(load, &t, 61, expect_unchanged) > 15);
    close_trained(&t);
    stepping(state);
    mechanism = RIG_MOCO;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(making, set_up, tear_down),
        cmocka_unit_test_setup_teardown(saving_and_loading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stepping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_queue, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
