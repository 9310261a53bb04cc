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
    encoder_lock_landed(encoder); /* a trainer's commit waits: the file is of one state */
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

/* Opens a file of either kind, and returns the prefix of the encoder's names and the network. Of a checkpoint everything
 * is verified; of an encoder's file the header, since each tensor is when it is read, and all are read. */
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
    TRY_GOTO(status,
             kind == FILE_TRAINER ? safetensors_verify(*file, NULL, NULL, err) : safetensors_verify_header(*file, err),
             fail);
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

/* Into numbers that memory is taken for here, once the file is known to hold as many (check_tensors). */
static moco_status read_numbers(const struct safetensors *file, const char *prefix, struct encoder *encoder,
                                struct encoder_numbers *numbers, struct err *err)
{
    struct encoder_view view = {encoder, numbers};
    struct state state = encoder_state(&view);
    TRY(encoder_numbers_alloc(encoder, numbers, err));
    return state_read(encoder->ctx, file, prefix, &state, err);
}

moco_status encoder_source_open(struct encoder_source *out, struct ctx *ctx, const struct backend *be,
                                struct be_device *dev, const char *path, struct err *err)
{
    struct net_config config;
    *out = (struct encoder_source){0};
    TRY(open_proved(&out->file, ctx, path, &out->prefix, &config, err));
    moco_status status = config_bad(out->file, encoder_create_hollow(&out->encoder, ctx, be, dev, &config, err), err);
    if (status == MOCO_OK)
        status = config_get_recipe(out->file, &out->encoder->recipe, err);
    if (status == MOCO_OK)
        status = check_tensors(out->file, out->prefix, out->encoder, err);
    if (status != MOCO_OK)
        encoder_source_close(out);
    return status;
}

void encoder_source_close(struct encoder_source *source)
{
    encoder_free(source->encoder);
    safetensors_close(source->file);
    *source = (struct encoder_source){0};
}

moco_status encoder_open(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                         const char *path, struct err *err)
{
    struct encoder_source source;
    *out = NULL;
    TRY(encoder_source_open(&source, ctx, be, dev, path, err));
    moco_status status = read_numbers(source.file, source.prefix, source.encoder, &source.encoder->numbers, err);
    if (status == MOCO_OK) {
        *out = source.encoder;
        source.encoder = NULL;
    }
    encoder_source_close(&source);
    return status;
}

/* ---- straight into folded weights ---- */

struct direct {
    const struct encoder_source *source;
    struct state state;
};

/* A parameter is where it is wanted as soon as it has been read. */
static moco_status keep(void *self, int i, const void *values, size_t size, struct err *err)
{
    (void)self;
    (void)i;
    (void)values;
    (void)size;
    (void)err;
    return MOCO_OK;
}

static moco_status get_param(void *self, int index, float *values, struct err *err)
{
    const struct direct *d = self;
    const struct graph *g = d->source->encoder->graph;
    int i = 0;
    while (g->states[i].kind != STATE_PARAM || g->states[i].index != index)
        i++;
    return state_read_tensor(d->source->file, d->source->prefix, &d->state, i, values, err);
}

/* Everything but parameters. */
static moco_status read_stats(const struct encoder_source *source, const struct state *state, struct err *err)
{
    const struct graph *g = source->encoder->graph;
    int64_t most = 1;
    TRY(encoder_stats_alloc(source->encoder, &source->encoder->numbers, err));
    for (int i = 0; i < g->stat_count; i++)
        most = g->stats[i].channels > most ? g->stats[i].channels : most;
    double *values = mem_array(source->encoder->ctx, (size_t)most, sizeof *values, err);
    moco_status status = values == NULL ? MOCO_ENOMEM : MOCO_OK;
    for (int i = 0; i < g->state_count && status == MOCO_OK; i++)
        if (g->states[i].kind != STATE_PARAM)
            status = state_read_tensor(source->file, source->prefix, state, i, values, err);
    mem_free(source->encoder->ctx, values);
    return status;
}

moco_status encoder_source_fold(struct encoder_source *source, struct server *server, struct err *err)
{
    struct encoder *e = source->encoder;
    struct encoder_view view = {e, &e->numbers};
    struct direct direct = {.source = source, .state = encoder_state(&view)};
    if (!server_folds_from(server) || !state_is_f32(source->file, source->prefix, &direct.state)) {
        TRY(read_numbers(source->file, source->prefix, e, &e->numbers, err));
        return encoder_fold(e, server, err);
    }
    TRY(read_stats(source, &direct.state, err));
    direct.state.set = keep;
    TRY(server_fold_from(server, &(struct be_params){&direct, get_param}, e->numbers.stats.at, err));
    encoder_warn_unseen(e);
    return MOCO_OK;
}

/* ---- into an encoder that there is ---- */

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
    TRY_GOTO(status, check_tensors(file, prefix, encoder, err), done);
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
