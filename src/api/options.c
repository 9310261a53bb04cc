/* SPDX-License-Identifier: MIT
 *
 * The defaults of every struct of moco/model.h and moco/trainer.h: MoCo v2 of the paper. */
#include "api/handle.h"
#include "moco/model.h"
#include "moco/trainer.h"

_Static_assert(sizeof(moco_model_options) % 8 == 0 && sizeof(moco_model_info) % 8 == 0 && sizeof(moco_batch) % 8 == 0 &&
                   sizeof(moco_trainer_options) % 8 == 0 && sizeof(moco_step_report) % 8 == 0 &&
                   sizeof(moco_memory_estimate) % 8 == 0,
               "struct sizes are multiples of 8");

void moco_model_options_init_sized(moco_model_options *options, size_t size)
{
    moco_model_options defaults = {
        .dim = 128,
        .arch = "resnet50",
        .stem = "imagenet",
        .head = "mlp",
        .width = 1.0,
        .mean = {0.485, 0.456, 0.406},
        .std = {0.229, 0.224, 0.225},
        .image_size = 224,
    };
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_model_info_init_sized(moco_model_info *info, size_t size)
{
    moco_model_info defaults = {0};
    struct_init(info, size, &defaults, sizeof defaults);
}

void moco_batch_init_sized(moco_batch *batch, size_t size)
{
    moco_batch defaults = {.key_step = -1};
    struct_init(batch, size, &defaults, sizeof defaults);
}

void moco_trainer_options_init_sized(moco_trainer_options *options, size_t size)
{
    moco_trainer_options defaults = {
        .batch_size = 256,
        .bn_group_size = 32,
        .image_h = 224,
        .image_w = 224,
        .temperature = 0.2,
        .key_momentum = 0.999,
        .sgd_momentum = 0.9,
        .weight_decay = 1e-4,
        .precision = MOCO_PRECISION_AUTO,
        .shuffle = 1,
        .trust_coefficient = 0.001,
    };
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_step_report_init_sized(moco_step_report *report, size_t size)
{
    moco_step_report defaults = {0};
    struct_init(report, size, &defaults, sizeof defaults);
}

void moco_memory_estimate_init_sized(moco_memory_estimate *estimate, size_t size)
{
    moco_memory_estimate defaults = {0};
    struct_init(estimate, size, &defaults, sizeof defaults);
}
