/* SPDX-License-Identifier: MIT
 *
 * workspace: what one thread at a time computes in: memory, and plans bound to it, the latest ones used. What a reader
 * would get wrong: plans of all workspaces read the same folded weights, but each belongs to its workspace, because a
 * plan is run by one thread at a time; making the same one again takes a device a few milliseconds. */
#ifndef MOCO_ALGO_WORKSPACE_H
#define MOCO_ALGO_WORKSPACE_H

#include <pthread.h>

#include "backend/backend.h"
#include "net/net.h"

/* What all workspaces of a server share. */
struct workspace_shared {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    struct net_config config;
    const struct be_layout *layout;
    struct be_weights *weights;
    enum be_precision precision;
    size_t real_bytes;
    int steady, plans; /* plans: kept by a workspace */
    pthread_mutex_t compile;
    _Atomic int64_t compiled;
};

/* A launch; equal ones have equal bytes. */
struct workspace_kind {
    int n, h, w, f32, output; /* output: value of the network */
};

struct workspace_plan {
    struct workspace_kind kind;
    struct graph *graph; /* the network at h x w */
    struct be_plan *plan;
    size_t slab, row; /* bytes: of the plan's slab, of a row of its output */
    const void *bound;
    uint64_t used; /* when, in launches of the workspace */
};

struct workspace {
    struct workspace *next; /* of the server's lists */
    _Atomic int *cancel;
    struct be_memory slab, out;
    void *rows; /* host: reals of the output of a launch */
    size_t rows_bytes;
    int64_t dim;                  /* of a row, after a launch */
    struct workspace_plan *plans; /* [shared->plans] */
    int plan_count;
    uint64_t launches;
    _Atomic int64_t bytes;
};

moco_status workspace_create(struct workspace **out, const struct workspace_shared *shared, struct err *err);
void workspace_free(struct workspace *workspace, const struct workspace_shared *shared); /* NULL is fine */

/* One launch over kind->n images: workspace->rows holds their rows then. Makes the plan, and takes memory, where that
 * has not been done before. */
moco_status workspace_run(struct workspace *workspace, struct workspace_shared *shared,
                          const struct workspace_kind *kind, const void *images, struct err *err);

#endif
