/* SPDX-License-Identifier: MIT
 *
 * test_side_by_side: what threads may do at once on one device: train two models, embed beside a step, and ask one
 * model all together. Numbers are the bits of the same calls one after another. What a reader would get wrong: who is
 * faster decides only which of the right answers comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "support/rigs/misuse_rig.h"
#include "support/rigs/train_rig.h"
#include "support/test_device.h"

enum { SIDE = 16, DIM = 16, LENGTH = 40 };

static struct rig rig; /* its batch is what every trainer here steps on */

static moco_status model_embed_into(moco_model *model, float *out)
{
    moco_tensor in = TENSOR(MOCO_U8, rig.view[0], 2, SIDE, SIDE, 3), rows = TENSOR(MOCO_F32, out, 2, DIM);
    return moco_model_embed(model, &in, MOCO_PROJECTION, &rows);
}

static int open_rig(void **state)
{
    (void)state;
    const struct rig_spec spec = rig_spec();
    rig_open(&rig, &spec);
    rig_draw(&rig, 0);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

enum { ROUNDS = 8 };

struct runner {
    pthread_t thread;
    moco_model *model;
    moco_trainer *trainer;
    float out[ROUNDS][2 * DIM];
    moco_status status;
};

static void *run_embed(void *arg)
{
    struct runner *r = arg;
    for (int i = 0; i < ROUNDS && r->status == MOCO_OK; i++)
        r->status = model_embed_into(r->model, r->out[i]);
    return NULL;
}

static void *run_steps(void *arg)
{
    struct runner *r = arg;
    for (int i = 0; i < ROUNDS && r->status == MOCO_OK; i++) {
        r->status = moco_trainer_step(r->trainer, &rig.batch, 0.05);
        if (r->status == MOCO_OK)
            r->status = model_embed_into(r->model, r->out[i]);
    }
    return NULL;
}

/* Two trainers with a model and a queue each, of different seeds. */
static void open_pair(struct runner pair[2], moco_device *device)
{
    for (int i = 0; i < 2; i++) {
        struct rig_spec spec = rig_spec();
        moco_queue *queue;
        spec.model.seed += (uint64_t)i;
        pair[i] = (struct runner){.status = MOCO_OK};
        rig_ok(moco_model_create(&pair[i].model, device, &spec.model));
        rig_ok(moco_queue_create(&queue, device, DIM, LENGTH, 1));
        rig_ok(moco_trainer_create(&pair[i].trainer, pair[i].model, queue, &spec.trainer));
        moco_queue_free(queue);
    }
}

static void close_pair(struct runner pair[2])
{
    for (int i = 0; i < 2; i++) {
        moco_trainer_free(pair[i].trainer);
        moco_model_free(pair[i].model);
    }
}

static void two_trainers_share_a_device(void **state)
{
    (void)state;
    static struct runner together[2], alone[2];
    moco_context *context;
    moco_context_options options;
    moco_context_options_init(&options);
    options.threads = 2; /* each calling thread has an OpenMP team of its own */
    moco_device *device;
    rig_ok(moco_context_create(&context, &options));
    rig_ok(moco_device_open(&device, context, test_device()));
    open_pair(together, device);
    open_pair(alone, device);
    for (int i = 0; i < 2; i++)
        run_steps(&alone[i]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&together[i].thread, NULL, run_steps, &together[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(together[i].thread, NULL);
        rig_ok(together[i].status);
        rig_ok(alone[i].status);
        assert_memory_equal(together[i].out, alone[i].out, sizeof alone[i].out);
    }
    close_pair(together);
    close_pair(alone);
    moco_device_free(device);
    moco_context_free(context);
}

/* Each embedding is that of a whole state, and never of an earlier one than the last. */
static void an_embedding_beside_a_step_is_of_a_whole_state(void **state)
{
    (void)state;
    static struct runner pair[2], other;
    open_pair(pair, rig.device); /* pair[1] is never stepped */
    struct runner *trained = &pair[0];
    static float whole[ROUNDS + 1][2 * DIM];
    static struct runner twin[2];
    open_pair(twin, rig.device);
    rig_ok(model_embed_into(twin[0].model, whole[0]));
    run_steps(&twin[0]);
    rig_ok(twin[0].status);
    memcpy(whole[1], twin[0].out, sizeof twin[0].out);
    static struct runner stepper;
    stepper = (struct runner){.trainer = trained->trainer, .model = pair[1].model}; /* embeds with another model */
    assert_int_equal(pthread_create(&stepper.thread, NULL, run_steps, &stepper), 0);
    int at = 0;
    for (int round = 0; round < 5; round++) {
        other = (struct runner){.model = trained->model};
        run_embed(&other);
        rig_ok(other.status);
        for (int i = 0; i < ROUNDS; i++) {
            while (at <= ROUNDS && memcmp(other.out[i], whole[at], sizeof whole[at]) != 0)
                at++;
            if (at > ROUNDS)
                fail_msg("an embedding is of no state that training went through");
        }
    }
    pthread_join(stepper.thread, NULL);
    rig_ok(stepper.status);
    close_pair(pair);
    close_pair(twin);
}

static float right[2 * DIM];

/* Without any order: nobody crashes, and every answer is right or MOCO_ESTATE. */
static void *hammer(void *arg)
{
    atomic_int *wrong = arg;
    float out[2 * DIM];
    for (int i = 0; i < 50; i++) {
        moco_status status = model_embed_into(rig.model, out);
        if (status != MOCO_ESTATE && (status != MOCO_OK || memcmp(out, right, sizeof right) != 0))
            atomic_fetch_add(wrong, 1);
    }
    return NULL;
}

static void many_threads_at_one_model(void **state)
{
    (void)state;
    pthread_t threads[4];
    atomic_int wrong = 0;
    rig_ok(model_embed_into(rig.model, right));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &wrong), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_trainers_share_a_device),
        cmocka_unit_test(an_embedding_beside_a_step_is_of_a_whole_state),
        cmocka_unit_test(many_threads_at_one_model),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}
