/* SPDX-License-Identifier: MIT
 *
 * moco/encoder.h: a server behind a handle. What a reader would get wrong: no call takes a turn on the handle; each
 * holds a reference for as long as it runs, and that is all that keeps a freed encoder alive. */
#include "moco/encoder.h"

#include <string.h>

#include "algo/encoder_file.h"
#include "algo/serve/pictures.h"
#include "api/objects.h"
#include "data/decode/decode.h"
#include "data/view/augment.h"

_Static_assert(sizeof(moco_encoder_options) % 8 == 0 && sizeof(moco_encoder_info) % 8 == 0 &&
                   sizeof(moco_encode_options) % 8 == 0,
               "struct sizes are multiples of 8");

#define PLANS 16
#define PLANS_MAX 4096
#define WORKSPACES_MAX 65536

struct moco_encoder {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct server *server;
    struct net_config config;
    moco_augment_options recipe;  /* size 0: there is none */
    moco_encoder_options options; /* without zeros */
};

static void encoder_destroy(struct handle *handle)
{
    moco_encoder *encoder = (moco_encoder *)handle;
    server_free(encoder->server);
    if (encoder->device != NULL)
        handle_unref(&encoder->device->handle);
}

/* ---- structs ---- */

void moco_encoder_options_init_sized(moco_encoder_options *options, size_t size)
{
    moco_encoder_options defaults = {.precision = MOCO_PRECISION_AUTO, .deterministic = 1};
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_encoder_info_init_sized(moco_encoder_info *info, size_t size)
{
    moco_encoder_info defaults = {0};
    struct_init(info, size, &defaults, sizeof defaults);
}

static moco_status in_range(int32_t value, const char *name, int32_t most, struct err *err)
{
    if (value < 0 || value > most)
        return err_set(err, MOCO_EINVAL, "%s is %d; it must be 0 to %d", name, (int)value, (int)most);
    return MOCO_OK;
}

/* The caller's options, with numbers where 0 means a default. */
static moco_status read_options(moco_encoder_options *o, const moco_encoder_options *given, const moco_device *device,
                                struct err *err)
{
    enum be_precision precision;
    moco_encoder_options_init(o);
    if (given != NULL)
        TRY(struct_read(o, sizeof *o, given, "options", err));
    TRY(in_range(o->deterministic, "deterministic", 1, err));
    TRY(in_range(o->workspaces, "workspaces", WORKSPACES_MAX, err));
    TRY(in_range(o->most_images, "most_images", 65536, err));
    TRY(in_range(o->plans, "plans", PLANS_MAX, err));
    TRY(device->backend->precision(device->dev, o->precision, &precision, err));
    o->precision = (int32_t)precision;
    if (o->workspaces == 0)
        o->workspaces = 2 * ctx_default_threads();
    if (o->plans == 0)
        o->plans = PLANS;
    return MOCO_OK;
}

/* ---- making ---- */

static moco_status new_encoder(moco_encoder **out, moco_device *device, const moco_encoder_options *options,
                               struct err *err)
{
    moco_encoder *encoder = handle_new(device->handle.ctx, sizeof *encoder, HANDLE_ENCODER, encoder_destroy, err);
    if (encoder == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    encoder->device = device;
    *out = encoder;
    return read_options(&encoder->options, options, device, err);
}

static moco_status made(moco_encoder **out, moco_status status)
{
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_ENCODER);
        *out = NULL;
    }
    return status;
}

/* A server without numbers, for the network that `from` is. */
static moco_status make_server(moco_encoder *encoder, struct encoder *from, struct err *err)
{
    const moco_encoder_options *o = &encoder->options;
    struct server_options options = {.precision = (enum be_precision)o->precision,
                                     .steady = o->deterministic,
                                     .most_images = o->most_images,
                                     .workspaces = o->workspaces,
                                     .plans = o->plans};
    encoder->config = encoder_config(from);
    encoder->recipe = encoder_recipe(from);
    return server_create(&encoder->server, encoder->handle.ctx, encoder->device->backend, encoder->device->dev,
                         &encoder->config, &options, err);
}

static moco_status create(moco_encoder **out, moco_model *model, const moco_encoder_options *options, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(api_not_null(out, "encoder", err));
    *out = NULL;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    moco_status status = new_encoder(out, model->device, options, err);
    if (status == MOCO_OK)
        status = make_server(*out, model->encoder, err);
    return made(out, status == MOCO_OK ? encoder_fold(model->encoder, (*out)->server, err) : status);
}

moco_status moco_encoder_create(moco_encoder **encoder, moco_model *model, const moco_encoder_options *options)
{
    struct err err = {0};
    return api_return(create(encoder, model, options, &err), "moco_encoder_create", &err);
}

static moco_status read_file(moco_encoder *encoder, const char *path, struct err *err)
{
    struct encoder_source from;
    TRY(api_not_null(path, "path", err));
    TRY(encoder_source_open(&from, encoder->handle.ctx, encoder->device->backend, encoder->device->dev, path, err));
    moco_status status = make_server(encoder, from.encoder, err);
    if (status == MOCO_OK)
        status = encoder_source_fold(&from, encoder->server, err);
    encoder_source_close(&from);
    return status;
}

static moco_status open_encoder(moco_encoder **out, moco_device *device, const char *path,
                                const moco_encoder_options *options, struct err *err)
{
    TRY(api_not_null(out, "encoder", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    moco_status status = new_encoder(out, device, options, err);
    return made(out, status == MOCO_OK ? read_file(*out, path, err) : status);
}

moco_status moco_encoder_open(moco_encoder **encoder, moco_device *device, const char *path,
                              const moco_encoder_options *options)
{
    struct err err = {0};
    return api_return(open_encoder(encoder, device, path, options, &err), "moco_encoder_open", &err);
}

void moco_encoder_free(moco_encoder *encoder)
{
    handle_free(encoder, HANDLE_ENCODER);
}

/* ---- what it is ---- */

static moco_status describe(const moco_encoder *encoder, moco_encoder_info *info, struct err *err)
{
    struct hold hold HANDLE_HOLD;
    struct server_usage usage;
    TRY(handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", err));
    TRY(struct_check(info, "info", err));
    const struct net_config *config = &encoder->config;
    server_usage(encoder->server, &usage);
    moco_encoder_info filled = {.dim = config->dim,
                                .feature_dim = server_dim(encoder->server, EMBED_FEATURES),
                                .image_size = config->image_h,
                                .precision = encoder->options.precision,
                                .deterministic = encoder->options.deterministic,
                                .workspaces = usage.count,
                                .most_workspaces = encoder->options.workspaces,
                                .weight_bytes = usage.weights,
                                .workspace_bytes = usage.workspaces,
                                .largest_workspace = usage.largest,
                                .plans = usage.plans,
                                .width = config->width};
    strcpy(filled.arch, net_arch_name(config->depth));
    strcpy(filled.stem, net_stem_name(config->stem));
    strcpy(filled.head, net_head_name(config->head));
    memcpy(filled.mean, config->mean, sizeof filled.mean);
    memcpy(filled.std, config->std, sizeof filled.std);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_encoder_describe(const moco_encoder *encoder, moco_encoder_info *info)
{
    struct err err = {0};
    return api_return(describe(encoder, info, &err), "moco_encoder_describe", &err);
}

static moco_status get_recipe(const moco_encoder *encoder, moco_augment_options *recipe, size_t size, struct err *err)
{
    struct hold hold HANDLE_HOLD;
    TRY(handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", err));
    TRY(struct_fill_check(recipe, size, "recipe", err));
    if (encoder->recipe.size == 0)
        return err_set(err, MOCO_ENOTFOUND,
                       "the encoder has no recipe: it says nothing of how images are to be looked at");
    struct_init(recipe, size, &encoder->recipe, sizeof encoder->recipe);
    return MOCO_OK;
}

moco_status moco_encoder_recipe_sized(const moco_encoder *encoder, moco_augment_options *recipe, size_t size)
{
    struct err err = {0};
    return api_return(get_recipe(encoder, recipe, size, &err), "moco_encoder_recipe", &err);
}

/* ---- embedding ---- */

static moco_status embed(moco_encoder *encoder, const moco_tensor *images, moco_embedding what, moco_tensor *out,
                         struct err *err)
{
    struct hold hold HANDLE_HOLD;
    struct embed_input input;
    enum embed_what kind = EMBED_FEATURES;
    TRY(handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", err));
    TRY(embed_images(&input, images, 0, err));
    TRY(embed_kind(&kind, what, err));
    struct embed_shape row;
    TRY(server_shape(encoder->server, kind, input.h, input.w, &row, err));
    TRY(embed_out(out, input.n, &row, err));
    return server_embed(encoder->server, &input, kind, out->data, out->dtype == MOCO_F64, err);
}

moco_status moco_encoder_embed(moco_encoder *encoder, const moco_tensor *images, moco_embedding what, moco_tensor *out)
{
    struct err err = {0};
    return api_return(embed(encoder, images, what, out, &err), "moco_encoder_embed", &err);
}

static moco_status reserve(moco_encoder *encoder, int workspaces, const moco_tensor *images, moco_embedding what,
                           struct err *err)
{
    struct hold hold HANDLE_HOLD;
    struct embed_input input;
    enum embed_what kind = EMBED_FEATURES;
    TRY(handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", err));
    TRY(embed_images(&input, images, 1, err));
    TRY(embed_kind(&kind, what, err));
    return server_reserve(encoder->server, workspaces, &input, kind, err);
}

moco_status moco_encoder_reserve(moco_encoder *encoder, int workspaces, const moco_tensor *images, moco_embedding what)
{
    struct err err = {0};
    return api_return(reserve(encoder, workspaces, images, what, &err), "moco_encoder_reserve", &err);
}

/* ---- encoded pictures ---- */

void moco_encode_options_init_sized(moco_encode_options *options, size_t size)
{
    moco_encode_options defaults = {.workers = 1, .max_pixels = DECODE_MAX_PIXELS};
    struct_init(options, size, &defaults, sizeof defaults);
}

static moco_status read_recipe(moco_augment_options *to, const moco_encoder *encoder, const moco_augment_options *given,
                               struct err *err)
{
    *to = encoder->recipe;
    if (given == NULL && to->size == 0)
        return err_set(err, MOCO_ENOTFOUND,
                       "the encoder has no recipe: options.recipe must say how pictures are to be looked at");
    if (given == NULL)
        return MOCO_OK;
    TRY(struct_read(to, sizeof *to, given, "options.recipe", err));
    TRY(struct_reserved(to->reserved0, "moco_augment_options.reserved0", err));
    return augment_without_chance(to, err);
}

static moco_status read_encode_options(struct pictures *pictures, const moco_encoder *encoder,
                                       const moco_encode_options *given, struct err *err)
{
    moco_encode_options o;
    moco_encode_options_init(&o);
    if (given != NULL)
        TRY(struct_read(&o, sizeof o, given, "options", err));
    TRY(in_range(o.workers, "workers", 1024, err));
    pictures->workers = o.workers;
    pictures->max_pixels = o.max_pixels;
    pictures->bad = o.bad;
    pictures->user = o.user;
    return read_recipe(&pictures->recipe, encoder, o.recipe, err);
}

static moco_status check_pictures(const struct pictures *p, int of_files, struct err *err)
{
    if (p->n < 1 || p->n > INT64_C(1) << 32)
        return err_set(err, MOCO_EINVAL, "n is %lld; it must be 1 to 2^32", (long long)p->n);
    TRY(of_files ? api_not_null(p->paths, "paths", err) : api_not_null(p->bytes, "bytes", err));
    TRY(of_files ? MOCO_OK : api_not_null(p->sizes, "sizes", err));
    for (int64_t i = 0; i < p->n; i++)
        if (of_files ? p->paths[i] == NULL : p->bytes[i] == NULL && p->sizes[i] > 0)
            return err_set(err, MOCO_EINVAL, "%s[%lld] is NULL", of_files ? "paths" : "bytes", (long long)i);
    return MOCO_OK;
}

static moco_status embed_pictures(moco_encoder *encoder, struct pictures *p, int of_files,
                                  const moco_encode_options *options, moco_embedding what, moco_tensor *out,
                                  struct err *err)
{
    struct hold hold HANDLE_HOLD;
    enum embed_what kind = EMBED_FEATURES;
    TRY(handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", err));
    TRY(check_pictures(p, of_files, err));
    TRY(read_encode_options(p, encoder, options, err));
    TRY(embed_kind(&kind, what, err));
    struct embed_shape row;
    TRY(server_shape(encoder->server, kind, p->recipe.size, p->recipe.size, &row, err));
    TRY(embed_out(out, p->n, &row, err));
    return pictures_embed(encoder->server, encoder->handle.ctx, p, kind, out->data, out->dtype == MOCO_F64, err);
}

moco_status moco_encoder_embed_files(moco_encoder *encoder, const char *const *paths, int64_t n,
                                     const moco_encode_options *options, moco_embedding what, moco_tensor *out,
                                     moco_status *statuses)
{
    struct err err = {0};
    struct pictures p = {.n = n, .paths = paths, .statuses = statuses};
    return api_return(embed_pictures(encoder, &p, 1, options, what, out, &err), "moco_encoder_embed_files", &err);
}

moco_status moco_encoder_embed_bytes(moco_encoder *encoder, const void *const *bytes, const size_t *sizes, int64_t n,
                                     const moco_encode_options *options, moco_embedding what, moco_tensor *out,
                                     moco_status *statuses)
{
    struct err err = {0};
    struct pictures p = {.n = n, .bytes = bytes, .sizes = sizes, .statuses = statuses};
    return api_return(embed_pictures(encoder, &p, 0, options, what, out, &err), "moco_encoder_embed_bytes", &err);
}

void moco_encoder_cancel(moco_encoder *encoder)
{
    struct hold hold HANDLE_HOLD;
    struct err err = {0};
    if (handle_hold(&hold, encoder, HANDLE_ENCODER, "encoder", &err) == MOCO_OK)
        server_cancel(encoder->server);
}
