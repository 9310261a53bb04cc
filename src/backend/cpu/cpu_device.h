/* SPDX-License-Identifier: MIT
 *
 * cpu_device: the device "cpu" and what its parts share: one oneDNN engine, one team of threads, one table of inner
 * loops. What a reader would get wrong: nothing here may run a primitive or a kernel outside cpu_enter and
 * parallel_leave. */
#ifndef MOCO_CPU_DEVICE_H
#define MOCO_CPU_DEVICE_H

#include "backend/backend.h"
#include "backend/cpu/dnnl_shim.h"
#include "backend/cpu/kernels/kernels.h"

struct be_device {
    struct ctx *ctx;
    struct shim_engine *engine;
    struct kern_team team;
    enum shim_isa isa;
};

/* A kernel of ours, or one primitive and the reorders around it that make up for the layout in which its weights stand
 * elsewhere. */
struct cpu_conv {
    int own; /* kern_conv_*: `run` is empty, and `order` only brings the weights into their layout */
    struct kern_conv kern;
    struct shim_prim run;
    struct shim_prim order; /* given -> run's (or, for backward weights, run's -> given); empty: they are one layout */
    size_t scratch,
        ordered;  /* in a scratch block: where the primitives' own scratch and the re-ordered weights stand */
    size_t bytes; /* of that block */
};

/* Makes the team as wide as the device was opened for; checks that OpenMP delivers it. */
moco_status cpu_enter(const struct be_device *dev, struct parallel_scope *scope, struct err *err);

/* Channels of a block of activations or weights in f32: 16 with AVX-512, else 8. */
int cpu_block(const struct be_device *dev);

/* The fastest way for `spec` (its `weights` are ignored), given that the weights stand, or shall stand, in `given`. */
moco_status cpu_conv_create(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                            const struct shim_md *given, struct err *err);
void cpu_conv_free(struct cpu_conv *conv);
/* Is that a kernel of ours? */
int cpu_conv_own(const struct be_device *dev, const struct shim_conv_spec *spec);
/* The layout of weights that it reads. */
moco_status cpu_conv_reads(struct shim_md *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                           struct err *err);

/* cpu_memory.c: slots of the backend. */
moco_status cpu_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void cpu_release(struct be_device *dev, struct be_memory *memory);
void cpu_zero(struct be_device *dev, void *at, size_t bytes);
moco_status cpu_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
moco_status cpu_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);

/* cpu_layout.c */
moco_status cpu_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                              enum be_precision precision, struct err *err);
void cpu_layout_free(struct be_layout *layout);
size_t cpu_layout_bytes(const struct be_layout *layout);
moco_status cpu_param_get(const struct be_layout *layout, const void *slab, int index, double *values, struct err *err);
moco_status cpu_param_set(const struct be_layout *layout, void *slab, int index, const double *values, struct err *err);

/* cpu_readers.c, cpu_update.c */
size_t cpu_reader_bytes(const struct be_layout *layout, enum be_precision precision, int backward);
moco_status cpu_readers(const struct be_layout *layout, enum be_precision precision, int backward, const void *masters,
                        void *out, struct err *err);
size_t cpu_key_bytes(const struct be_layout *layout, enum be_precision precision);
moco_status cpu_ema_readers(const struct be_layout *layout, enum be_precision precision, const void *k, const void *q,
                            double m, void *out, struct err *err);
moco_status cpu_sgd(const struct be_layout *layout, enum be_precision precision, struct be_sgd *io, void *readers,
                    struct err *err);
moco_status cpu_lars(const struct be_layout *layout, enum be_precision precision, struct be_lars *io, void *readers,
                     struct err *err);

/* cpu_plan.c */
moco_status cpu_plan_create(struct be_plan **out, struct be_device *dev, const struct be_plan_spec *spec,
                            struct err *err);
void cpu_plan_free(struct be_plan *plan);
void cpu_plan_bytes(const struct be_plan *plan, struct be_plan_bytes *bytes);

/* cpu_forward.c, cpu_backward.c, cpu_infer.c */
moco_status cpu_plan_bind(struct be_plan *plan, void *slab, struct err *err);
moco_status cpu_plan_fold(struct be_plan *plan, const void *masters, const void *stats, struct err *err);
moco_status cpu_forward(struct be_plan *plan, const struct be_forward *io, struct err *err);
moco_status cpu_backward(struct be_plan *plan, const struct be_backward *io, struct err *err);

/* cpu_steps.c */
size_t cpu_step_infonce_bytes(struct be_device *dev, int n, int dim, int64_t length);
moco_status cpu_step_infonce(struct be_device *dev, struct be_infonce *io, void *scratch, struct err *err);
size_t cpu_step_batch_loss_bytes(struct be_device *dev, int n, int keys, int dim);
moco_status cpu_step_batch_loss(struct be_device *dev, struct be_batch_loss *io, void *scratch, struct err *err);
moco_status cpu_grad_check(const struct be_layout *layout, const void *gradients, double *sum_squares, int *bad,
                           struct err *err);
moco_status cpu_stats_commit(struct be_device *dev, const struct graph *graph, void *running, const void *stage,
                             int groups, struct err *err);
moco_status cpu_gemm_nt(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err);
moco_status cpu_gemm_tn(struct be_device *dev, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                        float *c, struct err *err);
moco_status cpu_on_host(struct be_device *dev, void (*body)(void *arg, int part, int parts), void *arg,
                        struct err *err);

/* cpu_rate.c */
moco_status cpu_rate(struct be_device *dev, enum be_precision precision, double *flops_per_second, struct err *err);

#endif
