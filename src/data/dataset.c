/* SPDX-License-Identifier: MIT
 *
 * dataset: what all data sets share. */
#include "dataset.h"

void dataset_free(struct dataset *ds)
{
    if (ds == NULL)
        return;
    struct ctx *ctx = ds->ctx;
    ds->ops->destroy(ds);
    ctx_unref(ctx);
}
