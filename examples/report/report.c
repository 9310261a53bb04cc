/* SPDX-License-Identifier: MIT
 *
 * report: see report.h. This file decides the order of the page. */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report_parts.h"

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

static void put_head(struct markup *m, const struct report_runs *r, enum report_stage stage)
{
    markup_put(m, "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
                  "<meta charset=\"utf-8\"/>\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                  "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                  "style-src 'unsafe-inline'; script-src 'sha256-");
    markup_put(m, report_js_hash);
    markup_put(m, "'\"/>\n");
    if (stage == REPORT_GOES_ON)
        markup_printf(m, "<meta http-equiv=\"refresh\" content=\"%d\"/>\n", REPORT_EVERY);
    markup_put(m, "<link rel=\"icon\" href=\"data:,\"/>\n<title>");
    for (int i = 0; i < r->runs; i++) {
        markup_put(m, i > 0 ? ", " : "");
        markup_text(m, r->run[i]->name);
    }
    markup_put(m, " \xe2\x80\x93 MoCo</title>\n<style>");
    put_lines(m, report_css);
    report_maps_css(m);
    markup_put(m, "</style>\n</head>\n<body>\n");
}

/* What is there of it, with words of ours between: *any becomes 1. */
static void put_option(struct markup *m, const struct run_log *log, const char *name, const char *between, int *any)
{
    const char *value = run_log_option(log, name);
    if (value == NULL || value[0] == 0)
        return;
    if (*any)
        markup_put(m, between);
    *any = 1;
    markup_put(m, "<bdi>");
    markup_text(m, value);
    markup_put(m, "</bdi>");
}

/* One run: what it is, and its state. */
static void put_one(struct markup *m, const struct run_log *log, enum report_stage stage)
{
    int any = 0;
    const char *width = run_log_option(log, "width");
    markup_put(m, "<p>");
    put_option(m, log, "arch", "", &any);
    if (any && width != NULL && strcmp(width, "1") != 0)
        put_option(m, log, "width", " \xc3\x97 ", &any);
    if (run_log_option(log, "preset") != NULL && run_log_option(log, "preset")[0] != 0)
        markup_put(m, any ? ", preset " : "Preset ");
    any = 0;
    put_option(m, log, "preset", "", &any);
    put_option(m, log, "data", ", on ", &any);
    put_option(m, log, "data_print", ": ", &any);
    markup_put(m, "</p>\n");
    report_state(m, log, stage);
}

static void put_title(struct markup *m, const struct report_runs *r, enum report_stage stage)
{
    markup_put(m, "<header>\n<h1>");
    if (r->runs > 1)
        markup_printf(m, "%d runs", r->runs);
    else
        markup_text(m, r->run[0]->name);
    markup_put(m, "</h1>\n");
    if (r->runs == 1)
        put_one(m, r->run[0], stage);
    markup_put(m, "</header>\n");
    if (r->runs == 1)
        return;
    markup_put(m, "<ul class=\"runs\">"); /* outside the header, so that it can stay in sight */
    for (int i = 0; i < r->runs; i++) {
        markup_printf(m, "<li><span class=\"stroke c%d r%d\"></span><bdi>", i % 8, i / 8 % 3);
        markup_text(m, r->run[i]->name);
        markup_put(m, "</bdi></li>\n");
    }
    markup_put(m, "</ul>\n");
}

moco_status report_write(const char *path, struct run_log *const *run, struct gallery *const *gallery, int runs,
                         enum report_stage stage, struct err *err)
{
    struct markup m = {0};
    struct report_runs r = {.run = run, .gallery = gallery, .runs = runs};
    if (runs < 1 || runs > REPORT_RUNS_MAX)
        return err_set(err, MOCO_EINVAL, "a report shows 1 to %d runs, not %d", REPORT_RUNS_MAX, runs);
    set_axis(&r);
    put_head(&m, &r, stage);
    put_title(&m, &r, stage);
    markup_put(&m, "<main>\n");
    report_problems(&m, &r);
    if (runs == 1)
        report_tiles(&m, &r);
    report_curves(&m, &r);
    report_maps(&m, &r);
    report_neighbours(&m, &r);
    report_views(&m, &r);
    markup_put(&m, runs == 1 ? "<div class=\"pair\">\n" : "");
    report_numbers(&m, &r);
    report_epochs(&m, &r);
    markup_put(&m, runs == 1 ? "</div>\n" : "");
    report_options(&m, &r);
    markup_put(&m, "</main>\n");
    report_curves_data(&m, &r);
    report_maps_data(&m, &r);
    markup_put(&m, "<script>");
    put_lines(&m, report_js);
    markup_put(&m, "</script>\n</body>\n</html>\n");
    moco_status status = markup_save(&m, path, err);
    markup_free(&m);
    return status;
}
