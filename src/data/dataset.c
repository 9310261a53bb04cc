/* SPDX-License-Identifier: MIT
 *
 * dataset: what all data sets share. */
#include "dataset.h"

moco_status dataset_no_path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    (void)ds;
    (void)id;
    if (size == 0)
        return MOCO_ESHAPE;
    text[0] = 0;
    return MOCO_OK;
}

const char *dataset_no_class_name(const struct dataset *ds, int32_t label)
{
    (void)ds;
    (void)label;
    return "";
}

/* Reads each image whole. A bad image is counted and reported; any other failure ends the call. */
moco_status dataset_verify(const struct dataset *ds, int64_t first, int64_t count, int64_t max_pixels,
                           int (*report)(void *user, int64_t id, const char *path, const char *reason), void *user,
                           int64_t *bad, struct err *err)
{
    struct decoder decoder;
    moco_status status = MOCO_OK;
    *bad = 0;
    decoder_init(&decoder, ds->ctx, max_pixels, NULL);
    for (int64_t id = first; id < first + count && status == MOCO_OK; id++) {
        struct image image;
        struct err reason = {0};
        char path[4096 + 64];
        status = ds->ops->read(ds, id, &decoder, &image, &reason);
        if (status == MOCO_OK)
            continue;
        if (ds->ops->path(ds, id, path, sizeof path) != MOCO_OK)
            path[0] = 0;
        if (status != MOCO_EFORMAT) {
            err_prefix(&reason, path);
            status = err_set(err, status, "%s", reason.text);
            break;
        }
        ++*bad;
        status = MOCO_OK;
        if (report != NULL && report(user, id, path, reason.text) != 0)
            status = err_set(err, MOCO_ECANCELED, "stopped by the caller at image %lld", (long long)id);
    }
    decoder_free(&decoder);
    return status;
}

void dataset_free(struct dataset *ds)
{
    if (ds == NULL)
        return;
    struct ctx *ctx = ds->ctx;
    mem_free(ctx, ds->left_out);
    ds->ops->destroy(ds);
    ctx_unref(ctx);
}
