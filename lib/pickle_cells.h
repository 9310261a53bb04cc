/* SPDX-License-Identifier: MIT
 *
 * pickle_cells: how the values of pickle.h are stored; for pickle.c, which reads them, and pickle_read.c, which makes
 * them. A value is number << 5 | kind. Numbers of texts, floats and long integers are offsets of their opcodes in
 * the pickle: they take no memory of their own. The other kinds' numbers are indices of cells:
 *
 *     tuple        count, values...
 *     list, set    count, first chunk, last chunk          chunk: count, next chunk, values...
 *     dict         count, first chunk, last chunk, ordered (an OrderedDict: it may have attributes)
 *     call         what, arguments
 *     persistent   identity, the one before
 *     global       offset of its opcode, UNSET, the one before; or: module, name, the one before
 */
#ifndef MOCO_LIB_PICKLE_CELLS_H
#define MOCO_LIB_PICKLE_CELLS_H

#include "pickle.h"

enum cell_kind {
    CELL_NONE, /* 0: so is the end of a chain */
    CELL_BOOL,
    CELL_SMALL, /* an integer in the value */
    CELL_INT,   /* an integer at an offset */
    CELL_HUGE,
    CELL_REAL,
    CELL_TEXT,
    CELL_BYTES,
    CELL_GLOBAL,
    CELL_TUPLE,
    CELL_LIST,
    CELL_SET,
    CELL_DICT,
    CELL_CALL,
    CELL_PERSISTENT
};

enum { CELL_KIND_BITS = 5 };
#define CELL_UNSET UINT32_C(0xffffffff) /* no value */
#define CELL_MARK UINT32_C(0xfffffffe)  /* on the stack only */

static inline enum cell_kind cell_kind(pickle_value value)
{
    return (enum cell_kind)(value & ((1u << CELL_KIND_BITS) - 1));
}

static inline uint32_t cell_number(pickle_value value)
{
    return value >> CELL_KIND_BITS;
}

static inline pickle_value cell_value(enum cell_kind kind, uint32_t number)
{
    return number << CELL_KIND_BITS | (uint32_t)kind;
}

#endif
