/* SPDX-License-Identifier: MIT
 *
 * export_tensors: the encoder's tensors as a list, and as a safetensors file, which an export folder contains too. */
#include <string.h>

#include "algo/export/export.h"
#include "algo/file_config.h"

struct state export_state(struct encoder_view *view, int head)
{
    struct state state = encoder_state(view);
    state.file_bytes = sizeof(float);
    for (int i = 0; i < state.count && !head; i++)
        if (strncmp(view->encoder->names[i], "fc.", 3) == 0)
            state.count = i; /* the head is built last */
    return state;
}

static moco_status put_texts(struct safetensors_metadata *m, const struct encoder *e, int head, struct err *err)
{
    TRY(config_put_kind(m, head ? FILE_ENCODER : FILE_BACKBONE, err));
    TRY(config_put_model(m, &e->config, err));
    return config_put_recipe(m, &e->recipe, err);
}

moco_status export_safetensors_begin(struct safetensors_writer **out, struct encoder *encoder, const char *path,
                                     int head, struct err *err)
{
    struct encoder_view view = {encoder, &encoder->numbers};
    struct state state = export_state(&view, head);
    struct safetensors_metadata metadata;
    safetensors_metadata_init(&metadata, encoder->ctx);
    moco_status status = put_texts(&metadata, encoder, head, err);
    if (status == MOCO_OK)
        status = state_write(out, encoder->ctx, path, &state, &metadata, err);
    safetensors_metadata_free(&metadata);
    return status;
}

moco_status export_safetensors(struct encoder *encoder, const char *path, int head, struct err *err)
{
    struct safetensors_writer *writer = NULL;
    TRY(export_safetensors_begin(&writer, encoder, path, head, err));
    return safetensors_commit(writer, err);
}
