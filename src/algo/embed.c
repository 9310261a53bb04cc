/* SPDX-License-Identifier: MIT
 *
 * embed: turns images into vectors through an inference plan, with BN folded into the convolutions. How many images
 * run at once depends on the device and the image size alone, and every launch is full (the last one repeats its
 * last image). A picture's vector therefore does not depend on the pictures beside it. Plan and memory are kept for
 * the next call of the same kind. */
#include <math.h>
#include <string.h>

#include "algo/encoder.h"
#include "algo/reals.h"

struct embedder {
    int h, w, f32, chunk, dim;
    enum embed_what what;
    struct graph *graph; /* the network at h x w */
    struct be_plan *plan;
    struct be_memory slab, out;
    void *rows;      /* host reals [chunk][dim] */
    float *padded;   /* f32 input only: a last launch that is not full */
    int32_t *index;  /* u8 input only: the same, by repeating the last image */
    uint64_t folded; /* version of the encoder that was folded last */
    int has_folded;
};

static int value_of(const struct graph *g, enum embed_what what)
{
    return what == EMBED_FEATURES ? g->features : g->projection;
}

int encoder_embed_dim(const struct encoder *encoder, enum embed_what what)
{
    return encoder->graph->values[value_of(encoder->graph, what)].c;
}

static int chunk_of(const struct be_info *info, int h, int w)
{
    int64_t chunk = info->embed_pixels / ((int64_t)h * w);
    return chunk < 1 ? 1 : chunk > info->embed_images ? info->embed_images : (int)chunk;
}

static void embedder_free(struct encoder *encoder)
{
    struct embedder *m = encoder->embedder;
    if (m == NULL)
        return;
    if (m->plan != NULL)
        encoder->be->plan_free(m->plan);
    encoder->be->release(encoder->dev, &m->slab);
    encoder->be->release(encoder->dev, &m->out);
    graph_free(m->graph);
    mem_free(encoder->ctx, m->rows);
    mem_free(encoder->ctx, m->padded);
    mem_free(encoder->ctx, m->index);
    mem_free(encoder->ctx, m);
    encoder->embedder = NULL;
}

static moco_status take_memory(struct encoder *e, struct embedder *m, struct err *err)
{
    struct be_plan_bytes bytes;
    e->be->plan_bytes(m->plan, &bytes);
    size_t row = (size_t)m->dim * e->real_bytes, chunk = (size_t)m->chunk;
    TRY(e->be->alloc(e->dev, bytes.slab, &m->slab, err));
    TRY(e->be->alloc(e->dev, chunk * row, &m->out, err));
    m->rows = mem_array(e->ctx, chunk, row, err);
    if (m->f32)
        m->padded = mem_array(e->ctx, chunk * 3, (size_t)m->h * (size_t)m->w * sizeof(float), err);
    else
        m->index = mem_array(e->ctx, chunk, sizeof *m->index, err);
    if (m->rows == NULL || (m->padded == NULL && m->index == NULL))
        return MOCO_ENOMEM;
    return e->be->plan_bind(m->plan, m->slab.at, err);
}

static moco_status build(struct encoder *e, struct embedder *m, const struct be_info *info, struct err *err)
{
    struct net_config config = encoder_config(e);
    config.image_h = m->h;
    config.image_w = m->w;
    TRY(net_build(&m->graph, e->ctx, &config, err));
    m->dim = encoder_embed_dim(e, m->what);
    struct be_plan_spec spec = {.graph = m->graph,
                                .layout = e->layout,
                                .precision = info->inference,
                                .pass = BE_INFER,
                                .n = m->chunk,
                                .groups = 1,
                                .output = value_of(m->graph, m->what),
                                .f32_input = m->f32};
    TRY(e->be->plan_create(&m->plan, e->dev, &spec, err));
    return take_memory(e, m, err);
}

/* The embedder for this kind of call: the one there is, or a new one in its place. */
static moco_status prepare(struct encoder *e, const struct embed_input *input, enum embed_what what, struct err *err)
{
    struct embedder *m = e->embedder;
    if (m != NULL && m->h == input->h && m->w == input->w && m->f32 == input->f32 && m->what == what)
        return MOCO_OK;
    embedder_free(e);
    m = mem_zalloc(e->ctx, sizeof *m, err);
    if (m == NULL)
        return MOCO_ENOMEM;
    e->embedder = m;
    e->embedder_free = embedder_free;
    m->h = input->h;
    m->w = input->w;
    m->f32 = input->f32;
    m->what = what;
    struct be_info info;
    e->be->info(e->dev, &info);
    m->chunk = chunk_of(&info, m->h, m->w);
    moco_status status = build(e, m, &info, err);
    if (status != MOCO_OK)
        embedder_free(e);
    return status;
}

/* A ReLU or a fold would swallow what is not finite, and the features would look like any others. */
static moco_status check_numbers(struct encoder *e, struct err *err)
{
    TRY(slab_check_finite(e, e->numbers.masters.at, "", NULL, err));
    return running_check_finite(e, "", err);
}

/* With the encoder's lock: weights are folded as one step of a trainer left them, and the launches that follow read
 * nothing else. */
static moco_status fold(struct encoder *e, struct err *err)
{
    struct embedder *m = e->embedder;
    if (m->has_folded && m->folded == e->version)
        return MOCO_OK;
    m->has_folded = 0;
    TRY(check_numbers(e, err));
    TRY(e->be->plan_fold(m->plan, e->numbers.masters.at, e->numbers.stats.at, err));
    if (e->graph->stat_count > 0 && e->numbers.tracked[0] == 0)
        ctx_log(e->ctx, LOG_WARN,
                "embed: BN has seen no batch yet, so its running statistics are still mean 0 and variance 1");
    m->folded = e->version;
    m->has_folded = 1;
    return MOCO_OK;
}

/* One launch over `count` <= chunk images. */
static moco_status run_chunk(struct encoder *e, const char *images, size_t image_bytes, int count, struct err *err)
{
    struct embedder *m = e->embedder;
    struct be_forward io = {.out = m->out.at};
    if (m->f32 && count < m->chunk) {
        char *padded = (char *)m->padded;
        memcpy(padded, images, (size_t)count * image_bytes);
        for (int j = count; j < m->chunk; j++)
            memcpy(padded + (size_t)j * image_bytes, images + (size_t)(count - 1) * image_bytes, image_bytes);
        images = padded;
    }
    if (!m->f32) {
        for (int j = 0; j < m->chunk; j++)
            m->index[j] = j < count ? j : count - 1;
        io.index = m->index;
    }
    io.images = images;
    TRY(e->be->forward(m->plan, &io, err));
    return e->be->read(e->dev, m->rows, m->out.at, (size_t)count * (size_t)m->dim * e->real_bytes, err);
}

/* Rows from row `done` of the output on. MOCO_ENUMERIC if one is not finite in the output's type. */
static moco_status write_rows(void *out, int f64, int64_t done, int count, const struct encoder *e, struct err *err)
{
    const struct embedder *m = e->embedder;
    int64_t first = done * m->dim;
    for (int64_t i = 0; i < (int64_t)count * m->dim; i++) {
        double value = real_at(m->rows, e->real_bytes, (size_t)i);
        if (!isfinite(f64 ? value : (double)(float)value))
            return err_set(err, MOCO_ENUMERIC, "the embedding of image %lld is not finite",
                           (long long)(done + i / m->dim));
        if (f64)
            ((double *)out)[first + i] = value;
        else
            ((float *)out)[first + i] = (float)value;
    }
    return MOCO_OK;
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

moco_status encoder_embed(struct encoder *encoder, const struct embed_input *input, enum embed_what what, void *out,
                          int f64, struct err *err)
{
    TRY(check_input(input, err));
    TRY(encoder->be->ready(encoder->dev, err));
    TRY(prepare(encoder, input, what, err));
    encoder_lock(encoder);
    moco_status folded = fold(encoder, err);
    encoder_unlock(encoder);
    TRY(folded);
    const struct embedder *m = encoder->embedder;
    size_t image_bytes = (size_t)3 * (size_t)input->h * (size_t)input->w * (input->f32 ? sizeof(float) : 1);
    for (int64_t done = 0; done < input->n; done += m->chunk) {
        int count = input->n - done < m->chunk ? (int)(input->n - done) : m->chunk;
        TRY(run_chunk(encoder, (const char *)input->images + (size_t)done * image_bytes, image_bytes, count, err));
        TRY(write_rows(out, f64, done, count, encoder, err));
    }
    return MOCO_OK;
}
