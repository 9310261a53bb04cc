/* SPDX-License-Identifier: MIT
 *
 * protobuf: see protobuf.h. */
#include "protobuf.h"

#include <string.h>

enum wire { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

void protobuf_start(struct protobuf *p, struct ctx *ctx, struct err *err)
{
    *p = (struct protobuf){.ctx = ctx, .err = err};
}

void protobuf_clear(struct protobuf *p)
{
    p->used = 0;
}

void protobuf_free(struct protobuf *p)
{
    mem_free(p->ctx, p->bytes);
    p->bytes = NULL;
    p->used = 0;
}

static void put(struct protobuf *p, const void *bytes, size_t size)
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

static void varint(struct protobuf *p, uint64_t value)
{
    unsigned char bytes[10];
    size_t size = 0;
    for (; value >= 128; value >>= 7)
        bytes[size++] = (unsigned char)(value | 128);
    bytes[size++] = (unsigned char)value;
    put(p, bytes, size);
}

static void key(struct protobuf *p, uint32_t field, enum wire wire)
{
    varint(p, (uint64_t)field << 3 | (uint64_t)wire);
}

/* Little-endian, whatever the machine. */
static void fixed(struct protobuf *p, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put(p, bytes, size);
}

void protobuf_put_uint(struct protobuf *p, uint32_t field, uint64_t value)
{
    key(p, field, VARINT);
    varint(p, value);
}

void protobuf_put_int(struct protobuf *p, uint32_t field, int64_t value)
{
    protobuf_put_uint(p, field, (uint64_t)value);
}

void protobuf_put_float(struct protobuf *p, uint32_t field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    key(p, field, FIXED32);
    fixed(p, bits, 4);
}

void protobuf_put_double(struct protobuf *p, uint32_t field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    key(p, field, FIXED64);
    fixed(p, bits, 8);
}

void protobuf_put_length(struct protobuf *p, uint32_t field, uint64_t size)
{
    key(p, field, LENGTH);
    varint(p, size);
}

void protobuf_put_bytes(struct protobuf *p, uint32_t field, const void *bytes, size_t size)
{
    protobuf_put_length(p, field, size);
    put(p, bytes, size);
}

void protobuf_put_raw(struct protobuf *p, const void *bytes, size_t size)
{
    put(p, bytes, size);
}

void protobuf_put_string(struct protobuf *p, uint32_t field, const char *text)
{
    protobuf_put_bytes(p, field, text, strlen(text));
}

void protobuf_put_message(struct protobuf *p, uint32_t field, const struct protobuf *inner)
{
    if (p->status == MOCO_OK)
        p->status = inner->status;
    protobuf_put_bytes(p, field, inner->bytes, inner->used);
}
