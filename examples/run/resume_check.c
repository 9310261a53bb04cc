/* SPDX-License-Identifier: MIT
 *
 * resume_check: see resume_check.h. */
#include "resume_check.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "support/from_moco.h"
#include "support/precision.h"

#define RATES_MAX 100000000 /* steps whose rates are compared, at most */

/* ---- the note against the state in the same file ---- */

static moco_status says_otherwise(const char *path, const char *what, struct err *err)
{
    return err_set(err, MOCO_EFORMAT, "%.300s cannot be resumed: its note tells of another %s than its state", path,
                   what);
}

/* The options that memory is taken by; the others are compared when the state is loaded. */
static moco_status same_as_state(const struct resume_check *check, const char *path, const struct run_config *c,
                                 struct err *err)
{
    moco_model_options model, said_model;
    moco_trainer_options trainer, said_trainer;
    int64_t queue;
    moco_model_options_init(&model);
    moco_trainer_options_init(&trainer);
    TRY(from_moco(moco_checkpoint_describe(check->context, path, &model, &trainer, &queue, NULL, 0), err));
    run_config_model(c, &said_model);
    run_config_trainer(c, &said_trainer);
    if (strcmp(model.arch, said_model.arch) != 0 || strcmp(model.stem, said_model.stem) != 0 ||
        strcmp(model.head, said_model.head) != 0 || model.width != said_model.width || model.dim != said_model.dim)
        return says_otherwise(path, "network", err);
    if (queue != c->queue)
        return says_otherwise(path, "queue", err);
    if (trainer.batch_size != said_trainer.batch_size || trainer.bn_group_size != said_trainer.bn_group_size ||
        trainer.image_h != said_trainer.image_h || trainer.image_w != said_trainer.image_w)
        return says_otherwise(path, "batch", err);
    return MOCO_OK;
}

/* Checks that the file can hold every parameter and every key, in 4 bytes at least. */
static moco_status fits_into_file(const struct resume_check *check, const char *path, const struct run_config *c,
                                  struct err *err)
{
    moco_model_options model;
    moco_trainer_options trainer;
    moco_memory_estimate need;
    struct stat stat_of;
    run_config_model(c, &model);
    run_config_trainer(c, &trainer);
    trainer.precision = MOCO_PRECISION_AUTO; /* the count is the same in one that the device does not have */
    moco_memory_estimate_init(&need);
    TRY(from_moco(moco_trainer_estimate(check->device, &model, c->queue, &trainer, &need), err));
    if (stat(path, &stat_of) != 0)
        return MOCO_OK; /* who loads it will say why */
    double numbers = (double)need.parameters + (double)c->queue * (double)c->dim;
    if (4 * numbers > (double)stat_of.st_size)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s cannot be resumed: by its note it holds %.0f numbers, and it has %lld bytes", path,
                       numbers, (long long)stat_of.st_size);
    return MOCO_OK;
}

/* ---- what has changed ---- */

#define EARLIER "earlier changes are in metrics.jsonl"

static void remember(struct run_note *note, int64_t step, const char *what)
{
    char entry[500];
    size_t used = strlen(note->changed);
    if (what[0] == 0)
        return;
    snprintf(entry, sizeof entry, "step %lld: %.400s", (long long)step, what);
    if (used + strlen(entry) + 3 > sizeof note->changed)
        used = (size_t)snprintf(note->changed, sizeof note->changed, EARLIER);
    snprintf(note->changed + used, sizeof note->changed - used, "%s%s", used > 0 ? "; " : "", entry);
}

/* Were images taken away before? Then steps and epochs are not in step. */
static int had_other_images(const struct run_note *note)
{
    return strstr(note->changed, " images (were ") != NULL || strncmp(note->changed, EARLIER, strlen(EARLIER)) == 0;
}

/* ---- the note against the images ---- */

static int64_t images_of(const char *print)
{
    long long count = 0;
    return sscanf(print, "%lld images", &count) == 1 && count > 0 ? count : 0;
}

static moco_status other_images(const struct resume_check *check, const char *path, const struct run_note *note,
                                struct err *err)
{
    return err_set(err, MOCO_EINVAL,
                   "%.150s was made on other images (%s) than %.100s holds (%s); name the folder it was made on, from "
                   "which images may have been removed but none added",
                   path, note->data, check->mine.data, check->data->print);
}

/* The images are those of the checkpoint, or what is left of them. */
static moco_status take_images(struct resume_check *check, const char *path, struct run_note *note, struct err *err)
{
    struct data_sketch here, there;
    int64_t count = moco_dataset_count(check->data->train);
    check->images_before = images_of(note->data);
    if (check->images_before == 0)
        return err_set(err, MOCO_EFORMAT, "%.300s cannot be resumed: its note does not tell on how many images", path);
    data_sketch_make(&here, check->data->train, check->mine.data);
    if (strcmp(note->data, check->data->print) != 0) {
        if (count >= check->images_before || !data_sketch_parse(&there, note->sketch) ||
            !data_sketch_is_part(&here, &there))
            return other_images(check, path, note, err);
        snprintf(check->images, sizeof check->images, "%lld images (were %lld)", (long long)count,
                 (long long)check->images_before);
    }
    snprintf(note->data, sizeof note->data, "%s", check->data->print);
    data_sketch_text(&here, note->sketch);
    return MOCO_OK;
}

/* As far as the epoch can have come on as many images as there were. */
static moco_status check_counts(const struct resume_check *check, const char *path, const struct run_note *note,
                                struct err *err)
{
    int64_t per_epoch = check->images_before / note->config.batch;
    if ((note->epoch_steps > per_epoch && !had_other_images(note)) || (note->epoch_done && note->epoch_steps == 0))
        return err_set(err, MOCO_EFORMAT, "%.300s cannot be resumed: its note tells of %lld steps in an epoch of %lld",
                       path, (long long)note->epoch_steps, (long long)per_epoch);
    return MOCO_OK;
}

/* A run goes on in the precision that it began in, or in the one that the command line names. */
static moco_status has_precision(const struct resume_check *check, const char *path, const char *precision,
                                 struct err *err)
{
    char has[64];
    moco_device_info device;
    moco_device_info_init(&device);
    TRY(from_moco(moco_device_describe(check->device, &device), err));
    if (precision_runs(&device, precision))
        return MOCO_OK;
    precision_list(&device, has, sizeof has);
    if (strcmp(precision, check->before.precision) != 0)
        return err_set(err, MOCO_EINVAL, "device %s does not compute in --precision %s; it has %s", device.name,
                       precision, has);
    return err_set(err, MOCO_EINVAL,
                   "%.200s is of a run in %s, which device %s does not have here (it has %s); --precision %s goes on "
                   "from it, with other bits than that run would have had",
                   path, precision, device.name, has, precision_name(device.auto_precision));
}

moco_status resume_check_note(struct resume_check *check, const char *path, struct run_note *note, struct err *err)
{
    struct err reason = {0};
    check->options[0] = check->images[0] = 0;
    check->before = note->config;
    if (run_config_check(&note->config, &reason) != MOCO_OK)
        return err_set(err, MOCO_EFORMAT, "%.200s cannot be resumed: of its note, %.200s", path, reason.text);
    TRY(same_as_state(check, path, &note->config, err));
    TRY(fits_into_file(check, path, &note->config, err));
    TRY(take_images(check, path, note, err));
    TRY(check_counts(check, path, note, err));
    moco_status status = run_config_revise(&check->mine, &note->config, check->options, sizeof check->options, err);
    if (status == MOCO_OK)
        status = run_config_check(&note->config, err);
    if (status == MOCO_OK)
        status = has_precision(check, path, note->config.precision, err);
    check->conflict = status != MOCO_OK;
    return status;
}

/* ---- the state ---- */

moco_status resume_check_state(struct resume_check *check, const char *path, const moco_trainer *trainer,
                               struct run_note *note, struct err *err)
{
    int64_t step, epoch, position, batch = note->config.batch, per_epoch = check->images_before / batch;
    TRY(from_moco(moco_trainer_cursor(trainer, &step, &epoch, &position), err));
    int fits = epoch >= 0 && epoch < check->before.epochs && position == note->epoch_steps * batch &&
               (had_other_images(note) ? step >= note->epoch_steps && step < INT64_C(1) << 53
                                       : step == epoch * per_epoch + note->epoch_steps);
    if (!fits)
        return err_set(
            err, MOCO_EFORMAT,
            "%.200s cannot be resumed: its note tells of %lld steps in an epoch, and its state of step %lld, "
            "epoch %lld and %lld images of it",
            path, (long long)note->epoch_steps, (long long)step, (long long)epoch, (long long)position);
    if (epoch >= note->config.epochs) {
        check->conflict = 1;
        return err_set(err, MOCO_EINVAL,
                       "%.300s is of epoch %lld already; --epochs %lld asks for fewer, so leave it out", path,
                       (long long)epoch + 1, (long long)note->config.epochs);
    }
    remember(note, step, check->options);
    remember(note, step, check->images);
    return MOCO_OK;
}

/* The first epoch whose steps were made at another rate than they would be made at now; 0: there is none. */
static int64_t first_other_rate(const struct run_config *was, const struct run_config *is, int64_t step,
                                int64_t per_epoch)
{
    for (int64_t s = 0; s < step && s < RATES_MAX; s++)
        if (run_config_lr(was, s, per_epoch) != run_config_lr(is, s, per_epoch))
            return s / per_epoch + 1;
    return 0;
}

void resume_check_tell(const struct resume_check *check, const struct run_note *note, int64_t step, int64_t per_epoch,
                       void (*warn)(const char *sentence))
{
    char sentence[900];
    int64_t before = check->images_before / note->config.batch,
            other = check->options[0] != 0 ? first_other_rate(&check->before, &note->config, step, before) : 0;
    if (other > 0) {
        snprintf(sentence, sizeof sentence,
                 "the run goes on with %s: with these options it would have been made at other rates from epoch %lld "
                 "on, so it is not to the bit what a run with them is",
                 check->options, (long long)other);
        warn(sentence);
    }
    if (check->images[0] != 0) {
        snprintf(sentence, sizeof sentence,
                 "the run goes on with %s, %lld steps per epoch:%s from here on it is not to the bit what a run on "
                 "either is",
                 check->images, (long long)per_epoch,
                 note->epoch_done || step == 0 ? ""
                                               : " in the epoch under way some images come twice or not at all, and");
        warn(sentence);
    }
}
