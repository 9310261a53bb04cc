/* SPDX-License-Identifier: MIT
 *
 * ref_loss: InfoNCE and NT-Xent, query by query: all similarities in a row, the positive's first, then softmax,
 * gradient and rank. What a reader would get wrong: similarities are compared before they are divided by the
 * temperature, and the same loop computes all of them, so that equal vectors tie exactly. */
#include "backend/ref/ref.h"

#include <math.h>
#include <string.h>

size_t ref_infonce_scratch(struct be_device *dev, int n, int dim, int64_t length)
{
    (void)dev;
    (void)n;
    (void)dim;
    return ((size_t)length + 1) * sizeof(double);
}

static double dot(int dim, const double *a, const double *b)
{
    double sum = 0;
    for (int i = 0; i < dim; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The probability that the positive is among the first m if ties are broken at random: `larger` others are before
 * it, and its position among the `equal` ones that it ties with is random. */
static double within(double m, double larger, double equal)
{
    double part = (m - larger) / (equal + 1);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

/* s[0] is the positive's similarity, the other count - 1 are the negatives'. Leaves softmax(s / temperature) in s. */
static void one_query(double *s, int64_t count, double temperature, struct host_sums *m)
{
    double larger = 0, equal = 0, negatives = 0, top = s[0], sum = 0;
    for (int64_t j = 1; j < count; j++) {
        larger += s[j] > s[0];
        equal += s[j] == s[0];
        negatives += s[j];
        top = s[j] > top ? s[j] : top;
    }
    m->top1 += within(1, larger, equal);
    m->top5 += within(5, larger, equal);
    m->pos += s[0];
    m->neg += count > 1 ? negatives / (double)(count - 1) : 0;
    double positive = (s[0] - top) / temperature;
    for (int64_t j = 0; j < count; j++) {
        s[j] = exp((s[j] - top) / temperature);
        sum += s[j];
    }
    m->loss += log(sum) - positive;
    for (int64_t j = 0; j < count; j++)
        s[j] /= sum;
}

moco_status ref_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err)
{
    double temperature = program->now.temperature;
    TRY(host_in_work(program, "infonce", err));
    if (io->n < 1 || io->dim < 1 || io->length < 0 || !(temperature > 0))
        return err_set(
            err, MOCO_EINVAL,
            "ref: InfoNCE of %d queries of %d numbers against %lld keys, or its temperature, is not possible", io->n,
            io->dim, (long long)io->length);
    struct host_sums m = {0};
    double *s = scratch;
    for (int i = 0; i < io->n; i++) {
        size_t row = (size_t)i * (size_t)io->dim;
        const double *q = (const double *)io->q + row, *k = (const double *)io->k + row, *queue = io->queue;
        double *d_q = (double *)io->d_q + row;
        s[0] = dot(io->dim, q, k);
        for (int64_t j = 0; j < io->length; j++)
            s[j + 1] = dot(io->dim, q, queue + j * io->dim);
        one_query(s, io->length + 1, temperature, &m);
        double unit = io->scale * program->now.loss_scale / temperature;
        for (int c = 0; c < io->dim; c++)
            d_q[c] = unit * (s[0] - 1) * k[c];
        for (int64_t j = 0; j < io->length; j++)
            for (int c = 0; c < io->dim; c++)
                d_q[c] += unit * s[j + 1] * queue[j * io->dim + c];
    }
    host_add_sums(program, &m);
    return MOCO_OK;
}

/* ---- the batch's own samples as negatives ---- */

size_t ref_batch_loss_scratch(struct be_device *dev, int n, int keys, int dim)
{
    (void)dev;
    (void)dim;
    return (size_t)(keys > 0 ? keys : n) * sizeof(double);
}

/* Adds weight * row to a gradient; NULL: nobody asks for it. */
static void add_row(int dim, double weight, const double *row, double *d)
{
    for (int c = 0; c < dim && d != NULL; c++)
        d[c] += weight * row[c];
}

/* Query i against all candidates: NT-Xent's are the queries themselves, of which its own row is none. */
static void one_of_batch(const struct be_batch_loss *io, const struct be_scalars *now, int i, double *s,
                         struct host_sums *m)
{
    int ntxent = io->k == NULL, count = ntxent ? io->n : io->keys, dim = io->dim;
    int own = ntxent ? (i + io->n / 2) % io->n : io->first + i, self = ntxent ? i : -1;
    const double *rows = ntxent ? io->q : io->k, *q = (const double *)io->q + (size_t)i * (size_t)dim;
    double *d_q = (double *)io->d_q + (size_t)i * (size_t)dim, *d_rows = ntxent ? io->d_q : io->d_k;
    int64_t used = 1;
    s[0] = dot(dim, q, rows + (size_t)own * (size_t)dim);
    for (int j = 0; j < count; j++)
        if (j != own && j != self)
            s[used++] = dot(dim, q, rows + (size_t)j * (size_t)dim);
    one_query(s, used, now->temperature, m);
    used = 1;
    for (int j = 0; j < count; j++) {
        if (j == self)
            continue;
        double weight = io->scale * now->loss_scale / now->temperature * (j == own ? s[0] - 1 : s[used++]);
        add_row(dim, weight, rows + (size_t)j * (size_t)dim, d_q);
        add_row(dim, weight, q, d_rows == NULL ? NULL : d_rows + (size_t)j * (size_t)dim);
    }
}

moco_status ref_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch, struct err *err)
{
    double temperature = program->now.temperature;
    TRY(host_in_work(program, "batch_loss", err));
    int ntxent = io->k == NULL;
    int fits = ntxent ? io->n % 2 == 0 && io->keys == 0 && io->d_k == NULL
                      : io->first >= 0 && io->keys >= io->n && io->first <= io->keys - io->n;
    if (io->n < 1 || io->dim < 1 || !(temperature > 0) || !fits)
        return err_set(err, MOCO_EINVAL,
                       "ref: a loss of %d queries of %d numbers against %d keys from %d on, or its temperature, is not "
                       "possible",
                       io->n, io->dim, io->keys, io->first);
    struct host_sums m = {0};
    memset(io->d_q, 0, (size_t)io->n * (size_t)io->dim * sizeof(double));
    if (io->d_k != NULL)
        memset(io->d_k, 0, (size_t)io->keys * (size_t)io->dim * sizeof(double));
    for (int i = 0; i < io->n; i++)
        one_of_batch(io, &program->now, i, scratch, &m);
    host_add_sums(program, &m);
    return MOCO_OK;
}
