/* SPDX-License-Identifier: MIT
 *
 * self: the engine of one rank. Its block is the whole gather and its numbers are the sum, so nothing moves. */
#include "comm/comm.h"

static moco_status self_gather(void *self, void *blocks, size_t each, void **request, struct err *err)
{
    (void)self, (void)blocks, (void)each, (void)request, (void)err;
    return MOCO_OK;
}

static moco_status self_sum(void *self, void *data, size_t count, enum comm_real real, void **request, struct err *err)
{
    (void)self, (void)data, (void)count, (void)real, (void)request, (void)err;
    return MOCO_OK;
}

static moco_status self_test(void *self, void *request, int *done, struct err *err)
{
    (void)self, (void)request, (void)err;
    *done = 1;
    return MOCO_OK;
}

static int self_close(void *self, int broken)
{
    (void)self, (void)broken;
    return 0;
}

static const struct comm_engine self_engine = {
    .name = "self", .gather = self_gather, .sum = self_sum, .test = self_test, .close = self_close};

moco_status comm_self(struct comm **out, struct ctx *ctx, struct err *err)
{
    return comm_create(out, ctx, &self_engine, NULL, 0, 1, err);
}
