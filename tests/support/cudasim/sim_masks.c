/* SPDX-License-Identifier: MIT
 *
 * sim_masks: the masks of a plan of the CUDA backend: a bit a number where a batch norm took the ReLU, else
 * whether the output is above zero. Waits. */
#include <stdlib.h>

#include "backend/cuda/cuda_op_bn.h"
#include "half.h"
#include "support/cudasim/sim_driver.h"

static void read_back(const struct be_plan *plan, void *to, const void *at, size_t bytes)
{
    struct err err = {0};
    if (cuda_read(plan->dev, to, at, bytes, &err) != MOCO_OK)
        abort();
}

static const struct program_node *node_with(const struct be_plan *plan, int value)
{
    for (int i = 0; i < plan->program.node_count; i++)
        if (plan->program.nodes[i].out == value)
            return &plan->program.nodes[i];
    return NULL;
}

static int above_zero(const void *values, size_t i, int storage)
{
    if (storage == 0)
        return ((const float *)values)[i] > 0;
    uint16_t bits = ((const uint16_t *)values)[i];
    return (storage == 1 ? bf16_to_float(bits) : f16_to_float(bits)) > 0;
}

static void read_one(const struct be_plan *plan, const struct program_node *node, size_t count, unsigned char *open)
{
    int mask = node->op->kind == OP_BN ? ((const struct cuda_bn *)node->state)->mask : NONE;
    unsigned char *bits = malloc(count / 8 + 1);
    int storage = plan->program.value_vector[node->out] ? 0 : cuda_storage(plan->program.spec.precision);
    void *values = malloc(count * sizeof(float));
    if (bits == NULL || values == NULL)
        abort();
    if (mask != NONE)
        read_back(plan, bits, cuda_buffer(plan, mask), (count + 7) / 8);
    else
        read_back(plan, values, cuda_value_at(plan, node->out), count * (storage > 0 ? 2 : sizeof(float)));
    for (size_t k = 0; k < count; k++)
        open[k] = mask != NONE ? bits[k / 8] >> k % 8 & 1 : above_zero(values, k, storage);
    free(bits);
    free(values);
}

void relu_masks_read_cuda(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks)
{
    for (int i = 0, relu = 0; i < graph->op_count; i++) {
        if (graph->ops[i].kind != OP_RELU)
            continue;
        const struct program_node *node = node_with(plan, graph->ops[i].out);
        if (node != NULL)
            read_one(plan, node, masks->size[relu], masks->open[relu]);
        relu++;
    }
}
