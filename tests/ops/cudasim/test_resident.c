/* SPDX-License-Identifier: MIT
 *
 * test_resident: training with views that the device makes (moco_pictures) has the bits of training with a loader's: the same
 * checkpoints, whatever the mechanism, call by call and repeated from a recording, with key views apart, and when a training
 * goes from one to the other; of CIFAR-like pictures and of decoded files. And what is refused. On the simulated CUDA device,
 * which alone has pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "support/cudasim/sim_driver.h"
#include "support/draw_image.h"
#include "support/rigs/train_rig.h"

#define RATE 0.05
enum { PICTURES = 40, SIDE = 20, FILES = 24 };

static uint8_t pixels[PICTURES][SIDE][SIDE][3];
static struct bytes files[FILES];

/* ---- where pictures come from ---- */

static moco_dataset *memory_set(moco_context *context)
{
    moco_dataset *set = NULL;
    moco_tensor images = {
        .struct_size = sizeof images, .dtype = MOCO_U8, .ndim = 4, .shape = {PICTURES, SIDE, SIDE, 3}, .data = pixels};
    for (int i = 0; i < PICTURES; i++)
        draw_pixels(&pixels[i][0][0][0], SIDE, SIDE, i + 1);
    rig_ok(moco_dataset_from_memory(&set, context, &images, NULL));
    return set;
}

static moco_status read_file(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                             size_t room)
{
    (void)user;
    (void)cookie;
    (void)reason;
    (void)room;
    *bytes = files[id].at;
    *size = files[id].size;
    return MOCO_OK;
}

static void free_files(void)
{
    for (int i = 0; i < FILES; i++) {
        free(files[i].at);
        files[i].at = NULL;
    }
}

/* JPEG in its ways, and PNG, of odd sizes: their views show parts, which a loader decodes alone. */
static moco_dataset *file_set(moco_context *context)
{
    moco_dataset *set = NULL;
    moco_encoded_source source;
    free_files(); /* those of another training are the same */
    for (int i = 0; i < FILES; i++) {
        int w = 17 + 7 * i, h = 120 - 4 * i;
        const struct jpeg_kind kind = {
            .components = i % 3 == 1 ? 1 : 3, .progressive = i % 4 == 1, .across = 1 + i % 2};
        uint8_t *rgb = malloc((size_t)w * (size_t)h * 3);
        assert_non_null(rgb);
        draw_pixels(rgb, w, h, i + 1);
        files[i] = i % 5 == 4 ? draw_png(rgb, (size_t)w * 3, w, h, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, 0, 0, 0})
                              : draw_jpeg(rgb, w, h, kind);
        free(rgb);
    }
    moco_encoded_source_init(&source);
    source.count = FILES;
    source.read = read_file;
    rig_ok(moco_dataset_from_encoded(&set, context, &source));
    return set;
}

/* ---- a training, by one kind of views or the other ---- */

struct training {
    struct rig rig;
    moco_dataset *set;
    moco_pictures *pictures;
    moco_loader *loader[2]; /* 1: of views that the device makes */
};

static moco_loader *loader_of(struct training *t, const char *recipe, int on_device)
{
    moco_loader *loader = NULL;
    moco_loader_options o;
    moco_augment_options view = {.struct_size = sizeof view};
    rig_ok(moco_augment_options_preset(&view, recipe, 16));
    moco_loader_options_init(&o);
    o.batch_size = 16;
    o.workers = on_device;
    o.seed = 9;
    o.recipe[0] = o.recipe[1] = &view;
    o.pictures = on_device ? t->pictures : NULL;
    rig_ok(moco_loader_create(&loader, t->set, &o));
    return loader;
}

/* The network is as narrow as one can be: views are what is tested. */
static void open_training(struct training *t, struct rig_spec *spec, const char *recipe, int of_files)
{
    spec->device = "cudasim:0";
    spec->model.width = 0.03125;
    rig_open(&t->rig, spec);
    t->set = of_files ? file_set(t->rig.context) : memory_set(t->rig.context);
    rig_ok(moco_pictures_create(&t->pictures, t->rig.device, t->set, 0));
    for (int on_device = 0; on_device < 2; on_device++)
        t->loader[on_device] = loader_of(t, recipe, on_device);
}

/* The loader has them still. */
static void free_pictures(struct training *t)
{
    moco_pictures_free(t->pictures);
    t->pictures = NULL;
}

static void close_training(struct training *t)
{
    free_pictures(t);
    for (int i = 0; i < 2; i++)
        moco_loader_free(t->loader[i]);
    moco_dataset_free(t->set);
    rig_close(&t->rig);
}

/* `on_device`: bit i of it: step i. Each epoch has one batch of files or two of memory; enough steps that all ways to queue
 * one come. */
static void run(struct training *t, int steps, unsigned on_device, int apart, int of_files)
{
    for (int i = 0; i < steps; i++) {
        int device = on_device >> i & 1, batches = of_files ? 1 : 2, epoch = i / batches;
        int64_t step;
        moco_batch batch;
        moco_batch_init(&batch);
        rig_ok(moco_trainer_cursor(t->rig.trainer, &step, NULL, NULL));
        assert_int_equal(step, i);
        if (apart)
            rig_ok(moco_loader_start_keys(t->loader[device], epoch, i % batches * 16, step, t->rig.spec.trainer.seed,
                                          t->rig.spec.trainer.symmetric));
        else
            rig_ok(moco_loader_start_at(t->loader[device], epoch, i % batches * 16));
        rig_ok(moco_loader_next(t->loader[device], &batch));
        assert_true((batch.pictures != NULL) == device && (batch.view[0] == NULL) == device);
        assert_true((batch.made[0] != NULL) == device);
        rig_ok(moco_trainer_step(t->rig.trainer, &batch, RATE));
    }
}

static void expect_same(struct rig_spec spec, const char *recipe, int apart, int of_files, int ways_count)
{
    static const unsigned ways[] = {0xffff, 0x5a5a, 0x00f0};
    struct training host, device;
    open_training(&host, &spec, recipe, of_files);
    run(&host, 7, 0, apart, of_files);
    for (int w = 0; w < ways_count; w++) {
        open_training(&device, &spec, recipe, of_files);
        int64_t repeated = sim_graph_runs();
        if (w == 0)
            free_pictures(&device);
        run(&device, 7, ways[w], apart, of_files);
        assert_true(sim_graph_runs() > repeated);
        rig_expect_equal(&host.rig, &device.rig);
        close_training(&device);
    }
    close_training(&host);
}

static void training_is_the_same_to_the_bit(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    expect_same(spec, "moco-v2", 0, 0, 3);
    expect_same(spec, "simclr", 0, 0, 1);
}

static void whatever_the_mechanism(void **state)
{
    (void)state;
    for (int m = 1; m < RIG_MECHANISMS; m++) {
        struct rig_spec spec = rig_spec();
        rig_mechanism(&spec, m);
        expect_same(spec, "cifar10", 0, 0, 1);
    }
}

static void with_key_views_apart(void **state)
{
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        struct rig_spec spec = rig_spec();
        spec.trainer.symmetric = symmetric;
        expect_same(spec, "moco-v1", 1, 0, 1);
    }
}

static void of_decoded_files(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    expect_same(spec, "moco-v2", 0, 1, 2);
}

/* ---- refusals ---- */

static void refused(moco_status status, moco_status wanted, const char *words)
{
    rig_expect(status, wanted);
    if (strstr(moco_error(), words) == NULL)
        fail_msg("the sentence does not say \"%s\": %s", words, moco_error());
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct training t, other;
    struct rig_spec spec = rig_spec();
    moco_device *cpu = NULL;
    moco_pictures *none = NULL;
    moco_dataset *set;
    moco_loader *loader = NULL;
    open_training(&t, &spec, "moco-v2", 0);
    open_training(&other, &spec, "moco-v2", 0);
    assert_int_equal(moco_pictures_bytes(t.pictures), (PICTURES * 16 + 255) / 256 * 256 + (int64_t)sizeof pixels);
    assert_int_equal(moco_pictures_bytes(NULL), 0);
    rig_ok(moco_device_open(&cpu, t.rig.context, "ref"));
    refused(moco_pictures_create(&none, cpu, t.set, 0), MOCO_ENOTSUP, "ref makes no views");
    assert_null(none);
    moco_device_free(cpu);
    int64_t bytes = 0;
    rig_ok(moco_pictures_estimate(t.rig.device, t.set, &bytes));
    assert_int_equal(bytes, moco_pictures_bytes(t.pictures));
    refused(moco_pictures_estimate(t.rig.device, t.set, NULL), MOCO_EINVAL, "bytes is NULL");
    moco_dataset *unknown = file_set(t.rig.context);
    rig_ok(moco_pictures_estimate(t.rig.device, unknown, &bytes));
    assert_int_equal(bytes, -1);
    moco_dataset_free(unknown);
    free_files();
    refused(moco_pictures_create(NULL, t.rig.device, t.set, 0), MOCO_EINVAL, "pictures is NULL");
    refused(moco_pictures_create(&none, NULL, t.set, 0), MOCO_EINVAL, "device is NULL");
    refused(moco_pictures_create(&none, t.rig.device, NULL, 0), MOCO_EINVAL, "dataset is NULL");
    refused(moco_pictures_create(&none, t.rig.device, t.set, -1), MOCO_EINVAL, "max_pixels is -1");
    set = memory_set(t.rig.context);
    moco_augment_options view = {.struct_size = sizeof view};
    moco_loader_options o;
    rig_ok(moco_augment_options_preset(&view, "moco-v2", 16));
    moco_loader_options_init(&o);
    o.batch_size = 16;
    o.recipe[0] = o.recipe[1] = &view;
    o.pictures = t.pictures;
    refused(moco_loader_create(&loader, set, &o), MOCO_EINVAL, "another data set");
    o.pictures = (moco_pictures *)(void *)t.set;
    refused(moco_loader_create(&loader, t.set, &o), MOCO_EINVAL, "options.pictures");
    assert_null(loader);
    moco_dataset_free(set);

    moco_batch batch, wrong;
    moco_batch_init(&batch);
    rig_ok(moco_loader_start(t.loader[1], 0));
    rig_ok(moco_loader_next(t.loader[1], &batch));
    wrong = batch;
    refused(moco_trainer_step(other.rig.trainer, &batch, RATE), MOCO_EINVAL, "memory of another device");
    wrong.made[1] = NULL;
    refused(moco_trainer_step(t.rig.trainer, &wrong, RATE), MOCO_EINVAL, "batch.made[1] is NULL");
    wrong = batch;
    wrong.pictures = NULL;
    refused(moco_trainer_step(t.rig.trainer, &wrong, RATE), MOCO_EINVAL, "batch.view[0] is NULL");
    wrong.pictures = (const moco_pictures *)(const void *)t.set;
    refused(moco_trainer_step(t.rig.trainer, &wrong, RATE), MOCO_EINVAL, "batch.pictures");
    free_pictures(&t);
    rig_ok(moco_trainer_step(t.rig.trainer, &batch, RATE));
    close_training(&other);
    close_training(&t);
}

/* A loader would replace it; here the call fails, and says which. */
static void a_picture_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_spec spec = rig_spec();
    moco_pictures *pictures = NULL;
    spec.device = "cudasim:0";
    rig_open(&rig, &spec);
    moco_dataset *set = file_set(rig.context);
    files[7].size /= 2;
    refused(moco_pictures_create(&pictures, rig.device, set, 0), MOCO_EFORMAT, "image 7");
    assert_null(pictures);
    moco_dataset_free(set);
    free_files();
    rig_close(&rig);
    assert_int_equal(sim_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_the_same_to_the_bit),
        cmocka_unit_test(whatever_the_mechanism),
        cmocka_unit_test(with_key_views_apart),
        cmocka_unit_test(of_decoded_files),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_picture_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
