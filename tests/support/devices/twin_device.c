/* SPDX-License-Identifier: MIT
 *
 * twin_device: "ref" under another name, as "twin:0" and "twin:1": what a third device meets, without its arithmetic.
 * A test that knows devices by their names fails on it. */
#include <pthread.h>
#include <string.h>

#include "backend/backend.h"
#include "support/test_device.h"

static struct backend twin;

static moco_status twin_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    if (strcmp(name, "twin:0") != 0 && strcmp(name, "twin:1") != 0)
        return err_set(err, MOCO_ENODEV, "twin: there is no device \"%.40s\"; there are twin:0 and twin:1", name);
    return backend_ref.open(out, ctx, "ref", err);
}

static void fill(void)
{
    twin = backend_ref;
    twin.name = "twin";
    twin.open = twin_open;
}

const struct backend *backend_twin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return &twin;
}
