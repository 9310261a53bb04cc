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
#include "from_moco.h"

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

/* Fills `path` with the CIFAR-10 training files of `folder`, in order of their names; the number of them. */
static int batch_files(const char *folder, char path[][PATH_BYTES])
{
    DIR *dir = opendir(folder);
    int count = 0;
    for (struct dirent *entry; dir != NULL && count < BATCH_FILES_MAX && (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > 15 && strncmp(entry->d_name, "data_batch_", 11) == 0 &&
            strcmp(entry->d_name + length - 4, ".bin") == 0)
            snprintf(path[count++], PATH_BYTES, "%s/%s", folder, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    qsort(path, (size_t)count, sizeof path[0], by_name);
    return count;
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
    snprintf(d->kind, sizeof d->kind, "%d CIFAR-10 files", count);
    return MOCO_OK;
}

/* Both sets must give one class one number. */
static void compare_classes(struct open_data *d)
{
    int32_t classes = moco_dataset_classes(d->train);
    if (classes == 0) {
        snprintf(d->lack, sizeof d->lack, "the training images have no labels (no class folders)");
        return;
    }
    if (classes == 1) {
        snprintf(d->lack, sizeof d->lack,
                 "the training images are all of one class, so there is nothing to tell apart");
        return;
    }
    if (moco_dataset_classes(d->held_out) == 0) {
        snprintf(d->lack, sizeof d->lack, "the held-out images have no labels (no class folders)");
        return;
    }
    int same = moco_dataset_classes(d->held_out) == classes;
    for (int32_t i = 0; same && i < classes; i++)
        same = strcmp(moco_dataset_class_name(d->train, i), moco_dataset_class_name(d->held_out, i)) == 0;
    if (!same && moco_dataset_classes(d->held_out) != classes)
        snprintf(d->lack, sizeof d->lack, "the held-out images have %d class folders, the training images %d",
                 (int)moco_dataset_classes(d->held_out), (int)classes);
    else if (!same)
        snprintf(d->lack, sizeof d->lack, "the held-out images have other class folders than the training images");
}

static moco_status open_folders(struct open_data *d, moco_context *context, const char *folder, struct err *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/train", folder);
    if (!is_folder(path)) {
        TRY(from_moco(moco_dataset_open_folder(&d->train, context, folder), err));
        snprintf(d->kind, sizeof d->kind, "%s", moco_dataset_classes(d->train) > 0 ? "class folders" : "a flat folder");
        snprintf(d->lack, sizeof d->lack, "nothing is held out (no train/ beside val/ or test/)");
        return MOCO_OK;
    }
    TRY(from_moco(moco_dataset_open_folder(&d->train, context, path), err));
    static const char *const names[] = {"val", "test"};
    for (int i = 0; i < 2 && d->held_out == NULL; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (!is_folder(path))
            continue;
        TRY(from_moco(moco_dataset_open_folder(&d->held_out, context, path), err));
        snprintf(d->kind, sizeof d->kind, "train/ and %s/", names[i]);
        compare_classes(d);
        return MOCO_OK;
    }
    snprintf(d->kind, sizeof d->kind, "train/");
    snprintf(d->lack, sizeof d->lack, "there is no val/ or test/ beside train/");
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

moco_status open_data(struct open_data *d, moco_context *context, const char *folder, struct err *err)
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
    int count = batch_files(folder, path);
    moco_status status =
        count > 0 ? open_cifar(d, context, folder, path, count, err) : open_folders(d, context, folder, err);
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
