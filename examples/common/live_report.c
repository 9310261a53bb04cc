/* SPDX-License-Identifier: MIT
 *
 * live_report: see live_report.h. */
#include "live_report.h"

#include <stdio.h>

#include "human.h"
#include "report.h"
#include "run_dir.h"

static void tell(struct live_report *live, const struct err *err)
{
    char sentence[640];
    if (live->warned)
        return;
    live->warned = 1;
    snprintf(sentence, sizeof sentence, "no report.html: %s; training goes on without it", err->text);
    live->warn(sentence);
}

void live_report_open(struct live_report *live, const char *folder, void (*warn)(const char *sentence))
{
    struct err err = {0};
    *live = (struct live_report){.warn = warn, .drawn = seconds_now()};
    run_dir_path(folder, "report.html", live->path);
    if (run_log_open(&live->log, folder, &err) != MOCO_OK)
        tell(live, &err);
}

void live_report_now(struct live_report *live)
{
    struct err err = {0};
    if (live->log == NULL)
        return;
    moco_status status = run_log_read(live->log, 0, &err);
    if (status == MOCO_OK)
        status = report_write(live->path, &live->log, 1, &err);
    if (status != MOCO_OK)
        tell(live, &err);
    live->drawn = seconds_now();
}

void live_report_tick(struct live_report *live)
{
    if (live->log != NULL && seconds_now() - live->drawn >= LIVE_REPORT_SECONDS)
        live_report_now(live);
}

void live_report_epoch(struct live_report *live)
{
    if (live->log != NULL && seconds_now() - live->drawn >= LIVE_REPORT_PAUSE)
        live_report_now(live);
}

void live_report_close(struct live_report *live)
{
    run_log_free(live->log);
    live->log = NULL;
}
