/* SPDX-License-Identifier: MIT
 *
 * backend: the contract between the algorithms and a device, version 9. A backend fills one `struct backend`; nothing
 * above it knows how it computes, and nothing below it knows what MoCo is.
 *
 * ---- words ----
 *   slot    a function of the table. Its comment says "queued" or "waits", see "time".
 *   real    the master type: f32 on cpu, f64 on ref; a real has `real_bytes` bytes. Plain arrays of the contract
 *           (statistics, embeddings, keys, queue) are arrays of reals.
 *   slab    one block for all parameters of a network, in the backend's own layout. There are four slabs of one layout:
 *           the masters of q, the masters of k, the gradients and the momentum. Updates and the average are therefore
 *           elementwise.
 *   reader  a copy of the weights in the form that a plan reads (bf16, another block order). A precision may need none:
 *           the plan then reads the master slab, and reader bytes are 0.
 *   weights folded weights: what INFER plans read, with batch norms folded into the convolutions. One set serves all
 *           plans of a network and a precision.
 *   launch  n samples that go through a plan at once: `groups` BN groups of n / groups contiguous samples each.
 *   step    the calls from program_begin to program_end: one training step.
 *   part    of a step's calls before decide: those between two calls of `part`. A step without any has one part.
 *   pictures  decoded pictures that a device keeps, and of which it makes the views of a step itself. Optional.
 *
 * ---- memory ----
 *   Device memory is what `alloc` returns, and the addresses of views and indices that program_begin returns. Only slots
 *   read or write it. An address inside a block is computed by adding bytes; host code never dereferences it.
 *   Host memory that is passed to a call (structs of arguments, arrays in them, the sources of `write`, `param_set` and
 *   `param_set_f32`) may be changed or freed when the call returns. There is one exception: the input of program_begin must stay valid
 *   and unchanged until program_end or program_drop returns, because a device that computes in host memory reads it
 *   there.
 *   Only slots that create, open, alloc or bind allocate memory. A step allocates none.
 *
 * ---- threads ----
 *   Calls that use one thing (a plan, a program, weights that are folded or that a plan is made over) are made by one
 *   thread at a time. Calls that use different things may be made by several threads at once: INFER plans over the same
 *   weights run side by side, each in memory of its own, while another plan is made over these weights.
 *
 * ---- time ----
 *   A slot marked "queued" may return before its work is done. A device does queued work as if one call came after
 *   another, in the order of the calls, from whatever thread they came. A slot marked "waits" returns when its own work
 *   and everything queued before it are done. A slot with neither mark does not touch device memory that queued work
 *   uses: it may be called at any time and does not wait. release, plan_free, layout_free and program_free are safe
 *   while queued work still uses the object (a device with a queue makes them wait).
 *   A device without a queue does everything at once. These rules cost it nothing.
 *
 * ---- failures: which call reports what, and when ----
 *   The status of a slot reports what is known when it returns: arguments that do not fit, memory, a cancelled plan.
 *   The next slot that waits reports failures of queued work, as MOCO_EDEVICE. The device is then lost: all of its slots
 *   except release, *_free and close report that from then on, and its memory must not be used.
 *   Wrong numbers (not finite, too large) are not a failure of a slot. They are findings. They are written into the
 *   step's outcome, and the host sees them only there.
 *   After a call of a step has failed, the only call for that step is program_drop.
 *
 * ---- a step ----
 *   program_begin(scalars, input) -> where the input is, skip
 *       zero, copy, ema_readers, forward, backward, gather, scatter, check_*, row_std, infonce, batch_loss
 *       [part]                                             between two of them: the caller has something to do there
 *   [verdict]                                              only if numbers are needed before the commit; waits
 *   decide(cancel, veto) -> skip
 *       sgd, stats_commit, push                            the commit: does nothing unless the step may commit
 *   program_end
 *   outcome                                                once for each step, in order
 * The calls between program_begin and decide are the same in every step of a program, with the same arguments; so are
 * those between decide and program_end. Numbers that change (rates, momenta, the queue's row) come from the scalars,
 * images and indices from the input. A program made with `replay` may therefore be recorded. skip = 1 then means that
 * the device repeats what it recorded, and that the caller must not make the calls up to decide (from decide: up to
 * program_end). Calls between verdict and decide are never recorded.
 *
 * A caller that does something of its own in the middle of the work, such as an exchange with other ranks, begins it
 * where a part ends: mark, part, and then what is ordered behind the event. `part` is called in every step, repeated or
 * not, in the same places: a device that repeats the step queues the next part there, and nothing of it before.
 *
 * An implementer would get two things wrong. A plan owns no memory: `plan_create` lays it out, `plan_bytes` says how
 * much it needs, and the caller binds the plan to an address in a slab that other plans may use at other times. And a
 * scalar must be read from the step's copy: if it is read when a call is queued, a recording freezes it. */
#ifndef MOCO_BACKEND_H
#define MOCO_BACKEND_H

#include <stdatomic.h>
#include <stdint.h>

#include "ctx.h"
#include "err.h"
#include "graph/graph.h"
#include "pixel.h"

#define BACKEND_ABI 9
#define BE_LIBRARY 32 /* room for a library's name, with its version */

struct be_device; /* defined by each backend */
struct be_layout;
struct be_plan;
struct be_pictures;
struct be_program;
struct be_weights;
struct moco_comm_engine; /* moco/comm.h */

struct be_memory {
    void *at;
    size_t bytes;
};

/* Values of moco_precision. TF32: f32 whose products are rounded to 10 bits of mantissa. The type of masters, statistics
 * and queue is the device's master type in all of them. */
enum be_precision { BE_F32 = 1, BE_BF16 = 2, BE_F64 = 3, BE_F16 = 4, BE_TF32 = 5 };
#define BE_HAS(precision) (1 << (precision)) /* its bit in be_info.precisions */

enum be_pass {
    BE_TRAIN, /* forward with batch statistics, keeps what backward needs */
    BE_KEY,   /* forward with batch statistics, keeps nothing */
    BE_INFER  /* forward with running statistics, over folded weights */
};

struct be_info {
    int threads, bf16_native;
    size_t real_bytes;
    char isa[64], library[64];
    int precisions;              /* bits (BE_HAS): those that run here, also slowly */
    enum be_precision master;    /* the type of masters: F32 or F64 */
    enum be_precision inference; /* of INFER plans */
    int64_t launch_pixels;       /* how large a training launch should be: h * w * images; at least one group */
    int64_t embed_pixels;        /* the same of an INFER launch; at least one image */
    int embed_images;            /* most images of an INFER launch */
    double step_rate;            /* part of slot `rate` that a whole training step reaches */
    int behind;                  /* most steps whose outcome has not been fetched: 1 or more */
    int own_memory;              /* 1: blocks of `alloc` do not come from the context's allocator */
    int rounds_products;         /* 1: BF16: what a convolution computes is rounded to bf16 before anything is added to
                                    it: a gradient of weights, a sum behind a convolution that a batch norm was folded
                                    into. 0: once, when it is stored. F16: it always is */
};

struct be_plan_spec {
    const struct graph *graph; /* frozen; outlives the plan */
    const struct be_layout *layout;
    enum be_precision precision;
    enum be_pass pass;
    int n, groups; /* samples of a launch; BN groups in it (INFER: 1) */
    int output;    /* value number that forward writes: any vector behind global pooling, such as features, projection
                      or embedding; INFER: also a feature map, such as what a stage ends in */
    struct be_weights *weights; /* INFER: what it reads, of the same layout and precision; outlives the plan. The plan
                                   may add a copy in another order to it. Else NULL */
    int f32_input;              /* INFER only: input is normalised f32 [n,3,h,w] instead of u8 */
    int steady;    /* INFER: 1: what comes of a sample is the same bits at any n, whichever samples are beside it */
    int recompute; /* TRAIN: 1: outputs of batch norm are computed once more in backward rather than kept, where the
                      device can; results are the same bits */
    int frozen;    /* TRAIN: 1: batch norms apply given statistics (be_forward.stats), in all groups the same, and
                      their gradient is that of an affine map; their weights and biases have gradients as ever */
};

struct be_plan_bytes {
    size_t slab;        /* all of it, multiple of 4096: what bind needs */
    size_t activations; /* of which values kept for backward */
    size_t gradients;   /* of which gradients of activations */
    size_t scratch;     /* of which primitives' scratch, weight reorders */
};

/* The flag by which another thread, or a signal handler, cancels: any number but 0. It is in memory of cancel_alloc,
 * since a device behind its caller reads it by itself when a step is decided. A device that computes in the call also
 * looks at it between the ops of a plan, and returns MOCO_ECANCELED. NULL: never. */
typedef const _Atomic int be_cancel;

/* ---- numbers of a step ---- */

/* Parameters [first, first + count) that the optimizer treats in a way of their own. */
struct be_range {
    int first, count;
    double rate;         /* times lr */
    double weight_decay; /* instead of the step's */
    int frozen; /* 1: neither they nor their momentum move; their gradient is computed and checked all the same */
};

/* What a step is given. Slots of the step read these numbers from the device's copy. */
struct be_scalars {
    double lr, sgd_momentum, weight_decay;
    double trust;        /* of LARS */
    double key_momentum; /* k = key_momentum * k + (1 - key_momentum) * p */
    double temperature;
    double loss_scale;             /* F16: gradients were multiplied by it before they were rounded; else 1 */
    double gradient_limit;         /* a gradient whose norm is larger is a finding, BE_LIMIT; INFINITY: none is */
    int64_t step;                  /* number of the step: comes back in the outcome */
    int64_t queue_row;             /* where `push` writes the first key */
    const struct be_range *ranges; /* ascending, none overlapping another; NULL: no parameter is in one */
    int range_count;               /* at most the program's */
};

/* The kinds of findings. The smallest (what, index) is the one that is reported, so that the report does not depend
 * on the order in which a device computes. */
enum be_what {
    BE_ROWS_KEY,    /* check_rows: index is the name of the row */
    BE_ROWS_QUERY,  /* the same */
    BE_LOSS,        /* infonce, batch_loss: loss, pos or neg is not finite; index 0 */
    BE_GRADIENT,    /* check_slab: index is the parameter */
    BE_NORM,        /* check_slab: every number is finite and the sum of squares is not; index 0 */
    BE_STATS_QUERY, /* check_stats: index is that of the real */
    BE_STATS_KEY,   /* the same */
    BE_LIMIT,       /* check_slab: the norm is above gradient_limit; index 0 */
    BE_VETO         /* decide: the host said no; index is the veto */
};
#define BE_BAD(what, index) ((uint64_t)(what) << 48 | (uint64_t)(index))
#define BE_NOTHING UINT64_MAX

/* What a step has found out. Sums are over all queries of the step; the caller divides. */
struct be_outcome {
    int64_t step;
    uint64_t bad;  /* the smallest BE_BAD, or BE_NOTHING */
    int committed; /* 1: weights, statistics and queue have moved */
    int cancelled; /* decide saw the flag */
    int follows;   /* decide said no only because an earlier step failed, whose outcome is fetched first */
    int finite;    /* sgd: all numbers that it wrote are finite */
    double loss;
    double top1, top5;  /* top-m of one query is the chance that its positive is among the best m if ties are broken at
                          random: (m - #larger) / (#equal + 1), cut to 0..1 */
    double pos, neg;    /* cosine with the positive; mean cosine with the negatives, 0 if there are none */
    double sum_squares; /* check_slab of BE_GRADIENT; loss_scale is taken out */
    double feature_std; /* row_std */
};

/* ---- arguments of slots ---- */

#define BE_VIEWS 4

/* Images and indices of a step: as given, in host memory; as they come back from program_begin, in device memory. */
struct be_input {
    const void *view[BE_VIEWS]; /* u8 [batch, h, w, 3]; NULL: there is none, or it is made */
    const int32_t *index;       /* [index_count]; NULL if that is 0 */
    /* Only where the device has pictures, and the program a view_size: what view v is made of, in place of its bytes, in
     * which it comes back. Every view of a step is given in one of the two ways, and steps may differ in it. */
    const struct pixel_view *made[BE_VIEWS]; /* [view_bytes / (3 view_size^2)]; NULL: it is not made */
    const struct be_pictures *pictures;      /* of which they are made; outlives the step */
};

struct be_program_spec {
    const struct be_layout *layout; /* of the slabs that it updates and checks */
    size_t view_bytes;              /* of one view: a device that copies takes room for `behind` + 1 steps of them */
    int views;                      /* given to a step, 0 to BE_VIEWS */
    int view_size;                  /* of views that may be made of pictures: their side; 0: none is ever made */
    int index_count, range_count;
    int replay; /* 1: the caller keeps the promise of one sequence of calls, and the device may record. 0: it makes
                   calls of its own between, and skip is always 0 */
    int parts;  /* of every step: 1 and as many as `part` is called. 0: 1 */
};

struct be_forward {
    const void *images; /* u8 [*, h, w, 3]. TRAIN, KEY: device memory. INFER: host memory, or f32 [n, 3, h, w] there if
                             f32_input; read before the call returns */
    const void *second; /* NULL, or where samples n / 2 and up are: second[index[j]]; n is even then. As images */
    const int32_t *index; /* [n]: sample j of the launch is images[index[j]]; NULL: identity. Where images are; not with
                             f32_input */
    const void *weights;  /* master slab (precisions without readers) or reader block; KEY: what ema_readers wrote;
                             INFER: NULL, see be_plan_spec.weights */
    const void *masters;  /* master slab: BN weight and bias, linear bias; KEY and INFER: NULL */
    const void *stats;    /* frozen plans: reals [stat_total], mean and variance of each batch norm; else unused */
    void *stage; /* reals [stat_total]: the launch ADDS, per group, batch mean and unbiased variance; NULL in INFER, in
                    frozen plans, and where nobody wants them */
    void *out;   /* reals [n][dim of output]; of a feature map [n][c][h][w] */
    be_cancel *cancel;
};

struct be_backward {
    const void *weights, *masters; /* as in forward */
    const void *d_out;             /* reals [n][dim]: d loss / d output, of any loss */
    void *gradients;               /* slab; zero for parameters that the output does not depend on */
    int accumulate;                /* 0: overwrite gradients; 1: add */
    /* NULL, or called on the caller's thread when all work that writes the gradients of parameters [first_param,
     * first_param + count) has been queued: they are final in queue order, and whatever is ordered behind the queue
     * from then on (see mark) reads final numbers. Every parameter is named once. It may call mark and part, and no other
     * slot. In a step that is repeated nobody calls it: parts end where it ended them. */
    void (*on_grad)(void *user, int first_param, int count);
    void *user;
    be_cancel *cancel;
};

/* One launch of InfoNCE against a queue. Inputs are reals. Sums are ADDED to the outcome. */
struct be_infonce {
    const void *q;     /* [n][dim], unit rows */
    const void *k;     /* [n][dim], unit rows: the positives */
    const void *queue; /* [length][dim] */
    int n, dim;
    int64_t length;
    double scale; /* d_q is the gradient of scale * sum of losses (times loss_scale) */
    void *d_q;    /* [n][dim] */
};

/* A loss whose negatives are the batch itself. Inputs are reals, unit rows. Sums are ADDED to the outcome.
 *
 *   InfoNCE   the positive of query i is key first + i, its negatives are all other keys.
 *   NT-Xent   k NULL, keys 0, d_k NULL: rows are two views of n / 2 samples, all of them queries. The positive of row
 *             i is row i + n / 2 or i - n / 2, its negatives are all rows but that and itself. */
struct be_batch_loss {
    const void *q; /* [n][dim] */
    const void *k; /* [keys][dim] */
    int n, keys, first, dim;
    double scale; /* gradients are those of scale * sum of losses (times loss_scale) */
    void *d_q;    /* [n][dim] */
    void *d_k;    /* [keys][dim]; NULL: keys are constants */
};

/* The optimizer's update, and the average that goes before it: k = m * k + (1 - m) * p with p as it was.
 *
 *   SGD    g' = g + weight_decay * p ; v = momentum * v + g' ; p -= lr * v
 *   LARS   the rate of a tensor is scaled by trust * |p| / |g'| (by 1 if a norm is 0), and it is in the buffer:
 *          v = momentum * v + lr * scaling * g' ; p -= v. Weights and biases of BN and biases of linear layers take
 *          neither weight decay nor scaling.
 *
 * A parameter in a range takes lr * rate and the range's decay (LARS: unless it takes none); a frozen one keeps p and
 * v, and k follows it all the same. Gradients are divided by loss_scale first. */
struct be_sgd {
    void *p, *g, *v; /* slabs: masters, gradients, momentum */
    void *k;         /* slab: masters of the key encoder; NULL: there is none */
    void *readers;   /* of the query encoder (backward 1), brought up to date; NULL: none */
    int lars;
    int trial; /* 1: between verdict and decide, on copies: done whatever was found, and `finite` is in the next
                  verdict. 0: after decide */
};

/* A row, and its cosine with a query. `mark` is whoever's who gets it. */
struct be_hit {
    double cosine;
    uint32_t row, mark;
};
#define BE_NO_ROW UINT32_MAX

/* Which of many rows are the nearest to each of n queries. Rows are f32, whatever the master type is, of length 1 or zero.
 *
 * The order is that of cosines, the largest first, and of equal ones the first row. A cosine is the sum in double of the
 * products of all numbers, from the first to the last: the same bits on every device. Candidates may be chosen by sums in
 * f32, BE_SPARE more than k of them, so that what f32 loses decides nothing, unless more than BE_SPARE rows agree with the
 * k-th to seven digits: others of them may then be among the k. */
struct be_nearest {
    const void *rows;    /* [count][dim] */
    const void *queries; /* [n][dim] */
    int64_t count;       /* k to BE_NO_ROW */
    int n, dim, k;
    void *hits; /* struct be_hit [n][k]; BE_NO_ROW and -infinity behind the last where rows are not finite */
};
#define BE_SPARE 16

/* Parameters that come one at a time. `get` writes `index`, in the reference's order; it is asked once for each, in any
 * order, and by several threads at once. */
struct be_params {
    void *self;
    moco_status (*get)(void *self, int index, float *values, struct err *err);
};

struct backend {
    uint32_t abi;     /* BACKEND_ABI */
    const char *name; /* "cpu", "ref", "cuda": a device is NAME or NAME:NUMBER */

    moco_status (*open)(struct be_device **out, struct ctx *ctx, const char *name, struct err *err);
    void (*close)(struct be_device *dev);
    void (*info)(const struct be_device *dev, struct be_info *info);
    /* What AUTO (0) means, the fastest that trains well; or whether a precision runs here: MOCO_ENOTSUP, why, and what
     * there is (backend_has_precision says it). */
    moco_status (*precision)(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err);
    /* Before a step, before its commit, and when a plan is made: is all there that computing needs (threads, a device
     * that is not lost)? MOCO_ESTATE or MOCO_EDEVICE if not. Does not wait. */
    moco_status (*ready)(struct be_device *dev, struct err *err);

    /* ---- memory: aligned to 4096, zeroed ---- */
    moco_status (*alloc)(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
    void (*release)(struct be_device *dev, struct be_memory *memory); /* and sets it to zeros; NULL in it is fine */
    /* Bytes of live blocks of `alloc`, and how many more there are (-1: not known). */
    moco_status (*memory)(struct be_device *dev, int64_t *live, int64_t *available, struct err *err);
    moco_status (*zero)(struct be_device *dev, void *at, size_t bytes, struct err *err); /* queued */
    /* Queued. The two do not overlap. */
    moco_status (*copy)(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err);
    moco_status (*read)(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);  /* waits */
    moco_status (*write)(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err); /* queued */
    moco_status (*sync)(struct be_device *dev, struct err *err);                                            /* waits */
    /* A flag that is 0; freed before the device is closed. */
    moco_status (*cancel_alloc)(struct be_device *dev, _Atomic int **out, struct err *err);
    void (*cancel_free)(struct be_device *dev, _Atomic int *cancel);

    /* ---- parameters ----
     * Where a number is in a slab is a pure function of (device, graph's parameters). `precision` only says how plans
     * of this layout read (and where ref rounds), so that layouts of one network can use the same slabs. The layout
     * keeps what it needs of the graph. Values are passed as doubles in the reference's shape. */
    moco_status (*layout_create)(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                                 enum be_precision precision, struct err *err);
    void (*layout_free)(struct be_layout *layout);
    size_t (*layout_bytes)(const struct be_layout *layout);
    /* Byte at which parameter `index` starts; layout_bytes for the number of parameters. They are in order, and what is
     * between them is zero and stays so: any run of parameters is one block, which may be summed over ranks. */
    size_t (*param_at)(const struct be_layout *layout, int index);
    moco_status (*param_get)(const struct be_layout *layout, const void *slab, int index, double *values,
                             struct err *err); /* waits */
    moco_status (*param_set)(const struct be_layout *layout, void *slab, int index, const double *values,
                             struct err *err); /* queued */
    /* Sum of squares of a slab in double; *bad = the first parameter with a number that is not finite, or -1. Waits:
     * for what is looked at outside of a step. */
    moco_status (*measure)(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                           struct err *err);

    /* ---- readers, of the layout's precision ----
     * `backward` 0: what forward needs (key encoder), 1: what forward and backward need (query encoder). */
    size_t (*reader_bytes)(const struct be_layout *layout, int backward);
    moco_status (*readers)(const struct be_layout *layout, int backward, const void *masters, void *out,
                           struct err *err);             /* queued */
    size_t (*key_bytes)(const struct be_layout *layout); /* never 0 */

    /* ---- folded weights, of a network at any image size ----
     * Made for plans of `precision` in the orders that a plan of one sample of the graph's size reads. They hold memory
     * of their own, weights_bytes of it, which grows when a plan that reads another order is made. `graph` and `layout`
     * outlive them. A fold replaces all numbers: plans that read them do not run meanwhile, and need no other call. Until
     * the first one forward is MOCO_ESTATE. */
    moco_status (*weights_create)(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                                  const struct be_layout *layout, enum be_precision precision, struct err *err);
    void (*weights_free)(struct be_weights *weights); /* NULL is fine */
    size_t (*weights_bytes)(const struct be_weights *weights);
    moco_status (*weights_fold)(struct be_weights *weights, const void *masters, const void *stats,
                                struct err *err); /* queued */

    /* ---- plans ---- */
    moco_status (*plan_create)(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                               struct err *err);
    void (*plan_free)(struct be_plan *plan);
    void (*plan_bytes)(const struct be_plan *plan, struct be_plan_bytes *bytes);
    moco_status (*plan_bind)(struct be_plan *plan, void *slab, struct err *err); /* may wait and overwrite the slab */
    moco_status (*forward)(struct be_plan *plan, const struct be_forward *io, struct err *err);   /* queued */
    moco_status (*backward)(struct be_plan *plan, const struct be_backward *io, struct err *err); /* queued */

    /* ---- a step ---- */
    moco_status (*program_create)(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                  struct err *err);
    void (*program_free)(struct be_program *program); /* a step that was begun is dropped; NULL is fine */
    /* Addresses or the state have changed: what was recorded is forgotten, and so are an open step and outcomes that
     * were not fetched. */
    void (*program_reset)(struct be_program *program);
    /* Begins a step. Takes in the scalars, and the input as far as the device copies it; `at` says where views and
     * indices are for the calls of this step. MOCO_ESTATE if a step is open, or as many outcomes as be_info.behind wait
     * to be fetched. MOCO_EINVAL: ranges overlap, or are out of order, or name what is no parameter. */
    moco_status (*program_begin)(struct be_program *program, const struct be_scalars *scalars,
                                 const struct be_input *input, struct be_input *at, int *skip, struct err *err);
    /* 1: something is known to be wrong already, so that the step will not commit; a device behind its caller may say 0
     * although something is. Does not wait. */
    int (*found)(const struct be_program *program);
    /* Ends a part of the step's work and begins the next, which may be empty. Queued: a device that repeats the step
     * begins to repeat that part. MOCO_ESTATE if it was the last of be_program_spec.parts, which decide asks for, too. */
    moco_status (*part)(struct be_program *program, struct err *err);
    /* What the open step has found so far. Waits; a device that records ends its recording here. */
    moco_status (*verdict)(struct be_program *program, struct be_outcome *out, struct err *err);
    /* Begins the commit. The step may commit if nothing bad was found, *cancel is 0 (NULL: no such flag), veto is 0,
     * and no step before it failed whose outcome has not been fetched. The answer stays on the device: the calls that
     * follow do nothing if it is no. Queued: a device behind its caller looks at the flag when it gets here. */
    moco_status (*decide)(struct be_program *program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err);
    moco_status (*program_end)(struct be_program *program, struct err *err);
    /* Instead of the rest of a step: nothing of it is committed (unless calls after decide were made: then the state is
     * neither that before nor that after), and it has no outcome. */
    void (*program_drop)(struct be_program *program);
    /* The outcome of the oldest step that has ended and whose outcome was not fetched; each can be fetched once.
     * wait 0: *known = 0 if the step still runs; wait 1: waits for it. MOCO_ESTATE if there is none. If a step did
     * not commit, those begun after it do nothing (`follows`) until its outcome has been fetched. */
    moco_status (*outcome)(struct be_program *program, int wait, int *known, struct be_outcome *out, struct err *err);
    int (*behind)(const struct be_program *program); /* steps that have ended and whose outcome was not fetched */

    /* ---- calls of a step before decide: queued ---- */
    /* Writes, for key_momentum * k + (1 - key_momentum) * q computed in the master type, what a KEY launch of the
     * program's layout reads (key_bytes): the same bits as the update's average followed by readers. */
    moco_status (*ema_readers)(struct be_program *program, const void *k, const void *q, void *out, struct err *err);
    /* out[j] = rows[index[j]], out[index[j]] = rows[j]: n rows of dim reals; out and rows do not overlap. */
    moco_status (*gather)(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                          struct err *err);
    moco_status (*scatter)(struct be_program *program, void *out, const void *rows, const int32_t *index, int n,
                           int dim, struct err *err);
    /* A row with a number that is not finite is a finding under its name, names[j] (NULL: j). */
    moco_status (*check_rows)(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                              int n, int dim, struct err *err);
    /* Of a slab of the program's layout: a parameter that is not finite; of BE_GRADIENT also sum_squares, BE_NORM and
     * BE_LIMIT. */
    moco_status (*check_slab)(struct be_program *program, enum be_what what, const void *slab, struct err *err);
    moco_status (*check_stats)(struct be_program *program, enum be_what what, const struct graph *graph,
                               const void *stats, struct err *err);
    /* feature_std = the mean over columns of the standard deviation of n rows, in double: exactly 0 of equal rows of
     * f32. */
    moco_status (*row_std)(struct be_program *program, const void *rows, int n, int dim, struct err *err);
    size_t (*infonce_scratch)(struct be_device *dev, int n, int dim, int64_t length); /* bytes of device memory */
    moco_status (*infonce)(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err);
    size_t (*batch_loss_scratch)(struct be_device *dev, int n, int keys, int dim);
    moco_status (*batch_loss)(struct be_program *program, const struct be_batch_loss *io, void *scratch,
                              struct err *err);

    /* ---- calls of a step after decide: queued; they do nothing unless it may commit ---- */
    moco_status (*sgd)(struct be_program *program, const struct be_sgd *io, struct err *err);
    /* running = (1 - momentum) * running + momentum * stage / groups, per BN (momentum from the graph). */
    moco_status (*stats_commit)(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                                int groups, struct err *err);
    /* Writes n keys into the ring `queue` of `length` rows from queue_row on: only the last `length` of them, if there
     * are more. */
    moco_status (*push)(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                        struct err *err);

    /* ---- optional: NULL where a device has none; call them through fallback.h ---- */
    /* Operations per second that convolutions reach here, measured in at most a quarter of a second and a few MiB: for
     * an estimate of a step's duration. Without: not known. */
    moco_status (*rate)(struct be_device *dev, enum be_precision precision, double *flops_per_second, struct err *err);
    /* C[m][n] = A[m][k] * B[n][k]^T and A[k][m]^T * B[k][n] on host f32, row-major: for kNN and probes. Equal arguments
     * give equal bits, as of every slot here. Wait. Without: plain loops. */
    moco_status (*gemm_nt)(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                           float *c, struct err *err);
    moco_status (*gemm_tn)(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                           float *c, struct err *err);
    /* Calls body(arg, part, parts) once for each part from 0, on the host, side by side as far as the device has
     * threads there, and waits for them: for what is not worth a slot of its own, such as kNN's choice of neighbours. A
     * body must not wait for another one. Without: one part. */
    moco_status (*on_host)(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                           struct err *err);
    /* Host memory that this device copies from faster (page-locked), for images: program_begin loads a view that lies in
     * it from there, with no copy by the host. It is freed when no step is open that was given it. MOCO_ENOMEM: there is
     * none left; ordinary memory does as well, and is slower. Without: the context's. */
    moco_status (*host_alloc)(struct be_device *dev, size_t bytes, void **out, struct err *err);
    void (*host_free)(struct be_device *dev, void *memory, size_t bytes);
    /* How a reduction over ranks is ordered with the queue. mark: *event is reached when all that was queued before is
     * done; it is never recorded, so that in a step that may be, a part ends behind it. await: what is queued afterwards
     * starts when `event`, of the same kind, is reached. An event is what the device's own library calls one (CUDA:
     * cudaEvent_t); it belongs to the device and is valid until 64 more were marked. Without: sync before device memory is
     * touched. */
    moco_status (*mark)(struct be_device *dev, void **event, struct err *err);
    moco_status (*await)(struct be_device *dev, void *event, struct err *err);
    /* param_get and param_set of a device whose masters are f32, without the way through doubles: for files, which hold
     * f32. Several threads may set parameters of one slab at once, each its own. Without: through doubles, in memory that
     * is taken for them. */
    moco_status (*param_get_f32)(const struct be_layout *layout, const void *slab, int index, float *values,
                                 struct err *err); /* waits */
    moco_status (*param_set_f32)(const struct be_layout *layout, void *slab, int index, const float *values,
                                 struct err *err); /* queued */
    /* weights_fold of parameters that no slab holds: for files, which then need no memory for one. `stats` as in
     * weights_fold. Without: a slab is filled first. */
    moco_status (*weights_fold_from)(struct be_weights *weights, const struct be_params *from, const void *stats,
                                     struct err *err);
    /* Pictures that stay in the device's memory, `count` of them, side[i] = {width, height}. Each is put once, RGB, rows
     * without gaps, before a step names it (queued). pictures_bytes: what it takes. Views are made with the bytes that
     * data/view makes of the same numbers, in the order of the queue or beside the step before. pictures_free waits for
     * steps that were begun. program_begin answers MOCO_EINVAL to numbers that name no picture or reach outside of one, and
     * MOCO_ENOTSUP where a picture is too large for the view. Without: views are made on the host. */
    moco_status (*pictures_create)(struct be_pictures **out, struct be_device *dev, int64_t count,
                                   const int32_t (*side)[2], struct err *err);
    moco_status (*pictures_put)(struct be_pictures *pictures, int64_t index, const void *rgb, struct err *err);
    void (*pictures_free)(struct be_pictures *pictures); /* NULL is fine */
    int64_t (*pictures_bytes)(int64_t count, int64_t pixels);
    /* The nearest of rows in device memory (queued). nearest_scratch: bytes of device memory, of which fewer
     * queries may want more; 0: not for so many rows or neighbours. Without: they are found on the host, by gemm_nt and on_host. */
    size_t (*nearest_scratch)(struct be_device *dev, int n, int dim, int64_t count, int k);
    moco_status (*nearest)(struct be_device *dev, const struct be_nearest *io, void *scratch, struct err *err);
    /* How ranks exchange device memory: ranks_id makes, on one rank, an id of MOCO_COMM_ID_BYTES, with which ranks_open
     * makes every rank's engine; `id` NULL: no id is made, and the answer is whether one could be. `library` gets the name
     * and version of what carries the bytes, which all ranks must have alike. Neither waits for another rank: an engine
     * joins the others with its first exchange, or says in its sentence why it cannot. It has all functions but those of
     * the roll call, is closed before the device, and works on after the device is lost. Its events are those of mark.
     * Without: there are no ranks on this device, unless its memory is the host's. */
    moco_status (*ranks_id)(struct be_device *dev, void *id, char library[BE_LIBRARY], struct err *err);
    moco_status (*ranks_open)(struct be_device *dev, const void *id, int rank, int ranks,
                              struct moco_comm_engine *engine, struct err *err);
};

extern const struct backend backend_ref; /* always built */
extern const struct backend backend_cpu; /* with MOCO_HAVE_ONEDNN */

/* The backends that are linked in, from 0; NULL past the end (backends.c). */
const struct backend *backend_listed(int index);

/* Finds the backend of a device, NAME or NAME:NUMBER ("cpu", "cuda:0"): a built-in one, or a module libmoco_NAME.so
 * (module.h), which exports its table under this name. MOCO_ENODEV says what there is, or why the module was not taken.
 */
#define BACKEND_MODULE_SYMBOL "moco_backend"
moco_status backend_find(const struct backend **out, const char *device_name, struct err *err);

/* "f32", ...; NULL for a number that is no moco_precision. */
const char *backend_precision_name(int precision);

/* Is `wanted` among `precisions` (bits)? MOCO_ENOTSUP names those that are; MOCO_EINVAL: it is no precision at all. */
moco_status backend_has_precision(const char *device_name, int precisions, int wanted, struct err *err);

#endif
