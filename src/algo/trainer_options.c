/* SPDX-License-Identifier: MIT
 *
 * trainer_options: which options a trainer accepts, and in which combinations. What a reader would get wrong: the
 * size of a launch is part of the configuration, because it changes the last bits of sums. Its automatic choice
 * therefore depends on nothing but the options and the kind of device. It is an upper limit all the same: how many
 * groups there are to launch depends on the number of ranks. */
#include "algo/trainer_state.h"

#define BATCH_MAX (1 << 20)
#define SIDE_MAX 16384 /* graph_input's */

static moco_status check_flag(int value, const char *name, struct err *err)
{
    if (value != 0 && value != 1)
        return err_set(err, MOCO_EINVAL, "%s is %d; it must be 0 or 1", name, value);
    return MOCO_OK;
}

/* Comparisons are written so that NaN fails. */
static moco_status check_numbers(const moco_trainer_options *o, struct err *err)
{
    if (!(o->temperature > 0 && o->temperature <= 1e6))
        return err_set(err, MOCO_EINVAL, "temperature must be greater than 0 (and at most 10^6)");
    if (!(o->key_momentum >= 0 && o->key_momentum <= 1))
        return err_set(err, MOCO_EINVAL, "key_momentum must be 0 to 1");
    if (!(o->sgd_momentum >= 0 && o->sgd_momentum <= 1))
        return err_set(err, MOCO_EINVAL, "sgd_momentum must be 0 to 1");
    if (!(o->weight_decay >= 0 && o->weight_decay <= 1e6))
        return err_set(err, MOCO_EINVAL, "weight_decay must be 0 or more (and at most 10^6)");
    if (!(o->trust_coefficient > 0 && o->trust_coefficient <= 1e6))
        return err_set(err, MOCO_EINVAL, "trust_coefficient must be greater than 0 (and at most 10^6)");
    return MOCO_OK;
}

static moco_status check_choice(int value, const char *name, const char *zero, const char *one, struct err *err)
{
    if (value != 0 && value != 1)
        return err_set(err, MOCO_EINVAL, "%s is %d; it must be 0 (%s) or 1 (%s)", name, value, zero, one);
    return MOCO_OK;
}

/* Parts that do not fit together, each in a sentence that names both. */
static moco_status check_mechanism(const moco_trainer_options *o, struct err *err)
{
    TRY(check_choice(o->negatives, "negatives", "queue", "batch", err));
    TRY(check_choice(o->encoder_k, "encoder_k", "momentum", "shared", err));
    TRY(check_choice(o->loss, "loss", "InfoNCE", "NT-Xent", err));
    TRY(check_choice(o->optimizer, "optimizer", "SGD", "LARS", err));
    int shared = o->encoder_k == MOCO_KEY_SHARED, batch = o->negatives == MOCO_NEGATIVES_BATCH;
    if (shared && !batch)
        return err_set(err, MOCO_EINVAL,
                       "encoder_k is shared and negatives is queue: what a queue keeps must come from a momentum "
                       "encoder; take encoder_k momentum, or negatives batch");
    if (o->loss == MOCO_LOSS_NTXENT && !shared)
        return err_set(err, MOCO_EINVAL,
                       "loss is NT-Xent and encoder_k is momentum: NT-Xent back-propagates through both views; take "
                       "encoder_k shared and negatives batch, or loss InfoNCE");
    if (o->symmetric == 1 && shared)
        return err_set(err, MOCO_EINVAL,
                       "symmetric is 1 and encoder_k is shared: gradients reach both views as it is; symmetric is for "
                       "a momentum encoder");
    if (batch && o->batch_size < 2)
        return err_set(err, MOCO_EINVAL, "negatives is batch and batch_size is %d: one image has no negatives",
                       o->batch_size);
    return MOCO_OK;
}

static moco_status check_groups(const moco_trainer_options *o, struct err *err)
{
    int shared = o->encoder_k == MOCO_KEY_SHARED;
    if (o->bn_group_size < 1)
        return err_set(err, MOCO_EINVAL, "bn_group_size is %d; it must be 1 or more", o->bn_group_size);
    if (o->batch_size % o->bn_group_size != 0 && !(shared && o->bn_group_size == 2 * o->batch_size))
        return err_set(err, MOCO_EINVAL, "batch_size %d is not a multiple of bn_group_size %d%s", o->batch_size,
                       o->bn_group_size, shared ? ", nor is that twice the batch" : "");
    int groups = (shared ? 2 : 1) * o->batch_size / o->bn_group_size;
    if (shared && o->groups_per_launch != 0 && o->groups_per_launch != groups)
        return err_set(err, MOCO_EINVAL,
                       "groups_per_launch is %d and encoder_k is shared: all %d groups run at once; it must be 0 or "
                       "that",
                       o->groups_per_launch, groups);
    if (o->groups_per_launch < 0)
        return err_set(err, MOCO_EINVAL, "groups_per_launch is %d; it must be 0 (automatic) or more",
                       o->groups_per_launch);
    return MOCO_OK;
}

moco_status trainer_options_check(const moco_trainer_options *o, struct err *err)
{
    if (o->batch_size < 1 || o->batch_size > BATCH_MAX)
        return err_set(err, MOCO_EINVAL, "batch_size is %d; it must be 1 to %d", o->batch_size, BATCH_MAX);
    TRY(check_mechanism(o, err));
    TRY(check_groups(o, err));
    if (o->image_h < 1 || o->image_h > SIDE_MAX || o->image_w < 1 || o->image_w > SIDE_MAX)
        return err_set(err, MOCO_EINVAL, "image_h x image_w is %d x %d; each must be 1 to %d", o->image_h, o->image_w,
                       SIDE_MAX);
    TRY(check_numbers(o, err));
    TRY(check_flag(o->symmetric, "symmetric", err));
    TRY(check_flag(o->recompute, "recompute", err));
    TRY(check_flag(o->ahead, "ahead", err));
    TRY(check_flag(o->shuffle, "shuffle", err));
    return check_flag(o->interleave, "interleave", err);
}

/* All groups where samples are coupled; else the largest divisor of the number of groups whose launch stays below
 * what the device says of itself; one group at least. How many groups run at once changes the last bits of f32 sums. */
int trainer_groups_per_launch(const moco_trainer_options *o, int groups, int64_t launch_pixels)
{
    if (o->encoder_k == MOCO_KEY_SHARED)
        return groups;
    if (o->groups_per_launch > 0)
        return o->groups_per_launch;
    int64_t group_pixels = (int64_t)o->bn_group_size * o->image_h * o->image_w;
    int best = 1;
    for (int d = 2; d <= groups; d++)
        if (groups % d == 0 && d * group_pixels <= launch_pixels)
            best = d;
    return best;
}

int trainer_launch_groups(int wish, int groups)
{
    int fits = wish < groups ? wish : groups;
    while (groups % fits != 0)
        fits--;
    return fits;
}
