/* SPDX-License-Identifier: MIT
 *
 * zip: see zip.h. The directory is read into memory once, and names get their 0 in place: each name moves one byte
 * forward, over the last byte of a field that was read before. */
#include "zip.h"

#include <string.h>

#include "crc32.h"
#include "sort.h"

enum {
    END = 22,     /* the record at the very end */
    LOCATOR = 20, /* says where the 64-bit record lies */
    END64 = 56,   /* the 64-bit record, without room for later fields */
    CENTRAL = 46, /* an entry of the directory, before its name */
    LOCAL = 30,   /* a local header, before its name */
    NAME_MAX_ = 1024,
    ENCRYPTED = 1, /* flags */
    DESCRIPTOR = 8,
    UTF8 = 0x800
};
#define DIRECTORY_MAX ((int64_t)64 << 20)
#define NONE32 UINT32_C(0xffffffff) /* the 64-bit field holds it */

static uint64_t get(const void *bytes, int size)
{
    const unsigned char *b = bytes;
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | b[size];
    return value;
}

static moco_status wrong(const struct file *f, int64_t at, struct err *err, const char *what)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: %s", f->path, (long long)at, what);
}

static moco_status wrong_member(const struct file *f, const struct zip_member *m, struct err *err, const char *what)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: member %.80s of the zip archive %s", f->path,
                   (long long)m->header, m->name, what);
}

/* ---- where the directory lies ---- */

struct place {
    int64_t offset, size, count;
};

/* Reads the 64-bit record, if its locator is right before the end record. `end` moves to where the record begins. */
static moco_status read_end64(const struct file *f, struct place *place, int64_t *end, struct err *err)
{
    unsigned char locator[LOCATOR], record[END64];
    if (*end < LOCATOR + END64)
        return MOCO_OK;
    TRY(file_read_at(f, *end - LOCATOR, locator, sizeof locator, err));
    if (memcmp(locator, "PK\6\7", 4) != 0)
        return MOCO_OK;
    int64_t at = *end - LOCATOR - END64;
    if (get(locator + 4, 4) != 0 || get(locator + 16, 4) > 1)
        return wrong(f, *end - LOCATOR, err, "the zip archive is one part of several");
    if (get(locator + 8, 8) != (uint64_t)at)
        return wrong(f, *end - LOCATOR, err, "the 64-bit end record of the zip archive is not where it is said to be");
    TRY(file_read_at(f, at, record, sizeof record, err));
    if (memcmp(record, "PK\6\6", 4) != 0 || get(record + 4, 8) != END64 - 12 || get(record + 16, 8) != 0 ||
        get(record + 24, 8) != get(record + 32, 8))
        return wrong(f, at, err, "the 64-bit end record of the zip archive is damaged");
    const uint64_t narrow[3] = {(uint64_t)place->count, (uint64_t)place->size, (uint64_t)place->offset};
    static const uint64_t none[3] = {0xffff, NONE32, NONE32};
    for (int i = 0; i < 3; i++) {
        uint64_t wide = get(record + 32 + 8 * i, 8);
        if (narrow[i] != none[i] && narrow[i] != wide)
            return wrong(f, at, err, "the two end records of the zip archive disagree");
        if (wide > (uint64_t)at)
            return wrong(f, at, err, "the directory of the zip archive is said to be longer than the file");
    }
    *place = (struct place){(int64_t)get(record + 48, 8), (int64_t)get(record + 40, 8), (int64_t)get(record + 32, 8)};
    *end = at;
    return MOCO_OK;
}

/* Finds the directory from the end of the file. An archive with a comment, with several parts, or with anything before
 * or after it is refused: two readers could see two archives in such a file. */
static moco_status find_directory(const struct file *f, struct place *place, struct err *err)
{
    unsigned char record[END];
    int64_t end = f->size - END;
    if (end < 0)
        return wrong(f, f->size, err, "the file ends before a zip archive can");
    TRY(file_read_at(f, end, record, sizeof record, err));
    if (memcmp(record, "PK\5\6", 4) != 0 || get(record + 20, 2) != 0)
        return wrong(f, end, err,
                     "the zip archive does not end here: it is cut off, or something follows it (its end record is "
                     "missing)");
    if (get(record + 4, 4) != 0 || get(record + 8, 2) != get(record + 10, 2))
        return wrong(f, end, err, "the zip archive is one part of several");
    *place = (struct place){(int64_t)get(record + 16, 4), (int64_t)get(record + 12, 4), (int64_t)get(record + 10, 2)};
    TRY(read_end64(f, place, &end, err));
    if (place->offset > end || place->size != end - place->offset)
        return wrong(f, end, err,
                     "the directory of the zip archive does not end where its end record begins: something was put "
                     "before the archive or into it");
    if (place->size > DIRECTORY_MAX)
        return wrong(f, place->offset, err, "the directory of the zip archive is longer than 64 MiB");
    if (place->count > place->size / CENTRAL)
        return wrong(f, end, err, "the zip archive is said to have more members than its directory has bytes for");
    return MOCO_OK;
}

/* ---- the directory ---- */

/* A relative path that stays in its folder. */
static int good_name(const char *name, size_t length)
{
    if (length == 0 || length > NAME_MAX_ || memchr(name, 0, length) != NULL || memchr(name, '\\', length) != NULL)
        return 0;
    for (size_t begin = 0, at = 0; at <= length; at++) {
        if (at < length && name[at] != '/')
            continue;
        size_t part = at - begin;
        if ((part == 0 && at < length) || (part == 1 && name[begin] == '.') ||
            (part == 2 && memcmp(name + begin, "..", 2) == 0))
            return 0;
        begin = at + 1;
    }
    return 1;
}

/* The 64-bit numbers of the extra field with id 1, in order, for those of `values` that are NONE32. */
static int wide_values(const char *extra, size_t size, uint64_t *values, int count)
{
    int wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += values[i] == NONE32;
    while (wanted > 0 && size >= 4) {
        size_t id = (size_t)get(extra, 2), length = (size_t)get(extra + 2, 2);
        if (length > size - 4)
            return 0;
        if (id == 1) {
            const char *at = extra + 4;
            for (int i = 0; i < count; i++)
                if (values[i] == NONE32) {
                    if (at + 8 > extra + 4 + length)
                        return 0;
                    values[i] = get(at, 8);
                    at += 8;
                }
            return 1;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return wanted == 0;
}

/* What the flags and the method of a member must be, in either header. NULL, or what is wrong. */
static const char *unreadable(unsigned flags, unsigned method)
{
    if (flags & ENCRYPTED)
        return "is encrypted";
    if (method != 0)
        return "is compressed; only stored members are read (unpack the archive and pack it again with zip -0 -r)";
    return flags & ~(unsigned)(DESCRIPTOR | UTF8) ? "has flags that are not known here" : NULL;
}

/* Entry at `at` of the directory; *next: where the one behind it begins. */
static moco_status read_entry(struct zip *zip, const struct place *place, char *at, char **next, struct err *err)
{
    const struct file *f = zip->file;
    struct zip_member *m = &zip->members[zip->count];
    int64_t offset = place->offset + (at - zip->directory), left = place->size - (at - zip->directory);
    if (left < CENTRAL || memcmp(at, "PK\1\2", 4) != 0)
        return wrong(f, offset, err, "an entry of the zip archive's directory is damaged");
    unsigned flags = (unsigned)get(at + 8, 2), method = (unsigned)get(at + 10, 2);
    size_t name = (size_t)get(at + 28, 2), extra = (size_t)get(at + 30, 2), comment = (size_t)get(at + 32, 2);
    if ((int64_t)(name + extra + comment) > left - CENTRAL)
        return wrong(f, offset, err, "an entry of the zip archive's directory is longer than the directory");
    if (!good_name(at + CENTRAL, name))
        return wrong(f, offset, err,
                     "a member of the zip archive has a name that is empty, longer than 1024 bytes or no path inside "
                     "the archive");
    uint64_t values[3] = {get(at + 24, 4), get(at + 20, 4), get(at + 42, 4)};
    m->crc = (uint32_t)get(at + 16, 4);
    int disk = (int)get(at + 34, 2), wide = wide_values(at + CENTRAL + name, extra, values, 3);
    memmove(at + CENTRAL - 1, at + CENTRAL, name);
    at[CENTRAL - 1 + name] = 0;
    m->name = at + CENTRAL - 1;
    m->header = offset; /* for the sentences below */
    if (!wide)
        return wrong_member(f, m, err, "lacks its 64-bit sizes");
    const char *bad = unreadable(flags, method);
    if (bad != NULL)
        return wrong_member(f, m, err, bad);
    if (disk != 0)
        return wrong_member(f, m, err, "lies in another part of the archive");
    if (values[0] != values[1])
        return wrong_member(f, m, err, "is stored, but has two sizes");
    if (values[2] > (uint64_t)place->offset || values[0] > (uint64_t)place->offset - values[2])
        return wrong_member(f, m, err, "is said to reach beyond the archive's contents");
    m->size = (int64_t)values[0];
    m->header = (int64_t)values[2];
    m->offset = (int64_t)flags; /* until the local header is read */
    zip->count++;
    *next = at + CENTRAL + name + extra + comment;
    return MOCO_OK;
}

static moco_status read_directory(struct zip *zip, const struct place *place, struct err *err)
{
    struct ctx *ctx = zip->file->ctx;
    zip->directory = mem_alloc(ctx, (size_t)place->size, err);
    zip->members = mem_alloc(ctx, (size_t)place->count * sizeof *zip->members, err);
    if (zip->directory == NULL || zip->members == NULL)
        return MOCO_ENOMEM;
    TRY(file_read_at(zip->file, place->offset, zip->directory, (size_t)place->size, err));
    char *at = zip->directory;
    while (zip->count < place->count)
        TRY(read_entry(zip, place, at, &at, err));
    if (at != zip->directory + place->size)
        return wrong(zip->file, place->offset + (at - zip->directory), err,
                     "the zip archive's directory has more entries than it is said to have");
    return MOCO_OK;
}

/* ---- local headers and the bytes between them ---- */

/* The sizes of a local header whose 32 bits are full, from its extra fields. */
static moco_status wide_local(const struct file *f, struct zip_member *m, int64_t extra, size_t size,
                              uint64_t values[2], struct err *err)
{
    char *fields = mem_alloc(f->ctx, size, err);
    if (fields == NULL)
        return MOCO_ENOMEM;
    moco_status status = file_read_at(f, extra, fields, size, err);
    if (status == MOCO_OK && !wide_values(fields, size, values, 2))
        status = wrong_member(f, m, err, "lacks its 64-bit sizes in its local header");
    mem_free(f->ctx, fields);
    return status;
}

/* Checks the local header against the directory and finds the content. */
static moco_status read_local(const struct file *f, struct zip_member *m, int64_t directory, struct err *err)
{
    char head[LOCAL + NAME_MAX_];
    unsigned flags = (unsigned)m->offset;
    size_t name = strlen(m->name);
    if (directory - m->header < (int64_t)(LOCAL + name))
        return wrong_member(f, m, err, "has no local header");
    TRY(file_read_at(f, m->header, head, LOCAL + name, err));
    if (memcmp(head, "PK\3\4", 4) != 0)
        return wrong_member(f, m, err, "has no local header");
    if (get(head + 26, 2) != name || memcmp(head + LOCAL, m->name, name) != 0)
        return wrong_member(f, m, err, "has another name in its local header");
    size_t extra = (size_t)get(head + 28, 2);
    if (get(head + 6, 2) != flags || get(head + 8, 2) != 0)
        return wrong_member(f, m, err, "has other flags or another method in its local header");
    if (directory - m->header - (int64_t)(LOCAL + name) < (int64_t)extra)
        return wrong_member(f, m, err, "has a local header that is longer than the archive");
    uint64_t values[2] = {get(head + 22, 4), get(head + 18, 4)}, crc = get(head + 14, 4);
    if (values[0] == NONE32 || values[1] == NONE32)
        TRY(wide_local(f, m, m->header + (int64_t)(LOCAL + name), extra, values, err));
    int later = flags & DESCRIPTOR;
    for (int i = 0; i < 2; i++)
        if (values[i] != (uint64_t)m->size && !(later && values[i] == 0))
            return wrong_member(f, m, err, "has another size in its local header");
    if (crc != m->crc && !(later && crc == 0))
        return wrong_member(f, m, err, "has another CRC-32 in its local header");
    m->offset = m->header + (int64_t)(LOCAL + name + extra);
    if (m->size > directory - m->offset)
        return wrong_member(f, m, err, "is said to reach beyond the archive's contents");
    return MOCO_OK;
}

/* What follows a content: nothing, or a descriptor, with or without its mark, of 32 or 64 bits. */
static moco_status check_gap(const struct file *f, const struct zip_member *m, int descriptor, int64_t next,
                             struct err *err)
{
    unsigned char bytes[24];
    int64_t at = m->offset + m->size, gap = next - at;
    if (gap < 0)
        return wrong_member(f, m, err, "lies on bytes of the next one");
    if (!descriptor)
        return gap == 0 ? MOCO_OK : wrong_member(f, m, err, "is followed by bytes that belong to none");
    if (gap != 12 && gap != 16 && gap != 20 && gap != 24)
        return wrong_member(f, m, err, "is not followed by a descriptor alone");
    TRY(file_read_at(f, at, bytes, (size_t)gap, err));
    int marked = gap == 16 || gap == 24, wide = gap >= 20 ? 8 : 4;
    const unsigned char *crc = bytes + (marked ? 4 : 0);
    if ((marked && memcmp(bytes, "PK\7\10", 4) != 0) || get(crc, 4) != m->crc ||
        get(crc + 4, wide) != (uint64_t)m->size || get(crc + 4 + wide, wide) != (uint64_t)m->size)
        return wrong_member(f, m, err, "has a descriptor that says something else than the directory");
    return MOCO_OK;
}

static int by_header(const void *a, const void *b, const void *user)
{
    const struct zip_member *x = a, *y = b;
    (void)user;
    return x->header != y->header ? (x->header < y->header ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, const void *user)
{
    const struct zip_member *x = a, *y = b;
    (void)user;
    int order = strcmp(x->name, y->name);
    return order != 0 || x->header == y->header ? order : x->header < y->header ? -1 : 1;
}

/* Members one behind the other, from the first byte to the directory. */
static moco_status check_cover(struct zip *zip, int64_t directory, struct err *err)
{
    sort_array(zip->members, (size_t)zip->count, sizeof *zip->members, by_header, NULL);
    if (zip->count > 0 ? zip->members[0].header != 0 : directory != 0)
        return wrong(zip->file, 0, err, "the zip archive does not begin with its first member");
    for (int64_t i = 0; i < zip->count; i++) {
        struct zip_member *m = &zip->members[i];
        int descriptor = ((unsigned)m->offset & DESCRIPTOR) != 0;
        int64_t next = i + 1 < zip->count ? m[1].header : directory;
        if (i + 1 < zip->count && next == m->header)
            return wrong_member(zip->file, m, err, "lies on bytes of the next one");
        TRY(read_local(zip->file, m, directory, err));
        TRY(check_gap(zip->file, m, descriptor, next, err));
    }
    sort_array(zip->members, (size_t)zip->count, sizeof *zip->members, by_name, NULL);
    for (int64_t i = 1; i < zip->count; i++)
        if (strcmp(zip->members[i - 1].name, zip->members[i].name) == 0)
            return wrong_member(zip->file, &zip->members[i], err, "is there twice");
    return MOCO_OK;
}

/* ---- the whole ---- */

moco_status zip_open(struct zip *zip, const struct file *file, struct err *err)
{
    struct place place = {0};
    *zip = (struct zip){.file = file};
    moco_status status = find_directory(file, &place, err);
    if (status == MOCO_OK)
        status = read_directory(zip, &place, err);
    if (status == MOCO_OK)
        status = check_cover(zip, place.offset, err);
    if (status != MOCO_OK)
        zip_close(zip);
    return status;
}

void zip_close(struct zip *zip)
{
    if (zip->file == NULL)
        return;
    mem_free(zip->file->ctx, zip->members);
    mem_free(zip->file->ctx, zip->directory);
    *zip = (struct zip){0};
}

const struct zip_member *zip_find(const struct zip *zip, const char *name)
{
    int64_t low = 0, high = zip->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, zip->members[middle].name);
        if (order == 0)
            return &zip->members[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

uint32_t zip_crc(uint32_t crc, const void *bytes, size_t size)
{
    return crc32_add(crc, bytes, size);
}

moco_status zip_compare_crc(const struct zip *zip, const struct zip_member *member, uint32_t crc, struct err *err)
{
    if (crc == member->crc)
        return MOCO_OK;
    return err_set(err, MOCO_EFORMAT,
                   "%.300s: at byte %lld: member %.80s of the zip archive is damaged: its CRC-32 is %08lx, %08lx was "
                   "saved",
                   zip->file->path, (long long)member->offset, member->name, (unsigned long)crc,
                   (unsigned long)member->crc);
}

moco_status zip_check(const struct zip *zip, const struct zip_member *member, void *piece, size_t size, struct err *err)
{
    uint32_t crc = 0;
    for (int64_t at = 0; at < member->size;) {
        size_t part = member->size - at < (int64_t)size ? (size_t)(member->size - at) : size;
        TRY(file_read_at(zip->file, member->offset + at, piece, part, err));
        crc = zip_crc(crc, piece, part);
        at += (int64_t)part;
    }
    return zip_compare_crc(zip, member, crc, err);
}
