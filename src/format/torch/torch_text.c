/* SPDX-License-Identifier: MIT
 *
 * torch_text: the content of a torch file besides numbers: texts by their path, and notes on what was not read. */
#include <stdio.h>
#include <string.h>

#include "format/torch/torch_read.h"
#include "num.h"

enum { NOTES = 64, NOTE_SIZE = 400, DEPTH = 64 };

void torch_at(const struct torch_file *t, int64_t i, struct weights_tensor *tensor)
{
    struct torch_storage *storage;
    const char *reason;
    torch_tensor(t, t->entries[i].value, tensor, &storage, &reason);
    tensor->name = t->names + t->entries[i].name;
    tensor->proved = storage->member != NULL;
}

moco_status torch_find(const struct torch_file *t, const char *name, int64_t *i, struct err *err)
{
    int64_t low = 0, high = t->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(name, t->names + t->entries[t->by_name[middle]].name);
        if (order == 0) {
            *i = t->by_name[middle];
            return MOCO_OK;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    for (int64_t k = 0; k < t->other_count; k++)
        if (strcmp(name, t->names + t->others[k].name) == 0)
            return err_set(err, MOCO_EFORMAT, "%.300s: %.100s %s", t->file.path, name, t->others[k].reason);
    return err_set(err, MOCO_ENOTFOUND, "%.300s: it has no tensor %.100s", t->file.path, name);
}

/* ---- texts ---- */

struct search {
    const struct pickle *p;
    int64_t left; /* how many values may still be looked at: a dict may contain itself under many keys */
    pickle_value found;
};

/* Tells whether `rest` begins with the key, followed by '.' or the end. *size is the key's length. */
static int matches(struct search *s, pickle_value key, const char *rest, size_t *size)
{
    char digits[NUM_TEXT];
    struct pickle_text text = {digits, 0};
    if (pickle_kind(key) == PICKLE_TEXT)
        text = pickle_text(s->p, key);
    else if (pickle_kind(key) == PICKLE_INT)
        text.size = num_format_int(digits, pickle_int(s->p, key));
    else
        return 0;
    *size = text.size;
    return strncmp(rest, text.bytes, text.size) == 0 && strlen(rest) >= text.size &&
           (rest[text.size] == 0 || rest[text.size] == '.');
}

/* Finds the value at the path `rest`. Keys may contain dots, so that every key that matches is followed. */
static int search(struct search *s, pickle_value value, const char *rest, int depth)
{
    struct pickle_items items;
    enum pickle_kind kind = pickle_kind(value);
    pickle_value key = 0, content;
    char digits[NUM_TEXT];
    if (depth == DEPTH || (kind != PICKLE_DICT && kind != PICKLE_LIST && kind != PICKLE_TUPLE))
        return 0;
    pickle_items_start(&items, s->p, value);
    for (int64_t index = 0; s->left-- > 0; index++) {
        size_t size = 0;
        if (kind == PICKLE_DICT && !pickle_items_next(&items, s->p, &key))
            return 0;
        if (!pickle_items_next(&items, s->p, &content))
            return 0;
        if (kind != PICKLE_DICT) {
            size = num_format_int(digits, index);
            if (strncmp(rest, digits, size) != 0 || (rest[size] != 0 && rest[size] != '.'))
                continue;
        } else if (!matches(s, key, rest, &size)) {
            continue;
        }
        s->found = content;
        if (rest[size] == 0 || search(s, content, rest + size + 1, depth + 1))
            return 1;
    }
    return 0;
}

moco_status torch_text(const struct torch_file *t, const char *key, char *text, size_t size, struct err *err)
{
    const struct pickle *p = &t->pickle;
    struct search s = {p, 4 * (int64_t)p->used, 0};
    char number[NUM_TEXT];
    struct pickle_text found = {number, 0};
    if (!search(&s, p->root, key, 0))
        return err_set(err, MOCO_ENOTFOUND, "%.300s: it has nothing at %.100s", t->file.path, key);
    switch (pickle_kind(s.found)) {
    case PICKLE_TEXT:
        found = pickle_text(p, s.found);
        break;
    case PICKLE_INT:
        found.size = num_format_int(number, pickle_int(p, s.found));
        break;
    case PICKLE_REAL:
        found.size = num_format_double(number, pickle_real(p, s.found));
        break;
    case PICKLE_BOOL:
        found.bytes = pickle_bool(s.found) ? "true" : "false";
        found.size = strlen(found.bytes);
        break;
    default:
        return err_set(err, MOCO_ENOTFOUND, "%.300s: %.100s is %s, neither text nor number", t->file.path, key,
                       pickle_kind_name(s.found));
    }
    if (memchr(found.bytes, 0, found.size) != NULL)
        return err_set(err, MOCO_EFORMAT, "%.300s: the text at %.100s holds a NUL character", t->file.path, key);
    if (found.size >= size)
        return err_set(err, MOCO_ESHAPE, "%.300s: the text at %.100s takes %zu bytes with its 0; size is %zu",
                       t->file.path, key, found.size + 1, size);
    memcpy(text, found.bytes, found.size);
    text[found.size] = 0;
    return MOCO_OK;
}

/* ---- notes ---- */

static moco_status add_note(struct torch_file *t, const char *text, struct err *err)
{
    char *copy = mem_strdup(t->ctx, text, err);
    if (copy == NULL)
        return MOCO_ENOMEM;
    t->notes[t->note_count++] = copy;
    return MOCO_OK;
}

static int same(struct pickle_text a, struct pickle_text b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

/* Notes each name of code that has no meaning here, once. */
static moco_status note_globals(struct torch_file *t, struct err *err)
{
    const struct pickle *p = &t->pickle;
    struct {
        struct pickle_text module, name;
    } seen[NOTES];
    int count = 0;
    char text[NOTE_SIZE];
    for (pickle_value v = p->globals; v != 0 && count < NOTES; pickle_next(p, &v)) {
        int known = torch_knows(p, v);
        pickle_global(p, v, &seen[count].module, &seen[count].name);
        for (int i = 0; i < count; i++)
            known |= same(seen[i].module, seen[count].module) && same(seen[i].name, seen[count].name);
        count += !known;
    }
    for (int i = count; i-- > 0;) { /* the list of globals begins with the last of the file */
        snprintf(text, sizeof text, "the pickle names %.*s.%.*s, which was not called",
                 seen[i].module.size > 100 ? 100 : (int)seen[i].module.size, seen[i].module.bytes,
                 seen[i].name.size > 100 ? 100 : (int)seen[i].name.size, seen[i].name.bytes);
        TRY(add_note(t, text, err));
    }
    return MOCO_OK;
}

/* Notes what each value is that is not a tensor, with the name of its class. Beyond a limit they are only counted. */
static moco_status note_others(struct torch_file *t, int64_t *unsaid, struct err *err)
{
    char text[NOTE_SIZE];
    for (int64_t i = 0; i < t->other_count; i++) {
        const struct torch_other *other = &t->others[i];
        if (i >= NOTES) {
            ++*unsaid;
            continue;
        }
        struct pickle_text module = {"", 0}, name = {"", 0};
        if (pickle_kind(other->value) != PICKLE_PERSISTENT)
            pickle_global(&t->pickle, other->value, &module, &name);
        snprintf(text, sizeof text, "%.100s %s%s%.*s%s%.*s%s", t->names + other->name, other->reason,
                 module.size > 0 ? " (" : "", module.size > 60 ? 60 : (int)module.size, module.bytes,
                 module.size > 0 ? "." : "", name.size > 60 ? 60 : (int)name.size, name.bytes,
                 module.size > 0 ? ")" : "");
        TRY(add_note(t, text, err));
    }
    return MOCO_OK;
}

moco_status torch_notes(struct torch_file *t, int64_t unsaid, int64_t unnamed, struct err *err)
{
    char text[NOTE_SIZE];
    t->notes = mem_array(t->ctx, 2 * NOTES + 3, sizeof *t->notes, err);
    if (t->notes == NULL)
        return MOCO_ENOMEM;
    if (t->zip.file == NULL && t->count > 0)
        TRY(add_note(t, "this form of file has no checksums: nothing proves its numbers", err));
    TRY(note_globals(t, err));
    TRY(note_others(t, &unsaid, err));
    if (unnamed > 0) {
        snprintf(text, sizeof text, "%lld values stand under keys that are neither text nor integers: not looked at",
                 (long long)unnamed);
        TRY(add_note(t, text, err));
    }
    if (unsaid > 0) {
        snprintf(text, sizeof text, "%lld more values are objects, or too deep or long-named to be listed",
                 (long long)unsaid);
        TRY(add_note(t, text, err));
    }
    return MOCO_OK;
}
