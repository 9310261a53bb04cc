/* SPDX-License-Identifier: MIT
 *
 * tool_plane: the two maps of a report, of rows from the standard input: int32 n, int32 dim, then float [n,dim]. Prints
 * JSON: the plane of the principal components and t-SNE's map, their trustworthiness, the divergence, seconds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "measure/pca.h"
#include "measure/tsne.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void put(const char *name, const double *v, int64_t n)
{
    printf("\"%s\":[", name);
    for (int64_t i = 0; i < n; i++)
        printf("%s%.9g", i > 0 ? "," : "", v[i]);
    printf("],\n");
}

int main(void)
{
    int32_t head[2];
    struct err err = {0};
    double part[2], trust[2], perplexity = TSNE_PERPLEXITY;
    if (fread(head, sizeof head[0], 2, stdin) != 2 || head[0] < 1 || head[1] < 1)
        return 2;
    size_t n = (size_t)head[0], dim = (size_t)head[1];
    float *rows = malloc(n * dim * sizeof *rows), *d = malloc(2 * n * n * sizeof *d);
    double *x = malloc(4 * n * sizeof *x), *y = x + n, *px = y + n, *py = px + n;
    if (rows == NULL || d == NULL || x == NULL || fread(rows, sizeof *rows, n * dim, stdin) != n * dim)
        return 2;
    double begun = now();
    plane_distances(rows, head[0], head[1], d);
    double measured = now();
    moco_status status = pca_plane(rows, head[0], head[1], px, py, part, &err);
    memcpy(x, px, 2 * n * sizeof *x);
    double planed = now();
    if (status == MOCO_OK)
        status = tsne_plane(d, head[0], &perplexity, NULL, x, y, &err);
    double mapped = now();
    if (status == MOCO_OK)
        status = plane_trust(d, head[0], px, py, TSNE_NEIGHBOURS, &trust[0], &err);
    if (status == MOCO_OK)
        status = plane_trust(d, head[0], x, y, TSNE_NEIGHBOURS, &trust[1], &err);
    double judged = now();
    if (status == MOCO_OK && perplexity > 0)
        status = tsne_affinities(d, head[0], perplexity, d + n * n, &err);
    if (status != MOCO_OK) {
        fprintf(stderr, "tool_plane: %s\n", err.text);
        return 1;
    }
    printf("{");
    put("pca_x", px, head[0]);
    put("pca_y", py, head[0]);
    put("x", x, head[0]);
    put("y", y, head[0]);
    printf("\"perplexity\":%.9g,\"divergence\":%.9g,\"pca_trust\":%.9g,\"trust\":%.9g,\n", perplexity,
           tsne_divergence(d + n * n, head[0], x, y), isnan(trust[0]) ? -1 : trust[0], isnan(trust[1]) ? -1 : trust[1]);
    printf("\"seconds\":{\"distances\":%.3f,\"pca\":%.3f,\"tsne\":%.3f,\"trust\":%.3f}}\n", measured - begun,
           planed - measured, mapped - planed, judged - mapped);
    free(rows);
    free(d);
    free(x);
    return 0;
}
