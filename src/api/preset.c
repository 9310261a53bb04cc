/* SPDX-License-Identifier: MIT
 *
 * moco/preset.h: one row per published configuration. Every number here is one that was published or measured
 * (SPEC 1.1, 1.9, 1.10, 2): change the source beside it when you change a number. */
#include "moco/preset.h"

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

#define MOCO MOCO_NEGATIVES_QUEUE, MOCO_KEY_MOMENTUM, MOCO_LOSS_INFONCE, MOCO_OPTIMIZER_SGD, 1, 0, 0
#define END_TO_END MOCO_NEGATIVES_BATCH, MOCO_KEY_SHARED, MOCO_LOSS_INFONCE, MOCO_OPTIMIZER_SGD, 1, 0, 0
#define SIMCLR MOCO_NEGATIVES_BATCH, MOCO_KEY_SHARED, MOCO_LOSS_NTXENT, MOCO_OPTIMIZER_LARS, 0, 1, 10

/* ImageNet's mean and standard deviation, as everybody uses them. */
#define IMAGENET_MEAN                                                                                                  \
    {                                                                                                                  \
        0.485, 0.456, 0.406                                                                                            \
    }
#define IMAGENET_STD                                                                                                   \
    {                                                                                                                  \
        0.229, 0.224, 0.225                                                                                            \
    }

static const struct row rows[] = {
    {"moco-v1",     "arXiv 1911.05722; facebookresearch/moco main_moco.py, defaults (ImageNet top-1 60.6)",
     "resnet50",    "imagenet",
     "linear",      1.0,
     IMAGENET_MEAN, IMAGENET_STD,
     128,           224,
     256,           32,
     200,           MOCO_SCHEDULE_STEPS,
     {120, 160, 0}, 65536,
     0.03,          0.07,
     0.999,         1e-4,
     "moco-v1",     "eval",
     200,           0,
     0.1,           MOCO},
    {"moco-v2",
     "arXiv 2003.04297; facebookresearch/moco main_moco.py --mlp --moco-t 0.2 --aug-plus --cos (top-1 67.5)",
     "resnet50",
     "imagenet",
     "mlp",
     1.0,
     IMAGENET_MEAN,
     IMAGENET_STD,
     128,
     224,
     256,
     32,
     200,
     MOCO_SCHEDULE_COSINE,
     {0, 0, 0},
     65536,
     0.03,
     0.2,
     0.999,
     1e-4,
     "moco-v2",
     "eval",
     200,
     0,
     0.1,
     MOCO},
    {"cifar10",
     "facebookresearch/moco, CIFAR-10 notebook, asymmetric loss (kNN 82.6 after 200 epochs)",
     "resnet18",
     "cifar",
     "linear",
     1.0,
     {0.4914, 0.4822, 0.4465},
     {0.2023, 0.1994, 0.2010},
     128,
     32,
     512,
     64,
     200,
     MOCO_SCHEDULE_COSINE_FROM1,
     {0, 0, 0},
     4096,
     0.06,
     0.1,
     0.99,
     5e-4,
     "cifar10",
     "none",
     200,
     1,
     0.1,
     MOCO},
    {"demo",
     "libmoco: a run of three minutes on two cores; 1600 steps of 128 images, drawn by examples/demo",
     "resnet18",
     "small",
     "mlp",
     0.25,
     {0.5, 0.5, 0.5},
     {0.25, 0.25, 0.25},
     64,
     32,
     128,
     32,
     21,
     MOCO_SCHEDULE_COSINE_STEP,
     {0, 0, 0},
     512,
     0.06,
     0.2,
     0.99,
     5e-4,
     "demo",
     "none",
     20,
     0,
     0.1,
     MOCO},
    /* BN over both views of the whole batch; rate 0.3 x batch / 256 */
    {"simclr",
     "arXiv 2002.05709; google-research/simclr, ImageNet command with batch 256, 200 epochs (61.9 in arXiv 2003.04297)",
     "resnet50",
     "imagenet",
     "simclr-v2",
     1.0,
     {0, 0, 0},
     {1, 1, 1},
     128,
     224,
     256,
     512,
     200,
     MOCO_SCHEDULE_COSINE_STEP,
     {0, 0, 0},
     0,
     0.3,
     0.1,
     0.999,
     1e-4,
     "simclr",
     "simclr-eval",
     200,
     0,
     0.1,
     SIMCLR},
    /* rate 1.0 x batch / 256 */
    {"simclr-cifar10",
     "google-research/simclr, CIFAR-10 command (linear about 91 after 1000 epochs)",
     "resnet18",
     "cifar",
     "simclr-v2",
     1.0,
     {0, 0, 0},
     {1, 1, 1},
     128,
     32,
     512,
     1024,
     1000,
     MOCO_SCHEDULE_COSINE_STEP,
     {0, 0, 0},
     0,
     2.0,
     0.5,
     0.999,
     1e-4,
     "simclr-cifar10",
     "none",
     200,
     0,
     0.1,
     SIMCLR},
    {"end-to-end",  "arXiv 1911.05722 fig. 2a, arXiv 2003.04297 table 3; everything else as in moco-v2",
     "resnet50",    "imagenet",
     "mlp",         1.0,
     IMAGENET_MEAN, IMAGENET_STD,
     128,           224,
     256,           32,
     200,           MOCO_SCHEDULE_COSINE,
     {0, 0, 0},     0,
     0.03,          0.2,
     0.999,         1e-4,
     "moco-v2",     "eval",
     200,           0,
     0.1,           END_TO_END},
};
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
    o.precision = MOCO_PRECISION_F32;
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
