/* SPDX-License-Identifier: MIT
 *
 * compare_run: see compare_run.h. */
#include "compare_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/json.h"
#include "file/file.h"
#include "folder/run_dir.h"
#include "folder/run_log.h"
#include "run/run_config.h"
#include "support/child.h"
#include "support/from_moco.h"
#include "support/program_name.h"
#include "utf8.h"

#define MEASURING 8.0 /* seconds of kNN, linear probe and start of a small run */
#define FIELDS 6
#define STOPPED 75 /* the driver's exit status when a signal stopped it */

/* What cell.json holds, negative where it was not measured. */
static const char *const field_names[FIELDS] = {"knn_top1", "linear_top1", "img_per_s",
                                                "peak_mb",  "counted_mb",  "seconds"};

static double *field(struct cell *c, int i)
{
    double *const at[FIELDS] = {&c->knn, &c->linear, &c->img_per_s, &c->peak_mb, &c->counted_mb, &c->seconds};
    return at[i];
}

/* The driver's own reading of the command line, so that what is estimated is what will run. */
moco_status compare_estimate(const struct compare_place *place, struct cell *cell, double *seconds, struct err *err)
{
    static struct run_config config;
    moco_model_options model;
    moco_trainer_options trainer;
    moco_memory_estimate estimate;
    moco_device_info device;
    moco_device_info_init(&device);
    cell->word[0] = (char *)(uintptr_t) "train_imagenet";
    TRY(run_config_parse(&config, cell->words, cell->word, err));
    TRY(run_config_check(&config, err));
    TRY(from_moco(moco_device_describe(place->device, &device), err));
    run_config_settle(&config, &device);
    run_config_model(&config, &model);
    run_config_trainer(&config, &trainer);
    moco_memory_estimate_init(&estimate);
    TRY(from_moco(moco_trainer_estimate(place->device, &model, config.queue, &trainer, &estimate), err));
    int64_t steps = config.epochs * (place->images / config.batch);
    if (config.max_steps > 0 && config.max_steps < steps)
        steps = config.max_steps;
    if (place->images < config.batch)
        return err_set(err, MOCO_EINVAL, "%s wants batches of %lld images, and the training set has %lld", cell->key,
                       (long long)config.batch, (long long)place->images);
    cell->counted_mb = (double)estimate.total_bytes / 1048576;
    *seconds = (double)steps * estimate.step_seconds + MEASURING;
    if (cell->table == TABLE_COST && cell->counted_mb > place->memory_mb)
        *seconds = 0; /* counted only */
    return MOCO_OK;
}

/* ---- results ---- */

static void cell_path(const struct compare_place *place, const struct cell *c, const char *name,
                      char path[RUN_PATH_SIZE])
{
    snprintf(path, RUN_PATH_SIZE, "%.900s/%.96s%s%.64s", place->out, c->key, name[0] != 0 ? "/" : "", name);
}

/* A word as it is in cell.json: a path may hold any bytes, JSON may not. */
static void word_text(const char *word, char text[CLI_PATH_SIZE])
{
    size_t used = 0;
    for (size_t length; *word != 0 && used + 8 < CLI_PATH_SIZE; word += length > 0 ? length : 1) {
        length = utf8_length(word, strlen(word));
        memcpy(text + used, length > 0 ? word : "?", length > 0 ? length : 1);
        used += length > 0 ? length : 1;
    }
    text[used] = 0;
}

/* How many threads there are decides no result but the last bits. */
static int is_machine_option(const char *word)
{
    return strcmp(word, "--threads") == 0 || strcmp(word, "--workers") == 0;
}

/* Reads the array that `open` begins; *same: it is the cell's command line. */
static moco_status same_options(struct json *j, const struct json_token *open, const struct cell *cell, int *same)
{
    struct json_token token;
    char text[CLI_PATH_SIZE];
    *same = open->kind == JSON_ARRAY;
    if (!*same)
        return json_skip(j, open, NULL);
    for (int i = 1;; i++) {
        TRY(json_next(j, &token, NULL));
        if (token.kind == JSON_ARRAY_END) {
            *same &= i == cell->words;
            return MOCO_OK;
        }
        if (token.kind != JSON_STRING)
            return MOCO_EFORMAT;
        if (i < cell->words)
            word_text(cell->word[i], text);
        *same &= i < cell->words && (json_equals(&token, text) || is_machine_option(cell->word[i - 1]));
    }
}

/* The numbers at the top of a JSON object in a file: names[i] -> values[i], NAN where there is none. `same` (NULL: not
 * asked): its "options" are the cell's. */
static void read_object(const char *path, const char *const *names, double *values, int count, const struct cell *cell,
                        int *same)
{
    struct ctx *ctx = NULL;
    char *bytes = NULL;
    size_t size;
    struct json j;
    struct json_token key, value;
    moco_status status = ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL);
    for (int i = 0; i < count; i++)
        values[i] = NAN;
    if (status == MOCO_OK)
        status = file_read_all(ctx, path, 16 << 20, &bytes, &size, NULL);
    if (status == MOCO_OK) {
        json_start(&j, bytes, size, 0);
        status = json_expect(&j, JSON_OBJECT, "an object", &key, NULL);
    }
    while (status == MOCO_OK && json_next(&j, &key, NULL) == MOCO_OK && key.kind == JSON_KEY) {
        status = json_next(&j, &value, NULL);
        for (int i = 0; status == MOCO_OK && i < count; i++)
            if (json_equals(&key, names[i]) && (value.kind == JSON_INT || value.kind == JSON_REAL))
                values[i] = value.real;
        if (status == MOCO_OK)
            status = same != NULL && json_equals(&key, "options") ? same_options(&j, &value, cell, same)
                                                                  : json_skip(&j, &value, NULL);
    }
    mem_free(ctx, bytes);
    ctx_unref(ctx);
}

moco_status compare_done(const struct compare_place *place, struct cell *cell, int *done, struct err *err)
{
    char path[RUN_PATH_SIZE];
    double values[FIELDS];
    int same = 0;
    cell_path(place, cell, "cell.json", path);
    read_object(path, field_names, values, FIELDS, cell, &same);
    *done = 1;
    for (int i = 0; i < FIELDS; i++)
        *done &= !isnan(values[i]);
    if (*done && !same)
        return err_set(err, MOCO_EINVAL,
                       "%.300s was run with other options, which that file lists; choose another --out, or delete its "
                       "folder to run it again",
                       path);
    for (int i = 0; *done && i < FIELDS; i++)
        *field(cell, i) = values[i];
    return MOCO_OK;
}

static moco_status write_result(const struct compare_place *place, struct cell *cell, struct err *err)
{
    char path[RUN_PATH_SIZE];
    struct ctx *ctx = NULL;
    struct json_writer w;
    struct file_save save;
    cell_path(place, cell, "cell.json", path);
    TRY(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, err));
    json_writer_start(&w, ctx, err);
    json_put_object(&w);
    json_put_key(&w, "cell");
    json_put_string(&w, cell->key);
    json_put_key(&w, "options");
    json_put_array(&w);
    for (int i = 1; i < cell->words; i++) {
        char text[CLI_PATH_SIZE];
        word_text(cell->word[i], text);
        json_put_string(&w, text);
    }
    json_put_array_end(&w);
    for (int i = 0; i < FIELDS; i++) {
        json_put_key(&w, field_names[i]);
        json_put_double(&w, *field(cell, i));
    }
    json_put_object_end(&w);
    json_put_raw(&w, "\n", 1);
    moco_status status = w.status;
    if (status == MOCO_OK)
        status = file_save_begin(&save, ctx, path, (int64_t)w.used, err);
    if (status == MOCO_OK) {
        status = file_save_write_at(&save, 0, w.text, w.used, err);
        if (status == MOCO_OK)
            status = file_save_commit(&save, err);
        else
            file_save_abandon(&save);
    }
    json_writer_free(&w);
    ctx_unref(ctx);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The kNN of the last epoch and the median speed of the steps behind the first, which warms up. */
static moco_status read_log(const char *folder, struct cell *cell, struct err *err)
{
    struct run_log *log;
    TRY(run_log_open(&log, folder, err));
    moco_status status = run_log_read(log, 1, err);
    if (status == MOCO_OK) {
        const struct series *speed = &log->metric[RUN_SPEED];
        double values[SERIES_MAX];
        int count = 0;
        for (int i = 0; i < speed->count; i++)
            if (speed->bucket[i].n > 0 && speed->bucket[i].last > 0)
                values[count++] = series_mean(&speed->bucket[i]);
        qsort(values, (size_t)count, sizeof values[0], by_value);
        if (count > 0)
            cell->img_per_s = values[count / 2];
        if (log->metric[RUN_KNN].last_key >= 0)
            cell->knn = log->metric[RUN_KNN].last;
    }
    run_log_free(log);
    return status;
}

/* ---- running ---- */

/* The last line of a child's output, where its sentence is. */
static void last_line(const char *path, char *text, size_t size)
{
    char line[512];
    FILE *f = fopen(path, "r");
    snprintf(text, size, "it said nothing");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (line[0] != '\n')
            snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
    if (f != NULL)
        fclose(f);
}

static moco_status run_child(const struct compare_place *place, const struct cell *cell, const char *program,
                             const char **word, const char *log_name, struct child_result *result, struct err *err)
{
    char path[RUN_PATH_SIZE], log[RUN_PATH_SIZE], said[300];
    const char *as_command[CELL_WORDS + 6], *command = program_command(program);
    snprintf(path, sizeof path, "%.1000s/%.64s", place->programs, command != NULL ? "moco" : program);
    cell_path(place, cell, log_name, log);
    word[0] = path;
    if (command != NULL) { /* moco COMMAND ... */
        as_command[0] = path;
        as_command[1] = command;
        for (int i = 1; (as_command[i + 1] = word[i]) != NULL;)
            i++;
        word = as_command;
    }
    TRY(child_run(word, log, result, err));
    if (result->exit == STOPPED || (result->exit != 0 && child_stopped()))
        return err_set(err, MOCO_ECANCELED, "%s was stopped; the same command goes on with it", cell->key);
    if (result->exit == 0)
        return MOCO_OK;
    last_line(log, said, sizeof said);
    return err_set(err, MOCO_EIO, "%s: %s ended with status %d: %s (%.200s)", cell->key, program, result->exit, said,
                   log);
}

static moco_status linear(const struct compare_place *place, const struct compare_settings *s, struct cell *cell,
                          struct err *err)
{
    char encoder[RUN_PATH_SIZE], out[RUN_PATH_SIZE], threads[24], seed[24];
    struct child_result result;
    cell_path(place, cell, "encoder.safetensors", encoder);
    cell_path(place, cell, "", out);
    snprintf(threads, sizeof threads, "%lld", (long long)s->threads);
    snprintf(seed, sizeof seed, "%lld", (long long)cell->seed);
    const char *word[] = {NULL,       s->data,   "--fast",    "--pretrained", encoder,  "--out", out,
                          "--device", s->device, "--threads", threads,        "--seed", seed,    NULL};
    TRY(run_child(place, cell, "linear_probe", word, "linear_probe.log", &result, err));
    cell_path(place, cell, "probe.json", out);
    static const char *const top1[] = {"top1"};
    read_object(out, top1, &cell->linear, 1, NULL, NULL);
    if (isnan(cell->linear))
        return err_set(err, MOCO_EFORMAT, "%s: linear_probe left no top1 in %s", cell->key, out);
    return MOCO_OK;
}

moco_status compare_run(const struct compare_place *place, const struct compare_settings *settings, struct cell *cell,
                        struct err *err)
{
    char folder[RUN_PATH_SIZE], log[RUN_PATH_SIZE];
    const char *word[CELL_WORDS + 5];
    int words = cell->words;
    struct child_result result;
    cell_path(place, cell, "", folder);
    TRY(run_dir_make(folder, err));
    if (cell->table == TABLE_COST && cell->counted_mb > place->memory_mb)
        return write_result(place, cell, err);
    for (int i = 0; i < words; i++)
        word[i] = cell->word[i];
    word[words++] = "--out";
    word[words++] = folder;
    int checkpoints;
    TRY(run_dir_count(folder, &checkpoints, err));
    if (cell->table == TABLE_COST || checkpoints == 0) {
        /* A few steps start again, or their speed and memory would be those of no step. What an unfinished run left
         * without a checkpoint is of no use, and its folder is ours. */
        TRY(run_dir_forget(folder, err));
    } else {
        word[words++] = "--resume";
        word[words++] = "auto";
    }
    word[words] = NULL;
    run_dir_path(folder, "metrics.jsonl", log);
    int resumed = access(log, F_OK) == 0;
    TRY(run_child(place, cell, "train_imagenet", word, "train_imagenet.log", &result, err));
    if (!resumed) { /* of a part of a run both would be too small: not known then */
        cell->peak_mb = result.peak_mb;
        cell->seconds = result.seconds;
    }
    TRY(read_log(folder, cell, err));
    if (cell->table != TABLE_COST)
        TRY(linear(place, settings, cell, err));
    return write_result(place, cell, err);
}
