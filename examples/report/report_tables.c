/* SPDX-License-Identifier: MIT
 *
 * report_tables: the numbers of a report: a few large ones, the table of final ones, the epochs, the options. Each
 * number is in a <data> element whose value has all digits of metrics.jsonl. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_parts.h"
#include "support/human.h"

/* ---- what a run comes to ---- */

static double series_total_mean(const struct series *s)
{
    double sum = 0;
    int64_t n = 0;
    for (int i = 0; i < s->count; i++) {
        sum += s->bucket[i].n > 0 ? s->bucket[i].sum : 0;
        n += s->bucket[i].n;
    }
    return n > 0 ? sum / (double)n : NAN;
}

static double series_total(const struct series *s)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++)
        sum += s->bucket[i].n > 0 ? s->bucket[i].sum : 0;
    return s->last_key >= 0 ? sum : NAN;
}

static double series_last(const struct series *s)
{
    return s->last_key >= 0 ? s->last : NAN;
}

enum take { LAST, MEAN, TOTAL, BEST, BEST_EPOCH, UNTRAINED, STEPS, EPOCHS, FULL };

struct row {
    const char *id, *name, *unit;
    enum take take;
    enum run_metric metric;
    double scale;
    enum known known;
    int better; /* 1: greater is better, so the best of several runs is marked */
};

static const struct row rows[] = {
    {"steps", "steps done", "", STEPS, 0, 1, KNOWN_COUNT, 0},
    {"epochs", "epochs finished", "", EPOCHS, 0, 1, KNOWN_COUNT, 0},
    {"knn_last", "kNN top-1, last", "%", LAST, RUN_KNN, 1, KNOWN_PERCENT, 1},
    {"knn_best", "kNN top-1, best", "%", BEST, 0, 1, KNOWN_PERCENT, 1},
    {"knn_best_epoch", "the best one's epoch", "", BEST_EPOCH, 0, 1, KNOWN_COUNT, 0},
    {"knn_untrained", "kNN top-1, untrained", "%", UNTRAINED, 0, 1, KNOWN_PERCENT, 0},
    {"loss_epoch", "loss, mean of the last epoch", "", LAST, RUN_EPOCH_LOSS, 1, KNOWN_LOSS, 0},
    {"loss_last", "loss, last step", "", LAST, RUN_LOSS, 1, KNOWN_LOSS, 0},
    {"chance_last", "chance level of the loss", "", LAST, RUN_CHANCE, 1, KNOWN_LOSS, 0},
    {"acc1_last", "contrast top 1, last step", "%", LAST, RUN_ACC1, 1, KNOWN_PERCENT, 0},
    {"acc5_last", "contrast top 5, last step", "%", LAST, RUN_ACC5, 1, KNOWN_PERCENT, 0},
    {"pos_cosine_last", "cosine to the own key, last step", "", LAST, RUN_POSITIVE, 1, KNOWN_COSINE, 0},
    {"neg_cosine_last", "cosine to negatives, last step", "", LAST, RUN_NEGATIVE, 1, KNOWN_COSINE, 0},
    {"feature_std_last", "spread of embeddings, last step", "", LAST, RUN_STD, 1, KNOWN_SPREAD, 0},
    {"grad_norm_last", "gradient norm, last step", "", LAST, RUN_GRADIENT, 1, KNOWN_THREE, 0},
    {"loss_scale_last", "loss scale of fp16, last step", "", LAST, RUN_SCALE, 1, KNOWN_COUNT, 0},
    {"skipped_last", "steps skipped in fp16", "", LAST, RUN_SKIPPED, 1, KNOWN_COUNT, 0},
    {"lr_last", "learning rate, last step", "", LAST, RUN_LR, 1, KNOWN_THREE, 0},
    {"full_step", "queue full at step", "", FULL, 0, 1, KNOWN_COUNT, 0},
    {"img_per_s_mean", "images per second, mean of all steps", "", MEAN, RUN_SPEED, 1, KNOWN_THREE, 0},
    {"data_wait_mean", "waiting for data, mean of all steps", "%", MEAN, RUN_WAIT, 100, KNOWN_PERCENT, 0},
    {"seconds_total", "time of all epochs, kNN included", "", TOTAL, RUN_SECONDS, 1, KNOWN_TIME, 0},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static double value_of(const struct row *row, const struct run_log *log)
{
    const struct series *s = &log->metric[row->metric];
    switch (row->take) {
    case LAST:
        return series_last(s);
    case MEAN:
        return series_total_mean(s);
    case TOTAL:
        return series_total(s);
    case BEST:
        return log->best_epoch >= 0 ? log->best_knn : NAN;
    case BEST_EPOCH:
        return log->best_epoch >= 0 ? (double)log->best_epoch : NAN;
    case UNTRAINED:
        return log->untrained_knn;
    case STEPS:
        return (double)(log->last_step > 0 ? log->last_step : 0);
    case EPOCHS:
        return (double)(log->last_epoch > 0 ? log->last_epoch : 0);
    case FULL:
        return log->full_step > 0 ? (double)log->full_step : NAN;
    }
    return NAN;
}

static const struct row *row_of(const char *id)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].id, id) == 0)
            return &rows[i];
    return NULL;
}

/* <data value="all digits">for people</data>; nothing: a dash. */
static void put_data(struct markup *m, double value, double scale, enum known known, const char *unit, const char *name)
{
    char text[AXIS_TEXT];
    if (!isfinite(value)) {
        markup_put(m, "<span class=\"none\">\xe2\x80\x93</span>");
        return;
    }
    markup_printf(m, "<data class=\"%s\" value=\"", name);
    markup_number(m, value);
    markup_printf(m, "\">%s%s</data>", known_text(known, value * scale, text), unit);
}

static void put_row(struct markup *m, const char *id, const struct run_log *log)
{
    const struct row *row = row_of(id);
    put_data(m, value_of(row, log), row->scale, row->known, row->unit, row->id);
}

/* How many images an accuracy is over; 0: nobody knows. */
static int64_t images_of(const struct run_log *log)
{
    double held_out = run_log_number(log, "held_out");
    if (log->knn_queries > 0)
        return log->knn_queries;
    return held_out >= 1 && held_out < 1e12 ? (int64_t)held_out : 0;
}

/* From where to where it may be, in digits that are no finer than that. */
static void put_interval(struct markup *m, double percent, int64_t n, int digits)
{
    double low, high;
    if (!isfinite(percent) || !(percent >= 0 && percent <= 100) || n < 1)
        return;
    known_interval(percent, n, &low, &high);
    markup_printf(m, " <span class=\"interval\">%.*f\xe2\x80\x93%.*f</span>", digits, low, digits, high);
}

/* ---- a few large ones ---- */

static void tile(struct markup *m, const char *title, const char *id, const struct run_log *log)
{
    markup_printf(m, "<div><dt>%s</dt><dd><span class=\"big\">", title);
    put_row(m, id, log);
    markup_put(m, "</span> ");
}

/* The interval decides how many digits there are to show. */
static void knn_tile(struct markup *m, const struct run_log *log)
{
    double percent = value_of(row_of("knn_last"), log), low = 0, high = 0;
    int64_t n = images_of(log);
    markup_put(m, "<div><dt>kNN top-1</dt><dd><span class=\"big\">");
    if (n > 0 && percent >= 0 && percent <= 100)
        known_interval(percent, n, &low, &high);
    int digits = high - low > 1 || !(n > 0) ? 0 : 1;
    markup_put(m, "<data class=\"knn_last\" value=\"");
    markup_number(m, percent);
    markup_printf(m, "\">%.*f%%</data></span> <span class=\"small\">", digits, percent);
    if (n > 0) {
        markup_put(m, "95% interval");
        put_interval(m, percent, n, digits);
        markup_printf(m, "<br/>%s held-out images<br/>", human_count(n));
    }
    markup_put(m, "untrained ");
    put_row(m, "knn_untrained", log);
    markup_put(m, "</span></dd></div>\n");
}

/* Of the contrast: one key among so many. The chance level of the loss is the logarithm of their number. */
double report_chance(const struct run_log *log, int among)
{
    const struct series *chance = &log->metric[RUN_CHANCE];
    return chance->last_key >= 0 ? fmin(100.0 * among * exp(-chance->last), 100) : NAN;
}

static void contrast_tile(struct markup *m, const struct run_log *log)
{
    char text[AXIS_TEXT];
    double chance = report_chance(log, 1);
    tile(m, "Contrast top 1", "acc1_last", log);
    markup_put(m, "<span class=\"small\">");
    if (isfinite(chance))
        markup_printf(m, "chance %s%%", known_text(KNOWN_THREE, chance, text));
    if (chance > 0)
        markup_printf(
            m, "<br/>%s times that",
            known_text(chance < 1 ? KNOWN_COUNT : KNOWN_COSINE, value_of(row_of("acc1_last"), log) / chance, text));
    markup_put(m, "<br/>top 5 ");
    put_row(m, "acc5_last", log);
    markup_put(m, "</span></dd></div>\n");
}

void report_tiles(struct markup *m, const struct report_runs *r)
{
    const struct run_log *log = r->run[0];
    markup_put(m, "<dl class=\"tiles\">\n");
    if (log->best_epoch >= 0)
        knn_tile(m, log);
    tile(m, "Loss", log->metric[RUN_EPOCH_LOSS].last_key >= 0 ? "loss_epoch" : "loss_last", log);
    markup_put(m, "<span class=\"small\">chance ");
    put_row(m, "chance_last", log);
    markup_put(m, log->metric[RUN_EPOCH_LOSS].last_key >= 0 ? "<br/>mean of the last epoch" : "<br/>last step");
    markup_put(m, "</span></dd></div>\n");
    if (log->metric[RUN_ACC1].last_key >= 0)
        contrast_tile(m, log);
    tile(m, "Images per second", "img_per_s_mean", log);
    markup_put(m, "<span class=\"small\">mean of all steps<br/>waiting for data ");
    put_row(m, "data_wait_mean", log);
    markup_put(m, "</span></dd></div>\n</dl>\n");
}

/* ---- tables ---- */

static void head(struct markup *m, const struct report_runs *r, const char *first, const char *align)
{
    markup_printf(m, "<thead><tr><th scope=\"col\">%s</th>", first);
    for (int i = 0; i < r->runs; i++) {
        markup_printf(m, "<th scope=\"col\" class=\"%s\"><span class=\"key c%d\"></span><bdi>", align, i % 8);
        markup_text(m, r->run[i]->name);
        markup_put(m, "</bdi></th>");
    }
    markup_put(m, "</tr></thead>\n<tbody>\n");
}

void report_numbers(struct markup *m, const struct report_runs *r)
{
    markup_put(
        m,
        "<section><h2>Final numbers</h2>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"numbers\">"
        "<caption>At the end of each run's metrics.jsonl. Behind a kNN accuracy: its 95% interval, for other images of "
        "the kind</caption>\n");
    head(m, r, "", "num");
    for (int i = 0; i < ROWS; i++) {
        int any = 0;
        double best = -INFINITY;
        for (int run = 0; run < r->runs; run++) {
            double value = value_of(&rows[i], r->run[run]);
            any |= isfinite(value);
            best = isfinite(value) ? fmax(best, value) : best;
        }
        if (!any)
            continue;
        markup_printf(m, "<tr id=\"row-%s\"><th scope=\"row\">%s</th>", rows[i].id, rows[i].name);
        for (int run = 0; run < r->runs; run++) {
            int wins = r->runs > 1 && rows[i].better && value_of(&rows[i], r->run[run]) == best;
            markup_printf(m, "<td class=\"num%s\">", wins ? " best" : "");
            put_row(m, rows[i].id, r->run[run]);
            if (strncmp(rows[i].id, "knn_", 4) == 0 && rows[i].known == KNOWN_PERCENT)
                put_interval(m, value_of(&rows[i], r->run[run]), images_of(r->run[run]), 1);
            markup_put(m, "</td>");
        }
        markup_put(m, "</tr>\n");
    }
    markup_put(m, "</tbody></table></div></section>\n");
}

/* The bucket of `key`'s epochs in another series of the same epochs; NULL: empty. The two may have other widths. */
static double epoch_value(const struct series *s, const struct series_bucket *like)
{
    for (int i = 0; i < s->count; i++)
        if (s->bucket[i].n > 0 && s->bucket[i].first <= like->last && s->bucket[i].last >= like->first)
            return series_mean(&s->bucket[i]);
    return NAN;
}

static void epochs_of(struct markup *m, const struct run_log *log)
{
    const struct series *time = &log->metric[RUN_SECONDS];
    for (int i = 0; i < time->count; i++) {
        const struct series_bucket *b = &time->bucket[i];
        if (b->n == 0)
            continue;
        markup_printf(m,
                      b->n > 1 ? "<tr><th scope=\"row\">%lld\xe2\x80\x93%lld</th>" : "<tr><th scope=\"row\">%lld</th>",
                      (long long)b->first, (long long)b->last);
        const double value[3] = {epoch_value(&log->metric[RUN_EPOCH_LOSS], b), epoch_value(&log->metric[RUN_KNN], b),
                                 series_mean(b)};
        static const char *const name[3] = {"epoch_loss", "epoch_knn", "epoch_seconds"};
        static const enum known known[3] = {KNOWN_LOSS, KNOWN_PERCENT, KNOWN_TIME};
        for (int k = 0; k < 3; k++) {
            markup_put(m, "<td class=\"num\">");
            put_data(m, value[k], 1, known[k], k == 1 ? "%" : "", name[k]);
            markup_put(m, "</td>");
        }
        markup_put(m, "</tr>\n");
    }
}

/* Open, in a frame that is scrolled where there are many; those of several runs beside each other. */
void report_epochs(struct markup *m, const struct report_runs *r)
{
    int any = 0;
    for (int i = 0; i < r->runs; i++) {
        const struct run_log *log = r->run[i];
        if (log->metric[RUN_SECONDS].last_key < 0)
            continue;
        if (any++ == 0)
            markup_put(m, "<section><h2>Every epoch</h2>\n<p class=\"small\">Epoch 0 is the untrained "
                          "encoder.</p>\n<div class=\"tables\">\n");
        markup_printf(m, "<div class=\"scroll high\" tabindex=\"0\"><table class=\"epochs\" data-run=\"%d\">", i);
        if (r->runs > 1 || log->metric[RUN_SECONDS].width > 1) {
            markup_put(m, "<caption>");
            if (r->runs > 1) {
                markup_printf(m, "<span class=\"key c%d\"></span><bdi>", i % 8);
                markup_text(m, log->name);
                markup_put(m, "</bdi>");
            }
            if (log->metric[RUN_SECONDS].width > 1)
                markup_put(m,
                           r->runs > 1 ? "; lines are means of several epochs" : "Lines are means of several epochs");
            markup_put(m, "</caption>");
        }
        markup_put(m, "<thead><tr><th scope=\"col\">epoch</th><th scope=\"col\" class=\"num\">mean loss</th>"
                      "<th scope=\"col\" class=\"num\">kNN top-1</th><th scope=\"col\" class=\"num\">time</th></tr>"
                      "</thead>\n<tbody>\n");
        epochs_of(m, log);
        markup_put(m, "</tbody></table></div>\n");
    }
    if (any)
        markup_put(m, "</div></section>\n");
}

/* ---- options ---- */

static int differs(const struct report_runs *r, const char *name)
{
    const char *first = run_log_option(r->run[0], name);
    for (int i = 1; i < r->runs; i++) {
        const char *other = run_log_option(r->run[i], name);
        if ((first == NULL) != (other == NULL) || (first != NULL && strcmp(first, other) != 0))
            return 1;
    }
    return 0;
}

/* As people say what is no option but found out, and written by the driver in its own spelling. */
static const char *said(const char *name)
{
    static const char *const words[][2] = {
        {"data_print", "data, in short"}, {"held_out", "images held out"}, {"steps_per_epoch", "steps per epoch"},
        {"isa", "instruction set"},       {"version", "libmoco"},          {"library", "compute library"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i][0], name) == 0)
            return words[i][1];
    return name;
}

/* 100 is 0.1.0. */
static void put_version(struct markup *m, const char *value)
{
    long long number = 0;
    if (sscanf(value, "%9lld", &number) == 1 && number > 0 && strspn(value, "0123456789") == strlen(value))
        markup_printf(m, "%lld.%lld.%lld", number / 10000, number / 100 % 100, number % 100);
    else
        markup_text(m, value);
}

static void option_row(struct markup *m, const struct report_runs *r, const char *name)
{
    int marked = differs(r, name);
    markup_printf(m, "<tr%s><th scope=\"row\">", marked ? " class=\"differs\"" : "");
    markup_text(m, said(name));
    markup_put(m, marked ? " <span title=\"the runs differ\">\xe2\x89\xa0</span></th>" : "</th>");
    for (int i = 0; i < r->runs; i++) {
        const char *value = run_log_option(r->run[i], name);
        markup_put(m, "<td><bdi>");
        if (value != NULL && strcmp(name, "version") == 0)
            put_version(m, value);
        else
            markup_text(m, value == NULL ? "\xe2\x80\x93" : value[0] == 0 ? "(none)" : value);
        markup_put(m, "</bdi></td>");
    }
    markup_put(m, "</tr>\n");
}

static int named_before(const struct report_runs *r, int run, const char *name)
{
    for (int i = 0; i < run; i++)
        if (run_log_option(r->run[i], name) != NULL)
            return 1;
    return 0;
}

void report_options(struct markup *m, const struct report_runs *r)
{
    int differing = 0, all = 0;
    for (int pass = 0; pass < 2; pass++) { /* what differs comes first */
        if (pass == 0)
            markup_put(m, "<section><h2>Configuration</h2>\n");
        for (int run = 0; run < r->runs; run++)
            for (int i = 0; i < r->run[run]->options; i++) {
                const char *name = r->run[run]->option[i].name;
                if (named_before(r, run, name) || differs(r, name) != (pass == 0))
                    continue;
                if (all++ == 0) {
                    markup_printf(m, "<div class=\"scroll\" tabindex=\"0\"><table class=\"options%s\">",
                                  r->runs == 1 ? " one" : "");
                    head(m, r, "option", "");
                }
                differing += pass == 0;
                option_row(m, r, name);
            }
    }
    if (all > 0)
        markup_put(m, "</tbody></table></div>\n");
    if (all == 0)
        markup_put(m, "<p>metrics.jsonl has no line that tells it.</p>\n");
    else if (r->runs > 1)
        markup_printf(m,
                      "<p class=\"small\">%d of %d differ between the runs: they stand first, marked "
                      "\xe2\x89\xa0.</p>\n",
                      differing, all);
    markup_put(m, "</section>\n");
}

/* ---- what could not be read ---- */

void report_problems(struct markup *m, const struct report_runs *r)
{
    for (int run = 0; run < r->runs; run++) {
        const struct run_log *log = r->run[run];
        if (log->problems == 0)
            continue;
        markup_printf(m, "<section class=\"problems\"><h2>%lld line%s left out</h2>\n<ul>\n", (long long)log->problems,
                      log->problems == 1 ? "" : "s");
        for (int64_t i = 0; i < log->problems && i < RUN_PROBLEMS_KEPT; i++) {
            markup_put(m, "<li><bdi>");
            markup_text(m, log->path);
            markup_printf(m, "</bdi>, line %lld: ", (long long)log->problem[i].line);
            markup_text(m, log->problem[i].text);
            markup_put(m, "</li>\n");
        }
        if (log->problems > RUN_PROBLEMS_KEPT)
            markup_printf(m, "<li>and %lld more</li>\n", (long long)(log->problems - RUN_PROBLEMS_KEPT));
        markup_put(m, "</ul></section>\n");
    }
}
