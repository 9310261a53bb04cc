/* SPDX-License-Identifier: MIT
 *
 * pickle_read: the stack machine that a pickle is a program for (Python's pickletools.py describes the opcodes). The
 * bytes are walked twice. The first walk, through a small window on the file, finds the end and counts what the memo
 * needs; then all memory is allocated at once. The second walk does not trust the results of the first, because the
 * file may have changed meanwhile. Memo, values and stack share one block: the memo is at its beginning, values grow
 * upwards behind it, the stack downwards from the end. */
#include <string.h>

#include "pickle_cells.h"
#include "pickle_ops.h"

#define SLACK ((size_t)256 << 10) /* bytes of cells beyond twice the pickle's, at most */

/* ---- the machine ---- */

struct vm {
    struct pickle *p;
    const struct file *file;
    struct err *err;
    uint32_t memo, stored; /* cells of the memo; how many are set */
    uint32_t top;          /* of the stack: its last value; p->total: empty */
    size_t at;             /* of the opcode that runs */
};

static moco_status fail(struct vm *vm, const char *reason)
{
    return pickle_refused(vm->file, vm->p->origin + (int64_t)vm->at, vm->p->bytes[vm->at], reason, vm->err);
}

static moco_status fail_on(struct vm *vm, const char *what, pickle_value value)
{
    char text[96];
    size_t used = 0;
    const char *parts[] = {what, value == CELL_MARK ? "a MARK" : pickle_kind_name(value)};
    for (int i = 0; i < 2; i++)
        for (const char *c = parts[i]; *c != 0 && used + 1 < sizeof text; c++)
            text[used++] = *c;
    text[used] = 0;
    return fail(vm, text);
}

static moco_status take_cells(struct vm *vm, uint64_t count, uint32_t *at)
{
    struct pickle *p = vm->p;
    if (count > (uint64_t)(vm->top - p->used))
        return fail(vm, "asks for more memory than a pickle of this length may: more than twice its bytes");
    *at = p->used;
    p->used += (uint32_t)count;
    return MOCO_OK;
}

static moco_status push(struct vm *vm, pickle_value value)
{
    if (vm->top == vm->p->used)
        return fail(vm, "asks for more memory than a pickle of this length may: more than twice its bytes");
    vm->p->cells[--vm->top] = value;
    return MOCO_OK;
}

static moco_status peek(struct vm *vm, pickle_value *value)
{
    if (vm->top == vm->p->total)
        return fail(vm, "finds the stack empty");
    *value = vm->p->cells[vm->top];
    return *value != CELL_MARK ? MOCO_OK : fail(vm, "finds a MARK where a value must be");
}

static moco_status pop(struct vm *vm, pickle_value *value)
{
    TRY(peek(vm, value));
    vm->top++;
    return MOCO_OK;
}

/* The values above the last MARK: `count` of them, the i-th in cells[*mark - 1 - i]. They and the MARK are popped. */
static moco_status pop_mark(struct vm *vm, uint32_t *mark, uint32_t *count)
{
    uint32_t at = vm->top;
    while (at < vm->p->total && vm->p->cells[at] != CELL_MARK)
        at++;
    if (at == vm->p->total)
        return fail(vm, "finds no MARK on the stack");
    *mark = at;
    *count = at - vm->top;
    vm->top = at + 1;
    return MOCO_OK;
}

/* ---- containers ---- */

static moco_status make_container(struct vm *vm, enum cell_kind kind, int ordered, pickle_value *value)
{
    uint32_t at = 0, *cells = vm->p->cells;
    TRY(take_cells(vm, kind == CELL_DICT ? 4 : 3, &at));
    cells[at] = cells[at + 1] = cells[at + 2] = 0;
    if (kind == CELL_DICT)
        cells[at + 3] = (uint32_t)ordered;
    *value = cell_value(kind, at);
    return MOCO_OK;
}

static int hashable(pickle_value key)
{
    enum cell_kind kind = cell_kind(key);
    return kind != CELL_LIST && kind != CELL_SET && kind != CELL_DICT;
}

/* Values that a chunk of a container gets, the first at `values`, the others in cells before it. */
static moco_status extend(struct vm *vm, pickle_value container, const pickle_value *values, uint32_t count)
{
    uint32_t chunk = 0, *cells = vm->p->cells, *record = cells + cell_number(container);
    int dict = cell_kind(container) == CELL_DICT;
    if (count == 0)
        return MOCO_OK;
    if (dict && count % 2 != 0)
        return fail(vm, "has a key without a value");
    /* The values lie above vm->top, where nothing is written before it returns. */
    uint32_t top = vm->top;
    vm->top = (uint32_t)(values - cells) - (count - 1) < top ? (uint32_t)(values - cells) - (count - 1) : top;
    TRY(take_cells(vm, 2 + (uint64_t)count, &chunk));
    vm->top = top;
    cells[chunk] = count;
    cells[chunk + 1] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (dict && i % 2 == 0 && !hashable(*(values - i)))
            return fail_on(vm, "has a key that cannot be one: ", *(values - i));
        cells[chunk + 2 + i] = *(values - i);
    }
    if (record[2] != 0)
        cells[record[2] + 1] = chunk;
    else
        record[1] = chunk;
    record[2] = chunk;
    record[0] += count;
    return MOCO_OK;
}

/* Values popped from above a MARK (or `count` of the top) into the container below them. */
static moco_status add(struct vm *vm, uint32_t mark, uint32_t count, enum cell_kind kind)
{
    pickle_value target = 0;
    TRY(peek(vm, &target));
    enum cell_kind found = cell_kind(target);
    if (found == CELL_CALL || found == CELL_GLOBAL) /* whatever it is, it stays unknown */
        return MOCO_OK;
    if (found != kind)
        return fail_on(vm, "is done to ", target);
    return extend(vm, target, &vm->p->cells[mark - 1], count);
}

static moco_status make_tuple(struct vm *vm, uint32_t mark, uint32_t count)
{
    uint32_t at = 0, top = vm->top, *cells = vm->p->cells;
    vm->top = mark - count; /* its values are not written over */
    if (count == 0) {
        vm->top = top;
        return push(vm, cell_value(CELL_TUPLE, vm->memo)); /* the one empty tuple */
    }
    TRY(take_cells(vm, 1 + (uint64_t)count, &at));
    cells[at] = count;
    for (uint32_t i = 0; i < count; i++)
        cells[at + 1 + i] = cells[mark - 1 - i];
    vm->top = top;
    return push(vm, cell_value(CELL_TUPLE, at));
}

static moco_status make_from_mark(struct vm *vm, enum cell_kind kind)
{
    uint32_t mark, count;
    pickle_value container = 0;
    TRY(pop_mark(vm, &mark, &count));
    if (kind == CELL_TUPLE)
        return make_tuple(vm, mark, count);
    uint32_t top = vm->top;
    vm->top = mark - count;
    TRY(make_container(vm, kind, 0, &container));
    TRY(extend(vm, container, &vm->p->cells[mark - 1], count));
    vm->top = top;
    return push(vm, container);
}

static moco_status make_tuple_of(struct vm *vm, uint32_t count)
{
    pickle_value value = 0;
    uint32_t mark = vm->top + count;
    for (uint32_t i = 0; i < count; i++)
        TRY(pop(vm, &value));
    return make_tuple(vm, mark, count);
}

static moco_status append_one(struct vm *vm, uint32_t count, enum cell_kind kind)
{
    pickle_value value = 0;
    uint32_t mark = vm->top + count;
    for (uint32_t i = 0; i < count; i++)
        TRY(pop(vm, &value));
    return add(vm, mark, count, kind);
}

static moco_status add_from_mark(struct vm *vm, enum cell_kind kind)
{
    uint32_t mark, count;
    TRY(pop_mark(vm, &mark, &count));
    return add(vm, mark, count, kind);
}

/* ---- names and calls ---- */

static int good_name(struct pickle_text name)
{
    if (name.size == 0 || name.size > PICKLE_NAME_MAX)
        return 0;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.bytes[i] <= ' ' || name.bytes[i] == 0x7f)
            return 0;
    return 1;
}

static moco_status push_global(struct vm *vm, uint32_t first, uint32_t second)
{
    uint32_t at = 0;
    struct pickle_text module, name;
    struct pickle *p = vm->p;
    TRY(take_cells(vm, 3, &at));
    p->cells[at] = first;
    p->cells[at + 1] = second;
    p->cells[at + 2] = p->globals;
    pickle_global(p, cell_value(CELL_GLOBAL, at), &module, &name);
    if (!good_name(module) || !good_name(name))
        return fail(vm, "has a name that is empty, too long or holds a blank or control character");
    p->globals = cell_value(CELL_GLOBAL, at);
    return push(vm, p->globals);
}

static moco_status stack_global(struct vm *vm)
{
    pickle_value name = 0, module = 0;
    TRY(pop(vm, &name));
    TRY(pop(vm, &module));
    if (cell_kind(name) != CELL_TEXT || cell_kind(module) != CELL_TEXT)
        return fail_on(vm, "is made from ", cell_kind(name) != CELL_TEXT ? name : module);
    return push_global(vm, module, name);
}

/* OrderedDict((key, value), ...) of Python 2: pairs as tuples or lists. */
static moco_status add_pairs(struct vm *vm, pickle_value dict, pickle_value list)
{
    struct pickle_items items, pair;
    pickle_value item, two[2];
    if (cell_kind(list) != CELL_LIST && cell_kind(list) != CELL_TUPLE)
        return fail_on(vm, "makes an OrderedDict from ", list);
    pickle_items_start(&items, vm->p, list);
    while (pickle_items_next(&items, vm->p, &item)) {
        if ((cell_kind(item) != CELL_LIST && cell_kind(item) != CELL_TUPLE) || pickle_count(vm->p, item) != 2)
            return fail_on(vm, "makes an OrderedDict whose pair is ", item);
        pickle_items_start(&pair, vm->p, item);
        pickle_items_next(&pair, vm->p, &two[0]);
        pickle_items_next(&pair, vm->p, &two[1]);
        TRY(push(vm, two[0]));
        TRY(push(vm, two[1]));
        TRY(extend(vm, dict, &vm->p->cells[vm->top + 1], 2));
        vm->top += 2;
    }
    return MOCO_OK;
}

/* What is called is a name, or the result of such a call: it becomes a note of the call. */
static moco_status call(struct vm *vm)
{
    pickle_value arguments = 0, what = 0, dict = 0;
    TRY(pop(vm, &arguments));
    TRY(pop(vm, &what));
    if (cell_kind(what) != CELL_GLOBAL && cell_kind(what) != CELL_CALL)
        return fail_on(vm, "calls ", what);
    if (cell_kind(arguments) != CELL_TUPLE)
        return fail_on(vm, "has arguments that are ", arguments);
    uint32_t at = 0, count = pickle_count(vm->p, arguments);
    if (cell_kind(what) == CELL_GLOBAL && count <= 1 && pickle_global_is(vm->p, what, "collections", "OrderedDict")) {
        TRY(make_container(vm, CELL_DICT, 1, &dict));
        if (count == 1)
            TRY(add_pairs(vm, dict, pickle_item(vm->p, arguments, 0)));
        return push(vm, dict);
    }
    TRY(take_cells(vm, 2, &at));
    vm->p->cells[at] = what;
    vm->p->cells[at + 1] = arguments;
    return push(vm, cell_value(CELL_CALL, at));
}

static moco_status call_with_keywords(struct vm *vm)
{
    pickle_value keywords = 0;
    TRY(pop(vm, &keywords));
    if (cell_kind(keywords) != CELL_DICT)
        return fail_on(vm, "has keyword arguments that are ", keywords);
    return call(vm);
}

/* Attributes of an object: nothing is kept of them. */
static moco_status build(struct vm *vm)
{
    pickle_value attributes = 0, target = 0;
    TRY(pop(vm, &attributes));
    TRY(peek(vm, &target));
    enum cell_kind kind = cell_kind(target);
    if (kind == CELL_CALL || kind == CELL_GLOBAL || (kind == CELL_DICT && vm->p->cells[cell_number(target) + 3] != 0))
        return MOCO_OK;
    return fail_on(vm, "gives attributes to ", target);
}

static moco_status persistent(struct vm *vm)
{
    pickle_value identity = 0;
    uint32_t at = 0;
    TRY(pop(vm, &identity));
    TRY(take_cells(vm, 2, &at));
    vm->p->cells[at] = identity;
    vm->p->cells[at + 1] = vm->p->persistents;
    vm->p->persistents = cell_value(CELL_PERSISTENT, at);
    return push(vm, vm->p->persistents);
}

/* ---- numbers and the memo ---- */

static moco_status push_long(struct vm *vm, const unsigned char *op, size_t digits)
{
    return push(vm, digits == 0 ? cell_value(CELL_SMALL, 0)
                                : cell_value(digits <= 8 ? CELL_INT : CELL_HUGE, (uint32_t)(op - vm->p->bytes)));
}

static moco_status put(struct vm *vm, uint64_t number)
{
    pickle_value value = 0;
    TRY(peek(vm, &value));
    if (number >= vm->memo)
        return fail(vm, "has a memo number that is too high");
    vm->stored += vm->p->cells[number] == CELL_UNSET;
    vm->p->cells[number] = value;
    return MOCO_OK;
}

static moco_status get_memo(struct vm *vm, uint64_t number)
{
    if (number >= vm->memo || vm->p->cells[number] == CELL_UNSET)
        return fail(vm, "asks for a memo number under which nothing was stored");
    return push(vm, vm->p->cells[number]);
}

/* ---- one opcode ---- */

/* Pushes a value without parts. Numbers, texts and bytes stay in the pickle: the cell has their offset. */
static moco_status step_scalar(struct vm *vm, const unsigned char *op)
{
    uint32_t at = (uint32_t)vm->at;
    switch (*op) {
    case NONE:
        return push(vm, cell_value(CELL_NONE, 0));
    case NEWTRUE:
    case NEWFALSE:
        return push(vm, cell_value(CELL_BOOL, *op == NEWTRUE));
    case BININT:
        return push(vm, cell_value(CELL_INT, at));
    case BININT1:
    case BININT2:
        return push(vm, cell_value(CELL_SMALL, (uint32_t)pickle_get(op + 1, *op == BININT1 ? 1 : 2)));
    case LONG1:
        return push_long(vm, op, op[1]);
    case LONG4:
        return push_long(vm, op, (size_t)pickle_get(op + 1, 4));
    case BINFLOAT:
        return push(vm, cell_value(CELL_REAL, at));
    case SHORT_BINBYTES:
    case BINBYTES:
        return push(vm, cell_value(CELL_BYTES, at));
    default: /* the four kinds of text */
        return push(vm, cell_value(CELL_TEXT, at));
    }
}

/* Runs an opcode that makes a container or adds to one. */
static moco_status step_container(struct vm *vm, int op)
{
    pickle_value made = 0;
    switch (op) {
    case EMPTY_LIST:
    case EMPTY_SET:
    case EMPTY_DICT:
        TRY(make_container(vm, op == EMPTY_LIST ? CELL_LIST : op == EMPTY_SET ? CELL_SET : CELL_DICT, 0, &made));
        return push(vm, made);
    case EMPTY_TUPLE:
        return make_tuple_of(vm, 0);
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
        return make_tuple_of(vm, (uint32_t)(op - TUPLE1 + 1));
    case TUPLE:
        return make_from_mark(vm, CELL_TUPLE);
    case LIST:
        return make_from_mark(vm, CELL_LIST);
    case FROZENSET:
        return make_from_mark(vm, CELL_SET);
    case DICT:
        return make_from_mark(vm, CELL_DICT);
    case APPEND:
        return append_one(vm, 1, CELL_LIST);
    case APPENDS:
        return add_from_mark(vm, CELL_LIST);
    case ADDITEMS:
        return add_from_mark(vm, CELL_SET);
    case SETITEM:
        return append_one(vm, 2, CELL_DICT);
    default: /* SETITEMS */
        return add_from_mark(vm, CELL_DICT);
    }
}

/* Runs one opcode. A call is never made: call() keeps what would be called, and with what. */
static moco_status step(struct vm *vm, const unsigned char *op)
{
    switch (*op) {
    case PROTO:
        return op[1] >= 2 && op[1] <= 5 ? MOCO_OK : fail(vm, "says a protocol that is not 2 to 5");
    case FRAME:
        return pickle_get(op + 1, 8) <= vm->p->size - vm->at - 9 ? MOCO_OK : fail(vm, "is longer than the pickle");
    case MARK:
        return push(vm, CELL_MARK);
    case GLOBAL:
        return push_global(vm, (uint32_t)vm->at, CELL_UNSET);
    case STACK_GLOBAL:
        return stack_global(vm);
    case REDUCE:
    case NEWOBJ:
        return call(vm);
    case NEWOBJ_EX:
        return call_with_keywords(vm);
    case BUILD:
        return build(vm);
    case BINPERSID:
        return persistent(vm);
    case BINPUT:
        return put(vm, op[1]);
    case LONG_BINPUT:
        return put(vm, pickle_get(op + 1, 4));
    case MEMOIZE:
        return put(vm, vm->stored);
    case BINGET:
        return get_memo(vm, op[1]);
    case LONG_BINGET:
        return get_memo(vm, pickle_get(op + 1, 4));
    case EMPTY_LIST:
    case EMPTY_SET:
    case EMPTY_DICT:
    case EMPTY_TUPLE:
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
    case TUPLE:
    case LIST:
    case FROZENSET:
    case DICT:
    case APPEND:
    case APPENDS:
    case ADDITEMS:
    case SETITEM:
    case SETITEMS:
        return step_container(vm, *op);
    default:
        return step_scalar(vm, op);
    }
}

/* Runs the pickle to its STOP, which must leave one value and be the last byte. Every length is checked again, because
 * the file may have changed since it was measured. */
static moco_status run(struct vm *vm)
{
    struct pickle *p = vm->p;
    const char *reason;
    for (; vm->at < p->size;) {
        const unsigned char *op = p->bytes + vm->at;
        uint64_t length = pickle_op_length(op, p->size - vm->at, &reason);
        if (reason != NULL)
            return fail(vm, reason);
        if (length == 0 || length > p->size - vm->at)
            return fail(vm, "reaches beyond the end of the pickle's bytes");
        if (*op == STOP) {
            TRY(pop(vm, &p->root));
            if (vm->top != p->total)
                return fail(vm, "leaves more than one value on the stack");
            return vm->at + 1 == p->size ? MOCO_OK : fail(vm, "comes before the end: the file changed meanwhile");
        }
        TRY(step(vm, op));
        vm->at += (size_t)length;
    }
    return pickle_cut_short(vm->file, p->origin + (int64_t)p->size, vm->err);
}

/* ---- the whole ---- */

static moco_status take_memory(struct pickle *p, const struct file *file, const struct pickle_extent *extent,
                               struct err *err)
{
    size_t slack = 4096 + 64 * p->size; /* no opcode of a byte makes more of a short pickle */
    size_t cells = (2 * p->size + (slack < SLACK ? slack : SLACK)) / sizeof *p->cells;
    if (extent->memo >= cells)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte %lld: the pickle's memo asks for more memory than a pickle of %zu bytes may",
                       file->path, (long long)p->origin, p->size);
    p->bytes = mem_alloc(p->ctx, p->size, err);
    p->cells = mem_alloc(p->ctx, cells * sizeof *p->cells, err);
    if (p->bytes == NULL || p->cells == NULL)
        return MOCO_ENOMEM;
    p->total = (uint32_t)cells;
    p->used = extent->memo + 1;
    memset(p->cells, 0xff, extent->memo * sizeof *p->cells);
    p->cells[extent->memo] = 0; /* the empty tuple */
    return MOCO_OK;
}

moco_status pickle_read(struct pickle *p, const struct file *file, int64_t begin, int64_t limit, int64_t *end,
                        struct err *err)
{
    struct pickle_extent extent = {0};
    *p = (struct pickle){0};
    TRY(pickle_measure(file, begin, limit, &extent, err));
    *p = (struct pickle){.ctx = file->ctx, .size = (size_t)(extent.end - begin), .origin = begin};
    moco_status status = take_memory(p, file, &extent, err);
    if (status == MOCO_OK)
        status = file_read_at(file, begin, p->bytes, p->size, err);
    if (status == MOCO_OK) {
        struct vm vm = {.p = p, .file = file, .err = err, .memo = extent.memo, .top = p->total};
        status = run(&vm);
    }
    if (status != MOCO_OK)
        pickle_free(p);
    else if (end != NULL)
        *end = extent.end;
    return status;
}
