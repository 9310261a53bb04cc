/* SPDX-License-Identifier: MIT
 *
 * any_encoder: see any_encoder.h. */
#include "any_encoder.h"

#include <stdio.h>
#include <string.h>

#include "support/from_moco.h"

static void take_line(void *user, int32_t kind, const char *sentence)
{
    struct any_encoder *e = user;
    int room = e->note_count < (int)(sizeof e->notes / sizeof e->notes[0]);
    if (kind == MOCO_IMPORT_NOTE && room)
        snprintf(e->notes[e->note_count++], sizeof e->notes[0], "%.255s", sentence);
}

moco_status any_encoder_import(struct any_encoder *e, moco_model **model, moco_context *context, moco_device *device,
                               const char *path, const moco_import_options *options, struct err *err)
{
    moco_weights *weights = NULL;
    moco_import_options o = *options;
    *e = (struct any_encoder){.imported = 1};
    moco_import_report_init(&e->report);
    e->report.line = take_line;
    e->report.user = e;
    if (o.prefix != NULL && strcmp(o.prefix, ".") == 0)
        o.prefix = "";
    TRY(from_moco(moco_weights_open(&weights, context, path), err));
    moco_status status = from_moco(moco_model_import(model, device, weights, &o, &e->report), err);
    moco_weights_free(weights);
    return status;
}

/* Did libmoco write it, whatever became of it since? Then what moco_model_open says of it is what counts. */
static int is_ours(moco_context *context, const char *path)
{
    moco_weights *weights = NULL;
    char text[64];
    if (moco_weights_open(&weights, context, path) != MOCO_OK)
        return 0;
    /* convert gives a file of others a hash, too, but not what says of a network how it is made */
    int ours = moco_weights_text(weights, "moco.format", text, sizeof text) == MOCO_OK ||
               moco_weights_text(weights, "format_version", text, sizeof text) == MOCO_OK;
    moco_weights_free(weights);
    return ours;
}

moco_status any_encoder_open(struct any_encoder *e, moco_model **model, moco_context *context, moco_device *device,
                             const char *path, const moco_import_options *options, struct err *err)
{
    struct err why = {0};
    *e = (struct any_encoder){0};
    moco_status status = from_moco(moco_model_open(model, device, path), &why);
    if (status == MOCO_OK)
        return MOCO_OK;
    if (status != MOCO_EFORMAT || is_ours(context, path))
        return err_set(err, status, "%s", why.text);
    return any_encoder_import(e, model, context, device, path, options, err);
}

void any_encoder_print(const struct any_encoder *e, const char *label, int width)
{
    const int64_t *count = e->report.count;
    if (!e->imported)
        return;
    printf("%-*s imported from names that begin with \"%s\": %lld tensors used, %lld not", width, label,
           e->report.prefix, (long long)count[MOCO_IMPORT_USED], (long long)count[MOCO_IMPORT_UNUSED]);
    if (count[MOCO_IMPORT_MISSING] > 0)
        printf(", %lld counts missing (0 then)", (long long)count[MOCO_IMPORT_MISSING]);
    if (count[MOCO_IMPORT_ROUNDED] > 0)
        printf(", %lld rounded to f32", (long long)count[MOCO_IMPORT_ROUNDED]);
    if (count[MOCO_IMPORT_WIDENED] > 0)
        printf(", %lld widened", (long long)count[MOCO_IMPORT_WIDENED]);
    printf("\n");
    for (int i = 0; i < e->note_count; i++)
        printf("%-*s %s\n", width, "", e->notes[i]);
    printf("%-*s taken for granted: ResNet v1.5, colours in the order RGB, ImageNet's mean and std%s\n", width, "",
           count[MOCO_IMPORT_UNVERIFIED] > 0 ? "; no checksum proves its numbers" : "");
}
