/* SPDX-License-Identifier: MIT
 *
 * rank_rig: see rank_rig.h. */
#include "support/rigs/rank_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/test_device.h"

/* ---- one rank ---- */

moco_status rank_note(struct rank *k, moco_status status)
{
    k->status = status;
    snprintf(k->sentence, sizeof k->sentence, "%s", status == MOCO_OK ? "" : moco_error());
    return status;
}

void rank_narrow(struct rig_spec *spec)
{
    if (!RANK_NARROW)
        return;
    spec->model.width = 0.03125;
    spec->model.image_size = spec->trainer.image_h = spec->trainer.image_w = 8;
}

#define STOP(call)                                                                                                     \
    do {                                                                                                               \
        if (rank_note(k, (call)) != MOCO_OK)                                                                           \
            return k->status;                                                                                          \
    } while (0)

static size_t image_bytes(const struct rank *k)
{
    return (size_t)k->rig.spec.trainer.image_h * (size_t)k->rig.spec.trainer.image_w * 3;
}

static void take_views(struct rank *k)
{
    const moco_trainer_options *o = &k->rig.spec.trainer;
    size_t whole = (size_t)o->batch_size * image_bytes(k);
    for (int v = 0; v < 2; v++) {
        k->rig.view[v] = malloc(whole);
        k->share[v] = malloc(whole);
        k->key[v] = malloc(whole);
    }
    moco_batch_init(&k->rig.batch);
}

moco_status rank_open(struct rank *k, const struct rig_spec *spec)
{
    struct rig *rig = &k->rig;
    memset(rig, 0, sizeof *rig);
    rig->spec = *spec;
    if (k->device[0] != 0)
        rig->spec.device = k->device;
    if (rig->spec.device == NULL)
        rig->spec.device = test_device();
    if (spec->trainer.precision == MOCO_PRECISION_F32 && test_device_is_exact(rig->spec.device))
        rig->spec.trainer.precision = MOCO_PRECISION_F64;
    take_views(k);
    STOP(moco_context_create(&rig->context, &spec->context));
    STOP(moco_device_open(&rig->device, rig->context, rig->spec.device));
    if (k->comm == NULL)
        STOP(moco_comm_from_id(&k->comm, rig->device, k->rank, k->ranks, k->id, MOCO_COMM_ID_BYTES, k->options));
    STOP(moco_model_create(&rig->model, rig->device, &spec->model));
    if (spec->trainer.negatives == MOCO_NEGATIVES_QUEUE)
        STOP(moco_queue_create(&rig->queue, rig->device, spec->model.dim, spec->queue_length, 3));
    rig->spec.trainer.comm = k->comm;
    return rank_note(k, moco_trainer_create(&rig->trainer, rig->model, rig->queue, &rig->spec.trainer));
}

void rank_close(struct rank *k)
{
    moco_device_free(k->rig.device);
    moco_queue_free(k->rig.queue);
    moco_model_free(k->rig.model);
    moco_trainer_free(k->rig.trainer);
    moco_context_free(k->rig.context);
    for (int v = 0; v < 2; v++) {
        free(k->rig.view[v]);
        free(k->share[v]);
        free(k->key[v]);
    }
}

void rank_draw(struct rank *k, int64_t number)
{
    const moco_trainer_options *o = &k->rig.spec.trainer;
    int share = o->batch_size / k->ranks, apart = o->shuffle;
    size_t image = image_bytes(k);
    int32_t order[64];
    int64_t step = 0;
    rig_draw(&k->rig, number);
    k->batch = k->rig.batch;
    moco_trainer_cursor(k->rig.trainer, &step, NULL, NULL);
    for (int d = 0; d < 2; d++) {
        moco_shuffle_permutation(o->seed, step, d, o->batch_size, order);
        for (int i = 0; i < share; i++) {
            int place = o->interleave ? i * k->ranks + k->rank : k->rank * share + i;
            memcpy(k->share[d] + (size_t)i * image, k->rig.view[d] + (size_t)place * image, image);
            memcpy(k->key[d] + (size_t)i * image, k->rig.view[1 - d] + (size_t)order[place] * image, image);
        }
        k->batch.view[d] = apart && !o->symmetric && d == 1 ? NULL : k->share[d];
        k->batch.key[d] = apart && (d == 0 || o->symmetric) ? k->key[d] : NULL;
    }
    k->batch.n = share;
    k->batch.h = o->image_h;
    k->batch.w = o->image_w;
    k->batch.views = apart && !o->symmetric ? 1 : 2;
    k->batch.key_step = apart ? step : -1;
    k->batch.key_seed = apart ? o->seed : 0;
}

moco_status rank_step(struct rank *k, int64_t number)
{
    rank_draw(k, number);
    return rank_note(k, moco_trainer_step(k->rig.trainer, &k->batch, 0.05));
}

/* ---- several in one process ---- */

struct start {
    struct rank *rank;
    const struct rig_spec *spec;
    void (*body)(struct rank *rank);
    pthread_t thread;
};

static void *run(void *argument)
{
    struct start *s = argument;
    if (s->body != NULL)
        s->body(s->rank);
    else
        rank_open(s->rank, s->spec);
    return NULL;
}

static void start_all(struct team *team, const struct rig_spec *spec, void (*body)(struct rank *rank))
{
    struct start start[RANK_MAX];
    for (int r = 0; r < team->ranks; r++) {
        start[r] = (struct start){.rank = &team->rank[r], .spec = spec, .body = body};
        assert_int_equal(pthread_create(&start[r].thread, NULL, run, &start[r]), 0);
    }
    for (int r = 0; r < team->ranks; r++)
        pthread_join(start[r].thread, NULL);
}

void team_run(struct team *team, void (*body)(struct rank *rank))
{
    start_all(team, NULL, body);
}

static void begin_team(struct team *team, int ranks, const moco_comm_options *options, int by_id)
{
    moco_comm *comms[RANK_MAX] = {NULL};
    memset(team, 0, sizeof *team);
    assert_true(ranks <= RANK_MAX);
    team->ranks = ranks;
    rig_ok(moco_context_create(&team->context, NULL));
    if (!by_id)
        rig_ok(moco_comm_local(comms, ranks, team->context, options));
    for (int r = 0; r < ranks; r++)
        team->rank[r] = (struct rank){.comm = comms[r], .options = options, .id = team->id, .rank = r, .ranks = ranks};
}

void team_open(struct team *team, const struct rig_spec *spec, int ranks, const moco_comm_options *options)
{
    begin_team(team, ranks, options, 0);
    test_device(); /* which may end the program, from this thread */
    start_all(team, spec, NULL);
}

void team_open_gpus(struct team *team, const struct rig_spec *spec, int ranks, const moco_comm_options *options,
                    int by_id)
{
    moco_device *first;
    begin_team(team, ranks, options, by_id);
    rig_ok(moco_device_open(&first, team->context, "cudasim:0"));
    if (by_id)
        rig_ok(moco_comm_make_id(first, team->id, sizeof team->id));
    moco_device_free(first);
    for (int r = 0; r < ranks; r++)
        snprintf(team->rank[r].device, sizeof team->rank[r].device, "cudasim:%d", r);
    start_all(team, spec, NULL);
}

void team_close(struct team *team)
{
    int64_t live = -1, empty = -1;
    for (int r = 0; r < team->ranks; r++) {
        moco_comm_free(team->rank[r].comm);
        rank_close(&team->rank[r]);
    }
    rig_ok(moco_context_memory(team->context, &live, NULL, NULL));
    moco_context_free(team->context);
    rig_ok(moco_context_create(&team->context, NULL));
    rig_ok(moco_context_memory(team->context, &empty, NULL, NULL));
    moco_context_free(team->context);
    assert_int_equal(live, empty);
}
