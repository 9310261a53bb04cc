/* SPDX-License-Identifier: MIT
 *
 * zip_write: see zip_write.h. All headers are made first, in one block of bytes with gaps for the contents. The
 * CRC-32s are written into the headers afterwards, in the file. */
#include "zip_write.h"

#include <string.h>

#include "crc32.h"
#include "file_gaps.h"

enum {
    LOCAL = 30,   /* a local header before its name */
    CENTRAL = 46, /* an entry of the directory before its name */
    END = 22,
    END64 = 56,       /* the record of 64 bits */
    LOCATOR = 20,     /* which says where that is */
    WIDE = 4 + 3 * 8, /* of an extra field with sizes and offset of 64 bits, at most */
    ALIGNMENT = 64,
    EXTRA = 4, /* of a field in a header: its id and length */
    UTF8 = 0x800,
    VERSION = 20,
    VERSION_WIDE = 45,
    FIRST_DAY = 0x21,        /* 1 January 1980 */
    MEMBERS_NARROW = 0xfffe, /* most that 16 bits count */
    NAME_BYTES = 1000
};
#define NARROW INT64_C(0xfffffffe) /* most that 32 bits hold: one more means that an extra field says it */
#define FULL UINT32_C(0xffffffff)
#define TOTAL_MAX (INT64_C(1) << 62)

struct member {
    int64_t size, written;
    size_t local, central; /* where their headers begin among the bytes */
    uint32_t crc;
};

struct zip_writer {
    struct ctx *ctx;
    struct file_save save;
    int open;              /* save is */
    struct file_gaps gaps; /* one for each member */
    struct member *members;
    int64_t count;
    unsigned char *bytes; /* all headers */
    size_t used;
    int64_t contents; /* bytes of the members before the one being listed */
    int64_t current;  /* the member being written; -1: none */
    enum zip_wide wide;
};

static void put(struct zip_writer *w, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        w->bytes[w->used++] = (unsigned char)(value >> 8 * i);
}

static void put_text(struct zip_writer *w, const char *text)
{
    size_t length = strlen(text);
    memcpy(w->bytes + w->used, text, length);
    w->used += length;
}

static int is_wide(const struct zip_writer *w, int64_t value)
{
    return w->wide == ZIP_WIDE_ALL || value > NARROW;
}

/* In 32 bits, or that it is said in 64. */
static void put_narrow(struct zip_writer *w, int64_t value)
{
    put(w, is_wide(w, value) ? FULL : (uint64_t)value, 4);
}

/* The extra field of 64 bits: those of `count` numbers that are not in the header. Bytes; 0: none is needed. */
static size_t wide_bytes(const struct zip_writer *w, const int64_t *values, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += is_wide(w, values[i]) ? 8 : 0;
    return bytes > 0 ? EXTRA + bytes : 0;
}

static void put_wide(struct zip_writer *w, const int64_t *values, int count)
{
    size_t bytes = wide_bytes(w, values, count);
    if (bytes == 0)
        return;
    put(w, 1, 2);
    put(w, bytes - EXTRA, 2);
    for (int i = 0; i < count; i++)
        if (is_wide(w, values[i]))
            put(w, (uint64_t)values[i], 8);
}

/* What a local header and an entry of the directory say alike. */
static void put_common(struct zip_writer *w, int64_t size, size_t name, size_t extra, size_t wide)
{
    put(w, wide > 0 ? VERSION_WIDE : VERSION, 2);
    put(w, UTF8, 2);
    put(w, 0, 2); /* stored */
    put(w, (uint64_t)FIRST_DAY << 16, 4);
    put(w, 0, 4); /* the CRC-32, which is not known yet */
    put_narrow(w, size);
    put_narrow(w, size);
    put(w, name, 2);
    put(w, extra, 2);
}

static void put_local(struct zip_writer *w, struct member *m, const char *name)
{
    const int64_t sizes[2] = {m->size, m->size};
    size_t length = strlen(name), wide = wide_bytes(w, sizes, 2);
    m->local = w->used;
    int64_t content = w->contents + (int64_t)(w->used + LOCAL + wide + EXTRA + length);
    size_t padding = (size_t)((ALIGNMENT - content % ALIGNMENT) % ALIGNMENT);
    put(w, UINT32_C(0x04034b50), 4);
    put_common(w, m->size, length, wide + EXTRA + padding, wide);
    put_text(w, name);
    put_wide(w, sizes, 2);
    put_text(w, "FB"); /* the field that torch pads with */
    put(w, padding, 2);
    memset(w->bytes + w->used, 'Z', padding);
    w->used += padding;
    file_gaps_add(&w->gaps, w->used, m->size);
    w->contents += m->size;
}

static void put_central(struct zip_writer *w, struct member *m, const char *name, int64_t local)
{
    const int64_t values[3] = {m->size, m->size, local};
    size_t wide = wide_bytes(w, values, 3);
    m->central = w->used;
    put(w, UINT32_C(0x02014b50), 4);
    put(w, wide > 0 ? VERSION_WIDE : VERSION, 2);
    put_common(w, m->size, strlen(name), wide, wide);
    put(w, 0, 2); /* no comment */
    put(w, 0, 2); /* on the first disk */
    put(w, 0, 2);
    put(w, 0, 4);
    put_narrow(w, local);
    put_text(w, name);
    put_wide(w, values, 3);
}

/* `begin`: offset of the directory in the file; `bytes`: of it. */
static void put_end(struct zip_writer *w, int64_t begin, int64_t bytes)
{
    int many = w->wide == ZIP_WIDE_ALL || w->count > MEMBERS_NARROW;
    if (many || is_wide(w, begin) || is_wide(w, bytes)) {
        put(w, UINT32_C(0x06064b50), 4);
        put(w, END64 - 12, 8);
        put(w, VERSION_WIDE, 2);
        put(w, VERSION_WIDE, 2);
        put(w, 0, 8);
        put(w, (uint64_t)w->count, 8);
        put(w, (uint64_t)w->count, 8);
        put(w, (uint64_t)bytes, 8);
        put(w, (uint64_t)begin, 8);
        put(w, UINT32_C(0x07064b50), 4);
        put(w, 0, 4);
        put(w, (uint64_t)(begin + bytes), 8);
        put(w, 1, 4);
    }
    put(w, UINT32_C(0x06054b50), 4);
    put(w, 0, 4);
    put(w, many ? 0xffff : (uint64_t)w->count, 2);
    put(w, many ? 0xffff : (uint64_t)w->count, 2);
    put_narrow(w, bytes);
    put_narrow(w, begin);
    put(w, 0, 2);
}

/* All headers of a zip of `count` members. */
static void put_headers(struct zip_writer *w, const struct zip_put_member *members)
{
    for (int64_t i = 0; i < w->count; i++) {
        w->members[i].size = members[i].size;
        put_local(w, &w->members[i], members[i].name);
    }
    size_t directory = w->used;
    int64_t before = 0;
    for (int64_t i = 0; i < w->count; i++) {
        put_central(w, &w->members[i], members[i].name, before + (int64_t)w->members[i].local);
        before += w->members[i].size;
    }
    put_end(w, w->contents + (int64_t)directory, (int64_t)(w->used - directory));
}

/* Bytes of all headers at most, or -1 with a sentence. */
static int64_t room_for(const struct zip_put_member *members, int64_t count, const char *path, struct err *err)
{
    int64_t room = END64 + LOCATOR + END, total = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t name = strlen(members[i].name);
        if (name > NAME_BYTES) {
            err_set(err, MOCO_EINVAL, "%.300s: a member's name of %zu bytes is too long for it", path, name);
            return -1;
        }
        room += LOCAL + CENTRAL + 2 * WIDE + EXTRA + ALIGNMENT + 2 * (int64_t)name;
        if (members[i].size < 0 || members[i].size > TOTAL_MAX - total - room) {
            err_set(err, MOCO_EINVAL, "%.300s: a zip archive of more than 2^62 bytes", path);
            return -1;
        }
        total += members[i].size;
    }
    return room;
}

static moco_status create(struct zip_writer *w, const char *path, const struct zip_put_member *members, struct err *err)
{
    int64_t room = room_for(members, w->count, path, err);
    if (room < 0)
        return MOCO_EINVAL;
    w->bytes = mem_alloc(w->ctx, (size_t)room, err);
    w->members = mem_array(w->ctx, (size_t)w->count, sizeof *w->members, err);
    if (w->bytes == NULL || w->members == NULL)
        return MOCO_ENOMEM;
    put_headers(w, members);
    TRY(file_gaps_begin(&w->gaps, &w->save, path, w->bytes, w->used, err));
    w->open = 1;
    return MOCO_OK;
}

moco_status zip_create(struct zip_writer **out, struct ctx *ctx, const char *path, const struct zip_put_member *members,
                       int64_t count, enum zip_wide wide, struct err *err)
{
    *out = NULL;
    struct zip_writer *w = mem_zalloc(ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    w->ctx = ctx_ref(ctx);
    w->count = count;
    w->wide = wide;
    w->current = -1;
    file_gaps_start(&w->gaps, ctx, err);
    moco_status status = create(w, path, members, err);
    w->gaps.err = NULL;
    if (status != MOCO_OK) {
        zip_abandon(w);
        return status;
    }
    *out = w;
    return MOCO_OK;
}

moco_status zip_put(struct zip_writer *w, int64_t member, const void *bytes, size_t size, struct err *err)
{
    struct member *m = &w->members[member];
    if (size > (uint64_t)(m->size - m->written) || (w->current != member && m->written > 0))
        return err_set(err, MOCO_EINVAL,
                       "%.300s: member %lld has %lld bytes, %lld of them written; %zu more were given", w->save.path,
                       (long long)member, (long long)m->size, (long long)m->written, size);
    w->current = member;
    TRY(file_save_write_at(&w->save, w->gaps.gaps[member].offset + m->written, bytes, size, err));
    m->crc = crc32_add(m->crc, bytes, size);
    m->written += (int64_t)size;
    return MOCO_OK;
}

static moco_status put_crc(struct zip_writer *w, int64_t offset, uint32_t crc, struct err *err)
{
    unsigned char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(crc >> 8 * i);
    return file_save_write_at(&w->save, offset, bytes, sizeof bytes, err);
}

static moco_status finish(struct zip_writer *w, struct err *err)
{
    int64_t before = 0;
    for (int64_t i = 0; i < w->count; i++) {
        const struct member *m = &w->members[i];
        if (m->written != m->size)
            return err_set(err, MOCO_ESTATE, "%.300s: member %lld has %lld bytes; %lld were written", w->save.path,
                           (long long)i, (long long)m->size, (long long)m->written);
        TRY(put_crc(w, before + (int64_t)m->local + 14, m->crc, err));
        TRY(put_crc(w, w->contents + (int64_t)m->central + 16, m->crc, err));
        before += m->size;
    }
    w->open = 0; /* commit frees it */
    return file_save_commit(&w->save, err);
}

moco_status zip_commit(struct zip_writer *w, struct err *err)
{
    moco_status status = finish(w, err);
    zip_abandon(w);
    return status;
}

void zip_abandon(struct zip_writer *w)
{
    if (w == NULL)
        return;
    struct ctx *ctx = w->ctx;
    if (w->open)
        file_save_abandon(&w->save);
    file_gaps_free(&w->gaps);
    mem_free(ctx, w->members);
    mem_free(ctx, w->bytes);
    mem_free(ctx, w);
    ctx_unref(ctx);
}
