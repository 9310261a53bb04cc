/* SPDX-License-Identifier: MIT
 *
 * run_dir: see run_dir.h. The newest checkpoint is found by reading the folder, because a link or a file that names
 * it could be out of date after a crash. */
#include "run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_retry.h"

moco_status run_dir_make(const char *folder, struct err *err)
{
    char path[RUN_PATH_SIZE];
    size_t length = strlen(folder);
    if (length == 0 || length + 64 > sizeof path)
        return err_set(err, MOCO_EINVAL, "the run folder's path must have 1 to %d bytes", RUN_PATH_SIZE - 64);
    memcpy(path, folder, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        char held = path[i];
        path[i] = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return err_set(err, MOCO_EIO, "the run folder %.300s cannot be made: %s; choose another with --out", path,
                           file_reason(errno, (char[FILE_REASON]){0}));
        path[i] = held;
    }
    struct stat stat_of;
    if (stat(folder, &stat_of) != 0 || !S_ISDIR(stat_of.st_mode))
        return err_set(err, MOCO_EIO, "%.300s is not a folder; choose another with --out", folder);
    return MOCO_OK;
}

moco_status run_dir_has(const char *folder, const char *name, int *there, struct err *err)
{
    char path[RUN_PATH_SIZE];
    struct stat stat_of;
    run_dir_path(folder, name, path);
    *there = stat(path, &stat_of) == 0;
    if (!*there && errno != ENOENT)
        return err_set(err, MOCO_EIO, "%.300s cannot be looked at: %s; try again when it can be", path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

int run_dir_same(const char *a, const char *b)
{
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

void run_dir_path(const char *folder, const char *name, char path[RUN_PATH_SIZE])
{
    snprintf(path, RUN_PATH_SIZE, "%s/%s", folder, name);
}

void run_dir_checkpoint_path(const char *folder, int64_t number, char path[RUN_PATH_SIZE])
{
    snprintf(path, RUN_PATH_SIZE, "%s/checkpoint_%04lld.safetensors", folder, (long long)number);
}

/* -1: not the name of a checkpoint. */
static int64_t number_of(const char *name)
{
    if (strncmp(name, "checkpoint_", 11) != 0)
        return -1;
    size_t digits = strspn(name + 11, "0123456789");
    if (digits < 4 || digits > 9 || strcmp(name + 11 + digits, ".safetensors") != 0)
        return -1;
    return strtoll(name + 11, NULL, 10);
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static moco_status add_number(int64_t **numbers, int *count, int64_t number, struct err *err)
{
    if (number < 0)
        return MOCO_OK;
    int64_t *grown = realloc(*numbers, (size_t)(*count + 1) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    *numbers = grown;
    grown[(*count)++] = number;
    return MOCO_OK;
}

static moco_status cannot_list(const char *folder, struct err *err)
{
    return err_set(err, MOCO_EIO,
                   "the run folder %.300s cannot be listed: %s; try again when it can be, or choose another with --out",
                   folder, file_reason(errno, (char[FILE_REASON]){0}));
}

moco_status run_dir_checkpoints(const char *folder, int64_t **numbers, int *count, struct err *err)
{
    *numbers = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return cannot_list(folder, err);
    moco_status status = MOCO_OK;
    const struct dirent *entry;
    while (status == MOCO_OK && (errno = 0, entry = readdir(dir)) != NULL)
        status = add_number(numbers, count, number_of(entry->d_name), err);
    if (status == MOCO_OK && errno != 0) /* less than all would pass for a folder without its newest checkpoint */
        status = cannot_list(folder, err);
    closedir(dir);
    if (*count > 0)
        qsort(*numbers, (size_t)*count, sizeof **numbers, newest_first);
    return status;
}

moco_status run_dir_count(const char *folder, int *count, struct err *err)
{
    int64_t *numbers;
    moco_status status = run_dir_checkpoints(folder, &numbers, count, err);
    free(numbers);
    return status;
}

moco_status run_dir_unused(const char *folder, int log_counts, struct err *err)
{
    int count, log, encoder;
    TRY(run_dir_count(folder, &count, err));
    TRY(run_dir_has(folder, "metrics.jsonl", &log, err));
    TRY(run_dir_has(folder, "encoder.safetensors", &encoder, err));
    if (count == 0 && encoder)
        return err_set(err, MOCO_ESTATE,
                       "%.300s holds the encoder of a run, and no checkpoint to go on from; choose another folder with "
                       "--out, or move what is in it away",
                       folder);
    if (count > 0 || (log_counts && log))
        return err_set(
            err, MOCO_ESTATE,
            "%.300s holds a run already: go on with it by --resume auto, or choose another folder with --out", folder);
    return MOCO_OK;
}

/* A file that is not there is removed. */
static moco_status remove_file(const char *path, struct err *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(err, MOCO_EIO, "%.300s cannot be removed: %s", path, file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

moco_status run_dir_remove_checkpoint(const char *folder, int64_t number, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_checkpoint_path(folder, number, path);
    return remove_file(path, err);
}

static moco_status remove_checkpoints(const char *folder, struct err *err)
{
    int64_t *numbers;
    int count;
    moco_status status = run_dir_checkpoints(folder, &numbers, &count, err);
    for (int i = 0; status == MOCO_OK && i < count; i++)
        status = run_dir_remove_checkpoint(folder, numbers[i], err);
    free(numbers);
    return status;
}

moco_status run_dir_forget(const char *folder, struct err *err)
{
    static const char *const names[] = {"metrics.jsonl", "encoder.safetensors"};
    char path[RUN_PATH_SIZE];
    TRY(remove_checkpoints(folder, err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        run_dir_path(folder, names[i], path);
        TRY(remove_file(path, err));
    }
    return MOCO_OK;
}
