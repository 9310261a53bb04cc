/* SPDX-License-Identifier: MIT
 *
 * gallery_make: see gallery_make.h. There are two passes: over the images of the map, some of which become queries,
 * and over training images, among which the neighbours of the queries are searched by cosine, as the kNN monitor
 * does. */
#include "gallery_make.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder/run_dir.h"
#include "gallery.h"
#include "images/thumbnail.h"
#include "measure/encode.h"
#include "measure/pca.h"
#include "measure/tsne.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/markup.h"
#include "support/unreadable.h"

#define BATCH 100
#define ORDER_SEED 1 /* of which images are looked at: the same in every run, so that runs can be compared */
#define QUERIES 8
#define SHEETS 6
#define EPOCHS 4 /* whose views are shown, two of each */
#define CLASSES_SEEN 4096
#define COLUMNS 40 /* of the sheet with the map's pictures */
#define BLOCK 16   /* pixels that JPEG compresses together: no picture shares one with another */

struct query {
    const float *feature; /* in the map's block */
    struct gallery_picture picture[1 + GALLERY_NEIGHBOURS];
    int pictures;
};

struct work {
    const struct gallery_plan *plan;
    moco_encoder *encoder;
    int32_t dim;
    int64_t points;
    float *map; /* [points, dim], of length 1 */
    int32_t *label;
    uint8_t *tiles; /* [rows, columns] pictures of `pitch` pixels each way */
    int tile, pitch, columns;
    float *features; /* [BATCH, dim] */
    struct query query[QUERIES];
    int queries;
    struct unreadable of_map, of_bank;
    unsigned char seen[CLASSES_SEEN]; /* classes (mod) that a query has already */
    struct markup out;
};

static moco_status no_memory(struct err *err)
{
    return err_set(err, MOCO_ENOMEM, "out of memory");
}

/* ---- images to features ---- */

static moco_status embed(struct work *w, const moco_batch *batch, int32_t n, float *features, struct err *err)
{
    TRY(encode_batch(w->encoder, w->plan->on, batch, n, features, err));
    for (int32_t i = 0; i < n; i++) {
        float *row = features + (int64_t)i * w->dim;
        double sum = 0;
        for (int32_t j = 0; j < w->dim; j++)
            sum += (double)row[j] * row[j];
        for (int32_t j = 0; j < w->dim && sum > 0; j++)
            row[j] = (float)(row[j] / sqrt(sum));
    }
    return MOCO_OK;
}

static moco_status picture_of(const struct work *w, moco_dataset *set, const moco_batch *batch, int32_t i,
                              struct gallery_picture *p, struct err *err)
{
    p->id = batch->ids[i];
    p->label = moco_dataset_label(set, p->id);
    return thumbnail_make(batch->view[0] + (size_t)i * (size_t)batch->h * (size_t)batch->w * 3, w->plan->eval.size,
                          &p->jpeg, err);
}

/* A query of each class that comes by, until there are enough. */
static moco_status choose(struct work *w, moco_dataset *set, const moco_batch *batch, int32_t i, const float *feature,
                          struct err *err)
{
    int32_t label = moco_dataset_label(set, batch->ids[i]);
    unsigned char *seen = &w->seen[label < 0 ? 0 : label % CLASSES_SEEN];
    if (w->queries == QUERIES || (*seen && label >= 0 && w->queries < moco_dataset_classes(set)))
        return MOCO_OK;
    *seen = 1;
    struct query *q = &w->query[w->queries];
    TRY(picture_of(w, set, batch, i, &q->picture[0], err));
    q->picture[0].cosine = NAN;
    q->pictures = 1;
    q->feature = feature;
    w->queries++;
    return MOCO_OK;
}

static moco_status compare(struct work *w, moco_dataset *set, const moco_batch *batch, int32_t i, const float *feature,
                           struct err *err)
{
    for (int k = 0; k < w->queries; k++) {
        struct query *q = &w->query[k];
        double cosine = 0;
        if (w->plan->held_out == NULL && batch->ids[i] == q->picture[0].id)
            continue; /* itself */
        for (int32_t j = 0; j < w->dim; j++)
            cosine += (double)feature[j] * q->feature[j];
        if (q->pictures > GALLERY_NEIGHBOURS && !(cosine > q->picture[GALLERY_NEIGHBOURS].cosine))
            continue;
        struct gallery_picture new = {.cosine = cosine};
        TRY(picture_of(w, set, batch, i, &new, err));
        if (q->pictures > GALLERY_NEIGHBOURS)
            free(q->picture[--q->pictures].jpeg);
        int at = q->pictures++;
        for (; at > 1 && q->picture[at - 1].cosine < cosine; at--)
            q->picture[at] = q->picture[at - 1];
        q->picture[at] = new;
    }
    return MOCO_OK;
}

static void add_tile(struct work *w, const moco_batch *batch, int32_t i, int64_t point)
{
    size_t row = (size_t)w->pitch * (size_t)w->columns * 3; /* bytes of one row of pixels */
    size_t down = (size_t)(point / w->columns) * (size_t)w->pitch, across = (size_t)(point % w->columns);
    thumbnail_shrink(batch->view[0] + (size_t)i * (size_t)batch->h * (size_t)batch->w * 3, w->plan->eval.size,
                     w->tiles + down * row + across * (size_t)w->pitch * 3, w->tile, row);
}

/* The first `*images` of the set in a random order: to the map, or (`bank`) to be compared with the queries. Fewer if
 * time runs out or some cannot be read: *images says how many. */
static moco_status sweep(struct work *w, moco_dataset *set, int64_t *images, int bank, struct unreadable *unreadable,
                         struct err *err)
{
    moco_loader *loader = NULL;
    moco_loader_options o;
    moco_batch batch;
    moco_status status;
    int64_t count = *images, done = 0;
    double begun = seconds_now();
    moco_batch_init(&batch);
    moco_loader_options_init(&o);
    o.batch_size = BATCH;
    o.workers = w->plan->workers;
    o.permuted = 1;
    o.drop_last = 0;
    o.seed = ORDER_SEED;
    o.max_bad = w->plan->max_bad;
    o.bad = MOCO_BAD_SKIP;
    o.max_pixels = w->plan->max_pixels;
    o.recipe[0] = &w->plan->eval;
    TRY_GOTO(status, from_moco(moco_loader_create(&loader, set, &o), err), out);
    TRY_GOTO(status, from_moco(moco_loader_start(loader, 0), err), out);
    while (done < count) {
        if (w->plan->stop != NULL && w->plan->stop()) {
            status = MOCO_ECANCELED;
            goto out;
        }
        status = moco_loader_next(loader, &batch);
        if (status == MOCO_EEND) /* there were unreadable ones */
            break;
        TRY_GOTO(status, from_moco(status, err), out);
        int32_t n = batch.n < count - done ? batch.n : (int32_t)(count - done);
        float *features = bank ? w->features : w->map + done * w->dim;
        TRY_GOTO(status, embed(w, &batch, n, features, err), out);
        for (int32_t i = 0; i < n; i++) {
            const float *feature = features + (int64_t)i * w->dim;
            if (!bank) {
                w->label[done + i] = moco_dataset_label(set, batch.ids[i]);
                add_tile(w, &batch, i, done + i);
            }
            TRY_GOTO(status, (bank ? compare : choose)(w, set, &batch, i, feature, err), out);
        }
        done += n;
        if (w->plan->seconds > 0 && seconds_now() - begun > w->plan->seconds / 2)
            break;
    }
    *images = done;
    status = unreadable_ask(unreadable, loader, done, err);
out:
    moco_loader_free(loader);
    return status;
}

/* ---- what is written ---- */

static void put_numbers(struct markup *m, const char *name, const double *value, int64_t count, int digits)
{
    markup_printf(m, "\"%s\":[", name);
    for (int64_t i = 0; i < count; i++)
        markup_printf(m, "%s%.*g", i > 0 ? "," : "", digits, isfinite(value[i]) ? value[i] : 0.0);
    markup_put(m, "]");
}

static void put_picture(struct markup *m, const struct gallery_picture *p)
{
    markup_printf(m, "{\"id\":%lld,\"label\":", (long long)p->id);
    if (p->label >= 0)
        markup_printf(m, "%d", (int)p->label);
    else
        markup_put(m, "null");
    markup_put(m, ",\"cosine\":");
    if (isfinite(p->cosine))
        markup_printf(m, "%.5g", p->cosine);
    else
        markup_put(m, "null");
    markup_put(m, ",\"jpeg\":\"");
    markup_put(m, p->jpeg);
    markup_put(m, "\"}");
}

static void put_queries(struct work *w)
{
    struct markup *m = &w->out;
    markup_put(m, ",\n\"neighbours\":[");
    for (int i = 0; i < w->queries; i++) {
        markup_put(m, i > 0 ? ",\n[" : "\n[");
        for (int j = 0; j < w->query[i].pictures; j++) {
            markup_put(m, j > 0 ? ",\n" : "");
            put_picture(m, &w->query[i].picture[j]);
        }
        markup_put(m, "]");
    }
    markup_put(m, "]");
}

static void put_classes(struct work *w, moco_dataset *set)
{
    struct markup *m = &w->out;
    int32_t classes = moco_dataset_classes(set);
    markup_put(m, ",\n\"classes\":[");
    for (int32_t i = 0; i < classes && i < GALLERY_CLASSES_MAX; i++) {
        markup_put(m, i > 0 ? "," : "");
        markup_json(m, w->plan->class_name != NULL ? w->plan->class_name[i] : moco_dataset_class_name(set, i));
    }
    markup_put(m, "]");
}

/* Before the plane is looked for, which moves the rows to their mean. */
static moco_status put_statistics(struct work *w, struct err *err)
{
    moco_feature_stats stats;
    moco_tensor features;
    if (w->points < 2)
        return MOCO_OK;
    double *values = malloc((size_t)w->dim * sizeof *values);
    if (values == NULL)
        return no_memory(err);
    moco_feature_stats_init(&stats);
    moco_tensor_init(&features);
    features.dtype = MOCO_F32;
    features.ndim = 2;
    features.shape[0] = w->points;
    features.shape[1] = w->dim;
    features.data = w->map;
    moco_status status = from_moco(moco_feature_stats_compute(w->plan->device, &features, NULL, &stats, values), err);
    if (status == MOCO_OK) {
        markup_put(&w->out, ",\n");
        put_numbers(&w->out, "spectrum", values, w->dim, 6);
        markup_printf(&w->out, ",\"effective_rank\":%.6g,\"uniformity\":%.6g", stats.effective_rank, stats.uniformity);
    }
    free(values);
    return status;
}

static void put_plane(struct work *w, const double *x, const double *y, double trust)
{
    put_numbers(&w->out, "x", x, w->points, 5);
    markup_put(&w->out, ",\n");
    put_numbers(&w->out, "y", y, w->points, 5);
    markup_put(&w->out, ",\"trust\":");
    if (isfinite(trust))
        markup_printf(&w->out, "%.4f", trust);
    else
        markup_put(&w->out, "null");
}

/* The plane of the principal components, and what t-SNE makes of it. `xy`: [3, points], room. */
static moco_status put_planes(struct work *w, const float *distances, double *xy, struct err *err)
{
    double part[2], trust, perplexity = TSNE_PERPLEXITY, *x = xy, *y = x + w->points, *label = y + w->points;
    TRY(pca_plane(w->map, w->points, w->dim, x, y, part, err));
    TRY(plane_trust(distances, w->points, x, y, TSNE_NEIGHBOURS, &trust, err));
    for (int64_t i = 0; i < w->points; i++)
        label[i] = w->label[i];
    markup_put(&w->out, ",\n\"map\":{");
    put_numbers(&w->out, "part", part, 2, 6);
    markup_put(&w->out, ",\n");
    put_numbers(&w->out, "label", label, w->points, 9);
    markup_put(&w->out, ",\n");
    put_plane(w, x, y, trust);
    TRY(tsne_plane(distances, w->points, &perplexity, w->plan->stop, x, y, err));
    TRY(plane_trust(distances, w->points, x, y, TSNE_NEIGHBOURS, &trust, err));
    markup_printf(&w->out, "},\n\"tsne\":{\"perplexity\":%.6g,\n", perplexity);
    put_plane(w, x, y, trust);
    markup_put(&w->out, "}");
    return MOCO_OK;
}

static moco_status put_maps(struct work *w, struct err *err)
{
    size_t n = (size_t)w->points;
    float *distances = malloc(n * n * sizeof *distances);
    double *xy = malloc(3 * n * sizeof *xy);
    moco_status status = distances == NULL || xy == NULL ? no_memory(err) : MOCO_OK;
    if (status == MOCO_OK) {
        plane_distances(w->map, w->points, w->dim, distances);
        status = put_planes(w, distances, xy, err);
    }
    free(distances);
    free(xy);
    return status;
}

static moco_status put_tiles(struct work *w, struct err *err)
{
    char *jpeg;
    int rows = (int)((w->points + w->columns - 1) / w->columns);
    TRY(thumbnail_sheet(w->tiles, w->columns * w->pitch, rows * w->pitch, &jpeg, err));
    markup_printf(&w->out, ",\n\"tiles\":{\"side\":%d,\"pitch\":%d,\"columns\":%d,\"jpeg\":\"", w->tile, w->pitch,
                  w->columns);
    markup_put(&w->out, jpeg);
    markup_put(&w->out, "\"}");
    free(jpeg);
    return MOCO_OK;
}

/* ---- views ---- */

static moco_status open_views(struct work *w, moco_loader **loader, int training, struct err *err)
{
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = 1;
    o.workers = 0;
    o.permuted = 0; /* views are drawn by epoch and sample number, whatever the order */
    o.drop_last = 0;
    o.seed = w->plan->seed;
    o.max_bad = moco_dataset_count(w->plan->train); /* the sweeps have judged that */
    o.bad = MOCO_BAD_SKIP;
    o.max_pixels = w->plan->max_pixels;
    o.recipe[0] = training ? &w->plan->view : &w->plan->eval;
    o.recipe[1] = training ? &w->plan->view : NULL;
    return from_moco(moco_loader_create(loader, w->plan->train, &o), err);
}

struct sheet {
    char *jpeg[1 + 2 * EPOCHS]; /* the image, then its views */
    int pictures;
};

static void sheet_clear(struct sheet *s)
{
    while (s->pictures > 0)
        free(s->jpeg[--s->pictures]);
}

static moco_status add_picture(struct sheet *s, const moco_batch *batch, int view, struct err *err)
{
    TRY(thumbnail_make(batch->view[view], batch->w, &s->jpeg[s->pictures], err));
    s->pictures++;
    return MOCO_OK;
}

/* The first readable image from number *id on, which *id becomes, with the views that the first epochs draw of it. No
 * pictures: there is none, or its views cannot be drawn, for they show a damaged part of it that the image's middle
 * does not. */
static moco_status make_sheet(struct sheet *s, moco_loader *plain, moco_loader *drawn, int64_t *id, struct err *err)
{
    moco_batch batch;
    moco_batch_init(&batch);
    TRY(from_moco(moco_loader_start_at(plain, 0, *id), err));
    moco_status status = moco_loader_next(plain, &batch);
    if (status == MOCO_EEND)
        return MOCO_OK;
    TRY(from_moco(status, err));
    TRY(add_picture(s, &batch, 0, err));
    *id = batch.ids[0];
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        TRY(from_moco(moco_loader_start_at(drawn, epoch, *id), err));
        status = moco_loader_next(drawn, &batch);
        if (status != MOCO_EEND)
            TRY(from_moco(status, err));
        if (status == MOCO_EEND || batch.ids[0] != *id) {
            sheet_clear(s);
            return MOCO_OK;
        }
        TRY(add_picture(s, &batch, 0, err));
        TRY(add_picture(s, &batch, 1, err));
    }
    return MOCO_OK;
}

static void put_sheet(struct markup *m, const struct sheet *s, int first)
{
    markup_put(m, first ? "\n[" : ",\n[");
    for (int i = 0; i < s->pictures; i++) {
        markup_put(m, i > 0 ? ",\"" : "\"");
        markup_put(m, s->jpeg[i]);
        markup_put(m, "\"");
    }
    markup_put(m, "]");
}

/* A few training images, from all over the set. */
static moco_status put_views(struct work *w, struct err *err)
{
    moco_loader *plain = NULL, *drawn = NULL;
    struct sheet sheet = {.pictures = 0};
    int64_t count = moco_dataset_count(w->plan->train), sheets = count < SHEETS ? count : SHEETS, last = -1;
    int put = 0;
    moco_status status;
    TRY_GOTO(status, open_views(w, &plain, 0, err), out);
    TRY_GOTO(status, open_views(w, &drawn, 1, err), out);
    markup_put(&w->out, ",\n\"views\":[");
    for (int64_t i = 0; i < sheets; i++) {
        int64_t id = (2 * i + 1) * count / (2 * sheets);
        if (id <= last)
            continue; /* shown already, in place of one before it */
        TRY_GOTO(status, make_sheet(&sheet, plain, drawn, &id, err), out);
        if (sheet.pictures > 0) {
            put_sheet(&w->out, &sheet, put++ == 0);
            last = id;
        }
        sheet_clear(&sheet);
    }
    markup_put(&w->out, "]");
out:
    sheet_clear(&sheet);
    moco_loader_free(plain);
    moco_loader_free(drawn);
    return status;
}

/* ---- all of it ---- */

static void tell(const struct gallery_plan *p, const struct unreadable *u, const char *what)
{
    char text[UNREADABLE_TEXT];
    if (u->count > 0 && p->warn != NULL)
        p->warn(unreadable_text(u, what, text, sizeof text));
}

static moco_status make(struct work *w, int64_t epoch, int64_t step, struct err *err)
{
    const struct gallery_plan *p = w->plan;
    moco_dataset *set = p->held_out != NULL ? p->held_out : p->train;
    int64_t bank = moco_dataset_count(p->train), all = moco_dataset_count(set);
    w->points = all < p->map_limit ? all : p->map_limit;
    bank = bank < p->bank_limit ? bank : p->bank_limit;
    w->map = malloc(sizeof(float) * (size_t)w->points * (size_t)w->dim);
    w->label = malloc(sizeof *w->label * (size_t)w->points);
    w->features = malloc(sizeof(float) * BATCH * (size_t)w->dim);
    w->tile = p->eval.size < GALLERY_TILE_MAX ? p->eval.size : GALLERY_TILE_MAX;
    w->pitch = (w->tile + BLOCK - 1) / BLOCK * BLOCK;
    w->columns = w->points < COLUMNS ? (int)w->points : COLUMNS;
    w->tiles = calloc((size_t)(w->points + COLUMNS) * (size_t)w->pitch, (size_t)w->pitch * 3);
    if (w->map == NULL || w->label == NULL || w->features == NULL || w->tiles == NULL)
        return no_memory(err);
    TRY(sweep(w, set, &w->points, 0, &w->of_map, err));
    TRY(unreadable_check(&w->of_map, p->held_out != NULL ? "held-out images" : "training images", err));
    TRY(sweep(w, p->train, &bank, 1, &w->of_bank, err));
    tell(p, &w->of_map, p->held_out != NULL ? "held-out images" : "training images");
    if (p->held_out != NULL)
        tell(p, &w->of_bank, "training images");
    markup_printf(&w->out, "{\"epoch\":%lld,\"step\":%lld,\"on\":\"%s\",\"of\":\"%s\",\"bank\":%lld,\"side\":%d",
                  (long long)epoch, (long long)step, p->on == MOCO_PROJECTION ? "projection" : "features",
                  p->held_out != NULL ? "held-out" : "training", (long long)bank,
                  p->eval.size < THUMBNAIL_SIDE ? p->eval.size : THUMBNAIL_SIDE);
    markup_printf(&w->out, ",\"unreadable\":%lld",
                  (long long)(p->held_out != NULL ? w->of_map.count + w->of_bank.count : w->of_bank.count));
    markup_put(&w->out, ",\"recipe\":");
    markup_json(&w->out, p->recipe);
    put_classes(w, set);
    TRY(put_statistics(w, err));
    put_queries(w); /* they point into the map's rows, which the plane moves */
    TRY(put_maps(w, err));
    TRY(put_tiles(w, err));
    TRY(put_views(w, err));
    markup_put(&w->out, "}\n");
    return MOCO_OK;
}

moco_status gallery_make(const struct gallery_plan *plan, moco_model *model, const char *folder, int64_t epoch,
                         int64_t step, struct err *err)
{
    char path[RUN_PATH_SIZE];
    struct work *w = calloc(1, sizeof *w);
    if (w == NULL)
        return no_memory(err);
    w->plan = plan;
    moco_status status = encode_make(&w->encoder, model, plan->precision, err);
    w->dim = encode_dim(w->encoder, plan->on);
    if (status == MOCO_OK)
        status = make(w, epoch, step, err);
    run_dir_path(folder, "gallery.json", path);
    if (status == MOCO_OK)
        status = markup_save(&w->out, path, err);
    for (int i = 0; i < w->queries; i++)
        for (int j = 0; j < w->query[i].pictures; j++)
            free(w->query[i].picture[j].jpeg);
    markup_free(&w->out);
    moco_encoder_free(w->encoder);
    free(w->map);
    free(w->label);
    free(w->features);
    free(w->tiles);
    free(w);
    return status;
}
