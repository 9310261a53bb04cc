/* SPDX-License-Identifier: MIT
 *
 * relu_masks_cpu: the masks of a plan of the cpu backend: bits where a batch norm stands before the ReLU, else the
 * signs of its output, which is kept. What a reader would get wrong: both lie in blocks of channels, [n][C/b][h][w][b].
 */
#include "support/devices/relu_masks.h"

#ifdef MOCO_HAVE_ONEDNN
#include <stdint.h>
#include <stdlib.h>

#include "backend/cpu/cpu_program.h"
#include "backend/cpu/ops/op_bn.h"

static int number_above_zero(const void *values, size_t i, int bf16)
{
    if (bf16) {
        uint16_t bits = ((const uint16_t *)values)[i];
        return (bits & 0x8000) == 0 && bits != 0;
    }
    return ((const float *)values)[i] > 0;
}

static void read_node(const struct be_plan *plan, const struct program_node *node, unsigned char *open)
{
    const struct program *program = &plan->program;
    struct kern_map map = cpu_value_map(plan, node->out, program->spec.n);
    int mask = node->op->kind == OP_BN ? ((const struct op_bn *)node->state)->mask : NONE;
    const uint8_t *bits = program_at(program, mask, 0);
    const void *values = program_value_at(program, node->out, 0);
    size_t pixels = (size_t)map.h * (size_t)map.w, block = (size_t)map.block, blocks = (size_t)map.c / block,
           run_bytes = (pixels * block + 7) / 8; /* block is at most 2048 in the networks that tests draw */
    for (size_t n = 0; n < (size_t)map.n; n++)
        for (size_t p = 0; p < pixels; p++)
            for (size_t c = 0; c < (size_t)map.c; c++) {
                size_t run = n * blocks + c / block, at = p * block + c % block;
                *open++ =
                    (unsigned char)(bits != NULL ? bits[run * run_bytes + at / 8] >> (at % 8) & 1
                                                 : number_above_zero(values, run * pixels * block + at, map.bf16));
            }
}

void relu_masks_read_cpu(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks)
{
    for (int i = 0, relu = 0; i < graph->op_count; i++) {
        if (graph->ops[i].kind != OP_RELU)
            continue;
        const struct program_node *node = NULL;
        for (int k = 0; k < plan->program.node_count; k++)
            if (plan->program.nodes[k].out == graph->ops[i].out)
                node = &plan->program.nodes[k];
        if (node != NULL)
            read_node(plan, node, masks->open[relu]);
        else if (plan->program.value_readers[graph->ops[i].out] > 0)
            abort(); /* the output needs this ReLU, and no node computes it */
        relu++;
    }
}
#else
typedef int relu_masks_cpu_is_not_built; /* ISO C wants a declaration */
#endif
