/* SPDX-License-Identifier: MIT
 *
 * first: the program to read first. It pre-trains an encoder on a folder of images, without labels, and saves it.
 * The loop is yours: libmoco does one step at a time. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "first: %s\n", moco_error());
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "Usage: first DIR [PRESET [EPOCHS]]\n");
        return 2;
    }
    const char *name = argc > 2 ? argv[2] : "moco-v2";
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue = NULL;
    moco_trainer *trainer;
    moco_dataset *images;
    moco_loader *loader;
    moco_preset preset;
    moco_model_options network;
    moco_trainer_options training;
    moco_augment_options view;
    moco_loader_options loading;
    moco_batch batch;
    moco_step_report report;

    /* A preset fills every option with published numbers; change what you like between here and the create calls. */
    check(moco_preset_get(&preset, name));
    check(moco_model_options_preset(&network, name));
    check(moco_trainer_options_preset(&training, name));
    check(moco_augment_options_preset(&view, preset.recipe, preset.image_size));
    moco_loader_options_init(&loading);
    loading.batch_size = training.batch_size;
    loading.workers = 2;
    loading.permuted = loading.drop_last = 1;
    loading.recipe[0] = loading.recipe[1] = &view; /* two views of each image: query and key */
    moco_batch_init(&batch);
    moco_step_report_init(&report);

    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, "cpu"));
    check(moco_dataset_open_folder(&images, context, argv[1]));
    check(moco_loader_create(&loader, images, &loading));
    check(moco_model_create(&model, device, &network));
    if (preset.queue_length > 0) /* SimCLR's negatives are the batch itself */
        check(moco_queue_create(&queue, device, network.dim, preset.queue_length, 0));
    check(moco_trainer_create(&trainer, model, queue, &training));

    int epochs = argc > 3 ? atoi(argv[3]) : preset.epochs;
    int64_t step = 0, per_epoch = moco_loader_batches(loader);
    for (int epoch = 0; epoch < epochs; epoch++) {
        moco_status status;
        check(moco_loader_start(loader, epoch));
        while ((status = moco_loader_next(loader, &batch)) == MOCO_OK)
            check(moco_trainer_step(trainer, &batch, moco_preset_lr(&preset, step++, per_epoch, epochs)));
        if (status != MOCO_EEND)
            check(status);
        check(moco_trainer_report(trainer, &report));
        printf("epoch %d of %d: loss %.4f, chance %.4f\n", epoch + 1, epochs, report.loss, report.chance_loss);
    }
    check(moco_model_save(model, "encoder.safetensors")); /* torchvision's names: any tool reads it */

    moco_trainer_free(trainer); /* in any order: what is still in use stays */
    moco_queue_free(queue);
    moco_model_free(model);
    moco_loader_free(loader);
    moco_dataset_free(images);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
