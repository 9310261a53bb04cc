/* SPDX-License-Identifier: MIT
 *
 * probe_fit: whole trainings on features in memory, and the results of a trained probe. What a reader would get
 * wrong: the order of an epoch comes from the probe's own stream, not from a loader's. A table of all rows is cheap
 * beside the features themselves and faster than an order without a table. */
#include <limits.h>
#include <string.h>

#include "eval/probe_rows.h"
#include "permute.h"

#define BLOCK 1024 /* rows evaluated at once */

/* ---- training ---- */

static moco_status check_fit(const struct probe_fit *fit, const int32_t *labels, int64_t n, struct err *err)
{
    if (fit->epochs < 1 || fit->epochs > 1 << 20)
        return err_set(err, MOCO_EINVAL, "epochs is %d; it must be 1 to 1048576", fit->epochs);
    if (fit->batch < 1 || fit->batch > 1 << 20)
        return err_set(err, MOCO_EINVAL, "batch_size is %d; it must be 1 to 1048576", fit->batch);
    for (int i = 0; i < 3; i++)
        if (fit->milestones[i] < 0)
            return err_set(err, MOCO_EINVAL, "milestones[%d] is %d; it must be an epoch, or 0", i, fit->milestones[i]);
    if (n > INT32_MAX)
        return err_set(err, MOCO_EINVAL, "%lld rows are too many; %d are possible", (long long)n, INT32_MAX);
    for (int64_t i = 1; i < n; i++)
        if (labels[i] != labels[0])
            return MOCO_OK;
    return err_set(err, MOCO_EINVAL, "all %lld labels are %d: with one class there is nothing to learn", (long long)n,
                   (int)labels[0]);
}

static double factor_at(const struct probe_fit *fit, int epoch)
{
    double factor = 1;
    for (int i = 0; i < 3; i++)
        if (fit->milestones[i] > 0 && fit->milestones[i] <= epoch)
            factor *= 0.1;
    return factor;
}

struct epoch {
    int32_t *order, *labels; /* [n], [batch] */
    float *rows;             /* [batch][dim] */
};

/* Takes the steps of one epoch in an order drawn from seed and epoch, so that a probe that is continued sees the
 * same. */
static moco_status run_epoch(struct probe *probe, const float *features, const int32_t *labels, int n,
                             const struct probe_fit *fit, int number, const struct epoch *e, struct err *err)
{
    size_t dim = (size_t)probe->config.dim;
    struct rng rng;
    rng_init(&rng, probe->config.seed, (uint64_t)number, 0, 1, RNG_PROBE);
    permute_draw(&rng, n, e->order);
    for (int64_t at = 0; at < n; at += fit->batch) {
        int count = n - at < fit->batch ? (int)(n - at) : fit->batch;
        for (int i = 0; i < count; i++) {
            size_t row = (size_t)e->order[at + i];
            memcpy(e->rows + (size_t)i * dim, features + row * dim, dim * sizeof *features);
            e->labels[i] = labels[row];
        }
        TRY(probe_step(probe, e->rows, e->labels, count, factor_at(fit, number), NULL, NULL, err));
    }
    if (fit->progress != NULL && fit->progress(fit->user, number + 1, fit->epochs) != 0)
        return err_set(err, MOCO_ECANCELED, "stopped by the caller after epoch %d of %d", number + 1, fit->epochs);
    return MOCO_OK;
}

moco_status probe_fit(struct probe *probe, const float *features, const int32_t *labels, int64_t n,
                      const struct probe_fit *fit, struct err *err)
{
    TRY(probe_check_rows(probe, features, labels, n, err));
    TRY(check_fit(fit, labels, n, err));
    struct probe_fit f = *fit;
    if (f.batch > n)
        f.batch = (int)n;
    struct epoch e = {.order = mem_array(probe->ctx, (size_t)n, sizeof *e.order, err),
                      .labels = mem_array(probe->ctx, (size_t)f.batch, sizeof *e.labels, err),
                      .rows = mem_array(probe->ctx, (size_t)f.batch, (size_t)probe->config.dim * sizeof *e.rows, err)};
    moco_status status = e.order != NULL && e.labels != NULL && e.rows != NULL ? MOCO_OK : MOCO_ENOMEM;
    for (int number = 0; number < f.epochs && status == MOCO_OK; number++)
        status = run_epoch(probe, features, labels, (int)n, &f, number, &e, err);
    mem_free(probe->ctx, e.order);
    mem_free(probe->ctx, e.labels);
    mem_free(probe->ctx, e.rows);
    return status;
}

/* ---- evaluation ---- */

/* How many classes are predicted before `class`; a logit that is no number comes before all and after all: what is lost
 * is never right. */
static int place_of(const float *logits, int classes, int class)
{
    int before = 0;
    for (int c = 0; c < classes; c++)
        before += c != class && !(logits[c] < logits[class] || (logits[c] == logits[class] && c > class));
    return before;
}

static moco_status check_rate(const struct probe *probe, int rate, struct err *err)
{
    if (rate < 0 || rate >= probe->config.rates)
        return err_set(err, MOCO_EINVAL, "rate is %d; the probe has %d (0 to %d)", rate, probe->config.rates,
                       probe->config.rates - 1);
    return MOCO_OK;
}

moco_status probe_evaluate(struct probe *probe, int rate, const float *features, const int32_t *labels, int64_t n,
                           struct probe_score *score, int64_t *confusion, struct err *err)
{
    int classes = probe->config.classes;
    struct probe_score s = *score;
    TRY(check_rate(probe, rate, err));
    TRY(probe_check_rows(probe, features, labels, n, err));
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t rows = n - at < BLOCK ? n - at : BLOCK;
        TRY(probe_logits(probe, rate, 1, features + at * probe->config.dim, rows, err));
        for (int64_t i = 0; i < rows; i++) {
            float *logits = probe->logits + i * classes;
            int label = labels[at + i], place = place_of(logits, classes, label);
            s.top1 += place < 1;
            s.top5 += place < 5;
            if (confusion != NULL)
                confusion[(int64_t)label * classes + probe_largest(logits, classes)]++;
            s.loss += probe_softmax(logits, classes, label);
        }
    }
    s.n += n;
    *score = s;
    return MOCO_OK;
}

moco_status probe_predict(struct probe *probe, int rate, const float *features, int64_t n, int32_t *labels,
                          struct err *err)
{
    TRY(check_rate(probe, rate, err));
    TRY(probe_check_rows(probe, features, NULL, n, err));
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t rows = n - at < BLOCK ? n - at : BLOCK;
        TRY(probe_logits(probe, rate, 1, features + at * probe->config.dim, rows, err));
        for (int64_t i = 0; i < rows; i++)
            labels[at + i] = probe_largest(probe->logits + i * probe->config.classes, probe->config.classes);
    }
    return MOCO_OK;
}

moco_status probe_best(struct probe *probe, const float *features, const int32_t *labels, int64_t n, int *rate,
                       struct probe_score *score, struct err *err)
{
    for (int r = 0; r < probe->config.rates; r++) {
        struct probe_score s = {0};
        TRY(probe_evaluate(probe, r, features, labels, n, &s, NULL, err));
        if (r == 0 || s.top1 > score->top1 || (s.top1 == score->top1 && s.loss < score->loss)) {
            *rate = r;
            *score = s;
        }
    }
    return MOCO_OK;
}
