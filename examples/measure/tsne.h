/* SPDX-License-Identifier: MIT
 *
 * tsne: t-SNE (van der Maaten and Hinton, 2008): a plane in which points lie beside each other that were neighbours
 * before, and a number that says how far this was kept. Exact, so its time grows with the square of the points: about a
 * second of one core for a thousand. It begins from a plane that the caller has (that of the principal components) and
 * draws nothing at random, so the same points give the same map. What a reader would get wrong: distances between far
 * clouds mean nothing in such a map, nor do the sizes of clouds; who is near whom does. */
#ifndef MOCO_EXAMPLES_TSNE_H
#define MOCO_EXAMPLES_TSNE_H

#include <stdint.h>

#include "err.h"

#define TSNE_PERPLEXITY 30.0 /* about as many neighbours count; fewer where there are not three times as many points */
#define TSNE_NEIGHBOURS 12   /* of plane_trust, as papers have it */

/* Squares of the distances between `rows`: [n,dim] to `d`: [n,n]. */
void plane_distances(const float *rows, int64_t n, int32_t dim, float *d);

/* `d`: of plane_distances. `x`, `y`: [n], on entry where it begins (only its shape counts), then the map, centred on
 * 0, 0. `perplexity` as asked for; *perplexity becomes what was used. Takes 4 n n bytes. `stop`: asked now and then;
 * non-zero ends with MOCO_ECANCELED; NULL: never. Fewer than 4 points stay where they are, *perplexity 0. */
moco_status tsne_plane(const float *d, int64_t n, double *perplexity, int (*stop)(void), double *x, double *y,
                       struct err *err);

/* Trustworthiness (Venna and Kaski, 2001) of a plane: 1 where the `k` nearest of every point are among its k nearest of
 * before, about 0.5 where they are anybody. NAN if there are too few points (n < 2 k + 2). */
moco_status plane_trust(const float *d, int64_t n, const double *x, const double *y, int k, double *trust,
                        struct err *err);

/* ---- its parts, for tests ---- */

/* `p`: [n,n], symmetric, of sum 1, its diagonal 0: how much each two are neighbours, by Gaussians of this perplexity. */
moco_status tsne_affinities(const float *d, int64_t n, double perplexity, float *p, struct err *err);

/* The gradient of the Kullback-Leibler divergence of the plane's affinities from `scale` times `p`: [n] each. `room`: 6 n
 * floats, aligned as doubles are. Positions are rounded to float on the way, sums are not. */
void tsne_gradient(const float *p, int64_t n, double scale, const double *x, const double *y, float *room, double *gx,
                   double *gy);

/* That divergence, for scale 1. */
double tsne_divergence(const float *p, int64_t n, const double *x, const double *y);

#endif
