/* SPDX-License-Identifier: MIT
 *
 * test_misuse_weights: what weights.h and import.h must refuse: NULL for each pointer, indices, names and tensors that do not fit,
 * files of every other kind, each named in the sentence; moco_model_open names them too. The handles themselves are
 * test_misuse_handles's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "moco/moco.h"
#include "support/refused.h"
#include "support/rigs/misuse_rig.h"

#define FIXTURES "tests/golden/fixtures/weights-torch-2/"

static moco_weights *open_fixture(const char *path)
{
    moco_weights *weights = NULL;
    misuse_ok(moco_weights_open(&weights, misuse.context, path));
    return weights;
}

static void opening(void **state)
{
    (void)state;
    moco_weights *weights = NULL;
    REFUSED(EINVAL, "weights is NULL", moco_weights_open(NULL, misuse.context, FIXTURES "list.zip.pth"));
    REFUSED(EINVAL, "context is NULL", moco_weights_open(&weights, NULL, FIXTURES "list.zip.pth"));
    REFUSED(EINVAL, "path is NULL", moco_weights_open(&weights, misuse.context, NULL));
    REFUSED(EIO, "none", moco_weights_open(&weights, misuse.context, scratch_path(&misuse.folder, "none")));
    REFUSED(EIO, "not a regular file", moco_weights_open(&weights, misuse.context, "tests"));
    assert_null(weights);
    moco_weights_free(NULL);
    assert_string_equal(moco_weights_format(NULL), "");
    assert_int_equal(moco_weights_count(NULL), 0);
    assert_null(moco_weights_key(NULL, 0));
    assert_null(moco_weights_note(NULL, 0));
}

static void asking(void **state)
{
    (void)state;
    moco_weights *weights = open_fixture(FIXTURES "lightning.zip.pth");
    moco_weights_info info;
    char text[8];
    int64_t index = -7;
    moco_weights_info_init(&info);
    REFUSED(ENOTFOUND, "index is -1", moco_weights_at(weights, -1, &info));
    REFUSED(ENOTFOUND, "the file has", moco_weights_at(weights, INT64_MAX, &info));
    REFUSED(EINVAL, "info is NULL", moco_weights_at(weights, 0, NULL));
    info.struct_size = 3;
    REFUSED(EINVAL, "init macro", moco_weights_at(weights, 0, &info));
    REFUSED(EINVAL, "name is NULL", moco_weights_find(weights, NULL, &index));
    REFUSED(EINVAL, "index is NULL", moco_weights_find(weights, "x", NULL));
    REFUSED(ENOTFOUND, "it has no tensor state_dict", moco_weights_find(weights, "state_dict", &index));
    REFUSED(EFORMAT, "an object of a program", moco_weights_find(weights, "hyper_parameters", &index));
    assert_int_equal(index, -7);
    REFUSED(EINVAL, "key is NULL", moco_weights_text(weights, NULL, text, sizeof text));
    REFUSED(EINVAL, "text is NULL", moco_weights_text(weights, "epoch", NULL, sizeof text));
    REFUSED(ESHAPE, "takes 3 bytes", moco_weights_text(weights, "epoch", text, 2));
    REFUSED(ESHAPE, "size is 0", moco_weights_text(weights, "epoch", text, 0));
    REFUSED(ENOTFOUND, "nothing at epochs", moco_weights_text(weights, "epochs", text, sizeof text));
    REFUSED(ENOTFOUND, "nothing at ", moco_weights_text(weights, "", text, sizeof text));
    REFUSED(ENOTFOUND, "is a dict", moco_weights_text(weights, "loops", text, sizeof text));
    REFUSED(ENOTFOUND, "is an object", moco_weights_text(weights, "hyper_parameters", text, sizeof text));
    REFUSED(ENOTFOUND, "nothing at epoch.x", moco_weights_text(weights, "epoch.x", text, sizeof text));
    REFUSED(EINVAL, "weights is NULL", moco_weights_save(NULL, scratch_path(&misuse.folder, "a.pth")));
    REFUSED(EINVAL, "path is NULL", moco_weights_save(weights, NULL));
    REFUSED(EINVAL, "must end in", moco_weights_save(weights, scratch_path(&misuse.folder, "a.onnx")));
    REFUSED(EIO, "none", moco_weights_save(weights, scratch_path(&misuse.folder, "none/a.pth")));
    misuse_ok(moco_weights_text(weights, "deep.a.b.1", text, sizeof text));
    assert_string_equal(text, "3");
    misuse_ok(moco_weights_text(weights, "optimizer_states.0.param_groups.0.lr", text, sizeof text));
    assert_string_equal(text, "0.03");
    assert_null(moco_weights_key(weights, -1));
    assert_null(moco_weights_key(weights, 1000));
    assert_null(moco_weights_note(weights, -1));
    assert_null(moco_weights_note(weights, 1000));
    moco_weights_free(weights);
}

static void reading(void **state)
{
    (void)state;
    moco_weights *weights = open_fixture(FIXTURES "odd.zip.pth");
    double numbers[32];
    int64_t index;
    misuse_ok(moco_weights_find(weights, "transposed", &index)); /* f32 [5,6] */
    const moco_tensor bad[] = {TENSOR(MOCO_F32, numbers, 6, 5),       TENSOR(MOCO_F32, numbers, 30),
                               TENSOR(MOCO_F32, numbers, 5, 6, 1),    TENSOR(MOCO_I64, numbers, 5, 6),
                               TENSOR(MOCO_U8, numbers, 5, 6),        TENSOR(MOCO_BF16, numbers, 5, 6),
                               TENSOR((moco_dtype)99, numbers, 5, 6), TENSOR(MOCO_F32, numbers, 5, 0)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moco_tensor tensor = bad[i];
        moco_status status = moco_weights_read(weights, index, &tensor);
        if (status != MOCO_ESHAPE || strstr(moco_error(), "moco_weights_read: ") != moco_error())
            fail_msg("tensor %zu: %d, %s", i, status, moco_error());
    }
    moco_tensor good = TENSOR(MOCO_F64, numbers, 5, 6);
    REFUSED(EINVAL, "tensor is NULL", moco_weights_read(weights, index, NULL));
    REFUSED(ENOTFOUND, "index", moco_weights_read(weights, moco_weights_count(weights), &good));
    misuse_ok(moco_weights_read(weights, index, &good));
    good.ndim = 9;
    REFUSED(ESHAPE, "9 dimensions", moco_weights_read(weights, index, &good));
    good.ndim = -1;
    REFUSED(ESHAPE, "-1 dimensions", moco_weights_read(weights, index, &good));
    good.struct_size = 80;
    REFUSED(EINVAL, "struct_size 80", moco_weights_read(weights, index, &good));
    misuse_ok(moco_weights_find(weights, "none", &index)); /* no elements: nothing is copied, but the shape counts */
    moco_tensor empty = TENSOR(MOCO_F32, numbers, 0, 3), other = TENSOR(MOCO_F32, numbers, 3, 0);
    misuse_ok(moco_weights_read(weights, index, &empty));
    REFUSED(ESHAPE, "0", moco_weights_read(weights, index, &other));
    moco_weights_free(weights);
}

/* What people have instead, and what is said of it. */
static void other_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *weights, *model; /* words of the sentence of moco_weights_open and moco_model_open; NULL: others */
    } kinds[] = {
#define KIND(bytes, weights, model) {bytes, sizeof(bytes) - 1, weights, model}
        KIND("", "it is empty", NULL),
        KIND("abc", "no file of a kind that is known", NULL),
        KIND("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "an empty zip archive", "an empty zip archive"),
        KIND("\x93NUMPY\1\0v\0{'descr'", "a NumPy array", "a NumPy array"),
        KIND("\x89HDF\r\n\x1a\n00000000", "an HDF5 file", "an HDF5 file"),
        KIND("\x1f\x8b\10\0\0\0\0\0\0\3", "gzip", "gzip"),
        KIND("\x28\xb5\x2f\xfd 00000000", "zstd", "zstd"),
        KIND("\xfd"
             "7zXZ\0 0000000",
             "xz", "xz"),
        KIND("BZh91AY&SY0000", "bzip2", "bzip2"),
        KIND("GGUF\3\0\0\0\0\0\0\0\0", "a GGUF file", "a GGUF file"),
        KIND("\x1c\0\0\0TFL3\0\0\0\0", "TensorFlow Lite", "TensorFlow Lite"),
        KIND("\xff\xd8\xff\xe0\0\20JFIF", "a JPEG picture", "a JPEG picture"),
        KIND("\x89PNG\r\n\x1a\n0000", "a PNG picture", "a PNG picture"),
        KIND("%PDF-1.7\n0000", "a PDF", "a PDF"),
        KIND("\177ELF\2\1\1\0\0\0\0", "a program", "a program"),
        KIND("version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer", "Git LFS pointer"),
        KIND("<!DOCTYPE html><html><title>Sign in", "a web page", "a web page"),
        KIND("\n  <HTML lang=en>", "a web page", "a web page"),
        KIND("<?xml version='1.0'?><Error>NoSuchKey", "a web page", "a web page"),
        KIND("{\"architectures\": [\"ResNet\"]}", "a text in JSON", "a text in JSON"),
        KIND("\x80\3}q\0(X\5\0\0\0modelq\1", "a plain pickle", "a plain pickle"),
        KIND("\x80\4\x95\20\0\0\0\0\0\0\0}\x94.", "a plain pickle", "a plain pickle"),
        KIND("\10\7\22\7pytorch\32\5", "an ONNX model", "an ONNX model"),
#undef KIND
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        moco_weights *weights = NULL;
        moco_model *model = NULL;
        const char *path = scratch_path(&misuse.folder, "kind");
        scratch_write(&misuse.folder, "kind", kinds[i].bytes, kinds[i].size);
        moco_status status = moco_weights_open(&weights, misuse.context, path);
        if (status != MOCO_EFORMAT || strstr(moco_error(), kinds[i].weights) == NULL ||
            strstr(moco_error(), path) == NULL || strstr(moco_error(), "at byte 0") == NULL)
            fail_msg("%s: %d, %s", kinds[i].weights, status, moco_error());
        status = moco_model_open(&model, misuse.device, path);
        if (status != MOCO_EFORMAT || (kinds[i].model != NULL && strstr(moco_error(), kinds[i].model) == NULL) ||
            strstr(moco_error(), path) == NULL)
            fail_msg("moco_model_open: %s: %d, %s", kinds[i].weights, status, moco_error());
    }
    char tar[1024] = "sys_info";
    memcpy(tar + 257, "ustar", 5);
    scratch_write(&misuse.folder, "kind", tar, sizeof tar);
    moco_weights *weights = NULL;
    REFUSED(EFORMAT, "a tar archive",
            moco_weights_open(&weights, misuse.context, scratch_path(&misuse.folder, "kind")));
}

/* Files that weights.h reads, given to what reads files of libmoco alone. */
static void not_our_own(void **state)
{
    (void)state;
    moco_model *model = NULL;
    moco_probe *probe = NULL;
    REFUSED(EFORMAT, "moco_weights_open reads such files",
            moco_model_open(&model, misuse.device, FIXTURES "moco.zip.pth"));
    REFUSED(EFORMAT, "a file of torch.save before torch 1.6",
            moco_model_open(&model, misuse.device, FIXTURES "moco.legacy.pth"));
    REFUSED(EFORMAT, "moco_weights_open reads such files",
            moco_probe_open(&probe, misuse.device, FIXTURES "moco.zip.pth", NULL, 0));
    REFUSED(EFORMAT, "moco_weights_open reads such files",
            moco_checkpoint_describe(misuse.context, FIXTURES "moco.zip.pth", NULL, NULL, NULL, NULL, 0));
}

/* moco/import.h: what a caller may get wrong. What a file may is test_import.py's. */
static void importing(void **state)
{
    (void)state;
    moco_model *model = NULL;
    moco_import_options options;
    moco_import_report report;
    moco_import_found found;
    moco_model_options network;
    moco_model_options_init(&network);
    network.arch = "resnet18";
    network.width = 1.0 / 64;
    network.dim = 2;
    misuse_ok(moco_model_create(&model, misuse.device, &network));
    misuse_ok(moco_model_save(model, scratch_path(&misuse.folder, "encoder")));
    moco_model_free(model);
    moco_weights *weights = open_fixture(scratch_path(&misuse.folder, "encoder"));
    moco_import_options_init(&options);
    moco_import_report_init(&report);
    moco_import_found_init(&found);
    misuse_ok(moco_import_candidate(weights, 0, &found));
    assert_int_equal(found.which, MOCO_IMPORT_PLAIN);
    assert_string_equal(found.prefix, "");
    REFUSED(ENOTFOUND, "no encoder number 1", moco_import_candidate(weights, 1, &found));
    REFUSED(ENOTFOUND, "no encoder number -1", moco_import_candidate(weights, -1, &found));
    REFUSED(EINVAL, "found is NULL", moco_import_candidate(weights, 0, NULL));
    REFUSED(EINVAL, "model is NULL", moco_model_import(NULL, misuse.device, weights, &options, &report));
    REFUSED(EINVAL, "device is NULL", moco_model_import(&model, NULL, weights, &options, &report));
    REFUSED(EINVAL, "weights is NULL", moco_model_import(&model, misuse.device, NULL, &options, &report));
    REFUSED(EINVAL, "trainer is NULL", moco_trainer_import(NULL, weights, &report));
    const struct {
        const char *words;
        moco_import_options o;
    } wrong[] = {
        {"which is 2", {.which = MOCO_IMPORT_PLAIN}},
        {"take_head is 3", {.take_head = 3}},
        {"dim is -1", {.dim = -1}},
        {"dim is 65537", {.dim = 65537}},
        {"stem is \"deep\"", {.stem = "deep"}},
        {"head is \"fc\"", {.head = "fc"}},
        {"reserved0", {.reserved0 = 1}},
        {"no ResNet begins with \"x\"", {.prefix = "x"}},
        {"no key encoder", {.which = MOCO_IMPORT_KEY}},
        {"the stem cifar has 3x3", {.stem = "cifar"}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        moco_import_options o = wrong[i].o;
        o.struct_size = sizeof o;
        o.std[0] = o.std[1] = o.std[2] = 1;
        o.image_size = 32;
        moco_status status = moco_model_import(&model, misuse.device, weights, &o, &report);
        if ((status != MOCO_EINVAL && status != MOCO_ENOTFOUND) || strstr(moco_error(), wrong[i].words) == NULL)
            fail_msg("%s: %d, %s", wrong[i].words, status, moco_error());
        assert_null(model);
    }
    options.image_size = 0;
    REFUSED(EINVAL, "image_size is 0", moco_model_import(&model, misuse.device, weights, &options, &report));
    options.image_size = 32;
    options.std[1] = 0;
    REFUSED(EINVAL, "std", moco_model_import(&model, misuse.device, weights, &options, &report));
    assert_null(model);
    misuse_ok(moco_model_import(&model, misuse.device, weights, NULL, NULL));
    moco_model_free(model);
    moco_weights_free(weights);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_teardown(test, misuse_back_to_baseline)
    const struct CMUnitTest tests[] = {CASE(opening),     CASE(asking),      CASE(reading),
                                       CASE(other_kinds), CASE(not_our_own), CASE(importing)};
    return cmocka_run_group_tests(tests, misuse_set_up, misuse_tear_down);
}
