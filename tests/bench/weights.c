/* SPDX-License-Identifier: MIT
 *
 * weights: what a step does to all weights, against the memory it has to move, as one JSON object.
 *
 *   build/bench/weights [--arch resnet50] [--precision bf16] [--threads N] [--runs 15]
 *
 * "ema_readers" makes the key encoder's copy of the next average, "check" reads the gradients, "sgd" updates and writes
 * the query encoder's copies, "ema_sgd" is what a step commits: the same with the average kept before it. Each one's
 * bytes are those it cannot do without; copy_gb_per_s is the rate of a copy of one slab, taken in turn with the rest.
 * of_copy is the time over that of its bytes at this rate: the median of the rounds' ratios. What a reader would get
 * wrong: a network smaller than the caches tells nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/cpu_param.h"
#include "backend/cpu/kernels/simd_table.h"
#include "bench/support/copy_rate.h"
#include "bench/support/timing.h"
#include "net/net.h"

#define MAX_RUNS 64

enum pass { EMA_READERS, CHECK, SGD, EMA_SGD, PASSES };
static const char *const names[PASSES] = {"ema_readers", "check", "sgd", "ema_sgd"};

struct rig {
    struct ctx *ctx;
    struct be_device *dev;
    struct graph *graph;
    struct be_layout *layout;
    struct be_program *program;
    enum be_precision precision;
    struct be_memory p, g, v, k, readers, key;
};

static moco_status rig_open(struct rig *r, const char *arch, const char *precision, int threads, struct err *err)
{
    const struct ctx_options options = {.threads = threads};
    struct net_config config = {
        .width = 1, .dim = 128, .image_h = 224, .image_w = 224, .mean = {0.5, 0.5, 0.5}, .std = {1, 1, 1}, .seed = 1};
    TRY(net_config_parse(&config, arch, "imagenet", "mlp", err));
    TRY(ctx_create(&r->ctx, &options, err));
    TRY(backend_cpu.open(&r->dev, r->ctx, "cpu", err));
    TRY(backend_cpu.precision(r->dev, strcmp(precision, "bf16") == 0 ? BE_BF16 : BE_F32, &r->precision, err));
    TRY(net_build(&r->graph, r->ctx, &config, err));
    TRY(backend_cpu.layout_create(&r->layout, r->dev, r->graph, r->precision, err));
    size_t slab = backend_cpu.layout_bytes(r->layout);
    struct be_memory *const slabs[] = {&r->p, &r->g, &r->v, &r->k};
    for (int i = 0; i < 4; i++) {
        TRY(backend_cpu.alloc(r->dev, slab, slabs[i], err));
        for (size_t j = 0; j < slab / sizeof(float); j++)
            ((float *)slabs[i]->at)[j] = (float)(j % 1009) * 1e-4f;
    }
    TRY(backend_cpu.alloc(r->dev, backend_cpu.key_bytes(r->layout), &r->key, err));
    const struct be_program_spec program = {.layout = r->layout};
    TRY(backend_cpu.program_create(&r->program, r->dev, &program, err));
    size_t readers = backend_cpu.reader_bytes(r->layout, 1);
    return readers == 0 ? MOCO_OK : backend_cpu.alloc(r->dev, readers, &r->readers, err);
}

static void rig_close(struct rig *r)
{
    struct be_memory *const all[] = {&r->p, &r->g, &r->v, &r->k, &r->readers, &r->key};
    for (int i = 0; i < 6; i++)
        backend_cpu.release(r->dev, all[i]);
    backend_cpu.program_free(r->program);
    backend_cpu.layout_free(r->layout);
    graph_free(r->graph);
    backend_cpu.close(r->dev);
    ctx_unref(r->ctx);
}

static moco_status run_pass(struct rig *r, enum pass pass, struct err *err)
{
    double sum;
    int bad;
    const struct be_sgd sgd = {
        .p = r->p.at, .g = r->g.at, .v = r->v.at, .k = pass == EMA_SGD ? r->k.at : NULL, .readers = r->readers.at};
    const struct be_scalars scalars = {.lr = 1e-6, .sgd_momentum = 0.9, .key_momentum = 0.999, .loss_scale = 1};
    struct be_input at;
    int skip;
    if (pass == CHECK)
        return backend_cpu.measure(r->layout, r->g.at, &sum, &bad, err);
    TRY(backend_cpu.program_begin(r->program, &scalars, NULL, &at, &skip, err));
    moco_status status = MOCO_OK;
    if (pass == EMA_READERS) {
        status = backend_cpu.ema_readers(r->program, r->k.at, r->p.at, r->key.at, err);
    } else {
        status = backend_cpu.decide(r->program, NULL, 0, &skip, err);
        if (status == MOCO_OK)
            status = backend_cpu.sgd(r->program, &sgd, err);
    }
    backend_cpu.program_drop(r->program);
    return status;
}

static double own_bytes(const struct rig *r, enum pass pass)
{
    double slab = (double)r->p.bytes;
    switch (pass) {
    case EMA_READERS:
        return 2 * slab + (double)r->key.bytes;
    case CHECK:
        return slab;
    case SGD:
    case EMA_SGD:
    case PASSES:
        break;
    }
    return (pass == SGD ? 5 : 7) * slab + (double)r->readers.bytes;
}

int main(int argc, char **argv)
{
    const char *arch = "resnet50", *precision = "bf16";
    int threads = 0, runs = 15;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--arch") == 0)
            arch = argv[i + 1];
        else if (strcmp(argv[i], "--precision") == 0)
            precision = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--runs") == 0)
            runs = atoi(argv[i + 1]);
        else {
            fprintf(stderr, "weights: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (runs < 1 || runs > MAX_RUNS)
        return 2;
    struct rig rig = {0};
    struct err err = {0};
    static double ms[PASSES][MAX_RUNS], ratio[PASSES][MAX_RUNS], rate[MAX_RUNS];
    moco_status status = rig_open(&rig, arch, precision, threads, &err);
    for (int run = -1; run < runs && status == MOCO_OK; run++) {
        int at = run < 0 ? 0 : run;                                                         /* the first warms up */
        rate[at] = 1e6 * copy_rate(rig.g.at, rig.v.at, rig.g.bytes, rig.dev->team.threads); /* bytes a millisecond */
        for (int p = 0; p < PASSES && status == MOCO_OK; p++) {
            double began = now_ms();
            status = run_pass(&rig, (enum pass)p, &err);
            ms[p][at] = now_ms() - began;
            ratio[p][at] = ms[p][at] / (own_bytes(&rig, (enum pass)p) / rate[at]);
        }
    }
    if (status != MOCO_OK) {
        fprintf(stderr, "weights: %s\n", err.text);
        return 1;
    }
    printf("{\"bench\": \"weights\", \"arch\": \"%s\", \"precision\": \"%s\", \"threads\": %d, \"parameters\": %lld, "
           "\"copy_gb_per_s\": %.1f",
           arch, precision, rig.dev->team.threads, (long long)rig.graph->param_total, median(rate, runs) * 1e-6);
    for (int p = 0; p < PASSES; p++)
        printf(", \"%s\": {\"ms\": %.2f, \"mb\": %.0f, \"of_copy\": %.3f}", names[p], median(ms[p], runs),
               own_bytes(&rig, (enum pass)p) * 1e-6, median(ratio[p], runs));
    printf("}\n");
    rig_close(&rig);
    return 0;
}

#else

int main(void)
{
    printf("{\"bench\": \"weights\", \"skipped\": \"this build has no cpu device\"}\n");
    return 0;
}

#endif
