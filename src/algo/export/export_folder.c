/* SPDX-License-Identifier: MIT
 *
 * export_folder: a folder in the form of Hugging Face's hub: the weights and a config.json. timm ("local-dir:") and
 * transformers' AutoModel make the network from it. What a reader would get wrong: both files are complete before
 * either replaces an old one, but they replace them one after the other. */
#include <stdio.h>
#include <string.h>

#include "algo/export/export.h"
#include "codec/json.h"
#include "data/view/augment.h"
#include "file/file.h"
#include "file/file_folder.h"

static void put_three(struct json_writer *w, const char *key, const double *values)
{
    json_put_key(w, key);
    json_put_array(w);
    for (int i = 0; i < 3; i++)
        json_put_double(w, values[i]);
    json_put_array_end(w);
}

static void put_text(struct json_writer *w, const char *key, const char *text)
{
    json_put_key(w, key);
    json_put_string(w, text);
}

static void put_int(struct json_writer *w, const char *key, int64_t value)
{
    json_put_key(w, key);
    json_put_int(w, value);
}

/* Returns the part of the resized image that the crop keeps. timm computes the size of the resized image from it. */
static double crop_part(const moco_augment_options *recipe)
{
    if (recipe->size == 0)
        return 224.0 / 256;
    if (recipe->crop == AUGMENT_CROP_CENTRE && recipe->resize > 0)
        return (double)recipe->size / recipe->resize;
    return recipe->crop == AUGMENT_CROP_MIDDLE ? recipe->centre_part : 1;
}

/* Puts how timm has to prepare images, and the names of the network's first and last layer. */
static void put_pretrained(struct json_writer *w, const struct encoder *e)
{
    const moco_augment_options *recipe = &e->recipe;
    int side = recipe->size != 0 ? recipe->size : e->config.image_h, pool = (side + 31) / 32;
    json_put_object(w);
    put_text(w, "tag", "moco");
    json_put_key(w, "custom_load");
    json_put_bool(w, 0);
    json_put_key(w, "input_size");
    json_put_array(w);
    json_put_int(w, 3);
    json_put_int(w, side);
    json_put_int(w, side);
    json_put_array_end(w);
    json_put_key(w, "fixed_input_size");
    json_put_bool(w, 0);
    put_text(w, "interpolation",
             recipe->size != 0 && recipe->interpolation == AUGMENT_BICUBIC ? "bicubic" : "bilinear");
    json_put_key(w, "crop_pct");
    json_put_double(w, crop_part(recipe));
    put_text(w, "crop_mode", "center");
    put_three(w, "mean", e->config.mean);
    put_three(w, "std", e->config.std);
    put_int(w, "num_classes", 0);
    json_put_key(w, "pool_size");
    json_put_array(w);
    json_put_int(w, pool);
    json_put_int(w, pool);
    json_put_array_end(w);
    put_text(w, "first_conv", "conv1");
    put_text(w, "classifier", "fc");
    json_put_object_end(w);
}

static void put_config(struct json_writer *w, const struct encoder *e)
{
    json_put_object(w);
    put_text(w, "architecture", net_arch_name(e->config.depth));
    put_int(w, "num_classes", 0);
    put_int(w, "num_features", encoder_embed_dim(e, EMBED_FEATURES));
    put_text(w, "global_pool", "avg");
    json_put_key(w, "pretrained_cfg");
    put_pretrained(w, e);
    json_put_object_end(w);
    json_put_raw(w, "\n", 1);
}

/* Writes config.json completely. The caller commits it together with the weights. */
static moco_status begin_config(struct file_save *save, const struct encoder *e, const char *path, struct err *err)
{
    struct json_writer json;
    json_writer_start(&json, e->ctx, err);
    put_config(&json, e);
    moco_status status = json.status;
    if (status == MOCO_OK)
        status = file_save_begin(save, e->ctx, path, (int64_t)json.used, err);
    if (status == MOCO_OK) {
        status = file_save_write_at(save, 0, json.text, json.used, err);
        if (status != MOCO_OK)
            file_save_abandon(save);
    }
    json_writer_free(&json);
    return status;
}

static moco_status write_files(struct encoder *e, char *path, size_t folder, int head, struct err *err)
{
    struct safetensors_writer *weights = NULL;
    struct file_save config;
    strcpy(path + folder, "config.json");
    TRY(begin_config(&config, e, path, err));
    strcpy(path + folder, "model.safetensors");
    moco_status status = export_safetensors_begin(&weights, e, path, head, err);
    if (status == MOCO_OK)
        status = safetensors_commit(weights, err);
    if (status == MOCO_OK)
        return file_save_commit(&config, err);
    file_save_abandon(&config);
    return status;
}

static moco_status check_network(const struct encoder *e, const char *path, const moco_export_options *o,
                                 struct err *err)
{
    if (e->config.stem != STEM_IMAGENET)
        return err_set(
            err, MOCO_EINVAL,
            "%.300s: the stem is \"%s\", and config.json has no words for that: timm's networks have the stem "
            "\"imagenet\"",
            path, net_stem_name(e->config.stem));
    if (e->config.width < 1 || e->config.width > 1)
        return err_set(err, MOCO_EINVAL, "%.300s: timm has no %s of another width than 1", path,
                       net_arch_name(e->config.depth));
    if (o->head)
        return err_set(err, MOCO_EINVAL,
                       "%.300s: a folder holds the backbone alone: timm would take fc for a "
                       "classifier; head must be 0",
                       path);
    return MOCO_OK;
}

moco_status export_folder(struct encoder *encoder, const char *path, const moco_export_options *o, struct err *err)
{
    size_t length = strlen(path);
    int made = 0;
    TRY(check_network(encoder, path, o, err));
    char *name = mem_alloc(encoder->ctx, length + sizeof "/model.safetensors", err);
    if (name == NULL)
        return MOCO_ENOMEM;
    memcpy(name, path, length + 1);
    moco_status status = file_folder_make(path, &made, err);
    if (status == MOCO_OK) {
        if (length == 0 || name[length - 1] != '/')
            name[length++] = '/';
        status = write_files(encoder, name, length, o->head, err);
        if (status != MOCO_OK && made)
            file_folder_remove(path);
    }
    mem_free(encoder->ctx, name);
    return status;
}
