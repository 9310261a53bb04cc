/* SPDX-License-Identifier: MIT
 *
 * dnn_tuning: see dnn_tuning.h. */
#include "backend/cuda/dnn/dnn_tuning.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/json.h"
#include "file/file.h"

/* By which a file of ours, of this version, is known, even one that was cut off. */
#define BEGINS "{\"format\":\"moco tuning\",\"version\":1,"
enum { KEY = DNN_CONV_TEXT + 128, MOST_ENTRIES = 65536, MOST_BYTES = 32 << 20 };

struct entry {
    char key[KEY], engine[DNN_NAME];
};

struct dnn_tuning {
    struct ctx *ctx;
    char *path, *machine; /* machine: what keys begin with */
    struct entry *entries;
    int count, changed, doubted, foreign; /* foreign: what is at `path` is not ours to replace */
};

/* ---- entries ---- */

static void key_of(const struct dnn_tuning *t, const struct dnn_conv *conv, char key[KEY])
{
    char text[DNN_CONV_TEXT];
    snprintf(key, KEY, "%s: %s", t->machine, dnn_conv_text(conv, text));
}

static struct entry *find(const struct dnn_tuning *t, const char *key)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->entries[i].key, key) == 0)
            return &t->entries[i];
    return NULL;
}

static moco_status add(struct dnn_tuning *t, const char *key, const char *engine, struct err *err)
{
    struct entry *more = mem_reserve(t->ctx, t->entries, (size_t)(t->count + 1) * sizeof *more, err);
    if (more == NULL)
        return MOCO_ENOMEM;
    t->entries = more;
    struct entry *e = &t->entries[t->count++];
    snprintf(e->key, sizeof e->key, "%s", key);
    snprintf(e->engine, sizeof e->engine, "%s", engine);
    return MOCO_OK;
}

/* ---- reading ---- */

static moco_status take_text(const struct json_token *token, char *out, size_t room, struct err *err)
{
    if (token->length >= room)
        return err_set(err, MOCO_EFORMAT, "offset %zu: a text of more than %zu bytes", token->at, room - 1);
    out[json_decode(token, out)] = 0;
    return MOCO_OK;
}

static moco_status parse_engines(struct dnn_tuning *t, struct json *j, struct err *err)
{
    struct json_token token;
    char key[KEY], engine[DNN_NAME];
    TRY(json_expect(j, JSON_OBJECT, "engines", &token, err));
    for (int count = 0;; count++) {
        TRY(json_next(j, &token, err));
        if (token.kind == JSON_OBJECT_END)
            return MOCO_OK;
        if (count == MOST_ENTRIES)
            return err_set(err, MOCO_EFORMAT, "there are more than %d engines", MOST_ENTRIES);
        TRY(take_text(&token, key, sizeof key, err));
        TRY(json_expect(j, JSON_STRING, "an engine", &token, err));
        TRY(take_text(&token, engine, sizeof engine, err));
        if (find(t, key) == NULL)
            TRY(add(t, key, engine, err));
    }
}

static moco_status parse(struct dnn_tuning *t, const char *bytes, size_t size, struct err *err)
{
    struct json j;
    struct json_token token;
    json_start(&j, bytes, size, 0);
    TRY(json_expect(&j, JSON_OBJECT, "the file", &token, err));
    for (;;) {
        TRY(json_next(&j, &token, err));
        if (token.kind == JSON_OBJECT_END)
            return json_expect(&j, JSON_END, "the end", &token, err);
        if (json_equals(&token, "engines")) {
            TRY(parse_engines(t, &j, err));
            continue;
        }
        TRY(json_next(&j, &token, err));
        TRY(json_skip(&j, &token, err));
    }
}

/* Adds what the file holds and is not known yet. Entries before a mistake in it are as good as any. */
static moco_status read_file(struct dnn_tuning *t, struct err *err)
{
    char *bytes = NULL;
    size_t size = 0;
    t->foreign = 0;
    if (access(t->path, F_OK) != 0)
        return MOCO_OK; /* there is none yet */
    moco_status status = file_read_all(t->ctx, t->path, MOST_BYTES, &bytes, &size, err);
    if (status != MOCO_OK) {
        t->foreign = 1;
        return status;
    }
    t->foreign = size > 0 && strncmp(bytes, BEGINS, strlen(BEGINS)) != 0;
    if (size == 0)
        status = MOCO_OK; /* as mktemp makes it */
    else if (t->foreign)
        status = err_set(err, MOCO_EFORMAT, "it is no file of tuning that this release writes, and is left as it is");
    else
        status = parse(t, bytes, size, err);
    mem_free(t->ctx, bytes);
    return status;
}

moco_status dnn_tuning_open(struct dnn_tuning **out, struct ctx *ctx, const char *path, const char *gpu, int version,
                            struct err *err)
{
    char machine[112];
    struct err why = {0};
    snprintf(machine, sizeof machine, "%.80s, cuDNN %d.%d.%d", gpu, version / 10000, version / 100 % 100,
             version % 100);
    *out = mem_zalloc(ctx, sizeof **out, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    (*out)->ctx = ctx;
    (*out)->path = mem_strdup(ctx, path, err);
    (*out)->machine = mem_strdup(ctx, machine, err);
    if ((*out)->path == NULL || (*out)->machine == NULL) {
        dnn_tuning_close(*out);
        *out = NULL;
        return MOCO_ENOMEM;
    }
    if (read_file(*out, &why) != MOCO_OK)
        ctx_log(ctx, LOG_WARN, "%.300s: engines are timed again: %.300s", path, why.text);
    return MOCO_OK;
}

void dnn_tuning_close(struct dnn_tuning *t)
{
    if (t == NULL)
        return;
    mem_free(t->ctx, t->entries);
    mem_free(t->ctx, t->machine);
    mem_free(t->ctx, t->path);
    mem_free(t->ctx, t);
}

const char *dnn_tuning_find(const struct dnn_tuning *t, const struct dnn_conv *conv)
{
    char key[KEY];
    key_of(t, conv, key);
    const struct entry *e = find(t, key);
    return e == NULL ? NULL : e->engine;
}

moco_status dnn_tuning_note(struct dnn_tuning *t, const struct dnn_conv *conv, const char *engine, struct err *err)
{
    char key[KEY];
    key_of(t, conv, key);
    struct entry *e = find(t, key);
    t->changed = 1;
    if (e == NULL)
        return add(t, key, engine, err);
    snprintf(e->engine, sizeof e->engine, "%s", engine);
    return MOCO_OK;
}

void dnn_tuning_doubt(struct dnn_tuning *t, const struct err *why)
{
    if (!t->doubted)
        ctx_log(t->ctx, LOG_WARN, "%.300s: engines are timed again: %.400s", t->path, why->text);
    t->doubted = 1;
}

/* ---- writing ---- */

static moco_status write_file(const struct dnn_tuning *t, struct json_writer *w, struct err *err)
{
    struct file_save save;
    json_put_raw(w, BEGINS, strlen(BEGINS));
    json_put_key(w, "engines");
    json_put_object(w);
    for (int i = 0; i < t->count; i++) {
        json_put_raw(w, i == 0 ? "\n" : ",\n", i == 0 ? 1 : 2); /* a line each, for who looks at the file */
        w->comma = 0;
        json_put_key(w, t->entries[i].key);
        json_put_string(w, t->entries[i].engine);
    }
    json_put_object_end(w);
    json_put_object_end(w);
    json_put_raw(w, "\n", 1);
    if (w->status != MOCO_OK)
        return w->status;
    TRY(file_save_begin(&save, t->ctx, t->path, (int64_t)w->used, err));
    moco_status status = file_save_write_at(&save, 0, w->text, w->used, err);
    if (status == MOCO_OK)
        return file_save_commit(&save, err);
    file_save_abandon(&save);
    return status;
}

void dnn_tuning_save(struct dnn_tuning *t)
{
    struct err why = {0};
    struct json_writer w;
    if (!t->changed)
        return;
    t->changed = 0;
    moco_status status = read_file(t, &why);
    if (status == MOCO_OK || !t->foreign) {
        json_writer_start(&w, t->ctx, &why);
        status = write_file(t, &w, &why);
        json_writer_free(&w);
    }
    if (status != MOCO_OK)
        ctx_log(t->ctx, LOG_WARN, "%.300s: which engines are the fastest was not kept: %.300s", t->path, why.text);
}
