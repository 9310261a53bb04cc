/* SPDX-License-Identifier: MIT
 *
 * cpu_conv: decides how a convolution is done. If there is a kernel of ours, it is used; it reads and writes the
 * layouts of the slab and the readers (Winograd's, for inference, has weights of a form of its own). Otherwise oneDNN's fastest primitive is used in its own layout; if that is
 * another one, the weights are first reordered into a scratch block, which is cheap because weights are small beside
 * activations. What a reader would get wrong: if oneDNN is given a layout, it silently falls back to a slower
 * implementation, or to its reference. That is why names of implementations are compared. */
#ifndef MOCO_CPU_CONV_H
#define MOCO_CPU_CONV_H

#include "backend/cpu/cpu_team.h"

/* A kernel of ours; or one primitive of oneDNN, with a reorder of the weights if their layout differs from the
 * primitive's. */
struct cpu_conv {
    int own; /* kern_conv_*: `run` is empty, and `order` only brings the weights into their layout */
    struct kern_conv kern;
    struct kern_winograd wino; /* tile not 0: kern_winograd_*, and `run` and `order` are empty */
    struct shim_prim run;
    struct shim_prim order; /* from the given layout to run's (backward weights: back); empty: both are the same */
    size_t ordered;         /* offset of the reordered weights in a scratch block, after the primitives' own scratch */
    size_t bytes;           /* of that block */
    int blank;              /* the primitive reads parts of its scratch that it has not written: they must be zeros */
};

/* Finds the fastest way for `spec` (its `weights` are ignored), if the weights are, or shall be, in the layout
 * `given`. */
moco_status cpu_conv_create(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                            const struct shim_md *given, struct err *err);
void cpu_conv_free(struct cpu_conv *conv);

/* Inference in f32: by tiles of how many outputs each way Winograd's kernel should compute `spec`; 0: it should not. The
 * answer does not depend on n, so that a picture has the same bits in every launch. */
int cpu_conv_tile(const struct be_device *dev, const struct shim_conv_spec *spec);
/* Instead of cpu_conv_create, by such tiles. */
void cpu_conv_winograd(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec, int tile);

/* The weights will be where this one is run in the order that it reads, which goes to `order`: no reorder is left. */
void cpu_conv_as_read(struct cpu_conv *conv, struct shim_md *order);

/* 1: a kernel of ours computes `spec`. */
int cpu_conv_own(const struct be_device *dev, const struct shim_conv_spec *spec);

/* The layout in which the convolution reads its weights. */
moco_status cpu_conv_reads(struct shim_md *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                           struct err *err);

/* The shape of a convolution for n samples. A strided 1 x 1 convolution reads every stride-th pixel; with `dense`
 * the result is its shape after those pixels were gathered. */
struct shim_conv cpu_conv_shape(const struct graph *graph, const struct graph_op *op, int n, int dense);

/* 1: the plan gathers the convolution's input first. */
int cpu_conv_gathers(const struct graph_op *op);

#endif
