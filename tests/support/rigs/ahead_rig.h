/* SPDX-License-Identifier: MIT
 *
 * ahead_rig: a trainer that leaves its step with the device beside a twin that waits, and the ways to look at a state, which
 * have such a step land. */
#ifndef MOCO_TESTS_AHEAD_RIG_H
#define MOCO_TESTS_AHEAD_RIG_H

#include "support/rigs/train_rig.h"
#include "support/scratch_folder.h"

/* Those that run behind their caller. */
extern const char *const ahead_devices[2];
#define FOR_EACH_DEVICE(d) for (const char *const *d = ahead_devices; d < ahead_devices + 2; d++)

/* Narrow, and one launch: what counts is the order of calls. RIG_MECHANISMS: MoCo with a symmetric loss. */
struct rig_spec ahead_spec(const char *device, int mechanism);

/* Two trainers of one configuration, of which the twin waits for each step. */
void ahead_open(struct rig *rig, struct rig *twin, struct rig_spec spec);
void ahead_close(struct rig *rig, struct rig *twin);

moco_step_report ahead_report(struct rig *rig);
int64_t ahead_step(struct rig *rig); /* that have landed */
void ahead_says(const char *what);   /* moco_error() does, or the test fails */
moco_status ahead_embed(struct rig *rig, float out[64]);

/* Every way to look at a state, of which each waits. `same`: two numbers to set. */
enum ahead_look {
    LOOK_GET,
    LOOK_SET,
    LOOK_SAVE,
    LOOK_MODEL_GET,
    LOOK_MODEL_SAVE,
    LOOK_EMBED,
    LOOK_QUEUE,
    LOOK_QUEUE_STATE,
    LOOKS
};
moco_status ahead_look_at(struct rig *rig, enum ahead_look look, const double *same,
                          const struct scratch_folder *folder);
int ahead_tells(enum ahead_look look);

#endif
