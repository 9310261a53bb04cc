/* SPDX-License-Identifier: MIT
 *
 * test_one_call: handles that serve one call at a time, asked by a second thread, from callbacks, and freed while a
 * call is in them. What a reader would get wrong: nothing here depends on who is faster. The call that has the handle
 * stands still in a callback (of the allocator, the data set or a progress report) until the other thread has had its
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/refused.h"
#include "support/rigs/misuse_rig.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

enum { SIDE = 16, DIM = 16, FEATURES = 64, BATCH = 16, LENGTH = 40, ROWS = 4 };

/* ---- a callback that stands still ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int arrived, open;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};

static _Thread_local int stop_here; /* in this thread's callback number so many from now */

static void callback(void)
{
    if (stop_here == 0 || --stop_here > 0)
        return;
    pthread_mutex_lock(&gate.lock);
    gate.arrived = 1;
    pthread_cond_broadcast(&gate.moved);
    while (!gate.open)
        pthread_cond_wait(&gate.moved, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void await_arrival(void)
{
    pthread_mutex_lock(&gate.lock);
    while (!gate.arrived)
        pthread_cond_wait(&gate.moved, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = 1;
    pthread_cond_broadcast(&gate.moved);
    pthread_mutex_unlock(&gate.lock);
}

/* ---- one of each handle, and a call of each kind ---- */

static atomic_llong live;

static void *take(void *user, size_t size, size_t align)
{
    (void)user;
    callback();
    atomic_fetch_add(&live, 1);
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void give(void *user, void *memory, size_t size)
{
    (void)user;
    (void)size;
    atomic_fetch_sub(&live, 1);
    free(memory);
}

struct world {
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_dataset *dataset;
    moco_loader *loader;
    moco_knn *knn;
    moco_probe *probe;
};
static struct world w;
static struct scratch_folder folder;
static char saved_model[300], saved_state[300], saved_probe[300];
static uint8_t pixels[2][BATCH][SIDE][SIDE][3];
static float vectors[ROWS * DIM], pushed[ROWS * DIM];
static int32_t labels[ROWS] = {0, 1, 0, 1}, queue_labels[LENGTH], found[ROWS];
static double numbers[LENGTH * DIM];
static moco_batch batch;
static moco_trainer_options trainer_options;
static void (*in_progress)(void); /* what the trainer's and the probe's callbacks do besides */

static void step_progress(void *user, int done, int launches)
{
    (void)user;
    (void)launches;
    callback();
    if (in_progress != NULL && done == 1)
        in_progress();
}

static int fit_progress(void *user, int32_t epoch, int32_t epochs)
{
    (void)user;
    (void)epochs;
    callback();
    if (in_progress != NULL && epoch == 1)
        in_progress();
    return 0;
}

static moco_status read_picture(void *user, int64_t id, const uint8_t **at, int32_t *width, int32_t *height)
{
    (void)user;
    callback();
    if (in_progress != NULL)
        in_progress();
    *at = pixels[0][id][0][0];
    *width = *height = SIDE;
    return MOCO_OK;
}

static moco_status model_embed_into(moco_model *model, float *out)
{
    moco_tensor in = TENSOR(MOCO_U8, pixels, 2, SIDE, SIDE, 3), rows = TENSOR(MOCO_F32, out, 2, DIM);
    return moco_model_embed(model, &in, MOCO_PROJECTION, &rows);
}

static moco_status model_embed(void)
{
    float out[2 * DIM];
    return model_embed_into(w.model, out);
}

/* Another output than the last time, so that memory is taken. */
static moco_status model_embed_features(void)
{
    float out[2 * FEATURES];
    moco_tensor in = TENSOR(MOCO_U8, pixels, 2, SIDE, SIDE, 3), rows = TENSOR(MOCO_F32, out, 2, FEATURES);
    return moco_model_embed(w.model, &in, MOCO_FEATURES, &rows);
}

static moco_tensor weight(void)
{
    return TENSOR(MOCO_F64, numbers, DIM);
}

#define CALL(name, call)                                                                                               \
    static moco_status name(void)                                                                                      \
    {                                                                                                                  \
        return (call);                                                                                                 \
    }
#define WITH(name, type, value, call)                                                                                  \
    static moco_status name(void)                                                                                      \
    {                                                                                                                  \
        type t = (value);                                                                                              \
        return (call);                                                                                                 \
    }

WITH(model_get, moco_tensor, weight(), moco_model_get(w.model, "fc.2.bias", &t))
WITH(model_set, moco_tensor, weight(), moco_model_set(w.model, "fc.2.bias", &t))
CALL(model_save, moco_model_save(w.model, saved_model))
CALL(model_load, moco_model_load(w.model, saved_model))
WITH(trainer_make, moco_trainer *, NULL, moco_trainer_create(&t, w.model, w.queue, &trainer_options))

#define KEYS TENSOR(MOCO_F32, pushed, ROWS, DIM)
#define FOUND TENSOR(MOCO_F32, vectors, ROWS, DIM)
WITH(queue_push, moco_tensor, KEYS, moco_queue_push(w.queue, &t))
WITH(queue_get, moco_tensor, TENSOR(MOCO_F64, numbers, DIM, LENGTH), moco_queue_get(w.queue, &t))
WITH(queue_state, int64_t, 0, moco_queue_state(w.queue, &t, NULL, NULL))
CALL(knn_add_queue, moco_knn_add_queue(w.knn, w.queue, queue_labels))
WITH(knn_add, moco_tensor, FOUND, moco_knn_add(w.knn, &t, labels))
WITH(knn_classify, moco_tensor, FOUND, moco_knn_classify(w.knn, &t, found))
WITH(knn_accuracy, moco_tensor, FOUND, moco_knn_accuracy(w.knn, &t, labels, numbers))

CALL(trainer_step, moco_trainer_step(w.trainer, &batch, 0.05))
CALL(trainer_cursor, moco_trainer_cursor(w.trainer, NULL, NULL, NULL))
WITH(trainer_get, moco_tensor, weight(), moco_trainer_get(w.trainer, "encoder_k.fc.2.bias", &t))
WITH(trainer_set, moco_tensor, weight(), moco_trainer_set(w.trainer, "momentum.encoder_q.fc.2.bias", &t))
CALL(trainer_save, moco_trainer_save(w.trainer, saved_state, NULL))
CALL(trainer_load, moco_trainer_load(w.trainer, saved_state))

static moco_status trainer_report(void)
{
    moco_step_report report;
    moco_step_report_init(&report);
    return moco_trainer_report(w.trainer, &report);
}

WITH(probe_step, moco_tensor, FOUND, moco_probe_step(w.probe, &t, labels, 1, NULL, NULL))
WITH(probe_predict, moco_tensor, FOUND, moco_probe_predict(w.probe, 0, &t, found))
CALL(probe_describe, moco_probe_describe(w.probe, NULL, NULL))
CALL(probe_save, moco_probe_save(w.probe, saved_probe, NULL))

static moco_status probe_fit(void)
{
    moco_tensor t = FOUND;
    moco_probe_fit_options options;
    moco_probe_fit_options_init(&options);
    options.epochs = 2;
    options.progress = fit_progress;
    return moco_probe_fit(w.probe, &t, labels, &options);
}

static moco_status probe_evaluate(void)
{
    moco_tensor t = FOUND;
    moco_score score;
    moco_score_init(&score);
    return moco_probe_evaluate(w.probe, &t, labels, &score, NULL);
}

static moco_status probe_best(void)
{
    moco_tensor t = FOUND;
    moco_score score;
    moco_score_init(&score);
    return moco_probe_best(w.probe, &t, labels, &score);
}

static moco_status loader_next(void)
{
    moco_batch loaded;
    moco_batch_init(&loaded);
    return moco_loader_next(w.loader, &loaded);
}

CALL(loader_start, moco_loader_start(w.loader, 0))
CALL(loader_start_at, moco_loader_start_at(w.loader, 0, 0))
CALL(loader_start_keys, moco_loader_start_keys(w.loader, 0, 0, 0, 0, 0))

static moco_status loader_stats(void)
{
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    return moco_loader_get_stats(w.loader, &stats);
}

/* ---- making them ---- */

static void draw(void)
{
    for (size_t i = 0; i < sizeof pixels; i++)
        ((uint8_t *)pixels)[i] = (uint8_t)(i * 2654435761u >> 13);
    for (int i = 0; i < ROWS * DIM; i++)
        vectors[i] = pushed[i] = (float)((i * 7 % 11) - 5) + (float)(i % 2);
    for (int i = 0; i < LENGTH; i++)
        queue_labels[i] = i % 2;
    moco_batch_init(&batch);
    batch.n = BATCH;
    batch.h = batch.w = SIDE;
    batch.views = 2;
    batch.view[0] = pixels[0][0][0][0];
    batch.view[1] = pixels[1][0][0][0];
}

static void open_loader(void)
{
    moco_augment_options recipe;
    moco_image_source source;
    moco_loader_options options;
    rig_ok(moco_augment_options_preset(&recipe, "none", SIDE));
    moco_image_source_init(&source);
    source.count = BATCH;
    source.read = read_picture;
    rig_ok(moco_dataset_from_callback(&w.dataset, w.context, &source));
    moco_loader_options_init(&options);
    options.batch_size = 4;
    options.recipe[0] = options.recipe[1] = &recipe;
    rig_ok(moco_loader_create(&w.loader, w.dataset, &options));
    rig_ok(moco_loader_start(w.loader, 0));
}

static int open_world(void **state)
{
    (void)state;
    const struct rig_spec spec = rig_spec();
    moco_context_options options;
    moco_context_options_init(&options);
    options.threads = 1;
    options.alloc = take;
    options.release = give;
    gate.arrived = gate.open = 0;
    in_progress = NULL;
    draw();
    rig_ok(moco_context_create(&w.context, &options));
    rig_ok(moco_device_open(&w.device, w.context, test_device()));
    rig_ok(moco_model_create(&w.model, w.device, &spec.model));
    rig_ok(moco_queue_create(&w.queue, w.device, DIM, LENGTH, 1));
    trainer_options = spec.trainer;
    trainer_options.progress = step_progress;
    rig_ok(moco_knn_create(&w.knn, w.device, DIM, 1, 0.1));
    rig_ok(knn_add());
    moco_probe_options probe;
    moco_probe_options_init(&probe);
    probe.dim = DIM;
    probe.classes = 2;
    rig_ok(moco_probe_create(&w.probe, w.device, &probe));
    open_loader();
    scratch_folder_make(&folder);
    snprintf(saved_model, sizeof saved_model, "%s", scratch_path(&folder, "model"));
    snprintf(saved_state, sizeof saved_state, "%s", scratch_path(&folder, "state"));
    snprintf(saved_probe, sizeof saved_probe, "%s", scratch_path(&folder, "probe"));
    rig_ok(model_save());
    return 0;
}

static void open_trainer(void)
{
    rig_ok(moco_trainer_create(&w.trainer, w.model, w.queue, &trainer_options));
    rig_ok(trainer_step());
    rig_ok(trainer_save());
}

static int close_world(void **state)
{
    (void)state;
    moco_context_free(w.context);
    moco_device_free(w.device);
    moco_trainer_free(w.trainer);
    moco_model_free(w.model);
    moco_queue_free(w.queue);
    moco_loader_free(w.loader);
    moco_dataset_free(w.dataset);
    moco_knn_free(w.knn);
    moco_probe_free(w.probe);
    w = (struct world){0};
    scratch_folder_remove(&folder);
    assert_int_equal(atomic_load(&live), 0);
    return 0;
}

/* ---- a second thread ---- */

struct call {
    const char *text;
    moco_status (*make)(void);
};
#define NAMED(call)                                                                                                    \
    {                                                                                                                  \
#call, call                                                                                                    \
    }

struct holder {
    pthread_t thread;
    moco_status (*make)(void);
    moco_status status;
    int at; /* the callback that it stops in, from 1 */
    int ended;
};

static void *hold(void *arg)
{
    struct holder *holder = arg;
    stop_here = holder->at;
    holder->status = holder->make();
    if (stop_here > 0) { /* it had no such callback: let the test go on, and fail */
        holder->ended = stop_here = 1;
        callback();
    }
    return NULL;
}

static void begin_at(struct holder *holder, moco_status (*make)(void), int at)
{
    *holder = (struct holder){.make = make, .at = at};
    assert_int_equal(pthread_create(&holder->thread, NULL, hold, holder), 0);
    await_arrival();
}

static void begin(struct holder *holder, moco_status (*make)(void))
{
    begin_at(holder, make, 1);
    if (holder->ended)
        fail_msg("a call without a callback");
}

static void end(struct holder *holder, moco_status wanted)
{
    open_gate();
    pthread_join(holder->thread, NULL);
    gate.arrived = gate.open = 0;
    assert_int_equal(holder->status, wanted);
}

static void expect_refused(const struct call *calls, size_t count, const char *why)
{
    for (size_t i = 0; i < count; i++) {
        moco_status status = calls[i].make();
        if (status != MOCO_ESTATE || strstr(moco_error(), why) == NULL)
            fail_msg("%s: %s (%s) and not \"%s\"", calls[i].text, moco_status_text(status), moco_error(), why);
    }
}

static void expect_ok(const struct call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        moco_status status = calls[i].make();
        if (status != MOCO_OK)
            fail_msg("%s: %s (%s)", calls[i].text, moco_status_text(status), moco_error());
    }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct call on_model[] = {NAMED(model_embed), NAMED(model_get), NAMED(model_set), NAMED(model_save),
                                       NAMED(model_load)};
static const struct call on_queue[] = {NAMED(queue_push), NAMED(queue_get), NAMED(queue_state), NAMED(knn_add_queue)};
static const struct call on_knn[] = {NAMED(knn_add), NAMED(knn_add_queue), NAMED(knn_classify), NAMED(knn_accuracy)};
static const struct call on_trainer[] = {NAMED(trainer_step), NAMED(trainer_report), NAMED(trainer_cursor),
                                         NAMED(trainer_get),  NAMED(trainer_set),    NAMED(trainer_save),
                                         NAMED(trainer_load)};
static const struct call on_probe[] = {NAMED(probe_step), NAMED(probe_fit),     NAMED(probe_evaluate),
                                       NAMED(probe_best), NAMED(probe_predict), NAMED(probe_describe),
                                       NAMED(probe_save)};
static const struct call on_loader[] = {NAMED(loader_next), NAMED(loader_start), NAMED(loader_start_at),
                                        NAMED(loader_start_keys)};
static const struct call make_trainer[] = {NAMED(trainer_make)};

static void a_model_serves_one_thread(void **state)
{
    (void)state;
    static moco_status (*const holders[])(void) = {model_embed_features, model_save, model_load, model_get};
    for (size_t i = 0; i < COUNT(holders); i++) {
        struct holder holder;
        begin(&holder, holders[i]);
        expect_refused(on_model, COUNT(on_model), "another thread is in this moco_model");
        expect_refused(make_trainer, 1, "another thread is in this moco_model");
        moco_model_info info;
        moco_model_info_init(&info);
        if (holders[i] == model_embed_features) /* of nothing that changes */
            rig_ok(moco_model_describe(w.model, &info));
        assert_string_equal(moco_model_tensor_name(w.model, 0), "conv1.weight");
        end(&holder, MOCO_OK);
        expect_ok(on_model, COUNT(on_model));
    }
}

static void a_queue_serves_one_thread(void **state)
{
    (void)state;
    open_trainer();
    struct holder holder;
    begin(&holder, queue_push);
    expect_refused(on_queue, COUNT(on_queue), "another thread is in this moco_queue");
    expect_refused(on_trainer, 1, "another thread is in this moco_queue"); /* a step */
    end(&holder, MOCO_OK);
    expect_ok(on_queue, COUNT(on_queue));
    expect_ok(on_trainer, 1);
}

static void a_classifier_serves_one_thread(void **state)
{
    (void)state;
    struct holder holder;
    begin(&holder, knn_add_queue);
    expect_refused(on_knn, COUNT(on_knn), "another thread is in this moco_knn");
    end(&holder, MOCO_OK);
    expect_ok(on_knn, COUNT(on_knn));
}

static void a_probe_serves_one_thread(void **state)
{
    (void)state;
    static moco_status (*const holders[])(void) = {probe_fit, probe_save};
    for (size_t i = 0; i < COUNT(holders); i++) {
        struct holder holder;
        begin(&holder, holders[i]);
        expect_refused(on_probe, COUNT(on_probe), "another thread is in this moco_probe");
        end(&holder, MOCO_OK);
        expect_ok(on_probe, COUNT(on_probe));
    }
}

static void a_loader_serves_one_thread(void **state)
{
    (void)state;
    struct holder holder;
    begin(&holder, loader_next);
    expect_refused(on_loader, COUNT(on_loader), "another thread is in this moco_loader");
    rig_ok(loader_stats());
    assert_int_equal(moco_loader_batches(w.loader), 4);
    end(&holder, MOCO_OK);
    expect_ok(on_loader, COUNT(on_loader));
}

/* While a step runs the model can be read and embedded with: it has the numbers of the last committed step. */
static void a_trainer_serves_one_thread(void **state)
{
    (void)state;
    open_trainer();
    static moco_status (*const holders[])(void) = {trainer_step, trainer_save, trainer_load};
    for (size_t i = 0; i < COUNT(holders); i++) {
        struct holder holder;
        float before[2 * DIM], during[2 * DIM], after[2 * DIM];
        rig_ok(model_embed_into(w.model, before));
        begin(&holder, holders[i]);
        expect_refused(on_trainer, COUNT(on_trainer), "another thread is in this moco_trainer");
        expect_refused(on_queue, COUNT(on_queue), "another thread is in this moco_queue");
        rig_ok(model_embed_into(w.model, during));
        assert_memory_equal(before, during, sizeof before);
        rig_ok(model_get());
        rig_ok(model_save());
        expect_refused(&on_model[2], 1, "a trainer uses the model"); /* set */
        assert_string_equal(moco_trainer_tensor_name(w.trainer, 0), "queue");
        end(&holder, MOCO_OK);
        rig_ok(model_embed_into(w.model, after));
        assert_int_equal(memcmp(before, after, sizeof before) != 0, holders[i] == trainer_step);
    }
    expect_ok(on_trainer, COUNT(on_trainer));
    struct holder holder;
    begin(&holder, trainer_step);
    moco_trainer_cancel(w.trainer); /* from any thread */
    end(&holder, MOCO_ECANCELED);
    rig_ok(trainer_step());
}

static moco_augment_options recipe_of(const char *name)
{
    moco_augment_options recipe;
    rig_ok(moco_augment_options_preset(&recipe, name, SIDE));
    return recipe;
}

/* Wherever a save stands: its file has one recipe or the other, and not some of each. */
static void a_saved_recipe_is_one(void **state)
{
    (void)state;
    const moco_augment_options recipes[] = {recipe_of("simclr-eval"), recipe_of("eval")};
    open_trainer();
    for (int at = 1, ended = 0; !ended; at++) {
        struct holder holder;
        moco_model *model;
        moco_augment_options saved;
        rig_ok(moco_model_set_recipe(w.model, &recipes[0]));
        begin_at(&holder, trainer_save, at);
        ended = holder.ended;
        if (!ended)
            rig_ok(moco_model_set_recipe(w.model, &recipes[1]));
        end(&holder, MOCO_OK);
        rig_ok(moco_model_open(&model, w.device, saved_state));
        rig_ok(moco_model_recipe(model, &saved));
        moco_model_free(model);
        int which = saved.crop == recipes[1].crop;
        assert_int_equal(saved.crop, recipes[which].crop);
        assert_int_equal(saved.resize, recipes[which].resize);
        assert_true(saved.centre_part == recipes[which].centre_part);
        assert_int_equal(saved.interpolation, recipes[which].interpolation);
    }
}

static void a_file_without_a_recipe_leaves_what_was_set_meanwhile(void **state)
{
    (void)state;
    const moco_augment_options recipe = recipe_of("eval");
    moco_augment_options kept;
    struct holder holder;
    open_trainer(); /* and a checkpoint without a recipe */
    begin(&holder, trainer_load);
    rig_ok(moco_model_set_recipe(w.model, &recipe));
    end(&holder, MOCO_OK);
    rig_ok(moco_model_recipe(w.model, &kept));
    assert_int_equal(kept.resize, recipe.resize);
}

/* ---- callbacks ---- */

static int nested;

static void inside_step(void)
{
    nested++;
    static const struct call fine[] = {NAMED(trainer_cursor), NAMED(trainer_report), NAMED(queue_get),
                                       NAMED(queue_state),    NAMED(knn_add_queue),  NAMED(model_embed),
                                       NAMED(model_get),      NAMED(model_save)};
    static const struct call refused[] = {NAMED(trainer_step), NAMED(trainer_get),  NAMED(trainer_set),
                                          NAMED(trainer_save), NAMED(trainer_load), NAMED(queue_push)};
    expect_ok(fine, COUNT(fine));
    expect_refused(refused, COUNT(refused), "this is a callback of a call on the same moco_");
}

static void inside_fit(void)
{
    nested++;
    static const struct call fine[] = {NAMED(probe_evaluate), NAMED(probe_best), NAMED(probe_predict),
                                       NAMED(probe_describe), NAMED(probe_save)};
    static const struct call refused[] = {NAMED(probe_step), NAMED(probe_fit)};
    expect_ok(fine, COUNT(fine));
    expect_refused(refused, COUNT(refused), "this is a callback of a call on the same moco_probe");
}

static void inside_read(void)
{
    nested++;
    expect_refused(on_loader, COUNT(on_loader), "this is a callback of a call on the same moco_loader");
    rig_ok(loader_stats());
}

static void callbacks_read_and_do_not_change(void **state)
{
    (void)state;
    static void (*const inside[])(void) = {inside_step, inside_fit, inside_read};
    static moco_status (*const calls[])(void) = {trainer_step, probe_fit, loader_next};
    open_trainer();
    for (int i = 0; i < 3; i++) {
        nested = 0;
        in_progress = inside[i];
        rig_ok(calls[i]());
        in_progress = NULL;
        assert_true(nested > 0);
        rig_ok(calls[i]());
    }
}

/* ---- freeing a handle that a call is in ---- */

#define FREED(type)                                                                                                    \
    do {                                                                                                               \
        moco_##type##_free(w.type);                                                                                    \
        moco_##type##_free(w.type); /* as often as one likes: the call in it keeps it */                               \
    } while (0)

static void a_call_outlives_its_handle(void **state)
{
    (void)state;
    struct holder holder;
    begin(&holder, model_embed_features);
    FREED(model);
    REFUSED(EINVAL, "freed already", moco_model_save(w.model, saved_model));
    end(&holder, MOCO_OK);
    w.model = NULL;
    begin(&holder, loader_next);
    FREED(loader);
    end(&holder, MOCO_OK);
    w.loader = NULL;
    begin(&holder, probe_fit);
    FREED(probe);
    end(&holder, MOCO_OK);
    w.probe = NULL;
    begin(&holder, queue_push);
    FREED(queue);
    end(&holder, MOCO_OK);
    w.queue = NULL;
}

static void a_step_outlives_its_trainer(void **state)
{
    (void)state;
    struct holder holder;
    open_trainer();
    begin(&holder, trainer_step);
    FREED(trainer);
    moco_queue_free(w.queue);
    end(&holder, MOCO_OK);
    w.trainer = NULL;
    w.queue = NULL;
    rig_ok(model_set()); /* the trainer has gone with its step */
}

/* A queue whose caller has let go of it is still the trainer's. */
static void a_trainer_keeps_a_freed_queue(void **state)
{
    (void)state;
    open_trainer();
    moco_queue_free(w.queue);
    w.queue = NULL;
    expect_ok(on_trainer, COUNT(on_trainer));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_model_serves_one_thread),
        TEST(a_queue_serves_one_thread),
        TEST(a_classifier_serves_one_thread),
        TEST(a_probe_serves_one_thread),
        TEST(a_loader_serves_one_thread),
        TEST(a_trainer_serves_one_thread),
        TEST(callbacks_read_and_do_not_change),
        TEST(a_call_outlives_its_handle),
        TEST(a_step_outlives_its_trainer),
        TEST(a_trainer_keeps_a_freed_queue),
        TEST(a_saved_recipe_is_one),
        TEST(a_file_without_a_recipe_leaves_what_was_set_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
