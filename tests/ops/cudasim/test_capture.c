/* SPDX-License-Identifier: MIT
 *
 * test_capture: steps that are recorded and repeated as CUDA graphs (src/backend/cuda/cuda_record.c), on the simulated
 * driver, whose graphs keep numbers and addresses as they were given. Each promise is a check that passes on the sound
 * device, and finds the fault against which it is there when that is planted (sim_fault). What a reader would get wrong: a
 * check answers NULL or what it found, rather than failing the test, since finding is what half of the tests want. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_driver.h"
#include "support/rigs/step_rig.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

#define OK STEP_OK
#define DEVICE "cudasim:0"

enum { STEPS = 5, FIRST_REPEATED = 3 };

static void expect(const char *found, const char *wanted)
{
    sim_fault(SIM_FAULTLESS);
    if (wanted == NULL && found != NULL)
        fail_msg("found without a fault: %s", found);
    if (wanted != NULL && (found == NULL || strcmp(found, wanted) != 0))
        fail_msg("found %s instead of %s", found != NULL ? found : "nothing", wanted);
}

static void open_sim(struct step_rig *r, int replay)
{
    step_rig_open(r, backend_of_cudasim(), replay);
}

/* ---- recorded and not, step by step ---- */

/* `ahead`: the next step is given before the outcome of the last one is fetched. */
static const char *check_equals_eager(enum sim_fault fault, int ahead, int verdict)
{
    struct step_rig eager, r;
    struct be_outcome expected[STEPS];
    const char *found = NULL;
    struct step_rig_how how = {.verdict = verdict};
    open_sim(&eager, 0);
    for (int s = 0; s < STEPS; s++) {
        step_rig_step(&eager, s, &how);
        expected[s] = step_rig_outcome(&eager);
        assert_true(expected[s].committed && !how.skipped);
    }
    assert_int_equal(sim_graphs(), 0);
    open_sim(&r, 1);
    sim_fault(fault);
    int64_t before = sim_graph_runs();
    for (int s = 0, told = 0; told < STEPS; s++) {
        if (s < STEPS) {
            step_rig_step(&r, s, &how);
            assert_int_equal(how.skipped, s >= FIRST_REPEATED);
        }
        if (ahead && s == 0)
            continue;
        struct be_outcome o = step_rig_outcome(&r);
        if (found == NULL && !step_rig_same_outcome(&o, &expected[told]))
            found = "an outcome differs";
        told++;
    }
    assert_int_equal(sim_graphs(), CUDA_TURNS + 1);
    assert_int_equal(sim_graph_runs() - before, 2 * (STEPS - FIRST_REPEATED) + 1);
    if (found == NULL && !step_rig_same_state(&eager, &r))
        found = "the state differs";
    step_rig_close(&eager);
    step_rig_close(&r);
    assert_int_equal(sim_graphs(), 0);
    assert_int_equal(sim_live(), 0);
    return found;
}

static void repeated_steps_train_as_eager_ones_to_the_bit(void **state)
{
    (void)state;
    expect(check_equals_eager(SIM_FAULTLESS, 1, 0), NULL);
    expect(check_equals_eager(SIM_FAULTLESS, 0, 1), NULL);
}

static void a_number_that_a_recording_froze_is_found(void **state)
{
    (void)state;
    expect(check_equals_eager(SIM_FROZEN, 1, 0), "an outcome differs");
}

/* Without its events a step computes before its input is there, or with that of the step behind it. */
static void a_missing_event_is_found(void **state)
{
    (void)state;
    expect(check_equals_eager(SIM_NO_WAIT, 1, 0), "an outcome differs");
}

/* ---- the verdict ---- */

/* In every mode. */
static const char *check_findings_stop_the_commit(enum sim_fault fault)
{
    struct step_rig r;
    open_sim(&r, 1);
    sim_fault(fault);
    const char *found = step_rig_finding_stops(&r, STEPS);
    step_rig_close(&r);
    return found;
}

static void a_commit_without_verdict_is_found(void **state)
{
    (void)state;
    expect(check_findings_stop_the_commit(SIM_FAULTLESS), NULL);
    expect(check_findings_stop_the_commit(SIM_NO_VERDICT), "a step commits against its verdict");
}

/* The first of two fails, by a veto or by the flag, which a signal handler may set between begin and decide; the second is
 * given before that is known. */
static const char *check_what_follows_a_failure(enum sim_fault fault, int warm, int cancel)
{
    struct step_rig r, twin;
    const char *found = NULL;
    _Atomic int *flag;
    int s;
    open_sim(&r, 1);
    open_sim(&twin, 0);
    OK(r.be->cancel_alloc(r.dev, &flag, &err));
    for (s = 0; s < warm; s++) {
        step_rig_step(&r, s, NULL);
        step_rig_step(&twin, s, NULL);
        assert_true(step_rig_outcome(&r).committed && step_rig_outcome(&twin).committed);
    }
    sim_fault(fault);
    atomic_store(flag, cancel);
    step_rig_step(&r, s, &(struct step_rig_how){.veto = cancel ? 0 : 7, .cancel = flag});
    step_rig_step(&r, s + 1, NULL);
    struct be_outcome first = step_rig_outcome(&r), second = step_rig_outcome(&r);
    atomic_store(flag, 0);
    if (first.step != s || second.step != s + 1)
        found = "outcomes are not told in order";
    if (found == NULL && (first.committed || first.follows || first.cancelled != cancel ||
                          first.bad != (cancel ? BE_NOTHING : BE_BAD(BE_VETO, 7))))
        found = "the failure is not told";
    if (found == NULL && (second.committed || !second.follows || second.cancelled || second.bad != BE_NOTHING))
        found = "the step behind a failed one is not told as following it";
    if (found == NULL && !step_rig_same_state(&r, &twin))
        found = "the state moved";
    for (int i = 0; i < 2; i++, s++) { /* once both are known, it goes on, in both turns */
        step_rig_step(&r, s, &(struct step_rig_how){.cancel = flag});
        step_rig_step(&twin, s, NULL);
        struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
        if (found == NULL && (!step_rig_same_outcome(&o, &expected) || !step_rig_same_state(&r, &twin)))
            found = "it does not go on as if nothing had been tried";
    }
    r.be->cancel_free(r.dev, flag);
    step_rig_close(&r);
    step_rig_close(&twin);
    return found;
}

static void a_step_behind_a_failed_one_does_nothing(void **state)
{
    (void)state;
    expect(check_what_follows_a_failure(SIM_FAULTLESS, 1, 0), NULL); /* both are recorded */
    expect(check_what_follows_a_failure(SIM_FAULTLESS, FIRST_REPEATED, 1), NULL);
    expect(check_what_follows_a_failure(SIM_FORGETS, FIRST_REPEATED, 0),
           "the step behind a failed one is not told as following it");
}

/* Dropped before decide in each mode, with half of its work and with all of it: as if it had not been tried. */
static void a_step_that_is_dropped_leaves_nothing(void **state)
{
    (void)state;
    struct step_rig r, twin;
    open_sim(&r, 1);
    open_sim(&twin, 0);
    for (int s = 0; s < STEPS; s++) {
        for (int half = 0; half < 2; half++) {
            struct be_scalars scalars;
            struct be_range ranges[1];
            struct be_input at;
            struct be_outcome so_far;
            int skip;
            step_rig_draw(&r, 100 + s, &scalars, ranges);
            OK(step_rig_begin(&r, &scalars, &at, &skip, &err));
            if (!skip && half)
                OK(r.be->zero(r.dev, r.stage_q.at, r.stage_q.bytes, &err));
            else if (!skip)
                OK(step_rig_work(&r, &at, &err));
            if (s % 2 == 1)
                OK(r.be->verdict(r.program, &so_far, &err));
            r.be->program_drop(r.program);
        }
        step_rig_step(&r, s, NULL);
        step_rig_step(&twin, s, NULL);
        struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
        assert_true(step_rig_same_outcome(&o, &expected));
    }
    assert_true(step_rig_same_state(&r, &twin));
    step_rig_close(&r);
    step_rig_close(&twin);
}

/* ---- what a recording is ---- */

/* A number among the arguments is the one that was recorded; a number in memory is the one that is there. */
static void arguments_are_frozen_and_memory_is_not(void **state)
{
    (void)state;
    struct step_rig r;
    cu_graph graph;
    cu_graph_exec exec;
    float number = 1;
    const double two = 2;
    open_sim(&r, 1);
    struct map_args args = {.x = r.embedding.at, .other = r.embedding.at, .y = r.keys.at, .count = 1};
    void *list[] = {&args};
    step_rig_write(&r, &r.embedding, &two, 1);
    OK(cuda_enter(r.dev, &err));
    cu_function add = r.dev->kernels[CUDA_map_add];
    assert_int_equal(sim_driver.capture_begin(r.program->tape, CU_CAPTURE_OF_THREAD), CU_OK);
    assert_int_equal(sim_driver.launch(add, 1, 1, 1, 1, 1, 1, 0, r.program->tape, list, NULL), CU_OK);
    args.y = r.in_order.at; /* which is too late */
    assert_int_equal(sim_driver.capture_end(r.program->tape, &graph), CU_OK);
    assert_int_equal(sim_driver.graph_make(&exec, graph, 0), CU_OK);
    assert_int_equal(sim_driver.graph_destroy(graph), CU_OK);
    cuda_leave(r.dev);
    OK(r.be->read(r.dev, &number, r.keys.at, sizeof number, &err));
    assert_true(number == 0); /* what is recorded does not run */
    for (int i = 1; i <= 3; i++) {
        const double value = i;
        step_rig_write(&r, &r.embedding, &value, 1);
        OK(cuda_enter(r.dev, &err));
        assert_int_equal(sim_driver.graph_launch(exec, r.dev->stream), CU_OK);
        cuda_leave(r.dev);
        OK(r.be->read(r.dev, &number, r.keys.at, sizeof number, &err));
        assert_true(number == (float)(2 * i));
        OK(r.be->read(r.dev, &number, r.in_order.at, sizeof number, &err));
        assert_true(number == 0);
    }
    OK(cuda_enter(r.dev, &err));
    assert_int_equal(sim_driver.graph_exec_destroy(exec), CU_OK);
    cuda_leave(r.dev);
    step_rig_close(&r);
}

static cu_result takes_memory(struct be_device *dev)
{
    cu_address at;
    return dev->cu->memory_alloc(&at, 16);
}

static cu_result frees_memory(struct be_device *dev)
{
    return dev->cu->memory_free(dev->blocks->base);
}

static cu_result waits_for_the_stream(struct be_device *dev)
{
    return dev->cu->stream_sync(dev->stream);
}

static cu_result waits_for_an_event(struct be_device *dev)
{
    return dev->cu->event_sync(dev->events[0]);
}

static cu_result asks_for_an_event(struct be_device *dev)
{
    return dev->cu->event_query(dev->events[0]);
}

static cu_result records_an_event(struct be_device *dev)
{
    return dev->cu->event_record(dev->events[0], dev->recording->tape);
}

static void what_must_not_be_done_spoils_a_recording(void **state)
{
    (void)state;
    static cu_result (*const wrong[])(struct be_device * dev) = {
        takes_memory, frees_memory, waits_for_the_stream, waits_for_an_event, asks_for_an_event, records_an_event};
    struct step_rig r;
    open_sim(&r, 1);
    OK(cuda_enter(r.dev, &err));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cu_graph_exec graph = NULL;
        cuda_record_begin(r.program);
        OK(cuda_fill(r.dev, r.keys.at, 4, &err)); /* the tape begins with a call */
        assert_int_equal(wrong[i](r.dev), CU_CAPTURE_UNSUPPORTED);
        assert_int_equal(r.dev->cu->fill(cuda_at(r.keys.at), 0, 4, r.program->tape), CU_CAPTURE_INVALIDATED);
        assert_int_equal(cuda_record_end(r.program, &graph), 0);
        assert_null(graph);
        assert_non_null(strstr(r.program->refused.text, "cuStreamEndCapture"));
    }
    cuda_leave(r.dev);
    OK(r.be->sync(r.dev, &err)); /* and the device is as it was */
    step_rig_close(&r);
}

/* ---- failures ---- */

/* A driver that does not take the first recording, or the third: what it computes is the same. */
static void a_recording_that_is_refused_is_no_failure(void **state)
{
    (void)state;
    for (int refused = 0; refused <= CUDA_TURNS; refused += 2) {
        struct step_rig r, twin;
        struct step_rig_how how = {.verdict = 0};
        open_sim(&r, 1);
        open_sim(&twin, 0);
        sim_plant(SIM_GRAPH_REFUSED, refused);
        for (int s = 0; s < STEPS; s++) {
            step_rig_step(&r, s, &how);
            step_rig_step(&twin, s, NULL);
            assert_int_equal(how.skipped, 0);
            struct be_outcome o = step_rig_outcome(&r), expected = step_rig_outcome(&twin);
            assert_true(step_rig_same_outcome(&o, &expected));
        }
        assert_int_equal(sim_planted_is_due(), 0);
        assert_true(step_rig_same_state(&r, &twin));
        assert_string_equal(r.program->refused.text, "cuGraphInstantiateWithFlags said an error (900)");
        step_rig_close(&r);
        step_rig_close(&twin);
    }
}

/* Of a repeated step: both graphs, decide and the end. Told by the call or by the one that waits, and then by all. */
static void every_failure_of_a_repeated_step_loses_the_device(void **state)
{
    (void)state;
    for (int kind = SIM_LAUNCH_REFUSED; kind <= SIM_KERNEL_FAULTS; kind++)
        for (int failures = 0;; failures++) {
            struct step_rig r;
            struct be_scalars scalars;
            struct be_range ranges[1];
            struct be_input at;
            struct be_outcome o;
            struct err why = {0}, again = {0};
            int skip, known;
            open_sim(&r, 1);
            for (int s = 0; s < FIRST_REPEATED; s++) {
                step_rig_step(&r, s, NULL);
                step_rig_outcome(&r);
            }
            step_rig_draw(&r, FIRST_REPEATED, &scalars, ranges);
            sim_plant((enum sim_failure)kind, failures);
            moco_status status = step_rig_begin(&r, &scalars, &at, &skip, &why);
            if (status == MOCO_OK)
                status = r.be->decide(r.program, NULL, 0, &skip, &why);
            if (status == MOCO_OK)
                status = r.be->program_end(r.program, &why);
            if (status == MOCO_OK)
                status = r.be->outcome(r.program, 1, &known, &o, &why);
            int due = sim_planted_is_due();
            sim_plant(SIM_SOUND, 0);
            assert_int_equal(status, due ? MOCO_OK : MOCO_EDEVICE);
            if (!due) {
                assert_non_null(strstr(why.text, "the device is lost"));
                assert_int_equal(r.be->ready(r.dev, &again), MOCO_EDEVICE);
                assert_string_equal(again.text, why.text);
                r.be->program_drop(r.program);
            }
            step_rig_close(&r);
            assert_int_equal(sim_live(), 0);
            assert_int_equal(sim_graphs(), 0);
            if (due) {
                assert_int_equal(failures, 4);
                break;
            }
        }
}

/* ---- trainers ---- */

/* Narrow, and one launch: what counts is the calls. */
static struct rig_spec small_rig(void)
{
    struct rig_spec spec = rig_spec();
    spec.device = DEVICE;
    spec.model.width = 1.0 / 32;
    spec.trainer.groups_per_launch = 0;
    return spec;
}

/* A checkpoint that is loaded between repeated steps: its memory is another, and what was recorded is forgotten. */
static const char *check_a_state_can_be_loaded(enum sim_fault fault)
{
    struct rig rig, twin;
    struct rig_spec spec = small_rig();
    struct scratch_folder folder;
    const char *found = NULL;
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 2);
    rig_run(&twin, 0, 5);
    rig_ok(moco_trainer_save(rig.trainer, scratch_path(&folder, "state.safetensors"), NULL));
    rig_run(&rig, 2, 5);
    sim_fault(fault);
    rig_ok(moco_trainer_load(rig.trainer, scratch_path(&folder, "state.safetensors")));
    for (int64_t s = 2; s < 5 && found == NULL; s++)
        if (rig_step(&rig, s) == MOCO_EDEVICE)
            found = "a graph used memory that was freed";
    if (found == NULL)
        rig_expect_equal(&rig, &twin);
    sim_fault(SIM_FAULTLESS);
    rig_close(&rig);
    rig_close(&twin);
    scratch_folder_remove(&folder);
    return found;
}

static void a_state_can_be_loaded_between_repeated_steps(void **state)
{
    (void)state;
    expect(check_a_state_can_be_loaded(SIM_FAULTLESS), NULL);
    expect(check_a_state_can_be_loaded(SIM_NO_RESET), "a graph used memory that was freed");
}

static void no_progress(void *user, int done, int of)
{
    (void)user;
    (void)done;
    (void)of;
}

/* Whoever watches the launches is called between them, so that nothing is recorded. */
static void every_mechanism_repeats_its_steps(void **state)
{
    (void)state;
    for (int mechanism = 0; mechanism < RIG_MECHANISMS; mechanism++) {
        struct rig rig, eager;
        struct rig_spec spec = small_rig();
        rig_mechanism(&spec, mechanism);
        rig_open(&rig, &spec);
        spec.trainer.progress = no_progress;
        rig_open(&eager, &spec);
        rig_run(&eager, 0, STEPS);
        assert_int_equal(sim_graphs(), 0);
        rig_run(&rig, 0, STEPS);
        assert_int_equal(sim_graphs(), CUDA_TURNS + 1);
        rig_expect_equal(&rig, &eager);
        rig_close(&rig);
        rig_close(&eager);
    }
}

/* A trainer that leaves its step with the device draws the next batch into the memory of the one in flight. */
static const char *check_a_trainer_ahead(enum sim_fault fault)
{
    struct rig rig, eager;
    struct rig_spec spec = small_rig();
    const char *found = NULL;
    rig_open(&eager, &spec);
    rig_run(&eager, 0, STEPS);
    spec.trainer.ahead = 1;
    rig_open(&rig, &spec);
    sim_fault(fault);
    for (int64_t s = 0; s < STEPS && found == NULL; s++)
        if (rig_step(&rig, s) != MOCO_OK)
            found = "a step fails";
    if (moco_trainer_wait(rig.trainer) != MOCO_OK)
        found = "the last step fails";
    sim_fault(SIM_FAULTLESS);
    moco_step_report a = {.struct_size = sizeof a}, b = a;
    if (found == NULL)
        rig_ok(moco_trainer_report(rig.trainer, &a));
    rig_ok(moco_trainer_report(eager.trainer, &b));
    if (found == NULL && memcmp(&a, &b, sizeof a) != 0)
        found = "the report differs";
    if (found == NULL)
        rig_expect_equal(&rig, &eager);
    rig_close(&rig);
    rig_close(&eager);
    return found;
}

static void a_trainer_ahead_of_its_device_trains_to_the_same_bits(void **state)
{
    (void)state;
    expect(check_a_trainer_ahead(SIM_FAULTLESS), NULL);
    /* Without events a step begins before its rates or images are there, unless streams happen to run in the right order. */
    const char *found = NULL;
    for (int try = 0; try < 16 && found == NULL; try++)
        found = check_a_trainer_ahead(SIM_NO_WAIT);
    assert_non_null(found);
    expect(check_a_trainer_ahead(SIM_FROZEN), "the report differs");
}

static void *train(void *arg)
{
    struct rig *rig = arg;
    moco_status status = MOCO_OK;
    for (int64_t s = 0; s < STEPS && status == MOCO_OK; s++)
        status = rig_step(rig, s);
    if (status != MOCO_OK)
        fprintf(stderr, "%s\n", moco_error());
    return status == MOCO_OK ? NULL : arg;
}

/* Each records its own calls alone, though both queue into one stream. */
static void two_trainers_share_a_device(void **state)
{
    (void)state;
    struct rig rig, alone[2];
    struct rig_spec spec = small_rig();
    pthread_t threads[2];
    void *failed[2];
    rig_open(&rig, &spec);
    rig_open(&alone[0], &spec);
    spec.model.seed = 12;
    rig_open(&alone[1], &spec);
    rig_run(&alone[0], 0, STEPS);
    rig_run(&alone[1], 0, STEPS);
    struct rig beside = rig;
    rig_ok(moco_model_create(&beside.model, rig.device, &spec.model));
    rig_ok(moco_queue_create(&beside.queue, rig.device, spec.model.dim, spec.queue_length, 3));
    rig_ok(moco_trainer_create(&beside.trainer, beside.model, beside.queue, &alone[1].spec.trainer));
    for (int v = 0; v < 2; v++) {
        beside.view[v] = malloc((size_t)16 * 16 * 16 * 3);
        assert_non_null(beside.view[v]);
        beside.batch.view[v] = beside.view[v];
    }
    assert_int_equal(pthread_create(&threads[0], NULL, train, &rig), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, train, &beside), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &failed[i]), 0);
        assert_null(failed[i]);
    }
    rig_expect_equal(&rig, &alone[0]);
    rig_expect_equal(&beside, &alone[1]);
    moco_trainer_free(beside.trainer);
    moco_queue_free(beside.queue);
    moco_model_free(beside.model);
    free(beside.view[0]);
    free(beside.view[1]);
    rig_close(&rig);
    rig_close(&alone[0]);
    rig_close(&alone[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_steps_train_as_eager_ones_to_the_bit),
        cmocka_unit_test(a_number_that_a_recording_froze_is_found),
        cmocka_unit_test(a_missing_event_is_found),
        cmocka_unit_test(a_commit_without_verdict_is_found),
        cmocka_unit_test(a_step_behind_a_failed_one_does_nothing),
        cmocka_unit_test(a_step_that_is_dropped_leaves_nothing),
        cmocka_unit_test(arguments_are_frozen_and_memory_is_not),
        cmocka_unit_test(what_must_not_be_done_spoils_a_recording),
        cmocka_unit_test(a_recording_that_is_refused_is_no_failure),
        cmocka_unit_test(every_failure_of_a_repeated_step_loses_the_device),
        cmocka_unit_test(a_state_can_be_loaded_between_repeated_steps),
        cmocka_unit_test(every_mechanism_repeats_its_steps),
        cmocka_unit_test(a_trainer_ahead_of_its_device_trains_to_the_same_bits),
        cmocka_unit_test(two_trainers_share_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
