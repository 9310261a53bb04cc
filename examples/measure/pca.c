/* SPDX-License-Identifier: MIT
 *
 * pca: see pca.h. It is orthogonal iteration on four directions, of which the first two are kept; the covariance
 * matrix is never computed. The sign of a direction is arbitrary. Its largest component is made positive, so that a
 * map is not mirrored from one drawing to the next. */
#include "pca.h"

#include <math.h>
#include <stdlib.h>

#define DIRECTIONS 4
#define ROUNDS 60

static void centre(float *rows, int64_t n, int32_t dim, double *total)
{
    *total = 0;
    for (int32_t j = 0; j < dim; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += rows[i * dim + j];
        double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++) {
            double value = rows[i * dim + j] - mean;
            rows[i * dim + j] = (float)value;
            *total += value * value;
        }
    }
}

static double dot(const double *a, const double *b, int32_t dim)
{
    double sum = 0;
    for (int32_t j = 0; j < dim; j++)
        sum += a[j] * b[j];
    return sum;
}

/* Gram and Schmidt; what has nothing left becomes 0. */
static void orthonormalise(double *basis, int32_t dim)
{
    for (int k = 0; k < DIRECTIONS; k++) {
        double *v = basis + (int64_t)k * dim, before = sqrt(dot(v, v, dim));
        for (int twice = 0; twice < 2; twice++)
            for (int l = 0; l < k; l++) {
                double along = dot(v, basis + (int64_t)l * dim, dim);
                for (int32_t j = 0; j < dim; j++)
                    v[j] -= along * basis[(int64_t)l * dim + j];
            }
        double length = sqrt(dot(v, v, dim));
        for (int32_t j = 0; j < dim; j++)
            v[j] = length > 1e-12 * before && length > 0 ? v[j] / length : 0;
    }
}

static double along(const float *row, const double *direction, int32_t dim)
{
    double sum = 0;
    for (int32_t j = 0; j < dim; j++)
        sum += row[j] * direction[j];
    return sum;
}

/* next = rows' rows basis */
static void multiply(const float *rows, int64_t n, int32_t dim, const double *basis, double *next)
{
    for (int64_t j = 0; j < (int64_t)DIRECTIONS * dim; j++)
        next[j] = 0;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < DIRECTIONS; k++) {
            double part = along(rows + i * dim, basis + (int64_t)k * dim, dim);
            for (int32_t j = 0; j < dim; j++)
                next[(int64_t)k * dim + j] += part * rows[i * dim + j];
        }
}

static void point_up(double *v, int32_t dim)
{
    int32_t largest = 0;
    for (int32_t j = 1; j < dim; j++)
        if (fabs(v[j]) > fabs(v[largest]))
            largest = j;
    for (int32_t j = 0; j < dim && v[largest] < 0; j++)
        v[j] = j == largest ? v[j] : -v[j];
    v[largest] = fabs(v[largest]);
}

moco_status pca_plane(float *rows, int64_t n, int32_t dim, double *x, double *y, double part[2], struct err *err)
{
    size_t size = (size_t)DIRECTIONS * (size_t)dim;
    double *block = malloc(2 * size * sizeof *block), *basis = block, total;
    uint32_t state = 1;
    if (block == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    double *next = block + size;
    centre(rows, n, dim, &total);
    for (size_t j = 0; j < size; j++) {
        state = state * 1664525u + 1013904223u;
        basis[j] = (double)state / 4294967296.0 - 0.5;
    }
    orthonormalise(basis, dim);
    for (int round = 0; round < ROUNDS && total > 0; round++) {
        double *swap = basis;
        multiply(rows, n, dim, basis, next);
        basis = next;
        next = swap;
        orthonormalise(basis, dim);
    }
    double *to[2] = {x, y};
    for (int k = 0; k < 2; k++) {
        double sum = 0;
        point_up(basis + (int64_t)k * dim, dim);
        for (int64_t i = 0; i < n; i++) {
            to[k][i] = total > 0 ? along(rows + i * dim, basis + (int64_t)k * dim, dim) : 0;
            sum += to[k][i] * to[k][i];
        }
        part[k] = total > 0 ? sum / total : 0;
    }
    free(block);
    return MOCO_OK;
}
