/* SPDX-License-Identifier: MIT
 *
 * report_axis: see report_axis.h. */
#include "report_axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double round_step(double range, int wanted)
{
    double rough = range / wanted, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

void axis_set(struct axis *axis, double low, double high, int wanted, int snap)
{
    *axis = (struct axis){0};
    if (!(low <= high) || !isfinite(high - low) || (low == 0 && high == 0)) { /* no value, or none to speak of */
        low = 0;
        high = 1;
    } else if (high - low <= 1e-9 * fmax(fabs(low), fabs(high))) { /* one value */
        double room = 0.1 * fabs(low);
        low -= room;
        high += room;
    }
    axis->step = round_step(high - low, wanted);
    double first = snap ? floor(low / axis->step + 1e-9) : ceil(low / axis->step - 1e-9);
    double last = snap ? ceil(high / axis->step - 1e-9) : floor(high / axis->step + 1e-9);
    axis->low = snap ? first * axis->step : low;
    axis->high = snap ? last * axis->step : high;
    for (double k = first; k <= last && axis->ticks < AXIS_TICKS_MAX; k++)
        axis->tick[axis->ticks++] = k * axis->step;
}

double axis_part(const struct axis *axis, double value)
{
    return (value - axis->low) / (axis->high - axis->low);
}

/* Puts commas between the thousands of a plain decimal number. */
static void group(const char *plain, char text[AXIS_TEXT])
{
    size_t sign = plain[0] == '-', whole = strspn(plain + sign, "0123456789"), at = 0;
    if (strlen(plain) + whole / 3 >= AXIS_TEXT) {
        snprintf(text, AXIS_TEXT, "%.39s", plain);
        return;
    }
    for (size_t i = 0; plain[i] != 0; i++) {
        size_t digit = i - sign;
        if (i > sign && digit < whole && (whole - digit) % 3 == 0)
            text[at++] = ',';
        text[at++] = plain[i];
    }
    text[at] = 0;
}

void axis_text(const struct axis *axis, double value, char text[AXIS_TEXT])
{
    char plain[AXIS_TEXT];
    double size = fmax(fabs(axis->low), fabs(axis->high));
    int digits = (int)fmax(0, -floor(log10(axis->step) + 1e-9));
    if (fabs(value) < axis->step * 1e-6)
        value = 0;
    if (size >= 1e9 || digits > 6) {
        snprintf(text, AXIS_TEXT, "%.3g", value);
        return;
    }
    snprintf(plain, sizeof plain, "%.*f", digits, value);
    group(plain, text);
}
