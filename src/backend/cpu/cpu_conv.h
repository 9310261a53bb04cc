/* SPDX-License-Identifier: MIT
 *
 * cpu_conv: how a convolution is done: by a kernel of ours where there is one, which reads and writes the layouts that
 * the slab and the readers have (for inference Winograd's, whose weights have a form of their own); else by the fastest of oneDNN's in its own layout, with a reorder of the weights into
 * a scratch block if that layout is another one: weights are small beside activations. What a reader would get wrong:
 * asked for a given layout, oneDNN falls back to a slower implementation, or to its reference, without a word; hence
 * the comparison of names. */
#ifndef MOCO_CPU_CONV_H
#define MOCO_CPU_CONV_H

#include "backend/cpu/cpu_team.h"

/* A kernel of ours, or one primitive and the reorder that makes up for the layout in which its weights are elsewhere.
 */
struct cpu_conv {
    int own; /* kern_conv_*: `run` is empty, and `order` only brings the weights into their layout */
    struct kern_conv kern;
    int winograd; /* INFER: kern_winograd_*: `run` and `order` are empty */
    struct kern_winograd wino;
    struct shim_prim run;
    struct shim_prim order; /* given -> run's (backward weights: run's -> given); empty: they are one layout */
    size_t ordered;         /* where in a scratch block, behind the primitives' own, the re-ordered weights are */
    size_t bytes;           /* of that block */
    size_t weight_bytes;    /* of the weights as they are read */
    int blank;              /* the primitive reads parts of its scratch that it has not written: they must be zeros */
};

/* The fastest way for `spec` (its `weights` are ignored), given that the weights are, or shall be, in `given`. */
moco_status cpu_conv_create(struct cpu_conv *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                            const struct shim_md *given, struct err *err);
void cpu_conv_free(struct cpu_conv *conv);

/* Is that a kernel of ours? */
int cpu_conv_own(const struct be_device *dev, const struct shim_conv_spec *spec);

/* The layout of weights that it reads. */
moco_status cpu_conv_reads(struct shim_md *out, const struct be_device *dev, const struct shim_conv_spec *spec,
                           struct err *err);

/* The shape of a convolution for n samples. A strided 1 x 1 convolution reads every stride-th pixel: with `dense` its
 * shape after those have been gathered. */
struct shim_conv cpu_conv_shape(const struct graph *graph, const struct graph_op *op, int n, int dense);

/* Does the plan gather its input first? */
int cpu_conv_gathers(const struct graph_op *op);

#endif
