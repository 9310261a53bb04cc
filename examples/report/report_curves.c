/* SPDX-License-Identifier: MIT
 *
 * report_curves: which curves a report shows, and with which levels and marks. With one run, related curves share a
 * figure; with several, each figure shows one number of all runs. */
#include <math.h>
#include <stdio.h>

#include "report_parts.h"
#include "support/human.h"

struct plan {
    const char *id, *title, *about, *unit;
    enum run_metric metric[2];
    int metrics;
    const char *name[2]; /* at the curves' ends */
    double scale;
    int from_zero, wide;
    enum known known; /* digits of the number at its head */
};

static const struct plan plans[] = {
    {"loss",
     "Loss",
     "Of each step: how badly a query tells its own key from the negatives.",
     "",
     {RUN_LOSS},
     1,
     {"loss"},
     1,
     0,
     1,
     KNOWN_LOSS},
    {"knn",
     "kNN top-1",
     "Held-out images whose nearest training images name their class.",
     "%",
     {RUN_KNN},
     1,
     {"kNN"},
     1,
     0,
     0,
     KNOWN_PERCENT},
    {"contrast",
     "Contrast accuracy",
     "Queries whose own key is the most similar of all, or among the first five.",
     "%",
     {RUN_ACC1, RUN_ACC5},
     2,
     {"top 1", "top 5"},
     1,
     1,
     0,
     KNOWN_PERCENT},
    {"cosine",
     "Cosines",
     "Of a query to its own key, and to the negatives on average.",
     "",
     {RUN_POSITIVE, RUN_NEGATIVE},
     2,
     {"own key", "negatives"},
     1,
     0,
     0,
     KNOWN_COSINE},
    {"std",
     "Spread of embeddings",
     "Standard deviation per dimension; near 0 the encoder has collapsed.",
     "",
     {RUN_STD},
     1,
     {"std"},
     1,
     1,
     0,
     KNOWN_SPREAD},
    {"gradient", "Gradient norm", "Of all parameters together.", "", {RUN_GRADIENT}, 1, {"norm"}, 1, 1, 0, KNOWN_THREE},
    {"scale",
     "Loss scale",
     "Of fp16: halved where a gradient overflowed and the step was skipped.",
     "",
     {RUN_SCALE},
     1,
     {"scale"},
     1,
     1,
     0,
     KNOWN_COUNT},
    {"lr", "Learning rate", "As scheduled.", "", {RUN_LR}, 1, {"lr"}, 1, 1, 0, KNOWN_THREE},
    {"speed",
     "Images per second",
     "Of each step, waiting included.",
     "",
     {RUN_SPEED},
     1,
     {"img/s"},
     1,
     1,
     0,
     KNOWN_THREE},
    {"wait", "Waiting for data", "Part of each step's time.", "%", {RUN_WAIT}, 1, {"wait"}, 100, 1, 0, KNOWN_PERCENT},
};
enum { PLANS = sizeof plans / sizeof plans[0] };

double report_x_scale(const struct report_runs *r, int run)
{
    if (r->x_name[0] != 'e')
        return 1;
    return 1 / run_log_number(r->run[run], "steps_per_epoch");
}

/* The level that a guess would reach, if it is the same in all runs. */
static void add_chance(struct chart *chart, const struct report_runs *r)
{
    const struct series *first = &r->run[0]->metric[RUN_CHANCE];
    if (first->last_key < 0)
        return;
    for (int i = 1; i < r->runs; i++)
        if (!(fabs(r->run[i]->metric[RUN_CHANCE].last - first->last) < 1e-6))
            return;
    struct chart_level *level = &chart->level[chart->levels++];
    int of_queue = fabs(log(run_log_number(r->run[0], "moco-k") + 1) - first->last) < 1e-6;
    level->value = first->last;
    level->said = 1;
    snprintf(level->text, sizeof level->text, "chance: %s%.2f", of_queue ? "ln(K+1) = " : "", first->last);
}

/* The same for the accuracies: what a guess among all keys reaches. */
static void add_accuracy_chance(struct chart *chart, const struct report_runs *r, const struct plan *p, int part)
{
    for (int i = 0; i < p->metrics; i++) {
        if (r->runs > 1 && i != part)
            continue;
        int among = p->metric[i] == RUN_ACC5 ? 5 : 1;
        double chance = report_chance(r->run[0], among);
        for (int run = 1; run < r->runs; run++)
            if (!(fabs(report_chance(r->run[run], among) - chance) < 1e-3 * chance))
                return;
        if (!isfinite(chance))
            return;
        char text[AXIS_TEXT];
        struct chart_level *level = &chart->level[chart->levels++];
        level->value = chance;
        snprintf(level->text, sizeof level->text, "chance %s%s%%", r->runs > 1 || i == 0 ? "" : "top 5 ",
                 known_text(KNOWN_THREE, chance, text));
        level->said = r->runs > 1 || p->metrics == 1 || among == 1;
    }
}

static void add_queue_full(struct chart *chart, const struct report_runs *r)
{
    if (r->runs > 1 || r->run[0]->full_step < 0)
        return;
    chart->mark = (double)r->run[0]->full_step * report_x_scale(r, 0);
    snprintf(chart->mark_text, sizeof chart->mark_text, "queue full: step %s", human_count(r->run[0]->full_step));
}

/* Unit vectors spread evenly over all directions have 1/sqrt(C) in each. */
static void add_even_spread(struct chart *chart, const struct report_runs *r)
{
    double dim = run_log_number(r->run[0], "moco-dim");
    for (int i = 1; i < r->runs; i++)
        if (run_log_number(r->run[i], "moco-dim") != dim)
            return;
    if (!(dim >= 1))
        return;
    struct chart_level *level = &chart->level[chart->levels++];
    level->value = 1 / sqrt(dim);
    level->said = 1;
    snprintf(level->text, sizeof level->text, "spread evenly: 1/\xe2\x88\x9a%g = %.3f", dim, level->value);
}

/* The step from which on the loss is among all negatives, if most of the run is. */
static int64_t comparable_from(const struct run_log *log, enum run_metric metric)
{
    int of_contrast = metric == RUN_LOSS || metric == RUN_ACC1 || metric == RUN_ACC5;
    return of_contrast && log->full_step > 0 && log->full_step <= log->last_step / 2 ? log->full_step + 1 : 0;
}

static void add_curve(struct chart *chart, const struct report_runs *r, int run, enum run_metric metric,
                      const char *name, int colour, double scale)
{
    const struct run_log *log = r->run[run];
    chart->curve[chart->curves++] = (struct chart_curve){
        .series = &log->metric[metric],
        .name = name,
        .metric = run_metric_names[metric],
        .run = run,
        .colour = colour % 8,
        .key_base = metric < RUN_EPOCH_METRICS,
        .from = comparable_from(log, metric),
        .x_scale = report_x_scale(r, run),
        .scale = scale,
    };
}

/* Figure number `part` of a plan, of which one run has one and several runs one for each metric. */
static void make(const struct plan *p, const struct report_runs *r, int part, struct chart *chart)
{
    int many = r->runs > 1;
    static char id[2][40], title[2][80]; /* of the two figures that a plan can become */
    snprintf(id[part], sizeof id[part], many && part > 0 ? "%s%d" : "%s", p->id, part + 1);
    snprintf(title[part], sizeof title[part], many && p->metrics > 1 ? "%s, %s" : "%s", p->title, p->name[part]);
    *chart = (struct chart){.id = id[part],
                            .title = title[part],
                            .about = p->about,
                            .unit = p->unit,
                            .x_name = r->x_name,
                            .x_high = r->x_high,
                            .from_zero = p->from_zero,
                            .wide = p->wide,
                            .known = p->known,
                            .many = many};
    for (int run = 0; run < r->runs && many; run++)
        add_curve(chart, r, run, p->metric[part], r->run[run]->name, run, p->scale);
    for (int i = 0; i < p->metrics && !many; i++)
        add_curve(chart, r, 0, p->metric[i], p->name[i], i, p->scale);
    if (p->metric[0] == RUN_LOSS) {
        add_chance(chart, r);
        add_queue_full(chart, r);
    }
    if (p->metric[0] == RUN_ACC1)
        add_accuracy_chance(chart, r, p, part);
    if (p->metric[0] == RUN_STD)
        add_even_spread(chart, r);
}

static int64_t widest(const struct report_runs *r)
{
    int64_t width = 1;
    for (int i = 0; i < r->runs; i++)
        if (r->run[i]->metric[RUN_LOSS].width > width)
            width = r->run[i]->metric[RUN_LOSS].width;
    return width;
}

void report_curves(struct markup *m, const struct report_runs *r)
{
    struct chart chart;
    int64_t width = widest(r);
    markup_put(m, "<section class=\"curves\"><h2>Curves</h2>\n");
    if (width > 1)
        markup_printf(m, "<p class=\"small\">Lines are means of %s%lld steps.%s</p>\n", r->runs > 1 ? "up to " : "",
                      (long long)width, r->runs > 1 ? "" : " Bands reach from the least to the greatest of them.");
    markup_put(m, "<div class=\"charts\">\n");
    for (int i = 0; i < PLANS; i++)
        for (int part = 0; part < (r->runs > 1 ? plans[i].metrics : 1); part++) {
            make(&plans[i], r, part, &chart);
            chart_draw(m, &chart);
        }
    markup_put(m, "</div></section>\n");
}

void report_curves_data(struct markup *m, const struct report_runs *r)
{
    struct chart chart;
    int written = 0;
    markup_put(m, "<script type=\"application/json\" id=\"data\">{");
    for (int i = 0; i < PLANS; i++)
        for (int part = 0; part < (r->runs > 1 ? plans[i].metrics : 1); part++) {
            make(&plans[i], r, part, &chart);
            written |= chart_data(m, &chart, !written);
        }
    markup_put(m, "}</script>\n");
}
