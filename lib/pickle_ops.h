/* SPDX-License-Identifier: MIT
 *
 * pickle_ops: the opcodes of a pickle, their lengths, and the first walk over a pickle, which finds its end. For
 * pickle_read.c, which interprets them. */
#ifndef MOCO_LIB_PICKLE_OPS_H
#define MOCO_LIB_PICKLE_OPS_H

#include "pickle.h"

enum { PICKLE_NAME_MAX = 1024 };

enum pickle_op {
    MARK = '(',
    STOP = '.',
    SHORT_BINBYTES = 'C',
    BINBYTES = 'B',
    BINFLOAT = 'G',
    BININT = 'J',
    BININT1 = 'K',
    LIST = 'l',
    BININT2 = 'M',
    NONE = 'N',
    BINPERSID = 'Q',
    REDUCE = 'R',
    BINSTRING = 'T',
    SHORT_BINSTRING = 'U',
    BINUNICODE = 'X',
    EMPTY_LIST = ']',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    DICT = 'd',
    APPENDS = 'e',
    BINGET = 'h',
    LONG_BINGET = 'j',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    SETITEM = 's',
    TUPLE = 't',
    EMPTY_TUPLE = ')',
    SETITEMS = 'u',
    EMPTY_DICT = '}',
    PROTO = 0x80,
    NEWOBJ = 0x81,
    TUPLE1 = 0x85,
    TUPLE2,
    TUPLE3,
    NEWTRUE,
    NEWFALSE,
    LONG1,
    LONG4,
    SHORT_BINUNICODE = 0x8c,
    EMPTY_SET = 0x8f,
    ADDITEMS,
    FROZENSET,
    NEWOBJ_EX,
    STACK_GLOBAL,
    MEMOIZE,
    FRAME
};

/* A little-endian number of `size` bytes. */
uint64_t pickle_get(const unsigned char *bytes, int size);

/* Length of the opcode at `at` with its argument, of which `have` bytes are there to look at. 0: too few of them to
 * tell. *reason: why it is refused, or NULL. */
uint64_t pickle_op_length(const unsigned char *at, size_t have, const char **reason);

/* MOCO_EFORMAT, "the pickle's OPCODE `reason`", at byte `at` of the file. */
moco_status pickle_refused(const struct file *f, int64_t at, int op, const char *reason, struct err *err);
moco_status pickle_cut_short(const struct file *f, int64_t limit, struct err *err);

struct pickle_extent {
    int64_t end;
    uint32_t memo; /* values that the memo must have room for */
};

/* Where the pickle that begins at `begin` ends, before `limit`, through a small window on the file. */
moco_status pickle_measure(const struct file *file, int64_t begin, int64_t limit, struct pickle_extent *extent,
                           struct err *err);

#endif
