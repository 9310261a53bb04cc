/* SPDX-License-Identifier: MIT
 *
 * run_csv: see run_csv.h. The new file is written beside the old one and then replaces it. A run may have millions
 * of lines, so that none is kept in memory. */
#include "run_csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file_retry.h"
#include "num.h"

struct csv {
    FILE *file;
    const char *path;
};

static void put_number(FILE *file, double value)
{
    char text[NUM_TEXT] = "";
    if (isfinite(value))
        num_format_double(text, value);
    fprintf(file, ",%s", text);
}

static moco_status put_line(void *user, int is_epoch, int64_t epoch, int64_t step, const double value[RUN_METRICS],
                            struct err *err)
{
    struct csv *csv = user;
    fputs(is_epoch ? "epoch," : "step,", csv->file);
    if (epoch >= 0)
        fprintf(csv->file, "%lld", (long long)epoch);
    fprintf(csv->file, ",%lld", (long long)step);
    put_number(csv->file, is_epoch ? value[RUN_EPOCH_LOSS] : value[RUN_LOSS]); /* one column, two kinds of line */
    for (int i = RUN_LOSS + 1; i < RUN_METRICS; i++)
        if (i != RUN_EPOCH_LOSS)
            put_number(csv->file, value[i]);
    fputc('\n', csv->file);
    return ferror(csv->file) ? err_set(err, MOCO_EIO, "%.300s cannot be written: %s", csv->path,
                                       file_reason(errno, (char[FILE_REASON]){0}))
                             : MOCO_OK;
}

moco_status run_csv_write(struct run_log *log, char *path, size_t size, struct err *err)
{
    char temporary[1300];
    snprintf(path, size, "%s/metrics.csv", log->folder);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    struct csv csv = {.file = fopen(temporary, "w"), .path = path};
    if (csv.file == NULL)
        return err_set(err, MOCO_EIO, "%.300s cannot be made: %s", temporary,
                       file_reason(errno, (char[FILE_REASON]){0}));
    fputs("type,epoch,step", csv.file);
    for (int i = 0; i < RUN_METRICS; i++)
        if (i != RUN_EPOCH_LOSS)
            fprintf(csv.file, ",%s", run_metric_names[i]);
    fputc('\n', csv.file);
    log->each = put_line;
    log->user = &csv;
    moco_status status = run_log_read(log, 1, err);
    log->each = NULL;
    int failed = ferror(csv.file) != 0;
    failed |= fclose(csv.file) != 0;
    if (status == MOCO_OK && (failed || rename(temporary, path) != 0))
        status =
            err_set(err, MOCO_EIO, "%.300s cannot be written: %s", path, file_reason(errno, (char[FILE_REASON]){0}));
    if (status != MOCO_OK)
        remove(temporary);
    return status;
}
