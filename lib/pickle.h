/* SPDX-License-Identifier: MIT
 *
 * pickle: Python's pickles (protocols 2 to 5, the opcodes that checkpoints hold) as a tree of values. Nothing is ever
 * called: what Python would call becomes a PICKLE_CALL that holds the callable's name and its arguments, and stays one
 * whatever the pickle does to it. The one callable with a meaning here is collections.OrderedDict, which is a dict.
 * What a reader would get wrong: the values need not form a tree. Through the memo a value can occur in many places,
 * even inside itself, so that a few hundred bytes can describe 2^40 nodes; a walk must visit each container once
 * (pickle_marks).
 *
 * A value is 32 bits, a kind and a number; texts stay in the pickle's bytes. Everything else is in one block of cells,
 * whose size follows from the pickle's size before anything is read. A pickle that needs more is refused. */
#ifndef MOCO_LIB_PICKLE_H
#define MOCO_LIB_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "file.h"

#define PICKLE_MAX ((int64_t)96 << 20) /* longer ones are refused, unread */

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_HUGE, /* an integer beyond 64 bits */
    PICKLE_REAL,
    PICKLE_TEXT, /* str, and str of Python 2 */
    PICKLE_BYTES,
    PICKLE_GLOBAL, /* a name from a module, not looked up */
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_SET, /* a frozen one too */
    PICKLE_DICT,
    PICKLE_CALL,      /* callable(arguments): not called */
    PICKLE_PERSISTENT /* what the writer keeps outside of the pickle, by its identity */
};

typedef uint32_t pickle_value;

struct pickle {
    struct ctx *ctx;
    unsigned char *bytes; /* the pickle itself */
    size_t size;
    int64_t origin; /* offset of its first byte in the file */
    uint32_t *cells;
    uint32_t used, total;
    pickle_value root, globals, persistents; /* the last two: heads of chains, 0: none */
};

/* Reads the pickle that begins at byte `begin` of the file and ends before `limit`; *end (may be NULL): where it ends.
 * On failure `p` is empty. MOCO_EFORMAT names file and offset: cut short, a length beyond `limit`, an opcode that is
 * not read, an operation on a value of another kind, an empty stack, a memo number never stored, more than one value
 * left. Memory: 3 times the pickle and 256 KiB. */
moco_status pickle_read(struct pickle *p, const struct file *file, int64_t begin, int64_t limit, int64_t *end,
                        struct err *err);
void pickle_free(struct pickle *p); /* also when empty */

/* ---- values ---- */

enum pickle_kind pickle_kind(pickle_value value);
const char *pickle_kind_name(pickle_value value); /* "a list" */

int pickle_bool(pickle_value value);
int64_t pickle_int(const struct pickle *p, pickle_value value);
double pickle_real(const struct pickle *p, pickle_value value);

struct pickle_text {
    const char *bytes; /* not ended by 0, any bytes */
    size_t size;
};
struct pickle_text pickle_text(const struct pickle *p, pickle_value value);       /* of TEXT or BYTES */
int pickle_text_is(const struct pickle *p, pickle_value value, const char *text); /* 0 also for other kinds */

/* Module and name of a GLOBAL; of a CALL, those of the GLOBAL behind it. */
void pickle_global(const struct pickle *p, pickle_value value, struct pickle_text *module, struct pickle_text *name);
int pickle_global_is(const struct pickle *p, pickle_value value, const char *module, const char *name);

pickle_value pickle_call_what(const struct pickle *p, pickle_value call);      /* GLOBAL or CALL */
pickle_value pickle_call_arguments(const struct pickle *p, pickle_value call); /* TUPLE */
pickle_value pickle_persistent_id(const struct pickle *p, pickle_value value);

/* Chains of all GLOBALs and all PERSISTENTs, the last one first. */
int pickle_next(const struct pickle *p, pickle_value *value); /* 0: that was the last */

/* Elements of a TUPLE, LIST or SET; keys and values of a DICT in turn, as they were stored (a key may come twice). */
struct pickle_items {
    const uint32_t *at;
    uint32_t left, next;
};
uint32_t pickle_count(const struct pickle *p, pickle_value value); /* how many, a dict's pairs as two */
void pickle_items_start(struct pickle_items *items, const struct pickle *p, pickle_value value);
int pickle_items_next(struct pickle_items *items, const struct pickle *p, pickle_value *value); /* 0: no more */
pickle_value pickle_item(const struct pickle *p, pickle_value tuple, uint32_t i);               /* i < count */

/* The value of the last pair whose key is this text; 1: found. */
int pickle_find(const struct pickle *p, pickle_value dict, const char *key, pickle_value *value);

/* Which containers a walk has visited: a bit each. */
struct pickle_marks {
    struct ctx *ctx;
    unsigned char *bits;
};
moco_status pickle_marks_init(struct pickle_marks *marks, const struct pickle *p, struct err *err);
int pickle_mark(struct pickle_marks *marks, pickle_value container); /* 1: marked before */
void pickle_marks_free(struct pickle_marks *marks);

#endif
