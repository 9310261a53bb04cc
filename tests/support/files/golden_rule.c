/* SPDX-License-Identifier: MIT
 *
 * golden_rule: see golden_rule.h. */
#include "support/files/golden_rule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint64_t golden_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* FNV-1a of "scope/name". */
static uint64_t address(const char *scope, const char *name)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    const char *part[3] = {scope, "/", name};
    for (int i = 0; i < 3; i++)
        for (const char *c = part[i]; *c; c++)
            h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001B3);
    return h;
}

/* In [-1, 1), a multiple of 2^-23. */
static double unit(uint64_t from, uint64_t i)
{
    return (double)(golden_mix(from + (i + 1) * UINT64_C(0x9E3779B97F4A7C15)) >> 40) * 0x1p-23 - 1.0;
}

static int ends(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

void golden_state(const char *scope, const char *name, int ndim, const int64_t *shape, double *values)
{
    double base = 0, scale = 0.25, divisor = 1; /* a bias or a running mean: u / 4 */
    if (ends(name, "num_batches_tracked"))
        scale = 0;
    else if (strncmp(name, "momentum.", 9) == 0)
        scale = 1.0 / 64;
    else if (ends(name, "running_mean"))
        ;
    else if (ends(name, "running_var"))
        base = 1, scale = 0.5;
    else if (ndim == 4)
        scale = sqrt(6.0 / (double)(shape[0] * shape[2] * shape[3]));
    else if (ndim == 2)
        scale = 1, divisor = sqrt((double)shape[1]);
    else if (ends(name, "bn2.weight") || ends(name, "bn3.weight"))
        base = 0.25, scale = 1.0 / 16;
    else if (ends(name, "weight"))
        base = 1;
    int64_t count = 1;
    for (int i = 0; i < ndim; i++)
        count *= shape[i];
    uint64_t from = address(scope, name);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(base + unit(from, (uint64_t)i) * scale / divisor);
}

void golden_queue(const char *scope, int64_t length, int dim, double *values)
{
    uint64_t from = address(scope, "queue");
    for (int64_t row = 0; row < length; row++) {
        double total = 0;
        for (int c = 0; c < dim; c++) {
            double x = unit(from, (uint64_t)(row * dim + c));
            total += x * x;
        }
        for (int c = 0; c < dim; c++)
            values[c * length + row] = (float)(unit(from, (uint64_t)(row * dim + c)) / sqrt(total));
    }
}

void golden_images(uint64_t seed, int step, int view, int n, int h, int w, uint8_t *images)
{
    for (int i = 0; i < n; i++) {
        uint64_t s = golden_mix(seed * 1000003 + (uint64_t)step * 4099 + (uint64_t)i);
        uint64_t phase = golden_mix(s + 1 + (uint64_t)view) & 63;
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                for (int c = 0; c < 3; c++) {
                    size_t at = (((size_t)i * (size_t)h + (size_t)y) * (size_t)w + (size_t)x) * 3 + (size_t)c;
                    uint64_t noise = golden_mix(at + (s ^ UINT64_C(0x5555) << view)) & 63;
                    uint64_t ramp = (uint64_t)x * (s & 15) + (uint64_t)y * (s >> 8 & 15) +
                                    (uint64_t)c * (s >> 16 & 127) + (s >> 24 & 255) + phase;
                    images[at] = (uint8_t)((ramp & 255) * 3 / 4 + noise);
                }
    }
}
