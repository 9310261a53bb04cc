/* SPDX-License-Identifier: MIT
 *
 * report_map: embeddings as points of a plane, coloured by class, and the spectrum of their covariance. What a
 * reader would get wrong: the plane holds only a part of the variance (the page says which part), so that classes
 * that overlap here may be far apart. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_axis.h"
#include "report_parts.h"
#include "support/human.h"

#define MARKS 16 /* 8 colours, round and square */
#define SPECTRUM_DECADES 8

static int has_map(const struct gallery *g)
{
    return g != NULL && g->points > 0 && g->part != NULL;
}

/* ---- the plane ---- */

struct plane {
    const struct gallery *g;
    double left, top, size; /* a square in embedding units; y grows upwards, top is its greatest */
    int64_t labels;         /* greatest label + 1 */
};

static void set_plane(struct plane *p, const struct gallery *g)
{
    double low[2] = {g->x[0], g->y[0]}, high[2] = {g->x[0], g->y[0]};
    *p = (struct plane){.g = g};
    for (int64_t i = 0; i < g->points; i++) {
        low[0] = fmin(low[0], g->x[i]);
        high[0] = fmax(high[0], g->x[i]);
        low[1] = fmin(low[1], g->y[i]);
        high[1] = fmax(high[1], g->y[i]);
        if (g->label[i] >= 0 && g->label[i] < 1e9 && (int64_t)g->label[i] >= p->labels)
            p->labels = (int64_t)g->label[i] + 1;
    }
    p->size = fmax(high[0] / 2 - low[0] / 2, high[1] / 2 - low[1] / 2) * 2 * 1.04;
    if (!(p->size > 0) || !isfinite(p->size))
        p->size = 1;
    p->left = low[0] / 2 + high[0] / 2 - p->size / 2;
    p->top = low[1] / 2 + high[1] / 2 + p->size / 2;
}

static double plane_x(const struct plane *p, double x)
{
    return 1000 * (x - p->left) / p->size;
}

static double plane_y(const struct plane *p, double y)
{
    return 1000 * (p->top - y) / p->size;
}

/* Which of the marks a point gets; -1: it has no class. */
static int mark_of(const struct plane *p, int64_t point)
{
    double label = p->g->label[point];
    return label >= 0 && label < 1e9 ? (int)((int64_t)label % MARKS) : -1;
}

static void draw_points(struct markup *m, const struct plane *p)
{
    for (int mark = -1; mark < MARKS; mark++) {
        int any = 0;
        for (int64_t i = 0; i < p->g->points; i++) {
            if (mark_of(p, i) != mark)
                continue;
            if (any++ == 0)
                markup_printf(m, "<path class=\"point %s c%d m%d\" d=\"", mark >= 8 ? "square" : "round",
                              mark < 0 ? 0 : mark % 8, mark < 0 ? 0 : mark);
            markup_put(m, "M");
            markup_coordinate(m, round(plane_x(p, p->g->x[i]) * 10) / 10);
            markup_put(m, " ");
            markup_coordinate(m, round(plane_y(p, p->g->y[i]) * 10) / 10);
            markup_put(m, "h0");
        }
        if (any)
            markup_put(m, "\"/>\n");
    }
}

/* Half the room that a name takes on a phone, in percent of the plane's side. */
static double half_width(const char *name)
{
    size_t length = strlen(name);
    return 1.2 * (double)(length < 36 ? length : 36) + 1;
}

/* A point in the thick of a class, -1: it has none. The mean of a class may lie between two clouds, so what is sought
 * is the point with the least sum of the distances' roots, among a sample if there are many. */
static int64_t middle_of(const struct gallery *g, int64_t label)
{
    int64_t sample[200], n = 0, all = 0, best = -1;
    double least = INFINITY;
    for (int64_t i = 0; i < g->points; i++)
        all += g->label[i] == (double)label;
    int64_t stride = (all + 199) / 200, passed = 0;
    for (int64_t i = 0; i < g->points; i++)
        if (g->label[i] == (double)label && passed++ % stride == 0)
            sample[n++] = i;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += sqrt(hypot(g->x[sample[i]] - g->x[sample[j]], g->y[sample[i]] - g->y[sample[j]]));
        if (sum < least) {
            least = sum;
            best = sample[i];
        }
    }
    return best;
}

/* A name in the middle of its class, where there is room for it; those without are in the list below. */
static void draw_names(struct markup *m, const struct plane *p)
{
    double placed[MARKS][3]; /* x, y, half the width */
    int count = 0;
    for (int64_t label = 0; label < p->labels && p->labels <= MARKS; label++) {
        const char *name = gallery_class(p->g, label);
        double half = half_width(name);
        int64_t at = middle_of(p->g, label);
        if (at < 0 || name[0] == 0)
            continue;
        double x = fmin(fmax(plane_x(p, p->g->x[at]) / 10, half), 100 - half);
        double y = fmin(fmax(plane_y(p, p->g->y[at]) / 10, 3), 97);
        int free_place = 1;
        for (int k = 0; k < count; k++)
            free_place &= fabs(x - placed[k][0]) > half + placed[k][2] || fabs(y - placed[k][1]) > 6;
        if (!free_place)
            continue;
        placed[count][0] = x;
        placed[count][1] = y;
        placed[count++][2] = half;
        markup_printf(m, "<span class=\"name c%d\" style=\"left:%.1f%%;top:%.1f%%\"><bdi>", (int)label % 8, x, y);
        markup_text(m, name);
        markup_put(m, "</bdi></span>\n");
    }
}

static void draw_classes(struct markup *m, const struct plane *p)
{
    if (p->labels == 0 || p->labels > MARKS)
        return;
    markup_put(m, "<ul class=\"classes\">");
    for (int64_t label = 0; label < p->labels; label++) {
        markup_printf(m, "<li class=\"k%d\" tabindex=\"0\"><span class=\"key %s c%d\"></span><bdi>", (int)label,
                      label >= 8 ? "square" : "round", (int)label % 8);
        if (gallery_class(p->g, label)[0] != 0)
            markup_text(m, gallery_class(p->g, label));
        else
            markup_printf(m, "class %lld", (long long)label);
        markup_put(m, "</bdi></li>\n");
    }
    markup_put(m, "</ul>\n");
}

static void draw_map(struct markup *m, const struct report_runs *r, int run)
{
    const struct gallery *g = r->gallery[run];
    struct plane p;
    set_plane(&p, g);
    markup_printf(m, "<figure class=\"map\" id=\"map%d\">\n<figcaption><b>Map", run);
    if (r->runs > 1) {
        markup_put(m, " of <bdi>");
        markup_text(m, r->run[run]->name);
        markup_put(m, "</bdi>");
    }
    markup_printf(m, "</b> <span class=\"about\">%s ", human_count(g->points));
    markup_text(m, g->of != NULL ? g->of : "");
    markup_printf(m, " images after epoch %lld: their ", (long long)g->epoch);
    markup_text(m, g->on != NULL ? g->on : "embedding");
    markup_printf(m,
                  ", scaled to length 1, in the plane of its two principal components (%.1f%% and %.1f%% of the "
                  "variance).",
                  100 * g->part[0], 100 * g->part[1]);
    if (p.labels > MARKS)
        markup_printf(m, " The %s classes share %d marks.", human_count(p.labels), MARKS);
    markup_printf(m,
                  "</span></figcaption>\n<div class=\"plane\"><svg viewBox=\"0 0 1000 1000\" role=\"img\" "
                  "aria-labelledby=\"map%d-title map%d-desc\"><title id=\"map%d-title\">Map of embeddings</title>"
                  "<desc id=\"map%d-desc\">A point for each of %s images, coloured by class.</desc>\n",
                  run, run, run, run, human_count(g->points));
    draw_points(m, &p);
    markup_put(m, "</svg>\n");
    draw_names(m, &p);
    markup_put(m, "</div>\n");
    draw_classes(m, &p);
    markup_put(m, "</figure>\n");
}

/* ---- the spectrum ---- */

struct spectra {
    struct axis x;
    double high, low; /* powers of ten */
};

static int set_spectra(struct spectra *s, const struct report_runs *r)
{
    int64_t longest = 0;
    double greatest = 0, least = INFINITY;
    for (int run = 0; run < r->runs; run++)
        for (int64_t i = 0; r->gallery[run] != NULL && i < r->gallery[run]->values; i++) {
            double value = r->gallery[run]->spectrum[i];
            longest = i + 1 > longest ? i + 1 : longest;
            greatest = fmax(greatest, value);
            least = value > 0 ? fmin(least, value) : least;
        }
    if (longest < 2 || !(greatest > 0))
        return 0;
    axis_set(&s->x, 1, (double)longest, 5, 0);
    s->high = ceil(log10(greatest) - 1e-9);
    s->low = fmax(floor(log10(least) + 1e-9), s->high - SPECTRUM_DECADES);
    s->low = fmin(s->low, s->high - 1);
    return 1;
}

static double spectrum_y(const struct spectra *s, double value)
{
    double power = value > 0 ? log10(value) : s->low - 1;
    return 1000 * (s->high - fmax(power, s->low - 1)) / (s->high - s->low);
}

static void draw_spectrum_lines(struct markup *m, const struct report_runs *r, const struct spectra *s)
{
    markup_put(m, "<path class=\"grid\" d=\"");
    for (double power = s->low; power <= s->high; power++)
        markup_printf(m, "M0 %.1fh1000", 1000 * (s->high - power) / (s->high - s->low));
    markup_put(m, "\"/>\n");
    for (int run = 0; run < r->runs; run++) {
        const struct gallery *g = r->gallery[run];
        if (g == NULL || g->values < 2)
            continue;
        /* a page has room for so many points; the values fall, so that none is hidden */
        int64_t stride = (g->values + 511) / 512;
        markup_printf(m, "<path class=\"line c%d r%d\" data-run=\"%d\" d=\"", run % 8, run / 8 % 3, run);
        for (int64_t i = 0; i < g->values; i += stride) {
            markup_put(m, i == 0 ? "M" : "L");
            markup_coordinate(m, 1000 * axis_part(&s->x, (double)(i + 1)));
            markup_put(m, " ");
            markup_coordinate(m, spectrum_y(s, g->spectrum[i]));
        }
        markup_put(m, "\"/>\n");
    }
}

static void draw_spectrum(struct markup *m, const struct report_runs *r)
{
    struct spectra s;
    char text[AXIS_TEXT];
    if (!set_spectra(&s, r))
        return;
    markup_put(
        m,
        "<figure class=\"chart many\" id=\"spectrum\">\n<figcaption><b>Spectrum</b> <span class=\"about\">Eigenvalues "
        "of the embeddings' covariance, largest first. A steep fall: few directions are used.");
    int any = 0;
    for (int run = 0; run < r->runs; run++) {
        const struct gallery *g = r->gallery[run];
        if (g == NULL || !isfinite(g->effective_rank))
            continue;
        markup_put(m, any++ == 0 ? " Effective rank: " : ", ");
        if (r->runs > 1) {
            markup_printf(m, "<span class=\"key c%d\"></span><bdi>", run % 8);
            markup_text(m, r->run[run]->name);
            markup_put(m, "</bdi> ");
        }
        markup_printf(m, "%.1f of %lld", g->effective_rank, (long long)g->values);
    }
    markup_put(m, any ? "." : "");
    markup_put(
        m, "</span></figcaption>\n<div class=\"plot\"><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" "
           "role=\"img\" aria-labelledby=\"spectrum-title spectrum-desc\"><title id=\"spectrum-title\">Spectrum of "
           "embeddings</title><desc id=\"spectrum-desc\">Eigenvalues on a logarithmic scale by their rank.</desc>\n");
    draw_spectrum_lines(m, r, &s);
    markup_put(m, "</svg>\n");
    int every = s.high - s.low > 5 ? 2 : 1;
    for (double power = s.high; power >= s.low; power -= every)
        markup_printf(m, "<span class=\"y\" style=\"top:%.1f%%\">10<sup>%d</sup></span>\n",
                      100 * (s.high - power) / (s.high - s.low), (int)power);
    for (int i = 0; i < s.x.ticks; i++) {
        axis_text(&s.x, s.x.tick[i], text);
        markup_printf(m, "<span class=\"x\" style=\"left:%.1f%%\">%s</span>\n", 100 * axis_part(&s.x, s.x.tick[i]),
                      text);
    }
    markup_put(m, "<span class=\"x\" style=\"left:0\">rank 1</span>\n</div></figure>\n");
}

void report_maps(struct markup *m, const struct report_runs *r)
{
    int any = 0;
    for (int run = 0; run < r->runs; run++)
        any |= has_map(r->gallery[run]);
    if (!any)
        return;
    markup_put(m, "<section><h2>Embeddings</h2>\n<div class=\"maps\">\n");
    for (int run = 0; run < r->runs; run++)
        if (has_map(r->gallery[run]))
            draw_map(m, r, run);
    draw_spectrum(m, r);
    markup_put(m, "</div></section>\n");
}
