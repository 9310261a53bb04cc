/* SPDX-License-Identifier: MIT
 *
 * test_recipe: how an encoder's images are to be looked at goes with it: into its file and into a training state, and
 * out again to the same numbers. Files that were written without it are as they were; one that says something else than
 * a way of looking is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files/forged_file.h"
#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

static struct scratch_folder folder;
static char first[300], second[300];

static int make_folder(void **state)
{
    (void)state;
    scratch_folder_make(&folder);
    snprintf(first, sizeof first, "%s", scratch_path(&folder, "first"));
    snprintf(second, sizeof second, "%s", scratch_path(&folder, "second"));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_folder_remove(&folder);
    return 0;
}

/* "none" and what makes it take any image, the two others, and one that no name stands for. */
static moco_augment_options recipe_number(int i)
{
    static const char *const names[] = {"none", "none", "eval", "simclr-eval", "eval"};
    moco_augment_options o;
    rig_ok(moco_augment_options_preset(&o, names[i], 16));
    if (i == 1)
        o.crop = 2, o.resize = 16;
    if (i == 4)
        o.resize = 31, o.interpolation = 1;
    return o;
}
#define RECIPES 5

static void expect_recipe(const moco_model *model, const moco_augment_options *wanted)
{
    moco_augment_options got;
    memset(&got, 0xaa, sizeof got);
    if (wanted == NULL) {
        rig_expect(moco_model_recipe(model, &got), MOCO_ENOTFOUND);
        assert_non_null(strstr(moco_error(), "no recipe"));
        assert_int_equal(got.size, (int32_t)0xaaaaaaaa);
        return;
    }
    rig_ok(moco_model_recipe(model, &got));
    assert_memory_equal(&got, wanted, sizeof got);
}

static void an_encoder_file_keeps_it(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_spec spec = rig_spec();
    moco_model *model, *opened, *loaded;
    size_t plain, size;
    rig_open(&rig, &spec);
    rig_ok(moco_model_create(&model, rig.device, &spec.model));
    expect_recipe(model, NULL);
    rig_ok(moco_model_save(model, first));
    rig_ok(moco_model_open(&opened, rig.device, first));
    expect_recipe(opened, NULL);
    moco_model_free(opened);
    char *before = rig_read_file(first, &plain);
    for (size_t i = 0; i + 6 < plain; i++) /* the same bytes as before there were recipes */
        assert_memory_not_equal(before + i, "recipe", 6);
    free(before);
    for (int i = 0; i < RECIPES; i++) {
        moco_augment_options o = recipe_number(i), other = recipe_number((i + 1) % RECIPES), noise = o;
        noise.brightness = noise.hue = 0.25; /* of a jitter that never comes */
        rig_ok(moco_model_set_recipe(model, &noise));
        expect_recipe(model, &o);
        rig_ok(moco_model_save(model, second));
        rig_ok(moco_model_open(&opened, rig.device, second));
        expect_recipe(opened, &o);
        rig_ok(moco_model_create(&loaded, rig.device, &spec.model));
        rig_ok(moco_model_set_recipe(loaded, &other));
        rig_ok(moco_model_load(loaded, first)); /* says nothing */
        expect_recipe(loaded, &other);
        rig_ok(moco_model_load(loaded, second));
        expect_recipe(loaded, &o);
        rig_ok(moco_model_save(loaded, first));
        char *a = rig_read_file(first, &plain), *b = rig_read_file(second, &size);
        assert_true(plain == size && memcmp(a, b, size) == 0);
        free(a);
        free(b);
        moco_model_free(opened);
        moco_model_free(loaded);
        moco_model *silent;
        rig_ok(moco_model_create(&silent, rig.device, &spec.model));
        rig_ok(moco_model_save(silent, first));
        moco_model_free(silent);
    }
    moco_model_free(model);
    rig_close(&rig);
}

/* A state says it of its query encoder; states that differ in nothing else go on alike, and take over what they say. */
static void a_training_state_keeps_it(void **state)
{
    (void)state;
    struct rig rig, twin;
    struct rig_spec spec = rig_spec();
    moco_augment_options eval = recipe_number(2), middle = recipe_number(3);
    moco_model *opened;
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 2);
    rig_ok(moco_trainer_save(rig.trainer, first, NULL));
    rig_ok(moco_model_set_recipe(rig.model, &eval)); /* while the trainer has it */
    rig_ok(moco_trainer_save(rig.trainer, second, NULL));
    rig_ok(moco_model_open(&opened, rig.device, second));
    expect_recipe(opened, &eval);
    moco_model_free(opened);
    rig_ok(moco_model_set_recipe(twin.model, &middle));
    rig_ok(moco_trainer_load(twin.trainer, first));
    expect_recipe(twin.model, &middle);
    rig_ok(moco_trainer_load(twin.trainer, second));
    expect_recipe(twin.model, &eval);
    rig_run(&rig, 2, 4);
    rig_run(&twin, 2, 4);
    rig_expect_equal(&rig, &twin);
    rig_close(&rig);
    rig_close(&twin);
}

/* The file `from` with one text of its metadata replaced (NULL: left out), and right hashes. */
static void write_changed(const char *from, const char *to, const char *key, const char *value)
{
    struct forged f;
    forged_read(&f, from);
    forged_text(&f, key, value);
    forged_write(&f, to);
    forged_free(&f);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *word;
    } wrong[] = {
        {"recipe.size", "0", "recipe.size"},
        {"recipe.size", "99999999", "recipe.size"},
        {"recipe.size", "wide", "recipe.size"},
        {"recipe.crop", "random", "recipe.crop is \"random\""},
        {"recipe.crop", "", "recipe.crop"},
        {"recipe.crop", NULL, "recipe.crop"},
        {"recipe.resize", "3", "resize"},
        {"recipe.resize", "-1", "recipe.resize"},
        {"recipe.resize", NULL, "recipe.resize"},
        {"recipe.centre_part", "nan", "recipe.centre_part"},
        {"recipe.centre_part", NULL, "recipe.centre_part"},
        {"recipe.interpolation", "nearest", "\"nearest\""},
    };
    struct rig rig;
    struct rig_spec spec = rig_spec();
    moco_augment_options eval = recipe_number(2), middle = recipe_number(3);
    moco_model *model, *opened = NULL;
    rig_open(&rig, &spec);
    rig_ok(moco_model_create(&model, rig.device, &spec.model));
    rig_ok(moco_model_set_recipe(model, &eval));
    rig_ok(moco_model_save(model, first));
    rig_ok(moco_model_set_recipe(model, &middle));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_changed(first, second, wrong[i].key, wrong[i].value);
        rig_expect(moco_model_open(&opened, rig.device, second), MOCO_EFORMAT);
        assert_null(opened);
        if (strstr(moco_error(), wrong[i].word) == NULL || strstr(moco_error(), second) == NULL)
            fail_msg("\"%s\" does not name %s and the file", moco_error(), wrong[i].word);
        rig_expect(moco_model_load(model, second), MOCO_EFORMAT);
        expect_recipe(model, &middle);
    }
    write_changed(first, second, "recipe.resize", "20");
    rig_ok(moco_model_load(model, second));
    eval.resize = 20;
    expect_recipe(model, &eval);
    moco_model_free(model);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder_file_keeps_it),
        cmocka_unit_test(a_training_state_keeps_it),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
