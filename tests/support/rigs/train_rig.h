/* SPDX-License-Identifier: MIT
 *
 * train_rig: context, device, model, queue and trainer of one tiny configuration through the public API, and batches
 * that are pure functions of their number. What a reader would get wrong: two rigs of one spec are two independent
 * trainings, which must agree to the bit; a test of "as if it had not been tried" compares with an untouched twin. */
#ifndef MOCO_TESTS_TRAIN_RIG_H
#define MOCO_TESTS_TRAIN_RIG_H

#include <stddef.h>
#include <stdint.h>

#include "moco/moco.h"

struct rig_spec {
    const char *device; /* NULL: test_device() */
    moco_model_options model;
    moco_trainer_options trainer;
    int64_t queue_length;
    moco_context_options context;
    int flat_images; /* 1: every pixel of every image is the same */
};

struct rig {
    struct rig_spec spec;
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue; /* NULL: negatives come from the batch */
    moco_trainer *trainer;
    uint8_t *view[2];
    moco_batch batch;
};

/* A narrow ResNet-18, 16 pixels, batch 16 in 4 groups of one launch each, queue of 40 keys: milliseconds a step. */
struct rig_spec rig_spec(void);

/* Every mechanism that a trainer knows, MoCo first: fills the parts of `spec` that say which. */
enum { RIG_MOCO, RIG_BATCH_KEYS, RIG_END_TO_END, RIG_SIMCLR, RIG_SIMCLR_LARS, RIG_MECHANISMS };
void rig_mechanism(struct rig_spec *spec, int mechanism);

void rig_open(struct rig *rig, const struct rig_spec *spec);
void rig_close(struct rig *rig); /* fails the test if memory is still held */

/* Draws batch number `number` and makes a step of it with rate 0.05. */
moco_status rig_step(struct rig *rig, int64_t number);
void rig_draw(struct rig *rig, int64_t number);
/* Steps number first..last - 1, each of which must succeed. */
void rig_run(struct rig *rig, int64_t first, int64_t last);

/* Fails the test, with moco_error(), unless `status` is `wanted`. */
void rig_expect(moco_status status, moco_status wanted);
#define rig_ok(status) rig_expect((status), MOCO_OK)

/* A state tensor as doubles (the caller frees), and back. */
double *rig_get(struct rig *rig, const char *name, size_t *count);
void rig_set(struct rig *rig, const char *name, const double *values);

/* Euclidean norm of the difference of one tensor in two rigs, relative to the second's. */
double rig_difference(struct rig *a, struct rig *b, const char *name);

/* Fails the test unless both rigs would save the same bytes. */
void rig_expect_equal(struct rig *a, struct rig *b);

/* All bytes of a file (the caller frees). */
char *rig_read_file(const char *path, size_t *size);

#endif
