/* SPDX-License-Identifier: MIT
 *
 * cpu_infer: inference reads nothing but the slab: batch norms are folded into the weights and biases of their
 * convolutions, and what cannot be folded is copied. What a reader would get wrong: folding must be done again whenever
 * another plan has used the slab in between. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_plan.h"

struct fold {
    const struct cpu_param *param;
    const float *from;
    const float *scale; /* per output channel; NULL: 1 */
    float *to;
};

/* In every order of a slab the outputs of a block are innermost: row r holds outputs r * block .. (r + 1) * block - 1.
 */
static void fold_rows(void *arg, int thread, int threads)
{
    const struct fold *f = arg;
    const struct cpu_param *p = f->param;
    int64_t rows = p->dims[0] / p->block, row = p->count / rows, b = p->block;
    for (int64_t r = rows * thread / threads; r < rows * (thread + 1) / threads; r++)
        for (int64_t j = 0; j < row; j++)
            f->to[r * row + j] = f->from[r * row + j] * (f->scale == NULL ? 1.0f : f->scale[r * b + j % b]);
}

static float inverse_deviation(float variance, double eps)
{
    return (float)(1.0 / sqrt((double)variance + eps));
}

/* weights * gamma / deviation, beta - mean * gamma / deviation. */
static moco_status fold_conv(const struct be_plan *plan, const struct node *node, const float *masters,
                             const float *stats, struct err *err)
{
    const struct cpu_param *params = plan->spec.layout->params;
    const struct graph *g = plan->spec.graph;
    int c = g->values[node->op->out].c, reorders = node->conv.order.primitive != NULL;
    float *bias = cpu_buffer(plan, node->bias), *scale = NULL;
    char *tmp = cpu_buffer(plan, plan->fold);
    size_t folded_bytes = ((size_t)params[node->op->param[0]].count * sizeof(float) + 63) / 64 * 64;
    struct fold f = {.param = &params[node->op->param[0]]};
    f.from = masters + f.param->offset;
    f.to = reorders ? (float *)(void *)tmp : cpu_buffer(plan, node->folded);
    memset(bias, 0, (size_t)c * sizeof(float));
    if (node->bn != NULL) {
        const float *gamma = masters + params[node->bn->param[0]].offset;
        const float *beta = node->bn->param[1] < 0 ? NULL : masters + params[node->bn->param[1]].offset;
        const float *mean = stats + g->stats[node->bn->stat].offset, *variance = mean + c;
        scale = bias; /* first the factors, then what they leave */
        for (int i = 0; i < c; i++)
            scale[i] = gamma[i] * inverse_deviation(variance[i], node->bn->eps);
        f.scale = scale;
        parallel_run(plan->dev->team.threads, fold_rows, &f);
        for (int i = 0; i < c; i++)
            bias[i] = (beta != NULL ? beta[i] : 0) - mean[i] * scale[i];
    } else {
        parallel_run(plan->dev->team.threads, fold_rows, &f);
    }
    if (!reorders)
        return MOCO_OK;
    void *at[SHIM_SLOTS] = {
        [SHIM_SRC] = f.to, [SHIM_DST] = cpu_buffer(plan, node->folded), [SHIM_SCRATCH] = tmp + folded_bytes};
    return shim_run(&node->conv.order, at, err);
}

static void fold_bn(const struct be_plan *plan, const struct node *node, const float *masters, const float *stats)
{
    const struct cpu_param *params = plan->spec.layout->params;
    const struct graph *g = plan->spec.graph;
    size_t c = (size_t)g->values[node->in].c;
    float *saved = cpu_buffer(plan, node->saved);
    const float *mean = stats + g->stats[node->op->stat].offset;
    memcpy(saved, mean, c * sizeof(float));
    for (size_t i = 0; i < c; i++)
        saved[c + i] = inverse_deviation(mean[c + i], node->op->eps);
    memcpy(saved + 2 * c, masters + params[node->op->param[0]].offset, c * sizeof(float));
    if (node->op->param[1] >= 0)
        memcpy(saved + 3 * c, masters + params[node->op->param[1]].offset, c * sizeof(float));
    else
        memset(saved + 3 * c, 0, c * sizeof(float));
}

static void fold_linear(const struct be_plan *plan, const struct node *node, const float *masters)
{
    const struct cpu_param *w = &plan->spec.layout->params[node->op->param[0]];
    memcpy(cpu_buffer(plan, node->folded), masters + w->offset, (size_t)w->count * sizeof(float));
    if (node->op->param[1] < 0)
        return;
    const struct cpu_param *b = &plan->spec.layout->params[node->op->param[1]];
    memcpy(cpu_buffer(plan, node->bias), masters + b->offset, (size_t)b->count * sizeof(float));
}

moco_status cpu_plan_fold(struct be_plan *plan, const void *masters, const void *stats, struct err *err)
{
    if (plan->spec.pass != BE_INFER || plan->slab == NULL)
        return err_set(err, MOCO_ESTATE, "cpu: only a bound plan for inference folds");
    struct parallel_scope scope;
    TRY(cpu_enter(plan->dev, &scope, err));
    moco_status status = MOCO_OK;
    for (int i = 0; i < plan->node_count && status == MOCO_OK; i++) {
        const struct node *node = &plan->nodes[i];
        if (node->kind == NODE_CONV)
            status = fold_conv(plan, node, masters, stats, err);
        else if (node->kind == NODE_BN)
            fold_bn(plan, node, masters, stats);
        else if (node->kind == NODE_LINEAR)
            fold_linear(plan, node, masters);
    }
    parallel_leave(&scope);
    return status;
}
