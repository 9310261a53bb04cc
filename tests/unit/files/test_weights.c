/* SPDX-License-Identifier: MIT
 *
 * test_weights: moco/weights.h where no PyTorch is needed: conversions of every dtype, safetensors of our own and of
 * others, checksums, large tensors in every order of elements, and the memory that it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "half.h"
#include "moco/moco.h"
#include "support/failing_alloc.h"
#include "support/files/hostile_weights.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static moco_context *context;
static moco_device *device;
static struct ctx *ctx; /* of the writer */

static int set_up(void **state)
{
    (void)state;
    scratch_folder_make(&folder);
    return ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL) != MOCO_OK ||
           moco_context_create(&context, NULL) != MOCO_OK || moco_device_open(&device, context, "ref") != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    moco_device_free(device);
    moco_context_free(context);
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return 0;
}

static void ok(moco_status status)
{
    if (status != MOCO_OK)
        fail_msg("%s: %s", moco_status_text(status), moco_error());
}

static moco_weights *open_file(const char *name)
{
    moco_weights *weights = NULL;
    ok(moco_weights_open(&weights, context, scratch_path(&folder, name)));
    return weights;
}

static moco_tensor tensor(moco_dtype dtype, void *data, int ndim, int64_t a, int64_t b)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = dtype;
    t.data = data;
    t.ndim = ndim;
    t.shape[0] = a;
    t.shape[1] = ndim > 1 ? b : 0;
    return t;
}

/* ---- numbers ---- */

/* All 65536 halves by their definition. */
static void halves(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float got = f16_to_float((uint16_t)h);
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double wanted = exponent == 31  ? (fraction ? NAN : INFINITY)
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, exponent - 25);
        if (h & 0x8000)
            wanted = -wanted;
        assert_true(isnan(wanted) ? isnan(got) : (double)got == wanted);
        assert_int_equal(!!signbit(got), h >> 15);
    }
}

static void write_file(const char *name, const struct safetensors_tensor *list, const void *const *bytes, int count,
                       const struct safetensors_text *texts, int text_count, unsigned flags)
{
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    assert_int_equal(
        safetensors_create(&w, ctx, scratch_path(&folder, name), list, count, texts, text_count, flags, &err), MOCO_OK);
    for (int i = 0; i < count; i++) {
        size_t size = safetensors_dtype_size(list[i].dtype);
        for (int d = 0; d < list[i].ndim; d++)
            size *= (size_t)list[i].shape[d];
        assert_int_equal(safetensors_write(w, i, bytes[i], size, &err), MOCO_OK);
    }
    assert_int_equal(safetensors_commit(w, &err), MOCO_OK);
}

static void conversions(void **state)
{
    (void)state;
    static const double f64[3] = {0.1, -1e300, 16777217};
    static const float f32[3] = {0.1f, -0.0f, 3e38f};
    static const uint16_t f16[3] = {0x3c00, 0xfbff, 1}, bf16[3] = {0x3f80, 0xc2f7, 1};
    static const int64_t i64[3] = {INT64_MAX, INT64_MIN, 9007199254740993};
    static const int32_t i32[3] = {INT32_MAX, INT32_MIN, 16777217};
    static const int16_t i16[3] = {32767, -32768, 5};
    static const int8_t i8[3] = {127, -128, 5};
    static const uint8_t u8[3] = {255, 0, 7}, flags[3] = {1, 0, 255};
    static const struct {
        const char *name;
        enum safetensors_dtype dtype;
        const void *bytes;
        moco_dtype narrowest;
        double real[3];
        int64_t integer[3];
    } rows[] = {
        {"F64", SAFETENSORS_F64, f64, MOCO_F64, {0.1, -1e300, 16777217}, {0}},
        {"F32", SAFETENSORS_F32, f32, MOCO_F32, {0.1f, -0.0f, 3e38f}, {0}},
        {"F16", SAFETENSORS_F16, f16, MOCO_F32, {1, -65504, 0x1p-24}, {0}},
        {"BF16", SAFETENSORS_BF16, bf16, MOCO_BF16, {1, -123.5, 0x1p-133}, {0}},
        {"I64",
         SAFETENSORS_I64,
         i64,
         MOCO_I64,
         {0x1p63, -0x1p63, 9007199254740992},
         {INT64_MAX, INT64_MIN, 9007199254740993}},
        {"I32", SAFETENSORS_I32, i32, MOCO_I64, {INT32_MAX, INT32_MIN, 16777217}, {INT32_MAX, INT32_MIN, 16777217}},
        {"I16", SAFETENSORS_I16, i16, MOCO_I64, {32767, -32768, 5}, {32767, -32768, 5}},
        {"I8", SAFETENSORS_I8, i8, MOCO_I64, {127, -128, 5}, {127, -128, 5}},
        {"U8", SAFETENSORS_U8, u8, MOCO_U8, {255, 0, 7}, {255, 0, 7}},
        {"BOOL", SAFETENSORS_BOOL, flags, MOCO_U8, {1, 0, 1}, {1, 0, 1}},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    struct safetensors_tensor list[ROWS];
    const void *bytes[ROWS];
    for (int i = 0; i < ROWS; i++) {
        list[i] = (struct safetensors_tensor){.name = rows[i].name, .dtype = rows[i].dtype, .ndim = 1, .shape = {3}};
        bytes[i] = rows[i].bytes;
    }
    write_file("all", list, bytes, ROWS, NULL, 0, 0);
    moco_weights *weights = open_file("all");
    assert_int_equal(moco_weights_count(weights), ROWS);
    for (int i = 0; i < ROWS; i++) {
        int64_t index, whole[3];
        double wide[3];
        float narrow[3];
        uint8_t small[3];
        uint16_t raw[3];
        ok(moco_weights_find(weights, rows[i].name, &index));
        moco_tensor as_f64 = tensor(MOCO_F64, wide, 1, 3, 0), as_f32 = tensor(MOCO_F32, narrow, 1, 3, 0);
        moco_tensor as_i64 = tensor(MOCO_I64, whole, 1, 3, 0), as_u8 = tensor(MOCO_U8, small, 1, 3, 0);
        moco_tensor as_bf16 = tensor(MOCO_BF16, raw, 1, 3, 0), probe = tensor(MOCO_F32, NULL, 0, 0, 0);
        ok(moco_weights_read(weights, index, &probe));
        assert_int_equal(probe.dtype, rows[i].narrowest);
        assert_int_equal(probe.shape[0], 3);
        ok(moco_weights_read(weights, index, &as_f64));
        ok(moco_weights_read(weights, index, &as_f32));
        for (int k = 0; k < 3; k++) {
            assert_true(wide[k] == rows[i].real[k]);
            assert_true(narrow[k] == (float)rows[i].real[k]);
        }
        int integer = i >= 4, byte = i >= 8;
        assert_int_equal(moco_weights_read(weights, index, &as_i64), integer ? MOCO_OK : MOCO_ESHAPE);
        assert_int_equal(moco_weights_read(weights, index, &as_u8), byte ? MOCO_OK : MOCO_ESHAPE);
        assert_int_equal(moco_weights_read(weights, index, &as_bf16), i == 3 ? MOCO_OK : MOCO_ESHAPE);
        for (int k = 0; k < 3 && integer; k++)
            assert_true(whole[k] == rows[i].integer[k] && (!byte || small[k] == rows[i].integer[k]));
        if (i == 3)
            assert_memory_equal(raw, bf16, sizeof raw);
    }
    moco_weights_free(weights);
}

/* ---- safetensors ---- */

static void of_others(void **state)
{
    (void)state;
    static const float numbers[4] = {1, 2, 3, 4};
    const struct safetensors_tensor list[] = {
        {.name = "b", .dtype = SAFETENSORS_F32, .ndim = 2, .shape = {2, 2}},
        {.name = "a", .dtype = SAFETENSORS_F32, .ndim = 0},
        {.name = "none", .dtype = SAFETENSORS_F32, .ndim = 3, .shape = {0, INT64_C(1) << 40, INT64_C(1) << 40}}};
    const void *const bytes[] = {numbers, numbers + 3, numbers};
    const struct safetensors_text texts[] = {{"format", "pt"}, {"author", "somebody"}};
    char text[32];
    moco_weights_info info;
    write_file("foreign", list, bytes, 3, texts, 2, 0);
    moco_weights *weights = open_file("foreign");
    assert_string_equal(moco_weights_format(weights), "safetensors");
    assert_string_equal(moco_weights_note(weights, 0), "it carries no hashes: nothing proves its numbers");
    assert_null(moco_weights_note(weights, 1));
    assert_string_equal(moco_weights_key(weights, 0), "author");
    assert_string_equal(moco_weights_key(weights, 1), "format");
    assert_null(moco_weights_key(weights, 2));
    ok(moco_weights_text(weights, "format", text, sizeof text));
    assert_string_equal(text, "pt");
    assert_int_equal(moco_weights_text(weights, "nothing", text, sizeof text), MOCO_ENOTFOUND);
    assert_int_equal(moco_weights_text(weights, "author", text, 8), MOCO_ESHAPE);
    int64_t index;
    ok(moco_weights_find(weights, "b", &index));
    moco_weights_info_init(&info);
    ok(moco_weights_at(weights, index, &info));
    assert_string_equal(info.dtype, "F32");
    assert_true(info.ndim == 2 && info.shape[1] == 2 && info.stride[0] == 2 && info.stride[1] == 1 && info.count == 4);
    assert_int_equal(info.verified, 0);
    assert_int_equal(moco_weights_find(weights, "c", &index), MOCO_ENOTFOUND);
    ok(moco_weights_find(weights, "none", &index));
    ok(moco_weights_at(weights, index, &info));
    assert_true(info.count == 0 && info.shape[2] == INT64_C(1) << 40 && info.stride[2] == 1);
    moco_weights_free(weights);
}

/* An encoder of ours: every tensor proved by its hash, and equal to what the model holds. */
static void of_ours(void **state)
{
    (void)state;
    moco_model *model;
    moco_model_options options;
    moco_model_options_init(&options);
    options.arch = "resnet18";
    options.stem = "cifar";
    options.width = 1.0 / 32;
    options.dim = 8;
    ok(moco_model_create(&model, device, &options));
    ok(moco_model_save(model, scratch_path(&folder, "ours")));
    moco_weights *weights = open_file("ours");
    moco_model_info about;
    moco_model_info_init(&about);
    ok(moco_model_describe(model, &about));
    assert_int_equal(moco_weights_count(weights), about.tensor_count);
    assert_null(moco_weights_note(weights, 0));
    int64_t last = 0;
    for (int i = 0; i < about.tensor_count; i++) {
        const char *name = moco_model_tensor_name(model, i);
        moco_weights_info info;
        moco_weights_info_init(&info);
        ok(moco_weights_find(weights, name, &last));
        ok(moco_weights_at(weights, last, &info));
        assert_int_equal(info.verified, 1);
        moco_tensor here = tensor(MOCO_F64, NULL, 0, 0, 0), there;
        ok(moco_model_get(model, name, &here));
        there = here;
        here.data = malloc((size_t)info.count * 8);
        there.data = malloc((size_t)info.count * 8);
        ok(moco_model_get(model, name, &here));
        ok(moco_weights_read(weights, last, &there));
        assert_memory_equal(here.data, there.data, (size_t)info.count * moco_dtype_size((moco_dtype)here.dtype));
        free(here.data);
        free(there.data);
    }
    moco_weights_free(weights);
    moco_model_free(model);
}

/* Copies the file "ours" to "changed" with one byte other than it was: at `at`, counted from the end if negative. */
static void change(long at)
{
    char bytes[1 << 16];
    FILE *in = fopen(scratch_path(&folder, "ours"), "rb");
    size_t size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    assert_true(size > 4096);
    bytes[at >= 0 ? (size_t)at : size - (size_t)-at] ^= 1;
    scratch_write(&folder, "changed", bytes, size);
}

static void damage(void **state)
{
    (void)state;
    static const float numbers[1024];
    const struct safetensors_tensor list[] = {{.name = "w", .dtype = SAFETENSORS_F32, .ndim = 1, .shape = {1024}}};
    const void *const bytes[] = {numbers};
    const struct safetensors_text texts[] = {{"note", "zzzz"}};
    float got[1024];
    moco_tensor t = tensor(MOCO_F32, got, 1, 1024, 0);
    write_file("ours", list, bytes, 1, texts, 1, SAFETENSORS_HASHES);
    change(-1);
    moco_weights *weights = open_file("changed");
    assert_int_equal(moco_weights_read(weights, 0, &t), MOCO_EFORMAT);
    assert_non_null(strstr(moco_error(), "tensor w is damaged: its hash is"));
    moco_weights_free(weights);
    /* A header that another program changed, with our hashes still in it: read, and said. */
    char head[4096];
    FILE *in = fopen(scratch_path(&folder, "ours"), "rb");
    assert_true(fread(head, 1, sizeof head, in) == sizeof head);
    fclose(in);
    char *at = NULL;
    for (size_t i = 0; at == NULL && i + 4 < sizeof head; i++)
        at = memcmp(head + i, "zzzz", 4) == 0 ? head + i : NULL;
    assert_non_null(at);
    change(at - head);
    weights = open_file("changed");
    assert_non_null(strstr(moco_weights_note(weights, 0), "its header was changed after it was written"));
    ok(moco_weights_read(weights, 0, &t));
    moco_weights_free(weights);
}

/* ---- large tensors ---- */

enum { MANY = 400000 };

static void add_tensor(struct blob *b, const char *name, int64_t offset, int ndim, const int64_t *shape,
                       const int64_t *stride)
{
    static const char class_of[] = P_CLASS("Int", "J\x80\x1a\6\0"); /* 400000 */
    static const char call[] = "ctorch._utils\n_rebuild_tensor_v2\n(", tail[] = "\x89" P_ODICT "tR";
    const int64_t *const lists[] = {shape, stride};
    blob_add(b, "X", 1);
    blob_number(b, strlen(name), 4);
    blob_add(b, name, strlen(name));
    blob_add(b, call, sizeof call - 1);
    blob_add(b, class_of, sizeof class_of - 1);
    blob_add(b, "J", 1);
    blob_number(b, (uint64_t)offset, 4);
    for (int l = 0; l < 2; l++) {
        blob_add(b, "(", 1);
        for (int d = 0; d < ndim; d++) {
            blob_add(b, "J", 1);
            blob_number(b, (uint64_t)lists[l][d], 4);
        }
        blob_add(b, "t", 1);
    }
    blob_add(b, tail, sizeof tail - 1);
}

/* A storage of 400000 integers, each its own index, seen through tensors in many orders: every element is where its
 * strides say. Larger than the pieces that are read, and with elements so far apart that each is read alone. */
static void orders(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t offset;
        int ndim;
        int64_t shape[4], stride[4];
    } views[] = {
        {"all", 0, 1, {MANY}, {1}},
        {"part", 99999, 1, {300001}, {1}},
        {"transposed", 0, 2, {500, 800}, {1, 500}},
        {"channels_last", 0, 4, {10, 8, 50, 100}, {40000, 1, 800, 8}},
        {"every second", 1, 1, {200000}, {2}},
        {"columns", 7, 2, {1000, 3}, {400, 100}},
        {"sparse", 3, 1, {4}, {99999}},
        {"sparse, turned", 0, 2, {3, 5}, {20000, 60000}},
        {"windows", 0, 2, {100000, 4}, {3, 30000}},
        {"one", 399999, 2, {1, 1}, {7, 9}},
        {"rows repeated", 5, 2, {100, 100}, {1, 0}},
    };
    enum { VIEWS = sizeof views / sizeof *views };
    struct blob pickle = {0}, file = {0};
    struct zip_places places;
    int32_t *numbers = malloc(MANY * sizeof *numbers);
    int64_t *got = malloc(MANY * sizeof *got), live, peak;
    for (int32_t i = 0; i < MANY; i++)
        numbers[i] = i;
    blob_add(&pickle, "\x80\2}(", 4);
    for (int v = 0; v < VIEWS; v++)
        add_tensor(&pickle, views[v].name, views[v].offset, views[v].ndim, views[v].shape, views[v].stride);
    blob_add(&pickle, "u.", 2);
    const struct zip_part parts[] = {{"a/data.pkl", pickle.at, pickle.size, 0},
                                     {"a/data/0", numbers, MANY * sizeof *numbers, 0},
                                     {"a/version", "3", 1, 0}};
    zip_bytes(&file, parts, 3, &places);
    scratch_write(&folder, "orders", file.at, file.size);
    ok(moco_context_memory(context, &live, NULL, NULL));
    moco_weights *weights = open_file("orders");
    assert_int_equal(moco_weights_count(weights), VIEWS);
    for (int v = 0; v < VIEWS; v++) {
        moco_tensor t = tensor(MOCO_I64, got, views[v].ndim, 0, 0);
        int64_t count = 1, index[4] = {0}, at = views[v].offset;
        memcpy(t.shape, views[v].shape, sizeof views[v].shape);
        for (int d = 0; d < t.ndim; d++)
            count *= t.shape[d];
        memset(got, 0xff, (size_t)count * sizeof *got);
        ok(moco_weights_read(weights, v, &t));
        for (int64_t i = 0; i < count; i++) {
            if (got[i] != at)
                fail_msg("%s: element %lld is %lld instead of %lld", views[v].name, (long long)i, (long long)got[i],
                         (long long)at);
            for (int d = t.ndim - 1; d >= 0; d--) {
                at += views[v].stride[d];
                if (++index[d] < t.shape[d])
                    break;
                at -= t.shape[d] * views[v].stride[d];
                index[d] = 0;
            }
        }
    }
    ok(moco_context_memory(context, NULL, &peak, NULL));
    moco_weights_free(weights);
    if (peak - live > 4 * (int64_t)pickle.size + (1 << 20))
        fail_msg("%lld bytes of memory", (long long)(peak - live));
    free(numbers);
    free(got);
    blob_free(&pickle);
    blob_free(&file);
}

/* The n-th allocation fails, or all from it on: MOCO_ENOMEM and nothing held, or the file was read all the same. */
static void failing_memory(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/golden/fixtures/weights-torch-2/list.zip.pth",
                                        "tests/golden/fixtures/weights-torch-1.13/lightning.legacy.pth"};
    for (size_t file = 0; file < sizeof files / sizeof *files; file++)
        for (int forever = 0; forever < 2; forever++)
            for (long long n = 0;; n++) {
                struct failing_alloc memory = {.fail_at = n, .forever = forever};
                moco_context_options o;
                moco_context *failing = NULL;
                moco_weights *weights = NULL;
                moco_context_options_init(&o);
                o.alloc = failing_alloc;
                o.release = failing_release;
                o.user = &memory;
                moco_status status = moco_context_create(&failing, &o);
                if (status == MOCO_OK)
                    status = moco_weights_open(&weights, failing, files[file]);
                for (int64_t i = 0; status == MOCO_OK && i < moco_weights_count(weights); i++) {
                    moco_weights_info info;
                    moco_weights_info_init(&info);
                    ok(moco_weights_at(weights, i, &info));
                    double *values = calloc((size_t)info.count + 1, sizeof *values);
                    assert_non_null(values);
                    moco_tensor out;
                    moco_tensor_init(&out);
                    out.dtype = MOCO_F64;
                    out.ndim = info.ndim;
                    memcpy(out.shape, info.shape, sizeof out.shape);
                    out.data = values;
                    if (info.count > 0)
                        status = moco_weights_read(weights, i, &out);
                    free(values);
                }
                moco_weights_free(weights);
                moco_context_free(failing);
                assert_int_equal(memory.live, 0);
                if (memory.refused == 0) {
                    ok(status);
                    assert_true(n >= 6);
                    break;
                }
                assert_int_equal(status, MOCO_ENOMEM);
            }
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),        CASE(conversions), CASE(of_others), CASE(of_ours), CASE(damage), CASE(orders),
        cmocka_unit_test(failing_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
