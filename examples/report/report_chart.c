/* SPDX-License-Identifier: MIT
 *
 * report_chart: see report_chart.h. Coordinates are 0..1000 across and 0..1000 down, whatever size it is shown at. */
#include "report_chart.h"

#include <math.h>
#include <stdio.h>

#define SIDE 1000.0
#define DOTS_MAX 60 /* a curve of so few buckets gets a dot at each */

struct frame {
    struct axis x, y;
};

static int drawn(const struct chart_curve *curve)
{
    return curve->series->last_key >= 0;
}

static int curves_drawn(const struct chart *chart)
{
    int count = 0;
    for (int i = 0; i < chart->curves; i++)
        count += drawn(&chart->curve[i]);
    return count;
}

/* Least and greatest of what the axis has to fit. */
static void extend(const struct chart *chart, const struct chart_curve *curve, double *low, double *high)
{
    for (int i = 0; i < curve->series->count; i++) {
        const struct series_bucket *b = &curve->series->bucket[i];
        if (b->n == 0 || b->last + curve->key_base < curve->from)
            continue;
        double mean = series_mean(b);
        *low = fmin(*low, curve->scale * (chart->many ? mean : b->min));
        *high = fmax(*high, curve->scale * (chart->many ? mean : b->max));
    }
}

static void set_frame(const struct chart *chart, struct frame *f)
{
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < chart->curves; i++)
        extend(chart, &chart->curve[i], &low, &high);
    for (int i = 0; i < chart->levels; i++) {
        low = fmin(low, chart->level[i].value);
        high = fmax(high, chart->level[i].value);
    }
    if (chart->from_zero)
        low = fmin(low, 0);
    axis_set(&f->x, 0, chart->x_high, chart->wide ? 8 : 5, 0);
    axis_set(&f->y, low, high, chart->wide ? 5 : 4, 1);
}

static double across(const struct frame *f, double value)
{
    return SIDE * axis_part(&f->x, value);
}

/* Far outside there is nothing to see, and numbers stay short. */
static double down(const struct frame *f, double value)
{
    return fmin(fmax(SIDE * (1 - axis_part(&f->y, value)), -SIDE), 2 * SIDE);
}

static void point(struct markup *m, const char *command, double x, double y)
{
    markup_put(m, command);
    markup_coordinate(m, round(x * 10) / 10);
    markup_put(m, " ");
    markup_coordinate(m, round(y * 10) / 10);
}

static void point_of(struct markup *m, const struct frame *f, const struct chart_curve *c, int i, const char *command,
                     double value)
{
    point(m, command, across(f, series_at(&c->series->bucket[i]) * c->x_scale), down(f, value * c->scale));
}

/* One closed path for each stretch without empty buckets. */
static void draw_band(struct markup *m, const struct frame *f, const struct chart_curve *c)
{
    const struct series *s = c->series;
    markup_printf(m, "<path class=\"band c%d\" d=\"", c->colour);
    for (int begin = 0, end; begin < s->count; begin = end + 1) {
        for (end = begin; end < s->count && s->bucket[end].n > 0; end++)
            point_of(m, f, c, end, end == begin ? "M" : "L", s->bucket[end].max);
        for (int i = end - 1; i >= begin; i--)
            point_of(m, f, c, i, "L", s->bucket[i].min);
        if (end > begin)
            markup_put(m, "Z");
    }
    markup_put(m, "\"/>\n");
}

/* An epoch without a measurement is no gap: such curves go from point to point. */
static void draw_line(struct markup *m, const struct frame *f, const struct chart_curve *c)
{
    const struct series *s = c->series;
    int open = 0, points = 0;
    markup_printf(m, "<path class=\"line c%d r%d\" data-metric=\"%s\" data-run=\"%d\" d=\"", c->colour, c->run / 8 % 3,
                  c->metric, c->run);
    for (int i = 0; i < s->count; i++) {
        if (s->bucket[i].n == 0) {
            open = open && c->key_base == 0;
            continue;
        }
        point_of(m, f, c, i, open ? "L" : "M", series_mean(&s->bucket[i]));
        if (!open)
            markup_put(m, "h0");
        open = 1;
        points++;
    }
    markup_put(m, "\"/>\n");
    if (points > DOTS_MAX)
        return;
    markup_printf(m, "<path class=\"dots c%d\" d=\"", c->colour);
    for (int i = 0; i < s->count; i++) {
        if (s->bucket[i].n == 0)
            continue;
        point_of(m, f, c, i, "M", series_mean(&s->bucket[i]));
        markup_put(m, "h0");
    }
    markup_put(m, "\"/>\n");
}

/* What a person hears who cannot see it: from where to where each curve goes. */
static void draw_description(struct markup *m, const struct chart *chart)
{
    markup_printf(m, "<title id=\"%s-title\">%s</title><desc id=\"%s-desc\">", chart->id, chart->title, chart->id);
    for (int i = 0; i < chart->curves; i++) {
        const struct chart_curve *c = &chart->curve[i];
        const struct series *s = c->series;
        char first[AXIS_TEXT] = "", last[AXIS_TEXT];
        if (!drawn(c))
            continue;
        for (int at = 0; at < s->count && first[0] == 0; at++)
            if (s->bucket[at].n > 0)
                known_text(chart->known, c->scale * series_mean(&s->bucket[at]), first);
        known_text(chart->known, c->scale * s->last, last);
        markup_text(m, c->name);
        markup_printf(m, ": begins at %s%s, now %s%s. ", first, chart->unit, last, chart->unit);
    }
    for (int i = 0; i < chart->levels; i++)
        markup_printf(m, "Dashed: %s. ", chart->level[i].text);
    markup_put(m, "</desc>\n");
}

static void draw_svg(struct markup *m, const struct chart *chart, const struct frame *f)
{
    markup_printf(m,
                  "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" "
                  "aria-labelledby=\"%s-title %s-desc\">\n",
                  chart->id, chart->id);
    draw_description(m, chart);
    markup_put(m, "<path class=\"grid\" d=\"");
    for (int i = 0; i < f->y.ticks; i++) {
        point(m, "M", 0, down(f, f->y.tick[i]));
        markup_put(m, "h1000");
    }
    markup_put(m, "\"/>\n");
    for (int i = 0; i < chart->curves; i++)
        if (drawn(&chart->curve[i]) && !chart->many && chart->curve[i].series->width > 1)
            draw_band(m, f, &chart->curve[i]);
    for (int i = 0; i < chart->levels; i++) {
        point(m, "<path class=\"level\" d=\"M", 0, down(f, chart->level[i].value));
        markup_put(m, "h1000\"/>\n");
    }
    if (chart->mark_text[0] != 0) {
        point(m, "<path class=\"mark\" d=\"M", across(f, chart->mark), 0);
        markup_put(m, "v1000\"/>\n");
    }
    for (int i = 0; i < chart->curves; i++)
        if (drawn(&chart->curve[i]))
            draw_line(m, f, &chart->curve[i]);
    markup_put(m, "</svg>\n");
}

/* ---- words ---- */

static void draw_ticks(struct markup *m, const struct chart *chart, const struct frame *f)
{
    char text[AXIS_TEXT];
    for (int i = 0; i < f->y.ticks; i++) {
        axis_text(&f->y, f->y.tick[i], text);
        markup_printf(m, "<span class=\"y\" style=\"top:%.1f%%\">%s%s</span>\n", down(f, f->y.tick[i]) / 10, text,
                      i == f->y.ticks - 1 ? chart->unit : "");
    }
    for (int i = 0; i < f->x.ticks; i++) {
        axis_text(&f->x, f->x.tick[i], text);
        markup_printf(m, "<span class=\"x%s\" style=\"left:%.1f%%\">%s%s</span>\n",
                      i == 0 && f->x.tick[0] <= 0    ? " first"
                      : i % 2 == 1 && f->x.ticks > 6 ? " odd"
                                                     : "",
                      across(f, f->x.tick[i]) / 10, i == 0 && f->x.tick[0] <= 0 ? chart->x_name : "",
                      i == 0 && f->x.tick[0] <= 0 ? " 0" : text);
    }
}

/* Names and last values, above the frame: nothing of them can cover a curve or another. */
static void draw_legend(struct markup *m, const struct chart *chart)
{
    char value[AXIS_TEXT];
    if (chart->many)
        return;
    for (int i = 0; i < chart->curves; i++) {
        const struct chart_curve *c = &chart->curve[i];
        if (!drawn(c))
            continue;
        markup_printf(m, " <span class=\"now c%d\">", c->colour);
        if (chart->curves > 1) {
            markup_put(m, "<span class=\"stroke\"></span><bdi>");
            markup_text(m, c->name);
            markup_put(m, "</bdi> ");
        }
        markup_printf(m, "<b>%s%s</b></span>", known_text(chart->known, c->scale * c->series->last, value),
                      chart->unit);
    }
}

static void draw_notes(struct markup *m, const struct chart *chart, const struct frame *f)
{
    for (int i = 0; i < chart->levels; i++)
        if (chart->level[i].said)
            markup_printf(m, "<span class=\"note level-note%s\" style=\"top:%.1f%%\">%s</span>\n",
                          down(f, chart->level[i].value) < 120 ? " below" : "", down(f, chart->level[i].value) / 10,
                          chart->level[i].text);
    if (chart->mark_text[0] == 0)
        return;
    double left = across(f, chart->mark) / 10;
    markup_printf(m, "<span class=\"note mark-note%s\" style=\"%s:%.1f%%\">%s</span>\n", left > 55 ? " before" : "",
                  left > 55 ? "right" : "left", left > 55 ? 100 - left : left, chart->mark_text);
}

void chart_draw(struct markup *m, const struct chart *chart)
{
    struct frame f;
    if (curves_drawn(chart) == 0)
        return;
    set_frame(chart, &f);
    markup_printf(m, "<figure class=\"chart%s\" id=\"%s\">\n<figcaption><b>%s</b>", chart->wide ? " wide" : "",
                  chart->id, chart->title);
    draw_legend(m, chart);
    markup_printf(m, "<span class=\"about\">%s</span><span class=\"read\" aria-hidden=\"true\"></span></figcaption>\n",
                  chart->about);
    markup_put(m, "<div class=\"plot\">\n");
    draw_svg(m, chart, &f);
    draw_ticks(m, chart, &f);
    draw_notes(m, chart, &f);
    markup_put(m, "</div></figure>\n");
}

/* ---- the numbers ---- */

static void data_array(struct markup *m, const struct chart_curve *c, const char *name)
{
    int first = 1;
    markup_printf(m, ",\"%s\":[", name);
    for (int i = 0; i < c->series->count; i++) {
        const struct series_bucket *b = &c->series->bucket[i];
        if (b->n == 0)
            continue;
        if (!first)
            markup_put(m, ",");
        first = 0;
        if (name[0] == 'f' || name[0] == 'l')
            markup_printf(m, "%lld", (long long)((name[0] == 'f' ? b->first : b->last) + c->key_base));
        else if (name[0] == 'a')
            markup_number(m, series_at(b));
        else if (name[1] == 'e' && b->n > 1)
            markup_printf(m, "%.10g", series_mean(b));
        else
            markup_number(m, name[1] == 'e' ? b->sum : name[1] == 'i' ? b->min : b->max);
    }
    markup_put(m, "]");
}

int chart_data(struct markup *m, const struct chart *chart, int first)
{
    struct frame f;
    if (curves_drawn(chart) == 0)
        return 0;
    set_frame(chart, &f);
    markup_printf(m, "%s\"%s\":{\"high\":", first ? "" : ",\n", chart->id);
    markup_number(m, f.x.high);
    markup_printf(m, ",\"unit\":\"%s\",\"x\":\"%s\",\"curves\":[", chart->unit, chart->x_name);
    first = 1;
    for (int i = 0; i < chart->curves; i++) {
        const struct chart_curve *c = &chart->curve[i];
        if (!drawn(c))
            continue;
        markup_put(m, first ? "{\"name\":" : ",\n{\"name\":");
        first = 0;
        markup_json(m, c->name);
        markup_printf(m, ",\"metric\":\"%s\",\"run\":%d,\"kind\":\"%s\",\"width\":%lld,\"scale\":%g,\"x_scale\":",
                      c->metric, c->run, c->key_base == 1 ? "step" : "epoch", (long long)c->series->width, c->scale);
        markup_number(m, c->x_scale);
        data_array(m, c, "first");
        if (c->series->width > 1)
            data_array(m, c, "last");
        if (c->key_base == 0)
            data_array(m, c, "at");
        data_array(m, c, "mean");
        if (c->series->width > 1) {
            data_array(m, c, "min");
            data_array(m, c, "max");
        }
        markup_put(m, "}");
    }
    markup_put(m, "]}");
    return 1;
}
