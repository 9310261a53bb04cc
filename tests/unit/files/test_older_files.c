/* SPDX-License-Identifier: MIT
 *
 * test_older_files: files that were written before some part of a configuration was a choice load, and mean what was
 * done then. Such a file is made here by leaving out of a new one the keys that came later. */
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

/* The same file as it was written before there was a choice of mechanism. */
static void write_older(const char *path, const char *older)
{
    static const char *const later[] = {"model.zero_init",
                                        "recipe.size",
                                        "recipe.crop",
                                        "recipe.resize",
                                        "recipe.centre_part",
                                        "recipe.interpolation",
                                        "trainer.negatives",
                                        "trainer.encoder_k",
                                        "trainer.loss",
                                        "trainer.optimizer",
                                        "trainer.trust_coefficient",
                                        "note"};
    struct forged f;
    forged_read(&f, path);
    forged_text(&f, "format", "moco"); /* and the version in a key of another name */
    forged_text(&f, "format_version", "1");
    forged_text(&f, "moco.format", NULL);
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
        forged_text(&f, later[i], NULL);
    assert_int_equal(f.text_count, 36);
    forged_write(&f, older);
    forged_free(&f);
}

static void files_of_before_mean_moco(void **state)
{
    (void)state;
    struct rig rig, twin, simclr;
    struct rig_spec spec = rig_spec(), other = rig_spec();
    char path[300], older[300];
    snprintf(path, sizeof path, "%s", scratch_path(&scratch_group, "new"));
    snprintf(older, sizeof older, "%s", scratch_path(&scratch_group, "older"));
    rig_open(&rig, &spec);
    rig_open(&twin, &spec);
    rig_run(&rig, 0, 2);
    rig_ok(moco_trainer_save(rig.trainer, path, NULL));
    write_older(path, older);
    rig_ok(moco_trainer_load(twin.trainer, older));
    rig_run(&rig, 2, 3);
    rig_run(&twin, 2, 3);
    rig_expect_equal(&rig, &twin);
    moco_trainer_options read;
    moco_model_options model;
    moco_trainer_options_init(&read);
    moco_model_options_init(&model);
    read.negatives = read.encoder_k = read.loss = read.optimizer = model.zero_init = 1;
    rig_ok(moco_checkpoint_describe(rig.context, older, &model, &read, NULL, NULL, 0));
    assert_true(read.negatives == MOCO_NEGATIVES_QUEUE && read.encoder_k == MOCO_KEY_MOMENTUM);
    assert_true(read.loss == MOCO_LOSS_INFONCE && read.optimizer == MOCO_OPTIMIZER_SGD);
    assert_true(read.trust_coefficient == 0.001 && model.zero_init == 0);
    moco_model *opened;
    rig_ok(moco_model_open(&opened, rig.device, older));
    moco_model_free(opened);
    other.trainer.negatives = MOCO_NEGATIVES_BATCH; /* same groups and launches, so that this is what differs first */
    rig_open(&simclr, &other);
    rig_expect(moco_trainer_load(simclr.trainer, older), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "trainer.negatives is queue in the file and batch here"));
    rig_close(&simclr);
    rig_close(&rig);
    rig_close(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_of_before_mean_moco)};
    return cmocka_run_group_tests(tests, scratch_group_make, scratch_group_remove);
}
