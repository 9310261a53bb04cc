/* SPDX-License-Identifier: MIT
 *
 * test_older_files: files that were written before some part of a configuration was a choice load, and mean what was
 * done then. Such a file is made here by leaving out of a new one the keys that came later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "support/scratch_folder.h"
#include "support/train_rig.h"

static struct scratch_folder folder;

static int make_folder(void **state)
{
    (void)state;
    scratch_folder_make(&folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return 0;
}

/* The same file as it was written before there was a choice of mechanism. */
static void write_older(const char *path, const char *older)
{
    static const char *const keys[] = {"format",
                                       "format_version",
                                       "kind",
                                       "model.arch",
                                       "model.stem",
                                       "model.head",
                                       "model.width",
                                       "model.dim",
                                       "model.mean.0",
                                       "model.mean.1",
                                       "model.mean.2",
                                       "model.std.0",
                                       "model.std.1",
                                       "model.std.2",
                                       "model.image_size",
                                       "model.seed",
                                       "trainer.batch_size",
                                       "trainer.bn_group_size",
                                       "trainer.groups_per_launch",
                                       "trainer.image_h",
                                       "trainer.image_w",
                                       "trainer.symmetric",
                                       "trainer.shuffle",
                                       "trainer.interleave",
                                       "trainer.temperature",
                                       "trainer.key_momentum",
                                       "trainer.sgd_momentum",
                                       "trainer.weight_decay",
                                       "trainer.precision",
                                       "trainer.real",
                                       "trainer.queue_length",
                                       "trainer.seed",
                                       "state.step",
                                       "state.epoch",
                                       "state.position",
                                       "state.queue_filled"};
    struct err err = {0};
    struct ctx *ctx;
    struct safetensors *file;
    struct safetensors_writer *writer;
    struct safetensors_metadata metadata;
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), MOCO_OK);
    assert_int_equal(safetensors_open(&file, ctx, path, 0, &err), MOCO_OK);
    safetensors_metadata_init(&metadata, ctx);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = NULL;
        assert_int_equal(safetensors_get_text(file, keys[i], &value, &err), MOCO_OK);
        assert_int_equal(safetensors_metadata_add(&metadata, keys[i], value, &err), MOCO_OK);
    }
    int64_t count = safetensors_count(file);
    struct safetensors_tensor *tensors = calloc((size_t)count, sizeof *tensors);
    assert_non_null(tensors);
    for (int64_t i = 0; i < count; i++)
        tensors[i] = *safetensors_at(file, i);
    assert_int_equal(safetensors_create(&writer, ctx, older, tensors, count, metadata.items, metadata.count,
                                        SAFETENSORS_HASHES, &err),
                     MOCO_OK);
    for (int64_t i = 0; i < count; i++) {
        void *bytes = malloc((size_t)tensors[i].bytes);
        assert_non_null(bytes);
        assert_int_equal(safetensors_load(file, &tensors[i], bytes, &err), MOCO_OK);
        assert_int_equal(safetensors_write(writer, i, bytes, (size_t)tensors[i].bytes, &err), MOCO_OK);
        free(bytes);
    }
    assert_int_equal(safetensors_commit(writer, &err), MOCO_OK);
    free(tensors);
    safetensors_metadata_free(&metadata);
    safetensors_close(file);
    ctx_unref(ctx);
}

static void files_of_before_mean_moco(void **state)
{
    (void)state;
    struct rig rig, twin, simclr;
    struct rig_spec spec = rig_spec(), other = rig_spec();
    char path[300], older[300];
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "new"));
    snprintf(older, sizeof older, "%s", scratch_path(&folder, "older"));
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 2);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
    write_older(path, older);
    rig_ok(moco_trainer_load(twin.trainer, older));
    rig_run(&rig, 2, 3);
    rig_run(&twin, 2, 3);
    rig_expect_equal(&rig, &twin);
    moco_trainer_options read;
    moco_model_options model;
    moco_trainer_options_init(&read);
    moco_model_options_init(&model);
    read.negatives = read.encoder_k = read.loss = read.optimizer = model.zero_init = 1;
    rig_ok(moco_checkpoint_describe(rig.context, older, &model, &read, NULL, NULL, 0));
    assert_true(read.negatives == MOCO_NEGATIVES_QUEUE && read.encoder_k == MOCO_KEY_MOMENTUM);
    assert_true(read.loss == MOCO_LOSS_INFONCE && read.optimizer == MOCO_OPTIMIZER_SGD);
    assert_true(read.trust_coefficient == 0.001 && model.zero_init == 0);
    moco_model *opened;
    rig_ok(moco_model_open(&opened, rig.device, older));
    moco_model_free(opened);
    other.trainer.negatives = MOCO_NEGATIVES_BATCH; /* same groups and launches, so that this is what differs first */
    rig_open(&simclr, &other);
    rig_expect(moco_trainer_load(simclr.trainer, older), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "trainer.negatives is queue in the file and batch here"));
    rig_close(&simclr);
    rig_close(&rig);
    rig_close(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_before_mean_moco)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
