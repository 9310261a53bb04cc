/* SPDX-License-Identifier: MIT
 *
 * embed: an encoder's own server: made when it first embeds, and given new numbers before each call. What
 * a reader would get wrong: the encoder's lock is held while weights are folded, so that they are of one step of a
 * trainer, and not while images are computed. */
#include "algo/encoder.h"

/* Of one call at a time. */
#define PLANS 16

int encoder_embed_dim(const struct encoder *encoder, enum embed_what what)
{
    const struct graph *g = encoder->graph;
    return g->values[what == EMBED_FEATURES ? g->features : g->projection].c;
}

moco_status encoder_embed_shape(struct encoder *encoder, enum embed_what what, int h, int w, struct embed_shape *shape,
                                struct err *err)
{
    struct net_config config = encoder_config(encoder);
    return embed_shape_of(&config, encoder->graph, what, h, w, shape, err);
}

void encoder_warn_unseen(const struct encoder *encoder)
{
    if (encoder->graph->stat_count > 0 && encoder->numbers.tracked[0] == 0)
        ctx_log(encoder->ctx, LOG_WARN,
                "embed: BN has seen no batch yet, so its running statistics are still mean 0 and variance 1");
}

/* A ReLU or a fold would swallow what is not finite, and the features would look like any others. */
static moco_status fold(struct encoder *e, struct server *server, struct err *err)
{
    TRY(slab_check_finite(e, e->numbers.masters.at, "", NULL, err));
    TRY(running_check_finite(e, "", err));
    TRY(server_fold(server, e->numbers.masters.at, e->numbers.stats.at, err));
    encoder_warn_unseen(e);
    return MOCO_OK;
}

moco_status encoder_fold(struct encoder *encoder, struct server *server, struct err *err)
{
    encoder_lock_landed(encoder);
    moco_status status = fold(encoder, server, err);
    encoder_unlock(encoder);
    return status;
}

static moco_status prepare(struct encoder *e, struct err *err)
{
    struct be_info info;
    if (e->server != NULL)
        return MOCO_OK;
    e->be->info(e->dev, &info);
    struct net_config config = encoder_config(e);
    struct server_options options = {.precision = info.inference, .steady = 1, .workspaces = 1, .plans = PLANS};
    return server_create(&e->server, e->ctx, e->be, e->dev, &config, &options, err);
}

moco_status encoder_embed(struct encoder *encoder, const struct embed_input *input, enum embed_what what, void *out,
                          int f64, struct err *err)
{
    TRY(encoder->be->ready(encoder->dev, err));
    TRY(prepare(encoder, err));
    encoder_lock_landed(encoder);
    moco_status status = MOCO_OK;
    if (encoder->folded != encoder->version + 1) {
        encoder->folded = 0;
        status = fold(encoder, encoder->server, err);
        if (status == MOCO_OK)
            encoder->folded = encoder->version + 1;
    }
    encoder_unlock(encoder);
    TRY(status);
    return server_embed(encoder->server, input, what, out, f64, err);
}
