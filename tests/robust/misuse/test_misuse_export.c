/* SPDX-License-Identifier: MIT
 *
 * test_misuse_export: what export.h must refuse: NULL, options that contradict themselves, names that say no form. What
 * is no mistake of the caller's is unit/files/test_export.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "moco/moco.h"
#include "support/refused.h"
#include "support/rigs/misuse_rig.h"

static moco_model *make_model(void)
{
    moco_model *model = NULL;
    moco_model_options options;
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.width = 1.0 / 64;
    options.dim = 4;
    options.image_size = 16;
    misuse_ok(moco_model_create(&model, misuse.device, &options));
    return model;
}

static const char *in(const char *name)
{
    return scratch_path(&misuse.folder, name);
}

static void models(void **state)
{
    (void)state;
    moco_model *model = make_model();
    moco_export_options o;
    REFUSED(EINVAL, "model is NULL", moco_model_export(NULL, in("a.pth"), NULL));
    REFUSED(EINVAL, "path is NULL", moco_model_export(model, NULL, NULL));
    REFUSED(EINVAL, "must end in", moco_model_export(model, in("a"), NULL));
    REFUSED(EINVAL, "must end in", moco_model_export(model, "", NULL));
    REFUSED(EINVAL, "must end in", moco_model_export(model, in("a.pth.zip"), NULL));
    REFUSED(EINVAL, "moco_trainer_export", moco_model_export(model, in("a.pth.tar"), NULL));
    REFUSED(EIO, "none", moco_model_export(model, in("none/a.pth"), NULL));
    moco_export_options_init(&o);
    o.format = MOCO_EXPORT_TORCH;
    REFUSED(EIO, "names no file", moco_model_export(model, in("a/"), &o));
    moco_export_options_init(&o);
    o.format = 6;
    REFUSED(EINVAL, "format is 6", moco_model_export(model, in("a.pth"), &o));
    o.format = -1;
    REFUSED(EINVAL, "format is -1", moco_model_export(model, in("a.pth"), &o));
    moco_export_options_init(&o);
    o.head = 2;
    REFUSED(EINVAL, "head is 2", moco_model_export(model, in("a.pth"), &o));
    moco_export_options_init(&o);
    o.onnx_input = -1;
    REFUSED(EINVAL, "onnx_input -1", moco_model_export(model, in("a.onnx"), &o));
    moco_export_options_init(&o);
    o.separate_bn = 7;
    REFUSED(EINVAL, "separate_bn 7", moco_model_export(model, in("a.onnx"), &o));
    moco_export_options_init(&o);
    o.epoch = -2;
    REFUSED(EINVAL, "epoch is -2", moco_model_export(model, in("a.onnx"), &o));
    moco_export_options_init(&o);
    o.reserved0 = 1;
    REFUSED(EINVAL, "reserved0", moco_model_export(model, in("a.onnx"), &o));
    moco_export_options_init(&o);
    o.head = 1;
    REFUSED(EINVAL, "no place for the head", moco_model_export(model, in("a.pkl"), &o));
    REFUSED(EINVAL, "no resnet18 of another width", moco_model_export(model, in("a/"), &o));
    o.struct_size = 2;
    REFUSED(EINVAL, "init macro", moco_model_export(model, in("a.pth"), &o));
    assert_int_not_equal(access(in("a"), F_OK), 0); /* no folder was made */
    assert_int_not_equal(access(in("a.onnx"), F_OK), 0);
    moco_export_options_init_sized(NULL, sizeof o);
    moco_model_free(model);
}

static void trainers(void **state)
{
    (void)state;
    moco_model *model = make_model();
    moco_queue *queue = NULL;
    moco_trainer *trainer = NULL;
    moco_trainer_options options;
    moco_export_options o;
    moco_trainer_options_init(&options);
    options.batch_size = options.bn_group_size = 2;
    options.image_h = options.image_w = 16;
    misuse_ok(moco_queue_create(&queue, misuse.device, 4, 8, 0));
    misuse_ok(moco_trainer_create(&trainer, model, queue, &options));
    REFUSED(EINVAL, "trainer is NULL", moco_trainer_export(NULL, in("a.pth.tar"), NULL));
    REFUSED(EINVAL, "path is NULL", moco_trainer_export(trainer, NULL, NULL));
    REFUSED(EINVAL, "ends in .pth.tar", moco_trainer_export(trainer, in("a.safetensors"), NULL));
    REFUSED(EINVAL, "must end in", moco_trainer_export(trainer, in("a.tar"), NULL));
    moco_export_options_init(&o);
    o.format = MOCO_EXPORT_ONNX;
    REFUSED(EINVAL, "moco_model_export writes encoders", moco_trainer_export(trainer, in("a.pth"), &o));
    o.struct_size = 0;
    REFUSED(EINVAL, "init macro", moco_trainer_export(trainer, in("a.pth"), &o));
    misuse_ok(moco_trainer_export(trainer, in("a.pth.tar"), NULL)); /* before the first step */
    misuse_ok(moco_model_export(model, in("a.pth"), NULL));         /* beside a trainer */
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(models, misuse_back_to_baseline),
        cmocka_unit_test_teardown(trainers, misuse_back_to_baseline),
    };
    return cmocka_run_group_tests(tests, misuse_set_up, misuse_tear_down);
}
