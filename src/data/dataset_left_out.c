/* SPDX-License-Identifier: MIT
 *
 * dataset_left_out: counts, by extension, the files that opening a data set left out because of their names, so that
 * nobody trains for months on a part of the data without knowing it. What a reader would get wrong: names are
 * untrusted. An extension counts as one only if it can be printed as it is, and the number of different ones is
 * limited. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataset.h"

enum { EXTENSION_MAX = 15, EXTENSIONS = 64 };
#define FURTHER "*" /* no extension looks like this */

struct left_out {
    int count; /* of entries */
    struct left_out_entry {
        char extension[EXTENSION_MAX + 2]; /* with its dot; "": none */
        int64_t files;
    } entry[EXTENSIONS + 1];
};

int dataset_is_picture(const char *name)
{
    static const char *const extensions[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof *extensions; i++)
        if (strcasecmp(dot, extensions[i]) == 0)
            return 1;
    return 0;
}

/* In lower case, with its dot; "" where there is none of up to EXTENSION_MAX letters, digits, - and _. */
static void extension_of(const char *name, char text[EXTENSION_MAX + 2])
{
    const char *dot = strrchr(name, '.');
    size_t length = dot != NULL && dot != name ? strlen(dot) : 0;
    text[0] = 0;
    if (length < 2 || length > EXTENSION_MAX + 1)
        return;
    for (size_t i = 1; i < length; i++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dot[i]) == NULL)
            return;
    for (size_t i = 0; i <= length; i++)
        text[i] = (char)(dot[i] >= 'A' && dot[i] <= 'Z' ? dot[i] - 'A' + 'a' : dot[i]);
}

moco_status dataset_leave_out(struct dataset *ds, const char *name, int64_t files, struct err *err)
{
    char extension[EXTENSION_MAX + 2];
    if (files == 0)
        return MOCO_OK;
    if (ds->left_out == NULL && (ds->left_out = mem_zalloc(ds->ctx, sizeof *ds->left_out, err)) == NULL)
        return MOCO_ENOMEM;
    struct left_out *l = ds->left_out;
    extension_of(name, extension);
    int i = 0;
    while (i < l->count && i < EXTENSIONS && strcmp(l->entry[i].extension, extension) != 0)
        i++;
    if (i == l->count) {
        strcpy(l->entry[i].extension, i < EXTENSIONS ? extension : FURTHER);
        l->count++;
    }
    l->entry[i].files += files;
    return MOCO_OK;
}

static int by_number(const void *a, const void *b)
{
    const struct left_out_entry *x = a, *y = b;
    if (x->files != y->files)
        return x->files > y->files ? -1 : 1;
    return strcmp(x->extension, y->extension);
}

void dataset_left_out_sort(struct dataset *ds)
{
    if (ds->left_out != NULL)
        qsort(ds->left_out->entry, (size_t)ds->left_out->count, sizeof *ds->left_out->entry, by_number);
}

const char *dataset_left_out(const struct dataset *ds, int index, int64_t *files)
{
    const struct left_out *l = ds->left_out;
    int there = l != NULL && index >= 0 && index < l->count;
    if (files != NULL)
        *files = there ? l->entry[index].files : 0;
    return there ? l->entry[index].extension : NULL;
}

/* The first eight. */
int64_t dataset_left_out_text(const struct dataset *ds, char text[LEFT_OUT_TEXT])
{
    int64_t all = 0, files;
    size_t used = 0;
    const char *extension;
    text[0] = 0;
    for (int i = 0; (extension = dataset_left_out(ds, i, &files)) != NULL; i++) {
        all += files;
        if (i < 8)
            used += (size_t)snprintf(text + used, LEFT_OUT_TEXT - used, "%s%lld %s", i > 0 ? ", " : "",
                                     (long long)files, extension[0] != 0 ? extension : "without an extension");
        else if (i == 8)
            snprintf(text + used, LEFT_OUT_TEXT - used, ", ...");
    }
    return all;
}
