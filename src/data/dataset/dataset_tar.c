/* SPDX-License-Identifier: MIT
 *
 * dataset_tar: tar shards in WebDataset's layout. Neighbouring members that share a key (the path up to the first
 * dot of its last part) are one sample: its picture (jpg, jpeg, jpe, jfif, png, webp) and, if there is one, its
 * label (cls, a decimal number). The last extension of a member decides what it is: x.jpg.json is no picture;
 * x.seg.png is one, but x.png is preferred to it. Shards are indexed once. After that a picture is one pread, so
 * that every order costs the same. What a reader would get wrong: a key that appears again after another one would
 * silently split a sample in two. It is refused, with its position. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "codec/tar.h"
#include "dataset_index.h"
#include "hash.h"
#include "names.h"
#include "sort.h"

enum { PLAIN, LONGER, EXTENSIONS }; /* x.jpg; x.seg.jpg */

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
    int64_t several;    /* samples with several pictures, none of them plain */
    int64_t odd_labels; /* and where the first of them is */
    int64_t odd_at;
    uint32_t odd_shard;
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
    int64_t pictures[EXTENSIONS], labels[EXTENSIONS]; /* how many members are one */
    struct picture picture[EXTENSIONS];
    int32_t label[EXTENSIONS];    /* -1: odd */
    int64_t label_at[EXTENSIONS]; /* its header */
    struct names rest;            /* members that count as left out if the sample is */
    int64_t without_picture, others;
};

/* ---- samples ---- */

static moco_status leave_out(struct indexing *x, struct err *err)
{
    x->without_picture++;
    x->set->several += x->pictures[LONGER] > 1;
    for (int64_t i = 0; i < x->rest.count; i++)
        TRY(dataset_leave_out(&x->set->base, names_at(&x->rest, i), 1, err));
    return MOCO_OK;
}

/* Of members that are the same kind of thing, the plain one, or the only one; -1: none. */
static int choose(const int64_t count[EXTENSIONS])
{
    return count[PLAIN] > 0 ? PLAIN : count[LONGER] == 1 ? LONGER : -1;
}

static int32_t label_of_sample(struct indexing *x)
{
    struct tar_set *set = x->set;
    int which = choose(x->labels);
    if (which < 0)
        return -1;
    if (x->label[which] < 0 && set->odd_labels++ == 0) {
        set->odd_at = x->label_at[which];
        set->odd_shard = x->shard;
    }
    return x->label[which];
}

/* Finishes the current sample: chooses its picture and its label, and appends both. */
static moco_status add_sample(struct indexing *x, struct err *err)
{
    struct tar_set *set = x->set;
    int which = choose(x->pictures);
    if (which < 0)
        return leave_out(x, err);
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
    int32_t label = label_of_sample(x);
    set->pictures[set->base.count] = x->picture[which];
    set->labels[set->base.count++] = label;
    if (label >= set->base.classes)
        set->base.classes = label + 1;
    return MOCO_OK;
}

static uint64_t hex64(const char *digits)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++)
        value = value << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    return value;
}

/* Begins a sample with a new key. The hash of the key is kept, so that check_keys can find a key that appears twice. */
static moco_status start_sample(struct indexing *x, const char *key, int64_t header, struct err *err)
{
    strcpy(x->key, key);
    x->header = header;
    memset(x->pictures, 0, sizeof x->pictures);
    memset(x->labels, 0, sizeof x->labels);
    x->rest.count = 0;
    x->rest.used = 0;
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
            "%s: the key of the sample at offset %lld comes back at offset %lld: samples are mixed or doubled; the "
            "files of a sample must follow one another, as tar --sort=name packs them",
            x->file.path, (long long)first, (long long)again);
    return MOCO_OK;
}

/* ---- members ---- */

static moco_status read_label(struct indexing *x, const struct tar_member *m, int which, struct err *err)
{
    char text[64];
    x->label[which] = -1;
    x->label_at[which] = m->header;
    x->labels[which]++;
    if (m->size < (int64_t)sizeof text) {
        TRY(file_read_at(&x->file, m->offset, text, (size_t)m->size, err));
        x->label[which] = dataset_read_label(text, (size_t)m->size);
    }
    return MOCO_OK;
}

static moco_status add_picture(struct indexing *x, const struct tar_member *m, int which, struct err *err)
{
    if (which == PLAIN && x->pictures[PLAIN] > 0)
        return err_set(err, MOCO_EFORMAT, "%s: the picture at offset %lld (%.200s) is the second one of its sample",
                       x->file.path, (long long)m->header, m->name);
    if (m->size > UINT32_MAX)
        return err_set(err, MOCO_EFORMAT, "%s: the picture at offset %lld (%.200s) has 4 GiB or more", x->file.path,
                       (long long)m->header, m->name);
    x->picture[which] = (struct picture){m->offset, (uint32_t)m->size, x->shard};
    x->pictures[which]++;
    return which == PLAIN ? MOCO_OK : names_add(x->ctx, &x->rest, m->name, err);
}

/* Puts a member into the current sample, or finishes that and begins the next one when the key changes. */
static moco_status add_member(struct indexing *x, struct tar_member *m, struct err *err)
{
    char *slash = strrchr(m->name, '/'), *part = slash != NULL ? slash + 1 : m->name, *dot = strchr(part, '.');
    if (m->kind != TAR_FILE || dot == part) { /* folders, links; hidden files */
        x->others += m->kind != TAR_FOLDER;
        return MOCO_OK;
    }
    if (dot == NULL)
        return dataset_leave_out(&x->set->base, part, 1, err);
    *dot = 0;
    if (x->key_count == 0 || strcmp(m->name, x->key) != 0) {
        if (x->key_count > 0)
            TRY(add_sample(x, err));
        TRY(start_sample(x, m->name, m->header, err));
    }
    *dot = '.';
    const char *last = strrchr(dot, '.');
    int which = last == dot ? PLAIN : LONGER;
    if (dataset_is_picture(last))
        return add_picture(x, m, which, err);
    if (strcasecmp(last, ".cls") == 0)
        return read_label(x, m, which, err);
    return names_add(x->ctx, &x->rest, m->name, err);
}

/* Indexes one shard from its first member to its last, then logs what was ignored or left out. */
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
    if (tar.ignored > 0)
        ctx_log(x->ctx, LOG_WARN, "%s: the %lld bytes behind its closing blocks are no archive and are ignored",
                x->file.path, (long long)tar.ignored);
    if (x->without_picture > 0)
        ctx_log(x->ctx, LOG_WARN,
                "%s: %lld samples have no picture (jpg, jpeg, jpe, jfif, png or webp) and are left out", x->file.path,
                (long long)x->without_picture);
    if (x->others > 0)
        ctx_log(x->ctx, LOG_INFO, "%s: %lld members are links, devices or hidden, and are left out", x->file.path,
                (long long)x->others);
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
    names_free(ctx, &x->rest);
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

static void index_entry(const void *user, int64_t id, struct index_entry *entry)
{
    const struct tar_set *set = user;
    const struct picture *p = &set->pictures[id];
    entry->offset = p->offset;
    entry->size = p->size;
    entry->shard = p->shard;
    entry->label = set->labels[id];
}

void dataset_tar_source(const struct dataset *ds, struct index_source *source)
{
    const struct tar_set *set = (const struct tar_set *)ds;
    *source = (struct index_source){NULL, ds->count, ds->classes, index_entry, ds};
    if (ds->ops == &tar_ops)
        source->shards = &set->shards;
}

/* When all shards have been indexed. */
static moco_status check_set(struct tar_set *set, const char *const *paths, int count, struct err *err)
{
    static const char several[] =
        "several pictures with longer extensions (x.1.jpg) and none with a plain one; the name of "
        "a sample ends at its first dot";
    struct ctx *ctx = set->base.ctx;
    char text[LEFT_OUT_TEXT];
    dataset_left_out_sort(&set->base);
    if (set->base.count == 0) {
        int64_t others = dataset_left_out_text(&set->base, text);
        return err_set(err, MOCO_EINVAL, "no picture (jpg, jpeg, jpe, jfif, png or webp) in %s%s%s%s%s%s", paths[0],
                       count > 1 ? " or the other shards" : "", others > 0 ? ", but " : "", text,
                       set->several > 0 ? "; samples have " : "", set->several > 0 ? several : "");
    }
    if (set->several > 0)
        ctx_log(ctx, LOG_WARN, "%s%s: %lld samples that are left out have %s", paths[0],
                count > 1 ? " and the other shards" : "", (long long)set->several, several);
    snprintf(text, sizeof text, "%.300s at offset %lld", names_at(&set->shards, set->odd_shard),
             (long long)set->odd_at);
    dataset_warn_labels(ctx, count > 1 ? "the shards" : paths[0], set->odd_labels, text);
    return MOCO_OK;
}

moco_status dataset_open_tar(struct dataset **out, struct ctx *ctx, const char *const *paths, int count,
                             struct err *err)
{
    *out = NULL;
    struct tar_set *set = mem_zalloc(ctx, sizeof *set, err);
    if (set == NULL)
        return MOCO_ENOMEM;
    set->base = (struct dataset){&tar_ops, ctx_ref(ctx), 0, 0, NULL, 0, 0};
    moco_status status = MOCO_OK;
    for (int i = 0; i < count && status == MOCO_OK; i++)
        status = add_shard(set, ctx, paths[i], (uint32_t)i, err);
    if (status == MOCO_OK)
        status = check_set(set, paths, count, err);
    if (status != MOCO_OK) {
        dataset_free(&set->base);
        return status;
    }
    *out = &set->base;
    return MOCO_OK;
}
