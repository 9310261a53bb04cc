/* SPDX-License-Identifier: MIT
 *
 * tool_note: a checkpoint's note, and the same checkpoint with another one and right hashes, written by the public API:
 *   tool_note FILE                             prints the note
 *   tool_note FILE NEW NOTE                    the same state beside NOTE
 *   tool_note FILE NEW NOTE far                with weights that no step can be made with
 *   tool_note FILE NEW NOTE EPOCH POSITION     a step more, from a batch that says it stands there */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>

#include "support/test_device.h"

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_note: %s\n", moco_error());
    exit(1);
}

static void step_at(moco_trainer *trainer, const moco_trainer_options *o, int64_t epoch, int64_t position)
{
    size_t bytes = (size_t)o->batch_size * (size_t)(o->image_h * o->image_w) * 3;
    moco_batch batch;
    uint8_t *view = malloc(bytes);
    for (size_t i = 0; i < bytes && view != NULL; i++)
        view[i] = (uint8_t)(i * 2654435761u >> 8);
    moco_batch_init(&batch);
    batch.n = o->batch_size;
    batch.h = o->image_h;
    batch.w = o->image_w;
    batch.views = 2;
    batch.view[0] = batch.view[1] = view;
    batch.epoch = epoch;
    batch.position = position;
    check(moco_trainer_step(trainer, &batch, 0.01));
    free(view);
}

static void spoil(moco_trainer *trainer)
{
    moco_tensor weights;
    int64_t count = 1;
    moco_tensor_init(&weights);
    check(moco_trainer_get(trainer, "encoder_q.conv1.weight", &weights)); /* only what it looks like */
    for (int i = 0; i < weights.ndim; i++)
        count *= weights.shape[i];
    float *f32 = weights.data = calloc((size_t)count, sizeof(double));
    if (f32 == NULL)
        exit(1);
    check(moco_trainer_get(trainer, "encoder_q.conv1.weight", &weights));
    for (int64_t i = 0; i < count && weights.dtype == MOCO_F32; i++)
        f32[i] = i % 3 == 0 ? 1e25f : -1e25f;
    for (int64_t i = 0; i < count && weights.dtype == MOCO_F64; i++)
        ((double *)weights.data)[i] = i % 3 == 0 ? 1e200 : -1e200;
    check(moco_trainer_set(trainer, "encoder_q.conv1.weight", &weights));
    free(weights.data);
}

int main(int argc, char **argv)
{
    static char note[1 << 16];
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue = NULL;
    moco_trainer *trainer;
    moco_model_options model_options;
    moco_trainer_options options;
    moco_context_options threads;
    int64_t length;
    if (argc < 2 || argc == 3 || argc > 6)
        return 2;
    moco_context_options_init(&threads);
    threads.threads = 1;
    moco_model_options_init(&model_options);
    moco_trainer_options_init(&options);
    check(moco_context_create(&context, &threads));
    check(moco_checkpoint_describe(context, argv[1], &model_options, &options, &length, note, sizeof note));
    if (argc == 2)
        printf("%s\n", note);
    if (argc > 2) {
        check(moco_device_open(&device, context, test_device()));
        check(moco_model_create(&model, device, &model_options));
        if (length > 0)
            check(moco_queue_create(&queue, device, model_options.dim, length, 0));
        check(moco_trainer_create(&trainer, model, queue, &options));
        check(moco_trainer_load(trainer, argv[1]));
        if (argc == 5)
            spoil(trainer);
        if (argc == 6)
            step_at(trainer, &options, strtoll(argv[4], NULL, 10), strtoll(argv[5], NULL, 10));
        check(moco_trainer_save(trainer, argv[2], argv[3]));
        moco_trainer_free(trainer);
        moco_queue_free(queue);
        moco_model_free(model);
        moco_device_free(device);
    }
    moco_context_free(context);
    return 0;
}
