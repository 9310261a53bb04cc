/* SPDX-License-Identifier: MIT
 *
 * train_init: see train_init.h. */
#include "train_init.h"

#include <stdio.h>
#include <string.h>

#include "measure/any_encoder.h"
#include "support/from_moco.h"

static moco_status agree(struct run *r, const moco_model_info *info, struct err *err)
{
    struct run_config *c = &r->note.config;
    int arch = c->given[cli_find(&run_cli, "arch")], width = c->given[cli_find(&run_cli, "width")];
    r->resume.check.conflict = 1;
    if (arch && strcmp(c->arch, info->arch) != 0)
        return err_set(err, MOCO_EINVAL, "--arch %s: %.300s holds a %s; leave --arch out, or name another file",
                       c->arch, c->init, info->arch);
    if (width && c->width != info->width)
        return err_set(err, MOCO_EINVAL,
                       "--width %g: %.300s holds a network of width %g; leave --width out, or name "
                       "another file",
                       c->width, c->init, info->width);
    r->resume.check.conflict = 0;
    memcpy(c->arch, info->arch, sizeof info->arch);
    c->width = info->width;
    return MOCO_OK;
}

moco_status train_take_init(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    struct any_encoder from;
    moco_model_options network;
    moco_import_options o;
    moco_model_info info;
    if (c->init[0] == 0)
        return MOCO_OK;
    run_config_model(c, &network);
    moco_import_options_init(&o);
    moco_model_info_init(&info);
    o.prefix = c->prefix[0] != 0 ? c->prefix : NULL;
    o.stem = network.stem;
    o.head = network.head;
    o.dim = network.dim;
    memcpy(o.mean, network.mean, sizeof o.mean);
    memcpy(o.std, network.std, sizeof o.std);
    o.seed = network.seed;
    o.image_size = network.image_size;
    TRY(any_encoder_import(&from, &r->model, r->context, r->device, c->init, &o, err));
    TRY(from_moco(moco_model_describe(r->model, &info), err));
    TRY(agree(r, &info, err));
    printf("%-20s %s\n", "init", c->init);
    any_encoder_print(&from, "", 20);
    return MOCO_OK;
}
