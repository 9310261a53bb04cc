/* SPDX-License-Identifier: MIT
 *
 * ref_loss: InfoNCE, query by query: all similarities in a row, then softmax, gradient and rank. What a reader would
 * get wrong: similarities are compared before they are divided by the temperature, and all come from the same loop, so
 * that equal vectors tie exactly. */
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

/* The part of m places that the positive takes if ties are broken by chance: it stands behind `larger` others and
 * anywhere among the `equal` it ties with. */
static double within(double m, double larger, double equal)
{
    double part = (m - larger) / (equal + 1);
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

/* s[0] is the positive's similarity, s[1..length] the queue's. Leaves softmax(s / T) in s. */
static void one_query(struct be_infonce *io, double *s)
{
    int64_t count = io->length + 1;
    double larger = 0, equal = 0, negatives = 0, top = s[0], sum = 0;
    for (int64_t j = 1; j < count; j++) {
        larger += s[j] > s[0];
        equal += s[j] == s[0];
        negatives += s[j];
        top = s[j] > top ? s[j] : top;
    }
    io->top1 += within(1, larger, equal);
    io->top5 += within(5, larger, equal);
    io->pos += s[0];
    io->neg += io->length > 0 ? negatives / (double)io->length : 0;
    double positive = (s[0] - top) / io->temperature;
    for (int64_t j = 0; j < count; j++) {
        s[j] = exp((s[j] - top) / io->temperature);
        sum += s[j];
    }
    io->loss += log(sum) - positive;
    for (int64_t j = 0; j < count; j++)
        s[j] /= sum;
}

moco_status ref_infonce(struct be_device *dev, struct be_infonce *io, void *scratch, struct err *err)
{
    (void)dev;
    if (io->n < 1 || io->dim < 1 || io->length < 0 || !(io->temperature > 0))
        return err_set(
            err, MOCO_EINVAL,
            "ref: InfoNCE of %d queries of %d numbers against %lld keys, or its temperature, is not possible", io->n,
            io->dim, (long long)io->length);
    io->loss = io->top1 = io->top5 = io->pos = io->neg = 0;
    double *s = scratch;
    for (int i = 0; i < io->n; i++) {
        size_t row = (size_t)i * (size_t)io->dim;
        const double *q = (const double *)io->q + row, *k = (const double *)io->k + row, *queue = io->queue;
        double *d_q = (double *)io->d_q + row;
        s[0] = dot(io->dim, q, k);
        for (int64_t j = 0; j < io->length; j++)
            s[j + 1] = dot(io->dim, q, queue + j * io->dim);
        one_query(io, s);
        double unit = io->scale / io->temperature;
        for (int c = 0; c < io->dim; c++)
            d_q[c] = unit * (s[0] - 1) * k[c];
        for (int64_t j = 0; j < io->length; j++)
            for (int c = 0; c < io->dim; c++)
                d_q[c] += unit * s[j + 1] * queue[j * io->dim + c];
    }
    return MOCO_OK;
}
