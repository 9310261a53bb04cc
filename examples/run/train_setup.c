/* SPDX-License-Identifier: MIT
 *
 * train_setup: see train_setup.h. */
#include "train_setup.h"

#include <stdio.h>
#include <string.h>

#include "codec/json.h"
#include "folder/leftovers.h"
#include "folder/machine.h"
#include "images/data_sketch.h"
#include "measure/encode.h"
#include "ranks_gpus.h"
#include "run_report.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/precision.h"
#include "support/stop_signal.h"
#include "train_advice.h"
#include "train_init.h"
#include "verify.h"
#include "views_place.h"

static void on_log(void *user, int level, const char *line)
{
    const struct run *r = user; /* the untrained encoder is measured on purpose: no need to be warned of it */
    if (level >= MOCO_LOG_WARN && !r->silent)
        train_warn(line);
}

/* What all ranks find alike is rank 0's to say. */
static void say_nothing(const char *sentence)
{
    (void)sentence;
}

static void on_launch(void *user, int done, int of)
{
    progress_launch(user, done, of);
}

void train_context(struct run *r, moco_context_options *o)
{
    const struct run_config *c = &r->note.config;
    moco_context_options_init(o);
    o->threads = (int32_t)(c->threads > 0 ? c->threads : r->ranks.processors);
    o->log = on_log;
    o->user = r;
    o->tuning_file = c->tuning[0] != 0 ? c->tuning : NULL;
}

/* Ranks with GPUs over NCCL have opened theirs; over MPI each takes the one of its place on the host. */
static moco_status open_device(struct run *r, struct err *err)
{
    char name[2 * CLI_NAME_SIZE];
    moco_context_options o;
    if (r->ranks.device != NULL) {
        r->context = r->ranks.context;
        r->device = r->ranks.device;
        r->ranks.context = NULL;
        r->ranks.device = NULL;
        return MOCO_OK;
    }
    train_context(r, &o);
    snprintf(name, sizeof name, "%s", r->note.config.device);
    if (r->ranks.ranks > 1)
        gpus_device(name, sizeof name, r->note.config.device, r->ranks.local);
    TRY(from_moco(moco_context_create(&r->context, &o), err));
    return from_moco(moco_device_open(&r->device, r->context, name), err);
}

moco_status train_open_machine(struct run *r, struct err *err)
{
    struct run_config *c = &r->note.config;
    TRY(open_device(r, err));
    moco_device_info_init(&r->info);
    TRY(from_moco(moco_device_describe(r->device, &r->info), err));
    run_config_settle(c, &r->info);
    TRY(open_data(&r->data, r->context, c->data, c->out, err));
    for (int i = 0; ranks_is_first(&r->ranks) && i < r->data.notes.count; i++)
        train_warn(r->data.notes.text[i]);
    return MOCO_OK;
}

moco_status train_check_data(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    int64_t count = moco_dataset_count(r->data.train);
    if (count < c->batch)
        return err_set(err, MOCO_EINVAL, "%.300s holds %lld training images, fewer than --batch-size %lld; %s", c->data,
                       (long long)count, (long long)c->batch,
                       r->resume.path[0] != 0 ? "the run cannot go on with so few" : "lower it or add images");
    r->steps_per_epoch = count / c->batch; /* the last partial batch is left out, as in the reference */
    return MOCO_OK;
}

/* Values in a checkpoint win over defaults. A command line that says otherwise is an error, except for the rates. */
moco_status train_choose_checkpoint(struct run *r, int *found, struct err *err)
{
    struct resume_check check = {.context = r->context, .device = r->device, .data = &r->data, .mine = r->note.config};
    struct data_sketch sketch;
    TRY(resume_open(&r->resume, &check, ranks_is_first(&r->ranks) ? train_warn : say_nothing, &r->note, found, err));
    if (*found)
        return MOCO_OK;
    moco_status status = run_config_check(&r->note.config, err); /* until now a checkpoint's options could have won */
    r->resume.check.conflict = status != MOCO_OK;
    TRY(status);
    snprintf(r->note.data, sizeof r->note.data, "%s", r->data.print);
    data_sketch_make(&sketch, r->data.train, r->note.config.data);
    data_sketch_text(&sketch, r->note.sketch);
    return train_take_init(r, err);
}

void train_set_monitor(struct run *r)
{
    const struct run_config *c = &r->note.config;
    r->watching = ranks_is_first(&r->ranks) && c->knn_every > 0 && r->data.held_out != NULL && r->data.lack[0] == 0;
    r->monitor = (struct monitor){
        .device = r->device,
        .bank = r->data.train,
        .queries = r->data.held_out,
        .recipe = r->eval_view,
        .bank_limit = c->knn_bank,
        .on = strcmp(c->knn_on, "projection") == 0 ? MOCO_PROJECTION : MOCO_FEATURES,
        .precision = encode_precision(precision_parse(c->precision)),
        .k = (int)c->knn_k,
        .temperature = c->knn_temperature,
        .workers = (int)c->workers,
        .max_bad = c->max_bad,
        .max_pixels = c->max_pixels,
        .warn = train_warn,
        .stop = stop_signal_came,
    };
}

void train_set_gallery(struct run *r)
{
    const struct run_config *c = &r->note.config;
    r->gallery = (struct gallery_plan){
        .device = r->device,
        .train = r->data.train,
        .held_out = r->data.held_out,
        .view = r->train_view,
        .eval = r->eval_view,
        .recipe = c->recipe,
        .on = r->monitor.on,
        .precision = r->monitor.precision,
        .seed = (uint64_t)c->seed,
        .workers = (int)c->workers,
        .max_bad = c->max_bad,
        .max_pixels = c->max_pixels,
        .stop = stop_signal_came,
        .map_limit = GALLERY_MAP_IMAGES,
        .bank_limit = GALLERY_BANK_IMAGES,
    };
}

static moco_status make_model(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    moco_model_options model;
    run_config_model(c, &model);
    if (r->model == NULL) /* --init has made it */
        TRY(from_moco(moco_model_create(&r->model, r->device, &model), err));
    TRY(from_moco(moco_model_set_recipe(r->model, &r->eval_view), err));
    if (strcmp(c->negatives, "queue") == 0)
        TRY(from_moco(moco_queue_create(&r->queue, r->device, model.dim, c->queue, (uint64_t)c->seed), err));
    return MOCO_OK;
}

/* What nobody asked for is no reason to fail. */
static moco_status keep_pictures(struct run *r, moco_pictures **pictures, struct err *err)
{
    const struct run_config *c = &r->note.config;
    struct views_place place;
    char sentence[900];
    *pictures = NULL;
    TRY(views_place(&place, c->views, r->device, r->data.train, err));
    if (!place.on_device)
        return MOCO_OK;
    moco_status status = moco_pictures_create(pictures, r->device, r->data.train, c->max_pixels);
    if (status != MOCO_OK && strcmp(c->views, "auto") == 0 && status != MOCO_EDEVICE) {
        snprintf(sentence, sizeof sentence, "views are made on the host: %.700s", moco_error());
        train_warn(sentence);
        return MOCO_OK;
    }
    TRY(from_moco(status, err));
    if (ranks_is_first(&r->ranks))
        progress_say(&r->progress, "views are made on %s, of %s pictures that take %s there", c->device,
                     human_count(moco_dataset_count(r->data.train)), human_bytes(moco_pictures_bytes(*pictures)));
    return MOCO_OK;
}

static moco_status make_loader(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    moco_loader_options loader;
    moco_pictures *pictures;
    TRY(keep_pictures(r, &pictures, err));
    moco_loader_options_init(&loader);
    loader.rank = r->ranks.rank;
    loader.ranks = r->ranks.ranks;
    loader.interleave = (int32_t)c->interleave;
    loader.batch_size = (int32_t)c->batch;
    loader.workers = (int32_t)c->workers;
    loader.permuted = 1;
    loader.drop_last = 1;
    loader.seed = (uint64_t)c->seed;
    int64_t count = moco_dataset_count(r->data.train);
    r->bad_limit = verify_limit(c, count); /* of the first epoch: see watch_bad */
    loader.max_bad = count / 10 > r->bad_limit ? count / 10 : r->bad_limit;
    loader.max_pixels = c->max_pixels;
    loader.recipe[0] = loader.recipe[1] = &r->train_view;
    loader.pictures = pictures;
    loader.device = r->device;
    moco_status status = from_moco(moco_loader_create(&r->loader, r->data.train, &loader), err);
    moco_pictures_free(pictures); /* the loader keeps them */
    return status;
}

/* Ranks agree before the trainer is made, which all of them do together. */
moco_status train_make_trainer(struct run *r, struct err *err)
{
    moco_trainer_options trainer;
    run_config_trainer(&r->note.config, &trainer);
    trainer.ahead = r->info.ahead;
    if (!r->info.ahead) { /* else a step is too short to be watched, and is not watched to be shorter */
        trainer.progress = on_launch;
        trainer.progress_user = &r->progress;
    }
    trainer.comm = r->ranks.comm;
    TRY(ranks_share_status(&r->ranks, make_model(r, err), err));
    TRY(ranks_step(&r->ranks, moco_trainer_create(&r->trainer, r->model, r->queue, &trainer), err));
    TRY(make_loader(r, err));
    stop_signal_cancels(r->trainer);
    return MOCO_OK;
}

/* Sets the position of the run in its schedule. Steps and epochs agree unless images were removed during the run. */
moco_status train_take_place(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    const struct run_note *n = &r->note;
    int64_t step, epoch;
    TRY(from_moco(moco_trainer_cursor(r->trainer, &step, &epoch, NULL), err));
    int64_t in_epoch = n->epoch_done || n->epoch_steps > r->steps_per_epoch ? r->steps_per_epoch : n->epoch_steps;
    r->begun = r->landed = step;
    r->behind = step - (epoch * r->steps_per_epoch + in_epoch);
    r->last_step = r->steps_per_epoch * c->epochs + r->behind;
    if (c->max_steps > 0 && c->max_steps < r->last_step)
        r->last_step = c->max_steps;
    return MOCO_OK;
}

static moco_status log_resume(struct run *r, int64_t epoch, int64_t step, struct err *err)
{
    struct machine here;
    char members[MACHINE_JSON], sentence[200];
    if (r->metrics.last_step < step) {
        snprintf(sentence, sizeof sentence,
                 "metrics.jsonl ends at step %lld, before the checkpoint's %lld: the lines between were lost",
                 (long long)r->metrics.last_step, (long long)step);
        train_warn(sentence);
    }
    machine_here(&here, &r->info);
    machine_json(&here, members, sizeof members);
    return metrics_resume(&r->metrics, epoch + 1, step, members, err);
}

static moco_status log_config(struct run *r, struct err *err)
{
    char members[3 * NOTE_SIZE], changed[2 * CHANGED_SIZE];
    run_report_json(&r->note.config, &r->info, &r->data, members, 2 * NOTE_SIZE);
    if (r->ranks.comm != NULL) {
        char engine[2 * sizeof r->ranks.engine];
        size_t used = strlen(members);
        json_quote(r->ranks.engine, engine, sizeof engine);
        snprintf(members + used, sizeof members - used, ",\"ranks\":%d,\"engine\":%s", r->ranks.ranks, engine);
    }
    if (r->note.changed[0] != 0) {
        size_t used = strlen(members);
        json_quote(r->note.changed, changed, sizeof changed);
        snprintf(members + used, sizeof members - used, ",\"changed\":%s", changed);
    }
    return metrics_config(&r->metrics, members, err);
}

moco_status train_open_folder(struct run *r, int resumed, struct err *err)
{
    const struct run_config *c = &r->note.config;
    const struct resume_check *check = &r->resume.check;
    int64_t step = 0, epoch = 0;
    TRY(from_moco(moco_trainer_cursor(r->trainer, &step, &epoch, NULL), err));
    if (resumed) {
        TRY(resume_check_out(&r->resume, epoch, err));
        TRY(machine_compare(r->resume.from, step, &r->info, train_warn, err));
        resume_check_tell(check, &r->note, step, r->steps_per_epoch, train_warn);
        progress_say(&r->progress, "resumed %s at step %lld%s%s", r->resume.path, (long long)step,
                     check->options[0] != 0 ? ", with " : "", check->options);
    }
    TRY(metrics_open(&r->metrics, c->out, resumed ? step : -1, (int)r->note.epoch_done, err));
    if (!resumed)
        TRY(metrics_empty(&r->metrics, err)); /* --resume auto of a run that ended before its first checkpoint */
    if (c->tensorboard)
        TRY(metrics_tensorboard(&r->metrics, c->out, resumed ? step : 0, err));
    int removed = leftovers_remove_run(c->out, r->metrics.file.locked, train_warn);
    if (removed > 0)
        progress_say(&r->progress, "removed %d unfinished file%s of runs that were killed", removed,
                     removed > 1 ? "s" : "");
    if (resumed && metrics_begun(&r->metrics)) {
        TRY(log_resume(r, epoch, step, err));
        return check->options[0] != 0 || check->images[0] != 0 ? log_config(r, err) : MOCO_OK;
    }
    return log_config(r, err);
}
