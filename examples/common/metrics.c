/* SPDX-License-Identifier: MIT
 *
 * metrics: see metrics.h. Numbers are printed in the C locale (the programs never call setlocale); what is not finite
 * is null, for JSON has no word for it. */
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_retry.h"
#include "json.h"
#include "run_dir.h"
#include "utf8.h"

#define LINE_MAX_BYTES 32768

void json_quote(const char *text, char *out, size_t size)
{
    size_t at = 0;
    out[at++] = '"';
    for (size_t length; *text != 0 && at + 8 < size; text += length > 0 ? length : 1) {
        unsigned char c = (unsigned char)*text;
        length = utf8_length(text, strlen(text));
        if (c == '"' || c == '\\')
            at += (size_t)snprintf(out + at, size - at, "\\%c", c);
        else if (c < 32)
            at += (size_t)snprintf(out + at, size - at, "\\u%04x", c);
        else if (length == 0) /* paths may be any bytes, JSON may not */
            at += (size_t)snprintf(out + at, size - at, "\\ufffd");
        else
            for (size_t i = 0; i < length; i++)
                out[at++] = text[i];
    }
    out[at++] = '"';
    out[at] = 0;
}

/* One number of a line; those of a step or an epoch go to TensorBoard too. */
struct number {
    const char *name, *tag;
    double value;
    int digits;
};

/* ,"name":value ... and the closing brace. */
static void close_line(char *line, const struct number *number, int count)
{
    size_t used = strlen(line);
    for (int i = 0; i < count; i++)
        if (isfinite(number[i].value))
            used += (size_t)snprintf(line + used, LINE_MAX_BYTES - used, ",\"%s\":%.*g", number[i].name,
                                     number[i].digits, number[i].value);
        else
            used += (size_t)snprintf(line + used, LINE_MAX_BYTES - used, ",\"%s\":null", number[i].name);
    snprintf(line + used, LINE_MAX_BYTES - used, "}\n");
}

static moco_status put(struct metrics *m, const char *line, struct err *err)
{
    size_t length = strlen(line);
    off_t end = lseek(m->fd, 0, SEEK_END);
    int tries = 0;
    for (size_t at = 0; at < length;) {
        ssize_t n = write(m->fd, line + at, length - at);
        if (n < 0 && file_again(&tries))
            continue;
        if (n < 0) {
            int reason = errno;
            if (ftruncate(m->fd, end) != 0) /* a torn line would spoil the file for its readers */
                reason = errno;
            return err_set(err, MOCO_EIO, "%.300s cannot be written: %s; make room, then go on with --resume auto",
                           m->path, file_reason(reason, (char[FILE_REASON]){0}));
        }
        tries = 0;
        at += (size_t)n;
    }
    return MOCO_OK;
}

/* ---- cutting back ---- */

/* 1: the line belongs to what the checkpoint holds. */
static int keeps(const char *line, int64_t step, int epoch_done)
{
    const char *found = strstr(line, "\"step\":");
    if (strncmp(line, "{\"type\":\"config\"", 16) == 0)
        return 1;
    if (found == NULL)
        return 0;
    long long of_line = strtoll(found + 7, NULL, 10);
    if (of_line == step && strncmp(line, "{\"type\":\"epoch\"", 15) == 0)
        return epoch_done;
    return of_line <= step;
}

static moco_status cut(struct metrics *m, int64_t step, int epoch_done, struct err *err)
{
    int copy = dup(m->fd); /* its fclose gives up the lock, as any close of the file does: the caller takes it again */
    FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
    if (file == NULL) {
        if (copy >= 0)
            close(copy);
        return err_set(err, MOCO_EIO, "%.300s cannot be read: %s", m->path, file_reason(errno, (char[FILE_REASON]){0}));
    }
    char *line = NULL;
    size_t room = 0;
    off_t good = 0;
    rewind(file);
    for (ssize_t n; (n = getline(&line, &room, file)) > 0; good += n)
        if (line[n - 1] != '\n' || !keeps(line, step, epoch_done))
            break;
    free(line);
    int failed = ferror(file);
    fclose(file);
    if (failed || ftruncate(m->fd, good) != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be cut back to step %lld: %s", m->path, (long long)step,
                       file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

/* Two runs in one folder would overwrite each other's checkpoints. */
static moco_status lock(struct metrics *m, struct err *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(m->fd, F_SETLK, &whole) != 0 && (errno == EACCES || errno == EAGAIN))
        return err_set(err, MOCO_ESTATE, "%.300s is in use by another run; choose another folder with --out", m->path);
    return MOCO_OK; /* a file system without locks is no reason to stop */
}

moco_status metrics_open(struct metrics *m, const char *folder, int64_t step, int epoch_done, struct err *err)
{
    m->events = (struct event_file){.fd = -1};
    run_dir_path(folder, "metrics.jsonl", m->path);
    m->fd = open(m->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (m->fd < 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be opened: %s", m->path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    moco_status status = lock(m, err);
    if (status == MOCO_OK && step >= 0) {
        status = cut(m, step, epoch_done, err);
        if (status == MOCO_OK)
            status = lock(m, err);
    }
    if (status != MOCO_OK)
        metrics_close(m);
    return status;
}

moco_status metrics_tensorboard(struct metrics *m, const char *folder, int64_t step, struct err *err)
{
    return event_file_open(&m->events, folder, step, err);
}

void metrics_close(struct metrics *m)
{
    event_file_close(&m->events);
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

moco_status metrics_empty(struct metrics *m, struct err *err)
{
    if (ftruncate(m->fd, 0) != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be emptied: %s", m->path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

int metrics_begun(const struct metrics *m)
{
    struct stat stat_of;
    return fstat(m->fd, &stat_of) == 0 && stat_of.st_size > 0;
}

/* ---- lines ---- */

moco_status metrics_config(struct metrics *m, const char *members, struct err *err)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "{\"type\":\"config\",%s}\n", members);
    return put(m, line, err);
}

moco_status metrics_resume(struct metrics *m, int64_t epoch, int64_t step, struct err *err)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "{\"type\":\"resume\",\"epoch\":%lld,\"step\":%lld}\n", (long long)epoch,
             (long long)step);
    return put(m, line, err);
}

#define NUMBERS_MAX 16

static moco_status put_numbers(struct metrics *m, char *line, int64_t step, const struct number *number, int count,
                               struct err *err)
{
    struct event_scalar scalar[NUMBERS_MAX];
    close_line(line, number, count);
    TRY(put(m, line, err));
    if (m->events.fd < 0)
        return MOCO_OK;
    for (int i = 0; i < count; i++)
        scalar[i] = (struct event_scalar){number[i].tag, number[i].value};
    return event_file_put(&m->events, step, scalar, count, err);
}

moco_status metrics_step(struct metrics *m, int64_t epoch, const moco_step_report *r, double img_per_s,
                         double data_wait, struct err *err)
{
    char line[LINE_MAX_BYTES];
    const struct number number[] = {
        {"loss", "train/loss", r->loss, 9},
        {"chance_loss", "train/chance_loss", r->chance_loss, 9},
        {"acc1", "train/acc1", r->acc1, 6},
        {"acc5", "train/acc5", r->acc5, 6},
        {"lr", "train/lr", r->lr, 9},
        {"pos_cosine", "train/pos_cosine", r->pos_cosine, 6},
        {"neg_cosine", "train/neg_cosine", r->neg_cosine, 6},
        {"feature_std", "train/feature_std", r->feature_std, 6},
        {"grad_norm", "train/grad_norm", r->grad_norm, 6},
        {"queue_fill", "train/queue_fill", r->queue_fill, 6},
        {"img_per_s", "speed/img_per_s", img_per_s, 6},
        {"data_wait", "speed/data_wait", data_wait, 4},
    };
    snprintf(line, sizeof line, "{\"type\":\"step\",\"epoch\":%lld,\"step\":%lld", (long long)epoch,
             (long long)r->step);
    return put_numbers(m, line, r->step, number, (int)(sizeof number / sizeof number[0]), err);
}

moco_status metrics_epoch(struct metrics *m, int64_t epoch, int64_t step, double mean_loss, double knn_top1,
                          double seconds, struct err *err)
{
    char line[LINE_MAX_BYTES];
    const struct number number[] = {
        {"loss", "epoch/loss", mean_loss, 9},
        {"knn_top1", "epoch/knn_top1", knn_top1 < 0 ? NAN : knn_top1, 6},
        {"seconds", "epoch/seconds", seconds, 6},
    };
    snprintf(line, sizeof line, "{\"type\":\"epoch\",\"epoch\":%lld,\"step\":%lld", (long long)epoch, (long long)step);
    return put_numbers(m, line, step, number, (int)(sizeof number / sizeof number[0]), err);
}
