/* SPDX-License-Identifier: MIT
 *
 * linear_probe: measures an encoder's features as the MoCo papers do: a linear classifier on top of the frozen
 * encoder. By default it follows the protocol of the reference's main_lincls.py, and can be resumed at any step;
 * with --fast it tries several learning rates on features that are encoded once. What a reader would get wrong: the
 * held-out images are not augmented and the encoder does not change, so that their features are encoded once in
 * either case. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder/leftovers.h"
#include "folder/run_dir.h"
#include "folder/run_lock.h"
#include "probe/probing.h"
#include "probe/probing_train.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/progress.h"
#include "support/stop_signal.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 };

static const char help_head[] =
    "Usage: linear_probe DIR... --pretrained FILE [OPTIONS]\n"
    "\n"
    "Trains a linear classifier on the frozen features of an encoder and prints its top-1 and top-5 accuracy on "
    "held-out\n"
    "images. DIR holds labelled images: train/ and val/ or test/ with class folders or tar shards, shards with val or\n"
    "test in their names beside others, or CIFAR-10's binary files; or it is train.txt, a list, with val.txt beside "
    "it\n"
    "(see train_imagenet --help).\n"
    "Option names are those of the reference's main_lincls.py, and so are the defaults:\n"
    "  linear_probe /data/imagenet -a resnet50 --lr 30 --batch-size 256 --pretrained run1/encoder.safetensors\n"
    "For an answer within a minute or two, for an encoder of small images:\n"
    "  linear_probe /data/cifar10 --pretrained cifar/encoder.safetensors --fast\n";

static const char help_tail[] =
    "\n"
    "The folder --out gets probe.json (accuracy, confusion matrix [label][predicted], protocol, options, statistics of "
    "the\n"
    "features); without --fast also " PROBING_STATE " after each epoch and at a signal, and " PROBING_BEST ".\n"
    "\n"
    "Images that cannot be read are left out and reported; accuracy is over the others. In probe.json they are\n"
    "train_unreadable and held_out_unreadable; scored is the number of held-out images that accuracy is over.\n"
    "\n"
    "Exit codes: 0 done, even if some images could not be read. 1 failed, or nothing could be read, or more than\n"
    "--max-bad could not; one sentence on standard error. 2 wrong command line. 75 stopped by SIGINT, SIGTERM,\n"
    "SIGHUP or SIGUSR1, and saved: --resume auto continues from there, to the same bits.\n";

static void on_log(void *user, int level, const char *line)
{
    (void)user;
    if (level >= MOCO_LOG_WARN)
        probing_warn(line);
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
        probing_warn(p->data.notes.text[i]);
    TRY(check_data(p, err));
    moco_import_options import;
    moco_import_options_init(&import);
    import.prefix = c->prefix[0] != 0 ? c->prefix : NULL;
    import.stem = c->stem[0] != 0 ? c->stem : NULL;
    TRY(any_encoder_open(&p->from, &p->encoder, p->context, p->device, c->pretrained, &import, err));
    TRY(from_moco(moco_model_describe(p->encoder, &p->info), err));
    TRY(probe_config_settle(c, p->encoder, &p->eval_view, &p->guessed, err));
    TRY(probe_config_train_view(c, &p->train_view, err));
    TRY(encode_make(&p->features, p->encoder, precision_parse(c->precision), err));
    return frozen_hash(p->encoder, p->hash, err);
}

static void describe(const struct probing *p)
{
    printf("encoder   %s: %s, width %g, %d features", p->config.pretrained, p->info.arch, p->info.width,
           p->info.feature_dim);
    if (p->from.imported)
        printf("\n");
    else
        printf("; all %d tensors read, none missing\n", p->info.tensor_count);
    any_encoder_print(&p->from, "", 9);
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
        probing_warn("the best learning rate is at the edge of those tried; another may be better: try it with --lr");
    return MOCO_OK;
}

static moco_status run_fast(struct probing *p, struct err *err)
{
    const struct probe_config *c = &p->config;
    moco_probe_options options;
    moco_probe_fit_options fit;
    double top1[MOCO_PROBE_RATES], begun;
    int best = 0;
    TRY(probing_encode(p, p->data.train, "training", &p->train, err));
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
    return probing_report(p, best, &r, err);
}

/* Epochs of training are not written over, neither by another probe nor by the fast path's seconds. */
static moco_status check_unused(const struct probe_config *c, struct err *err)
{
    int there;
    if (c->evaluate || c->resume[0] != 0)
        return MOCO_OK;
    TRY(run_dir_has(c->out, PROBING_STATE, &there, err));
    if (there)
        return err_set(err, MOCO_ESTATE, "%.300s holds a probe already; %schoose another --out", c->out,
                       c->fast ? "" : "go on with --resume auto, or ");
    return MOCO_OK;
}

static int run(struct probing *p)
{
    static const char *const saved_here[] = {PROBING_STATE, PROBING_BEST, "probe.json", NULL};
    struct err err = {0};
    moco_status status;
    p->begun = seconds_now();
    TRY_GOTO(status, open_all(p, &err), fail);
    describe(p);
    TRY_GOTO(status, run_dir_make(p->config.out, &err), fail);
    TRY_GOTO(status, run_lock_take(&p->lock, p->config.out, &err), fail);
    TRY_GOTO(status, check_unused(&p->config, &err), fail);
    leftovers_remove(p->config.out, saved_here, p->lock >= 0, probing_warn);
    stop_signal_catch();
    TRY_GOTO(status, probing_encode(p, p->data.held_out, "held-out", &p->held_out, &err), fail);
    TRY_GOTO(status, probing_look(p, &err), fail);
    fflush(stdout);
    status = p->config.evaluate ? probing_evaluate(p, &err)
             : p->config.fast   ? run_fast(p, &err)
                                : probing_train(p, &err);
    if (status == MOCO_OK)
        return EXIT_DONE;
fail:
    if (status == MOCO_ECANCELED)
        return EXIT_STOPPED;
    fflush(stdout);
    fprintf(stderr, "%s: %s%s\n", program_name("linear_probe"), err.text,
            status == MOCO_EBADDATA ? "; " UNREADABLE_REMEDY : "");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    program_start();
    struct probing *p = calloc(1, sizeof *p);
    if (p == NULL) {
        fprintf(stderr, "%s: out of memory\n", program_name("linear_probe"));
        return EXIT_FAILED;
    }
    int code = EXIT_USAGE;
    p->lock = -1;
    if (probe_config_parse(&p->config, argc, argv, &err) != MOCO_OK) {
        fprintf(stderr, "%s: %s\n", program_name("linear_probe"), err.text);
    } else if (p->config.help) {
        program_help(help_head, stdout);
        cli_help(&probe_cli, stdout);
        program_help(help_tail, stdout);
        code = program_printed(program_name("linear_probe"));
    } else {
        wait_policy_apply(p->config.wait, p->config.threads, argv);
        code = run(p);
    }
    wait_beside_end();
    moco_probe_free(p->probe);
    probe_state_free(&p->state);
    encoded_free(&p->train);
    encoded_free(&p->held_out);
    moco_encoder_free(p->features);
    moco_model_free(p->encoder);
    open_data_free(&p->data);
    moco_device_free(p->device);
    moco_context_free(p->context);
    if (p->lock >= 0)
        close(p->lock);
    free(p);
    return code;
}
