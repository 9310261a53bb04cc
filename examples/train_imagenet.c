/* SPDX-License-Identifier: MIT
 *
 * train_imagenet: MoCo pre-training (or SimCLR's, or end-to-end) from the command line, with the options of the
 * reference's main_moco.py and a run folder that survives anything: a checkpoint per epoch, exact resume at any step,
 * metrics a program can read. The pieces lie in common/; this file is the order in which they happen. What a reader
 * would get wrong: libmoco owns no loop, so epochs, schedule, signals and files are all decided here. */
#include <moco/moco.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checkpoints.h"
#include "common/contention.h"
#include "common/disk_need.h"
#include "common/from_moco.h"
#include "common/health.h"
#include "common/human.h"
#include "common/keeping.h"
#include "common/leftovers.h"
#include "common/live_report.h"
#include "common/machine.h"
#include "common/metrics.h"
#include "common/monitor.h"
#include "common/open_data.h"
#include "common/program_start.h"
#include "common/progress.h"
#include "common/rerun.h"
#include "common/resume.h"
#include "common/run_config.h"
#include "common/run_dir.h"
#include "common/run_report.h"
#include "common/stop_signal.h"
#include "common/wait_policy.h"
#include "common/verify.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 };

struct run {
    struct run_note note; /* with the configuration, and how far the epoch under way has come */
    moco_context *context;
    moco_device *device;
    moco_device_info info;
    struct open_data data;
    struct resume resume;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_loader *loader;
    moco_augment_options train_view, eval_view;
    struct monitor monitor;
    int watching; /* the kNN monitor has what it needs */
    struct metrics_knn seen, told; /* by it, last, and what of that has been warned of */
    struct metrics metrics;
    struct gallery_plan gallery;
    struct live_report report;
    struct progress progress;
    struct contention contention;
    struct keeping keeping;
    int64_t bad_limit;
    int bad_said;
    double saved; /* when the last checkpoint was written, or the run began */
    int64_t steps_per_epoch, last_step;
    int64_t begun;       /* the step that this process began with */
    int64_t checkpoints; /* written by it */
    int64_t behind;      /* steps that were made, less those that the schedule counts up to here */
    double epoch_begun;
    int silent; /* 1: libmoco's warnings are not passed on */
};

static const char help_head[] =
    "usage: train_imagenet DIR [OPTIONS]\n"
    "\n"
    "Pre-trains an image encoder with MoCo (Momentum Contrast) on the images below DIR. They need no labels; class\n"
    "folders serve the kNN monitor only. DIR holds one of\n"
    "  train/ and val/ or test/   folders of class folders, as ImageNet is unpacked\n"
    "  class folders, or images   .jpg .jpeg .png; nothing is held out then\n"
    "  data_batch_*.bin           CIFAR-10's binary files, and test_batch.bin\n"
    "\n"
    "Option names are those of the reference's main_moco.py. This is its MoCo v2 command:\n"
    "  train_imagenet /data/imagenet -a resnet50 --lr 0.03 --batch-size 256 --mlp --moco-t 0.2 --aug-plus --cos\n"
    "and, as that is the default preset, so is\n"
    "  train_imagenet /data/imagenet --out run1\n"
    "The paper's other rows: --preset moco-v1; with --mlp --moco-t 0.2; with --aug-plus; with --mlp --moco-t 0.2\n"
    "--aug-plus; --preset moco-v2 --epochs 800. What it is compared with: --preset simclr, --preset end-to-end.\n"
    "A look before the leap, a run of an hour or two, and going on after anything that ended a run:\n"
    "  train_imagenet /data/imagenet --dry-run\n"
    "  train_imagenet /data/cifar10 --preset cifar10 --width 0.25 --epochs 10 --out cifar\n"
    "  train_imagenet /data/cifar10 --resume auto --out cifar\n";

static const char help_tail[] =
    "\n"
    "The run folder holds\n"
    "  metrics.jsonl                one JSON object a line: config, then step and epoch objects (epochs from 1)\n"
    "  checkpoint_NNNN.safetensors  the whole state after epoch NNNN, or within it, from 0 as in the\n"
    "                               reference (0: before the first step, too); the last three and ten on\n"
    "                               the way stay (--keep, --keep-every). None is of a state that diverged\n"
    "  report.html                  all of it to look at, in a browser; build/examples/report lays several over each "
    "other\n"
    "  gallery.json                 the pictures and points of that page\n"
    "  events.out.tfevents.*        with --tensorboard\n"
    "  encoder.safetensors          at the end: the query encoder, for moco_model_open and examples/embed\n"
    "On --resume the checkpoint's options win: leave them out. An option that says otherwise is an error, but for "
    "--lr,\n"
    "--epochs, --schedule, --lr-schedule and --warmup-epochs: a run may go on at other rates, or longer, and is told\n"
    "what is no longer to the bit then. So it may on images from which some were removed.\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what, where and what to do. 2 wrong command\n"
    "line. 75 stopped by SIGINT, SIGTERM, SIGHUP or SIGUSR1, and saved: --resume auto goes on from there, to the same\n"
    "bits. A second SIGINT or SIGTERM ends the program at once; whatever was saved before stays good.\n";

static void warn(const char *sentence)
{
    const char *clear = isatty(STDERR_FILENO) ? "\r\033[K" : ""; /* a progress line may stand there */
    fprintf(stderr, "%strain_imagenet: warning: %s\n", clear, sentence);
}

static void on_log(void *user, int level, const char *line)
{
    const struct run *r = user; /* the untrained encoder is measured on purpose: no need to be warned of it */
    if (level >= MOCO_LOG_WARN && !r->silent)
        warn(line);
}

static void on_launch(void *user, int done, int of)
{
    progress_launch(user, done, of);
}

/* What a person can do about a failure whose sentence comes from libmoco. Where a run goes on, most options can no
 * longer change. */
static const char *advice(const struct run *r, moco_status status)
{
    int resumed = r->resume.path[0] != 0;
    int64_t step = 0;
    if (r->trainer != NULL)
        moco_trainer_cursor(r->trainer, &step, NULL, NULL);
    switch (status) {
    case MOCO_EBADDATA:
        return "; --verify lists them all: repair or remove them, raise --max-pixels for those that are too large, or "
               "raise --max-bad";
    case MOCO_ENUMERIC:
        if (resumed && step == r->begun)
            return "; this checkpoint's first step fails, at whatever rate: go on from an earlier one, or start again "
                   "with a lower --lr, in another --out";
        return r->checkpoints > 0 || resumed
                   ? "; the checkpoints are from before: try a lower --lr, from an earlier checkpoint (--resume FILE) in "
                     "another --out, or from the start if all of them were made at too high a rate"
                   : "; try a lower --lr in another --out";
    case MOCO_ENOMEM:
        if (resumed)
            return "; --recompute takes less memory, and gives the same numbers";
        return "; --dry-run shows what is needed: try --groups-per-launch 1 or a smaller --bn-group-size, with "
               "--encoder-k shared a smaller --batch-size";
    case MOCO_ENOTSUP:
        return resumed ? "; go on where the checkpoint was made" : "; try --precision f32";
    default:
        return "";
    }
}

static int complain(const struct run *r, moco_status status, const struct err *err)
{
    fprintf(stderr, "train_imagenet: %s%s\n", err->text, advice(r, status));
    return EXIT_FAILED;
}

/* ---- setting up ---- */

static moco_status open_machine(struct run *r, struct err *err)
{
    struct run_config *c = &r->note.config;
    moco_context_options o;
    moco_context_options_init(&o);
    o.threads = (int32_t)c->threads;
    o.log = on_log;
    o.user = r;
    TRY(from_moco(moco_context_create(&r->context, &o), err));
    TRY(from_moco(moco_device_open(&r->device, r->context, c->device), err));
    moco_device_info_init(&r->info);
    TRY(from_moco(moco_device_describe(r->device, &r->info), err));
    run_config_settle(c, &r->info);
    TRY(open_data(&r->data, r->context, c->data, c->out, err));
    for (int i = 0; i < r->data.notes.count; i++)
        warn(r->data.notes.text[i]);
    return MOCO_OK;
}

static moco_status check_data(struct run *r, struct err *err)
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

/* Where the run stands in its schedule. Steps and epochs are in step unless images were taken away on the way. */
static moco_status take_place(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    const struct run_note *n = &r->note;
    int64_t step, epoch;
    TRY(from_moco(moco_trainer_cursor(r->trainer, &step, &epoch, NULL), err));
    int64_t in_epoch = n->epoch_done || n->epoch_steps > r->steps_per_epoch ? r->steps_per_epoch : n->epoch_steps;
    r->begun = step;
    r->behind = step - (epoch * r->steps_per_epoch + in_epoch);
    r->last_step = r->steps_per_epoch * c->epochs + r->behind;
    if (c->max_steps > 0 && c->max_steps < r->last_step)
        r->last_step = c->max_steps;
    return MOCO_OK;
}

/* What stands in a checkpoint wins over defaults; over what the command line says, it is an error, but for the rates.
 */
static moco_status choose_checkpoint(struct run *r, int *found, struct err *err)
{
    struct resume_check check = {.context = r->context, .device = r->device, .data = &r->data, .mine = r->note.config};
    struct data_sketch sketch;
    TRY(resume_open(&r->resume, &check, warn, &r->note, found, err));
    if (*found)
        return MOCO_OK;
    snprintf(r->note.data, sizeof r->note.data, "%s", r->data.print);
    data_sketch_make(&sketch, r->data.train, r->note.config.data);
    data_sketch_text(&sketch, r->note.sketch);
    return MOCO_OK;
}

static void print_warnings(struct run *r)
{
    const struct run_config *c = &r->note.config;
    char sentence[512];
    int64_t count = moco_dataset_count(r->data.train);
    if (c->queue > count / 4) {
        snprintf(sentence, sizeof sentence,
                 "the queue of --moco-k %lld keys is longer than a quarter of the %lld images: many negatives will be "
                 "other views of the query's own image; consider --moco-k %lld or less",
                 (long long)c->queue, (long long)count, (long long)(count / 4 > 0 ? count / 4 : 1));
        warn(sentence);
    }
    if (c->knn_every > 0 && !r->watching) {
        snprintf(sentence, sizeof sentence, "no kNN monitor: %s; training goes on without it", r->data.lack);
        warn(sentence);
    }
    int64_t bank = c->knn_bank > 0 && c->knn_bank < count ? c->knn_bank : count;
    if (r->watching && c->knn_k > bank) { /* here, for monitor_run would say it at every epoch */
        snprintf(sentence, sizeof sentence,
                 "the kNN monitor looks among %lld images, fewer than --knn-k %lld: all of them vote", (long long)bank,
                 (long long)c->knn_k);
        warn(sentence);
    }
}

static void warn_of_disk(const struct run *r)
{
    struct disk_need need;
    moco_model_info info;
    char sentence[512];
    moco_model_info_init(&info);
    if (moco_model_describe(r->model, &info) != MOCO_OK)
        return;
    disk_need(&need, &r->note.config, info.parameters);
    if (disk_need_lacks(&need, &r->note.config, sentence, sizeof sentence))
        warn(sentence);
}

static void set_monitor(struct run *r)
{
    const struct run_config *c = &r->note.config;
    r->watching = c->knn_every > 0 && r->data.held_out != NULL && r->data.lack[0] == 0;
    r->monitor = (struct monitor){
        .device = r->device,
        .bank = r->data.train,
        .queries = r->data.held_out,
        .recipe = r->eval_view,
        .bank_limit = c->knn_bank,
        .on = strcmp(c->knn_on, "projection") == 0 ? MOCO_PROJECTION : MOCO_FEATURES,
        .k = (int)c->knn_k,
        .temperature = c->knn_temperature,
        .workers = (int)c->workers,
        .max_bad = c->max_bad,
        .max_pixels = c->max_pixels,
        .warn = warn,
        .stop = stop_signal_came,
    };
}

static void set_gallery(struct run *r)
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
        .seed = (uint64_t)c->seed,
        .workers = (int)c->workers,
        .max_bad = c->max_bad,
        .max_pixels = c->max_pixels,
        .stop = stop_signal_came,
        .map_limit = GALLERY_MAP_IMAGES,
        .bank_limit = GALLERY_BANK_IMAGES,
    };
}

static moco_status make_trainer(struct run *r, struct err *err)
{
    const struct run_config *c = &r->note.config;
    moco_model_options model;
    moco_trainer_options trainer;
    moco_loader_options loader;
    run_config_model(c, &model);
    run_config_trainer(c, &trainer);
    trainer.progress = on_launch;
    trainer.progress_user = &r->progress;
    TRY(from_moco(moco_model_create(&r->model, r->device, &model), err));
    TRY(from_moco(moco_model_set_recipe(r->model, &r->eval_view), err));
    if (trainer.negatives == MOCO_NEGATIVES_QUEUE)
        TRY(from_moco(moco_queue_create(&r->queue, r->device, model.dim, c->queue, (uint64_t)c->seed), err));
    TRY(from_moco(moco_trainer_create(&r->trainer, r->model, r->queue, &trainer), err));
    moco_loader_options_init(&loader);
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
    TRY(from_moco(moco_loader_create(&r->loader, r->data.train, &loader), err));
    stop_signal_cancels(r->trainer);
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
        warn(sentence);
    }
    machine_here(&here, &r->info);
    machine_json(&here, members, sizeof members);
    return metrics_resume(&r->metrics, epoch + 1, step, members, err);
}

static moco_status log_config(struct run *r, struct err *err)
{
    char members[3 * NOTE_SIZE], changed[2 * CHANGED_SIZE];
    run_report_json(&r->note.config, &r->info, &r->data, members, 2 * NOTE_SIZE);
    if (r->note.changed[0] != 0) {
        size_t used = strlen(members);
        json_quote(r->note.changed, changed, sizeof changed);
        snprintf(members + used, sizeof members - used, ",\"changed\":%s", changed);
    }
    return metrics_config(&r->metrics, members, err);
}

static moco_status open_run_dir(struct run *r, int resumed, struct err *err)
{
    const struct run_config *c = &r->note.config;
    const struct resume_check *check = &r->resume.check;
    int64_t step = 0, epoch = 0;
    TRY(from_moco(moco_trainer_cursor(r->trainer, &step, &epoch, NULL), err));
    if (resumed) {
        TRY(resume_check_out(&r->resume, epoch, err));
        TRY(machine_compare(r->resume.from, step, &r->info, warn, err));
        resume_check_tell(check, &r->note, step, r->steps_per_epoch, warn);
        progress_say(&r->progress, "resumed %s at step %lld%s%s", r->resume.path, (long long)step,
                     check->options[0] != 0 ? ", with " : "", check->options);
    }
    TRY(metrics_open(&r->metrics, c->out, resumed ? step : 0, (int)r->note.epoch_done, err));
    if (!resumed)
        TRY(metrics_empty(&r->metrics, err)); /* --resume auto of a run that ended before its first checkpoint */
    if (c->tensorboard)
        TRY(metrics_tensorboard(&r->metrics, c->out, resumed ? step : 0, err));
    int removed = leftovers_remove_run(c->out, r->metrics.file.locked, warn);
    if (removed > 0)
        progress_say(&r->progress, "removed %d unfinished file%s of runs that were killed", removed,
                     removed > 1 ? "s" : "");
    if (resumed && metrics_begun(&r->metrics)) {
        TRY(log_resume(r, epoch, step, err));
        return check->options[0] != 0 || check->images[0] != 0 ? log_config(r, err) : MOCO_OK;
    }
    return log_config(r, err);
}

/* ---- training ---- */

static moco_status write_checkpoint(struct run *r, int64_t epoch, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_checkpoint_path(r->note.config.out, epoch, path);
    TRY(metrics_sync(&r->metrics, err));
    TRY(checkpoint_write(r->trainer, path, &r->note, err));
    r->checkpoints++;
    r->saved = seconds_now();
    return keeping_prune(&r->keeping, r->note.config.out, err);
}

static moco_status save(struct run *r, int64_t epoch, struct err *err)
{
    TRY(health_check(r->model, r->note.config.size, err)); /* or the last state that can go on would be lost */
    return write_checkpoint(r, epoch, err);
}

/* Within an epoch, when the last checkpoint is old enough. The file is that of the epoch, which its next save replaces.
 * A save that fails costs nothing that the last one holds: the run goes on and tries again. */
static void save_by_time(struct run *r, int64_t epoch, int64_t step, double *mark)
{
    const struct run_config *c = &r->note.config;
    struct err err = {0};
    char sentence[900];
    int last = r->note.epoch_steps == r->steps_per_epoch || step >= r->last_step; /* saved in a moment as it is */
    if (c->checkpoint_minutes <= 0 || last || seconds_now() - r->saved < 60 * c->checkpoint_minutes)
        return;
    moco_status status = save(r, epoch, &err);
    *mark = r->saved = seconds_now(); /* the next step's speed is its own */
    if (status == MOCO_OK)
        return;
    snprintf(sentence, sizeof sentence, "no checkpoint after step %lld, and training goes on: %.700s", (long long)step,
             err.text);
    warn(sentence);
}

/* What could not be read is warned of when it is met first, and when there is more or less of it. */
static void tell_unreadable(struct run *r, const struct monitor_result *result)
{
    const struct unreadable *of[] = {&result->of_bank, &result->of_queries};
    char text[UNREADABLE_TEXT];
    r->seen = (struct metrics_knn){result->bank, result->queries, of[0]->count + of[1]->count};
    if (memcmp(&r->seen, &r->told, sizeof r->seen) == 0)
        return;
    r->told = r->seen;
    for (int i = 0; i < 2; i++)
        if (of[i]->count > 0)
            warn(unreadable_text(of[i], i == 0 ? "kNN monitor, training images" : "kNN monitor, held-out images", text,
                                 sizeof text));
    if (isnan(result->accuracy))
        warn("no kNN accuracy: there is nothing that could be read to measure it with; training goes on without it");
}

static moco_status watch(struct run *r, double *percent, struct err *err)
{
    struct monitor_result result;
    *percent = -1;
    if (!r->watching)
        return MOCO_OK;
    TRY(monitor_run(&r->monitor, r->model, &result, err));
    tell_unreadable(r, &result);
    if (!isnan(result.accuracy))
        *percent = 100 * result.accuracy;
    return MOCO_OK;
}

/* The untrained encoder's accuracy: what all later ones are compared with. */
static moco_status watch_untrained(struct run *r, struct err *err)
{
    double percent, begun = seconds_now();
    if (!r->watching)
        return MOCO_OK;
    r->silent = 1;
    r->monitor.warn = NULL; /* what has not learnt anything may look collapsed */
    moco_status status = watch(r, &percent, err);
    r->monitor.warn = warn;
    r->silent = 0;
    TRY(status);
    if (percent >= 0)
        progress_say(&r->progress, "epoch 0/%lld  kNN %.2f %% untrained, %s", (long long)r->note.config.epochs, percent,
                     human_seconds(seconds_now() - begun));
    return metrics_epoch(&r->metrics, 0, 0, NAN, percent, &r->seen, seconds_now() - begun, err);
}

static moco_status wait_seconds(struct run *r, double *seconds, struct err *err)
{
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    TRY(from_moco(moco_loader_get_stats(r->loader, &stats), err));
    *seconds = stats.wait_seconds;
    return MOCO_OK;
}

static moco_status after_step(struct run *r, int64_t epoch, double *mark, double *waited, struct err *err)
{
    const struct run_config *c = &r->note.config;
    moco_step_report report;
    double now_waited = 0;
    moco_step_report_init(&report);
    TRY(from_moco(moco_trainer_report(r->trainer, &report), err));
    TRY(wait_seconds(r, &now_waited, err));
    double now = seconds_now(), passed = now - *mark > 1e-9 ? now - *mark : 1e-9;
    if (r->note.epoch_done) { /* the first step of another epoch */
        r->note.epoch_done = r->note.epoch_steps = 0;
        r->note.epoch_loss = 0;
    }
    r->note.epoch_loss += report.loss;
    r->note.epoch_steps++;
    TRY(metrics_step(&r->metrics, epoch + 1, &report, (double)c->batch / passed, (now_waited - *waited) / passed, err));
    struct progress_step shown = {
        .epoch = epoch + 1,
        .epochs = c->epochs,
        .at = r->note.epoch_steps,
        .of = r->steps_per_epoch,
        .left = r->last_step - report.step,
        .wait_seconds = now_waited,
        .report = &report,
    };
    progress_step(&r->progress, &shown);
    const char *slowed = contention_step(&r->contention, wait_policy_advice());
    if (slowed != NULL)
        warn(slowed);
    live_report_tick(&r->report);
    *mark = now;
    *waited = now_waited;
    return MOCO_OK;
}

/* A run that has come through an epoch is not ended by damage that its views happened to miss then. */
static moco_status watch_bad(struct run *r, int64_t epoch, struct err *err)
{
    moco_loader_stats stats;
    char sentence[256];
    moco_loader_stats_init(&stats);
    TRY(from_moco(moco_loader_get_stats(r->loader, &stats), err));
    if (stats.bad_images <= r->bad_limit || r->bad_said)
        return MOCO_OK;
    long long bad = (long long)stats.bad_images, all = (long long)moco_dataset_count(r->data.train);
    if (epoch == 0)
        return err_set(err, MOCO_EBADDATA, "%lld of the %lld training images cannot be read and --max-bad allows %lld",
                       bad, all, (long long)r->bad_limit);
    snprintf(sentence, sizeof sentence,
             "%lld of the %lld training images cannot be read, more than --max-bad %lld; they are replaced and "
             "training goes on, as an epoch was passed before; --verify lists them all",
             bad, all, (long long)r->bad_limit);
    warn(sentence);
    r->bad_said = 1;
    return MOCO_OK;
}

/* From `position` to the epoch's end, or to the run's last step. MOCO_ECANCELED: a signal came, nothing was lost. */
static moco_status train_epoch(struct run *r, int64_t epoch, int64_t position, int64_t *step, struct err *err)
{
    moco_batch batch;
    double waited = 0, mark = seconds_now();
    moco_batch_init(&batch);
    TRY(from_moco(moco_loader_start_at(r->loader, epoch, position), err));
    TRY(wait_seconds(r, &waited, err));
    progress_mark(&r->progress, *step, waited);
    while (*step < r->last_step) {
        if (stop_signal_came())
            return MOCO_ECANCELED;
        moco_status status = moco_loader_next(r->loader, &batch);
        if (status == MOCO_EEND)
            break;
        TRY(from_moco(status, err));
        TRY(watch_bad(r, epoch, err));
        double lr = run_config_lr(&r->note.config, *step - r->behind, r->steps_per_epoch);
        TRY(from_moco(moco_trainer_step(r->trainer, &batch, lr), err));
        ++*step;
        TRY(after_step(r, epoch, &mark, &waited, err));
        save_by_time(r, epoch, *step, &mark);
    }
    return MOCO_OK;
}

static moco_status finish_epoch(struct run *r, int64_t epoch, int64_t step, struct err *err)
{
    const struct run_config *c = &r->note.config;
    double percent = -1, loss = r->note.epoch_loss / (double)r->note.epoch_steps;
    char knn[32] = "";
    int look = r->watching && ((epoch + 1) % c->knn_every == 0 || epoch + 1 == c->epochs);
    if (look)
        TRY(watch(r, &percent, err));
    if (percent >= 0)
        snprintf(knn, sizeof knn, "  kNN %.2f %%", percent);
    double seconds = seconds_now() - r->epoch_begun;
    progress_say(&r->progress, "epoch %lld/%lld  mean loss %.4f%s  %s", (long long)epoch + 1, (long long)c->epochs,
                 loss, knn, human_seconds(seconds));
    TRY(metrics_epoch(&r->metrics, epoch + 1, step, loss, percent, look ? &r->seen : NULL, seconds, err));
    live_report_epoch(&r->report, r->model, epoch + 1, step);
    r->note.epoch_done = 1;
    return save(r, epoch, err);
}

static moco_status train(struct run *r, int64_t *epoch, int64_t *step, struct err *err)
{
    int64_t position = 0;
    TRY(from_moco(moco_trainer_cursor(r->trainer, step, epoch, &position), err));
    if (*step == 0)
        TRY(watch_untrained(r, err));
    if (*step == 0 && r->resume.path[0] == 0) /* what a run that diverges in its first epoch can go on from */
        TRY(write_checkpoint(r, 0, err));
    /* The note tells of the last epoch that a step was taken in; a stop between two epochs finds the first of them
     * done. */
    for (int done = r->note.epoch_done != 0; *epoch < r->note.config.epochs; ++*epoch, done = 0, position = 0) {
        r->epoch_begun = seconds_now();
        if (!done) {
            if (position < r->steps_per_epoch * r->note.config.batch)
                TRY(train_epoch(r, *epoch, position, step, err));
            if (r->note.epoch_done || r->note.epoch_steps < r->steps_per_epoch)
                return save(r, *epoch, err); /* --max-steps */
            TRY(finish_epoch(r, *epoch, *step, err));
        }
        if (*step >= r->last_step)
            break;
    }
    return MOCO_OK;
}

static void how_to_go_on(const struct run *r, char *command, size_t size)
{
    const struct run_config *c = &r->note.config;
    rerun_resume(&run_cli, c->data, c->out, (int)r->info.threads, c, c->given, 0, command, size);
}

/* Saves on the way, under the number of the epoch that the last step was of: of the next one nothing may be done yet.
 */
static moco_status save_now(struct run *r, struct err *err)
{
    int64_t epoch = 0;
    TRY(from_moco(moco_trainer_cursor(r->trainer, NULL, &epoch, NULL), err));
    return save(r, epoch, err);
}

static int stopped(struct run *r, int64_t step)
{
    struct err err = {0};
    moco_status status = save_now(r, &err);
    progress_break(&r->progress);
    if (status != MOCO_OK)
        return complain(r, status, &err);
    char command[3 * CLI_PATH_SIZE];
    how_to_go_on(r, command, sizeof command);
    progress_say(&r->progress, "stopped by signal %d after step %lld, and saved; go on with: %s", stop_signal_came(),
                 (long long)step, command);
    return EXIT_STOPPED;
}

/* The state is whole: what was trained is kept, if it can be. */
static int failed_on_the_way(struct run *r, moco_status status, const struct err *err)
{
    struct err second = {0};
    char command[3 * CLI_PATH_SIZE];
    int saved = save_now(r, &second) == MOCO_OK;
    progress_break(&r->progress);
    complain(r, status, err);
    how_to_go_on(r, command, sizeof command);
    fprintf(stderr, "train_imagenet: %s; afterwards go on with: %s\n",
            saved ? "all steps until then are saved" : "the steps since the last checkpoint are not saved", command);
    return EXIT_FAILED;
}

static int train_and_finish(struct run *r)
{
    struct err err = {0};
    int64_t epoch = 0, step = 0;
    char path[RUN_PATH_SIZE];
    moco_status status = train(r, &epoch, &step, &err);
    if (status == MOCO_ECANCELED)
        return stopped(r, step);
    if (status == MOCO_EBADDATA || status == MOCO_EIO)
        return failed_on_the_way(r, status, &err);
    run_dir_path(r->note.config.out, "encoder.safetensors", path);
    if (status == MOCO_OK)
        status = from_moco(moco_model_save(r->model, path), &err);
    if (status == MOCO_OK)
        live_report_end(&r->report, r->model, step / r->steps_per_epoch, step);
    progress_break(&r->progress);
    if (status != MOCO_OK)
        return complain(r, status, &err);
    progress_say(&r->progress, "done after %lld steps; the encoder is %s", (long long)step, path);
    if (r->report.log != NULL)
        progress_say(&r->progress, "the report is %s", r->report.path);
    return EXIT_DONE;
}

/* A reader that went away (`| head`), a full disk: no reason to end a run whose numbers are in its folder. */
static void tell_lost_output(void)
{
    const char *reason = program_output_lost();
    char sentence[200];
    if (reason == NULL)
        return;
    snprintf(sentence, sizeof sentence, "what was printed did not all arrive: %s; the run went on without", reason);
    warn(sentence);
}

static int prepare_and_train(struct run *r)
{
    struct err err = {0};
    struct run_config *c = &r->note.config;
    moco_status status;
    int resumed = 0;
    TRY_GOTO(status, open_machine(r, &err), fail);
    TRY_GOTO(status, choose_checkpoint(r, &resumed, &err), fail);
    TRY_GOTO(status, check_data(r, &err), fail);
    keeping_settle(c);
    TRY_GOTO(status, run_config_views(c, &r->train_view, &r->eval_view, &err), fail);
    set_monitor(r);
    set_gallery(r);
    run_report_config(c, &r->info, &r->data);
    print_warnings(r);
    if (c->dry_run) {
        TRY_GOTO(status, run_report_estimate(c, r->device, &r->data, &err), fail);
        if (c->verify)
            TRY_GOTO(status, verify_all(c, &r->data, NULL, NULL, &err), fail);
        return EXIT_DONE;
    }
    TRY_GOTO(status, run_dir_make(c->out, &err), fail);
    if (!resumed)
        TRY_GOTO(status, run_dir_unused(c->out, strcmp(c->resume, "auto") != 0, &err), fail);
    stop_signal_catch();
    progress_init(&r->progress, c->print_every, c->batch);
    if (c->verify)
        TRY_GOTO(status, verify_all(c, &r->data, c->out, stop_signal_came, &err), fail);
    else if (!resumed)
        TRY_GOTO(status, verify_first(c, &r->data, stop_signal_came, warn, &err), fail);
    TRY_GOTO(status, keeping_begin(&r->keeping, c, warn, &err), fail);
    TRY_GOTO(status, make_trainer(r, &err), fail);
    warn_of_disk(r);
    r->saved = seconds_now();
    if (resumed)
        TRY_GOTO(status, resume_load(&r->resume, r->trainer, &r->note, &err), fail);
    TRY_GOTO(status, take_place(r, &err), fail);
    TRY_GOTO(status, open_run_dir(r, resumed, &err), fail);
    if (c->report)
        live_report_open(&r->report, c->out, &r->gallery, warn);
    return train_and_finish(r);
fail:
    if (status == MOCO_ECANCELED) {
        fprintf(stderr, "train_imagenet: stopped by signal %d before the first step; nothing was trained or saved\n",
                stop_signal_came());
        return EXIT_STOPPED;
    }
    complain(r, status, &err);
    return r->resume.check.conflict ? EXIT_USAGE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    program_start();
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fprintf(stderr, "train_imagenet: out of memory\n");
        return EXIT_FAILED;
    }
    r->metrics.file.fd = -1;
    moco_status status = run_config_parse(&r->note.config, argc, argv, &err);
    if (status == MOCO_OK && r->note.config.help) {
        fputs(help_head, stdout);
        cli_help(&run_cli, stdout);
        fputs(help_tail, stdout);
        free(r);
        return EXIT_DONE;
    }
    if (status == MOCO_OK)
        status = run_config_check(&r->note.config, &err);
    int code = EXIT_USAGE;
    if (status == MOCO_OK)
        wait_policy_apply(r->note.config.wait, r->note.config.threads, argv);
    if (status != MOCO_OK)
        fprintf(stderr, "train_imagenet: %s\n", err.text);
    else
        code = prepare_and_train(r);
    tell_lost_output();
    stop_signal_cancels(NULL);
    live_report_end(&r->report, NULL, 0, 0); /* a run that failed, too, tells how far it came */
    metrics_close(&r->metrics);
    live_report_close(&r->report);
    moco_loader_free(r->loader);
    moco_trainer_free(r->trainer);
    moco_queue_free(r->queue);
    moco_model_free(r->model);
    resume_close(&r->resume);
    open_data_free(&r->data);
    moco_device_free(r->device);
    moco_context_free(r->context);
    free(r);
    return code;
}
