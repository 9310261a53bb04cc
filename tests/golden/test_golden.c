/* SPDX-License-Identifier: MIT
 *
 * test_golden: five training steps through the public API against PyTorch in float64. Per tensor, relative in norm: on
 * ref, loss and gradients to 1e-9 and the update over five steps (state after minus state before) to 1e-8; in f32 and
 * bf16 by PyTorch's own error of that precision, stored in the fixture (tolerances.h). It compares updates and not
 * states because a wrong weight decay or a late key update hides in the digits of a weight.
 *
 * An argument is a pattern of tests to run: build/tests/golden/test_golden 'symmetric*'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "support/files/golden_fixture.h"
#include "support/files/golden_rule.h"
#include "support/not_tested.h"
#include "support/test_device.h"
#include "tolerances.h"

#define FOLDER "tests/golden/fixtures"
#define STEPS 5

static const char *const cases[] = {"tiny_linear", "groups_mlp",     "bottleneck_imagenet", "interleaved_small",
                                    "symmetric",   "deep_one_group", "simclr_lars",         "simclr_sgd",
                                    "end_to_end",  "batch_keys"};

/* One way to run a case. */
struct mode {
    const char *device;
    moco_precision precision;
    int whole_batch; /* all BN groups in one launch; else one group a launch */
};
static const struct mode on_ref[] = {{"ref", MOCO_PRECISION_F64, 0},
                                     {"ref", MOCO_PRECISION_F64, 1},
                                     {"ref", MOCO_PRECISION_F32, 0},
                                     {"ref", MOCO_PRECISION_BF16, 1}};
/* On the device of the test run, unless that is ref; f64 where it is exact, too. */
static const struct mode on_device[] = {{NULL, MOCO_PRECISION_F32, 0},  {NULL, MOCO_PRECISION_F32, 1},
                                        {NULL, MOCO_PRECISION_BF16, 0}, {NULL, MOCO_PRECISION_BF16, 1},
                                        {NULL, MOCO_PRECISION_F64, 0},  {NULL, MOCO_PRECISION_F64, 1}};
enum {
    CASES = sizeof cases / sizeof *cases,
    ON_REF = sizeof on_ref / sizeof *on_ref,
    ON_DEVICE = sizeof on_device / sizeof *on_device
};
static const char *const precision_name[] = {"auto", "f32", "bf16", "f64"};

struct job {
    const char *name; /* of the case */
    struct mode mode;
    char title[64];
};

#define WORKS(call)                                                                                                    \
    do {                                                                                                               \
        if ((call) != MOCO_OK)                                                                                         \
            fail_msg("%s: %s", #call, moco_error());                                                                   \
    } while (0)

/* ---- the state of a run ---- */

struct snapshot { /* a state tensor */
    char name[96];
    double *values;
    uint64_t count;
};

struct run {
    const struct job *job;
    struct golden_fixture fixture;
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    struct snapshot *before;
    int tensors;
    double measured[7][STEPS];
    /* the comparison that came nearest to its tolerance, or went furthest beyond it */
    char worst[96];
    double worst_error, worst_tolerance;
    int compared, failures;
};

static const char *const measured_name[7] = {"loss",       "acc1",        "acc5",     "pos_cosine",
                                             "neg_cosine", "feature_std", "grad_norm"};

/* Reads one tensor of the trainer into doubles. */
static double *get(moco_trainer *trainer, const char *name, uint64_t *count)
{
    moco_tensor t;
    moco_tensor_init(&t);
    WORKS(moco_trainer_get(trainer, name, &t));
    *count = 1;
    for (int i = 0; i < t.ndim; i++)
        *count *= (uint64_t)t.shape[i];
    double *values = calloc((size_t)*count, sizeof *values);
    assert_non_null(values);
    if (t.dtype != MOCO_I64)
        t.dtype = MOCO_F64;
    t.data = values; /* an i64 has the size of a double */
    WORKS(moco_trainer_get(trainer, name, &t));
    if (t.dtype == MOCO_I64)
        for (uint64_t i = 0; i < *count; i++) {
            int64_t whole;
            memcpy(&whole, values + i, sizeof whole);
            values[i] = (double)whole;
        }
    return values;
}

static int is_state(const char *name)
{
    return strncmp(name, "grad.", 5) != 0;
}

/* ---- setting up ---- */

static void set_model(const char *scope, moco_model *model)
{
    const char *name;
    for (int i = 0; (name = moco_model_tensor_name(model, i)); i++) {
        moco_tensor t;
        moco_tensor_init(&t);
        WORKS(moco_model_get(model, name, &t));
        if (t.dtype == MOCO_I64)
            continue; /* num_batches_tracked is 0 in a new model */
        size_t count = 1;
        for (int d = 0; d < t.ndim; d++)
            count *= (size_t)t.shape[d];
        char full[128];
        snprintf(full, sizeof full, "encoder_q.%s", name);
        t.dtype = MOCO_F64;
        t.data = calloc(count, sizeof(double));
        assert_non_null(t.data);
        golden_state(scope, full, t.ndim, t.shape, t.data);
        WORKS(moco_model_set(model, name, &t));
        free(t.data);
    }
}

/* Key encoder, momentum and queue position of their own. */
static void set_own_state(const char *scope, moco_trainer *trainer, int64_t first_ptr)
{
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(trainer, i)); i++) {
        if (strncmp(name, "encoder_k.", 10) != 0 && strncmp(name, "momentum.", 9) != 0)
            continue;
        moco_tensor t;
        moco_tensor_init(&t);
        WORKS(moco_trainer_get(trainer, name, &t));
        if (t.dtype == MOCO_I64)
            continue;
        size_t count = 1;
        for (int d = 0; d < t.ndim; d++)
            count *= (size_t)t.shape[d];
        t.dtype = MOCO_F64;
        t.data = calloc(count, sizeof(double));
        assert_non_null(t.data);
        golden_state(scope, name, t.ndim, t.shape, t.data);
        WORKS(moco_trainer_set(trainer, name, &t));
        free(t.data);
    }
    moco_tensor t;
    moco_tensor_init(&t);
    if (moco_trainer_get(trainer, "queue_ptr", &t) == MOCO_ENOTFOUND)
        return; /* negatives come from the batch */
    t.data = &first_ptr;
    WORKS(moco_trainer_set(trainer, "queue_ptr", &t));
}

static void set_queue(const char *scope, moco_trainer *trainer, int64_t length, int dim)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_F64;
    t.ndim = 2;
    t.shape[0] = dim;
    t.shape[1] = length;
    double *values = calloc((size_t)(length * dim), sizeof *values);
    assert_non_null(values);
    golden_queue(scope, length, dim, values);
    t.data = values;
    WORKS(moco_trainer_set(trainer, "queue", &t));
    free(values);
}

static void create_model(struct run *run)
{
    const struct golden_fixture *f = &run->fixture;
    moco_model_options o;
    moco_model_options_init(&o);
    o.arch = golden_text(f, "arch");
    o.stem = golden_text(f, "stem");
    o.head = golden_text(f, "head");
    o.dim = (int32_t)golden_number(f, "dim");
    o.width = golden_number(f, "width");
    o.image_size = (int32_t)golden_number(f, "h");
    for (int c = 0; c < 3; c++) {
        o.mean[c] = golden_values(golden_find(f, "config.mean"))[c];
        o.std[c] = golden_values(golden_find(f, "config.std"))[c];
    }
    WORKS(moco_model_create(&run->model, run->device, &o));
    set_model(run->job->name, run->model);
}

/* MOCO_ENOTSUP where the device has no such precision. */
static moco_status create_trainer(struct run *run)
{
    const struct golden_fixture *f = &run->fixture;
    moco_trainer_options o;
    moco_trainer_options_init(&o);
    o.negatives = golden_says(f, "negatives", "batch");
    o.encoder_k = golden_says(f, "encoder_k", "shared");
    o.loss = golden_says(f, "loss", "ntxent");
    o.optimizer = golden_says(f, "optimizer", "lars");
    if (o.optimizer == MOCO_OPTIMIZER_LARS)
        o.trust_coefficient = golden_number(f, "trust");
    o.batch_size = (int32_t)golden_number(f, "batch_size");
    o.bn_group_size = (int32_t)golden_number(f, "bn_group_size");
    o.groups_per_launch = run->job->mode.whole_batch ? o.batch_size / o.bn_group_size : 1;
    if (o.encoder_k == MOCO_KEY_SHARED)
        o.groups_per_launch = run->job->mode.whole_batch ? 2 * o.batch_size / o.bn_group_size : 0; /* the same */
    o.image_h = (int32_t)golden_number(f, "h");
    o.image_w = (int32_t)golden_number(f, "w");
    o.temperature = golden_number(f, "temperature");
    o.key_momentum = golden_number(f, "key_momentum");
    o.sgd_momentum = golden_number(f, "sgd_momentum");
    o.weight_decay = golden_number(f, "weight_decay");
    o.precision = run->job->mode.precision;
    o.symmetric = (int32_t)golden_number(f, "symmetric");
    o.shuffle = (int32_t)golden_number(f, "shuffle");
    o.interleave = (int32_t)golden_number(f, "interleave");
    o.seed = (uint64_t)golden_number(f, "seed");
    int64_t length = (int64_t)golden_number(f, "queue");
    int dim = (int)golden_number(f, "dim");
    if (o.negatives == MOCO_NEGATIVES_QUEUE)
        WORKS(moco_queue_create(&run->queue, run->device, dim, length, 1));
    moco_status status = moco_trainer_create(&run->trainer, run->model, run->queue, &o);
    if (status == MOCO_ENOTSUP)
        return status;
    WORKS(status);
    if (run->queue != NULL)
        set_queue(run->job->name, run->trainer, length, dim);
    if (golden_number(f, "own_state") != 0)
        set_own_state(run->job->name, run->trainer, (int64_t)golden_number(f, "first_ptr"));
    return MOCO_OK;
}

static void keep_state(struct run *run)
{
    while (moco_trainer_tensor_name(run->trainer, run->tensors))
        run->tensors++;
    run->before = calloc((size_t)run->tensors, sizeof *run->before);
    assert_non_null(run->before);
    for (int i = 0; i < run->tensors; i++) {
        const char *name = moco_trainer_tensor_name(run->trainer, i);
        struct snapshot *s = run->before + i;
        snprintf(s->name, sizeof s->name, "%s", name);
        if (is_state(name))
            s->values = get(run->trainer, name, &s->count);
    }
}

/* ---- comparing ---- */

static double tolerance_of(const struct run *run, const struct golden_record *r)
{
    if (run->job->mode.precision == MOCO_PRECISION_F64)
        return strncmp(r->name, "update.", 7) == 0 ? TOL_GOLDEN_F64_UPDATE : TOL_GOLDEN_F64;
    if (run->job->mode.precision == MOCO_PRECISION_F32)
        return TOL_GOLDEN_F32(r->err32);
    return TOL_GOLDEN_BF16(r->err16);
}

static void compare(struct run *run, const char *name, const double *ours, uint64_t count)
{
    const struct golden_record *r = golden_find(&run->fixture, name);
    if (!r)
        fail_msg("the fixture has no %s", name);
    double error = golden_error(r, ours, count), tolerance = tolerance_of(run, r);
    run->compared++;
    if (error * run->worst_tolerance >= run->worst_error * tolerance || run->compared == 1) {
        snprintf(run->worst, sizeof run->worst, "%s", name);
        run->worst_error = error;
        run->worst_tolerance = tolerance;
    }
    if (!(error <= tolerance) && ++run->failures <= 12)
        print_message("    %s: %s is off by %.3g, tolerance %.3g\n", run->job->title, name, error, tolerance);
}

static void compare_gradients(struct run *run)
{
    for (int i = 0; i < run->tensors; i++) {
        if (is_state(run->before[i].name))
            continue;
        uint64_t count;
        double *values = get(run->trainer, run->before[i].name, &count);
        compare(run, run->before[i].name, values, count);
        free(values);
    }
}

static void compare_updates(struct run *run)
{
    for (int i = 0; i < run->tensors; i++) {
        const struct snapshot *s = run->before + i;
        if (!is_state(s->name))
            continue;
        uint64_t count;
        double *values = get(run->trainer, s->name, &count);
        assert_int_equal(count, s->count);
        if (strcmp(s->name, "queue_ptr") != 0)
            for (uint64_t e = 0; e < count; e++)
                values[e] -= s->values[e];
        char name[112];
        snprintf(name, sizeof name, "update.%s", s->name);
        compare(run, name, values, count);
        free(values);
    }
}

/* Every result in the fixture has been compared, whatever the trainer calls its tensors. */
static void compare_count(const struct run *run)
{
    int results = 0;
    for (size_t i = 0; i < run->fixture.count; i++)
        results += strncmp(run->fixture.records[i]->name, "config.", 7) != 0;
    if (run->job->mode.precision == MOCO_PRECISION_BF16)
        results -= 2; /* acc1, acc5 */
    assert_int_equal(run->compared, results);
}

/* ---- one job ---- */

static void take_step(struct run *run, int step)
{
    const struct golden_fixture *f = &run->fixture;
    moco_batch batch;
    moco_batch_init(&batch);
    batch.n = (int32_t)golden_number(f, "batch_size");
    batch.h = (int32_t)golden_number(f, "h");
    batch.w = (int32_t)golden_number(f, "w");
    batch.views = 2;
    uint8_t *views[2];
    for (int v = 0; v < 2; v++) {
        batch.view[v] = views[v] = malloc((size_t)batch.n * (size_t)batch.h * (size_t)batch.w * 3);
        assert_non_null(views[v]);
        golden_images((uint64_t)golden_number(f, "seed"), step, v, batch.n, batch.h, batch.w, views[v]);
    }
    WORKS(moco_trainer_step(run->trainer, &batch, golden_values(golden_find(f, "config.lr"))[step]));
    free(views[0]);
    free(views[1]);
    moco_step_report report;
    moco_step_report_init(&report);
    WORKS(moco_trainer_report(run->trainer, &report));
    const double values[7] = {report.loss,       report.acc1,        report.acc5,     report.pos_cosine,
                              report.neg_cosine, report.feature_std, report.grad_norm};
    for (int m = 0; m < 7; m++)
        run->measured[m][step] = values[m];
}

static void clean_up(struct run *run)
{
    for (int i = 0; i < run->tensors; i++)
        free(run->before[i].values);
    free(run->before);
    moco_trainer_free(run->trainer);
    moco_queue_free(run->queue);
    moco_model_free(run->model);
    moco_device_free(run->device);
    moco_context_free(run->context);
    golden_close(&run->fixture);
}

static void golden(void **state)
{
    const struct job *job = *state;
    struct run run = {.job = job};
    char path[128];
    snprintf(path, sizeof path, FOLDER "/%s.golden", job->name);
    assert_int_equal(golden_open(&run.fixture, path), 0);
    WORKS(moco_context_create(&run.context, NULL));
    WORKS(moco_device_open(&run.device, run.context, job->mode.device));
    moco_device_info info;
    moco_device_info_init(&info);
    WORKS(moco_device_describe(run.device, &info));
    create_model(&run);
    if (create_trainer(&run) == MOCO_ENOTSUP) {
        /* bf16 is refused exactly where the CPU has no instructions for it. */
        assert_int_equal(job->mode.precision, MOCO_PRECISION_BF16);
        assert_int_equal(info.bf16_native, 0);
        print_message("    %s: refused, as it should be: %s\n", job->title, moco_error());
        not_tested_here(NO_BF16);
        clean_up(&run);
        return;
    }
    keep_state(&run);
    for (int step = 0; step < STEPS; step++) {
        take_step(&run, step);
        if (step == 0)
            compare_gradients(&run);
    }
    for (int m = 0; m < 7; m++)
        if (job->mode.precision != MOCO_PRECISION_BF16 || strncmp(measured_name[m], "acc", 3) != 0)
            compare(&run, measured_name[m], run.measured[m], STEPS);
    compare_updates(&run);
    compare_count(&run);
    print_message("    %s: %d tensors, worst %s: %.2g of %.2g\n", job->title, run.compared, run.worst, run.worst_error,
                  run.worst_tolerance);
    int failures = run.failures;
    clean_up(&run);
    if (failures)
        fail_msg("%d tensors differ from PyTorch's by more than their tolerance", failures);
}

static struct job jobs[CASES * (ON_REF + ON_DEVICE)];
static struct CMUnitTest tests[CASES * (ON_REF + ON_DEVICE)];
static size_t count;

static void add(const char *name, const struct mode *mode, const char *device)
{
    struct job *job = jobs + count;
    *job = (struct job){name, {device, mode->precision, mode->whole_batch}, ""};
    snprintf(job->title, sizeof job->title, "%s, %s %s, %s", name, device, precision_name[mode->precision],
             mode->whole_batch ? "one launch" : "group by group");
    tests[count++] = (struct CMUnitTest){job->title, golden, NULL, NULL, job};
}

int main(int argc, char **argv)
{
    const char *devices[2];
    int others = test_devices(devices) > 1;
    int modes = !others ? 0 : test_device_is_exact(devices[1]) ? ON_DEVICE : ON_DEVICE - 2;
    for (int c = 0; c < CASES; c++) {
        for (int m = 0; m < ON_REF; m++)
            add(cases[c], &on_ref[m], devices[0]);
        for (int m = 0; m < modes; m++)
            add(cases[c], &on_device[m], devices[1]);
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
