/* SPDX-License-Identifier: MIT
 *
 * export: how long an encoder takes to become a file of each form, against a copy of that file, as one JSON object.
 *
 *   build/bench/export [--arch resnet50] [--folder /tmp] [--runs 7]
 *
 * The copy reads the file that was written (which the system has in memory), writes it in pieces of 1 MiB to a new file
 * that takes another's place as safely (fsync, rename, fsync of the folder), and is taken in turn with the export.
 * of_copy is the copy's time over the export's: the median of the rounds' ratios; 0.5 says that an export takes twice
 * as long. What a reader would get wrong: both end with the disk, whose rate moves more than anything here. */
#include <moco/moco.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/support/timing.h"
#include "file/file.h"

#define PIECE ((size_t)1 << 20)

static const char *const endings[] = {"safetensors", "pth", "pkl", "onnx"};
enum { FORMS = sizeof endings / sizeof *endings };

static void ok(moco_status status, const char *text)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "export: %s\n", text);
    exit(1);
}

static int64_t copy(struct ctx *ctx, const char *from, const char *to)
{
    static char piece[PIECE];
    struct err err = {0};
    struct file file;
    struct file_save save;
    ok(file_open(&file, ctx, from, &err), err.text);
    ok(file_save_begin(&save, ctx, to, file.size, &err), err.text);
    int64_t size = file.size;
    for (int64_t at = 0; at < size; at += (int64_t)PIECE) {
        size_t part = size - at < (int64_t)PIECE ? (size_t)(size - at) : PIECE;
        ok(file_read_at(&file, at, piece, part, &err), err.text);
        ok(file_save_write_at(&save, at, piece, part, &err), err.text);
    }
    file_close(&file);
    ok(file_save_commit(&save, &err), err.text);
    return size;
}

int main(int argc, char **argv)
{
    const char *arch = "resnet50", *folder = "/tmp";
    int runs = 7;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--arch") == 0)
            arch = argv[i + 1];
        else if (strcmp(argv[i], "--folder") == 0)
            folder = argv[i + 1];
        else if (strcmp(argv[i], "--runs") == 0)
            runs = atoi(argv[i + 1]);
        else
            return 2;
    }
    if (runs < 1 || runs > TIMING_MAX)
        return 2;
    static double ms[FORMS][TIMING_MAX], copied[FORMS][TIMING_MAX], ratio[FORMS][TIMING_MAX];
    int64_t bytes[FORMS] = {0};
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_model_options options;
    struct ctx *ctx = NULL;
    moco_model_options_init(&options);
    options.arch = arch;
    ok(moco_context_create(&context, NULL), moco_error());
    if (moco_device_open(&device, context, "cpu") != MOCO_OK)
        ok(moco_device_open(&device, context, "ref"), moco_error());
    ok(moco_model_create(&model, device, &options), moco_error());
    ok(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, NULL), "no context");
    for (int run = -1; run < runs; run++)
        for (int form = 0; form < FORMS; form++) {
            char path[512], other[600];
            int at = run < 0 ? 0 : run; /* the first warms up */
            snprintf(path, sizeof path, "%s/moco-bench-export.%s", folder, endings[form]);
            snprintf(other, sizeof other, "%s.copy", path);
            double began = now_ms();
            ok(moco_model_export(model, path, NULL), moco_error());
            ms[form][at] = now_ms() - began;
            began = now_ms();
            bytes[form] = copy(ctx, path, other);
            copied[form][at] = now_ms() - began;
            ratio[form][at] = copied[form][at] / ms[form][at];
            remove(path);
            remove(other);
        }
    printf("{\"bench\": \"export\", \"arch\": \"%s\", \"folder\": \"%s\"", arch, folder);
    for (int form = 0; form < FORMS; form++)
        printf(", \"%s\": {\"mb\": %.0f, \"ms\": %.1f, \"copy_ms\": %.1f, \"of_copy\": %.3f}", endings[form],
               (double)bytes[form] * 1e-6, median(ms[form], runs), median(copied[form], runs),
               median(ratio[form], runs));
    printf("}\n");
    ctx_unref(ctx);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
