/* SPDX-License-Identifier: MIT
 *
 * test_nccl: ranks with GPUs, simulated ones, whose memory NCCL sums, a simulated one: over a comm of threads, and
 * over NCCL alone. Their training is that of one GPU, and all hold the same bits; a rank that is lost ends the step of all
 * within the deadline, and nothing hangs afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/cudasim/sim_driver.h"
#include "support/cudasim/sim_nccl.h"
#include "support/rigs/rank_rig.h"
#include "tolerances.h"

#define PATIENCE 2 /* seconds */

static struct team team;

static struct rig_spec spec_of(void)
{
    struct rig_spec spec = rig_spec();
    spec.device = "cudasim:0";
    spec.trainer.batch_size = 32;
    spec.queue_length = 72;
    spec.model.width = 0.03125;
    spec.model.image_size = spec.trainer.image_h = spec.trainer.image_w = 8;
    return spec;
}

static moco_comm_options options_of(double patience)
{
    moco_comm_options o;
    moco_comm_options_init(&o);
    o.bucket_bytes = 5e3;
    o.patience_seconds = patience;
    return o;
}

static void open_team(const struct rig_spec *spec, int ranks, int by_id, double patience)
{
    static moco_comm_options o;
    o = options_of(patience);
    team_open_gpus(&team, spec, ranks, &o, by_id);
}

static void expect_all_ok(const char *when)
{
    for (int r = 0; r < team.ranks; r++)
        if (team.rank[r].status != MOCO_OK)
            fail_msg("%s, rank %d of %d: %s", when, r, team.ranks, team.rank[r].sentence);
}

static void run_one(struct rank *k)
{
    rank_step(k, 0);
}

static void run_second(struct rank *k)
{
    rank_step(k, 1);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- as one ---- */

static void expect_training_of(struct rig *one, double tolerance)
{
    const char *name;
    for (int r = 1; r < team.ranks; r++)
        rig_expect_equal(&team.rank[r].rig, &team.rank[0].rig);
    for (int i = 0; (name = moco_trainer_tensor_name(one->trainer, i)) != NULL; i++) {
        double error = rig_difference(&team.rank[0].rig, one, name);
        if (!(error <= tolerance))
            fail_msg("%d ranks: %s differs by %g; at most %g was expected", team.ranks, name, error, tolerance);
    }
}

/* Found by this, each planted by hand: exchanges that begin at once, not behind the event; a bucket that is summed before
 * its last parameter is final; the end of an exchange marked before NCCL has put it into the stream. */
static void ranks_train_as_one(void **state)
{
    (void)state;
    static const struct {
        int ranks, by_id;
    } ways[] = {{2, 0}, {8, 1}};
    struct rig one;
    struct rig_spec spec = spec_of();
    rig_open(&one, &spec);
    rig_run(&one, 0, 1);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        open_team(&spec, ways[i].ranks, ways[i].by_id, 60);
        expect_all_ok("opened");
        team_run(&team, run_one);
        expect_all_ok("stepped");
        expect_training_of(&one, TOL_SUM_ORDER_F32);
        team_close(&team);
    }
    rig_close(&one);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_nccl_live(), 0);
}

/* ---- lost ---- */

/* A rank of a comm over NCCL alone, for what needs no training. */
static struct joiner {
    int rank, ranks, gathers;
    const char *gpu;
    const void *id;
    moco_comm *comm;
    moco_status status;
    char sentence[640];
} joiners[2];

/* LeakSanitizer's, if it is there: what is taken meanwhile may stay. */
void __lsan_disable(void) __attribute__((weak));
static int stays;

static void *join_and_gather(void *argument)
{
    struct joiner *j = argument;
    if (stays && __lsan_disable != NULL)
        __lsan_disable(); /* for this thread, which ends */
    moco_device *device;
    moco_comm_options o = options_of(PATIENCE);
    char blocks[2] = {0};
    j->status = moco_device_open(&device, team.context, j->gpu);
    if (j->status == MOCO_OK)
        j->status = moco_comm_from_id(&j->comm, device, j->rank, j->ranks, j->id, MOCO_COMM_ID_BYTES, &o);
    for (int i = 0; j->status == MOCO_OK && i < j->gathers; i++) {
        blocks[j->rank] = (char)(i + j->rank);
        j->status = moco_comm_gather(j->comm, blocks, 1);
        if (j->status == MOCO_OK && blocks[1 - j->rank] != i + 1 - j->rank)
            j->status = MOCO_EBADDATA;
    }
    snprintf(j->sentence, sizeof j->sentence, "%s", j->status == MOCO_OK ? "" : moco_error());
    moco_device_free(device);
    return NULL;
}

/* Both ranks at once, or rank 1 alone; how many seconds it took. */
static double join(const char *gpus[2], const void *id, int alone)
{
    pthread_t thread[2];
    double begun = seconds();
    for (int r = alone; r < 2; r++) {
        joiners[r] = (struct joiner){.rank = r, .ranks = 2, .gathers = 3, .gpu = gpus[r], .id = id};
        assert_int_equal(pthread_create(&thread[r], NULL, join_and_gather, &joiners[r]), 0);
    }
    for (int r = alone; r < 2; r++)
        pthread_join(thread[r], NULL);
    return seconds() - begun;
}

static void make_id(char id[MOCO_COMM_ID_BYTES])
{
    moco_device *device;
    rig_ok(moco_context_create(&team.context, NULL));
    rig_ok(moco_device_open(&device, team.context, "cudasim:0"));
    rig_ok(moco_comm_make_id(device, id, MOCO_COMM_ID_BYTES));
    moco_device_free(device);
}

static void leave(int held)
{
    for (int r = 0; r < 2; r++) {
        moco_comm_free(joiners[r].comm);
        joiners[r].comm = NULL;
    }
    moco_context_free(team.context);
    assert_int_equal(sim_nccl_live(), held);
    if (held == 0)
        assert_int_equal(sim_live(), 0);
}

static const char *two[2] = {"cudasim:0", "cudasim:1"};

static void expect_joined(moco_status status, const char *sentence)
{
    for (int r = 0; r < 2; r++)
        if (joiners[r].status != status || strstr(joiners[r].sentence, sentence) == NULL)
            fail_msg("rank %d: status %d, not \"%s\": %s", r, (int)joiners[r].status, sentence, joiners[r].sentence);
}

static void who_does_not_come_is_given_up(void **state)
{
    (void)state;
    static const struct {
        enum sim_nccl_fault fault;
        const char *sentence;
    } faults[] = {{SIM_NCCL_SOUND, ""},
                  {SIM_NCCL_NEVER_COMES, "exchange 3 was not joined by all ranks within 2 seconds"},
                  {SIM_NCCL_NEVER_JOINS, "exchange 1 was not joined by all ranks within 2 seconds"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char id[MOCO_COMM_ID_BYTES];
        int aborts = sim_nccl_aborts();
        make_id(id);
        sim_nccl_plant(faults[i].fault, 0, 2);
        double took = join(two, id, 0);
        expect_joined(i == 0 ? MOCO_OK : MOCO_ECOMM, faults[i].sentence);
        assert_true(took < PATIENCE + 2);
        leave(0);
        sim_nccl_plant(SIM_NCCL_SOUND, 0, 0);
        assert_int_equal(sim_nccl_aborts() - aborts, i == 0 ? 0 : 2);
    }
}

/* Without waiting for the deadline; the other rank learns of it by the deadline. */
static void what_nccl_finds_is_told(void **state)
{
    (void)state;
    char id[MOCO_COMM_ID_BYTES];
    make_id(id);
    sim_nccl_plant(SIM_NCCL_ERROR, 1, 1);
    join(two, id, 0);
    assert_int_equal(joiners[0].status, MOCO_ECOMM);
    assert_int_equal(joiners[1].status, MOCO_ECOMM);
    assert_non_null(strstr(joiners[1].sentence, "cudasim:1: an exchange of NCCL: remote process exited or there was a "
                                                "network error: a planted error; the others cannot be joined again"));
    leave(0);
    sim_nccl_plant(SIM_NCCL_SOUND, 0, 0);
}

static void ids_that_do_not_fit_are_told(void **state)
{
    (void)state;
    char id[MOCO_COMM_ID_BYTES], foreign[MOCO_COMM_ID_BYTES] = "of another job";
    const char *one[2] = {"cudasim:2", "cudasim:2"};
    make_id(id);
    join(one, id, 0);
    expect_joined(MOCO_ECOMM, "cudasim:2: joining of NCCL: invalid usage: Duplicate GPU detected");
    join(two, foreign, 1);
    assert_int_equal(joiners[1].status, MOCO_ECOMM);
    assert_non_null(strstr(joiners[1].sentence, "unhandled system error: Call to connect failed: Connection refused"));
    leave(0);
}

/* Before anybody joins: what libraries of two versions do with each other is not known. */
static void libraries_that_differ_are_told(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of();
    sim_nccl_plant(SIM_NCCL_OTHER_VERSION, 0, 0);
    open_team(&spec, 2, 0, PATIENCE);
    for (int r = 0; r < 2; r++) {
        const char *said = team.rank[r].sentence;
        assert_int_equal(team.rank[r].status, MOCO_EINVAL);
        if (strstr(said, "must be made alike: rank 0 has NCCL 2.28.9, rank 1 has NCCL 2.27.3") == NULL &&
            strstr(said, "must be made alike: rank 0 has NCCL 2.27.3, rank 1 has NCCL 2.28.9") == NULL)
            fail_msg("rank %d: %s", r, said);
    }
    team_close(&team);
    sim_nccl_plant(SIM_NCCL_SOUND, 0, 0);
    assert_int_equal(sim_nccl_live(), 0);
    assert_int_equal(sim_live(), 0);
}

/* Of two ranks that one thread drives by turns, as a comm's thread does: sums of the host's memory pass through the GPU's. */
static void memory_of_the_host_is_summed_too(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static double wide[2][COUNT];
    static float narrow[2][COUNT];
    const struct backend *be = backend_of_cudasim();
    struct be_device *dev[2];
    moco_comm_engine e[2];
    struct ctx *ctx;
    struct err err = {0};
    char id[MOCO_COMM_ID_BYTES], library[BE_LIBRARY], why[256];
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), MOCO_OK);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(be->open(&dev[r], ctx, two[r], &err), MOCO_OK);
        assert_int_equal(be->ranks_id(dev[r], r == 0 ? id : NULL, library, &err), MOCO_OK);
        assert_string_equal(library, "NCCL 2.28.9");
        assert_int_equal(be->ranks_open(dev[r], id, r, 2, &e[r], &err), MOCO_OK);
        for (int i = 0; i < COUNT; i++) {
            wide[r][i] = i + 0.5 * r;
            narrow[r][i] = (float)(i - r);
        }
    }
    void *request[2][2];
    for (int r = 0; r < 2; r++) {
        assert_int_equal(e[r].sum(e[r].user, wide[r], COUNT, MOCO_F64, &request[r][0], why, sizeof why), 0);
        assert_int_equal(e[r].sum(e[r].user, narrow[r], COUNT, MOCO_F32, &request[r][1], why, sizeof why), 0);
    }
    for (int which = 0; which < 2; which++)
        for (int32_t done[2] = {0, 0}; !done[0] || !done[1];)
            for (int r = 0; r < 2; r++)
                if (!done[r])
                    assert_int_equal(e[r].test(e[r].user, request[r][which], &done[r], why, sizeof why), 0);
    for (int r = 0; r < 2; r++) {
        for (int i = 0; i < COUNT; i++)
            assert_true(wide[r][i] == 2 * i + 0.5 && narrow[r][i] == (float)(2 * i - 1));
        assert_int_equal(e[r].close(e[r].user, 0), 0);
        be->close(dev[r]);
    }
    ctx_unref(ctx);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_nccl_live(), 0);
}

/* Nothing waits for NCCL longer than two seconds. After an abort that does not return, what its kernels may write to
 * stays: then it is the last thing that this program does. */
static void nothing_hangs_at_the_end(void **state)
{
    (void)state;
    char id[MOCO_COMM_ID_BYTES];
    for (int i = 0; i < 2; i++) {
        make_id(id);
        stays = i == 1;
        join(two, id, 0);
        expect_joined(MOCO_OK, "");
        double begun = seconds();
        sim_nccl_plant(i == 0 ? SIM_NCCL_FINALIZE_HANGS : SIM_NCCL_ABORT_HANGS, 1, 0);
        if (i == 1)
            moco_comm_cancel(joiners[1].comm);
        leave(i);
        sim_nccl_plant(SIM_NCCL_SOUND, 0, 0);
        assert_true(seconds() - begun < 4);
    }
}

/* Somebody knows that a rank is lost, and says so while all wait. */
static void *cancel_soon(void *nothing)
{
    const struct timespec soon = {1, 0};
    nanosleep(&soon, NULL);
    for (int r = 0; r < team.ranks; r++)
        moco_comm_cancel(team.rank[r].comm);
    return nothing;
}

/* In the middle of a step: both ranks hold the state of the last one, and can give back everything. Planted by hand: without
 * the abort a GPU stays in the exchange, and who frees its memory waits for ever: the simulated driver ends the program. */
static void a_step_is_lost_as_a_whole(void **state)
{
    (void)state;
    pthread_t thread;
    struct rig_spec spec = spec_of();
    open_team(&spec, 2, 0, 60);
    team_run(&team, run_one);
    expect_all_ok("stepped");
    sim_nccl_plant(SIM_NCCL_NEVER_COMES, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    team_run(&team, run_second);
    pthread_join(thread, NULL);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(team.rank[r].status, MOCO_ECOMM);
        assert_non_null(strstr(team.rank[r].sentence, "in the exchange of keys of step 1, rank"));
        assert_non_null(strstr(team.rank[r].sentence, "(threads of one process): "));
    }
    sim_nccl_plant(SIM_NCCL_SOUND, 0, 0);
    rig_expect_equal(&team.rank[1].rig, &team.rank[0].rig);
    team_close(&team);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_nccl_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_train_as_one),
        cmocka_unit_test(a_step_is_lost_as_a_whole),
        cmocka_unit_test(who_does_not_come_is_given_up),
        cmocka_unit_test(what_nccl_finds_is_told),
        cmocka_unit_test(ids_that_do_not_fit_are_told),
        cmocka_unit_test(libraries_that_differ_are_told),
        cmocka_unit_test(memory_of_the_host_is_summed_too),
        cmocka_unit_test(nothing_hangs_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
