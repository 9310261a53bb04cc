/* SPDX-License-Identifier: MIT
 *
 * moco/probe.h: the linear probe behind a handle. It holds a reference on its device. */
#include "moco/probe.h"

#include <string.h>

#include "api/handle.h"
#include "eval/probe.h"

_Static_assert(MOCO_PROBE_RATES == PROBE_RATES, "the public number of rates is the probe's");
_Static_assert(sizeof(moco_probe_options) % 8 == 0 && sizeof(moco_probe_fit_options) % 8 == 0 &&
                   sizeof(moco_score) % 8 == 0,
               "struct sizes are multiples of 8");

struct moco_probe {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct probe *probe;
};

static const moco_probe_options probe_defaults = {.rates = 1, .lr = {30}, .momentum = 0.9};
static const moco_probe_fit_options fit_defaults = {.epochs = 100, .batch_size = 256, .milestones = {60, 80, 0}};
static const double sweep[] = {0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};

void moco_probe_options_init_sized(moco_probe_options *options, size_t size)
{
    struct_init(options, size, &probe_defaults, sizeof probe_defaults);
}

void moco_probe_fit_options_init_sized(moco_probe_fit_options *options, size_t size)
{
    struct_init(options, size, &fit_defaults, sizeof fit_defaults);
}

void moco_score_init_sized(moco_score *score, size_t size)
{
    moco_score defaults = {0};
    struct_init(score, size, &defaults, sizeof defaults);
}

/* ---- making one ---- */

static void probe_destroy(struct handle *handle)
{
    moco_probe *probe = (moco_probe *)handle;
    probe_free(probe->probe);
    if (probe->device != NULL)
        handle_unref(&probe->device->handle);
}

static moco_status blank(moco_probe **out, moco_device *device, struct err *err)
{
    *out = handle_new(device->handle.ctx, sizeof **out, HANDLE_PROBE, probe_destroy, err);
    if (*out == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    (*out)->device = device;
    return MOCO_OK;
}

static moco_status finish(moco_probe **out, moco_probe *probe, moco_status status)
{
    if (status == MOCO_OK)
        *out = probe;
    else
        handle_free(probe, HANDLE_PROBE);
    return status;
}

static moco_status make(moco_probe **out, moco_device *device, const moco_probe_options *options, struct err *err)
{
    moco_probe_options o = probe_defaults;
    moco_probe *probe;
    TRY(api_not_null(out, "probe", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(struct_read(&o, sizeof o, options, "options", err));
    if (o.rates == 0) {
        o.rates = (int32_t)(sizeof sweep / sizeof *sweep);
        memcpy(o.lr, sweep, sizeof sweep);
    }
    struct probe_config config = {.dim = o.dim,
                                  .classes = o.classes,
                                  .rates = o.rates,
                                  .momentum = o.momentum,
                                  .weight_decay = o.weight_decay,
                                  .seed = o.seed};
    memcpy(config.lr, o.lr, sizeof config.lr);
    TRY(blank(&probe, device, err));
    return finish(out, probe,
                  probe_create(&probe->probe, device->handle.ctx, device->backend, device->dev, &config, err));
}

moco_status moco_probe_create(moco_probe **probe, moco_device *device, const moco_probe_options *options)
{
    struct err err = {0};
    return api_return(make(probe, device, options, &err), "moco_probe_create", &err);
}

static moco_status open_file(moco_probe **out, moco_device *device, const char *path, char *note, size_t note_size,
                             struct err *err)
{
    moco_probe *probe;
    TRY(api_not_null(out, "probe", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(api_not_null(path, "path", err));
    TRY(blank(&probe, device, err));
    return finish(
        out, probe,
        probe_open(&probe->probe, device->handle.ctx, device->backend, device->dev, path, note, note_size, err));
}

moco_status moco_probe_open(moco_probe **probe, moco_device *device, const char *path, char *note, size_t note_size)
{
    struct err err = {0};
    return api_return(open_file(probe, device, path, note, note_size, &err), "moco_probe_open", &err);
}

void moco_probe_free(moco_probe *probe)
{
    handle_free(probe, HANDLE_PROBE);
}

/* ---- asking and saving ---- */

static moco_status describe(const moco_probe *probe, moco_probe_options *options, int64_t *steps, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, probe, HANDLE_PROBE, "probe", err));
    if (options != NULL)
        TRY(struct_check(options, "options", err));
    const struct probe_config *c = &probe->probe->config;
    moco_probe_options o = {.dim = c->dim,
                            .classes = c->classes,
                            .rates = c->rates,
                            .momentum = c->momentum,
                            .weight_decay = c->weight_decay,
                            .seed = c->seed};
    memcpy(o.lr, c->lr, sizeof o.lr);
    if (options != NULL)
        struct_write(options, &o, sizeof o);
    if (steps != NULL)
        *steps = probe->probe->steps;
    return MOCO_OK;
}

moco_status moco_probe_describe(const moco_probe *probe, moco_probe_options *options, int64_t *steps)
{
    struct err err = {0};
    return api_return(describe(probe, options, steps, &err), "moco_probe_describe", &err);
}

static moco_status save(moco_probe *probe, const char *path, const char *note, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(api_not_null(path, "path", err));
    return probe_save(probe->probe, path, note, err);
}

moco_status moco_probe_save(moco_probe *probe, const char *path, const char *note)
{
    struct err err = {0};
    return api_return(save(probe, path, note, &err), "moco_probe_save", &err);
}

/* ---- rows ---- */

/* Of a probe that the caller has entered. */
static moco_status check(const moco_probe *probe, const moco_tensor *features, const int32_t *labels, struct err *err)
{
    int64_t count;
    TRY(tensor_check(features, "features", 0, &count, err));
    TRY(api_not_null(labels, "labels", err));
    if (features->dtype != MOCO_F32 || features->ndim != 2 || features->shape[1] != probe->probe->config.dim)
        return err_set(err, MOCO_ESHAPE, "features must be f32 [n,%d]", probe->probe->config.dim);
    return MOCO_OK;
}

static moco_status step(moco_probe *probe, const moco_tensor *features, const int32_t *labels, double factor,
                        double *loss, double *top1, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(check(probe, features, labels, err));
    return probe_step(probe->probe, features->data, labels, features->shape[0], factor, loss, top1, err);
}

moco_status moco_probe_step(moco_probe *probe, const moco_tensor *features, const int32_t *labels, double factor,
                            double *loss, double *top1)
{
    struct err err = {0};
    return api_return(step(probe, features, labels, factor, loss, top1, &err), "moco_probe_step", &err);
}

static moco_status fit(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                       const moco_probe_fit_options *options, struct err *err)
{
    struct turn turn HANDLE_TURN;
    moco_probe_fit_options o = fit_defaults;
    TRY(handle_enter(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(check(probe, features, labels, err));
    if (options != NULL)
        TRY(struct_read(&o, sizeof o, options, "options", err));
    struct probe_fit f = {.epochs = o.epochs, .batch = o.batch_size, .progress = o.progress, .user = o.user};
    for (int i = 0; i < 3; i++)
        f.milestones[i] = o.milestones[i];
    return probe_fit(probe->probe, features->data, labels, features->shape[0], &f, err);
}

moco_status moco_probe_fit(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                           const moco_probe_fit_options *options)
{
    struct err err = {0};
    return api_return(fit(probe, features, labels, options, &err), "moco_probe_fit", &err);
}

static void score_write(moco_score *score, int rate, const struct probe_score *sums)
{
    moco_score filled = {.rate = rate, .n = sums->n, .top1 = sums->top1, .top5 = sums->top5, .loss = sums->loss};
    struct_write(score, &filled, sizeof filled);
}

static moco_status evaluate(moco_probe *probe, const moco_tensor *features, const int32_t *labels, moco_score *score,
                            int64_t *confusion, struct err *err)
{
    struct turn turn HANDLE_TURN;
    moco_score s = {0};
    TRY(handle_enter_nested(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(check(probe, features, labels, err));
    TRY(struct_read(&s, sizeof s, score, "score", err));
    struct probe_score sums = {.n = s.n, .top1 = s.top1, .top5 = s.top5, .loss = s.loss};
    TRY(probe_evaluate(probe->probe, s.rate, features->data, labels, features->shape[0], &sums, confusion, err));
    score_write(score, s.rate, &sums);
    return MOCO_OK;
}

moco_status moco_probe_evaluate(moco_probe *probe, const moco_tensor *features, const int32_t *labels,
                                moco_score *score, int64_t *confusion)
{
    struct err err = {0};
    return api_return(evaluate(probe, features, labels, score, confusion, &err), "moco_probe_evaluate", &err);
}

static moco_status best(moco_probe *probe, const moco_tensor *features, const int32_t *labels, moco_score *score,
                        struct err *err)
{
    struct turn turn HANDLE_TURN;
    struct probe_score sums;
    int rate;
    TRY(handle_enter_nested(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(check(probe, features, labels, err));
    TRY(struct_check(score, "score", err));
    TRY(probe_best(probe->probe, features->data, labels, features->shape[0], &rate, &sums, err));
    score_write(score, rate, &sums);
    return MOCO_OK;
}

moco_status moco_probe_best(moco_probe *probe, const moco_tensor *features, const int32_t *labels, moco_score *score)
{
    struct err err = {0};
    return api_return(best(probe, features, labels, score, &err), "moco_probe_best", &err);
}

static moco_status predict(moco_probe *probe, int rate, const moco_tensor *features, int32_t *labels, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, probe, HANDLE_PROBE, "probe", err));
    TRY(check(probe, features, labels, err));
    return probe_predict(probe->probe, rate, features->data, features->shape[0], labels, err);
}

moco_status moco_probe_predict(moco_probe *probe, int rate, const moco_tensor *features, int32_t *labels)
{
    struct err err = {0};
    return api_return(predict(probe, rate, features, labels, &err), "moco_probe_predict", &err);
}
