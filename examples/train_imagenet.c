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
    train_warn(sentence);
}

/* From `position` to the epoch's end, or to the run's last step. MOCO_ECANCELED: a signal came, nothing was lost. */
static moco_status train_epoch(struct run *r, int64_t epoch, int64_t position, int64_t *step, struct err *err)
{
    moco_batch batch;
    double waited = 0, mark = seconds_now();
    moco_batch_init(&batch);
    TRY(from_moco(moco_loader_start_at(r->loader, epoch, position), err));
    TRY(watch_waiting(r, &waited, err));
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
        TRY(watch_step(r, epoch, &mark, &waited, err));
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
    if (status != MOCO_OK) {
        train_complain(r, status, &err);
        return EXIT_FAILED;
    }
    progress_say(&r->progress, "done after %lld steps; the encoder is %s", (long long)step, path);
    if (r->report.log != NULL && !r->report.warned)
        progress_say(&r->progress, "the report is %s", r->report.path);
    return EXIT_DONE;
}

static int prepare_and_train(struct run *r)
{
    struct err err = {0};
    struct run_config *c = &r->note.config;
    moco_status status;
    int resumed = 0;
    TRY_GOTO(status, train_open_machine(r, &err), fail);
    TRY_GOTO(status, train_choose_checkpoint(r, &resumed, &err), fail);
    TRY_GOTO(status, train_check_data(r, &err), fail);
    keeping_settle(c);
    TRY_GOTO(status, run_config_views(c, &r->train_view, &r->eval_view, &err), fail);
    train_set_monitor(r);
    train_set_gallery(r);
    run_report_config(c, &r->info, &r->data);
    train_warn_options(r);
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
        TRY_GOTO(status, verify_first(c, &r->data, stop_signal_came, train_warn, &err), fail);
    TRY_GOTO(status, keeping_begin(&r->keeping, c, train_warn, &err), fail);
    TRY_GOTO(status, train_make_trainer(r, &err), fail);
    train_warn_disk(r);
    r->saved = seconds_now();
    if (resumed)
        TRY_GOTO(status, resume_load(&r->resume, r->trainer, &r->note, &err), fail);
    TRY_GOTO(status, train_take_place(r, &err), fail);
    TRY_GOTO(status, train_open_folder(r, resumed, &err), fail);
    if (c->report)
        live_report_open(&r->report, c->out, &r->gallery, train_warn);
    return train_and_finish(r);
fail:
    if (status == MOCO_ECANCELED) {
        fprintf(stderr, "%s: stopped by signal %d before the first step; nothing was trained or saved\n",
                program_name("train_imagenet"), stop_signal_came());
        return EXIT_STOPPED;
    }
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
    stop_signal_cancels(NULL);
    live_report_end(&r->report, NULL, 0, 0); /* a run that failed, too, tells how far it came */
    metrics_close(&r->metrics);
    live_report_close(&r->report);
    wait_beside_end();
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
