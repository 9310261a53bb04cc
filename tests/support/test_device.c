/* SPDX-License-Identifier: MIT
 *
 * test_device: see the header. */
#include "support/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

static const char *wanted(void)
{
    const char *name = getenv("MOCO_TEST_DEVICE");
    return name != NULL && name[0] != 0 ? name : NULL;
}

static _Noreturn void end_without(const char *name, const struct err *err)
{
    fprintf(stderr, "no test was run: MOCO_TEST_DEVICE is %s: %s\n", name, err->text);
    exit(1);
}

static struct be_info describe(const char *name)
{
    struct err err = {0};
    struct be_info info = {0};
    struct ctx *ctx = NULL;
    const struct backend *be;
    struct be_device *dev;
    if (ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) != MOCO_OK ||
        backend_find(&be, name, &err) != MOCO_OK || be->open(&dev, ctx, name, &err) != MOCO_OK)
        end_without(name, &err);
    be->info(dev, &info);
    be->close(dev);
    ctx_unref(ctx);
    return info;
}

const char *test_device(void)
{
    static const char *name;
    if (name == NULL) {
        name = wanted() != NULL ? wanted() : "cpu";
        describe(name);
    }
    return name;
}

int test_devices(const char *names[2])
{
    names[0] = "ref";
    names[1] = test_device();
    return strcmp(names[1], names[0]) == 0 ? 1 : 2;
}

int test_device_is_exact(const char *name)
{
    return describe(name).real_bytes == sizeof(double);
}

int test_device_is_behind(const char *name)
{
    return describe(name).behind > 1;
}

int64_t test_device_own_bytes(const char *name)
{
    struct be_info info = describe(name);
    int64_t bytes = info.own_memory ? test_device_counted(name) : 0;
    if (bytes < 0) {
        fprintf(stderr, "nobody counts the memory of %s: tests/support/devices/backends.c has to say how\n", name);
        exit(1);
    }
    return bytes;
}

/* Before main, in every test program, also in those that compute nothing. */
__attribute__((constructor)) static void check_name(void)
{
    struct err err = {0};
    const struct backend *be;
    if (wanted() != NULL && backend_find(&be, wanted(), &err) != MOCO_OK)
        end_without(wanted(), &err);
}
