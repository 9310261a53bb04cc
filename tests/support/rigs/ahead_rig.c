/* SPDX-License-Identifier: MIT
 *
 * ahead_rig: see ahead_rig.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/rigs/ahead_rig.h"

const char *const ahead_devices[2] = {"late", "cudasim:0"};

/* Narrow, and one launch: what counts is the order of calls. */
struct rig_spec ahead_spec(const char *device, int mechanism)
{
    struct rig_spec spec = rig_spec();
    spec.device = device;
    spec.model.width = 1.0 / 32;
    spec.trainer.groups_per_launch = 0;
    spec.trainer.ahead = 1;
    if (mechanism < RIG_MECHANISMS)
        rig_mechanism(&spec, mechanism);
    else
        spec.trainer.symmetric = 1;
    return spec;
}

/* Two trainers of one configuration, of which the twin waits for each step. */
void ahead_open(struct rig *rig, struct rig *twin, struct rig_spec spec)
{
    rig_open(rig, &spec);
    spec.trainer.ahead = 0;
    if (strcmp(spec.device, "late") == 0)
        spec.device = "ref"; /* whose bits it has, and none of the faults that are planted in it */
    rig_open(twin, &spec);
}

void ahead_close(struct rig *rig, struct rig *twin)
{
    rig_close(rig);
    rig_close(twin);
}

moco_step_report ahead_report(struct rig *rig)
{
    moco_step_report report;
    moco_step_report_init(&report);
    rig_ok(moco_trainer_report(rig->trainer, &report));
    return report;
}

int64_t ahead_step(struct rig *rig)
{
    int64_t step;
    rig_ok(moco_trainer_cursor(rig->trainer, &step, NULL, NULL));
    return step;
}

void ahead_says(const char *what)
{
    if (strstr(moco_error(), what) == NULL)
        fail_msg("the sentence does not say \"%s\": %s", what, moco_error());
}

moco_status ahead_embed(struct rig *rig, float out[64])
{
    moco_tensor images, rows;
    moco_tensor_init(&images);
    moco_tensor_init(&rows);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = 2;
    images.shape[1] = images.shape[2] = 16;
    images.shape[3] = 3;
    images.data = rig->view[0];
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = 2;
    rows.shape[1] = 16;
    rows.data = out;
    return moco_model_embed(rig->model, &images, MOCO_PROJECTION, &rows);
}

moco_status ahead_look_at(struct rig *rig, enum ahead_look look, const double *same,
                          const struct scratch_folder *folder)
{
    static double values[40 * 16];
    static float rows[64];
    int64_t next;
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = MOCO_F64;
    tensor.ndim = 1;
    tensor.shape[0] = 2;
    tensor.data = values;
    switch (look) {
    case LOOK_GET:
        return moco_trainer_get(rig->trainer, "encoder_q.bn1.weight", &tensor);
    case LOOK_SET:
        memcpy(values, same, 2 * sizeof *same);
        return moco_trainer_set(rig->trainer, "encoder_k.bn1.bias", &tensor);
    case LOOK_SAVE:
        return moco_trainer_save(rig->trainer, scratch_path(folder, "look"), NULL);
    case LOOK_MODEL_GET:
        return moco_model_get(rig->model, "bn1.weight", &tensor);
    case LOOK_MODEL_SAVE:
        return moco_model_save(rig->model, scratch_path(folder, "look"));
    case LOOK_EMBED:
        return ahead_embed(rig, rows);
    case LOOK_QUEUE:
        tensor.ndim = 2;
        tensor.shape[0] = 16;
        tensor.shape[1] = 40;
        return moco_queue_get(rig->queue, &tensor);
    case LOOK_QUEUE_STATE:
        return moco_queue_state(rig->queue, NULL, &next, NULL);
    case LOOKS:
        break;
    }
    return MOCO_EINVAL;
}

/* Those of the trainer tell how a step in flight has failed. */
int ahead_tells(enum ahead_look look)
{
    return look <= LOOK_SAVE;
}
