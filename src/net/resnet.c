/* SPDX-License-Identifier: MIT
 *
 * resnet: residual networks of depth 18 to 152 (He et al. 2016), version 1.5: a bottleneck's stride is on its 3x3
 * convolution. What a reader would get wrong: layers are built in the order in which torchvision defines its
 * modules, the shortcut's last, because that order numbers parameters and states. */
#include <math.h>
#include <stdio.h>

#include "net/net.h"

static const struct {
    int depth, bottleneck, blocks[4];
} depths[] = {
    {18, 0, {2, 2, 2, 2}},   {34, 0, {3, 4, 6, 3}},   {50, 1, {3, 4, 6, 3}},
    {101, 1, {3, 4, 23, 3}}, {152, 1, {3, 8, 36, 3}},
};

/* Builds layers named "layer2.0.<suffix>". */
struct block {
    struct graph *g;
    char prefix[32];
    int zero_init;
};

static int conv(const struct block *b, int in, const char *suffix, int channels, int kernel, int stride)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s", b->prefix, suffix);
    return graph_conv(b->g, in, name, channels, kernel, stride, kernel / 2);
}

static int norm(const struct block *b, int in, const char *suffix, int last)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s", b->prefix, suffix);
    return graph_bn_with(b->g, in, name, last && b->zero_init ? GRAPH_ZERO_WEIGHT : 0);
}

/* `channels` is the width of the stage; a bottleneck's output has four times as many. `project`: the shortcut changes
 * shape. */
static int block_build(const struct block *b, int in, int bottleneck, int channels, int stride, int project)
{
    struct graph *g = b->g;
    int x = in, shortcut = in, out = bottleneck ? 4 * channels : channels;
    x = norm(b, conv(b, x, "conv1", channels, bottleneck ? 1 : 3, bottleneck ? 1 : stride), "bn1", 0);
    x = graph_relu(g, x);
    x = norm(b, conv(b, x, "conv2", channels, 3, bottleneck ? stride : 1), "bn2", !bottleneck);
    if (bottleneck) {
        x = graph_relu(g, x);
        x = norm(b, conv(b, x, "conv3", out, 1, 1), "bn3", 1);
    }
    if (project)
        shortcut = norm(b, conv(b, in, "downsample.0", out, 1, stride), "downsample.1", 0);
    return graph_relu(g, graph_add(g, x, shortcut));
}

static int stem_build(struct graph *g, int in, enum net_stem stem, int channels)
{
    int kernel = stem == STEM_IMAGENET ? 7 : 3, stride = stem == STEM_CIFAR ? 1 : 2;
    int x = graph_relu(g, graph_bn(g, graph_conv(g, in, "conv1", channels, kernel, stride, kernel / 2), "bn1"));
    return stem == STEM_IMAGENET ? graph_maxpool(g, x, 3, 2, 1) : x;
}

int net_channels(double width)
{
    return (int)round(64 * width);
}

int resnet_build(struct graph *g, int in, const struct net_config *config)
{
    int entry = 0;
    while (depths[entry].depth != config->depth)
        entry++;
    int bottleneck = depths[entry].bottleneck, base = net_channels(config->width);
    int x = stem_build(g, in, config->stem, base);
    for (int stage = 0; stage < 4; stage++) {
        for (int i = 0; i < depths[entry].blocks[stage]; i++) {
            struct block b = {.g = g, .zero_init = config->zero_init};
            snprintf(b.prefix, sizeof b.prefix, "layer%d.%d", stage + 1, i);
            int stride = stage > 0 && i == 0 ? 2 : 1;
            int project = i == 0 && (stage > 0 || bottleneck);
            x = block_build(&b, x, bottleneck, base << stage, stride, project);
        }
        g->layers[stage] = x;
    }
    return graph_gap(g, x);
}
