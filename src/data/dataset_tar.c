/* SPDX-License-Identifier: MIT
 *
 * dataset_tar: tar shards in WebDataset's layout. Members that stand together and share a key (the path up to the first
 * dot of its last part) are one sample: its picture (jpg, jpeg, png) and, if there is one, its label (cls, a decimal
 * number). Shards are indexed once; then a picture is one pread, so that any order costs the same. What a reader would
 * get wrong: a key that comes back after another one would silently split a sample in two: it is refused, with its
 * place. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dataset.h"
#include "hash.h"
#include "names.h"
#include "sort.h"
#include "tar.h"

enum { LABEL_DIGITS = 9 };

struct picture {
    int64_t offset;
    uint32_t size, shard;
};

struct key {
    uint64_t hash[2];
    int64_t header; /* of the sample's first member */
};

struct tar_set {
    struct dataset base;
    struct names shards;
    struct picture *pictures;
    int32_t *labels; /* NULL: no sample has one */
    int64_t room;
};

/* One shard being indexed. */
struct indexing {
    struct tar_set *set;
    struct ctx *ctx;
    struct file file;
    uint32_t shard;
    struct key *keys;
    int64_t key_count;
    /* the sample being put together */
    char key[TAR_NAME_MAX];
    int64_t header;
    struct picture picture;
    int has_picture;
    int32_t label;
    int64_t without_picture, others;
};

/* ---- samples ---- */

static moco_status add_sample(struct indexing *x, struct err *err)
{
    struct tar_set *set = x->set;
    if (!x->has_picture) {
        x->without_picture++;
        return MOCO_OK;
    }
    if (set->base.count == set->room) {
        int64_t room = set->room * 3 / 2 + 64;
        struct picture *pictures = mem_grow(x->ctx, set->pictures, (size_t)room * sizeof *pictures, err);
        if (pictures == NULL)
            return MOCO_ENOMEM;
        set->pictures = pictures;
        int32_t *labels = mem_grow(x->ctx, set->labels, (size_t)room * sizeof *labels, err);
        if (labels == NULL)
            return MOCO_ENOMEM;
        set->labels = labels;
        set->room = room;
    }
    set->pictures[set->base.count] = x->picture;
    set->labels[set->base.count++] = x->label;
    if (x->label >= set->base.classes)
        set->base.classes = x->label + 1;
    return MOCO_OK;
}

static uint64_t hex64(const char *digits)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++)
        value = value << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    return value;
}

static moco_status start_sample(struct indexing *x, const char *key, int64_t header, struct err *err)
{
    strcpy(x->key, key);
    x->header = header;
    x->has_picture = 0;
    x->label = -1;
    size_t bytes = (size_t)(x->key_count + 1) * sizeof *x->keys;
    if (x->keys == NULL || mem_size(x->keys) < bytes) {
        struct key *keys = mem_grow(x->ctx, x->keys, bytes * 3 / 2 + 64 * sizeof *keys, err);
        if (keys == NULL)
            return MOCO_ENOMEM;
        x->keys = keys;
    }
    struct hash hash;
    char text[HASH_DIGITS + 1];
    hash_start(&hash);
    hash_add(&hash, key, strlen(key));
    hash_text(&hash, text);
    x->keys[x->key_count++] = (struct key){{hex64(text), hex64(text + 16)}, header};
    return MOCO_OK;
}

static int by_hash(const void *a, const void *b, const void *user)
{
    (void)user;
    const struct key *x = a, *y = b;
    for (int i = 0; i < 2; i++)
        if (x->hash[i] != y->hash[i])
            return x->hash[i] < y->hash[i] ? -1 : 1;
    return x->header < y->header ? -1 : x->header > y->header;
}

/* The first place, in the order of the file, at which a key comes back. */
static moco_status check_keys(struct indexing *x, struct err *err)
{
    sort_array(x->keys, (size_t)x->key_count, sizeof *x->keys, by_hash, NULL);
    int64_t first = -1, again = -1;
    for (int64_t i = 1; i < x->key_count; i++)
        if (memcmp(x->keys[i].hash, x->keys[i - 1].hash, sizeof x->keys[i].hash) == 0 &&
            (again < 0 || x->keys[i].header < again)) {
            first = x->keys[i - 1].header;
            again = x->keys[i].header;
        }
    if (again >= 0)
        return err_set(
            err, MOCO_EFORMAT,
            "%s: the key of the sample at offset %lld comes back at offset %lld: samples are mixed or doubled",
            x->file.path, (long long)first, (long long)again);
    return MOCO_OK;
}

/* ---- members ---- */

static moco_status read_label(struct indexing *x, const struct tar_member *m, struct err *err)
{
    char text[LABEL_DIGITS + 3] = {0};
    int64_t value = 0;
    size_t length = 0, digits = 0;
    if (m->size < (int64_t)sizeof text) {
        TRY(file_read_at(&x->file, m->offset, text, (size_t)m->size, err));
        length = strlen(text);
        while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
            length--;
        while (digits < length && text[digits] >= '0' && text[digits] <= '9')
            value = value * 10 + (text[digits++] - '0');
    }
    if (digits == 0 || digits != length || digits > LABEL_DIGITS)
        return err_set(err, MOCO_EFORMAT,
                       "%s: the label at offset %lld (%.200s) is not a decimal number of up to %d digits", x->file.path,
                       (long long)m->header, m->name, LABEL_DIGITS);
    x->label = (int32_t)value;
    return MOCO_OK;
}

static int is_picture(const char *extension)
{
    return strcasecmp(extension, "jpg") == 0 || strcasecmp(extension, "jpeg") == 0 || strcasecmp(extension, "png") == 0;
}

static moco_status add_member(struct indexing *x, struct tar_member *m, struct err *err)
{
    char *slash = strrchr(m->name, '/'), *part = slash != NULL ? slash + 1 : m->name, *dot = strchr(part, '.');
    if (m->kind != TAR_FILE || dot == NULL || dot == part) { /* folders, links; no extension; hidden files */
        x->others += m->kind != TAR_FOLDER;
        return MOCO_OK;
    }
    *dot = 0;
    if (x->key_count == 0 || strcmp(m->name, x->key) != 0) {
        if (x->key_count > 0)
            TRY(add_sample(x, err));
        TRY(start_sample(x, m->name, m->header, err));
    }
    *dot = '.';
    if (is_picture(dot + 1)) {
        if (x->has_picture)
            return err_set(err, MOCO_EFORMAT, "%s: the picture at offset %lld (%.200s) is the second one of its sample",
                           x->file.path, (long long)m->header, m->name);
        if (m->size > UINT32_MAX)
            return err_set(err, MOCO_EFORMAT, "%s: the picture at offset %lld (%.200s) has 4 GiB or more", x->file.path,
                           (long long)m->header, m->name);
        x->picture = (struct picture){m->offset, (uint32_t)m->size, x->shard};
        x->has_picture = 1;
    } else if (strcasecmp(dot + 1, "cls") == 0) {
        TRY(read_label(x, m, err));
    }
    return MOCO_OK;
}

static moco_status index_shard(struct indexing *x, struct err *err)
{
    struct tar tar;
    struct tar_member *m = mem_zalloc(x->ctx, sizeof *m, err);
    if (m == NULL)
        return MOCO_ENOMEM;
    moco_status status;
    tar_begin(&tar, &x->file);
    while ((status = tar_next(&tar, m, err)) == MOCO_OK)
        if ((status = add_member(x, m, err)) != MOCO_OK)
            break;
    mem_free(x->ctx, m);
    if (status != MOCO_EEND)
        return status;
    if (tar.unfinished)
        ctx_log(x->ctx, LOG_WARN, "%s ends without its closing blocks: it may have been cut short", x->file.path);
    if (x->key_count > 0)
        TRY(add_sample(x, err));
    if (x->without_picture > 0)
        ctx_log(x->ctx, LOG_WARN, "%s: %lld samples have no picture (jpg, jpeg or png) and are left out", x->file.path,
                (long long)x->without_picture);
    if (x->others > 0)
        ctx_log(x->ctx, LOG_INFO, "%s: %lld members are links, devices or have no extension, and are left out",
                x->file.path, (long long)x->others);
    return check_keys(x, err);
}

static moco_status add_shard(struct tar_set *set, struct ctx *ctx, const char *path, uint32_t shard, struct err *err)
{
    TRY(names_add(ctx, &set->shards, path, err));
    struct indexing *x = mem_zalloc(ctx, sizeof *x, err);
    if (x == NULL)
        return MOCO_ENOMEM;
    x->set = set;
    x->ctx = ctx;
    x->shard = shard;
    moco_status status = file_open(&x->file, ctx, path, err);
    if (status == MOCO_OK)
        status = index_shard(x, err);
    file_close(&x->file);
    mem_free(ctx, x->keys);
    mem_free(ctx, x);
    return status;
}

/* ---- the data set ---- */

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct tar_set *set = (const struct tar_set *)ds;
    const struct picture *p = &set->pictures[id];
    return decode_part(decoder, names_at(&set->shards, p->shard), p->offset, p->size, image, err);
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    return ((const struct tar_set *)ds)->labels[id];
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct tar_set *set = (const struct tar_set *)ds;
    const struct picture *p = &set->pictures[id];
    int length = snprintf(text, size, "%s (offset %lld)", names_at(&set->shards, p->shard), (long long)p->offset);
    return length >= 0 && (size_t)length < size ? MOCO_OK : MOCO_ESHAPE;
}

static void destroy(struct dataset *ds)
{
    struct tar_set *set = (struct tar_set *)ds;
    names_free(ds->ctx, &set->shards);
    mem_free(ds->ctx, set->pictures);
    mem_free(ds->ctx, set->labels);
    mem_free(ds->ctx, set);
}

static const struct dataset_ops tar_ops = {read_image, label, path, dataset_no_class_name, destroy};

moco_status dataset_open_tar(struct dataset **out, struct ctx *ctx, const char *const *paths, int count,
                             struct err *err)
{
    *out = NULL;
    struct tar_set *set = mem_zalloc(ctx, sizeof *set, err);
    if (set == NULL)
        return MOCO_ENOMEM;
    set->base = (struct dataset){&tar_ops, ctx_ref(ctx), 0, 0, NULL};
    moco_status status = MOCO_OK;
    for (int i = 0; i < count && status == MOCO_OK; i++)
        status = add_shard(set, ctx, paths[i], (uint32_t)i, err);
    if (status == MOCO_OK && set->base.count == 0)
        status = err_set(err, MOCO_EINVAL, "no picture (jpg, jpeg or png) in %s%s", paths[0],
                         count > 1 ? " or the other shards" : "");
    if (status != MOCO_OK) {
        dataset_free(&set->base);
        return status;
    }
    *out = &set->base;
    return MOCO_OK;
}
