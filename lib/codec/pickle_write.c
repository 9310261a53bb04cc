/* SPDX-License-Identifier: MIT
 *
 * pickle_write: see pickle_write.h. */
#include "pickle_write.h"

#include <string.h>

static void put(struct pickle_writer *p, const void *bytes, size_t size)
{
    if (p->status != MOCO_OK || size == 0)
        return;
    unsigned char *room = mem_reserve(p->ctx, p->bytes, p->used + size, p->err);
    if (room == NULL) {
        p->status = MOCO_ENOMEM;
        return;
    }
    p->bytes = room;
    memcpy(p->bytes + p->used, bytes, size);
    p->used += size;
}

/* An opcode and a number of `size` bytes, little-endian. */
static void put_number(struct pickle_writer *p, int opcode, uint64_t value, size_t size)
{
    unsigned char bytes[9] = {(unsigned char)opcode};
    for (size_t i = 0; i < size; i++)
        bytes[1 + i] = (unsigned char)(value >> 8 * i);
    put(p, bytes, 1 + size);
}

void pickle_start(struct pickle_writer *p, struct ctx *ctx, int protocol, struct err *err)
{
    *p = (struct pickle_writer){.ctx = ctx, .err = err};
    put_number(p, 0x80, (uint64_t)protocol, 1);
}

void pickle_put_ops(struct pickle_writer *p, const char *opcodes)
{
    put(p, opcodes, strlen(opcodes));
}

void pickle_put_text(struct pickle_writer *p, const char *text)
{
    size_t length = strlen(text);
    put_number(p, 'X', length, 4);
    put(p, text, length);
}

void pickle_put_int(struct pickle_writer *p, int64_t value)
{
    if (value >= 0 && value <= 0xff) {
        put_number(p, 'K', (uint64_t)value, 1);
    } else if (value >= 0 && value <= 0xffff) {
        put_number(p, 'M', (uint64_t)value, 2);
    } else if (value >= INT32_MIN && value <= INT32_MAX) {
        put_number(p, 'J', (uint64_t)value, 4);
    } else {
        put_number(p, 0x8a, 8, 1);
        unsigned char bytes[8];
        for (int i = 0; i < 8; i++)
            bytes[i] = (unsigned char)((uint64_t)value >> 8 * i);
        put(p, bytes, sizeof bytes);
    }
}

void pickle_put_double(struct pickle_writer *p, double value)
{
    uint64_t bits, turned = 0;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++) /* the one number that a pickle has with its highest byte first */
        turned = turned << 8 | (bits >> 8 * i & 0xff);
    put_number(p, 'G', turned, 8);
}

void pickle_put_bool(struct pickle_writer *p, int value)
{
    put_number(p, value ? 0x88 : 0x89, 0, 0);
}

void pickle_put_global(struct pickle_writer *p, const char *module, const char *name)
{
    put(p, "c", 1);
    put(p, module, strlen(module));
    put(p, "\n", 1);
    put(p, name, strlen(name));
    put(p, "\n", 1);
}

void pickle_put_bytes_head(struct pickle_writer *p, int64_t size)
{
    if (p->status == MOCO_OK && (size < 0 || size > (int64_t)UINT32_MAX))
        p->status =
            err_set(p->err, MOCO_EINVAL, "%lld bytes are more than such a pickle holds in one piece", (long long)size);
    put_number(p, 'B', (uint64_t)size, 4);
}

void pickle_write_free(struct pickle_writer *p)
{
    mem_free(p->ctx, p->bytes);
    p->bytes = NULL;
    p->used = 0;
}
