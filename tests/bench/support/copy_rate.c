/* SPDX-License-Identifier: MIT
 *
 * copy_rate: see copy_rate.h. */
#include "bench/support/copy_rate.h"

#ifdef MOCO_HAVE_ONEDNN

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "backend/cpu/kernels/parallel.h"
#include "bench/support/timing.h"

#define LINE ((size_t)64)

struct copy {
    const char *from;
    char *to;
    size_t lines;
};

static void copy_part(void *arg, int thread, int threads)
{
    const struct copy *c = arg;
    size_t begin = c->lines * (size_t)thread / (size_t)threads, end = c->lines * (size_t)(thread + 1) / (size_t)threads;
#if defined(__x86_64__)
    const __m128i *from = (const __m128i *)(const void *)(c->from + begin * LINE);
    __m128i *to = (__m128i *)(void *)(c->to + begin * LINE);
    for (size_t i = 0; i < (end - begin) * LINE / sizeof *from; i++)
        _mm_stream_si128(to + i, _mm_load_si128(from + i));
    _mm_sfence();
#else
    memcpy(c->to + begin * LINE, c->from + begin * LINE, (end - begin) * LINE);
#endif
}

double copy_rate(const void *from, void *to, size_t bytes, int threads)
{
    struct copy c = {.from = from, .to = to, .lines = bytes / LINE};
    struct parallel_scope scope;
    if (parallel_enter(&scope, threads, NULL) != MOCO_OK)
        return 0;
    double began = now_ms();
    parallel_run(threads, copy_part, &c);
    double ms = now_ms() - began;
    parallel_leave(&scope);
    return 2e-6 * (double)(c.lines * LINE) / ms;
}

struct reading {
    const char *from;
    size_t lines;
    uint64_t sums[64]; /* of each thread, so that no load can be left out */
};

static void read_part(void *arg, int thread, int threads)
{
    struct reading *r = arg;
    size_t begin = r->lines * (size_t)thread / (size_t)threads, end = r->lines * (size_t)(thread + 1) / (size_t)threads;
    typedef uint64_t words __attribute__((vector_size(64)));
    const words *from = (const words *)(const void *)(r->from + begin * LINE);
    words a = {0}, b = {0};
    for (size_t i = 0; i + 2 <= end - begin; i += 2) {
        a ^= from[i];
        b ^= from[i + 1];
    }
    a ^= b;
    r->sums[thread % 64] = a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

double read_rate(const void *from, size_t bytes, int threads)
{
    static volatile uint64_t kept;
    struct reading r = {.from = from, .lines = bytes / LINE};
    struct parallel_scope scope;
    if (parallel_enter(&scope, threads, NULL) != MOCO_OK)
        return 0;
    double began = now_ms();
    parallel_run(threads, read_part, &r);
    double ms = now_ms() - began;
    parallel_leave(&scope);
    kept = r.sums[0] ^ r.sums[1];
    (void)kept;
    return 1e-6 * (double)(r.lines * LINE) / ms;
}

#else

typedef int copy_rate_needs_the_cpu_device;

#endif
