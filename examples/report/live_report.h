/* SPDX-License-Identifier: MIT
 *
 * live_report: report.html of a running training. It is drawn again after each epoch and every REPORT_EVERY seconds
 * between; its gallery as often as takes no more than the fraction LIVE_GALLERY_PART of the time. A page that cannot
 * be written is warned of once and does not stop the training. */
#ifndef MOCO_EXAMPLES_LIVE_REPORT_H
#define MOCO_EXAMPLES_LIVE_REPORT_H

#include "folder/run_log.h"
#include "gallery_make.h"

#define LIVE_REPORT_PAUSE 2 /* at least, after an epoch */
#define LIVE_GALLERY_PART 0.02
#define LIVE_GALLERY_SECONDS 10 /* or as long, however short the run */

struct live_report {
    struct run_log *log; /* NULL: there is no report */
    struct gallery *gallery;
    struct gallery_plan plan; /* device NULL: no gallery is made */
    char folder[1100], path[1200];
    double opened, drawn; /* when it was */
    double gallery_made, gallery_cost;
    int64_t gallery_step;
    int warned;
    void (*warn)(const char *sentence);
};

/* Once metrics.jsonl is there; `plan` is copied; NULL: no gallery. Close it after metrics_close (run_log.h says why).
 */
void live_report_open(struct live_report *live, const char *folder, const struct gallery_plan *plan,
                      void (*warn)(const char *sentence));
void live_report_tick(struct live_report *live); /* draws if it is time */

/* After an epoch: the gallery if it is time, and the page unless it has just been drawn (epochs may take no time). */
void live_report_epoch(struct live_report *live, moco_model *model, int64_t epoch, int64_t step);

/* At the end: both, in any case. `model` NULL: the gallery stays as it is. */
void live_report_end(struct live_report *live, moco_model *model, int64_t epoch, int64_t step);
void live_report_close(struct live_report *live);

#endif
