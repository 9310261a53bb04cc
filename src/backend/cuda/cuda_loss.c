/* SPDX-License-Identifier: MIT
 *
 * cuda_loss: see cuda_loss.h. */
#include "backend/cuda/cuda_loss.h"

#include "backend/cuda/cuda_product.h"

#define MOST_SIMILARITIES ((int64_t)4 << 20) /* numbers */

enum {
    NCE_BLOCKS = 256,        /* about two for each multiprocessor of a large GPU */
    NCE_SLICES = CUDA_BLOCK, /* most: nce_end has a thread for each */
    NCE_KEYS = 256,          /* least keys of a slice */
    NCE_TILE = 32            /* of which they are a multiple */
};

static moco_status zero(struct be_device *dev, void *at, int64_t numbers, struct err *err)
{
    return cuda_fill(dev, at, (size_t)numbers * sizeof(float), err);
}

/* ---- in one pass ---- */

/* How a queue is cut, and where things are in the scratch memory. A queue's length and the batch alone decide. */
struct nce_room {
    int slices, slice;
    size_t found, sums, results, bytes;
};

static struct nce_room nce_room_of(int n, int64_t length, int dim)
{
    int64_t blocks = (n + CUDA_NCE_QUERIES - 1) / CUDA_NCE_QUERIES, slices = NCE_BLOCKS / blocks;
    slices = slices < 1 ? 1 : slices > NCE_SLICES ? NCE_SLICES : slices;
    int64_t keys = (length + slices - 1) / slices;
    keys = ((keys < NCE_KEYS ? NCE_KEYS : keys) + NCE_TILE - 1) / NCE_TILE * NCE_TILE;
    slices = (length + keys - 1) / keys;
    struct nce_room r = {.slices = slices < 1 ? 1 : (int)slices, .slice = keys > INT32_MAX ? INT32_MAX : (int)keys};
    size_t parts = (size_t)r.slices * (size_t)n;
    r.found = cuda_up((size_t)n * sizeof(float));
    r.sums = r.found + cuda_up(parts * sizeof(struct cuda_contrast));
    r.results = r.sums + cuda_up(parts * (size_t)dim * sizeof(float));
    r.bytes = r.results + cuda_up((size_t)n * 5 * sizeof(double));
    return r;
}

static moco_status one_pass(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err)
{
    struct be_device *dev = program->dev;
    const struct nce_room room = nce_room_of(io->n, io->length, io->dim);
    char *at = scratch;
    const struct nce_args args = {.step = program->step,
                                  .q = io->q,
                                  .k = io->k,
                                  .queue = io->queue,
                                  .positives = scratch,
                                  .found = (struct cuda_contrast *)(void *)(at + room.found),
                                  .sums = (float *)(void *)(at + room.sums),
                                  .results = (double *)(void *)(at + room.results),
                                  .d_q = io->d_q,
                                  .scale = io->scale,
                                  .n = io->n,
                                  .dim = io->dim,
                                  .length = (int32_t)io->length,
                                  .slices = room.slices,
                                  .slice = room.slice};
    const struct loss_args end = {.step = program->step, .results = args.results, .n = io->n};
    int64_t blocks = (io->n + CUDA_NCE_QUERIES - 1) / CUDA_NCE_QUERIES;
    TRY(cuda_launch(dev, CUDA_nce_slices, blocks, room.slices, 1, &args, err));
    TRY(cuda_launch(dev, CUDA_nce_end, io->n, 1, 1, &args, err));
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
    return dim <= CUDA_NCE_DIM ? nce_room_of(n, length, dim).bytes : room_of(n, length, dim).bytes;
}

size_t cuda_batch_loss_scratch(struct be_device *dev, int n, int keys, int dim)
{
    (void)dev;
    return room_of(n, keys > 0 ? keys : n, dim).bytes;
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
    return cuda_product(l->dev, kernel, &args, err);
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
        CUDA_WITHIN(program->dev, one_pass(program, io, scratch, err));
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
    struct loss l = loss_of(program, io->n, io->dim, ntxent ? io->n : io->keys, scratch);
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
