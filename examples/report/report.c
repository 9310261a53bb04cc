/* SPDX-License-Identifier: MIT
 *
 * report: see report.h. This file decides the order of the page. */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report_parts.h"
#include "support/human.h"

static void set_axis(struct report_runs *r)
{
    int epochs = 1;
    double high = 0, last = 0;
    for (int i = 0; i < r->runs; i++) {
        double per_epoch = run_log_number(r->run[i], "steps_per_epoch"), steps = (double)r->run[i]->last_step;
        epochs &= per_epoch >= 1;
        high = fmax(high, steps / per_epoch);
        last = fmax(last, steps);
    }
    epochs &= high > 1;
    r->x_name = epochs ? "epoch" : "step";
    r->x_high = epochs ? high : fmax(last, 1);
}

static void put_lines(struct markup *m, const char *const *lines)
{
    while (*lines != NULL)
        markup_put(m, *lines++);
}

static void put_head(struct markup *m, const struct report_runs *r)
{
    markup_put(m, "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
                  "<meta charset=\"utf-8\"/>\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                  "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                  "style-src 'unsafe-inline'; script-src 'sha256-");
    markup_put(m, report_js_hash);
    markup_put(m, "'\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n<title>");
    for (int i = 0; i < r->runs; i++) {
        markup_put(m, i > 0 ? ", " : "");
        markup_text(m, r->run[i]->name);
    }
    markup_put(m, " \xe2\x80\x93 MoCo</title>\n<style>");
    put_lines(m, report_css);
    markup_put(m, "</style>\n</head>\n<body>\n");
}

static void put_option(struct markup *m, const struct run_log *log, const char *name, const char *before)
{
    const char *value = run_log_option(log, name);
    if (value == NULL || value[0] == 0)
        return;
    markup_put(m, before);
    markup_put(m, "<bdi>");
    markup_text(m, value);
    markup_put(m, "</bdi>");
}

static void put_progress(struct markup *m, const struct run_log *log)
{
    double per_epoch = run_log_number(log, "steps_per_epoch"), epochs = run_log_number(log, "epochs");
    long long done = log->last_step > 0 ? (long long)log->last_step : 0;
    markup_printf(m, "%s", human_count(done));
    if (per_epoch >= 1 && epochs >= 1 && per_epoch * epochs < 1e15)
        markup_printf(m, " of %s steps, %g of %g epochs", human_count((int64_t)(per_epoch * epochs)),
                      floor((double)done / per_epoch), epochs);
    else
        markup_put(m, " steps");
    if (log->resumes > 0)
        markup_printf(m, ", resumed %lld time%s", (long long)log->resumes, log->resumes == 1 ? "" : "s");
}

static void put_title(struct markup *m, const struct report_runs *r)
{
    char now[64] = "";
    time_t clock = time(NULL);
    struct tm parts;
    if (gmtime_r(&clock, &parts) != NULL)
        strftime(now, sizeof now, "%Y-%m-%d %H:%M UTC", &parts);
    markup_put(m, "<header>\n<h1>");
    for (int i = 0; i < r->runs; i++) {
        if (r->runs > 1)
            markup_printf(m, "<span class=\"run\"><span class=\"key c%d r%d\"></span>", i % 8, i / 8 % 3);
        markup_put(m, "<bdi>");
        markup_text(m, r->run[i]->name);
        markup_put(m, r->runs > 1 ? "</bdi></span> " : "</bdi>");
    }
    markup_put(m, "</h1>\n");
    for (int i = 0; i < r->runs && r->runs == 1; i++) {
        markup_put(m, "<p>");
        put_option(m, r->run[i], "arch", "");
        put_option(m, r->run[i], "width", " \xc3\x97 ");
        put_option(m, r->run[i], "preset", ", preset ");
        put_option(m, r->run[i], "data", ", on ");
        put_option(m, r->run[i], "data_print", ": ");
        markup_put(m, "</p>\n<p>");
        put_progress(m, r->run[i]);
        markup_put(m, "</p>\n");
    }
    markup_printf(m, "<p class=\"small\">Drawn %s.%s</p>\n</header>\n", now,
                  r->runs == 1 ? " While the run goes on, it is drawn again and again: reload to see." : "");
}

moco_status report_write(const char *path, struct run_log *const *run, struct gallery *const *gallery, int runs,
                         struct err *err)
{
    struct markup m = {0};
    struct report_runs r = {.run = run, .gallery = gallery, .runs = runs};
    if (runs < 1 || runs > REPORT_RUNS_MAX)
        return err_set(err, MOCO_EINVAL, "a report shows 1 to %d runs, not %d", REPORT_RUNS_MAX, runs);
    set_axis(&r);
    put_head(&m, &r);
    put_title(&m, &r);
    markup_put(&m, "<main>\n");
    report_problems(&m, &r);
    if (runs == 1)
        report_tiles(&m, &r);
    report_curves(&m, &r);
    report_maps(&m, &r);
    report_neighbours(&m, &r);
    report_views(&m, &r);
    report_numbers(&m, &r);
    report_epochs(&m, &r);
    report_options(&m, &r);
    markup_put(&m, "</main>\n");
    report_curves_data(&m, &r);
    markup_put(&m, "<script>");
    put_lines(&m, report_js);
    markup_put(&m, "</script>\n</body>\n</html>\n");
    moco_status status = markup_save(&m, path, err);
    markup_free(&m);
    return status;
}
