/* SPDX-License-Identifier: MIT
 *
 * backend: the contract between the algorithms and a device. A backend fills one `struct backend`; nothing above it
 * knows how it computes, and nothing below it knows what MoCo is.
 *
 * Words used by every function here:
 *   real    the master type: f32 on cpu, f64 on ref; `real_bytes` of it. All plain arrays of the contract (statistics,
 *           embeddings, keys, queue) are arrays of it.
 *   slab    one block for all parameters of a network, in the backend's own layout. Masters of q, masters of k,
 *           gradients and SGD momentum are four slabs of one layout, so that sgd and the average are elementwise.
 *   reader  copies of the weights as a plan reads them (bf16, other block order). A precision may need none: then the
 *           plan reads the master slab itself and reader bytes are 0.
 *   launch  n samples = `groups` BN groups of n / groups contiguous samples, run through a plan at once.
 *   memory  struct be_memory: an address of the device and a size. Host code reads and writes it only through read and
 *           write.
 *
 * The one thing a reader would get wrong: a plan owns no memory. `plan_create` lays out, `plan_bytes` tells, and the
 * caller binds the plan to a place in a slab that other plans may use at other times; everything a plan needs kept
 * between forward and backward is there. */
#ifndef MOCO_BACKEND_H
#define MOCO_BACKEND_H

#include <stdatomic.h>
#include <stdint.h>

#include "ctx.h"
#include "err.h"
#include "graph/graph.h"

#define BACKEND_ABI 3

struct be_device; /* defined by each backend */
struct be_layout;
struct be_plan;

struct be_memory {
    void *at;
    size_t bytes;
};

enum be_precision { BE_F32 = 1, BE_BF16 = 2, BE_F64 = 3 }; /* values of moco_precision */

enum be_pass {
    BE_TRAIN, /* forward with batch statistics, keeps what backward needs */
    BE_KEY,   /* forward with batch statistics, keeps nothing */
    BE_INFER  /* forward with running statistics, BN folded into the convolutions */
};

struct be_info {
    int threads, bf16_native;
    size_t real_bytes;
    char isa[64], library[64];
};

struct be_plan_spec {
    const struct graph *graph; /* frozen; outlives the plan */
    const struct be_layout *layout;
    enum be_precision precision;
    enum be_pass pass;
    int n, groups; /* samples of a launch; BN groups in it (INFER: 1) */
    int output;    /* value number that forward writes: any vector behind global pooling, such as features, projection
                      or embedding */
    int f32_input; /* INFER only: input is normalised f32 [n,3,h,w] instead of u8 */
    int recompute; /* TRAIN: 1: outputs of batch norm are computed once more in backward rather than kept, where the
                      device can; results are the same bits */
    int frozen;    /* TRAIN: 1: batch norms apply given statistics (be_forward.stats), in all groups the same, and
                      their gradient is that of an affine map; their weights and biases have gradients as ever */
};

struct be_plan_bytes {
    size_t slab;        /* all of it, multiple of 4096: what bind needs */
    size_t activations; /* of which values kept for backward */
    size_t gradients;   /* of which gradients of activations */
    size_t scratch;     /* of which primitives' scratch, weight reorders, folded weights */
};

/* Polled between the ops of a plan; NULL: never. A plan that sees it non-zero returns MOCO_ECANCELED. */
typedef const _Atomic int be_cancel;

struct be_forward {
    const uint8_t *images; /* host u8 [*, h, w, 3] (or f32 [n,3,h,w] if f32_input) */
    const uint8_t *second; /* NULL, or where samples n / 2 and up are: second[index[j]]; n is even then */
    const int32_t *index;  /* [n]: sample j of the launch is images[index[j]]; NULL: identity. Not with f32_input */
    const void *weights;   /* master slab (precisions without readers) or reader block; INFER: NULL, see plan_fold */
    const void *masters;   /* master slab: BN weight and bias, linear bias */
    const void *stats;     /* frozen plans: reals [stat_total], mean and variance of each batch norm; else unused */
    void *stage; /* reals [stat_total]: the launch ADDS, per group, batch mean and unbiased variance; NULL in INFER, in
                    frozen plans, and where nobody wants them */
    void *out;   /* reals [n][dim of output] */
    be_cancel *cancel;
};

struct be_backward {
    const void *weights, *masters; /* as in forward */
    const void *d_out;             /* reals [n][dim]: d loss / d output, of any loss */
    void *gradients;               /* slab; zero for parameters that the output does not depend on */
    int accumulate;                /* 0: overwrite gradients; 1: add */
    void (*on_grad)(void *user, int first_param, int count); /* NULL; called as gradients become final */
    void *user;
    be_cancel *cancel;
};

/* One launch of InfoNCE. Inputs are reals. Sums are over the n queries; the caller divides. */
struct be_infonce {
    const void *q;     /* [n][dim], unit rows */
    const void *k;     /* [n][dim], unit rows: the positives */
    const void *queue; /* [length][dim] */
    int n, dim;
    int64_t length;
    double temperature;
    double scale; /* d_q is the gradient of scale * sum of losses */
    void *d_q;    /* [n][dim] */
    /* outputs: */
    double loss, top1, top5; /* sums; top-m of one query is the chance that its positive is among the best m if ties are
                                broken at random: (m - #larger) / (#equal + 1), cut to 0..1 */
    double pos, neg;         /* sums of cosine with the positive; of mean cosine with the queue */
};

/* A loss whose negatives are the batch itself. Inputs are reals, unit rows. Sums are over the n queries; the caller
 * divides.
 *   InfoNCE   the positive of query i is key first + i, its negatives are all other keys.
 *   NT-Xent   k NULL, keys 0, d_k NULL: rows are two views of n / 2 samples, all of them queries. The positive of row i
 * is row i + n / 2 or i - n / 2, its negatives are all rows but that and itself. */
struct be_batch_loss {
    const void *q; /* [n][dim] */
    const void *k; /* [keys][dim] */
    int n, keys, first, dim;
    double temperature;
    double scale; /* gradients are those of scale * sum of losses */
    void *d_q;    /* [n][dim] */
    void *d_k;    /* [keys][dim]; NULL: keys are constants */
    /* outputs, as in be_infonce: */
    double loss, top1, top5;
    double pos, neg; /* neg: of mean cosine with the negatives; 0 if there are none */
};

/* What the optimizer does besides: before an update the average that follows the weights, k = m * k + (1 - m) * p with
 * p as it was; after it a look at what has come out. */
struct be_sgd {
    void *p, *g, *v; /* slabs: masters, gradients, momentum */
    void *k;         /* slab: masters of the key encoder; NULL: there is none */
    double m;
    double lr, momentum, weight_decay;
    int first; /* 1: v = g' (PyTorch's first step), else v = momentum * v + g' ; g' = g + weight_decay * p ; p -= lr * v
                */
    int finite; /* out: are all numbers of p, v and k? */
};

/* SGD with momentum whose rate is scaled per tensor by trust |p| / |g'|, g' = g + weight_decay * p (by 1 if a norm is
 * 0). Weights and biases of BN and biases of linear layers take neither weight decay nor scaling. The rate is in the
 * buffer: v = momentum * v + lr * scaling * g' ; p -= v. */
struct be_lars {
    void *p, *g, *v, *k; /* k, m and finite as in be_sgd */
    double m;
    double lr, momentum, weight_decay, trust;
    int finite;
};

struct backend {
    uint32_t abi; /* BACKEND_ABI */
    const char *name;

    moco_status (*open)(struct be_device **out, struct ctx *ctx, const char *name, struct err *err);
    void (*close)(struct be_device *dev);
    void (*info)(const struct be_device *dev, struct be_info *info);
    /* What AUTO (0) means, or whether a precision runs here: MOCO_ENOTSUP and why. */
    moco_status (*precision)(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err);
    /* Once before the first op of a step and when a plan is made: are all planned threads there? MOCO_ESTATE if not. */
    moco_status (*ready)(struct be_device *dev, struct err *err);

    /* Memory: aligned to 4096, zeroed, touched by the compute threads. */
    moco_status (*alloc)(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
    void (*release)(struct be_device *dev, struct be_memory *memory);
    void (*zero)(struct be_device *dev, void *at, size_t bytes);
    moco_status (*read)(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
    moco_status (*write)(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);

    /* Parameters. Where a number stands in a slab is a pure function of (device, graph's parameters): `precision` only
     * tells ref where to round, so slabs pass between layouts of one network. The layout keeps what it needs of the
     * graph. Values cross as doubles in the reference's shape. */
    moco_status (*layout_create)(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                                 enum be_precision precision, struct err *err);
    void (*layout_free)(struct be_layout *layout);
    size_t (*layout_bytes)(const struct be_layout *layout);
    moco_status (*param_get)(const struct be_layout *layout, const void *slab, int index, double *values,
                             struct err *err);
    moco_status (*param_set)(const struct be_layout *layout, void *slab, int index, const double *values,
                             struct err *err);

    /* Readers. `backward` 0: what forward needs (key encoder), 1: what forward and backward need (query encoder).
     * ema_readers writes, for m * k + (1 - m) * q computed in the master type, what a KEY plan of this precision reads:
     * its bytes are key_bytes, never 0. It must compute the same bits as the optimizer's average followed by readers.
     */
    size_t (*reader_bytes)(const struct be_layout *layout, enum be_precision precision, int backward);
    moco_status (*readers)(const struct be_layout *layout, enum be_precision precision, int backward,
                           const void *masters, void *out, struct err *err);
    size_t (*key_bytes)(const struct be_layout *layout, enum be_precision precision);
    moco_status (*ema_readers)(const struct be_layout *layout, enum be_precision precision, const void *k,
                               const void *q, double m, void *out, struct err *err);
    /* In a KEY launch `weights` is that block and `masters` is NULL: the block holds BN and biases too. */

    /* Plans. */
    moco_status (*plan_create)(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                               struct err *err);
    void (*plan_free)(struct be_plan *plan);
    void (*plan_bytes)(const struct be_plan *plan, struct be_plan_bytes *bytes);
    moco_status (*plan_bind)(struct be_plan *plan, void *slab, struct err *err);
    moco_status (*plan_fold)(struct be_plan *plan, const void *masters, const void *stats, struct err *err);
    moco_status (*forward)(struct be_plan *plan, const struct be_forward *io, struct err *err);
    moco_status (*backward)(struct be_plan *plan, const struct be_backward *io, struct err *err);

    /* Steps of the algorithms. */
    size_t (*infonce_scratch)(struct be_device *dev, int n, int dim, int64_t length); /* bytes */
    moco_status (*infonce)(struct be_device *dev, struct be_infonce *io, void *scratch, struct err *err);
    size_t (*batch_loss_scratch)(struct be_device *dev, int n, int keys, int dim); /* bytes */
    moco_status (*batch_loss)(struct be_device *dev, struct be_batch_loss *io, void *scratch, struct err *err);
    moco_status (*sgd)(const struct be_layout *layout, enum be_precision precision, struct be_sgd *io,
                       void *readers /* of the query encoder, refreshed; NULL if none */, struct err *err);
    moco_status (*lars)(const struct be_layout *layout, enum be_precision precision, struct be_lars *io,
                        void *readers /* as in sgd */, struct err *err);
    /* Sum of squares of a slab of `count` parameters' gradients in double; *bad = number of the first parameter with a
     * value that is not finite, or -1. Padding of a layout is zero and stays zero. */
    moco_status (*grad_check)(const struct be_layout *layout, const void *gradients, double *sum_squares, int *bad,
                              struct err *err);
    /* running = (1 - momentum) * running + momentum * stage / groups, per BN (momentum from the graph). */
    moco_status (*stats_commit)(struct be_device *dev, const struct graph *graph, void *running, const void *stage,
                                int groups, struct err *err);

    /* Optional (NULL: unknown). Operations per second that convolutions reach here, measured in at most a quarter of a
     * second and a few MiB: what an estimate of a step's duration stands on. */
    moco_status (*rate)(struct be_device *dev, enum be_precision precision, double *flops_per_second, struct err *err);

    /* C[m][n] = A[m][k] * B[n][k]^T on host f32, row-major: for kNN and probes. */
    moco_status (*gemm_nt)(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                           float *c, struct err *err);
    /* C[m][n] = A[k][m]^T * B[k][n], the same way: a probe's gradient. Equal arguments give equal bits, as of every
     * function here. */
    moco_status (*gemm_tn)(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                           float *c, struct err *err);

    /* Calls body(arg, part, parts) once for each part from 0, on the host, side by side as far as the device has
     * threads there, and waits: for what is not worth a slot of its own, such as kNN's choice of neighbours. A body
     * must not wait for another one. */
    moco_status (*on_host)(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                           struct err *err);
};

extern const struct backend backend_ref; /* always built */
extern const struct backend backend_cpu; /* with MOCO_HAVE_ONEDNN */

/* Finds a backend by device name ("cpu", "ref", later "cuda:0"); MOCO_ENODEV lists what there is. */
moco_status backend_find(const struct backend **out, const char *device_name, struct err *err);

#endif
