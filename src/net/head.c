/* SPDX-License-Identifier: MIT
 *
 * head: from features to the projection. MoCo v1: one linear layer. v2: linear, ReLU, linear, with a hidden layer as
 * wide as the features. SimCLR: two (v1) or three (v2) layers of linear and BN, with ReLU between them. Names are
 * the reference's, which puts the MLP where the classifier "fc" was and numbers linear, BN and ReLU in order. What a
 * reader would get wrong: SimCLR's linear layers have no bias, because BN removes the mean, and its last BN has no
 * bias either. */
#include <stdio.h>

#include "net/net.h"

static int simclr_build(struct graph *g, int in, int hidden, int dim, int layers)
{
    char name[16];
    int x = in;
    for (int i = 0; i < layers; i++) {
        int last = i == layers - 1;
        snprintf(name, sizeof name, "fc.%d", 3 * i);
        x = graph_linear_with(g, x, name, last ? dim : hidden, GRAPH_NO_BIAS);
        snprintf(name, sizeof name, "fc.%d", 3 * i + 1);
        x = graph_bn_with(g, x, name, last ? GRAPH_NO_BIAS : 0);
        if (!last)
            x = graph_relu(g, x);
    }
    return x;
}

int head_build(struct graph *g, int in, const struct net_config *config)
{
    int hidden = in < 0 ? 0 : g->values[in].c; /* < 0: the graph has failed and knows why */
    switch (config->head) {
    case HEAD_LINEAR:
        return graph_linear(g, in, "fc", config->dim);
    case HEAD_MLP:
        return graph_linear(g, graph_relu(g, graph_linear(g, in, "fc.0", hidden)), "fc.2", config->dim);
    case HEAD_SIMCLR_V1:
        return simclr_build(g, in, hidden, config->dim, 2);
    case HEAD_SIMCLR_V2:
        return simclr_build(g, in, hidden, config->dim, 3);
    }
    return -1;
}
