/* SPDX-License-Identifier: MIT
 *
 * search: how fast the nearest of a bank are found through the public calls, as one JSON object:
 *
 *   build/bench/search [--queries 64] [--bank 1000000] [--dim 128] [--k 10] [--threads N] [--runs 9] [--mapped FILE]
 *
 * of_reading is the rate at which one query goes through the bank's bytes over the rate at which this machine reads that
 * much memory; of_gemm the rate of a block of queries (2 * queries * bank * dim operations) over that of a product of
 * 2048 x 2048 x 2048 in f32. Both are medians of ratios, each measured in turn with its yardstick. --mapped saves the bank
 * to FILE and searches it mapped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef MOCO_HAVE_ONEDNN

#include "api/objects.h"
#include "backend/fallback.h"
#include "bench/support/copy_rate.h"
#include "bench/support/timing.h"
#include "moco/moco.h"

enum { GEMM = 2048, PIECE = 65536 };

struct options {
    long bank;
    int queries, dim, k, threads, runs;
    const char *mapped;
};

static moco_device *device;

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "search: %s\n", moco_error());
    exit(1);
}

static float *noise(size_t count, uint32_t seed)
{
    float *values = aligned_alloc(64, (count * sizeof *values + 63) / 64 * 64);
    if (values == NULL) {
        fprintf(stderr, "search: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)seed / 2147483648.0f;
    }
    return values;
}

static moco_tensor rows_of(float *data, int64_t n, int64_t dim)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = MOCO_F32;
    t.ndim = 2;
    t.shape[0] = n;
    t.shape[1] = dim;
    t.data = data;
    return t;
}

static moco_bank *make(const struct options *o)
{
    moco_bank *bank;
    check(moco_bank_create(&bank, device, o->dim));
    for (long at = 0; at < o->bank; at += PIECE) {
        long rows = o->bank - at < PIECE ? o->bank - at : PIECE;
        float *piece = noise((size_t)rows * (size_t)o->dim, 1 + (uint32_t)at);
        moco_tensor t = rows_of(piece, rows, o->dim);
        check(moco_bank_append(bank, &t, NULL));
        free(piece);
    }
    if (o->mapped != NULL) {
        check(moco_bank_save(bank, o->mapped));
        moco_bank_free(bank);
        check(moco_bank_open(&bank, device, o->mapped, 1));
    }
    return bank;
}

static double search_ms(moco_bank *bank, const moco_tensor *queries, const struct options *o, int64_t *ids)
{
    double began = now_ms();
    check(moco_knn_search(bank, queries, o->k, ids, NULL));
    return now_ms() - began;
}

static double gemm_gflops(const float *a, const float *b, float *c)
{
    double began = now_ms();
    if (backend_gemm_nt(device->backend, device->dev, GEMM, GEMM, GEMM, a, b, c, NULL) != MOCO_OK)
        exit(1);
    return 2e-6 * GEMM * GEMM * GEMM / (now_ms() - began);
}

static void bench(const struct options *o, moco_bank *bank)
{
    int n = o->queries;
    double ms[TIMING_MAX], yard[TIMING_MAX], ratio[TIMING_MAX], bytes = 4.0 * (double)o->bank * o->dim;
    int64_t *ids = calloc((size_t)n * (size_t)o->k, sizeof *ids);
    float *queries = noise((size_t)n * (size_t)o->dim, 7), *a, *b = NULL, *c = NULL;
    moco_tensor asked = rows_of(queries, n, o->dim);
    size_t lines = (size_t)bytes;
    a = noise(n == 1 ? lines / 4 : (size_t)GEMM * GEMM, 8);
    if (n > 1) {
        b = noise((size_t)GEMM * GEMM, 9);
        c = noise((size_t)GEMM * GEMM, 10);
    }
    search_ms(bank, &asked, o, ids); /* warm up */
    for (int run = 0; run < o->runs; run++) {
        double before = n == 1 ? read_rate(a, lines, device->info.threads) : gemm_gflops(a, b, c);
        ms[run] = search_ms(bank, &asked, o, ids);
        double after = n == 1 ? read_rate(a, lines, device->info.threads) : gemm_gflops(a, b, c);
        yard[run] = 0.5 * (before + after);
        ratio[run] = (n == 1 ? 1e-6 * bytes : 2e-6 * n * (double)o->bank * o->dim) / ms[run] / yard[run];
    }
    printf("{\"bench\": \"search\", \"threads\": %d, \"isa\": \"%s\", \"library\": \"%s\", \"bank\": %ld, \"dim\": %d, "
           "\"k\": %d, \"mapped\": %d, \"queries\": %d, \"ms\": %.2f, \"queries_per_s\": %.0f, \"%s\": %.1f, "
           "\"%s\": %.3f}\n",
           device->info.threads, device->info.isa, device->info.library, o->bank, o->dim, o->k, o->mapped != NULL, n,
           median(ms, o->runs), 1e3 * n / median(ms, o->runs), n == 1 ? "read_gb_per_s" : "gemm_gflops",
           median(yard, o->runs), n == 1 ? "of_reading" : "of_gemm", median(ratio, o->runs));
    free(ids);
    free(queries);
    free(a);
    free(b);
    free(c);
}

int main(int argc, char **argv)
{
    struct options o = {.queries = 64, .bank = 1000000, .dim = 128, .k = 10, .runs = 9};
    moco_context *context;
    moco_context_options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--bank") == 0)
            o.bank = atol(value);
        else if (strcmp(name, "--queries") == 0)
            o.queries = atoi(value);
        else if (strcmp(name, "--dim") == 0)
            o.dim = atoi(value);
        else if (strcmp(name, "--k") == 0)
            o.k = atoi(value);
        else if (strcmp(name, "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(name, "--runs") == 0)
            o.runs = atoi(value);
        else if (strcmp(name, "--mapped") == 0)
            o.mapped = value;
        else {
            fprintf(stderr, "search: unknown option %s\n", name);
            return 2;
        }
    }
    if (o.runs < 1 || o.runs > TIMING_MAX || o.bank < 1 || o.dim < 1 || o.queries < 1)
        return 2;
    moco_context_options_init(&options);
    options.threads = o.threads;
    check(moco_context_create(&context, &options));
    check(moco_device_open(&device, context, "cpu"));
    moco_bank *bank = make(&o);
    bench(&o, bank);
    moco_bank_free(bank);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}

#else

int main(void)
{
    printf("{\"bench\": \"search\", \"skipped\": \"this build has no cpu device\"}\n");
    return 0;
}

#endif
