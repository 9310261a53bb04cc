/* SPDX-License-Identifier: MIT
 *
 * run_log: see run_log.h. */
#include "run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/json.h"
#include "file/file.h"
#include "file/file_retry.h"
#include "num.h"

#define PIECE (1 << 16)   /* bytes read at once */
#define LINE_LIMIT 65536  /* a longer line is no line of ours */
#define OPTIONS_LIMIT 200 /* so is a configuration with more members */
#define STEP_LIMIT (INT64_C(1) << 53)

const char *const run_metric_names[RUN_METRICS] = {
    "loss",       "chance_loss", "acc1",      "acc5",       "lr",        "pos_cosine",
    "neg_cosine", "feature_std", "grad_norm", "queue_fill", "img_per_s", "data_wait",
    "loss_scale", "skipped",     "loss",      "knn_top1",   "seconds",
};

enum kind { OTHER, CONFIG, STEP, EPOCH, RESUME };

/* A line as it is being read. */
struct line {
    enum kind kind;
    int64_t step, epoch, queries; /* -1: not said */
    double value[RUN_METRICS];
};

static void forget_options(struct run_log *log)
{
    for (int i = 0; i < log->options; i++) {
        free(log->option[i].name);
        free(log->option[i].value);
    }
    free(log->option);
    log->option = NULL;
    log->options = 0;
}

void run_log_free(struct run_log *log)
{
    if (log == NULL)
        return;
    forget_options(log);
    file_close(&log->file);
    ctx_unref(log->ctx);
    free(log);
}

moco_status run_log_open(struct run_log **out, const char *folder, struct err *err)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    struct run_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    log->file.fd = -1;
    log->untrained_knn = NAN;
    log->last_step = log->last_epoch = log->full_step = log->best_epoch = log->knn_queries = -1;
    for (int i = 0; i < RUN_METRICS; i++)
        series_init(&log->metric[i]);
    moco_status status;
    if (length == 0 || length >= sizeof log->folder)
        status = err_set(err, MOCO_EINVAL, "a run folder's path must have 1 to %zu bytes", sizeof log->folder - 1);
    else
        status = ctx_create(&log->ctx, &(struct ctx_options){.threads = 1}, err);
    if (status == MOCO_OK) {
        memcpy(log->folder, folder, length);
        snprintf(log->path, sizeof log->path, "%s/metrics.jsonl", log->folder);
        const char *slash = strrchr(log->folder, '/');
        snprintf(log->name, sizeof log->name, "%.255s", slash != NULL && slash[1] != 0 ? slash + 1 : log->folder);
        status = file_open(&log->file, log->ctx, log->path, err);
    }
    if (status != MOCO_OK) {
        run_log_free(log);
        return status;
    }
    *out = log;
    return MOCO_OK;
}

static void problem(struct run_log *log, const char *text)
{
    if (log->problems < RUN_PROBLEMS_KEPT) {
        struct run_problem *p = &log->problem[log->problems];
        p->line = log->line;
        snprintf(p->text, sizeof p->text, "%.199s", text);
    }
    log->problems++;
}

/* ---- one line ---- */

/* The bytes of a string or the text of a number; NULL: no memory, or a container. */
static char *text_of(const struct json_token *t)
{
    char *text = malloc(t->length + 1);
    if (text == NULL)
        return NULL;
    size_t length = t->length;
    if (t->kind == JSON_STRING || t->kind == JSON_KEY)
        length = json_decode(t, text);
    else
        memcpy(text, t->text, length);
    text[length] = 0;
    return text;
}

static moco_status add_option(struct run_log *log, const struct json_token *key, const struct json_token *value,
                              struct err *err)
{
    if (log->options == OPTIONS_LIMIT)
        return err_set(err, MOCO_EFORMAT, "the configuration has more than %d members", OPTIONS_LIMIT);
    struct run_option *grown = realloc(log->option, (size_t)(log->options + 1) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    log->option = grown;
    grown += log->options;
    grown->name = text_of(key);
    grown->value = text_of(value);
    if (grown->name == NULL || grown->value == NULL) {
        free(grown->name);
        free(grown->value);
        return err_set(err, MOCO_ENOMEM, "out of memory");
    }
    log->options++;
    return MOCO_OK;
}

static moco_status take_integer(const struct json_token *t, const char *name, int64_t *to, struct err *err)
{
    if (t->kind != JSON_INT || t->integer < 0 || t->integer > STEP_LIMIT)
        return err_set(err, MOCO_EFORMAT, "its \"%s\" is not a whole number from 0 on", name);
    *to = t->integer;
    return MOCO_OK;
}

static moco_status take_member(struct run_log *log, struct line *line, const struct json_token *key,
                               const struct json_token *value, struct err *err)
{
    if (line->kind == CONFIG && !json_equals(key, "type"))
        return add_option(log, key, value, err);
    if (line->kind == OTHER)
        return MOCO_OK; /* of a later version */
    if (json_equals(key, "step"))
        return take_integer(value, "step", &line->step, err);
    if (json_equals(key, "epoch"))
        return take_integer(value, "epoch", &line->epoch, err);
    if (line->kind == EPOCH && json_equals(key, "knn_queries") && value->kind != JSON_NULL)
        return take_integer(value, "knn_queries", &line->queries, err);
    int from = line->kind == STEP ? 0 : RUN_EPOCH_METRICS, to = line->kind == STEP ? RUN_EPOCH_METRICS : RUN_METRICS;
    for (int i = from; i < to; i++) {
        if (!json_equals(key, run_metric_names[i]))
            continue;
        if (value->kind == JSON_INT || value->kind == JSON_REAL)
            line->value[i] = value->real;
        else if (value->kind != JSON_NULL)
            return err_set(err, MOCO_EFORMAT, "its \"%s\" is not a number", run_metric_names[i]);
    }
    return MOCO_OK;
}

/* "type" is the first key of every line of ours. */
static moco_status parse(struct run_log *log, const char *text, size_t size, struct line *line, struct err *err)
{
    struct json json;
    struct json_token key, value;
    int first = 1;
    json_start(&json, text, size, 0);
    TRY(json_expect(&json, JSON_OBJECT, "a line", &value, err));
    for (;; first = 0) {
        TRY(json_next(&json, &key, err));
        if (key.kind == JSON_OBJECT_END)
            break;
        TRY(json_next(&json, &value, err));
        if (first && json_equals(&key, "type") && value.kind == JSON_STRING)
            line->kind = json_equals(&value, "config")   ? CONFIG
                         : json_equals(&value, "step")   ? STEP
                         : json_equals(&value, "epoch")  ? EPOCH
                         : json_equals(&value, "resume") ? RESUME
                                                         : OTHER;
        if (first && line->kind == CONFIG)
            forget_options(log);
        if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY)
            TRY(json_skip(&json, &value, err));
        else
            TRY(take_member(log, line, &key, &value, err));
    }
    return json_expect(&json, JSON_END, "the end of the line", &value, err);
}

static moco_status take_step(struct run_log *log, const struct line *line, struct err *err)
{
    if (line->step < 1)
        return err_set(err, MOCO_EFORMAT, "a step line without \"step\"");
    if (line->step <= log->last_step)
        return err_set(err, MOCO_EFORMAT, "step %lld comes after step %lld", (long long)line->step,
                       (long long)log->last_step);
    for (int i = 0; i < RUN_EPOCH_METRICS; i++)
        series_add(&log->metric[i], line->step - 1, (double)line->step, line->value[i]);
    if (log->full_step < 0 && line->value[RUN_FILL] >= 1)
        log->full_step = line->step;
    double took = run_log_number(log, "batch-size") / line->value[RUN_SPEED];
    if (isfinite(took) && took > 0) {
        log->epoch_seconds += took;
        log->seconds += took;
    }
    log->last_step = line->step;
    log->steps++;
    return MOCO_OK;
}

static moco_status take_epoch(struct run_log *log, const struct line *line, struct err *err)
{
    if (line->epoch < 0 || line->step < 0)
        return err_set(err, MOCO_EFORMAT, "an epoch line without \"epoch\" and \"step\"");
    if (line->epoch <= log->last_epoch)
        return err_set(err, MOCO_EFORMAT, "epoch %lld comes after epoch %lld", (long long)line->epoch,
                       (long long)log->last_epoch);
    for (int i = RUN_EPOCH_METRICS; i < RUN_METRICS; i++)
        series_add(&log->metric[i], line->epoch, (double)line->step, line->value[i]);
    if (isfinite(line->value[RUN_KNN]) && (log->best_epoch < 0 || line->value[RUN_KNN] > log->best_knn)) {
        log->best_epoch = line->epoch;
        log->best_knn = line->value[RUN_KNN];
    }
    if (isfinite(line->value[RUN_KNN]))
        log->knn_queries = line->queries;
    if (line->value[RUN_SECONDS] >= 0 && isfinite(line->value[RUN_SECONDS])) { /* more than its steps */
        double aside = fmax(line->value[RUN_SECONDS] - log->epoch_seconds, 0);
        log->seconds += aside;
        log->most_aside = fmax(log->most_aside, aside);
    }
    log->epoch_seconds = 0;
    if (line->epoch == 0)
        log->untrained_knn = line->value[RUN_KNN];
    log->last_epoch = line->epoch;
    log->epochs++;
    return MOCO_OK;
}

static moco_status take_line(struct run_log *log, const char *text, size_t size, int ended, struct err *err)
{
    struct line line = {.step = -1, .epoch = -1, .queries = -1};
    struct err why = {0};
    moco_status status = MOCO_OK;
    log->line++;
    for (int i = 0; i < RUN_METRICS; i++)
        line.value[i] = NAN;
    if (size > LINE_LIMIT)
        status = err_set(&why, MOCO_EFORMAT, "longer than %d bytes", LINE_LIMIT);
    else
        status = parse(log, text, size, &line, &why);
    if (status == MOCO_OK && line.kind == STEP)
        status = take_step(log, &line, &why);
    else if (status == MOCO_OK && line.kind == EPOCH)
        status = take_epoch(log, &line, &why);
    if (status == MOCO_OK && line.kind == RESUME) {
        log->resumes++;
        log->resumed_step = log->last_step > 0 ? log->last_step : 0;
        log->resumed_seconds = log->seconds;
        log->epoch_seconds = 0; /* the epoch's line will count from here */
    }
    if (status == MOCO_OK && log->each != NULL && (line.kind == STEP || line.kind == EPOCH))
        TRY(log->each(log->user, line.kind == EPOCH, line.epoch, line.step, line.value, err));
    if (status == MOCO_ENOMEM)
        return err_set(err, status, "%s", why.text);
    if (status != MOCO_OK) {
        if (!ended)
            snprintf(why.text, sizeof why.text, "the line has no end: it was cut");
        problem(log, why.text);
    }
    return MOCO_OK;
}

/* ---- the file ---- */

/* What has been read and is not a whole line yet. */
struct rest {
    char *text;
    size_t used;
    int64_t passed; /* bytes of a line too long to keep */
};

static moco_status take_piece(struct run_log *log, struct rest *rest, const char *piece, size_t size, struct err *err)
{
    while (size > 0) {
        const char *end = memchr(piece, '\n', size);
        size_t take = end != NULL ? (size_t)(end - piece) : size;
        size_t keep = rest->used + take <= LINE_LIMIT + 1 ? take : LINE_LIMIT + 1 - rest->used;
        memcpy(rest->text + rest->used, piece, keep);
        rest->used += keep;
        rest->passed += (int64_t)(take - keep);
        if (end == NULL)
            break;
        log->offset += (int64_t)rest->used + rest->passed + 1;
        TRY(take_line(log, rest->text, rest->used, 1, err));
        rest->used = 0;
        rest->passed = 0;
        piece += take + 1;
        size -= take + 1;
    }
    return MOCO_OK;
}

moco_status run_log_read(struct run_log *log, int whole, struct err *err)
{
    struct stat stat;
    if (fstat(log->file.fd, &stat) != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be read: %s", log->path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    char *piece = malloc(PIECE);
    struct rest rest = {.text = malloc(LINE_LIMIT + 2)};
    moco_status status = MOCO_OK;
    if (piece == NULL || rest.text == NULL)
        status = err_set(err, MOCO_ENOMEM, "out of memory");
    for (int64_t at = log->offset; status == MOCO_OK && at < stat.st_size;) {
        size_t size = stat.st_size - at < PIECE ? (size_t)(stat.st_size - at) : PIECE;
        status = file_read_at(&log->file, at, piece, size, err);
        if (status == MOCO_OK)
            status = take_piece(log, &rest, piece, size, err);
        at += (int64_t)size;
    }
    if (status == MOCO_OK && whole && rest.used > 0) {
        log->offset = stat.st_size;
        status = take_line(log, rest.text, rest.used, 0, err);
    }
    free(rest.text);
    free(piece);
    return status;
}

int run_log_busy(const struct run_log *log)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(log->file.fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

int64_t run_log_steps_asked(const struct run_log *log)
{
    double all = run_log_number(log, "steps"), per_epoch = run_log_number(log, "steps_per_epoch");
    if (!(all >= 1))
        all = per_epoch >= 1 ? per_epoch * run_log_number(log, "epochs") : NAN;
    return all >= 1 && all < 1e15 ? (int64_t)all : -1;
}

const char *run_log_option(const struct run_log *log, const char *name)
{
    for (int i = 0; i < log->options; i++)
        if (strcmp(log->option[i].name, name) == 0)
            return log->option[i].value;
    return NULL;
}

double run_log_number(const struct run_log *log, const char *name)
{
    const char *text = run_log_option(log, name);
    double value = NAN;
    if (text == NULL || !num_parse_double(text, strlen(text), &value))
        return NAN;
    return value;
}
