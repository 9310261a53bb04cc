/* SPDX-License-Identifier: MIT
 *
 * report_state: whether a run goes on, how far it has come and how long the rest takes. What a reader would get wrong: a
 * run that is killed draws no last page, so "running" is what the page said when it was written. It says when that was,
 * and by when there has to be another; the page's script says so once that time has passed. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "report_parts.h"
#include "support/human.h"

/* Seconds after which a page that is not drawn again means something: drawing takes place between steps only. */
static double patience(const struct run_log *log)
{
    double step = log->last_step > 0 ? log->seconds / (double)log->last_step : 0;
    return 2 * (REPORT_EVERY + 3 * step + log->most_aside);
}

/* At the pace since the run was last resumed, kNN included: it may have been resumed on another machine. */
static double left(const struct run_log *log, int64_t asked)
{
    int64_t done = log->last_step - log->resumed_step;
    double took = log->seconds - log->resumed_seconds;
    return done > 0 && took > 0 && asked > log->last_step ? took / (double)done * (double)(asked - log->last_step)
                                                          : NAN;
}

static void put_steps(struct markup *m, const struct run_log *log, int64_t asked)
{
    double epochs = run_log_number(log, "epochs"), per_epoch = run_log_number(log, "steps_per_epoch");
    int64_t done = log->last_step > 0 ? log->last_step : 0;
    markup_printf(m, "%s", human_count(done));
    if (asked >= 1 && done < asked)
        markup_printf(m, " of %s", human_count(asked));
    markup_put(m, " steps");
    if (log->last_epoch > 0 && per_epoch >= 1 && asked >= 1 && done < asked)
        markup_printf(m, ", %s of %s epochs", human_count(log->last_epoch), human_count((int64_t)epochs));
    else if (log->last_epoch > 0)
        markup_printf(m, ", %s epoch%s", human_count(log->last_epoch), log->last_epoch == 1 ? "" : "s");
}

static void put_clock(struct markup *m, time_t clock)
{
    char text[64] = "";
    struct tm parts;
    if (gmtime_r(&clock, &parts) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    markup_put(m, text);
}

void report_state(struct markup *m, const struct run_log *log, enum report_stage stage)
{
    int64_t asked = run_log_steps_asked(log);
    int all = asked >= 1 && log->last_step >= asked;
    time_t now = time(NULL);
    const char *name = stage == REPORT_GOES_ON ? "running" : all ? "finished" : asked >= 1 ? "stopped" : "";
    markup_printf(m, "<p class=\"state %s\" id=\"state\" data-written=\"%lld\" data-patience=\"%.0f\"><b>", name,
                  (long long)now, patience(log));
    markup_put(m, stage == REPORT_GOES_ON ? "Running" : all ? "Finished" : asked >= 1 ? "Stopped" : "Length unknown");
    markup_put(m, "</b> ");
    put_steps(m, log, asked);
    if (log->seconds > 0)
        markup_printf(m, stage == REPORT_GOES_ON ? ", %s so far" : " in %s", human_seconds(log->seconds));
    if (stage == REPORT_GOES_ON && isfinite(left(log, asked)))
        markup_printf(m, ", about %s left", human_seconds(left(log, asked)));
    if (log->resumes > 0)
        markup_printf(m, ", resumed %lld time%s", (long long)log->resumes, log->resumes == 1 ? "" : "s");
    markup_put(m, "</p>\n<p class=\"small\" id=\"news\">Written ");
    put_clock(m, now);
    if (stage == REPORT_GOES_ON) {
        markup_put(m, ". It reads itself again while the run goes on. If the time now is past ");
        put_clock(m, now + (time_t)patience(log));
        markup_put(m, ", the run was killed or waits for something.");
    } else {
        markup_put(m, ".");
    }
    markup_put(m, "</p>\n");
}
