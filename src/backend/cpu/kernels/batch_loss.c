/* SPDX-License-Identifier: MIT
 *
 * batch_loss: see batch_loss.h. Each thread compares units of queries (as many as a kernel handles at once) with all
 * rows, tile by tile, with the loops of infonce_simd: cosines, exponentials, weighted sums of rows. The first pass
 * computes each query's softmax, the second its gradient. The gradient of the keys is the second pass with the two
 * sides exchanged. What a reader would get wrong: a query's positive is among the rows that it is compared with,
 * with the same bits; so is, in NT-Xent, the query itself. Both are removed where they do not belong, the query
 * before the exponential, where it would outweigh all others. */
#include "backend/cpu/kernels/batch_loss.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/kernels/simd_table.h"

/* Rows as the loops want them. */
struct side {
    const float *rows;   /* [n][dim] */
    const float *padded; /* [n][width] */
    float *panels;       /* [n / unit][dim][unit] */
    int n;
};

struct batch_loss {
    const struct kern_team *team;
    const struct be_batch_loss *io;
    double temperature;
    int unit, dim, width, ntxent;
    struct side q, k; /* NT-Xent: both the queries */
    float *level;     /* [n]: log of the softmax's denominator times the temperature: a cosine */
    char *parts;      /* of the threads */
    size_t part_bytes;
    double (*sums)[5]; /* [threads]: loss, top1, top5, pos, neg */
    int to_keys;       /* the second pass: whose gradient */
};

/* One thread's work on one unit of queries. */
struct part {
    float *tile, *other;     /* [INFONCE_TILE][unit] */
    float *out;              /* [unit][width] */
    float *panel;            /* [dim][unit]: the positives */
    float *positive, *max;   /* [unit]: cosines */
    float *sum;              /* [unit]: of a tile */
    double *total, *cosines; /* [unit] */
    int32_t *larger, *equal; /* [unit] */
};

static size_t whole(int value, int unit)
{
    return (size_t)((value + unit - 1) / unit) * (size_t)unit;
}

/* ---- scratch ---- */

/* The next piece of scratch; `scratch` NULL: only its size. */
static void *piece(char *scratch, size_t *used, size_t bytes)
{
    size_t at = *used;
    *used += kern_pad64(bytes);
    return scratch == NULL ? NULL : scratch + at;
}

static size_t lay_out_part(const struct batch_loss *b, char *at, struct part *p)
{
    size_t unit = (size_t)b->unit, used = 0;
    p->tile = piece(at, &used, sizeof(float) * INFONCE_TILE * unit);
    p->other = piece(at, &used, sizeof(float) * INFONCE_TILE * unit);
    p->out = piece(at, &used, sizeof(float) * unit * (size_t)b->width);
    p->panel = piece(at, &used, sizeof(float) * unit * (size_t)b->dim);
    p->positive = piece(at, &used, sizeof(float) * unit);
    p->max = piece(at, &used, sizeof(float) * unit);
    p->sum = piece(at, &used, sizeof(float) * unit);
    p->total = piece(at, &used, sizeof(double) * unit);
    p->cosines = piece(at, &used, sizeof(double) * unit);
    p->larger = piece(at, &used, sizeof(int32_t) * unit);
    p->equal = piece(at, &used, sizeof(int32_t) * unit);
    return used;
}

static void lay_out_side(const struct batch_loss *b, struct side *side, int n, char *scratch, size_t *used)
{
    side->n = n;
    side->panels = piece(scratch, used, sizeof(float) * whole(n, b->unit) * (size_t)b->dim);
    side->padded = b->width == b->dim ? NULL : piece(scratch, used, sizeof(float) * (size_t)n * (size_t)b->width);
}

static size_t lay_out(struct batch_loss *b, const struct kern_team *team, int n, int keys, int dim, char *scratch)
{
    size_t used = 0;
    struct part part;
    *b = (struct batch_loss){.team = team, .unit = team->simd->unit, .dim = dim, .ntxent = keys == 0};
    b->width = (int)whole(dim, b->unit / 4);
    lay_out_side(b, &b->q, n, scratch, &used);
    if (b->ntxent)
        b->k = b->q;
    else
        lay_out_side(b, &b->k, keys, scratch, &used);
    b->level = piece(scratch, &used, sizeof(float) * whole(n, b->unit));
    b->sums = piece(scratch, &used, sizeof(double[5]) * (size_t)team->threads);
    b->part_bytes = lay_out_part(b, NULL, &part);
    b->parts = piece(scratch, &used, b->part_bytes * (size_t)team->threads);
    return used;
}

size_t cpu_batch_loss_scratch(const struct kern_team *team, int n, int keys, int dim)
{
    struct batch_loss b;
    return lay_out(&b, team, n, keys, dim, NULL);
}

/* ---- rows ---- */

/* The row that is the positive of row `i`: of a query's keys, or (to_keys) of a key's queries; -1: it has none. */
static int positive_of(const struct batch_loss *b, int i, int to_keys)
{
    if (b->ntxent)
        return (i + b->io->n / 2) % b->io->n;
    int row = to_keys ? i - b->io->first : i + b->io->first;
    return row < (to_keys ? b->q.n : b->k.n) ? row : -1;
}

/* Lane `lane` of a panel [dim][unit]: a row, or zeros. */
static void set_lane(const struct batch_loss *b, const float *row, int lane, float *panel)
{
    for (size_t d = 0; d < (size_t)b->dim; d++)
        panel[d * (size_t)b->unit + (size_t)lane] = row == NULL ? 0 : row[d];
}

static const float *row_at(const struct batch_loss *b, const struct side *side, int i)
{
    return i < 0 || i >= side->n ? NULL : side->rows + (size_t)i * (size_t)b->dim;
}

static void fill_side(const struct batch_loss *b, struct side *side, const float *rows)
{
    size_t dim = (size_t)b->dim, width = (size_t)b->width;
    side->rows = rows;
    for (int i = 0; i < (int)whole(side->n, b->unit); i++)
        set_lane(b, row_at(b, side, i), i % b->unit, side->panels + (size_t)(i - i % b->unit) * dim);
    if (width == dim) {
        side->padded = rows;
        return;
    }
    float *to = (float *)side->padded;
    memset(to, 0, sizeof(float) * (size_t)side->n * width);
    for (size_t i = 0; i < (size_t)side->n; i++)
        memcpy(to + i * width, rows + i * dim, sizeof(float) * dim);
}

/* ---- first pass: softmax and ranks ---- */

/* A row that does not count among the negatives of `lane` is taken out of the ranks and the mean. */
static void take_out(const struct batch_loss *b, const struct part *p, int row, int lane)
{
    float x = p->tile[(size_t)row * (size_t)b->unit + (size_t)lane];
    p->larger[lane] -= x > p->positive[lane];
    p->equal[lane] -= x == p->positive[lane];
    p->cosines[lane] -= (double)x;
}

/* Ranks and mean over a tile of cosines; the query itself leaves the tile. */
static void rank_tile(const struct batch_loss *b, const struct part *p, int first_query, int first_row, int rows)
{
    size_t unit = (size_t)b->unit;
    for (size_t lane = 0; lane < unit; lane++)
        p->sum[lane] = 0;
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t lane = 0; lane < unit; lane++) {
            float x = p->tile[r * unit + lane];
            p->larger[lane] += x > p->positive[lane];
            p->equal[lane] += x == p->positive[lane];
            p->sum[lane] += x;
        }
    for (int lane = 0; lane < b->unit; lane++) {
        p->cosines[lane] += (double)p->sum[lane];
        int query = first_query + lane, own = query < b->io->n ? positive_of(b, query, 0) - first_row : -1;
        if (own >= 0 && own < rows)
            take_out(b, p, own, lane);
        int self = query - first_row;
        if (b->ntxent && self >= 0 && self < rows) {
            take_out(b, p, self, lane);
            p->tile[(size_t)self * unit + (size_t)lane] = -INFINITY;
        }
    }
}

/* Adds a tile to the online softmax of each query: if the maximum grows, the sum so far is rescaled first. */
static void softmax_tile(const struct batch_loss *b, const struct part *p, int rows)
{
    size_t unit = (size_t)b->unit, count = (size_t)rows * unit;
    float by = (float)(1 / b->temperature);
    for (size_t lane = 0; lane < unit; lane++)
        p->sum[lane] = p->max[lane];
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t lane = 0; lane < unit; lane++)
            p->max[lane] = p->tile[r * unit + lane] > p->max[lane] ? p->tile[r * unit + lane] : p->max[lane];
    for (size_t lane = 0; lane < unit; lane++)
        if (p->max[lane] > p->sum[lane])
            p->total[lane] *= exp(((double)p->sum[lane] - (double)p->max[lane]) / b->temperature);
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t lane = 0; lane < unit; lane++)
            p->tile[r * unit + lane] = (p->tile[r * unit + lane] - p->max[lane]) * by;
    b->team->simd->infonce->exponentials(count, p->tile, p->tile);
    for (size_t lane = 0; lane < unit; lane++)
        p->sum[lane] = 0;
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t lane = 0; lane < unit; lane++)
            p->sum[lane] += p->tile[r * unit + lane];
    for (size_t lane = 0; lane < unit; lane++)
        p->total[lane] += (double)p->sum[lane];
}

/* The share of orders, all equally likely among equals, in which the positive is among the first m. */
static double among_first(double m, double larger, double equal)
{
    double share = (m - larger) / (equal + 1);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static void measure(const struct batch_loss *b, const struct part *p, int first, double sums[5])
{
    double t = b->temperature, negatives = b->ntxent ? b->io->n - 2 : b->io->keys - 1;
    for (int lane = 0; lane < b->unit && first + lane < b->io->n; lane++) {
        double positive = (double)p->positive[lane], max = (double)p->max[lane], above = t * log(p->total[lane]);
        /* A cosine of minus infinity would vanish in the softmax. */
        int sound = isfinite(positive) && isfinite(p->cosines[lane]);
        b->level[first + lane] = (float)(max + above);
        sums[0] += sound ? (max - positive + above) / t : (double)NAN;
        sums[1] += among_first(1, p->larger[lane], p->equal[lane]);
        sums[2] += among_first(5, p->larger[lane], p->equal[lane]);
        sums[3] += positive;
        sums[4] += negatives > 0 ? p->cosines[lane] / negatives : 0;
    }
}

/* For the queries of one thread: ranks, maximum and sum of exponentials over all rows, and from these the loss. */
static void first_pass(void *arg, int thread, int threads)
{
    const struct batch_loss *b = arg;
    const struct infonce_loops *loops = b->team->simd->infonce;
    struct part p;
    lay_out_part(b, b->parts + (size_t)thread * b->part_bytes, &p);
    size_t begin, end;
    kern_share(whole(b->io->n, b->unit) / (size_t)b->unit, thread, threads, &begin, &end);
    for (size_t block = begin; block < end; block++) {
        int first = (int)block * b->unit;
        const float *queries = b->q.panels + (size_t)first * (size_t)b->dim;
        for (int lane = 0; lane < b->unit; lane++) {
            int own = first + lane < b->io->n ? positive_of(b, first + lane, 0) : -1;
            set_lane(b, row_at(b, &b->k, own), lane, p.panel);
            p.total[lane] = p.cosines[lane] = 0;
            p.larger[lane] = p.equal[lane] = 0;
        }
        loops->positives(queries, p.panel, b->dim, p.positive);
        memcpy(p.max, p.positive, sizeof(float) * (size_t)b->unit);
        for (int row = 0; row < b->k.n; row += INFONCE_TILE) {
            int rows = b->k.n - row < INFONCE_TILE ? b->k.n - row : INFONCE_TILE;
            loops->cosines(queries, b->k.rows + (size_t)row * (size_t)b->dim, (size_t)rows, b->dim, p.tile);
            rank_tile(b, &p, first, row, rows);
            softmax_tile(b, &p, rows);
        }
        measure(b, &p, first, b->sums[thread]);
    }
}

/* ---- second pass: gradients ---- */

/* Cosines -> weights of rows in the gradients of a unit of queries, or (to_keys) of keys. Level of a lane: its own
 * softmax; level of a row: that of the query in the row. NT-Xent has both, since a row is query and candidate. */
static void weigh_tile(const struct batch_loss *b, const struct part *p, int first, int first_row, int rows)
{
    size_t unit = (size_t)b->unit, count = (size_t)rows * unit;
    float by = (float)(1 / b->temperature);
    int own_level = b->ntxent || !b->to_keys, row_level = b->ntxent || b->to_keys;
    for (int lane = 0; b->ntxent && lane < b->unit; lane++)
        if (first + lane >= first_row && first + lane < first_row + rows)
            p->tile[(size_t)(first + lane - first_row) * unit + (size_t)lane] = -INFINITY;
    for (size_t r = 0; r < (size_t)rows && row_level; r++)
        for (size_t lane = 0; lane < unit; lane++)
            p->other[r * unit + lane] = (p->tile[r * unit + lane] - b->level[(size_t)first_row + r]) * by;
    for (size_t r = 0; r < (size_t)rows && own_level; r++)
        for (size_t lane = 0; lane < unit; lane++)
            p->tile[r * unit + lane] = (p->tile[r * unit + lane] - b->level[(size_t)first + lane]) * by;
    if (own_level)
        b->team->simd->infonce->exponentials(count, p->tile, p->tile);
    if (row_level)
        b->team->simd->infonce->exponentials(count, p->other, own_level ? p->other : p->tile);
    for (size_t i = 0; i < count && own_level && row_level; i++)
        p->tile[i] += p->other[i];
}

static void write_gradient(const struct batch_loss *b, const struct part *p, int first)
{
    const struct side *own = b->to_keys ? &b->k : &b->q, *rows = b->to_keys ? &b->q : &b->k;
    size_t dim = (size_t)b->dim;
    float *to = (float *)(b->to_keys ? b->io->d_k : b->io->d_q) + (size_t)first * dim;
    float unit = (float)(b->io->scale / b->temperature), times = b->ntxent ? 2 : 1;
    for (int lane = 0; lane < b->unit && first + lane < own->n; lane++, to += dim) {
        const float *out = p->out + (size_t)lane * (size_t)b->width;
        const float *positive = row_at(b, rows, positive_of(b, first + lane, b->to_keys));
        for (size_t d = 0; d < dim; d++)
            to[d] = unit * (out[d] - (positive != NULL ? times * positive[d] : 0));
    }
}

/* Computes gradients for the blocks of this thread: the cosines once more, tile by tile, then their weights, then the
 * sums. Nothing of size queries x keys is kept. */
static void second_pass(void *arg, int thread, int threads)
{
    const struct batch_loss *b = arg;
    const struct infonce_loops *loops = b->team->simd->infonce;
    const struct side *own = b->to_keys ? &b->k : &b->q, *other = b->to_keys ? &b->q : &b->k;
    struct part p;
    lay_out_part(b, b->parts + (size_t)thread * b->part_bytes, &p);
    size_t begin, end, dim = (size_t)b->dim, width = (size_t)b->width;
    kern_share(whole(own->n, b->unit) / (size_t)b->unit, thread, threads, &begin, &end);
    for (size_t block = begin; block < end; block++) {
        int first = (int)block * b->unit;
        memset(p.out, 0, sizeof(float) * (size_t)b->unit * width);
        for (int row = 0; row < other->n; row += INFONCE_TILE) {
            int rows = other->n - row < INFONCE_TILE ? other->n - row : INFONCE_TILE;
            loops->cosines(own->panels + (size_t)first * dim, other->rows + (size_t)row * dim, (size_t)rows, b->dim,
                           p.tile);
            weigh_tile(b, &p, first, row, rows);
            loops->sums(p.tile, other->padded + (size_t)row * width, (size_t)rows, b->width, p.out);
        }
        write_gradient(b, &p, first);
    }
}

/* The first pass finds the softmax of every query, the second the gradient of the queries. The third, if wanted, is
 * the second with the sides exchanged: the gradient of the keys. */
void cpu_batch_loss(const struct kern_team *team, const struct be_batch_loss *io, double temperature, void *scratch,
                    struct host_sums *out)
{
    struct batch_loss b;
    lay_out(&b, team, io->n, io->k == NULL ? 0 : io->keys, io->dim, scratch);
    b.io = io;
    b.temperature = temperature;
    memset(b.sums, 0, sizeof(double[5]) * (size_t)team->threads);
    memset(b.level, 0, sizeof(float) * whole(io->n, b.unit));
    fill_side(&b, &b.q, io->q);
    if (b.ntxent)
        b.k = b.q;
    else
        fill_side(&b, &b.k, io->k);
    parallel_run(team->threads, first_pass, &b);
    parallel_run(team->threads, second_pass, &b);
    if (io->d_k != NULL) {
        b.to_keys = 1;
        parallel_run(team->threads, second_pass, &b);
    }
    double sums[5] = {0};
    for (int thread = 0; thread < team->threads; thread++)
        for (int i = 0; i < 5; i++)
            sums[i] += b.sums[thread][i];
    *out = (struct host_sums){sums[0], sums[1], sums[2], sums[3], sums[4]};
}
