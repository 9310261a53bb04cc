/* SPDX-License-Identifier: MIT
 *
 * report_parts: the pieces that report.c puts together, each in a file of its name. */
#ifndef MOCO_EXAMPLES_REPORT_PARTS_H
#define MOCO_EXAMPLES_REPORT_PARTS_H

#include "folder/run_log.h"
#include "gallery.h"
#include "report.h"
#include "report_chart.h"
#include "support/markup.h"

struct report_runs {
    struct run_log *const *run;
    struct gallery *const *gallery; /* NULL where there is none */
    int runs;
    const char *x_name; /* "epoch" where all runs know how many steps that is, and one has gone beyond the first */
    double x_high;      /* in that unit */
};

/* report_state.c */
void report_state(struct markup *m, const struct run_log *log, enum report_stage stage);

/* report_curves.c */
void report_curves(struct markup *m, const struct report_runs *r);
void report_curves_data(struct markup *m, const struct report_runs *r);
double report_x_scale(const struct report_runs *r, int run); /* from steps to the horizontal axis */

/* report_tables.c */
void report_tiles(struct markup *m, const struct report_runs *r);   /* the few numbers that matter most; of one run */
void report_numbers(struct markup *m, const struct report_runs *r); /* the table of final numbers */
void report_epochs(struct markup *m, const struct report_runs *r);
void report_options(struct markup *m, const struct report_runs *r); /* differing ones are marked */
double report_chance(const struct run_log *log, int among);         /* percent, of a guess that may name so many keys */
void report_problems(struct markup *m, const struct report_runs *r);

/* report_map.c */
void report_maps_css(struct markup *m); /* who points at a class in the list sees it on the maps */
void report_maps(struct markup *m, const struct report_runs *r);      /* of embeddings, and their spectra */
void report_maps_data(struct markup *m, const struct report_runs *r); /* for the pictures under the pointer */

/* report_spectrum.c */
void report_spectrum(struct markup *m, const struct report_runs *r);

/* report_sheets.c */
void report_neighbours(struct markup *m, const struct report_runs *r);
void report_views(struct markup *m, const struct report_runs *r);

/* report_style.c */
extern const char *const report_css[]; /* lines, then NULL */
extern const char *const report_js[];
extern const char report_js_hash[]; /* SHA-256, base64: the page lets no other script run */

#endif
