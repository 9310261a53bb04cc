/* SPDX-License-Identifier: MIT
 *
 * pickle_write: writes a pickle, opcode after opcode: values of a stack machine, without a memo. What a reader would
 * get wrong: nothing checks that the opcodes make sense; a caller writes whole values (a dict is "}(" , keys and
 * values, "u"). */
#ifndef MOCO_LIB_PICKLE_WRITE_H
#define MOCO_LIB_PICKLE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

/* Appends to `bytes`, which grows. After the first failure calls do nothing: look at `status` once at the end. */
struct pickle_writer {
    struct ctx *ctx;
    struct err *err;
    unsigned char *bytes; /* NULL while nothing has been put */
    size_t used;
    moco_status status;
};

/* `protocol`: 2, or 3 for pickle_put_bytes_head. */
void pickle_start(struct pickle_writer *p, struct ctx *ctx, int protocol, struct err *err);
void pickle_put_ops(struct pickle_writer *p, const char *opcodes); /* those that are a character and have no argument */
void pickle_put_text(struct pickle_writer *p, const char *text);   /* UTF-8 */
void pickle_put_int(struct pickle_writer *p, int64_t value);
void pickle_put_double(struct pickle_writer *p, double value);
void pickle_put_bool(struct pickle_writer *p, int value);
void pickle_put_global(struct pickle_writer *p, const char *module, const char *name);
/* Bytes of which only the length is written here; they themselves go behind what has been put so far. At most 2^32 - 1:
 * MOCO_EINVAL. */
void pickle_put_bytes_head(struct pickle_writer *p, int64_t size);
void pickle_write_free(struct pickle_writer *p);

#endif
