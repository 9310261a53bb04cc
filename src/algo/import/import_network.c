/* SPDX-License-Identifier: MIT
 *
 * import_network: derives the network from a file's names and shapes. What a reader would get wrong: this decides
 * what to look for, not whether it exists. A few tensors give depth, width, stem and head; every other tensor is
 * then compared with the network that these make (source_match). */
#include <stdio.h>
#include <string.h>

#include "algo/import/import_source.h"

static const struct {
    int depth, bottleneck, blocks[4];
} depths[] = {
    {18, 0, {2, 2, 2, 2}},   {34, 0, {3, 4, 6, 3}},   {50, 1, {3, 4, 6, 3}},
    {101, 1, {3, 4, 23, 3}}, {152, 1, {3, 8, 36, 3}},
};

static int64_t find(const struct source *s, const char *name)
{
    char text[IMPORT_NAME];
    return candidate_name(&s->at, name, text) ? names_find(s->names, text) : -1;
}

/* Finds the depth by counting blocks; `words` says the counts for a sentence. Returns 0 if no depth has them. */
static int read_depth(const struct source *s, struct net_config *config, char words[80])
{
    int bottleneck = find(s, "layer1.0.conv3.weight") != -1, blocks[4];
    for (int stage = 0; stage < 4; stage++) {
        char name[64];
        blocks[stage] = -1;
        do
            snprintf(name, sizeof name, "layer%d.%d.conv1.weight", stage + 1, ++blocks[stage]);
        while (blocks[stage] < 1000 && find(s, name) != -1);
    }
    snprintf(words, 80, "%d, %d, %d and %d %s", blocks[0], blocks[1], blocks[2], blocks[3],
             bottleneck ? "bottlenecks" : "basic blocks");
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
        if (depths[i].bottleneck == bottleneck && memcmp(depths[i].blocks, blocks, sizeof blocks) == 0) {
            config->depth = depths[i].depth;
            return 1;
        }
    return 0;
}

/* Derives width and stem from the shape of conv1. A 3 x 3 convolution fits two stems, so that the caller has to name
 * one. */
static moco_status read_stem(const struct source *s, const char *stem, const struct weights_tensor *conv1,
                             struct net_config *config, struct err *err)
{
    const char *path = weights_path(s->names->w);
    int64_t kernel = conv1->ndim == 4 && conv1->shape[2] == conv1->shape[3] ? conv1->shape[2] : 0;
    int imagenet = stem == NULL || strcmp(stem, net_stem_name(STEM_IMAGENET)) == 0;
    if ((kernel != 7 && kernel != 3) || conv1->shape[0] < 1 || conv1->shape[0] > 1024)
        return err_set(err, MOCO_EFORMAT,
                       "%.200s: %.100s has %d dimensions, the first of %lld, the last of %lld; a stem is [C,3,7,7] or "
                       "[C,3,3,3], C at most 1024",
                       path, conv1->name, conv1->ndim, (long long)(conv1->ndim > 0 ? conv1->shape[0] : 0),
                       (long long)(conv1->ndim > 0 ? conv1->shape[conv1->ndim - 1] : 0));
    if (kernel == 3 && stem == NULL)
        return err_set(
            err, MOCO_EINVAL,
            "%.160s: %.60s is a 3x3 convolution, and no shape tells its stride: name the stem (--stem of the "
            "programs), cifar (stride 1, padding 1) or small (stride 2); one of padding 2 (solo-learn's for "
            "CIFAR) or with a pooling behind it is not known here",
            path, conv1->name);
    if ((kernel == 7) != imagenet)
        return err_set(err, MOCO_EINVAL, "%.200s: %.80s is a %lldx%lld convolution; the stem %s has %s", path,
                       conv1->name, (long long)kernel, (long long)kernel,
                       stem == NULL ? net_stem_name(STEM_IMAGENET) : stem, imagenet ? "7x7" : "3x3");
    config->width = (double)conv1->shape[0] / 64;
    return net_config_parse(config, net_arch_name(config->depth), stem == NULL ? "imagenet" : stem, "mlp", err);
}

/* ---- the head ---- */

/* Finds a tensor of the head by the end of its name. -1: there is none. */
static int64_t head_tensor(const struct source *s, const char *name)
{
    char text[IMPORT_NAME];
    return snprintf(text, sizeof text, "%s%s", s->head.prefix, name) < IMPORT_NAME ? names_find(s->names, text) : -1;
}

/* Finds which of our heads the file's is, and the length of its embeddings. Returns 0 if it is none of ours; `why` then
 * says what is different. */
static int read_head(const struct source *s, const struct net_config *network, enum net_head *kind, int *dim,
                     const char **why)
{
    int bottleneck = network->depth >= 50, three = head_tensor(s, ".6.weight") != -1;
    int64_t features = (int64_t)net_channels(network->width) * 8 * (bottleneck ? 4 : 1), last;
    struct weights_tensor t;
    switch (s->head.layers) {
    case HEAD_NONE:
        *why = "the file has no head that is known here";
        return 0;
    case HEAD_ONE:
        *kind = HEAD_LINEAR;
        last = head_tensor(s, ".weight");
        break;
    case HEAD_TWO:
        *kind = HEAD_MLP;
        last = head_tensor(s, ".2.weight");
        break;
    default:
        *kind = three ? HEAD_SIMCLR_V2 : HEAD_SIMCLR_V1;
        last = head_tensor(s, three ? ".6.weight" : ".3.weight");
        break;
    }
    *why = "the file's head is of another kind than those known here";
    if (last < 0)
        return 0;
    weights_at(s->names->w, last, &t);
    if (t.ndim != 2 || t.shape[0] < 1 || t.shape[0] > 65536)
        return 0;
    *dim = (int)t.shape[0];
    *why = "the hidden layer of the file's head is not as wide as the features";
    return t.shape[1] == features;
}

/* Takes the file's head or a fresh one. One linear layer `fc` in a file that no row of the table knows is most likely a
 * classifier, so that it is taken only if the options ask for it. */
static moco_status choose_head(struct source *s, const moco_import_options *o, struct net_config *config,
                               moco_import_report *report, struct err *err)
{
    const char *why = "the options ask for it";
    int dim = 0, taken = 0;
    enum net_head kind = HEAD_MLP;
    struct net_config wanted = {0};
    TRY(net_config_parse(&wanted, net_arch_name(config->depth), "imagenet", o->head != NULL ? o->head : "mlp", err));
    if (o->take_head != MOCO_IMPORT_HEAD_FRESH) {
        taken = read_head(s, config, &kind, &dim, &why);
        if (taken && s->head.classifier && s->head.layers == HEAD_ONE && o->take_head != MOCO_IMPORT_HEAD_TAKE) {
            why = "the file's fc is taken for a classifier, and left out";
            taken = 0;
        } else if (taken && ((o->head != NULL && kind != wanted.head) || (o->dim != 0 && dim != o->dim))) {
            why = "the file's head is another than the options ask for";
            taken = 0;
        }
    }
    if (!taken && o->take_head == MOCO_IMPORT_HEAD_TAKE)
        return err_set(err, MOCO_EFORMAT, "%.200s: no head for \"%.80s\" can be taken: %s", weights_path(s->names->w),
                       s->at.prefix, why);
    s->take_head = taken;
    config->head = taken ? kind : wanted.head;
    config->dim = taken ? dim : o->dim != 0 ? o->dim : 128;
    report->fresh_head = !taken;
    if (!taken)
        import_say(report, MOCO_IMPORT_NOTE, "the head (%s, %d) is a fresh one: %s", net_head_name(config->head),
                   config->dim, why);
    return MOCO_OK;
}

moco_status source_network(struct source *s, const moco_import_options *o, struct net_config *config,
                           moco_import_report *report, struct err *err)
{
    char blocks[80];
    struct weights_tensor conv1;
    int64_t at = find(s, "conv1.weight");
    *config = (struct net_config){.image_h = o->image_size,
                                  .image_w = o->image_size,
                                  .mean = {o->mean[0], o->mean[1], o->mean[2]},
                                  .std = {o->std[0], o->std[1], o->std[2]},
                                  .seed = o->seed};
    head_find(s->names, &s->at, &s->head);
    if (at < 0)
        return err_set(err, MOCO_EFORMAT, "%.200s: there are two tensors named %.80sconv1.weight, wrappers aside",
                       weights_path(s->names->w), s->at.prefix);
    weights_at(s->names->w, at, &conv1);
    if (!read_depth(s, config, blocks))
        return err_set(err, MOCO_EFORMAT,
                       "%.200s: the layers behind \"%.80s\" have %s; resnet18, 34, 50, 101 and 152 are known here",
                       weights_path(s->names->w), s->at.prefix, blocks);
    TRY(read_stem(s, o->stem, &conv1, config, err));
    return choose_head(s, o, config, report, err);
}
