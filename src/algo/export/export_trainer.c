/* SPDX-License-Identifier: MIT
 *
 * export_trainer: writes a training state as the reference's main_moco.py saves it, for its --resume. What a reader
 * would get wrong: torch numbers an optimizer's parameters in the order of model.parameters(): first the query
 * encoder's, then the key encoder's, which are in no step and have no momentum. */
#include <stdio.h>
#include <string.h>

#include "algo/export/export.h"
#include "algo/state_file.h"
#include "algo/trainer_state.h"
#include "format/torch/torch_write.h"

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

/* Lists what is saved: queue, both encoders, then the momentum of each parameter. Gradients are not saved. */
static struct state state_of(struct trainer *t)
{
    return (struct state){.self = t,
                          .count = trainer_list(t).saved,
                          .real_bytes = t->real_bytes,
                          .file_bytes = sizeof(float),
                          .name = tensor_name,
                          .shape = tensor_shape,
                          .get = tensor_get};
}

static void put_state_dict(struct torch_writer *w, const struct state *state, int count)
{
    struct safetensors_tensor tensor;
    char name[TRAINER_NAME + 8];
    pickle_put_text(&w->pickle, "state_dict");
    pickle_put_global(&w->pickle, "collections", "OrderedDict");
    pickle_put_ops(&w->pickle, ")R(");
    for (int i = 0; i < count; i++) {
        state_describe(state, i, &tensor);
        snprintf(name, sizeof name, "module.%s", tensor.name); /* as DistributedDataParallel names it */
        pickle_put_text(&w->pickle, name);
        torch_put_tensor(w, &tensor);
    }
    pickle_put_ops(&w->pickle, "u");
}

/* Puts the one parameter group of SGD. torch refuses a group that has not the parameters of both encoders. */
static void put_group(struct pickle_writer *p, const struct trainer *t)
{
    pickle_put_text(p, "param_groups");
    pickle_put_ops(p, "](}(");
    pickle_put_text(p, "lr");
    pickle_put_double(p, t->reported ? t->report.lr : 0);
    pickle_put_text(p, "momentum");
    pickle_put_double(p, t->o.sgd_momentum);
    pickle_put_text(p, "dampening");
    pickle_put_int(p, 0);
    pickle_put_text(p, "weight_decay");
    pickle_put_double(p, t->o.weight_decay);
    pickle_put_text(p, "nesterov");
    pickle_put_bool(p, 0);
    pickle_put_text(p, "params");
    pickle_put_ops(p, "](");
    for (int i = 0; i < 2 * t->graph->param_count; i++)
        pickle_put_int(p, i);
    pickle_put_ops(p, "eue");
}

/* Puts momentum buffers by number, from tensor `first` on. Only the query encoder's parameters have any. */
static void put_optimizer(struct torch_writer *w, const struct trainer *t, const struct state *state, int first)
{
    struct pickle_writer *p = &w->pickle;
    struct safetensors_tensor tensor;
    pickle_put_text(p, "optimizer");
    pickle_put_ops(p, "}(");
    pickle_put_text(p, "state");
    pickle_put_ops(p, "}(");
    for (int i = first; i < state->count; i++) {
        pickle_put_int(p, i - first);
        pickle_put_ops(p, "}(");
        pickle_put_text(p, "momentum_buffer");
        state_describe(state, i, &tensor);
        torch_put_tensor(w, &tensor);
        pickle_put_ops(p, "u");
    }
    pickle_put_ops(p, "u");
    put_group(p, t);
    pickle_put_ops(p, "u");
}

/* Puts the checkpoint's dict and then writes the numbers of its tensors. The epoch is that with which main_moco.py goes
 * on. */
static moco_status write_all(struct torch_writer *w, struct trainer *t, const char *path, const moco_export_options *o,
                             void *values, struct err *err)
{
    struct state state = state_of(t);
    int momentum = state.count - t->graph->param_count;
    pickle_put_ops(&w->pickle, "}(");
    pickle_put_text(&w->pickle, "epoch");
    pickle_put_int(&w->pickle, o->epoch >= 0 ? o->epoch : t->epoch + (t->step > 0));
    pickle_put_text(&w->pickle, "arch");
    pickle_put_text(&w->pickle, net_arch_name(t->config.depth));
    put_state_dict(w, &state, momentum);
    put_optimizer(w, t, &state, momentum);
    pickle_put_ops(&w->pickle, "u");
    TRY(torch_write_begin(w, path, err));
    for (int i = 0; i < state.count; i++) {
        size_t bytes = 0;
        TRY(state_fetch(&state, i, values, &bytes, err));
        TRY(torch_write(w, i, values, bytes, err));
    }
    return torch_write_commit(w, err);
}

static moco_status check_mechanism(const struct trainer *t, struct err *err)
{
    const char *other = t->shared                              ? "its encoder is shared by queries and keys"
                        : t->queue == NULL                     ? "its negatives come from the batch"
                        : t->o.optimizer != MOCO_OPTIMIZER_SGD ? "its optimizer is LARS"
                                                               : NULL;
    if (other != NULL)
        return err_set(err, MOCO_ENOTSUP,
                       "%s: the reference's checkpoint holds MoCo, with a queue, a key encoder and SGD", other);
    return MOCO_OK;
}

moco_status trainer_export(struct trainer *t, const char *path, const moco_export_options *o, struct err *err)
{
    moco_export_format format;
    struct torch_writer writer;
    TRY(export_format(path, o, &format, err));
    if (format != MOCO_EXPORT_TORCH)
        return err_set(
            err, MOCO_EINVAL,
            "%.300s: a training state is exported as the reference's checkpoint, whose name ends in .pth.tar, "
            ".pth or .pt; moco_model_export writes encoders",
            path);
    TRY(check_mechanism(t, err));
    TRY(trainer_check_whole(t, err));
    struct state state = state_of(t);
    void *values = state_room(t->ctx, &state, err);
    if (values == NULL)
        return MOCO_ENOMEM;
    torch_write_start(&writer, t->ctx, err);
    moco_status status = write_all(&writer, t, path, o, values, err);
    torch_write_abandon(&writer);
    mem_free(t->ctx, values);
    return status;
}
