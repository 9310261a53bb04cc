/* SPDX-License-Identifier: MIT
 *
 * op_input: turns images into the first map: bytes through a kernel, normalised f32 images through a reorder. What a
 * reader would get wrong: a slice may consist of the end of the first array of images and the beginning of the
 * second. */
#include "backend/cpu/cpu_program.h"
#include "backend/program/program_buffers.h"

struct op_input {
    struct shim_prim convert; /* for f32 images; else empty */
    int scratch;
};

static moco_status compile(struct be_plan *plan, struct program_node *node, int n, int moment, struct err *err)
{
    struct op_input *state = node->state;
    const struct graph_value *image = &plan->program.spec.graph->values[node->out];
    int64_t dims[4] = {n, image->c, image->h, image->w};
    state->scratch = NONE;
    if (!plan->program.spec.f32_input)
        return MOCO_OK;
    struct shim_md from = {0}, to = {0};
    moco_status status;
    TRY_GOTO(status, shim_md_create(&from, dims, SHIM_F32, SHIM_PLAIN, err), done);
    TRY_GOTO(status, shim_md_create(&to, dims, plan->type, cpu_value_order(plan, node->out), err), done);
    TRY_GOTO(status, shim_reorder_create(&state->convert, plan->dev->engine, &from, &to, err), done);
    status = program_buffer(&plan->program, &state->scratch, state->convert.scratch, CLASS_SCRATCH, moment, err);
done:
    shim_md_free(&from);
    shim_md_free(&to);
    return status;
}

/* Normalises the images of a slice. It takes a second turn if the slice goes on in the second array. */
static void run_bytes(const struct program_forward *run, const struct program_node *node)
{
    const struct be_plan *plan = run->plan;
    const struct program *p = &plan->program;
    const struct be_forward *io = run->io;
    const struct graph *g = p->spec.graph;
    struct kern_map map = cpu_value_map(plan, node->out, run->slice.n);
    size_t image = (size_t)map.c * (size_t)map.h * (size_t)map.w, bytes = program_value_bytes(p, node->out, 1);
    char *out = program_value_at(p, node->out, run->slice.at);
    int plain = cpu_value_order(plan, node->out) != SHIM_NHWC;
    int first = run->slice.at, end = first + run->slice.n, half = io->second == NULL ? p->spec.n : p->spec.n / 2;
    while (first < end) {
        int in_second = first >= half;
        const uint8_t *from = in_second ? io->second : io->images;
        if (io->index == NULL)
            from += (size_t)(in_second ? first - half : first) * image;
        map.n = (in_second || end < half ? end : half) - first;
        kern_input(&plan->dev->team, &map, plain, from, io->index == NULL ? NULL : io->index + first, g->mean, g->std,
                   out);
        out += bytes * (size_t)map.n;
        first += map.n;
    }
}

static moco_status run(const struct program_forward *run, const struct program_node *node, struct err *err)
{
    const struct program *p = &run->plan->program;
    const struct op_input *state = node->state;
    if (!p->spec.f32_input) {
        run_bytes(run, node);
        return MOCO_OK;
    }
    size_t first = program_value_count(p, node->out, run->slice.at);
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = (float *)(void *)run->io->images + first,
                            [SHIM_DST] = program_value_at(p, node->out, run->slice.at),
                            [SHIM_SCRATCH] = program_at(p, state->scratch, 0)};
    return shim_run(&state->convert, at, err);
}

static void release(struct program_node *node)
{
    shim_prim_free(&((struct op_input *)node->state)->convert);
}

const struct program_op cpu_op_input = {
    .state = sizeof(struct op_input), .place = PLACE_NEW, .compile = compile, .run = run, .free = release};
