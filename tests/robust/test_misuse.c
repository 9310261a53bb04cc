/* SPDX-License-Identifier: MIT
 *
 * test_misuse: every public function called wrongly: handles that are NULL, freed or of another kind, other pointers
 * NULL, sizes and counts that make no sense, calls out of order, a forked child. Each is refused with the documented
 * status and a sentence that starts with the function's name; nothing crashes, and the training goes on as if nothing
 * had been said. test_misuse_complete.sh holds this file against the list of exported symbols. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/scratch_folder.h"
#include "support/train_rig.h"

static struct rig rig;
static struct scratch_folder folder;
static moco_dataset *dataset;
static moco_loader *loader;
static moco_knn *knn;
static moco_augment *augment;
static moco_augment_options recipe;
static uint8_t pixels[4][16][16][3];
static float vectors[4][8];
static const int32_t labels[4] = {0, 1, 0, 1};
static char path[300];
static int64_t number;
static double real;

static moco_tensor tensor(moco_dtype dtype, int ndim, const int64_t *shape, void *data)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = dtype;
    t.ndim = ndim;
    for (int i = 0; i < ndim; i++)
        t.shape[i] = shape[i];
    t.data = data;
    return t;
}

static moco_tensor images(void)
{
    return tensor(MOCO_U8, 4, (const int64_t[]){4, 16, 16, 3}, pixels);
}

static moco_tensor features(void)
{
    return tensor(MOCO_F32, 2, (const int64_t[]){4, 8}, vectors);
}

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    scratch_folder_make(&folder);
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "file"));
    rig_open(&rig, &spec);
    moco_tensor all = images();
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = 2;
    o.recipe[0] = &recipe;
    for (int i = 0; i < 4; i++)
        vectors[i][i] = 1;
    if (moco_augment_options_preset(&recipe, "demo", 8) != MOCO_OK ||
        moco_dataset_from_memory(&dataset, rig.context, &all, labels) != MOCO_OK ||
        moco_loader_create(&loader, dataset, &o) != MOCO_OK ||
        moco_knn_create(&knn, rig.device, 8, 1, 0.1) != MOCO_OK ||
        moco_augment_create(&augment, rig.context, &recipe) != MOCO_OK)
        return -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    moco_augment_free(augment);
    moco_knn_free(knn);
    moco_loader_free(loader);
    moco_dataset_free(dataset);
    rig_close(&rig); /* fails if memory is still held */
    scratch_folder_remove(&folder);
    return 0;
}

static void refused(moco_status got, moco_status wanted, const char *call)
{
    size_t name = strcspn(call, "(");
    if (name > 6 && strncmp(call + name - 6, "_sized", 6) == 0)
        name -= 6; /* the macro's name, which the caller wrote */
    if (got != wanted)
        fail_msg("%s answers %s, not %s (\"%s\")", call, moco_status_text(got), moco_status_text(wanted), moco_error());
    if (strncmp(moco_error(), call, name) != 0 || strlen(moco_error()) < name + 6)
        fail_msg("after %s moco_error() says \"%s\"", call, moco_error());
}
#define REFUSED(status, call) refused((call), MOCO_##status, #call)
#define INVALID(call) REFUSED(EINVAL, call)

/* ---- handles ---- */

/* One call with the handle in question as `h`; the rest of its arguments is right. */
#define CALL(name, body)                                                                                               \
    static moco_status name(void *h)                                                                                   \
    {                                                                                                                  \
        moco_tensor x = images(), f = features();                                                                      \
        (void)x;                                                                                                       \
        (void)f;                                                                                                       \
        body;                                                                                                          \
    }
#define MAKES(name, type, call)                                                                                        \
    CALL(name, type *made = (void *)&made; moco_status status = call; assert_null(made); return status)

MAKES(device_open, moco_device, moco_device_open(&made, h, "ref"))
MAKES(open_folder, moco_dataset, moco_dataset_open_folder(&made, h, folder.path))
MAKES(open_list, moco_dataset, moco_dataset_open_list(&made, h, path))
MAKES(open_tar, moco_dataset, moco_dataset_open_tar(&made, h, (const char *const[]){path}, 1))
MAKES(open_cifar10, moco_dataset, moco_dataset_open_cifar10(&made, h, (const char *const[]){path}, 1))
MAKES(from_memory, moco_dataset, moco_dataset_from_memory(&made, h, &x, labels))
MAKES(from_callback, moco_dataset,
      moco_dataset_from_callback(&made, h, &(moco_image_source){.struct_size = sizeof(moco_image_source)}))
MAKES(image_read, moco_image, moco_image_read(&made, h, path, 0))
MAKES(augment_create, moco_augment, moco_augment_create(&made, h, &recipe))
CALL(context_memory, return moco_context_memory(h, &number, NULL, NULL))
CALL(describe, return moco_checkpoint_describe(h, path, NULL, NULL, NULL, NULL, 0))

CALL(device_describe, moco_device_info i; moco_device_info_init(&i); return moco_device_describe(h, &i))
MAKES(model_create, moco_model, moco_model_create(&made, h, &rig.spec.model))
MAKES(model_open, moco_model, moco_model_open(&made, h, path))
MAKES(queue_create, moco_queue, moco_queue_create(&made, h, 8, 8, 0))
MAKES(knn_create, moco_knn, moco_knn_create(&made, h, 8, 1, 0.1))
CALL(estimate, moco_memory_estimate e; moco_memory_estimate_init(&e);
     return moco_trainer_estimate(h, &rig.spec.model, 8, &rig.spec.trainer, &e))

CALL(model_save, return moco_model_save(h, path))
CALL(model_load, return moco_model_load(h, path))
CALL(model_describe, moco_model_info i; moco_model_info_init(&i); return moco_model_describe(h, &i))
CALL(model_get, return moco_model_get(h, "conv1.weight", &f))
CALL(model_set, return moco_model_set(h, "conv1.weight", &f))
CALL(model_embed, return moco_model_embed(h, &x, MOCO_FEATURES, &f))
MAKES(trainer_of_model, moco_trainer, moco_trainer_create(&made, h, rig.queue, &rig.spec.trainer))

CALL(queue_push, return moco_queue_push(h, &f))
CALL(queue_get, return moco_queue_get(h, &f))
CALL(queue_state, return moco_queue_state(h, &number, NULL, NULL))
MAKES(trainer_of_queue, moco_trainer, moco_trainer_create(&made, rig.model, h, &rig.spec.trainer))

CALL(step, return moco_trainer_step(h, &rig.batch, 0.1))
CALL(report, moco_step_report r; moco_step_report_init(&r); return moco_trainer_report(h, &r))
CALL(trainer_get, return moco_trainer_get(h, "queue", &f))
CALL(trainer_set, return moco_trainer_set(h, "queue", &f))
CALL(cursor, return moco_trainer_cursor(h, &number, NULL, NULL))
CALL(trainer_save, return moco_trainer_save(h, path, NULL))
CALL(trainer_load, return moco_trainer_load(h, path))

CALL(dataset_path, char text[64]; return moco_dataset_path(h, 0, text, sizeof text))
CALL(verify, return moco_dataset_verify(h, 0, 1, 0, NULL, NULL, &number))
CALL(loader_create, moco_loader *made = (void *)&made; moco_loader_options o; moco_loader_options_init(&o);
     o.recipe[0] = &recipe; o.batch_size = 2; moco_status status = moco_loader_create(&made, h, &o);
     if (status == MOCO_ESTATE || status == MOCO_EINVAL) assert_null(made); return status)

CALL(start, return moco_loader_start(h, 0))
CALL(start_at, return moco_loader_start_at(h, 0, 0))
CALL(next, moco_batch b; moco_batch_init(&b); return moco_loader_next(h, &b))
CALL(stats, moco_loader_stats s; moco_loader_stats_init(&s); return moco_loader_get_stats(h, &s))

CALL(knn_add, return moco_knn_add(h, &f, labels))
CALL(knn_classify, int32_t out[4]; return moco_knn_classify(h, &f, out))
CALL(knn_accuracy, return moco_knn_accuracy(h, &f, labels, &real))
CALL(image_pixels, return moco_image_pixels(h, &f))
CALL(augment_draw, moco_view_params p; moco_view_params_init(&p); return moco_augment_draw(h, 16, 16, 0, 0, 0, 0, &p))
CALL(augment_apply, moco_view_params p; moco_view_params_init(&p); return moco_augment_apply(h, &x, &p, &f))

enum kind { CONTEXT, DEVICE, MODEL, QUEUE, TRAINER, DATASET, LOADER, KNN, IMAGE, AUGMENT };
static const struct {
    moco_status (*call)(void *handle);
    enum kind kind;
} calls[] = {
    {device_open, CONTEXT},
    {open_folder, CONTEXT},
    {open_list, CONTEXT},
    {open_tar, CONTEXT},
    {open_cifar10, CONTEXT},
    {from_memory, CONTEXT},
    {from_callback, CONTEXT},
    {image_read, CONTEXT},
    {augment_create, CONTEXT},
    {context_memory, CONTEXT},
    {describe, CONTEXT},
    {device_describe, DEVICE},
    {model_create, DEVICE},
    {model_open, DEVICE},
    {queue_create, DEVICE},
    {knn_create, DEVICE},
    {estimate, DEVICE},
    {model_save, MODEL},
    {model_load, MODEL},
    {model_describe, MODEL},
    {model_get, MODEL},
    {model_set, MODEL},
    {model_embed, MODEL},
    {trainer_of_model, MODEL},
    {queue_push, QUEUE},
    {queue_get, QUEUE},
    {queue_state, QUEUE},
    {trainer_of_queue, QUEUE},
    {step, TRAINER},
    {report, TRAINER},
    {trainer_get, TRAINER},
    {trainer_set, TRAINER},
    {cursor, TRAINER},
    {trainer_save, TRAINER},
    {trainer_load, TRAINER},
    {dataset_path, DATASET},
    {verify, DATASET},
    {loader_create, DATASET},
    {start, LOADER},
    {start_at, LOADER},
    {next, LOADER},
    {stats, LOADER},
    {knn_add, KNN},
    {knn_classify, KNN},
    {knn_accuracy, KNN},
    {image_pixels, IMAGE},
    {augment_draw, AUGMENT},
    {augment_apply, AUGMENT},
};
#define CALLS (sizeof calls / sizeof calls[0])

static void wrong_handle(size_t i, void *handle)
{
    moco_status status = calls[i].call(handle);
    if (status != MOCO_EINVAL || strncmp(moco_error(), "moco_", 5) != 0)
        fail_msg("call %zu answers %s: %s", i, moco_status_text(status), moco_error());
}

static void handles_that_are_none(void **state)
{
    (void)state;
    void *const live[] = {rig.context, rig.device, rig.model, rig.queue, rig.trainer, dataset, loader, knn};
    for (size_t i = 0; i < CALLS; i++) {
        wrong_handle(i, NULL);
        for (size_t k = 0; k < sizeof live / sizeof live[0]; k++)
            if (k != (size_t)calls[i].kind)
                wrong_handle(i, live[k]);
    }
    assert_int_equal(moco_dataset_count(NULL), 0);
    assert_int_equal(moco_dataset_label(NULL, 0), -1);
    assert_int_equal(moco_dataset_label(dataset, 4), -1);
    assert_int_equal(moco_dataset_label(dataset, -1), -1);
    assert_int_equal(moco_dataset_classes(NULL), 0);
    assert_string_equal(moco_dataset_class_name(NULL, 0), "");
    assert_string_equal(moco_dataset_class_name(dataset, 99), "");
    assert_int_equal(moco_loader_batches(NULL), 0);
    assert_null(moco_model_tensor_name(NULL, 0));
    assert_null(moco_model_tensor_name(rig.model, -1));
    assert_null(moco_model_tensor_name(rig.model, INT_MAX));
    assert_null(moco_trainer_tensor_name(NULL, 0));
    assert_null(moco_trainer_tensor_name(rig.trainer, INT_MAX));
    moco_trainer_cancel(NULL);
    moco_context_free(NULL);
    moco_device_free(NULL);
    moco_model_free(NULL);
    moco_queue_free(NULL);
    moco_trainer_free(NULL);
    moco_dataset_free(NULL);
    moco_loader_free(NULL);
    moco_knn_free(NULL);
    moco_image_free(NULL);
    moco_augment_free(NULL);
    moco_model_free((moco_model *)rig.queue); /* of another kind: left alone */
    rig_ok(queue_state(rig.queue));
}

/* Freed, but still held by another handle, so that the memory is there: refused all the same, twice freed or not. */
static void handles_that_were_freed(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    struct rig other;
    rig_open(&other, &spec);
    moco_dataset *ds;
    moco_loader *ld;
    moco_tensor x = images();
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = 2;
    o.recipe[0] = &recipe;
    rig_ok(moco_dataset_from_memory(&ds, other.context, &x, labels));
    rig_ok(moco_loader_create(&ld, ds, &o));
    moco_device_free(other.device);
    moco_model_free(other.model);
    moco_queue_free(other.queue);
    moco_dataset_free(ds);
    void *const freed[] = {[DEVICE] = other.device, [MODEL] = other.model, [QUEUE] = other.queue, [DATASET] = ds};
    for (int twice = 0; twice < 2; twice++) {
        for (size_t i = 0; i < CALLS; i++)
            if (calls[i].kind < sizeof freed / sizeof freed[0] && freed[calls[i].kind] != NULL)
                wrong_handle(i, freed[calls[i].kind]);
        moco_device_free(other.device);
        moco_model_free(other.model);
        moco_queue_free(other.queue);
        moco_dataset_free(ds);
    }
    moco_batch b;
    moco_batch_init(&b);
    rig_ok(moco_loader_start(ld, 0)); /* what holds them works on */
    rig_ok(moco_loader_next(ld, &b));
    rig_ok(rig_step(&other, 0));
    moco_loader_free(ld);
    other.device = NULL;
    other.model = NULL;
    other.queue = NULL;
    rig_close(&other);
}

/* ---- other arguments ---- */

static void pointers_that_are_null(void **state)
{
    (void)state;
    moco_tensor x = images(), f = features(), none = features();
    int32_t out[4];
    moco_augment_options r;
    moco_preset p;
    moco_model_options mo;
    moco_trainer_options to;
    none.data = NULL;
    INVALID(moco_context_create(NULL, NULL));
    INVALID(moco_device_open(NULL, rig.context, "ref"));
    INVALID(moco_device_open(&(moco_device *){0}, rig.context, NULL));
    REFUSED(ENODEV, moco_device_open(&(moco_device *){0}, rig.context, "abacus"));
    INVALID(moco_device_describe(rig.device, NULL));
    INVALID(moco_model_create(NULL, rig.device, &rig.spec.model));
    INVALID(moco_model_open(NULL, rig.device, path));
    INVALID(moco_model_open(&(moco_model *){0}, rig.device, NULL));
    INVALID(moco_model_save(rig.model, NULL));
    INVALID(moco_model_describe(rig.model, NULL));
    INVALID(moco_model_get(rig.model, NULL, &f));
    INVALID(moco_model_get(rig.model, "conv1.weight", NULL));
    REFUSED(ENOTFOUND, moco_model_get(rig.model, "conv9.weight", &f));
    INVALID(moco_model_embed(rig.model, NULL, MOCO_FEATURES, &f));
    INVALID(moco_model_embed(rig.model, &x, MOCO_FEATURES, NULL));
    INVALID(moco_model_embed(rig.model, &x, (moco_embedding)7, &f));
    INVALID(moco_queue_create(NULL, rig.device, 8, 8, 0));
    INVALID(moco_queue_push(rig.queue, NULL));
    INVALID(moco_queue_push(rig.queue, &none));
    INVALID(moco_queue_get(rig.queue, NULL));
    INVALID(moco_trainer_create(NULL, rig.model, rig.queue, &rig.spec.trainer));
    INVALID(moco_trainer_step(rig.trainer, NULL, 0.1));
    INVALID(moco_trainer_report(rig.trainer, NULL));
    INVALID(moco_trainer_get(rig.trainer, NULL, &f));
    INVALID(moco_trainer_get(rig.trainer, "queue", NULL));
    INVALID(moco_trainer_set(rig.trainer, "queue", &none));
    REFUSED(ENOTFOUND, moco_trainer_get(rig.trainer, "stack", &f));
    INVALID(moco_trainer_save(rig.trainer, NULL, NULL));
    INVALID(moco_trainer_load(rig.trainer, NULL));
    INVALID(moco_checkpoint_describe(rig.context, NULL, NULL, NULL, NULL, NULL, 0));
    INVALID(moco_trainer_estimate(rig.device, NULL, 8, &rig.spec.trainer, NULL));
    INVALID(moco_dataset_from_memory(NULL, rig.context, &x, NULL));
    INVALID(moco_dataset_from_memory(&(moco_dataset *){0}, rig.context, NULL, NULL));
    INVALID(moco_dataset_open_folder(&(moco_dataset *){0}, rig.context, NULL));
    INVALID(moco_dataset_path(dataset, 0, NULL, 8));
    INVALID(moco_dataset_verify(dataset, 0, 1, 0, NULL, NULL, NULL));
    INVALID(moco_loader_create(NULL, dataset, NULL));
    INVALID(moco_loader_create(&(moco_loader *){0}, dataset, NULL));
    INVALID(moco_loader_next(loader, NULL));
    INVALID(moco_loader_get_stats(loader, NULL));
    INVALID(moco_knn_create(NULL, rig.device, 8, 1, 0.1));
    INVALID(moco_knn_add(knn, NULL, labels));
    INVALID(moco_knn_add(knn, &f, NULL));
    INVALID(moco_knn_classify(knn, NULL, out));
    INVALID(moco_knn_accuracy(knn, &f, labels, NULL));
    INVALID(moco_augment_create(NULL, rig.context, &recipe));
    INVALID(moco_augment_options_preset_sized(NULL, sizeof r, "demo", 8));
    INVALID(moco_augment_options_preset_sized(&r, sizeof r, NULL, 8));
    INVALID(moco_preset_get_sized(NULL, sizeof p, "demo"));
    INVALID(moco_preset_get_sized(&p, sizeof p, NULL));
    INVALID(moco_model_options_preset_sized(NULL, sizeof mo, "demo"));
    INVALID(moco_model_options_preset_sized(&mo, 3, "demo"));
    INVALID(moco_trainer_options_preset_sized(&to, sizeof to, NULL));
    assert_int_equal(moco_preset_get(&p, "resnet"), MOCO_ENOTFOUND);
    INVALID(moco_shuffle_permutation(0, 0, 0, 4, NULL));
    INVALID(moco_epoch_permutation(0, 0, 4, 0, NULL));
    moco_tensor_init_sized(NULL, 8);
    moco_batch_init_sized(NULL, 8);
    moco_context_options_init_sized(NULL, 8);
    moco_device_info_init_sized(NULL, 8);
    moco_image_source_init_sized(NULL, 8);
    moco_loader_options_init_sized(NULL, 8);
    moco_loader_stats_init_sized(NULL, 8);
    moco_memory_estimate_init_sized(NULL, 8);
    moco_model_info_init_sized(NULL, 8);
    moco_model_options_init_sized(NULL, 8);
    moco_step_report_init_sized(NULL, 8);
    moco_trainer_options_init_sized(NULL, 8);
    moco_view_params_init_sized(NULL, 8);
}

static void numbers_that_make_no_sense(void **state)
{
    (void)state;
    moco_queue *queue;
    moco_knn *other;
    int32_t order[4];
    INVALID(moco_queue_create(&queue, rig.device, 0, 8, 0));
    INVALID(moco_queue_create(&queue, rig.device, -1, 8, 0));
    INVALID(moco_queue_create(&queue, rig.device, 8, 0, 0));
    INVALID(moco_queue_create(&queue, rig.device, 8, -1, 0));
    INVALID(moco_queue_create(&queue, rig.device, INT_MAX, INT64_MAX, 0));
    assert_null(queue);
    INVALID(moco_knn_create(&other, rig.device, -1, 1, 0.1));
    INVALID(moco_knn_create(&other, rig.device, 8, INT_MIN, 0.1));
    INVALID(moco_knn_create(&other, rig.device, 8, 1, NAN));
    INVALID(moco_shuffle_permutation(0, -1, 0, 4, order));
    INVALID(moco_shuffle_permutation(0, 0, 2, 4, order));
    INVALID(moco_shuffle_permutation(0, 0, 0, 0, order));
    INVALID(moco_epoch_permutation(0, 0, 0, 0, &number));
    INVALID(moco_epoch_permutation(0, 0, 4, 4, &number));
    INVALID(moco_epoch_permutation(0, -1, 4, 0, &number));
    INVALID(moco_loader_start(loader, -1));
    INVALID(moco_loader_start_at(loader, 0, -1));
    INVALID(moco_loader_start_at(loader, 0, INT64_MAX));
    INVALID(moco_dataset_path(dataset, 4, path, sizeof path));
    assert_null(moco_preset_name(-1));
    assert_null(moco_preset_name(INT_MAX));
    assert_true(isfinite(moco_lr_cosine(0.1, 5, 0)));
    assert_true(moco_lr_steps(0.1, 5, NULL, 3, 0.1) == 0.1);
    assert_int_equal(moco_dtype_size((moco_dtype)99), 0);
    assert_string_equal(moco_status_text((moco_status)-99), "unknown status");
    assert_true(moco_version() == MOCO_VERSION);
    moco_tensor bad = features();
    bad.ndim = 9;
    REFUSED(ESHAPE, moco_knn_add(knn, &bad, labels));
    bad.ndim = 2;
    bad.shape[0] = INT64_MAX;
    REFUSED(ESHAPE, moco_knn_add(knn, &bad, labels));
    bad.shape[0] = 0;
    REFUSED(ESHAPE, moco_knn_add(knn, &bad, labels));
    bad = features();
    bad.struct_size = 0;
    INVALID(moco_knn_add(knn, &bad, labels));
    bad.struct_size = sizeof bad - 4;
    INVALID(moco_knn_add(knn, &bad, labels));
}

/* A field that this library does not know is refused unless it is zero; a struct that was never initialised, too. */
static void structs_of_other_versions(void **state)
{
    (void)state;
    struct {
        moco_trainer_options known;
        int64_t later;
    } newer = {.known = rig.spec.trainer};
    moco_trainer *trainer;
    moco_memory_estimate estimate;
    moco_memory_estimate_init(&estimate);
    newer.known.struct_size = sizeof newer;
    rig_ok(moco_trainer_estimate(rig.device, &rig.spec.model, 40, &newer.known, &estimate));
    newer.later = 1;
    INVALID(moco_trainer_estimate(rig.device, &rig.spec.model, 40, &newer.known, &estimate));
    newer.later = 0;
    newer.known.struct_size = 0;
    INVALID(moco_trainer_create(&trainer, rig.model, rig.queue, &newer.known));
    moco_model_options network = rig.spec.model;
    network.reserved0 = 1;
    moco_model *model;
    INVALID(moco_model_create(&model, rig.device, &network));
    moco_batch batch = rig.batch;
    batch.reserved0 = 1;
    INVALID(moco_trainer_step(rig.trainer, &batch, 0.1));
    batch.struct_size = 7;
    INVALID(moco_trainer_step(rig.trainer, &batch, 0.1));
}

/* ---- out of order ---- */

static void calls_out_of_order(void **state)
{
    (void)state;
    moco_step_report report_struct;
    moco_step_report_init(&report_struct);
    moco_trainer *second;
    moco_batch b;
    moco_tensor f = features();
    int32_t out[4];
    moco_batch_init(&b);
    REFUSED(ESTATE, moco_trainer_report(rig.trainer, &report_struct));
    REFUSED(ESTATE, moco_loader_next(loader, &b));
    REFUSED(ESTATE, moco_knn_classify(knn, &f, out));
    REFUSED(ESTATE, moco_trainer_create(&second, rig.model, rig.queue, &rig.spec.trainer));
    assert_null(second);
    rig_ok(moco_model_save(rig.model, path));
    REFUSED(ESTATE, moco_model_load(rig.model, path));
    size_t count;
    double *values = rig_get(&rig, "encoder_q.conv1.weight", &count);
    moco_tensor weight;
    moco_tensor_init(&weight);
    rig_ok(moco_model_get(rig.model, "conv1.weight", &weight));
    weight.dtype = MOCO_F64;
    weight.data = values;
    REFUSED(ESTATE, moco_model_set(rig.model, "conv1.weight", &weight));
    free(values);
}

/* After all that was refused, a step gives what it gives where nothing was tried. */
static void nothing_has_happened(void **state)
{
    struct rig_spec spec = rig_spec();
    struct rig twin;
    rig_open(&twin, &spec);
    rig_run(&twin, 0, 2);
    handles_that_are_none(state);
    rig_run(&rig, 0, 1);
    pointers_that_are_null(state);
    numbers_that_make_no_sense(state);
    structs_of_other_versions(state);
    rig_run(&rig, 1, 2);
    rig_expect_equal(&rig, &twin);
    rig_close(&twin);
}

static void a_forked_child(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        void *const live[] = {rig.context, rig.device, rig.model, rig.queue, rig.trainer,
                              dataset,     loader,     knn,       NULL,      augment};
        int wrong = 0;
        for (size_t i = 0; i < CALLS; i++)
            if (live[calls[i].kind] != NULL && calls[i].kind != CONTEXT &&
                calls[i].call(live[calls[i].kind]) != MOCO_ESTATE)
                wrong++;
        moco_device *device = NULL;
        wrong += moco_device_open(&device, rig.context, "ref") != MOCO_ESTATE;
        wrong += strstr(moco_error(), "child") == NULL;
        _exit(wrong == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    rig_ok(rig_step(&rig, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(handles_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(handles_that_were_freed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pointers_that_are_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_that_make_no_sense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(structs_of_other_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_out_of_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_has_happened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_forked_child, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
