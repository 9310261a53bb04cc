/* SPDX-License-Identifier: MIT
 *
 * report_chart: one figure with curves over the steps of runs: an SVG that stretches to any width, and texts that do
 * not (they are HTML over it). All charts have one frame, whatever the length of their names and numbers, so that
 * equal steps are below each other; the texts of a curve are above it. A curve shows bucket means as a line, and the
 * range from least to greatest as a band. What a reader would get wrong: the vertical axis of loss and accuracies fits
 * the values after the queue was full. Earlier values are among fewer negatives and cannot be compared. Curves are cut
 * there, never moved. */
#ifndef MOCO_EXAMPLES_REPORT_CHART_H
#define MOCO_EXAMPLES_REPORT_CHART_H

#include "folder/run_series.h"
#include "report_known.h"
#include "support/markup.h"

#define CHART_CURVES_MAX 16

struct chart_curve {
    const struct series *series;
    const char *name;   /* of what, or whose; not ours */
    const char *metric; /* as in metrics.jsonl */
    int run, colour;    /* colour 0 to 7; dashed by runs */
    int64_t key_base;   /* added to the series' keys: 1 for steps */
    int64_t from;       /* the axis fits values from this step on */
    double x_scale;     /* from steps to the horizontal axis */
    double scale;       /* of values: 100 turns a part into percent */
};

struct chart_level {
    double value;
    int said; /* 1: text is drawn on it; else it is in the description only */
    char text[80];
};

struct chart {
    const char *id, *title, *about; /* ours: about is a sentence under the title */
    const char *unit;               /* "%" or "" */
    const char *x_name;             /* "epoch" or "step" */
    double x_high;
    int from_zero; /* the vertical axis begins there */
    int wide;
    int many; /* runs are overlaid: no bands, and their names stand once, at the head of the page */
    enum known known;
    struct chart_curve curve[CHART_CURVES_MAX];
    int curves;
    struct chart_level level[2]; /* dashed, across */
    int levels;
    double mark; /* a place on the horizontal axis, if mark_text is not "" */
    char mark_text[80];
};

/* Nothing if no curve has a value. */
void chart_draw(struct markup *m, const struct chart *chart);

/* The numbers behind it: a member of a JSON object, for the read-out under a pointer and for tests. `first`: no comma
 * before it. Returns 1 if it wrote one. */
int chart_data(struct markup *m, const struct chart *chart, int first);

#endif
