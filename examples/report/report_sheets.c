/* SPDX-License-Identifier: MIT
 *
 * report_sheets: thumbnails: held-out images with their nearest training images, and training images with their
 * views. */
#include <math.h>
#include <stdio.h>

#include "report_parts.h"
#include "support/human.h"

static void put_image(struct markup *m, const struct gallery *g, const char *jpeg)
{
    markup_printf(m, "<img width=\"%d\" height=\"%d\"%s src=\"data:image/jpeg;base64,", g->side, g->side,
                  g->side <= 48 ? " class=\"coarse\"" : "");
    markup_text(m, jpeg);
    markup_put(m, "\" alt=\"");
}

static void put_class(struct markup *m, const struct gallery *g, int32_t label)
{
    const char *name = gallery_class(g, label);
    if (name[0] != 0)
        markup_text(m, name);
    else if (label >= 0)
        markup_printf(m, "class %d", (int)label);
}

/* 1: right, 0: wrong, -1: nobody knows. */
static int judge(const struct gallery_query *q, int i)
{
    int32_t asked = q->picture[0].label, found = q->picture[i].label;
    return i == 0 || asked < 0 || found < 0 ? -1 : asked == found;
}

static void draw_query(struct markup *m, const struct gallery *g, const struct gallery_query *q)
{
    markup_put(m, "<ol class=\"query\">");
    for (int i = 0; i < q->pictures; i++) {
        int right = judge(q, i);
        const char *verdict = right > 0 ? "right" : right == 0 ? "wrong" : "";
        markup_printf(m, "<li class=\"%s\">", i == 0 ? "asked" : verdict);
        put_image(m, g, q->picture[i].jpeg);
        if (i == 0)
            markup_put(m, "Query: ");
        else
            markup_printf(m, "Neighbour %d, cosine %.2f%s%s: ", i, q->picture[i].cosine, right >= 0 ? ", " : "",
                          verdict);
        put_class(m, g, q->picture[i].label);
        markup_put(m, "\"/><span class=\"caption\">");
        if (right >= 0)
            markup_put(m, right ? "\xe2\x9c\x93 " : "\xe2\x9c\x97 ");
        markup_put(m, "<bdi>");
        put_class(m, g, q->picture[i].label);
        markup_put(m, "</bdi></span></li>\n");
    }
    markup_put(m, "</ol>\n");
}

static void draw_neighbours(struct markup *m, const struct gallery *g)
{
    int judged = 0, right = 0;
    for (int i = 0; i < g->queries; i++)
        for (int j = 1; j < g->query[i].pictures; j++) {
            judged += judge(&g->query[i], j) >= 0;
            right += judge(&g->query[i], j) > 0;
        }
    markup_put(m, "<figure class=\"sheet\"><figcaption class=\"about\">On the left of each row ");
    markup_text(m, g->of != NULL ? g->of : "");
    markup_printf(m, " images, then the %d most similar of %s training images, by cosine of ", GALLERY_NEIGHBOURS,
                  human_count(g->bank));
    markup_text(m, g->on != NULL ? g->on : "embeddings");
    markup_put(m, ".");
    if (judged > 0)
        markup_printf(m, " %d of %d are of the query's class (\xe2\x9c\x93).", right, judged);
    if (g->unreadable > 0)
        markup_printf(m, " %s that could not be read %s left out.", human_count(g->unreadable),
                      g->unreadable == 1 ? "is" : "are");
    markup_put(m, "</figcaption>\n<div class=\"queries\">\n");
    for (int i = 0; i < g->queries; i++)
        draw_query(m, g, &g->query[i]);
    markup_put(m, "</div></figure>\n");
}

/* One run: in the open. Several: folded up, each under its name. */
static void name_run(struct markup *m, const struct report_runs *r, int run)
{
    if (r->runs == 1)
        return;
    markup_printf(m, "<h3><span class=\"key c%d\"></span><bdi>", run % 8);
    markup_text(m, r->run[run]->name);
    markup_put(m, "</bdi></h3>\n");
}

void report_neighbours(struct markup *m, const struct report_runs *r)
{
    int any = 0;
    for (int run = 0; run < r->runs; run++) {
        if (r->gallery[run] == NULL || r->gallery[run]->queries == 0)
            continue;
        if (any++ == 0)
            markup_put(m, "<section><h2>Nearest neighbours</h2>\n");
        name_run(m, r, run);
        draw_neighbours(m, r->gallery[run]);
    }
    if (any)
        markup_put(m, "</section>\n");
}

static void draw_views(struct markup *m, const struct gallery *g)
{
    markup_put(
        m, "<figure class=\"sheet\"><figcaption class=\"about\">Training images, and two views of each as epochs 1, 2, "
           "3 and 4 draw them: query and key. Recipe ");
    markup_text(m, g->recipe != NULL ? g->recipe : "unknown");
    markup_put(m, ".</figcaption>\n<div class=\"sheets\">\n");
    for (int i = 0; i < g->sheets; i++) {
        markup_put(m, "<ol class=\"views\">");
        for (int j = 0; j < g->sheet[i].pictures; j++) {
            markup_put(m, j == 0 ? "<li class=\"asked\">" : "<li>");
            put_image(m, g, g->sheet[i].jpeg[j]);
            if (j == 0)
                markup_printf(m, "Training image %d", i + 1);
            else
                markup_printf(m, "Epoch %d, %s", (j + 1) / 2, j % 2 == 1 ? "query" : "key");
            markup_put(m, "\"/></li>\n");
        }
        markup_put(m, "</ol>\n");
    }
    markup_put(m, "</div></figure>\n");
}

void report_views(struct markup *m, const struct report_runs *r)
{
    int any = 0;
    for (int run = 0; run < r->runs; run++) {
        if (r->gallery[run] == NULL || r->gallery[run]->sheets == 0)
            continue;
        if (any++ == 0)
            markup_put(m, "<section><h2>What training sees</h2>\n");
        name_run(m, r, run);
        draw_views(m, r->gallery[run]);
    }
    if (any)
        markup_put(m, "</section>\n");
}
