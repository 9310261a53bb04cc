/* SPDX-License-Identifier: MIT
 *
 * report_known: numbers as a page shows them: with the digits that are known, not with those that were computed. All
 * digits stand in the page's <data> elements. What a reader would get wrong: the interval of an accuracy is that of
 * other images of the kind; two runs that were measured on the same images may differ by less and truly differ. */
#ifndef MOCO_EXAMPLES_REPORT_KNOWN_H
#define MOCO_EXAMPLES_REPORT_KNOWN_H

#include <stdint.h>

#include "report_axis.h"

enum known {
    KNOWN_COUNT,
    KNOWN_PERCENT, /* one digit after the point: of a thousand images each one counts */
    KNOWN_LOSS,    /* two */
    KNOWN_COSINE,  /* two */
    KNOWN_SPREAD,  /* three */
    KNOWN_THREE,   /* three that are not 0: speeds, norms, rates */
    KNOWN_TIME,    /* as people say it */
};

/* Returns `text`. */
const char *known_text(enum known known, double value, char text[AXIS_TEXT]);

/* Wilson's interval of 95 %: where the accuracy on endless images of this kind may lie, in percent. */
void known_interval(double percent, int64_t n, double *low, double *high);

#endif
