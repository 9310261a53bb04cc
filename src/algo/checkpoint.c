/* SPDX-License-Identifier: MIT
 *
 * checkpoint: see checkpoint.h. Loading reads everything into fresh memory, which replaces the old at the end. A
 * file that turns out bad half-way has therefore changed nothing. */
#include "algo/checkpoint.h"

#include <math.h>
#include <string.h>

#include "algo/file_config.h"
#include "algo/state_file.h"
#include "algo/trainer_fresh.h"
#include "algo/trainer_update.h"

/* ---- the state's tensors: all but the gradients, which are the last ---- */

static const char *tensor_name(void *self, int i)
{
    return trainer_tensor_name(self, i);
}

static void tensor_shape(void *self, int i, struct tensor_shape *shape)
{
    trainer_tensor_shape(self, i, shape);
}

static moco_status tensor_get(void *self, int i, void *values, size_t size, struct err *err)
{
    return trainer_tensor_get(self, i, values, size, err);
}

static struct state state_of(struct trainer *t)
{
    return (struct state){.self = t,
                          .count = trainer_list(t).saved,
                          .real_bytes = t->real_bytes,
                          .file_bytes = t->real_bytes,
                          .device = {t->be, t->dev},
                          .name = tensor_name,
                          .shape = tensor_shape,
                          .get = tensor_get};
}

static moco_status put_config(struct safetensors_metadata *m, const struct trainer *t, struct err *err)
{
    TRY(config_put_kind(m, FILE_TRAINER, err));
    TRY(config_put_model(m, &t->query->config, err));
    return config_put_trainer(m, &t->o, t->queue_length, t->real_bytes, err);
}

/* ---- saving ---- */

/* Files of other precisions are as they were before there was one. */
static moco_status put_scale(struct safetensors_metadata *m, const struct trainer *t, struct err *err)
{
    if (t->precision != BE_F16)
        return MOCO_OK;
    TRY(safetensors_metadata_add_double(m, "state.loss_scale", t->scale.scale, err));
    TRY(safetensors_metadata_add_int(m, "state.loss_scale_since", t->scale.since, err));
    return safetensors_metadata_add_int(m, "state.skipped", t->scale.skipped, err);
}

static moco_status put_counters(struct safetensors_metadata *m, const struct trainer *t, const char *note,
                                struct err *err)
{
    TRY(safetensors_metadata_add_int(m, "state.step", t->step, err));
    TRY(safetensors_metadata_add_int(m, "state.epoch", t->epoch, err));
    TRY(safetensors_metadata_add_int(m, "state.position", t->position, err));
    TRY(safetensors_metadata_add_int(m, "state.queue_filled", t->queue != NULL ? t->queue->filled : 0, err));
    TRY(put_scale(m, t, err));
    return note != NULL ? safetensors_metadata_add(m, "note", note, err) : MOCO_OK;
}

moco_status checkpoint_save(struct trainer *t, const char *path, const char *note, struct err *err)
{
    TRY(trainer_check_whole(t, err));
    struct state state = state_of(t);
    struct safetensors_metadata metadata;
    moco_augment_options recipe = encoder_recipe(t->query); /* which a thread that has the model may set meanwhile */
    safetensors_metadata_init(&metadata, t->ctx);
    moco_status status = put_config(&metadata, t, err);
    if (status == MOCO_OK)
        status = config_put_recipe(&metadata, &recipe, err);
    if (status == MOCO_OK)
        status = put_counters(&metadata, t, note, err);
    if (status == MOCO_OK)
        status = state_save(t->ctx, path, &state, &metadata, err);
    safetensors_metadata_free(&metadata);
    return status;
}

/* ---- loading ---- */

static const char *fresh_name(void *self, int i)
{
    return trainer_tensor_name(((struct fresh *)self)->trainer, i);
}

static void fresh_shape(void *self, int i, struct tensor_shape *shape)
{
    trainer_tensor_shape(((struct fresh *)self)->trainer, i, shape);
}

static moco_status set_tensor(void *self, int i, const void *values, size_t size, struct err *err)
{
    return fresh_set(self, i, values, size, err);
}

static moco_status check_config(const struct safetensors *file, struct trainer *t, struct err *err)
{
    struct safetensors_metadata ours;
    safetensors_metadata_init(&ours, t->ctx);
    moco_status status = put_config(&ours, t, err);
    if (status == MOCO_OK)
        status = config_compare(file, &ours, "", MOCO_EINVAL, err);
    safetensors_metadata_free(&ours);
    return status;
}

/* A trainer whose precision somebody named goes on from a file of another; one that has it from the machine does not,
 * since nobody would know. The masters are the same numbers: `real` is compared. */
static moco_status check_precision(const struct safetensors *file, const struct trainer *t, moco_trainer_options *o,
                                   struct err *err)
{
    int64_t queue_length;
    TRY(config_get_trainer(file, o, &queue_length, err));
    if (o->precision == t->o.precision || !t->automatic)
        return MOCO_OK;
    const char *here = backend_precision_name(t->o.precision);
    return err_set(err, MOCO_EINVAL,
                   "%s: trainer.precision is %s in the file, and %s is what the device chose here; name %s in the "
                   "trainer's options to go on with other bits",
                   safetensors_path(file), backend_precision_name(o->precision), here, here);
}

/* A trainer in F16 goes on with the scale of a file that has one. */
static moco_status get_scale(const struct safetensors *file, struct fresh *fresh, struct err *err)
{
    struct loss_scale s = {0};
    int exponent;
    if (fresh->trainer->precision != BE_F16 || safetensors_find_text(file, "state.loss_scale") == NULL)
        return MOCO_OK;
    TRY(safetensors_get_double(file, "state.loss_scale", 1, LOSS_SCALE_MOST, &s.scale, err));
    TRY(safetensors_get_int(file, "state.loss_scale_since", 0, LOSS_SCALE_GROWS - 1, &s.since, err));
    TRY(safetensors_get_int(file, "state.skipped", 0, fresh->step, &s.skipped, err));
    if (frexp(s.scale, &exponent) != 0.5)
        return err_set(err, MOCO_EFORMAT, "%s: state.loss_scale is %g; it must be a power of two",
                       safetensors_path(file), s.scale);
    fresh->scale = s;
    return MOCO_OK;
}

static moco_status get_counters(const struct safetensors *file, struct fresh *fresh, struct err *err)
{
    TRY(safetensors_get_int(file, "state.step", 0, INT64_MAX / 2, &fresh->step, err));
    TRY(safetensors_get_int(file, "state.epoch", 0, INT64_MAX, &fresh->epoch, err));
    TRY(safetensors_get_int(file, "state.position", 0, INT64_MAX, &fresh->position, err));
    TRY(get_scale(file, fresh, err));
    return safetensors_get_int(file, "state.queue_filled", 0, fresh->trainer->queue_length, &fresh->filled, err);
}

/* A machine may launch more or fewer groups at once than the one that saved: training goes on, and says so. */
static void tell_launch(const struct trainer *t, int there)
{
    if (there != t->o.groups_per_launch)
        ctx_log(t->ctx, LOG_WARN,
                "groups_per_launch was %d before step %lld and is %d from there on (%d are launched at once): sums are "
                "rounded in another order, so training is not to the bit what it would have been",
                there, (long long)t->step, t->o.groups_per_launch, t->launch_groups);
}

/* Opens a training checkpoint; whether its tensors are sound is not looked at. */
static moco_status open_checkpoint(struct safetensors **file, struct ctx *ctx, const char *path, struct err *err)
{
    enum file_kind kind;
    TRY(safetensors_open(file, ctx, path, 0, err));
    moco_status status = config_get_kind(*file, &kind, err);
    if (status == MOCO_OK && kind != FILE_TRAINER)
        status = err_set(err, MOCO_EFORMAT, "%s: it holds %s, not a training state", path, config_kind_words(kind));
    if (status == MOCO_OK)
        status = safetensors_verify_header(*file, err);
    if (status != MOCO_OK) {
        safetensors_close(*file);
        *file = NULL;
    }
    return status;
}

static void adopt(struct fresh *fresh, const struct net_config *config)
{
    struct encoder *query = fresh->trainer->query;
    encoder_lock(query);
    fresh_adopt(fresh);
    /* Where the weights come from, so that the next checkpoint says the same. */
    if (fresh->recipe.size != 0)
        query->recipe = fresh->recipe;
    query->config.seed = config->seed;
    query->config.zero_init = config->zero_init;
    query->config.image_h = query->config.image_w = config->image_h;
    encoder_unlock(query);
}

/* Checks everything in the file first: configuration, counters, names and shapes, then all hashes. Only then it
 * allocates and reads, and the last call, adopt, cannot fail. */
moco_status checkpoint_load(struct trainer *t, const char *path, struct err *err)
{
    struct safetensors *file = NULL;
    struct net_config config;
    moco_trainer_options there;
    int64_t queue_length;
    struct fresh fresh = {.trainer = t};
    moco_trainer_options said = t->o;
    struct state state = state_of(t);
    state.self = &fresh;
    state.name = fresh_name;
    state.shape = fresh_shape;
    state.get = NULL;
    state.set = set_tensor;
    moco_status status;
    TRY(open_checkpoint(&file, t->ctx, path, err));
    TRY_GOTO(status, check_config(file, t, err), done);
    TRY_GOTO(status, check_precision(file, t, &said, err), done);
    TRY_GOTO(status, config_get_model(file, &config, err), done);
    TRY_GOTO(status, config_get_trainer(file, &there, &queue_length, err), done);
    TRY_GOTO(status, config_get_recipe(file, &fresh.recipe, err), done);
    TRY_GOTO(status, get_counters(file, &fresh, err), done);
    TRY_GOTO(status, state_check(file, "", 1, &state, err), done);
    TRY_GOTO(status, safetensors_verify(file, NULL, NULL, err), done);
    TRY_GOTO(status, t->be->ready(t->dev, err), done);
    TRY_GOTO(status, fresh_alloc(&fresh, err), done);
    TRY_GOTO(status, state_read(t->ctx, file, "", &state, err), done);
    TRY_GOTO(status, fresh_finish(&fresh, err), done);
    adopt(&fresh, &config);
    tell_launch(t, there.groups_per_launch);
    if (said.precision != t->o.precision)
        ctx_log(t->ctx, LOG_WARN, "%s is of a training in %s, which goes on in %s: with other bits from here on", path,
                backend_precision_name(said.precision), backend_precision_name(t->o.precision));
done:
    fresh_free(&fresh);
    safetensors_close(file);
    return status;
}

/* ---- describing ---- */

/* The tensors that a configuration asks for, before there is anything of that size. */
struct described {
    struct state_list list;
    char name[TRAINER_NAME]; /* of the last tensor asked about */
};

static const char *described_name(void *self, int i)
{
    struct described *d = self;
    state_list_name(&d->list, i, d->name);
    return d->name;
}

static void described_shape(void *self, int i, struct tensor_shape *shape)
{
    state_list_shape(&((struct described *)self)->list, i, shape);
}

/* A program that makes model, queue and trainer from the description of a file allocates memory for them. This check
 * refuses a file that does not hold as much. */
static moco_status check_described(struct ctx *ctx, const struct safetensors *file, const struct net_config *config,
                                   const moco_trainer_options *options, int64_t queue_length, struct err *err)
{
    struct graph *graph = NULL;
    size_t real_bytes;
    int queue = options->negatives == MOCO_NEGATIVES_QUEUE;
    TRY(config_bad(file, trainer_options_check(options, err), err));
    TRY(config_get_real(file, &real_bytes, err));
    if ((queue_length > 0) != queue)
        return err_set(err, MOCO_EFORMAT, "%s: trainer.queue_length is %lld and trainer.negatives is %s",
                       safetensors_path(file), (long long)queue_length, queue ? "queue" : "batch");
    TRY(config_bad(file, net_build(&graph, ctx, config, err), err));
    struct described d = {.list =
                              state_list_of(graph, queue_length, config->dim, options->encoder_k == MOCO_KEY_SHARED)};
    struct state state = {.self = &d,
                          .count = d.list.saved,
                          .real_bytes = real_bytes,
                          .file_bytes = real_bytes,
                          .name = described_name,
                          .shape = described_shape};
    moco_status status = state_check(file, "", 1, &state, err);
    graph_free(graph);
    return status;
}

moco_status checkpoint_describe(struct ctx *ctx, const char *path, struct net_config *config,
                                moco_trainer_options *options, int64_t *queue_length, char *note, size_t note_size,
                                struct err *err)
{
    struct safetensors *file = NULL;
    TRY(open_checkpoint(&file, ctx, path, err));
    moco_status status = config_get_model(file, config, err);
    if (status == MOCO_OK)
        status = config_get_trainer(file, options, queue_length, err);
    if (status == MOCO_OK)
        status = check_described(ctx, file, config, options, *queue_length, err);
    if (status == MOCO_OK)
        status = config_get_note(file, note, note_size, err);
    safetensors_close(file);
    return status;
}
