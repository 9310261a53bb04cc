/* SPDX-License-Identifier: MIT
 *
 * dataset_index: see dataset_index.h. */
#include "dataset_index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/crc32c.h"
#include "file/file.h"
#include "file/file_map.h"
#include "file/file_retry.h"
#include "hash.h"

#define MAGIC "mocoidx2"
#define ENTRIES_AT(table) (((table) + 4095) / 4096 * 4096) /* entries begin on a page */
#define SHARDS_MAX (INT64_C(1) << 24)
#define TEXT_MAX (INT64_C(1) << 32) /* bytes of all names */
#define COUNT_MAX (INT64_C(1) << 48)

enum { PIECE = 4096 }; /* entries that are written at once */

struct head {
    char magic[8];
    int64_t count, shards, text; /* pictures; shards; bytes of their names */
    int32_t classes, reserved;
    char hash[HASH_DIGITS];    /* of the head with zeros here, the shards and the names */
    char entries[HASH_DIGITS]; /* of all entries */
};

struct shard {
    int64_t size, seconds, nanoseconds; /* and when it was written to */
    int64_t name;                       /* where its name begins in the text */
};

struct index_set {
    struct dataset base;
    char *path, *table;         /* shards, then names */
    char hash[HASH_DIGITS + 1]; /* of all entries */
    int64_t shards, text;
    struct file_map map;
    const struct index_entry *entries;
};

static const struct shard *shard_at(const char *table, int64_t i)
{
    return (const struct shard *)(const void *)table + i;
}

static const char *name_of(const struct index_set *set, int64_t i)
{
    return set->table + set->shards * (int64_t)sizeof(struct shard) + shard_at(set->table, i)->name;
}

static int64_t table_bytes(const struct head *head)
{
    return head->shards * (int64_t)sizeof(struct shard) + head->text;
}

static int64_t entries_at(const struct head *head)
{
    return ENTRIES_AT((int64_t)sizeof *head + table_bytes(head));
}

static void hash_head(struct head head, const char *table, char text[HASH_DIGITS + 1])
{
    struct hash hash;
    memset(head.hash, 0, sizeof head.hash);
    hash_start(&hash);
    hash_add(&hash, &head, sizeof head);
    hash_add(&hash, table, (size_t)table_bytes(&head));
    hash_text(&hash, text);
}

/* Of an entry at its place: one that belongs to another place is found, too. */
static uint32_t check_of(const struct index_entry *entry, int64_t id)
{
    return crc32c(crc32c(0, &id, sizeof id), entry, offsetof(struct index_entry, check));
}

static moco_status look_at_shard(const char *name, struct shard *shard, struct err *err)
{
    struct stat stat_of;
    if (stat(name, &stat_of) != 0)
        return file_error(err, errno, name, "it cannot be found");
    shard->size = stat_of.st_size;
    shard->seconds = stat_of.st_mtim.tv_sec;
    shard->nanoseconds = stat_of.st_mtim.tv_nsec;
    return MOCO_OK;
}

/* ---- writing ---- */

/* The shards as they are now, and their names. */
static moco_status make_table(struct ctx *ctx, const struct names *shards, struct head *head, char **out,
                              struct err *err)
{
    for (int64_t i = 0; i < head->shards; i++)
        head->text += (int64_t)strlen(names_at(shards, i)) + 1;
    char *table = *out = mem_zalloc(ctx, (size_t)table_bytes(head), err);
    if (table == NULL)
        return MOCO_ENOMEM;
    struct shard *shard = (struct shard *)(void *)table;
    char *text = table + head->shards * (int64_t)sizeof *shard;
    int64_t at = 0;
    for (int64_t i = 0; i < head->shards; i++) {
        const char *name = names_at(shards, i);
        shard[i].name = at;
        TRY(look_at_shard(name, &shard[i], err));
        memcpy(text + at, name, strlen(name) + 1);
        at += (int64_t)strlen(name) + 1;
    }
    return MOCO_OK;
}

/* And their hash into the head. */
static moco_status write_entries(struct file_save *save, const struct index_source *source, struct head *head,
                                 const char *table, struct index_entry *piece, struct err *err)
{
    struct hash hash;
    char text[HASH_DIGITS + 1];
    int64_t at = entries_at(head);
    hash_start(&hash);
    for (int64_t first = 0; first < head->count; first += PIECE) {
        int64_t here = head->count - first < PIECE ? head->count - first : PIECE;
        memset(piece, 0, PIECE * sizeof *piece);
        for (int64_t i = 0; i < here; i++) {
            struct index_entry *e = &piece[i];
            source->entry(source->user, first + i, e);
            if (e->offset + e->size > shard_at(table, e->shard)->size)
                return err_set(err, MOCO_EIO, "%.300s is shorter than it was when it was indexed",
                               names_at(source->shards, e->shard));
            e->check = check_of(e, first + i);
        }
        hash_add(&hash, piece, (size_t)here * sizeof *piece);
        TRY(file_save_write_at(save, at + first * (int64_t)sizeof *piece, piece, (size_t)here * sizeof *piece, err));
    }
    hash_text(&hash, text);
    memcpy(head->entries, text, sizeof head->entries);
    return MOCO_OK;
}

static moco_status write_file(struct ctx *ctx, const char *path, const struct index_source *source, struct head *head,
                              const char *table, struct err *err)
{
    struct file_save save;
    char text[HASH_DIGITS + 1];
    struct index_entry *piece = mem_array(ctx, PIECE, sizeof *piece, err);
    if (piece == NULL)
        return MOCO_ENOMEM;
    moco_status status =
        file_save_begin(&save, ctx, path, entries_at(head) + head->count * (int64_t)sizeof *piece, err);
    if (status == MOCO_OK) {
        status = write_entries(&save, source, head, table, piece, err);
        hash_head(*head, table, text);
        memcpy(head->hash, text, sizeof head->hash);
        if (status == MOCO_OK)
            status = file_save_write_at(&save, 0, head, sizeof *head, err);
        if (status == MOCO_OK)
            status = file_save_write_at(&save, sizeof *head, table, (size_t)table_bytes(head), err);
        if (status == MOCO_OK)
            status = file_save_commit(&save, err);
        file_save_abandon(&save);
    }
    mem_free(ctx, piece);
    return status;
}

moco_status dataset_index_write(struct ctx *ctx, const char *path, const struct index_source *source, struct err *err)
{
    struct head head = {
        .magic = MAGIC, .count = source->count, .shards = source->shards->count, .classes = source->classes};
    char *table = NULL;
    moco_status status = make_table(ctx, source->shards, &head, &table, err);
    if (status == MOCO_OK)
        status = write_file(ctx, path, source, &head, table, err);
    mem_free(ctx, table);
    return status;
}

moco_status dataset_index_save(const struct dataset *ds, const char *path, struct err *err)
{
    struct index_source source;
    dataset_tar_source(ds, &source);
    if (source.shards == NULL)
        return err_set(err, MOCO_ENOTSUP, "only a data set that was opened from tar shards has an index to save");
    return dataset_index_write(ds->ctx, path, &source, err);
}

/* ---- reading ---- */

static moco_status damaged(const char *path, const char *what, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: %s; make the index again", path, what);
}

static moco_status read_head(const struct file *file, struct head *head, struct err *err)
{
    if (file->size < (int64_t)sizeof *head)
        return damaged(file->path, "it is too short for an index of shards", err);
    TRY(file_read_at(file, 0, head, sizeof *head, err));
    if (memcmp(head->magic, MAGIC, sizeof head->magic) != 0)
        return damaged(file->path, "it is no index of shards, or of another version", err);
    if (head->count < 1 || head->count > COUNT_MAX || head->shards < 1 || head->shards > SHARDS_MAX ||
        head->text < 2 * head->shards || head->text > TEXT_MAX || head->classes < 0 ||
        head->classes > DATASET_LABEL_MAX + 1)
        return damaged(file->path, "its head is damaged", err);
    if (file->size != entries_at(head) + head->count * (int64_t)sizeof(struct index_entry))
        return damaged(file->path, "it has not the length that its head says", err);
    return MOCO_OK;
}

static moco_status check_table(const struct index_set *set, const struct head *head, struct err *err)
{
    char text[HASH_DIGITS + 1];
    int64_t at = 0;
    hash_head(*head, set->table, text);
    if (memcmp(text, head->hash, sizeof head->hash) != 0)
        return damaged(set->path, "its head is damaged", err);
    for (int64_t i = 0; i < set->shards; i++) { /* one that was forged has the right hash, too */
        if (shard_at(set->table, i)->name != at || at >= set->text)
            return damaged(set->path, "names of its shards are damaged", err);
        const char *end = memchr(name_of(set, i), 0, (size_t)(set->text - at));
        if (end == NULL)
            return damaged(set->path, "names of its shards are damaged", err);
        at = end + 1 - name_of(set, 0);
    }
    return MOCO_OK;
}

/* A shard that was written to since may have its pictures elsewhere. */
static moco_status check_shards(const struct index_set *set, struct err *err)
{
    for (int64_t i = 0; i < set->shards; i++) {
        const struct shard *was = shard_at(set->table, i);
        struct shard is = {0};
        struct err why = {0};
        if (look_at_shard(name_of(set, i), &is, &why) != MOCO_OK)
            return err_set(err, MOCO_EIO, "%.200s names a shard that is gone: %.250s", set->path, why.text);
        if (is.size != was->size || is.seconds != was->seconds || is.nanoseconds != was->nanoseconds)
            return err_set(err, MOCO_EIO,
                           "%.200s: %.200s has been written to since the index was made; make the index again",
                           set->path, name_of(set, i));
    }
    return MOCO_OK;
}

static moco_status open_file(struct index_set *set, const struct file *file, struct err *err)
{
    struct ctx *ctx = set->base.ctx;
    struct head head;
    TRY(read_head(file, &head, err));
    set->path = mem_strdup(ctx, file->path, err);
    set->table = mem_alloc(ctx, (size_t)table_bytes(&head), err);
    if (set->path == NULL || set->table == NULL)
        return MOCO_ENOMEM;
    set->shards = head.shards;
    set->text = head.text;
    set->base.count = head.count;
    set->base.classes = head.classes;
    memcpy(set->hash, head.entries, sizeof head.entries);
    TRY(file_read_at(file, sizeof head, set->table, (size_t)table_bytes(&head), err));
    TRY(check_table(set, &head, err));
    TRY(check_shards(set, err));
    TRY(file_map(&set->map, ctx, file->path, file->size, err));
    set->entries = (const struct index_entry *)(const void *)((const char *)set->map.at + entries_at(&head));
    return MOCO_OK;
}

/* ---- the data set ---- */

/* NULL: the entry is damaged. */
static const struct index_entry *entry_of(const struct index_set *set, int64_t id)
{
    const struct index_entry *e = &set->entries[id];
    if (e->check != check_of(e, id) || e->shard >= set->shards || e->offset < 0 ||
        e->offset > shard_at(set->table, e->shard)->size - e->size || e->label < -1 ||
        (e->label >= set->base.classes && e->label >= 0))
        return NULL;
    return e;
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct index_set *set = (const struct index_set *)ds;
    const struct index_entry *e = entry_of(set, id);
    if (e == NULL)
        return err_set(err, MOCO_EIO, "%.300s: the entry of picture %lld is damaged; make the index again", set->path,
                       (long long)id);
    return decode_part(decoder, name_of(set, e->shard), e->offset, e->size, image, err);
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct index_entry *e = entry_of((const struct index_set *)ds, id);
    return e != NULL ? e->label : -1;
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct index_set *set = (const struct index_set *)ds;
    const struct index_entry *e = entry_of(set, id);
    int length = e != NULL ? snprintf(text, size, "%s (offset %lld)", name_of(set, e->shard), (long long)e->offset)
                           : snprintf(text, size, "%s (a damaged entry)", set->path);
    return length >= 0 && (size_t)length < size ? MOCO_OK : MOCO_ESHAPE;
}

static void destroy(struct dataset *ds)
{
    struct index_set *set = (struct index_set *)ds;
    file_unmap(&set->map);
    mem_free(ds->ctx, set->path);
    mem_free(ds->ctx, set->table);
    mem_free(ds->ctx, set);
}

static const struct dataset_ops index_ops = {read_image, label, path, dataset_no_class_name, destroy};

const char *dataset_index_hash(const struct dataset *ds)
{
    return ds->ops == &index_ops ? ((const struct index_set *)ds)->hash : NULL;
}

moco_status dataset_open_index(struct dataset **out, struct ctx *ctx, const char *path, struct err *err)
{
    struct file file;
    *out = NULL;
    struct index_set *set = mem_zalloc(ctx, sizeof *set, err);
    if (set == NULL)
        return MOCO_ENOMEM;
    set->base = (struct dataset){&index_ops, ctx_ref(ctx), 0, 0, NULL, 0, 0};
    moco_status status = file_open(&file, ctx, path, err);
    if (status == MOCO_OK)
        status = open_file(set, &file, err);
    file_close(&file);
    if (status != MOCO_OK) {
        dataset_free(&set->base);
        return status;
    }
    *out = &set->base;
    return MOCO_OK;
}
