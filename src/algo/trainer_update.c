/* SPDX-License-Identifier: MIT
 *
 * trainer_update: the optimizer's update, and whether it would make a weight infinite, which is asked before anything
 * of the step is committed. What a reader would get wrong: the answer costs no pass over the weights. Norms of weights
 * and momentum are bounded from step to step by the norm of the gradient, which is known; only if that bound comes near
 * the largest number are they measured again, and only if it still does is the update tried, on copies. */
#include <float.h>
#include <math.h>

#include "algo/reals.h"
#include "algo/trainer_step.h"
#include "num.h"

#define COPY_BYTES ((size_t)1 << 20)

/* No number of a slab whose norm is below this can round to infinity. */
static double far_from_overflow(const struct trainer *t)
{
    return t->precision == BE_F64 ? DBL_MAX / 16 : (double)FLT_MAX / 16;
}

/* Norms after an update with rate `lr` are at most this: |a + b| <= |a| + |b|. */
static struct norm_bounds bounds_after(const struct trainer *t, double lr, double gradient)
{
    struct norm_bounds after, now = t->bounds;
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

static int is_far(const struct trainer *t, const struct norm_bounds *bounds)
{
    return bounds->weights < far_from_overflow(t) && bounds->momentum < far_from_overflow(t);
}

moco_status step_update(struct trainer *t, const struct update_place *to, double lr, int *finite, struct err *err)
{
    if (t->o.optimizer == MOCO_OPTIMIZER_LARS) {
        struct be_lars lars = {.p = to->query,
                               .g = t->gradients.at,
                               .v = to->momentum,
                               .k = to->key,
                               .m = t->o.key_momentum,
                               .lr = lr,
                               .momentum = t->o.sgd_momentum,
                               .weight_decay = t->o.weight_decay,
                               .trust = t->o.trust_coefficient};
        TRY(t->be->lars(t->layout, t->precision, &lars, to->readers, err));
        *finite = lars.finite;
        return MOCO_OK;
    }
    /* `first` stays 0: the momentum slab starts as zeros, or as what was set or loaded, and 0 * momentum + g is
     * PyTorch's first step. */
    struct be_sgd sgd = {.p = to->query,
                         .g = t->gradients.at,
                         .v = to->momentum,
                         .k = to->key,
                         .m = t->o.key_momentum,
                         .lr = lr,
                         .momentum = t->o.sgd_momentum,
                         .weight_decay = t->o.weight_decay};
    TRY(t->be->sgd(t->layout, t->precision, &sgd, to->readers, err));
    *finite = sgd.finite;
    return MOCO_OK;
}

/* ---- an update on copies ---- */

static moco_status copy_slab(const struct trainer *t, struct be_memory *copy, const void *from, void *host,
                             struct err *err)
{
    size_t bytes = t->be->layout_bytes(t->layout);
    TRY(t->be->alloc(t->dev, bytes, copy, err));
    return device_copy(t->be, t->dev, copy->at, from, bytes, host, COPY_BYTES, err);
}

/* The key encoder follows numbers that are finite, and stays between them. */
static moco_status try_update(struct trainer *t, double lr, struct err *err)
{
    struct be_memory query = {0}, momentum = {0};
    struct err which = {0};
    int finite;
    moco_status status = MOCO_ENOMEM;
    void *host = mem_alloc(t->ctx, COPY_BYTES, err);
    if (host == NULL)
        return status;
    TRY_GOTO(status, copy_slab(t, &query, t->query->numbers.masters.at, host, err), done);
    TRY_GOTO(status, copy_slab(t, &momentum, t->momentum.at, host, err), done);
    struct update_place to = {.query = query.at, .momentum = momentum.at};
    TRY_GOTO(status, step_update(t, &to, lr, &finite, err), done);
    if (finite)
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
    mem_free(t->ctx, host);
    return status;
}

moco_status step_measure(struct trainer *t, struct err *err)
{
    TRY(slab_check_finite(t->query, t->query->numbers.masters.at, "encoder_q.", &t->bounds.weights, err));
    return slab_check_finite(t->query, t->momentum.at, "momentum.encoder_q.", &t->bounds.momentum, err);
}

moco_status step_check_update(struct trainer *t, double lr, double gradient, struct norm_bounds *after, struct err *err)
{
    *after = bounds_after(t, lr, gradient);
    if (is_far(t, after))
        return MOCO_OK;
    TRY(step_measure(t, err));
    *after = bounds_after(t, lr, gradient);
    return is_far(t, after) ? MOCO_OK : try_update(t, lr, err);
}
