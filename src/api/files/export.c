/* SPDX-License-Identifier: MIT
 *
 * moco/export.h: encoders and training states as files of other programs. */
#include "moco/export.h"

#include "algo/export/export.h"
#include "api/objects.h"

_Static_assert(sizeof(moco_export_options) % 8 == 0, "struct sizes are multiples of 8");

void moco_export_options_init_sized(moco_export_options *options, size_t size)
{
    moco_export_options defaults = {.epoch = -1};
    struct_init(options, size, &defaults, sizeof defaults);
}

moco_status export_options_read(moco_export_options *o, const moco_export_options *given, struct err *err)
{
    moco_export_options_init(o);
    if (given == NULL)
        return MOCO_OK;
    TRY(struct_read(o, sizeof *o, given, "options", err));
    return struct_reserved(o->reserved0, "moco_export_options.reserved0", err);
}

static moco_status export_model(moco_model *model, const char *path, const moco_export_options *options,
                                struct err *err)
{
    moco_export_options o;
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(api_not_null(path, "path", err));
    TRY(export_options_read(&o, options, err));
    return encoder_export(model->encoder, path, &o, err);
}

moco_status moco_model_export(moco_model *model, const char *path, const moco_export_options *options)
{
    struct err err = {0};
    return api_return(export_model(model, path, options, &err), "moco_model_export", &err);
}
