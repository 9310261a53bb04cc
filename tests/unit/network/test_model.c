/* SPDX-License-Identifier: MIT
 *
 * test_model: an encoder through the public calls: options, names, numbers in and out, embedding that does not depend
 * on the company an image is in, and handles freed in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "philox.h"
#include "support/failing_alloc.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/test_device.h"

#define IMAGES 70 /* of 16 x 16: one full launch of 64 and a part */
#define SIDE 16
#define DIM 16

static moco_context *context;
static moco_device *device;
static int warnings;
static uint8_t images[IMAGES][SIDE][SIDE][3];

static void log_line(void *user, int level, const char *line)
{
    (void)user;
    warnings += level == MOCO_LOG_WARN && strstr(line, "BN has seen no batch") != NULL;
}

static int open_device(void **state)
{
    (void)state;
    moco_context_options options;
    moco_context_options_init(&options);
    options.log = log_line;
    rig_ok(moco_context_create(&context, &options));
    rig_ok(moco_device_open(&device, context, test_device()));
    struct rng rng;
    rng_init(&rng, 1, 0, 0, 0, RNG_TEST);
    for (size_t i = 0; i < sizeof images; i++)
        ((uint8_t *)images)[i] = (uint8_t)(rng_u32(&rng) >> 24);
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

static moco_model *make_model(void)
{
    moco_model *model;
    const struct rig_spec spec = rig_spec();
    rig_ok(moco_model_create(&model, device, &spec.model));
    return model;
}

static moco_tensor shaped(void *data, int dtype, int ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = dtype;
    tensor.ndim = ndim;
    tensor.shape[0] = a;
    tensor.shape[1] = b;
    tensor.shape[2] = c;
    tensor.shape[3] = d;
    tensor.data = data;
    return tensor;
}

static void embed(moco_model *model, const void *pictures, int n, moco_embedding what, float *out)
{
    moco_tensor in = shaped((void *)(uintptr_t)pictures, MOCO_U8, 4, n, SIDE, SIDE, 3);
    moco_tensor rows = shaped(out, MOCO_F32, 2, n, what == MOCO_FEATURES ? 64 : DIM, 0, 0);
    rig_ok(moco_model_embed(model, &in, what, &rows));
}

static void a_model_tells_what_it_is(void **state)
{
    (void)state;
    moco_model *model = make_model();
    moco_model_info info;
    moco_model_info_init(&info);
    rig_ok(moco_model_describe(model, &info));
    assert_int_equal(info.dim, DIM);
    assert_int_equal(info.feature_dim, 64);
    assert_string_equal(info.arch, "resnet18");
    assert_string_equal(info.stem, "small");
    assert_string_equal(info.head, "mlp");
    assert_true(info.width == 0.125);
    int64_t parameters = 0;
    for (int i = 0; i < info.tensor_count; i++) {
        const char *name = moco_model_tensor_name(model, i);
        assert_non_null(name);
        moco_tensor probe;
        moco_tensor_init(&probe);
        rig_ok(moco_model_get(model, name, &probe));
        int64_t count = 1;
        for (int d = 0; d < probe.ndim; d++)
            count *= probe.shape[d];
        int buffer = strstr(name, "running_") != NULL || strstr(name, "num_batches_tracked") != NULL;
        parameters += buffer ? 0 : count;
        assert_int_equal(probe.dtype == MOCO_I64, strstr(name, "num_batches_tracked") != NULL);
    }
    assert_int_equal(parameters, info.parameters);
    assert_string_equal(moco_model_tensor_name(model, 0), "conv1.weight");
    assert_string_equal(moco_model_tensor_name(model, info.tensor_count - 1), "fc.2.bias");
    assert_null(moco_model_tensor_name(model, info.tensor_count));
    assert_null(moco_model_tensor_name(model, -1));
    moco_model_free(model);
}

static void numbers_go_in_and_out(void **state)
{
    (void)state;
    moco_model *model = make_model();
    float f32[8], back[8];
    double f64[8];
    int64_t tracked = -1;
    moco_tensor a = shaped(f32, MOCO_F32, 1, 8, 0, 0, 0), b = shaped(f64, MOCO_F64, 1, 8, 0, 0, 0);
    rig_ok(moco_model_get(model, "bn1.running_var", &a));
    rig_ok(moco_model_get(model, "bn1.running_mean", &b));
    for (int i = 0; i < 8; i++) {
        assert_true(f32[i] == 1);
        assert_true(f64[i] == 0);
        f32[i] = (float)i / 4 + 0.1F;
    }
    rig_ok(moco_model_set(model, "bn1.running_var", &a));
    rig_ok(moco_model_set(model, "layer1.0.bn1.bias", &a));
    a.data = back;
    rig_ok(moco_model_get(model, "bn1.running_var", &a));
    assert_memory_equal(f32, back, sizeof f32);
    rig_ok(moco_model_get(model, "layer1.0.bn1.bias", &a));
    assert_memory_equal(f32, back, sizeof f32);
    moco_tensor scalar = shaped(&tracked, MOCO_I64, 0, 0, 0, 0, 0);
    rig_ok(moco_model_get(model, "bn1.num_batches_tracked", &scalar));
    assert_int_equal(tracked, 0);
    tracked = INT64_C(1) << 40;
    rig_ok(moco_model_set(model, "bn1.num_batches_tracked", &scalar));
    tracked = 0;
    rig_ok(moco_model_get(model, "bn1.num_batches_tracked", &scalar));
    assert_int_equal(tracked, INT64_C(1) << 40);
    tracked = -1;
    rig_expect(moco_model_set(model, "bn1.num_batches_tracked", &scalar), MOCO_EINVAL);
    rig_expect(moco_model_get(model, "bn7.weight", &a), MOCO_ENOTFOUND);
    a.dtype = MOCO_I64;
    rig_expect(moco_model_get(model, "bn1.weight", &a), MOCO_ESHAPE);
    a.dtype = MOCO_F32;
    a.shape[0] = 7;
    rig_expect(moco_model_set(model, "bn1.weight", &a), MOCO_ESHAPE);
    assert_non_null(strstr(moco_error(), "[7]"));
    assert_non_null(strstr(moco_error(), "[8]"));
    moco_model_free(model);
}

static void weights_are_a_function_of_the_seed(void **state)
{
    (void)state;
    moco_model *a = make_model(), *b = make_model();
    float x[8 * 3 * 9], y[8 * 3 * 9];
    moco_tensor tx = shaped(x, MOCO_F32, 4, 8, 3, 3, 3), ty = shaped(y, MOCO_F32, 4, 8, 3, 3, 3);
    rig_ok(moco_model_get(a, "conv1.weight", &tx));
    rig_ok(moco_model_get(b, "conv1.weight", &ty));
    assert_memory_equal(x, y, sizeof x);
    double squares = 0;
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        squares += (double)x[i] * x[i] / (double)(sizeof x / sizeof x[0]);
    assert_true(fabs(squares / (2.0 / (8 * 9)) - 1) < 0.4); /* kaiming, fan out; sd of the estimate: 0.1 */
    moco_model_free(a);
    moco_model_free(b);
}

static void an_embedding_does_not_depend_on_its_company(void **state)
{
    (void)state;
    moco_model *model = make_model();
    static float all[IMAGES][64], one[64], part[IMAGES][64];
    embed(model, images, IMAGES, MOCO_FEATURES, all[0]);
    for (int i = 0; i < IMAGES; i += 23) {
        embed(model, images[i], 1, MOCO_FEATURES, one);
        assert_memory_equal(one, all[i], sizeof one);
    }
    embed(model, images[3], 65, MOCO_FEATURES, part[0]);
    assert_memory_equal(part, all[3], 65 * sizeof all[0]);
    assert_memory_not_equal(all[0], all[1], sizeof all[0]);
    static float projection[IMAGES][DIM];
    embed(model, images, IMAGES, MOCO_PROJECTION, projection[0]);
    embed(model, images, IMAGES, MOCO_FEATURES, part[0]); /* and back: another plan, the same bits */
    assert_memory_equal(part, all, sizeof all);
    static double wide[IMAGES][DIM];
    moco_tensor in = shaped(images, MOCO_U8, 4, IMAGES, SIDE, SIDE, 3),
                out = shaped(wide, MOCO_F64, 2, IMAGES, DIM, 0, 0);
    rig_ok(moco_model_embed(model, &in, MOCO_PROJECTION, &out));
    for (int c = 0; c < DIM; c++)
        assert_true((float)wide[5][c] == projection[5][c]);
    moco_model_free(model);
}

static void both_kinds_of_input_agree(void **state)
{
    (void)state;
    const struct rig_spec spec = rig_spec();
    moco_model *model = make_model();
    static float normalised[IMAGES][3][SIDE][SIDE], a[IMAGES][DIM], b[IMAGES][DIM];
    for (int n = 0; n < IMAGES; n++)
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++)
                    normalised[n][c][y][x] =
                        (float)((images[n][y][x][c] / 255.0 - spec.model.mean[c]) / spec.model.std[c]);
    embed(model, images, IMAGES, MOCO_PROJECTION, a[0]);
    moco_tensor in = shaped(normalised, MOCO_F32, 4, IMAGES, 3, SIDE, SIDE),
                out = shaped(b, MOCO_F32, 2, IMAGES, DIM, 0, 0);
    rig_ok(moco_model_embed(model, &in, MOCO_PROJECTION, &out));
    double off = 0, size = 0;
    for (int n = 0; n < IMAGES; n++)
        for (int c = 0; c < DIM; c++) {
            off += ((double)a[n][c] - b[n][c]) * ((double)a[n][c] - b[n][c]);
            size += (double)a[n][c] * a[n][c];
        }
    assert_true(sqrt(off / size) < 1e-5); /* the input was rounded to f32 */
    moco_model_free(model);
}

static void new_numbers_show_at_once(void **state)
{
    (void)state;
    moco_model *model = make_model();
    float before[DIM], after[DIM], bias[DIM];
    warnings = 0;
    embed(model, images, 1, MOCO_PROJECTION, before);
    assert_int_equal(warnings, 1);
    embed(model, images, 1, MOCO_PROJECTION, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(warnings, 1); /* once per set of numbers, not per call */
    moco_tensor tensor = shaped(bias, MOCO_F32, 1, DIM, 0, 0, 0);
    rig_ok(moco_model_get(model, "fc.2.bias", &tensor));
    for (int c = 0; c < DIM; c++)
        bias[c] += 8;
    rig_ok(moco_model_set(model, "fc.2.bias", &tensor));
    embed(model, images, 1, MOCO_PROJECTION, after);
    for (int c = 0; c < DIM; c++)
        assert_true(fabs((double)after[c] - before[c] - 8) < 1e-4);
    int64_t tracked = 3;
    moco_tensor scalar = shaped(&tracked, MOCO_I64, 0, 0, 0, 0, 0);
    warnings = 0;
    rig_ok(moco_model_set(model, "bn1.num_batches_tracked", &scalar));
    embed(model, images, 1, MOCO_PROJECTION, after);
    assert_int_equal(warnings, 0);
    moco_model_free(model);
}

static void arguments_are_checked(void **state)
{
    (void)state;
    const struct rig_spec spec = rig_spec();
    moco_model *model = NULL;
#define REFUSED(field, value, word)                                                                                    \
    do {                                                                                                               \
        moco_model_options o = spec.model;                                                                             \
        o.field = value;                                                                                               \
        rig_expect(moco_model_create(&model, device, &o), MOCO_EINVAL);                                                \
        assert_null(model);                                                                                            \
        if (strstr(moco_error(), word) == NULL)                                                                        \
            fail_msg("the sentence does not say %s: %s", word, moco_error());                                          \
    } while (0)
    REFUSED(arch, "resnet19", "resnet19");
    REFUSED(arch, NULL, "arch");
    REFUSED(stem, "big", "big");
    REFUSED(head, "tail", "tail");
    REFUSED(dim, 0, "dim");
    REFUSED(width, 0, "width");
    REFUSED(width, NAN, "width");
    REFUSED(std[1], 0, "std");
    REFUSED(mean[2], INFINITY, "mean");
    REFUSED(image_size, 0, "image_size");
    REFUSED(zero_init, 2, "zero_init");
#undef REFUSED
    model = make_model();
    float out[DIM];
    moco_tensor in = shaped(images, MOCO_U8, 4, 1, SIDE, SIDE, 4), rows = shaped(out, MOCO_F32, 2, 1, DIM, 0, 0);
    rig_expect(moco_model_embed(model, &in, MOCO_PROJECTION, &rows), MOCO_ESHAPE);
    in.shape[3] = 3;
    rig_expect(moco_model_embed(model, &in, MOCO_FEATURES, &rows), MOCO_ESHAPE);
    rig_expect(moco_model_embed(model, &in, (moco_embedding)7, &rows), MOCO_EINVAL);
    rig_expect(moco_model_embed(NULL, &in, MOCO_PROJECTION, &rows), MOCO_EINVAL);
    rig_expect(moco_model_embed((moco_model *)context, &in, MOCO_PROJECTION, &rows), MOCO_EINVAL);
    rig_ok(moco_model_embed(model, &in, MOCO_PROJECTION, &rows));
    moco_device_info info;
    moco_device_info_init(&info);
    rig_ok(moco_device_describe(device, &info));
    assert_string_equal(info.name, test_device());
    assert_true(info.threads >= 1);
    int64_t held = 0, left = 0, after = 0;
    rig_ok(moco_device_memory(device, &held, &left));
    assert_true(held >= 4 * 1000 && left >= -1); /* the model's weights, if nothing else */
    rig_ok(moco_device_memory(device, NULL, NULL));
    rig_expect(moco_device_memory((moco_device *)context, &held, &left), MOCO_EINVAL);
    moco_device *none = NULL;
    rig_expect(moco_device_open(&none, context, "abacus"), MOCO_ENODEV);
    assert_non_null(strstr(moco_error(), "ref")); /* it lists what there is */
    rig_expect(moco_device_open(&none, context, "a name that is far longer than any device's could be"), MOCO_ENODEV);
    moco_model_free(model);
    moco_model_free(NULL);
    rig_ok(moco_device_memory(device, &after, NULL));
    assert_true(after < held);
}

/* Every allocation of a whole small life fails once. */
static moco_status life(struct failing_alloc *alloc)
{
    const struct rig_spec spec = rig_spec();
    moco_context_options options;
    moco_context *c = NULL;
    moco_device *d = NULL;
    moco_model *m = NULL;
    moco_queue *q = NULL;
    moco_trainer *t = NULL;
    static uint8_t views[2][16][SIDE][SIDE][3];
    moco_batch batch;
    float out[DIM];
    moco_tensor in = shaped(images, MOCO_U8, 4, 1, SIDE, SIDE, 3), rows = shaped(out, MOCO_F32, 2, 1, DIM, 0, 0);
    moco_context_options_init(&options);
    options.threads = 1;
    options.alloc = failing_alloc;
    options.release = failing_release;
    options.user = alloc;
    moco_trainer_options o = spec.trainer;
    o.precision = test_device_is_exact(test_device()) ? MOCO_PRECISION_F64 : MOCO_PRECISION_F32;
    moco_batch_init(&batch);
    batch.n = 16;
    batch.h = batch.w = SIDE;
    batch.views = 2;
    for (int v = 0; v < 2; v++) {
        memcpy(views[v], images[v * 20], sizeof views[v]);
        batch.view[v] = views[v][0][0][0];
    }
    moco_status status = moco_context_create(&c, &options);
    if (status == MOCO_OK)
        status = moco_device_open(&d, c, test_device());
    if (status == MOCO_OK)
        status = moco_model_create(&m, d, &spec.model);
    if (status == MOCO_OK)
        status = moco_queue_create(&q, d, DIM, 20, 1);
    if (status == MOCO_OK)
        status = moco_trainer_create(&t, m, q, &o);
    if (status == MOCO_OK)
        status = moco_trainer_step(t, &batch, 0.1);
    if (status == MOCO_OK)
        status = moco_model_embed(m, &in, MOCO_PROJECTION, &rows);
    moco_context_free(c);
    moco_device_free(d);
    moco_trainer_free(t);
    moco_model_free(m);
    moco_queue_free(q);
    return status;
}

/* Copies an encoder's file without its last tensor, or with one more; sound in itself. */
static void copy_file(const char *from, const char *to, int more)
{
    static const char *const keys[] = {"format",       "moco.format",  "kind",         "model.arch",
                                       "model.stem",   "model.head",   "model.width",  "model.dim",
                                       "model.mean.0", "model.mean.1", "model.mean.2", "model.std.0",
                                       "model.std.1",  "model.std.2",  "model.seed",   "model.image_size"};
    struct ctx *ctx = NULL;
    struct safetensors *f = NULL;
    struct safetensors_writer *w = NULL;
    struct safetensors_text texts[sizeof keys / sizeof *keys];
    struct safetensors_tensor list[512];
    char bytes[1 << 16] = {0};
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL), MOCO_OK);
    assert_int_equal(safetensors_open(&f, ctx, from, 0, NULL), MOCO_OK);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        texts[i] = (struct safetensors_text){keys[i], safetensors_find_text(f, keys[i])};
    int64_t count = safetensors_count(f) + more;
    assert_in_range(count, 2, 512);
    for (int64_t i = 0; i < count && i < safetensors_count(f); i++)
        list[i] = *safetensors_at(f, i);
    if (more > 0) {
        list[count - 1] = list[0];
        list[count - 1].name = "module.of.another.network";
    }
    assert_int_equal(
        safetensors_create(&w, ctx, to, list, count, texts, sizeof keys / sizeof *keys, SAFETENSORS_HASHES, NULL),
        MOCO_OK);
    for (int64_t i = 0; i < count; i++) {
        assert_in_range(list[i].bytes, 1, sizeof bytes);
        assert_int_equal(
            safetensors_read(f, &list[i < safetensors_count(f) ? i : 0], 0, bytes, (size_t)list[i].bytes, NULL),
            MOCO_OK);
        assert_int_equal(safetensors_write(w, i, bytes, (size_t)list[i].bytes, NULL), MOCO_OK);
    }
    assert_int_equal(safetensors_commit(w, NULL), MOCO_OK);
    safetensors_close(f);
    ctx_unref(ctx);
}

/* main_lincls.py asserts which keys are missing and which are left over; here neither is possible. */
static void a_file_holds_the_network_and_nothing_else(void **state)
{
    (void)state;
    struct scratch_folder folder;
    char good[300], bad[300];
    moco_model *model, *read = NULL;
    moco_model_options small = rig_spec().model;
    small.width = 1.0 / 64;
    scratch_folder_make(&folder);
    strcpy(good, scratch_path(&folder, "good"));
    strcpy(bad, scratch_path(&folder, "bad"));
    rig_ok(moco_model_create(&model, device, &small));
    rig_ok(moco_model_save(model, good));
    copy_file(good, bad, 0);
    rig_ok(moco_model_load(model, bad));
    copy_file(good, bad, 1);
    rig_expect(moco_model_open(&read, device, bad), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "tensors, and the network that it describes has"));
    rig_expect(moco_model_load(model, bad), MOCO_EFORMAT);
    copy_file(good, bad, -1);
    rig_expect(moco_model_open(&read, device, bad), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "there is no tensor"));
    assert_null(read);
    moco_model_free(model);
    scratch_folder_remove(&folder);
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    struct failing_alloc alloc = {.fail_at = -1};
    rig_ok(life(&alloc));
    assert_int_equal(alloc.live, 0);
    long long calls = alloc.calls;
    assert_true(calls > 50);
    for (long long n = 0; n < calls; n++) {
        alloc = (struct failing_alloc){.fail_at = n, .forever = n % 2 == 1};
        rig_expect(life(&alloc), MOCO_ENOMEM);
        if (alloc.live != 0)
            fail_msg("with allocation %lld failing, %lld bytes or blocks leak", n, (long long)alloc.live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_tells_what_it_is),
        cmocka_unit_test(numbers_go_in_and_out),
        cmocka_unit_test(weights_are_a_function_of_the_seed),
        cmocka_unit_test(an_embedding_does_not_depend_on_its_company),
        cmocka_unit_test(both_kinds_of_input_agree),
        cmocka_unit_test(new_numbers_show_at_once),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(a_file_holds_the_network_and_nothing_else),
        cmocka_unit_test(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
