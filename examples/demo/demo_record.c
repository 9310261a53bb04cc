/* SPDX-License-Identifier: MIT
 *
 * demo_record: see demo_record.h. */
#include "demo_record.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file/file_retry.h"
#include "folder/leftovers.h"
#include "folder/run_dir.h"
#include "images/draw_patterns.h"
#include "support/from_moco.h"
#include "support/human.h"

static moco_status forget(const char *folder, const char *name, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_path(folder, name, path);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(err, MOCO_EIO, "%.300s cannot be removed: %s", path, file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

/* Makes room where an earlier demo was. */
static moco_status clear(const char *folder, struct err *err)
{
    struct run_log *log = NULL;
    int there;
    TRY(run_dir_make(folder, err));
    TRY(run_dir_has(folder, "metrics.jsonl", &there, err));
    if (there) {
        moco_status status = run_log_open(&log, folder, err);
        if (status == MOCO_OK)
            status = run_log_read(log, 1, err);
        const char *program = status == MOCO_OK ? run_log_option(log, "program") : NULL;
        if (status == MOCO_OK && (program == NULL || strcmp(program, "demo") != 0))
            status = err_set(err, MOCO_ESTATE, "%.300s holds another program's run; choose another folder with --out",
                             folder);
        run_log_free(log);
        TRY(status);
    }
    TRY(forget(folder, "metrics.jsonl", err));
    return forget(folder, "gallery.json", err);
}

static moco_status open_set(struct demo_record *r, int64_t from, int64_t to, moco_dataset **set, struct err *err)
{
    const struct demo_pictures *p = r->pictures;
    moco_tensor images;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = to - from;
    images.shape[1] = images.shape[2] = p->size;
    images.shape[3] = 3;
    images.data = (void *)(uintptr_t)demo_picture(p, from);
    return from_moco(moco_dataset_from_memory(set, r->context, &images, p->classes > 0 ? p->labels + from : NULL), err);
}

static moco_status plan_gallery(struct demo_record *r, struct err *err)
{
    TRY(open_set(r, r->pictures->held_out, r->pictures->all, &r->train, err));
    TRY(open_set(r, 0, r->pictures->held_out, &r->held_out, err));
    r->plan = (struct gallery_plan){
        .device = r->device,
        .train = r->train,
        .held_out = r->held_out,
        .view = r->view,
        .recipe = r->recipe,
        .class_name = r->drawn ? pattern_names : NULL,
        .on = MOCO_FEATURES,
        .precision = MOCO_PRECISION_F32,
        .seed = r->seed,
        .workers = 1,
        .max_bad = -1,
        .map_limit = GALLERY_MAP_IMAGES,
        .bank_limit = GALLERY_BANK_IMAGES,
    };
    return from_moco(moco_augment_options_preset(&r->plan.eval, "none", r->pictures->size), err);
}

moco_status demo_record_open(struct demo_record *r, const char *folder, const char *members,
                             void (*warn)(const char *sentence), struct err *err)
{
    static const char *const saved_here[] = {"encoder.safetensors", NULL};
    r->metrics.file.fd = -1;
    TRY(clear(folder, err));
    TRY(plan_gallery(r, err));
    TRY(metrics_open(&r->metrics, folder, -1, 0, err));
    leftovers_remove(folder, saved_here, r->metrics.file.locked, warn);
    leftovers_remove(folder, leftovers_of_others, 0, warn);
    TRY(metrics_config(&r->metrics, members, err));
    live_report_open(&r->report, folder, &r->plan, warn);
    r->epoch_begun = r->mark = seconds_now();
    return MOCO_OK;
}

moco_status demo_record_step(struct demo_record *r, int64_t epoch, const moco_step_report *report, double wait_seconds,
                             struct err *err)
{
    double now = seconds_now(), passed = fmax(now - r->mark, 1e-9);
    TRY(metrics_step(&r->metrics, epoch, report, (double)r->batch / passed, (wait_seconds - r->waited) / passed, err));
    r->loss += report->loss;
    r->in_epoch++;
    live_report_tick(&r->report);
    r->mark = seconds_now();
    r->waited = wait_seconds;
    return MOCO_OK;
}

moco_status demo_record_epoch(struct demo_record *r, int64_t epoch, int64_t step, double percent, struct err *err)
{
    double now = seconds_now(), mean = r->in_epoch > 0 ? r->loss / (double)r->in_epoch : NAN;
    moco_status status = metrics_epoch(&r->metrics, epoch, step, mean, percent, NULL, now - r->epoch_begun, err);
    r->loss = 0;
    r->in_epoch = 0;
    r->mark = r->epoch_begun = seconds_now();
    return status;
}

void demo_record_end(struct demo_record *r, moco_model *model, int64_t epoch, int64_t step)
{
    live_report_end(&r->report, model, epoch, step);
}

void demo_record_close(struct demo_record *r)
{
    if (r->pictures == NULL)
        return;
    metrics_close(&r->metrics);
    live_report_close(&r->report);
    moco_dataset_free(r->train);
    moco_dataset_free(r->held_out);
}
