/* SPDX-License-Identifier: MIT
 *
 * train_imagenet: pre-training by MoCo (or SimCLR, or end-to-end) from the command line, with the options of the
 * reference's main_moco.py and a run folder that survives interruptions: a checkpoint per epoch, exact resume at any
 * step, metrics that a program can read. The parts are in run/; this file calls them in order. What a reader would
 * get wrong: libmoco has no loop, so that epochs, schedule, signals and files are all decided here. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder/run_dir.h"
#include "measure/health.h"
#include "run/checkpoints.h"
#include "run/run_report.h"
#include "run/train_advice.h"
#include "run/train_help.h"
#include "run/train_run.h"
#include "run/train_setup.h"
#include "run/verify.h"
#include "run/views_place.h"
#include "run/watch.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/stop_signal.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 };

static moco_status write_checkpoint(struct run *r, int64_t epoch, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_checkpoint_path(r->note.config.out, epoch, path);
    TRY(metrics_sync(&r->metrics, err));
    metrics_watch(&r->metrics, train_warn);
    TRY(checkpoint_write(r->trainer, path, &r->note, err));
    r->checkpoints++;
    r->saved = seconds_now();
    return keeping_prune(&r->keeping, r->note.config.out, err);
}

static moco_status save(struct run *r, int64_t epoch, struct err *err)
{
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    TRY(health_check(r->model, r->note.config.size, err)); /* or the last state that can go on would be lost */
    return write_checkpoint(r, epoch, err);
}

/* Is there another step in this epoch? */
static int has_next(const struct run *r, int64_t step)
{
    return r->note.epoch_steps < r->steps_per_epoch && step < r->last_step;
}

/* A step may be in flight: it lands and is counted, before a checkpoint holds it that the log lacks. */
static moco_status land(struct run *r, int64_t epoch, struct watch_pace *pace, struct err *err)
{
    TRY(from_moco(moco_trainer_wait(r->trainer), err));
    return watch_step(r, epoch, pace, err);
}

static int is_time_to_save(const struct run *r, int64_t step)
{
    const struct run_config *c = &r->note.config;
    return ranks_is_first(&r->ranks) && c->checkpoint_minutes > 0 &&
           has_next(r, step) && /* else it is saved in a moment as it is */
           seconds_now() - r->saved >= 60 * c->checkpoint_minutes;
}

/* Within an epoch, when the last checkpoint is old enough. The file is that of the epoch, which its next save replaces.
 * A save that fails costs nothing that the last one holds: the run goes on and tries again. */
static void save_by_time(struct run *r, int64_t epoch, int64_t step, struct watch_pace *pace)
{
    struct err err = {0};
    char sentence[900];
    if (!has_next(r, step)) /* the one that has landed was the epoch's last */
        return;
    moco_status status = save(r, epoch, &err);
    pace->mark = r->saved = seconds_now(); /* the next step's speed is its own */
    if (status == MOCO_OK)
        return;
    snprintf(sentence, sizeof sentence, "no checkpoint after step %lld, and training goes on: %.700s", (long long)step,
             err.text);
    train_warn(sentence);
}

/* Key views come apart where the samples of a batch are on several ranks. */
static moco_status start_loader(struct run *r, int64_t epoch, int64_t position, int64_t step, struct err *err)
{
    const struct run_config *c = &r->note.config;
    if (r->ranks.ranks == 1 || !c->shuffle)
        return from_moco(moco_loader_start_at(r->loader, epoch, position), err);
    return from_moco(moco_loader_start_keys(r->loader, epoch, position, step, (uint64_t)c->seed, (int)c->symmetric),
                     err);
}

/* MOCO_EEND: there is none, and on no rank. */
static moco_status next_batch(struct run *r, int64_t epoch, moco_batch *batch, struct err *err)
{
    if (stop_signal_came())
        return err_set(err, MOCO_ECANCELED, "stopped by signal %d", stop_signal_came());
    moco_status status = moco_loader_next(r->loader, batch);
    if (status == MOCO_EEND)
        return status;
    TRY(from_moco(status, err));
    return watch_bad(r, epoch, err);
}

/* *step counts those that were given; the last one may be in flight. */
static moco_status give_steps(struct run *r, int64_t epoch, int64_t position, int64_t *step, struct watch_pace *pace,
                              struct err *err)
{
    moco_batch batch;
    moco_batch_init(&batch);
    moco_status status = start_loader(r, epoch, position, *step, err);
    if (status != MOCO_OK)
        return ranks_leave(&r->ranks, r->trainer, status, err);
    TRY(watch_waiting(r, &pace->waited, err));
    progress_mark(&r->progress, *step, pace->waited);
    while (*step < r->last_step) {
        status = next_batch(r, epoch, &batch, err);
        if (status == MOCO_EEND)
            break;
        if (status != MOCO_OK)
            return ranks_leave(&r->ranks, r->trainer, status, err);
        double lr = run_config_lr(&r->note.config, *step - r->behind, r->steps_per_epoch);
        TRY(ranks_step(&r->ranks, moco_trainer_step(r->trainer, &batch, lr), err));
        ++*step;
        status = watch_step(r, epoch, pace, err);
        if (status != MOCO_OK) /* the others are at the next step, or behind the last one */
            return has_next(r, *step) ? ranks_leave(&r->ranks, r->trainer, status, err) : status;
        if (is_time_to_save(r, *step)) {
            TRY(land(r, epoch, pace, err));
            save_by_time(r, epoch, *step, pace);
        }
    }
    return MOCO_OK;
}

/* From `position` to the epoch's end, or to the run's last step. MOCO_ECANCELED: a signal came, nothing was lost. Whatever
 * ends it, the last step lands: how that one failed is told, unless the signal dropped it, too. */
static moco_status train_epoch(struct run *r, int64_t epoch, int64_t position, int64_t *step, struct err *err)
{
    struct watch_pace pace = {.mark = seconds_now()};
    struct err last = {0};
    moco_status status = give_steps(r, epoch, position, step, &pace, err), landed = land(r, epoch, &pace, &last);
    if (landed != MOCO_OK && (status == MOCO_OK || landed != MOCO_ECANCELED)) {
        *err = last;
        status = landed;
    }
    *step = r->landed;
    return status;
}

static moco_status finish_epoch(struct run *r, int64_t epoch, int64_t step, struct err *err)
{
    const struct run_config *c = &r->note.config;
    if (!ranks_is_first(&r->ranks)) {
        r->note.epoch_done = 1;
        return MOCO_OK;
    }
    double percent = -1, loss = r->note.epoch_loss / (double)r->note.epoch_steps;
    char knn[32] = "";
    int look = r->watching && ((epoch + 1) % c->knn_every == 0 || epoch + 1 == c->epochs);
    if (look)
        TRY(watch_accuracy(r, &percent, err));
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

static moco_status begin(struct run *r, struct err *err)
{
    TRY(watch_untrained(r, err));
    if (r->resume.path[0] == 0) /* what a run that diverges in its first epoch can go on from */
        TRY(write_checkpoint(r, 0, err));
    return MOCO_OK;
}

static moco_status train(struct run *r, int64_t *epoch, int64_t *step, struct err *err)
{
    int64_t position = 0;
    TRY(from_moco(moco_trainer_cursor(r->trainer, step, epoch, &position), err));
    moco_status status = *step == 0 && ranks_is_first(&r->ranks) ? begin(r, err) : MOCO_OK;
    TRY(ranks_share_status(&r->ranks, status, err));
    /* The note tells of the last epoch that a step was taken in; a stop between two epochs finds the first of them
     * done. */
    for (int done = r->note.epoch_done != 0; *epoch < r->note.config.epochs; ++*epoch, done = 0, position = 0) {
        r->epoch_begun = seconds_now();
        if (!done) {
            status = MOCO_OK;
            if (position < r->steps_per_epoch * r->note.config.batch)
                status = train_epoch(r, *epoch, position, step, err);
            if (status != MOCO_OK && r->ranks.agreed)
                return status;
            int partly = r->note.epoch_done || r->note.epoch_steps < r->steps_per_epoch; /* --max-steps */
            if (status == MOCO_OK)
                status = partly ? save(r, *epoch, err) : finish_epoch(r, *epoch, *step, err);
            status = ranks_share_status(&r->ranks, status, err);
            if (status != MOCO_OK || partly)
                return status;
        }
        if (*step >= r->last_step)
            break;
    }
    return MOCO_OK;
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
    if (!ranks_is_first(&r->ranks))
        return EXIT_STOPPED;
    progress_break(&r->progress);
    if (status != MOCO_OK) {
        train_complain(r, status, &err);
        return EXIT_FAILED;
    }
    char command[3 * CLI_PATH_SIZE];
    train_how_to_go_on(r, command, sizeof command);
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
    train_complain(r, status, err);
    if (!ranks_is_first(&r->ranks))
        return EXIT_FAILED;
    if (!saved && r->checkpoints == 0 && resume_from_elsewhere(&r->resume)) {
        fprintf(stderr,
                "%s: nothing is saved in %s; afterwards remove the metrics.jsonl in it and give the same "
                "command again\n",
                program_name("train_imagenet"), r->note.config.out);
        return EXIT_FAILED;
    }
    train_how_to_go_on(r, command, sizeof command);
    fprintf(stderr, "%s: %s; afterwards go on with: %s\n", program_name("train_imagenet"),
            saved ? "all steps until then are saved" : "the steps since the last checkpoint are not saved", command);
    return EXIT_FAILED;
}

/* A rank was lost: what was committed is kept, and the launcher may start the run again, of however many ranks. */
static int lost_a_rank(struct run *r, const struct err *err)
{
    struct err second = {0};
    char command[3 * CLI_PATH_SIZE];
    train_complain(r, MOCO_ECOMM, err);
    if (!ranks_is_first(&r->ranks))
        return EXIT_STOPPED;
    int saved = r->trainer != NULL && r->metrics.file.fd >= 0 && save_now(r, &second) == MOCO_OK;
    progress_break(&r->progress);
    train_how_to_go_on(r, command, sizeof command);
    fprintf(stderr, "%s: %s; start all ranks again with: %s\n", program_name("train_imagenet"),
            saved ? "all steps until then are saved" : "nothing new was saved", command);
    return EXIT_STOPPED;
}

/* What rank 0 leaves behind. */
static moco_status finish(struct run *r, int64_t step, struct err *err)
{
    char path[RUN_PATH_SIZE];
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    run_dir_path(r->note.config.out, "encoder.safetensors", path);
    TRY(from_moco(moco_model_save(r->model, path), err));
    live_report_end(&r->report, r->model, step / r->steps_per_epoch, step);
    progress_break(&r->progress);
    progress_say(&r->progress, "done after %lld steps; the encoder is %s", (long long)step, path);
    if (r->report.log != NULL && !r->report.warned)
        progress_say(&r->progress, "the report is %s", r->report.path);
    return MOCO_OK;
}

static int train_and_finish(struct run *r)
{
    struct err err = {0};
    int64_t epoch = 0, step = 0;
    moco_status status = train(r, &epoch, &step, &err);
    if (status == MOCO_OK)
        status = ranks_share_status(&r->ranks, finish(r, step, &err), &err);
    if (status == MOCO_OK)
        return EXIT_DONE;
    if (status == MOCO_ECANCELED)
        return stopped(r, step);
    if (status == MOCO_ECOMM)
        return lost_a_rank(r, &err);
    if (status == MOCO_EBADDATA || status == MOCO_EIO)
        return failed_on_the_way(r, status, &err);
    progress_break(&r->progress);
    train_complain(r, status, &err);
    return EXIT_FAILED;
}

/* What --dry-run does, beside saying what would be done: rank 0's. */
static moco_status look_and_stop(struct run *r, struct err *err)
{
    struct run_config *c = &r->note.config;
    TRY(run_report_estimate(c, r->device, &r->data, err));
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    if (c->save_index[0] != 0) {
        TRY(from_moco(moco_dataset_save_index(r->data.train, c->save_index), err));
        printf("%s: where %s pictures are\n", c->save_index, human_count(moco_dataset_count(r->data.train)));
    }
    return c->verify ? verify_all(c, &r->data, NULL, NULL, err) : MOCO_OK;
}

/* Everything that can be wrong before a picture is read. *resumed: 1 if there is a checkpoint to go on from. */
static moco_status prepare(struct run *r, int *resumed, struct err *err)
{
    struct run_config *c = &r->note.config;
    struct views_place place;
    int first = ranks_is_first(&r->ranks);
    c->dry_run |= c->save_index[0] != 0;
    TRY(train_open_machine(r, err));
    TRY(train_choose_checkpoint(r, resumed, err));
    TRY(train_check_data(r, err));
    keeping_settle(c);
    TRY(run_config_views(c, &r->train_view, &r->eval_view, err));
    train_set_monitor(r);
    train_set_gallery(r);
    run_report_config(c, &r->info, &r->data);
    if (first)
        train_warn_options(r);
    if (c->dry_run)
        return look_and_stop(r, err);
    /* Refused, if at all, before there is a folder. */
    TRY(views_place(&place, c->views, r->device, r->data.train, err));
    if (first)
        TRY(run_dir_make(c->out, err));
    return first && !*resumed ? run_dir_unused(c->out, strcmp(c->resume, "auto") != 0, err) : MOCO_OK;
}

/* The pictures that are read before the first step, and the rule by which checkpoints are kept: rank 0's. */
static moco_status look_at_data(struct run *r, int resumed, struct err *err)
{
    struct run_config *c = &r->note.config;
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    if (c->verify)
        TRY(verify_all(c, &r->data, c->out, stop_signal_came, err));
    else if (!resumed)
        TRY(verify_first(c, &r->data, stop_signal_came, train_warn, err));
    return keeping_begin(&r->keeping, c, train_warn, err);
}

static moco_status take_state(struct run *r, int resumed, struct err *err)
{
    r->saved = seconds_now();
    if (resumed)
        TRY(resume_load(&r->resume, r->trainer, &r->note, err));
    TRY(train_take_place(r, err));
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    train_warn_disk(r);
    return train_open_folder(r, resumed, err);
}

/* Ranks agree before each part that takes them long, or that they do together. */
static moco_status make_ready(struct run *r, struct err *err)
{
    struct run_config *c = &r->note.config;
    int resumed = 0;
    moco_context_options context;
    train_context(r, &context);
    const struct ranks_wish wish = {
        .how = c->ranks, .silence = c->silence, .device = c->device, .folder = c->out, .context = &context};
    TRY(ranks_open(&r->ranks, &wish, train_warn, err));
    train_warn_as(&r->ranks);
    TRY(ranks_share_status(&r->ranks, prepare(r, &resumed, err), err));
    if (c->dry_run)
        return MOCO_OK;
    stop_signal_catch();
    progress_init(&r->progress, c->print_every, c->batch);
    TRY(ranks_share_status(&r->ranks, look_at_data(r, resumed, err), err));
    TRY(ranks_share_status(&r->ranks, train_make_trainer(r, err), err));
    return ranks_share_status(&r->ranks, take_state(r, resumed, err), err);
}

static int prepare_and_train(struct run *r)
{
    struct err err = {0};
    moco_status status = make_ready(r, &err);
    if (status == MOCO_OK && r->note.config.dry_run)
        return EXIT_DONE;
    if (status == MOCO_OK) {
        if (r->note.config.report && ranks_is_first(&r->ranks))
            live_report_open(&r->report, r->note.config.out, &r->gallery, train_warn);
        return train_and_finish(r);
    }
    if (status == MOCO_ECANCELED) {
        if (ranks_is_first(&r->ranks))
            fprintf(stderr, "%s: stopped by signal %d before the first step; nothing was trained or saved\n",
                    program_name("train_imagenet"), stop_signal_came());
        return EXIT_STOPPED;
    }
    if (status == MOCO_ECOMM)
        return lost_a_rank(r, &err);
    train_complain(r, status, &err);
    return r->resume.check.conflict ? EXIT_USAGE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    program_start();
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fprintf(stderr, "%s: out of memory\n", program_name("train_imagenet"));
        return EXIT_FAILED;
    }
    r->metrics.file.fd = -1;
    moco_status status = run_config_parse(&r->note.config, argc, argv, &err);
    if (status == MOCO_OK && r->note.config.help) {
        train_help(stdout);
        free(r);
        return program_printed(program_name("train_imagenet"));
    }
    if (status == MOCO_OK && r->note.config.resume[0] == 0)
        status = run_config_check(&r->note.config, &err);
    int code = EXIT_USAGE;
    if (status == MOCO_OK)
        wait_policy_apply(r->note.config.wait, r->note.config.threads, argv);
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", program_name("train_imagenet"), err.text);
    else
        code = prepare_and_train(r);
    train_warn_lost_output();
    int apart = code != EXIT_DONE && r->ranks.comm != NULL && !r->ranks.agreed;
    stop_signal_cancels(NULL);
    live_report_end(&r->report, NULL, 0, 0); /* a run that failed, too, tells how far it came */
    metrics_close(&r->metrics);
    live_report_close(&r->report);
    wait_beside_end();
    if (apart) /* the others may be gone, and the engine would wait for them */
        ranks_end(&r->ranks, code);
    moco_loader_free(r->loader);
    moco_trainer_free(r->trainer);
    moco_queue_free(r->queue);
    moco_model_free(r->model);
    resume_close(&r->resume);
    open_data_free(&r->data);
    moco_device_free(r->device);
    moco_context_free(r->context);
    ranks_close(&r->ranks);
    free(r);
    return code;
}
