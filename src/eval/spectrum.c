/* SPDX-License-Identifier: MIT
 *
 * spectrum: Householder reflections reduce the matrix to three diagonals, and QL with Wilkinson's shift reduces
 * those to one. The first part takes nearly all of the time and is bound by memory. The update by one reflection and
 * the product that the next one needs therefore share a single pass over the triangle. */
#include "eval/spectrum.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define LANES 8
#define SWEEPS 60 /* of QL per eigenvalue; two are usual */

/* A reflection I - u u^T / h, and what it adds to the matrix: - u q^T - q u^T. */
struct reflection {
    double *u, *q;
    double h; /* 0: none */
};

/* row -= u_row * q + q_row * u, over `count` places. */
static void update_row(double *row, const struct reflection *r, int at, int count)
{
    double u = r->u[at], q = r->q[at];
    for (int c = 0; c < count; c++)
        row[c] -= u * r->q[c] + q * r->u[c];
}

/* Turns row[0 .. n - 1] into a reflection that leaves only its last place; that place's new value. */
static double reflect(const double *row, int n, struct reflection *r)
{
    double largest = 0, squares = 0;
    r->h = 0;
    for (int c = 0; c < n; c++)
        largest = fabs(row[c]) > largest ? fabs(row[c]) : largest;
    if (n == 1 || largest == 0)
        return row[n - 1];
    for (int c = 0; c < n; c++) {
        r->u[c] = row[c] / largest;
        squares += r->u[c] * r->u[c];
    }
    double last = r->u[n - 1], length = last >= 0 ? -sqrt(squares) : sqrt(squares);
    r->h = squares - last * length;
    r->u[n - 1] = last - length;
    return length * largest;
}

/* Applies `old` to rows and columns 0 .. n - 1 of the lower triangle; next->q = (that matrix) next->u. */
static void pass(double *matrix, int stride, int n, const struct reflection *old, struct reflection *next)
{
    for (int c = 0; c < n; c++)
        next->q[c] = 0;
    for (int row = 0; row < n; row++) {
        double *a = matrix + (size_t)row * (size_t)stride, sums[LANES] = {0}, own = next->u[row];
        if (old->h != 0)
            update_row(a, old, row, row + 1);
        int c = 0;
        for (; c + LANES <= row; c += LANES)
            for (int l = 0; l < LANES; l++) {
                sums[l] += a[c + l] * next->u[c + l];
                next->q[c + l] += a[c + l] * own;
            }
        for (; c < row; c++) {
            sums[0] += a[c] * next->u[c];
            next->q[c] += a[c] * own;
        }
        double sum = a[row] * own;
        for (int l = 0; l < LANES; l++)
            sum += sums[l];
        next->q[row] += sum;
    }
}

/* q = p / h - u (u^T p) / (2 h^2), from p in q. */
static void finish(struct reflection *r, int n)
{
    double inner = 0;
    for (int c = 0; c < n; c++) {
        r->q[c] /= r->h;
        inner += r->u[c] * r->q[c];
    }
    inner /= 2 * r->h;
    for (int c = 0; c < n; c++)
        r->q[c] -= inner * r->u[c];
}

/* diagonal[n], and beside[i] between i and i + 1. From the last row up. */
static void tridiagonal(int n, double *matrix, double *diagonal, double *beside, struct reflection r[2])
{
    struct reflection *old = &r[0], *next = &r[1];
    old->h = next->h = 0;
    for (int row = n - 1; row > 0; row--) {
        double *a = matrix + (size_t)row * (size_t)n;
        if (old->h != 0)
            update_row(a, old, row, row + 1);
        diagonal[row] = a[row];
        beside[row - 1] = reflect(a, row, next);
        if (next->h == 0) { /* nothing to reflect: what is pending is applied all the same */
            for (int above = 0; old->h != 0 && above < row; above++)
                update_row(matrix + (size_t)above * (size_t)n, old, above, above + 1);
        } else {
            pass(matrix, n, row, old, next);
            finish(next, row);
        }
        struct reflection *free_now = old;
        old = next;
        next = free_now;
    }
    diagonal[0] = matrix[0];
}

static int negligible(const double *d, const double *e, int i)
{
    return fabs(e[i]) <= DBL_EPSILON * (fabs(d[i]) + fabs(d[i + 1]));
}

/* One sweep over places first .. last, which hang together: chases the shift's bulge from the end to the start. */
static void sweep(double *d, double *e, int first, int last)
{
    double half = (d[first + 1] - d[first]) / (2 * e[first]);
    double shift = d[first] - e[first] / (half + copysign(hypot(half, 1), half));
    double g = d[last] - shift, sine = 1, cosine = 1, carry = 0;
    for (int i = last - 1; i >= first; i--) {
        double f = sine * e[i], b = cosine * e[i], length = hypot(f, g);
        if (i + 1 < last)
            e[i + 1] = length;
        if (length == 0) { /* fell apart here */
            d[i + 1] -= carry;
            return;
        }
        sine = f / length;
        cosine = g / length;
        g = d[i + 1] - carry;
        double t = (d[i] - g) * sine + 2 * cosine * b;
        carry = sine * t;
        d[i + 1] = g + carry;
        g = cosine * t - b;
    }
    d[first] -= carry;
    e[first] = g;
}

static moco_status ql(int n, double *d, double *e, struct err *err)
{
    for (int first = 0; first < n - 1; first++)
        for (int tries = 0;; tries++) {
            int last = first;
            while (last < n - 1 && !negligible(d, e, last))
                last++;
            if (last == first)
                break;
            if (tries == SWEEPS)
                return err_set(err, MOCO_ENUMERIC, "the spectrum does not converge");
            sweep(d, e, first, last);
        }
    return MOCO_OK;
}

static int larger_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

moco_status spectrum(struct ctx *ctx, int n, double *matrix, double *values, struct err *err)
{
    double *work = mem_array(ctx, (size_t)n * 5, sizeof *work, err);
    if (work == NULL)
        return MOCO_ENOMEM;
    struct reflection r[2] = {{.u = work, .q = work + n}, {.u = work + 2 * (size_t)n, .q = work + 3 * (size_t)n}};
    double *beside = work + 4 * (size_t)n;
    tridiagonal(n, matrix, values, beside, r);
    moco_status status = ql(n, values, beside, err);
    if (status == MOCO_OK)
        qsort(values, (size_t)n, sizeof *values, larger_first);
    mem_free(ctx, work);
    return status;
}
