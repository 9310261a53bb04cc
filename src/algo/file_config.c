/* SPDX-License-Identifier: MIT
 *
 * file_config: see file_config.h. */
#include "algo/file_config.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "data/view/augment.h"
#include "num.h"

/* "pt": torch's order of axes, which Hugging Face's readers ask for. Until version 1 had a key of its own, "format" was
 * "moco" and the version stood in "format_version": such files are read. */
#define FORMAT "pt"
#define OLDER_FORMAT "moco"
#define VERSION_KEY "moco.format"
#define OLDER_VERSION_KEY "format_version"
#define VERSION 1

static const char *const kinds[] = {[FILE_ENCODER] = "encoder",
                                    [FILE_TRAINER] = "trainer",
                                    [FILE_PROBE] = "probe",
                                    [FILE_BANK] = "bank",
                                    [FILE_BACKBONE] = "backbone"};
static const char *const mean_keys[] = {"model.mean.0", "model.mean.1", "model.mean.2"};
static const char *const std_keys[] = {"model.std.0", "model.std.1", "model.std.2"};

/* Keys that files of before they were known do not have, and what those files mean. */
static const struct {
    const char *key, *meaning;
} later[] = {{"model.zero_init", "0"},    {"trainer.negatives", "queue"}, {"trainer.encoder_k", "momentum"},
             {"trainer.loss", "infonce"}, {"trainer.optimizer", "sgd"},   {"trainer.trust_coefficient", "0.001"}};

static const char *meaning_of(const char *key)
{
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
        if (strcmp(later[i].key, key) == 0)
            return later[i].meaning;
    return NULL;
}

/* A whole number that may be missing; *value stays then. */
static moco_status get_later_int(const struct safetensors *f, const char *key, int64_t low, int64_t high,
                                 int64_t *value, struct err *err)
{
    return safetensors_find_text(f, key) == NULL ? MOCO_OK : safetensors_get_int(f, key, low, high, value, err);
}

moco_status config_put_kind(struct safetensors_metadata *m, enum file_kind kind, struct err *err)
{
    TRY(safetensors_metadata_add(m, "format", FORMAT, err));
    TRY(safetensors_metadata_add_int(m, VERSION_KEY, VERSION, err));
    return safetensors_metadata_add(m, "kind", kinds[kind], err);
}

/* The key that holds the version; NULL: the file is not of libmoco. */
static const char *version_key(const struct safetensors *f)
{
    const char *format = safetensors_find_text(f, "format");
    if (format != NULL && strcmp(format, OLDER_FORMAT) == 0)
        return OLDER_VERSION_KEY;
    int ours = format != NULL && strcmp(format, FORMAT) == 0 && safetensors_find_text(f, VERSION_KEY) != NULL;
    return ours ? VERSION_KEY : NULL;
}

moco_status config_get_kind(const struct safetensors *f, enum file_kind *kind, struct err *err)
{
    const char *key = version_key(f), *name = NULL;
    int64_t version;
    if (key == NULL)
        return err_set(err, MOCO_EFORMAT, "%s: it is a safetensors file, but not one that libmoco wrote",
                       safetensors_path(f));
    TRY(safetensors_get_int(f, key, 1, INT32_MAX, &version, err));
    if (version != VERSION)
        return err_set(err, MOCO_EFORMAT, "%s: it has format version %lld; this library reads version %d",
                       safetensors_path(f), (long long)version, VERSION);
    TRY(safetensors_get_text(f, "kind", &name, err));
    for (int i = 0; i < (int)(sizeof kinds / sizeof kinds[0]); i++)
        if (strcmp(name, kinds[i]) == 0) {
            *kind = (enum file_kind)i;
            return MOCO_OK;
        }
    return err_set(err, MOCO_EFORMAT, "%s: kind is \"%.40s\"; it must be encoder, trainer, probe, bank or backbone",
                   safetensors_path(f), name);
}

const char *config_kind_words(enum file_kind kind)
{
    static const char *const words[] = {[FILE_ENCODER] = "an encoder",
                                        [FILE_TRAINER] = "a trainer's checkpoint",
                                        [FILE_PROBE] = "a probe",
                                        [FILE_BANK] = "a bank of vectors",
                                        [FILE_BACKBONE] = "a backbone without its head"};
    return words[kind];
}

moco_status config_bad(const struct safetensors *f, moco_status status, struct err *err)
{
    if (status != MOCO_EINVAL)
        return status;
    if (err != NULL)
        err->status = MOCO_EFORMAT;
    err_prefix(err, safetensors_path(f));
    return MOCO_EFORMAT;
}

moco_status config_get_note(const struct safetensors *f, char *note, size_t size, struct err *err)
{
    const char *text = safetensors_find_text(f, "note");
    if (note == NULL)
        return MOCO_OK;
    size_t bytes = text != NULL ? strlen(text) + 1 : 1;
    if (bytes > size)
        return err_set(err, MOCO_ESHAPE, "%s: the note has %zu bytes and there is room for %zu", safetensors_path(f),
                       bytes, size);
    memcpy(note, text != NULL ? text : "", bytes);
    return MOCO_OK;
}

moco_status config_put_model(struct safetensors_metadata *m, const struct net_config *config, struct err *err)
{
    TRY(safetensors_metadata_add(m, "model.arch", net_arch_name(config->depth), err));
    TRY(safetensors_metadata_add(m, "model.stem", net_stem_name(config->stem), err));
    TRY(safetensors_metadata_add(m, "model.head", net_head_name(config->head), err));
    TRY(safetensors_metadata_add_double(m, "model.width", config->width, err));
    TRY(safetensors_metadata_add_int(m, "model.dim", config->dim, err));
    for (int i = 0; i < 3; i++) {
        TRY(safetensors_metadata_add_double(m, mean_keys[i], config->mean[i], err));
        TRY(safetensors_metadata_add_double(m, std_keys[i], config->std[i], err));
    }
    TRY(safetensors_metadata_add_int(m, "model.zero_init", config->zero_init, err));
    TRY(safetensors_metadata_add_int(m, "model.image_size", config->image_h, err));
    return safetensors_metadata_add_int(m, "model.seed", (int64_t)config->seed, err);
}

moco_status config_get_model(const struct safetensors *f, struct net_config *config, struct err *err)
{
    const char *arch, *stem, *head;
    int64_t dim, size, seed, zero_init = 0;
    *config = (struct net_config){0};
    TRY(safetensors_get_text(f, "model.arch", &arch, err));
    TRY(safetensors_get_text(f, "model.stem", &stem, err));
    TRY(safetensors_get_text(f, "model.head", &head, err));
    TRY(config_bad(f, net_config_parse(config, arch, stem, head, err), err));
    TRY(safetensors_get_double(f, "model.width", 1.0 / 128, 16, &config->width, err));
    TRY(safetensors_get_int(f, "model.dim", 1, 65536, &dim, err));
    for (int i = 0; i < 3; i++) {
        TRY(safetensors_get_double(f, mean_keys[i], -DBL_MAX, DBL_MAX, &config->mean[i], err));
        TRY(safetensors_get_double(f, std_keys[i], DBL_TRUE_MIN, DBL_MAX, &config->std[i], err));
    }
    TRY(get_later_int(f, "model.zero_init", 0, 1, &zero_init, err));
    TRY(safetensors_get_int(f, "model.image_size", 1, 16384, &size, err));
    TRY(safetensors_get_int(f, "model.seed", INT64_MIN, INT64_MAX, &seed, err));
    config->dim = (int)dim;
    config->zero_init = (int)zero_init;
    config->image_h = config->image_w = (int)size;
    config->seed = (uint64_t)seed;
    return MOCO_OK;
}

/* ---- the recipe of evaluation ---- */

static const char *const crops[] = {
    [AUGMENT_CROP_NONE] = "none", [AUGMENT_CROP_CENTRE] = "centre", [AUGMENT_CROP_MIDDLE] = "middle"};
static const char *const interpolations[] = {[AUGMENT_BILINEAR] = "bilinear", [AUGMENT_BICUBIC] = "bicubic"};

moco_status config_put_recipe(struct safetensors_metadata *m, const moco_augment_options *o, struct err *err)
{
    if (o->size == 0)
        return MOCO_OK;
    TRY(safetensors_metadata_add_int(m, "recipe.size", o->size, err));
    TRY(safetensors_metadata_add(m, "recipe.crop", crops[o->crop], err));
    TRY(safetensors_metadata_add_int(m, "recipe.resize", o->resize, err));
    TRY(safetensors_metadata_add_double(m, "recipe.centre_part", o->centre_part, err));
    return safetensors_metadata_add(m, "recipe.interpolation", interpolations[o->interpolation], err);
}

static moco_status get_name(const struct safetensors *f, const char *key, const char *const *names, int count,
                            int32_t *value, struct err *err)
{
    const char *name;
    TRY(safetensors_get_text(f, key, &name, err));
    for (int i = 0; i < count; i++)
        if (names[i] != NULL && strcmp(names[i], name) == 0) {
            *value = i;
            return MOCO_OK;
        }
    return err_set(err, MOCO_EFORMAT, "%s: %s is \"%.40s\", which this library does not know", safetensors_path(f), key,
                   name);
}

moco_status config_get_recipe(const struct safetensors *f, moco_augment_options *recipe, struct err *err)
{
    moco_augment_options o = {0};
    int64_t size, resize;
    if (safetensors_find_text(f, "recipe.size") == NULL)
        return MOCO_OK;
    TRY(safetensors_get_int(f, "recipe.size", 1, AUGMENT_SIZE_MAX, &size, err));
    TRY(safetensors_get_int(f, "recipe.resize", 0, INT32_MAX, &resize, err));
    TRY(safetensors_get_double(f, "recipe.centre_part", 0, 1, &o.centre_part, err));
    TRY(get_name(f, "recipe.crop", crops, (int)(sizeof crops / sizeof *crops), &o.crop, err));
    TRY(get_name(f, "recipe.interpolation", interpolations, (int)(sizeof interpolations / sizeof *interpolations),
                 &o.interpolation, err));
    o.size = (int32_t)size;
    o.resize = (int32_t)resize;
    TRY(config_bad(f, augment_without_chance(&o, err), err));
    *recipe = o;
    return MOCO_OK;
}

/* ---- options of training ---- */

/* Options that are whole numbers, and within what limits. */
struct int_field {
    const char *key;
    size_t offset;
    int64_t low, high;
};
#define INT_FIELD(name, low, high)                                                                                     \
    {                                                                                                                  \
        "trainer." #name, offsetof(moco_trainer_options, name), low, high                                              \
    }
static const struct int_field int_fields[] = {
    INT_FIELD(batch_size, 1, INT32_MAX),
    INT_FIELD(bn_group_size, 1, INT32_MAX),
    INT_FIELD(groups_per_launch, 1, INT32_MAX),
    INT_FIELD(image_h, 1, 16384),
    INT_FIELD(image_w, 1, 16384),
    INT_FIELD(symmetric, 0, 1),
    INT_FIELD(shuffle, 0, 1),
    INT_FIELD(interleave, 0, 1),
};
#define INT_FIELDS (sizeof int_fields / sizeof int_fields[0])

struct double_field {
    const char *key;
    size_t offset;
};
#define DOUBLE_FIELD(name)                                                                                             \
    {                                                                                                                  \
        "trainer." #name, offsetof(moco_trainer_options, name)                                                         \
    }
static const struct double_field double_fields[] = {DOUBLE_FIELD(temperature), DOUBLE_FIELD(key_momentum),
                                                    DOUBLE_FIELD(sgd_momentum), DOUBLE_FIELD(weight_decay)};
#define DOUBLE_FIELDS (sizeof double_fields / sizeof double_fields[0])

/* Options that are one of two, by name. */
static const struct choice_field {
    const char *key;
    size_t offset;
    const char *names[2];
} choice_fields[] = {
    {"trainer.negatives", offsetof(moco_trainer_options, negatives), {"queue", "batch"}},
    {"trainer.encoder_k", offsetof(moco_trainer_options, encoder_k), {"momentum", "shared"}},
    {"trainer.loss", offsetof(moco_trainer_options, loss), {"infonce", "ntxent"}},
    {"trainer.optimizer", offsetof(moco_trainer_options, optimizer), {"sgd", "lars"}},
};
#define CHOICE_FIELDS (sizeof choice_fields / sizeof choice_fields[0])

static moco_status put_choices(struct safetensors_metadata *m, const moco_trainer_options *o, struct err *err)
{
    for (size_t i = 0; i < CHOICE_FIELDS; i++) {
        int32_t value;
        memcpy(&value, (const char *)o + choice_fields[i].offset, sizeof value);
        TRY(safetensors_metadata_add(m, choice_fields[i].key, choice_fields[i].names[value], err));
    }
    return safetensors_metadata_add_double(m, "trainer.trust_coefficient", o->trust_coefficient, err);
}

static moco_status get_choices(const struct safetensors *f, moco_trainer_options *o, struct err *err)
{
    for (size_t i = 0; i < CHOICE_FIELDS; i++) {
        const struct choice_field *field = &choice_fields[i];
        const char *name = safetensors_find_text(f, field->key);
        if (name == NULL)
            name = meaning_of(field->key);
        int32_t value = strcmp(name, field->names[1]) == 0;
        if (!value && strcmp(name, field->names[0]) != 0)
            return err_set(err, MOCO_EFORMAT, "%s: %s is \"%.40s\"; it must be %s or %s", safetensors_path(f),
                           field->key, name, field->names[0], field->names[1]);
        memcpy((char *)o + field->offset, &value, sizeof value);
    }
    o->trust_coefficient = 0.001;
    if (safetensors_find_text(f, "trainer.trust_coefficient") == NULL)
        return MOCO_OK;
    return safetensors_get_double(f, "trainer.trust_coefficient", 0, 1e6, &o->trust_coefficient, err);
}

moco_status config_put_trainer(struct safetensors_metadata *m, const moco_trainer_options *o, int64_t queue_length,
                               size_t real_bytes, struct err *err)
{
    for (size_t i = 0; i < INT_FIELDS; i++) {
        int32_t value;
        memcpy(&value, (const char *)o + int_fields[i].offset, sizeof value);
        TRY(safetensors_metadata_add_int(m, int_fields[i].key, value, err));
    }
    for (size_t i = 0; i < DOUBLE_FIELDS; i++) {
        double value;
        memcpy(&value, (const char *)o + double_fields[i].offset, sizeof value);
        TRY(safetensors_metadata_add_double(m, double_fields[i].key, value, err));
    }
    TRY(put_choices(m, o, err));
    TRY(safetensors_metadata_add(m, "trainer.precision", backend_precision_name(o->precision), err));
    TRY(safetensors_metadata_add(m, "trainer.real", real_bytes == sizeof(double) ? "f64" : "f32", err));
    TRY(safetensors_metadata_add_int(m, "trainer.queue_length", queue_length, err));
    return safetensors_metadata_add_int(m, "trainer.seed", (int64_t)o->seed, err);
}

static moco_status get_precision(const struct safetensors *f, int32_t *precision, struct err *err)
{
    const char *name;
    TRY(safetensors_get_text(f, "trainer.precision", &name, err));
    const char *known;
    for (int p = MOCO_PRECISION_F32; (known = backend_precision_name(p)) != NULL; p++)
        if (strcmp(name, known) == 0) {
            *precision = p;
            return MOCO_OK;
        }
    return err_set(err, MOCO_EFORMAT, "%s: trainer.precision is \"%.40s\"; it must be f32, bf16, f64, fp16 or tf32",
                   safetensors_path(f), name);
}

moco_status config_get_real(const struct safetensors *f, size_t *real_bytes, struct err *err)
{
    const char *name;
    TRY(safetensors_get_text(f, "trainer.real", &name, err));
    *real_bytes = strcmp(name, "f64") == 0 ? sizeof(double) : sizeof(float);
    if (*real_bytes == sizeof(float) && strcmp(name, "f32") != 0)
        return err_set(err, MOCO_EFORMAT, "%s: trainer.real is \"%.40s\"; it must be f32 or f64", safetensors_path(f),
                       name);
    return MOCO_OK;
}

moco_status config_get_trainer(const struct safetensors *f, moco_trainer_options *o, int64_t *queue_length,
                               struct err *err)
{
    for (size_t i = 0; i < INT_FIELDS; i++) {
        int64_t value;
        TRY(safetensors_get_int(f, int_fields[i].key, int_fields[i].low, int_fields[i].high, &value, err));
        int32_t value32 = (int32_t)value;
        memcpy((char *)o + int_fields[i].offset, &value32, sizeof value32);
    }
    for (size_t i = 0; i < DOUBLE_FIELDS; i++) {
        double value;
        TRY(safetensors_get_double(f, double_fields[i].key, 0, 1e6, &value, err));
        memcpy((char *)o + double_fields[i].offset, &value, sizeof value);
    }
    TRY(get_choices(f, o, err));
    TRY(get_precision(f, &o->precision, err));
    TRY(safetensors_get_int(f, "trainer.queue_length", 0, INT64_C(1) << 31, queue_length, err));
    int64_t seed;
    TRY(safetensors_get_int(f, "trainer.seed", INT64_MIN, INT64_MAX, &seed, err));
    o->seed = (uint64_t)seed;
    return MOCO_OK;
}

/* What does not tell one configuration from another: how a file is written, which config_get_kind has read, and where
 * weights came from. */
static int is_compared(const char *key)
{
    static const char *const others[] = {"format",           VERSION_KEY,       "model.seed",
                                         "model.image_size", "model.zero_init", "trainer.groups_per_launch",
                                         "trainer.precision"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(key, others[i]) == 0)
            return 0;
    return 1;
}

moco_status config_compare(const struct safetensors *f, const struct safetensors_metadata *ours, const char *prefix,
                           moco_status status, struct err *err)
{
    for (int64_t i = 0; i < ours->count; i++) {
        const char *key = ours->items[i].key, *here = ours->items[i].value;
        if (strncmp(key, prefix, strlen(prefix)) != 0 || !is_compared(key))
            continue;
        const char *there = meaning_of(key);
        if (there == NULL || safetensors_find_text(f, key) != NULL)
            TRY(safetensors_get_text(f, key, &there, err));
        if (strcmp(there, here) != 0 && !num_same_double(there, here))
            return err_set(err, status, "%s: %s is %.64s in the file and %.64s here", safetensors_path(f), key, there,
                           here);
    }
    return MOCO_OK;
}
