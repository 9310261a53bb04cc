/* SPDX-License-Identifier: MIT
 *
 * report_spectrum: the eigenvalues of the embeddings' covariance, on a logarithmic scale by their rank. */
#include <math.h>

#include "report_axis.h"
#include "report_parts.h"

#define SPECTRUM_DECADES 8

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

void report_spectrum(struct markup *m, const struct report_runs *r)
{
    struct spectra s;
    char text[AXIS_TEXT];
    if (!set_spectra(&s, r))
        return;
    markup_put(m,
               "<figure class=\"chart\" id=\"spectrum\">\n<figcaption><b>Spectrum</b><span class=\"about\">Eigenvalues "
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
        markup_printf(m, "%.0f of %lld", g->effective_rank, (long long)g->values);
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
