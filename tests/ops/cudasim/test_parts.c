/* SPDX-License-Identifier: MIT
 *
 * test_parts: steps of ranks with GPUs that are recorded and repeated in parts (src/algo/trainer_ranks.c, `part` in backend.h),
 * on simulated GPUs with a simulated NCCL: to the bits of steps that are queued call by call, with as many graphs as
 * there are parts and no kernel between them. Faults of the driver and of recordings are found when they are planted. What a
 * reader would get wrong: a check answers NULL or what it found, as in test_capture. Ranks that record late devices, whose
 * calls can fail one by one, are in train/ranks/test_ranks.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/sim_nccl.h"
#include "support/rigs/rank_rig.h"
#include "support/scratch_folder.h"

enum { STEPS = 5, FIRST_REPEATED = 1 + CUDA_TURNS };

static struct team team;

static void no_progress(void *user, int done, int of)
{
    (void)user;
    (void)done;
    (void)of;
}

static struct rig_spec spec_of(int mechanism)
{
    struct rig_spec spec = rig_spec();
    spec.device = "cudasim:0";
    spec.trainer.batch_size = 16;
    spec.queue_length = 40;
    spec.model.width = 0.03125;
    spec.model.image_size = spec.trainer.image_h = spec.trainer.image_w = 8;
    rig_mechanism(&spec, mechanism);
    spec.trainer.bn_group_size = 4;
    return spec;
}

static void open_team(const struct rig_spec *spec, int ranks, int by_id, double bucket_bytes)
{
    static moco_comm_options o;
    moco_comm_options_init(&o);
    o.bucket_bytes = bucket_bytes;
    o.patience_seconds = 600; /* nothing here is lost but by the driver, which tells at once */
    team_open_gpus(&team, spec, ranks, &o, by_id);
    for (int r = 0; r < ranks; r++)
        if (team.rank[r].status != MOCO_OK)
            fail_msg("rank %d: %s", r, team.rank[r].sentence);
}

static void run_next(struct rank *k)
{
    int64_t step = 0;
    moco_trainer_cursor(k->rig.trainer, &step, NULL, NULL);
    rank_step(k, step);
}

/* A step of all; NULL, or what one of them says. */
static const char *step_of_all(void)
{
    team_run(&team, run_next);
    for (int r = 0; r < team.ranks; r++)
        if (team.rank[r].status != MOCO_OK)
            return team.rank[r].sentence;
    return NULL;
}

static void expect_step(void)
{
    const char *said = step_of_all();
    if (said != NULL)
        fail_msg("%s", said);
}

static int same_state(struct rig *a, struct rig *b)
{
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(a->trainer, i)) != NULL; i++)
        if (rig_difference(a, b, name) != 0)
            return 0;
    return 1;
}

static const char *compare_with(struct team *eager)
{
    for (int r = 0; r < team.ranks; r++)
        if (!same_state(&team.rank[r].rig, &eager->rank[r].rig))
            return "the state differs";
    return NULL;
}

static void expect(const char *found, const char *wanted)
{
    sim_fault(SIM_FAULTLESS);
    if (wanted == NULL && found != NULL)
        fail_msg("found without a fault: %s", found);
    if (wanted != NULL && (found == NULL || strstr(found, wanted) == NULL))
        fail_msg("found %s instead of %s", found != NULL ? found : "nothing", wanted);
}

/* ---- how often what is queued ---- */

struct counts {
    int64_t graphs, runs, launches, exchanges; /* of rank 0: exchanges */
};

static struct counts count(void)
{
    moco_comm_info info;
    moco_comm_info_init(&info);
    rig_ok(moco_comm_describe(team.rank[0].comm, &info));
    return (struct counts){sim_graphs(), sim_graph_runs(), sim_calls(SIM_LAUNCH_REFUSED), info.exchanges};
}

/* Of one step that repeats what was recorded. `ends`: how many buckets there are that do not end where another does. */
static void expect_repeated(const struct counts *a, const struct counts *b, const struct rig_spec *spec, int by_id,
                            int ends)
{
    int directions = spec->trainer.symmetric ? 2 : 1, gathers = directions;
    int work = 3 + ends; /* what is encoded, the first queries, buckets, what is looked at */
    if (spec->trainer.encoder_k == MOCO_KEY_SHARED) {
        gathers = 1;
        work--; /* which is what is encoded */
    }
    int64_t runs = (b->runs - a->runs) / team.ranks, launches = (b->launches - a->launches) / team.ranks;
    int64_t exchanges = b->exchanges - a->exchanges; /* on the host: greetings and results */
    int64_t buckets = exchanges - 2 - gathers - 1;
    assert_int_equal(b->graphs, team.ranks * (CUDA_TURNS * work + 1));
    assert_int_equal(runs, work + 1);
    assert_true(ends <= buckets && buckets <= ends + 2);
    /* Beside the graphs only what decides and what ends the step, and NCCL's own. */
    assert_int_equal(launches, runs + 2 + exchanges - (by_id ? 0 : 2));
}

/* ---- recorded and not ---- */

static const char *check_equals_eager(enum sim_fault fault, int mechanism, int ranks, int by_id, int ends)
{
    struct rig_spec spec = spec_of(mechanism);
    struct team eager;
    const char *found = NULL;
    spec.trainer.symmetric = mechanism == RIG_BATCH_KEYS;
    spec.trainer.progress = no_progress;
    open_team(&spec, ranks, by_id, 5e3);
    for (int s = 0; s < STEPS; s++)
        expect_step();
    assert_int_equal(sim_graphs(), 0);
    eager = team;
    spec.trainer.progress = NULL;
    open_team(&spec, ranks, by_id, 5e3);
    sim_fault(fault);
    for (int s = 0; s < STEPS && found == NULL; s++) {
        struct counts before = count();
        found = step_of_all();
        struct counts after = count();
        if (fault == SIM_FAULTLESS && s >= FIRST_REPEATED)
            expect_repeated(&before, &after, &spec, by_id, ends);
        else if (fault == SIM_FAULTLESS)
            assert_int_equal(after.runs - before.runs, s == FIRST_REPEATED - 1 ? ranks : 0); /* the commit */
    }
    sim_fault(SIM_FAULTLESS);
    if (found == NULL)
        found = compare_with(&eager);
    for (int r = 1; r < ranks && found == NULL; r++)
        if (!same_state(&team.rank[r].rig, &team.rank[0].rig))
            found = "ranks differ";
    team_close(&team);
    team_close(&eager);
    assert_int_equal(sim_graphs(), 0);
    assert_int_equal(sim_live(), 0);
    assert_int_equal(sim_nccl_live(), 0);
    return found;
}

enum { ENDS = 7 };

static void repeated_parts_train_as_eager_steps_to_the_bit(void **state)
{
    (void)state;
    expect(check_equals_eager(SIM_FAULTLESS, RIG_MOCO, 2, 0, ENDS), NULL);
    expect(check_equals_eager(SIM_FAULTLESS, RIG_MOCO, 4, 1, ENDS), NULL);
    expect(check_equals_eager(SIM_FAULTLESS, RIG_BATCH_KEYS, 2, 0, ENDS), NULL);
    expect(check_equals_eager(SIM_FAULTLESS, RIG_END_TO_END, 2, 0, ENDS), NULL);
}

static const char *check_often(enum sim_fault fault)
{
    const char *found = NULL;
    for (int try = 0; try < 16 && found == NULL; try++)
        found = check_equals_eager(fault, RIG_MOCO, 2, 0, ENDS);
    return found;
}

static void faults_that_are_planted_are_found(void **state)
{
    (void)state;
    expect(check_equals_eager(SIM_FROZEN, RIG_MOCO, 2, 0, ENDS), "the state differs");
    expect(check_equals_eager(SIM_SHORT_PART, RIG_MOCO, 2, 0, ENDS), "differ");
    expect(check_often(SIM_NO_WAIT), ""); /* unless streams happen to run in the right order */
}

/* ---- what is refused, or lost, or moved ---- */

/* By the driver of one rank, in the middle of its step: that rank goes on call by call. */
static void one_rank_may_go_on_call_by_call(void **state)
{
    (void)state;
    struct rig_spec spec = spec_of(RIG_MOCO);
    struct team eager;
    spec.trainer.progress = no_progress;
    open_team(&spec, 2, 0, 5e3);
    for (int s = 0; s < STEPS; s++)
        expect_step();
    eager = team;
    spec.trainer.progress = NULL;
    open_team(&spec, 2, 0, 5e3);
    sim_plant(SIM_GRAPH_REFUSED, 7);
    for (int s = 0; s < STEPS; s++) {
        int64_t runs = sim_graph_runs();
        expect_step();
        if (s >= FIRST_REPEATED)
            assert_int_equal(sim_graph_runs() - runs, 3 + ENDS + 1); /* of the other */
    }
    assert_int_equal(sim_planted_is_due(), 0);
    expect(compare_with(&eager), NULL);
    team_close(&team);
    team_close(&eager);
    assert_int_equal(sim_graphs(), 0);
}

static struct scratch_folder folder;

static void load_state(struct rank *k)
{
    rank_note(k, moco_trainer_load(k->rig.trainer, scratch_path(&folder, "state.safetensors")));
}

/* Its memory is another one from then on: graphs of the old one are not repeated. */
static const char *check_a_state_can_be_loaded(enum sim_fault fault)
{
    struct rig_spec spec = spec_of(RIG_MOCO);
    struct team straight;
    const char *found = NULL;
    scratch_folder_make(&folder);
    open_team(&spec, 2, 0, 5e3);
    for (int s = 0; s < 2 * STEPS - 2; s++)
        expect_step();
    straight = team;
    open_team(&spec, 2, 0, 5e3);
    for (int s = 0; s < STEPS - 2; s++)
        expect_step();
    rig_ok(moco_trainer_save(team.rank[0].rig.trainer, scratch_path(&folder, "state.safetensors"), NULL));
    expect_step();
    sim_fault(fault);
    team_run(&team, load_state);
    for (int r = 0; r < 2; r++)
        assert_int_equal(team.rank[r].status, MOCO_OK);
    for (int s = 0; s < STEPS && found == NULL; s++)
        if ((found = step_of_all()) != NULL)
            found = "a graph used memory that was freed";
    sim_fault(SIM_FAULTLESS);
    if (found == NULL)
        found = compare_with(&straight);
    team_close(&team);
    team_close(&straight);
    scratch_folder_remove(&folder);
    return found;
}

static void a_state_can_be_loaded_between_repeated_steps(void **state)
{
    (void)state;
    expect(check_a_state_can_be_loaded(SIM_FAULTLESS), NULL);
    expect(check_a_state_can_be_loaded(SIM_NO_RESET), "a graph used memory that was freed");
}

static void expect_failed(int failures, int due)
{
    int failed = 0;
    for (int r = 0; r < 2; r++) {
        moco_status status = team.rank[r].status;
        failed += status != MOCO_OK;
        if (status != MOCO_OK && status != MOCO_EDEVICE && status != MOCO_ECOMM)
            fail_msg("failure %d: rank %d: %s", failures, r, team.rank[r].sentence);
    }
    if (due ? failed != 0 : failed == 0)
        fail_msg("failure %d: %d ranks failed", failures, failed);
}

/* Of a repeated step of two ranks, whose calls come in any order: each is refused, or fails when it runs, by turns. A
 * simulated driver that has failed has failed for all. Nobody is left waiting, and all can give back what they have. */
static void every_failure_of_a_repeated_step_ends_it_for_all(void **state)
{
    (void)state;
    for (int failures = 0, due = 0; !due; failures++) {
        struct rig_spec spec = spec_of(RIG_MOCO);
        open_team(&spec, 2, 0, 1e6);
        for (int s = 0; s < FIRST_REPEATED; s++)
            expect_step();
        sim_plant(failures % 2 == 0 ? SIM_LAUNCH_REFUSED : SIM_KERNEL_FAULTS, failures);
        team_run(&team, run_next);
        due = sim_planted_is_due();
        sim_plant(SIM_SOUND, 0);
        expect_failed(failures, due);
        team_close(&team);
        assert_int_equal(sim_live(), 0);
        assert_int_equal(sim_nccl_live(), 0);
        if (due) /* 5 graphs, what decides and ends, keys, gradients and statistics, of two */
            assert_int_equal(failures, 2 * (5 + 2 + 3));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_parts_train_as_eager_steps_to_the_bit),
        cmocka_unit_test(faults_that_are_planted_are_found),
        cmocka_unit_test(one_rank_may_go_on_call_by_call),
        cmocka_unit_test(a_state_can_be_loaded_between_repeated_steps),
        cmocka_unit_test(every_failure_of_a_repeated_step_ends_it_for_all),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
