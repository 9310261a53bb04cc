/* SPDX-License-Identifier: MIT
 *
 * test_misuse_handles: every public function that takes a handle, with NULL, with a live handle of each other kind,
 * with a freed one, and in a forked child: the documented status, a sentence that names the argument, no crash, no
 * memory. Then every order of freeing. What a reader would get wrong: a freed handle is refused as long as something
 * holds its memory, so the test takes a reference of its own; after that nobody can promise anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.h"
#include "moco/moco.h"
#include "support/draw_image.h"
#include "support/refused.h"
#include "support/rigs/misuse_rig.h"

/* ---- one of each ---- */

enum { KINDS = HANDLE_COMM + 1, SIDE = 8, IMAGES = 4, DIM = 4 };

struct world {
    struct failing_alloc memory;
    void *at[KINDS]; /* by enum handle_kind; [0] is NULL */
};

static struct scratch_folder folder;
static char picture[300], missing[300], saved[300], probe_saved[300], bank_saved[300];
static uint8_t pixels[IMAGES * SIDE * SIDE * 3], view_pixels[SIDE * SIDE * 3];
static float vectors[2 * DIM];
static double weights[8192];
static int32_t labels[2], classes[2] = {0, 1}, queue_labels[6] = {0, 1, -1, 2, 0, 1};
static int64_t number, found[2], queue_ids[6] = {0, 1, -1, 2, 0, 1};
static char text[300];

static moco_augment_options recipe, recipe_of;
static moco_loader_options loader_options;
static moco_model_options model_options;
static moco_trainer_options trainer_options;
static moco_image_source image_source;
static moco_encoded_source encoded_source;
static moco_view_params view_params;
static moco_device_info device_info;
static moco_model_info model_info;
static moco_encoder_info encoder_info;
static moco_step_report step_report;
static moco_memory_estimate memory_estimate;
static moco_comm_info comm_info;
static moco_loader_stats loader_stats;
static moco_probe_options probe_options;
static moco_probe_fit_options fit_options;
static moco_score score;
static moco_feature_stats feature_stats;
static moco_batch batch, loaded;
static moco_tensor images, image, view, features, projection, keys, all_keys, pixels_of, weight, two_ones;
static moco_weights_info weights_info;
static moco_import_found candidate;
#define WEIGHTS "tests/golden/fixtures/weights-torch-2/list.zip.pth"

static int tell_bad(void *user, int64_t id, const char *path, const char *reason)
{
    (void)user;
    fail_msg("image %d (%s) is none of the unreadable ones: %s", (int)id, path, reason);
    return 1;
}

static moco_status read_picture(void *user, int64_t id, const uint8_t **at, int32_t *w, int32_t *h)
{
    (void)user;
    (void)id;
    *at = pixels;
    *w = *h = SIDE;
    return MOCO_OK;
}

static moco_status read_bytes(void *user, int64_t id, const void **at, size_t *size, void **cookie, char *reason,
                              size_t room)
{
    (void)user;
    (void)id;
    (void)cookie;
    (void)reason;
    (void)room;
    *at = pixels;
    *size = SIDE;
    return MOCO_OK;
}

static void prepare_data(void)
{
    images = tensor_of(MOCO_U8, pixels, 4, (int64_t[]){IMAGES, SIDE, SIDE, 3});
    image = tensor_of(MOCO_U8, pixels, 3, (int64_t[]){SIDE, SIDE, 3});
    view = tensor_of(MOCO_U8, view_pixels, 3, (int64_t[]){SIDE, SIDE, 3});
    features = tensor_of(MOCO_F32, vectors, 2, (int64_t[]){2, DIM});
    keys = features;
    projection = tensor_of(MOCO_F64, weights, 2, (int64_t[]){IMAGES, DIM});
    all_keys = tensor_of(MOCO_F64, weights, 2, (int64_t[]){DIM, 6});
    weight = tensor_of(MOCO_F64, weights, 1, (int64_t[]){DIM});
    two_ones = tensor_of(MOCO_F32, vectors, 1, (int64_t[]){2});
    moco_weights_info_init(&weights_info);
    moco_import_found_init(&candidate);
    moco_tensor_init(&pixels_of);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        vectors[i] = (float)i + 1;
    draw_pixels(pixels, SIDE, SIDE * IMAGES, 1);
    assert_int_equal(moco_augment_options_preset(&recipe, "none", SIDE), MOCO_OK);
    moco_loader_options_init(&loader_options);
    loader_options.batch_size = 2;
    loader_options.workers = 1; /* a thread that a forked child does not have */
    loader_options.recipe[0] = loader_options.recipe[1] = &recipe;
    moco_image_source_init(&image_source);
    image_source.count = 3;
    image_source.read = read_picture;
    moco_encoded_source_init(&encoded_source);
    encoded_source.count = 3;
    encoded_source.read = read_bytes;
    moco_view_params_init(&view_params);
    view_params.crop[2] = view_params.crop[3] = view_params.resize[0] = view_params.resize[1] = SIDE;
    moco_loader_stats_init(&loader_stats);
    moco_probe_options_init(&probe_options);
    probe_options.dim = DIM;
    probe_options.classes = 2;
    moco_probe_fit_options_init(&fit_options);
    fit_options.epochs = 1;
    moco_score_init(&score);
    moco_feature_stats_init(&feature_stats);
    moco_batch_init(&loaded);
}

static void prepare_training(void)
{
    moco_model_options_init(&model_options);
    model_options.arch = "resnet18";
    model_options.stem = "small";
    model_options.head = "linear";
    model_options.width = 1.0 / 64;
    model_options.dim = DIM;
    model_options.image_size = SIDE;
    moco_trainer_options_init(&trainer_options);
    trainer_options.batch_size = IMAGES;
    trainer_options.bn_group_size = 2;
    trainer_options.image_h = trainer_options.image_w = SIDE;
    moco_device_info_init(&device_info);
    moco_model_info_init(&model_info);
    moco_encoder_info_init(&encoder_info);
    moco_step_report_init(&step_report);
    moco_memory_estimate_init(&memory_estimate);
    moco_comm_info_init(&comm_info);
    moco_batch_init(&batch);
    batch.n = IMAGES;
    batch.h = batch.w = SIDE;
    batch.views = 2;
    batch.view[0] = batch.view[1] = pixels;
}

static int set_up(void **state)
{
    (void)state;
    prepare_data();
    prepare_training();
    scratch_folder_make(&folder);
    struct bytes png = draw_png(pixels, (size_t)SIDE * 3, SIDE, SIDE, (struct png_kind){2, 8, 0, 0, 0});
    scratch_write(&folder, "picture.png", png.at, png.size);
    free(png.at);
    snprintf(picture, sizeof picture, "%s", scratch_path(&folder, "picture.png"));
    snprintf(missing, sizeof missing, "%s", scratch_path(&folder, "none/there"));
    snprintf(saved, sizeof saved, "%s", scratch_path(&folder, "saved"));
    snprintf(probe_saved, sizeof probe_saved, "%s", scratch_path(&folder, "probe"));
    snprintf(bank_saved, sizeof bank_saved, "%s", scratch_path(&folder, "bank"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return 0;
}

static void ok(moco_status status)
{
    if (status != MOCO_OK)
        fail_msg("%s: %s", moco_status_text(status), moco_error());
}

static void world_open(struct world *w)
{
    moco_context_options options;
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_dataset *dataset;
    moco_loader *loader;
    moco_knn *knn;
    moco_image *read;
    moco_augment *augment;
    moco_probe *probe;
    moco_bank *bank;
    moco_weights *file;
    moco_encoder *encoder;
    moco_comm *comm;
    *w = (struct world){.memory = {.fail_at = -1}};
    moco_context_options_init(&options);
    options.threads = 1;
    options.alloc = failing_alloc;
    options.release = failing_release;
    options.user = &w->memory;
    ok(moco_context_create(&context, &options));
    ok(moco_device_open(&device, context, "ref"));
    ok(moco_model_create(&model, device, &model_options));
    ok(moco_model_set_recipe(model, &recipe));
    ok(moco_encoder_create(&encoder, model, NULL));
    ok(moco_queue_create(&queue, device, DIM, 6, 1));
    ok(moco_trainer_create(&trainer, model, queue, &trainer_options));
    ok(moco_dataset_from_memory(&dataset, context, &images, NULL));
    ok(moco_loader_create(&loader, dataset, &loader_options));
    ok(moco_knn_create(&knn, device, DIM, 1, 0.1));
    ok(moco_image_read(&read, context, picture, 0));
    ok(moco_augment_create(&augment, context, &recipe));
    ok(moco_probe_create(&probe, device, &probe_options));
    ok(moco_bank_create(&bank, device, DIM));
    ok(moco_bank_append(bank, &features, NULL));
    ok(moco_weights_open(&file, context, WEIGHTS));
    ok(moco_comm_local(&comm, 1, context, NULL));
    void *const all[KINDS] = {
        [HANDLE_CONTEXT] = context, [HANDLE_DEVICE] = device,   [HANDLE_MODEL] = model,   [HANDLE_QUEUE] = queue,
        [HANDLE_TRAINER] = trainer, [HANDLE_DATASET] = dataset, [HANDLE_LOADER] = loader, [HANDLE_KNN] = knn,
        [HANDLE_IMAGE] = read,      [HANDLE_AUGMENT] = augment, [HANDLE_PROBE] = probe,   [HANDLE_BANK] = bank,
        [HANDLE_WEIGHTS] = file,    [HANDLE_ENCODER] = encoder, [HANDLE_COMM] = comm};
    memcpy(w->at, all, sizeof all);
}

#define FREE(type)                                                                                                     \
    static void free_##type(void *handle)                                                                              \
    {                                                                                                                  \
        moco_##type##_free(handle);                                                                                    \
    }
FREE(context)
FREE(device)
FREE(model)
FREE(queue)
FREE(trainer)
FREE(dataset)
FREE(loader)
FREE(knn)
FREE(image)
FREE(augment)
FREE(probe)
FREE(bank)
FREE(weights)
FREE(encoder)
FREE(comm)

static void (*const frees[KINDS])(void *handle) = {
    [HANDLE_CONTEXT] = free_context, [HANDLE_DEVICE] = free_device,   [HANDLE_MODEL] = free_model,
    [HANDLE_QUEUE] = free_queue,     [HANDLE_TRAINER] = free_trainer, [HANDLE_DATASET] = free_dataset,
    [HANDLE_LOADER] = free_loader,   [HANDLE_KNN] = free_knn,         [HANDLE_IMAGE] = free_image,
    [HANDLE_AUGMENT] = free_augment, [HANDLE_PROBE] = free_probe,     [HANDLE_BANK] = free_bank,
    [HANDLE_WEIGHTS] = free_weights, [HANDLE_ENCODER] = free_encoder, [HANDLE_COMM] = free_comm};

static void world_close(struct world *w)
{
    for (int kind = 1; kind < KINDS; kind++)
        frees[kind](w->at[kind]);
    assert_int_equal(w->memory.live, 0);
}

/* ---- the calls ---- */

static struct world *now; /* whose handles stand for the other arguments */
static union {
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_dataset *dataset;
    moco_loader *loader;
    moco_knn *knn;
    moco_image *image;
    moco_augment *augment;
    moco_probe *probe;
    moco_bank *bank;
    moco_weights *weights;
    moco_encoder *encoder;
    moco_pictures *pictures;
    void *any;
} made; /* what a call that makes something made */

/* X(what the argument is called, its kind, what a live handle gets, the call with `h` in its place) */
#define CALLS(X)                                                                                                       \
    X(memory, "context", CONTEXT, OK, moco_context_memory(h, &number, NULL, NULL))                                     \
    X(open, "context", CONTEXT, OK, moco_device_open(&made.device, h, "ref"))                                          \
    X(folder, "context", CONTEXT, EIO, moco_dataset_open_folder(&made.dataset, h, missing))                            \
    X(without, "context", CONTEXT, EIO, moco_dataset_open_folder_without(&made.dataset, h, missing, NULL, NULL))       \
    X(cifar10, "context", CONTEXT, EIO, moco_dataset_open_cifar10(&made.dataset, h, (const char *[]){missing}, 1))     \
    X(from_memory, "context", CONTEXT, OK, moco_dataset_from_memory(&made.dataset, h, &images, NULL))                  \
    X(list, "context", CONTEXT, EIO, moco_dataset_open_list(&made.dataset, h, missing))                                \
    X(tar, "context", CONTEXT, EIO, moco_dataset_open_tar(&made.dataset, h, (const char *[]){missing}, 1))             \
    X(callback, "context", CONTEXT, OK, moco_dataset_from_callback(&made.dataset, h, &image_source))                   \
    X(encoded, "context", CONTEXT, OK, moco_dataset_from_encoded(&made.dataset, h, &encoded_source))                   \
    X(read, "context", CONTEXT, OK, moco_image_read(&made.image, h, picture, 0))                                       \
    X(decode, "context", CONTEXT, EFORMAT, moco_image_decode(&made.image, h, picture, 1, 0))                           \
    X(augment, "context", CONTEXT, OK, moco_augment_create(&made.augment, h, &recipe))                                 \
    X(info, "device", DEVICE, OK, moco_device_describe(h, &device_info))                                               \
    X(device_bytes, "device", DEVICE, OK, moco_device_memory(h, &number, NULL))                                        \
    X(knn, "device", DEVICE, OK, moco_knn_create(&made.knn, h, DIM, 1, 0.1))                                           \
    X(model, "device", DEVICE, OK, moco_model_create(&made.model, h, &model_options))                                  \
    X(queue, "device", DEVICE, OK, moco_queue_create(&made.queue, h, DIM, 6, 1))                                       \
    X(estimate, "device", DEVICE, OK, moco_trainer_estimate(h, &model_options, 6, &trainer_options, &memory_estimate)) \
    X(model_save, "model", MODEL, OK, moco_model_save(h, saved))                                                       \
    X(model_open, "device", DEVICE, OK, moco_model_open(&made.model, h, saved))                                        \
    X(model_load, "model", MODEL, ESTATE, moco_model_load(h, saved))                                                   \
    X(model_info, "model", MODEL, OK, moco_model_describe(h, &model_info))                                             \
    X(set_recipe, "model", MODEL, OK, moco_model_set_recipe(h, &recipe))                                               \
    X(recipe, "model", MODEL, OK, moco_model_recipe(h, &recipe_of))                                                    \
    X(model_get, "model", MODEL, OK, moco_model_get(h, "fc.bias", &weight))                                            \
    X(model_set, "model", MODEL, ESTATE, moco_model_set(h, "fc.bias", &weight))                                        \
    X(embed, "model", MODEL, OK, moco_model_embed(h, &images, MOCO_PROJECTION, &projection))                           \
    X(encoder, "model", MODEL, OK, moco_encoder_create(&made.encoder, h, NULL))                                        \
    X(encoder_open, "device", DEVICE, OK, moco_encoder_open(&made.encoder, h, saved, NULL))                            \
    X(encoder_info, "encoder", ENCODER, OK, moco_encoder_describe(h, &encoder_info))                                   \
    X(encoder_view, "encoder", ENCODER, OK, moco_encoder_recipe(h, &recipe_of))                                        \
    X(encode, "encoder", ENCODER, OK, moco_encoder_embed(h, &images, MOCO_PROJECTION, &projection))                    \
    X(of_files, "encoder", ENCODER, EFORMAT,                                                                           \
      moco_encoder_embed_files(h, (const char *[]){missing, missing, missing, missing}, IMAGES, NULL, MOCO_PROJECTION, \
                               &projection, NULL))                                                                     \
    X(of_bytes, "encoder", ENCODER, EFORMAT,                                                                           \
      moco_encoder_embed_bytes(h, (const void *[]){pixels, pixels, pixels, pixels}, (const size_t[]){9, 9, 9, 9},      \
                               IMAGES, NULL, MOCO_PROJECTION, &projection, NULL))                                      \
    X(reserve, "encoder", ENCODER, OK, moco_encoder_reserve(h, 1, &images, MOCO_PROJECTION))                           \
    X(push, "queue", QUEUE, OK, moco_queue_push(h, &keys))                                                             \
    X(queue_get, "queue", QUEUE, OK, moco_queue_get(h, &all_keys))                                                     \
    X(queue_state, "queue", QUEUE, OK, moco_queue_state(h, &number, NULL, NULL))                                       \
    X(train_m, "model", MODEL, ESTATE, moco_trainer_create(&made.trainer, h, now->at[HANDLE_QUEUE], &trainer_options)) \
    X(train_q, "queue", QUEUE, ESTATE, moco_trainer_create(&made.trainer, now->at[HANDLE_MODEL], h, &trainer_options)) \
    X(step, "trainer", TRAINER, OK, moco_trainer_step(h, &batch, 0.01))                                                \
    X(wait, "trainer", TRAINER, OK, moco_trainer_wait(h))                                                              \
    X(leave, "trainer", TRAINER, EEND, moco_trainer_leave(h, MOCO_EEND, NULL))                                         \
    X(gather, "comm", COMM, OK, moco_comm_gather(h, text, 8))                                                          \
    X(comm_info, "comm", COMM, OK, moco_comm_describe(h, &comm_info))                                                  \
    X(report, "trainer", TRAINER, OK, moco_trainer_report(h, &step_report))                                            \
    X(trainer_get, "trainer", TRAINER, OK, moco_trainer_get(h, "encoder_q.fc.bias", &weight))                          \
    X(trainer_set, "trainer", TRAINER, OK, moco_trainer_set(h, "encoder_q.fc.bias", &weight))                          \
    X(cursor, "trainer", TRAINER, OK, moco_trainer_cursor(h, &number, NULL, NULL))                                     \
    X(trainer_save, "trainer", TRAINER, OK, moco_trainer_save(h, saved, "note"))                                       \
    X(trainer_load, "trainer", TRAINER, OK, moco_trainer_load(h, saved))                                               \
    X(checkpoint, "context", CONTEXT, OK, moco_checkpoint_describe(h, saved, NULL, NULL, &number, NULL, 0))            \
    X(path, "dataset", DATASET, OK, moco_dataset_path(h, 0, text, sizeof text))                                        \
    X(verify, "dataset", DATASET, OK, moco_dataset_verify(h, 0, 2, 0, NULL, NULL, &number))                            \
    X(join, "first", DATASET, OK, moco_dataset_join(&made.dataset, h, now->at[HANDLE_DATASET]))                        \
    X(join_to, "second", DATASET, OK, moco_dataset_join(&made.dataset, now->at[HANDLE_DATASET], h))                    \
    X(match, "dataset", DATASET, EINVAL, moco_dataset_match_classes(&made.dataset, h, h))                              \
    X(match_like, "like", DATASET, EINVAL, moco_dataset_match_classes(&made.dataset, now->at[HANDLE_DATASET], h))      \
    X(pictures, "device", DEVICE, ENOTSUP, moco_pictures_create(&made.pictures, h, now->at[HANDLE_DATASET], 0))        \
    X(pictures_of, "dataset", DATASET, ENOTSUP, moco_pictures_create(&made.pictures, now->at[HANDLE_DEVICE], h, 0))    \
    X(pictures_on, "device", DEVICE, ENOTSUP, moco_pictures_estimate(h, now->at[HANDLE_DATASET], &number))             \
    X(pictures_in, "dataset", DATASET, ENOTSUP, moco_pictures_estimate(now->at[HANDLE_DEVICE], h, &number))            \
    X(loader, "dataset", DATASET, OK, moco_loader_create(&made.loader, h, &loader_options))                            \
    X(start, "loader", LOADER, OK, moco_loader_start(h, 0))                                                            \
    X(start_at, "loader", LOADER, OK, moco_loader_start_at(h, 1, 2))                                                   \
    X(start_keys, "loader", LOADER, OK, moco_loader_start_keys(h, 1, 2, 0, 0, 0))                                      \
    X(next, "loader", LOADER, OK, moco_loader_next(h, &loaded))                                                        \
    X(stats, "loader", LOADER, OK, moco_loader_get_stats(h, &loader_stats))                                            \
    X(bad_images, "loader", LOADER, OK, moco_loader_bad_images(h, tell_bad, NULL))                                     \
    X(add, "knn", KNN, OK, moco_knn_add(h, &features, labels))                                                         \
    X(add_queue, "knn", KNN, OK, moco_knn_add_queue(h, now->at[HANDLE_QUEUE], queue_labels))                           \
    X(queue_bank, "queue", QUEUE, OK, moco_knn_add_queue(now->at[HANDLE_KNN], h, queue_labels))                        \
    X(classify, "knn", KNN, OK, moco_knn_classify(h, &features, labels))                                               \
    X(accuracy, "knn", KNN, OK, moco_knn_accuracy(h, &features, labels, weights))                                      \
    X(stats_of, "device", DEVICE, OK, moco_feature_stats_compute(h, &features, NULL, &feature_stats, NULL))            \
    X(probe, "device", DEVICE, OK, moco_probe_create(&made.probe, h, &probe_options))                                  \
    X(probe_info, "probe", PROBE, OK, moco_probe_describe(h, NULL, &number))                                           \
    X(probe_step, "probe", PROBE, OK, moco_probe_step(h, &features, classes, 1, NULL, NULL))                           \
    X(fit, "probe", PROBE, OK, moco_probe_fit(h, &features, classes, &fit_options))                                    \
    X(evaluate, "probe", PROBE, OK, moco_probe_evaluate(h, &features, classes, &score, NULL))                          \
    X(best, "probe", PROBE, OK, moco_probe_best(h, &features, classes, &score))                                        \
    X(predict, "probe", PROBE, OK, moco_probe_predict(h, 0, &features, labels))                                        \
    X(probe_save, "probe", PROBE, OK, moco_probe_save(h, probe_saved, "note"))                                         \
    X(probe_open, "device", DEVICE, OK, moco_probe_open(&made.probe, h, probe_saved, NULL, 0))                         \
    X(bank, "device", DEVICE, OK, moco_bank_create(&made.bank, h, DIM))                                                \
    X(append, "bank", BANK, OK, moco_bank_append(h, &features, NULL))                                                  \
    X(append_q, "bank", BANK, OK, moco_bank_append_queue(h, now->at[HANDLE_QUEUE], queue_ids))                         \
    X(bank_queue, "queue", QUEUE, OK, moco_bank_append_queue(now->at[HANDLE_BANK], h, queue_ids))                      \
    X(bank_info, "bank", BANK, OK, moco_bank_describe(h, &number, NULL))                                               \
    X(bank_save, "bank", BANK, OK, moco_bank_save(h, bank_saved))                                                      \
    X(bank_open, "device", DEVICE, OK, moco_bank_open(&made.bank, h, bank_saved, 0))                                   \
    X(bank_map, "device", DEVICE, OK, moco_bank_open(&made.bank, h, bank_saved, 1))                                    \
    X(search, "bank", BANK, OK, moco_knn_search(h, &features, 1, found, NULL))                                         \
    X(pixels, "image", IMAGE, OK, moco_image_pixels(h, &pixels_of))                                                    \
    X(draw, "augment", AUGMENT, OK, moco_augment_draw(h, SIDE, SIDE, 0, 0, 0, 0, &view_params))                        \
    X(apply, "augment", AUGMENT, OK, moco_augment_apply(h, &image, &view_params, &view))                               \
    X(weights, "context", CONTEXT, OK, moco_weights_open(&made.weights, h, WEIGHTS))                                   \
    X(weights_at, "weights", WEIGHTS, OK, moco_weights_at(h, 0, &weights_info))                                        \
    X(weights_find, "weights", WEIGHTS, OK, moco_weights_find(h, "0", &number))                                        \
    X(weights_read, "weights", WEIGHTS, OK, moco_weights_read(h, 0, &two_ones))                                        \
    X(weights_text, "weights", WEIGHTS, ENOTFOUND, moco_weights_text(h, "0", text, sizeof text))                       \
    X(candidate, "weights", WEIGHTS, ENOTFOUND, moco_import_candidate(h, 0, &candidate))                               \
    X(import_on, "device", DEVICE, ENOTFOUND, moco_model_import(&made.model, h, now->at[HANDLE_WEIGHTS], NULL, NULL))  \
    X(import_of, "weights", WEIGHTS, ENOTFOUND, moco_model_import(&made.model, now->at[HANDLE_DEVICE], h, NULL, NULL)) \
    X(state_of, "weights", WEIGHTS, ENOTFOUND, moco_trainer_import(now->at[HANDLE_TRAINER], h, NULL))                  \
    X(state_in, "trainer", TRAINER, ENOTFOUND, moco_trainer_import(h, now->at[HANDLE_WEIGHTS], NULL))

#define DEFINE(name, argument, kind, live, expression)                                                                 \
    static moco_status call_##name(void *h)                                                                            \
    {                                                                                                                  \
        return expression;                                                                                             \
    }
CALLS(DEFINE)

static const struct call {
    const char *text, *argument;
    enum handle_kind kind;
    moco_status live;
    moco_status (*run)(void *handle);
} calls[] = {
#define ROW(name, argument, kind, live, expression) {#expression, argument, HANDLE_##kind, MOCO_##live, call_##name},
    CALLS(ROW)};
#define CALL_COUNT ((int)(sizeof calls / sizeof *calls))

/* Whatever the call made or did not: nothing is left behind. */
static moco_status run(const struct call *c, void *handle, int *left)
{
    made.any = NULL;
    moco_status status = c->run(handle);
    *left = status != MOCO_OK && made.any != NULL;
    for (int kind = 1; kind < KINDS; kind++)
        if (handle_valid(made.any, (enum handle_kind)kind)) {
            frees[kind](made.any);
            break;
        }
    return status;
}

static void expect_refused(const struct call *c, void *handle, moco_status wanted, const char *word)
{
    int left;
    moco_status got = run(c, handle, &left);
    refused(got, wanted, word, c->text);
    if (left)
        fail_msg("%s gave out an object and failed", c->text);
}

/* Calls that answer something harmless; 0 if they do. The six are never all of their own kinds and alive. */
static int harmless(void *dataset, void *loader, void *model, void *trainer, void *file, void *encoder)
{
    moco_trainer_cancel(trainer);
    moco_encoder_cancel(encoder);
    return moco_dataset_count(dataset) != 0 || moco_dataset_label(dataset, 0) != -1 ||
           moco_dataset_classes(dataset) != 0 || strcmp(moco_dataset_class_name(dataset, 0), "") != 0 ||
           moco_dataset_left_out(dataset, 0, NULL) != NULL || moco_dataset_index_hash(dataset) != NULL ||
           moco_loader_batches(loader) != 0 || moco_pictures_bytes(loader) != 0 ||
           moco_model_tensor_name(model, 0) != NULL || moco_trainer_tensor_name(trainer, 0) != NULL ||
           moco_weights_count(file) != 0 || strcmp(moco_weights_format(file), "") != 0 ||
           moco_weights_key(file, 0) != NULL || moco_weights_note(file, 0) != NULL;
}

/* Every call goes through with the handle it wants: what the others check is then the handle, and nothing else. */
static void live_handles(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    now = &w;
    for (int i = 0; i < CALL_COUNT; i++) {
        int left;
        moco_status status = run(&calls[i], w.at[calls[i].kind], &left);
        if (status != calls[i].live || left)
            fail_msg("%s: %s (%s)", calls[i].text, moco_status_text(status), moco_error());
    }
    assert_int_equal(moco_dataset_count(w.at[HANDLE_DATASET]), IMAGES);
    assert_int_equal(moco_loader_batches(w.at[HANDLE_LOADER]), 2);
    assert_non_null(moco_model_tensor_name(w.at[HANDLE_MODEL], 0));
    assert_non_null(moco_trainer_tensor_name(w.at[HANDLE_TRAINER], 0));
    world_close(&w);
}

static void null_and_wrong_kinds(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    now = &w;
    long long live = w.memory.live;
    for (int i = 0; i < CALL_COUNT; i++)
        for (int kind = 0; kind < KINDS; kind++)
            if (kind != (int)calls[i].kind) {
                expect_refused(&calls[i], w.at[kind], MOCO_EINVAL, calls[i].argument);
                assert_non_null(strstr(moco_error(), kind == 0 ? "is NULL" : "another kind"));
            }
    for (int kind = 0; kind < KINDS; kind++) {
        void *h = w.at[kind];
        assert_false(harmless(kind == HANDLE_DATASET ? NULL : h, kind == HANDLE_LOADER ? NULL : h,
                              kind == HANDLE_MODEL ? NULL : h, kind == HANDLE_TRAINER ? NULL : h,
                              kind == HANDLE_WEIGHTS ? NULL : h, kind == HANDLE_ENCODER ? NULL : h));
        for (int other = 1; other < KINDS; other++)
            if (other != kind)
                frees[other](h); /* leaves it alone */
    }
    assert_int_equal(w.memory.live, live);
    for (int kind = 1; kind < KINDS; kind++)
        assert_true(handle_valid(w.at[kind], (enum handle_kind)kind));
    ok(moco_trainer_step(w.at[HANDLE_TRAINER], &batch, 0.01)); /* nobody cancelled it */
    world_close(&w);
}

static void freed_handles(void **state)
{
    (void)state;
    struct world w, dead;
    world_open(&w);
    world_open(&dead);
    now = &w;
    for (int kind = 1; kind < KINDS; kind++) {
        handle_ref(dead.at[kind]);
        frees[kind](dead.at[kind]);
    }
    long long live = w.memory.live, held = dead.memory.live;
    for (int i = 0; i < CALL_COUNT; i++) {
        expect_refused(&calls[i], dead.at[calls[i].kind], MOCO_EINVAL, calls[i].argument);
        assert_non_null(strstr(moco_error(), "freed"));
    }
    assert_false(harmless(dead.at[HANDLE_DATASET], dead.at[HANDLE_LOADER], dead.at[HANDLE_MODEL],
                          dead.at[HANDLE_TRAINER], dead.at[HANDLE_WEIGHTS], dead.at[HANDLE_ENCODER]));
    for (int kind = 1; kind < KINDS; kind++)
        frees[kind](dead.at[kind]); /* once too often */
    assert_int_equal(w.memory.live, live);
    assert_int_equal(dead.memory.live, held);
    for (int kind = 1; kind < KINDS; kind++)
        handle_unref(dead.at[kind]);
    assert_int_equal(dead.memory.live, 0);
    world_close(&w);
}

/* ---- a forked child ---- */

enum { CHILD_GOOD = 7 };

/* Prints what is wrong and returns 1, or CHILD_GOOD. No cmocka here: a failed assertion would go on as the parent. */
static int child(struct world *w)
{
    char why[1024];
    alarm(60);
    for (int i = 0; i < CALL_COUNT; i++) {
        int left;
        moco_status got = run(&calls[i], w->at[calls[i].kind], &left);
        if (refused_wrong(got, MOCO_ESTATE, "forked child", calls[i].text, why, sizeof why) || left) {
            fprintf(stderr, "%s\n", why);
            return 1;
        }
    }
    for (int kind = 1; kind < KINDS; kind++)
        frees[kind](w->at[kind]); /* must not wait for the loader's thread, which is the parent's */
    for (int kind = 1; kind < KINDS; kind++)
        if (handle_valid(w->at[kind], (enum handle_kind)kind)) {
            fprintf(stderr, "a handle of kind %d outlives its free\n", kind);
            return 1;
        }
    moco_context *context = NULL;
    moco_device *device = NULL;
    moco_model *model = NULL;
    if (moco_context_create(&context, NULL) != MOCO_OK || moco_device_open(&device, context, "ref") != MOCO_OK ||
        moco_model_create(&model, device, &model_options) != MOCO_OK ||
        moco_model_embed(model, &images, MOCO_PROJECTION, &projection) != MOCO_OK) {
        fprintf(stderr, "a context of the child's own: %s\n", moco_error());
        return 1;
    }
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return CHILD_GOOD;
}

static void forked_child(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    now = &w;
    ok(moco_loader_start(w.at[HANDLE_LOADER], 0)); /* its thread may hold the loader's lock when the fork comes */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child(&w));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_GOOD);
    ok(moco_trainer_step(w.at[HANDLE_TRAINER], &batch, 0.01)); /* the parent goes on */
    ok(moco_loader_next(w.at[HANDLE_LOADER], &loaded));
    world_close(&w);
}

/* ---- orders of freeing ---- */

/* A call that leans on all that the handle refers to, which may be freed by now. */
static moco_status use(const struct world *w, enum handle_kind kind)
{
    void *h = w->at[kind];
    switch (kind) {
    case HANDLE_CONTEXT:
        return moco_context_memory(h, &number, NULL, NULL);
    case HANDLE_DEVICE:
        return moco_device_describe(h, &device_info);
    case HANDLE_MODEL:
        return moco_model_get(h, "fc.bias", &weight);
    case HANDLE_QUEUE:
        return moco_queue_get(h, &all_keys);
    case HANDLE_TRAINER:
        return moco_trainer_get(h, "queue", &all_keys);
    case HANDLE_DATASET:
        return moco_dataset_verify(h, 0, IMAGES, 0, NULL, NULL, &number);
    case HANDLE_LOADER:
        return moco_loader_start(h, 0) == MOCO_OK ? moco_loader_next(h, &loaded) : MOCO_ESTATE;
    case HANDLE_KNN:
        return moco_knn_add(h, &features, labels);
    case HANDLE_IMAGE:
        return moco_image_pixels(h, &pixels_of);
    case HANDLE_AUGMENT:
        return moco_augment_apply(h, &image, &view_params, &view);
    case HANDLE_PROBE:
        return moco_probe_fit(h, &features, classes, &fit_options);
    case HANDLE_BANK:
        return moco_knn_search(h, &features, 1, found, NULL);
    case HANDLE_WEIGHTS:
        return moco_weights_read(h, 0, &two_ones);
    case HANDLE_ENCODER:
        return moco_encoder_embed(h, &images, MOCO_PROJECTION, &projection);
    case HANDLE_COMM:
        return moco_comm_gather(h, text, 8);
    case HANDLE_PICTURES: /* this device has none: ops/cudasim/test_resident.c */
        break;
    }
    return MOCO_EINVAL;
}

/* Permutation number `which` of 0..4, by its digits in the factorial system. */
static void permutation(int which, int order[5])
{
    int rest[5] = {0, 1, 2, 3, 4};
    for (int i = 0; i < 5; i++) {
        int digit = which % (5 - i);
        which /= 5 - i;
        order[i] = rest[digit];
        memmove(rest + digit, rest + digit + 1, (size_t)(4 - digit) * sizeof *rest);
        rest[4] = -1;
    }
}

static void every_order_of_freeing(void **state)
{
    (void)state;
    static const enum handle_kind groups[2][5] = {
        {HANDLE_CONTEXT, HANDLE_DEVICE, HANDLE_MODEL, HANDLE_QUEUE, HANDLE_TRAINER},
        {HANDLE_DATASET, HANDLE_LOADER, HANDLE_KNN, HANDLE_PROBE, HANDLE_BANK}};
    for (int which = 0; which < 120; which++) {
        struct world w;
        int order[5];
        world_open(&w);
        permutation(which, order);
        if (which % 3 == 0) { /* a picture and a file are like a recipe: they have the context alone */
            free_image(w.at[HANDLE_IMAGE]);
            free_weights(w.at[HANDLE_WEIGHTS]);
            free_encoder(w.at[HANDLE_ENCODER]);
            free_comm(w.at[HANDLE_COMM]);
        }
        free_augment(w.at[HANDLE_AUGMENT]);
        for (int i = 0; i < 10; i++) {
            const enum handle_kind *group = groups[(i / 5 + which) % 2]; /* either group first */
            enum handle_kind kind = group[order[i % 5]];
            frees[kind](w.at[kind]);
            for (int left = i % 5 + 1; left < 5; left++)
                ok(use(&w, group[order[left]]));
            if (kind == HANDLE_CONTEXT && i == 0) /* a context that is gone still carries everything else */
                ok(moco_trainer_step(w.at[HANDLE_TRAINER], &batch, 0.01));
        }
        if (which % 3 != 0) {
            ok(use(&w, HANDLE_IMAGE));
            ok(use(&w, HANDLE_WEIGHTS));
            ok(use(&w, HANDLE_ENCODER)); /* its model went long ago */
            ok(use(&w, HANDLE_COMM));
            free_image(w.at[HANDLE_IMAGE]);
            free_weights(w.at[HANDLE_WEIGHTS]);
            free_encoder(w.at[HANDLE_ENCODER]);
            free_comm(w.at[HANDLE_COMM]);
        }
        if (w.memory.live != 0)
            fail_msg("order %d: %lld bytes are held after the last free", which, (long long)w.memory.live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_handles), cmocka_unit_test(null_and_wrong_kinds),   cmocka_unit_test(freed_handles),
        cmocka_unit_test(forked_child), cmocka_unit_test(every_order_of_freeing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
