/* SPDX-License-Identifier: MIT
 *
 * report_known: see report_known.h. */
#include "report_known.h"

#include <math.h>
#include <stdio.h>

#include "support/human.h"

#define NORMAL_95 1.959963984540054

/* Three digits that are not 0, without an exponent where there is room for it. */
static void three(double value, char text[AXIS_TEXT])
{
    double size = fabs(value);
    int before = size >= 1e-3 ? (int)floor(log10(size) + 1e-12) : 0;
    if (size >= 1e9 || (size < 1e-3 && size > 0))
        snprintf(text, AXIS_TEXT, "%.2g", value);
    else if (before >= 2) {
        double unit = pow(10, before - 2);
        snprintf(text, AXIS_TEXT, "%s", human_count((int64_t)(round(value / unit) * unit)));
    } else
        snprintf(text, AXIS_TEXT, "%.*f", 2 - before > 4 ? 4 : 2 - before, value);
}

const char *known_text(enum known known, double value, char text[AXIS_TEXT])
{
    static const int digits[] = {[KNOWN_PERCENT] = 1, [KNOWN_LOSS] = 2, [KNOWN_COSINE] = 2, [KNOWN_SPREAD] = 3};
    if (known == KNOWN_TIME)
        snprintf(text, AXIS_TEXT, "%s", human_seconds(value));
    else if (known == KNOWN_THREE || fabs(value) >= 1e9)
        three(value, text);
    else if (known == KNOWN_COUNT)
        snprintf(text, AXIS_TEXT, "%s", human_count((int64_t)llround(value)));
    else
        snprintf(text, AXIS_TEXT, "%.*f", digits[known], value);
    return text;
}

void known_interval(double percent, int64_t n, double *low, double *high)
{
    double p = percent / 100, z = NORMAL_95, count = (double)n;
    double middle = (p + z * z / (2 * count)) / (1 + z * z / count);
    double half = z / (1 + z * z / count) * sqrt(p * (1 - p) / count + z * z / (4 * count * count));
    *low = 100 * fmax(middle - half, 0);
    *high = 100 * fmin(middle + half, 1);
}
