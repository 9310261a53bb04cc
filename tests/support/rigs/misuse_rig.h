/* SPDX-License-Identifier: MIT
 *
 * misuse_rig: what tests of refused calls share: a context on a counting allocator, the reference device, a folder for
 * files, the last line of the log, and tensors in a line. What a reader would get wrong: each test must leave as many
 * live blocks as there were after set-up, which misuse_back_to_baseline checks as its tear-down. */
#ifndef MOCO_TESTS_MISUSE_RIG_H
#define MOCO_TESTS_MISUSE_RIG_H

#include "moco/moco.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

struct misuse_rig {
    struct failing_alloc memory;
    struct scratch_folder folder;
    moco_context *context;
    moco_device *device;
    long long baseline; /* live memory after set-up */
    char log_line[512];
};
extern struct misuse_rig misuse;

/* Of a group of tests, and of one test: for cmocka. */
int misuse_set_up(void **state);
int misuse_tear_down(void **state);
int misuse_back_to_baseline(void **state);

/* Fails the test with the library's sentence. */
void misuse_ok(moco_status status);

moco_tensor tensor_of(moco_dtype dtype, void *data, int ndim, const int64_t *shape);
#define TENSOR(dtype, data, ...)                                                                                       \
    tensor_of(dtype, data, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

#endif
