/* SPDX-License-Identifier: MIT
 *
 * program: a graph compiled for one launch shape, precision and pass. It has nodes (one or more ops run as one) in
 * forward order, the steps of backward, and the buffers that both use. Devices share the compiler. A device provides
 * a table of ops, and each of its plans holds a program. Time is counted in moments: node i runs at moment i, step j
 * of backward at moment node_count + j. A buffer exists from the first moment that touches it to the last; memplan
 * places it over others. What a reader would get wrong: one buffer may hold several values in turn (an operation in
 * place). Values and gradients therefore name buffers, never addresses. */
#ifndef MOCO_PROGRAM_H
#define MOCO_PROGRAM_H

#include "backend/backend.h"
#include "backend/memplan.h"

#define NONE (-1)

/* One or more ops of the graph that run as one. */
struct program_node {
    const struct graph_op *op; /* the first of them */
    const struct graph_op *bn; /* INFER: the batch norm that is folded into this convolution; NULL */
    int in, other, out;        /* values; other: what is added, or NONE */
    int relu;
    void *state; /* the device's: program_op.state bytes; NULL: none */
};

enum program_kind {
    STEP_SUM,     /* out = in + in[1] */
    STEP_COPY,    /* out = in */
    STEP_RELU,    /* out = in where the value is above zero */
    STEP_AGAIN,   /* out = the node's value once more; in: its input, and what is added */
    STEP_PACK,    /* out = in, the node's input, in the form that its STEP_WEIGHTS reads */
    STEP_WEIGHTS, /* gradients of the node's parameters; in: gradient of its value, its input (packed) */
    STEP_DATA     /* out = gradient of the node's input, and of what is added; in: its value's, in one or two parts.
                     Without a STEP_WEIGHTS also the gradients of its parameters. */
};

struct program_step {
    enum program_kind kind;
    const struct program_node *node; /* NULL: SUM, COPY, RELU are of no op */
    int value;                       /* whose gradient, or (AGAIN) which value, it is about */
    int in[2], out[2];               /* buffers; in[0] NONE: the caller's gradient of the output */
    void *state;                     /* the device's: program_op.back bytes; NULL: none */
};

/* Nodes [first, end) run for `n` samples at a time, one such slice after the other, before the next segment begins. */
struct program_segment {
    int first, end, n;
};

/* The samples that a node runs for at once. */
struct program_slice {
    int n, at; /* how many; the first one's number in the launch */
};

enum program_class { CLASS_ACTIVATION, CLASS_GRADIENT, CLASS_SCRATCH };

struct program_buffer {
    struct memplan_buffer place;
    enum program_class class;
    size_t stride; /* bytes a sample, if it holds a whole launch beside slices; else 0 */
};

struct program {
    struct be_plan *plan; /* whose program this is: the device's functions get it */
    struct ctx *ctx;
    const struct program_device *device;
    struct be_plan_spec spec;
    size_t map_number,
        vector_number;    /* bytes of a number of a feature map; of a vector [n][c], behind global pooling */
    int picture_channels; /* of the map that the pictures become; 0: as many as they have */
    size_t never_kept;    /* TRAIN: an output of batch norm of so many bytes a sample is computed once more in backward,
                          if nothing is added to it, whether the spec asks for it or not */
    struct program_node *nodes;
    int node_count;
    struct program_step *steps; /* of backward */
    int step_count;
    struct program_segment segments[2]; /* one, of all samples, but for inference */
    int segment_count;
    int *value_buffer;           /* per value; NONE: this program has no such value */
    int *value_readers;          /* per value: ops of this program that read it; the output counts as read */
    unsigned char *value_vector; /* per value: is it behind global pooling? */
    unsigned char *value_depth;  /* per value: 0: kept for backward if that reads it; else how many batch norms are
                                    computed once more to have it again */
    struct program_buffer *buffers;
    int buffer_count, buffer_capacity;
    struct be_plan_bytes bytes;
    char *slab;      /* NULL: not bound */
    double *profile; /* NULL, or milliseconds per moment, added up: for benchmarks */
};

/* What running a node, or a step of backward, is given. */
struct program_forward {
    const struct be_plan *plan;
    const struct be_forward *io;
    struct program_slice slice;
};

struct program_backward {
    const struct be_plan *plan;
    const struct be_backward *io;
};

enum program_place {
    PLACE_NEW,        /* a node's value gets a buffer of its own */
    PLACE_OVER_INPUT, /* it is written over the input, where nobody reads that any more */
    PLACE_OVER_OTHER  /* it is written over what is added, if anything is */
};

/* How a device does one kind of op: one file, and one of these, for each. Functions may be NULL: nothing to do.
 * Whatever fails or takes memory does so in check, compile, compile_back and warm, never in a step. */
struct program_op {
    size_t state, back; /* bytes of a node's state, of the state of its steps of backward; zeroed before compile */
    enum program_place place;
    /* Can this device do it at all? */
    moco_status (*check)(const struct be_plan *plan, const struct graph_op *op, struct err *err);
    /* The node's state and buffers, for `n` samples at a time, at this moment. */
    moco_status (*compile)(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err);
    /* Bytes of what STEP_PACK writes; 0: the input is read as it is. */
    size_t (*pack)(const struct be_plan *plan, const struct program_node *node);
    /* State and further buffers of AGAIN, WEIGHTS and DATA, and which buffers of forward they read. */
    moco_status (*compile_back)(struct be_plan *plan, struct program_step *step, int moment, struct err *err);
    moco_status (*run)(const struct program_forward *run, const struct program_node *node, struct err *err);
    moco_status (*run_back)(const struct program_backward *run, const struct program_step *step, struct err *err);
    /* What inference reads of this op, computed from masters and statistics. `bn`: program_folded. `masters`: what the
     * device gives to program_fold. */
    moco_status (*fold)(struct be_weights *weights, const struct graph_op *op, const struct graph_op *bn,
                        const void *masters, const void *stats, struct err *err);
    /* Runs everything once that must have run before a step may rely on it; `zeros` is used for every parameter. */
    moco_status (*warm)(const struct program_forward *run, const struct program_node *node, void *zeros,
                        struct err *err);
    moco_status (*warm_back)(const struct program_backward *run, const struct program_step *step, void *zeros,
                             struct err *err);
    void (*free)(struct program_node *node); /* what hangs on the state */
    void (*free_back)(struct program_step *step);
};

struct program_device {
    const char *name;
    const struct program_op *const *ops; /* [OP_KINDS] */
    /* SUM, COPY and RELU. */
    moco_status (*plain)(const struct program_backward *run, const struct program_step *step, struct err *err);
    size_t slice_bytes; /* INFER: what a layer of a slice may read and write; 0: no slices */
    int recomputes;     /* can it do STEP_AGAIN? */
    int copies_output;  /* backward begins with a STEP_COPY of the caller's gradient, whatever reads it */
};

static inline void *program_at(const struct program *p, int buffer, int sample)
{
    if (buffer < 0)
        return NULL;
    return p->slab + p->buffers[buffer].place.offset + (size_t)sample * p->buffers[buffer].stride;
}

static inline void *program_value_at(const struct program *p, int value, int sample)
{
    return value < 0 ? NULL : program_at(p, p->value_buffer[value], sample);
}

#endif
