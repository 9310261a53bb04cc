/* SPDX-License-Identifier: MIT
 *
 * test_misuse_comm: what comm.h must refuse: NULL, engines and options that contradict themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "moco/moco.h"

static void engines_and_options(void **state)
{
    (void)state;
    moco_context *context = NULL;
    moco_comm *comm = NULL;
    moco_comm_engine engine;
    moco_comm_options options;
    assert_int_equal(moco_context_create(&context, NULL), MOCO_OK);
    moco_comm_engine_init(&engine);
    moco_comm_options_init(&options);
    assert_int_equal(moco_comm_from_engine(NULL, context, &engine, &options), MOCO_EINVAL);
    assert_int_equal(moco_comm_from_engine(&comm, context, NULL, &options), MOCO_EINVAL);
    assert_int_equal(moco_comm_from_engine(&comm, context, &engine, &options), MOCO_EINVAL); /* without functions */
    assert_null(comm);
    options.silence_seconds = -1;
    assert_int_equal(moco_comm_local(&comm, 1, context, &options), MOCO_EINVAL);
    assert_int_equal(moco_comm_local(&comm, 0, context, NULL), MOCO_EINVAL);
    assert_null(comm);
    moco_comm_cancel(NULL);
    moco_comm_free(NULL);
    assert_int_equal(moco_comm_local(&comm, 1, context, NULL), MOCO_OK);
    moco_comm_cancel(comm);
    char block[8] = {0};
    assert_int_equal(moco_comm_gather(comm, block, sizeof block), MOCO_ECOMM);
    moco_comm_free(comm);
    moco_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engines_and_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
