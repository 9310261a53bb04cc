/* SPDX-License-Identifier: MIT
 *
 * server: see server.h. Images are computed in launches of 1, 2, 4, 8, ... of them: the largest that is left to do and
 * not larger than the device likes. Free workspaces are kept last in, first out, so that one thread alone finds its own
 * memory warm. */
#include "algo/serve/server.h"

#include <math.h>

#include "algo/reals.h"
#include "algo/serve/workspace.h"

struct server {
    struct workspace_shared shared;
    struct graph *graph; /* at the configured image size */
    struct be_layout *layout;
    int64_t pixels;          /* of a launch */
    int most;                /* images of a launch */
    int limit;               /* workspaces */
    int locks;               /* that are made: compile, reserve, lock, change */
    pthread_mutex_t reserve; /* taken before a workspace is */
    pthread_mutex_t lock;    /* of what follows */
    pthread_cond_t change;
    struct workspace *free, *busy;
    int count;        /* those that are being made included */
    uint64_t cancels; /* calls of server_cancel */
};

/* ---- making ---- */

static moco_status make_locks(struct server *s, struct err *err)
{
    pthread_mutex_t *mutexes[] = {&s->shared.compile, &s->reserve, &s->lock};
    while (s->locks < 3 && pthread_mutex_init(mutexes[s->locks], NULL) == 0)
        s->locks++;
    if (s->locks < 3 || pthread_cond_init(&s->change, NULL) != 0)
        return err_set(err, MOCO_ENOMEM, "no memory for a lock");
    s->locks++;
    return MOCO_OK;
}

static void free_locks(struct server *s)
{
    pthread_mutex_t *mutexes[] = {&s->shared.compile, &s->reserve, &s->lock};
    if (s->locks > 3)
        pthread_cond_destroy(&s->change);
    for (int i = 0; i < 3 && i < s->locks; i++)
        pthread_mutex_destroy(mutexes[i]);
}

static moco_status make(struct server *s, const struct server_options *options, struct err *err)
{
    struct be_info info;
    s->shared.be->info(s->shared.dev, &info);
    s->shared.real_bytes = info.real_bytes;
    s->pixels = info.embed_pixels;
    s->most = options->most_images > 0 ? options->most_images : info.embed_images;
    TRY(make_locks(s, err));
    TRY(net_build(&s->graph, s->shared.ctx, &s->shared.config, err));
    TRY(s->shared.be->layout_create(&s->layout, s->shared.dev, s->graph, info.master, err));
    s->shared.layout = s->layout;
    return s->shared.be->weights_create(&s->shared.weights, s->shared.dev, s->graph, s->layout, options->precision,
                                        err);
}

moco_status server_create(struct server **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                          const struct net_config *config, const struct server_options *options, struct err *err)
{
    *out = NULL;
    struct server *s = mem_zalloc(ctx, sizeof *s, err);
    if (s == NULL)
        return MOCO_ENOMEM;
    s->shared.ctx = ctx;
    s->shared.be = be;
    s->shared.dev = dev;
    s->shared.config = *config;
    s->shared.precision = options->precision;
    s->shared.steady = options->steady;
    s->shared.plans = options->plans;
    s->limit = options->workspaces;
    atomic_init(&s->shared.compiled, 0);
    moco_status status = make(s, options, err);
    if (status != MOCO_OK) {
        server_free(s);
        return status;
    }
    *out = s;
    return MOCO_OK;
}

static void free_list(struct server *s, struct workspace *list)
{
    for (struct workspace *next; list != NULL; list = next) {
        next = list->next;
        workspace_free(list, &s->shared);
    }
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    free_list(s, s->free);
    s->shared.be->weights_free(s->shared.weights);
    if (s->layout != NULL)
        s->shared.be->layout_free(s->layout);
    graph_free(s->graph);
    free_locks(s);
    mem_free(s->shared.ctx, s);
}

moco_status server_fold(struct server *s, const void *masters, const void *stats, struct err *err)
{
    return s->shared.be->weights_fold(s->shared.weights, masters, stats, err);
}

int server_folds_from(const struct server *s)
{
    return s->shared.be->weights_fold_from != NULL;
}

moco_status server_fold_from(struct server *s, const struct be_params *params, const void *stats, struct err *err)
{
    return s->shared.be->weights_fold_from(s->shared.weights, params, stats, err);
}

/* ---- workspaces ---- */

static void forget_one(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    s->count--;
    pthread_cond_signal(&s->change);
    pthread_mutex_unlock(&s->lock);
}

/* With the lock, which it gives up. `since`: cancels when the call began. */
static moco_status begin(struct server *s, struct workspace *w, uint64_t since)
{
    atomic_store(w->cancel, s->cancels != since);
    w->next = s->busy;
    s->busy = w;
    pthread_mutex_unlock(&s->lock);
    return MOCO_OK;
}

/* A free workspace, or a new one, or, where there may be no more, the first that is given back. */
static moco_status take(struct server *s, struct workspace **out, struct err *err)
{
    pthread_mutex_lock(&s->lock);
    uint64_t since = s->cancels;
    while (s->free == NULL && s->count >= s->limit && s->cancels == since)
        pthread_cond_wait(&s->change, &s->lock);
    if (s->cancels != since) {
        pthread_mutex_unlock(&s->lock);
        return err_set(err, MOCO_ECANCELED, "cancelled");
    }
    if (s->free != NULL) {
        *out = s->free;
        s->free = s->free->next;
        return begin(s, *out, since);
    }
    s->count++;
    pthread_mutex_unlock(&s->lock);
    moco_status status = workspace_create(out, &s->shared, err);
    if (status != MOCO_OK) {
        forget_one(s);
        return status;
    }
    pthread_mutex_lock(&s->lock);
    return begin(s, *out, since);
}

static void give_back(struct server *s, struct workspace *w)
{
    pthread_mutex_lock(&s->lock);
    struct workspace **at = &s->busy;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    w->next = s->free;
    s->free = w;
    pthread_cond_signal(&s->change);
    pthread_mutex_unlock(&s->lock);
}

void server_cancel(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    s->cancels++;
    for (struct workspace *w = s->busy; w != NULL; w = w->next)
        atomic_store(w->cancel, 1);
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

uint64_t server_cancels(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t cancels = s->cancels;
    pthread_mutex_unlock(&s->lock);
    return cancels;
}

static void add_bytes(struct server_usage *usage, struct workspace *list)
{
    for (; list != NULL; list = list->next) {
        int64_t bytes = atomic_load(&list->bytes);
        usage->workspaces += bytes;
        usage->largest = bytes > usage->largest ? bytes : usage->largest;
        usage->count++;
    }
}

void server_usage(struct server *s, struct server_usage *usage)
{
    *usage = (struct server_usage){.plans = atomic_load(&s->shared.compiled)};
    pthread_mutex_lock(&s->shared.compile);
    usage->weights = (int64_t)s->shared.be->weights_bytes(s->shared.weights);
    pthread_mutex_unlock(&s->shared.compile);
    pthread_mutex_lock(&s->lock);
    add_bytes(usage, s->free);
    add_bytes(usage, s->busy);
    pthread_mutex_unlock(&s->lock);
}

/* ---- embedding ---- */

static int value_of(const struct graph *g, enum embed_what what)
{
    if (what >= EMBED_LAYER1)
        return g->layers[what - EMBED_LAYER1];
    return what == EMBED_FEATURES ? g->features : g->projection;
}

int server_dim(const struct server *s, enum embed_what what)
{
    return s->graph->values[value_of(s->graph, what)].c;
}

moco_status embed_shape_of(const struct net_config *config, const struct graph *graph, enum embed_what what, int h,
                           int w, struct embed_shape *shape, struct err *err)
{
    int channels = graph->values[value_of(graph, what)].c;
    *shape = (struct embed_shape){.ndim = 1, .shape = {channels}, .count = channels};
    if (what < EMBED_LAYER1)
        return MOCO_OK;
    struct net_config sized = *config;
    struct graph *g;
    sized.image_h = h;
    sized.image_w = w;
    TRY(net_build(&g, graph->ctx, &sized, err));
    const struct graph_value *value = &g->values[value_of(g, what)];
    *shape = (struct embed_shape){3, {channels, value->h, value->w}, (int64_t)channels * value->h * value->w};
    graph_free(g);
    return MOCO_OK;
}

moco_status server_shape(const struct server *s, enum embed_what what, int h, int w, struct embed_shape *shape,
                         struct err *err)
{
    return embed_shape_of(&s->shared.config, s->graph, what, h, w, shape, err);
}

/* The largest power of two that is neither more than `n` nor more than a launch should hold. */
int server_launch(const struct server *s, int h, int w, int64_t n)
{
    int64_t most = s->pixels / ((int64_t)h * w), launch = 1;
    most = most < s->most ? most : s->most;
    most = most < n ? most : n;
    while (2 * launch <= most)
        launch *= 2;
    return (int)launch;
}

/* All images before any is computed with. */
static moco_status check_input(const struct embed_input *input, struct err *err)
{
    int64_t image = (int64_t)3 * input->h * input->w;
    int64_t bad = input->f32 ? reals_first_bad(input->images, sizeof(float), (size_t)(input->n * image)) : -1;
    if (bad >= 0)
        return err_set(err, MOCO_ENUMERIC,
                       "images: number %lld of image %lld (channel %lld, row %lld, column %lld) is not finite",
                       (long long)(bad % image), (long long)(bad / image),
                       (long long)(bad % image / ((int64_t)input->h * input->w)),
                       (long long)(bad / input->w % input->h), (long long)(bad % input->w));
    return MOCO_OK;
}

/* Rows from row `done` of the output on. MOCO_ENUMERIC if one is not finite in the output's type. */
static moco_status write_rows(void *out, int f64, int64_t done, int64_t count, int64_t dim, const void *rows,
                              size_t real_bytes, struct err *err)
{
    int64_t first = done * dim;
    for (int64_t i = 0; i < count * dim; i++) {
        double value = real_at(rows, real_bytes, (size_t)i);
        if (!isfinite(f64 ? value : (double)(float)value))
            return err_set(err, MOCO_ENUMERIC, "the embedding of image %lld is not finite",
                           (long long)(done + i / dim));
        if (f64)
            ((double *)out)[first + i] = value;
        else
            ((float *)out)[first + i] = (float)value;
    }
    return MOCO_OK;
}

static moco_status embed_in(struct server *s, struct workspace *w, const struct embed_input *input,
                            enum embed_what what, void *out, int f64, struct err *err)
{
    size_t image = (size_t)3 * (size_t)input->h * (size_t)input->w * (input->f32 ? sizeof(float) : 1);
    struct workspace_kind kind = {.h = input->h, .w = input->w, .f32 = input->f32, .output = value_of(s->graph, what)};
    for (int64_t done = 0; done < input->n; done += kind.n) {
        kind.n = server_launch(s, input->h, input->w, input->n - done);
        TRY(workspace_run(w, &s->shared, &kind, (const char *)input->images + (size_t)done * image, err));
        TRY(write_rows(out, f64, done, kind.n, w->dim, w->rows, s->shared.real_bytes, err));
    }
    return MOCO_OK;
}

moco_status server_embed(struct server *s, const struct embed_input *input, enum embed_what what, void *out, int f64,
                         struct err *err)
{
    struct workspace *w;
    TRY(check_input(input, err));
    TRY(s->shared.be->ready(s->shared.dev, err));
    TRY(take(s, &w, err));
    moco_status status = embed_in(s, w, input, what, out, f64, err);
    give_back(s, w);
    return status;
}

/* ---- in advance ---- */

/* Runs one launch of every size that embedding up to input->n images may need. */
static moco_status rehearse(struct server *s, struct workspace *w, const struct embed_input *input,
                            enum embed_what what, const void *blank, struct err *err)
{
    struct workspace_kind kind = {.h = input->h, .w = input->w, .f32 = input->f32, .output = value_of(s->graph, what)};
    for (kind.n = server_launch(s, input->h, input->w, input->n); kind.n >= 1; kind.n /= 2)
        TRY(workspace_run(w, &s->shared, &kind, blank, err));
    return MOCO_OK;
}

/* Takes `count` workspaces, and holds each until all have run. One call at a time does so, or two could wait for each
 * other. */
static moco_status reserve(struct server *s, int count, const struct embed_input *input, enum embed_what what,
                           struct workspace **taken, const void *blank, struct err *err)
{
    int held = 0;
    moco_status status = MOCO_OK;
    pthread_mutex_lock(&s->reserve);
    while (held < count && status == MOCO_OK) {
        status = take(s, &taken[held], err);
        if (status == MOCO_OK)
            status = rehearse(s, taken[held++], input, what, blank, err);
    }
    while (held > 0)
        give_back(s, taken[--held]);
    pthread_mutex_unlock(&s->reserve);
    return status;
}

moco_status server_reserve(struct server *s, int workspaces, const struct embed_input *input, enum embed_what what,
                           struct err *err)
{
    if (workspaces < 1 || workspaces > s->limit)
        return err_set(err, MOCO_EINVAL, "%d workspaces are asked for; the encoder has 1 to %d", workspaces, s->limit);
    TRY(s->shared.be->ready(s->shared.dev, err));
    size_t image = (size_t)3 * (size_t)input->h * (size_t)input->w * (input->f32 ? sizeof(float) : 1);
    void *blank = mem_array(s->shared.ctx, (size_t)server_launch(s, input->h, input->w, input->n), image, err);
    struct workspace **taken = mem_array(s->shared.ctx, (size_t)workspaces, sizeof *taken, err);
    moco_status status = blank == NULL || taken == NULL ? MOCO_ENOMEM : MOCO_OK;
    if (status == MOCO_OK)
        status = reserve(s, workspaces, input, what, taken, blank, err);
    mem_free(s->shared.ctx, taken);
    mem_free(s->shared.ctx, blank);
    return status;
}
