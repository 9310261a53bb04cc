/* SPDX-License-Identifier: MIT
 *
 * misuse_rig: see misuse_rig.h. */
#include "support/rigs/misuse_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct misuse_rig misuse = {.memory = {.fail_at = -1}};

static void keep_log(void *user, int level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(misuse.log_line, sizeof misuse.log_line, "%s", line);
}

int misuse_set_up(void **state)
{
    (void)state;
    moco_context_options options;
    moco_context_options_init(&options);
    options.threads = 1;
    options.alloc = failing_alloc;
    options.release = failing_release;
    options.log = keep_log;
    options.user = &misuse.memory;
    scratch_folder_make(&misuse.folder);
    int failed = moco_context_create(&misuse.context, &options) != MOCO_OK ||
                 moco_device_open(&misuse.device, misuse.context, "ref") != MOCO_OK;
    misuse.baseline = misuse.memory.live;
    return failed;
}

int misuse_tear_down(void **state)
{
    (void)state;
    moco_device_free(misuse.device);
    moco_context_free(misuse.context);
    scratch_folder_remove(&misuse.folder);
    return misuse.memory.live == 0 ? 0 : -1;
}

int misuse_back_to_baseline(void **state)
{
    (void)state;
    return misuse.memory.live == misuse.baseline ? 0 : -1;
}

void misuse_ok(moco_status status)
{
    if (status != MOCO_OK)
        fail_msg("%s: %s", moco_status_text(status), moco_error());
}

moco_tensor tensor_of(moco_dtype dtype, void *data, int ndim, const int64_t *shape)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = dtype;
    t.data = data;
    t.ndim = ndim;
    memcpy(t.shape, shape, (size_t)ndim * sizeof *shape);
    return t;
}
