/* SPDX-License-Identifier: MIT
 *
 * moco/import.h: encoders and training states from files of other programs. Apart from weights.c, this is the only
 * code of a public header that uses the reader of pickles (tests/abi/test_small_core.sh). */
#include "moco/import.h"

#include "algo/import/import.h"
#include "api/objects.h"

_Static_assert(sizeof(moco_import_options) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_import_report) % 8 == 0, "struct sizes are multiples of 8");
_Static_assert(sizeof(moco_import_found) % 8 == 0, "struct sizes are multiples of 8");

void moco_import_options_init_sized(moco_import_options *options, size_t size)
{
    moco_model_options network;
    moco_model_options_init(&network);
    moco_import_options defaults = {
        .mean = {network.mean[0], network.mean[1], network.mean[2]},
        .std = {network.std[0], network.std[1], network.std[2]},
        .image_size = network.image_size,
    };
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_import_report_init_sized(moco_import_report *report, size_t size)
{
    moco_import_report defaults = {0};
    struct_init(report, size, &defaults, sizeof defaults);
}

void moco_import_found_init_sized(moco_import_found *found, size_t size)
{
    moco_import_found defaults = {0};
    struct_init(found, size, &defaults, sizeof defaults);
}

/* ---- what a caller gives ---- */

static moco_status read_options(moco_import_options *o, const moco_import_options *given, struct err *err)
{
    moco_import_options_init(o);
    if (given != NULL)
        TRY(struct_read(o, sizeof *o, given, "options", err));
    TRY(struct_reserved(o->reserved0, "moco_import_options.reserved0", err));
    if (o->which != MOCO_IMPORT_QUERY && o->which != MOCO_IMPORT_KEY)
        return err_set(err, MOCO_EINVAL, "which is %d; it must be MOCO_IMPORT_QUERY or MOCO_IMPORT_KEY", o->which);
    if (o->take_head < MOCO_IMPORT_HEAD_IF_THERE || o->take_head > MOCO_IMPORT_HEAD_FRESH)
        return err_set(err, MOCO_EINVAL, "take_head is %d; it must be a moco_import_head, 0 to 2", o->take_head);
    if (o->dim < 0 || o->dim > 65536)
        return err_set(err, MOCO_EINVAL, "dim is %d; it must be 0 to 65536", o->dim);
    if (o->image_size < 1 || o->image_size > 16384)
        return err_set(err, MOCO_EINVAL, "image_size is %d; it must be 1 to 16384", o->image_size);
    struct net_config unused;
    return net_config_parse(&unused, "resnet50", o->stem != NULL ? o->stem : "imagenet",
                            o->head != NULL ? o->head : "mlp", err);
}

/* NULL: a report that nobody sees. */
static moco_status read_report(moco_import_report *r, const moco_import_report *given, struct err *err)
{
    moco_import_report_init(r);
    if (given == NULL)
        return MOCO_OK;
    TRY(struct_read(r, sizeof *r, given, "report", err));
    *r = (moco_import_report){.line = r->line, .user = r->user};
    return MOCO_OK;
}

static void write_report(moco_import_report *report, const moco_import_report *filled)
{
    if (report != NULL)
        struct_write(report, filled, sizeof *filled);
}

/* ---- encoders ---- */

static moco_status candidate(const moco_weights *w, int64_t index, moco_import_found *found, struct err *err)
{
    moco_import_found filled = {0};
    TRY(handle_check(w, HANDLE_WEIGHTS, "weights", err));
    TRY(struct_check(found, "found", err));
    TRY(import_candidate(w->handle.ctx, w->weights, index, &filled, err));
    struct_write(found, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_import_candidate(const moco_weights *weights, int64_t index, moco_import_found *found)
{
    struct err err = {0};
    return api_return(candidate(weights, index, found, &err), "moco_import_candidate", &err);
}

static moco_status import_model(moco_model **out, moco_device *device, moco_weights *weights,
                                const moco_import_options *given, moco_import_report *report, struct err *err)
{
    moco_import_options o;
    moco_import_report r;
    TRY(model_new(out, device, err));
    moco_status status = handle_check(weights, HANDLE_WEIGHTS, "weights", err);
    if (status == MOCO_OK)
        status = read_options(&o, given, err);
    if (status == MOCO_OK)
        status = read_report(&r, report, err);
    if (status != MOCO_OK)
        return model_made(out, status);
    handle_ref(&weights->handle); /* a callback may free it */
    status = import_encoder(&(*out)->encoder, device->handle.ctx, device->backend, device->dev, weights->weights, &o,
                            &r, err);
    handle_unref(&weights->handle);
    write_report(report, &r);
    return model_made(out, status);
}

moco_status moco_model_import(moco_model **model, moco_device *device, moco_weights *weights,
                              const moco_import_options *options, moco_import_report *report)
{
    struct err err = {0};
    return api_return(import_model(model, device, weights, options, report, &err), "moco_model_import", &err);
}

/* ---- training states ---- */

static moco_status import_state(moco_trainer *trainer, moco_weights *weights, moco_import_report *report,
                                struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    moco_import_report r;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(handle_check(weights, HANDLE_WEIGHTS, "weights", err));
    TRY(read_report(&r, report, err));
    handle_ref(&weights->handle);
    moco_status status = import_trainer(trainer->trainer, weights->weights, &r, err);
    handle_unref(&weights->handle);
    write_report(report, &r);
    return status;
}

moco_status moco_trainer_import(moco_trainer *trainer, moco_weights *weights, moco_import_report *report)
{
    struct err err = {0};
    return api_return(import_state(trainer, weights, report, &err), "moco_trainer_import", &err);
}
