/* SPDX-License-Identifier: MIT
 *
 * verify: see verify.h. */
#include "verify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file/file_retry.h"
#include "folder/run_dir.h"
#include "images/check_pictures.h"
#include "support/human.h"
#include "support/progress.h"
#include "support/unreadable.h"

#define FIRST_SECONDS 60

int64_t verify_limit(const struct run_config *c, int64_t count)
{
    return c->max_bad >= 0 ? c->max_bad : count / 1000 > 10 ? count / 1000 : 10;
}

static void show(int64_t looked, int64_t of)
{
    progress_show("reading pictures: %lld of %lld", (long long)looked, (long long)of);
}

static struct check_pictures check_of(const struct run_config *c, moco_dataset *set, int (*stop)(void))
{
    return (struct check_pictures){.set = set,
                                   .max_pixels = c->max_pixels,
                                   .workers = (int)c->workers,
                                   .stop = stop,
                                   .progress = progress_on_terminal(STDOUT_FILENO) ? show : NULL};
}

static void clear(const struct check_pictures *check)
{
    if (check->progress != NULL)
        printf("\r\033[K");
}

static moco_status write_lists(const char *path, const struct checked_pictures *train,
                               const struct checked_pictures *held_out, struct err *err)
{
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        checked_pictures_print(train, file, "", "\t");
        checked_pictures_print(held_out, file, "", "\t");
    }
    int failed = file == NULL || ferror(file);
    if (file != NULL)
        failed |= fclose(file) != 0;
    return failed ? err_set(err, MOCO_EIO, "%.300s cannot be written: %s", path,
                            file_reason(errno, (char[FILE_REASON]){0}))
                  : MOCO_OK;
}

static moco_status judge(const struct run_config *c, const struct checked_pictures *checked, const char *what,
                         const char *list, struct err *err)
{
    int64_t limit = verify_limit(c, checked->looked);
    if (checked->bad <= limit)
        return MOCO_OK;
    return err_set(err, MOCO_EINVAL,
                   "%lld of the %lld %s images are bad and --max-bad allows %lld; repair or remove those that %.300s "
                   "lists, raise --max-pixels for those that are too large, or raise --max-bad",
                   (long long)checked->bad, (long long)checked->looked, what, (long long)limit, list);
}

static moco_status read_all(const struct run_config *c, moco_dataset *set, const char *what, int (*stop)(void),
                            struct checked_pictures *checked, struct err *err)
{
    struct check_pictures check = check_of(c, set, stop);
    double begun = seconds_now();
    moco_status status = check_pictures(&check, checked, err);
    clear(&check);
    checked_pictures_print(checked, stdout, "bad: ", ": ");
    if (status == MOCO_OK)
        printf("read all %s %s images in %s: %s bad\n", human_count(checked->looked), what,
               human_seconds(seconds_now() - begun), human_count(checked->bad));
    fflush(stdout);
    return status;
}

moco_status verify_all(const struct run_config *c, const struct open_data *data, const char *folder, int (*stop)(void),
                       struct err *err)
{
    struct checked_pictures train = {0}, held_out = {0};
    char path[RUN_PATH_SIZE] = "the list above";
    if (folder != NULL)
        run_dir_path(folder, VERIFY_LIST, path);
    moco_status status = read_all(c, data->train, "training", stop, &train, err);
    if (status == MOCO_OK && data->held_out != NULL)
        status = read_all(c, data->held_out, "held-out", stop, &held_out, err);
    if (status == MOCO_OK && folder != NULL)
        status = write_lists(path, &train, &held_out, err);
    if (status == MOCO_OK)
        status = judge(c, &train, "training", path, err);
    if (status == MOCO_OK)
        status = judge(c, &held_out, "held-out", path, err);
    checked_pictures_free(&train);
    checked_pictures_free(&held_out);
    return status;
}

moco_status verify_first(const struct run_config *c, const struct open_data *data, int (*stop)(void),
                         void (*warn)(const char *sentence), struct err *err)
{
    struct check_pictures check = check_of(c, data->train, stop);
    struct checked_pictures checked;
    char found[700] = "";
    check.limit = VERIFY_FIRST;
    check.seconds = FIRST_SECONDS;
    moco_status status = check_pictures(&check, &checked, err);
    clear(&check);
    if (status == MOCO_OK && checked.bad > 0) {
        char path[320], reason[220];
        human_line(checked.list[0].path, path, sizeof path);
        human_line(checked.list[0].reason, reason, sizeof reason);
        snprintf(found, sizeof found,
                 "%lld of the %lld images that were looked at before the first step are bad; the first is %s: %s",
                 (long long)checked.bad, (long long)checked.looked, path, reason);
    }
    int64_t limit = verify_limit(c, moco_dataset_count(data->train));
    if (status == MOCO_OK && checked.bad > limit)
        status = err_set(err, MOCO_EINVAL, "%s; --verify lists them all: " UNREADABLE_REMEDY ", which allows %lld",
                         found, (long long)limit);
    else if (status == MOCO_OK && checked.bad > 0) {
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "; --verify lists them all");
        warn(found);
    }
    checked_pictures_free(&checked);
    return status;
}
