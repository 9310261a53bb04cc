/* SPDX-License-Identifier: MIT
 *
 * train_rig: see train_rig.h. */
#include "support/rigs/train_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "philox.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

struct rig_spec rig_spec(void)
{
    struct rig_spec spec = {.queue_length = 40};
    moco_context_options_init(&spec.context);
    spec.context.threads = 1; /* teams of OpenMP wait long for each other on a machine that is busy with other tests */
    moco_model_options_init(&spec.model);
    spec.model.arch = "resnet18";
    spec.model.stem = "small";
    spec.model.width = 0.125;
    spec.model.dim = 16;
    spec.model.image_size = 16;
    spec.model.seed = 11;
    moco_trainer_options_init(&spec.trainer);
    spec.trainer.batch_size = 16;
    spec.trainer.bn_group_size = 4;
    spec.trainer.groups_per_launch = 1;
    spec.trainer.image_h = spec.trainer.image_w = 16;
    spec.trainer.key_momentum = 0.9;
    spec.trainer.weight_decay = 1e-3;
    spec.trainer.precision = MOCO_PRECISION_F32;
    spec.trainer.seed = 5;
    return spec;
}

void rig_mechanism(struct rig_spec *spec, int mechanism)
{
    moco_trainer_options *o = &spec->trainer;
    if (mechanism == RIG_MOCO)
        return;
    o->negatives = MOCO_NEGATIVES_BATCH;
    if (mechanism == RIG_BATCH_KEYS) {
        o->symmetric = 1;
        o->interleave = 1;
        return;
    }
    o->encoder_k = MOCO_KEY_SHARED;
    o->groups_per_launch = 0;
    if (mechanism == RIG_END_TO_END)
        return;
    o->loss = MOCO_LOSS_NTXENT;
    o->bn_group_size = 2 * o->batch_size;
    spec->model.head = "simclr-v2";
    if (mechanism == RIG_SIMCLR_LARS) {
        o->optimizer = MOCO_OPTIMIZER_LARS;
        o->trust_coefficient = 0.01;
        spec->model.zero_init = 1;
    }
}

void rig_expect(moco_status status, moco_status wanted)
{
    if (status != wanted)
        fail_msg("status %d (%s) instead of %d; moco_error: %s", (int)status, moco_status_text(status), (int)wanted,
                 moco_error());
}

void rig_open(struct rig *rig, const struct rig_spec *spec)
{
    memset(rig, 0, sizeof *rig);
    rig->spec = *spec;
    if (rig->spec.device == NULL)
        rig->spec.device = test_device();
    if (spec->trainer.precision == MOCO_PRECISION_F32 && test_device_is_exact(rig->spec.device))
        rig->spec.trainer.precision = MOCO_PRECISION_F64; /* exact unless the test asks for rounding */
    rig_ok(moco_context_create(&rig->context, &spec->context));
    rig_ok(moco_device_open(&rig->device, rig->context, rig->spec.device));
    rig_ok(moco_model_create(&rig->model, rig->device, &spec->model));
    if (spec->trainer.negatives == MOCO_NEGATIVES_QUEUE)
        rig_ok(moco_queue_create(&rig->queue, rig->device, spec->model.dim, spec->queue_length, 3));
    rig_ok(moco_trainer_create(&rig->trainer, rig->model, rig->queue, &rig->spec.trainer));
    const moco_trainer_options *o = &rig->spec.trainer;
    size_t bytes = (size_t)o->batch_size * (size_t)o->image_h * (size_t)o->image_w * 3;
    for (int v = 0; v < 2; v++) {
        rig->view[v] = malloc(bytes);
        assert_non_null(rig->view[v]);
    }
    moco_batch_init(&rig->batch);
    rig->batch.n = o->batch_size;
    rig->batch.h = o->image_h;
    rig->batch.w = o->image_w;
    rig->batch.views = 2;
    rig->batch.view[0] = rig->view[0];
    rig->batch.view[1] = rig->view[1];
}

void rig_close(struct rig *rig)
{
    int64_t live = -1;
    moco_device_free(rig->device); /* against the order of making: references are counted */
    moco_queue_free(rig->queue);
    moco_model_free(rig->model);
    moco_trainer_free(rig->trainer);
    rig_ok(moco_context_memory(rig->context, &live, NULL, NULL));
    int64_t context = -1; /* what the context's own handle takes */
    moco_context *empty;
    rig_ok(moco_context_create(&empty, NULL));
    rig_ok(moco_context_memory(empty, &context, NULL, NULL));
    moco_context_free(empty);
    assert_int_equal(live, context);
    moco_context_free(rig->context);
    free(rig->view[0]);
    free(rig->view[1]);
}

void rig_draw(struct rig *rig, int64_t number)
{
    const moco_trainer_options *o = &rig->spec.trainer;
    size_t image = (size_t)o->image_h * (size_t)o->image_w * 3;
    for (int n = 0; n < o->batch_size; n++) {
        struct rng rng;
        rng_init(&rng, 77, (uint64_t)number, (uint64_t)n, 0, RNG_TEST);
        for (size_t i = 0; i < image; i++) {
            uint32_t word = rng_u32(&rng);
            uint8_t value = rig->spec.flat_images ? 100 : (uint8_t)(word >> 24);
            /* The second view is the first with some noise: there is something to learn. */
            rig->view[0][(size_t)n * image + i] = value;
            rig->view[1][(size_t)n * image + i] =
                rig->spec.flat_images ? 100 : (uint8_t)((3 * value + (uint8_t)(word >> 8)) / 4);
        }
    }
    rig->batch.epoch = number / 3;
    rig->batch.position = (number % 3 + 1) * o->batch_size;
}

moco_status rig_step(struct rig *rig, int64_t number)
{
    rig_draw(rig, number);
    return moco_trainer_step(rig->trainer, &rig->batch, 0.05);
}

void rig_run(struct rig *rig, int64_t first, int64_t last)
{
    for (int64_t i = first; i < last; i++)
        rig_ok(rig_step(rig, i));
}

static moco_tensor probe(struct rig *rig, const char *name, size_t *count)
{
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    rig_ok(moco_trainer_get(rig->trainer, name, &tensor));
    *count = 1;
    for (int i = 0; i < tensor.ndim; i++)
        *count *= (size_t)tensor.shape[i];
    tensor.dtype = MOCO_F64;
    return tensor;
}

double *rig_get(struct rig *rig, const char *name, size_t *count)
{
    moco_tensor tensor = probe(rig, name, count);
    double *values = malloc(*count * sizeof *values);
    assert_non_null(values);
    tensor.data = values;
    rig_ok(moco_trainer_get(rig->trainer, name, &tensor));
    return values;
}

void rig_set(struct rig *rig, const char *name, const double *values)
{
    size_t count;
    moco_tensor tensor = probe(rig, name, &count);
    double *copy = malloc(count * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, values, count * sizeof *copy);
    tensor.data = copy;
    rig_ok(moco_trainer_set(rig->trainer, name, &tensor));
    free(copy);
}

double rig_difference(struct rig *a, struct rig *b, const char *name)
{
    size_t na, nb;
    double *x = rig_get(a, name, &na), *y = rig_get(b, name, &nb);
    assert_int_equal(na, nb);
    double off = 0, size = 0;
    for (size_t i = 0; i < na; i++) {
        off += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
    }
    free(x);
    free(y);
    return size > 0 ? sqrt(off / size) : sqrt(off);
}

char *rig_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long bytes = ftell(file);
    assert_true(bytes > 0);
    rewind(file);
    char *text = malloc((size_t)bytes);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)bytes, file), bytes);
    fclose(file);
    *size = (size_t)bytes;
    return text;
}

void rig_expect_equal(struct rig *a, struct rig *b)
{
    struct scratch_folder folder;
    scratch_folder_make(&folder);
    rig_ok(moco_trainer_save(a->trainer, scratch_path(&folder, "a"), NULL));
    rig_ok(moco_trainer_save(b->trainer, scratch_path(&folder, "b"), NULL));
    size_t na, nb;
    char *x = rig_read_file(scratch_path(&folder, "a"), &na), *y = rig_read_file(scratch_path(&folder, "b"), &nb);
    assert_int_equal(na, nb);
    if (memcmp(x, y, na) != 0)
        fail_msg("two states that must be equal to the bit differ");
    free(x);
    free(y);
    scratch_folder_remove(&folder);
}
