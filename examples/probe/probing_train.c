/* SPDX-License-Identifier: MIT
 *
 * probing_train: see probing_train.h. */
#include "probing_train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder/run_dir.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/rerun.h"
#include "support/stop_signal.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"

#define NOTE_BYTES (4 << 20)

static moco_status save_state(struct probing *p, const char *name, struct err *err)
{
    char path[RUN_PATH_SIZE], *note;
    run_dir_path(p->config.out, name, path);
    TRY(probe_state_write(&p->state, &note, err));
    moco_status status = from_moco(moco_probe_save(p->probe, path, note), err);
    free(note);
    return status;
}

static moco_status open_state(struct probing *p, const char *path, int only_score, struct err *err)
{
    moco_probe_options o;
    char *note = malloc(NOTE_BYTES);
    if (note == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_probe_options_init(&o);
    moco_status status = from_moco(moco_probe_open(&p->probe, p->device, path, note, NOTE_BYTES), err);
    if (status == MOCO_OK && !only_score)
        status = probe_state_read(&p->state, path, note, err);
    if (status == MOCO_OK)
        status = from_moco(moco_probe_describe(p->probe, &o, NULL), err);
    int same_names = status == MOCO_OK && probe_note_has(note, "classes", p->data.classes);
    free(note);
    if (status == MOCO_OK && (o.dim != p->info.feature_dim || o.classes != p->classes))
        status = err_set(err, MOCO_EINVAL,
                         "%.200s is a probe of %d features and %d classes; the encoder has %d, and the images %d", path,
                         (int)o.dim, (int)o.classes, (int)p->info.feature_dim, (int)p->classes);
    if (status == MOCO_OK && !same_names)
        status =
            err_set(err, MOCO_EINVAL,
                    "%.200s was trained on other classes: their names are not those of the class folders of %.200s",
                    path, p->config.data);
    return status;
}

/* The best probe so far is stored beside the state. A run that continued in another folder would lack it at its end. */
static moco_status check_folder(const struct probe_config *c, struct err *err)
{
    char folder[CLI_PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", c->resume);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder] = 0;
    if (run_dir_same(folder, c->out))
        return MOCO_OK;
    return err_set(
        err, MOCO_EINVAL,
        "--resume %.200s lies in another folder than --out %.200s, and its best probe beside it; go on there: "
        "--out %.200s",
        c->resume, c->out, folder);
}

static moco_status start_or_resume(struct probing *p, struct err *err)
{
    const struct probe_config *c = &p->config;
    char path[RUN_PATH_SIZE], options[4096];
    moco_probe_options o;
    probe_config_text(c, options, sizeof options);
    snprintf(p->state.head, sizeof p->state.head, "data %s\nclasses %s\nencoder %s\n%s", p->data.print, p->data.classes,
             p->hash, options);
    run_dir_path(c->out, PROBING_STATE, path);
    int there;
    TRY(run_dir_has(c->out, PROBING_STATE, &there, err));
    if (strcmp(c->resume, "auto") == 0 ? there : c->resume[0] != 0) {
        TRY(open_state(p, strcmp(c->resume, "auto") == 0 ? path : c->resume, 0, err));
        if (strcmp(c->resume, "auto") != 0)
            TRY(check_folder(c, err));
        if (p->state.position > moco_dataset_count(p->data.train))
            return err_set(err, MOCO_EFORMAT, "%.300s: its note tells of %lld images of an epoch of %lld", path,
                           (long long)p->state.position, (long long)moco_dataset_count(p->data.train));
        printf("resumed after %lld epochs\n", (long long)p->state.count);
        return MOCO_OK;
    }
    probe_config_options(c, p->info.feature_dim, p->classes, &o);
    return from_moco(moco_probe_create(&p->probe, p->device, &o), err);
}

static moco_status open_loader(struct probing *p, moco_loader **loader, struct err *err)
{
    const struct probe_config *c = &p->config;
    moco_loader_options o;
    moco_loader_options_init(&o);
    o.batch_size = (int32_t)c->batch;
    o.workers = (int32_t)c->workers;
    o.permuted = 1;
    o.drop_last = 0;
    o.seed = (uint64_t)c->seed;
    o.max_bad = c->max_bad;
    o.bad = MOCO_BAD_SKIP;
    o.max_pixels = c->max_pixels;
    o.recipe[0] = &p->train_view;
    return from_moco(moco_loader_create(loader, p->data.train, &o), err);
}

struct epoch_work {
    moco_loader *loader;
    moco_batch batch;
    struct encoded rows; /* of one batch */
    int64_t epoch, steps, of;
    double factor, begun;
};

static moco_status one_step(struct probing *p, struct epoch_work *w, struct err *err)
{
    const moco_batch *b = &w->batch;
    double loss, top1;
    TRY(encode_batch(p->features, MOCO_FEATURES, b, b->n, w->rows.features, err));
    for (int32_t i = 0; i < b->n; i++)
        w->rows.labels[i] = moco_dataset_label(p->data.train, b->ids[i]);
    moco_tensor rows = encoded_rows(&w->rows, 0, b->n);
    TRY(from_moco(moco_probe_step(p->probe, &rows, w->rows.labels, w->factor, &loss, &top1), err));
    p->state.position = b->position;
    p->state.images += b->n;
    p->state.loss += loss * b->n;
    p->state.right += top1 * b->n;
    wait_beside_step();
    const char *slowed = contention_step(&p->contention, wait_policy_advice());
    if (slowed != NULL)
        probing_warn(slowed);
    if (++w->steps % p->config.print_every == 0)
        printf("epoch %lld/%lld  step %lld/%lld  loss %.4f  top-1 %.1f %%  %.0f img/s\n", (long long)w->epoch + 1,
               (long long)p->config.epochs, (long long)((p->state.position + p->config.batch - 1) / p->config.batch),
               (long long)w->of, loss, 100 * top1,
               (double)(w->steps * p->config.batch) / (seconds_now() - w->begun + 1e-9));
    return MOCO_OK;
}

/* What an epoch could not read is said when it is more than any before it met: views differ from epoch to epoch, and so
 * may the damage that they meet. */
static moco_status end_of_images(struct probing *p, const struct epoch_work *w, struct err *err)
{
    struct unreadable u;
    TRY(unreadable_ask(&u, w->loader, p->state.images, err));
    if (p->state.images == 0)
        return unreadable_check(&u, "training images", err);
    u.of = moco_dataset_count(p->data.train);
    if (u.count > p->state.unreadable) {
        p->state.unreadable = u.count;
        probing_warn_unreadable(&u, "training images");
    }
    return MOCO_OK;
}

/* Trains from the position of the state to the end of the epoch. */
static moco_status train_epoch(struct probing *p, struct epoch_work *w, struct err *err)
{
    const struct probe_config *c = &p->config;
    w->factor = moco_lr_steps(1, w->epoch, c->milestones.at, c->milestones.count, 0.1);
    w->steps = 0;
    w->begun = seconds_now();
    moco_batch_init(&w->batch);
    TRY(from_moco(moco_loader_start_at(w->loader, w->epoch, p->state.position), err));
    while (p->state.position < moco_dataset_count(p->data.train)) {
        if (stop_signal_came())
            return MOCO_ECANCELED;
        moco_status status = moco_loader_next(w->loader, &w->batch);
        if (status == MOCO_EEND) /* nothing of the last batch could be read */
            break;
        TRY(from_moco(status, err));
        TRY(one_step(p, w, err));
    }
    return end_of_images(p, w, err);
}

static moco_status finish_epoch(struct probing *p, const struct epoch_work *w, struct err *err)
{
    moco_tensor held = encoded_rows(&p->held_out, 0, p->held_out.n);
    moco_score score;
    moco_score_init(&score);
    TRY(from_moco(moco_probe_evaluate(p->probe, &held, p->held_out.labels, &score, NULL), err));
    struct probe_epoch e = {.loss = p->state.loss / (double)p->state.images,
                            .train_top1 = 100 * p->state.right / (double)p->state.images,
                            .top1 = 100 * (double)score.top1 / (double)score.n,
                            .top5 = 100 * (double)score.top5 / (double)score.n};
    TRY(probe_state_add(&p->state, &e, err));
    p->state.position = p->state.images = 0;
    p->state.loss = p->state.right = 0;
    printf("epoch %lld/%lld  mean loss %.4f, training top-1 %.2f %%  held out: top-1 %.2f %%, top-5 %.2f %%  %s\n",
           (long long)w->epoch + 1, (long long)p->config.epochs, e.loss, e.train_top1, e.top1, e.top5,
           human_seconds(seconds_now() - w->begun));
    fflush(stdout);
    if (probe_state_best(&p->state) == w->epoch) /* before the state: a crash between them repeats the epoch */
        TRY(save_state(p, PROBING_BEST, err));
    return save_state(p, PROBING_STATE, err);
}

static moco_status train(struct probing *p, struct err *err)
{
    struct epoch_work w = {.rows = {.n = p->config.batch, .dim = p->info.feature_dim}};
    moco_status status;
    w.of = (moco_dataset_count(p->data.train) + p->config.batch - 1) / p->config.batch;
    w.rows.features = malloc(sizeof(float) * (size_t)w.rows.n * (size_t)w.rows.dim);
    w.rows.labels = malloc(sizeof(int32_t) * (size_t)w.rows.n);
    if (w.rows.features == NULL || w.rows.labels == NULL) {
        status = err_set(err, MOCO_ENOMEM, "out of memory");
        goto out;
    }
    TRY_GOTO(status, open_loader(p, &w.loader, err), out);
    for (w.epoch = p->state.count; w.epoch < p->config.epochs; w.epoch++) {
        TRY_GOTO(status, train_epoch(p, &w, err), out);
        TRY_GOTO(status, finish_epoch(p, &w, err), out);
    }
    status = MOCO_OK;
out:
    moco_loader_free(w.loader);
    encoded_free(&w.rows);
    return status;
}

static void tell_how_to_go_on(const struct probing *p)
{
    const struct probe_config *c = &p->config;
    char command[4 * CLI_PATH_SIZE];
    rerun_resume(&probe_cli, c->data, c->out, (int)p->threads, c, c->given, 1, command, sizeof command);
    printf("stopped by signal %d, and saved; go on with: %s\n", stop_signal_came(), command);
}

moco_status probing_train(struct probing *p, struct err *err)
{
    char path[RUN_PATH_SIZE];
    TRY(start_or_resume(p, err));
    moco_status status = train(p, err);
    if (status == MOCO_ECANCELED) {
        TRY(save_state(p, PROBING_STATE, err));
        tell_how_to_go_on(p);
    }
    TRY(status);
    moco_probe_free(p->probe);
    p->probe = NULL;
    run_dir_path(p->config.out, PROBING_BEST, path);
    TRY(open_state(p, path, 1, err));
    struct probe_result r = {.state = &p->state, .train_unreadable = p->state.unreadable};
    return probing_report(p, 0, &r, err);
}

moco_status probing_evaluate(struct probing *p, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_path(p->config.out, PROBING_BEST, path);
    TRY(open_state(p, strcmp(p->config.resume, "auto") == 0 ? path : p->config.resume, 1, err));
    struct probe_result r = {.train_unreadable = -1};
    return probing_report(p, 0, &r, err);
}
