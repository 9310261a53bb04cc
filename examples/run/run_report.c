/* SPDX-License-Identifier: MIT
 *
 * run_report: see run_report.h. */
#include "run_report.h"

#include <stdio.h>
#include <string.h>

#include "disk_need.h"
#include "folder/machine.h"
#include "folder/metrics.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/processors.h"
#include "views_place.h"

#define BUSY 0.85    /* a part of the processors below this is worth a word */
#define PREFETCHED 3 /* batches that a loader holds: two ready and one in use */

static int64_t steps_per_epoch(const struct run_config *c, const struct open_data *data)
{
    return moco_dataset_count(data->train) / c->batch;
}

void run_report_config(const struct run_config *c, const moco_device_info *device, const struct open_data *data)
{
    moco_preset preset;
    char value[CLI_PATH_SIZE];
    printf("configuration (--help explains each option)\n");
    for (int i = 0; i < run_cli.count; i++) {
        const struct cli_option *o = &run_cli.option[i];
        if (o->kind == CLI_ALIAS || strcmp(o->name, "help") == 0 || strcmp(o->name, "dry-run") == 0)
            continue;
        cli_text(&run_cli, i, c, value, sizeof value);
        printf("  %-18s %s%s\n", o->name, value[0] != 0 ? value : "-", c->given[i] ? "  (given)" : "");
    }
    if (moco_preset_get(&preset, c->preset) == MOCO_OK)
        printf("  preset from        %s\n", preset.source);
    printf("  data               %s: %s: %s%s%s\n", c->data, data->kind, data->print,
           data->train_left_out[0] != 0 ? "; left out: " : "", data->train_left_out);
    if (data->held_out != NULL)
        printf("  held out           %s images%s%s\n", human_count(moco_dataset_count(data->held_out)),
               data->held_left_out[0] != 0 ? "; left out: " : "", data->held_left_out);
    printf("  machine            %s%s%s%s%s, %d threads, libmoco %d.%d.%d\n", device->name, device->isa[0] ? ", " : "",
           device->isa, device->library[0] ? ", " : "", device->library, (int)device->threads, moco_version() / 10000,
           moco_version() / 100 % 100, moco_version() % 100);
    printf("  steps              %s per epoch, %s in all\n", human_count(steps_per_epoch(c, data)),
           human_count(steps_per_epoch(c, data) * c->epochs));
    fflush(stdout);
}

static void kind(const char *name, int64_t bytes, const char *what)
{
    printf("  %-18s %10s  %s\n", name, human_bytes(bytes), what);
}

/* Of a machine that does nothing else, and what others take of it now. */
static void print_time(const struct run_config *c, int threads, const struct open_data *data,
                       const moco_memory_estimate *e)
{
    double epoch = e->step_seconds * (double)steps_per_epoch(c, data);
    printf("time\n  %-18s %.3g\n", "operations", e->step_flops);
    if (e->step_seconds <= 0) {
        printf("  %-18s unknown: this device cannot tell its speed\n", "step");
        return;
    }
    printf("  %-18s %s (about %.3g images a second)\n", "step", human_seconds(e->step_seconds),
           (double)c->batch / e->step_seconds);
    printf("  %-18s %s\n", "epoch", human_seconds(epoch));
    printf("  %-18s %s, kNN monitor aside\n", "run", human_seconds(epoch * (double)c->epochs));
    double share = processors_share(threads);
    if (share < BUSY)
        printf("  %-18s the machine is busy: this process gets %.0f %% of the time of %d processors now; while it is "
               "so,\n  %-18s a step takes at least %s; the times above are those of a free machine\n",
               "beside others", 100 * share, threads, "", human_seconds(e->step_seconds / share));
}

static void print_disk(const struct run_config *c, int64_t parameters)
{
    struct disk_need need;
    char sentence[512];
    disk_need(&need, c, parameters);
    printf("disk\n");
    kind("checkpoint", need.checkpoint, "");
    printf("  %-18s %10s  %lld checkpoints at once, and the encoder\n", "run folder", human_bytes(need.all),
           (long long)need.count);
    if (need.left >= 0)
        kind("left", need.left, "on its file system");
    if (disk_need_lacks(&need, c, sentence, sizeof sentence))
        printf("  %-18s %s\n", "too little", sentence);
}

moco_status run_report_estimate(const struct run_config *c, moco_device *device, const struct open_data *data,
                                struct err *err)
{
    moco_model_options model;
    moco_trainer_options trainer;
    moco_memory_estimate e;
    moco_device_info info;
    moco_device_info_init(&info);
    TRY(from_moco(moco_device_describe(device, &info), err));
    run_config_model(c, &model);
    run_config_trainer(c, &trainer);
    moco_memory_estimate_init(&e);
    TRY(from_moco(moco_trainer_estimate(device, &model, c->queue, &trainer, &e), err));
    struct views_place place;
    TRY(views_place(&place, c->views, device, data->train, err));
    int64_t views = PREFETCHED * 2 * c->batch * c->size * c->size * 3;
    if (place.on_device)
        views = place.bytes > 0 ? place.bytes : 0;
    printf("memory (nothing of it was taken)\n");
    printf("  %-18s %10s  trainable numbers\n", "parameters", human_count(e.parameters));
    int shared = trainer.encoder_k == MOCO_KEY_SHARED, lars = trainer.optimizer == MOCO_OPTIMIZER_LARS;
    kind("weights", e.weights_bytes, shared ? "one encoder for queries and keys" : "query and key encoder");
    kind("readers", e.reader_bytes, "copies of them in the type that computes");
    kind("gradients", e.gradient_bytes, "");
    kind("momentum", e.momentum_bytes, lars ? "of LARS" : "of SGD");
    kind("queue", e.queue_bytes, "negative keys");
    kind("slab", e.slab_bytes,
         shared ? "the whole batch, both views: activations, their gradients, scratch"
                : "one launch: activations, their gradients, scratch");
    if (!place.on_device)
        kind("views", views, "batches that the loader holds, which makes them on the host");
    else if (place.bytes >= 0)
        kind("pictures", views, "decoded, on the device, which makes the views");
    else
        printf(
            "  %-18s %10s  how much is not known before they are read: decoded, on the device, which makes the views\n",
            "pictures", "?");
    kind("all", e.total_bytes + views, "");
    printf("  %-18s %10d  per pass over a batch\n", "launches", (int)e.launches);
    print_time(c, info.threads, data, &e);
    print_disk(c, e.parameters);
    fflush(stdout);
    return MOCO_OK;
}

void run_report_json(const struct run_config *c, const moco_device_info *device, const struct open_data *data,
                     char *text, size_t size)
{
    char options[NOTE_SIZE], folder[2 * CLI_PATH_SIZE], made_on[MACHINE_JSON];
    struct machine machine;
    run_config_json(c, options, sizeof options);
    json_quote(c->data, folder, sizeof folder);
    machine_here(&machine, device);
    machine_json(&machine, made_on, sizeof made_on);
    snprintf(text, size,
             "%s,\"data\":%s,\"data_print\":\"%s\",\"held_out\":%lld,\"steps_per_epoch\":%lld,\"knn-every\":%lld,"
             "\"knn-bank\":%lld,\"max-pixels\":%lld,%s,\"workers\":%lld",
             options, folder, data->print, (long long)moco_dataset_count(data->held_out),
             (long long)steps_per_epoch(c, data), (long long)c->knn_every, (long long)c->knn_bank,
             (long long)c->max_pixels, made_on, (long long)c->workers);
}
