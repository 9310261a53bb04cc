/* SPDX-License-Identifier: MIT
 *
 * torch_tree: see torch_tree.h; the half that makes the text. A container is kept where it is met first, as torch_walk
 * names its tensors. */
#include "format/torch/torch_tree.h"

#include <string.h>

#include "codec/json.h"
#include "format/torch/torch_read.h"
#include "num.h"
#include "utf8.h"

enum { DEPTH = 64 };

struct frame {
    struct pickle_items items;
    int dict;
};

struct tree {
    const struct torch_file *t;
    struct json_writer out; /* only its growing text is used */
    struct pickle_marks marks;
    int depth;
    struct frame frames[DEPTH];
};

static void put(struct tree *w, const char *text)
{
    json_put_raw(&w->out, text, strlen(text));
}

static void put_escaped(struct json_writer *out, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char *escape = bytes[i] == '\t' ? "\\t" : bytes[i] == '\n' ? "\\n" : bytes[i] == '\\' ? "\\\\" : NULL;
        if (escape != NULL)
            json_put_raw(out, escape, 2);
        else
            json_put_raw(out, bytes + i, 1);
    }
}

static void put_key(struct tree *w, const char *letter, pickle_value key)
{
    const struct pickle *p = &w->t->pickle;
    char digits[NUM_TEXT];
    put(w, letter);
    if (w->depth == 0 || !w->frames[w->depth - 1].dict)
        return;
    if (pickle_kind(key) == PICKLE_TEXT)
        put_escaped(&w->out, pickle_text(p, key).bytes, pickle_text(p, key).size);
    else
        json_put_raw(&w->out, digits, num_format_int(digits, pickle_int(p, key)));
}

static void put_leaf(struct tree *w, const char *letter, pickle_value key, const char *bytes, size_t size)
{
    put_key(w, letter, key);
    put(w, "\t");
    put_escaped(&w->out, bytes, size);
    put(w, "\n");
}

/* Tells whether all keys of a dict are integers, which its letter says. A dict without keys has none. */
static int has_integer_keys(const struct pickle *p, pickle_value dict)
{
    struct pickle_items items;
    pickle_value key, value;
    int any = 0;
    pickle_items_start(&items, p, dict);
    while (pickle_items_next(&items, p, &key) && pickle_items_next(&items, p, &value)) {
        if (pickle_kind(key) != PICKLE_INT)
            return 0;
        any = 1;
    }
    return any;
}

/* Tells whether the header of a safetensors file can contain this text: UTF-8 without NUL. */
static int is_text(struct pickle_text text)
{
    for (size_t at = 0, length; at < text.size; at += length)
        if (text.bytes[at] == 0 || (length = utf8_length(text.bytes + at, text.size - at)) == 0)
            return 0;
    return 1;
}

/* Begins a container and returns 1. Returns 0 if it is too deep or was met before. */
static int enter(struct tree *w, pickle_value key, pickle_value value)
{
    const struct pickle *p = &w->t->pickle;
    enum pickle_kind kind = pickle_kind(value);
    if (w->depth == DEPTH || (pickle_count(p, value) > 0 && pickle_mark(&w->marks, value)))
        return 0;
    put_key(w, kind == PICKLE_LIST ? "l" : kind == PICKLE_TUPLE ? "t" : has_integer_keys(p, value) ? "D" : "d", key);
    put(w, "\n");
    struct frame *f = &w->frames[w->depth++];
    f->dict = kind == PICKLE_DICT;
    pickle_items_start(&f->items, p, value);
    return 1;
}

/* Puts the line of a value. What has no line is left out of a dict, and is None in a list. */
static void put_value(struct tree *w, pickle_value key, pickle_value value)
{
    const struct pickle *p = &w->t->pickle;
    struct weights_tensor tensor;
    struct torch_storage *storage;
    const char *reason;
    char number[NUM_TEXT];
    switch (pickle_kind(value)) {
    case PICKLE_DICT:
    case PICKLE_LIST:
    case PICKLE_TUPLE:
        if (enter(w, key, value))
            return;
        break;
    case PICKLE_INT:
        put_leaf(w, "i", key, number, num_format_int(number, pickle_int(p, value)));
        return;
    case PICKLE_REAL:
        put_leaf(w, "r", key, number, num_format_double(number, pickle_real(p, value)));
        return;
    case PICKLE_BOOL:
        put_leaf(w, "b", key, pickle_bool(value) ? "true" : "false", pickle_bool(value) ? 4 : 5);
        return;
    case PICKLE_TEXT:
        if (is_text(pickle_text(p, value))) {
            put_leaf(w, "s", key, pickle_text(p, value).bytes, pickle_text(p, value).size);
            return;
        }
        break;
    case PICKLE_NONE:
        put_leaf(w, "n", key, "", 0);
        return;
    case PICKLE_CALL:
        if (torch_tensor(w->t, value, &tensor, &storage, &reason) == TORCH_TENSOR) {
            put_leaf(w, "T", key, "", 0);
            return;
        }
        break;
    default:
        break;
    }
    if (w->depth > 0 && !w->frames[w->depth - 1].dict)
        put_leaf(w, "n", key, "", 0);
}

static void put_all(struct tree *w)
{
    const struct pickle *p = &w->t->pickle;
    put_value(w, 0, p->root);
    while (w->depth > 0 && w->out.status == MOCO_OK) {
        struct frame *f = &w->frames[w->depth - 1];
        pickle_value key = 0, value;
        if ((f->dict && !pickle_items_next(&f->items, p, &key)) || !pickle_items_next(&f->items, p, &value)) {
            w->depth--;
            put(w, ".\n");
            continue;
        }
        int named = !f->dict || pickle_kind(key) == PICKLE_INT ||
                    (pickle_kind(key) == PICKLE_TEXT && is_text(pickle_text(p, key)));
        if (named)
            put_value(w, key, value);
    }
}

/* Returns a copy of the writer's text, or its failure, and frees the writer. */
static moco_status take(struct json_writer *out, char **text, struct err *err)
{
    json_put_raw(out, "", 1); /* ends in 0 */
    *text = out->status == MOCO_OK ? mem_strdup(out->ctx, out->text, err) : NULL;
    moco_status status = out->status != MOCO_OK ? out->status : *text != NULL ? MOCO_OK : MOCO_ENOMEM;
    json_writer_free(out);
    return status;
}

moco_status torch_tree_of(const struct torch_file *t, char **text, struct err *err)
{
    struct tree *w = mem_zalloc(t->ctx, sizeof *w, err);
    *text = NULL;
    if (w == NULL)
        return MOCO_ENOMEM;
    w->t = t;
    json_writer_start(&w->out, t->ctx, err);
    moco_status status = pickle_marks_init(&w->marks, &t->pickle, err);
    if (status == MOCO_OK) {
        put_all(w);
        pickle_marks_free(&w->marks);
        status = take(&w->out, text, err);
    }
    mem_free(t->ctx, w);
    return status;
}

moco_status torch_tree_flat(const struct weights *w, struct ctx *ctx, char **text, struct err *err)
{
    struct json_writer out;
    struct weights_tensor tensor;
    json_writer_start(&out, ctx, err);
    json_put_raw(&out, "d\n", 2);
    for (int64_t i = 0; i < weights_count(w); i++) {
        weights_at(w, i, &tensor);
        json_put_raw(&out, "T", 1);
        put_escaped(&out, tensor.name, strlen(tensor.name));
        json_put_raw(&out, "\t\n", 2);
    }
    json_put_raw(&out, ".\n", 2);
    return take(&out, text, err);
}
