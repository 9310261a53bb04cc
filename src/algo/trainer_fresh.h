/* SPDX-License-Identifier: MIT
 *
 * trainer_fresh: a training state that is read into memory of its own and then replaces that of a trainer in one go.
 * A file that turns out bad half-way has therefore changed nothing. What a reader would get wrong: fresh_adopt
 * cannot fail. Everything that can fail is done before it; fresh_finish is the last such call. */
#ifndef MOCO_ALGO_TRAINER_FRESH_H
#define MOCO_ALGO_TRAINER_FRESH_H

#include "algo/trainer_state.h"

struct fresh {
    struct trainer *trainer;
    struct encoder_numbers query, key;
    moco_augment_options recipe; /* size 0: none was read */
    struct be_memory momentum, readers, rows;
    int64_t next, filled, step, epoch, position;
    struct loss_scale scale; /* scale 0: none was read; it begins anew */
};

moco_status fresh_alloc(struct fresh *fresh, struct err *err); /* of fresh->trainer; fresh_free it on failure, too */
void fresh_free(struct fresh *fresh);

/* State tensor `i` of trainer_tensor_name, gradients left out; `size` as of encoder_tensor_set. MOCO_EFORMAT: the values
 * are no such tensor. */
moco_status fresh_set(struct fresh *fresh, int i, const void *values, size_t size, struct err *err);
/* The momentum of parameter `index`. */
moco_status fresh_set_momentum(struct fresh *fresh, int index, const void *values, size_t size, struct err *err);

/* What follows from the numbers: call it once all are set. */
moco_status fresh_finish(struct fresh *fresh, struct err *err);

/* Numbers, queue and counters become the trainer's; the old ones stay in `fresh`. The caller holds the lock of the query
 * encoder. */
void fresh_adopt(struct fresh *fresh);

#endif
