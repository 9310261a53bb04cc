/* SPDX-License-Identifier: MIT
 *
 * dataset_folder: image files below a folder. Each sub-folder with images is a class; its images may be anywhere
 * below it. Without images in sub-folders, the folder itself is searched, and there are no labels. The order is that
 * of torchvision's ImageFolder, with names compared as bytes: class by class, folder by folder (sorted by path),
 * name by name. Names are kept in one block, relative to their class: four bytes and the length of the name for each
 * image. */
#define _DEFAULT_SOURCE /* d_type */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset.h"
#include "file/file_retry.h"
#include "names.h"

#define PATH_BYTES 4096
#define DEPTH_MAX 64

struct folder {
    struct dataset base;
    char *root;
    struct names images, classes;
    int64_t *first; /* of each class the first image; [classes] is the end */
};

/* ---- order ---- */

/* Folder before name, so that a folder's own files come before those of its sub-folders. */
static int compare(const char *a, const char *b)
{
    const char *a_slash = strrchr(a, '/'), *b_slash = strrchr(b, '/');
    size_t a_length = a_slash != NULL ? (size_t)(a_slash - a) : 0,
           b_length = b_slash != NULL ? (size_t)(b_slash - b) : 0;
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    if (order == 0 && a_length != b_length)
        order = a_length < b_length ? -1 : 1;
    return order != 0 ? order : strcmp(a + a_length, b + b_length);
}

/* Merge sort of at[first..count). qsort has no argument for the address of the text. */
static moco_status names_sort(struct ctx *ctx, struct names *n, int64_t first, struct err *err)
{
    int64_t count = n->count - first;
    if (count < 2)
        return MOCO_OK;
    uint32_t *block = mem_alloc(ctx, (size_t)count * sizeof *block, err);
    if (block == NULL)
        return MOCO_ENOMEM;
    uint32_t *from = n->at + first, *to = block;
    for (int64_t run = 1; run < count; run *= 2) {
        for (int64_t low = 0; low < count; low += 2 * run) {
            int64_t middle = low + run < count ? low + run : count,
                    high = low + 2 * run < count ? low + 2 * run : count;
            for (int64_t i = low, j = middle, k = low; k < high; k++)
                to[k] = j == high || (i < middle && compare(n->text + from[i], n->text + from[j]) <= 0) ? from[i++]
                                                                                                        : from[j++];
        }
        uint32_t *held = from;
        from = to;
        to = held;
    }
    if (from == block)
        memcpy(n->at + first, block, (size_t)count * sizeof *block);
    mem_free(ctx, block);
    return MOCO_OK;
}

/* ---- walking ---- */

struct walk {
    struct ctx *ctx;
    struct err *err;
    char path[PATH_BYTES]; /* of the folder being read; entries are appended and taken off again */
    size_t length;
    size_t relative; /* where the part relative to the class starts */
    struct names *images;
    struct names *folders;                          /* wanted at the top; NULL: go down into them */
    struct dataset *ds;                             /* where files with other names are counted */
    int (*leave_out)(void *user, const char *path); /* NULL: nothing is */
    void *user;
    dev_t device[DEPTH_MAX]; /* of the folders above, against links in a circle */
    ino_t number[DEPTH_MAX];
    int depth;
};

/* Follows links. What cannot be examined is a file if it is named like a picture, which then cannot be read, or if it
 * is a link to nowhere; else it may be a folder of pictures, which nobody would miss. */
static moco_status is_folder(const struct walk *w, DIR *dir, const struct dirent *entry, int *folder)
{
    *folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_DIR || entry->d_type == DT_REG)
        return MOCO_OK;
    struct stat stat;
    if (fstatat(dirfd(dir), entry->d_name, &stat, 0) == 0) {
        *folder = S_ISDIR(stat.st_mode);
        return MOCO_OK;
    }
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || dataset_is_picture(entry->d_name))
        return MOCO_OK;
    return err_set(w->err, errno == ENOMEM ? MOCO_ENOMEM : MOCO_EIO, "%s/%s cannot be examined: %s", w->path,
                   entry->d_name, file_reason(errno, (char[FILE_REASON]){0}));
}

static moco_status append(struct walk *w, const char *name)
{
    size_t length = strlen(name);
    if (w->length + 1 + length >= sizeof w->path)
        return err_set(w->err, MOCO_ENOTSUP, "a path below %.200s is longer than %d bytes", w->path, PATH_BYTES - 1);
    w->path[w->length] = '/';
    memcpy(w->path + w->length + 1, name, length + 1);
    w->length += length + 1;
    return MOCO_OK;
}

static void cut(struct walk *w, size_t length)
{
    w->length = length;
    w->path[length] = 0;
}

static moco_status walk_folder(struct walk *w);

/* Walks the sub-folder whose path is in w->path. */
static moco_status walk_sub_folder(struct walk *w, const char *name)
{
    if (w->leave_out != NULL && w->leave_out(w->user, w->path) != 0)
        return MOCO_OK;
    return w->folders != NULL ? names_add(w->ctx, w->folders, name, w->err) : walk_folder(w);
}

static moco_status walk_entry(struct walk *w, DIR *dir, const struct dirent *entry)
{
    size_t length = w->length;
    moco_status status = MOCO_OK;
    int folder;
    TRY(is_folder(w, dir, entry, &folder));
    if (folder) {
        TRY(append(w, entry->d_name));
        status = walk_sub_folder(w, entry->d_name);
        cut(w, length);
    } else if (!dataset_is_picture(entry->d_name)) {
        return dataset_leave_out(w->ds, entry->d_name, 1, w->err);
    } else {
        TRY(append(w, entry->d_name));
        status = names_add(w->ctx, w->images, w->path + w->relative, w->err);
        cut(w, length);
    }
    return status;
}

static moco_status read_entries(struct walk *w, DIR *dir)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            return errno == 0 ? MOCO_OK : file_error(w->err, errno, w->path, "the folder cannot be read");
        if (entry->d_name[0] != '.')
            TRY(walk_entry(w, dir, entry));
    }
}

/* Reads a folder and, through read_entries, those below it. It compares device and inode with the folders above, so
 * that a link back to one of them does not recurse for ever. */
static moco_status walk_folder(struct walk *w)
{
    if (w->depth == DEPTH_MAX)
        return err_set(w->err, MOCO_ENOTSUP, "%.300s lies more than %d folders deep", w->path, DEPTH_MAX);
    DIR *dir;
    int tries = 0;
    do {
        dir = opendir(w->path);
    } while (dir == NULL && file_again(&tries));
    if (dir == NULL)
        return file_error(w->err, errno, w->path, "the folder cannot be opened");
    struct stat stat;
    moco_status status = MOCO_OK;
    int circle = 0;
    if (fstat(dirfd(dir), &stat) != 0)
        status = file_error(w->err, errno, w->path, "the folder cannot be examined");
    for (int i = 0; i < w->depth && status == MOCO_OK; i++)
        circle = circle || (w->device[i] == stat.st_dev && w->number[i] == stat.st_ino);
    if (circle) {
        ctx_log(w->ctx, LOG_WARN, "%s is a link back to a folder above it and is left out", w->path);
    } else if (status == MOCO_OK) {
        w->device[w->depth] = stat.st_dev;
        w->number[w->depth++] = stat.st_ino;
        status = read_entries(w, dir);
        w->depth--;
    }
    closedir(dir);
    return status;
}

/* ---- the data set ---- */

static moco_status full_path(const struct folder *f, int64_t id, char *text, size_t size)
{
    int length;
    if (f->base.classes == 0) {
        length = snprintf(text, size, "%s/%s", f->root, names_at(&f->images, id));
    } else {
        int32_t class = f->base.ops->label(&f->base, id);
        length = snprintf(text, size, "%s/%s/%s", f->root, names_at(&f->classes, class), names_at(&f->images, id));
    }
    return length >= 0 && (size_t)length < size ? MOCO_OK : MOCO_ESHAPE;
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    return full_path((const struct folder *)ds, id, text, size);
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    char text[PATH_BYTES];
    if (full_path((const struct folder *)ds, id, text, sizeof text) != MOCO_OK)
        return err_set(err, MOCO_EFORMAT, "its path is longer than %d bytes", PATH_BYTES - 1);
    return decode_file(decoder, text, image, err);
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct folder *f = (const struct folder *)ds;
    int32_t low = 0, high = ds->classes;
    if (high == 0)
        return -1;
    while (high - low > 1) { /* the last class that starts at or before id */
        int32_t middle = low + (high - low) / 2;
        if (f->first[middle] <= id)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static const char *class_name(const struct dataset *ds, int32_t which)
{
    return names_at(&((const struct folder *)ds)->classes, which);
}

static void destroy(struct dataset *ds)
{
    struct folder *f = (struct folder *)ds;
    names_free(ds->ctx, &f->images);
    names_free(ds->ctx, &f->classes);
    mem_free(ds->ctx, f->first);
    mem_free(ds->ctx, f->root);
    mem_free(ds->ctx, f);
}

static const struct dataset_ops folder_ops = {read_image, label, path, class_name, destroy};

/* A folder without images is no class: `*kept` classes before it have some. */
static moco_status read_class(struct folder *f, struct walk *w, int64_t class, int32_t *kept)
{
    size_t length = w->length;
    const char *name = names_at(&f->classes, class);
    int64_t first = f->images.count;
    TRY(append(w, name));
    w->relative = w->length + 1;
    TRY(walk_folder(w));
    cut(w, length);
    if (f->images.count == first) {
        ctx_log(w->ctx, LOG_WARN, "the folder %s/%s holds no image and is no class", f->root, name);
        return MOCO_OK;
    }
    f->classes.at[*kept] = f->classes.at[class];
    f->first[(*kept)++] = first;
    return names_sort(w->ctx, &f->images, first, w->err);
}

/* Images beside class folders. */
static moco_status leave_out_flat(struct folder *f, struct walk *w, const struct names *flat)
{
    for (int64_t i = 0; i < flat->count; i++)
        TRY(dataset_leave_out(&f->base, names_at(flat, i), 1, w->err));
    if (flat->count > 0)
        ctx_log(w->ctx, LOG_WARN, "%s has class folders; the %lld images beside them are left out", f->root,
                (long long)flat->count);
    return MOCO_OK;
}

/* First as class folders, then, if no image was found, as a flat folder. */
static moco_status read_folder(struct folder *f, struct walk *w)
{
    struct ctx *ctx = w->ctx;
    struct names flat = {0};
    int32_t classes = 0;
    w->relative = w->length + 1;
    w->folders = &f->classes;
    w->images = &flat;
    moco_status status = walk_folder(w);
    w->folders = NULL;
    w->images = &f->images;
    w->depth = 1; /* the folder itself, which a link further down must not lead to */
    if (status == MOCO_OK)
        status = names_sort(ctx, &f->classes, 0, w->err);
    if (status == MOCO_OK && f->classes.count >= INT32_MAX)
        status = err_set(w->err, MOCO_ENOTSUP, "%s has %lld sub-folders", f->root, (long long)f->classes.count);
    if (status == MOCO_OK &&
        (f->first = mem_array(ctx, (size_t)f->classes.count + 1, sizeof *f->first, w->err)) == NULL)
        status = MOCO_ENOMEM;
    for (int64_t class = 0; class < f->classes.count && status == MOCO_OK; class ++)
        status = read_class(f, w, class, &classes);
    if (status == MOCO_OK && f->images.count > 0) {
        f->base.classes = classes;
        f->first[classes] = f->images.count;
        status = leave_out_flat(f, w, &flat);
    } else if (status == MOCO_OK) {
        names_free(ctx, &f->images);
        f->images = flat;
        flat = (struct names){0};
        status = names_sort(ctx, &f->images, 0, w->err);
    }
    names_free(ctx, &flat);
    return status;
}

/* Reads the folder into the data set, and reports what was left out. A folder without images is an error whose
 * sentence lists what is there instead. */
static moco_status fill(struct folder *f, struct walk *w, const char *root)
{
    size_t length = strlen(root);
    while (length > 1 && root[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof w->path)
        return err_set(w->err, MOCO_EINVAL, "the path of the folder has %zu bytes; it must have 1 to %d", length,
                       PATH_BYTES - 1);
    memcpy(w->path, root, length);
    cut(w, length);
    if ((f->root = mem_strdup(w->ctx, w->path, w->err)) == NULL)
        return MOCO_ENOMEM;
    TRY(read_folder(f, w));
    f->base.count = f->images.count;
    dataset_left_out_sort(&f->base);
    char text[LEFT_OUT_TEXT];
    int64_t others = dataset_left_out_text(&f->base, text);
    if (f->base.count == 0)
        return err_set(
            w->err, MOCO_EINVAL,
            "no image (.jpg, .jpeg, .jpe, .jfif, .png or .webp) in %s or in the %lld folders in it; %lld files have "
            "other names%s%s",
            f->root, (long long)f->classes.count, (long long)others, others > 0 ? ": " : "", text);
    if (others > 0)
        ctx_log(w->ctx, LOG_INFO, "%s: %lld files are left out: %s", f->root, (long long)others, text);
    return names_trim(w->ctx, &f->images, w->err);
}

moco_status dataset_open_folder(struct dataset **out, struct ctx *ctx, const char *root,
                                int (*leave_out)(void *user, const char *path), void *user, struct err *err)
{
    *out = NULL;
    struct folder *f = mem_zalloc(ctx, sizeof *f, err);
    if (f == NULL)
        return MOCO_ENOMEM;
    f->base = (struct dataset){&folder_ops, ctx_ref(ctx), 0, 0, NULL, 0, 0};
    struct walk *w = mem_zalloc(ctx, sizeof *w, err);
    moco_status status = MOCO_ENOMEM;
    if (w != NULL) {
        w->ctx = ctx;
        w->err = err;
        w->ds = &f->base;
        w->leave_out = leave_out;
        w->user = user;
        status = fill(f, w, root);
        mem_free(ctx, w);
    }
    if (status != MOCO_OK) {
        dataset_free(&f->base);
        return status;
    }
    *out = &f->base;
    return MOCO_OK;
}
