/* SPDX-License-Identifier: MIT
 *
 * program_fuse: turns ops into nodes. Batch norm takes the ADD and ReLU behind it, a linear layer its ReLU; for
 * inference a convolution takes its batch norm and what follows that. What a reader would get wrong: an ADD is fused
 * with the operand that is computed last, whichever of the two that is. */
#include "backend/program/program_fuse.h"

#include "backend/program/program_facts.h"

struct fuse {
    struct program *program;
    const struct graph *graph;
    unsigned char *needed, *done; /* per op */
    unsigned char *ready;         /* per value */
};

moco_status program_check(const struct program *p, struct err *err)
{
    const struct be_plan_spec *spec = &p->spec;
    const char *device = p->device->name;
    if (!spec->graph->frozen)
        return err_set(err, MOCO_ESTATE, "%s: a plan needs a frozen graph", device);
    if (spec->n < 1 || spec->groups < 1 || spec->n % spec->groups != 0)
        return err_set(err, MOCO_EINVAL, "%s: a launch of %d samples in %d groups", device, spec->n, spec->groups);
    if (spec->output < 0 || spec->output >= spec->graph->value_count)
        return err_set(err, MOCO_EINVAL, "%s: a plan's output is value %d of %d", device, spec->output,
                       spec->graph->value_count);
    if (spec->f32_input && spec->pass != BE_INFER)
        return err_set(err, MOCO_EINVAL, "%s: only inference takes images that are normalised already", device);
    if (spec->frozen && spec->pass != BE_TRAIN)
        return err_set(err, MOCO_EINVAL, "%s: only training freezes the statistics of batch norms", device);
    if (spec->pass == BE_INFER && spec->groups != 1)
        return err_set(err, MOCO_EINVAL, "%s: inference has no BN groups, but the plan asks for %d", device,
                       spec->groups);
    return MOCO_OK;
}

static void mark_needed(struct fuse *f)
{
    const struct graph *g = f->graph;
    struct program *p = f->program;
    f->needed[g->values[p->spec.output].producer] = 1;
    p->value_readers[p->spec.output]++;
    for (int i = g->op_count - 1; i >= 0; i--) {
        if (!f->needed[i])
            continue;
        for (int j = 0; j < 2; j++)
            if (g->ops[i].in[j] >= 0) {
                f->needed[g->values[g->ops[i].in[j]].producer] = 1;
                p->value_readers[g->ops[i].in[j]]++;
            }
    }
}

/* The op that alone reads `value`, if it is of this kind and not part of a node yet. */
static const struct graph_op *sole_reader(const struct fuse *f, int value, enum op_kind kind)
{
    if (f->program->value_readers[value] != 1 || value == f->program->spec.output)
        return NULL;
    for (int i = 0; i < f->graph->op_count; i++) {
        const struct graph_op *op = &f->graph->ops[i];
        if (f->needed[i] && (op->in[0] == value || op->in[1] == value))
            return op->kind == kind && !f->done[i] ? op : NULL;
    }
    return NULL;
}

const struct graph_op *program_folded(const struct graph *graph, const struct graph_op *op)
{
    if (!program_facts[op->kind].folds || graph->values[op->out].readers != 1)
        return NULL;
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i].in[0] == op->out || graph->ops[i].in[1] == op->out)
            return graph->ops[i].kind == OP_BN ? &graph->ops[i] : NULL;
    return NULL;
}

int program_is_folded(const struct graph *graph, const struct graph_op *bn)
{
    return bn->kind == OP_BN && program_folded(graph, &graph->ops[graph->values[bn->in[0]].producer]) == bn;
}

static void take(struct fuse *f, struct program_node *node, const struct graph_op *op)
{
    f->done[op - f->graph->ops] = 1;
    node->out = op->out;
}

static void take_relu(struct fuse *f, struct program_node *node)
{
    const struct graph_op *relu = sole_reader(f, node->out, OP_RELU);
    if (relu != NULL) {
        take(f, node, relu);
        node->relu = 1;
    }
}

/* Has everyone else who reads `value` done so? Then the sum may be written over it. */
static int read_by_all_but(const struct fuse *f, int value, const struct graph_op *last)
{
    if (value == f->graph->input || value == f->program->spec.output)
        return 0;
    for (int i = 0; i < f->graph->op_count; i++) {
        const struct graph_op *op = &f->graph->ops[i];
        if (f->needed[i] && !f->done[i] && op != last && (op->in[0] == value || op->in[1] == value))
            return 0;
    }
    return 1;
}

static void take_add_relu(struct fuse *f, struct program_node *node, int overwrite)
{
    const struct graph_op *add = sole_reader(f, node->out, OP_ADD);
    if (add != NULL) {
        int other = add->in[0] == node->out ? add->in[1] : add->in[0];
        if (!f->ready[other] || (overwrite && !read_by_all_but(f, other, add)))
            return;
        take(f, node, add);
        node->other = other;
    }
    take_relu(f, node);
}

static moco_status check_op(const struct fuse *f, const struct graph_op *op, struct err *err)
{
    struct program *p = f->program;
    const struct program_fact *fact = &program_facts[op->kind];
    const struct program_op *device = p->device->ops[op->kind];
    int vector = op->in[0] >= 0 && p->value_vector[op->in[0]];
    if (device == NULL)
        return err_set(err, MOCO_ENOTSUP, "%s: %s is an op that this device has not", p->device->name, op->name);
    if (fact->takes != FORM_ANY && (fact->takes == FORM_VECTOR) != vector)
        return err_set(err, MOCO_ENOTSUP, "%s: %s wants %s", p->device->name, op->name,
                       vector ? "a feature map, not a vector" : "a vector behind global pooling");
    p->value_vector[op->out] = (unsigned char)(fact->gives == FORM_ANY ? vector : fact->gives == FORM_VECTOR);
    return device->check == NULL ? MOCO_OK : device->check(p->plan, op, err);
}

/* Makes a node of an op and of those that run with it: a BN that is folded in, an ADD, a ReLU. */
static void add_node(struct fuse *f, const struct graph_op *op)
{
    struct program *p = f->program;
    const struct program_fact *fact = &program_facts[op->kind];
    struct program_node *node = &p->nodes[p->node_count++];
    node->op = op;
    node->in = op->in[0];
    node->other = op->in[1] >= 0 ? op->in[1] : NONE;
    take(f, node, op);
    if (fact->folds && p->spec.pass == BE_INFER) {
        node->bn = program_folded(f->graph, op);
        if (node->bn != NULL) {
            take(f, node, node->bn);
            take_add_relu(f, node, 1);
        }
    } else if (fact->takes_add) {
        take_add_relu(f, node, 0);
    } else if (fact->takes_relu) {
        take_relu(f, node);
    }
    f->ready[node->out] = 1;
}

/* Checks the ops that the output needs and makes nodes of them. Inference cannot end in a layer with a BN folded in,
 * because the value before the BN is nowhere. */
static moco_status fuse(struct fuse *f, struct err *err)
{
    const struct graph *g = f->graph;
    mark_needed(f);
    for (int i = 0; i < g->op_count; i++)
        if (f->needed[i])
            TRY(check_op(f, &g->ops[i], err));
    const struct graph_op *last = &g->ops[g->values[f->program->spec.output].producer];
    if (f->program->spec.pass == BE_INFER && program_folded(g, last) != NULL)
        return err_set(err, MOCO_EINVAL, "%s: inference cannot end in %s, whose weights hold the batch norm behind it",
                       f->program->device->name, last->name);
    if (!f->program->value_vector[f->program->spec.output] &&
        (f->program->spec.pass != BE_INFER || last->kind == OP_INPUT))
        return err_set(err, MOCO_EINVAL, "%s: a plan's output must be a vector behind global pooling%s",
                       f->program->device->name, last->kind == OP_INPUT ? ", or a feature map" : "");
    for (int i = 0; i < g->op_count; i++)
        if (f->needed[i] && !f->done[i])
            add_node(f, &g->ops[i]);
    return MOCO_OK;
}

moco_status program_fuse(struct program *p, struct err *err)
{
    const struct graph *g = p->spec.graph;
    size_t ops = (size_t)g->op_count, values = (size_t)g->value_count;
    struct fuse f = {.program = p, .graph = g};
    moco_status status = MOCO_ENOMEM;
    p->nodes = mem_array(p->ctx, ops, sizeof *p->nodes, err);
    p->value_buffer = mem_array(p->ctx, values, sizeof *p->value_buffer, err);
    p->value_readers = mem_array(p->ctx, values, sizeof *p->value_readers, err);
    p->value_vector = mem_zalloc(p->ctx, values, err);
    p->value_depth = mem_zalloc(p->ctx, values, err);
    f.needed = mem_zalloc(p->ctx, ops, err);
    f.done = mem_zalloc(p->ctx, ops, err);
    f.ready = mem_zalloc(p->ctx, values, err);
    if (p->nodes != NULL && p->value_buffer != NULL && p->value_readers != NULL && p->value_vector != NULL &&
        p->value_depth != NULL && f.needed != NULL && f.done != NULL && f.ready != NULL) {
        for (size_t i = 0; i < values; i++)
            p->value_buffer[i] = NONE;
        status = fuse(&f, err);
    }
    mem_free(p->ctx, f.needed);
    mem_free(p->ctx, f.done);
    mem_free(p->ctx, f.ready);
    return status;
}
