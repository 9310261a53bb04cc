/* SPDX-License-Identifier: MIT
 *
 * test_cudasim: the CUDA backend on its simulated driver (support/cudasim/sim_driver.h) where the suites of any device do
 * not look: in every order of threads the same bits; whatever a plan leaves unwritten is never read; every allocation
 * that fails, and every kernel; and that the simulator finds what it promises to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.h"
#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/simt.h"
#include "support/rigs/net_harness.h"
#include "support/rigs/train_rig.h"

#define DEVICE "cudasim:0"

static const struct harness_spec small = {
    .device = DEVICE, .precision = BE_F32, .threads = 1, .n = 6, .groups = 2, .launches = 1, .queue = 9, .seed = 5};

static struct harness_spec spec_of(enum net_stem stem, int image)
{
    struct harness_spec spec = small;
    spec.config = harness_net(18, 0.125, stem, HEAD_MLP, 12, image);
    return spec;
}

/* ---- bits ---- */

/* A step and its update; `fill`: what the plan's memory, and what is written without being read, holds before. */
static struct harness_tensors one_step(uint64_t seed, int fill)
{
    struct harness h;
    struct harness_spec spec = spec_of(STEM_IMAGENET, 33);
    simt_seed(seed);
    harness_open(&h, &spec);
    struct be_memory *all[] = {&h.slab, &h.out, &h.d_out, &h.scratch, &h.gradients};
    for (int i = 0; i < 5; i++) {
        struct err err = {0};
        void *bytes = malloc(all[i]->bytes);
        assert_non_null(bytes);
        memset(bytes, fill, all[i]->bytes);
        harness_ok(h.be->write(h.dev, all[i]->at, bytes, all[i]->bytes, &err), &err);
        free(bytes);
    }
    harness_train(&h);
    struct harness_tensors step = harness_collect(&h, HARNESS_STEP | HARNESS_STATE);
    harness_close(&h);
    assert_int_equal(sim_live(), 0);
    return step;
}

static void expect_same_bits(const struct harness_tensors *a, const struct harness_tensors *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++)
        if (memcmp(a->tensor[i].values, b->tensor[i].values, a->tensor[i].count * sizeof(double)) != 0)
            fail_msg("%s has other bits", a->tensor[i].name);
}

static void any_order_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    struct harness_tensors first = one_step(1, 0);
    for (uint64_t seed = 2; seed <= 3; seed++) {
        struct harness_tensors other = one_step(seed, 0);
        expect_same_bits(&first, &other);
        harness_tensors_free(&other);
    }
    harness_tensors_free(&first);
}

/* 0xff: NaN in every number, and an index far outside. */
static void nothing_is_read_that_was_not_written(void **state)
{
    (void)state;
    struct harness_tensors clean = one_step(1, 0), poisoned = one_step(1, 0xff);
    expect_same_bits(&clean, &poisoned);
    harness_tensors_free(&clean);
    harness_tensors_free(&poisoned);
}

/* Channels beyond the third, which no plan has yet, are zero; sizes are odd, and the image comes by an index. */
static void images_are_padded_with_channels_of_zeros(void **state)
{
    (void)state;
    enum { N = 3, H = 5, W = 7, CHANNELS = 8, COUNT = N * H * W * CHANNELS };
    struct harness h;
    struct harness_spec spec = spec_of(STEM_SMALL, 16);
    struct err err = {0};
    uint8_t images[N][H][W][3];
    const int32_t index[N] = {2, 0, 1};
    float got[COUNT];
    harness_open(&h, &spec);
    for (size_t i = 0; i < sizeof images; i++)
        ((uint8_t *)images)[i] = (uint8_t)(i * 7);
    struct be_memory at = harness_alloc(&h, sizeof images), order = harness_alloc(&h, sizeof index),
                     out = harness_alloc(&h, sizeof got);
    memset(got, 0xff, sizeof got);
    harness_ok(h.be->write(h.dev, at.at, images, sizeof images, &err), &err);
    harness_ok(h.be->write(h.dev, order.at, index, sizeof index, &err), &err);
    harness_ok(h.be->write(h.dev, out.at, got, sizeof got, &err), &err);
    const struct input_args args = {.images = at.at,
                                    .index = order.at,
                                    .out = out.at,
                                    .mean = {0.5f, 0.25f, 0.125f},
                                    .std = {0.5f, 0.25f, 2},
                                    .n = N,
                                    .h = H,
                                    .w = W,
                                    .channels = CHANNELS};
    harness_ok(cuda_enter(h.dev, &err), &err);
    harness_ok(cuda_launch_items(h.dev, CUDA_input, N * H * W, &args, &err), &err);
    cuda_leave(h.dev);
    harness_ok(h.be->read(h.dev, got, out.at, sizeof got, &err), &err);
    for (int i = 0; i < COUNT; i++) {
        int c = i % CHANNELS, pixel = i / CHANNELS % (H * W), sample = i / CHANNELS / (H * W);
        float from = c < 3 ? (float)images[index[sample]][pixel / W][pixel % W][c] / 255.0f : 0;
        float wanted = c < 3 ? (from - args.mean[c]) / args.std[c] : 0;
        assert_true(got[i] == wanted);
    }
    h.be->release(h.dev, &at);
    h.be->release(h.dev, &order);
    h.be->release(h.dev, &out);
    harness_close(&h);
}

/* ---- failures ---- */

/* All that a user of the device takes; gives back what there is. */
struct taken {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    struct graph *graph;
    struct be_layout *layout;
    struct be_plan *plan;
    struct be_program *program;
    struct be_memory slab, masters, rows;
    _Atomic int *cancel;
};

/* Each op once. */
static moco_status build(struct graph **out, struct ctx *ctx, struct err *err)
{
    static const double mean[3] = {0.5, 0.5, 0.5}, std[3] = {0.2, 0.2, 0.2};
    TRY(graph_create(out, ctx, err));
    struct graph *g = *out;
    int map = graph_bn(g, graph_conv(g, graph_input(g, 16, 16, mean, std), "conv1", 8, 3, 2, 1), "bn1");
    map = graph_maxpool(g, graph_relu(g, map), 3, 2, 1);
    map = graph_add(g, map, graph_relu(g, map));
    int features = graph_gap(g, map), projection = graph_linear(g, features, "fc", 16);
    return graph_freeze(g, features, projection, graph_l2norm(g, projection), err);
}

static moco_status take(struct taken *t, struct err *err)
{
    struct be_plan_bytes bytes;
    TRY(ctx_create(&t->ctx, &(struct ctx_options){.threads = 1}, err));
    TRY(backend_find(&t->be, DEVICE, err));
    TRY(t->be->open(&t->dev, t->ctx, DEVICE, err));
    TRY(build(&t->graph, t->ctx, err));
    TRY(t->be->layout_create(&t->layout, t->dev, t->graph, BE_F32, err));
    struct be_plan_spec spec = {.graph = t->graph,
                                .layout = t->layout,
                                .precision = BE_F32,
                                .pass = BE_KEY,
                                .n = 2,
                                .groups = 1,
                                .output = t->graph->embedding};
    TRY(t->be->plan_create(&t->plan, t->dev, &spec, err));
    t->be->plan_bytes(t->plan, &bytes);
    TRY(t->be->alloc(t->dev, bytes.slab, &t->slab, err));
    TRY(t->be->plan_bind(t->plan, t->slab.at, err));
    TRY(t->be->alloc(t->dev, t->be->layout_bytes(t->layout), &t->masters, err));
    TRY(t->be->alloc(t->dev, 2 * 16 * sizeof(float), &t->rows, err));
    TRY(t->be->cancel_alloc(t->dev, &t->cancel, err));
    struct be_program_spec program = {.layout = t->layout, .view_bytes = (size_t)2 * 16 * 16 * 3, .views = 1};
    return t->be->program_create(&t->program, t->dev, &program, err);
}

static void give_one(struct taken *t)
{
    if (t->dev != NULL) {
        t->be->program_free(t->program);
        t->be->cancel_free(t->dev, t->cancel);
        t->be->plan_free(t->plan);
        t->be->release(t->dev, &t->slab);
        t->be->release(t->dev, &t->masters);
        t->be->release(t->dev, &t->rows);
        t->be->layout_free(t->layout);
        t->be->close(t->dev);
    }
    graph_free(t->graph);
    if (t->ctx != NULL)
        assert_int_equal(t->ctx->live_bytes, 0);
    ctx_unref(t->ctx);
}

static void give(struct taken *t)
{
    give_one(t);
    assert_int_equal(sim_live(), 0);
}

static void every_allocation_that_fails_is_told(void **state)
{
    (void)state;
    int failures = 0;
    for (;; failures++) {
        struct taken t = {.ctx = NULL};
        struct err err = {0};
        sim_plant(SIM_NO_MEMORY, failures);
        moco_status status = take(&t, &err);
        int due = sim_planted_is_due();
        sim_plant(SIM_SOUND, 0);
        give(&t);
        assert_int_equal(status, due ? MOCO_OK : MOCO_ENOMEM);
        if (due)
            break;
        assert_non_null(strstr(err.text, "out of "));
    }
    assert_true(failures >= 8);
}

static moco_status step(struct taken *t, struct err *err)
{
    static const uint8_t view[2 * 16 * 16 * 3];
    const struct be_scalars scalars = {
        .lr = 0.1, .sgd_momentum = 0.9, .temperature = 1, .loss_scale = 1, .gradient_limit = (double)INFINITY};
    const struct be_input input = {.view = {view}};
    const struct be_sgd sgd = {.p = t->masters.at, .g = t->masters.at, .v = t->masters.at};
    struct be_input at;
    struct be_outcome outcome;
    int skip, known;
    TRY(t->be->program_begin(t->program, &scalars, &input, &at, &skip, err));
    const struct be_forward forward = {.images = at.view[0], .weights = t->masters.at, .out = t->rows.at};
    TRY(t->be->forward(t->plan, &forward, err));
    TRY(t->be->check_rows(t->program, BE_ROWS_KEY, t->rows.at, NULL, 2, 16, err));
    TRY(t->be->check_slab(t->program, BE_GRADIENT, t->masters.at, err));
    TRY(t->be->decide(t->program, t->cancel, 0, &skip, err));
    TRY(t->be->sgd(t->program, &sgd, err));
    TRY(t->be->program_end(t->program, err));
    return t->be->outcome(t->program, 1, &known, &outcome, err);
}

/* Told by the call, or by the one that waits; and from then on by all that are no end. */
static void every_kernel_that_fails_loses_the_device(void **state)
{
    (void)state;
    for (int kind = SIM_LAUNCH_REFUSED; kind <= SIM_KERNEL_FAULTS; kind++)
        for (int failures = 0;; failures++) {
            struct taken t = {.ctx = NULL};
            struct err err = {0}, again = {0};
            float number;
            harness_ok(take(&t, &err), &err);
            sim_plant((enum sim_failure)kind, failures);
            moco_status status = step(&t, &err);
            int due = sim_planted_is_due();
            sim_plant(SIM_SOUND, 0);
            assert_int_equal(status, due ? MOCO_OK : MOCO_EDEVICE);
            if (!due) {
                assert_non_null(strstr(err.text, "the device is lost"));
                assert_int_equal(t.be->ready(t.dev, &again), MOCO_EDEVICE);
                assert_string_equal(again.text, err.text);
                assert_int_equal(t.be->read(t.dev, &number, t.rows.at, sizeof number, NULL), MOCO_EDEVICE);
                assert_int_equal(t.be->zero(t.dev, t.rows.at, sizeof number, NULL), MOCO_EDEVICE);
                t.be->program_drop(t.program);
            }
            give(&t);
            if (due) {
                assert_true(failures > 12);
                break;
            }
        }
}

/* ---- what a recording would freeze ---- */

static void no_progress(void *user, int done, int of)
{
    (void)user;
    (void)done;
    (void)of;
}

/* A step with another rate, other pictures and another row of the queue than the one before it. `planted`: and with a
 * number in a kernel's arguments that is not the one of the step before. */
static const char *step_against(struct rig *rig, int64_t number, double lr, int planted)
{
    struct be_device *dev = rig->device->dev;
    struct err err = {0};
    rig_draw(rig, number);
    rig_ok(moco_trainer_step(rig->trainer, &rig->batch, lr));
    if (planted) {
        struct map_args args = {.count = 0, .relu = (int)number};
        harness_ok(cuda_enter(dev, &err), &err);
        harness_ok(cuda_launch_items(dev, CUDA_map_add, 1, &args, &err), &err);
        cuda_leave(dev);
    }
    return sim_recording(SIM_COMPARE);
}

/* Two steps queue the same kernels with the same arguments: whatever changes comes from device memory. */
static void no_number_of_a_step_is_in_an_argument(void **state)
{
    (void)state;
    for (int mechanism = 0; mechanism < RIG_MECHANISMS; mechanism++) {
        struct rig rig;
        struct rig_spec spec = rig_spec();
        spec.device = DEVICE;
        spec.trainer.progress = no_progress; /* then every step is queued call by call */
        rig_mechanism(&spec, mechanism);
        rig_open(&rig, &spec);
        for (int planted = 0; planted < 2; planted++) {
            step_against(&rig, 0, 0.05, 0); /* the first steps may do what is done once */
            step_against(&rig, 1, 0.05, 0);
            sim_recording(SIM_RECORD);
            step_against(&rig, 2, 0.05, planted);
            assert_true(sim_recorded() > 50);
            step_against(&rig, 3, 0.05, 0); /* its input is elsewhere: steps take turns */
            const char *changed = step_against(&rig, 4, 0.01, planted);
            if (!planted && changed != NULL)
                fail_msg("mechanism %d: %s has other arguments in another step", mechanism, changed);
            assert_true(planted == (changed != NULL && strcmp(changed, "moco_map_add") == 0));
            sim_recording(SIM_FORGET);
        }
        rig_close(&rig);
    }
}

/* ---- what the simulator finds ---- */

/* The signal that ends a process which does this; 0: none. */
static int ends_with(void (*body)(struct taken *t), struct taken *t)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        body(t);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) != 0 ? SIGSEGV /* of a sanitizer */ : 0;
}

static void reads_device_memory(struct taken *t)
{
    volatile float first = *(volatile float *)t->rows.at;
    (void)first;
}

static void copies_pageable_memory(struct taken *t)
{
    char bytes[4];
    sim_driver.context_push(t->dev->context);
    sim_driver.copy_out(bytes, cuda_at(t->rows.at), sizeof bytes, t->dev->stream);
}

/* A queued copy from page-locked memory, which the host then touches. */
static float *loads_from(struct taken *t)
{
    void *pinned = NULL;
    sim_driver.context_push(t->dev->context);
    sim_driver.host_alloc(&pinned, sizeof(float), 0);
    sim_driver.copy_in(cuda_at(t->rows.at), pinned, sizeof(float), t->dev->stream);
    return pinned;
}

static void writes_what_a_copy_has_to_read(struct taken *t)
{
    float *pinned = loads_from(t);
    *pinned = 3;
    sim_driver.stream_sync(t->dev->stream);
}

static void frees_what_a_copy_has_to_read(struct taken *t)
{
    sim_driver.host_free(loads_from(t));
}

static void waits_for_a_copy(struct taken *t)
{
    float *pinned = loads_from(t);
    sim_driver.stream_sync(t->dev->stream);
    *pinned = 3;
    sim_driver.stream_sync(t->dev->stream);
    sim_driver.host_free(pinned);
}

static void writes_behind_a_block(struct taken *t)
{
    sim_driver.context_push(t->dev->context);
    const struct map_args args = {.x = t->masters.at, .y = t->rows.at, .count = 2 * 16 + 1};
    struct err err = {0};
    cuda_launch_items(t->dev, CUDA_map_add, args.count, &args, &err);
    sim_driver.context_pop(&(cu_context){NULL});
    t->be->release(t->dev, &t->rows);
}

static void touches_the_page_behind(struct taken *t)
{
    sim_driver.context_push(t->dev->context);
    const struct map_args args = {.x = t->rows.at, .y = t->rows.at, .count = 4096};
    struct err err = {0};
    cuda_launch_items(t->dev, CUDA_map_add, args.count, &args, &err);
    sim_driver.stream_sync(t->dev->stream);
}

static void does_nothing_wrong(struct taken *t)
{
    struct err err = {0};
    if (step(t, &err) != MOCO_OK)
        abort();
}

static void faults_of_the_host_are_found(void **state)
{
    (void)state;
    struct taken t = {.ctx = NULL};
    struct err err = {0};
    harness_ok(take(&t, &err), &err);
    assert_int_equal(ends_with(reads_device_memory, &t), SIGSEGV);
    assert_true(ends_with(copies_pageable_memory, &t) != 0);
    assert_true(ends_with(writes_what_a_copy_has_to_read, &t) != 0);
    assert_true(ends_with(frees_what_a_copy_has_to_read, &t) != 0);
    assert_int_equal(ends_with(waits_for_a_copy, &t), 0);
    assert_true(ends_with(writes_behind_a_block, &t) != 0);
    assert_true(ends_with(touches_the_page_behind, &t) != 0);
    does_nothing_wrong(&t);
    give(&t);
}

/* A number that the host takes from page-locked memory before it has waited is not the one that the kernel wrote. */
static void work_is_done_when_somebody_waits(void **state)
{
    (void)state;
    struct taken t = {.ctx = NULL};
    struct err err = {0};
    void *pinned;
    harness_ok(take(&t, &err), &err);
    harness_ok(t.be->sync(t.dev, &err), &err);
    harness_ok(t.be->host_alloc(t.dev, sizeof(float), &pinned, &err), &err);
    float *number = pinned;
    *number = 7;
    harness_ok(cuda_enter(t.dev, &err), &err);
    assert_int_equal(sim_driver.copy_out(number, cuda_at(t.rows.at), sizeof *number, t.dev->stream), CU_OK);
    cuda_leave(t.dev);
    assert_int_equal(sim_pending(), 1);
    assert_true(*number == 7);
    harness_ok(t.be->sync(t.dev, &err), &err);
    assert_int_equal(sim_pending(), 0);
    assert_true(*number == 0);
    t.be->host_free(t.dev, pinned, sizeof(float));
    give(&t);
}

/* Of two devices: what is behind `await` starts when the other has come to the event. */
static void a_device_awaits_another(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct taken a = {.ctx = NULL}, b = {.ctx = NULL};
        struct err err = {0};
        float one = 1, got;
        void *event;
        harness_ok(take(&a, &err), &err);
        harness_ok(take(&b, &err), &err);
        harness_ok(a.be->write(a.dev, a.rows.at, &one, sizeof one, &err), &err);
        harness_ok(a.be->mark(a.dev, &event, &err), &err);
        harness_ok(b.be->await(b.dev, event, &err), &err);
        harness_ok(b.be->copy(b.dev, b.rows.at, a.rows.at, sizeof one, &err), &err);
        harness_ok(b.be->read(b.dev, &got, b.rows.at, sizeof got, &err), &err);
        assert_true(got == 1);
        give_one(&b);
        give(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_threads_gives_the_same_bits),
        cmocka_unit_test(nothing_is_read_that_was_not_written),
        cmocka_unit_test(images_are_padded_with_channels_of_zeros),
        cmocka_unit_test(every_allocation_that_fails_is_told),
        cmocka_unit_test(every_kernel_that_fails_loses_the_device),
        cmocka_unit_test(no_number_of_a_step_is_in_an_argument),
        cmocka_unit_test(faults_of_the_host_are_found),
        cmocka_unit_test(work_is_done_when_somebody_waits),
        cmocka_unit_test(a_device_awaits_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
