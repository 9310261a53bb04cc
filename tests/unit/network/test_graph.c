/* SPDX-License-Identifier: MIT
 *
 * test_graph: shapes and readers are inferred as the formulas say, every wrong call is refused with one sentence that
 * names the op, and after the first failure nothing is built any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "support/failing_alloc.h"

static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
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

static struct graph *fresh(int h, int w)
{
    struct graph *g = NULL;
    struct err err = {0};
    assert_int_equal(graph_create(&g, ctx, &err), MOCO_OK);
    if (h > 0)
        assert_int_equal(graph_input(g, h, w, mean, std), 0);
    return g;
}

/* The smallest network with every kind of op: a block with a shortcut, pooled, projected. Returns what freeze says. */
static moco_status build_small(struct graph *g, struct err *err)
{
    int x = graph_input(g, 21, 17, mean, std);
    x = graph_relu(g, graph_bn(g, graph_conv(g, x, "conv1", 8, 7, 2, 3), "bn1"));
    int pooled = graph_maxpool(g, x, 3, 2, 1);
    x = graph_bn(g, graph_conv(g, pooled, "layer.conv", 12, 3, 1, 1), "layer.bn");
    int shortcut = graph_bn(g, graph_conv(g, pooled, "layer.downsample.0", 12, 1, 1, 0), "layer.downsample.1");
    x = graph_relu(g, graph_add(g, x, shortcut));
    int features = graph_gap(g, x);
    int projection = graph_linear(g, features, "fc", 5);
    int embedding = graph_l2norm(g, projection);
    return graph_freeze(g, features, projection, embedding, err);
}

static void test_shapes_and_readers(void **state)
{
    (void)state;
    struct graph *g = fresh(0, 0);
    struct err err = {0};
    assert_int_equal(build_small(g, &err), MOCO_OK);
    static const struct {
        enum op_kind kind;
        const char *name;
        int c, h, w, readers;
    } expected[] = {
        {OP_INPUT, "input", 3, 21, 17, 1},
        {OP_CONV, "conv1", 8, 11, 9, 1},
        {OP_BN, "bn1", 8, 11, 9, 1},
        {OP_RELU, "relu3", 8, 11, 9, 1},
        {OP_MAXPOOL, "maxpool4", 8, 6, 5, 2},
        {OP_CONV, "layer.conv", 12, 6, 5, 1},
        {OP_BN, "layer.bn", 12, 6, 5, 1},
        {OP_CONV, "layer.downsample.0", 12, 6, 5, 1},
        {OP_BN, "layer.downsample.1", 12, 6, 5, 1},
        {OP_ADD, "add9", 12, 6, 5, 1},
        {OP_RELU, "relu10", 12, 6, 5, 1},
        {OP_GAP, "gap11", 12, 1, 1, 1},
        {OP_LINEAR, "fc", 5, 1, 1, 1},
        {OP_L2NORM, "l2norm13", 5, 1, 1, 0},
    };
    int count = (int)(sizeof expected / sizeof *expected);
    assert_int_equal(g->op_count, count);
    assert_int_equal(g->value_count, count);
    for (int i = 0; i < count; i++) {
        const struct graph_op *op = &g->ops[i];
        const struct graph_value *v = &g->values[op->out];
        assert_int_equal(op->kind, expected[i].kind);
        assert_string_equal(op->name, expected[i].name);
        assert_int_equal(v->producer, i);
        assert_int_equal(v->c, expected[i].c);
        assert_int_equal(v->h, expected[i].h);
        assert_int_equal(v->w, expected[i].w);
        assert_int_equal(v->readers, expected[i].readers);
    }
    assert_int_equal(g->frozen, 1);
    assert_int_equal(g->input, 0);
    assert_int_equal(g->features, 11);
    assert_int_equal(g->projection, 12);
    assert_int_equal(g->embedding, 13);
    graph_free(g);
}

static void test_parameters_and_states(void **state)
{
    (void)state;
    struct graph *g = fresh(0, 0);
    struct err err = {0};
    assert_int_equal(build_small(g, &err), MOCO_OK);
    static const char *const names[] = {"conv1.weight",
                                        "bn1.weight",
                                        "bn1.bias",
                                        "bn1.running_mean",
                                        "bn1.running_var",
                                        "bn1.num_batches_tracked",
                                        "layer.conv.weight",
                                        "layer.bn.weight",
                                        "layer.bn.bias",
                                        "layer.bn.running_mean",
                                        "layer.bn.running_var",
                                        "layer.bn.num_batches_tracked",
                                        "layer.downsample.0.weight",
                                        "layer.downsample.1.weight",
                                        "layer.downsample.1.bias",
                                        "layer.downsample.1.running_mean",
                                        "layer.downsample.1.running_var",
                                        "layer.downsample.1.num_batches_tracked",
                                        "fc.weight",
                                        "fc.bias"};
    assert_int_equal(g->state_count, sizeof names / sizeof *names);
    for (int i = 0; i < g->state_count; i++) {
        char text[96];
        graph_state_name(g, i, text, sizeof text);
        assert_string_equal(text, names[i]);
    }
    assert_int_equal(g->param_count, 11);
    const struct graph_param *conv = &g->params[g->ops[5].param[0]];
    assert_int_equal(conv->kind, PARAM_CONV);
    assert_int_equal(conv->ndim, 4);
    const int64_t shape[4] = {12, 8, 3, 3};
    assert_memory_equal(conv->shape, shape, sizeof shape);
    assert_int_equal(conv->count, 12 * 8 * 9);
    const struct graph_param *fc = &g->params[g->ops[12].param[0]];
    assert_int_equal(fc->ndim, 2);
    assert_int_equal(fc->shape[0], 5);
    assert_int_equal(fc->shape[1], 12);
    assert_int_equal(g->params[g->ops[12].param[1]].count, 5);
    assert_int_equal(g->param_total, 8 * 3 * 49 + 16 + 12 * 8 * 9 + 24 + 12 * 8 + 24 + 60 + 5);
    assert_int_equal(g->stat_count, 3);
    assert_int_equal(g->stat_total, 2 * (8 + 12 + 12));
    assert_int_equal(g->stats[2].offset, 2 * (8 + 12));
    assert_int_equal(g->stats[2].channels, 12);
    assert_true(g->stats[2].momentum == 0.1 && g->ops[2].eps == 1e-5 && g->ops[2].momentum == 0.1);
    graph_free(g);
}

static void test_window_shapes(void **state)
{
    (void)state;
    for (int kernel = 1; kernel <= 7; kernel++)
        for (int stride = 1; stride <= 3; stride++)
            for (int pad = 0; pad < kernel; pad++)
                for (int side = 1; side <= 12; side++) {
                    int starts = 0; /* counted, not computed */
                    for (int at = -pad; at + kernel <= side + pad; at += stride)
                        starts++;
                    struct graph *g = fresh(side, side + 1);
                    int x = graph_conv(g, 0, "conv", 1, kernel, stride, pad);
                    assert_int_equal(x >= 0, starts > 0);
                    if (x >= 0)
                        assert_int_equal(g->values[x].h, starts);
                    graph_free(g);
                }
}

/* ---- what is refused ---- */

enum { IN = 0 };

static void conv_of_missing(struct graph *g)
{
    graph_conv(g, 7, "conv1", 8, 3, 1, 1);
}
static void conv_of_negative(struct graph *g)
{
    graph_conv(g, -1, "conv1", 8, 3, 1, 1);
}
static void conv_no_channels(struct graph *g)
{
    graph_conv(g, IN, "conv1", 0, 3, 1, 1);
}
static void conv_too_wide(struct graph *g)
{
    graph_conv(g, IN, "conv1", INT32_MAX, 3, 1, 1);
}
static void conv_no_stride(struct graph *g)
{
    graph_conv(g, IN, "conv1", 8, 3, 0, 1);
}
static void conv_huge_pad(struct graph *g)
{
    graph_conv(g, IN, "conv1", 8, 3, 1, INT32_MAX);
}
static void conv_too_large(struct graph *g)
{
    graph_conv(g, IN, "conv1", 8, 11, 1, 0);
}
static void conv_no_name(struct graph *g)
{
    graph_conv(g, IN, "", 8, 3, 1, 1);
}
static void conv_long_name(struct graph *g)
{
    graph_conv(g, IN, "a-name-that-is-much-too-long-to-be-the-name-of-a-layer", 8, 3, 1, 1);
}
static void pool_too_much_pad(struct graph *g)
{
    graph_maxpool(g, IN, 3, 2, 2);
}
static void twice_one_name(struct graph *g)
{
    graph_conv(g, graph_conv(g, IN, "conv1", 3, 1, 1, 0), "conv1", 3, 1, 1, 0);
}
static void add_shapes(struct graph *g)
{
    graph_add(g, graph_conv(g, IN, "conv1", 4, 1, 1, 0), IN);
}
static void add_itself(struct graph *g)
{
    graph_add(g, IN, IN);
}
static void add_missing(struct graph *g)
{
    graph_add(g, IN, 1);
}
static void linear_of_map(struct graph *g)
{
    graph_linear(g, IN, "fc", 4);
}
static void linear_to_none(struct graph *g)
{
    graph_linear(g, graph_gap(g, IN), "fc", -3);
}
static void norm_of_map(struct graph *g)
{
    graph_l2norm(g, IN);
}
static void second_input(struct graph *g)
{
    graph_input(g, 8, 8, mean, std);
}
/* 2^20 x 2^20 x 3 x 3 > 2^40 */
static void too_many_numbers(struct graph *g)
{
    graph_conv(g, graph_conv(g, IN, "conv1", 1 << 20, 1, 1, 0), "conv2", 1 << 20, 3, 1, 1);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        void (*build)(struct graph *g);
        moco_status status;
        const char *says;
    } cases[] = {
        {conv_of_missing, MOCO_EINVAL, "conv1 reads value 7; there are 1"},
        {conv_of_negative, MOCO_EINVAL, "conv1 reads value -1"},
        {conv_no_channels, MOCO_EINVAL, "conv1 has 0 output channels"},
        {conv_too_wide, MOCO_EINVAL, "conv1 has 2147483647 output channels"},
        {conv_no_stride, MOCO_EINVAL, "conv1 has kernel 3, stride 0, padding 1"},
        {conv_huge_pad, MOCO_EINVAL, "padding 2147483647"},
        {conv_too_large, MOCO_ESHAPE, "conv1 has kernel 11, which does not fit its 10 x 10 input"},
        {conv_no_name, MOCO_EINVAL, "op 1 (conv) has a name of 0 bytes"},
        {conv_long_name, MOCO_EINVAL, "op 1 (conv) has a name of 54 bytes"},
        {pool_too_much_pad, MOCO_EINVAL, "maxpool1 has padding 2"},
        {twice_one_name, MOCO_EINVAL, "two parameters are named conv1.weight"},
        {add_shapes, MOCO_ESHAPE, "add2 adds a 3 x 10 x 10 map to one of 4 x 10 x 10"},
        {add_itself, MOCO_EINVAL, "add1 adds value 0 to itself"},
        {add_missing, MOCO_EINVAL, "add1 reads value 1"},
        {linear_of_map, MOCO_ESHAPE, "fc reads a 3 x 10 x 10 map"},
        {linear_to_none, MOCO_EINVAL, "fc has -3 output channels"},
        {norm_of_map, MOCO_ESHAPE, "l2norm1 reads a 3 x 10 x 10 map"},
        {second_input, MOCO_ESTATE, "input is op 1"},
        {too_many_numbers, MOCO_EINVAL, "with conv2.weight the network has more than 2^40"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct graph *g = fresh(10, 10);
        struct err err = {0};
        cases[i].build(g);
        int ops = g->op_count;
        assert_int_equal(graph_relu(g, IN), -1); /* nothing goes on after a failure */
        assert_int_equal(g->op_count, ops);
        assert_int_equal(graph_freeze(g, 0, 0, 0, &err), cases[i].status);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].says);
        assert_null(strchr(err.text, '\n'));
        assert_int_equal(g->frozen, 0);
        graph_free(g);
    }
}

static void expect_input_refused(int h, int w, double m, double s)
{
    const double means[3] = {0, 0, m}, stds[3] = {1, 1, s};
    struct graph *g = fresh(0, 0);
    struct err err = {0};
    assert_int_equal(graph_input(g, h, w, means, stds), -1);
    assert_int_equal(graph_freeze(g, 0, 0, 0, &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "input"));
    graph_free(g);
}

static void test_input_refusals(void **state)
{
    (void)state;
    expect_input_refused(0, 8, 0, 1);
    expect_input_refused(8, -1, 0, 1);
    expect_input_refused(8, 16385, 0, 1);
    expect_input_refused(8, 8, NAN, 1);
    expect_input_refused(8, 8, 0, 0);
    expect_input_refused(8, 8, 0, -1);
    expect_input_refused(8, 8, 0, INFINITY);
    struct graph *g = fresh(0, 0); /* an op before the input */
    struct err err = {0};
    assert_int_equal(graph_relu(g, 0), -1);
    assert_int_equal(graph_freeze(g, 0, 0, 0, &err), MOCO_ESTATE);
    graph_free(g);
    g = fresh(0, 0);
    err = (struct err){0};
    assert_int_equal(graph_freeze(g, 0, 0, 0, &err), MOCO_EINVAL); /* no ops at all */
    graph_free(g);
}

static void expect_freeze_refused(int features, int projection, int embedding, moco_status status, const char *says)
{
    struct graph *g = fresh(4, 4); /* 0 input, 1 gap, 2 fc, 3 l2norm */
    struct err err = {0};
    graph_l2norm(g, graph_linear(g, graph_gap(g, 0), "fc", 4));
    assert_int_equal(graph_freeze(g, features, projection, embedding, &err), status);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    err = (struct err){0};
    assert_int_equal(graph_freeze(g, 1, 2, 3, &err), MOCO_OK); /* a refused freeze leaves the graph as it was */
    assert_int_equal(graph_freeze(g, 1, 2, 3, &err), MOCO_ESTATE);
    assert_int_equal(graph_relu(g, 1), -1); /* frozen */
    assert_int_equal(g->op_count, 4);
    graph_free(g);
}

static void test_freeze_refusals(void **state)
{
    (void)state;
    expect_freeze_refused(-1, 2, 3, MOCO_EINVAL, "features is value -1");
    expect_freeze_refused(1, 4, 3, MOCO_EINVAL, "projection is value 4");
    expect_freeze_refused(1, 2, 99, MOCO_EINVAL, "embedding is value 99");
    expect_freeze_refused(0, 2, 3, MOCO_ESHAPE, "features (of input)");
    expect_freeze_refused(1, 2, 2, MOCO_EINVAL, "embedding (of fc)");
    expect_freeze_refused(1, 1, 3, MOCO_EINVAL, "embedding (of l2norm3)");
    struct graph *g = fresh(4, 4);
    struct err err = {0};
    graph_relu(g, 0);
    int features = graph_gap(g, 0);
    assert_int_equal(graph_freeze(g, features, features, graph_l2norm(g, features), &err), MOCO_EINVAL);
    assert_non_null(strstr(err.text, "nobody reads what relu1 makes"));
    graph_free(g);
}

/* Two operations for each weight and pixel of a convolution. */
static void test_flops(void **state)
{
    (void)state;
    struct graph *g = fresh(8, 8);
    struct err err = {0};
    int x = graph_maxpool(g, graph_bn(g, graph_conv(g, 0, "conv1", 4, 3, 1, 1), "bn1"), 2, 2, 0);
    x = graph_gap(g, graph_add(g, x, graph_relu(g, x)));
    assert_int_equal(graph_freeze(g, x, x, graph_l2norm(g, x), &err), MOCO_OK);
    assert_true(graph_flops(g) == 2.0 * 4 * 3 * 9 * 64);
    graph_free(g);
}

static void test_failing_allocation(void **state)
{
    (void)state;
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
        moco_status status = graph_create(&g, failing, &err);
        if (status == MOCO_OK)
            status = build_small(g, &err);
        assert_int_equal(status, f.refused > 0 ? MOCO_ENOMEM : MOCO_OK);
        if (status != MOCO_OK)
            assert_non_null(strstr(err.text, "memory"));
        graph_free(g);
        ctx_unref(failing);
        assert_int_equal(f.live, 0);
        if (f.refused == 0) {
            assert_true(at >= 6); /* the graph and its five arrays */
            break;
        }
    }
    graph_free(NULL);
}

static void test_kind_names(void **state)
{
    (void)state;
    for (int kind = 0; kind < OP_KINDS; kind++)
        assert_true(strlen(graph_kind_name((enum op_kind)kind)) > 1);
    assert_string_equal(graph_kind_name(OP_L2NORM), "l2norm");
    assert_string_equal(graph_kind_name(OP_KINDS), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_and_readers),
        cmocka_unit_test(test_parameters_and_states),
        cmocka_unit_test(test_window_shapes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_input_refusals),
        cmocka_unit_test(test_freeze_refusals),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_failing_allocation),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
