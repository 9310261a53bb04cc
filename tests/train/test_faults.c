/* SPDX-License-Identifier: MIT
 *
 * test_faults: a device that fails at any one of the calls a step makes, or answers numbers that are not finite. Up to
 * the commit the step has not been; a commit that stops half-way makes a trainer that says so until a checkpoint is
 * loaded. The device is "ref" behind a vtable that counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algo/checkpoint.h"
#include "algo/trainer.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

/* ---- the device ---- */

enum poison { POISON_NONE, POISON_GRADIENT, POISON_STAGE, POISON_EMBEDDING };

static const struct backend *real;
static int calls, fail_at, in_commit; /* in_commit: the failure struck after the decision */
static enum poison poison;

static moco_status count(int commits, struct err *err)
{
    if (calls++ != fail_at)
        return MOCO_OK;
    in_commit = commits;
    return err_set(err, MOCO_EDEVICE, "the device was told to fail at call %d", fail_at);
}

static void put_nan(struct be_device *dev, void *at)
{
    const double nan = NAN;
    struct err err = {0};
    rig_ok(real->write(dev, at, &nan, sizeof nan, &err));
}

static struct be_device *device;

/* A slot that counts, and then does what the device does. `commits`: it belongs to the commit, whose failure leaves the
 * state half-way. */
#define FAULTY(name, commits, params, args)                                                                            \
    static moco_status faulty_##name params                                                                            \
    {                                                                                                                  \
        TRY(count(commits, err));                                                                                      \
        return real->name args;                                                                                        \
    }

FAULTY(ready, 0, (struct be_device * dev, struct err *err), (dev, err))
FAULTY(read, 0, (struct be_device * dev, void *host, const void *at, size_t bytes, struct err *err),
       (dev, host, at, bytes, err))
FAULTY(zero, 0, (struct be_device * dev, void *at, size_t bytes, struct err *err), (dev, at, bytes, err))
FAULTY(program_begin, 0,
       (struct be_program * program, const struct be_scalars *scalars, const struct be_input *input,
        struct be_input *at, int *skip, struct err *err),
       (program, scalars, input, at, skip, err))
FAULTY(ema_readers, 0, (struct be_program * program, const void *k, const void *q, void *out, struct err *err),
       (program, k, q, out, err))
FAULTY(gather, 0,
       (struct be_program * program, void *out, const void *rows, const int32_t *index, int n, int dim,
        struct err *err),
       (program, out, rows, index, n, dim, err))
FAULTY(scatter, 0,
       (struct be_program * program, void *out, const void *rows, const int32_t *index, int n, int dim,
        struct err *err),
       (program, out, rows, index, n, dim, err))
FAULTY(check_rows, 0,
       (struct be_program * program, enum be_what what, const void *rows, const int32_t *names, int n, int dim,
        struct err *err),
       (program, what, rows, names, n, dim, err))
FAULTY(check_slab, 0, (struct be_program * program, enum be_what what, const void *slab, struct err *err),
       (program, what, slab, err))
FAULTY(check_stats, 0,
       (struct be_program * program, enum be_what what, const struct graph *graph, const void *stats, struct err *err),
       (program, what, graph, stats, err))
FAULTY(row_std, 0, (struct be_program * program, const void *rows, int n, int dim, struct err *err),
       (program, rows, n, dim, err))
FAULTY(infonce, 0, (struct be_program * program, const struct be_infonce *io, void *scratch, struct err *err),
       (program, io, scratch, err))
FAULTY(decide, 0, (struct be_program * program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err),
       (program, cancel, veto, skip, err))
FAULTY(sgd, 1, (struct be_program * program, const struct be_sgd *io, struct err *err), (program, io, err))
FAULTY(stats_commit, 1,
       (struct be_program * program, const struct graph *graph, void *running, const void *stage, int groups,
        struct err *err),
       (program, graph, running, stage, groups, err))
FAULTY(push, 1,
       (struct be_program * program, void *queue, int64_t length, const void *keys, int n, int dim, struct err *err),
       (program, queue, length, keys, n, dim, err))
FAULTY(program_end, 1, (struct be_program * program, struct err *err), (program, err))
FAULTY(outcome, 1, (struct be_program * program, int wait, int *known, struct be_outcome *out, struct err *err),
       (program, wait, known, out, err))

static moco_status faulty_forward(struct be_plan *plan, const struct be_forward *io, struct err *err)
{
    TRY(count(0, err));
    TRY(real->forward(plan, io, err));
    if (poison == POISON_STAGE && io->stage != NULL)
        put_nan(device, io->stage);
    if (poison == POISON_EMBEDDING)
        put_nan(device, io->out);
    return MOCO_OK;
}

static moco_status faulty_backward(struct be_plan *plan, const struct be_backward *io, struct err *err)
{
    TRY(count(0, err));
    TRY(real->backward(plan, io, err));
    if (poison == POISON_GRADIENT)
        put_nan(device, io->gradients);
    return MOCO_OK;
}

/* ---- a training on it ---- */

struct bench {
    struct ctx *ctx;
    struct encoder *encoder;
    struct queue *queue;
    struct trainer *trainer;
    uint8_t *images;
    moco_batch batch;
};

static struct backend faulty;

static void bench_open(struct bench *b)
{
    struct err err = {0};
    const struct rig_spec spec = rig_spec();
    const struct ctx_options options = {.threads = 1};
    rig_ok(backend_find(&real, "ref", &err));
    faulty = *real;
    faulty.ready = faulty_ready;
    faulty.read = faulty_read;
    faulty.zero = faulty_zero;
    faulty.program_begin = faulty_program_begin;
    faulty.ema_readers = faulty_ema_readers;
    faulty.forward = faulty_forward;
    faulty.gather = faulty_gather;
    faulty.scatter = faulty_scatter;
    faulty.check_rows = faulty_check_rows;
    faulty.infonce = faulty_infonce;
    faulty.backward = faulty_backward;
    faulty.check_slab = faulty_check_slab;
    faulty.check_stats = faulty_check_stats;
    faulty.row_std = faulty_row_std;
    faulty.decide = faulty_decide;
    faulty.sgd = faulty_sgd;
    faulty.stats_commit = faulty_stats_commit;
    faulty.push = faulty_push;
    faulty.program_end = faulty_program_end;
    faulty.outcome = faulty_outcome;
    fail_at = -1;
    poison = POISON_NONE;
    memset(b, 0, sizeof *b);
    rig_ok(ctx_create(&b->ctx, &options, &err));
    rig_ok(real->open(&device, b->ctx, "ref", &err));
    struct net_config config = {
        .width = 0.125, .dim = 16, .image_h = 16, .image_w = 16, .mean = {0.5, 0.5, 0.5}, .std = {1, 1, 1}, .seed = 1};
    rig_ok(net_config_parse(&config, "resnet18", "small", "mlp", &err));
    moco_trainer_options o = spec.trainer;
    o.batch_size = 8;
    o.precision = MOCO_PRECISION_F64;
    o.symmetric = 1;
    rig_ok(encoder_create(&b->encoder, b->ctx, &faulty, device, &config, &err));
    rig_ok(queue_create(&b->queue, b->ctx, &faulty, device, 16, 20, 1, &err));
    rig_ok(trainer_create(&b->trainer, b->encoder, b->queue, &o, NULL, &err));
    size_t bytes = (size_t)8 * 16 * 16 * 3;
    b->images = malloc(2 * bytes);
    assert_non_null(b->images);
    for (size_t i = 0; i < 2 * bytes; i++)
        b->images[i] = (uint8_t)(i * i * 31 >> 7);
    moco_batch_init(&b->batch);
    b->batch.n = 8;
    b->batch.h = b->batch.w = 16;
    b->batch.views = 2;
    b->batch.view[0] = b->images;
    b->batch.view[1] = b->images + bytes;
}

static void bench_close(struct bench *b)
{
    trainer_free(b->trainer);
    queue_free(b->queue);
    encoder_free(b->encoder);
    real->close(device);
    assert_int_equal(atomic_load(&b->ctx->live_bytes), 0);
    ctx_unref(b->ctx);
    free(b->images);
}

static moco_status bench_step(struct bench *b, struct err *err)
{
    calls = in_commit = 0;
    moco_status status = trainer_step(b->trainer, &b->batch, NULL, 0.05, err);
    fail_at = -1;
    return status;
}

/* All of the saved state, as bytes (the caller frees). */
static char *bench_state(struct bench *b, const char *path, size_t *size)
{
    struct err err = {0};
    rig_ok(checkpoint_save(b->trainer, path, NULL, &err));
    return rig_read_file(path, size);
}

static void a_device_may_fail_at_any_call(void **state)
{
    (void)state;
    struct bench b;
    struct scratch_folder folder;
    struct err err = {0};
    scratch_folder_make(&folder);
    bench_open(&b);
    rig_ok(bench_step(&b, &err));
    size_t size, size_after;
    char *before = bench_state(&b, scratch_path(&folder, "before"), &size), *wanted = NULL;
    int half_way = 0, clean = 0, last = 0;
    for (int n = 0;; n++) {
        fail_at = n;
        err = (struct err){0};
        moco_status status = bench_step(&b, &err);
        if (status == MOCO_OK) {
            assert_true(calls <= n); /* there is no such call any more */
            last = n;
            break;
        }
        rig_expect(status, MOCO_EDEVICE);
        err = (struct err){0};
        if (in_commit) {
            half_way++;
            rig_expect(trainer_step(b.trainer, &b.batch, NULL, 0.05, &err), MOCO_ESTATE);
            err = (struct err){0};
            rig_expect(checkpoint_save(b.trainer, scratch_path(&folder, "half"), NULL, &err), MOCO_ESTATE);
            err = (struct err){0};
            rig_ok(checkpoint_load(b.trainer, scratch_path(&folder, "before"), &err));
        } else {
            clean++;
        }
        char *after = bench_state(&b, scratch_path(&folder, "after"), &size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        free(after);
        /* Now and then go on, and see that the retry gives what the first failure's retry gave. */
        if (n % 9 == 0 || in_commit) {
            rig_ok(bench_step(&b, &err));
            after = bench_state(&b, scratch_path(&folder, "after"), &size_after);
            if (wanted == NULL)
                wanted = after;
            else
                assert_memory_equal(wanted, after, size);
            if (after != wanted)
                free(after);
            rig_ok(checkpoint_load(b.trainer, scratch_path(&folder, "before"), &err));
        }
    }
    char *end = bench_state(&b, scratch_path(&folder, "after"), &size_after);
    assert_memory_equal(wanted, end, size);
    free(end);
    assert_true(half_way >= 8); /* sgd, four times statistics, queue, the end, the outcome */
    print_message("%d calls before the commit, %d in it\n", clean, half_way);
    assert_true(clean > 30 && last == half_way + clean);
    free(before);
    free(wanted);
    bench_close(&b);
    scratch_folder_remove(&folder);
}

static void numbers_that_are_not_finite_are_not_committed(void **state)
{
    (void)state;
    struct bench b;
    struct scratch_folder folder;
    struct err err = {0};
    const struct {
        enum poison poison;
        const char *word;
    } cases[] = {{POISON_GRADIENT, "grad.encoder_q."},
                 {POISON_STAGE, "encoder_q.bn1.running_mean of this batch"},
                 {POISON_EMBEDDING, "the key of image"}};
    scratch_folder_make(&folder);
    bench_open(&b);
    size_t size, size_after;
    char *before = bench_state(&b, scratch_path(&folder, "before"), &size);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        poison = cases[i].poison;
        err = (struct err){0};
        rig_expect(bench_step(&b, &err), MOCO_ENUMERIC);
        poison = POISON_NONE;
        if (strstr(err.text, cases[i].word) == NULL)
            fail_msg("the sentence does not say %s: %s", cases[i].word, err.text);
        char *after = bench_state(&b, scratch_path(&folder, "after"), &size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        free(after);
    }
    err = (struct err){0};
    rig_ok(bench_step(&b, &err));
    free(before);
    bench_close(&b);
    scratch_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_may_fail_at_any_call),
        cmocka_unit_test(numbers_that_are_not_finite_are_not_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
