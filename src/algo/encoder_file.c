/* SPDX-License-Identifier: MIT
 *
 * encoder_file: see encoder_file.h. */
#include "algo/encoder_file.h"

#include "algo/file_config.h"

static const char *view_name(void *self, int i)
{
    return ((struct encoder_view *)self)->encoder->names[i];
}

static void view_shape(void *self, int i, struct tensor_shape *shape)
{
    encoder_tensor_shape(((struct encoder_view *)self)->encoder, i, shape);
}

static moco_status view_get(void *self, int i, void *values, size_t size, struct err *err)
{
    struct encoder_view *view = self;
    return encoder_tensor_get(view->encoder, view->numbers, i, values, size, err);
}

static moco_status view_set(void *self, int i, const void *values, size_t size, struct err *err)
{
    struct encoder_view *view = self;
    return encoder_tensor_set(view->encoder, view->numbers, i, values, size, err);
}

struct state encoder_state(struct encoder_view *view)
{
    return (struct state){.self = view,
                          .count = view->encoder->graph->state_count,
                          .real_bytes = view->encoder->real_bytes,
                          .file_bytes = view->encoder->real_bytes,
                          .device = {view->encoder->be, view->encoder->dev},
                          .name = view_name,
                          .shape = view_shape,
                          .get = view_get,
                          .set = view_set};
}

moco_status encoder_save(struct encoder *encoder, const char *path, struct err *err)
{
    struct encoder_view view = {encoder, &encoder->numbers};
    struct state state = encoder_state(&view);
    struct safetensors_metadata metadata;
    safetensors_metadata_init(&metadata, encoder->ctx);
    encoder_lock(encoder); /* a trainer's commit waits: the file is of one state */
    moco_status status = config_put_kind(&metadata, FILE_ENCODER, err);
    if (status == MOCO_OK)
        status = config_put_model(&metadata, &encoder->config, err);
    if (status == MOCO_OK)
        status = config_put_recipe(&metadata, &encoder->recipe, err);
    if (status == MOCO_OK)
        status = state_save(encoder->ctx, path, &state, &metadata, err);
    encoder_unlock(encoder);
    safetensors_metadata_free(&metadata);
    return status;
}

/* ---- reading ---- */

/* Opens a file of either kind, verifies all of it, and returns the prefix of the encoder's names and the network. */
static moco_status open_proved(struct safetensors **file, struct ctx *ctx, const char *path, const char **prefix,
                               struct net_config *config, struct err *err)
{
    moco_status status;
    enum file_kind kind;
    TRY(safetensors_open(file, ctx, path, 0, err));
    TRY_GOTO(status, config_get_kind(*file, &kind, err), fail);
    if (kind != FILE_ENCODER && kind != FILE_TRAINER) {
        status = err_set(err, MOCO_EFORMAT, "%s: it holds %s, not an encoder", path, config_kind_words(kind));
        goto fail;
    }
    TRY_GOTO(status, safetensors_verify(*file, NULL, NULL, err), fail);
    TRY_GOTO(status, config_get_model(*file, config, err), fail);
    *prefix = kind == FILE_TRAINER ? "encoder_q." : "";
    return MOCO_OK;
fail:
    safetensors_close(*file);
    *file = NULL;
    return status;
}

/* Are the tensors of the network there, each with its shape? Nothing is read. */
static moco_status check_tensors(const struct safetensors *file, const char *prefix, struct encoder *encoder,
                                 struct err *err)
{
    struct encoder_view view = {encoder, NULL};
    struct state state = encoder_state(&view);
    TRY(state_check(file, prefix, 0, &state, err));
    if (prefix[0] == 0 && safetensors_count(file) != state.count) /* none is missing, so some are foreign */
        return err_set(err, MOCO_EFORMAT, "%s: it holds %lld tensors, and the network that it describes has %d",
                       safetensors_path(file), (long long)safetensors_count(file), state.count);
    return MOCO_OK;
}

/* Into numbers that memory is taken for here, once the file is known to hold as many. */
static moco_status read_numbers(const struct safetensors *file, const char *prefix, struct encoder *encoder,
                                struct encoder_numbers *numbers, struct err *err)
{
    struct encoder_view view = {encoder, numbers};
    struct state state = encoder_state(&view);
    TRY(check_tensors(file, prefix, encoder, err));
    TRY(encoder_numbers_alloc(encoder, numbers, err));
    return state_read(encoder->ctx, file, prefix, &state, err);
}

moco_status encoder_open(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                         const char *path, struct err *err)
{
    *out = NULL;
    struct safetensors *file = NULL;
    const char *prefix;
    struct net_config config;
    TRY(open_proved(&file, ctx, path, &prefix, &config, err));
    moco_status status = config_bad(file, encoder_create_hollow(out, ctx, be, dev, &config, err), err);
    if (status == MOCO_OK)
        status = config_get_recipe(file, &(*out)->recipe, err);
    if (status == MOCO_OK)
        status = read_numbers(file, prefix, *out, &(*out)->numbers, err);
    safetensors_close(file);
    if (status != MOCO_OK) {
        encoder_free(*out);
        *out = NULL;
    }
    return status;
}

static moco_status check_network(const struct safetensors *file, const struct encoder *encoder, struct err *err)
{
    struct safetensors_metadata ours;
    safetensors_metadata_init(&ours, encoder->ctx);
    moco_status status = config_put_model(&ours, &encoder->config, err);
    if (status == MOCO_OK)
        status = config_compare(file, &ours, "model.", MOCO_ESHAPE, err);
    safetensors_metadata_free(&ours);
    return status;
}

/* Replaces the numbers of an encoder by those of a file for the same network. The lock makes the replacement atomic
 * for a thread that embeds. */
moco_status encoder_load(struct encoder *encoder, const char *path, struct err *err)
{
    struct safetensors *file = NULL;
    const char *prefix;
    struct net_config config;
    struct encoder_numbers fresh = {0};
    moco_augment_options recipe = {0};
    TRY(open_proved(&file, encoder->ctx, path, &prefix, &config, err));
    moco_status status;
    TRY_GOTO(status, check_network(file, encoder, err), done);
    TRY_GOTO(status, config_get_recipe(file, &recipe, err), done);
    TRY_GOTO(status, read_numbers(file, prefix, encoder, &fresh, err), done);
    encoder_lock(encoder);
    encoder_numbers_swap(encoder, &fresh);
    if (recipe.size != 0)
        encoder->recipe = recipe;
    encoder->config.seed = config.seed; /* where these weights come from */
    encoder->config.zero_init = config.zero_init;
    encoder->config.image_h = encoder->config.image_w = config.image_h;
    encoder_unlock(encoder);
done:
    encoder_numbers_free(encoder, &fresh);
    safetensors_close(file);
    return status;
}
