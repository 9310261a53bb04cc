/* SPDX-License-Identifier: MIT
 *
 * net: builds the networks that libmoco knows into a graph, and draws their initial weights. */
#ifndef MOCO_NET_H
#define MOCO_NET_H

#include "graph/graph.h"

enum net_stem { STEM_IMAGENET, STEM_CIFAR, STEM_SMALL }; /* 7/2 + pool; 3/1; 3/2 */
enum net_head { HEAD_LINEAR, HEAD_MLP, HEAD_SIMCLR_V1, HEAD_SIMCLR_V2 };

struct net_config {
    int depth; /* 18, 34, 50, 101, 152 */
    double width;
    enum net_stem stem;
    enum net_head head;
    int dim; /* C */
    int image_h, image_w;
    double mean[3], std[3];
    int zero_init; /* 1: the last BN of each residual branch starts with weight 0 */
    uint64_t seed; /* of the initial weights */
};

/* From the names of moco_model_options; the sentence lists what would be valid. */
moco_status net_config_parse(struct net_config *config, const char *arch, const char *stem, const char *head,
                             struct err *err);
const char *net_arch_name(int depth); /* "resnet50" */
const char *net_stem_name(enum net_stem stem);
const char *net_head_name(enum net_head head);
int net_channels(double width); /* of the stem: round(64 * width). Networks whose widths agree in it are one network. */

/* Backbone and head, frozen. Stage channels are net_channels(width) << stage, expansion 4 in bottlenecks. Stride on the
 * 3x3 convolution (v1.5). Names are torchvision's; head "fc" (linear), "fc.0", "fc.2" (MLP) or "fc.0", "fc.1", ... as
 * head.c lists them (SimCLR's). */
moco_status net_build(struct graph **out, struct ctx *ctx, const struct net_config *config, struct err *err);

/* Building blocks, used by net_build. */
int resnet_build(struct graph *g, int in, const struct net_config *config); /* returns the features value */
int head_build(struct graph *g, int in, const struct net_config *config);   /* returns the projection value */

/* Initial value of every number of parameter `index`, in the reference's shape, as doubles: a pure function of
 * (seed, index, position): kaiming normal fan-out for convolutions, U(+-1/sqrt(fan_in)) for linear weight and bias,
 * 1 and 0 for BN, or 0 and 0 where the graph says so. `values` holds graph->params[index].count doubles. */
void init_param(const struct graph *g, int index, uint64_t seed, double *values);

#endif
