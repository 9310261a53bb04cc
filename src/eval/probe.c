/* SPDX-License-Identifier: MIT
 *
 * probe: see probe.h. A step is two matrix products (logits, and the gradient of the weights) around a softmax. */
#include "eval/probe.h"

#include <math.h>
#include <string.h>

#include "backend/fallback.h"
#include "eval/probe_rows.h"
#include "num.h"
#include "philox.h"

#define INITIAL_DEVIATION 0.01

static moco_status check(const struct probe_config *c, struct err *err)
{
    if (c->dim < 1 || c->dim > 1 << 20)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 1 to 1048576", c->dim);
    if (c->classes == 1)
        return err_set(err, MOCO_EINVAL, "classes is 1: there is nothing to tell apart; a probe needs two at least");
    if (c->classes < 2 || c->classes > 1 << 20)
        return err_set(err, MOCO_EINVAL, "classes is %d; it must be 2 to 1048576", c->classes);
    if (c->rates < 1 || c->rates > PROBE_RATES)
        return err_set(err, MOCO_EINVAL, "rates is %d; it must be 1 to %d", c->rates, PROBE_RATES);
    for (int r = 0; r < c->rates; r++)
        if (!(c->lr[r] >= 0) || isinf(c->lr[r]))
            return err_set(err, MOCO_EINVAL, "lr[%d] must be a number from 0 on", r);
    if (!(c->momentum >= 0 && c->momentum < 1))
        return err_set(err, MOCO_EINVAL, "momentum must be at least 0 and below 1");
    if (!(c->weight_decay >= 0) || isinf(c->weight_decay))
        return err_set(err, MOCO_EINVAL, "weight_decay must be a number from 0 on");
    return MOCO_OK;
}

static void draw_weights(struct probe *probe)
{
    const struct probe_config *c = &probe->config;
    size_t count = (size_t)c->classes * (size_t)c->dim;
    struct rng rng;
    rng_init(&rng, c->seed, 0, 0, 0, RNG_PROBE);
    for (size_t i = 0; i < count; i++)
        probe->weight[i] = (float)(INITIAL_DEVIATION * rng_normal(&rng));
    for (int r = 1; r < c->rates; r++)
        memcpy(probe->weight + (size_t)r * count, probe->weight, count * sizeof *probe->weight);
}

moco_status probe_create(struct probe **out, struct ctx *ctx, const struct backend *backend, struct be_device *dev,
                         const struct probe_config *config, struct err *err)
{
    *out = NULL;
    TRY(check(config, err));
    struct probe *probe = mem_zalloc(ctx, sizeof *probe, err);
    if (probe == NULL)
        return MOCO_ENOMEM;
    probe->ctx = ctx_ref(ctx);
    probe->backend = backend;
    probe->dev = dev;
    probe->config = *config;
    size_t rows = (size_t)config->rates * (size_t)config->classes, row = (size_t)config->dim * sizeof(float);
    float **const blocks[] = {&probe->weight, &probe->weight_v, &probe->weight_g,
                              &probe->bias,   &probe->bias_v,   &probe->bias_g};
    for (int i = 0; i < 6; i++) {
        *blocks[i] = mem_array(ctx, rows, i < 3 ? row : sizeof(float), err);
        if (*blocks[i] == NULL) {
            probe_free(probe);
            return MOCO_ENOMEM;
        }
    }
    draw_weights(probe);
    *out = probe;
    return MOCO_OK;
}

void probe_free(struct probe *probe)
{
    if (probe == NULL)
        return;
    struct ctx *ctx = probe->ctx;
    mem_free(ctx, probe->weight);
    mem_free(ctx, probe->weight_v);
    mem_free(ctx, probe->weight_g);
    mem_free(ctx, probe->bias);
    mem_free(ctx, probe->bias_v);
    mem_free(ctx, probe->bias_g);
    mem_free(ctx, probe->logits);
    mem_free(ctx, probe);
    ctx_unref(ctx);
}

/* ---- a block of rows ---- */

moco_status probe_check_rows(const struct probe *probe, const float *features, const int32_t *labels, int64_t n,
                             struct err *err)
{
    int dim = probe->config.dim, classes = probe->config.classes;
    for (int64_t i = 0; labels != NULL && i < n; i++) {
        if (labels[i] < 0)
            return err_set(err, MOCO_EINVAL, "labels[%lld] is %d: this row has no label; a probe needs one for each",
                           (long long)i, (int)labels[i]);
        if (labels[i] >= classes)
            return err_set(err, MOCO_EINVAL, "labels[%lld] is %d, but the probe has %d classes (0 to %d)", (long long)i,
                           (int)labels[i], classes, classes - 1);
    }
    for (int64_t i = 0; i < n; i++) {
        const float *row = features + i * dim;
        int bad = 0;
        for (int d = 0; d < dim; d++)
            bad |= !isfinite(row[d]);
        if (bad)
            return err_set(err, MOCO_ENUMERIC, "features: row %lld is not finite", (long long)i);
    }
    return MOCO_OK;
}

static moco_status logits_room(struct probe *probe, int64_t count, struct err *err)
{
    if (count <= probe->logits_room)
        return MOCO_OK;
    float *logits = mem_grow(probe->ctx, probe->logits, (size_t)count * sizeof *logits, err);
    if (logits == NULL)
        return MOCO_ENOMEM;
    probe->logits = logits;
    probe->logits_room = count;
    return MOCO_OK;
}

moco_status probe_logits(struct probe *probe, int first_rate, int rates, const float *features, int64_t n,
                         struct err *err)
{
    int64_t width = (int64_t)rates * probe->config.classes, dim = probe->config.dim;
    int64_t from = (int64_t)first_rate * probe->config.classes;
    if (n > INT64_MAX / 8 / width)
        return err_set(err, MOCO_ENOMEM, "no memory for the logits of %lld rows", (long long)n);
    TRY(logits_room(probe, n * width, err));
    TRY(backend_gemm_nt(probe->backend, probe->dev, n, width, dim, features, probe->weight + from * dim, probe->logits,
                        err));
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < width; c++)
            probe->logits[i * width + c] += probe->bias[from + c];
    return MOCO_OK;
}

int probe_largest(const float *logits, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c] > logits[best])
            best = c;
    return best;
}

double probe_softmax(float *logits, int classes, int32_t label)
{
    float most = logits[0], own = logits[label];
    for (int c = 1; c < classes; c++)
        most = logits[c] > most ? logits[c] : most;
    double sum = 0;
    for (int c = 0; c < classes; c++) {
        logits[c] = expf(logits[c] - most);
        sum += logits[c];
    }
    float scale = (float)(1 / sum);
    for (int c = 0; c < classes; c++)
        logits[c] *= scale;
    return log(sum) - ((double)own - most);
}

/* ---- one step ---- */

/* Logits become d loss / d logits, of the mean over the rows. */
static moco_status loss_gradient(struct probe *probe, const int32_t *labels, int64_t n, double *loss, double *top1,
                                 struct err *err)
{
    int classes = probe->config.classes, rates = probe->config.rates;
    float part = 1 / (float)n;
    for (int r = 0; r < rates; r++) {
        double sum = 0;
        int64_t right = 0;
        for (int64_t i = 0; i < n; i++) {
            float *row = probe->logits + (i * rates + r) * classes;
            right += probe_largest(row, classes) == labels[i];
            sum += probe_softmax(row, classes, labels[i]);
            row[labels[i]] -= 1;
            for (int c = 0; c < classes; c++)
                row[c] *= part;
        }
        if (!isfinite(sum)) {
            char rate[NUM_TEXT];
            num_format_double(rate, probe->config.lr[r]);
            return err_set(err, MOCO_ENUMERIC, "the loss at learning rate %s is not finite", rate);
        }
        if (loss != NULL)
            loss[r] = sum / (double)n;
        if (top1 != NULL)
            top1[r] = (double)right / (double)n;
    }
    return MOCO_OK;
}

static void sgd(float *p, const float *g, float *v, size_t count, float lr, float momentum, float weight_decay)
{
    for (size_t i = 0; i < count; i++) {
        v[i] = momentum * v[i] + (g[i] + weight_decay * p[i]);
        p[i] -= lr * v[i];
    }
}

moco_status probe_step(struct probe *probe, const float *features, const int32_t *labels, int64_t n, double factor,
                       double *loss, double *top1, struct err *err)
{
    const struct probe_config *c = &probe->config;
    int64_t width = (int64_t)c->rates * c->classes, dim = c->dim;
    if (!(factor >= 0) || isinf(factor))
        return err_set(err, MOCO_EINVAL, "factor must be a number from 0 on");
    TRY(probe_check_rows(probe, features, labels, n, err));
    TRY(probe_logits(probe, 0, c->rates, features, n, err));
    TRY(loss_gradient(probe, labels, n, loss, top1, err));
    TRY(backend_gemm_tn(probe->backend, probe->dev, width, dim, n, probe->logits, features, probe->weight_g, err));
    memset(probe->bias_g, 0, (size_t)width * sizeof *probe->bias_g);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++)
            probe->bias_g[j] += probe->logits[i * width + j];
    for (int r = 0; r < c->rates; r++) {
        float lr = (float)(factor * c->lr[r]), momentum = (float)c->momentum, decay = (float)c->weight_decay;
        int64_t at = (int64_t)r * c->classes;
        sgd(probe->weight + at * dim, probe->weight_g + at * dim, probe->weight_v + at * dim,
            (size_t)c->classes * (size_t)dim, lr, momentum, decay);
        sgd(probe->bias + at, probe->bias_g + at, probe->bias_v + at, (size_t)c->classes, lr, momentum, decay);
    }
    probe->steps++;
    return MOCO_OK;
}
