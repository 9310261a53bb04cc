/* SPDX-License-Identifier: MIT
 *
 * gallery_remake: see gallery_remake.h. */
#include "gallery_remake.h"

#include <math.h>
#include <string.h>

#include "folder/run_dir.h"
#include "gallery_make.h"
#include "images/augment_text.h"
#include "images/eval_view.h"
#include "images/open_data.h"
#include "measure/encode.h"
#include "support/from_moco.h"
#include "support/precision.h"

struct remake {
    moco_context *context;
    moco_device *device;
    moco_model *model;
    struct open_data data;
    struct gallery_plan plan;
};

static moco_status option(const struct run_log *log, const char *name, const char **value, struct err *err)
{
    *value = run_log_option(log, name);
    return *value != NULL ? MOCO_OK : err_set(err, MOCO_EFORMAT, "%.300s has no option \"%s\"", log->path, name);
}

/* The run's own, so that what is drawn again is the same; f32 if the run's machine had a precision that this one lacks. */
static moco_status choose_precision(struct remake *r, const char *of_run, struct err *err)
{
    moco_device_info device;
    moco_device_info_init(&device);
    TRY(from_moco(moco_device_describe(r->device, &device), err));
    int here = of_run != NULL && precision_runs(&device, of_run);
    r->plan.precision = here ? encode_precision(precision_parse(of_run)) : MOCO_PRECISION_F32;
    return MOCO_OK;
}

static moco_status plan(struct remake *r, const struct run_log *log, void (*warn)(const char *sentence),
                        struct err *err)
{
    const char *recipe, *eval, *on;
    moco_model_info info;
    int known;
    double seed = run_log_number(log, "seed"), max_pixels = run_log_number(log, "max-pixels");
    moco_model_info_init(&info);
    TRY(from_moco(moco_model_describe(r->model, &info), err));
    TRY(option(log, "recipe", &recipe, err));
    TRY(option(log, "eval-recipe", &eval, err));
    TRY(option(log, "knn-on", &on, err));
    TRY(from_moco(moco_augment_options_preset(&r->plan.view, recipe, info.image_size), err));
    const char *augment = run_log_option(log, "augment");
    if (augment != NULL)
        TRY(augment_text_apply(&r->plan.view, augment, err));
    TRY(eval_view_of(&r->plan.eval, r->model, 0, &known, err));
    if (!known) /* an encoder of before: the run's options say how it was looked at */
        TRY(eval_view_named(&r->plan.eval, eval, info.image_size, err));
    r->plan.device = r->device;
    r->plan.train = r->data.train;
    r->plan.held_out = r->data.held_out;
    r->plan.recipe = recipe;
    r->plan.on = strcmp(on, "projection") == 0 ? MOCO_PROJECTION : MOCO_FEATURES;
    TRY(choose_precision(r, run_log_option(log, "precision"), err));
    r->plan.seed = seed >= 0 ? (uint64_t)seed : 0;
    r->plan.workers = 1;
    r->plan.max_bad = -1;
    r->plan.warn = warn;
    r->plan.max_pixels = max_pixels >= 1 && max_pixels < 9e15 ? (int64_t)max_pixels : 0;
    r->plan.map_limit = GALLERY_MAP_IMAGES;
    r->plan.bank_limit = GALLERY_BANK_IMAGES;
    return MOCO_OK;
}

moco_status gallery_remake(const struct run_log *log, void (*warn)(const char *sentence), struct err *err)
{
    struct remake r = {0};
    const char *data, *device = run_log_option(log, "device");
    char path[RUN_PATH_SIZE];
    moco_status status;
    run_dir_path(log->folder, "encoder.safetensors", path);
    TRY_GOTO(status, option(log, "data", &data, err), out);
    TRY_GOTO(status, from_moco(moco_context_create(&r.context, NULL), err), out);
    TRY_GOTO(status, from_moco(moco_device_open(&r.device, r.context, device != NULL ? device : "cpu"), err), out);
    TRY_GOTO(status, from_moco(moco_model_open(&r.model, r.device, path), err), out);
    TRY_GOTO(status, open_data(&r.data, r.context, data, log->folder, err), out);
    TRY_GOTO(status, plan(&r, log, warn, err), out);
    status = gallery_make(&r.plan, r.model, log->folder, log->last_epoch > 0 ? log->last_epoch : 0,
                          log->last_step > 0 ? log->last_step : 0, err);
out:
    open_data_free(&r.data);
    moco_model_free(r.model);
    moco_device_free(r.device);
    moco_context_free(r.context);
    return status;
}
