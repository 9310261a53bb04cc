/* SPDX-License-Identifier: MIT
 *
 * moco/preset.h: one row per published configuration. What a reader would get wrong: every number here was published
 * or measured. When you change one, change the source in its row too. */
#include "moco/preset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/schedule.h"
#include "api/handle.h"

_Static_assert(sizeof(moco_preset) % 8 == 0, "struct sizes are multiples of 8");

struct row {
    const char *name, *source;
    /* network */
    const char *arch, *stem, *head;
    double width, mean[3], std[3];
    int dim, image_size;
    /* training */
    int batch, group, epochs, schedule, milestones[3];
    int64_t queue;
    double lr, temperature, key_momentum, weight_decay;
    /* views and the kNN monitor */
    const char *recipe, *eval_recipe;
    int knn_k, knn_projection;
    double knn_temperature;
    /* the mechanism, and what comes with it */
    int negatives, encoder_k, loss, optimizer, shuffle, zero_init, warmup_epochs;
};

/* What a mechanism brings with it. */
#define MOCO                                                                                                           \
    .negatives = MOCO_NEGATIVES_QUEUE, .encoder_k = MOCO_KEY_MOMENTUM, .loss = MOCO_LOSS_INFONCE,                      \
    .optimizer = MOCO_OPTIMIZER_SGD, .shuffle = 1
#define END_TO_END                                                                                                     \
    .negatives = MOCO_NEGATIVES_BATCH, .encoder_k = MOCO_KEY_SHARED, .loss = MOCO_LOSS_INFONCE,                        \
    .optimizer = MOCO_OPTIMIZER_SGD, .shuffle = 1
#define SIMCLR                                                                                                         \
    .negatives = MOCO_NEGATIVES_BATCH, .encoder_k = MOCO_KEY_SHARED, .loss = MOCO_LOSS_NTXENT,                         \
    .optimizer = MOCO_OPTIMIZER_LARS, .zero_init = 1, .warmup_epochs = 10

/* ImageNet's mean and standard deviation, as everybody uses them; and values that stay as they are. */
#define IMAGENET_VALUES .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}
#define RAW_VALUES .mean = {0, 0, 0}, .std = {1, 1, 1}

/* One line a subject: network, values, batch, schedule, contrast, views, kNN, mechanism. What is not named is 0. */
/* clang-format off */
static const struct row rows[] = {
    {.name = "moco-v1",
     .source = "arXiv 1911.05722; facebookresearch/moco main_moco.py, defaults (ImageNet top-1 60.6)",
     .arch = "resnet50", .stem = "imagenet", .head = "linear", .width = 1, .dim = 128, .image_size = 224,
     IMAGENET_VALUES,
     .batch = 256, .group = 32,
     .epochs = 200, .schedule = MOCO_SCHEDULE_STEPS, .milestones = {120, 160}, .lr = 0.03, .weight_decay = 1e-4,
     .queue = 65536, .temperature = 0.07, .key_momentum = 0.999,
     .recipe = "moco-v1", .eval_recipe = "eval",
     .knn_k = 200, .knn_temperature = 0.1,
     MOCO},
    {.name = "moco-v2",
     .source = "arXiv 2003.04297; facebookresearch/moco main_moco.py --mlp --moco-t 0.2 --aug-plus --cos (top-1 67.5)",
     .arch = "resnet50", .stem = "imagenet", .head = "mlp", .width = 1, .dim = 128, .image_size = 224,
     IMAGENET_VALUES,
     .batch = 256, .group = 32,
     .epochs = 200, .schedule = MOCO_SCHEDULE_COSINE, .lr = 0.03, .weight_decay = 1e-4,
     .queue = 65536, .temperature = 0.2, .key_momentum = 0.999,
     .recipe = "moco-v2", .eval_recipe = "eval",
     .knn_k = 200, .knn_temperature = 0.1,
     MOCO},
    {.name = "cifar10",
     .source = "facebookresearch/moco, CIFAR-10 notebook, asymmetric loss (kNN 82.6 after 200 epochs)",
     .arch = "resnet18", .stem = "cifar", .head = "linear", .width = 1, .dim = 128, .image_size = 32,
     .mean = {0.4914, 0.4822, 0.4465}, .std = {0.2023, 0.1994, 0.2010},
     .batch = 512, .group = 64,
     .epochs = 200, .schedule = MOCO_SCHEDULE_COSINE_FROM1, .lr = 0.06, .weight_decay = 5e-4,
     .queue = 4096, .temperature = 0.1, .key_momentum = 0.99,
     .recipe = "cifar10", .eval_recipe = "none",
     .knn_k = 200, .knn_projection = 1, .knn_temperature = 0.1,
     MOCO},
    {.name = "demo",
     .source = "libmoco: a run of three minutes on two cores; 1600 steps of 128 images, drawn by examples/demo",
     .arch = "resnet18", .stem = "small", .head = "mlp", .width = 0.25, .dim = 64, .image_size = 32,
     .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25},
     .batch = 128, .group = 32,
     .epochs = 21, .schedule = MOCO_SCHEDULE_COSINE_STEP, .lr = 0.06, .weight_decay = 5e-4,
     .queue = 512, .temperature = 0.2, .key_momentum = 0.99,
     .recipe = "demo", .eval_recipe = "none",
     .knn_k = 20, .knn_temperature = 0.1,
     MOCO},
    /* BN over both views of the whole batch; rate 0.3 x batch / 256 */
    {.name = "simclr",
     .source = "arXiv 2002.05709; google-research/simclr, ImageNet command with batch 256, 200 epochs "
               "(61.9 in arXiv 2003.04297)",
     .arch = "resnet50", .stem = "imagenet", .head = "simclr-v2", .width = 1, .dim = 128, .image_size = 224,
     RAW_VALUES,
     .batch = 256, .group = 512,
     .epochs = 200, .schedule = MOCO_SCHEDULE_COSINE_STEP, .lr = 0.3, .weight_decay = 1e-4,
     .temperature = 0.1, .key_momentum = 0.999,
     .recipe = "simclr", .eval_recipe = "simclr-eval",
     .knn_k = 200, .knn_temperature = 0.1,
     SIMCLR},
    /* rate 1.0 x batch / 256 */
    {.name = "simclr-cifar10",
     .source = "google-research/simclr, CIFAR-10 command (linear about 91 after 1000 epochs)",
     .arch = "resnet18", .stem = "cifar", .head = "simclr-v2", .width = 1, .dim = 128, .image_size = 32,
     RAW_VALUES,
     .batch = 512, .group = 1024,
     .epochs = 1000, .schedule = MOCO_SCHEDULE_COSINE_STEP, .lr = 2, .weight_decay = 1e-4,
     .temperature = 0.5, .key_momentum = 0.999,
     .recipe = "simclr-cifar10", .eval_recipe = "none",
     .knn_k = 200, .knn_temperature = 0.1,
     SIMCLR},
    {.name = "end-to-end",
     .source = "arXiv 1911.05722 fig. 2a, arXiv 2003.04297 table 3; everything else as in moco-v2",
     .arch = "resnet50", .stem = "imagenet", .head = "mlp", .width = 1, .dim = 128, .image_size = 224,
     IMAGENET_VALUES,
     .batch = 256, .group = 32,
     .epochs = 200, .schedule = MOCO_SCHEDULE_COSINE, .lr = 0.03, .weight_decay = 1e-4,
     .temperature = 0.2, .key_momentum = 0.999,
     .recipe = "moco-v2", .eval_recipe = "eval",
     .knn_k = 200, .knn_temperature = 0.1,
     END_TO_END},
};
/* clang-format on */
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

static moco_status find(const struct row **out, const char *name, struct err *err)
{
    TRY(api_not_null(name, "name", err));
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) {
            *out = &rows[i];
            return MOCO_OK;
        }
    return err_set(err, MOCO_ENOTFOUND,
                   "no preset \"%.64s\"; there are moco-v1, moco-v2, cifar10, demo, simclr, "
                   "simclr-cifar10 and end-to-end",
                   name);
}

const char *moco_preset_name(int index)
{
    return index >= 0 && index < ROWS ? rows[index].name : NULL;
}

static moco_status preset_get(moco_preset *preset, size_t size, const char *name, struct err *err)
{
    TRY(struct_fill_check(preset, size, "preset", err));
    const struct row *row = NULL;
    TRY(find(&row, name, err));
    moco_preset p = {0};
    p.epochs = row->epochs;
    snprintf(p.name, sizeof p.name, "%s", row->name);
    snprintf(p.source, sizeof p.source, "%s", row->source);
    p.queue_length = row->queue;
    p.lr = row->lr;
    p.schedule = row->schedule;
    for (int i = 0; i < 3; i++)
        p.milestones[i] = row->milestones[i];
    p.knn_k = row->knn_k;
    p.knn_projection = row->knn_projection;
    p.knn_temperature = row->knn_temperature;
    snprintf(p.recipe, sizeof p.recipe, "%s", row->recipe);
    snprintf(p.eval_recipe, sizeof p.eval_recipe, "%s", row->eval_recipe);
    p.image_size = row->image_size;
    p.warmup_epochs = row->warmup_epochs;
    struct_init(preset, size, &p, sizeof p);
    return MOCO_OK;
}

moco_status moco_preset_get_sized(moco_preset *preset, size_t size, const char *name)
{
    struct err err = {0};
    return api_return(preset_get(preset, size, name, &err), "moco_preset_get", &err);
}

static moco_status model_preset(moco_model_options *options, size_t size, const char *name, struct err *err)
{
    TRY(struct_fill_check(options, size, "options", err));
    const struct row *row = NULL;
    TRY(find(&row, name, err));
    moco_model_options o;
    moco_model_options_init(&o);
    o.dim = row->dim;
    o.arch = row->arch;
    o.stem = row->stem;
    o.head = row->head;
    o.width = row->width;
    memcpy(o.mean, row->mean, sizeof o.mean);
    memcpy(o.std, row->std, sizeof o.std);
    o.image_size = row->image_size;
    o.zero_init = row->zero_init;
    struct_init(options, size, &o, sizeof o);
    return MOCO_OK;
}

moco_status moco_model_options_preset_sized(moco_model_options *options, size_t size, const char *name)
{
    struct err err = {0};
    return api_return(model_preset(options, size, name, &err), "moco_model_options_preset", &err);
}

static moco_status trainer_preset(moco_trainer_options *options, size_t size, const char *name, struct err *err)
{
    TRY(struct_fill_check(options, size, "options", err));
    const struct row *row = NULL;
    TRY(find(&row, name, err));
    moco_trainer_options o;
    moco_trainer_options_init(&o);
    o.batch_size = row->batch;
    o.bn_group_size = row->group;
    o.image_h = o.image_w = row->image_size;
    o.temperature = row->temperature;
    o.key_momentum = row->key_momentum;
    o.weight_decay = row->weight_decay;
    o.negatives = row->negatives;
    o.encoder_k = row->encoder_k;
    o.loss = row->loss;
    o.optimizer = row->optimizer;
    o.shuffle = row->shuffle;
    struct_init(options, size, &o, sizeof o);
    return MOCO_OK;
}

moco_status moco_trainer_options_preset_sized(moco_trainer_options *options, size_t size, const char *name)
{
    struct err err = {0};
    return api_return(trainer_preset(options, size, name, &err), "moco_trainer_options_preset", &err);
}

double moco_lr_cosine(double lr, double t, double total)
{
    return schedule_cosine(lr, t, total);
}

double moco_lr_warmup_cosine(double lr, double t, double warmup, double total)
{
    return schedule_warmup_cosine(lr, t, warmup, total);
}

double moco_lr_steps(double lr, int64_t epoch, const int32_t *milestones, int count, double factor)
{
    return schedule_steps(lr, epoch, milestones, count, factor);
}

double moco_preset_lr(const moco_preset *preset, int64_t step, int64_t steps_per_epoch, int64_t epochs)
{
    struct err err = {0};
    moco_preset p = {0};
    if (struct_read(&p, sizeof p, preset, "preset", &err) != MOCO_OK || steps_per_epoch < 1)
        return NAN;
    double e = (double)epochs, per = (double)steps_per_epoch;
    int64_t epoch = step / steps_per_epoch;
    switch (p.schedule) {
    case MOCO_SCHEDULE_STEPS:
        return schedule_steps(p.lr, epoch, p.milestones, 3, 0.1);
    case MOCO_SCHEDULE_COSINE:
        return schedule_cosine(p.lr, (double)epoch, e);
    case MOCO_SCHEDULE_COSINE_FROM1:
        return schedule_cosine(p.lr, (double)(epoch + 1), e);
    case MOCO_SCHEDULE_COSINE_STEP:
        return schedule_warmup_cosine(p.lr, (double)step, p.warmup_epochs * per, e * per);
    default:
        return NAN;
    }
}
