/* SPDX-License-Identifier: MIT
 *
 * tool_plans FOLDERS DEVICE.json...: which engines cuDNN has for the convolutions of our networks, on GPUs that are not
 * here (src/backend/cuda/dnn). A line for each GPU, network, batch and precision: how many different convolutions there
 * are, in all passes that training has; how many have an engine that will do; how many of these are the first that cuDNN
 * names; the most workspace of each pass. On the error stream, for each GPU and network: how many seconds of this
 * processor it took to plan it, at the batch and precision that took longest; 5 are what it should take at most. Ends with 1
 * if a convolution has no engine that will do (deterministic, in the precision asked for, within the reserve), if the same
 * question had two answers, or if a network took more than a minute. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cuda/dnn/dnn_graph.h"
#include "net/net.h"

enum { MOST_CONVS = 256, PASSES = 3, WANTED_SECONDS = 5, LIMIT_SECONDS = 60 };

static const struct {
    const char *name, *arch, *stem;
    int image;
} networks[] = {{"resnet18", "resnet18", "imagenet", 224},
                {"resnet34", "resnet34", "imagenet", 224},
                {"resnet50", "resnet50", "imagenet", 224},
                {"resnet101", "resnet101", "imagenet", 224},
                {"resnet18-cifar", "resnet18", "cifar", 32}};
static const int batches[] = {32, 256};
static const enum be_precision precisions[] = {BE_BF16, BE_F16, BE_TF32, BE_F32};

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "tool_plans: %s: %s\n", what, why);
    exit(2);
}

static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- what is asked ---- */

static int same(const struct dnn_conv *a, const struct dnn_conv *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The different convolutions of a network, forward; `first`: the number of the one that reads the picture. */
static int convolutions_of(const struct graph *g, struct dnn_conv *out, int *first)
{
    int count = 0;
    *first = -1;
    for (int i = 0; i < g->op_count; i++) {
        const struct graph_op *op = &g->ops[i];
        if (op->kind != OP_CONV)
            continue;
        const struct graph_value *in = &g->values[op->in[0]], *to = &g->values[op->out];
        struct dnn_conv conv;
        memset(&conv, 0, sizeof conv);
        conv.h = in->h;
        conv.w = in->w;
        conv.ci = in->c;
        conv.oh = to->h;
        conv.ow = to->w;
        conv.co = to->c;
        conv.kernel = op->kernel;
        conv.stride = op->stride;
        conv.pad = op->pad;
        int known = 0;
        while (known < count && !same(&out[known], &conv))
            known++;
        if (known < count)
            continue;
        if (count == MOST_CONVS)
            stop("networks", "there are too many convolutions");
        if (op->in[0] == g->input)
            *first = count;
        out[count++] = conv;
    }
    return count;
}

/* ---- what is answered ---- */

struct answer {
    int asked, found, first, engines_differ;
    size_t workspace[PASSES];
    double seconds; /* of the first time that each was asked */
};

static void ask(const struct dnn *dnn, const struct dnn_conv *conv, struct answer *a)
{
    struct dnn_plan plan, again;
    struct err err = {0};
    double begin = processor_seconds();
    a->asked++;
    moco_status status = dnn_choose(&plan, dnn, conv, 1, NULL, &err);
    a->seconds += processor_seconds() - begin;
    if (status != MOCO_OK) {
        printf("# %s\n", err.text);
        return;
    }
    a->found++;
    if (plan.workspace > dnn_reserve(conv->precision))
        stop("an engine", "it wants more workspace than the reserve");
    a->first += plan.passed == 0;
    if (plan.workspace > a->workspace[conv->pass])
        a->workspace[conv->pass] = plan.workspace;
    /* What a file of tuning does: the engine is found by its name. */
    if (dnn_choose(&again, dnn, conv, 1, plan.engine[0].name, &err) != MOCO_OK ||
        again.engine[0].number != plan.engine[0].number || again.workspace != plan.workspace)
        a->engines_differ++;
    dnn_plan_free(&again);
    dnn_plan_free(&plan);
}

static struct answer ask_all(const struct dnn *dnn, const struct dnn_conv *convs, int count, int first, int n,
                             enum be_precision precision)
{
    struct answer a = {0};
    for (int i = 0; i < count; i++)
        for (int pass = 0; pass < PASSES; pass++) {
            struct dnn_conv conv = convs[i];
            conv.pass = (enum dnn_pass)pass;
            conv.precision = precision;
            conv.n = n;
            if (i == first)
                conv.ci = dnn_channels(precision, conv.ci);
            if (i != first || pass != DNN_DATA) /* pictures have no gradient */
                ask(dnn, &conv, &a);
        }
    return a;
}

static int ask_network(const struct dnn *dnn, const char *gpu, size_t which, struct ctx *ctx)
{
    static struct dnn_conv convs[MOST_CONVS];
    struct net_config config = {.dim = 128, .width = 1, .seed = 1};
    struct graph *g = NULL;
    struct err err = {0};
    struct answer slowest = {0};
    int first, failed = 0;
    config.image_h = config.image_w = networks[which].image;
    for (int c = 0; c < 3; c++)
        config.std[c] = 1;
    if (net_config_parse(&config, networks[which].arch, networks[which].stem, "mlp", &err) != MOCO_OK ||
        net_build(&g, ctx, &config, &err) != MOCO_OK)
        stop(networks[which].name, err.text);
    int count = convolutions_of(g, convs, &first);
    graph_free(g);
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
        for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
            struct answer a = ask_all(dnn, convs, count, first, batches[b], precisions[p]);
            printf("%s %s %d %s %d %d %d %zu %zu %zu\n", gpu, networks[which].name, batches[b],
                   backend_precision_name((int)precisions[p]), a.asked, a.found, a.first, a.workspace[0] >> 10,
                   a.workspace[1] >> 10, a.workspace[2] >> 10);
            failed |= a.found != a.asked || a.engines_differ != 0 || first < 0;
            if (a.seconds >= slowest.seconds)
                slowest = a;
            if (a.engines_differ != 0)
                fprintf(stderr, "%s: %d of %d were answered in another way when they were asked again\n", gpu,
                        a.engines_differ, a.asked);
        }
    fprintf(stderr, "%s %s: %d convolutions planned in %.2f s of the processor at most (wanted: %d)\n", gpu,
            networks[which].name, slowest.asked, slowest.seconds, WANTED_SECONDS);
    return failed | (slowest.seconds > LIMIT_SECONDS);
}

static char *read_all(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        stop(path, "it cannot be read");
    size_t size = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[size] = 0;
    return text;
}

static int ask_gpu(const struct dnn_library *lib, const char *path, struct ctx *ctx)
{
    struct dnn dnn;
    struct err err = {0};
    char gpu[64];
    const char *name = strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
    int failed = 0;
    snprintf(gpu, sizeof gpu, "%.*s", (int)strcspn(name, "."), name);
    if (dnn_open_described(&dnn, lib, read_all(path), &err) != MOCO_OK)
        stop(path, err.text);
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        failed |= ask_network(&dnn, gpu, i, ctx);
    dnn_close(&dnn);
    return failed;
}

int main(int argc, char **argv)
{
    struct dnn_library lib;
    struct ctx *ctx;
    struct err err = {0};
    int version = 0, failed = 0;
    if (argc < 3)
        stop("Usage", "tool_plans FOLDERS DEVICE.json...");
    if (ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) != MOCO_OK ||
        dnn_library_load(&lib, argv[1], 0, &version, &err) != MOCO_OK)
        stop(argv[1], err.text);
    printf("# gpu network batch precision convolutions found first workspace-KiB: forward data weights, by cuDNN "
           "%d.%d.%d\n",
           version / 10000, version / 100 % 100, version % 100);
    for (int i = 2; i < argc; i++)
        failed |= ask_gpu(&lib, argv[i], ctx);
    ctx_unref(ctx);
    return failed;
}
