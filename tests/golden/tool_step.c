/* SPDX-License-Identifier: MIT
 *
 * tool_step: trains a few steps on the rule's images (tests/support/files/golden_rule.h) through the public API and writes
 * every tensor and measurement to standard output, for scripts that follow in PyTorch. What a reader would get wrong:
 * the network starts from libmoco's own initial weights, and the key encoder from those of another seed, so that the
 * momentum update shows in the first step; a script takes both from the records "before.*".
 *
 * usage: tool_step KEY=VALUE...      (keys: the fields below; exit 3: no such device here)
 * A record is name[96], u64 bytes of a number (4: f32, 8: f64, 1: i64 of 8 bytes), u64 count, u64 0, u64 0, the
 * numbers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "support/files/golden_rule.h"

struct settings {
    const char *device, *precision, *arch, *stem, *head;
    double dim, width, size, batch, group, launch, queue, steps, lr, t, m, wd, symmetric, interleave, seed;
};

static void stop(const char *what)
{
    fprintf(stderr, "tool_step: %s: %s\n", what, moco_error());
    exit(1);
}

#define WORKS(call)                                                                                                    \
    do {                                                                                                               \
        if ((call) != MOCO_OK)                                                                                         \
            stop(#call);                                                                                               \
    } while (0)

static void *take(size_t size)
{
    void *memory = calloc(size, 1);
    if (!memory) {
        fprintf(stderr, "tool_step: out of memory\n");
        exit(1);
    }
    return memory;
}

static void put(const char *prefix, const char *name, int kind, const void *numbers, size_t count)
{
    char full[96] = {0};
    uint64_t head[4] = {(uint64_t)kind, count, 0, 0};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    size_t size = kind == 4 ? 4 : 8;
    if (fwrite(full, sizeof full, 1, stdout) != 1 || fwrite(head, sizeof head, 1, stdout) != 1 ||
        fwrite(numbers, size, count, stdout) != count)
        exit(1); /* the script has gone */
}

static size_t count_of(const moco_tensor *t)
{
    size_t count = 1;
    for (int i = 0; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

/* Writes all tensors whose name starts with `only`; f64 on ref, else f32. */
static void put_tensors(moco_trainer *trainer, const char *prefix, const char *only, int f64)
{
    const char *name;
    for (int i = 0; (name = moco_trainer_tensor_name(trainer, i)); i++) {
        if (strncmp(name, only, strlen(only)) != 0)
            continue;
        moco_tensor t;
        moco_tensor_init(&t);
        WORKS(moco_trainer_get(trainer, name, &t));
        if (t.dtype != MOCO_I64)
            t.dtype = f64 ? MOCO_F64 : MOCO_F32;
        size_t count = count_of(&t);
        t.data = take(count * 8);
        WORKS(moco_trainer_get(trainer, name, &t));
        put(prefix, name, t.dtype == MOCO_I64 ? 1 : f64 ? 8 : 4, t.data, count);
        free(t.data);
    }
}

static void put_state(moco_trainer *trainer, const char *prefix, int f64)
{
    put_tensors(trainer, prefix, "encoder_", f64);
    put_tensors(trainer, prefix, "momentum.", f64);
    put_tensors(trainer, prefix, "queue", f64);
}

static void read_settings(struct settings *s, int argc, char **argv)
{
    const struct {
        const char *key;
        const char **text;
        double *number;
    } keys[] = {{"device", &s->device, NULL},
                {"precision", &s->precision, NULL},
                {"arch", &s->arch, NULL},
                {"stem", &s->stem, NULL},
                {"head", &s->head, NULL},
                {"dim", NULL, &s->dim},
                {"width", NULL, &s->width},
                {"size", NULL, &s->size},
                {"batch", NULL, &s->batch},
                {"group", NULL, &s->group},
                {"launch", NULL, &s->launch},
                {"queue", NULL, &s->queue},
                {"steps", NULL, &s->steps},
                {"lr", NULL, &s->lr},
                {"t", NULL, &s->t},
                {"m", NULL, &s->m},
                {"wd", NULL, &s->wd},
                {"symmetric", NULL, &s->symmetric},
                {"interleave", NULL, &s->interleave},
                {"seed", NULL, &s->seed}};
    for (int i = 1; i < argc; i++) {
        size_t k = 0, count = sizeof keys / sizeof *keys, length = strcspn(argv[i], "=");
        while (k < count && (strncmp(argv[i], keys[k].key, length) != 0 || keys[k].key[length] != 0))
            k++;
        if (k == count || argv[i][length] != '=') {
            fprintf(stderr, "tool_step: %s is not a known KEY=VALUE\n", argv[i]);
            exit(2);
        }
        if (keys[k].text)
            *keys[k].text = argv[i] + length + 1;
        else
            *keys[k].number = strtod(argv[i] + length + 1, NULL);
    }
}

static moco_model *make_model(moco_device *device, const struct settings *s, uint64_t seed)
{
    moco_model_options o;
    moco_model_options_init(&o);
    o.arch = s->arch;
    o.stem = s->stem;
    o.head = s->head;
    o.dim = (int32_t)s->dim;
    o.width = s->width;
    o.image_size = (int32_t)s->size;
    o.seed = seed;
    moco_model *model;
    WORKS(moco_model_create(&model, device, &o));
    return model;
}

static moco_trainer *make_trainer(moco_model *model, moco_queue *queue, const struct settings *s)
{
    moco_trainer_options o;
    moco_trainer_options_init(&o);
    o.batch_size = (int32_t)s->batch;
    o.bn_group_size = (int32_t)s->group;
    o.groups_per_launch = (int32_t)s->launch;
    o.image_h = o.image_w = (int32_t)s->size;
    o.temperature = s->t;
    o.key_momentum = s->m;
    o.weight_decay = s->wd;
    o.precision = strcmp(s->precision, "f64") == 0    ? MOCO_PRECISION_F64
                  : strcmp(s->precision, "bf16") == 0 ? MOCO_PRECISION_BF16
                                                      : MOCO_PRECISION_F32;
    o.symmetric = (int32_t)s->symmetric;
    o.interleave = (int32_t)s->interleave;
    o.seed = (uint64_t)s->seed;
    moco_trainer *trainer;
    WORKS(moco_trainer_create(&trainer, model, queue, &o));
    return trainer;
}

/* The key encoder takes every tensor of `model`. */
static void set_key_encoder(moco_trainer *trainer, moco_model *model)
{
    const char *name;
    for (int i = 0; (name = moco_model_tensor_name(model, i)); i++) {
        moco_tensor t;
        moco_tensor_init(&t);
        WORKS(moco_model_get(model, name, &t));
        t.data = take(count_of(&t) * 8);
        WORKS(moco_model_get(model, name, &t));
        char full[128];
        snprintf(full, sizeof full, "encoder_k.%s", name);
        WORKS(moco_trainer_set(trainer, full, &t));
        free(t.data);
    }
}

static void train(moco_trainer *trainer, const struct settings *s)
{
    moco_batch batch;
    moco_batch_init(&batch);
    batch.n = (int32_t)s->batch;
    batch.h = batch.w = (int32_t)s->size;
    batch.views = 2;
    uint8_t *views[2];
    for (int v = 0; v < 2; v++)
        batch.view[v] = views[v] = take((size_t)batch.n * (size_t)batch.h * (size_t)batch.w * 3);
    for (int step = 0; step < (int)s->steps; step++) {
        for (int v = 0; v < 2; v++)
            golden_images((uint64_t)s->seed, step, v, batch.n, batch.h, batch.w, views[v]);
        WORKS(moco_trainer_step(trainer, &batch, s->lr));
        moco_step_report r;
        moco_step_report_init(&r);
        WORKS(moco_trainer_report(trainer, &r));
        const double all[7] = {r.loss, r.acc1, r.acc5, r.pos_cosine, r.neg_cosine, r.feature_std, r.grad_norm};
        put("", "measured", 8, all, 7);
    }
    free(views[0]);
    free(views[1]);
}

int main(int argc, char **argv)
{
    struct settings s = {.device = "ref",
                         .precision = "f64",
                         .arch = "resnet18",
                         .stem = "small",
                         .head = "mlp",
                         .dim = 16,
                         .width = 0.0625,
                         .size = 24,
                         .batch = 8,
                         .group = 4,
                         .queue = 32,
                         .steps = 1,
                         .lr = 0.003,
                         .t = 0.2,
                         .m = 0.5,
                         .wd = 0.05,
                         .seed = 1};
    read_settings(&s, argc, argv);
    int f64 = strcmp(s.precision, "f64") == 0;
    moco_context *context;
    moco_device *device;
    moco_queue *queue;
    WORKS(moco_context_create(&context, NULL));
    moco_status status = moco_device_open(&device, context, s.device);
    if (status == MOCO_ENODEV)
        return 3;
    WORKS(status);
    moco_model *query = make_model(device, &s, (uint64_t)s.seed), *key = make_model(device, &s, (uint64_t)s.seed + 1);
    WORKS(moco_queue_create(&queue, device, (int)s.dim, (int64_t)s.queue, (uint64_t)s.seed));
    moco_trainer *trainer = make_trainer(query, queue, &s);
    set_key_encoder(trainer, key);
    put_state(trainer, "before.", f64);
    train(trainer, &s);
    put_tensors(trainer, "", "grad.", f64);
    put_state(trainer, "after.", f64);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(key);
    moco_model_free(query);
    moco_device_free(device);
    moco_context_free(context);
    return fflush(stdout) == 0 ? 0 : 1;
}
