/* SPDX-License-Identifier: MIT
 *
 * watch: see watch.h. */
#include "watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/from_moco.h"
#include "support/human.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"
#include "train_advice.h"

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
            train_warn(unreadable_text(of[i], i == 0 ? "kNN monitor, training images" : "kNN monitor, held-out images",
                                       text, sizeof text));
    if (isnan(result->accuracy))
        train_warn(
            "no kNN accuracy: there is nothing that could be read to measure it with; training goes on without it");
}

moco_status watch_accuracy(struct run *r, double *percent, struct err *err)
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

moco_status watch_untrained(struct run *r, struct err *err)
{
    double percent, begun = seconds_now();
    if (!r->watching)
        return MOCO_OK;
    r->silent = 1;
    r->monitor.warn = NULL; /* what has not learnt anything may look collapsed */
    moco_status status = watch_accuracy(r, &percent, err);
    r->monitor.warn = train_warn;
    r->silent = 0;
    TRY(status);
    if (percent >= 0)
        progress_say(&r->progress, "epoch 0/%lld  kNN %.2f %% untrained, %s", (long long)r->note.config.epochs, percent,
                     human_seconds(seconds_now() - begun));
    return metrics_epoch(&r->metrics, 0, 0, NAN, percent, &r->seen, seconds_now() - begun, err);
}

moco_status watch_waiting(struct run *r, double *seconds, struct err *err)
{
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    TRY(from_moco(moco_loader_get_stats(r->loader, &stats), err));
    *seconds = stats.wait_seconds;
    return MOCO_OK;
}

static void count_step(struct run *r, double loss)
{
    if (r->note.epoch_done) { /* the first step of another epoch */
        r->note.epoch_done = r->note.epoch_steps = 0;
        r->note.epoch_loss = 0;
    }
    r->note.epoch_loss += loss;
    r->note.epoch_steps++;
}

moco_status watch_step(struct run *r, int64_t epoch, struct watch_pace *pace, struct err *err)
{
    const struct run_config *c = &r->note.config;
    moco_step_report report;
    double now_waited = 0;
    int64_t landed;
    TRY(from_moco(moco_trainer_cursor(r->trainer, &landed, NULL, NULL), err));
    if (landed == r->landed)
        return MOCO_OK;
    r->landed = landed;
    moco_step_report_init(&report);
    TRY(from_moco(moco_trainer_report(r->trainer, &report), err));
    count_step(r, report.loss);
    if (!ranks_is_first(&r->ranks))
        return MOCO_OK;
    TRY(watch_waiting(r, &now_waited, err));
    double now = seconds_now(), passed = now - pace->mark > 1e-9 ? now - pace->mark : 1e-9;
    double waited = now_waited - pace->waited;
    TRY(metrics_step(&r->metrics, epoch + 1, &report, (double)c->batch / passed, waited / passed, err));
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
    wait_beside_step();
    const char *slowed = contention_step(&r->contention, wait_policy_advice());
    if (slowed != NULL)
        train_warn(slowed);
    live_report_tick(&r->report);
    *pace = (struct watch_pace){now, now_waited};
    return MOCO_OK;
}

/* A run that has come through an epoch is not ended by damage that its views happened to miss then. */
moco_status watch_bad(struct run *r, int64_t epoch, struct err *err)
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
    train_warn(sentence);
    r->bad_said = 1;
    return MOCO_OK;
}
