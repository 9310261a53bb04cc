/* SPDX-License-Identifier: MIT
 *
 * fuzz_pickle: any bytes as a pickle. What is read must hold together: every value of it can be looked at, texts lie in
 * its bytes, containers hold as many values as they say. The last two bytes of an input say which allocation fails and
 * whether the file shrinks while it is read. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pickle.h"
#include "fuzz/support/memory_file.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { TODO = 256 };

static volatile double sink; /* numbers are read, whatever they are */

static void check_text(const struct pickle *p, struct pickle_text text)
{
    const char *begin = (const char *)p->bytes;
    if (text.bytes < begin || text.size > p->size || text.bytes > begin + (p->size - text.size))
        abort();
}

/* A container's values, of which the first TODO are looked at too. */
static void check_items(const struct pickle *p, pickle_value value, pickle_value todo[TODO], int *count)
{
    struct pickle_items items;
    pickle_value at;
    uint32_t found = 0;
    pickle_items_start(&items, p, value);
    for (; pickle_items_next(&items, p, &at); found++)
        if (*count < TODO)
            todo[(*count)++] = at;
    if (found != pickle_count(p, value) || (pickle_kind(value) == PICKLE_DICT && found % 2 != 0))
        abort();
    if (pickle_kind(value) == PICKLE_TUPLE && found > 0 && pickle_item(p, value, found - 1) != at)
        abort();
    if (pickle_kind(value) == PICKLE_DICT)
        pickle_find(p, value, "x", &at);
}

static void check_value(const struct pickle *p, struct pickle_marks *marks, pickle_value value, pickle_value todo[TODO],
                        int *count)
{
    struct pickle_text module, name;
    switch (pickle_kind(value)) {
    case PICKLE_TEXT:
    case PICKLE_BYTES:
        check_text(p, pickle_text(p, value));
        break;
    case PICKLE_BOOL:
        if (pickle_bool(value) != 0 && pickle_bool(value) != 1)
            abort();
        break;
    case PICKLE_INT:
        sink = (double)pickle_int(p, value);
        break;
    case PICKLE_REAL:
        sink = pickle_real(p, value);
        break;
    case PICKLE_GLOBAL:
        pickle_global(p, value, &module, &name);
        check_text(p, module);
        check_text(p, name);
        if (module.size == 0 || name.size == 0 || memchr(name.bytes, '\n', name.size) != NULL)
            abort();
        break;
    case PICKLE_TUPLE:
    case PICKLE_LIST:
    case PICKLE_SET:
    case PICKLE_DICT:
        if (pickle_count(p, value) > 0 && !pickle_mark(marks, value))
            check_items(p, value, todo, count);
        break;
    case PICKLE_CALL:
        pickle_global(p, value, &module, &name);
        check_text(p, module);
        if (pickle_kind(pickle_call_arguments(p, value)) != PICKLE_TUPLE)
            abort();
        if (*count + 2 <= TODO && !pickle_mark(marks, value)) {
            todo[(*count)++] = pickle_call_what(p, value);
            todo[(*count)++] = pickle_call_arguments(p, value);
        }
        break;
    case PICKLE_PERSISTENT:
        if (*count < TODO && !pickle_mark(marks, value))
            todo[(*count)++] = pickle_persistent_id(p, value);
        break;
    default:
        break;
    }
    if (strlen(pickle_kind_name(value)) < 4)
        abort();
}

static void check(const struct pickle *p)
{
    pickle_value todo[TODO] = {p->root};
    int count = 1;
    struct pickle_marks marks;
    if (pickle_marks_init(&marks, p, NULL) != MOCO_OK)
        return;
    for (pickle_value v = p->globals; v != 0; pickle_next(p, &v))
        check_value(p, &marks, v, todo, &count);
    for (pickle_value v = p->persistents; v != 0; pickle_next(p, &v))
        check_value(p, &marks, v, todo, &count);
    while (count > 0) {
        pickle_value value = todo[--count];
        check_value(p, &marks, value, todo, &count);
    }
    pickle_marks_free(&marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    size -= 2;
    struct failing_alloc memory = {.fail_at = bytes[size] == 0 ? -1 : bytes[size], .ends_only = 1};
    int cut = bytes[size + 1] != 0;
    struct ctx *ctx = NULL;
    struct file file;
    struct pickle p;
    struct err err = {0};
    const char *path = memory_file(bytes, size);
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK)
        return 0;
    if (file_open(&file, ctx, path, &err) == MOCO_OK) {
        int64_t end = -1;
        if (cut)
            memory_file_cut(size * bytes[size + 1] / 256);
        moco_status status = pickle_read(&p, &file, 0, (int64_t)size, &end, &err);
        if (status == MOCO_OK && (end < 1 || end > (int64_t)size || bytes[end - 1] != '.'))
            abort();
        if (status == MOCO_OK)
            check(&p);
        else if (err.text[0] == 0 || p.bytes != NULL || (status == MOCO_EIO && !cut) ||
                 (status == MOCO_ENOMEM && memory.refused == 0))
            abort();
        pickle_free(&p);
        file_close(&file);
    }
    ctx_unref(ctx);
    if (memory.live != 0)
        abort();
    return 0;
}
