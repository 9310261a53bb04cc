/* SPDX-License-Identifier: MIT
 *
 * program_order: forward's buffers, then backward's steps. The gradient of a value is the sum of one contribution
 * per op that reads it. Batch norm adds two of them itself, so that residual branches need no extra pass. What a
 * reader would get wrong: a contribution belongs to one value alone, and the step that consumes it may overwrite it;
 * only the caller's gradient of the output must not be overwritten. The gradient of the weights comes before that of
 * the data, so that a layer's input is no longer needed, and its memory is free, when its gradient is written. */
#include "backend/program/program_order.h"

#include "backend/program/program_buffers.h"
#include "backend/program/program_facts.h"
#include "backend/program/program_recompute.h"

/* Of a node at most: three sums, a ReLU, two copies, its input again (1 + 2 for each further pass) and packed, weights,
 * data. */
#define STEPS_PER_NODE (9 + (1 << PROGRAM_DEPTH))

/* ---- forward ---- */

/* Gives the output of a node a buffer of its own, or that of an input which nothing reads afterwards. */
static moco_status value_place(struct program *p, const struct program_node *node, int n, int moment, struct err *err)
{
    enum program_place place = p->device->ops[node->op->kind]->place;
    int over = NONE;
    if (place == PLACE_OVER_INPUT && p->spec.pass != BE_TRAIN && p->value_readers[node->in] == 1 &&
        node->in != p->spec.graph->input)
        over = node->in;
    if (place == PLACE_OVER_OTHER)
        over = node->other;
    if (over != NONE) {
        p->value_buffer[node->out] = p->value_buffer[over];
        program_use(p, p->value_buffer[over], moment);
        return MOCO_OK;
    }
    size_t bytes = program_value_bytes(p, node->out, n);
    int *buffer = &p->value_buffer[node->out];
    TRY(program_buffer(p, buffer, bytes, CLASS_ACTIVATION, moment, err));
    p->buffers[*buffer].stride = bytes / (size_t)n;
    return MOCO_OK;
}

static moco_status order_node(struct program *p, struct program_node *node, int n, int moment, struct err *err)
{
    const struct program_op *op = p->device->ops[node->op->kind];
    if (node->in >= 0)
        program_use(p, p->value_buffer[node->in], moment);
    if (node->other >= 0)
        program_use(p, p->value_buffer[node->other], moment);
    if (op->state > 0 && (node->state = mem_zalloc(p->ctx, op->state, err)) == NULL)
        return MOCO_ENOMEM;
    if (op->compile != NULL)
        TRY(op->compile(p->plan, node, n, moment, err));
    return value_place(p, node, n, moment, err);
}

moco_status program_order_forward(struct program *p, struct err *err)
{
    for (int i = 0; i < p->segment_count; i++)
        for (int j = p->segments[i].first; j < p->segments[i].end; j++)
            TRY(order_node(p, &p->nodes[j], p->segments[i].n, j, err));
    program_use(p, p->value_buffer[p->spec.output], p->node_count - 1);
    return MOCO_OK;
}

/* ---- backward ---- */

struct order {
    struct program *program;
    int (*parts)[2]; /* per value: buffers of its gradient's contributions */
};

static int moment_of(const struct program *p, const struct program_step *step)
{
    return p->node_count + (int)(step - p->steps);
}

/* A new last step. */
static moco_status emit(struct program *p, struct program_step **out, struct program_step step, struct err *err)
{
    if (p->step_count == STEPS_PER_NODE * p->node_count)
        return err_set(err, MOCO_ENOTSUP, "%s: backward has more than %d steps", p->device->name, p->step_count);
    *out = &p->steps[p->step_count++];
    **out = step;
    for (int i = 0; i < 2; i++)
        program_use(p, step.in[i], moment_of(p, *out));
    return MOCO_OK;
}

/* The device's part of a step. */
static moco_status compile(struct program *p, struct program_step *step, struct err *err)
{
    const struct program_op *op = p->device->ops[step->node->op->kind];
    if (op->back > 0 && (step->state = mem_zalloc(p->ctx, op->back, err)) == NULL)
        return MOCO_ENOMEM;
    return op->compile_back == NULL ? MOCO_OK : op->compile_back(p->plan, step, moment_of(p, step), err);
}

static moco_status gradient_new(struct program *p, const struct program_step *step, int *out, int value,
                                struct err *err)
{
    return program_buffer(p, out, program_value_bytes(p, value, p->spec.n), CLASS_GRADIENT, moment_of(p, step), err);
}

/* a += b */
static moco_status sum(struct program *p, int value, int a, int b, struct err *err)
{
    struct program_step *step;
    return emit(p, &step, (struct program_step){STEP_SUM, NULL, value, {a, b}, {a, NONE}, NULL}, err);
}

static moco_status contribute(struct order *o, int value, int buffer, struct err *err)
{
    int *parts = o->parts[value];
    if (parts[0] == NONE)
        parts[0] = buffer;
    else if (parts[1] == NONE)
        parts[1] = buffer;
    else
        return sum(o->program, value, parts[0], buffer, err);
    return MOCO_OK;
}

static moco_status copy(struct program *p, int value, int from, int *to, struct err *err)
{
    struct program_step *step;
    TRY(emit(p, &step, (struct program_step){STEP_COPY, NULL, value, {from, NONE}, {NONE, NONE}, NULL}, err));
    TRY(gradient_new(p, step, &step->out[0], value, err));
    *to = step->out[0];
    return MOCO_OK;
}

static moco_status undo_relu(struct program *p, const struct program_node *node, int dy, struct err *err)
{
    struct program_step *step;
    TRY(emit(p, &step, (struct program_step){STEP_RELU, NULL, node->out, {dy, NONE}, {dy, NONE}, NULL}, err));
    program_use(p, p->value_buffer[node->out], moment_of(p, step));
    return MOCO_OK;
}

/* The buffer that holds a value again: its own, or a new one that the last steps emitted write. */
static moco_status hold_again(struct program *p, int value, int *buffer, struct err *err)
{
    *buffer = p->value_buffer[value];
    if (p->value_depth[value] == 0)
        return MOCO_OK;
    int i = 0, in, other = NONE;
    while (p->nodes[i].out != value)
        i++;
    const struct program_node *node = &p->nodes[i];
    struct program_step *step;
    TRY(hold_again(p, node->in, &in, err));
    if (node->other != NONE)
        TRY(hold_again(p, node->other, &other, err));
    TRY(emit(p, &step, (struct program_step){STEP_AGAIN, node, value, {in, other}, {NONE, NONE}, NULL}, err));
    TRY(program_buffer(p, &step->out[0], program_value_bytes(p, value, p->spec.n), CLASS_SCRATCH, moment_of(p, step),
                       err));
    *buffer = step->out[0];
    return compile(p, step, err);
}

/* What the device packs is made again here rather than kept. */
static moco_status order_weights(struct program *p, const struct program_node *node, int dy, struct err *err)
{
    const struct program_op *op = p->device->ops[node->op->kind];
    struct program_step *step;
    int x;
    TRY(hold_again(p, node->in, &x, err));
    size_t packed = op->pack == NULL ? 0 : op->pack(p->plan, node);
    if (packed > 0) {
        TRY(emit(p, &step, (struct program_step){STEP_PACK, node, node->in, {x, NONE}, {NONE, NONE}, NULL}, err));
        TRY(program_buffer(p, &step->out[0], packed, CLASS_SCRATCH, moment_of(p, step), err));
        x = step->out[0];
    }
    TRY(emit(p, &step, (struct program_step){STEP_WEIGHTS, node, node->out, {dy, x}, {NONE, NONE}, NULL}, err));
    return compile(p, step, err);
}

/* The gradient of the node's input goes into a new buffer. Images need none, but the same step may be what makes the
 * gradients of parameters. */
static moco_status order_data(struct order *o, const struct program_node *node, int dy, struct err *err)
{
    struct program *p = o->program;
    struct program_step *step;
    int parameters = node->op->param[0] >= 0 && !program_facts[node->op->kind].weights;
    if (node->in == p->spec.graph->input && !parameters)
        return MOCO_OK;
    TRY(emit(p, &step, (struct program_step){STEP_DATA, node, node->out, {dy, NONE}, {NONE, NONE}, NULL}, err));
    TRY(gradient_new(p, step, &step->out[0], node->in, err));
    TRY(contribute(o, node->in, step->out[0], err));
    return compile(p, step, err);
}

/* Batch norm writes over what it reads. */
static moco_status order_joined(struct order *o, const struct program_node *node, const int dy[2], struct err *err)
{
    struct program *p = o->program;
    struct program_step *step;
    TRY(emit(p, &step, (struct program_step){STEP_DATA, node, node->out, {dy[0], dy[1]}, {dy[0], NONE}, NULL}, err));
    TRY(compile(p, step, err));
    if (node->other != NONE) {
        step->out[1] = dy[0];
        step->out[0] = dy[1];
        if (dy[1] == NONE)
            TRY(gradient_new(p, step, &step->out[0], node->in, err));
        TRY(contribute(o, node->other, step->out[1], err));
    }
    return contribute(o, node->in, step->out[0], err);
}

static moco_status order_add(struct order *o, const struct program_node *node, int dy, struct err *err)
{
    int other;
    TRY(copy(o->program, node->other, dy, &other, err));
    TRY(contribute(o, node->other, other, err));
    return contribute(o, node->in, dy, err);
}

/* Orders the backward steps of one node. Its gradient may come in two parts, from two readers of the value; steps that
 * cannot add parts by themselves get their sum. */
static moco_status order_back(struct order *o, const struct program_node *node, struct err *err)
{
    struct program *p = o->program;
    enum op_kind kind = node->op->kind;
    const struct program_fact *fact = &program_facts[kind];
    int dy[2] = {o->parts[node->out][0], o->parts[node->out][1]};
    int undoes = !fact->joins && (node->relu || kind == OP_RELU);
    if (kind == OP_INPUT)
        return MOCO_OK;
    if (dy[0] == NONE && (p->device->copies_output || fact->joins || undoes || kind == OP_ADD))
        TRY(copy(p, node->out, NONE, &dy[0], err));
    if (fact->joins)
        return order_joined(o, node, dy, err);
    if (dy[1] != NONE)
        TRY(sum(p, node->out, dy[0], dy[1], err));
    if (undoes)
        TRY(undo_relu(p, node, dy[0], err));
    if (kind == OP_ADD)
        return order_add(o, node, dy[0], err);
    if (kind == OP_RELU)
        return contribute(o, node->in, dy[0], err);
    if (fact->weights)
        TRY(order_weights(p, node, dy[0], err));
    return order_data(o, node, dy[0], err);
}

moco_status program_order_backward(struct program *p, struct err *err)
{
    struct order o = {.program = p};
    int values = p->spec.graph->value_count;
    p->steps = mem_array(p->ctx, (size_t)STEPS_PER_NODE * (size_t)p->node_count, sizeof *p->steps, err);
    o.parts = mem_array(p->ctx, (size_t)values, sizeof *o.parts, err);
    if (p->steps == NULL || o.parts == NULL) {
        mem_free(p->ctx, o.parts);
        return MOCO_ENOMEM;
    }
    for (int v = 0; v < values; v++)
        o.parts[v][0] = o.parts[v][1] = NONE;
    moco_status status = MOCO_OK;
    for (int i = p->node_count - 1; i >= 0 && status == MOCO_OK; i--)
        status = order_back(&o, &p->nodes[i], err);
    mem_free(p->ctx, o.parts);
    return status;
}
