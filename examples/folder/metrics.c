/* SPDX-License-Identifier: MIT
 *
 * metrics: see metrics.h. Numbers are printed in the C locale (the programs never call setlocale). A number that is
 * not finite becomes null, because JSON cannot express it. */
#include "metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "file/file_retry.h"
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

/* ---- opening, at the step of a checkpoint ---- */

struct cutting {
    int64_t step, last; /* the checkpoint's, and the last one that was kept */
    int epoch_done;
};

/* 1: the line belongs to the steps that the checkpoint holds. A line without a step is kept: it may be of a later
 * version. */
static int keeps(void *user, const char *line)
{
    struct cutting *c = user;
    const char *found = strstr(line, "\"step\":");
    if (strncmp(line, "{\"type\":\"config\"", 16) == 0 || found == NULL)
        return 1;
    long long of_line = strtoll(found + 7, NULL, 10);
    if (of_line > c->step || (of_line == c->step && !c->epoch_done && strncmp(line, "{\"type\":\"epoch\"", 15) == 0))
        return 0;
    if (of_line > c->last)
        c->last = of_line;
    return 1;
}

/* Lines of a run that had a checkpoint: who takes a step of the second epoch has saved the first. */
static int is_early(void *user, const char *line)
{
    int *late = user;
    const char *found = strncmp(line, "{\"type\":\"step\"", 14) == 0 ? strstr(line, "\"epoch\":") : NULL;
    *late |= found != NULL && strtoll(found + 8, NULL, 10) > 1;
    return !*late;
}

static int keeps_nothing(void *user, const char *line)
{
    (void)user;
    (void)line;
    return 0;
}

moco_status metrics_open(struct metrics *m, const char *folder, int64_t step, int epoch_done, struct err *err)
{
    char path[RUN_PATH_SIZE];
    struct cutting cutting = {.step = step, .epoch_done = epoch_done};
    m->events = (struct event_file){.fd = -1};
    run_dir_path(folder, "metrics.jsonl", path);
    TRY(log_file_open(&m->file, path, err));
    moco_status status = step >= 0 ? log_file_cut(&m->file, keeps, &cutting, err) : MOCO_OK;
    m->last_step = cutting.last;
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
    log_file_close(&m->file);
}

moco_status metrics_empty(struct metrics *m, struct err *err)
{
    int64_t end;
    int late = 0;
    TRY(log_file_lines(m->file.fd, m->file.path, is_early, &late, &end, err));
    if (late)
        return err_set(err, MOCO_ESTATE,
                       "%.300s tells of a run of more than an epoch, whose checkpoints are gone; choose another folder "
                       "with --out, or move it away to start anew",
                       m->file.path);
    return log_file_cut(&m->file, keeps_nothing, NULL, err);
}

int metrics_begun(const struct metrics *m)
{
    return m->file.end > 0;
}

moco_status metrics_sync(struct metrics *m, struct err *err)
{
    TRY(log_file_sync(&m->file, err));
    return event_file_sync(&m->events, err);
}

void metrics_watch(struct metrics *m, void (*warn)(const char *sentence))
{
    char sentence[512];
    if (m->gone || log_file_is_there(&m->file))
        return;
    m->gone = 1;
    snprintf(sentence, sizeof sentence,
             "%.300s was removed or replaced under this run: its lines are lost, and training goes on without it",
             m->file.path);
    warn(sentence);
}

/* ---- lines ---- */

moco_status metrics_config(struct metrics *m, const char *members, struct err *err)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "{\"type\":\"config\",%s}\n", members);
    return log_file_put(&m->file, line, err);
}

moco_status metrics_resume(struct metrics *m, int64_t epoch, int64_t step, const char *members, struct err *err)
{
    char line[LINE_MAX_BYTES];
    snprintf(line, sizeof line, "{\"type\":\"resume\",\"epoch\":%lld,\"step\":%lld,%s}\n", (long long)epoch,
             (long long)step, members);
    return log_file_put(&m->file, line, err);
}

#define NUMBERS_MAX 16

static moco_status put_numbers(struct metrics *m, char *line, int64_t step, const struct number *number, int count,
                               struct err *err)
{
    struct event_scalar scalar[NUMBERS_MAX];
    close_line(line, number, count);
    TRY(log_file_put(&m->file, line, err));
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
        {"loss_scale", "train/loss_scale", r->loss_scale, 9},
        {"skipped", "train/skipped", (double)r->skipped, 15},
    };
    int count = (int)(sizeof number / sizeof number[0]);
    if (r->loss_scale == 1 && r->skipped == 0) /* no precision that has a scale */
        count -= 2;
    snprintf(line, sizeof line, "{\"type\":\"step\",\"epoch\":%lld,\"step\":%lld", (long long)epoch,
             (long long)r->step);
    return put_numbers(m, line, r->step, number, count, err);
}

moco_status metrics_epoch(struct metrics *m, int64_t epoch, int64_t step, double mean_loss, double knn_top1,
                          const struct metrics_knn *knn, double seconds, struct err *err)
{
    char line[LINE_MAX_BYTES];
    const struct number number[] = {
        {"loss", "epoch/loss", mean_loss, 9},
        {"knn_top1", "epoch/knn_top1", knn_top1 < 0 ? NAN : knn_top1, 6},
        {"seconds", "epoch/seconds", seconds, 6},
    };
    int used = snprintf(line, sizeof line, "{\"type\":\"epoch\",\"epoch\":%lld,\"step\":%lld", (long long)epoch,
                        (long long)step);
    if (knn != NULL)
        snprintf(line + used, sizeof line - (size_t)used,
                 ",\"knn_bank\":%lld,\"knn_queries\":%lld,\"knn_unreadable\":%lld", (long long)knn->bank,
                 (long long)knn->queries, (long long)knn->unreadable);
    return put_numbers(m, line, step, number, (int)(sizeof number / sizeof number[0]), err);
}
