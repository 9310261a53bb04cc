/* SPDX-License-Identifier: MIT
 *
 * protobuf: writes the wire format of protocol buffers: field after field, without a schema. What a reader would get
 * wrong: a message within a message is a field of bytes, so that a writer of its own must write it first. */
#ifndef MOCO_LIB_PROTOBUF_H
#define MOCO_LIB_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

/* Appends to `bytes`, which grows. After the first failure calls do nothing: look at `status` once at the end. */
struct protobuf {
    struct ctx *ctx;
    struct err *err;
    unsigned char *bytes; /* NULL while nothing has been put */
    size_t used;
    moco_status status;
};

void protobuf_start(struct protobuf *p, struct ctx *ctx, struct err *err);
void protobuf_clear(struct protobuf *p); /* keeps the memory */
void protobuf_free(struct protobuf *p);

/* Field numbers are 1 to 2^29 - 1. */
void protobuf_put_uint(struct protobuf *p, uint32_t field, uint64_t value);
void protobuf_put_int(struct protobuf *p, uint32_t field, int64_t value); /* int32 and int64; a negative one is long */
void protobuf_put_float(struct protobuf *p, uint32_t field, float value);
void protobuf_put_double(struct protobuf *p, uint32_t field, double value);
void protobuf_put_bytes(struct protobuf *p, uint32_t field, const void *bytes, size_t size);
void protobuf_put_string(struct protobuf *p, uint32_t field, const char *text); /* UTF-8 */
void protobuf_put_message(struct protobuf *p, uint32_t field, const struct protobuf *inner);
/* Key and length alone, of bytes or a message that are written behind them elsewhere. */
void protobuf_put_length(struct protobuf *p, uint32_t field, uint64_t size);
void protobuf_put_raw(struct protobuf *p, const void *bytes, size_t size); /* whole fields, as they are */

#endif
