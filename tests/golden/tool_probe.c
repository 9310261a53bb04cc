/* SPDX-License-Identifier: MIT
 *
 * tool_probe: trains a probe on numbers from a file for tests/golden/test_probe.py, through the public API.
 * usage: tool_probe DEVICE FOLDER N DIM CLASSES EPOCHS BATCH SEED WEIGHT_DECAY LR...
 * Reads FOLDER/features.f32 and FOLDER/labels.i32; writes before.safetensors and after.safetensors there, and prints of
 * each rate: rows right, rows among the first five, sum of losses. */
#include <stdio.h>
#include <stdlib.h>

#include "moco/moco.h"

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_probe: %s\n", moco_error());
    exit(2);
}

static void *read_all(const char *folder, const char *name, size_t bytes)
{
    char path[1024];
    void *data = malloc(bytes);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (data == NULL || file == NULL || fread(data, 1, bytes, file) != bytes) {
        fprintf(stderr, "tool_probe: %s is not there, or short\n", path);
        exit(2);
    }
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_device *device;
    moco_probe *probe;
    moco_probe_options o;
    moco_probe_fit_options fit;
    moco_tensor features;
    char path[1024];
    if (argc < 11 || argc > 10 + MOCO_PROBE_RATES) {
        fprintf(stderr, "usage: tool_probe DEVICE FOLDER N DIM CLASSES EPOCHS BATCH SEED WEIGHT_DECAY LR...\n");
        return 2;
    }
    moco_probe_options_init(&o);
    moco_probe_fit_options_init(&fit);
    moco_tensor_init(&features);
    int n = atoi(argv[3]);
    o.dim = atoi(argv[4]);
    o.classes = atoi(argv[5]);
    fit.epochs = atoi(argv[6]);
    fit.batch_size = atoi(argv[7]);
    fit.milestones[0] = fit.epochs / 2;
    fit.milestones[1] = fit.epochs - 1;
    o.seed = strtoull(argv[8], NULL, 10);
    o.weight_decay = atof(argv[9]);
    o.rates = argc - 10;
    for (int r = 0; r < o.rates; r++)
        o.lr[r] = atof(argv[10 + r]);
    features.dtype = MOCO_F32;
    features.ndim = 2;
    features.shape[0] = n;
    features.shape[1] = o.dim;
    features.data = read_all(argv[2], "features.f32", (size_t)n * (size_t)o.dim * sizeof(float));
    int32_t *labels = read_all(argv[2], "labels.i32", (size_t)n * sizeof *labels);
    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, argv[1]));
    check(moco_probe_create(&probe, device, &o));
    snprintf(path, sizeof path, "%s/before.safetensors", argv[2]);
    check(moco_probe_save(probe, path, NULL));
    check(moco_probe_fit(probe, &features, labels, &fit));
    snprintf(path, sizeof path, "%s/after.safetensors", argv[2]);
    check(moco_probe_save(probe, path, NULL));
    for (int r = 0; r < o.rates; r++) {
        moco_score score;
        moco_score_init(&score);
        score.rate = r;
        check(moco_probe_evaluate(probe, &features, labels, &score, NULL));
        printf("%lld %lld %.17g\n", (long long)score.top1, (long long)score.top5, score.loss);
    }
    free(features.data);
    free(labels);
    moco_probe_free(probe);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
