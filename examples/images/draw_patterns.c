/* SPDX-License-Identifier: MIT
 *
 * draw_patterns: see draw_patterns.h. A pattern is drawn at 96 pixels as a signal of about -1..1, sharpened by a
 * logistic into two grey levels, reduced to 32 pixels by the triangle filter that image libraries call bilinear, and
 * made noisy. */
#include "draw_patterns.h"

#include <math.h>

#include "philox.h"

#define BIG 96
#define PER_PIXEL (BIG / PATTERN_SIZE)
#define GRID_MAX 24
#define PI 3.14159265358979323846

enum { HORIZONTAL, VERTICAL, DIAGONAL, CHECKS, DOTS, RINGS, SPOKES, COARSE, FINE, DISC };
const char *const pattern_names[PATTERN_CLASSES] = {"horizontal stripes",
                                                    "vertical stripes",
                                                    "diagonal stripes",
                                                    "checks",
                                                    "dots",
                                                    "rings",
                                                    "spokes",
                                                    "coarse noise",
                                                    "fine noise",
                                                    "disc"};

struct pattern {
    int kind, spokes, grid;
    double frequency; /* radians over the side */
    double phase[2];
    double centre[2];
    double cosine, sine; /* of the tilt */
    double radius;
    double dark, light; /* grey levels */
    double value[GRID_MAX][GRID_MAX];
};

static double between(struct rng *r, double low, double high)
{
    return low + (high - low) * rng_uniform(r);
}

/* Every picture takes the same draws in the same order, whatever its class. */
static void choose(struct pattern *p, struct rng *r, int kind)
{
    p->kind = kind;
    p->frequency = 2 * PI / between(r, 0.13, 0.3);
    p->phase[0] = between(r, 0, 2 * PI);
    p->phase[1] = between(r, 0, 2 * PI);
    p->centre[0] = between(r, 0.3, 0.7);
    p->centre[1] = between(r, 0.3, 0.7);
    double tilt = between(r, -0.2, 0.2) + (kind == DIAGONAL ? PI / 4 : 0);
    p->cosine = cos(tilt);
    p->sine = sin(tilt);
    p->radius = between(r, 0.2, 0.4);
    p->spokes = 5 + (int)rng_below(r, 4);
    double a = between(r, 0, 255), b = between(r, 0, 255);
    while (fabs(a - b) < 70) { /* which of them is the lighter is part of the picture */
        a = between(r, 0, 255);
        b = between(r, 0, 255);
    }
    p->dark = a;
    p->light = b;
    p->grid = kind == COARSE ? 5 : kind == FINE ? GRID_MAX : 0;
    for (int i = 0; i < p->grid; i++)
        for (int j = 0; j < p->grid; j++)
            p->value[i][j] = between(r, -1, 1);
}

/* Catmull-Rom's cubic, the "bicubic" of image libraries (a = -0.5). */
static void cubic(double t, double weight[4])
{
    weight[0] = ((-0.5 * t + 1.0) * t - 0.5) * t;
    weight[1] = (1.5 * t - 2.5) * t * t + 1.0;
    weight[2] = ((-1.5 * t + 2.0) * t + 0.5) * t;
    weight[3] = (0.5 * t - 0.5) * t * t;
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static double noise_at(const struct pattern *p, double x, double y)
{
    double gx = x * p->grid - 0.5, gy = y * p->grid - 0.5, wx[4], wy[4], sum = 0;
    int ix = (int)floor(gx), iy = (int)floor(gy);
    cubic(gx - ix, wx);
    cubic(gy - iy, wy);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            sum += wy[i] * wx[j] * p->value[inside(iy + i - 1, p->grid)][inside(ix + j - 1, p->grid)];
    return sum;
}

/* x and y in 0..1 */
static double signal_at(const struct pattern *p, double x, double y)
{
    double u = p->cosine * x + p->sine * y, v = p->cosine * y - p->sine * x;
    double dx = x - p->centre[0], dy = y - p->centre[1], distance = sqrt(dx * dx + dy * dy);
    double across = sin(p->frequency * u + p->phase[0]), down = sin(p->frequency * v + p->phase[1]);
    switch (p->kind) {
    case HORIZONTAL:
        return down;
    case VERTICAL:
    case DIAGONAL:
        return across;
    case CHECKS:
        return across * down;
    case DOTS:
        return across + down - 0.8;
    case RINGS:
        return sin(p->frequency * distance + p->phase[0]);
    case SPOKES:
        return sin(p->spokes * atan2(dy, dx) + p->phase[0]);
    case DISC:
        return (p->radius - distance) * 8;
    default:
        return noise_at(p, x, y);
    }
}

/* One mean and one standard deviation for all: neither may tell a class. */
static void to_bytes(const double *grey, uint8_t *rgb)
{
    int n = PATTERN_SIZE * PATTERN_SIZE;
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++)
        sum += grey[i];
    double mean = sum / n;
    for (int i = 0; i < n; i++)
        square += (grey[i] - mean) * (grey[i] - mean);
    double scale = 0.22 / sqrt(square / n + 1e-12);
    for (int i = 0; i < n; i++) {
        double value = 255 * (0.5 + scale * (grey[i] - mean)) + 0.5;
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

/* Weights of a triangle as wide as two small pixels, over the big pixels around small pixel `i`; returns the first. */
static int triangle(int i, double weight[2 * PER_PIXEL], int *count)
{
    double centre = (i + 0.5) * PER_PIXEL, sum = 0;
    int first = inside(i * PER_PIXEL - PER_PIXEL / 2, BIG), last = inside((i + 1) * PER_PIXEL + PER_PIXEL / 2 - 1, BIG);
    *count = 0;
    for (int j = first; j <= last; j++) {
        double w = 1 - fabs(j + 0.5 - centre) / PER_PIXEL;
        weight[(*count)++] = w > 0 ? w : 0;
        sum += w > 0 ? w : 0;
    }
    for (int j = 0; j < *count; j++)
        weight[j] /= sum;
    return first;
}

static void reduce(double big[BIG][BIG], double *small)
{
    double narrow[BIG][PATTERN_SIZE], weight[2 * PER_PIXEL];
    int count;
    for (int i = 0; i < PATTERN_SIZE; i++) {
        int first = triangle(i, weight, &count);
        for (int y = 0; y < BIG; y++) {
            narrow[y][i] = 0;
            for (int j = 0; j < count; j++)
                narrow[y][i] += weight[j] * big[y][first + j];
        }
    }
    for (int i = 0; i < PATTERN_SIZE; i++) {
        int first = triangle(i, weight, &count);
        for (int x = 0; x < PATTERN_SIZE; x++) {
            double sum = 0;
            for (int j = 0; j < count; j++)
                sum += weight[j] * narrow[first + j][x];
            small[i * PATTERN_SIZE + x] = sum;
        }
    }
}

void draw_pattern(uint64_t seed, uint64_t number, uint8_t *rgb)
{
    struct rng r;
    struct pattern p;
    double big[BIG][BIG], small[PATTERN_SIZE * PATTERN_SIZE];
    rng_init(&r, seed, 0, number, 0, RNG_DEMO);
    choose(&p, &r, (int)(number % PATTERN_CLASSES));
    for (int y = 0; y < BIG; y++)
        for (int x = 0; x < BIG; x++) {
            double s = signal_at(&p, (x + 0.5) / BIG, (y + 0.5) / BIG);
            double level = 1 / (1 + exp(-6 * s));
            big[y][x] = p.dark + (p.light - p.dark) * level;
        }
    reduce(big, small);
    for (int i = 0; i < PATTERN_SIZE * PATTERN_SIZE; i++)
        small[i] += 12 * rng_normal(&r);
    to_bytes(small, rgb);
}
