/* SPDX-License-Identifier: MIT
 *
 * demo: MoCo v2 in three minutes. It draws pictures of ten kinds, pre-trains a small encoder on them without their
 * labels, and measures how well its features distinguish the kinds on unseen pictures, compared with raw pixels and
 * with the same encoder untrained. `demo DIR` does this on a person's own pictures. libmoco does the mathematics;
 * this file is the loop. What a reader would get wrong: only the measurements look at labels, never the training. */
#include <moco/moco.h>

#include <stdlib.h>
#include <string.h>

#include "demo/demo_measure.h"
#include "demo/demo_pictures.h"
#include "demo/demo_record.h"
#include "folder/run_dir.h"
#include "images/eval_view.h"
#include "support/cli_options.h"
#include "support/contention.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/progress.h"
#include "support/stop_signal.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"

struct settings {
    int64_t seed, steps, knn_every, threads, help;
    double lr;
    char device[CLI_NAME_SIZE], precision[CLI_NAME_SIZE], wait[CLI_NAME_SIZE], out[CLI_PATH_SIZE],
        folder[CLI_PATH_SIZE];
};
#define AT(member) offsetof(struct settings, member)

static const struct cli_option table[] = {
    {"seed", NULL, 0, CLI_INT, AT(seed), 0, 9e15, NULL, 0, "N",
     "seed of pictures, weights, queue and views (default 0)"},
    {"steps", NULL, 0, CLI_INT, AT(steps), 1, 1e9, NULL, 0, "N", "training steps, of 128 pictures each (default 1600)"},
    {"lr", NULL, 0, CLI_REAL, AT(lr), 0, 100, NULL, 0, "X",
     "initial learning rate (default 0.06); 0 is the control: nothing is learnt"},
    {"knn-every", NULL, 0, CLI_INT, AT(knn_every), 0, 1e9, NULL, 0, "STEPS",
     "print the accuracy on the way (default 0: only at the end)"},
    {"device", NULL, 0, CLI_NAME, AT(device), 0, 0, NULL, 0, "NAME", DEVICE_HELP},
    {"precision", NULL, 0, CLI_NAME, AT(precision), 0, 0, PRECISION_CHOICES, 0, "NAME", PRECISION_HELP},
    {"threads", NULL, 0, CLI_INT, AT(threads), 0, 1024, NULL, 0, "N", "compute threads (default 0: all it may use)"},
    {"wait", NULL, 0, CLI_NAME, AT(wait), 0, 0, WAIT_CHOICES, 0, "POLICY", WAIT_HELP},
    {"out", NULL, 0, CLI_PATH, AT(out), 0, 0, NULL, 0, "DIR",
     "encoder.safetensors, metrics.jsonl and report.html go there (default\n"
     "moco-demo); those of an earlier demo are overwritten"},
    {"help", NULL, 'h', CLI_FLAG, AT(help), 0, 1, NULL, 0, NULL, "print this and stop"},
};
static const struct cli cli = {"demo", table, (int)(sizeof table / sizeof table[0]), NULL};

static const char help_head[] =
    "Usage: demo [DIR...] [OPTIONS]\n"
    "\n"
    "Pre-trains an encoder with MoCo v2 and measures what it has learnt, in about three minutes on two cores. Without\n"
    "DIR it draws its pictures; otherwise it takes up to 11,000 of the pictures below DIR, reduced to 32 pixels. "
    "Class\n"
    "folders in DIR, if there are any, serve the measurement only: one picture in eleven is held out for it.\n\n";

static const char help_tail[] =
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what and where. 2 wrong command line. 75\n"
    "stopped by a signal.\n";

struct demo {
    struct settings settings;
    moco_context *context;
    moco_device *device;
    moco_preset preset;
    moco_trainer_options training;
    moco_augment_options recipe;
    struct demo_pictures pictures;
    struct demo_measure measure;
    moco_augment_options look; /* how the encoder is measured, and to be used */
    moco_dataset *set;
    moco_loader *loader;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    struct progress progress;
    struct demo_record record;
    struct contention contention;
    int64_t step; /* made so far */
};

static void on_log(void *user, int level, const char *line)
{
    const int *silent = user; /* an untrained encoder is measured on purpose: no need to be warned of it */
    if (level >= MOCO_LOG_WARN && !*silent)
        fprintf(stderr, "%s: warning: %s\n", program_name("demo"), line);
}
static int silent;

static void warn(const char *sentence)
{
    fprintf(stderr, "%s: warning: %s\n", program_name("demo"), sentence);
}
enum { EXIT_STOPPED = 75 }; /* by a signal: as the other programs */

static moco_status get_pictures(struct demo *d, struct err *err)
{
    const struct settings *s = &d->settings;
    double begun = seconds_now();
    struct unreadable unreadable = {0};
    char text[UNREADABLE_TEXT];
    if (s->folder[0] != 0)
        TRY(demo_pictures_read(&d->pictures, d->context, s->folder, &d->look, s->seed, d->training.batch_size,
                               &unreadable, err));
    else
        TRY(demo_pictures_draw(&d->pictures, s->seed, err));
    if (unreadable.count > 0)
        warn(unreadable_text(&unreadable, "pictures", text, sizeof text));
    if (d->pictures.left_out[0] != 0)
        warn(d->pictures.left_out);
    int64_t count = d->pictures.all - d->pictures.held_out;
    progress_say(&d->progress, "%s %s pictures to train on and %s held out, %d classes (%s)",
                 s->folder[0] != 0 ? "read" : "drew", human_count(count), human_count(d->pictures.held_out),
                 (int)d->pictures.classes, human_seconds(seconds_now() - begun));
    if (d->pictures.classes < 2)
        progress_say(&d->progress,
                     "%s, so no kNN accuracy: it is measured how often a view of a held-out picture finds another view "
                     "of the same picture",
                     d->pictures.classes == 1 ? "the pictures are all of one class" : "there are no class folders");
    if (d->pictures.classes == 1) /* nothing to tell apart: as good as no labels */
        d->pictures.classes = 0;
    if (d->preset.queue_length > count / 4)
        fprintf(stderr,
                "%s: warning: the queue of %lld keys is longer than a quarter of the %lld pictures: many negatives "
                "will be other views of the query's own picture\n",
                program_name("demo"), (long long)d->preset.queue_length, (long long)count);
    return MOCO_OK;
}

static moco_status make_loader(struct demo *d, struct err *err)
{
    const struct demo_pictures *p = &d->pictures;
    moco_tensor images;
    moco_loader_options o;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = p->all - p->held_out;
    images.shape[1] = images.shape[2] = p->size;
    images.shape[3] = 3;
    images.data = (void *)(uintptr_t)demo_picture(p, p->held_out);
    TRY(from_moco(moco_dataset_from_memory(&d->set, d->context, &images, NULL), err));
    moco_loader_options_init(&o);
    o.batch_size = d->training.batch_size;
    o.workers = 1;
    o.permuted = 1;
    o.drop_last = 1;
    o.seed = (uint64_t)d->settings.seed;
    o.recipe[0] = o.recipe[1] = &d->recipe;
    return from_moco(moco_loader_create(&d->loader, d->set, &o), err);
}

static moco_status set_up(struct demo *d, struct err *err)
{
    struct settings *s = &d->settings;
    moco_device_info info;
    moco_context_options context;
    moco_model_options model;
    moco_context_options_init(&context);
    context.threads = (int32_t)s->threads;
    context.log = on_log;
    context.user = &silent;
    TRY(from_moco(moco_context_create(&d->context, &context), err));
    TRY(from_moco(moco_device_open(&d->device, d->context, s->device), err));
    moco_device_info_init(&info);
    TRY(from_moco(moco_device_describe(d->device, &info), err));
    precision_settle(s->precision, sizeof s->precision, &info);
    TRY(from_moco(moco_preset_get(&d->preset, "demo"), err));
    TRY(from_moco(moco_model_options_preset(&model, "demo"), err));
    TRY(from_moco(moco_trainer_options_preset(&d->training, "demo"), err));
    TRY(from_moco(moco_augment_options_preset(&d->recipe, d->preset.recipe, d->preset.image_size), err));
    model.seed = d->training.seed = (uint64_t)s->seed;
    d->training.precision = precision_parse(s->precision);
    TRY(eval_view_named(&d->look, "none", d->preset.image_size, err));
    TRY(get_pictures(d, err));
    TRY(make_loader(d, err));
    TRY(from_moco(moco_model_create(&d->model, d->device, &model), err));
    TRY(from_moco(moco_model_set_recipe(d->model, &d->look), err));
    TRY(from_moco(moco_queue_create(&d->queue, d->device, model.dim, d->preset.queue_length, model.seed), err));
    TRY(from_moco(moco_trainer_create(&d->trainer, d->model, d->queue, &d->training), err));
    d->measure = (struct demo_measure){.context = d->context,
                                       .device = d->device,
                                       .pictures = &d->pictures,
                                       .recipe = &d->recipe,
                                       .k = d->preset.knn_k,
                                       .temperature = d->preset.knn_temperature,
                                       .seed = model.seed};
    return MOCO_OK;
}

static moco_status open_record(struct demo *d, struct err *err)
{
    const struct settings *s = &d->settings;
    int64_t per_epoch = moco_loader_batches(d->loader), count = moco_dataset_count(d->set);
    char members[1024 + 2 * CLI_PATH_SIZE], folder[2 * CLI_PATH_SIZE], lr[40], wait[160];
    cli_real_text(s->lr, lr, sizeof lr);
    json_quote(s->folder[0] != 0 ? s->folder : "patterns that it draws", folder, sizeof folder);
    json_quote(wait_policy_text(), wait, sizeof wait);
    snprintf(members, sizeof members,
             "\"program\":\"demo\",\"preset\":\"demo\",\"data\":%s,\"data_print\":\"%lld images\",\"held_out\":%lld,"
             "\"recipe\":\"%s\",\"moco-k\":%lld,\"moco-t\":%g,\"moco-m\":%g,\"batch-size\":%d,\"bn-group-size\":%d,"
             "\"lr\":%s,\"steps\":%lld,\"steps_per_epoch\":%lld,\"epochs\":%lld,\"seed\":%lld,\"device\":\"%s\","
             "\"precision\":\"%s\",\"wait\":%s,\"version\":%d",
             folder, (long long)count, (long long)d->pictures.held_out, d->preset.recipe,
             (long long)d->preset.queue_length, d->training.temperature, d->training.key_momentum,
             (int)d->training.batch_size, (int)d->training.bn_group_size, lr, (long long)s->steps, (long long)per_epoch,
             (long long)((s->steps + per_epoch - 1) / per_epoch), (long long)s->seed, s->device, s->precision, wait,
             moco_version());
    d->record.pictures = &d->pictures;
    d->record.context = d->context;
    d->record.device = d->device;
    d->record.view = d->recipe;
    d->record.recipe = d->preset.recipe;
    d->record.seed = (uint64_t)s->seed;
    d->record.batch = d->training.batch_size;
    d->record.drawn = s->folder[0] == 0;
    return demo_record_open(&d->record, s->out, members, warn, err);
}

static moco_status measure(struct demo *d, moco_model *model, double *percent, struct err *err)
{
    if (d->pictures.classes == 0)
        return demo_measure_agreement(&d->measure, model, percent, err);
    return demo_measure_knn(&d->measure, model, percent, err);
}

static moco_status after_step(struct demo *d, int64_t step, struct err *err)
{
    const struct settings *s = &d->settings;
    moco_step_report report;
    moco_loader_stats stats;
    int64_t per_epoch = moco_loader_batches(d->loader);
    moco_step_report_init(&report);
    moco_loader_stats_init(&stats);
    TRY(from_moco(moco_trainer_report(d->trainer, &report), err));
    TRY(from_moco(moco_loader_get_stats(d->loader, &stats), err));
    struct progress_step shown = {.epoch = (step - 1) / per_epoch + 1,
                                  .epochs = (s->steps + per_epoch - 1) / per_epoch,
                                  .at = (step - 1) % per_epoch + 1,
                                  .of = per_epoch,
                                  .left = s->steps - step,
                                  .wait_seconds = stats.wait_seconds,
                                  .report = &report};
    progress_step(&d->progress, &shown);
    wait_beside_step();
    const char *slowed = contention_step(&d->contention, wait_policy_advice());
    if (slowed != NULL) {
        progress_break(&d->progress);
        warn(slowed);
    }
    TRY(demo_record_step(&d->record, shown.epoch, &report, stats.wait_seconds, err));
    if (s->knn_every > 0 && step % s->knn_every == 0) {
        double percent;
        TRY(measure(d, d->model, &percent, err));
        progress_say(&d->progress, "step %lld  accuracy %.1f%%", (long long)step, percent);
        progress_mark(&d->progress, step, stats.wait_seconds);
    }
    return MOCO_OK;
}

static moco_status train(struct demo *d, struct err *err)
{
    const struct settings *s = &d->settings;
    moco_batch batch;
    moco_batch_init(&batch);
    for (int64_t epoch = 0; d->step < s->steps; epoch++) {
        TRY(from_moco(moco_loader_start(d->loader, epoch), err));
        while (d->step < s->steps) {
            if (stop_signal_came())
                return MOCO_ECANCELED;
            moco_status status = moco_loader_next(d->loader, &batch);
            if (status == MOCO_EEND)
                break;
            TRY(from_moco(status, err));
            double lr = moco_lr_cosine(s->lr, (double)d->step, (double)s->steps); /* a shorter run, a shorter cosine */
            TRY(from_moco(moco_trainer_step(d->trainer, &batch, lr), err));
            TRY(after_step(d, ++d->step, err));
        }
        if (d->step < s->steps)
            TRY(demo_record_epoch(&d->record, epoch + 1, d->step, -1, err));
    }
    return MOCO_OK;
}

static moco_status save_encoder(struct demo *d, int64_t epochs, struct err *err)
{
    char path[RUN_PATH_SIZE];
    run_dir_path(d->settings.out, "encoder.safetensors", path);
    TRY(from_moco(moco_model_save(d->model, path), err));
    demo_record_end(&d->record, d->model, epochs, d->step);
    int drawn = !d->record.report.warned;
    progress_say(&d->progress, "the encoder is %s%s%s", path, drawn ? ", the report " : "",
                 drawn ? d->record.report.path : "");
    return MOCO_OK;
}

/* A demo cannot be resumed, but what it has learnt is kept. */
static moco_status stopped(struct demo *d, struct err *err)
{
    progress_say(&d->progress, "stopped by signal %d after %lld of %lld steps; nothing was measured",
                 stop_signal_came(), (long long)d->step, (long long)d->settings.steps);
    TRY(save_encoder(d, d->step / moco_loader_batches(d->loader), err));
    return MOCO_ECANCELED;
}

static moco_status run(struct demo *d, struct err *err)
{
    const struct settings *s = &d->settings;
    double raw = 0, untrained = 0, trained = 0;
    progress_init(&d->progress, 50, 0);
    TRY(set_up(d, err));
    d->progress.images_per_step = d->training.batch_size;
    TRY(measure(d, NULL, &raw, err));
    silent = 1;
    TRY(measure(d, d->model, &untrained, err));
    silent = 0;
    progress_say(&d->progress, "before training: raw pixels %.1f%%, untrained encoder %.1f%%", raw, untrained);
    TRY(open_record(d, err));
    TRY(demo_record_epoch(&d->record, 0, 0, d->pictures.classes > 0 ? untrained : -1, err));
    double begun = seconds_now();
    stop_signal_catch();
    moco_status status = train(d, err);
    if (status == MOCO_ECANCELED)
        return stopped(d, err);
    TRY(status);
    double seconds = seconds_now() - begun;
    TRY(measure(d, d->model, &trained, err));
    int64_t per_epoch = moco_loader_batches(d->loader), epochs = (s->steps + per_epoch - 1) / per_epoch;
    TRY(demo_record_epoch(&d->record, epochs, s->steps, d->pictures.classes > 0 ? trained : -1, err));
    TRY(save_encoder(d, epochs, err));
    progress_say(
        &d->progress,
        d->pictures.classes > 0
            ? "demo: kNN accuracy %.1f%% (raw pixels %.1f%%, untrained encoder %.1f%%) after %lld steps in %.0f s"
            : "demo: a view finds its picture in %.1f%% (raw pixels %.1f%%, untrained encoder %.1f%%) after %lld "
              "steps in %.0f s",
        trained, raw, untrained, (long long)s->steps, seconds);
    return MOCO_OK;
}

int main(int argc, char **argv)
{
    static struct demo d;
    struct err err = {0};
    unsigned char given[CLI_OPTIONS_MAX] = {0};
    program_start();
    d.settings = (struct settings){.steps = 1600, .lr = 0.06, .device = "cpu", .precision = "auto", .out = "moco-demo"};
    if (cli_parse(&cli, argc, argv, &d.settings, given, d.settings.folder, &err) != MOCO_OK) {
        fprintf(stderr, "%s: %s\n", program_name("demo"), err.text);
        return 2;
    }
    if (d.settings.help) {
        program_help(help_head, stdout);
        cli_help(&cli, stdout);
        program_help(help_tail, stdout);
        return program_printed(program_name("demo"));
    }
    wait_policy_apply(d.settings.wait, d.settings.threads, argv);
    moco_status status = run(&d, &err);
    if (status != MOCO_OK && status != MOCO_ECANCELED) {
        progress_break(&d.progress);
        fprintf(stderr, "%s: %s\n", program_name("demo"), err.text);
    }
    demo_record_close(&d.record);
    wait_beside_end();
    moco_loader_free(d.loader);
    moco_dataset_free(d.set);
    moco_trainer_free(d.trainer);
    moco_queue_free(d.queue);
    moco_model_free(d.model);
    demo_pictures_free(&d.pictures);
    moco_device_free(d.device);
    moco_context_free(d.context);
    return status == MOCO_ECANCELED ? EXIT_STOPPED : status == MOCO_OK ? 0 : 1;
}
