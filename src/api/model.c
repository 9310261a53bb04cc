/* SPDX-License-Identifier: MIT
 *
 * moco/model.h: an encoder behind a handle. While a trainer uses it, it can be embedded with, saved and read between
 * steps. Calls that would change its numbers are refused then. */
#include "moco/model.h"

#include <string.h>

#include "algo/encoder_file.h"
#include "api/objects.h"
#include "data/view/augment.h"

static void model_destroy(struct handle *handle)
{
    moco_model *model = (moco_model *)handle;
    encoder_free(model->encoder);
    if (model->device != NULL)
        handle_unref(&model->device->handle);
}

/* ---- options ---- */

moco_status model_options_read(struct net_config *config, const moco_model_options *given, struct err *err)
{
    moco_model_options o;
    moco_model_options_init(&o);
    TRY(struct_read(&o, sizeof o, given, "options", err));
    TRY(api_not_null(o.arch, "options.arch", err));
    TRY(api_not_null(o.stem, "options.stem", err));
    TRY(api_not_null(o.head, "options.head", err));
    if (o.image_size < 1 || o.image_size > 16384)
        return err_set(err, MOCO_EINVAL, "image_size is %d; it must be 1 to 16384", o.image_size);
    if (o.zero_init != 0 && o.zero_init != 1)
        return err_set(err, MOCO_EINVAL, "zero_init is %d; it must be 0 or 1", o.zero_init);
    *config = (struct net_config){.width = o.width,
                                  .dim = o.dim,
                                  .image_h = o.image_size,
                                  .image_w = o.image_size,
                                  .mean = {o.mean[0], o.mean[1], o.mean[2]},
                                  .std = {o.std[0], o.std[1], o.std[2]},
                                  .zero_init = o.zero_init,
                                  .seed = o.seed};
    return net_config_parse(config, o.arch, o.stem, o.head, err);
}

void model_options_write(moco_model_options *options, const struct net_config *config)
{
    moco_model_options o = {.dim = config->dim,
                            .arch = net_arch_name(config->depth),
                            .stem = net_stem_name(config->stem),
                            .head = net_head_name(config->head),
                            .width = config->width,
                            .mean = {config->mean[0], config->mean[1], config->mean[2]},
                            .std = {config->std[0], config->std[1], config->std[2]},
                            .seed = config->seed,
                            .image_size = config->image_h,
                            .zero_init = config->zero_init};
    struct_write(options, &o, sizeof o);
}

/* ---- making ---- */

moco_status model_new(moco_model **out, moco_device *device, struct err *err)
{
    TRY(api_not_null(out, "model", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    moco_model *model = handle_new(device->handle.ctx, sizeof *model, HANDLE_MODEL, model_destroy, err);
    if (model == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    model->device = device;
    *out = model;
    return MOCO_OK;
}

moco_status model_made(moco_model **out, moco_status status)
{
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_MODEL);
        *out = NULL;
    }
    return status;
}

static moco_status create_encoder(moco_model *model, const moco_model_options *options, struct err *err)
{
    struct net_config config;
    TRY(model_options_read(&config, options, err));
    return encoder_create(&model->encoder, model->handle.ctx, model->device->backend, model->device->dev, &config, err);
}

static moco_status make(moco_model **out, moco_device *device, const moco_model_options *options, struct err *err)
{
    TRY(model_new(out, device, err));
    return model_made(out, create_encoder(*out, options, err));
}

moco_status moco_model_create(moco_model **model, moco_device *device, const moco_model_options *options)
{
    struct err err = {0};
    return api_return(make(model, device, options, &err), "moco_model_create", &err);
}

static moco_status open_model(moco_model **out, moco_device *device, const char *path, struct err *err)
{
    TRY(model_new(out, device, err));
    moco_status status = api_not_null(path, "path", err);
    if (status == MOCO_OK)
        status = encoder_open(&(*out)->encoder, device->handle.ctx, device->backend, device->dev, path, err);
    return model_made(out, status);
}

moco_status moco_model_open(moco_model **model, moco_device *device, const char *path)
{
    struct err err = {0};
    return api_return(open_model(model, device, path, &err), "moco_model_open", &err);
}

void moco_model_free(moco_model *model)
{
    handle_free(model, HANDLE_MODEL);
}

/* ---- files ---- */

/* MOCO_ESTATE while a trainer has the model. */
static moco_status check_free(moco_model *model, const char *instead, struct err *err)
{
    if (atomic_load(&model->encoder->owner) != NULL)
        return err_set(err, MOCO_ESTATE, "a trainer uses the model; call %s, or free the trainer first", instead);
    return MOCO_OK;
}

static moco_status save(moco_model *model, const char *path, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(api_not_null(path, "path", err));
    return encoder_save(model->encoder, path, err);
}

moco_status moco_model_save(moco_model *model, const char *path)
{
    struct err err = {0};
    return api_return(save(model, path, &err), "moco_model_save", &err);
}

static moco_status load(moco_model *model, const char *path, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(api_not_null(path, "path", err));
    TRY(check_free(model, "moco_trainer_load", err));
    return encoder_load(model->encoder, path, err);
}

moco_status moco_model_load(moco_model *model, const char *path)
{
    struct err err = {0};
    return api_return(load(model, path, &err), "moco_model_load", &err);
}

/* ---- what it is ---- */

static moco_status describe(const moco_model *model, moco_model_info *info, struct err *err)
{
    TRY(handle_check(model, HANDLE_MODEL, "model", err));
    TRY(struct_check(info, "info", err));
    struct encoder *e = model->encoder;
    struct net_config config = encoder_config(e); /* a file that is loaded may bring another seed and size */
    moco_model_info filled = {.dim = config.dim,
                              .feature_dim = encoder_embed_dim(e, EMBED_FEATURES),
                              .tensor_count = e->graph->state_count,
                              .parameters = e->graph->param_total,
                              .width = config.width,
                              .image_size = config.image_h};
    strcpy(filled.arch, net_arch_name(config.depth));
    strcpy(filled.stem, net_stem_name(config.stem));
    strcpy(filled.head, net_head_name(config.head));
    memcpy(filled.mean, config.mean, sizeof filled.mean);
    memcpy(filled.std, config.std, sizeof filled.std);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_model_describe(const moco_model *model, moco_model_info *info)
{
    struct err err = {0};
    return api_return(describe(model, info, &err), "moco_model_describe", &err);
}

const char *moco_model_tensor_name(const moco_model *model, int index)
{
    if (!handle_valid(model, HANDLE_MODEL) || index < 0 || index >= model->encoder->graph->state_count)
        return NULL;
    return model->encoder->names[index];
}

/* ---- how images are looked at ---- */

static moco_status set_recipe(moco_model *model, const moco_augment_options *recipe, struct err *err)
{
    moco_augment_options o = {0};
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(struct_read(&o, sizeof o, recipe, "recipe", err));
    TRY(struct_reserved(o.reserved0, "moco_augment_options.reserved0", err));
    TRY(augment_without_chance(&o, err));
    encoder_set_recipe(model->encoder, &o);
    return MOCO_OK;
}

moco_status moco_model_set_recipe(moco_model *model, const moco_augment_options *recipe)
{
    struct err err = {0};
    return api_return(set_recipe(model, recipe, &err), "moco_model_set_recipe", &err);
}

static moco_status get_recipe(const moco_model *model, moco_augment_options *recipe, size_t size, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(struct_fill_check(recipe, size, "recipe", err));
    moco_augment_options o = encoder_recipe(model->encoder);
    if (o.size == 0)
        return err_set(err, MOCO_ENOTFOUND,
                       "the model has no recipe: it says nothing of how images are to be looked at");
    struct_init(recipe, size, &o, sizeof o);
    return MOCO_OK;
}

moco_status moco_model_recipe_sized(const moco_model *model, moco_augment_options *recipe, size_t size)
{
    struct err err = {0};
    return api_return(get_recipe(model, recipe, size, &err), "moco_model_recipe", &err);
}

/* ---- tensors ---- */

static moco_status read_numbers(void *self, int index, double *values, struct err *err)
{
    struct encoder *e = self;
    encoder_lock_landed(e);
    moco_status status = encoder_tensor_get(e, &e->numbers, index, values, sizeof *values, err);
    encoder_unlock(e);
    return status;
}

static moco_status write_numbers(void *self, int index, double *values, struct err *err)
{
    struct encoder *e = self;
    TRY(encoder_check_values(e, index, values, "", err));
    e->version++;
    return encoder_tensor_set(e, &e->numbers, index, values, sizeof *values, err);
}

/* Of a model that the caller has entered. */
static moco_status find(const moco_model *model, const char *name, int *index, struct tensor_shape *shape,
                        struct err *err)
{
    TRY(api_not_null(name, "name", err));
    *index = encoder_find(model->encoder, name);
    if (*index < 0)
        return err_set(err, MOCO_ENOTFOUND, "the model has no tensor named \"%.80s\"", name);
    encoder_tensor_shape(model->encoder, *index, shape);
    return MOCO_OK;
}

static moco_status get(moco_model *model, const char *name, moco_tensor *tensor, struct err *err)
{
    struct tensor_shape shape;
    struct tensor_move move = {.move = read_numbers};
    struct turn turn HANDLE_TURN;
    int64_t count;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(find(model, name, &move.index, &shape, err));
    TRY(tensor_check(tensor, "tensor", 1, &count, err));
    move.self = model->encoder;
    return tensor_get(model->handle.ctx, tensor, name, &shape, model->encoder->real_bytes, &move, err);
}

moco_status moco_model_get(moco_model *model, const char *name, moco_tensor *tensor)
{
    struct err err = {0};
    return api_return(get(model, name, tensor, &err), "moco_model_get", &err);
}

static moco_status set(moco_model *model, const char *name, const moco_tensor *tensor, struct err *err)
{
    struct tensor_shape shape;
    struct tensor_move move = {.move = write_numbers};
    struct turn turn HANDLE_TURN;
    int64_t count;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(find(model, name, &move.index, &shape, err));
    TRY(check_free(model, "moco_trainer_set", err));
    TRY(tensor_check(tensor, "tensor", 0, &count, err));
    move.self = model->encoder;
    return tensor_set(model->handle.ctx, tensor, name, &shape, &move, err);
}

moco_status moco_model_set(moco_model *model, const char *name, const moco_tensor *tensor)
{
    struct err err = {0};
    return api_return(set(model, name, tensor, &err), "moco_model_set", &err);
}

/* ---- embedding ---- */

moco_status embed_images(struct embed_input *input, const moco_tensor *images, int may_probe, struct err *err)
{
    int64_t count;
    TRY(tensor_check(images, "images", may_probe, &count, err));
    int f32 = images->dtype == MOCO_F32;
    if ((!f32 && images->dtype != MOCO_U8) || images->ndim != 4 || images->shape[f32 ? 1 : 3] != 3)
        return err_set(err, MOCO_ESHAPE, "images must be u8 [n,h,w,3] or f32 [n,3,h,w]");
    int64_t n = images->shape[0], h = images->shape[f32 ? 2 : 1], w = images->shape[f32 ? 3 : 2];
    if (n < 1 || h < 1 || w < 1) /* of a probe */
        return err_set(err, MOCO_ESHAPE, "images are %lld of %lld x %lld", (long long)n, (long long)h, (long long)w);
    if (h > 16384 || w > 16384)
        return err_set(err, MOCO_ESHAPE, "images are %lld x %lld; at most 16384 x 16384 is possible", (long long)h,
                       (long long)w);
    *input = (struct embed_input){.images = images->data, .f32 = f32, .n = n, .h = (int)h, .w = (int)w};
    return MOCO_OK;
}

moco_status embed_kind(enum embed_what *kind, moco_embedding what, struct err *err)
{
    static const enum embed_what kinds[] = {
        [MOCO_FEATURES] = EMBED_FEATURES, [MOCO_PROJECTION] = EMBED_PROJECTION, [MOCO_LAYER1] = EMBED_LAYER1,
        [MOCO_LAYER2] = EMBED_LAYER2,     [MOCO_LAYER3] = EMBED_LAYER3,         [MOCO_LAYER4] = EMBED_LAYER4};
    if ((int)what < MOCO_FEATURES || (int)what > MOCO_LAYER4)
        return err_set(err, MOCO_EINVAL,
                       "what is %d; it must be MOCO_FEATURES, MOCO_PROJECTION or MOCO_LAYER1 to MOCO_LAYER4",
                       (int)what);
    *kind = kinds[what];
    return MOCO_OK;
}

moco_status embed_out(const moco_tensor *out, int64_t n, const struct embed_shape *row, struct err *err)
{
    int64_t count;
    struct tensor_shape shape = {.ndim = 1 + row->ndim, .shape = {n, row->shape[0], row->shape[1], row->shape[2]}};
    TRY(tensor_check(out, "out", 0, &count, err));
    return tensor_match(out, "out", &shape, err);
}

static moco_status embed(moco_model *model, const moco_tensor *images, moco_embedding what, moco_tensor *out,
                         struct err *err)
{
    struct turn turn HANDLE_TURN;
    struct embed_input input;
    enum embed_what kind = EMBED_FEATURES;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    TRY(embed_images(&input, images, 0, err));
    TRY(embed_kind(&kind, what, err));
    struct embed_shape row;
    TRY(encoder_embed_shape(model->encoder, kind, input.h, input.w, &row, err));
    TRY(embed_out(out, input.n, &row, err));
    return encoder_embed(model->encoder, &input, kind, out->data, out->dtype == MOCO_F64, err);
}

moco_status moco_model_embed(moco_model *model, const moco_tensor *images, moco_embedding what, moco_tensor *out)
{
    struct err err = {0};
    return api_return(embed(model, images, what, out, &err), "moco_model_embed", &err);
}
