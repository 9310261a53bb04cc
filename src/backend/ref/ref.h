/* SPDX-License-Identifier: MIT
 *
 * ref: what the files of the reference backend share: device, layout, plan, and where numbers are rounded. All
 * numbers are held as double. What a reader would get wrong: BE_F32, BE_BF16 and BE_F16 do not change how anything is
 * computed. They only decide which results are rounded before they are stored, at the same points where the cpu
 * backend stores them. BE_TF32 stores what BE_F32 does, and convolutions and linear layers round what they read. The
 * device "ref:1" has the trait be_info.rounds_products, and so is the oracle of GPUs. */
#ifndef MOCO_BACKEND_REF_H
#define MOCO_BACKEND_REF_H

#include "backend/host_program.h"
#include "half.h"

struct be_device {
    struct ctx *ctx;
    int rounds_products;  /* be_info */
    _Atomic int64_t live; /* bytes of its memory */
};

/* A slab is the parameters in order, each in the reference's shape, each starting on a multiple of 8 numbers. */
struct be_layout {
    struct ctx *ctx;
    enum be_precision precision;
    int count;
    int64_t total;        /* numbers in a slab, padding included */
    int64_t *offset;      /* [count] numbers */
    int64_t *length;      /* [count] numbers */
    unsigned char *conv;  /* [count] 1: a convolution's weight, which bf16 plans read rounded */
    unsigned char *plain; /* [count] 1: of BN, or a bias: LARS neither decays nor scales it */
};

/* Folded weights. */
struct be_weights {
    struct ctx *ctx;
    const struct graph *graph;
    const struct be_layout *layout;
    enum be_precision precision;
    double *slab;  /* of the layout: weights and biases of batch norms are scales and shifts */
    double *apart; /* [stat_total]: the shift of a batch norm without a bias, at its mean's place */
    int folded;
};

/* Are maps stored in 16 bits, and convolutions' weights read so? */
static inline int ref_is_half(enum be_precision precision)
{
    return precision == BE_BF16 || precision == BE_F16;
}

/* What a number stored in `precision` becomes. 16 bits through f32, as kernels do. */
static inline double ref_round(enum be_precision precision, double value)
{
    if (precision == BE_F64)
        return value;
    float single = (float)value;
    if (!ref_is_half(precision))
        return (double)single;
    return (double)(precision == BE_BF16 ? bf16_to_float(bf16_from_float(single))
                                         : f16_to_float(f16_from_float(single)));
}

/* Masters, gradients, momentum, statistics and vectors are f32 in all rounding modes. */
static inline enum be_precision ref_master(enum be_precision precision)
{
    return precision == BE_F64 ? BE_F64 : BE_F32;
}

void ref_round_all(enum be_precision precision, double *values, size_t count);

/* Whether a graph's parameters are those that the layout was made for. */
moco_status ref_layout_check(const struct be_layout *layout, const struct graph *graph, struct err *err);

/* Slots of the vtable, by file. ref_layout.c: */
moco_status ref_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                              enum be_precision precision, struct err *err);
void ref_layout_free(struct be_layout *layout);
size_t ref_layout_bytes(const struct be_layout *layout);
moco_status ref_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err);
moco_status ref_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err);
size_t ref_param_at(const struct be_layout *layout, int index);
size_t ref_reader_bytes(const struct be_layout *layout, int backward);
moco_status ref_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err);
size_t ref_key_bytes(const struct be_layout *layout);
moco_status ref_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err);
/* k = m * k + (1 - m) * q; k NULL: nothing. */
void ref_follow(const struct be_layout *layout, double *k, const double *q, double m);

/* ref_plan.c: */
moco_status ref_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err);
void ref_plan_free(struct be_plan *plan);
void ref_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes);
moco_status ref_plan_bind(struct be_plan *plan, void *slab, struct err *err);
moco_status ref_forward(struct be_plan *plan, const struct be_forward *io, struct err *err);
moco_status ref_backward(struct be_plan *plan, const struct be_backward *io, struct err *err);

/* ref_weights.c: */
moco_status ref_weights_create(struct be_weights **out, struct be_device *dev, const struct graph *graph,
                               const struct be_layout *layout, enum be_precision precision, struct err *err);
void ref_weights_free(struct be_weights *weights);
size_t ref_weights_bytes(const struct be_weights *weights);
moco_status ref_weights_fold(struct be_weights *weights, const void *masters, const void *stats, struct err *err);

/* ref_loss.c: */
size_t ref_infonce_scratch(struct be_device *dev, int n, int dim, int64_t length);
moco_status ref_infonce(struct be_program *program, const struct be_infonce *io, void *scratch, struct err *err);
size_t ref_batch_loss_scratch(struct be_device *dev, int n, int keys, int dim);
moco_status ref_batch_loss(struct be_program *program, const struct be_batch_loss *io, void *scratch, struct err *err);

/* ref_step.c: */
moco_status ref_measure(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                        struct err *err);
moco_status ref_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err);
moco_status ref_sgd(struct be_program *program, const struct be_sgd *io, struct err *err);
moco_status ref_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err);

#endif
