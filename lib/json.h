/* SPDX-License-Identifier: MIT
 *
 * json: a strict pull parser over bytes in memory, and a writer. The parser allocates nothing and never recurses:
 * the caller asks for token after token and keeps what it needs. What a reader would get wrong: the parser does not
 * look for duplicate keys; the caller has to. A string token is the raw text between the quotes until json_decode
 * turns it into bytes. */
#ifndef MOCO_LIB_JSON_H
#define MOCO_LIB_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

#define JSON_DEPTH_MAX 64

/* ---- parsing ---- */

enum json_kind {
    JSON_OBJECT,     /* { */
    JSON_OBJECT_END, /* } */
    JSON_ARRAY,      /* [ */
    JSON_ARRAY_END,  /* ] */
    JSON_KEY,        /* a member's name; its value comes next */
    JSON_STRING,
    JSON_INT,  /* written without point and exponent, and exact in int64 */
    JSON_REAL, /* any other number, integers beyond int64 and -0 among them */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_END /* after the one value: nothing but blanks is left */
};

struct json_token {
    enum json_kind kind;
    const char *text; /* raw: of a key or string what is between the quotes, else the whole token */
    size_t length;
    size_t at;   /* offset of the token; json_start was given the offset of the first byte */
    int escaped; /* a key or string holds backslashes: raw and decoded differ */
    int64_t integer;
    double real; /* also of a JSON_INT */
};

struct json {
    const char *bytes;
    size_t size, next, origin;
    int depth;
    int expect;      /* what may come next */
    uint64_t arrays; /* bit d: the container at depth d is an array */
};

/* `origin`: what the first byte's offset is called in tokens and error sentences. */
void json_start(struct json *j, const void *bytes, size_t size, size_t origin);

/* The next token. MOCO_EFORMAT with offset and reason: not JSON (RFC 8259), not UTF-8, a lone surrogate, deeper than
 * JSON_DEPTH_MAX, a number that is no finite double. After an error or JSON_END only json_start is allowed. */
moco_status json_next(struct json *j, struct json_token *token, struct err *err);

/* The next token, which must be of this kind; `what` names it in the sentence. */
moco_status json_expect(struct json *j, enum json_kind kind, const char *what, struct json_token *token,
                        struct err *err);

/* Passes over the rest of the value that `token` begins. */
moco_status json_skip(struct json *j, const struct json_token *token, struct err *err);

/* Writes a key's or string's bytes to `out`, which has room for token->length of them (decoding never lengthens) and
 * may be the raw text itself. Returns how many; they may hold 0. */
size_t json_decode(const struct json_token *token, char *out);
int json_equals(const struct json_token *token, const char *text); /* decoded */

const char *json_kind_name(enum json_kind kind);

/* ---- writing ---- */

/* Appends to `text`, which grows. Commas are put where they belong; what is opened must be closed. After the first
 * failure calls do nothing: look at `status` once at the end. */
struct json_writer {
    struct ctx *ctx;
    struct err *err;
    char *text; /* ends in 0 once anything has been put; owned by the writer until taken */
    size_t used;
    moco_status status;
    int comma; /* the container has a value already */
};

void json_writer_start(struct json_writer *w, struct ctx *ctx, struct err *err);
void json_put_object(struct json_writer *w);
void json_put_object_end(struct json_writer *w);
void json_put_array(struct json_writer *w);
void json_put_array_end(struct json_writer *w);
void json_put_key(struct json_writer *w, const char *key);
void json_put_string(struct json_writer *w, const char *text); /* not UTF-8: MOCO_EINVAL */
void json_put_int(struct json_writer *w, int64_t value);
void json_put_double(struct json_writer *w, double value); /* NaN and infinities become null */
void json_put_bool(struct json_writer *w, int value);
void json_put_null(struct json_writer *w);
void json_put_raw(struct json_writer *w, const char *bytes, size_t size); /* as it is: line ends, padding */
void json_writer_free(struct json_writer *w);

#endif
