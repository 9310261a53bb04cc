/* SPDX-License-Identifier: MIT
 *
 * report_map: embeddings as points of a plane, coloured by class. There are two maps, of which one is shown: t-SNE's,
 * and the plane of the principal components. What a reader would get wrong: t-SNE keeps neighbours, but not larger
 * distances. The principal components keep distances, but only a part of the variance, so classes that overlap there
 * may be far apart. The page says how far to trust each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_parts.h"
#include "support/human.h"

#define COLOURS 10
#define SHAPES 5
#define MARKS (2 * COLOURS) /* filled, then hollow; those that share a shape have colours far apart */

/* From the middle of a point, in a square of 1000. */
static const char *const shapes[SHAPES] = {
    "m-7.5 0a7.5 7.5 0 1 0 15 0a7.5 7.5 0 1 0 -15 0z", /* a disc */
    "m-6.8 -6.8h13.6v13.6h-13.6z",                     /* a square */
    "m0 -9.6l9 15.6h-18z",                             /* a triangle */
    "m0 -10l10 10l-10 10l-10 -10z",                    /* a diamond */
    "m0 9.6l9 -15.6h-18z",                             /* a triangle that hangs */
};

static int has_map(const struct gallery *g)
{
    return g != NULL && g->points > 0 && g->part != NULL;
}

/* ---- the plane ---- */

struct plane {
    const struct gallery *g;
    const double *x, *y;
    double left, top, size; /* a square in embedding units; y grows upwards, top is its greatest */
    int64_t labels;         /* greatest label + 1 */
};

static int64_t labels_of(const struct gallery *g)
{
    int64_t labels = 0;
    for (int64_t i = 0; i < g->points; i++)
        if (g->label[i] >= 0 && g->label[i] < 1e9 && (int64_t)g->label[i] >= labels)
            labels = (int64_t)g->label[i] + 1;
    return labels;
}

static void set_plane(struct plane *p, const struct gallery *g, const double *x, const double *y)
{
    double low[2] = {x[0], y[0]}, high[2] = {x[0], y[0]};
    *p = (struct plane){.g = g, .x = x, .y = y, .labels = labels_of(g)};
    for (int64_t i = 0; i < g->points; i++) {
        low[0] = fmin(low[0], x[i]);
        high[0] = fmax(high[0], x[i]);
        low[1] = fmin(low[1], y[i]);
        high[1] = fmax(high[1], y[i]);
    }
    p->size = fmax(high[0] / 2 - low[0] / 2, high[1] / 2 - low[1] / 2) * 2 * 1.06;
    if (!(p->size > 0) || !isfinite(p->size))
        p->size = 1;
    p->left = low[0] / 2 + high[0] / 2 - p->size / 2;
    p->top = low[1] / 2 + high[1] / 2 + p->size / 2;
}

static double plane_x(const struct plane *p, int64_t point)
{
    return 1000 * (p->x[point] - p->left) / p->size;
}

static double plane_y(const struct plane *p, int64_t point)
{
    return 1000 * (p->top - p->y[point]) / p->size;
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
                markup_printf(m, "<path class=\"point%s k%d m%d\" d=\"", mark >= COLOURS ? " hollow" : "",
                              mark < 0 ? 0 : mark % COLOURS, mark < 0 ? 0 : mark);
            markup_put(m, "M");
            markup_coordinate(m, round(plane_x(p, i) * 10) / 10);
            markup_put(m, " ");
            markup_coordinate(m, round(plane_y(p, i) * 10) / 10);
            markup_put(m, shapes[mark < 0 ? 0 : mark % SHAPES]);
        }
        if (any)
            markup_put(m, "\"/>\n");
    }
}

/* ---- names on it ---- */

/* Half the width of a name on a phone, in percent of the plane's side. */
static double half_width(const char *name)
{
    size_t length = strlen(name);
    return 1.2 * (double)(length < 36 ? length : 36) + 1.4; /* the padding, and a digit is wider than most letters */
}

/* A point in the thick of a class, -1: it has none. The mean of a class may lie between two clouds, so what is sought
 * is the point with the least sum of the distances' roots, among a sample if there are many. */
static int64_t middle_of(const struct plane *p, int64_t label)
{
    int64_t sample[200], n = 0, all = 0, best = -1;
    double least = INFINITY;
    for (int64_t i = 0; i < p->g->points; i++)
        all += p->g->label[i] == (double)label;
    int64_t stride = (all + 199) / 200, passed = 0;
    for (int64_t i = 0; i < p->g->points; i++)
        if (p->g->label[i] == (double)label && passed++ % stride == 0)
            sample[n++] = i;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += sqrt(hypot(p->x[sample[i]] - p->x[sample[j]], p->y[sample[i]] - p->y[sample[j]]));
        if (sum < least) {
            least = sum;
            best = sample[i];
        }
    }
    return best;
}

struct place {
    double x, y, half; /* percent of the side */
};
#define NAME_HIGH 5.6 /* percent, between the middles of two names */

static int is_free(const struct place *at, const struct place *placed, int count)
{
    for (int k = 0; k < count; k++)
        if (fabs(at->x - placed[k].x) < at->half + placed[k].half && fabs(at->y - placed[k].y) < NAME_HIGH)
            return 0;
    return 1;
}

/* How many points a name would cover, those of its own class for half. */
static double covered(const struct plane *p, const struct place *at, int64_t label)
{
    double sum = 0;
    for (int64_t i = 0; i < p->g->points; i++)
        if (fabs(plane_x(p, i) / 10 - at->x) < at->half && fabs(plane_y(p, i) / 10 - at->y) < NAME_HIGH / 2)
            sum += p->g->label[i] == (double)label ? 0.5 : 1;
    return sum;
}

/* Near the middle of its class, where it covers no other name and few points: in rings about it, nearest first. Returns
 * 0 if there is no such place. */
static int find_place(const struct plane *p, int64_t label, int64_t middle, const struct place *placed, int count,
                      struct place *best)
{
    double least = INFINITY, half = best->half;
    for (int ring = 0; ring < 9; ring++)
        for (int turn = 0; turn < (ring == 0 ? 1 : 16); turn++) {
            double far = 2.6 * ring, angle = 0.39269908169872414 * turn;
            struct place at = {plane_x(p, middle) / 10 + far * 1.5 * cos(angle),
                               plane_y(p, middle) / 10 + far * sin(angle), half};
            at.x = fmin(fmax(at.x, half), 100 - half);
            at.y = fmin(fmax(at.y, 3), 97);
            double cost = covered(p, &at, label) + 1.2 * far;
            if (is_free(&at, placed, count) && cost < least) {
                least = cost;
                *best = at;
            }
        }
    return isfinite(least);
}

static void draw_names(struct markup *m, const struct plane *p)
{
    struct place placed[MARKS];
    int count = 0;
    for (int64_t label = 0; label < p->labels && p->labels <= MARKS; label++) {
        const char *name = gallery_class(p->g, label);
        struct place at = {.half = half_width(name)};
        int64_t middle = middle_of(p, label);
        if (middle < 0 || name[0] == 0 || !find_place(p, label, middle, placed, count, &at))
            continue;
        placed[count++] = at;
        markup_printf(m, "<span class=\"name\" style=\"left:%.1f%%;top:%.1f%%\"><bdi>", at.x, at.y);
        markup_text(m, name);
        markup_put(m, "</bdi></span>\n");
    }
}

/* ---- around it ---- */

static void draw_key(struct markup *m, int mark)
{
    markup_printf(m,
                  "<svg class=\"mark\" viewBox=\"-12 -12 24 24\" aria-hidden=\"true\" aria-labelledby=\"embeddings\">"
                  "<path class=\"sample%s k%d\" d=\"M0 0%s\"/></svg>",
                  mark >= COLOURS ? " hollow" : "", mark % COLOURS, shapes[mark % SHAPES]);
}

/* Once for all maps: they are of the same images. */
static void draw_classes(struct markup *m, const struct gallery *g)
{
    int64_t labels = labels_of(g);
    if (labels == 0 || labels > MARKS)
        return;
    markup_put(m, "<ul class=\"classes\">");
    for (int64_t label = 0; label < labels; label++) {
        markup_printf(m, "<li class=\"l%d\" tabindex=\"0\">", (int)label);
        draw_key(m, (int)label);
        markup_put(m, "<bdi>");
        if (gallery_class(g, label)[0] != 0)
            markup_text(m, gallery_class(g, label));
        else
            markup_printf(m, "class %lld", (long long)label);
        markup_put(m, "</bdi></li>\n");
    }
    markup_put(m, "</ul>\n");
}

static void draw_plane(struct markup *m, const struct gallery *g, int run, const char *kind, const char *title)
{
    struct plane p;
    int near = kind[0] == 't';
    set_plane(&p, g, near ? g->near_x : g->x, near ? g->near_y : g->y);
    markup_printf(m,
                  "<div class=\"plane %s\"><svg viewBox=\"0 0 1000 1000\" role=\"img\" "
                  "aria-labelledby=\"%s%d-title %s%d-desc\"><title id=\"%s%d-title\">%s</title>"
                  "<desc id=\"%s%d-desc\">A point for each of %s images, coloured by class.</desc>\n",
                  kind, kind, run, kind, run, kind, run, title, kind, run, human_count(g->points));
    draw_points(m, &p);
    markup_put(m, "</svg>\n");
    draw_names(m, &p);
    markup_put(m, "</div>\n");
}

static void put_trust(struct markup *m, double trust)
{
    if (isfinite(trust))
        markup_printf(m, ", trustworthiness <data class=\"trust\" value=\"%.4f\">%.2f</data>", trust, trust);
}

/* The choice between the two maps; without a script it works, too. */
static void draw_choice(struct markup *m, const struct gallery *g, int run)
{
    if (g->near_x != NULL) {
        markup_printf(m,
                      "<input type=\"radio\" name=\"map%d\" id=\"tsne-of%d\" class=\"as-tsne\" checked=\"checked\"/>"
                      "<label for=\"tsne-of%d\">t-SNE <span class=\"about\">perplexity %.0f",
                      run, run, run, g->perplexity);
        put_trust(m, g->near_trust);
        markup_printf(m,
                      "</span></label>\n<input type=\"radio\" name=\"map%d\" id=\"pca-of%d\" class=\"as-pca\"/>"
                      "<label for=\"pca-of%d\">",
                      run, run, run);
    } else {
        markup_put(m, "<span class=\"label\">");
    }
    markup_printf(m, "Principal components <span class=\"about\">%.0f%% and %.0f%% of the variance", 100 * g->part[0],
                  100 * g->part[1]);
    put_trust(m, g->trust);
    markup_put(m, g->near_x != NULL ? "</span></label>\n" : "</span></span>\n");
}

static void draw_map(struct markup *m, const struct report_runs *r, int run)
{
    const struct gallery *g = r->gallery[run];
    markup_printf(m, "<figure class=\"map\" id=\"map%d\">\n<figcaption><b>", run);
    if (r->runs > 1) {
        markup_printf(m, "<span class=\"key c%d\"></span><bdi>", run % 8);
        markup_text(m, r->run[run]->name);
        markup_put(m, "</bdi>");
    } else {
        markup_put(m, "Map");
    }
    markup_printf(m, "</b><span class=\"about\">%s ", human_count(g->points));
    markup_text(m, g->of != NULL ? g->of : "");
    markup_printf(m, " images after epoch %lld, by their ", (long long)g->epoch);
    markup_text(m, g->on != NULL ? g->on : "embedding");
    markup_put(m, " of length 1.");
    if (labels_of(g) > MARKS)
        markup_printf(m, " The %s classes share %d marks.", human_count(labels_of(g)), MARKS);
    markup_put(m, "</span></figcaption>\n");
    draw_choice(m, g, run);
    if (g->near_x != NULL)
        draw_plane(m, g, run, "tsne", "Map of embeddings by t-SNE");
    draw_plane(m, g, run, "pca", "Map of embeddings, principal components");
    if (g->tiles.jpeg != NULL) {
        markup_put(m, "<div class=\"tip\" hidden=\"hidden\"><div class=\"crop\"><img class=\"pieces\" src=\"data:image/"
                      "jpeg;base64,");
        markup_text(m, g->tiles.jpeg);
        markup_put(m, "\" alt=\"The image under the pointer\"/></div><span></span></div>\n");
    }
    markup_put(m, "</figure>\n");
}

void report_maps_css(struct markup *m)
{
    for (int mark = 0; mark < MARKS; mark++)
        markup_printf(m,
                      ".embeddings:has(.l%d:hover) .point:not(.m%d),.embeddings:has(.l%d:focus) .point:not(.m%d)"
                      "{opacity:.07}\n",
                      mark, mark, mark, mark);
}

/* ---- the pictures under the pointer ---- */

static void put_places(struct markup *m, const struct gallery *g, const char *kind)
{
    struct plane p;
    int near = kind[0] == 't';
    set_plane(&p, g, near ? g->near_x : g->x, near ? g->near_y : g->y);
    markup_printf(m, ",\"%s\":[", kind);
    for (int64_t i = 0; i < g->points; i++)
        markup_printf(m, "%s%.0f,%.0f", i > 0 ? "," : "", plane_x(&p, i), plane_y(&p, i));
    markup_put(m, "]");
}

void report_maps_data(struct markup *m, const struct report_runs *r)
{
    int any = 0;
    markup_put(m, "<script type=\"application/json\" id=\"maps\">{");
    for (int run = 0; run < r->runs; run++) {
        const struct gallery *g = r->gallery[run];
        if (!has_map(g) || g->tiles.jpeg == NULL)
            continue;
        markup_printf(m, "%s\"map%d\":{\"side\":%d,\"pitch\":%d,\"columns\":%d,\"label\":[", any++ ? ",\n" : "", run,
                      g->tiles.side, g->tiles.pitch, g->tiles.columns);
        for (int64_t i = 0; i < g->points; i++)
            markup_printf(m, "%s%lld", i > 0 ? "," : "",
                          g->label[i] >= 0 && g->label[i] < 1e9 ? (long long)g->label[i] : -1);
        markup_put(m, "],\"names\":[");
        for (int64_t i = 0; i < g->class_names; i++) {
            markup_put(m, i > 0 ? "," : "");
            markup_json(m, gallery_class(g, i));
        }
        markup_put(m, "]");
        if (g->near_x != NULL)
            put_places(m, g, "tsne");
        put_places(m, g, "pca");
        markup_put(m, "}");
    }
    markup_put(m, "}</script>\n");
}

/* ---- all of them ---- */

void report_maps(struct markup *m, const struct report_runs *r)
{
    const struct gallery *first = NULL;
    for (int run = r->runs - 1; run >= 0; run--)
        first = has_map(r->gallery[run]) ? r->gallery[run] : first;
    if (first == NULL)
        return;
    markup_put(m, "<section class=\"embeddings\"><h2 id=\"embeddings\">Embeddings</h2>\n");
    draw_classes(m, first);
    markup_put(m, "<div class=\"maps\">\n");
    for (int run = 0; run < r->runs; run++)
        if (has_map(r->gallery[run]))
            draw_map(m, r, run);
    report_spectrum(m, r);
    markup_put(m, "</div></section>\n");
}
