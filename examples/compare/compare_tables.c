/* SPDX-License-Identifier: MIT
 *
 * compare_tables: see compare_tables.h. */
#include "compare_tables.h"

#include <math.h>
#include <string.h>

#define NAMES_MAX 64

/* Distinct rows or columns of a table, in the order of its cells. */
struct names {
    int count;
    const char *name[NAMES_MAX];
};

static void add_name(struct names *n, const char *name)
{
    for (int i = 0; i < n->count; i++)
        if (strcmp(n->name[i], name) == 0)
            return;
    if (n->count < NAMES_MAX)
        n->name[n->count++] = name;
}

static struct names names_of(const struct cells *cells, enum compare_table table, int columns)
{
    struct names n = {0};
    for (int i = 0; i < cells->count; i++)
        if (cells->cell[i].table == table)
            add_name(&n, columns ? cells->cell[i].column : cells->cell[i].row);
    return n;
}

static const struct cell *find(const struct cells *cells, enum compare_table table, const char *row, const char *column,
                               int64_t seed)
{
    for (int i = 0; i < cells->count; i++) {
        const struct cell *c = &cells->cell[i];
        if (c->table == table && c->seed == seed && strcmp(c->row, row) == 0 && strcmp(c->column, column) == 0)
            return c;
    }
    return NULL;
}

/* ---- means over seeds ---- */

struct spread {
    int n;
    double sum, squares;
};

static void spread_add(struct spread *s, double value)
{
    s->n++;
    s->sum += value;
    s->squares += value * value;
}

static void put_spread(FILE *to, const struct spread *s, const char *format)
{
    if (s->n == 0) {
        fputs(" |", to);
        return;
    }
    double mean = s->sum / s->n, variance = s->n > 1 ? (s->squares - s->n * mean * mean) / (s->n - 1) : 0;
    fputc(' ', to);
    fprintf(to, format, mean);
    if (s->n > 1)
        fprintf(to, " (%.1f)", sqrt(variance > 0 ? variance : 0));
    fputs(" |", to);
}

static double measured(const struct cell *c, int linear)
{
    return c == NULL ? -1 : linear ? c->linear : c->knn;
}

/* Of one place of a table; against row `base` seed by seed, unless NULL. */
static struct spread over_seeds(const struct cells *cells, enum compare_table table, const char *row,
                                const char *column, const char *base, int linear)
{
    struct spread s = {0};
    for (int i = 0; i < cells->count; i++) {
        const struct cell *c = &cells->cell[i];
        if (c->table != table || strcmp(c->row, row) != 0 || strcmp(c->column, column) != 0)
            continue;
        double value = measured(c, linear);
        double less = base == NULL ? 0 : measured(find(cells, table, base, column, c->seed), linear);
        if (value >= 0 && less >= 0)
            spread_add(&s, value - less);
    }
    return s;
}

/* ---- tables ---- */

static void put_rows(FILE *to, const struct cells *cells, enum compare_table table, const char *title)
{
    struct names rows = names_of(cells, table, 0);
    struct spread speed, memory;
    fprintf(to,
            "\n## %s\n\n| | kNN top-1 | linear top-1 | kNN against %s | linear against %s | images a second | peak MiB "
            "|\n|---|---|---|---|---|---|---|\n",
            title, rows.name[0], rows.name[0]);
    for (int r = 0; r < rows.count; r++) {
        const char *base = r > 0 ? rows.name[0] : NULL;
        fprintf(to, "| %s |", rows.name[r]);
        for (int linear = 0; linear < 2; linear++) {
            struct spread s = over_seeds(cells, table, rows.name[r], "", NULL, linear);
            put_spread(to, &s, "%.1f");
        }
        for (int linear = 0; linear < 2; linear++) {
            struct spread s = {0};
            if (base != NULL)
                s = over_seeds(cells, table, rows.name[r], "", base, linear);
            put_spread(to, &s, "%+.1f");
        }
        speed = memory = (struct spread){0};
        for (int i = 0; i < cells->count; i++) {
            const struct cell *c = &cells->cell[i];
            if (c->table != table || strcmp(c->row, rows.name[r]) != 0 || c->img_per_s < 0)
                continue;
            spread_add(&speed, c->img_per_s);
            if (c->peak_mb >= 0)
                spread_add(&memory, c->peak_mb);
        }
        put_spread(to, &speed, "%.0f");
        put_spread(to, &memory, "%.0f");
        fputc('\n', to);
    }
}

static void put_header(FILE *to, const struct names *columns, const char *corner)
{
    fprintf(to, "| %s |", corner);
    for (int c = 0; c < columns->count; c++)
        fprintf(to, " %s |", columns->name[c]);
    fputs("\n|---|", to);
    for (int c = 0; c < columns->count; c++)
        fputs("---|", to);
    fputc('\n', to);
}

static void put_grid(FILE *to, const struct cells *cells, enum compare_table table, const char *title,
                     const char *corner)
{
    struct names rows = names_of(cells, table, 0), columns = names_of(cells, table, 1);
    for (int linear = 0; linear < 2; linear++) {
        fprintf(to, "\n## %s: %s top-1\n\n", title, linear ? "linear" : "kNN");
        put_header(to, &columns, corner);
        for (int r = 0; r < rows.count; r++) {
            fprintf(to, "| %s |", rows.name[r]);
            for (int c = 0; c < columns.count; c++) {
                struct spread s = over_seeds(cells, table, rows.name[r], columns.name[c], NULL, linear);
                put_spread(to, &s, "%.1f");
            }
            fputc('\n', to);
        }
    }
}

/* Memory as the system saw it, and as counted from the plan; where it did not fit, the count alone, marked. */
static void put_cost(FILE *to, const struct cells *cells)
{
    struct names rows = names_of(cells, TABLE_COST, 0), columns = names_of(cells, TABLE_COST, 1);
    static const char *const titles[3] = {"peak memory, MiB (counted)", "seconds a step", "images a second"};
    for (int what = 0; what < 3; what++) {
        fprintf(to, "\n## Cost by batch size: %s\n\n", titles[what]);
        put_header(to, &columns, "batch");
        for (int r = 0; r < rows.count; r++) {
            fprintf(to, "| %s |", rows.name[r]);
            for (int k = 0; k < columns.count; k++) {
                const struct cell *c = find(cells, TABLE_COST, rows.name[r], columns.name[k], 0);
                if (c == NULL || (c->img_per_s < 0 && (c->counted_mb < 0 || what > 0)))
                    fputs(c == NULL || c->counted_mb < 0 ? " |" : " does not fit |", to);
                else if (what == 0 && c->img_per_s < 0)
                    fprintf(to, " does not fit (%.0f) |", c->counted_mb);
                else if (what == 0)
                    fprintf(to, " %.0f (%.0f) |", c->peak_mb, c->counted_mb);
                else if (what == 1)
                    fprintf(to, " %.2f |", (double)c->batch / c->img_per_s);
                else
                    fprintf(to, " %.1f |", c->img_per_s);
            }
            fputc('\n', to);
        }
    }
}

static int any_done(const struct cells *cells, enum compare_table table)
{
    for (int i = 0; i < cells->count; i++) {
        const struct cell *c = &cells->cell[i];
        if (c->table == table && (c->img_per_s >= 0 || (table == TABLE_COST && c->counted_mb >= 0)))
            return 1;
    }
    return 0;
}

void compare_tables_write(FILE *to, const struct cells *cells)
{
    fputs("Percent of held-out images; over seeds the mean (standard deviation), differences seed by seed.\n", to);
    if (any_done(cells, TABLE_ACCURACY))
        put_rows(to, cells, TABLE_ACCURACY, "Mechanisms at equal steps");
    if (any_done(cells, TABLE_COST))
        put_cost(to, cells);
    if (any_done(cells, TABLE_TEMPERATURE))
        put_grid(to, cells, TABLE_TEMPERATURE, "Head by temperature", "head");
    if (any_done(cells, TABLE_AUGMENTATION))
        put_rows(to, cells, TABLE_AUGMENTATION, "Augmentation (head mlp)");
    if (any_done(cells, TABLE_NEGATIVES))
        put_grid(to, cells, TABLE_NEGATIVES, "Negatives by batch size, at equal epochs", "negatives");
}
