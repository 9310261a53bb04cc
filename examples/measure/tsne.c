/* SPDX-License-Identifier: MIT
 *
 * tsne: see tsne.h. Gradient descent as in the paper: momentum, a gain for each coordinate, and affinities exaggerated
 * at first, so that clouds form before they settle. The step is the one that Belkina and others found for any number of
 * points (2019): n over the exaggeration. */
#include "tsne.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 750
#define EARLY_ROUNDS 250
#define EXAGGERATION 12.0
#define LEAST_RATE 50.0
#define START 1e-4 /* standard deviation of the plane that it begins from */
#define SEARCH_ROUNDS 64
#define STOP_EVERY 10 /* rounds */

static moco_status no_memory(struct err *err)
{
    return err_set(err, MOCO_ENOMEM, "out of memory for a map of embeddings");
}

/* Four sums side by side: one alone would wait for itself at every element. */
static float square_distance(const float *a, const float *b, int32_t dim)
{
    float sum[4] = {0};
    int32_t j = 0;
    for (; j + 4 <= dim; j += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += (a[j + k] - b[j + k]) * (a[j + k] - b[j + k]);
    for (; j < dim; j++)
        sum[0] += (a[j] - b[j]) * (a[j] - b[j]);
    return sum[0] + sum[1] + sum[2] + sum[3];
}

void plane_distances(const float *rows, int64_t n, int32_t dim, float *d)
{
    for (int64_t i = 0; i < n; i++) {
        d[i * n + i] = 0;
        for (int64_t j = 0; j < i; j++)
            d[i * n + j] = d[j * n + i] = square_distance(rows + i * dim, rows + j * dim, dim);
    }
}

/* ---- who is whose neighbour ---- */

/* exp(-beta (d - least)) of all others, and their entropy in nats. */
static double weigh(const float *d, int64_t n, int64_t self, double least, double beta, double *weight)
{
    double sum = 0, mean = 0;
    for (int64_t j = 0; j < n; j++) {
        weight[j] = j == self ? 0 : exp(-beta * (d[j] - least));
        sum += weight[j];
        mean += weight[j] * (d[j] - least);
    }
    for (int64_t j = 0; j < n; j++)
        weight[j] /= sum;
    return log(sum) + beta * mean / sum;
}

/* The width at which point `self` has so many neighbours, by bisection of beta, on a scale of its own distances. Where
 * more than that many are equally near, none is narrow enough: the search ends at the narrowest. */
static void calibrate(const float *d, int64_t n, int64_t self, double perplexity, double *weight)
{
    double least = INFINITY, mean = 0, low = 0, high = INFINITY;
    for (int64_t j = 0; j < n; j++)
        if (j != self) {
            least = fmin(least, d[j]);
            mean += d[j] / (double)(n - 1);
        }
    double beta = mean > least ? 1 / (mean - least) : 1;
    for (int round = 0; round < SEARCH_ROUNDS; round++) {
        double entropy = weigh(d, n, self, least, beta, weight);
        if (fabs(entropy - log(perplexity)) < 1e-7)
            return;
        if (entropy > log(perplexity))
            low = beta;
        else
            high = beta;
        beta = isfinite(high) ? (low + high) / 2 : 2 * beta;
    }
}

moco_status tsne_affinities(const float *d, int64_t n, double perplexity, float *p, struct err *err)
{
    double *weight = malloc((size_t)n * sizeof *weight);
    if (weight == NULL)
        return no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        calibrate(d + i * n, n, i, perplexity, weight);
        for (int64_t j = 0; j < n; j++)
            p[i * n + j] = (float)(weight[j] / (2.0 * (double)n));
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            p[i * n + j] = p[j * n + i] = p[i * n + j] + p[j * n + i];
    free(weight);
    return MOCO_OK;
}

/* ---- the descent ---- */

#define LANES 4
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

/* What a point is pulled by its neighbours and pushed by everybody, not scaled yet. */
struct forces {
    double pull_x, pull_y, push_x, push_y, weights;
};

static double sum_of(lanes v)
{
    double sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += (double)v[k];
    return sum;
}

static lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* On one point, of all: its own share is 0, but for a weight of 1. Sums are by lanes, and of few terms each. */
static void forces_on(int64_t i, const float *p, int64_t n, const float *x, const float *y, struct forces *f)
{
    lanes pull_x = {0}, pull_y = {0}, push_x = {0}, push_y = {0}, weights = {0};
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes dx = x[i] - load(x + j), dy = y[i] - load(y + j), w = 1 / (1 + dx * dx + dy * dy);
        lanes pull = load(p + j) * w, push = w * w;
        weights += w;
        pull_x += pull * dx;
        pull_y += pull * dy;
        push_x += push * dx;
        push_y += push * dy;
    }
    *f = (struct forces){sum_of(pull_x), sum_of(pull_y), sum_of(push_x), sum_of(push_y), sum_of(weights)};
    for (; j < n; j++) {
        double dx = (double)x[i] - x[j], dy = (double)y[i] - y[j], w = 1 / (1 + dx * dx + dy * dy);
        f->weights += w;
        f->pull_x += p[j] * w * dx;
        f->pull_y += p[j] * w * dy;
        f->push_x += w * w * dx;
        f->push_y += w * w * dy;
    }
}

void tsne_gradient(const float *p, int64_t n, double scale, const double *x, const double *y, float *room, double *gx,
                   double *gy)
{
    float *at_x = room, *at_y = room + n;
    double *push_x = (double *)(void *)(room + 2 * n), *push_y = push_x + n, total = -(double)n;
    for (int64_t i = 0; i < n; i++) {
        at_x[i] = (float)x[i];
        at_y[i] = (float)y[i];
    }
    for (int64_t i = 0; i < n; i++) {
        struct forces f;
        forces_on(i, p + i * n, n, at_x, at_y, &f);
        gx[i] = 4 * scale * f.pull_x;
        gy[i] = 4 * scale * f.pull_y;
        push_x[i] = 4 * f.push_x;
        push_y[i] = 4 * f.push_y;
        total += f.weights;
    }
    for (int64_t i = 0; i < n; i++) {
        gx[i] -= push_x[i] / total;
        gy[i] -= push_y[i] / total;
    }
}

double tsne_divergence(const float *p, int64_t n, const double *x, const double *y)
{
    double total = 0, sum = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            total += i == j ? 0 : 1 / (1 + (x[i] - x[j]) * (x[i] - x[j]) + (y[i] - y[j]) * (y[i] - y[j]));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double dx = x[i] - x[j], dy = y[i] - y[j], q = 1 / (1 + dx * dx + dy * dy) / total;
            sum += p[i * n + j] > 0 ? p[i * n + j] * log(p[i * n + j] / q) : 0;
        }
    return sum;
}

static void centre(double *v, int64_t n)
{
    double mean = 0;
    for (int64_t i = 0; i < n; i++)
        mean += v[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        v[i] -= mean;
}

/* So that a plane of any size is a small one. Points that lie on each other would stay so: they are set apart a little,
 * by their numbers. */
static void begin(double *x, double *y, int64_t n)
{
    double square = 0;
    centre(x, n);
    centre(y, n);
    for (int64_t i = 0; i < n; i++)
        square += x[i] * x[i];
    double scale = square > 0 ? START / sqrt(square / (double)n) : 0;
    for (int64_t i = 0; i < n; i++) {
        double turn = 2.399963 * (double)i; /* the golden angle: no two alike */
        x[i] = x[i] * scale + START * 1e-3 * cos(turn);
        y[i] = y[i] * scale + START * 1e-3 * sin(turn);
    }
}

struct axis_state {
    double *at, *gradient, *speed, *gain;
};

static void move(struct axis_state *s, int64_t n, double rate, double momentum)
{
    for (int64_t i = 0; i < n; i++) {
        int against = (s->gradient[i] > 0) != (s->speed[i] > 0);
        s->gain[i] = fmax(against ? s->gain[i] + 0.2 : s->gain[i] * 0.8, 0.01);
        s->speed[i] = momentum * s->speed[i] - rate * s->gain[i] * s->gradient[i];
        s->at[i] += s->speed[i];
    }
    centre(s->at, n);
}

/* `room`: [9,n], 0. */
static moco_status descend(const float *p, int64_t n, double *room, int (*stop)(void), double *x, double *y)
{
    struct axis_state across = {x, room, room + n, room + 2 * n};
    struct axis_state up = {y, room + 3 * n, room + 4 * n, room + 5 * n};
    float *of_gradient = (float *)(void *)(room + 6 * n);
    double rate = fmax((double)n / EXAGGERATION / 4, LEAST_RATE);
    for (int64_t i = 0; i < n; i++)
        across.gain[i] = up.gain[i] = 1;
    for (int round = 0; round < ROUNDS; round++) {
        int early = round < EARLY_ROUNDS;
        if (stop != NULL && round % STOP_EVERY == 0 && stop())
            return MOCO_ECANCELED;
        tsne_gradient(p, n, early ? EXAGGERATION : 1, x, y, of_gradient, across.gradient, up.gradient);
        move(&across, n, rate, early ? 0.5 : 0.8);
        move(&up, n, rate, early ? 0.5 : 0.8);
    }
    return MOCO_OK;
}

moco_status tsne_plane(const float *d, int64_t n, double *perplexity, int (*stop)(void), double *x, double *y,
                       struct err *err)
{
    if (n < 4) {
        *perplexity = 0;
        return MOCO_OK;
    }
    *perplexity = fmin(*perplexity, (double)(n - 1) / 3);
    float *p = malloc((size_t)n * (size_t)n * sizeof *p);
    double *room = calloc(9 * (size_t)n, sizeof *room);
    moco_status status = MOCO_OK;
    if (p == NULL || room == NULL)
        status = no_memory(err);
    if (status == MOCO_OK)
        status = tsne_affinities(d, n, *perplexity, p, err);
    if (status == MOCO_OK) {
        begin(x, y, n);
        status = descend(p, n, room, stop, x, y);
    }
    free(room);
    free(p);
    return status;
}

/* ---- how far to believe a plane ---- */

/* The `k` nearest of point i in the plane, nearest first. */
static void nearest_in_plane(int64_t n, const double *x, const double *y, int64_t i, int k, int64_t *found, double *far)
{
    int have = 0;
    for (int64_t j = 0; j < n; j++) {
        double dx = x[i] - x[j], dy = y[i] - y[j], d = dx * dx + dy * dy;
        if (j == i || (have == k && !(d < far[k - 1])))
            continue;
        int at = have < k ? have++ : k - 1;
        for (; at > 0 && far[at - 1] > d; at--) {
            far[at] = far[at - 1];
            found[at] = found[at - 1];
        }
        far[at] = d;
        found[at] = j;
    }
}

moco_status plane_trust(const float *d, int64_t n, const double *x, const double *y, int k, double *trust,
                        struct err *err)
{
    *trust = NAN;
    if (n < 2 * (int64_t)k + 2)
        return MOCO_OK;
    double *far = malloc((size_t)k * sizeof *far), penalty = 0;
    int64_t *found = malloc((size_t)k * sizeof *found);
    moco_status status = far == NULL || found == NULL ? no_memory(err) : MOCO_OK;
    for (int64_t i = 0; i < n && status == MOCO_OK; i++) {
        const float *row = d + i * n;
        nearest_in_plane(n, x, y, i, k, found, far);
        for (int f = 0; f < k; f++) {
            int64_t rank = 1;
            for (int64_t j = 0; j < n; j++)
                rank += j != i && (row[j] < row[found[f]] || (row[j] <= row[found[f]] && j < found[f]));
            penalty += rank > k ? (double)(rank - k) : 0;
        }
    }
    if (status == MOCO_OK)
        *trust = 1 - 2 * penalty / ((double)n * k * (2 * (double)n - 3 * (double)k - 1));
    free(far);
    free(found);
    return status;
}
