/* SPDX-License-Identifier: MIT
 *
 * cuda_loss: see cuda_loss.h. */
#include "backend/cuda/cuda_loss.h"

#include "backend/cuda/cuda_product.h"

#define MOST_SIMILARITIES ((int64_t)4 << 20) /* numbers */

enum {
    NCE_BLOCKS = 256,        /* about two for each multiprocessor of a large GPU */
    NCE_SLICES = CUDA_BLOCK, /* most: nce_end has a thread for each */
    NCE_KEYS = 64,           /* least candidates of a slice */
    NCE_TILE = 32            /* of which they are a multiple */
};

static moco_status zero(struct be_device *dev, void *at, int64_t numbers, struct err *err)
{
    return cuda_fill(dev, at, (size_t)numbers * sizeof(float), err);
}

/* ---- in one pass ---- */

/* How candidates are cut into slices: their number and the queries' decide, and nothing else. */
struct nce_cut {
    int slices, slice;
};

static int64_t nce_blocks(int64_t n)
{
    return (n + CUDA_NCE_QUERIES - 1) / CUDA_NCE_QUERIES;
}

static struct nce_cut nce_cut_of(int64_t n, int64_t length)
{
    int64_t slices = NCE_BLOCKS / nce_blocks(n);
    slices = slices < 1 ? 1 : slices > NCE_SLICES ? NCE_SLICES : slices;
    int64_t keys = (length + slices - 1) / slices;
    keys = ((keys < NCE_KEYS ? NCE_KEYS : keys) + NCE_TILE - 1) / NCE_TILE * NCE_TILE;
    slices = (length + keys - 1) / keys;
    return (struct nce_cut){slices < 1 ? 1 : (int)slices, keys > INT32_MAX ? INT32_MAX : (int)keys};
}

/* Where things are in the scratch memory. */
struct nce_room {
    size_t found, softmax, sums, results, bytes;
};

/* `keys`: candidates that have a gradient; 0: they have none. */
static struct nce_room nce_room_of(int n, int64_t length, int keys, int dim)
{
    size_t parts = (size_t)nce_cut_of(n, length).slices * (size_t)n;
    size_t of_keys = keys > 0 ? (size_t)nce_cut_of(keys, n).slices * (size_t)keys : 0;
    struct nce_room r = {.found = cuda_up((size_t)n * sizeof(float))};
    r.softmax = r.found + cuda_up(parts * sizeof(struct cuda_contrast));
    r.sums = r.softmax + cuda_up(keys > 0 ? (size_t)n * sizeof(struct cuda_softmax) : 0);
    r.results = r.sums + cuda_up((parts > of_keys ? parts : of_keys) * (size_t)dim * sizeof(float));
    r.bytes = r.results + cuda_up((size_t)n * 5 * sizeof(double));
    return r;
}

/* Candidates against queries: the gradient of the candidates, added to that of the queries where they are the same. */
static moco_status pass_of_keys(struct be_device *dev, const struct nce_args *queries, float *d_keys, struct err *err)
{
    struct nce_args args = *queries;
    const struct nce_cut cut = nce_cut_of(queries->length, queries->n);
    args.q = queries->queue;
    args.k = args.queue = queries->q;
    args.d_q = d_keys;
    args.accumulate = d_keys == queries->d_q;
    args.n = queries->length;
    args.length = queries->n;
    args.own = (queries->rows - queries->own) % queries->rows; /* the query of which it is the positive */
    args.slices = cut.slices;
    args.slice = cut.slice;
    TRY(cuda_launch(dev, CUDA_nce_keys, nce_blocks(args.n), args.slices, 1, &args, err));
    return cuda_launch_items(dev, CUDA_nce_keys_end, (int64_t)args.n * args.dim, &args, err);
}

/* `args` has the inputs; `d_keys` NULL: candidates are constants. */
static moco_status one_pass(struct be_program *program, struct nce_args args, float *d_keys, void *scratch,
                            struct err *err)
{
    struct be_device *dev = program->dev;
    const struct nce_cut cut = nce_cut_of(args.n, args.length);
    const struct nce_room room = nce_room_of(args.n, args.length, d_keys != NULL ? args.length : 0, args.dim);
    char *at = scratch;
    args.step = program->step;
    args.positives = scratch;
    args.found = (struct cuda_contrast *)(void *)(at + room.found);
    args.softmax = d_keys != NULL ? (struct cuda_softmax *)(void *)(at + room.softmax) : NULL;
    args.sums = (float *)(void *)(at + room.sums);
    args.results = (double *)(void *)(at + room.results);
    args.slices = cut.slices;
    args.slice = cut.slice;
    const struct loss_args end = {.step = program->step, .results = args.results, .n = args.n};
    TRY(cuda_launch(dev, CUDA_nce_slices, nce_blocks(args.n), args.slices, 1, &args, err));
    TRY(cuda_launch(dev, CUDA_nce_end, args.n, 1, 1, &args, err));
    if (d_keys != NULL)
        TRY(pass_of_keys(dev, &args, d_keys, err));
    return cuda_launch(dev, CUDA_loss_end, 1, 1, 1, &end, err);
}

/* ---- by products ---- */

/* Where things are in the scratch memory. */
struct room {
    int rows; /* of queries at a time */
    size_t s, positives, pull, results, parts, bytes;
};

/* Bytes for the parts of the gradients' products: of queries, and of candidates. */
static size_t parts_bytes(int rows, int count, int dim)
{
    struct product_args q = cuda_matrix(CUDA_product_data, rows, dim, count);
    struct product_args k = cuda_matrix(CUDA_product_weights, count, dim, rows);
    size_t of_q = cuda_product_split(CUDA_product_data, &q), of_k = cuda_product_split(CUDA_product_weights, &k);
    return of_q > of_k ? of_q : of_k;
}

static struct room room_of(int n, int64_t count, int dim)
{
    int64_t rows = count > 0 ? MOST_SIMILARITIES / count : n;
    struct room r = {.rows = rows < 1 ? 1 : rows > n ? n : (int)rows};
    int64_t numbers = r.rows * count, square = (int64_t)CUDA_TILE * CUDA_TILE;
    r.positives = cuda_up((size_t)(numbers > square ? numbers : square) * sizeof(float));
    r.pull = r.positives + cuda_up((size_t)n * sizeof(float));
    r.results = r.pull + cuda_up((size_t)n * sizeof(float));
    r.parts = r.results + cuda_up((size_t)n * 5 * sizeof(double));
    r.bytes =
        r.parts + cuda_up(parts_bytes(r.rows, (int)count, dim)); /* the last chunk has no more rows than the first */
    return r;
}

size_t cuda_infonce_scratch(struct be_device *dev, int n, int dim, int64_t length)
{
    (void)dev;
    return dim <= CUDA_NCE_DIM ? nce_room_of(n, length, 0, dim).bytes : room_of(n, length, dim).bytes;
}

size_t cuda_batch_loss_scratch(struct be_device *dev, int n, int keys, int dim)
{
    (void)dev;
    int count = keys > 0 ? keys : n;
    return dim <= CUDA_NCE_DIM ? nce_room_of(n, count, count, dim).bytes : room_of(n, count, dim).bytes;
}

/* ---- a loss ---- */

struct loss {
    struct be_device *dev;
    struct loss_args args; /* q, k and d_q: of the first query */
    struct room room;
    const float *candidates;
    float *d_candidates; /* NULL: constants */
    float *parts;
};

static struct loss loss_of(struct be_program *program, int n, int dim, int64_t count, void *scratch)
{
    struct loss l = {.dev = program->dev, .room = room_of(n, count, dim)};
    char *at = scratch;
    l.args.step = program->step;
    l.args.n = n;
    l.args.dim = dim;
    l.args.count = count;
    l.args.s = scratch;
    l.args.results = (double *)(void *)(at + l.room.results);
    l.parts = (float *)(void *)(at + l.room.parts);
    return l;
}

static moco_status product(const struct loss *l, enum cuda_kernel kernel, struct product_args args, int accumulate,
                           struct err *err)
{
    args.accumulate = accumulate;
    if (kernel != CUDA_product_forward) {
        cuda_product_split(kernel, &args);
        args.parts = l->parts;
    }
    return cuda_product(l->dev, kernel, 0, &args, err);
}

/* Queries [first, first + rows). */
static moco_status some_queries(const struct loss *l, int first, int rows, struct err *err)
{
    int count = (int)l->args.count, dim = l->args.dim;
    const float *q = l->args.q + (int64_t)first * dim;
    struct loss_args args = l->args;
    args.first = first;
    args.rows = rows;
    struct product_args s = cuda_matrix(CUDA_product_forward, rows, count, dim);
    s.a = q;
    s.b = l->candidates;
    s.out = args.s;
    TRY(product(l, CUDA_product_forward, s, 0, err));
    TRY(cuda_launch(l->dev, CUDA_loss_softmax, rows, 1, 1, &args, err));
    struct product_args d_q = cuda_matrix(CUDA_product_data, rows, dim, count);
    d_q.a = args.s;
    d_q.b = l->candidates;
    d_q.out = args.d_q + (int64_t)first * dim;
    TRY(product(l, CUDA_product_data, d_q, 1, err));
    if (l->d_candidates == NULL)
        return MOCO_OK;
    struct product_args d_k = cuda_matrix(CUDA_product_weights, count, dim, rows);
    d_k.a = args.s;
    d_k.b = q;
    d_k.out = l->d_candidates;
    return product(l, CUDA_product_weights, d_k, 1, err);
}

/* Similarities with positives that are no candidates, by the same kernel as all others, so that equal vectors tie: the
 * diagonals of squares of queries and keys. */
static moco_status positives(const struct loss *l, struct err *err)
{
    int n = l->args.n, dim = l->args.dim;
    for (int first = 0; first < n; first += CUDA_TILE) {
        struct loss_args args = l->args;
        args.first = first;
        args.rows = n - first < CUDA_TILE ? n - first : CUDA_TILE;
        struct product_args s = cuda_matrix(CUDA_product_forward, args.rows, args.rows, dim);
        s.a = args.q + (int64_t)first * dim;
        s.b = args.k + (int64_t)first * dim;
        s.out = args.s;
        TRY(product(l, CUDA_product_forward, s, 0, err));
        TRY(cuda_launch_items(l->dev, CUDA_loss_positives, args.rows, &args, err));
    }
    return MOCO_OK;
}

static moco_status all_queries(const struct loss *l, struct err *err)
{
    int n = l->args.n;
    int64_t gradients = (int64_t)n * l->args.dim;
    TRY(zero(l->dev, l->args.d_q, gradients, err));
    if (l->d_candidates != NULL && l->d_candidates != l->args.d_q)
        TRY(zero(l->dev, l->d_candidates, l->args.count * l->args.dim, err));
    if (l->args.positives != NULL)
        TRY(positives(l, err));
    for (int first = 0; first < n; first += l->room.rows)
        TRY(some_queries(l, first, n - first < l->room.rows ? n - first : l->room.rows, err));
    if (l->args.positives != NULL)
        TRY(cuda_launch_items(l->dev, CUDA_loss_pull, gradients, &l->args, err));
    return cuda_launch(l->dev, CUDA_loss_end, 1, 1, 1, &l->args, err);
}

/* ---- slots ---- */

moco_status cuda_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err)
{
    TRY(cuda_in_work(program, "infonce", err));
    if (io->n < 1 || io->dim < 1 || io->length < 0 || io->length > INT32_MAX || !(program->given->temperature > 0))
        return err_set(err, MOCO_EINVAL,
                       "%s: InfoNCE of %d queries of %d numbers against %lld keys, or its temperature, is not possible",
                       program->dev->name, io->n, io->dim, (long long)io->length);
    if (io->dim <= CUDA_NCE_DIM) {
        const struct nce_args args = {.q = io->q,
                                      .k = io->k,
                                      .queue = io->queue,
                                      .d_q = io->d_q,
                                      .scale = io->scale,
                                      .n = io->n,
                                      .dim = io->dim,
                                      .length = (int32_t)io->length,
                                      .rows = io->n,
                                      .positive = CUDA_APART};
        CUDA_WITHIN(program->dev, one_pass(program, args, NULL, scratch, err));
        return MOCO_OK;
    }
    struct loss l = loss_of(program, io->n, io->dim, io->length, scratch);
    l.args.q = io->q;
    l.args.k = io->k;
    l.args.d_q = io->d_q;
    l.args.scale = io->scale;
    l.args.positives = (float *)(void *)((char *)scratch + l.room.positives);
    l.args.pull = (float *)(void *)((char *)scratch + l.room.pull);
    l.candidates = io->queue;
    CUDA_WITHIN(program->dev, all_queries(&l, err));
    return MOCO_OK;
}

moco_status cuda_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch, struct err *err)
{
    TRY(cuda_in_work(program, "batch_loss", err));
    int ntxent = io->k == NULL;
    int fits = ntxent ? io->n % 2 == 0 && io->keys == 0 && io->d_k == NULL
                      : io->first >= 0 && io->keys >= io->n && io->first <= io->keys - io->n;
    if (io->n < 1 || io->dim < 1 || !(program->given->temperature > 0) || !fits)
        return err_set(err, MOCO_EINVAL,
                       "%s: a loss of %d queries of %d numbers against %d keys from %d on, or its temperature, is not "
                       "possible",
                       program->dev->name, io->n, io->dim, io->keys, io->first);
    const int count = ntxent ? io->n : io->keys;
    if (io->dim <= CUDA_NCE_DIM) {
        const float *candidates = ntxent ? io->q : io->k;
        const struct nce_args args = {.q = io->q,
                                      .k = candidates,
                                      .queue = candidates,
                                      .d_q = io->d_q,
                                      .scale = io->scale,
                                      .n = io->n,
                                      .dim = io->dim,
                                      .length = count,
                                      .own = ntxent ? io->n / 2 : io->first,
                                      .rows = count,
                                      .positive = ntxent ? CUDA_NTXENT : CUDA_AMONG};
        CUDA_WITHIN(program->dev, one_pass(program, args, ntxent ? io->d_q : io->d_k, scratch, err));
        return MOCO_OK;
    }
    struct loss l = loss_of(program, io->n, io->dim, count, scratch);
    l.args.q = io->q;
    l.args.d_q = io->d_q;
    l.args.scale = io->scale;
    l.args.own = io->first;
    l.args.ntxent = ntxent;
    l.candidates = ntxent ? io->q : io->k;
    l.d_candidates = ntxent ? io->d_q : io->d_k;
    CUDA_WITHIN(program->dev, all_queries(&l, err));
    return MOCO_OK;
}
