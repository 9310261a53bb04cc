/* SPDX-License-Identifier: MIT
 *
 * pickle_ops: see pickle_ops.h. Python's pickletools.py describes the opcodes; the table has those of protocols 2 to
 * 5 that occur in checkpoints. */
#include "pickle_ops.h"

#include <string.h>

enum { WINDOW = 16 << 10 };

enum form { UNKNOWN, PLAIN, BYTE1, BYTE2, BYTE4, BYTE8, SIZED1, SIZED4, LINES };

#define OP(name, form) [name] = {#name, form}
static const struct {
    const char *name;
    unsigned char form;
} ops[256] = {OP(MARK, PLAIN),
              OP(STOP, PLAIN),
              OP(SHORT_BINBYTES, SIZED1),
              OP(BINBYTES, SIZED4),
              OP(BINFLOAT, BYTE8),
              OP(BININT, BYTE4),
              OP(BININT1, BYTE1),
              OP(LIST, PLAIN),
              OP(BININT2, BYTE2),
              OP(NONE, PLAIN),
              OP(BINPERSID, PLAIN),
              OP(REDUCE, PLAIN),
              OP(BINSTRING, SIZED4),
              OP(SHORT_BINSTRING, SIZED1),
              OP(BINUNICODE, SIZED4),
              OP(EMPTY_LIST, PLAIN),
              OP(APPEND, PLAIN),
              OP(BUILD, PLAIN),
              OP(GLOBAL, LINES),
              OP(DICT, PLAIN),
              OP(APPENDS, PLAIN),
              OP(BINGET, BYTE1),
              OP(LONG_BINGET, BYTE4),
              OP(BINPUT, BYTE1),
              OP(LONG_BINPUT, BYTE4),
              OP(SETITEM, PLAIN),
              OP(TUPLE, PLAIN),
              OP(EMPTY_TUPLE, PLAIN),
              OP(SETITEMS, PLAIN),
              OP(EMPTY_DICT, PLAIN),
              OP(PROTO, BYTE1),
              OP(NEWOBJ, PLAIN),
              OP(TUPLE1, PLAIN),
              OP(TUPLE2, PLAIN),
              OP(TUPLE3, PLAIN),
              OP(NEWTRUE, PLAIN),
              OP(NEWFALSE, PLAIN),
              OP(LONG1, SIZED1),
              OP(LONG4, SIZED4),
              OP(SHORT_BINUNICODE, SIZED1),
              OP(EMPTY_SET, PLAIN),
              OP(ADDITEMS, PLAIN),
              OP(FROZENSET, PLAIN),
              OP(NEWOBJ_EX, PLAIN),
              OP(STACK_GLOBAL, PLAIN),
              OP(MEMOIZE, PLAIN),
              OP(FRAME, BYTE8)};

uint64_t pickle_get(const unsigned char *bytes, int size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | bytes[size];
    return value;
}

uint64_t pickle_op_length(const unsigned char *at, size_t have, const char **reason)
{
    *reason = NULL;
    if (have == 0)
        return 0;
    switch (ops[*at].form) {
    case PLAIN:
        return 1;
    case BYTE1:
        return 2;
    case BYTE2:
        return 3;
    case BYTE4:
        return 5;
    case BYTE8:
        return 9;
    case SIZED1:
        return have < 2 ? 0 : 2 + (uint64_t)at[1];
    case SIZED4:
        if (have >= 5 && at[4] >= 0x80 && *at != BINUNICODE && *at != BINBYTES)
            *reason = "has a negative length";
        return have < 5 ? 0 : 5 + pickle_get(at + 1, 4);
    case LINES: {
        const unsigned char *end = at;
        for (int line = 0; line < 2; line++) {
            size_t left = have - (size_t)(end + 1 - at);
            end = memchr(end + 1, '\n', left < PICKLE_NAME_MAX ? left : PICKLE_NAME_MAX);
            if (end == NULL && left >= PICKLE_NAME_MAX)
                *reason = "has a name that is longer than 1024 bytes";
            if (end == NULL)
                return 0;
        }
        return (uint64_t)(end + 1 - at);
    }
    default:
        *reason = "is none that checkpoints hold, or one of protocols 0 and 1";
        return 0;
    }
}

/* ---- the first walk ---- */

struct scan {
    const struct file *file;
    int64_t at, limit, window; /* window: offset of its first byte */
    size_t held;
    unsigned char bytes[WINDOW];
};

moco_status pickle_refused(const struct file *f, int64_t at, int op, const char *reason, struct err *err)
{
    if (ops[op].name == NULL)
        return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: the pickle's opcode 0x%02x %s", f->path, (long long)at,
                       (unsigned)op, reason);
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: the pickle's %s %s", f->path, (long long)at, ops[op].name,
                   reason);
}

moco_status pickle_cut_short(const struct file *f, int64_t limit, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: the pickle is cut short: it goes on where its bytes end",
                   f->path, (long long)limit);
}

/* `head`: what the window holds from s->at on, *have bytes: enough to tell how long the opcode is, if they exist. */
static moco_status look(struct scan *s, const unsigned char **head, size_t *have, struct err *err)
{
    int64_t left = s->limit - s->at;
    size_t need = left < 2 * PICKLE_NAME_MAX + 3 ? (size_t)left : 2 * PICKLE_NAME_MAX + 3;
    if (s->at < s->window || s->at + (int64_t)need > s->window + (int64_t)s->held) {
        s->window = s->at;
        s->held = left < WINDOW ? (size_t)left : WINDOW;
        TRY(file_read_at(s->file, s->at, s->bytes, s->held, err));
    }
    *head = s->bytes + (s->at - s->window);
    *have = s->held - (size_t)(s->at - s->window);
    return MOCO_OK;
}

/* Finds the end of the pickle and how large its memo can get, before memory is taken for either. A pickle that numbers
 * its memo far beyond the values that it stores would make a small file ask for much memory. */
static moco_status measure(struct scan *s, struct pickle_extent *extent, struct err *err)
{
    int64_t begin = s->at;
    uint64_t puts = 0, most = 0;
    for (;;) {
        const unsigned char *op;
        const char *reason;
        size_t have;
        TRY(look(s, &op, &have, err));
        uint64_t length = pickle_op_length(op, have, &reason);
        if (reason != NULL)
            return pickle_refused(s->file, s->at, *op, reason, err);
        if (length == 0 || length > (uint64_t)(s->limit - s->at))
            return have == 0 ? pickle_cut_short(s->file, s->limit, err)
                             : pickle_refused(s->file, s->at, *op, "reaches beyond the end of the pickle's bytes", err);
        uint64_t number = *op == BINPUT ? op[1] : *op == LONG_BINPUT ? pickle_get(op + 1, 4) : puts;
        if (*op == BINPUT || *op == LONG_BINPUT || *op == MEMOIZE) {
            puts++;
            most = number + 1 > most ? number + 1 : most;
        }
        s->at += (int64_t)length;
        if (s->at - begin > PICKLE_MAX)
            return err_set(err, MOCO_EFORMAT,
                           "%.300s: at byte %lld: the pickle is longer than %lld MiB, which no "
                           "checkpoint's is",
                           s->file->path, (long long)begin, (long long)(PICKLE_MAX >> 20));
        if (*op == STOP)
            break;
    }
    if (most > 2 * puts + 16)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte %lld: the pickle stores value number %llu in its memo, but only %llu values",
                       s->file->path, (long long)begin, (unsigned long long)most - 1, (unsigned long long)puts);
    *extent = (struct pickle_extent){s->at, (uint32_t)most};
    return MOCO_OK;
}

moco_status pickle_measure(const struct file *file, int64_t begin, int64_t limit, struct pickle_extent *extent,
                           struct err *err)
{
    struct scan *scan = mem_alloc(file->ctx, sizeof *scan, err);
    if (scan == NULL)
        return MOCO_ENOMEM;
    scan->file = file;
    scan->at = scan->window = begin;
    scan->limit = limit;
    scan->held = 0;
    moco_status status = measure(scan, extent, err);
    mem_free(file->ctx, scan);
    return status;
}
