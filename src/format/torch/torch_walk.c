/* SPDX-License-Identifier: MIT
 *
 * torch_walk: finds every tensor from the root of a pickle, with its path. It walks twice, first counting and then
 * filling, so that tables are allocated once. Each container is visited once, at its first occurrence: a pickle that
 * refers to one dict from many places would otherwise be walked 2^40 times. */
#include <string.h>

#include "format/torch/torch_read.h"
#include "num.h"
#include "sort.h"
#include "utf8.h"

enum { DEPTH = 64, PATH = 1024, OTHERS = 4096 };

struct frame {
    struct pickle_items items;
    int dict;
    int64_t index;
    size_t path; /* length of the path of the container itself */
};

struct walk {
    struct torch_file *t;
    struct pickle_marks marks;
    struct err *err;
    int fill, depth;
    int64_t tensors, others, unsaid, unnamed;
    size_t names;
    int64_t at;  /* offset in the file of the last key */
    size_t size; /* of the path; if larger than PATH, the path was too long and is not kept */
    char path[PATH + 1];
    struct frame frames[DEPTH];
};

static moco_status wrong(struct walk *w, const char *reason)
{
    size_t size = w->size < 100 ? w->size : 100;
    return err_set(w->err, MOCO_EFORMAT, "%.300s: at byte %lld: tensor %.*s %s", w->t->file.path, (long long)w->at,
                   (int)size, w->path, reason);
}

/* ---- paths ---- */

static void add_to_path(struct walk *w, const char *bytes, size_t size)
{
    int dot = w->depth > 1;
    if (w->size > PATH || size + (size_t)dot > PATH - w->size) {
        w->size = PATH + 1;
        return;
    }
    if (dot)
        w->path[w->size++] = '.';
    memcpy(w->path + w->size, bytes, size);
    w->size += size;
}

/* Sets the path to that of the value of a key or index. Returns 0 if such keys make no name. */
static int step_path(struct walk *w, const struct frame *f, pickle_value key)
{
    const struct pickle *p = &w->t->pickle;
    char digits[NUM_TEXT];
    w->size = f->path;
    if (f->dict && pickle_kind(key) == PICKLE_TEXT) {
        struct pickle_text text = pickle_text(p, key);
        w->at = p->origin + ((const unsigned char *)text.bytes - p->bytes);
        add_to_path(w, text.bytes, text.size);
        return 1;
    }
    if (f->dict && pickle_kind(key) != PICKLE_INT)
        return 0;
    size_t size = num_format_int(digits, f->dict ? pickle_int(p, key) : f->index);
    add_to_path(w, digits, size);
    return 1;
}

static int is_name(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t length = text[at] == 0 ? 0 : utf8_length(text + at, size - at);
        if (length == 0)
            return 0;
        at += length;
    }
    return 1;
}

static uint32_t keep_name(struct walk *w)
{
    uint32_t at = (uint32_t)w->names;
    if (w->fill) {
        memcpy(w->t->names + at, w->path, w->size);
        w->t->names[at + w->size] = 0;
    }
    w->names += w->size + 1;
    return at;
}

/* ---- what is at a path ---- */

static void add_other(struct walk *w, pickle_value value, const char *reason)
{
    if (w->size > PATH || !is_name(w->path, w->size) || w->others == OTHERS) {
        w->unsaid++;
        return;
    }
    uint32_t name = keep_name(w);
    if (w->fill)
        w->t->others[w->others] = (struct torch_other){value, name, reason};
    w->others++;
}

static moco_status add_tensor(struct walk *w, pickle_value value, const struct torch_storage *storage)
{
    if (w->size > PATH)
        return wrong(w, "has a name that is longer than 1024 bytes");
    if (!is_name(w->path, w->size))
        return wrong(w, "has a name that is not UTF-8 or holds a NUL character");
    uint32_t name = keep_name(w);
    if (w->fill)
        w->t->entries[w->tensors] = (struct torch_entry){value, name, (uint32_t)(storage - w->t->storages)};
    w->tensors++;
    return MOCO_OK;
}

static void enter(struct walk *w, pickle_value container)
{
    if (w->depth == DEPTH) {
        w->unsaid++;
        return;
    }
    struct frame *f = &w->frames[w->depth++];
    f->dict = pickle_kind(container) == PICKLE_DICT;
    f->index = 0;
    f->path = w->size;
    pickle_items_start(&f->items, &w->t->pickle, container);
}

/* Notes what a value is, or enters it if it is a container that was not visited before. */
static moco_status visit(struct walk *w, pickle_value value)
{
    const struct pickle *p = &w->t->pickle;
    struct weights_tensor tensor;
    struct torch_storage *storage = NULL;
    const char *reason = NULL;
    switch (pickle_kind(value)) {
    case PICKLE_DICT:
    case PICKLE_LIST:
    case PICKLE_TUPLE:
        if (pickle_count(p, value) > 0 && !pickle_mark(&w->marks, value))
            enter(w, value);
        return MOCO_OK;
    case PICKLE_CALL:
        switch (torch_tensor(w->t, value, &tensor, &storage, &reason)) {
        case TORCH_TENSOR:
            return add_tensor(w, value, storage);
        case TORCH_BROKEN:
            return wrong(w, reason);
        case TORCH_UNREAD:
            add_other(w, value, reason);
            return MOCO_OK;
        default:
            if (!pickle_global_is(p, value, "torch", "Size"))
                add_other(w, value, "is an object of a program, of which nothing was run");
            return MOCO_OK;
        }
    case PICKLE_GLOBAL:
        add_other(w, value, "is a name in a program");
        return MOCO_OK;
    case PICKLE_PERSISTENT:
        add_other(w, value, "is a storage without a tensor");
        return MOCO_OK;
    default:
        return MOCO_OK;
    }
}

/* Visits every value from the root, with a stack of its own: recursion could be driven to any depth by a file. */
static moco_status walk_all(struct walk *w, int fill)
{
    const struct pickle *p = &w->t->pickle;
    w->fill = fill;
    w->tensors = w->others = w->unsaid = w->unnamed = 0;
    w->names = w->size = 0;
    w->depth = 0;
    w->at = p->origin;
    TRY(pickle_marks_init(&w->marks, p, w->err));
    moco_status status = visit(w, p->root);
    while (status == MOCO_OK && w->depth > 0) {
        struct frame *f = &w->frames[w->depth - 1];
        pickle_value key = 0, value;
        if ((f->dict && !pickle_items_next(&f->items, p, &key)) || !pickle_items_next(&f->items, p, &value)) {
            w->depth--;
            continue;
        }
        if (step_path(w, f, key))
            status = visit(w, value);
        else
            w->unnamed++;
        f->index++;
    }
    pickle_marks_free(&w->marks);
    return status;
}

/* ---- the tables ---- */

static int by_name(const void *a, const void *b, const void *user)
{
    const struct torch_file *t = user;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(t->names + t->entries[x].name, t->names + t->entries[y].name);
    return order != 0 ? order : x < y ? -1 : x > y;
}

static moco_status order(struct torch_file *t, struct err *err)
{
    TRY(torch_table(t, t->count, sizeof *t->by_name, &t->by_name, err));
    for (int64_t i = 0; i < t->count; i++)
        t->by_name[i] = (uint32_t)i;
    sort_array(t->by_name, (size_t)t->count, sizeof *t->by_name, by_name, t);
    for (int64_t i = 1; i < t->count; i++) {
        const char *name = t->names + t->entries[t->by_name[i]].name;
        if (strcmp(name, t->names + t->entries[t->by_name[i - 1]].name) == 0)
            return err_set(err, MOCO_EFORMAT,
                           "%.300s: at byte %lld: the pickle here has two tensors of the name %.100s", t->file.path,
                           (long long)t->pickle.origin, name);
    }
    return MOCO_OK;
}

static int is_scalar(pickle_value value)
{
    enum pickle_kind kind = pickle_kind(value);
    return kind == PICKLE_TEXT || kind == PICKLE_INT || kind == PICKLE_REAL || kind == PICKLE_BOOL;
}

/* Lists the keys of texts and numbers at the root. With fill 0 it only counts them and the bytes of their names. */
static void list_keys(struct torch_file *t, int fill, size_t *names)
{
    struct pickle_items items;
    pickle_value key, value;
    t->key_count = 0;
    if (pickle_kind(t->pickle.root) != PICKLE_DICT)
        return;
    pickle_items_start(&items, &t->pickle, t->pickle.root);
    while (pickle_items_next(&items, &t->pickle, &key) && pickle_items_next(&items, &t->pickle, &value)) {
        if (pickle_kind(key) != PICKLE_TEXT || !is_scalar(value))
            continue;
        struct pickle_text text = pickle_text(&t->pickle, key);
        if (text.size > PATH || !is_name(text.bytes, text.size))
            continue;
        if (fill) {
            t->keys[t->key_count] = (uint32_t)*names;
            memcpy(t->names + *names, text.bytes, text.size);
            t->names[*names + text.size] = 0;
        }
        *names += text.size + 1;
        t->key_count++;
    }
}

static moco_status fill_tables(struct torch_file *t, struct walk *w, struct err *err)
{
    TRY(walk_all(w, 0));
    size_t names = w->names;
    list_keys(t, 0, &names);
    TRY(torch_table(t, w->tensors, sizeof *t->entries, &t->entries, err));
    TRY(torch_table(t, w->others, sizeof *t->others, &t->others, err));
    TRY(torch_table(t, t->key_count, sizeof *t->keys, &t->keys, err));
    TRY(torch_table(t, (int64_t)names, 1, &t->names, err));
    TRY(walk_all(w, 1));
    t->count = w->tensors;
    t->other_count = w->others;
    names = w->names;
    list_keys(t, 1, &names);
    return MOCO_OK;
}

/* Says what is wrong with a file whose root is neither a container nor a tensor. */
static moco_status check_root(const struct torch_file *t, struct err *err)
{
    struct pickle_text module, name;
    pickle_value root = t->pickle.root;
    enum pickle_kind kind = pickle_kind(root);
    if (t->count > 0 || kind == PICKLE_DICT || kind == PICKLE_LIST || kind == PICKLE_TUPLE)
        return MOCO_OK;
    if (kind != PICKLE_CALL && kind != PICKLE_GLOBAL)
        return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: the pickle here is %s: there are no tensors in it",
                       t->file.path, (long long)t->pickle.origin, pickle_kind_name(root));
    pickle_global(&t->pickle, root, &module, &name);
    if (torch_knows(&t->pickle, root))
        return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: the one tensor of the pickle here %s", t->file.path,
                       (long long)t->pickle.origin, t->other_count > 0 ? t->others[0].reason : "is none");
    return err_set(err, MOCO_EFORMAT,
                   "%.300s: at byte %lld: it is a pickled object of a program (%.*s.%.*s), not a state dict: save "
                   "model.state_dict() by torch.save",
                   t->file.path, (long long)t->pickle.origin, module.size > 80 ? 80 : (int)module.size, module.bytes,
                   name.size > 80 ? 80 : (int)name.size, name.bytes);
}

moco_status torch_walk(struct torch_file *t, struct err *err)
{
    struct walk *w = mem_zalloc(t->ctx, sizeof *w, err);
    if (w == NULL)
        return MOCO_ENOMEM;
    w->t = t;
    w->err = err;
    moco_status status = fill_tables(t, w, err);
    if (status == MOCO_OK)
        status = check_root(t, err);
    if (status == MOCO_OK)
        status = order(t, err);
    if (status == MOCO_OK)
        status = torch_notes(t, w->unsaid, w->unnamed, err);
    mem_free(t->ctx, w);
    return status;
}
