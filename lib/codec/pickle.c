/* SPDX-License-Identifier: MIT
 *
 * pickle: reads the values of a parsed pickle. pickle_cells.h shows how they are stored. */
#include "pickle_cells.h"

#include <string.h>

enum pickle_kind pickle_kind(pickle_value value)
{
    static const unsigned char kinds[] = {
        [CELL_NONE] = PICKLE_NONE,   [CELL_BOOL] = PICKLE_BOOL,   [CELL_SMALL] = PICKLE_INT,
        [CELL_INT] = PICKLE_INT,     [CELL_HUGE] = PICKLE_HUGE,   [CELL_REAL] = PICKLE_REAL,
        [CELL_TEXT] = PICKLE_TEXT,   [CELL_BYTES] = PICKLE_BYTES, [CELL_GLOBAL] = PICKLE_GLOBAL,
        [CELL_TUPLE] = PICKLE_TUPLE, [CELL_LIST] = PICKLE_LIST,   [CELL_SET] = PICKLE_SET,
        [CELL_DICT] = PICKLE_DICT,   [CELL_CALL] = PICKLE_CALL,   [CELL_PERSISTENT] = PICKLE_PERSISTENT};
    return (enum pickle_kind)kinds[cell_kind(value)];
}

const char *pickle_kind_name(pickle_value value)
{
    static const char *const names[] = {[PICKLE_NONE] = "None",      [PICKLE_BOOL] = "a bool",
                                        [PICKLE_INT] = "an integer", [PICKLE_HUGE] = "an integer",
                                        [PICKLE_REAL] = "a float",   [PICKLE_TEXT] = "a text",
                                        [PICKLE_BYTES] = "bytes",    [PICKLE_GLOBAL] = "a name",
                                        [PICKLE_TUPLE] = "a tuple",  [PICKLE_LIST] = "a list",
                                        [PICKLE_SET] = "a set",      [PICKLE_DICT] = "a dict",
                                        [PICKLE_CALL] = "an object", [PICKLE_PERSISTENT] = "a persistent value"};
    return names[pickle_kind(value)];
}

int pickle_bool(pickle_value value)
{
    return (int)cell_number(value);
}

/* Decodes the integer where it is in the pickle. Small ones are in the cell itself, in as many bits as it has left. */
int64_t pickle_int(const struct pickle *p, pickle_value value)
{
    if (cell_kind(value) == CELL_SMALL) {
        int64_t number = (int64_t)cell_number(value), half = INT64_C(1) << (31 - CELL_KIND_BITS);
        return number >= half ? number - 2 * half : number;
    }
    const unsigned char *op = p->bytes + cell_number(value), *digits = op + 2;
    int size = op[1];
    if (*op == 'J')
        digits = op + 1, size = 4;
    else if (*op == 0x8b) /* LONG4 */
        digits = op + 5;  /* of at most 8 bytes, or it would be HUGE */
    if (size == 0)
        return 0;
    uint64_t number = digits[size - 1] & 0x80 ? UINT64_MAX : 0;
    while (size-- > 0)
        number = number << 8 | digits[size];
    int64_t result;
    memcpy(&result, &number, sizeof result);
    return result;
}

double pickle_real(const struct pickle *p, pickle_value value)
{
    const unsigned char *digits = p->bytes + cell_number(value) + 1;
    uint64_t bits = 0;
    double real;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | digits[i];
    memcpy(&real, &bits, sizeof real);
    return real;
}

struct pickle_text pickle_text(const struct pickle *p, pickle_value value)
{
    const unsigned char *op = p->bytes + cell_number(value);
    if (*op == 'X' || *op == 'T' || *op == 'B')
        return (struct pickle_text){(const char *)op + 5,
                                    op[1] | (size_t)op[2] << 8 | (size_t)op[3] << 16 | (size_t)op[4] << 24};
    return (struct pickle_text){(const char *)op + 2, op[1]};
}

static int is(struct pickle_text text, const char *wanted)
{
    return text.size == strlen(wanted) && memcmp(text.bytes, wanted, text.size) == 0;
}

int pickle_text_is(const struct pickle *p, pickle_value value, const char *text)
{
    return pickle_kind(value) == PICKLE_TEXT && is(pickle_text(p, value), text);
}

void pickle_global(const struct pickle *p, pickle_value value, struct pickle_text *module, struct pickle_text *name)
{
    while (cell_kind(value) == CELL_CALL)
        value = p->cells[cell_number(value)];
    const uint32_t *record = p->cells + cell_number(value);
    if (record[1] != CELL_UNSET) {
        *module = pickle_text(p, record[0]);
        *name = pickle_text(p, record[1]);
        return;
    }
    module->bytes = (const char *)p->bytes + record[0] + 1;
    module->size = (size_t)((const char *)memchr(module->bytes, '\n', p->size - record[0] - 1) - module->bytes);
    name->bytes = module->bytes + module->size + 1;
    size_t left = p->size - (size_t)(name->bytes - (const char *)p->bytes);
    name->size = (size_t)((const char *)memchr(name->bytes, '\n', left) - name->bytes);
}

int pickle_global_is(const struct pickle *p, pickle_value value, const char *module, const char *name)
{
    struct pickle_text m, n;
    pickle_global(p, value, &m, &n);
    return is(m, module) && is(n, name);
}

pickle_value pickle_call_what(const struct pickle *p, pickle_value call)
{
    return p->cells[cell_number(call)];
}

pickle_value pickle_call_arguments(const struct pickle *p, pickle_value call)
{
    return p->cells[cell_number(call) + 1];
}

pickle_value pickle_persistent_id(const struct pickle *p, pickle_value value)
{
    return p->cells[cell_number(value)];
}

int pickle_next(const struct pickle *p, pickle_value *value)
{
    *value = p->cells[cell_number(*value) + (cell_kind(*value) == CELL_GLOBAL ? 2 : 1)];
    return *value != 0;
}

/* ---- containers ---- */

uint32_t pickle_count(const struct pickle *p, pickle_value value)
{
    return p->cells[cell_number(value)];
}

void pickle_items_start(struct pickle_items *items, const struct pickle *p, pickle_value value)
{
    const uint32_t *record = p->cells + cell_number(value);
    if (cell_kind(value) == CELL_TUPLE)
        *items = (struct pickle_items){record + 1, record[0], 0};
    else
        *items = (struct pickle_items){NULL, 0, record[1]};
}

int pickle_items_next(struct pickle_items *items, const struct pickle *p, pickle_value *value)
{
    if (items->left == 0) {
        if (items->next == 0)
            return 0;
        const uint32_t *chunk = p->cells + items->next; /* none is empty */
        *items = (struct pickle_items){chunk + 2, chunk[0], chunk[1]};
    }
    *value = *items->at++;
    items->left--;
    return 1;
}

pickle_value pickle_item(const struct pickle *p, pickle_value tuple, uint32_t i)
{
    return p->cells[cell_number(tuple) + 1 + i];
}

int pickle_find(const struct pickle *p, pickle_value dict, const char *key, pickle_value *value)
{
    struct pickle_items items;
    pickle_value at = 0, content = 0;
    int found = 0;
    pickle_items_start(&items, p, dict);
    while (pickle_items_next(&items, p, &at) && pickle_items_next(&items, p, &content))
        if (pickle_text_is(p, at, key)) {
            *value = content;
            found = 1;
        }
    return found;
}

moco_status pickle_marks_init(struct pickle_marks *marks, const struct pickle *p, struct err *err)
{
    *marks = (struct pickle_marks){p->ctx, mem_zalloc(p->ctx, (size_t)p->used / 8 + 1, err)};
    return marks->bits != NULL ? MOCO_OK : MOCO_ENOMEM;
}

int pickle_mark(struct pickle_marks *marks, pickle_value container)
{
    uint32_t at = cell_number(container);
    int marked = marks->bits[at / 8] >> at % 8 & 1;
    marks->bits[at / 8] |= (unsigned char)(1u << at % 8);
    return marked;
}

void pickle_marks_free(struct pickle_marks *marks)
{
    mem_free(marks->ctx, marks->bits);
    marks->bits = NULL;
}

void pickle_free(struct pickle *p)
{
    if (p->ctx == NULL)
        return;
    mem_free(p->ctx, p->bytes);
    mem_free(p->ctx, p->cells);
    *p = (struct pickle){0};
}
