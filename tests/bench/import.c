/* SPDX-License-Identifier: MIT
 *
 * import: how fast an encoder comes out of a file of another program, against reading that file's bytes from the disk
 * cache, as one JSON object.
 *
 *   build/bench/import FILE [--device cpu] [--threads N] [--runs 15]
 *
 * FILE for the goal is a ResNet-50 of torchvision:
 *   python3 tests/bench/torch_file.py resnet50.pth
 *
 * "cache" is pread of the whole file in pieces of 1 MiB into one buffer; "tensors" is moco_weights_open and
 * moco_weights_read of every tensor in the narrowest type, checksums compared; "import" is moco_weights_open and
 * moco_model_import, with a linear head where a fresh one is drawn: an MLP's four million random numbers are not read.
 * of_cache is the rate over the cache's, the median of the rounds' ratios. What a reader would get wrong: the file must be
 * in the cache, which the first, uncounted round sees to. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/support/timing.h"
#include "moco/moco.h"

enum { PIECE = 1 << 20 };
enum way { CACHE, TENSORS, IMPORT, WAYS };
static const char *const names[WAYS] = {"cache", "tensors", "import"};

struct rig {
    const char *path;
    moco_context *context;
    moco_device *device;
    char *piece;
    void *tensor;
    size_t tensor_bytes;
    double bytes;
};

static int fail(const char *what)
{
    fprintf(stderr, "import: %s\n", what);
    return 1;
}

static int read_cache(struct rig *r)
{
    ssize_t got;
    int file = open(r->path, O_RDONLY | O_CLOEXEC);
    r->bytes = 0;
    if (file < 0)
        return fail("the file cannot be opened");
    while ((got = pread(file, r->piece, PIECE, (off_t)r->bytes)) > 0)
        r->bytes += (double)got;
    close(file);
    return got < 0 ? fail("the file cannot be read") : 0;
}

static moco_status read_tensors(struct rig *r)
{
    moco_weights *weights;
    moco_status status = moco_weights_open(&weights, r->context, r->path);
    for (int64_t i = 0; status == MOCO_OK && i < moco_weights_count(weights); i++) {
        moco_tensor t;
        moco_weights_info info;
        moco_tensor_init(&t);
        moco_weights_info_init(&info);
        status = moco_weights_at(weights, i, &info);
        if (status == MOCO_OK)
            status = moco_weights_read(weights, i, &t);
        size_t bytes = (size_t)info.count * moco_dtype_size((moco_dtype)t.dtype);
        if (bytes > r->tensor_bytes) {
            free(r->tensor);
            r->tensor = calloc(1, r->tensor_bytes = bytes);
        }
        t.data = r->tensor;
        if (status == MOCO_OK && info.count > 0)
            status = t.data != NULL ? moco_weights_read(weights, i, &t) : MOCO_ENOMEM;
    }
    moco_weights_free(weights);
    return status;
}

static moco_status import(struct rig *r, double *ms)
{
    moco_weights *weights = NULL;
    moco_model *model = NULL;
    moco_import_options o;
    moco_import_options_init(&o);
    o.head = "linear";
    double begun = now_ms();
    moco_status status = moco_weights_open(&weights, r->context, r->path);
    if (status == MOCO_OK)
        status = moco_model_import(&model, r->device, weights, &o, NULL);
    *ms = now_ms() - begun;
    moco_model_free(model);
    moco_weights_free(weights);
    return status;
}

static int round_of(struct rig *r, double ms[WAYS])
{
    double begun = now_ms();
    if (read_cache(r) != 0)
        return 1;
    ms[CACHE] = now_ms() - begun;
    begun = now_ms();
    if (read_tensors(r) != MOCO_OK)
        return fail(moco_error());
    ms[TENSORS] = now_ms() - begun;
    return import(r, &ms[IMPORT]) != MOCO_OK ? fail(moco_error()) : 0;
}

int main(int argc, char **argv)
{
    static double ms[WAYS][TIMING_MAX], ratio[WAYS][TIMING_MAX];
    struct rig rig = {0};
    const char *device = "cpu";
    int runs = 15, failed = 0;
    moco_context_options o;
    moco_context_options_init(&o);
    for (int i = 1; i < argc; i++) {
        int last = i + 1 == argc;
        if (strcmp(argv[i], "--device") == 0 && !last)
            device = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && !last)
            o.threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--runs") == 0 && !last)
            runs = atoi(argv[++i]);
        else
            rig.path = argv[i];
    }
    if (rig.path == NULL || runs < 1 || runs > TIMING_MAX) {
        fprintf(stderr, "import FILE [--device cpu] [--threads N] [--runs N]\n");
        return 2;
    }
    rig.piece = malloc(PIECE);
    if (rig.piece == NULL || moco_context_create(&rig.context, &o) != MOCO_OK ||
        moco_device_open(&rig.device, rig.context, device) != MOCO_OK)
        return fail(moco_error());
    for (int run = -1; run < runs && !failed; run++) {
        double now[WAYS] = {0};
        failed = round_of(&rig, now);
        for (int w = 0; w < WAYS && run >= 0; w++) {
            ms[w][run] = now[w];
            ratio[w][run] = now[CACHE] / now[w];
        }
    }
    if (!failed) {
        printf("{\"bench\": \"import\", \"device\": \"%s\", \"mb\": %.1f", device, rig.bytes * 1e-6);
        for (int w = 0; w < WAYS; w++)
            printf(", \"%s\": {\"ms\": %.2f, \"gb_per_s\": %.2f, \"of_cache\": %.3f}", names[w], median(ms[w], runs),
                   rig.bytes * 1e-6 / median(ms[w], runs), median(ratio[w], runs));
        printf("}\n");
    }
    free(rig.tensor);
    free(rig.piece);
    moco_device_free(rig.device);
    moco_context_free(rig.context);
    return failed;
}
