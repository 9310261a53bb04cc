/* SPDX-License-Identifier: MIT
 *
 * live_report: see live_report.h. */
#include "live_report.h"

#include <math.h>
#include <stdio.h>

#include "folder/run_dir.h"
#include "report.h"
#include "support/human.h"

static void tell(struct live_report *live, const char *what, const struct err *err)
{
    char sentence[640];
    if (live->warned)
        return;
    live->warned = 1;
    snprintf(sentence, sizeof sentence, "no %s: %s; training goes on without it", what, err->text);
    live->warn(sentence);
}

static void read_gallery(struct live_report *live)
{
    struct err err = {0};
    gallery_free(live->gallery);
    if (gallery_read(&live->gallery, live->folder, &err) != MOCO_OK)
        tell(live, "gallery in the report", &err);
}

void live_report_open(struct live_report *live, const char *folder, const struct gallery_plan *plan,
                      void (*warn)(const char *sentence))
{
    struct err err = {0};
    double now = seconds_now();
    *live = (struct live_report){.warn = warn, .opened = now, .drawn = now, .gallery_made = now, .gallery_step = -1};
    if (plan != NULL)
        live->plan = *plan;
    snprintf(live->folder, sizeof live->folder, "%s", folder);
    run_dir_path(folder, "report.html", live->path);
    if (run_log_open(&live->log, folder, &err) != MOCO_OK)
        tell(live, "report.html", &err);
    else
        read_gallery(live);
}

static void draw(struct live_report *live, enum report_stage stage)
{
    struct err err = {0};
    if (live->log == NULL)
        return;
    moco_status status = run_log_read(live->log, 0, &err);
    if (status == MOCO_OK)
        status = report_write(live->path, &live->log, &live->gallery, 1, stage, &err);
    if (status != MOCO_OK)
        tell(live, "report.html", &err);
    live->drawn = seconds_now();
}

void live_report_tick(struct live_report *live)
{
    if (seconds_now() - live->drawn >= REPORT_EVERY)
        draw(live, REPORT_GOES_ON);
}

static void make_gallery(struct live_report *live, moco_model *model, int64_t epoch, int64_t step)
{
    struct err err = {0};
    double begun = seconds_now();
    if (live->log == NULL || live->plan.device == NULL || step == live->gallery_step)
        return;
    live->plan.seconds = fmax(LIVE_GALLERY_SECONDS, (begun - live->opened) * LIVE_GALLERY_PART);
    moco_status status = gallery_make(&live->plan, model, live->folder, epoch, step, &err);
    live->gallery_made = seconds_now();
    live->gallery_cost = live->gallery_made - begun;
    live->gallery_step = step;
    if (status == MOCO_OK)
        read_gallery(live);
    else if (status != MOCO_ECANCELED)
        tell(live, "gallery in the report", &err);
}

void live_report_epoch(struct live_report *live, moco_model *model, int64_t epoch, int64_t step)
{
    if (seconds_now() - live->gallery_made >= live->gallery_cost / LIVE_GALLERY_PART)
        make_gallery(live, model, epoch, step);
    if (seconds_now() - live->drawn >= LIVE_REPORT_PAUSE)
        draw(live, REPORT_GOES_ON);
}

void live_report_end(struct live_report *live, moco_model *model, int64_t epoch, int64_t step)
{
    if (model != NULL)
        make_gallery(live, model, epoch, step);
    draw(live, REPORT_ENDED);
}

void live_report_close(struct live_report *live)
{
    run_log_free(live->log);
    gallery_free(live->gallery);
    live->log = NULL;
    live->gallery = NULL;
}
