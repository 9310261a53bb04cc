/* SPDX-License-Identifier: MIT
 *
 * open_data: see open_data.h. The fingerprint covers the names below the folder, not where the folder lies, so that a
 * run can be resumed after its images have moved. */
#include "open_data.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file_retry.h"
#include "support/from_moco.h"

#define PATH_BYTES 4096
#define BATCH_FILES_MAX 64

static int is_folder(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
}

static int is_file(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISREG(stat_of.st_mode);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Fills `path` with the CIFAR-10 training files of `folder`, in order of their names. */
static moco_status batch_files(const char *folder, char path[][PATH_BYTES], int *count, struct err *err)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry = NULL;
    *count = 0;
    while (dir != NULL && *count < BATCH_FILES_MAX && (errno = 0, entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length > 15 && strncmp(entry->d_name, "data_batch_", 11) == 0 &&
            strcmp(entry->d_name + length - 4, ".bin") == 0)
            snprintf(path[(*count)++], PATH_BYTES, "%s/%s", folder, entry->d_name);
    }
    int reason = entry == NULL ? errno : 0; /* of opendir, or of readdir that came to no end */
    if (dir != NULL)
        closedir(dir);
    else if (reason == EACCES) /* train/ in it may be readable all the same */
        return MOCO_OK;
    if (reason != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be listed: %s; try again when it can be", folder,
                       file_reason(reason, (char[FILE_REASON]){0}));
    qsort(path, (size_t)*count, sizeof path[0], by_name);
    return MOCO_OK;
}

static moco_status open_cifar(struct open_data *d, moco_context *context, const char *folder, char path[][PATH_BYTES],
                              int count, struct err *err)
{
    const char *paths[BATCH_FILES_MAX];
    for (int i = 0; i < count; i++)
        paths[i] = path[i];
    TRY(from_moco(moco_dataset_open_cifar10(&d->train, context, paths, count), err));
    char test[PATH_BYTES];
    snprintf(test, sizeof test, "%s/test_batch.bin", folder);
    paths[0] = test;
    if (is_file(test))
        TRY(from_moco(moco_dataset_open_cifar10(&d->held_out, context, paths, 1), err));
    else
        snprintf(d->lack, sizeof d->lack, "there is no test_batch.bin beside the training files");
    if (data_layout_holds_images(folder))
        data_note(&d->notes, "%.300s holds CIFAR-10's files, which are trained on; the images beside them are not used",
                  folder);
    snprintf(d->kind, sizeof d->kind, "%d CIFAR-10 files", count);
    return MOCO_OK;
}

/* The first class of `set` that has no namesake in `like`, and how many there are; NULL: none. */
static const char *first_lacking(const moco_dataset *set, const moco_dataset *like, int32_t *count)
{
    const char *first = NULL;
    *count = 0;
    for (int32_t i = 0; i < moco_dataset_classes(set); i++) {
        const char *name = moco_dataset_class_name(set, i);
        int found = 0;
        for (int32_t j = 0; !found && j < moco_dataset_classes(like); j++)
            found = strcmp(name, moco_dataset_class_name(like, j)) == 0;
        if (!found && (*count)++ == 0)
            first = name;
    }
    return first;
}

/* Labels of the held-out images are made those of the training images' classes of the same name. */
static moco_status match_classes(struct open_data *d, const char *held, struct err *err)
{
    int32_t classes = moco_dataset_classes(d->train), extra, missing;
    int same = moco_dataset_classes(d->held_out) == classes;
    for (int32_t i = 0; same && i < classes; i++)
        same = strcmp(moco_dataset_class_name(d->train, i), moco_dataset_class_name(d->held_out, i)) == 0;
    if (same)
        return MOCO_OK;
    const char *first_extra = first_lacking(d->held_out, d->train, &extra),
               *first_missing = first_lacking(d->train, d->held_out, &missing);
    if (extra == moco_dataset_classes(d->held_out)) {
        snprintf(d->lack, sizeof d->lack,
                 "no class folder of %s/ (%.60s) is named as one of train/ (%.60s); sort its images into folders named "
                 "as those",
                 held, first_extra, first_missing);
        return MOCO_OK;
    }
    moco_dataset *matched;
    int64_t before = moco_dataset_count(d->held_out);
    TRY(from_moco(moco_dataset_match_classes(&matched, d->held_out, d->train), err));
    if (extra > 0)
        data_note(&d->notes,
                  "%s/ has %d class folder%s that train/ has not (%.80s%s), whose %lld images are not measured", held,
                  (int)extra, extra > 1 ? "s" : "", first_extra, extra > 1 ? ", ..." : "",
                  (long long)(before - moco_dataset_count(matched)));
    if (missing > 0)
        data_note(&d->notes, "%s/ has none of the class folder%s %.80s%s of train/: nothing is measured on %s", held,
                  missing > 1 ? "s" : "", first_missing, missing > 1 ? ", ..." : "", missing > 1 ? "them" : "it");
    moco_dataset_free(d->held_out);
    d->held_out = matched;
    return MOCO_OK;
}

/* Both sets must give one class one number. */
static moco_status compare_classes(struct open_data *d, const char *held, struct err *err)
{
    int32_t classes = moco_dataset_classes(d->train);
    if (classes == 0)
        snprintf(d->lack, sizeof d->lack, "the training images have no labels (no class folders)");
    else if (classes == 1)
        snprintf(d->lack, sizeof d->lack,
                 "the training images are all of one class, so there is nothing to tell apart");
    else if (moco_dataset_classes(d->held_out) == 0)
        snprintf(d->lack, sizeof d->lack,
                 "the held-out images have no labels (no class folders); sort those of %s/ into folders named as "
                 "train/'s",
                 held);
    else
        return match_classes(d, held, err);
    return MOCO_OK;
}

static int leave_out(void *user, const char *path)
{
    return data_layout_is_run(path, user);
}

static moco_status open_one(moco_dataset **set, moco_context *context, const char *folder, const char *out,
                            struct err *err)
{
    char excuse[200];
    struct err reason = {0};
    moco_status status =
        from_moco(moco_dataset_open_folder_without(set, context, folder, leave_out, (void *)(uintptr_t)out), &reason);
    if (status == MOCO_OK)
        return MOCO_OK;
    data_layout_excuse(folder, excuse, sizeof excuse);
    return err_set(err, status, "%s%s", reason.text, status == MOCO_EINVAL ? excuse : "");
}

/* An extension of pictures that libmoco does not read. */
static int is_foreign_picture(const char *extension)
{
    static const char *const known[] = {".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic",  ".heif", ".avif",
                                        ".jxl",  ".jp2", ".j2k", ".ppm", ".pgm",  ".pnm",   ".dng",  ".cr2",
                                        ".nef",  ".raw", ".tga", ".svg", ".jpg_", ".jpeg_", NULL};
    for (int i = 0; known[i] != NULL; i++)
        if (strcmp(extension, known[i]) == 0)
            return 1;
    return 0;
}

/* 1: images lie beside class folders. */
static int has_images_beside(const moco_dataset *set)
{
    const char *extension;
    for (int i = 0; (extension = moco_dataset_left_out(set, i, NULL)) != NULL; i++)
        if (data_layout_is_image(extension))
            return 1;
    return 0;
}

/* What opening left out because of its name, and a note if pictures are among it. */
static void tell_left_out(struct open_data *d, const moco_dataset *set, const char *folder, char *text, size_t size)
{
    const char *extension;
    int64_t count, all = 0, pictures = 0;
    char list[200] = "", among[200] = "";
    for (int i = 0; (extension = moco_dataset_left_out(set, i, &count)) != NULL; i++) {
        char one[48];
        snprintf(one, sizeof one, "%lld %.20s", (long long)count, extension[0] != 0 ? extension : "without ending");
        all += count;
        if (strlen(list) + strlen(one) + 8 < sizeof list)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] != 0 ? ", " : "", one);
        else if (strcmp(list + strlen(list) - 3, "...") != 0)
            snprintf(list + strlen(list), sizeof list - strlen(list), ", ...");
        if (!is_foreign_picture(extension))
            continue;
        pictures += count;
        if (strlen(among) + strlen(one) + 8 < sizeof among)
            snprintf(among + strlen(among), sizeof among - strlen(among), "%s%s", among[0] != 0 ? ", " : "", one);
    }
    text[0] = 0;
    if (all > 0)
        snprintf(text, size, "%lld files: %s", (long long)all, list);
    if (pictures > 0)
        data_note(&d->notes,
                  "%lld pictures in %.150s are left out (%s), beside the %lld that are read; libmoco reads .jpg .jpeg "
                  ".jpe .jfif and .png: convert them",
                  (long long)pictures, folder, among, (long long)moco_dataset_count(set));
}

/* All images in one folder may be what was wanted, or its folders are the classes. */
static void note_one_class(struct open_data *d, const char *folder)
{
    char path[2 * PATH_BYTES];
    if (moco_dataset_classes(d->train) != 1)
        return;
    const char *name = moco_dataset_class_name(d->train, 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (data_layout_folders_with_images(path, 2) > 1)
        data_note(&d->notes, "all images lie in the one class folder %.300s; if its folders are the classes, name %s",
                  path, strcmp(name, "train") == 0 ? "the folder that holds it" : "it");
    else if (has_images_beside(d->train))
        data_note(&d->notes,
                  "the images beside the one folder %.300s are not trained on, only those in it; move them into it, or "
                  "it elsewhere",
                  path);
}

static moco_status open_folders(struct open_data *d, moco_context *context, const char *folder, const char *out,
                                struct err *err)
{
    struct data_layout layout;
    TRY(data_layout_find(&layout, folder, out, &d->notes, err));
    TRY(open_one(&d->train, context, layout.train, out, err));
    tell_left_out(d, d->train, layout.train, d->train_left_out, sizeof d->train_left_out);
    note_one_class(d, layout.train);
    if (layout.held_out[0] != 0) {
        TRY(open_one(&d->held_out, context, layout.held_out, out, err));
        tell_left_out(d, d->held_out, layout.held_out, d->held_left_out, sizeof d->held_left_out);
        snprintf(d->kind, sizeof d->kind, "train/ and %s/", layout.held_name);
        return compare_classes(d, layout.held_name, err);
    }
    if (strcmp(layout.train, folder) != 0) {
        snprintf(d->kind, sizeof d->kind, "train/");
        snprintf(d->lack, sizeof d->lack, "there is no val/ or test/ beside train/%s%s%s",
                 layout.other_name[0] != 0 ? " (rename " : "", layout.other_name,
                 layout.other_name[0] != 0 ? "/ to val/ to have it held out)" : "");
        return MOCO_OK;
    }
    snprintf(d->kind, sizeof d->kind, "%s", moco_dataset_classes(d->train) > 0 ? "class folders" : "a flat folder");
    snprintf(d->lack, sizeof d->lack, "nothing is held out (no train/ beside val/ or test/)");
    return MOCO_OK;
}

static void fingerprint(struct open_data *d, const char *folder)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    char path[PATH_BYTES];
    size_t root = strlen(folder);
    int64_t count = moco_dataset_count(d->train);
    for (int64_t id = 0; id < count; id++) {
        const char *name = path;
        if (moco_dataset_path(d->train, id, path, sizeof path) != MOCO_OK)
            path[0] = 0;
        if (strncmp(path, folder, root) == 0)
            name = path + root + strspn(path + root, "/");
        for (; *name != 0; name++)
            hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
        hash = (hash ^ (uint32_t)moco_dataset_label(d->train, id)) * UINT64_C(1099511628211);
    }
    snprintf(d->print, sizeof d->print, "%lld images, %d classes, %016" PRIx64, (long long)count,
             (int)moco_dataset_classes(d->train), hash);
}

static void hash_classes(struct open_data *d)
{
    struct hash h;
    hash_start(&h);
    for (int32_t label = 0; label < moco_dataset_classes(d->train); label++) {
        const char *name = moco_dataset_class_name(d->train, label);
        hash_add(&h, name, strlen(name) + 1);
    }
    hash_text(&h, d->classes);
}

moco_status open_data(struct open_data *d, moco_context *context, const char *folder, const char *out, struct err *err)
{
    memset(d, 0, sizeof *d);
    if (!is_folder(folder)) {
        struct stat stat_of;
        int missing = stat(folder, &stat_of) != 0;
        return err_set(err, MOCO_EIO,
                       "%.300s cannot be opened as a folder of images: %s; name a folder that holds them", folder,
                       missing ? file_reason(errno, (char[FILE_REASON]){0}) : "it is a file");
    }
    char(*path)[PATH_BYTES] = malloc((size_t)BATCH_FILES_MAX * sizeof *path);
    if (path == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    int count;
    moco_status status = batch_files(folder, path, &count, err);
    if (status == MOCO_OK)
        status =
            count > 0 ? open_cifar(d, context, folder, path, count, err) : open_folders(d, context, folder, out, err);
    free(path);
    if (status != MOCO_OK) {
        open_data_free(d);
        return status;
    }
    fingerprint(d, folder);
    hash_classes(d);
    return MOCO_OK;
}

void open_data_free(struct open_data *d)
{
    moco_dataset_free(d->train);
    moco_dataset_free(d->held_out);
    d->train = d->held_out = NULL;
}
