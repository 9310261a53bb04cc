/* SPDX-License-Identifier: MIT
 *
 * report_parts: the pieces that report.c puts together, each in a file of its name. */
#ifndef MOCO_EXAMPLES_REPORT_PARTS_H
#define MOCO_EXAMPLES_REPORT_PARTS_H

#include "folder/run_log.h"
#include "gallery.h"
#include "report_chart.h"
#include "support/markup.h"

struct report_runs {
    struct run_log *const *run;
    struct gallery *const *gallery; /* NULL where there is none */
    int runs;
    const char *x_name; /* "epoch" where all runs know how many steps that is, and one has gone beyond the first */
    double x_high;      /* in that unit */
};

/* report_curves.c */
void report_curves(struct markup *m, const struct report_runs *r);
void report_curves_data(struct markup *m, const struct report_runs *r);
double report_x_scale(const struct report_runs *r, int run); /* from steps to the horizontal axis */

/* report_tables.c */
void report_tiles(struct markup *m, const struct report_runs *r);   /* the few numbers that matter most; of one run */
void report_numbers(struct markup *m, const struct report_runs *r); /* the table of final numbers */
void report_epochs(struct markup *m, const struct report_runs *r);
void report_options(struct markup *m, const struct report_runs *r); /* differing ones are marked */
void report_problems(struct markup *m, const struct report_runs *r);

/* report_map.c */
void report_maps(struct markup *m, const struct report_runs *r); /* of embeddings, and their spectra */

/* report_sheets.c */
void report_neighbours(struct markup *m, const struct report_runs *r);
void report_views(struct markup *m, const struct report_runs *r);

/* report_style.c */
extern const char *const report_css[]; /* lines, then NULL */
extern const char *const report_js[];
extern const char report_js_hash[]; /* SHA-256, base64: the page lets no other script run */

#endif
