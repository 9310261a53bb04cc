/* SPDX-License-Identifier: MIT
 *
 * test_no_alloc: after the first, a step takes no memory from the allocator, none from a driver, and touches no fresh
 * page; a simulated driver touches pages itself, so that there its calls tell (test_device_takes). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "support/rigs/train_rig.h"
#include "support/test_device.h"

#define STEPS 10
/* A kernel may map a page that a library keeps for itself (stdio, OpenMP); a buffer of a step would show as hundreds.
 */
#define FAULTS_MAX 16

static long faults(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

static void run(int symmetric, int mechanism)
{
    struct rig_spec spec = rig_spec();
    struct rig rig;
    spec.trainer.symmetric = symmetric;
    rig_mechanism(&spec, mechanism);
    spec.context.threads = 0;
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 1);
    rig_draw(&rig, 1);
    int64_t live, peak, calls, live_after, peak_after, calls_after;
    rig_ok(moco_context_memory(rig.context, &live, &peak, &calls));
    int64_t taken = test_device_takes(test_device());
    long before = faults();
    for (int i = 0; i < STEPS; i++)
        rig_ok(moco_trainer_step(rig.trainer, &rig.batch, 0.05));
    long fresh = faults() - before;
    rig_ok(moco_context_memory(rig.context, &live_after, &peak_after, &calls_after));
    assert_int_equal(calls_after, calls);
    assert_int_equal(live_after, live);
    assert_int_equal(peak_after, peak);
    assert_int_equal(test_device_takes(test_device()), taken);
#if !defined(__SANITIZE_ADDRESS__) /* its quarantine of other libraries' blocks keeps touching pages */
    if (taken < 0 && fresh > FAULTS_MAX)
        fail_msg("%d steps touched %ld fresh pages", STEPS, fresh);
#else
    (void)fresh;
#endif
    rig_close(&rig);
}

static void a_step_takes_no_memory(void **state)
{
    (void)state;
    run(1, RIG_MOCO);
    for (int m = 0; m < RIG_MECHANISMS; m++)
        run(0, m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_takes_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
