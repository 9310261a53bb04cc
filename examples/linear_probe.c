/* SPDX-License-Identifier: MIT
 *
 * linear_probe: how good an encoder's features are, as the MoCo papers measure it: a linear classifier on top of the
 * frozen encoder. By default the protocol of the reference's main_lincls.py, resumable at any step; with --fast a sweep
 * of learning rates on features that are encoded once. What a reader would get wrong: the held-out images are not
 * augmented and the encoder does not move, so that their features are encoded once in either case. */
#include <moco/moco.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/contention.h"
#include "common/encode.h"
#include "common/from_moco.h"
#include "common/frozen.h"
#include "common/human.h"
#include "common/leftovers.h"
#include "common/open_data.h"
#include "common/probe_config.h"
#include "common/probe_result.h"
#include "common/probe_state.h"
#include "common/program_start.h"
#include "common/progress.h"
#include "common/rerun.h"
#include "common/run_dir.h"
#include "common/run_lock.h"
#include "common/stop_signal.h"
#include "common/wait_policy.h"

#define STATE "probe_state.safetensors"
#define BEST "probe_best.safetensors"
#define NOTE_BYTES (4 << 20)
#define STATS_ROWS 4000 /* of the held-out features: time grows with their square */

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 };

struct probing {
    struct probe_config config;
    moco_context *context;
    moco_device *device;
    moco_model *encoder;
    moco_model_info info;
    char hash[FROZEN_TEXT];
    struct open_data data;
    int32_t classes;
    moco_augment_options train_view, eval_view;
    int guessed;                    /* eval_view: the encoder's file says nothing of it, nor does the command line */
    struct encoded train, held_out; /* train: --fast only */
    moco_feature_stats stats;
    moco_probe *probe;
    struct probe_state state;
    struct contention contention;
    double begun;
    int32_t threads;
    int lock; /* on the folder, so that no second probe overwrites this one's files */
};

static const char help_head[] =
    "usage: linear_probe DIR --pretrained FILE [OPTIONS]\n"
    "\n"
    "Trains a linear classifier on the frozen features of an encoder and prints its top-1 and top-5 accuracy on "
    "held-out\n"
    "images. DIR holds labelled images: train/ and val/ or test/ with class folders, or CIFAR-10's binary files.\n"
    "Option names are those of the reference's main_lincls.py, and so are the defaults:\n"
    "  linear_probe /data/imagenet -a resnet50 --lr 30 --batch-size 256 --pretrained run1/encoder.safetensors\n"
    "The answer within a minute or two, for an encoder of small images:\n"
    "  linear_probe /data/cifar10 --pretrained cifar/encoder.safetensors --fast\n";

static const char help_tail[] =
    "\n"
    "The folder --out gets probe.json (accuracy, confusion matrix [label][predicted], protocol, options, statistics of "
    "the\n"
    "features); without --fast also " STATE " after each epoch and at a signal, and " BEST ".\n"
    "\n"
    "Images that cannot be read are left out, and said: accuracy is over those that can be. In probe.json they are\n"
    "train_unreadable and held_out_unreadable; scored is the number of held-out images that accuracy is over.\n"
    "\n"
    "Exit codes: 0 done, be some images unreadable or not. 1 failed, or nothing could be read, or more is unreadable "
    "than\n"
    "--max-bad; one sentence on standard error. 2 wrong command line. 75 stopped by SIGINT, SIGTERM,\n"
    "SIGHUP or SIGUSR1, and saved: --resume auto goes on from there, to the same bits.\n";

static void warn(const char *sentence)
{
    fprintf(stderr, "linear_probe: warning: %s\n", sentence);
}

static void on_log(void *user, int level, const char *line)
{
    (void)user;
    if (level >= MOCO_LOG_WARN)
        warn(line);
}

/* ---- the encoder ---- */

/* As sanity_check of main_lincls.py: what was frozen must not have moved. */
static moco_status check_frozen(struct probing *p, struct err *err)
{
    char now[FROZEN_TEXT];
    TRY(frozen_hash(p->encoder, now, err));
    if (strcmp(now, p->hash) != 0)
        return err_set(err, MOCO_ESTATE,
                       "the encoder's tensors are not what they were before the probe was trained: that is a bug");
    return MOCO_OK;
}

/* A class of which nothing could be read is one that nothing is learnt, or measured, of. */
static moco_status tell_lost_classes(const struct probing *p, const struct encoded *e, const char *what,
                                     struct err *err)
{
    char sentence[512];
    int lost = 0, first = 0;
    unsigned char *seen = calloc((size_t)p->classes, 1);
    if (seen == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (int64_t i = 0; i < e->n; i++)
        if (e->labels[i] >= 0 && e->labels[i] < p->classes)
            seen[e->labels[i]] = 1;
    for (int32_t i = p->classes - 1; i >= 0; i--)
        if (!seen[i])
            lost++, first = i;
    free(seen);
    snprintf(sentence, sizeof sentence, "%d of %d classes have no %s image that could be read; the first is \"%.200s\"",
             lost, (int)p->classes, what, moco_dataset_class_name(p->data.train, first));
    if (lost > 0)
        warn(sentence);
    return MOCO_OK;
}

static void warn_unreadable(const struct unreadable *u, const char *what)
{
    char text[UNREADABLE_TEXT];
    warn(unreadable_text(u, what, text, sizeof text));
}

static moco_status encode(struct probing *p, moco_dataset *set, const char *what, struct encoded *out, struct err *err)
{
    struct encode e = {.model = p->encoder,
                       .set = set,
                       .recipe = &p->eval_view,
                       .what = MOCO_FEATURES,
                       .workers = (int)p->config.workers,
                       .max_bad = p->config.max_bad,
                       .max_pixels = p->config.max_pixels,
                       .stop = stop_signal_came};
    double begun = seconds_now();
    char name[40];
    TRY(encode_set(&e, out, err));
    double seconds = seconds_now() - begun;
    printf("encoded %s %s images in %s (%.0f img/s)\n", human_count(out->n), what, human_seconds(seconds),
           (double)out->n / (seconds > 1e-9 ? seconds : 1e-9));
    snprintf(name, sizeof name, "%s images", what);
    TRY(unreadable_check(&out->unreadable, name, err));
    if (out->unreadable.count == 0)
        return MOCO_OK;
    warn_unreadable(&out->unreadable, name);
    return tell_lost_classes(p, out, what, err);
}

/* ---- setting up ---- */

static moco_status check_data(struct probing *p, struct err *err)
{
    p->classes = moco_dataset_classes(p->data.train);
    if (p->data.held_out == NULL || p->data.lack[0] != 0)
        return err_set(err, MOCO_EINVAL,
                       "a linear probe needs labelled images to train on and others to be judged by: %s", p->data.lack);
    if (p->classes < 2)
        return err_set(err, MOCO_EINVAL, "%.300s holds one class: there is nothing to tell apart; a probe needs two",
                       p->config.data);
    return MOCO_OK;
}

static moco_status open_all(struct probing *p, struct err *err)
{
    struct probe_config *c = &p->config;
    moco_context_options o;
    moco_device_info machine;
    moco_context_options_init(&o);
    o.threads = (int32_t)c->threads;
    o.log = on_log;
    moco_device_info_init(&machine);
    moco_model_info_init(&p->info);
    TRY(from_moco(moco_context_create(&p->context, &o), err));
    TRY(from_moco(moco_device_open(&p->device, p->context, c->device), err));
    TRY(from_moco(moco_device_describe(p->device, &machine), err));
    p->threads = machine.threads;
    if (c->workers < 0)
        c->workers = machine.threads;
    TRY(open_data(&p->data, p->context, c->data, c->out, err));
    for (int i = 0; i < p->data.notes.count; i++)
        warn(p->data.notes.text[i]);
    TRY(check_data(p, err));
    TRY(from_moco(moco_model_open(&p->encoder, p->device, c->pretrained), err));
    TRY(from_moco(moco_model_describe(p->encoder, &p->info), err));
    TRY(probe_config_settle(c, p->encoder, &p->eval_view, &p->guessed, err));
    TRY(probe_config_train_view(c, &p->train_view, err));
    return frozen_hash(p->encoder, p->hash, err);
}

static void describe(const struct probing *p)
{
    printf("encoder   %s: %s, width %g, %d features; all %d tensors read, none missing\n", p->config.pretrained,
           p->info.arch, p->info.width, p->info.feature_dim, p->info.tensor_count);
    printf("data      %s: %s training, %s held-out images, %d classes\n", p->data.kind,
           human_count(moco_dataset_count(p->data.train)), human_count(moco_dataset_count(p->data.held_out)),
           (int)p->classes);
    printf("looked at %s, %d pixels: %s\n", p->config.eval_recipe, (int)p->eval_view.size,
           p->config.given[cli_find(&probe_cli, "eval-recipe")] ? "as --eval-recipe says"
           : p->guessed ? "a guess by the stem, for the encoder's file says nothing of it; --eval-recipe decides"
                        : "as the encoder's file says");
    if (p->data.train_left_out[0] != 0)
        printf("left out  of the training set %s\n", p->data.train_left_out);
    if (p->data.held_left_out[0] != 0)
        printf("left out  of the held-out set %s\n", p->data.held_left_out);
    printf("protocol  %s\n", probe_protocol(&p->config));
}

static moco_status look_at_features(struct probing *p, struct err *err)
{
    int64_t count = p->held_out.n < STATS_ROWS ? p->held_out.n : STATS_ROWS;
    size_t dim = (size_t)p->held_out.dim;
    struct encoded some = {.n = count, .dim = p->held_out.dim};
    moco_feature_stats_init(&p->stats);
    if (count < 2)
        return MOCO_OK;
    some.features = malloc(sizeof(float) * (size_t)count * dim);
    if (some.features == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    for (int64_t i = 0; i < count; i++) /* from all over: neighbours are of one class */
        memcpy(some.features + (size_t)i * dim, p->held_out.features + (size_t)(i * p->held_out.n / count) * dim,
               sizeof(float) * dim);
    moco_tensor rows = encoded_rows(&some, 0, count);
    moco_status status = moco_feature_stats_compute(p->device, &rows, NULL, &p->stats, NULL);
    free(some.features);
    if (status == MOCO_EINVAL) /* more dimensions than it takes: not looked at */
        return MOCO_OK;
    TRY(from_moco(status, err));
    printf("features  effective rank %.1f of %d, spread %.3f of 1, uniformity %.2f (%s held-out images)\n",
           p->stats.effective_rank, (int)p->held_out.dim, p->stats.std_mean * sqrt(p->held_out.dim),
           p->stats.uniformity, human_count(p->stats.n));
    if (p->stats.collapsed)
        warn(encode_collapsed);
    return MOCO_OK;
}

/* ---- results ---- */

static moco_status report(struct probing *p, int rate, struct probe_result *r, struct err *err)
{
    moco_tensor rows = encoded_rows(&p->held_out, 0, p->held_out.n);
    moco_probe_options options;
    char path[RUN_PATH_SIZE];
    int64_t *confusion = calloc((size_t)p->classes * (size_t)p->classes, sizeof *confusion);
    if (confusion == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status;
    moco_probe_options_init(&options);
    moco_score_init(&r->score);
    r->score.rate = rate;
    TRY_GOTO(status, from_moco(moco_probe_describe(p->probe, &options, NULL), err), out);
    TRY_GOTO(status, from_moco(moco_probe_evaluate(p->probe, &rows, p->held_out.labels, &r->score, confusion), err),
             out);
    TRY_GOTO(status, check_frozen(p, err), out);
    r->config = &p->config;
    r->data = &p->data;
    r->encoder = &p->info;
    r->encoder_hash = p->hash;
    r->stats = &p->stats;
    r->lr = options.lr[rate];
    r->confusion = confusion;
    r->held_out_unreadable = p->held_out.unreadable.count;
    r->seconds = seconds_now() - p->begun;
    run_dir_path(p->config.out, "probe.json", path);
    TRY_GOTO(status, probe_result_save(r, path, err), out);
    printf("top-1 %.2f %%, top-5 %.2f %% of %s held-out images, at a learning rate of %g; the encoder is unchanged\n"
           "written to %s\n",
           100 * (double)r->score.top1 / (double)r->score.n, 100 * (double)r->score.top5 / (double)r->score.n,
           human_count(r->score.n), r->lr, path);
out:
    free(confusion);
    return status;
}

/* ---- the fast path ---- */

static int fast_progress(void *user, int32_t epoch, int32_t epochs)
{
    const struct probing *p = user;
    if (epoch % p->config.print_every == 0 && progress_on_terminal(STDOUT_FILENO))
        progress_show("epoch %d of %d", (int)epoch, (int)epochs);
    return stop_signal_came();
}

static moco_status score_rates(struct probing *p, const moco_probe_options *o, double *top1, int *best, struct err *err)
{
    moco_tensor held = encoded_rows(&p->held_out, 0, p->held_out.n);
    moco_score score;
    for (int r = 0; r < o->rates; r++) {
        moco_score_init(&score);
        score.rate = r;
        TRY(from_moco(moco_probe_evaluate(p->probe, &held, p->held_out.labels, &score, NULL), err));
        top1[r] = 100 * (double)score.top1 / (double)score.n;
        printf("  lr %-6g top-1 %.2f %%\n", o->lr[r], top1[r]);
    }
    moco_score_init(&score);
    TRY(from_moco(moco_probe_best(p->probe, &held, p->held_out.labels, &score), err));
    *best = score.rate;
    if (o->rates > 2 && (*best == 0 || *best == o->rates - 1))
        warn("the best learning rate is at the edge of those tried; another may be better: try it with --lr");
    return MOCO_OK;
}

static moco_status run_fast(struct probing *p, struct err *err)
{
    const struct probe_config *c = &p->config;
    moco_probe_options options;
    moco_probe_fit_options fit;
    double top1[MOCO_PROBE_RATES], begun;
    int best = 0;
    TRY(encode(p, p->data.train, "training", &p->train, err));
    probe_config_options(c, p->info.feature_dim, p->classes, &options);
    TRY(from_moco(moco_probe_create(&p->probe, p->device, &options), err));
    moco_probe_fit_options_init(&fit);
    fit.epochs = (int32_t)c->epochs;
    fit.batch_size = (int32_t)c->batch;
    for (int i = 0; i < 3; i++)
        fit.milestones[i] = i < c->milestones.count ? c->milestones.at[i] : 0;
    fit.progress = fast_progress;
    fit.user = p;
    moco_tensor rows = encoded_rows(&p->train, 0, p->train.n);
    begun = seconds_now();
    moco_status status = moco_probe_fit(p->probe, &rows, p->train.labels, &fit);
    if (status == MOCO_ECANCELED)
        return status;
    TRY(from_moco(status, err));
    TRY(from_moco(moco_probe_describe(p->probe, &options, NULL), err));
    printf("%strained %d classifiers for %lld epochs in %s\n", progress_on_terminal(STDOUT_FILENO) ? "\r\033[K" : "",
           (int)options.rates, (long long)c->epochs, human_seconds(seconds_now() - begun));
    TRY(score_rates(p, &options, top1, &best, err));
    struct probe_result r = {.rates = &options, .rate_top1 = top1, .train_unreadable = p->train.unreadable.count};
    return report(p, best, &r, err);
}

/* ---- the reference's protocol ---- */

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

/* The best probe so far lies beside the state: a run that goes on elsewhere would miss it at its end. */
static moco_status check_folder(const struct probe_config *c, struct err *err)
{
    char folder[CLI_PATH_SIZE];
    struct stat of_file, of_out;
    snprintf(folder, sizeof folder, "%s", c->resume);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        slash[slash == folder] = 0;
    if (stat(folder, &of_file) == 0 && stat(c->out, &of_out) == 0 && of_file.st_dev == of_out.st_dev &&
        of_file.st_ino == of_out.st_ino)
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
    run_dir_path(c->out, STATE, path);
    int there;
    TRY(run_dir_has(c->out, STATE, &there, err));
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
    TRY(encode_batch(p->encoder, MOCO_FEATURES, b, b->n, w->rows.features, err));
    for (int32_t i = 0; i < b->n; i++)
        w->rows.labels[i] = moco_dataset_label(p->data.train, b->ids[i]);
    moco_tensor rows = encoded_rows(&w->rows, 0, b->n);
    TRY(from_moco(moco_probe_step(p->probe, &rows, w->rows.labels, w->factor, &loss, &top1), err));
    p->state.position = b->position;
    p->state.images += b->n;
    p->state.loss += loss * b->n;
    p->state.right += top1 * b->n;
    const char *slowed = contention_step(&p->contention, wait_policy_advice());
    if (slowed != NULL)
        warn(slowed);
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
        warn_unreadable(&u, "training images");
    }
    return MOCO_OK;
}

/* From where the state stands to the epoch's end. */
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
        TRY(save_state(p, BEST, err));
    return save_state(p, STATE, err);
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

static moco_status run_slow(struct probing *p, struct err *err)
{
    char path[RUN_PATH_SIZE];
    TRY(start_or_resume(p, err));
    moco_status status = train(p, err);
    if (status == MOCO_ECANCELED) {
        TRY(save_state(p, STATE, err));
        tell_how_to_go_on(p);
    }
    TRY(status);
    moco_probe_free(p->probe);
    p->probe = NULL;
    run_dir_path(p->config.out, BEST, path);
    TRY(open_state(p, path, 1, err));
    struct probe_result r = {.state = &p->state, .train_unreadable = p->state.unreadable};
    return report(p, 0, &r, err);
}

static moco_status run_evaluate(struct probing *p, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_path(p->config.out, BEST, path);
    TRY(open_state(p, strcmp(p->config.resume, "auto") == 0 ? path : p->config.resume, 1, err));
    struct probe_result r = {.train_unreadable = -1};
    return report(p, 0, &r, err);
}

/* Epochs of training are not written over, neither by another probe nor by the fast path's seconds. */
static moco_status check_unused(const struct probe_config *c, struct err *err)
{
    int there;
    if (c->evaluate || c->resume[0] != 0)
        return MOCO_OK;
    TRY(run_dir_has(c->out, STATE, &there, err));
    if (there)
        return err_set(err, MOCO_ESTATE, "%.300s holds a probe already; %schoose another --out", c->out,
                       c->fast ? "" : "go on with --resume auto, or ");
    return MOCO_OK;
}

static int run(struct probing *p)
{
    static const char *const saved_here[] = {STATE, BEST, "probe.json", NULL};
    struct err err = {0};
    moco_status status;
    p->begun = seconds_now();
    TRY_GOTO(status, open_all(p, &err), fail);
    describe(p);
    TRY_GOTO(status, run_dir_make(p->config.out, &err), fail);
    TRY_GOTO(status, run_lock_take(&p->lock, p->config.out, &err), fail);
    TRY_GOTO(status, check_unused(&p->config, &err), fail);
    leftovers_remove(p->config.out, saved_here, p->lock >= 0, warn);
    stop_signal_catch();
    TRY_GOTO(status, encode(p, p->data.held_out, "held-out", &p->held_out, &err), fail);
    TRY_GOTO(status, look_at_features(p, &err), fail);
    fflush(stdout);
    status = p->config.evaluate ? run_evaluate(p, &err) : p->config.fast ? run_fast(p, &err) : run_slow(p, &err);
    if (status == MOCO_OK)
        return EXIT_DONE;
fail:
    if (status == MOCO_ECANCELED)
        return EXIT_STOPPED;
    fflush(stdout);
    fprintf(stderr, "linear_probe: %s%s\n", err.text,
            status == MOCO_EBADDATA
                ? "; repair or remove them, raise --max-pixels for those that are too large, or raise --max-bad"
                : "");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    program_start();
    struct probing *p = calloc(1, sizeof *p);
    if (p == NULL) {
        fprintf(stderr, "linear_probe: out of memory\n");
        return EXIT_FAILED;
    }
    int code = EXIT_USAGE;
    p->lock = -1;
    if (probe_config_parse(&p->config, argc, argv, &err) != MOCO_OK) {
        fprintf(stderr, "linear_probe: %s\n", err.text);
    } else if (p->config.help) {
        fputs(help_head, stdout);
        cli_help(&probe_cli, stdout);
        fputs(help_tail, stdout);
        code = program_printed("linear_probe");
    } else {
        wait_policy_apply(p->config.wait, p->config.threads, argv);
        code = run(p);
    }
    moco_probe_free(p->probe);
    probe_state_free(&p->state);
    encoded_free(&p->train);
    encoded_free(&p->held_out);
    moco_model_free(p->encoder);
    open_data_free(&p->data);
    moco_device_free(p->device);
    moco_context_free(p->context);
    if (p->lock >= 0)
        close(p->lock);
    free(p);
    return code;
}
