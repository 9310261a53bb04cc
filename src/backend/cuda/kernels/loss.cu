/* SPDX-License-Identifier: MIT
 *
 * loss: InfoNCE and NT-Xent between two products: similarities come in, and what they become are the weights of the
 * gradient. A block does a query. What a reader would get wrong: similarities are compared before they are divided by
 * the temperature, and the positive's is summed in the same order as all others, so that equal vectors tie exactly. */
#include "backend/cuda/kernels/loss.cuh"

/* A thread a query: of a square of similarities of some queries with their positives, the diagonal. */
KERNEL(loss_positives, loss)
{
    for (int64_t i = first_item(); i < a.rows; i += item_step())
        a.positives[a.first + i] = a.s[i * a.rows + i];
}

WIDE_KERNEL(loss_softmax, loss)
{
    const int64_t query = a.first + (int64_t)blockIdx.x;
    const int64_t own = a.positives != nullptr ? -1 : a.ntxent ? (query + a.n / 2) % a.n : a.own + query;
    const int64_t self = a.ntxent ? query : -1;
    float *s = a.s + (int64_t)blockIdx.x * a.count;
    const float positive = own < 0 ? a.positives[query] : s[own];
    const float temperature = (float)a.step->temperature;
    double larger = 0, equal = 0, negatives = 0, sum = 0;
    float top = positive;
    for (int64_t j = threadIdx.x; j < a.count; j += CUDA_BLOCK) {
        if (j == own || j == self)
            continue;
        larger += s[j] > positive;
        equal += s[j] == positive;
        negatives += s[j];
        top = s[j] > top ? s[j] : top;
    }
    top = block_max(top);
    for (int64_t j = threadIdx.x; j < a.count; j += CUDA_BLOCK)
        if (j != self)
            sum += expf((s[j] - top) / temperature);
    larger = block_sum(larger);
    equal = block_sum(equal);
    negatives = block_sum(negatives);
    sum = block_sum(sum);
    const float mine = expf((positive - top) / temperature);
    sum = spread(sum + (own < 0 ? mine : 0.0f));
    const double unit = a.scale * a.step->loss_scale / a.step->temperature;
    for (int64_t j = threadIdx.x; j < a.count; j += CUDA_BLOCK) {
        double part = expf((s[j] - top) / temperature) / sum;
        s[j] = j == self ? 0 : (float)(unit * (j == own ? part - 1 : part));
    }
    if (threadIdx.x != 0)
        return;
    write_result(a.results + query * 5, log(sum) - (double)(positive - top) / a.step->temperature, positive, larger, equal,
                 negatives, (double)(a.count - (own >= 0) - (self >= 0)));
    if (own < 0)
        a.pull[query] = (float)(unit * (mine / sum - 1));
}

/* What pulls a query to a positive that is no candidate. */
KERNEL(loss_pull, loss)
{
    int64_t count = (int64_t)a.n * a.dim;
    for (int64_t i = first_item(); i < count; i += item_step())
        a.d_q[i] = fmaf(a.pull[i / a.dim], a.k[i], a.d_q[i]);
}

/* One block: the sums of all queries are added to the step's. */
KERNEL(loss_end, loss)
{
    double sums[5] = {};
    for (int i = (int)threadIdx.x; i < a.n; i += CUDA_BLOCK)
        UNROLL for (int j = 0; j < 5; j++)
            sums[j] += a.results[(int64_t)i * 5 + j];
    UNROLL for (int j = 0; j < 5; j++)
        sums[j] = block_sum(sums[j]);
    if (threadIdx.x != 0)
        return;
    struct cuda_step *s = a.step;
    if (!is_finite(sums[0]) || !is_finite(sums[3]) || !is_finite(sums[4]))
        finding(s, CUDA_LOSS, 0);
    s->loss += sums[0];
    s->top1 += sums[1];
    s->top5 += sums[2];
    s->pos += sums[3];
    s->neg += sums[4];
}
