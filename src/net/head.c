/* SPDX-License-Identifier: MIT
 *
 * head: from features to the projection. MoCo v1: one linear layer; v2: linear, ReLU, linear, the hidden layer as wide
 * as the features. Names are the reference's: it puts the MLP where the classifier "fc" was. */
#include "net/net.h"

int head_build(struct graph *g, int in, const struct net_config *config)
{
    if (config->head == HEAD_LINEAR)
        return graph_linear(g, in, "fc", config->dim);
    int hidden = in < 0 ? 0 : g->values[in].c; /* < 0: the graph has failed and knows why */
    int x = graph_relu(g, graph_linear(g, in, "fc.0", hidden));
    return graph_linear(g, x, "fc.2", config->dim);
}
