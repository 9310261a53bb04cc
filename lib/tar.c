/* SPDX-License-Identifier: MIT
 *
 * tar: see tar.h. A member may have further headers before its own: a GNU 'L' (its name), a pax 'x' (path and size
 * among others). They are read first and override the member's own header. */
#include "tar.h"

#include <string.h>

enum { BLOCK = 512, PAX_MAX = 1 << 20 };

/* Where a header's fields are. */
enum { NAME = 0, SIZE = 124, CHECKSUM = 148, TYPE = 156, MAGIC = 257, PREFIX = 345 };

void tar_begin(struct tar *tar, const struct file *file)
{
    *tar = (struct tar){.file = file};
}

static int all_zero(const unsigned char *block)
{
    for (int i = 0; i < BLOCK; i++)
        if (block[i] != 0)
            return 0;
    return 1;
}

/* Octal digits, which spaces may surround; -1: anything else, or more than 63 bits. */
static int64_t octal(const unsigned char *field, int size)
{
    int i = 0, digits = 0;
    int64_t value = 0;
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++, digits++) {
        if (value > INT64_MAX >> 3)
            return -1;
        value = value << 3 | (field[i] - '0');
    }
    for (; i < size; i++)
        if (field[i] != ' ' && field[i] != 0)
            return -1;
    return digits > 0 ? value : -1;
}

/* GNU's base 256 for sizes of 8 GiB and more: the first bit set, the rest a big-endian number. */
static int64_t number(const unsigned char *field, int size)
{
    if ((field[0] & 0x80) == 0)
        return octal(field, size);
    uint64_t value = field[0] & 0x7f;
    for (int i = 1; i < size; i++) {
        if (value >> 55 != 0)
            return -1; /* negative, or beyond any file */
        value = value << 8 | field[i];
    }
    return value <= INT64_MAX ? (int64_t)value : -1;
}

static int checksum_is_right(const unsigned char *block)
{
    int64_t stored = octal(block + CHECKSUM, 8), plain = 0, with_sign = 0;
    for (int i = 0; i < BLOCK; i++) {
        unsigned char byte = i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : block[i];
        plain += byte;
        with_sign += (signed char)byte; /* what some old programs wrote */
    }
    return stored == plain || stored == with_sign;
}

static moco_status bad(const struct tar *tar, int64_t at, const char *what, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%s: at offset %lld %s", tar->file->path, (long long)at, what);
}

/* Perhaps the archive is compressed, as a whole, which leaves no place in it that could be read alone. */
static moco_status no_header(const struct tar *tar, const unsigned char *block, const char *what, struct err *err)
{
    static const struct {
        const char *magic;
        size_t size;
        const char *name, *command;
    } kinds[] = {{"\x1f\x8b", 2, "gzip", "gzip -dc"},         {"\xfd\x37\x7a\x58\x5a\x00", 6, "xz", "xz -dc"},
                 {"\x28\xb5\x2f\xfd", 4, "zstd", "zstd -dc"}, {"BZh", 3, "bzip2", "bzip2 -dc"},
                 {"\x04\x22\x4d\x18", 4, "lz4", "lz4 -dc"},   {"PK\3\4", 4, "zip", NULL},
                 {"7z\xbc\xaf\x27\x1c", 6, "7-Zip", NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && tar->at == 0; i++) {
        if (memcmp(block, kinds[i].magic, kinds[i].size) != 0)
            continue;
        if (kinds[i].command == NULL)
            return err_set(err, MOCO_EFORMAT, "%s is an archive of %s, not of tar; unpack it and pack it with tar",
                           tar->file->path, kinds[i].name);
        return err_set(err, MOCO_EFORMAT,
                       "%s is compressed with %s; unpack it once (%s <FILE >FILE.tar) and name that file",
                       tar->file->path, kinds[i].name, kinds[i].command);
    }
    return bad(tar, tar->at, what, err);
}

/* Moves to the next block that is not all zero; MOCO_EEND where there is none. */
static moco_status skip_zeros(struct tar *tar, struct err *err)
{
    unsigned char blocks[16 * BLOCK];
    int64_t left;
    while ((left = (tar->file->size - tar->at) / BLOCK) > 0) {
        int count = left < 16 ? (int)left : 16;
        TRY(file_read_at(tar->file, tar->at, blocks, (size_t)count * BLOCK, err));
        for (int i = 0; i < count; i++, tar->at += BLOCK)
            if (!all_zero(blocks + (size_t)i * BLOCK))
                return MOCO_OK;
    }
    return MOCO_EEND;
}

/* The header at tar->at, checked; moves behind it. MOCO_EEND at the end. Behind the zeros at an archive's end another
 * one may follow (cat, tar --concatenate), but not between a header and what it belongs to. */
static moco_status read_header(struct tar *tar, int first, unsigned char block[BLOCK], int64_t *size, struct err *err)
{
    int64_t left = tar->file->size - tar->at;
    if (left == 0) {
        tar->unfinished = 1;
        return MOCO_EEND;
    }
    TRY(file_read_at(tar->file, tar->at, block, left < BLOCK ? (size_t)left : BLOCK, err));
    if (left < BLOCK)
        return no_header(tar, block, "the archive ends in the middle of a header", err);
    int end = all_zero(block);
    if (end) {
        if (!first)
            return MOCO_EEND;
        TRY(skip_zeros(tar, err));
        TRY(file_read_at(tar->file, tar->at, block, BLOCK, err));
    }
    if (!checksum_is_right(block)) {
        if (!end)
            return no_header(tar, block, "there is no header whose checksum is right", err);
        tar->ignored = tar->file->size - tar->at;
        return MOCO_EEND;
    }
    *size = number(block + SIZE, 12);
    if (*size < 0)
        return bad(tar, tar->at, "the size of a member is not a number that a file can have", err);
    tar->at += BLOCK;
    return MOCO_OK;
}

/* Skips content of `size` bytes and the padding after it; what is left over at the end may lack its padding. */
static moco_status skip(struct tar *tar, int64_t header, int64_t size, struct err *err)
{
    int64_t left = tar->file->size - tar->at;
    if (size > left)
        return bad(tar, header, "a member is longer than the rest of the archive", err);
    int64_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
    tar->at += padded > left ? left : padded;
    return MOCO_OK;
}

static moco_status set_name(const struct tar *tar, int64_t header, struct tar_member *m, const char *name,
                            size_t length, struct err *err)
{
    if (length >= sizeof m->name)
        return bad(tar, header, "a name has more than 4095 bytes", err);
    if (memchr(name, 0, length) != NULL)
        return bad(tar, header, "a name holds a zero byte", err);
    memcpy(m->name, name, length);
    m->name[length] = 0;
    return MOCO_OK;
}

/* Content of an extra header, with a 0 behind it; free with mem_free. */
static moco_status read_content(struct tar *tar, int64_t header, int64_t size, char **bytes, struct err *err)
{
    if (size > PAX_MAX)
        return bad(tar, header, "an extra header has more than 1 MiB", err);
    int64_t at = tar->at;
    TRY(skip(tar, header, size, err));
    *bytes = mem_zalloc(tar->file->ctx, (size_t)size + 1, err);
    if (*bytes == NULL)
        return MOCO_ENOMEM;
    moco_status status = file_read_at(tar->file, at, *bytes, (size_t)size, err);
    if (status != MOCO_OK) {
        mem_free(tar->file->ctx, *bytes);
        *bytes = NULL;
    }
    return status;
}

/* Decimal digits up to `end`; -1: not a number, or too large. */
static int64_t decimal(const char *text, const char *end)
{
    int64_t value = 0;
    if (text == end)
        return -1;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9' || value > (INT64_MAX - 9) / 10)
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value;
}

/* What the headers in front of a member's own say about it. */
struct extra {
    int named;
    int64_t size; /* -1: nothing */
};

/* Records "LENGTH key=value\n"; of them path and size count. */
static moco_status read_pax(const struct tar *tar, int64_t header, const char *bytes, int64_t size,
                            struct tar_member *m, struct extra *extra, struct err *err)
{
    for (const char *record = bytes, *all = bytes + size; record < all;) {
        const char *space = memchr(record, ' ', (size_t)(all - record));
        int64_t length = space != NULL ? decimal(record, space) : -1;
        if (length < space - record + 3 || length > all - record || record[length - 1] != '\n')
            return bad(tar, header, "a pax header is damaged", err);
        const char *key = space + 1, *end = record + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
        if (equals == NULL)
            return bad(tar, header, "a pax header is damaged", err);
        if (equals - key == 4 && memcmp(key, "path", 4) == 0) {
            TRY(set_name(tar, header, m, equals + 1, (size_t)(end - equals - 1), err));
            extra->named = 1;
        } else if (equals - key == 4 && memcmp(key, "size", 4) == 0) {
            extra->size = decimal(equals + 1, end);
            if (extra->size < 0)
                return bad(tar, header, "the size in a pax header is not a number that a file can have", err);
        } else if (equals - key > 11 && memcmp(key, "GNU.sparse.", 11) == 0) {
            return bad(tar, header, "a sparse file, which is not supported", err);
        }
        record += length;
    }
    return MOCO_OK;
}

static moco_status own_name(const struct tar *tar, int64_t header, const unsigned char *block, struct tar_member *m,
                            struct err *err)
{
    size_t name = strnlen((const char *)block + NAME, 100), prefix = 0;
    char text[256 + 2];
    if (memcmp(block + MAGIC,
               "ustar\0"
               "00",
               8) == 0)
        prefix = strnlen((const char *)block + PREFIX, 155);
    memcpy(text, block + PREFIX, prefix);
    if (prefix > 0)
        text[prefix++] = '/';
    memcpy(text + prefix, block + NAME, name);
    return set_name(tar, header, m, text, prefix + name, err);
}

static enum tar_kind kind_of(unsigned char type, const char *name)
{
    size_t length = strlen(name);
    if (type == '5' || (type == 0 && length > 0 && name[length - 1] == '/'))
        return TAR_FOLDER;
    return type == 0 || type == '0' || type == '7' ? TAR_FILE : TAR_OTHER;
}

/* An extra header of `size` bytes, the archive standing behind it. */
static moco_status read_extra(struct tar *tar, int64_t header, unsigned char type, int64_t size, struct tar_member *m,
                              struct extra *extra, struct err *err)
{
    if (type == 'K' || type == 'g') /* the name of a link; what holds for all members: neither is wanted */
        return skip(tar, header, size, err);
    char *bytes = NULL;
    TRY(read_content(tar, header, size, &bytes, err));
    moco_status status;
    if (type == 'L') {
        status = set_name(tar, header, m, bytes, strlen(bytes), err);
        extra->named = 1;
    } else {
        status = read_pax(tar, header, bytes, size, m, extra, err);
    }
    mem_free(tar->file->ctx, bytes);
    return status;
}

moco_status tar_next(struct tar *tar, struct tar_member *m, struct err *err)
{
    unsigned char block[BLOCK] = {0};
    struct extra extra = {0, -1};
    int64_t size = 0;
    for (int first = 1;; first = 0) {
        int64_t header = tar->at;
        moco_status status = read_header(tar, first, block, &size, err);
        if (status == MOCO_EEND && !first)
            return bad(tar, header, "the archive ends after an extra header", err);
        TRY(status);
        header = tar->at - BLOCK;
        if (first)
            m->header = header;
        unsigned char type = block[TYPE];
        if (type == 'S')
            return bad(tar, header, "a sparse file, which is not supported", err);
        if (type != 'L' && type != 'K' && type != 'x' && type != 'g')
            break;
        TRY(read_extra(tar, header, type, size, m, &extra, err));
    }
    if (!extra.named)
        TRY(own_name(tar, m->header, block, m, err));
    m->kind = kind_of(block[TYPE], m->name);
    m->size = extra.size >= 0 ? extra.size : size;
    if (block[TYPE] >= '1' && block[TYPE] <= '6') /* links, devices and folders may state a size, but have no content */
        m->size = 0;
    m->offset = tar->at;
    return skip(tar, m->header, m->size, err);
}
