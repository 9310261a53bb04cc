/* SPDX-License-Identifier: MIT
 *
 * test_structs_training: the rule of test_structs for the calls that need a device: options and outputs of model,
 * trainer and device. On "ref", whatever the other tests run on: what is tested is the same, and it is in every build.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"
#include "support/struct_probe.h"

static struct scratch_folder folder;
static struct rig rig;
static moco_queue *queue; /* nobody's, and so is the model */
static moco_model *model;
static char saved[300];

static int set_up(void **state)
{
    (void)state;
    struct rig_spec spec = rig_spec();
    spec.device = "ref";
    spec.model.width = 1.0 / 64;
    spec.model.dim = 8;
    spec.trainer.batch_size = 4;
    spec.trainer.bn_group_size = 2;
    spec.trainer.precision = MOCO_PRECISION_AUTO;
    spec.queue_length = 12;
    scratch_folder_make(&folder);
    rig_open(&rig, &spec);
    rig_run(&rig, 0, 1);
    strcpy(saved, scratch_path(&folder, "saved"));
    return moco_model_create(&model, rig.device, &spec.model) != MOCO_OK ||
           moco_queue_create(&queue, rig.device, 8, 12, 0) != MOCO_OK ||
           moco_trainer_save(rig.trainer, saved, NULL) != MOCO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    moco_queue_free(queue);
    moco_model_free(model);
    rig_close(&rig);
    scratch_folder_remove(&folder);
    return 0;
}

/* The fields of `from` that a struct of `size` has, and zeros after them. */
static void valid(void *given, size_t size, const void *from, size_t known)
{
    uint32_t told = (uint32_t)size;
    memset(given, 0, size);
    memcpy(given, from, size < known ? size : known);
    memcpy(given, &told, sizeof told);
}

static void valid_model_options(void *given, size_t size)
{
    valid(given, size, &rig.spec.model, sizeof rig.spec.model);
}

static void valid_trainer_options(void *given, size_t size)
{
    valid(given, size, &rig.spec.trainer, sizeof rig.spec.trainer);
}

static void valid_batch(void *given, size_t size)
{
    valid(given, size, &rig.batch, sizeof rig.batch);
}

static void valid_tensor(void *given, size_t size)
{
    static double bias[8];
    moco_tensor tensor;
    moco_tensor_init(&tensor);
    tensor.dtype = MOCO_F64;
    tensor.ndim = 1;
    tensor.shape[0] = 8;
    tensor.data = bias;
    valid(given, size, &tensor, sizeof tensor);
}

#define INIT(type)                                                                                                     \
    static void init_##type(void *given, size_t size)                                                                  \
    {                                                                                                                  \
        type##_init_sized(given, size);                                                                                \
    }
INIT(moco_device_info)
INIT(moco_model_info)
INIT(moco_model_options)
INIT(moco_trainer_options)
INIT(moco_step_report)
INIT(moco_memory_estimate)
INIT(moco_encoder_options)
INIT(moco_encoder_info)
INIT(moco_comm_options)
INIT(moco_comm_info)

static moco_status create_model(void *given)
{
    moco_model *made = NULL;
    moco_status status = moco_model_create(&made, rig.device, given);
    moco_model_free(made);
    return status;
}

static moco_status create_encoder(void *given)
{
    moco_encoder *made = NULL;
    moco_status status = moco_encoder_create(&made, model, given);
    moco_encoder_free(made);
    return status;
}

static moco_status describe_encoder(void *given)
{
    moco_encoder *made = NULL;
    assert_int_equal(moco_encoder_create(&made, model, NULL), MOCO_OK);
    moco_status status = moco_encoder_describe(made, given);
    moco_encoder_free(made);
    return status;
}

static moco_status create_trainer(void *given)
{
    moco_trainer *made = NULL;
    moco_status status = moco_trainer_create(&made, model, queue, given);
    moco_trainer_free(made);
    return status;
}

static moco_status estimate_model(void *given)
{
    moco_memory_estimate estimate;
    moco_memory_estimate_init(&estimate);
    return moco_trainer_estimate(rig.device, given, 12, &rig.spec.trainer, &estimate);
}

static moco_status estimate_trainer(void *given)
{
    moco_memory_estimate estimate;
    moco_memory_estimate_init(&estimate);
    return moco_trainer_estimate(rig.device, &rig.spec.model, 12, given, &estimate);
}

static moco_status estimate(void *given)
{
    return moco_trainer_estimate(rig.device, &rig.spec.model, 12, &rig.spec.trainer, given);
}

static moco_status step(void *given)
{
    return moco_trainer_step(rig.trainer, given, 0.05);
}

static moco_status report(void *given)
{
    return moco_trainer_report(rig.trainer, given);
}

static moco_status describe_device(void *given)
{
    return moco_device_describe(rig.device, given);
}

static moco_status describe_model(void *given)
{
    return moco_model_describe(model, given);
}

static void valid_recipe(void *given, size_t size)
{
    assert_int_equal(moco_augment_options_preset_sized(given, size, "none", 16), MOCO_OK);
}

static moco_status set_recipe(void *given)
{
    return moco_model_set_recipe(model, given);
}

static moco_status describe_saved_model(void *given)
{
    return moco_checkpoint_describe(rig.context, saved, given, NULL, NULL, NULL, 0);
}

static moco_status describe_saved_trainer(void *given)
{
    return moco_checkpoint_describe(rig.context, saved, NULL, given, NULL, NULL, 0);
}

static moco_status get_tensor(void *given)
{
    return moco_model_get(model, "fc.2.bias", given);
}

static moco_status set_tensor(void *given)
{
    return moco_model_set(model, "fc.2.bias", given);
}

static moco_status set_state(void *given)
{
    return moco_trainer_set(rig.trainer, "encoder_q.fc.2.bias", given);
}

static moco_status make_comm(void *given)
{
    moco_comm *made = NULL;
    moco_status status = moco_comm_local(&made, 1, rig.context, given);
    moco_comm_free(made);
    return status;
}

static moco_status describe_comm(void *given)
{
    moco_comm *made = NULL;
    moco_status status = moco_comm_local(&made, 1, rig.context, NULL);
    if (status == MOCO_OK)
        status = moco_comm_describe(made, given);
    moco_comm_free(made);
    return status;
}

static int exchange_sum(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size)
{
    (void)user, (void)data, (void)count, (void)dtype, (void)request, (void)why, (void)size;
    return 0;
}

static int exchange_gather(void *user, void *data, int64_t each, void **request, char *why, size_t size)
{
    (void)user, (void)data, (void)each, (void)request, (void)why, (void)size;
    return 0;
}

static int exchange_test(void *user, void *request, int32_t *done, char *why, size_t size)
{
    (void)user, (void)request, (void)why, (void)size;
    *done = 1;
    return 0;
}

static int exchange_close(void *user, int32_t broken)
{
    (void)user, (void)broken;
    return 0;
}

static void valid_engine(void *given, size_t size)
{
    moco_comm_engine engine;
    moco_comm_engine_init(&engine);
    engine.sum = exchange_sum;
    engine.gather = exchange_gather;
    engine.test = exchange_test;
    engine.close = exchange_close;
    valid(given, size, &engine, sizeof engine);
}

static moco_status wrap_engine(void *given)
{
    moco_comm *made = NULL;
    moco_status status = moco_comm_from_engine(&made, rig.context, given, NULL);
    moco_comm_free(made);
    return status;
}

static const struct struct_probe probes[] = {
    {"moco_model_create", sizeof(moco_model_options), valid_model_options, create_model, 0, 0},
    {"moco_trainer_create", sizeof(moco_trainer_options), valid_trainer_options, create_trainer, 0, 0},
    {"moco_trainer_estimate, model", sizeof(moco_model_options), valid_model_options, estimate_model, 0, 0},
    {"moco_trainer_estimate, options", sizeof(moco_trainer_options), valid_trainer_options, estimate_trainer, 0, 0},
    {"moco_trainer_estimate", sizeof(moco_memory_estimate), init_moco_memory_estimate, estimate, 1, 0},
    {"moco_trainer_step", sizeof(moco_batch), valid_batch, step, 0, 0},
    {"moco_trainer_report", sizeof(moco_step_report), init_moco_step_report, report, 1, 0},
    {"moco_device_describe", sizeof(moco_device_info), init_moco_device_info, describe_device, 1, 0},
    {"moco_model_describe", sizeof(moco_model_info), init_moco_model_info, describe_model, 1, 0},
    {"moco_encoder_create", sizeof(moco_encoder_options), init_moco_encoder_options, create_encoder, 0, 0},
    {"moco_encoder_describe", sizeof(moco_encoder_info), init_moco_encoder_info, describe_encoder, 1, 0},
    {"moco_model_set_recipe", sizeof(moco_augment_options), valid_recipe, set_recipe, 0, 0},
    {"moco_checkpoint_describe, model", sizeof(moco_model_options), init_moco_model_options, describe_saved_model, 1,
     0},
    {"moco_checkpoint_describe, trainer", sizeof(moco_trainer_options), init_moco_trainer_options,
     describe_saved_trainer, 1, 0},
    {"moco_model_get", sizeof(moco_tensor), valid_tensor, get_tensor, 0, 1},
    {"moco_model_set", sizeof(moco_tensor), valid_tensor, set_tensor, 0, 1},
    {"moco_comm_local", sizeof(moco_comm_options), init_moco_comm_options, make_comm, 0, 0},
    {"moco_comm_describe", sizeof(moco_comm_info), init_moco_comm_info, describe_comm, 1, 0},
    {"moco_comm_from_engine", sizeof(moco_comm_engine), valid_engine, wrap_engine, 0, 0},
    {"moco_trainer_set", sizeof(moco_tensor), valid_tensor, set_state, 0, 1},
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
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_newer_callers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
