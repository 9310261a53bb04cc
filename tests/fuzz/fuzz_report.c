/* SPDX-License-Identifier: MIT
 *
 * fuzz_report: what the programs read that may come from anywhere: metrics.jsonl and gallery.json of a run folder, the
 * note of the driver's checkpoints and that of the linear probe's. The first byte says which; the rest is its text. */
#define _GNU_SOURCE /* memfd_create, mkdtemp */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "folder/run_log.h"
#include "fuzz/support/base_file.h"
#include "fuzz/support/memory_file.h"
#include "probe/probe_state.h"
#include "report/gallery.h"
#include "run/checkpoints.h"

enum { METRICS, GALLERY, RUN_NOTE, PROBE_NOTE, READERS };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/tmp/moco-fuzz-XXXXXX";
static moco_context *context;
static struct forged base;

static void clean_up(void)
{
    char path[64];
    static const char *const names[] = {"metrics.jsonl", "gallery.json"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* The folder's two files are links to the one in memory. */
static void make_folder(void)
{
    char path[64];
    const char *target = memory_file(NULL, 0);
    static const char *const names[] = {"metrics.jsonl", "gallery.json"};
    if (mkdtemp(folder) == NULL)
        exit(1);
    atexit(clean_up);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (symlink(target, path) != 0)
            exit(1);
    }
}

/* ---- a run's note: in a checkpoint that is sound, but for it ---- */

static moco_status save_base(const char *path, struct err *err)
{
    moco_device *device = NULL;
    moco_model *model = NULL;
    moco_queue *queue = NULL;
    moco_trainer *trainer = NULL;
    moco_model_options m;
    moco_trainer_options o;
    moco_model_options_init(&m);
    moco_trainer_options_init(&o);
    m.arch = "resnet18";
    m.stem = "small";
    m.head = "linear";
    m.width = 1.0 / 128;
    m.dim = 2;
    m.image_size = 8;
    o.batch_size = 2;
    o.bn_group_size = 2;
    o.image_h = o.image_w = 8;
    o.precision = MOCO_PRECISION_F64;
    moco_status status = moco_device_open(&device, context, "ref");
    if (status == MOCO_OK)
        status = moco_model_create(&model, device, &m);
    if (status == MOCO_OK)
        status = moco_queue_create(&queue, device, 2, 2, 1);
    if (status == MOCO_OK)
        status = moco_trainer_create(&trainer, model, queue, &o);
    if (status == MOCO_OK)
        status = moco_trainer_save(trainer, path, "");
    if (status != MOCO_OK)
        err_set(err, status, "%s", moco_error());
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    return status;
}

static moco_status read_run_note(const char *text, struct err *err)
{
    char *arguments[] = {(char *)(uintptr_t) "train_imagenet", (char *)(uintptr_t) "pictures"};
    struct run_note note = {0};
    size_t size;
    if (base.tensor_count == 0)
        base_file_make(&base, save_base);
    if (run_config_parse(&note.config, 2, arguments, err) != MOCO_OK)
        abort();
    forged_text(&base, "note", text);
    char *file = forged_bytes(&base, 1, &size);
    const char *path = memory_file((const uint8_t *)file, size);
    free(file);
    TRY(checkpoint_read_note(context, path, &note, err));
    if (memchr(note.data, 0, sizeof note.data) == NULL || note.epoch_done < 0 || note.epoch_steps < 0)
        abort();
    return MOCO_OK;
}

/* ---- the others ---- */

static moco_status read_metrics(size_t size, struct err *err)
{
    struct run_log *log = NULL;
    moco_status status = run_log_open(&log, folder, err);
    for (int whole = 0; whole < 2 && status == MOCO_OK; whole++)
        status = run_log_read(log, whole, err);
    if (status == MOCO_OK && (log->offset > (int64_t)size + 1 || log->steps < 0 || log->problems < 0))
        abort();
    run_log_free(log);
    return status;
}

static moco_status read_gallery(struct err *err)
{
    struct gallery *g = NULL;
    TRY(gallery_read(&g, folder, err));
    if (g == NULL || g->queries > GALLERY_QUERIES_MAX || g->sheets > GALLERY_QUERIES_MAX ||
        g->points > GALLERY_POINTS_MAX)
        abort();
    for (int64_t i = 0; i < g->points; i++)
        if (!isfinite(g->x[i]) || !isfinite(g->y[i]) || gallery_class(g, (int64_t)g->label[i]) == NULL)
            abort();
    for (int64_t i = 0; i < g->points && g->near_x != NULL; i++)
        if (!isfinite(g->near_x[i]) || !isfinite(g->near_y[i]))
            abort();
    if (g->tiles.jpeg != NULL && (g->tiles.side < 1 || g->tiles.pitch < g->tiles.side || g->tiles.columns < 1))
        abort();
    gallery_free(g);
    return MOCO_OK;
}

static moco_status read_probe_note(const char *text, struct err *err)
{
    struct probe_state s = {.head = "data 1\n"};
    moco_status status = probe_state_read(&s, "state", text, err);
    if (status == MOCO_OK && (s.position < 0 || probe_state_best(&s) >= s.count))
        abort();
    probe_state_free(&s);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (context == NULL) {
        make_folder();
        if (moco_context_create(&context, NULL) != MOCO_OK)
            return 0;
    }
    if (size < 1)
        return 0;
    int reader = bytes[0] % READERS;
    char *text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, bytes + 1, size - 1);
    text[size - 1] = 0;
    struct err err = {0};
    moco_status status = MOCO_OK;
    if (reader == METRICS || reader == GALLERY)
        memory_file(bytes + 1, size - 1);
    if (reader == METRICS)
        status = read_metrics(size - 1, &err);
    else if (reader == GALLERY)
        status = read_gallery(&err);
    else
        status = reader == RUN_NOTE ? read_run_note(text, &err) : read_probe_note(text, &err);
    free(text);
    if ((status != MOCO_OK) != (err.text[0] != 0))
        abort();
    return 0;
}
