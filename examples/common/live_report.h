/* SPDX-License-Identifier: MIT
 *
 * live_report: report.html of a run that goes on: drawn again after each epoch and every LIVE_REPORT_SECONDS between. A
 * page that cannot be written is warned of once and is no reason to stop training. */
#ifndef MOCO_EXAMPLES_LIVE_REPORT_H
#define MOCO_EXAMPLES_LIVE_REPORT_H

#include "run_log.h"

#define LIVE_REPORT_SECONDS 30
#define LIVE_REPORT_PAUSE 2 /* at least, after an epoch */

struct live_report {
    struct run_log *log; /* NULL: there is no report */
    char path[1200];
    double drawn; /* when it was */
    int warned;
    void (*warn)(const char *sentence);
};

/* Once metrics.jsonl is there. Close it after metrics_close (run_log.h says why). */
void live_report_open(struct live_report *live, const char *folder, void (*warn)(const char *sentence));
void live_report_tick(struct live_report *live);  /* draws if it is time */
void live_report_epoch(struct live_report *live); /* draws, unless it has just done so: epochs may take no time */
void live_report_now(struct live_report *live);
void live_report_close(struct live_report *live);

#endif
