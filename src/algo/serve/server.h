/* SPDX-License-Identifier: MIT
 *
 * server: a network for inference: one set of folded weights, and workspaces in which any number of threads run them
 * side by side. What a reader would get wrong: a thread holds the server's locks while it takes and gives back a
 * workspace, and while a plan is made, and never while it computes; and only server_fold changes a number, which whoever
 * calls it keeps apart from every other call. */
#ifndef MOCO_ALGO_SERVER_H
#define MOCO_ALGO_SERVER_H

#include "backend/backend.h"
#include "net/net.h"

struct server;

struct server_options {
    enum be_precision precision;
    int steady;      /* a picture's numbers do not depend on those that come with it */
    int most_images; /* of a launch; 0: as the device likes it */
    int workspaces;  /* at most, 1 or more: who finds all of them taken waits */
    int plans;       /* kept by a workspace, 1 or more */
};

enum embed_what { EMBED_FEATURES, EMBED_PROJECTION, EMBED_LAYER1, EMBED_LAYER2, EMBED_LAYER3, EMBED_LAYER4 };

struct embed_input {
    const void *images; /* u8 [n,h,w,3], or f32 [n,3,h,w] already normalised */
    int f32;
    int64_t n;
    int h, w;
};

struct server_usage {
    int64_t weights, workspaces, largest; /* bytes: of folded weights, of all workspaces, of the largest of them */
    int64_t plans;                        /* compiled so far */
    int count;                            /* workspaces */
};

/* Without numbers: nothing but server_fold, server_usage and server_free may follow. */
moco_status server_create(struct server **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                          const struct net_config *config, const struct server_options *options, struct err *err);
void server_free(struct server *server); /* NULL is fine */

/* From slabs of any layout of this network on the device. */
moco_status server_fold(struct server *server, const void *masters, const void *stats, struct err *err);
/* From parameters that come one at a time, if the device can do that. */
int server_folds_from(const struct server *server);
moco_status server_fold_from(struct server *server, const struct be_params *params, const void *stats, struct err *err);

int server_dim(const struct server *server, enum embed_what what); /* channels of a feature map */

/* What comes of one image: a vector (ndim 1), or a feature map of channels, height, width (3). */
struct embed_shape {
    int ndim;
    int64_t shape[3], count;
};
moco_status server_shape(const struct server *server, enum embed_what what, int h, int w, struct embed_shape *shape,
                         struct err *err);
/* The same of a network that nobody serves; `graph` is of any image size. */
moco_status embed_shape_of(const struct net_config *config, const struct graph *graph, enum embed_what what, int h,
                           int w, struct embed_shape *shape, struct err *err);

/* Writes n rows of server_shape numbers, f32 or (`f64`) f64. Threads: any number at once. MOCO_ECANCELED: server_cancel
 * was called meanwhile; rows are written in part then. */
moco_status server_embed(struct server *server, const struct embed_input *input, enum embed_what what, void *out,
                         int f64, struct err *err);

/* Sees to `workspaces` workspaces that have run, and have all that an embedding of up to `input->n` images takes
 * (input->images is not looked at). Waits for those that are taken. MOCO_EINVAL: more than there may be. */
moco_status server_reserve(struct server *server, int workspaces, const struct embed_input *input, enum embed_what what,
                           struct err *err);

/* Images of the largest launch for up to `n` of h x w. */
int server_launch(const struct server *server, int h, int w, int64_t n);

/* How often server_cancel was called: for who makes several calls that belong together. */
uint64_t server_cancels(struct server *server);

/* Ends the calls that are in progress, also those that wait, and none that begins later. Threads: any. */
void server_cancel(struct server *server);

void server_usage(struct server *server, struct server_usage *usage);

#endif
