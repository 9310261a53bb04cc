/* SPDX-License-Identifier: MIT
 *
 * report_axis: where an axis begins and ends, and which round numbers are on it. */
#ifndef MOCO_EXAMPLES_REPORT_AXIS_H
#define MOCO_EXAMPLES_REPORT_AXIS_H

#define AXIS_TICKS_MAX 12
#define AXIS_TEXT 40

struct axis {
    double low, high;
    double tick[AXIS_TICKS_MAX];
    int ticks;
    double step; /* between ticks */
};

/* Ticks at 1, 2 or 5 times a power of ten, about `wanted` of them (2 to 6). With `snap`, low and high are moved
 * outwards to ticks; an empty range is widened. */
void axis_set(struct axis *axis, double low, double high, int wanted, int snap);

/* 0: at low, 1: at high. */
double axis_part(const struct axis *axis, double value);

/* A tick's number with as many digits as the step between ticks asks for: 1,200 and 0.05. */
void axis_text(const struct axis *axis, double value, char text[AXIS_TEXT]);

#endif
