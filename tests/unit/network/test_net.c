/* SPDX-License-Identifier: MIT
 *
 * test_net: networks have torchvision's tensors (names, shapes, order: fixtures by tests/golden/state_names.py), the
 * published sizes and costs, the channels of their width, the maps of their stem; and initial weights have the
 * distribution that they should have and depend on nothing but seed, parameter and position. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"
#include "support/failing_alloc.h"

static const struct {
    const char *arch;
    int64_t numbers;
    int tensors;
    uint64_t digest;
} reference[] = {
    {"resnet18", 11689512, 122, UINT64_C(0x866c44f3a96ad404)},
    {"resnet34", 21797672, 218, UINT64_C(0xcb1eebea8c7406e4)},
    {"resnet50", 25557032, 320, UINT64_C(0xfc672f30d20ba1f2)},
    {"resnet101", 44549160, 626, UINT64_C(0x479dfc3ef21c81b9)},
    {"resnet152", 60192808, 932, UINT64_C(0x6f432ca797c8f5be)},
};

static struct ctx *ctx;

static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) == MOCO_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    int leaked = ctx->live_bytes != 0;
    ctx_unref(ctx);
    return leaked ? -1 : 0;
}

static struct net_config config_of(const char *arch, const char *stem, const char *head, int dim, int side)
{
    struct net_config c = {.width = 1, .dim = dim, .image_h = side, .image_w = side, .std = {1, 1, 1}};
    struct err err = {0};
    assert_int_equal(net_config_parse(&c, arch, stem, head, &err), MOCO_OK);
    return c;
}

static struct graph *build(const struct net_config *config)
{
    struct graph *g = NULL;
    struct err err = {0};
    if (net_build(&g, ctx, config, &err) != MOCO_OK)
        fail_msg("%s", err.text);
    return g;
}

/* The line of state `i` as the script writes it: name and shape. */
static void state_line(const struct graph *g, int i, char *line, size_t size)
{
    graph_state_name(g, i, line, size);
    const struct graph_state *s = &g->states[i];
    size_t used = strlen(line);
    if (s->kind == STATE_PARAM) {
        const struct graph_param *p = &g->params[s->index];
        for (int k = 0; k < p->ndim; k++)
            used += (size_t)snprintf(line + used, size - used, " %lld", (long long)p->shape[k]);
    } else if (s->kind != STATE_TRACKED) {
        used += (size_t)snprintf(line + used, size - used, " %d", g->stats[s->index].channels);
    }
    snprintf(line + used, size - used, "\n");
}

static void test_state_dicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reference / sizeof *reference; i++) {
        const struct net_config config = config_of(reference[i].arch, "imagenet", "linear", 1000, 224);
        struct graph *g = build(&config);
        assert_int_equal(g->param_total, reference[i].numbers);
        assert_int_equal(g->state_count, reference[i].tensors);
        uint64_t digest = UINT64_C(0xcbf29ce484222325);
        for (int s = 0; s < g->state_count; s++) {
            char line[128];
            state_line(g, s, line, sizeof line);
            for (const char *at = line; *at != 0; at++)
                digest = (digest ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
        }
        if (digest != reference[i].digest)
            fail_msg("names or shapes of %s are not torchvision's", reference[i].arch);
        graph_free(g);
    }
}

static void test_moco_heads(void **state)
{
    (void)state;
    struct net_config config = config_of("resnet50", "imagenet", "mlp", 128, 224);
    struct graph *g = build(&config);
    assert_int_equal(g->param_total, 27966656); /* MoCo v2 */
    static const char *const tail[4] = {"fc.0.weight 2048 2048\n", "fc.0.bias 2048\n", "fc.2.weight 128 2048\n",
                                        "fc.2.bias 128\n"};
    for (int i = 0; i < 4; i++) {
        char line[128];
        state_line(g, g->state_count - 4 + i, line, sizeof line);
        assert_string_equal(line, tail[i]);
    }
    assert_int_equal(g->values[g->features].c, 2048);
    assert_int_equal(g->values[g->projection].c, 128);
    assert_int_equal(g->values[g->embedding].c, 128);
    graph_free(g);
    config = config_of("resnet50", "imagenet", "linear", 128, 224);
    g = build(&config);
    assert_int_equal(g->param_total, 25557032 - 2048 * 1000 - 1000 + 2048 * 128 + 128); /* MoCo v1 */
    graph_free(g);
}

/* SimCLR's projection: linear layers without bias, BN after each, the last BN without bias. */
static void test_simclr_heads(void **state)
{
    (void)state;
    static const char *const tails[2][14] = {
        {"fc.0.weight 512 512\n", "fc.1.weight 512\n", "fc.1.bias 512\n", "fc.1.running_mean 512\n",
         "fc.1.running_var 512\n", "fc.1.num_batches_tracked\n", "fc.3.weight 128 512\n", "fc.4.weight 128\n",
         "fc.4.running_mean 128\n", "fc.4.running_var 128\n", "fc.4.num_batches_tracked\n"},
        {"fc.3.weight 512 512\n", "fc.4.weight 512\n", "fc.4.bias 512\n", "fc.4.running_mean 512\n",
         "fc.4.running_var 512\n", "fc.4.num_batches_tracked\n", "fc.6.weight 128 512\n", "fc.7.weight 128\n",
         "fc.7.running_mean 128\n", "fc.7.running_var 128\n", "fc.7.num_batches_tracked\n"}};
    static const char *const heads[2] = {"simclr-v1", "simclr-v2"};
    const int64_t backbone = 11689512 - 512 * 1000 - 1000, block = 512 * 512 + 2 * 512, last = 512 * 128 + 128;
    for (int v = 0; v < 2; v++) {
        const struct net_config config = config_of("resnet18", "imagenet", heads[v], 128, 224);
        struct graph *g = build(&config);
        assert_int_equal(g->param_total, backbone + (v + 1) * block + last);
        for (int i = 0; i < 11; i++) {
            char line[128];
            state_line(g, g->state_count - 11 + i, line, sizeof line);
            assert_string_equal(line, tails[v][i]);
        }
        assert_int_equal(g->values[g->projection].c, 128);
        assert_int_equal(g->ops[g->values[g->projection].producer].kind, OP_BN);
        graph_free(g);
    }
}

static void test_flops(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet50", "imagenet", "linear", 1000, 224);
    struct graph *g = build(&config);
    /* 4.09 billion multiply-adds; this number was counted by hooks on the layers of torchvision's. */
    assert_true(graph_flops(g) == 2 * 4089184256.0);
    graph_free(g);
}

/* ---- width, stems, sizes ---- */

static const struct graph_op *op_named(const struct graph *g, const char *name)
{
    for (int i = 0; i < g->op_count; i++)
        if (strcmp(g->ops[i].name, name) == 0)
            return &g->ops[i];
    fail_msg("no op is named %s", name);
    return NULL;
}

static void assert_map(const struct graph *g, const char *name, int c, int h, int w)
{
    const struct graph_value *v = &g->values[op_named(g, name)->out];
    if (v->c != c || v->h != h || v->w != w)
        fail_msg("%s makes %d x %d x %d, not %d x %d x %d", name, v->c, v->h, v->w, c, h, w);
}

static void test_width(void **state)
{
    (void)state;
    static const struct {
        double width;
        int base;
    } cases[] = {{0.25, 16}, {0.5, 32}, {2, 128}, {0.3, 19}, {1.0 / 128, 1}, {0.0547, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int b = cases[i].base;
        struct net_config config = config_of("resnet18", "cifar", "mlp", 16, 32);
        config.width = cases[i].width;
        struct graph *g = build(&config);
        assert_map(g, "conv1", b, 32, 32);
        assert_map(g, "layer1.1.conv2", b, 32, 32);
        assert_map(g, "layer2.0.downsample.0", 2 * b, 16, 16);
        assert_map(g, "layer3.1.bn2", 4 * b, 8, 8);
        assert_map(g, "layer4.0.conv1", 8 * b, 4, 4);
        assert_int_equal(g->values[g->features].c, 8 * b);
        assert_int_equal(g->params[op_named(g, "fc.0")->param[0]].shape[0], 8 * b); /* hidden as wide as the features */
        graph_free(g);
        config.depth = 50;
        g = build(&config);
        assert_map(g, "layer1.0.conv1", b, 32, 32);
        assert_map(g, "layer1.0.downsample.0", 4 * b, 32, 32);
        assert_map(g, "layer4.2.conv3", 32 * b, 4, 4);
        graph_free(g);
    }
}

static void test_stems(void **state)
{
    (void)state;
    static const struct {
        const char *stem;
        int kernel, stride, pad, stem_side, layer1_side;
    } cases[] = {{"imagenet", 7, 2, 3, 32, 16}, {"cifar", 3, 1, 1, 64, 64}, {"small", 3, 2, 1, 32, 32}};
    for (size_t i = 0; i < 3; i++) {
        const struct net_config config = config_of("resnet34", cases[i].stem, "linear", 8, 64);
        struct graph *g = build(&config);
        const struct graph_op *conv1 = op_named(g, "conv1");
        assert_int_equal(conv1->kernel, cases[i].kernel);
        assert_int_equal(conv1->stride, cases[i].stride);
        assert_int_equal(conv1->pad, cases[i].pad);
        int side = cases[i].layer1_side, pools = 0;
        assert_map(g, "bn1", 64, cases[i].stem_side, cases[i].stem_side);
        assert_map(g, "layer1.2.bn2", 64, side, side);
        assert_map(g, "layer2.3.bn2", 128, side / 2, side / 2);
        assert_map(g, "layer3.5.bn2", 256, side / 4, side / 4);
        assert_map(g, "layer4.2.bn2", 512, side / 8, side / 8);
        for (int k = 0; k < g->op_count; k++)
            pools += g->ops[k].kind == OP_MAXPOOL;
        assert_int_equal(pools, i == 0);
        graph_free(g);
    }
}

/* Version 1.5: the bottleneck's stride is on its 3x3 convolution. */
static void test_bottleneck_stride(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet50", "imagenet", "linear", 8, 224);
    struct graph *g = build(&config);
    assert_int_equal(op_named(g, "layer2.0.conv1")->stride, 1);
    assert_int_equal(op_named(g, "layer2.0.conv2")->stride, 2);
    assert_int_equal(op_named(g, "layer2.0.downsample.0")->stride, 2);
    assert_int_equal(op_named(g, "layer1.0.conv2")->stride, 1);
    assert_map(g, "layer4.2.bn3", 2048, 7, 7);
    graph_free(g);
}

static void test_image_sizes(void **state)
{
    (void)state;
    static const int sides[][2] = {{1, 1}, {33, 47}, {224, 160}, {97, 512}};
    struct net_config config = config_of("resnet18", "imagenet", "mlp", 32, 224);
    struct graph *full = build(&config);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        config.image_h = sides[i][0];
        config.image_w = sides[i][1];
        struct graph *g = build(&config); /* same parameters and statistics at any size */
        assert_int_equal(g->param_count, full->param_count);
        assert_int_equal(g->stat_total, full->stat_total);
        for (int p = 0; p < g->param_count; p++) {
            assert_string_equal(g->params[p].name, full->params[p].name);
            assert_int_equal(g->params[p].count, full->params[p].count);
        }
        assert_int_equal(g->values[g->input].h, sides[i][0]);
        assert_int_equal(g->values[g->input].w, sides[i][1]);
        graph_free(g);
    }
    graph_free(full);
}

/* ---- what is refused ---- */

static void expect_parse(const char *arch, const char *stem, const char *head, const char *says)
{
    struct net_config c = {.depth = -5};
    struct err err = {0};
    assert_int_equal(net_config_parse(&c, arch, stem, head, &err), MOCO_EINVAL);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    assert_int_equal(c.depth, -5); /* untouched */
}

static void test_names(void **state)
{
    (void)state;
    expect_parse("resnet", "cifar", "mlp", "arch is \"resnet\"; it must be resnet18, resnet34");
    expect_parse("", "cifar", "mlp", "arch is \"\"");
    expect_parse("ResNet18", "cifar", "mlp", "arch is");
    expect_parse("resnet18", "cifar10", "mlp", "stem is \"cifar10\"; it must be imagenet, cifar or small");
    expect_parse("resnet18", "cifar", "MLP", "head is \"MLP\"; it must be linear, mlp, simclr-v1 or simclr-v2");
    for (size_t i = 0; i < sizeof reference / sizeof *reference; i++) {
        const struct net_config c = config_of(reference[i].arch, "small", "mlp", 8, 32);
        assert_string_equal(net_arch_name(c.depth), reference[i].arch);
        assert_string_equal(net_stem_name(c.stem), "small");
        assert_string_equal(net_head_name(c.head), "mlp");
    }
    assert_string_equal(net_arch_name(20), "");
    assert_string_equal(net_stem_name((enum net_stem)9), "");
    assert_string_equal(net_head_name((enum net_head)9), "");
}

static void expect_refused(struct net_config config, const char *says)
{
    struct graph *g = (struct graph *)&config;
    struct err err = {0};
    assert_int_equal(net_build(&g, ctx, &config, &err), MOCO_EINVAL);
    assert_null(g);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct net_config good = config_of("resnet18", "cifar", "mlp", 8, 32);
    struct net_config bad = good;
#define REFUSE(field, value, says)                                                                                     \
    do {                                                                                                               \
        bad = good;                                                                                                    \
        bad.field = value;                                                                                             \
        expect_refused(bad, says);                                                                                     \
    } while (0)
    REFUSE(depth, 20, "depth is 20");
    REFUSE(width, 0, "width");
    REFUSE(width, -1, "width");
    REFUSE(width, NAN, "width");
    REFUSE(width, 16.1, "width");
    REFUSE(width, 0.007, "width");
    REFUSE(dim, 0, "dim is 0");
    REFUSE(dim, 65537, "dim is 65537");
    REFUSE(stem, (enum net_stem)3, "stem is number 3");
    REFUSE(head, (enum net_head)4, "head is number 4");
    REFUSE(image_h, 0, "input is 0 x 32");
    REFUSE(image_w, 20000, "input is 32 x 20000");
    REFUSE(std[1], 0, "channel 1");
    REFUSE(mean[2], INFINITY, "channel 2");
    REFUSE(mean[0], -1e300, "input channel 0 are not finite in f32");
    REFUSE(std[2], 1e-39, "input channel 2 are not finite in f32");
#undef REFUSE
}

static void test_failing_allocation(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet50", "cifar", "mlp", 8, 32);
    int refusals = 0;
    for (int at = 0;; at++) {
        struct failing_alloc f = {.fail_at = -1};
        struct err err = {0};
        struct ctx *failing = NULL;
        assert_int_equal(ctx_create(&failing,
                                    &(struct ctx_options){
                                        .alloc = failing_alloc, .release = failing_release, .user = &f, .threads = 1},
                                    &err),
                         MOCO_OK);
        f.fail_at = f.calls + at;
        struct graph *g = NULL;
        moco_status status = net_build(&g, failing, &config, &err);
        assert_int_equal(status, f.refused > 0 ? MOCO_ENOMEM : MOCO_OK);
        assert_int_equal(g == NULL, status != MOCO_OK);
        refusals += f.refused > 0;
        graph_free(g);
        ctx_unref(failing);
        assert_int_equal(f.live, 0);
        if (f.refused == 0)
            break;
    }
    assert_true(refusals > 10); /* arrays grew under failure too */
}

/* ---- initial weights ---- */

static double *init(const struct graph *g, int index, uint64_t seed)
{
    double *values = calloc((size_t)g->params[index].count, sizeof *values);
    assert_non_null(values);
    init_param(g, index, seed, values);
    return values;
}

struct moments {
    double mean, variance, kurtosis, low, high; /* kurtosis: fourth moment / variance^2 */
};

static struct moments moments_of(const double *x, int64_t n)
{
    struct moments m = {.low = INFINITY, .high = -INFINITY};
    double second = 0, fourth = 0;
    for (int64_t i = 0; i < n; i++) {
        m.mean += x[i] / (double)n;
        m.low = fmin(m.low, x[i]);
        m.high = fmax(m.high, x[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        double d = (x[i] - m.mean) * (x[i] - m.mean);
        second += d / (double)n;
        fourth += d * d / (double)n;
    }
    m.variance = second;
    m.kurtosis = fourth / (second * second);
    return m;
}

static void test_init_convolutions(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet50", "imagenet", "mlp", 128, 224);
    struct graph *g = build(&config);
    static const char *const names[] = {"conv1", "layer1.0.conv2", "layer3.0.conv2", "layer2.0.downsample.0",
                                        "layer4.0.conv1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int index = op_named(g, names[i])->param[0];
        const struct graph_param *p = &g->params[index];
        double n = (double)p->count, variance = 2.0 / (double)(p->shape[0] * p->shape[2] * p->shape[3]);
        double *w = init(g, index, 0);
        const struct moments m = moments_of(w, p->count);
        /* five deviations of each estimate; the stream is fixed, so that this passes for ever or never */
        assert_true(fabs(m.mean) < 5 * sqrt(variance / n));
        assert_true(fabs(m.variance / variance - 1) < 5 * sqrt(2 / n));
        assert_true(fabs(m.kurtosis - 3) < 5 * sqrt(24 / n));
        assert_true(m.high > 3.5 * sqrt(variance) && m.low < -3.5 * sqrt(variance)); /* not a truncated normal */
        free(w);
    }
    graph_free(g);
}

static void test_init_linear(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet18", "imagenet", "mlp", 128, 224);
    struct graph *g = build(&config);
    static const char *const names[] = {"fc.0", "fc.2"};
    for (int i = 0; i < 4; i++) {
        int index = op_named(g, names[i / 2])->param[i % 2];
        const struct graph_param *p = &g->params[index];
        double n = (double)p->count, bound = 1 / sqrt(512), *w = init(g, index, 0);
        const struct moments m = moments_of(w, p->count);
        assert_true(m.low >= -bound && m.high <= bound);
        assert_true(m.high > bound * (1 - 12 / n) && m.low < -bound * (1 - 12 / n)); /* 2 in e^6 */
        assert_true(fabs(m.mean) < 5 * bound / sqrt(3 * n));
        assert_true(fabs(m.variance / (bound * bound / 3) - 1) < 5 * sqrt(0.8 / n));
        assert_true(fabs(m.kurtosis - 1.8) < 10 / sqrt(n));
        free(w);
    }
    graph_free(g);
}

static void test_init_bn(void **state)
{
    (void)state;
    const struct net_config config = config_of("resnet18", "imagenet", "mlp", 128, 224);
    struct graph *g = build(&config);
    int seen = 0;
    for (int i = 0; i < g->param_count; i++) {
        enum param_kind kind = g->params[i].kind;
        if (kind != PARAM_BN_WEIGHT && kind != PARAM_BN_BIAS)
            continue;
        double *w = init(g, i, 3);
        for (int64_t k = 0; k < g->params[i].count; k++)
            assert_true(w[k] == (kind == PARAM_BN_WEIGHT));
        free(w);
        seen++;
    }
    assert_int_equal(seen, 40);
    graph_free(g);
}

/* The last BN of each residual branch and no other, in both kinds of block. */
static void test_zero_init(void **state)
{
    (void)state;
    static const char *const archs[] = {"resnet34", "resnet50"}, *const last[] = {".bn2.weight", ".bn3.weight"};
    for (int a = 0; a < 2; a++) {
        struct net_config config = config_of(archs[a], "cifar", "simclr-v2", 128, 32);
        config.width = 0.125;
        config.zero_init = 1;
        struct graph *g = build(&config);
        int zeros = 0;
        for (int i = 0; i < g->param_count; i++) {
            const char *name = g->params[i].name;
            if (g->params[i].kind != PARAM_BN_WEIGHT)
                continue;
            int zero = strncmp(name, "layer", 5) == 0 && strstr(name, last[a]) != NULL;
            double *w = init(g, i, 3);
            for (int64_t k = 0; k < g->params[i].count; k++)
                assert_true(w[k] == !zero);
            zeros += zero;
            free(w);
        }
        assert_int_equal(zeros, 16);
        graph_free(g);
    }
}

static void test_init_purity(void **state)
{
    (void)state;
    struct net_config config = config_of("resnet18", "small", "mlp", 32, 32);
    config.width = 0.25;
    struct graph *g = build(&config);
    config.image_h = 48;
    struct graph *other = build(&config);
    for (int i = g->param_count - 1; i >= 0; i--) {
        const struct graph_param *p = &g->params[i];
        size_t bytes = (size_t)p->count * sizeof(double);
        double *a = init(g, i, 7), *b = init(other, i, 7), *c = init(g, i, 8), *d = init(g, i, 7 + (UINT64_C(1) << 32));
        assert_memory_equal(a, b, bytes); /* whatever else was drawn, at another image size */
        if (p->kind != PARAM_BN_WEIGHT && p->kind != PARAM_BN_BIAS) {
            assert_memory_not_equal(a, c, bytes); /* all 64 bits of the seed count */
            assert_memory_not_equal(a, d, bytes);
        }
        free(a);
        free(b);
        free(c);
        free(d);
    }
    /* Two layers of one shape differ. */
    double *a = init(g, op_named(g, "layer1.0.conv1")->param[0], 7),
           *b = init(g, op_named(g, "layer1.0.conv2")->param[0], 7);
    assert_true(a[0] != b[0] && a[1] != b[1]);
    free(a);
    free(b);
    graph_free(g);
    graph_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_dicts),
        cmocka_unit_test(test_moco_heads),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_simclr_heads),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_stems),
        cmocka_unit_test(test_bottleneck_stride),
        cmocka_unit_test(test_image_sizes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failing_allocation),
        cmocka_unit_test(test_init_convolutions),
        cmocka_unit_test(test_init_linear),
        cmocka_unit_test(test_init_bn),
        cmocka_unit_test(test_zero_init),
        cmocka_unit_test(test_init_purity),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
