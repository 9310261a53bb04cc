/* SPDX-License-Identifier: MIT
 *
 * gallery: see gallery.h. */
#include "gallery.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "file/file.h"
#include "folder/run_dir.h"
#include "images/thumbnail.h"

#define FILE_LIMIT (64 << 20)

/* ---- values ---- */

static moco_status wrong(struct err *err, const char *what, const char *why)
{
    return err_set(err, MOCO_EFORMAT, "its \"%s\" %s", what, why);
}

/* A malloc'ed string; what was at *to before is freed. */
static moco_status take_text(const struct json_token *t, const char *what, char **to, struct err *err)
{
    if (t->kind != JSON_STRING)
        return wrong(err, what, "is not a string");
    char *text = malloc(t->length + 1);
    if (text == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    text[json_decode(t, text)] = 0;
    free(*to);
    *to = text;
    return MOCO_OK;
}

static moco_status take_jpeg(const struct json_token *t, const char *what, char **to, struct err *err)
{
    TRY(take_text(t, what, to, err));
    return thumbnail_valid(*to) ? MOCO_OK : wrong(err, what, "holds a picture that is not base64");
}

static moco_status take_count(const struct json_token *t, const char *what, int64_t *to, struct err *err)
{
    if (t->kind != JSON_INT || t->integer < 0)
        return wrong(err, what, "is not a whole number from 0 on");
    *to = t->integer;
    return MOCO_OK;
}

static moco_status take_real(const struct json_token *t, const char *what, double *to, struct err *err)
{
    if (t->kind == JSON_NULL)
        *to = NAN;
    else if (t->kind == JSON_INT || t->kind == JSON_REAL)
        *to = t->real;
    else
        return wrong(err, what, "is not a number");
    return MOCO_OK;
}

static moco_status begin(const struct json_token *t, enum json_kind kind, const char *what, struct err *err)
{
    return t->kind == kind ? MOCO_OK : wrong(err, what, kind == JSON_ARRAY ? "is not an array" : "is not an object");
}

/* An array of finite numbers, from its opening bracket on. */
static moco_status take_numbers(struct json *json, const struct json_token *open, const char *what, int64_t most,
                                double **to, int64_t *count, struct err *err)
{
    struct json_token t;
    int64_t n = 0, room = 0;
    TRY(begin(open, JSON_ARRAY, what, err));
    free(*to);
    *to = NULL;
    for (;; n++) {
        TRY(json_next(json, &t, err));
        if (t.kind == JSON_ARRAY_END)
            break;
        if (n == most)
            return wrong(err, what, "has too many numbers");
        if (n == room) {
            room = room * 2 + 64;
            double *grown = realloc(*to, (size_t)room * sizeof *grown);
            if (grown == NULL)
                return err_set(err, MOCO_ENOMEM, "out of memory");
            *to = grown;
        }
        TRY(take_real(&t, what, &(*to)[n], err));
        if (!isfinite((*to)[n]))
            return wrong(err, what, "holds a number that is none");
    }
    *count = n;
    return MOCO_OK;
}

static moco_status take_classes(struct json *json, const struct json_token *open, struct gallery *g, struct err *err)
{
    struct json_token t;
    TRY(begin(open, JSON_ARRAY, "classes", err));
    if (g->class_name == NULL && (g->class_name = calloc(GALLERY_CLASSES_MAX, sizeof *g->class_name)) == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (g->class_names = 0;; g->class_names++) {
        TRY(json_next(json, &t, err));
        if (t.kind == JSON_ARRAY_END)
            return MOCO_OK;
        if (g->class_names == GALLERY_CLASSES_MAX)
            return wrong(err, "classes", "has too many names");
        TRY(take_text(&t, "classes", &g->class_name[g->class_names], err));
    }
}

static moco_status take_map(struct json *json, const struct json_token *open, struct gallery *g, struct err *err)
{
    struct json_token key, value;
    int64_t count[4] = {0};
    TRY(begin(open, JSON_OBJECT, "map", err));
    for (;;) {
        TRY(json_next(json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(json, &value, err));
        if (json_equals(&key, "x"))
            TRY(take_numbers(json, &value, "x", GALLERY_POINTS_MAX, &g->x, &count[0], err));
        else if (json_equals(&key, "y"))
            TRY(take_numbers(json, &value, "y", GALLERY_POINTS_MAX, &g->y, &count[1], err));
        else if (json_equals(&key, "label"))
            TRY(take_numbers(json, &value, "label", GALLERY_POINTS_MAX, &g->label, &count[2], err));
        else if (json_equals(&key, "part"))
            TRY(take_numbers(json, &value, "part", 2, &g->part, &count[3], err));
        else if (json_equals(&key, "trust"))
            TRY(take_real(&value, "trust", &g->trust, err));
        else
            TRY(json_skip(json, &value, err));
    }
    if (count[0] != count[1] || count[0] != count[2] || count[3] != 2)
        return wrong(err, "map", "has not as many x as y and labels, or not two parts");
    g->points = count[0];
    return MOCO_OK;
}

static moco_status take_near(struct json *json, const struct json_token *open, struct gallery *g, struct err *err)
{
    struct json_token key, value;
    int64_t count[2] = {0};
    TRY(begin(open, JSON_OBJECT, "tsne", err));
    for (;;) {
        TRY(json_next(json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(json, &value, err));
        if (json_equals(&key, "x"))
            TRY(take_numbers(json, &value, "x", GALLERY_POINTS_MAX, &g->near_x, &count[0], err));
        else if (json_equals(&key, "y"))
            TRY(take_numbers(json, &value, "y", GALLERY_POINTS_MAX, &g->near_y, &count[1], err));
        else if (json_equals(&key, "perplexity"))
            TRY(take_real(&value, "perplexity", &g->perplexity, err));
        else if (json_equals(&key, "trust"))
            TRY(take_real(&value, "trust", &g->near_trust, err));
        else
            TRY(json_skip(json, &value, err));
    }
    g->near_points = count[0];
    return count[0] == count[1] && count[0] > 0 ? MOCO_OK : wrong(err, "tsne", "has not as many x as y");
}

static moco_status take_size(const struct json_token *t, const char *what, int most, int *to, struct err *err)
{
    int64_t value = 0;
    TRY(take_count(t, what, &value, err));
    if (value < 1 || value > most)
        return wrong(err, what, "is not in its range");
    *to = (int)value;
    return MOCO_OK;
}

static moco_status take_tiles(struct json *json, const struct json_token *open, struct gallery_tiles *tiles,
                              struct err *err)
{
    struct json_token key, value;
    TRY(begin(open, JSON_OBJECT, "tiles", err));
    for (;;) {
        TRY(json_next(json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(json, &value, err));
        if (json_equals(&key, "side"))
            TRY(take_size(&value, "side", GALLERY_TILE_MAX, &tiles->side, err));
        else if (json_equals(&key, "pitch"))
            TRY(take_size(&value, "pitch", 2 * GALLERY_TILE_MAX, &tiles->pitch, err));
        else if (json_equals(&key, "columns"))
            TRY(take_size(&value, "columns", GALLERY_POINTS_MAX, &tiles->columns, err));
        else if (json_equals(&key, "jpeg"))
            TRY(take_jpeg(&value, "jpeg", &tiles->jpeg, err));
        else
            TRY(json_skip(json, &value, err));
    }
    return tiles->side > 0 && tiles->pitch >= tiles->side && tiles->columns > 0 && tiles->jpeg != NULL
               ? MOCO_OK
               : wrong(err, "tiles", "lack a side, a pitch, columns or the picture");
}

static moco_status take_picture(struct json *json, const struct json_token *open, struct gallery_picture *p,
                                struct err *err)
{
    struct json_token key, value;
    TRY(begin(open, JSON_OBJECT, "neighbours", err));
    p->label = -1;
    p->cosine = NAN;
    for (;;) {
        int64_t label = -1;
        TRY(json_next(json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(json, &value, err));
        if (json_equals(&key, "jpeg")) {
            TRY(take_jpeg(&value, "jpeg", &p->jpeg, err));
        } else if (json_equals(&key, "cosine")) {
            TRY(take_real(&value, "cosine", &p->cosine, err));
        } else if (json_equals(&key, "id")) {
            TRY(take_count(&value, "id", &p->id, err));
        } else if (json_equals(&key, "label") && value.kind != JSON_NULL) {
            TRY(take_count(&value, "label", &label, err));
            if (label > INT32_MAX)
                return wrong(err, "label", "is too large");
            p->label = (int32_t)label;
        } else {
            TRY(json_skip(json, &value, err));
        }
    }
    return p->jpeg != NULL ? MOCO_OK : wrong(err, "neighbours", "have an image without a picture");
}

static moco_status take_neighbours(struct json *json, const struct json_token *open, struct gallery *g, struct err *err)
{
    struct json_token t;
    TRY(begin(open, JSON_ARRAY, "neighbours", err));
    for (;;) {
        TRY(json_next(json, &t, err));
        if (t.kind == JSON_ARRAY_END)
            return MOCO_OK;
        if (g->queries == GALLERY_QUERIES_MAX)
            return wrong(err, "neighbours", "has too many rows");
        struct gallery_query *q = &g->query[g->queries++];
        TRY(begin(&t, JSON_ARRAY, "neighbours", err));
        for (;;) {
            TRY(json_next(json, &t, err));
            if (t.kind == JSON_ARRAY_END)
                break;
            if (q->pictures > GALLERY_NEIGHBOURS)
                return wrong(err, "neighbours", "has too long a row");
            TRY(take_picture(json, &t, &q->picture[q->pictures++], err));
        }
    }
}

static moco_status take_views(struct json *json, const struct json_token *open, struct gallery *g, struct err *err)
{
    struct json_token t;
    TRY(begin(open, JSON_ARRAY, "views", err));
    for (;;) {
        TRY(json_next(json, &t, err));
        if (t.kind == JSON_ARRAY_END)
            return MOCO_OK;
        if (g->sheets == GALLERY_QUERIES_MAX)
            return wrong(err, "views", "has too many rows");
        struct gallery_sheet *s = &g->sheet[g->sheets++];
        TRY(begin(&t, JSON_ARRAY, "views", err));
        for (;;) {
            TRY(json_next(json, &t, err));
            if (t.kind == JSON_ARRAY_END)
                break;
            if (s->pictures > GALLERY_VIEWS_MAX)
                return wrong(err, "views", "has too long a row");
            TRY(take_jpeg(&t, "views", &s->jpeg[s->pictures++], err));
        }
    }
}

/* ---- the file ---- */

static moco_status take_member(struct json *json, const struct json_token *key, const struct json_token *value,
                               struct gallery *g, struct err *err)
{
    int64_t side = 0;
    if (json_equals(key, "step"))
        return take_count(value, "step", &g->step, err);
    if (json_equals(key, "epoch"))
        return take_count(value, "epoch", &g->epoch, err);
    if (json_equals(key, "bank"))
        return take_count(value, "bank", &g->bank, err);
    if (json_equals(key, "unreadable"))
        return take_count(value, "unreadable", &g->unreadable, err);
    if (json_equals(key, "on"))
        return take_text(value, "on", &g->on, err);
    if (json_equals(key, "of"))
        return take_text(value, "of", &g->of, err);
    if (json_equals(key, "recipe"))
        return take_text(value, "recipe", &g->recipe, err);
    if (json_equals(key, "effective_rank"))
        return take_real(value, "effective_rank", &g->effective_rank, err);
    if (json_equals(key, "uniformity"))
        return take_real(value, "uniformity", &g->uniformity, err);
    if (json_equals(key, "spectrum"))
        return take_numbers(json, value, "spectrum", GALLERY_POINTS_MAX, &g->spectrum, &g->values, err);
    if (json_equals(key, "classes"))
        return take_classes(json, value, g, err);
    if (json_equals(key, "map"))
        return take_map(json, value, g, err);
    if (json_equals(key, "tsne"))
        return take_near(json, value, g, err);
    if (json_equals(key, "tiles"))
        return take_tiles(json, value, &g->tiles, err);
    if (json_equals(key, "neighbours"))
        return take_neighbours(json, value, g, err);
    if (json_equals(key, "views"))
        return take_views(json, value, g, err);
    if (!json_equals(key, "side"))
        return json_skip(json, value, err);
    TRY(take_count(value, "side", &side, err));
    g->side = side < THUMBNAIL_SIDE ? (int)side : THUMBNAIL_SIDE;
    return MOCO_OK;
}

/* A member may come twice: what was right when it was read need not be so at the end. */
static moco_status maps_agree(const struct gallery *g, struct err *err)
{
    return g->near_x == NULL || g->near_points == g->points ? MOCO_OK
                                                            : wrong(err, "tsne", "has not as many points as the map");
}

static moco_status parse(struct gallery *g, const char *text, size_t size, struct err *err)
{
    struct json json;
    struct json_token key, value;
    g->effective_rank = g->uniformity = g->trust = g->near_trust = g->perplexity = NAN;
    json_start(&json, text, size, 0);
    TRY(json_expect(&json, JSON_OBJECT, "a gallery", &value, err));
    for (;;) {
        TRY(json_next(&json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(&json, &value, err));
        TRY(take_member(&json, &key, &value, g, err));
    }
    TRY(json_expect(&json, JSON_END, "the end", &value, err));
    return maps_agree(g, err);
}

moco_status gallery_read(struct gallery **out, const char *folder, struct err *err)
{
    char path[RUN_PATH_SIZE], *text = NULL;
    size_t size = 0;
    struct ctx *ctx = NULL;
    *out = NULL;
    run_dir_path(folder, "gallery.json", path);
    int there;
    TRY(run_dir_has(folder, "gallery.json", &there, err));
    if (!there)
        return MOCO_OK;
    struct gallery *g = calloc(1, sizeof *g);
    if (g == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status;
    TRY_GOTO(status, ctx_create(&ctx, &(struct ctx_options){.threads = 1}, err), out);
    TRY_GOTO(status, file_read_all(ctx, path, FILE_LIMIT, &text, &size, err), out);
    status = parse(g, text, size, err);
    if (status != MOCO_OK)
        err_prefix(err, path);
out:
    mem_free(ctx, text);
    ctx_unref(ctx);
    if (status != MOCO_OK) {
        gallery_free(g);
        return status;
    }
    *out = g;
    return MOCO_OK;
}

void gallery_free(struct gallery *g)
{
    if (g == NULL)
        return;
    for (int64_t i = 0; i < GALLERY_CLASSES_MAX && g->class_name != NULL; i++)
        free(g->class_name[i]);
    for (int i = 0; i < g->queries; i++)
        for (int j = 0; j < g->query[i].pictures; j++)
            free(g->query[i].picture[j].jpeg);
    for (int i = 0; i < g->sheets; i++)
        for (int j = 0; j < g->sheet[i].pictures; j++)
            free(g->sheet[i].jpeg[j]);
    free(g->class_name);
    free(g->on);
    free(g->of);
    free(g->recipe);
    free(g->x);
    free(g->y);
    free(g->label);
    free(g->near_x);
    free(g->near_y);
    free(g->tiles.jpeg);
    free(g->part);
    free(g->spectrum);
    free(g);
}

const char *gallery_class(const struct gallery *g, int64_t label)
{
    return label >= 0 && label < g->class_names ? g->class_name[label] : "";
}
