/* SPDX-License-Identifier: MIT
 *
 * net: the names of known networks, the checks of a configuration, and the whole encoder. */
#include "net/net.h"

#include <string.h>

static const struct {
    int depth;
    const char *name;
} archs[] = {{18, "resnet18"}, {34, "resnet34"}, {50, "resnet50"}, {101, "resnet101"}, {152, "resnet152"}};

static const char *const stems[] = {[STEM_IMAGENET] = "imagenet", [STEM_CIFAR] = "cifar", [STEM_SMALL] = "small"};
static const char *const heads[] = {
    [HEAD_LINEAR] = "linear", [HEAD_MLP] = "mlp", [HEAD_SIMCLR_V1] = "simclr-v1", [HEAD_SIMCLR_V2] = "simclr-v2"};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

moco_status net_config_parse(struct net_config *config, const char *arch, const char *stem, const char *head,
                             struct err *err)
{
    int depth = 0, stem_number = -1, head_number = -1;
    for (int i = 0; i < COUNT(archs); i++)
        if (strcmp(arch, archs[i].name) == 0)
            depth = archs[i].depth;
    for (int i = 0; i < COUNT(stems); i++)
        if (strcmp(stem, stems[i]) == 0)
            stem_number = i;
    for (int i = 0; i < COUNT(heads); i++)
        if (strcmp(head, heads[i]) == 0)
            head_number = i;
    if (depth == 0)
        return err_set(err, MOCO_EINVAL,
                       "arch is \"%.40s\"; it must be resnet18, resnet34, resnet50, resnet101 or resnet152", arch);
    if (stem_number < 0)
        return err_set(err, MOCO_EINVAL, "stem is \"%.40s\"; it must be imagenet, cifar or small", stem);
    if (head_number < 0)
        return err_set(err, MOCO_EINVAL, "head is \"%.40s\"; it must be linear, mlp, simclr-v1 or simclr-v2", head);
    config->depth = depth;
    config->stem = (enum net_stem)stem_number;
    config->head = (enum net_head)head_number;
    return MOCO_OK;
}

const char *net_arch_name(int depth)
{
    for (int i = 0; i < COUNT(archs); i++)
        if (archs[i].depth == depth)
            return archs[i].name;
    return "";
}

const char *net_stem_name(enum net_stem stem)
{
    return (int)stem >= 0 && (int)stem < COUNT(stems) ? stems[stem] : "";
}

const char *net_head_name(enum net_head head)
{
    return (int)head >= 0 && (int)head < COUNT(heads) ? heads[head] : "";
}

static moco_status check(const struct net_config *config, struct err *err)
{
    if (net_arch_name(config->depth)[0] == 0)
        return err_set(err, MOCO_EINVAL, "depth is %d; it must be 18, 34, 50, 101 or 152", config->depth);
    if (net_stem_name(config->stem)[0] == 0)
        return err_set(err, MOCO_EINVAL, "stem is number %d; there is none", (int)config->stem);
    if (net_head_name(config->head)[0] == 0)
        return err_set(err, MOCO_EINVAL, "head is number %d; there is none", (int)config->head);
    /* Written so that NaN fails. Below 1/128 a stem would have no channel. */
    if (!(config->width >= 1.0 / 128 && config->width <= 16))
        return err_set(err, MOCO_EINVAL, "width is out of range; it must be 1/128 to 16");
    if (config->dim < 1 || config->dim > 65536)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to 65536", config->dim);
    return MOCO_OK;
}

moco_status net_build(struct graph **out, struct ctx *ctx, const struct net_config *config, struct err *err)
{
    *out = NULL;
    TRY(check(config, err));
    struct graph *g = NULL;
    moco_status status;
    TRY(graph_create(&g, ctx, err));
    int input = graph_input(g, config->image_h, config->image_w, config->mean, config->std);
    int features = resnet_build(g, input, config);
    int projection = head_build(g, features, config);
    int embedding = graph_l2norm(g, projection);
    TRY_GOTO(status, graph_freeze(g, features, projection, embedding, err), fail);
    *out = g;
    return MOCO_OK;
fail:
    graph_free(g);
    return status;
}
