/* SPDX-License-Identifier: MIT
 *
 * trainer_update: see trainer_update.h. What a reader would get wrong: no pass over the weights is needed to know
 * that an update does not overflow, and no number has to come back from the device before the commit. The norms of
 * weights and momentum are bounded from step to step by the norm of the gradient, and the device gets the largest
 * norm that keeps these bounds far from overflow. Only a step whose gradient is larger is done a second time,
 * carefully: the norms are measured again, and if that is not enough, the update is tried on copies. */
#include "algo/trainer_update.h"

#include <float.h>
#include <math.h>

#include "num.h"

#define LIMIT_AHEAD 0x1p-20 /* no gradient of a training that goes well comes near it */

/* No number of a slab whose norm is below this can round to infinity. */
static double far_from_overflow(const struct trainer *t)
{
    return t->precision == BE_F64 ? DBL_MAX / 16 : (double)FLT_MAX / 16;
}

/* |a + b| <= |a| + |b|. */
static struct norm_bounds bounds_after(const struct trainer *t, struct norm_bounds now, double lr, double gradient)
{
    struct norm_bounds after;
    double pull = gradient + t->o.weight_decay * now.weights;
    if (t->o.optimizer == MOCO_OPTIMIZER_LARS) { /* a tensor moves by trust * its norm, or as with SGD */
        after.momentum = t->o.sgd_momentum * now.momentum + lr * (t->o.trust_coefficient * now.weights + pull);
        after.weights = now.weights + after.momentum;
    } else {
        after.momentum = t->o.sgd_momentum * now.momentum + pull;
        after.weights = now.weights + lr * after.momentum;
    }
    return after;
}

struct norm_bounds step_bounds_after(const struct trainer *t, double lr, double gradient)
{
    return bounds_after(t, t->bounds, lr, gradient);
}

static int is_far(const struct trainer *t, const struct norm_bounds *bounds)
{
    return bounds->weights < far_from_overflow(t) && bounds->momentum < far_from_overflow(t);
}

/* Nobody knows yet how large the gradient of a step in flight is: as large as it may be. */
static struct norm_bounds bounds_before(const struct trainer *t)
{
    return trainer_flies(t) ? step_bounds_after(t, t->queued.lr, t->queued.limit) : t->bounds;
}

/* bounds_after is linear in the gradient's norm. A little less, since both are rounded. */
double step_gradient_limit(const struct trainer *t, double lr)
{
    struct norm_bounds none = bounds_after(t, bounds_before(t), lr, 0);
    double far = far_from_overflow(t), of_weights = lr > 0 ? (far - none.weights) / lr : (double)INFINITY;
    double of_momentum = far - none.momentum;
    if (t->o.optimizer == MOCO_OPTIMIZER_LARS)
        of_momentum = lr > 0 ? of_momentum / lr : (double)INFINITY;
    if (!is_far(t, &none))
        return -1;
    double limit = 0.999999 * (of_weights < of_momentum ? of_weights : of_momentum);
    return t->ahead ? fmin(limit, far) * LIMIT_AHEAD : limit;
}

/* ---- the loss scale ---- */

#define LOSS_SCALE_FIRST 65536.0

struct loss_scale loss_scale_first(enum be_precision precision)
{
    return (struct loss_scale){.scale = precision == BE_F16 ? LOSS_SCALE_FIRST : 1};
}

void loss_scale_committed(struct loss_scale *s, enum be_precision precision)
{
    if (precision != BE_F16 || ++s->since < LOSS_SCALE_GROWS)
        return;
    s->since = 0;
    if (s->scale < LOSS_SCALE_MOST)
        s->scale *= 2;
}

int loss_scale_overflowed(struct loss_scale *s)
{
    if (s->scale / 2 < 1)
        return 0;
    s->scale /= 2;
    s->since = 0;
    s->skipped++;
    return 1;
}

int loss_scale_remedies(const struct trainer *t, uint64_t bad)
{
    uint64_t what = bad >> 48;
    return t->precision == BE_F16 && t->scale.scale > 1 && (what == BE_GRADIENT || what == BE_NORM);
}

/* ---- the update ---- */

static moco_status run_update(struct trainer *t, struct be_sgd *io, struct err *err)
{
    io->g = t->gradients.at;
    io->lars = t->o.optimizer == MOCO_OPTIMIZER_LARS;
    return t->be->sgd(t->program, io, err);
}

moco_status step_update(struct trainer *t, struct err *err)
{
    struct be_sgd io = {.p = t->query->numbers.masters.at,
                        .v = t->momentum.at,
                        .k = t->key != NULL ? t->key->numbers.masters.at : NULL,
                        .readers = t->readers.at};
    return run_update(t, &io, err);
}

/* ---- an update on copies ---- */

static moco_status copy_slab(const struct trainer *t, struct be_memory *copy, const void *from, struct err *err)
{
    size_t bytes = t->be->layout_bytes(t->layout);
    TRY(t->be->alloc(t->dev, bytes, copy, err));
    return t->be->copy(t->dev, copy->at, from, bytes, err);
}

/* The key encoder follows numbers that are finite, and stays between them. */
static moco_status try_update(struct trainer *t, double lr, struct err *err)
{
    struct be_memory query = {0}, momentum = {0};
    struct err which = {0};
    struct be_outcome found;
    moco_status status;
    TRY_GOTO(status, copy_slab(t, &query, t->query->numbers.masters.at, err), done);
    TRY_GOTO(status, copy_slab(t, &momentum, t->momentum.at, err), done);
    struct be_sgd io = {.p = query.at, .v = momentum.at, .trial = 1};
    TRY_GOTO(status, run_update(t, &io, err), done);
    TRY_GOTO(status, t->be->verdict(t->program, &found, err), done);
    if (found.finite)
        goto done;
    status = slab_check_finite(t->query, query.at, "encoder_q.", NULL, &which);
    if (status == MOCO_OK)
        status = slab_check_finite(t->query, momentum.at, "momentum.encoder_q.", NULL, &which);
    char rate[NUM_TEXT];
    num_format_double(rate, lr);
    status = err_set(err, MOCO_ENUMERIC,
                     "the update of step %lld with rate %s overflows: %s after it; nothing was committed, and a "
                     "smaller rate is the remedy",
                     (long long)t->step, rate, which.text);
done:
    t->be->release(t->dev, &query);
    t->be->release(t->dev, &momentum);
    return status;
}

moco_status step_measure(struct trainer *t, struct err *err)
{
    TRY(slab_check_finite(t->query, t->query->numbers.masters.at, "encoder_q.", &t->bounds.weights, err));
    return slab_check_finite(t->query, t->momentum.at, "momentum.encoder_q.", &t->bounds.momentum, err);
}

moco_status step_check_update(struct trainer *t, const struct step *step, double gradient, struct err *err)
{
    struct norm_bounds after = step_bounds_after(t, step->lr, gradient);
    if (is_far(t, &after))
        return MOCO_OK;
    TRY(step_measure(t, err));
    after = step_bounds_after(t, step->lr, gradient);
    return is_far(t, &after) ? MOCO_OK : try_update(t, step->lr, err);
}
