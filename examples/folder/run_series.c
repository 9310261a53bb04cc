/* SPDX-License-Identifier: MIT
 *
 * run_series: see run_series.h. */
#include "run_series.h"

#include <math.h>
#include <string.h>

void series_init(struct series *s)
{
    memset(s, 0, sizeof *s);
    s->width = 1;
    s->last_key = -1;
}

static void merge(struct series_bucket *to, const struct series_bucket *from)
{
    if (from->n == 0)
        return;
    if (to->n == 0) {
        *to = *from;
        return;
    }
    to->n += from->n;
    to->last = from->last;
    to->at += from->at;
    to->sum += from->sum;
    to->min = fmin(to->min, from->min);
    to->max = fmax(to->max, from->max);
}

static void halve(struct series *s)
{
    static const struct series_bucket empty;
    for (int i = 0; i < s->count; i++) {
        struct series_bucket moved = s->bucket[i];
        s->bucket[i] = empty;
        merge(&s->bucket[i / 2], &moved);
    }
    s->count = (s->count + 1) / 2;
    s->width *= 2;
}

void series_add(struct series *s, int64_t key, double at, double value)
{
    if (!isfinite(value) || key < 0)
        return;
    while (key / s->width >= SERIES_MAX)
        halve(s);
    int index = (int)(key / s->width);
    merge(
        &s->bucket[index],
        &(struct series_bucket){.n = 1, .first = key, .last = key, .at = at, .sum = value, .min = value, .max = value});
    if (index >= s->count)
        s->count = index + 1;
    s->last = value;
    s->last_key = key;
}

double series_mean(const struct series_bucket *b)
{
    return b->sum / (double)b->n;
}

double series_at(const struct series_bucket *b)
{
    return b->at / (double)b->n;
}
