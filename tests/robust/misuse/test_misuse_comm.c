/* SPDX-License-Identifier: MIT
 *
 * test_misuse_comm: what comm.h must refuse: NULL, engines and options that contradict themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

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
    assert_int_equal(moco_comm_abort(NULL, 75, 1), MOCO_EINVAL);
    assert_int_equal(moco_comm_local(&comm, 1, context, NULL), MOCO_OK);
    assert_int_equal(moco_comm_abort(comm, 0, 1), MOCO_EINVAL); /* would look like success */
    assert_int_equal(moco_comm_abort(comm, 256, 1), MOCO_EINVAL);
    assert_int_equal(moco_comm_abort(comm, 75, 0), MOCO_EINVAL);
    assert_int_equal(moco_comm_abort(comm, 75, 1), MOCO_ENOTSUP);
    moco_comm_cancel(comm);
    char block[8] = {0};
    assert_int_equal(moco_comm_gather(comm, block, sizeof block), MOCO_ECOMM);
    moco_comm_free(comm);
    moco_context_free(context);
}

static int asked;

static int refuse(const void *argument, moco_comm_engine *engine, char *why, size_t size)
{
    (void)engine;
    asked++;
    memset(why, 'a', size); /* without an end */
    if (argument != NULL)
        snprintf(why, size, "there are no ranks for \x1b%s", (const char *)argument);
    return 1;
}

static void expect_no_comm(moco_comm *comm, moco_status status, moco_status wanted, const char *words)
{
    assert_null(comm);
    if (status != wanted || strstr(moco_error(), words) == NULL)
        fail_msg("status %d instead of %d, or not \"%s\": %s", (int)status, (int)wanted, words, moco_error());
}

static void modules(void **state)
{
    (void)state;
    static const char *const names[] = {"", "MPI", "../mpi", "mpi.so", "mpi ", "a_name_that_no_module_has"};
    moco_context *context = NULL;
    moco_comm *comm = NULL;
    moco_comm_options options;
    moco_comm_module module = {.abi = MOCO_COMM_MODULE_ABI, .open = refuse};
    assert_int_equal(moco_context_create(&context, NULL), MOCO_OK);
    moco_comm_options_init(&options);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_no_comm(comm, moco_comm_open(&comm, context, names[i], NULL), MOCO_EINVAL, "is no name of a module");
    expect_no_comm(comm, moco_comm_open(&comm, context, "absent", NULL), MOCO_ENODEV, "libmoco_absent.so");
    expect_no_comm(comm, moco_comm_open(&comm, context, NULL, NULL), MOCO_EINVAL, "module is NULL");
    expect_no_comm(comm, moco_comm_open(NULL, context, "mpi", NULL), MOCO_EINVAL, "comm is NULL");
    expect_no_comm(comm, moco_comm_open(&comm, NULL, "mpi", NULL), MOCO_EINVAL, "context is NULL");
    expect_no_comm(comm, moco_comm_from_module(&comm, context, NULL, NULL, NULL), MOCO_EINVAL, "module is NULL");
    options.silence_seconds = 0; /* found before the module is asked, which might wait for other ranks */
    options.struct_size = 3;
    expect_no_comm(comm, moco_comm_from_module(&comm, context, &module, NULL, &options), MOCO_EINVAL, "struct_size");
    assert_int_equal(asked, 0);
    expect_no_comm(comm, moco_comm_from_module(&comm, context, &module, "you", NULL), MOCO_ECOMM,
                   "no ranks for \\x1byou");
    expect_no_comm(comm, moco_comm_from_module(&comm, context, &module, NULL, NULL), MOCO_ECOMM, "aaaa");
    assert_int_equal(asked, 2);
    module.open = NULL;
    expect_no_comm(comm, moco_comm_from_module(&comm, context, &module, NULL, NULL), MOCO_EINVAL, "no function open");
    module.abi++;
    expect_no_comm(comm, moco_comm_from_module(&comm, context, &module, NULL, NULL), MOCO_ENODEV, "for version 2 of");
    moco_context_free(context);
}

/* Of "cudasim", whose library is there, and of a device that has none. */
static void ids(void **state)
{
    (void)state;
    moco_context *context = NULL;
    moco_device *gpu = NULL, *plain = NULL;
    moco_comm *comm = NULL;
    char id[MOCO_COMM_ID_BYTES], none[MOCO_COMM_ID_BYTES] = {0};
    assert_int_equal(moco_context_create(&context, NULL), MOCO_OK);
    assert_int_equal(moco_device_open(&gpu, context, "cudasim:0"), MOCO_OK);
    assert_int_equal(moco_device_open(&plain, context, "ref"), MOCO_OK);
    expect_no_comm(NULL, moco_comm_make_id(NULL, id, sizeof id), MOCO_EINVAL, "device is NULL");
    expect_no_comm(NULL, moco_comm_make_id(gpu, NULL, sizeof id), MOCO_EINVAL, "id is NULL");
    expect_no_comm(NULL, moco_comm_make_id(gpu, id, 64), MOCO_EINVAL, "size is 64; an id has 128 bytes");
    expect_no_comm(NULL, moco_comm_make_id(plain, id, sizeof id), MOCO_ENOTSUP,
                   "devices \"ref\" exchange nothing by themselves");
    assert_int_equal(moco_comm_make_id(gpu, id, sizeof id), MOCO_OK);
    expect_no_comm(NULL, moco_comm_from_id(NULL, gpu, 0, 1, id, sizeof id, NULL), MOCO_EINVAL, "comm is NULL");
    expect_no_comm(comm, moco_comm_from_id(&comm, NULL, 0, 1, id, sizeof id, NULL), MOCO_EINVAL, "device is NULL");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, 0, 1, NULL, sizeof id, NULL), MOCO_EINVAL, "id is NULL");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, 0, 1, id, 127, NULL), MOCO_EINVAL, "size is 127");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, 0, 1, none, sizeof none, NULL), MOCO_EINVAL, "all zeros");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, 1, 1, id, sizeof id, NULL), MOCO_EINVAL, "rank 1 of 1 ranks");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, -1, 2, id, sizeof id, NULL), MOCO_EINVAL, "rank -1 of 2");
    expect_no_comm(comm, moco_comm_from_id(&comm, gpu, 0, 1 << 21, id, sizeof id, NULL), MOCO_EINVAL, "1048576");
    expect_no_comm(comm, moco_comm_from_id(&comm, plain, 0, 1, id, sizeof id, NULL), MOCO_ENOTSUP, "\"ref\"");
    assert_int_equal(moco_comm_from_id(&comm, gpu, 0, 1, id, sizeof id, NULL), MOCO_OK);
    moco_device_free(gpu); /* which the comm holds */
    char block[8] = "of one";
    assert_int_equal(moco_comm_gather(comm, block, sizeof block), MOCO_OK);
    assert_string_equal(block, "of one");
    moco_comm_free(comm);
    moco_device_free(plain);
    moco_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engines_and_options), cmocka_unit_test(modules),
                                       cmocka_unit_test(ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
