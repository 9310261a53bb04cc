/* SPDX-License-Identifier: MIT
 *
 * relu_masks_ref: the masks of a plan of the ref backend, read and imposed. What a reader would get wrong: ref has no
 * masks, its backward asks whether the ReLU's output is above zero; so a mask is imposed by changing that output, to
 * zero or to a number too small to count in any product. */
#include <math.h>

#include "backend/ref/ref_program.h"
#include "support/devices/relu_masks.h"

#define TINY 1e-200

static double *relu_output(const struct be_plan *plan, const struct graph_op *op)
{
    return ref_value(plan, op->out);
}

void relu_masks_read_ref(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks)
{
    for (int i = 0, relu = 0; i < graph->op_count; i++) {
        if (graph->ops[i].kind != OP_RELU)
            continue;
        const double *y = relu_output(plan, &graph->ops[i]); /* NULL: the output does not need this one */
        for (size_t k = 0; y != NULL && k < masks->size[relu]; k++)
            masks->open[relu][k] = y[k] > 0;
        relu++;
    }
}

size_t relu_masks_impose(struct be_plan *ref, const struct graph *graph, const struct relu_masks *masks,
                         double *largest)
{
    size_t flips = 0;
    for (int i = 0, relu = 0; i < graph->op_count; i++) {
        if (graph->ops[i].kind != OP_RELU)
            continue;
        double *y = relu_output(ref, &graph->ops[i]), squares = 0, most = 0;
        for (size_t k = 0; y != NULL && k < masks->size[relu]; k++) {
            squares += y[k] * y[k];
            if ((y[k] > 0) == masks->open[relu][k])
                continue;
            flips++;
            most = y[k] > most ? y[k] : most;
            y[k] = masks->open[relu][k] ? TINY : 0;
        }
        double scale = sqrt(squares / (double)masks->size[relu]);
        if (scale > 0 && most / scale > *largest)
            *largest = most / scale;
        relu++;
    }
    return flips;
}
