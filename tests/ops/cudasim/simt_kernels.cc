/* SPDX-License-Identifier: MIT
 *
 * simt_kernels: every kernel of the CUDA backend once, on shapes that are multiples of nothing, in memory that ends where
 * the arrays do: for the sanitizers. What kernels compute is not looked at here but for NaN, which says that something
 * unwritten was read; the suites on the device cudasim hold them against ref. ops/cudasim/test_simt.sh compiles it, also with
 * barriers taken out of the kernels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kernels/all.cu"
#include "support/cudasim/simt_numbers.h"

#define RUN(name, args)                                                                                                \
    static void run_##name(const void *a)                                                                              \
    {                                                                                                                  \
        moco_##name(*(const struct args##_args *)a);                                                                   \
    }
CUDA_KERNELS(RUN)

#define ROW(name, args) run_##name,
static void (*const runs[])(const void *) = {CUDA_KERNELS(ROW)};
static int ran[CUDA_KERNEL_COUNT];

static void launch(int kernel, unsigned x, unsigned y, unsigned z, const void *args)
{
    ran[kernel] = 1;
    unsigned threads = kernel == CUDA_decide || kernel == CUDA_step_end ? 1u : (unsigned)CUDA_BLOCK;
    simt_launch(runs[kernel], args, simt_dim{x, y, z}, simt_dim{threads, 1, 1});
}

#define LAUNCH(name, x, y, z, args) launch(CUDA_##name, (x), (y), (z), &(args))
#define LAUNCH_STORED(name, x, y, z, args) launch(CUDA_##name + storage, (x), (y), (z), &(args))

static float *unset(size_t count)
{
    return take<float>(count, 0xff);
}

static int failed;

static void expect_set(const char *what, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(values[i] - values[i] == 0)) {
            printf("%s: number %zu of %zu is not set\n", what, i, count);
            failed = 1;
            return;
        }
}

static struct cuda_step *new_step(void)
{
    struct cuda_step *s = take<struct cuda_step>(1, 0);
    s->lr = 0.1;
    s->temperature = 0.2;
    s->loss_scale = 1;
    s->key_momentum = 0.9;
    s->trust = 0.01;
    s->gradient_limit = 1e30;
    s->bad = UINT64_MAX;
    return s;
}

/* Maps of the kernels that run now: f32, bf16, fp16 (CUDA_STORED). */
static int storage;

static void *map_unset(size_t count)
{
    return storage == 0 ? (void *)unset(count) : take<uint16_t>(count, 0xff);
}

static void *map_numbers(size_t count)
{
    float *from = numbers(count);
    uint16_t *out = take<uint16_t>(storage == 0 ? 1 : count, 0);
    if (storage == 0)
        return from;
    for (size_t i = 0; i < count; i++)
        out[i] = storage == 1 ? bf16_from_float(from[i]) : f16_from_float(from[i]);
    return out;
}

static void expect_map(const char *what, const void *values, size_t count)
{
    float *wide = take<float>(count, 0);
    for (size_t i = 0; i < count; i++)
        wide[i] = storage == 0   ? ((const float *)values)[i]
                  : storage == 1 ? bf16_to_float(((const uint16_t *)values)[i])
                                 : f16_to_float(((const uint16_t *)values)[i]);
    expect_set(what, wide, count);
}

static void rows(void)
{
    enum { N = 7, DIM = 5 };
    int32_t *index = take<int32_t>(N, 0);
    struct cuda_step *s = new_step();
    for (int i = 0; i < N; i++)
        index[i] = (i * 3 + 2) % N;
    struct rows_args a = {s, unset(N * DIM), numbers(N * DIM), index, 9, N, DIM, 0};
    LAUNCH(gather, 2, 1, 1, a);
    expect_set("gather", a.out, N * DIM);
    a.out = unset(N * DIM);
    LAUNCH(scatter, 2, 1, 1, a);
    expect_set("scatter", a.out, N * DIM);
    LAUNCH(check_rows, 2, 1, 1, a);
    LAUNCH(row_std, 1, 1, 1, a);
    struct verdict_args v = {s, take<struct cuda_chain>(1, 0), nullptr, 0};
    LAUNCH(decide, 1, 1, 1, v);
    a.out = numbers(9 * DIM);
    LAUNCH(push, 2, 1, 1, a);
    struct stats_args t = {s, numbers(10), numbers(10), 10, 0.1, 2, 6};
    LAUNCH(check_stats, 1, 1, 1, t);
    LAUNCH(stats_commit, 1, 1, 1, t);
    LAUNCH(step_end, 1, 1, 1, v);
    if (s->bad != UINT64_MAX || !s->committed) {
        printf("the step did not commit\n");
        failed = 1;
    }
}

static void slabs(void)
{
    enum { TOTAL = 700, SLICES = 3, ROW = 5, PADDED = 8, COPIES = 590 / ROW * PADDED };
    static const struct cuda_slice slice[SLICES] = {{0, 300, 0}, {300, 290, 0}, {608, 90, 1}};
    static const struct cuda_param param[2] = {{0, 0, -1, 0, 2, 0, ROW, PADDED, 0}, {608, -1, 0, 2, 1, 1, 0, 0, 0}};
    struct cuda_step *s = new_step();
    struct slab_args a = {};
    s->may = 1;
    a.step = s;
    a.p = numbers(TOTAL);
    a.v = numbers(TOTAL);
    a.k = numbers(TOTAL);
    a.g = numbers(TOTAL);
    a.slices = slice;
    a.params = param;
    a.sums = take<struct cuda_sums>(SLICES, 0xff);
    a.rules = take<struct cuda_rule>(2, 0xff);
    a.slice_count = SLICES;
    a.param_count = 2;
    a.lars = 1;
    a.what = CUDA_GRADIENT;
    LAUNCH(slab_sums, SLICES, 1, 1, a);
    LAUNCH(slab_end, 1, 1, 1, a);
    LAUNCH(slab_rules, 1, 1, 1, a);
    a.copies = storage > 0 ? map_unset(COPIES) : nullptr;
    LAUNCH_STORED(slab_update, SLICES, 1, 1, a);
    if (storage > 0)
        expect_map("slab_update", a.copies, COPIES);
    a.copies = storage > 0 ? map_unset(COPIES) : nullptr;
    a.out = unset(storage > 0 ? 90 : TOTAL);
    LAUNCH_STORED(slab_readers, SLICES, 1, 1, a);
    if (storage > 0)
        expect_map("slab_readers", a.copies, COPIES);
    expect_set("slab_readers", a.out, storage > 0 ? 90 : 590);
}

static void maps(void)
{
    enum { N = 2, H = 5, W = 7, C = 9, OH = 3, OW = 4, IN = N * H * W * C, OUT = N * OH * OW * C };
    struct input_args image = {take<uint8_t>(N * H * W * 3, 3),
                               nullptr,
                               nullptr,
                               nullptr,
                               map_unset(N * H * W * 8),
                               {0.5f, 0.5f, 0.5f},
                               {1, 1, 1},
                               N,
                               H,
                               W,
                               8};
    LAUNCH_STORED(input, 1, 1, 1, image);
    expect_map("input", image.out, N * H * W * 8);
    struct map_args a = {};
    a.x = map_numbers(IN);
    a.other = map_numbers(IN);
    a.y = map_unset(IN);
    a.count = IN;
    a.n = N, a.h = H, a.w = W, a.c = C, a.oh = OH, a.ow = OW, a.kernel = 3, a.stride = 2, a.pad = 1, a.relu = 1;
    LAUNCH_STORED(map_add, 3, 1, 1, a);
    expect_map("map_add", a.y, IN);
    a.dy = map_numbers(IN);
    LAUNCH_STORED(map_relu_back, 3, 1, 1, a);
    a.y = unset(IN);
    LAUNCH_STORED(map_out, 3, 1, 1, a);
    expect_set("map_out", (float *)a.y, IN);
    a.y = map_unset(OUT);
    a.winner = take<uint16_t>(OUT, 0xff);
    a.count = OUT;
    LAUNCH_STORED(maxpool, 2, 1, 1, a);
    expect_map("maxpool", a.y, OUT);
    a.dy = map_numbers(OUT);
    a.y = map_unset(IN);
    a.count = IN;
    LAUNCH_STORED(maxpool_back, 2, 1, 1, a);
    expect_map("maxpool_back", a.y, IN);
    a.y = unset(N * C);
    LAUNCH_STORED(gap, 1, 1, 1, a);
    expect_set("gap", (float *)a.y, N * C);
    a.dy = numbers(N * C);
    a.y = map_unset(IN);
    LAUNCH_STORED(gap_back, 2, 1, 1, a);
    expect_map("gap_back", a.y, IN);
    a.c = 3, a.w = 8, a.count = 30;
    a.other = map_numbers(80);
    a.y = numbers(30);
    LAUNCH_STORED(map_gradient, 1, 1, 1, a);
    expect_set("map_gradient", (float *)a.y, 30);
}

static void vectors(void)
{
    struct map_args a = {};
    a.n = 3, a.c = 300;
    a.x = numbers(900);
    a.dy = numbers(900);
    a.y = unset(900);
    LAUNCH(l2norm, 3, 1, 1, a);
    expect_set("l2norm", (float *)a.y, 900);
    a.y = unset(900);
    LAUNCH(l2norm_back, 3, 1, 1, a);
    expect_set("l2norm_back", (float *)a.y, 900);
    a.y = numbers(300);
    LAUNCH(bias_back, 2, 1, 1, a);
}

static void batch_norm_of(int c)
{
    enum { ROWS = 37, GROUPS = 2, SPLITS = 3 };
    const size_t C = (size_t)c, COUNT = GROUPS * ROWS * C;
    struct bn_args a = {};
    a.x = map_numbers(COUNT);
    a.other = map_numbers(COUNT);
    a.gamma = numbers(C);
    a.beta = numbers(C);
    a.out = map_unset(COUNT);
    a.mask = take<unsigned char>((COUNT + 7) / 8, 0);
    a.sums = take<double>(GROUPS * SPLITS * 2 * C, 0xff);
    a.saved = unset(GROUPS * 2 * C);
    a.means = unset(GROUPS * 2 * C);
    a.stage = numbers(2 * C);
    a.rows = ROWS;
    a.eps = 1e-5;
    a.c = c, a.groups = GROUPS, a.splits = SPLITS, a.relu = 1;
    LAUNCH_STORED(bn_sums, 2, SPLITS, GROUPS, a);
    LAUNCH_STORED(bn_statistics, 1, 1, 1, a);
    LAUNCH_STORED(bn_apply, 2, 1, 1, a);
    expect_map("bn_apply", a.out, COUNT);
    a.dy = a.d = map_numbers(COUNT);
    a.more = map_numbers(COUNT);
    a.out = map_unset(COUNT);
    a.d_gamma = numbers(C);
    a.d_beta = numbers(C);
    LAUNCH_STORED(bn_back_sums, 2, SPLITS, GROUPS, a);
    LAUNCH(bn_back_end, 1, 1, 1, a);
    LAUNCH_STORED(bn_back_apply, 3, 1, 1, a);
    expect_map("bn_back_apply", a.out, COUNT);
    struct fold_args f = {numbers(C * 6), numbers(C), numbers(C), unset(C), take<float>(2 * C, 0), c * 6, 1e-5, c, 6};
    LAUNCH(fold_bn, 1, 1, 1, f);
    LAUNCH(fold_weights, 1, 1, 1, f);
    expect_set("fold", f.weight, C * 6);
}

/* Channels that are read one by one, and 16 bytes at a time; with one row of threads that has nothing to do. */
static void batch_norm(void)
{
    batch_norm_of(35);
    batch_norm_of(40);
}

static void products(void)
{
    enum { N = 2, H = 9, W = 8, CI = 5, OH = 5, OW = 4, CO = 67, K = 3 };
    const int x = N * H * W * CI, y = N * OH * OW * CO, w = CO * K * K * CI;
    struct product_args a = {};
    a.n = N, a.h = H, a.w = W, a.ci = CI, a.oh = OH, a.ow = OW, a.co = CO, a.kernel = K, a.stride = 2, a.pad = 1;
    a.splits = 1;
    a.a = map_numbers((size_t)x);
    a.b = map_numbers((size_t)w);
    a.bias = numbers(CO);
    a.other = map_numbers((size_t)y);
    a.relu = 1;
    a.out = map_unset((size_t)y);
    LAUNCH_STORED(product_forward, 1, 2, 1, a);
    expect_map("product_forward", a.out, (size_t)y);
    a.bias = nullptr;
    a.other = nullptr;
    a.relu = 0;
    a.a = map_numbers((size_t)y);
    a.out = map_unset((size_t)x);
    LAUNCH_STORED(product_data, 3, 1, 1, a);
    expect_map("product_data", a.out, (size_t)x);
    float *gradient = numbers((size_t)w);
    a.b = map_numbers((size_t)x);
    a.out = gradient;
    a.accumulate = 1;
    a.splits = 3;
    a.parts = unset((size_t)w * 3);
    LAUNCH_STORED(product_weights, 2, 1, 3, a);
    a.n = CO;
    a.co = K * K * CI;
    LAUNCH(product_end, 2, 1, 1, a);
    expect_set("product_weights", gradient, (size_t)w);
}

/* Of matrices whose rows are read 16 bytes at a time, in both precisions. */
static void matrices(void)
{
    enum { N = 67, CI = 40, CO = 72 };
    struct product_args a = {};
    a.n = N, a.ci = CI, a.co = CO;
    a.h = a.w = a.oh = a.ow = a.kernel = a.stride = a.splits = 1;
    a.a = map_numbers(N * CI);
    a.b = map_numbers(CO * CI);
    a.out = map_unset(N * CO);
    LAUNCH_STORED(product_forward, 2, 2, 1, a);
    expect_map("product_forward", a.out, N * CO);
    a.tf32 = 1;
    a.a = map_numbers(N * CO);
    a.out = map_unset(N * CI);
    LAUNCH_STORED(product_data, 2, 1, 1, a);
    expect_map("product_data", a.out, N * CI);
    float *gradient = unset(CO * CI);
    a.b = map_numbers(N * CI);
    a.out = gradient;
    LAUNCH_STORED(product_weights, 2, 1, 1, a);
    expect_set("product_weights", gradient, CO * CI);
}

static void losses(void)
{
    enum { N = 4, DIM = 6, COUNT = 301 };
    struct loss_args a = {};
    a.step = new_step();
    a.q = numbers(N * DIM);
    a.k = numbers(N * DIM);
    a.s = numbers(N * COUNT);
    a.positives = unset(N);
    a.pull = unset(N);
    a.results = take<double>(N * 5, 0xff);
    a.d_q = numbers(N * DIM);
    a.count = COUNT;
    a.scale = 1;
    a.n = a.rows = N;
    a.dim = DIM;
    LAUNCH(loss_positives, 1, 1, 1, a);
    LAUNCH(loss_softmax, N, 1, 1, a);
    LAUNCH(loss_pull, 1, 1, 1, a);
    expect_set("loss_pull", a.d_q, N * DIM);
    LAUNCH(loss_end, 1, 1, 1, a);
    a.positives = nullptr;
    a.ntxent = 1;
    a.count = N;
    LAUNCH(loss_softmax, N, 1, 1, a);
    expect_set("loss_softmax", a.s, N * N);
    if (a.step->bad != UINT64_MAX) {
        printf("the loss is not finite\n");
        failed = 1;
    }
}

/* Two slices, the second of one key; rows that are read one by one, and four numbers at a time. */
static void one_pass(void)
{
    enum { N = 3, LENGTH = 33, SLICE = 32, SLICES = 2 };
    for (int dim = 7; dim <= 8; dim++) {
        struct nce_args a = {};
        a.step = new_step();
        a.q = numbers((size_t)(N * dim));
        a.k = numbers((size_t)(N * dim));
        a.queue = numbers((size_t)(LENGTH * dim));
        a.positives = unset(N);
        a.found = take<struct cuda_contrast>(SLICES * N, 0xff);
        a.sums = unset((size_t)(SLICES * N * dim));
        a.results = take<double>(N * 5, 0xff);
        a.d_q = unset((size_t)(N * dim));
        a.scale = 1;
        a.n = N, a.dim = dim, a.length = LENGTH, a.slices = SLICES, a.slice = SLICE, a.rows = N;
        LAUNCH(nce_slices, 1, SLICES, 1, a);
        LAUNCH(nce_end, N, 1, 1, a);
        expect_set("nce_end", a.d_q, (size_t)(N * dim));
        struct loss_args end = {};
        end.step = a.step, end.results = a.results, end.n = N;
        LAUNCH(loss_end, 1, 1, 1, end);
        if (a.step->bad != UINT64_MAX || !(a.step->loss > 0)) {
            printf("InfoNCE's loss is no number\n");
            failed = 1;
        }
    }
}

/* NT-Xent of 34 rows, and InfoNCE against 34 keys of which the last two are the positives. */
static void one_pass_of_batch(void)
{
    enum { COUNT = 34, SLICE = 32, SLICES = 2, DIM = 7 };
    for (int ntxent = 0; ntxent < 2; ntxent++) {
        const int n = ntxent ? COUNT : 2;
        struct nce_args a = {};
        a.step = new_step();
        a.q = numbers((size_t)(n * DIM));
        a.k = a.queue = ntxent ? a.q : numbers(COUNT * DIM);
        a.positives = unset((size_t)n);
        a.found = take<struct cuda_contrast>((size_t)(SLICES * n), 0xff);
        a.softmax = take<struct cuda_softmax>((size_t)n, 0xff);
        a.sums = unset((size_t)(SLICES * n * DIM));
        a.results = take<double>((size_t)n * 5, 0xff);
        a.d_q = unset((size_t)(n * DIM));
        a.scale = 1;
        a.n = n, a.dim = DIM, a.length = a.rows = COUNT, a.slices = SLICES, a.slice = SLICE;
        a.own = ntxent ? COUNT / 2 : COUNT - 2, a.positive = ntxent ? CUDA_NTXENT : CUDA_AMONG;
        LAUNCH(nce_slices, 1, SLICES, 1, a);
        LAUNCH(nce_end, (unsigned)n, 1, 1, a);
        expect_set("nce_end", a.d_q, (size_t)(n * DIM));
        struct nce_args keys = a;
        keys.q = a.queue, keys.k = keys.queue = a.q, keys.n = COUNT, keys.length = n, keys.own = COUNT - a.own;
        keys.slices = ntxent ? SLICES : 1, keys.accumulate = ntxent;
        keys.sums = unset((size_t)(keys.slices * COUNT * DIM));
        keys.d_q = ntxent ? a.d_q : unset(COUNT * DIM);
        LAUNCH(nce_keys, 1, (unsigned)keys.slices, 1, keys);
        LAUNCH(nce_keys_end, 1, 1, 1, keys);
        expect_set("nce_keys_end", keys.d_q, COUNT * DIM);
    }
}

/* What comes of them is looked at in simt_nearest.cc. */
static void nearest(void)
{
    enum { N = 3, COUNT = 70, SLICE = 64, SLICES = 2, K = 5, DIM = 7 };
    struct nearest_args a = {};
    a.rows = numbers(COUNT * DIM);
    a.queries = numbers(N * DIM);
    a.keys = take<uint64_t>((size_t)(SLICES * N) * 2 * CUDA_NEAREST_KEYS, 0xff);
    a.hits = take<struct cuda_hit>(N * K, 0xff);
    a.count = COUNT, a.slice = SLICE, a.slices = SLICES;
    a.n = N, a.dim = DIM, a.k = K, a.kept = K + 16;
    LAUNCH(nearest_slices, 1, SLICES, 1, a);
    LAUNCH(nearest_end, N, 1, 1, a);
    for (int i = 0; i < N * K; i++)
        if (a.hits[i].row >= COUNT) {
            printf("nearest: neighbour %d is not set\n", i);
            failed = 1;
        }
}

/* Two views of the last pictures of a set, one of them with all steps: memory ends where they do. A byte that is not set
 * stays what the picture never is, and a part of the blur's boxes is beside each end. */
static void views(void)
{
    enum { SIZE = 17, N = 2, PIXELS = 9 * 5 + 3 * 40 };
    struct cuda_picture *pictures = take<struct cuda_picture>(2, 0);
    pictures[0] = {0, 9, 5};
    pictures[1] = {9 * 5 * 3, 3, 40};
    struct pixel_view *v = take<struct pixel_view>(N, 0);
    v[0].picture = 1, v[0].y = 1, v[0].w = 3, v[0].h = 39, v[0].rw = 20, v[0].rh = SIZE, v[0].ox = 3, v[0].cubic = 1;
    v[0].flip = 1, v[0].step_count = 5, v[0].radius = 2, v[0].inside = 3000000, v[0].edges = 888608;
    const enum pixel_kind kinds[PIXEL_STEPS] = {PIXEL_HUE, PIXEL_MEAN, PIXEL_LUMA, PIXEL_BLEND, PIXEL_GREY};
    for (int s = 0; s < PIXEL_STEPS; s++)
        v[0].step[s].kind = kinds[s], v[0].step[s].constant = 10 * (s == 0), v[0].step[s].factor = 0.9f;
    v[1].w = 9, v[1].h = 5, v[1].rw = v[1].rh = SIZE, v[1].radius = -1;
    struct view_args a = {take<uint8_t>(PIXELS * 3, 100), pictures, v, take<uint8_t>(N * SIZE * SIZE * 3, 0xff), SIZE};
    LAUNCH(view_resize, 4, N, 1, a);
    LAUNCH(view_colour, 1, N, 1, a);
    LAUNCH(view_blur_rows, 1, N, 1, a);
    LAUNCH(view_blur_columns, 1, N, 1, a);
    for (int i = 0; i < N * SIZE * SIZE * 3; i++)
        if (a.out[i] == 0xff || a.out[i] != (i < SIZE * SIZE * 3 ? a.out[0] : 100)) {
            printf("views: byte %d is %d\n", i, a.out[i]);
            failed = 1;
            return;
        }
}

static const struct {
    const char *name;
    void (*run)(void);
    bool stored; /* once in f32, bf16 and fp16 each */
} groups[] = {{"rows", rows, false},         {"slabs", slabs, true},
              {"maps", maps, true},          {"batch_norm", batch_norm, true},
              {"vectors", vectors, false},   {"products", products, true},
              {"matrices", matrices, true},  {"losses", losses, false},
              {"one_pass", one_pass, false}, {"one_pass_of_batch", one_pass_of_batch, false},
              {"nearest", nearest, false},   {"views", views, false}};

/* SEED [GROUP]: all kernels, or those of a group. Nothing is freed: the process ends. */
int main(int argc, char **argv)
{
    const char *only = argc > 2 ? argv[2] : nullptr;
    simt_seed(argc > 1 ? strtoull(argv[1], nullptr, 10) : 1);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (storage = 0; storage < (groups[i].stored ? 3 : 1); storage++)
            if (only == nullptr || strcmp(only, groups[i].name) == 0)
                groups[i].run();
    for (int i = 0; only == nullptr && i < CUDA_KERNEL_COUNT; i++)
        if (!ran[i]) {
            printf("kernel number %d was not run\n", i);
            failed = 1;
        }
    return failed;
}
