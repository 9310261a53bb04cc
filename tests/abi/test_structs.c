/* SPDX-License-Identifier: MIT
 *
 * test_structs: what the ABI promises about structs that a caller allocates. Their layout is the table's to the byte,
 * without padding anywhere, so that no byte escapes the rule that unknown bytes are zero. And the rule itself, through
 * public calls: callers with older, smaller structs and newer, larger ones work; a size that no init macro wrote, and
 * bytes the library does not know, are refused; nothing is written past the size that the caller told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "moco/moco.h"
#include "support/struct_probe.h"

/* ---- layout ---- */

struct field {
    const char *name; /* NULL ends a struct, whose size is `offset` */
    size_t offset, frozen, bytes;
};

static const struct field fields[] = {
#define BEGIN(type, size)
#define FIELD(type, field, at) {#type "." #field, offsetof(type, field), at, sizeof(((type *)0)->field)},
#define END {0},
#include "structs_0_1.h"
#undef BEGIN
#undef FIELD
#undef END
};

static const struct {
    const char *name;
    size_t size, frozen;
} structs[] = {
#define BEGIN(type, at) {#type, sizeof(type), at},
#define FIELD(type, field, at)
#define END
#include "structs_0_1.h"
#undef BEGIN
#undef FIELD
#undef END
};
#define STRUCTS ((int)(sizeof structs / sizeof *structs))

static void test_layout(void **state)
{
    (void)state;
    const struct field *f = fields;
    for (int i = 0; i < STRUCTS; i++, f++) {
        size_t end = 0;
        if (structs[i].size != structs[i].frozen || structs[i].size % 8 != 0)
            fail_msg("%s has %zu bytes, not %zu", structs[i].name, structs[i].size, structs[i].frozen);
        if (strstr(f->name, ".struct_size") == NULL || f->bytes != 4)
            fail_msg("%s does not start with a 32-bit struct_size", structs[i].name);
        for (; f->name != NULL; f++) {
            if (f->offset != f->frozen)
                fail_msg("%s is at byte %zu, not %zu", f->name, f->offset, f->frozen);
            if (f->offset != end)
                fail_msg("%zu bytes before %s are padding, or a field that the table lacks", f->offset - end, f->name);
            end += f->bytes;
        }
        if (end != structs[i].size)
            fail_msg("the last %zu bytes of %s are padding, or a field that the table lacks", structs[i].size - end,
                     structs[i].name);
    }
}

/* Every struct of the headers is in the table. */
static void test_table_is_complete(void **state)
{
    (void)state;
    static const char *const headers[] = {"base",   "model",  "queue",   "trainer", "data",   "augment",
                                          "eval",   "probe",  "preset",  "random",  "search", "weights",
                                          "export", "import", "encoder", "comm"};
    int found = 0;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char path[64], line[512], *at;
        snprintf(path, sizeof path, "include/moco/%s.h", headers[i]);
        FILE *file = fopen(path, "r");
        assert_non_null(file); /* tests run in the root of the source tree */
        while (fgets(line, sizeof line, file) != NULL)
            for (at = line; (at = strstr(at, "uint32_t struct_size;")) != NULL; at++)
                found++;
        fclose(file);
    }
    assert_int_equal(found, STRUCTS);
}

/* ---- init functions ---- */

#define WRAP(type)                                                                                                     \
    static void init_##type(void *given, size_t size)                                                                  \
    {                                                                                                                  \
        type##_init_sized(given, size);                                                                                \
    }
WRAP(moco_tensor)
WRAP(moco_context_options)
WRAP(moco_device_info)
WRAP(moco_model_options)
WRAP(moco_model_info)
WRAP(moco_batch)
WRAP(moco_trainer_options)
WRAP(moco_step_report)
WRAP(moco_memory_estimate)
WRAP(moco_loader_options)
WRAP(moco_loader_stats)
WRAP(moco_view_params)
WRAP(moco_image_source)
WRAP(moco_encoded_source)
WRAP(moco_feature_stats)
WRAP(moco_probe_options)
WRAP(moco_probe_fit_options)
WRAP(moco_score)
WRAP(moco_weights_info)
WRAP(moco_comm_engine)
WRAP(moco_comm_options)
WRAP(moco_comm_info)
WRAP(moco_export_options)
WRAP(moco_import_options)
WRAP(moco_import_report)
WRAP(moco_import_found)
WRAP(moco_encoder_options)
WRAP(moco_encoder_info)
WRAP(moco_encode_options)

static void init_moco_augment_options(void *given, size_t size)
{
    assert_int_equal(moco_augment_options_preset_sized(given, size, "none", 8), MOCO_OK);
}

static void init_moco_preset(void *given, size_t size)
{
    assert_int_equal(moco_preset_get_sized(given, size, "moco-v2"), MOCO_OK);
}

/* The presets fill what the init functions fill. */
static void preset_moco_model_options(void *given, size_t size)
{
    assert_int_equal(moco_model_options_preset_sized(given, size, "cifar10"), MOCO_OK);
}

static void preset_moco_trainer_options(void *given, size_t size)
{
    assert_int_equal(moco_trainer_options_preset_sized(given, size, "cifar10"), MOCO_OK);
}

typedef void (*init_function)(void *given, size_t size);

static void test_init_respects_size(void **state)
{
    (void)state;
    static const struct {
        init_function init;
        size_t size;
    } inits[] = {
#define INIT(type) {init_##type, sizeof(type)}
        INIT(moco_tensor),
        INIT(moco_context_options),
        INIT(moco_device_info),
        INIT(moco_model_options),
        INIT(moco_model_info),
        INIT(moco_batch),
        INIT(moco_trainer_options),
        INIT(moco_step_report),
        INIT(moco_memory_estimate),
        INIT(moco_loader_options),
        INIT(moco_loader_stats),
        INIT(moco_view_params),
        INIT(moco_augment_options),
        INIT(moco_preset),
        INIT(moco_image_source),
        INIT(moco_encoded_source),
        INIT(moco_feature_stats),
        INIT(moco_probe_options),
        INIT(moco_probe_fit_options),
        INIT(moco_score),
        INIT(moco_weights_info),
        INIT(moco_comm_engine),
        INIT(moco_comm_options),
        INIT(moco_comm_info),
        INIT(moco_export_options),
        INIT(moco_import_options),
        INIT(moco_import_report),
        INIT(moco_import_found),
        INIT(moco_encoder_options),
        INIT(moco_encoder_info),
        INIT(moco_encode_options),
#undef INIT
        {preset_moco_model_options, sizeof(moco_model_options)},
        {preset_moco_trainer_options, sizeof(moco_trainer_options)},
    };
    assert_int_equal(sizeof inits / sizeof *inits, STRUCTS + 2);
    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
        union struct_block whole, cut;
        memset(&whole, 0xab, sizeof whole);
        inits[i].init(&whole, inits[i].size + 24); /* a newer caller */
        assert_int_equal(whole.struct_size, inits[i].size + 24);
        for (size_t at = 0; at < 24; at++)
            assert_int_equal(whole.bytes[inits[i].size + at], 0);
        assert_int_equal(whole.bytes[inits[i].size + 24], 0xab);
        for (size_t size = 8; size <= inits[i].size; size += 8) { /* older callers */
            memset(&cut, 0xab, sizeof cut);
            inits[i].init(&cut, size);
            assert_int_equal(cut.struct_size, size);
            assert_memory_equal(cut.bytes + 4, whole.bytes + 4, size - 4);
            assert_int_equal(cut.bytes[size], 0xab);
        }
    }
    moco_tensor_init_sized(NULL, sizeof(moco_tensor)); /* no crash */
}

/* ---- calls ---- */

static moco_context *context;
static moco_dataset *dataset;
static moco_loader *loader;
static moco_augment *augment;
static uint8_t pixels[4 * 8 * 8 * 3];

static moco_tensor tensor_of(int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_U8;
    t.ndim = ndim;
    t.data = pixels;
    const int64_t shape[4] = {a, b, c, d};
    memcpy(t.shape, shape, sizeof shape);
    return t;
}

static int set_up(void **state)
{
    (void)state;
    moco_augment_options recipe;
    moco_loader_options options;
    moco_tensor images = tensor_of(4, 4, 8, 8, 3);
    moco_loader_options_init(&options);
    options.batch_size = 2;
    options.workers = 0;
    options.recipe[0] = &recipe;
    return moco_augment_options_preset(&recipe, "none", 8) != MOCO_OK ||
           moco_context_create(&context, NULL) != MOCO_OK ||
           moco_dataset_from_memory(&dataset, context, &images, NULL) != MOCO_OK ||
           moco_loader_create(&loader, dataset, &options) != MOCO_OK ||
           moco_augment_create(&augment, context, &recipe) != MOCO_OK || moco_loader_start(loader, 0) != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    moco_augment_free(augment);
    moco_loader_free(loader);
    moco_dataset_free(dataset);
    moco_context_free(context);
    return 0;
}

static void valid_tensor(void *given, size_t size)
{
    const moco_tensor images = tensor_of(4, 4, 8, 8, 3);
    moco_tensor_init_sized(given, size);
    memcpy((char *)given + 4, (const char *)&images + 4, (size < sizeof images ? size : sizeof images) - 4);
}

static moco_status read_tensor(void *given)
{
    moco_dataset *made = NULL;
    moco_status status = moco_dataset_from_memory(&made, context, given, NULL);
    moco_dataset_free(made);
    return status;
}

static moco_status read_context_options(void *given)
{
    moco_context *made = NULL;
    moco_status status = moco_context_create(&made, given);
    moco_context_free(made);
    return status;
}

static void valid_loader_options(void *given, size_t size)
{
    static moco_augment_options recipe;
    moco_augment_options_preset(&recipe, "none", 8);
    moco_loader_options_init_sized(given, size);
    moco_loader_options *options = given;
    options->batch_size = 2;
    options->recipe[0] = &recipe;
}

static moco_status read_loader_options(void *given)
{
    moco_loader *made = NULL;
    moco_status status = moco_loader_create(&made, dataset, given);
    moco_loader_free(made);
    return status;
}

static moco_status read_augment_options(void *given)
{
    moco_augment *made = NULL;
    moco_status status = moco_augment_create(&made, context, given);
    moco_augment_free(made);
    return status;
}

static moco_status read_recipe_of_loader(void *given)
{
    union struct_block options;
    valid_loader_options(&options, sizeof(moco_loader_options));
    ((moco_loader_options *)&options)->recipe[0] = given;
    return read_loader_options(&options);
}

static void valid_view_params(void *given, size_t size)
{
    moco_view_params_init_sized(given, size);
    if (size >= sizeof(moco_view_params) - 8) /* all but sigma */
        assert_int_equal(moco_augment_draw(augment, 8, 8, 0, 0, 0, 0, given), MOCO_OK);
}

static moco_status read_view_params(void *given)
{
    static uint8_t out[8 * 8 * 3];
    moco_tensor image = tensor_of(3, 8, 8, 3, 0), view = tensor_of(3, 8, 8, 3, 0);
    view.data = out;
    return moco_augment_apply(augment, &image, given, &view);
}

static moco_status write_view_params(void *given)
{
    return moco_augment_draw(augment, 8, 8, 0, 0, 0, 0, given);
}

static moco_status write_batch(void *given)
{
    moco_status status = moco_loader_start(loader, 0);
    return status == MOCO_OK ? moco_loader_next(loader, given) : status;
}

static moco_status write_loader_stats(void *given)
{
    return moco_loader_get_stats(loader, given);
}

static const struct struct_probe probes[] = {
    {"moco_context_create", sizeof(moco_context_options), init_moco_context_options, read_context_options, 0, 0},
    {"moco_dataset_from_memory", sizeof(moco_tensor), valid_tensor, read_tensor, 0, 1},
    {"moco_loader_create", sizeof(moco_loader_options), valid_loader_options, read_loader_options, 0, 0},
    {"moco_loader_create, recipe", sizeof(moco_augment_options), init_moco_augment_options, read_recipe_of_loader, 0,
     0},
    {"moco_augment_create", sizeof(moco_augment_options), init_moco_augment_options, read_augment_options, 0, 0},
    {"moco_augment_apply", sizeof(moco_view_params), valid_view_params, read_view_params, 0, 0},
    {"moco_augment_draw", sizeof(moco_view_params), init_moco_view_params, write_view_params, 1, 0},
    {"moco_loader_next", sizeof(moco_batch), init_moco_batch, write_batch, 1, 0},
    {"moco_loader_get_stats", sizeof(moco_loader_stats), init_moco_loader_stats, write_loader_stats, 1, 0},
};
#define PROBES ((int)(sizeof probes / sizeof *probes))

static void test_sizes(void **state)
{
    (void)state;
    struct_probe_sizes(probes, PROBES);
}

static void test_newer_callers(void **state)
{
    (void)state;
    struct_probe_newer_callers(probes, PROBES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_init_respects_size),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_newer_callers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
