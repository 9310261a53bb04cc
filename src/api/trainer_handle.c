/* SPDX-License-Identifier: MIT
 *
 * moco/trainer.h, and its part of moco/export.h: the trainer behind a handle, and the calls that need none
 * (estimate, description of a file). A trainer holds references on model and queue, so that they may be freed in any
 * order. */
#include "moco/trainer.h"

#include "algo/checkpoint.h"
#include "algo/export/export.h"
#include "algo/trainer.h"
#include "api/objects.h"

static void trainer_destroy(struct handle *handle)
{
    moco_trainer *trainer = (moco_trainer *)handle;
    trainer_free(trainer->trainer);
    if (trainer->model != NULL)
        handle_unref(&trainer->model->handle);
    if (trainer->queue != NULL)
        handle_unref(&trainer->queue->handle);
    if (trainer->comm != NULL)
        handle_unref(&trainer->comm->handle);
}

/* ---- whose turn it is ---- */

void trainer_turns_leave(struct trainer_turns *turns)
{
    handle_leave(&turns->comm);
    handle_leave(&turns->queue);
    handle_leave(&turns->trainer);
}

static moco_status enter(struct trainer_turns *turns, const moco_trainer *trainer, struct err *err)
{
    TRY(handle_enter(&turns->trainer, trainer, HANDLE_TRAINER, "trainer", err));
    if (trainer->queue == NULL)
        return MOCO_OK;
    return handle_enter_held(&turns->queue, &trainer->queue->handle, HANDLE_QUEUE, "the trainer's", err);
}

moco_status trainer_enter(struct trainer_turns *turns, const moco_trainer *trainer, struct err *err)
{
    TRY(enter(turns, trainer, err));
    return trainer_wait(trainer->trainer, err);
}

/* For a call that exchanges with other ranks. */
static moco_status enter_ranks(struct trainer_turns *turns, const moco_trainer *trainer, struct err *err)
{
    TRY(enter(turns, trainer, err));
    if (trainer->comm == NULL)
        return MOCO_OK;
    return handle_enter_held(&turns->comm, &trainer->comm->handle, HANDLE_COMM, "the trainer's", err);
}

/* ---- making ---- */

static moco_status read_options(moco_trainer_options *o, const moco_trainer_options *given, struct err *err)
{
    moco_trainer_options_init(o);
    TRY(struct_read(o, sizeof *o, given, "options", err));
    if (backend_precision_name(o->precision) == NULL)
        return err_set(err, MOCO_EINVAL, "precision is %d; it must be a moco_precision, 0 to 5", o->precision);
    return o->comm != NULL ? handle_check(o->comm, HANDLE_COMM, "comm", err) : MOCO_OK;
}

/* Takes a turn on everything that the trainer will own a part of, and keeps references, so that handles may be freed in
 * any order. */
static moco_status make(moco_trainer **out, moco_model *model, moco_queue *queue, const moco_trainer_options *options,
                        struct err *err)
{
    TRY(api_not_null(out, "trainer", err));
    *out = NULL;
    struct turn turn HANDLE_TURN, on_queue HANDLE_TURN, on_comm HANDLE_TURN;
    TRY(handle_enter(&turn, model, HANDLE_MODEL, "model", err));
    moco_trainer_options o;
    if (queue != NULL)
        TRY(handle_enter(&on_queue, queue, HANDLE_QUEUE, "queue", err));
    TRY(read_options(&o, options, err));
    if (o.comm != NULL)
        TRY(handle_enter(&on_comm, o.comm, HANDLE_COMM, "comm", err));
    moco_trainer *trainer = handle_new(model->handle.ctx, sizeof *trainer, HANDLE_TRAINER, trainer_destroy, err);
    if (trainer == NULL)
        return MOCO_ENOMEM;
    handle_ref(&model->handle);
    trainer->model = model;
    if (queue != NULL)
        handle_ref(&queue->handle);
    trainer->queue = queue;
    if (o.comm != NULL)
        handle_ref(&o.comm->handle);
    trainer->comm = o.comm;
    moco_status status = trainer_create(&trainer->trainer, model->encoder, queue != NULL ? queue->queue : NULL, &o,
                                        o.comm != NULL ? o.comm->comm : NULL, err);
    if (o.comm != NULL && o.comm->device == NULL && comm_device(o.comm->comm) != NULL) { /* it joins devices now */
        handle_ref(&model->device->handle);
        o.comm->device = model->device;
    }
    if (status != MOCO_OK) {
        handle_free(trainer, HANDLE_TRAINER);
        return status;
    }
    *out = trainer;
    return MOCO_OK;
}

moco_status moco_trainer_create(moco_trainer **trainer, moco_model *model, moco_queue *queue,
                                const moco_trainer_options *options)
{
    struct err err = {0};
    return api_return(make(trainer, model, queue, options, &err), "moco_trainer_create", &err);
}

void moco_trainer_free(moco_trainer *trainer)
{
    handle_free(trainer, HANDLE_TRAINER);
}

/* ---- stepping ---- */

static moco_status read_batch(moco_batch *b, const moco_batch *given, struct err *err)
{
    TRY(struct_read(b, sizeof *b, given, "batch", err));
    return struct_reserved(b->reserved0, "moco_batch.reserved0", err);
}

static moco_status step(moco_trainer *trainer, const moco_batch *batch, double lr, struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    TRY(enter_ranks(&turns, trainer, err));
    moco_batch b = {0};
    moco_status status = read_batch(&b, batch, err);
    if (status == MOCO_OK && b.pictures != NULL)
        status = handle_check(b.pictures, HANDLE_PICTURES, "batch.pictures", err);
    if (status != MOCO_OK) /* other ranks wait for this one */
        return trainer_leave(trainer->trainer, status, err);
    return trainer_step(trainer->trainer, &b, b.pictures != NULL ? b.pictures->resident : NULL, lr, err);
}

static moco_status leave(moco_trainer *trainer, moco_status why, const char *sentence, struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    TRY(enter_ranks(&turns, trainer, err));
    if (why == MOCO_OK)
        return err_set(err, MOCO_EINVAL, "why is MOCO_OK, with which nobody leaves");
    err_set(err, why, "%.400s", sentence != NULL ? sentence : moco_status_text(why));
    return trainer_leave(trainer->trainer, why, err);
}

moco_status moco_trainer_leave(moco_trainer *trainer, moco_status why, const char *sentence)
{
    struct err err = {0};
    return api_return(leave(trainer, why, sentence, &err), "moco_trainer_leave", &err);
}

moco_status moco_trainer_step(moco_trainer *trainer, const moco_batch *batch, double lr)
{
    struct err err = {0};
    return api_return(step(trainer, batch, lr, &err), "moco_trainer_step", &err);
}

static moco_status wait_for_step(moco_trainer *trainer, struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    return trainer_enter(&turns, trainer, err);
}

moco_status moco_trainer_wait(moco_trainer *trainer)
{
    struct err err = {0};
    return api_return(wait_for_step(trainer, &err), "moco_trainer_wait", &err);
}

static moco_status report(moco_trainer *trainer, moco_step_report *to, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, trainer, HANDLE_TRAINER, "trainer", err));
    TRY(struct_check(to, "report", err));
    moco_step_report filled;
    TRY(trainer_report(trainer->trainer, &filled, err));
    struct_write(to, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_trainer_report(moco_trainer *trainer, moco_step_report *to)
{
    struct err err = {0};
    return api_return(report(trainer, to, &err), "moco_trainer_report", &err);
}

/* Two atomic accesses: fit for a signal handler. */
void moco_trainer_cancel(moco_trainer *trainer)
{
    if (handle_valid(trainer, HANDLE_TRAINER))
        trainer_cancel(trainer->trainer);
}

static moco_status cursor(const moco_trainer *trainer, int64_t *step_count, int64_t *epoch, int64_t *position,
                          struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_enter_nested(&turn, trainer, HANDLE_TRAINER, "trainer", err));
    trainer_cursor(trainer->trainer, step_count, epoch, position);
    return MOCO_OK;
}

moco_status moco_trainer_cursor(const moco_trainer *trainer, int64_t *step_count, int64_t *epoch, int64_t *position)
{
    struct err err = {0};
    return api_return(cursor(trainer, step_count, epoch, position, &err), "moco_trainer_cursor", &err);
}

/* ---- state by name ---- */

static moco_status read_state(void *self, int index, double *values, struct err *err)
{
    return trainer_tensor_get(self, index, values, sizeof *values, err);
}

static moco_status write_state(void *self, int index, double *values, struct err *err)
{
    return trainer_tensor_set(self, index, values, err);
}

/* Of a trainer that the caller has entered. */
static moco_status find(moco_trainer *trainer, const char *name, int *index, struct tensor_shape *shape,
                        struct err *err)
{
    TRY(api_not_null(name, "name", err));
    *index = trainer_find(trainer->trainer, name);
    if (*index < 0)
        return err_set(err, MOCO_ENOTFOUND, "there is no state tensor named \"%.100s\"", name);
    trainer_tensor_shape(trainer->trainer, *index, shape);
    return MOCO_OK;
}

static moco_status get(moco_trainer *trainer, const char *name, moco_tensor *tensor, struct err *err)
{
    struct tensor_shape shape;
    struct tensor_move move = {.move = read_state};
    struct trainer_turns turns TRAINER_TURN;
    int64_t count;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(find(trainer, name, &move.index, &shape, err));
    TRY(tensor_check(tensor, "tensor", 1, &count, err));
    move.self = trainer->trainer;
    return tensor_get(trainer->handle.ctx, tensor, name, &shape, trainer->model->encoder->real_bytes, &move, err);
}

moco_status moco_trainer_get(moco_trainer *trainer, const char *name, moco_tensor *tensor)
{
    struct err err = {0};
    return api_return(get(trainer, name, tensor, &err), "moco_trainer_get", &err);
}

static moco_status set(moco_trainer *trainer, const char *name, const moco_tensor *tensor, struct err *err)
{
    struct tensor_shape shape;
    struct tensor_move move = {.move = write_state};
    struct trainer_turns turns TRAINER_TURN;
    int64_t count;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(find(trainer, name, &move.index, &shape, err));
    TRY(tensor_check(tensor, "tensor", 0, &count, err));
    move.self = trainer->trainer;
    return tensor_set(trainer->handle.ctx, tensor, name, &shape, &move, err);
}

moco_status moco_trainer_set(moco_trainer *trainer, const char *name, const moco_tensor *tensor)
{
    struct err err = {0};
    return api_return(set(trainer, name, tensor, &err), "moco_trainer_set", &err);
}

const char *moco_trainer_tensor_name(const moco_trainer *trainer, int index)
{
    return handle_valid(trainer, HANDLE_TRAINER) ? trainer_tensor_name(trainer->trainer, index) : NULL;
}

/* ---- files ---- */

static moco_status save(moco_trainer *trainer, const char *path, const char *note, struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(api_not_null(path, "path", err));
    return checkpoint_save(trainer->trainer, path, note, err);
}

static moco_status export_training(moco_trainer *trainer, const char *path, const moco_export_options *options,
                                   struct err *err)
{
    moco_export_options o;
    struct trainer_turns turns TRAINER_TURN;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(api_not_null(path, "path", err));
    TRY(export_options_read(&o, options, err));
    return trainer_export(trainer->trainer, path, &o, err);
}

moco_status moco_trainer_export(moco_trainer *trainer, const char *path, const moco_export_options *options)
{
    struct err err = {0};
    return api_return(export_training(trainer, path, options, &err), "moco_trainer_export", &err);
}

moco_status moco_trainer_save(moco_trainer *trainer, const char *path, const char *note)
{
    struct err err = {0};
    return api_return(save(trainer, path, note, &err), "moco_trainer_save", &err);
}

static moco_status load(moco_trainer *trainer, const char *path, struct err *err)
{
    struct trainer_turns turns TRAINER_TURN;
    TRY(trainer_enter(&turns, trainer, err));
    TRY(api_not_null(path, "path", err));
    return checkpoint_load(trainer->trainer, path, err);
}

moco_status moco_trainer_load(moco_trainer *trainer, const char *path)
{
    struct err err = {0};
    return api_return(load(trainer, path, &err), "moco_trainer_load", &err);
}

static moco_status describe(moco_context *context, const char *path, moco_model_options *model,
                            moco_trainer_options *trainer, int64_t *queue_length, char *note, size_t note_size,
                            struct err *err)
{
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(api_not_null(path, "path", err));
    if (model != NULL)
        TRY(struct_check(model, "model", err));
    if (trainer != NULL)
        TRY(struct_check(trainer, "trainer", err));
    struct net_config config;
    moco_trainer_options options;
    moco_trainer_options_init(&options);
    int64_t length;
    TRY(checkpoint_describe(context->handle.ctx, path, &config, &options, &length, note, note_size, err));
    if (model != NULL)
        model_options_write(model, &config);
    if (trainer != NULL)
        struct_write(trainer, &options, sizeof options);
    if (queue_length != NULL)
        *queue_length = length;
    return MOCO_OK;
}

moco_status moco_checkpoint_describe(moco_context *context, const char *path, moco_model_options *model,
                                     moco_trainer_options *trainer, int64_t *queue_length, char *note, size_t note_size)
{
    struct err err = {0};
    return api_return(describe(context, path, model, trainer, queue_length, note, note_size, &err),
                      "moco_checkpoint_describe", &err);
}

/* ---- estimating ---- */

static moco_status estimate(moco_device *device, const moco_model_options *model, int64_t queue_length,
                            const moco_trainer_options *options, moco_memory_estimate *to, struct err *err)
{
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(struct_check(to, "estimate", err));
    struct net_config config;
    TRY(model_options_read(&config, model, err));
    moco_trainer_options o;
    TRY(read_options(&o, options, err));
    moco_memory_estimate filled = {0};
    TRY(trainer_estimate(device->handle.ctx, device->backend, device->dev, &config, queue_length, &o,
                         o.comm != NULL ? comm_ranks(o.comm->comm) : 1, &filled, err));
    struct_write(to, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_trainer_estimate(moco_device *device, const moco_model_options *model, int64_t queue_length,
                                  const moco_trainer_options *options, moco_memory_estimate *to)
{
    struct err err = {0};
    return api_return(estimate(device, model, queue_length, options, to, &err), "moco_trainer_estimate", &err);
}
