/* SPDX-License-Identifier: MIT
 *
 * overnight: first.c for a run of a night. The whole training state is saved after each epoch, and when Ctrl-C or a
 * batch system asks the program to stop. The same command then continues, and ends with the bits of a run that was
 * never stopped. */
#include <moco/moco.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define STATE "state.safetensors" /* in the folder where it is started; so is encoder.safetensors at the end */

static moco_trainer *trainer; /* a signal handler has no argument of ours */

static void stop(int signal_number)
{
    (void)signal_number;
    moco_trainer_cancel(trainer); /* may be called here: the running step is dropped, as if it had not begun */
}

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "overnight: %s\n", moco_error());
    exit(1);
}

static void load_state(int64_t *step, int64_t *epoch, int64_t *position)
{
    FILE *saved = fopen(STATE, "rb");
    if (saved != NULL) {
        fclose(saved);
        check(moco_trainer_load(trainer, STATE)); /* verified whole before anything is changed */
        printf("going on from " STATE "\n");
    }
    check(moco_trainer_cursor(trainer, step, epoch, position));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "Usage: overnight DIR [PRESET [EPOCHS]]\n");
        return 2;
    }
    const char *name = argc > 2 ? argv[2] : "moco-v2";
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue = NULL;
    moco_dataset *images;
    moco_loader *loader;
    moco_preset preset;
    moco_model_options network;
    moco_trainer_options training;
    moco_augment_options view;
    moco_loader_options loading;
    moco_batch batch;
    moco_step_report report;

    check(moco_preset_get(&preset, name));
    check(moco_model_options_preset(&network, name));
    check(moco_trainer_options_preset(&training, name));
    check(moco_augment_options_preset(&view, preset.recipe, preset.image_size));
    moco_loader_options_init(&loading);
    loading.batch_size = training.batch_size;
    loading.workers = 2;
    loading.permuted = loading.drop_last = 1;
    loading.recipe[0] = loading.recipe[1] = &view;
    moco_batch_init(&batch);
    moco_step_report_init(&report);

    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, "cpu"));
    check(moco_dataset_open_folder(&images, context, argv[1]));
    check(moco_loader_create(&loader, images, &loading));
    check(moco_model_create(&model, device, &network));
    if (preset.queue_length > 0)
        check(moco_queue_create(&queue, device, network.dim, preset.queue_length, 0));
    check(moco_trainer_create(&trainer, model, queue, &training));

    int epochs = argc > 3 ? atoi(argv[3]) : preset.epochs;
    int64_t step, epoch, position, per_epoch = moco_loader_batches(loader);
    load_state(&step, &epoch, &position);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    for (; epoch < epochs; epoch++, position = 0) {
        moco_status status;
        check(moco_loader_start_at(loader, epoch, position)); /* the pictures that the epoch has not seen yet */
        while ((status = moco_loader_next(loader, &batch)) == MOCO_OK) {
            status = moco_trainer_step(trainer, &batch, moco_preset_lr(&preset, step, per_epoch, epochs));
            if (status != MOCO_OK)
                break;
            step++;
        }
        if (status == MOCO_ECANCELED) {
            check(moco_trainer_save(trainer, STATE, NULL));
            printf("stopped before step %lld; the same command goes on\n", (long long)step + 1);
            return 0;
        }
        if (status != MOCO_EEND)
            check(status);
        check(moco_trainer_save(trainer, STATE, NULL)); /* replaces the file at once or not at all */
        if (moco_trainer_report(trainer, &report) == MOCO_OK)
            printf("epoch %lld of %d: loss %.4f, chance %.4f\n", (long long)epoch + 1, epochs, report.loss,
                   report.chance_loss);
    }
    check(moco_model_save(model, "encoder.safetensors"));

    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_loader_free(loader);
    moco_dataset_free(images);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
