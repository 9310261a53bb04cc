/* SPDX-License-Identifier: MIT
 *
 * test_export: what moco/export.h writes, read back by what libmoco has: every tensor to the bit, the texts, which
 * tensors are left out, what a file is refused for, memory. That other programs read the files is shown in
 * peers/peer_export.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pickle.h"
#include "ctx.h"
#include "file/file.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

static struct scratch_folder folder;
static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

static const char *in(const char *name)
{
    return scratch_path(&folder, name);
}

static moco_export_options with_head(void)
{
    moco_export_options o;
    moco_export_options_init(&o);
    o.head = 1;
    return o;
}

/* ---- every number ---- */

/* Is tensor `name` of the file the trainer's `of`, rounded to f32? */
static void expect_tensor(moco_weights *weights, const char *name, const char *of)
{
    int64_t index;
    size_t count;
    moco_weights_info info;
    moco_tensor t;
    double *wanted = rig_get(&rig, of, &count);
    moco_weights_info_init(&info);
    rig_ok(moco_weights_find(weights, name, &index));
    rig_ok(moco_weights_at(weights, index, &info));
    assert_int_equal(info.count, count);
    assert_string_equal(info.dtype, strstr(name, "num_batches") || strstr(name, "queue_ptr") ? "I64" : "F32");
    assert_int_equal(info.verified, 1);
    moco_tensor_init(&t);
    t.dtype = MOCO_F64;
    t.ndim = info.ndim;
    memcpy(t.shape, info.shape, sizeof t.shape);
    t.data = malloc(count * sizeof(double));
    rig_ok(moco_weights_read(weights, index, &t));
    for (size_t i = 0; i < count; i++)
        if (((double *)t.data)[i] != (double)(float)wanted[i])
            fail_msg("%s: number %zu is %g, not %g", name, i, ((double *)t.data)[i], wanted[i]);
    free(t.data);
    free(wanted);
}

static void expect_encoder(const char *path, int head)
{
    moco_weights *weights = NULL;
    const char *name;
    int expected = 0;
    rig_ok(moco_weights_open(&weights, rig.context, path));
    for (int i = 0; (name = moco_model_tensor_name(rig.model, i)) != NULL; i++) {
        char of[160];
        snprintf(of, sizeof of, "encoder_q.%s", name);
        if (!head && strncmp(name, "fc.", 3) == 0)
            continue;
        expect_tensor(weights, name, of);
        expected++;
    }
    assert_int_equal(moco_weights_count(weights), expected);
    moco_weights_free(weights);
}

static void encoders_are_theirs_to_the_bit(void **state)
{
    (void)state;
    static const char *const paths[] = {"a.safetensors", "a.pth", "a.pt"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        moco_export_options o = with_head();
        rig_ok(moco_model_export(rig.model, in(paths[i]), NULL));
        expect_encoder(in(paths[i]), 0);
        rig_ok(moco_model_export(rig.model, in(paths[i]), &o)); /* in its place */
        expect_encoder(in(paths[i]), 1);
    }
}

static void with_its_head_it_is_an_encoder_of_ours(void **state)
{
    (void)state;
    moco_model *model = NULL;
    moco_export_options o = with_head();
    size_t size, saved_size;
    rig_ok(moco_model_export(rig.model, in("whole.safetensors"), &o));
    rig_ok(moco_model_save(rig.model, in("saved.safetensors")));
    char *bytes = rig_read_file(in("whole.safetensors"), &size);
    char *saved = rig_read_file(in("saved.safetensors"), &saved_size);
    if (strcmp(test_device(), "ref") != 0) { /* which saves doubles */
        assert_int_equal(size, saved_size);
        assert_memory_equal(bytes, saved, size);
    }
    rig_ok(moco_model_open(&model, rig.device, in("whole.safetensors")));
    moco_model_free(model);
    rig_ok(moco_model_export(rig.model, in("backbone.safetensors"), NULL));
    rig_expect(moco_model_open(&model, rig.device, in("backbone.safetensors")), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "a backbone without its head, not an encoder"));
    free(bytes);
    free(saved);
}

static void expect_text(moco_weights *weights, const char *key, const char *wanted)
{
    char text[64];
    rig_ok(moco_weights_text(weights, key, text, sizeof text));
    assert_string_equal(text, wanted);
}

static void training_states_have_all(void **state)
{
    (void)state;
    moco_weights *weights = NULL;
    moco_export_options o;
    moco_export_options_init(&o);
    const char *name;
    int parameters = 0, tensors = 0;
    rig_ok(moco_trainer_export(rig.trainer, in("state.pth.tar"), NULL));
    rig_ok(moco_weights_open(&weights, rig.context, in("state.pth.tar")));
    for (int i = 0; (name = moco_trainer_tensor_name(rig.trainer, i)) != NULL; i++) {
        char in_file[200];
        if (strncmp(name, "grad.", 5) == 0)
            continue;
        if (strncmp(name, "momentum.", 9) == 0)
            snprintf(in_file, sizeof in_file, "optimizer.state.%d.momentum_buffer", parameters++);
        else
            snprintf(in_file, sizeof in_file, "state_dict.module.%s", name);
        expect_tensor(weights, in_file, name);
        tensors++;
    }
    assert_int_equal(moco_weights_count(weights), tensors);
    assert_true(parameters > 20);
    expect_text(weights, "epoch", "1");
    expect_text(weights, "arch", "resnet18");
    expect_text(weights, "optimizer.param_groups.0.lr", "0.05");
    expect_text(weights, "optimizer.param_groups.0.momentum", "0.9");
    expect_text(weights, "optimizer.param_groups.0.weight_decay", "0.001");
    char last[64];
    snprintf(last, sizeof last, "optimizer.param_groups.0.params.%d", 2 * parameters - 1);
    snprintf(last + 40, sizeof last - 40, "%d", 2 * parameters - 1);
    expect_text(weights, last, last + 40);
    moco_weights_free(weights);
    o.epoch = 200;
    rig_ok(moco_trainer_export(rig.trainer, in("state.pth.tar"), &o));
    rig_ok(moco_weights_open(&weights, rig.context, in("state.pth.tar")));
    expect_text(weights, "epoch", "200");
    moco_weights_free(weights);
}

/* ---- the other forms ---- */

static void detectron2_is_a_whole_pickle(void **state)
{
    (void)state;
    struct ctx *ctx = NULL;
    struct file file;
    struct pickle pickle;
    int64_t end = 0;
    rig_ok(moco_model_export(rig.model, in("a.pkl"), NULL));
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL), MOCO_OK);
    assert_int_equal(file_open(&file, ctx, in("a.pkl"), NULL), MOCO_OK);
    assert_int_equal(pickle_read(&pickle, &file, 0, file.size, &end, NULL), MOCO_OK);
    assert_int_equal(end, file.size);
    assert_int_equal(pickle_kind(pickle.root), PICKLE_DICT);
    pickle_free(&pickle);
    file_close(&file);
    ctx_unref(ctx);
}

static char *read_text(const char *path)
{
    size_t size;
    char *bytes = rig_read_file(path, &size), *text = calloc(1, size + 1);
    memcpy(text, bytes, size);
    free(bytes);
    return text;
}

static void folders_say_how_images_are_looked_at(void **state)
{
    (void)state;
    moco_model *model = NULL;
    moco_model_options options;
    moco_augment_options recipe;
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.image_size = 96;
    options.mean[1] = 0.25;
    rig_ok(moco_model_create(&model, rig.device, &options));
    rig_ok(moco_model_export(model, in("timm/"), NULL));
    char *text = read_text(in("timm/config.json"));
    assert_non_null(strstr(text, "\"architecture\":\"resnet18\",\"num_classes\":0,\"num_features\":512"));
    assert_non_null(strstr(text, "\"input_size\":[3,96,96]"));
    assert_non_null(strstr(text, "\"crop_pct\":0.875"));
    assert_non_null(strstr(text, "\"mean\":[0.485,0.25,0.406]"));
    free(text);
    rig_ok(moco_augment_options_preset(&recipe, "eval", 112));
    recipe.resize = 140;
    recipe.interpolation = 1;
    rig_ok(moco_model_set_recipe(model, &recipe));
    moco_export_options o;
    moco_export_options_init(&o);
    o.format = MOCO_EXPORT_FOLDER;
    rig_ok(moco_model_export(model, in("timm"), &o)); /* which is there, and named without its '/' */
    text = read_text(in("timm/config.json"));
    assert_non_null(strstr(text, "\"input_size\":[3,112,112]"));
    assert_non_null(strstr(text, "\"interpolation\":\"bicubic\",\"crop_pct\":0.8,"));
    free(text);
    moco_model_free(model);
}

/* Of each kind of network with a BN behind a linear layer, and of bytes: the file is there and is as long as its sums
 * said, since it took its place. */
static void onnx_files_of_every_head(void **state)
{
    (void)state;
    static const char *const heads[] = {"linear", "mlp", "simclr-v1", "simclr-v2"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        for (int bits = 0; bits < 8; bits++) {
            moco_model *model = NULL;
            moco_model_options options;
            moco_export_options o;
            moco_model_options_init(&options);
            moco_export_options_init(&o);
            options.arch = "resnet18";
            options.width = 1.0 / 64;
            options.head = heads[i];
            options.dim = 3;
            o.head = bits & 1;
            o.onnx_input = bits >> 1 & 1;
            o.separate_bn = bits >> 2 & 1;
            rig_ok(moco_model_create(&model, rig.device, &options));
            rig_ok(moco_model_export(model, in("a.onnx"), &o));
            size_t size;
            char *bytes = rig_read_file(in("a.onnx"), &size);
            assert_memory_equal(bytes, "\x08\x07\x12\x07libmoco", 11); /* ir_version 7, producer_name */
            free(bytes);
            moco_model_free(model);
        }
}

/* ---- what cannot be written ---- */

static void expect_refused(moco_status status, moco_status wanted, const char *words)
{
    rig_expect(status, wanted);
    if (strstr(moco_error(), words) == NULL)
        fail_msg("not \"%s\" in: %s", words, moco_error());
}

static void other_networks_and_mechanisms(void **state)
{
    (void)state;
    struct rig other;
    struct rig_spec spec = rig_spec();
    expect_refused(moco_model_export(rig.model, in("folder/"), NULL), MOCO_EINVAL, "config.json has no words for that");
    rig_mechanism(&spec, RIG_SIMCLR);
    rig_open(&other, &spec);
    expect_refused(moco_trainer_export(other.trainer, in("s.pth.tar"), NULL), MOCO_ENOTSUP, "encoder is shared");
    rig_close(&other);
    spec = rig_spec();
    rig_mechanism(&spec, RIG_BATCH_KEYS);
    rig_open(&other, &spec);
    expect_refused(moco_trainer_export(other.trainer, in("s.pth.tar"), NULL), MOCO_ENOTSUP, "come from the batch");
    rig_close(&other);
    spec = rig_spec();
    spec.trainer.optimizer = MOCO_OPTIMIZER_LARS;
    rig_open(&other, &spec);
    expect_refused(moco_trainer_export(other.trainer, in("s.pth.tar"), NULL), MOCO_ENOTSUP, "optimizer is LARS");
    rig_close(&other);
}

static void numbers_that_are_not_finite(void **state)
{
    (void)state;
    static const char *const paths[] = {"n.safetensors", "n.pth", "n.pkl", "n.onnx"};
    moco_model *model = NULL;
    moco_model_options options;
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.width = 1.0 / 64;
    float below = -1;
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_F32;
    t.ndim = 1;
    t.shape[0] = 1;
    t.data = &below;
    rig_ok(moco_model_create(&model, rig.device, &options));
    float large = 3e38f, small = 1e-30f;
    t.data = &large;
    rig_ok(moco_model_set(model, "layer1.1.bn2.weight", &t));
    t.data = &small;
    rig_ok(moco_model_set(model, "layer1.1.bn2.running_var", &t));
    rig_ok(moco_model_export(model, in("n.pth"), NULL)); /* each for itself is a number */
    expect_refused(moco_model_export(model, in("n.onnx"), NULL), MOCO_ENUMERIC, "layer1.1.conv2 with its batch norm");
    moco_model_free(model);
    if (strcmp(test_device(), "ref") != 0)
        return; /* others hold no number beyond f32 */
    double beyond = 1e300;
    t.dtype = MOCO_F64;
    t.data = &beyond;
    rig_ok(moco_model_create(&model, rig.device, &options));
    rig_ok(moco_model_set(model, "bn1.bias", &t));
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        expect_refused(moco_model_export(model, in(paths[i]), NULL), MOCO_ENUMERIC, i == 3 ? "conv1" : "bn1.bias");
    moco_model_free(model);
}

/* One tensor as doubles, the names, and no more, whatever the network's size. */
static void memory_is_one_tensor(void **state)
{
    (void)state;
    static const char *const paths[] = {"m.safetensors", "m.pth", "m.pkl", "m.onnx"};
    moco_context *context = NULL;
    moco_device *device = NULL;
    moco_model *model = NULL;
    moco_model_options options;
    int64_t live, peak;
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.width = 0.5;
    rig_ok(moco_context_create(&context, NULL));
    rig_ok(moco_device_open(&device, context, test_device()));
    rig_ok(moco_model_create(&model, device, &options));
    rig_ok(moco_context_memory(context, &live, NULL, NULL));
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        rig_ok(moco_model_export(model, in(paths[i]), NULL));
    rig_ok(moco_context_memory(context, NULL, &peak, NULL));
    const int64_t largest = 256 * 256 * 9 * (int64_t)sizeof(double), small = 384 << 10;
    if (peak - live > largest + small)
        fail_msg("an export took %lld bytes beside the model", (long long)(peak - live));
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_are_theirs_to_the_bit),
        cmocka_unit_test(with_its_head_it_is_an_encoder_of_ours),
        cmocka_unit_test(training_states_have_all),
        cmocka_unit_test(detectron2_is_a_whole_pickle),
        cmocka_unit_test(folders_say_how_images_are_looked_at),
        cmocka_unit_test(onnx_files_of_every_head),
        cmocka_unit_test(other_networks_and_mechanisms),
        cmocka_unit_test(numbers_that_are_not_finite),
        cmocka_unit_test(memory_is_one_tensor),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
