/* SPDX-License-Identifier: MIT
 *
 * torch_tree_put: see torch_tree.h; the half that reads the text and writes the pickle. Line after line, with the
 * letters of the open containers for a stack: nothing grows with what a line claims. */
#include <math.h>
#include <string.h>

#include "format/torch/torch_tree.h"
#include "num.h"

enum { DEPTH = 64, NAME = 1024, KEY_MAX = 1024 };

struct reader {
    const char *at; /* the rest of the text */
    int64_t line;
    struct torch_writer *w; /* NULL: nothing is put, the tree is only read */
    struct ctx *ctx;
    const struct torch_tree_tensors *tensors;
    struct err *err;
    char kind[DEPTH];       /* letters of the open containers */
    int64_t index[DEPTH];   /* number of the next element in each */
    size_t path[DEPTH + 1]; /* length of the name of each */
    int depth, lists;
    char name[NAME + 1]; /* name of this line's value */
    char *value;         /* text of this line's value, unescaped */
};

static moco_status wrong(const struct reader *r, const char *what)
{
    return err_set(r->err, MOCO_EFORMAT, "line %lld of " TORCH_TREE_KEY ": %s", (long long)r->line, what);
}

/* Unescapes `size` bytes at `from`. Returns 0 if they are not well-formed. */
static int unescape(const char *from, size_t size, char *to, size_t *length)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = from[i];
        if (c == '\\') {
            const char *code = ++i < size ? strchr("t\tn\n\\\\", from[i]) : NULL;
            if (code == NULL || code[1] == 0 || from[i] == 0 || from[i] == '\t' || from[i] == '\n')
                return 0;
            c = code[1];
        }
        to[used++] = c;
    }
    to[used] = 0;
    *length = used;
    return 1;
}

/* Appends the key of this line to the name, and puts it if the container is a dict. */
static moco_status put_key(struct reader *r, const char *key, size_t size)
{
    char digits[NUM_TEXT];
    size_t used = r->depth > 0 ? r->path[r->depth - 1] : 0, length = 0;
    r->name[used] = 0;
    if (r->depth == 0)
        return size == 0 ? MOCO_OK : wrong(r, "the outermost value has a key");
    char kind = r->kind[r->depth - 1];
    if (kind == 'l' || kind == 't') {
        if (size > 0)
            return wrong(r, "an element of a list has a key");
        size = num_format_int(digits, r->index[r->depth - 1]++);
        key = digits;
    }
    int dot = r->depth > 1;
    if (size > KEY_MAX || used + (size_t)dot + size > NAME)
        return wrong(r, "a name is longer than 1024 bytes");
    if (dot)
        r->name[used++] = '.';
    char *own = r->name + used;
    if (!unescape(key, size, own, &length))
        return wrong(r, "a backslash stands before another character than t, n and itself");
    int64_t number = 0;
    if (kind == 'D' && !num_parse_int(own, length, &number))
        return wrong(r, "a key is no integer");
    if (r->w != NULL && kind == 'd')
        pickle_put_text(&r->w->pickle, own);
    else if (r->w != NULL && kind == 'D')
        pickle_put_int(&r->w->pickle, number);
    return MOCO_OK;
}

static moco_status open_container(struct reader *r, char kind)
{
    if (r->depth == DEPTH)
        return wrong(r, "there are more than 64 containers in each other");
    r->path[r->depth] = strlen(r->name);
    r->index[r->depth] = 0;
    r->kind[r->depth++] = kind;
    r->lists += kind == 'l' || kind == 't';
    if (r->w != NULL)
        pickle_put_ops(&r->w->pickle, kind == 'l' ? "](" : kind == 't' ? "(" : "}(");
    return MOCO_OK;
}

static void close_container(struct reader *r)
{
    char kind = r->kind[--r->depth];
    r->lists -= kind == 'l' || kind == 't';
    if (r->w != NULL)
        pickle_put_ops(&r->w->pickle, kind == 'l' ? "e" : kind == 't' ? "t" : "u");
}

static moco_status put_tensor(struct reader *r)
{
    struct safetensors_tensor tensor;
    TRY(r->tensors->next(r->tensors->self, r->name, &tensor, r->err));
    if (r->w != NULL)
        torch_put_tensor(r->w, &tensor);
    return MOCO_OK;
}

static int parse_real(const char *text, size_t length, double *value)
{
    static const struct {
        const char *text;
        double value;
    } others[] = {{"nan", (double)NAN}, {"inf", (double)INFINITY}, {"-inf", (double)-INFINITY}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(text, others[i].text) == 0) {
            *value = others[i].value;
            return 1;
        }
    return num_parse_double(text, length, value);
}

/* Checks the text of a value that is no container and no tensor, passes it to the caller if it is in no list, and puts
 * it. */
static moco_status put_leaf(struct reader *r, char letter, size_t length)
{
    struct pickle_writer *p = r->w != NULL ? &r->w->pickle : NULL;
    int64_t whole = 0;
    double real = 0;
    int is_true = strcmp(r->value, "true") == 0;
    if (letter == 'i' && !num_parse_int(r->value, length, &whole))
        return wrong(r, "an integer is none");
    if (letter == 'r' && !parse_real(r->value, length, &real))
        return wrong(r, "a number is none");
    if (letter == 'b' && !is_true && strcmp(r->value, "false") != 0)
        return wrong(r, "a bool is neither true nor false");
    if (r->lists == 0 && letter != 'n' && r->tensors->text != NULL && r->depth > 0)
        TRY(r->tensors->text(r->tensors->self, r->name, r->value, r->err));
    if (p == NULL)
        return MOCO_OK;
    if (letter == 'i')
        pickle_put_int(p, whole);
    else if (letter == 'r')
        pickle_put_double(p, real);
    else if (letter == 'b')
        pickle_put_bool(p, is_true);
    else if (letter == 's')
        pickle_put_text(p, r->value);
    else
        pickle_put_ops(p, "N");
    return MOCO_OK;
}

/* Reads one line: it ends a container, begins one, or is a value. */
static moco_status put_line(struct reader *r, const char *line, size_t size)
{
    if (size == 1 && line[0] == '.') {
        if (r->depth == 0)
            return wrong(r, "a container ends that did not begin");
        close_container(r);
        return MOCO_OK;
    }
    const char *tab = memchr(line, '\t', size);
    size_t key = (tab != NULL ? (size_t)(tab - line) : size) - 1, length = 0;
    int container = line[0] != 0 && strchr("dDlt", line[0]) != NULL;
    if (!container && (strchr("irbsnT", line[0]) == NULL || tab == NULL))
        return wrong(r, "it begins with none of d, D, l, t, i, r, b, s, n, T, or has no tab");
    TRY(put_key(r, line + 1, key));
    if (container)
        return tab == NULL ? open_container(r, line[0]) : wrong(r, "a container has a text");
    if (!unescape(tab + 1, size - key - 2, r->value, &length))
        return wrong(r, "a backslash stands before another character than t, n and itself");
    return line[0] == 'T' ? put_tensor(r) : put_leaf(r, line[0], length);
}

static moco_status put_lines(struct reader *r)
{
    do {
        const char *end = strchr(r->at, '\n');
        r->line++;
        if (end == NULL || end == r->at)
            return wrong(r, "the text ends within a value, or the line is empty");
        TRY(put_line(r, r->at, (size_t)(end - r->at)));
        r->at = end + 1;
    } while (r->depth > 0);
    return *r->at == 0 ? MOCO_OK : wrong(r, "more follows behind the outermost value");
}

moco_status torch_tree_put(const char *text, struct torch_writer *w, struct ctx *ctx,
                           const struct torch_tree_tensors *tensors, struct err *err)
{
    struct reader *r = mem_zalloc(ctx, sizeof *r, err);
    if (r == NULL)
        return MOCO_ENOMEM;
    *r = (struct reader){.at = text, .w = w, .ctx = ctx, .tensors = tensors, .err = err};
    r->value = mem_alloc(ctx, strlen(text) + 1, err);
    moco_status status = r->value != NULL ? put_lines(r) : MOCO_ENOMEM;
    mem_free(ctx, r->value);
    mem_free(ctx, r);
    return status;
}
