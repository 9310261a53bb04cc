/* SPDX-License-Identifier: MIT
 *
 * test_encoder: one moco_encoder and many threads. The bits of a vector are the model's, in any company, number, thread
 * and order of sizes; a workspace compiles each kind of call once; calls that wait, are cancelled, run out of memory or
 * outlive their encoder end as the header says. What a reader would get wrong: whether a cancelled call was in time is
 * decided by who is faster, so that both answers are right, and the vectors of those that were are checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/draw_image.h"
#include "support/failing_alloc.h"
#include "support/rigs/misuse_rig.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

enum { N = 13, SIDE = 16, SMALL = 12, DIM = 8, FEATURES = 64, THREADS = 8, ROUNDS = 24 };

static struct failing_alloc memory;
static struct scratch_folder folder;
static struct rig rig;
static uint8_t pixels[N][SIDE * SIDE * 3]; /* also read as N pictures of SMALL x SMALL, which begin where these do */
static float planes[N][3 * SIDE * SIDE];
static double expected[2][N][DIM]; /* of SIDE, of SMALL: the model's, one picture at a time */

static moco_tensor pictures(int first, int n, int side)
{
    static _Thread_local uint8_t small[N][SMALL * SMALL * 3];
    if (side == SIDE)
        return TENSOR(MOCO_U8, pixels[first], n, SIDE, SIDE, 3);
    for (int i = 0; i < n; i++)
        memcpy(small[i], pixels[first + i], sizeof small[i]);
    return TENSOR(MOCO_U8, small, n, SMALL, SMALL, 3);
}

static moco_status embed(moco_encoder *encoder, int first, int n, int side, double *out)
{
    moco_tensor in = pictures(first, n, side), rows = TENSOR(MOCO_F64, out, n, DIM);
    return moco_encoder_embed(encoder, &in, MOCO_PROJECTION, &rows);
}

static int open_rig(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    struct rig_spec spec = rig_spec();
    spec.model.dim = DIM;
    spec.context.alloc = failing_alloc;
    spec.context.release = failing_release;
    spec.context.user = &memory;
    spec.context.threads = 1;
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 2); /* statistics of batch norms that are not 0 and 1 */
    scratch_folder_make(&folder);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < SIDE * SIDE * 3; j++) {
            pixels[i][j] = (uint8_t)(((unsigned)(i * 7919 + j) * 2654435761u) >> 24);
            planes[i][j] = (float)pixels[i][j] / 128 - 1;
        }
    for (int i = 0; i < N; i++)
        for (int small = 0; small < 2; small++) {
            moco_tensor in = pictures(i, 1, small ? SMALL : SIDE), rows = TENSOR(MOCO_F64, expected[small][i], 1, DIM);
            rig_ok(moco_model_embed(rig.model, &in, MOCO_PROJECTION, &rows));
        }
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    rig_close(&rig);
    return memory.live == 0 ? 0 : -1;
}

/* Of the precision in which a model embeds. */
static moco_encoder *encoder_of(int workspaces, int plans)
{
    moco_encoder *encoder;
    moco_encoder_options options;
    moco_encoder_options_init(&options);
    options.precision = test_device_is_exact(test_device()) ? MOCO_PRECISION_F64 : MOCO_PRECISION_F32;
    options.workspaces = workspaces;
    options.plans = plans;
    rig_ok(moco_encoder_create(&encoder, rig.model, &options));
    return encoder;
}

static moco_encoder_info info_of(const moco_encoder *encoder)
{
    moco_encoder_info info;
    moco_encoder_info_init(&info);
    rig_ok(moco_encoder_describe(encoder, &info));
    return info;
}

static void expect_rows(int first, int n, int side, double (*rows)[DIM])
{
    assert_memory_equal(rows, expected[side == SMALL][first], (size_t)n * sizeof *rows);
}

/* ---- the same bits ---- */

static void any_company(void **state)
{
    (void)state;
    double rows[N][DIM];
    moco_encoder *encoder = encoder_of(1, 0);
    for (int n = 1; n <= N; n++)
        for (int first = 0; first + n <= N; first += n == 1 ? 1 : 3) {
            rig_ok(embed(encoder, first, n, SIDE, rows[0]));
            expect_rows(first, n, SIDE, rows);
        }
    moco_tensor in = pictures(0, N, SIDE), out = TENSOR(MOCO_F64, rows, N, DIM);
    rig_ok(moco_model_embed(rig.model, &in, MOCO_PROJECTION, &out));
    expect_rows(0, N, SIDE, rows); /* so it is with a model */
    moco_encoder_free(encoder);
}

static void other_inputs_and_outputs(void **state)
{
    (void)state;
    static double a[N][FEATURES], b[N][FEATURES];
    static float single[N][FEATURES];
    moco_encoder *encoder = encoder_of(1, 0);
    moco_tensor in = TENSOR(MOCO_F32, planes, N, 3, SIDE, SIDE), of_model = TENSOR(MOCO_F64, a, N, FEATURES),
                of_encoder = TENSOR(MOCO_F64, b, N, FEATURES), narrow = TENSOR(MOCO_F32, single, N, FEATURES);
    rig_ok(moco_model_embed(rig.model, &in, MOCO_FEATURES, &of_model));
    rig_ok(moco_encoder_embed(encoder, &in, MOCO_FEATURES, &of_encoder));
    assert_memory_equal(a, b, sizeof a);
    rig_ok(moco_encoder_embed(encoder, &in, MOCO_FEATURES, &narrow));
    for (int i = 0; i < N * FEATURES; i++)
        assert_true((&single[0][0])[i] == (float)(&a[0][0])[i]);
    moco_encoder_free(encoder);
}

/* Shapes and bits of the four maps; the last one's mean over its pixels is the feature vector. */
static void feature_maps(void **state)
{
    (void)state;
    static double one[8 * SIDE * SIDE], many[N][8 * SIDE * SIDE], features[N][FEATURES];
    moco_encoder *encoder = encoder_of(1, 0);
    moco_tensor in = pictures(0, N, SIDE), out = TENSOR(MOCO_F64, features, N, FEATURES);
    rig_ok(moco_model_embed(rig.model, &in, MOCO_FEATURES, &out));
    for (int layer = 0; layer < 4; layer++) {
        int c = FEATURES / 8 << layer,
            side = SIDE / 2 >> layer; /* the stem halves, and so does each layer but the first */
        moco_embedding what = (moco_embedding)(MOCO_LAYER1 + layer);
        size_t count = (size_t)c * (size_t)side * (size_t)side;
        moco_tensor all = TENSOR(MOCO_F64, many, N, c, side, side), single = TENSOR(MOCO_F64, one, 1, c, side, side);
        all.shape[3]++;
        rig_expect(moco_encoder_embed(encoder, &in, what, &all), MOCO_ESHAPE);
        all.shape[3]--;
        rig_ok(moco_encoder_embed(encoder, &in, what, &all));
        for (int i = 0; i < N; i++) {
            moco_tensor picture = pictures(i, 1, SIDE);
            rig_ok(moco_model_embed(rig.model, &picture, what, &single));
            assert_memory_equal(one, &many[0][0] + (size_t)i * count, count * sizeof *one);
            for (int j = 0; layer == 3 && j < c; j++) {
                double sum = 0;
                for (int k = 0; k < side * side; k++)
                    sum += one[j * side * side + k];
                assert_true(fabs(sum / (side * side) - features[i][j]) <= 1e-5 * (1 + fabs(features[i][j])));
            }
        }
    }
    moco_encoder_free(encoder);
}

/* The encoder keeps what the model was, and its file gives the same. */
static void a_copy_that_stays(void **state)
{
    (void)state;
    double rows[N][DIM], before[N][DIM];
    const char *path = scratch_path(&folder, "encoder.safetensors");
    moco_encoder_options options;
    moco_encoder *encoder = encoder_of(2, 0), *opened;
    moco_augment_options recipe, of_encoder;
    rig_ok(moco_augment_options_preset(&recipe, "eval", SIDE));
    rig_ok(moco_model_set_recipe(rig.model, &recipe));
    rig_ok(moco_model_save(rig.model, path));
    moco_encoder_options_init(&options);
    options.precision = info_of(encoder).precision;
    rig_ok(moco_encoder_open(&opened, rig.device, path, &options));
    rig_ok(moco_encoder_recipe(opened, &of_encoder));
    assert_memory_equal(&recipe, &of_encoder, sizeof recipe);
    rig_ok(embed(opened, 0, N, SIDE, rows[0]));
    rig_ok(embed(encoder, 0, N, SIDE, before[0]));
    assert_memory_equal(rows, before, sizeof rows);
    rig_run(&rig, 2, 3);
    rig_ok(embed(encoder, 0, N, SIDE, rows[0]));
    assert_memory_equal(rows, before, sizeof rows);
    moco_tensor in = pictures(0, N, SIDE), out = TENSOR(MOCO_F64, rows, N, DIM);
    rig_ok(moco_model_embed(rig.model, &in, MOCO_PROJECTION, &out));
    assert_memory_not_equal(rows, before, sizeof rows); /* the model has moved */
    rig_ok(moco_model_load(rig.model, path) == MOCO_ESTATE ? MOCO_OK : MOCO_EINVAL);
    moco_encoder_free(opened);
    moco_encoder_free(encoder);
}

/* ---- plans and workspaces ---- */

static void compiled_once(void **state)
{
    (void)state;
    double rows[N][DIM];
    moco_encoder *encoder = encoder_of(1, 0), *narrow = encoder_of(1, 1);
    for (int round = 0; round < 3; round++)
        for (int small = 0; small < 2; small++) {
            rig_ok(embed(encoder, 0, N, small ? SMALL : SIDE, rows[0]));
            assert_int_equal(info_of(encoder).plans, small || round > 0 ? 6 : 3); /* 13 are 8, 4 and 1, of two sizes */
        }
    for (int round = 0; round < 3; round++)
        rig_ok(embed(narrow, 0, 3, SIDE, rows[0])); /* 2 and 1 drive each other out */
    assert_int_equal(info_of(narrow).plans, 6);
    moco_encoder_info info = info_of(encoder);
    assert_int_equal(info.workspaces, 1);
    assert_true(info.weight_bytes > 0 && info.workspace_bytes > 0);
    assert_int_equal(info.workspace_bytes, info.largest_workspace);
    moco_encoder_free(narrow);
    moco_encoder_free(encoder);
}

static void reserved(void **state)
{
    (void)state;
    double rows[N][DIM];
    moco_encoder *encoder = encoder_of(3, 0);
    moco_tensor like = TENSOR(MOCO_U8, NULL, N, SIDE, SIDE, 3);
    rig_ok(moco_encoder_reserve(encoder, 3, &like, MOCO_PROJECTION));
    moco_encoder_info before = info_of(encoder);
    assert_int_equal(before.workspaces, 3);
    assert_int_equal(before.plans, 3 * 4);
    long long calls = atomic_load(&memory.calls);
    for (int n = 1; n <= N; n++) {
        rig_ok(embed(encoder, 0, n, SIDE, rows[0]));
        expect_rows(0, n, SIDE, rows);
    }
    assert_int_equal(atomic_load(&memory.calls), calls); /* no memory was asked for */
    assert_int_equal(info_of(encoder).plans, before.plans);
    moco_encoder_free(encoder);
}

/* ---- threads ---- */

struct worker {
    pthread_t thread;
    moco_encoder *encoder;
    int number, may_be_cancelled, wrong;
    moco_status status;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    double rows[N][DIM];
    for (int i = 0; i < ROUNDS && w->status == MOCO_OK; i++) {
        int n = 1 + (i * 5 + w->number) % 6, first = (i * 3 + w->number * 7) % (N - n), small = (i + w->number) % 2;
        w->status = embed(w->encoder, first, n, small ? SMALL : SIDE, rows[0]);
        if (w->status == MOCO_ECANCELED && w->may_be_cancelled)
            w->status = MOCO_OK;
        else if (w->status == MOCO_OK)
            w->wrong += memcmp(rows, expected[small][first], (size_t)n * sizeof *rows) != 0;
    }
    return NULL;
}

static void start(struct worker *workers, moco_encoder *encoder, int may_be_cancelled)
{
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.encoder = encoder, .number = i, .may_be_cancelled = may_be_cancelled};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
}

static void end(struct worker *workers)
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].status, MOCO_OK);
        assert_int_equal(workers[i].wrong, 0);
    }
}

static void many_threads(void **state)
{
    (void)state;
    struct worker workers[THREADS];
    const int bounds[] = {THREADS, 3, 1};
    for (int i = 0; i < 3; i++) {
        moco_encoder *encoder = encoder_of(bounds[i], 0);
        start(workers, encoder, 0);
        end(workers);
        assert_in_range(info_of(encoder).workspaces, 1, bounds[i]);
        moco_encoder_free(encoder);
    }
}

/* While eight threads are in one encoder, others are made, opened, described and freed; calls are cancelled, and then
 * the encoder is as it was. */
static void opened_closed_and_cancelled(void **state)
{
    (void)state;
    struct worker workers[THREADS];
    double rows[N][DIM];
    const char *path = scratch_path(&folder, "again.safetensors");
    moco_tensor like = TENSOR(MOCO_U8, NULL, 2, SIDE, SIDE, 3);
    moco_encoder *encoder = encoder_of(3, 2), *other;
    moco_encoder_options options;
    moco_encoder_options_init(&options);
    rig_ok(moco_model_save(rig.model, path));
    start(workers, encoder, 1);
    for (int i = 0; i < 6; i++) {
        rig_ok(moco_encoder_open(&other, rig.device, path, NULL));
        rig_ok(embed(other, 0, 2, SIDE, rows[0]));
        moco_encoder_cancel(encoder);
        info_of(encoder);
        moco_status status = moco_encoder_reserve(encoder, 2, &like, MOCO_PROJECTION);
        assert_true(status == MOCO_OK || status == MOCO_ECANCELED);
        moco_encoder_free(other);
    }
    end(workers);
    rig_ok(embed(encoder, 0, N, SIDE, rows[0])); /* nothing is left of it */
    expect_rows(0, N, SIDE, rows);
    moco_encoder_free(encoder);
}

static void *embed_all(void *arg)
{
    struct worker *w = arg;
    static double rows[N][DIM];
    w->status = embed(w->encoder, 0, N, SIDE, rows[0]);
    w->wrong = w->status == MOCO_OK && memcmp(rows, expected[0][0], sizeof rows) != 0;
    return NULL;
}

/* The call goes on, and the last to leave releases the memory (close_rig counts it). */
static void freed_under_a_call(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct worker w = {.encoder = encoder_of(1, 0)};
        assert_int_equal(pthread_create(&w.thread, NULL, embed_all, &w), 0);
        while (info_of(w.encoder).workspaces == 0)
            sched_yield();
        moco_encoder_free(w.encoder);
        pthread_join(w.thread, NULL);
        assert_true(w.status == MOCO_OK && w.wrong == 0);
    }
}

/* ---- encoded pictures ---- */

enum { PICTURES = 11, LARGE = 40 };

struct told {
    int count;
    int64_t last;
};

static int tell(void *user, int64_t id, const char *path, const char *reason)
{
    struct told *told = user;
    assert_true(id > told->last && reason[0] != 0 && path != NULL);
    told->count++;
    told->last = id;
    return 0;
}

/* PNG files of LARGE pixels; number 3 is cut, number 6 is no picture, number 8 is not there. */
static void write_pictures(char paths[PICTURES][300])
{
    static uint8_t image[LARGE * LARGE * 3];
    for (int i = 0; i < PICTURES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.png", i);
        snprintf(paths[i], sizeof paths[i], "%s", scratch_path(&folder, name));
        for (int j = 0; j < (int)sizeof image; j++)
            image[j] = (uint8_t)(((unsigned)(i * 104729 + j / 5) * 2654435761u) >> 24);
        struct bytes png = draw_png(image, (size_t)LARGE * 3, LARGE, LARGE, (struct png_kind){2, 8, 0, 0, 0});
        if (i != 8)
            scratch_write(&folder, name, i == 6 ? "no picture" : (const char *)png.at,
                          i == 6   ? 10
                          : i == 3 ? png.size / 2
                                   : png.size);
        free(png.at);
    }
}

/* What the same calls one by one give: moco_image_read, the recipe, moco_encoder_embed. */
static void by_hand(moco_encoder *encoder, const moco_augment_options *recipe, const char *path, double row[DIM])
{
    static uint8_t view[SIDE * SIDE * 3];
    moco_image *image;
    moco_augment *augment;
    moco_view_params params;
    moco_tensor whole, to = TENSOR(MOCO_U8, view, SIDE, SIDE, 3), in = TENSOR(MOCO_U8, view, 1, SIDE, SIDE, 3),
                       out = TENSOR(MOCO_F64, row, 1, DIM);
    moco_tensor_init(&whole);
    moco_view_params_init(&params);
    rig_ok(moco_image_read(&image, rig.context, path, 0));
    rig_ok(moco_image_pixels(image, &whole));
    rig_ok(moco_augment_create(&augment, rig.context, recipe));
    rig_ok(moco_augment_draw(augment, LARGE, LARGE, 0, 0, 0, 0, &params));
    rig_ok(moco_augment_apply(augment, &whole, &params, &to));
    rig_ok(moco_encoder_embed(encoder, &in, MOCO_PROJECTION, &out));
    moco_augment_free(augment);
    moco_image_free(image);
}

static void expect_pictures(const moco_status *statuses, double (*rows)[DIM], double (*wanted)[DIM])
{
    for (int i = 0; i < PICTURES; i++) {
        moco_status status = i == 3 || i == 6 ? MOCO_EFORMAT : i == 8 ? MOCO_EIO : MOCO_OK;
        assert_int_equal(statuses[i], status);
        if (status == MOCO_OK)
            assert_memory_equal(rows[i], wanted[i], sizeof rows[i]);
        for (int j = 0; j < DIM && status != MOCO_OK; j++)
            assert_true(isnan(rows[i][j]));
    }
}

static void from_files_and_bytes(void **state)
{
    (void)state;
    static char names[PICTURES][300];
    const char *paths[PICTURES];
    const void *bytes[PICTURES];
    size_t sizes[PICTURES];
    double rows[PICTURES][DIM], wanted[PICTURES][DIM] = {{0}};
    moco_status statuses[PICTURES];
    moco_encoder *encoder = encoder_of(2, 0);
    moco_augment_options recipe;
    moco_encode_options options;
    moco_tensor out = TENSOR(MOCO_F64, rows, PICTURES, DIM);
    write_pictures(names);
    rig_ok(moco_augment_options_preset(&recipe, "eval", SIDE));
    moco_encode_options_init(&options);
    options.recipe = &recipe;
    options.bad = tell;
    for (int i = 0; i < PICTURES; i++) {
        paths[i] = names[i];
        if (i != 3 && i != 6 && i != 8)
            by_hand(encoder, &recipe, names[i], wanted[i]);
        bytes[i] = i == 8 ? NULL : rig_read_file(names[i], &sizes[i]);
    }
    for (options.workers = 0; options.workers < 4; options.workers++) {
        struct told told = {.last = -1};
        options.user = &told;
        rig_ok(moco_encoder_embed_files(encoder, paths, PICTURES, &options, MOCO_PROJECTION, &out, statuses));
        assert_int_equal(told.count, 3);
        expect_pictures(statuses, rows, wanted);
    }
    options.workers = 1;
    sizes[8] = 0; /* nothing is no picture */
    struct told told = {.last = -1};
    options.user = &told;
    rig_ok(moco_encoder_embed_bytes(encoder, bytes, sizes, PICTURES, &options, MOCO_PROJECTION, &out, statuses));
    assert_int_equal(statuses[8], MOCO_EFORMAT);
    statuses[8] = MOCO_EIO;
    expect_pictures(statuses, rows, wanted);
    rig_expect(moco_encoder_embed_files(encoder, paths, PICTURES, &options, MOCO_PROJECTION, &out, NULL), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "3.png"));
    rig_ok(moco_augment_options_preset(&recipe, "none", SIDE)); /* of another size than the pictures have */
    out.shape[0] = 2;
    options.bad = NULL;
    rig_ok(moco_encoder_embed_files(encoder, paths, 2, &options, MOCO_PROJECTION, &out, statuses));
    assert_true(statuses[0] == MOCO_ESHAPE && statuses[1] == MOCO_ESHAPE);
    for (int i = 0; i < PICTURES; i++)
        free((void *)(uintptr_t)bytes[i]);
    moco_encoder_free(encoder);
}

/* ---- no memory ---- */

static moco_status open_and_embed(const char *path)
{
    double rows[N][DIM];
    moco_encoder *encoder = NULL;
    moco_tensor like = TENSOR(MOCO_U8, NULL, 4, SMALL, SMALL, 3);
    moco_status status = moco_encoder_open(&encoder, rig.device, path, NULL);
    if (status != MOCO_OK)
        assert_null(encoder);
    if (status == MOCO_OK)
        status = embed(encoder, 0, 3, SIDE, rows[0]);
    if (status == MOCO_OK)
        status = moco_encoder_reserve(encoder, 2, &like, MOCO_PROJECTION);
    if (status == MOCO_OK)
        status = embed(encoder, 0, N, SIDE, rows[0]);
    moco_encoder_free(encoder);
    return status;
}

/* From a model, with its recipe, to maps and to the vectors of files and bytes, a damaged one among them. */
static moco_status create_and_encode(const char *path)
{
    double rows[3][DIM], map[FEATURES];
    const char *paths[3] = {scratch_path(&folder, "0.png"), scratch_path(&folder, "3.png"),
                            scratch_path(&folder, "1.png")};
    size_t size;
    char *file = rig_read_file(paths[0], &size);
    const void *bytes[1] = {file};
    moco_status statuses[3] = {MOCO_OK, MOCO_OK, MOCO_OK};
    moco_tensor in = pictures(0, 1, SIDE), layer = TENSOR(MOCO_F64, map, 1, FEATURES, 1, 1);
    moco_tensor out = TENSOR(MOCO_F64, rows, 3, DIM), one = TENSOR(MOCO_F64, rows, 1, DIM);
    moco_encoder *encoder = NULL;
    moco_augment_options recipe;
    (void)path;
    moco_status status = moco_encoder_create(&encoder, rig.model, NULL);
    if (status == MOCO_OK)
        status = moco_encoder_recipe(encoder, &recipe);
    if (status == MOCO_OK)
        status = moco_encoder_embed(encoder, &in, MOCO_LAYER4, &layer);
    if (status == MOCO_OK)
        status = moco_encoder_embed_files(encoder, paths, 3, NULL, MOCO_PROJECTION, &out, statuses);
    if (status == MOCO_OK) /* no memory is never a damaged picture */
        assert_true(statuses[0] == MOCO_OK && statuses[1] == MOCO_EFORMAT && statuses[2] == MOCO_OK);
    if (status == MOCO_OK)
        status = moco_encoder_embed_bytes(encoder, bytes, &size, 1, NULL, MOCO_PROJECTION, &one, statuses);
    assert_true(status != MOCO_OK || statuses[0] == MOCO_OK);
    moco_encoder_free(encoder);
    free(file);
    return status;
}

static void fail_everywhere(moco_status (*call)(const char *path), const char *path, int least)
{
    int failures = 0;
    moco_status status = MOCO_ENOMEM;
    for (long long n = 0; status != MOCO_OK; n += n < 64 ? 1 : 7) {
        long long live = memory.live;
        atomic_store(&memory.calls, 0);
        memory.forever = (int)(n % 2);
        memory.fail_at = n;
        status = call(path);
        memory.fail_at = -1;
        failures += status != MOCO_OK;
        assert_true(status == MOCO_OK || status == MOCO_ENOMEM);
        assert_int_equal(memory.live, live);
    }
    memory.forever = 0;
    assert_true(failures > least);
}

static void failing_memory(void **state)
{
    (void)state;
    static char names[PICTURES][300];
    moco_augment_options recipe;
    char path[300];
    snprintf(path, sizeof path, "%s", scratch_path(&folder, "oom.safetensors"));
    rig_ok(moco_augment_options_preset(&recipe, "eval", SIDE));
    rig_ok(moco_model_set_recipe(rig.model, &recipe));
    rig_ok(moco_model_save(rig.model, path));
    write_pictures(names);
    fail_everywhere(open_and_embed, path, 50);
    fail_everywhere(create_and_encode, path, 50);
}

/* An encoder that could not take memory once works later. */
static void memory_that_comes_back(void **state)
{
    (void)state;
    double rows[N][DIM];
    moco_encoder *encoder = encoder_of(1, 0);
    moco_status status = MOCO_ENOMEM;
    for (long long n = 0; status != MOCO_OK; n++) {
        atomic_store(&memory.calls, 0);
        memory.fail_at = n;
        status = embed(encoder, 0, 4, SIDE, rows[0]);
        memory.fail_at = -1;
        assert_true(status == MOCO_OK || status == MOCO_ENOMEM);
        assert_in_range(info_of(encoder).workspaces, 0, 1);
    }
    expect_rows(0, 4, SIDE, rows);
    moco_encoder_free(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_company),
        cmocka_unit_test(other_inputs_and_outputs),
        cmocka_unit_test(feature_maps),
        cmocka_unit_test(compiled_once),
        cmocka_unit_test(reserved),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(opened_closed_and_cancelled),
        cmocka_unit_test(freed_under_a_call),
        cmocka_unit_test(failing_memory),
        cmocka_unit_test(memory_that_comes_back),
        cmocka_unit_test(from_files_and_bytes),
        cmocka_unit_test(a_copy_that_stays),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
