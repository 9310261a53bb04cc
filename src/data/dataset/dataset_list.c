/* SPDX-License-Identifier: MIT
 *
 * dataset_list: a text file with one picture a line: its path, or its path, a tab and its label (a decimal number).
 * A path that does not start with a slash is relative to the folder of the list. What a reader would get wrong:
 * pictures that do not exist are noticed when they are read, like any other bad picture. Only the first one must
 * exist when the list is opened: if it does not, the lines are probably written in another way, with spaces or
 * commas, and none would be found. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset.h"
#include "file/file.h"
#include "file/file_retry.h"
#include "names.h"

enum { PATH_BYTES = 4096 };
#define LIST_MAX (INT64_C(4) << 30)

struct list {
    struct dataset base;
    char *folder; /* of the list, with its slash; "" where the list is named without one */
    struct names paths;
    int32_t *labels; /* NULL: no line has one */
    int64_t room;
    int64_t first_line; /* that of the first picture */
    int64_t odd_labels, odd_line;
};

static moco_status bad(const char *path, int64_t line, const char *what, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%s: line %lld %s", path, (long long)line, what);
}

/* Adds a line's label. Memory is taken with the first line that has one; lines before it get -1. */
static moco_status add_label(struct list *list, int32_t label, struct err *err)
{
    int64_t at = list->paths.count;
    if (list->labels == NULL && label < 0)
        return MOCO_OK;
    if (list->labels == NULL || at >= list->room) {
        int64_t room = at * 3 / 2 + 64;
        int32_t *labels = mem_grow(list->base.ctx, list->labels, (size_t)room * sizeof *labels, err);
        if (labels == NULL)
            return MOCO_ENOMEM;
        if (list->labels == NULL) /* the lines before had none */
            memset(labels, 0xff, (size_t)at * sizeof *labels);
        list->labels = labels;
        list->room = room;
    }
    list->labels[at] = label;
    if (label >= list->base.classes)
        list->base.classes = label + 1;
    return MOCO_OK;
}

/* `text` ends in 0 and is changed. */
static moco_status add_line(struct list *list, const char *path, int64_t line, char *text, struct err *err)
{
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '\r')
        text[--length] = 0;
    if (length == 0)
        return MOCO_OK;
    int32_t label = -1;
    char *tab = strrchr(text, '\t');
    if (tab != NULL) {
        label = dataset_read_label(tab + 1, strlen(tab + 1));
        *tab = 0;
        if (label < 0 && list->odd_labels++ == 0)
            list->odd_line = line;
    }
    if (text[0] == 0)
        return bad(path, line, "has a label but no path", err);
    if (strlen(list->folder) + strlen(text) >= PATH_BYTES)
        return bad(path, line, "has a path of 4096 bytes or more", err);
    if (list->paths.count == 0)
        list->first_line = line;
    TRY(add_label(list, label, err));
    return names_add(list->base.ctx, &list->paths, text, err);
}

/* Splits the text into lines in place: each line end becomes a 0. */
static moco_status parse(struct list *list, const char *path, char *text, size_t size, struct err *err)
{
    const char *end = text + size;
    int64_t line = 1;
    char where[64];
    if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return bad(path, 1, "begins like UTF-16; save the list as UTF-8", err);
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* what some editors put before UTF-8 */
        text += 3;
    for (char *at = text; at < end; line++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL)
            stop = text + (end - text); /* where file_read_all has put a 0 */
        *stop = 0;
        if (strlen(at) != (size_t)(stop - at))
            return bad(path, line, "holds a zero byte: this is not a text file", err);
        TRY(add_line(list, path, line, at, err));
        at = stop + 1;
    }
    list->base.count = list->paths.count;
    if (list->base.count == 0)
        return err_set(err, MOCO_EINVAL, "%s names no picture", path);
    snprintf(where, sizeof where, "line %lld", (long long)list->odd_line);
    dataset_warn_labels(list->base.ctx, path, list->odd_labels, where);
    return names_trim(list->base.ctx, &list->paths, err);
}

/* ---- the first picture ---- */

/* 0, or why there is no such file. */
static int missing(const struct list *list, const char *name, size_t length)
{
    char text[PATH_BYTES];
    struct stat stat_of;
    snprintf(text, sizeof text, "%s%.*s", name[0] == '/' ? "" : list->folder, (int)length, name);
    return stat(text, &stat_of) == 0 ? 0 : errno;
}

/* Is the file there if the name ends before one of its separators? */
static const char *separator(const struct list *list, const char *name)
{
    static const char *const words[] = {"a space where a tab must stand", "a comma where a tab must stand",
                                        "a semicolon where a tab must stand", "a second tab"};
    static const char signs[] = " ,;\t";
    for (size_t at = strlen(name) - 1; at-- > 1;) {
        const char *sign = strchr(signs, name[at]);
        if (sign != NULL && missing(list, name, at) == 0)
            return words[sign - signs];
    }
    return NULL;
}

/* Looks whether the first picture exists. If not, the sentence says what the line looks like instead: quotes, a
 * header, label before path, backslashes. */
static moco_status find_first(const struct list *list, const char *path, struct err *err)
{
    const char *name = names_at(&list->paths, 0);
    int error = missing(list, name, strlen(name));
    if (error == 0)
        return MOCO_OK;
    if (error != ENOENT && error != ENOTDIR && error != ENAMETOOLONG && error != ELOOP)
        return err_set(err, MOCO_EIO, "%s: line %lld names %.200s, which cannot be examined: %s", path,
                       (long long)list->first_line, name, file_reason(error, (char[FILE_REASON]){0}));
    const char *word = separator(list, name);
    if (word != NULL)
        return err_set(err, MOCO_EFORMAT, "%s: line %lld has %s: a line is a path, or a path, a tab and a label", path,
                       (long long)list->first_line, word);
    size_t length = strlen(name);
    const char *look = "";
    if (name[0] == '"' || name[0] == '\'')
        look = "; write paths without quotes";
    else if (strspn(name, "0123456789") == length)
        look = "; the path comes first, then the label";
    else if (!dataset_is_picture(name) && strpbrk(name, "./\\") == NULL)
        look = "; it looks like a header, which a list does not have";
    else if (strchr(name, '\\') != NULL)
        look = "; write / between folders";
    else if (name[length - 1] == ' ')
        look = "; it ends in a space";
    return err_set(
        err, MOCO_EFORMAT,
        "%s: line %lld names %.200s, but there is no such file%s%s%s; a line is a path, or a path, a tab and a "
        "label",
        path, (long long)list->first_line, name, name[0] == '/' ? "" : " in ",
        name[0] == '/'         ? ""
        : list->folder[0] != 0 ? list->folder
                               : "the current folder",
        look);
}

/* ---- the data set ---- */

static moco_status path_of(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct list *list = (const struct list *)ds;
    const char *name = names_at(&list->paths, id);
    int length = snprintf(text, size, "%s%s", name[0] == '/' ? "" : list->folder, name);
    return length >= 0 && (size_t)length < size ? MOCO_OK : MOCO_ESHAPE;
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    char text[PATH_BYTES];
    TRY(path_of(ds, id, text, sizeof text));
    return decode_file(decoder, text, image, err);
}

static int32_t label_of(const struct dataset *ds, int64_t id)
{
    const struct list *list = (const struct list *)ds;
    return list->labels != NULL ? list->labels[id] : -1;
}

static void destroy(struct dataset *ds)
{
    struct list *list = (struct list *)ds;
    names_free(ds->ctx, &list->paths);
    mem_free(ds->ctx, list->labels);
    mem_free(ds->ctx, list->folder);
    mem_free(ds->ctx, list);
}

static const struct dataset_ops list_ops = {read_image, label_of, path_of, dataset_no_class_name, destroy};

moco_status dataset_open_list(struct dataset **out, struct ctx *ctx, const char *path, struct err *err)
{
    *out = NULL;
    struct list *list = mem_zalloc(ctx, sizeof *list, err);
    if (list == NULL)
        return MOCO_ENOMEM;
    list->base = (struct dataset){&list_ops, ctx_ref(ctx), 0, 0, NULL, 0, 0};
    char *text = NULL;
    size_t size;
    moco_status status = MOCO_ENOMEM;
    if ((list->folder = mem_strdup(ctx, path, err)) != NULL) {
        char *slash = strrchr(list->folder, '/');
        list->folder[slash != NULL ? slash - list->folder + 1 : 0] = 0;
        status = file_read_all(ctx, path, LIST_MAX, &text, &size, err);
    }
    if (status == MOCO_OK)
        status = parse(list, path, text, size, err);
    if (status == MOCO_OK)
        status = find_first(list, path, err);
    mem_free(ctx, text);
    if (status != MOCO_OK) {
        dataset_free(&list->base);
        return status;
    }
    *out = &list->base;
    return MOCO_OK;
}
