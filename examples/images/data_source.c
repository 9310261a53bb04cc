/* SPDX-License-Identifier: MIT
 *
 * data_source: see data_source.h. The name of a file decides its kind, and for archives its content does: a list may
 * have any name. */
#include "data_source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "data_layout.h"
#include "file/file_retry.h"
#include "support/from_moco.h"

/* ---- files of a folder ---- */

static int ends_with(const char *name, const char *ending)
{
    size_t length = strlen(name), wanted = strlen(ending);
    return length > wanted && strcasecmp(name + length - wanted, ending) == 0;
}

int data_files_is_batch(const char *name)
{
    return strncmp(name, "data_batch_", 11) == 0 && strlen(name) > 15 && strcmp(name + strlen(name) - 4, ".bin") == 0;
}

int data_files_is_shard(const char *name)
{
    return name[0] != '.' && ends_with(name, ".tar");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static moco_status add_file(struct data_files *files, const char *folder, const char *name, struct err *err)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char **grown = realloc(files->path, ((size_t)files->count + 1) * sizeof *grown), *path = malloc(size);
    if (grown != NULL)
        files->path = grown;
    if (grown == NULL || path == NULL) {
        free(path);
        return err_set(err, MOCO_ENOMEM, "out of memory");
    }
    snprintf(path, size, "%s/%s", folder, name);
    files->path[files->count++] = path;
    return MOCO_OK;
}

moco_status data_files_find(struct data_files *files, const char *folder, int (*wanted)(const char *name),
                            struct err *err)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry = NULL;
    moco_status status = MOCO_OK;
    *files = (struct data_files){0};
    while (dir != NULL && status == MOCO_OK && (errno = 0, entry = readdir(dir)) != NULL)
        if (wanted(entry->d_name))
            status = add_file(files, folder, entry->d_name, err);
    int reason = entry == NULL ? errno : 0; /* of opendir, or of readdir that came to no end */
    if (dir != NULL)
        closedir(dir);
    else if (reason == EACCES) /* train/ in it may be readable all the same */
        return MOCO_OK;
    if (status == MOCO_OK && reason != 0)
        status = err_set(err, MOCO_EIO, "%.300s cannot be listed: %s; try again when it can be", folder,
                         file_reason(reason, (char[FILE_REASON]){0}));
    if (status != MOCO_OK)
        data_files_free(files);
    else if (files->count > 1)
        qsort(files->path, (size_t)files->count, sizeof *files->path, by_name);
    return status;
}

void data_files_free(struct data_files *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->path[i]);
    free(files->path);
    *files = (struct data_files){0};
}

/* ---- one set ---- */

static int leave_out(void *user, const char *path)
{
    return data_layout_is_run(path, user);
}

static moco_status open_images(moco_dataset **set, moco_context *context, const char *folder, const char *out,
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

static moco_status open_folder(moco_dataset **set, moco_context *context, const char *folder, const char *out,
                               struct err *err)
{
    struct data_files batches = {0}, shards = {0};
    moco_status status = data_files_find(&batches, folder, data_files_is_batch, err);
    if (status == MOCO_OK)
        status = data_files_find(&shards, folder, data_files_is_shard, err);
    if (status == MOCO_OK && batches.count > 0)
        status =
            from_moco(moco_dataset_open_cifar10(set, context, (const char *const *)batches.path, batches.count), err);
    else if (status == MOCO_OK && shards.count > 0 && !data_layout_holds_images(folder) &&
             !data_layout_has_folders(folder))
        status = from_moco(moco_dataset_open_tar(set, context, (const char *const *)shards.path, shards.count), err);
    else if (status == MOCO_OK)
        status = open_images(set, context, folder, out, err);
    data_files_free(&batches);
    data_files_free(&shards);
    return status;
}

/* The first bytes of a file: how many there are. */
static size_t read_start(const char *path, char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t got = file != NULL ? fread(bytes, 1, size, file) : 0;
    if (file != NULL)
        fclose(file);
    return got;
}

/* What moco_dataset_save_index has written. */
static int is_index(const char *path)
{
    char start[7];
    return read_start(path, start, sizeof start) == sizeof start && memcmp(start, "mocoidx", sizeof start) == 0;
}

/* An archive, packed or not, by its name or its first header. */
static int is_archive(const char *path)
{
    static const char *const names[] = {".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip"};
    char header[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (ends_with(path, names[i]))
            return 1;
    return read_start(path, header, sizeof header) == sizeof header && memcmp(header + 257, "ustar", 5) == 0;
}

static moco_status open_file(moco_dataset **set, moco_context *context, const char *path, struct err *err)
{
    if (data_layout_is_image(path))
        return err_set(err, MOCO_EINVAL, "%.300s is one image; name the folder that holds it, or a list of images",
                       path);
    if (ends_with(path, ".bin"))
        return from_moco(moco_dataset_open_cifar10(set, context, &path, 1), err);
    if (is_index(path))
        return from_moco(moco_dataset_open_index(set, context, path), err);
    if (is_archive(path))
        return from_moco(moco_dataset_open_tar(set, context, &path, 1), err);
    return from_moco(moco_dataset_open_list(set, context, path), err);
}

moco_status data_source_open(moco_dataset **set, moco_context *context, const char *path, const char *out,
                             struct err *err)
{
    struct stat stat_of;
    *set = NULL;
    if (stat(path, &stat_of) != 0)
        return err_set(err, MOCO_EIO,
                       "%.300s cannot be opened: %s; name a folder of images, tar shards, a list of images or "
                       "CIFAR-10's files",
                       path, file_reason(errno, (char[FILE_REASON]){0}));
    if (S_ISDIR(stat_of.st_mode))
        return open_folder(set, context, path, out, err);
    if (!S_ISREG(stat_of.st_mode))
        return err_set(err, MOCO_EINVAL, "%.300s is neither a folder nor a file", path);
    return open_file(set, context, path, err);
}

/* ---- several ---- */

int data_source_split(const char *paths, char *path[DATA_SOURCES_MAX], struct err *err)
{
    struct stat stat_of;
    int count = 0, whole = stat(paths, &stat_of) == 0;
    for (const char *at = paths; at != NULL;) {
        size_t length = whole ? strlen(at) : strcspn(at, ":");
        if (count == DATA_SOURCES_MAX || (path[count] = malloc(length + 1)) == NULL) {
            err_set(err, count == DATA_SOURCES_MAX ? MOCO_EINVAL : MOCO_ENOMEM,
                    count == DATA_SOURCES_MAX ? "more than %d folders or files of images" : "out of memory",
                    DATA_SOURCES_MAX);
            while (count > 0)
                free(path[--count]);
            return 0;
        }
        memcpy(path[count], at, length);
        path[count++][length] = 0;
        at = at[length] != 0 ? at + length + 1 : NULL;
    }
    return count;
}

moco_status data_source_join(moco_dataset **set, moco_dataset *more, struct err *err)
{
    moco_dataset *first = *set, *both = NULL;
    if (first == NULL || more == NULL) {
        *set = first != NULL ? first : more;
        return MOCO_OK;
    }
    moco_status status = from_moco(moco_dataset_join(&both, first, more), err);
    moco_dataset_free(more);
    if (status != MOCO_OK)
        return status;
    moco_dataset_free(first);
    *set = both;
    return MOCO_OK;
}

moco_status data_source_open_all(moco_dataset **set, moco_context *context, const char *paths, const char *out,
                                 struct err *err)
{
    char *path[DATA_SOURCES_MAX];
    moco_status status = MOCO_OK;
    *set = NULL;
    int count = data_source_split(paths, path, err);
    if (count == 0)
        return err->status;
    for (int i = 0; i < count; i++) {
        moco_dataset *one = NULL;
        if (status == MOCO_OK)
            status = data_source_open(&one, context, path[i], out, err);
        if (status == MOCO_OK)
            status = data_source_join(set, one, err);
        free(path[i]);
    }
    if (status != MOCO_OK) {
        moco_dataset_free(*set);
        *set = NULL;
    }
    return status;
}
