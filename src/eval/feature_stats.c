/* SPDX-License-Identifier: MIT
 *
 * feature_stats: see feature_stats.h. Cosines are f32; sums of them are double. */
#include "eval/feature_stats.h"

#include <math.h>
#include <string.h>

#include "backend/fallback.h"
#include "eval/spectrum.h"
#include "eval/unit_rows.h"

#define BLOCK 1024 /* rows of a product */

/* Of the covariance: tiles that stay in the caches while ROWS rows, RUN at a time, are added to them. TILE_J is a
 * multiple of TILE_I, so that a tile which the diagonal cuts is the last of its row. */
enum { ROWS = 128, RUN = 4, TILE_I = 32, TILE_J = 256 };

/* Eigenvalues below this part of the largest are rounding of f32 features, and count as 0; so do all of them if the
 * largest is below the second bound: rows that differ by less than a millionth of their length. */
#define RESOLUTION 1e-12
#define ALL_THE_SAME 1e-12

/* Features have collapsed if their spread is below this fraction of the possible one, or if fewer than two
 * directions are in use: they cannot distinguish images. A network that learns is far from both after its first
 * epoch. */
#define COLLAPSED_SPREAD 0.05
#define COLLAPSED_RANK 2.0

struct work {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    int64_t n;
    int dim;
    float *rows;        /* [n][dim], unit */
    float *block;       /* [BLOCK][dim]: unit rows of pairs */
    float *product;     /* [BLOCK][BLOCK] */
    double *mean;       /* [dim] */
    double *centred;    /* [ROWS][dim]: rows less their mean */
    double *covariance; /* [dim][dim], the lower triangle */
    double *values;     /* [dim] */
};

static moco_status take(struct work *w, struct err *err)
{
    size_t dim = (size_t)w->dim;
    if (w->n > INT64_MAX / 64 / w->dim)
        return err_set(err, MOCO_ENOMEM, "no memory for %lld rows", (long long)w->n);
    w->rows = mem_array(w->ctx, (size_t)w->n, dim * sizeof *w->rows, err);
    w->block = mem_array(w->ctx, BLOCK, dim * sizeof *w->block, err);
    w->product = mem_array(w->ctx, BLOCK, BLOCK * sizeof *w->product, err);
    w->mean = mem_array(w->ctx, dim, sizeof *w->mean, err);
    w->centred = mem_array(w->ctx, ROWS, dim * sizeof *w->centred, err);
    w->covariance = mem_array(w->ctx, dim, dim * sizeof *w->covariance, err);
    w->values = mem_array(w->ctx, dim, sizeof *w->values, err);
    return w->rows != NULL && w->block != NULL && w->product != NULL && w->mean != NULL && w->centred != NULL &&
                   w->covariance != NULL && w->values != NULL
               ? MOCO_OK
               : MOCO_ENOMEM;
}

static void give_back(struct work *w)
{
    mem_free(w->ctx, w->rows);
    mem_free(w->ctx, w->block);
    mem_free(w->ctx, w->product);
    mem_free(w->ctx, w->mean);
    mem_free(w->ctx, w->centred);
    mem_free(w->ctx, w->covariance);
    mem_free(w->ctx, w->values);
}

static int64_t rows_at(const struct work *w, int64_t at)
{
    return w->n - at < BLOCK ? w->n - at : BLOCK;
}

/* covariance[i][j] += sum over `rows` (a multiple of RUN) of x[.][i] x[.][j], for i in [i0, i1) and j in [j0, j1),
 * where only j <= i counts. */
static void add_tile(double *covariance, const double *x, int rows, size_t dim, size_t i0, size_t i1, size_t j0,
                     size_t j1)
{
    for (int r = 0; r < rows; r += RUN) {
        const double *restrict a = x + (size_t)r * dim;
        for (size_t i = i0; i < i1; i++) {
            double *restrict to = covariance + i * dim;
            size_t end = j1 <= i ? j1 : i + 1;
            for (size_t j = j0; j < end; j++)
                to[j] += a[i] * a[j] + a[dim + i] * a[dim + j] + a[2 * dim + i] * a[2 * dim + j] +
                         a[3 * dim + i] * a[3 * dim + j];
        }
    }
}

/* The lower triangle, in double: rounding that all rows share would otherwise look like directions of its own. */
static void covariance(struct work *w)
{
    size_t dim = (size_t)w->dim;
    for (int64_t i = 0; i < w->n; i++)
        for (size_t d = 0; d < dim; d++)
            w->mean[d] += w->rows[(size_t)i * dim + d];
    for (size_t d = 0; d < dim; d++)
        w->mean[d] /= (double)w->n;
    for (int64_t at = 0; at < w->n; at += ROWS) {
        for (int64_t r = 0; r < ROWS; r++)
            for (size_t d = 0; d < dim; d++) /* rows past the end are the mean, which adds nothing */
                w->centred[(size_t)r * dim + d] = at + r < w->n ? w->rows[(size_t)(at + r) * dim + d] - w->mean[d] : 0;
        for (size_t i = 0; i < dim; i += TILE_I)
            for (size_t j = 0; j <= i; j += TILE_J)
                add_tile(w->covariance, w->centred, ROWS, dim, i, i + TILE_I < dim ? i + TILE_I : dim, j,
                         j + TILE_J < dim ? j + TILE_J : dim);
    }
    for (size_t i = 0; i < dim * dim; i++)
        w->covariance[i] /= (double)w->n;
}

static void spread(const struct work *w, struct feature_stats *s)
{
    double sum = 0, least = INFINITY;
    for (size_t d = 0; d < (size_t)w->dim; d++) {
        double variance = w->covariance[d * (size_t)w->dim + d], deviation = sqrt(variance > 0 ? variance : 0);
        sum += deviation;
        least = deviation < least ? deviation : least;
    }
    s->std_mean = sum / w->dim;
    s->std_min = least;
}

/* exp of the entropy of the singular values' parts of their sum (Roy and Vetterli, 2007). */
static double effective_rank(const double *values, int n)
{
    double floor = RESOLUTION * values[0], sum = 0, entropy = 0;
    if (!(values[0] > ALL_THE_SAME))
        return 0;
    for (int i = 0; i < n && values[i] > floor; i++)
        sum += sqrt(values[i]);
    for (int i = 0; i < n && values[i] > floor; i++) {
        double part = sqrt(values[i]) / sum;
        entropy -= part * log(part);
    }
    return exp(entropy);
}

/* log of the mean of exp(-2 |x - y|^2) over all pairs; |x - y|^2 is 2 - 2 cosine. */
static moco_status uniformity(struct work *w, double *out, struct err *err)
{
    size_t dim = (size_t)w->dim;
    double sum = 0;
    for (int64_t a = 0; a < w->n; a += BLOCK)
        for (int64_t b = a; b < w->n; b += BLOCK) {
            int64_t rows = rows_at(w, a), columns = rows_at(w, b);
            TRY(backend_gemm_nt(w->be, w->dev, rows, columns, w->dim, w->rows + (size_t)a * dim,
                                w->rows + (size_t)b * dim, w->product, err));
            for (int64_t i = 0; i < rows; i++) {
                const float *cosines = w->product + i * columns;
                double row = 0;
                for (int64_t j = a == b ? i + 1 : 0; j < columns; j++)
                    row += expf(4 * cosines[j] - 4);
                sum += row;
            }
        }
    *out = log(sum / ((double)w->n * (double)(w->n - 1) / 2));
    return MOCO_OK;
}

/* Mean of |x - y|^2 over the pairs. */
static moco_status alignment(struct work *w, const float *pairs, double *out, struct err *err)
{
    size_t dim = (size_t)w->dim;
    double sum = 0;
    for (int64_t at = 0; at < w->n; at += BLOCK) {
        int64_t rows = rows_at(w, at);
        const float *x = w->rows + (size_t)at * dim, *y = w->block;
        if (unit_rows(pairs, at, rows, w->dim, w->block, err) != MOCO_OK) {
            err_prefix(err, "pairs");
            return MOCO_ENUMERIC;
        }
        for (size_t i = 0; i < (size_t)rows * dim; i++)
            sum += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    }
    *out = sum / (double)w->n;
    return MOCO_OK;
}

static moco_status measure(struct work *w, const float *features, const float *pairs, struct feature_stats *s,
                           struct err *err)
{
    TRY(take(w, err));
    TRY(unit_rows(features, 0, w->n, w->dim, w->rows, err));
    s->alignment = NAN;
    if (pairs != NULL)
        TRY(alignment(w, pairs, &s->alignment, err));
    covariance(w);
    spread(w, s);
    TRY(uniformity(w, &s->uniformity, err));
    TRY(spectrum(w->ctx, w->dim, w->covariance, w->values, err));
    s->effective_rank = effective_rank(w->values, w->dim);
    s->collapsed =
        s->std_mean * sqrt(w->dim) < COLLAPSED_SPREAD || (w->dim > 2 && w->n > 3 && s->effective_rank < COLLAPSED_RANK);
    return MOCO_OK;
}

moco_status feature_stats(struct ctx *ctx, const struct backend *be, struct be_device *dev, const float *features,
                          const float *pairs, int64_t n, int dim, struct feature_stats *stats, double *values,
                          struct err *err)
{
    struct work w = {.ctx = ctx, .be = be, .dev = dev, .n = n, .dim = dim};
    if (dim > FEATURE_STATS_DIM)
        return err_set(err, MOCO_EINVAL, "features have %d dimensions; statistics are made of at most %d", dim,
                       FEATURE_STATS_DIM);
    if (n < 2)
        return err_set(err, MOCO_EINVAL, "features: there is one row; statistics need two at least");
    struct feature_stats s;
    moco_status status = measure(&w, features, pairs, &s, err);
    if (status == MOCO_OK) {
        *stats = s;
        if (values != NULL)
            memcpy(values, w.values, (size_t)dim * sizeof *values);
    }
    give_back(&w);
    return status;
}
