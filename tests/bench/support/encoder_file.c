/* SPDX-License-Identifier: MIT
 *
 * encoder_file: see encoder_file.h. */
#include "bench/support/encoder_file.h"

moco_status encoder_file_make(moco_device *device, const char *path, const char *arch, int size)
{
    moco_model *model;
    moco_model_options options;
    moco_model_options_init(&options);
    options.arch = arch;
    options.image_size = size;
    options.stem = size < 64 ? "cifar" : "imagenet";
    moco_status status = moco_model_create(&model, device, &options);
    if (status == MOCO_OK)
        status = moco_model_save(model, path);
    moco_model_free(model);
    return status;
}
