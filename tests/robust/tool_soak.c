/* SPDX-License-Identifier: MIT
 *
 * tool_soak: one encoder for a long time: tool_soak EMBEDS THREADS. Pictures come in all numbers from 1 to 5, two sizes, as
 * pixels and as JPEGs with damaged ones among them; meanwhile a thread cancels, and opens and closes encoders of its own.
 * Each vector must have the bits that it had at the beginning. It prints a JSON object, with what the context, the heap
 * and the process held after a tenth and at the end, and exits with 1 if one has grown (the heap: by more than 64 KiB,
 * the process: by more than 1 MiB) or a vector was another. What a reader would get wrong: the C library gives threads
 * arenas of their own, among which free memory scatters (20 MB in minutes, with the same heap in use); here it has one,
 * so that the size of the process says something. */
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "moco/moco.h"
#include "support/draw_image.h"

enum { SIDE = 32, SMALL = 24, KINDS = 5, MOST = 5, DIM = 16, THREADS_MAX = 64, CUT = 3 };

static moco_context *context;
static moco_device *device;
static moco_encoder *encoder;
static uint8_t pixels[KINDS][SIDE * SIDE * 3];
static struct bytes jpeg[KINDS];      /* number CUT is damaged */
static float expected[3][KINDS][DIM]; /* of pictures of SIDE, of SMALL, of JPEGs */
static _Atomic long long left, wrong, cancelled, damaged, opened;
static atomic_int over;
static char path[] = "/tmp/moco-soak-XXXXXX";

static void must(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_soak: %s\n", moco_error());
    exit(1);
}

static moco_tensor tensor(int dtype, void *data, int n, int a, int b, int c)
{
    moco_tensor t;
    moco_tensor_init(&t);
    t.dtype = dtype;
    t.ndim = b > 0 ? 4 : 2;
    t.shape[0] = n;
    t.shape[1] = a;
    t.shape[2] = b;
    t.shape[3] = c;
    t.data = data;
    return t;
}

/* `n` pictures from `first` on, round and round, in form 0, 1 (pixels of SIDE, SMALL) or 2 (JPEGs). */
static moco_status embed(moco_encoder *with, int form, int first, int n, float (*rows)[DIM], moco_status *statuses)
{
    moco_tensor out = tensor(MOCO_F32, rows, n, DIM, 0, 0);
    if (form < 2) {
        static _Thread_local uint8_t images[MOST * SIDE * SIDE * 3];
        int side = form == 0 ? SIDE : SMALL;
        size_t size = (size_t)side * (size_t)side * 3;
        for (int i = 0; i < n; i++)
            memcpy(images + (size_t)i * size, pixels[(first + i) % KINDS], size);
        moco_tensor in = tensor(MOCO_U8, images, n, side, side, 3);
        return moco_encoder_embed(with, &in, MOCO_PROJECTION, &out);
    }
    const void *at[MOST];
    size_t sizes[MOST];
    for (int i = 0; i < n; i++) {
        at[i] = jpeg[(first + i) % KINDS].at;
        sizes[i] = jpeg[(first + i) % KINDS].size;
    }
    moco_encode_options options;
    moco_encode_options_init(&options);
    options.workers = first % 2;
    return moco_encoder_embed_bytes(with, at, sizes, n, &options, MOCO_PROJECTION, &out, statuses);
}

static void judge(int form, int first, int n, float (*rows)[DIM], const moco_status *statuses)
{
    for (int i = 0; i < n; i++) {
        int kind = (first + i) % KINDS;
        if (form == 2 && (kind == CUT) != (statuses[i] == MOCO_EFORMAT))
            wrong++;
        else if (form == 2 && kind == CUT) {
            damaged++;
            wrong += !isnan(rows[i][0]);
        } else
            wrong += memcmp(rows[i], expected[form][kind], sizeof rows[i]) != 0;
    }
}

static void *work(void *seed)
{
    float rows[MOST][DIM];
    moco_status statuses[MOST];
    for (unsigned turn = *(unsigned *)seed; atomic_load(&left) > 0; turn++) {
        int form = turn % 16 == 7 ? 2 : (int)(turn / 3 % 2), first = (int)(turn % KINDS), n = 1 + (int)(turn % MOST);
        moco_status status = embed(encoder, form, first, n, rows, statuses);
        if (status == MOCO_OK)
            judge(form, first, n, rows, statuses);
        else if (status == MOCO_ECANCELED)
            cancelled++;
        else
            must(status);
        atomic_fetch_sub(&left, n);
    }
    return NULL;
}

/* Cancels, and opens and closes, every hundredth of a second. */
static void *disturb(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        moco_encoder *other;
        float rows[MOST][DIM];
        moco_status statuses[MOST];
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        moco_encoder_cancel(encoder);
        if (++opened % 10 != 0)
            continue;
        must(moco_encoder_open(&other, device, path, NULL));
        must(embed(other, 2, 0, MOST, rows, statuses));
        judge(2, 0, MOST, rows, statuses);
        moco_encoder_free(other);
    }
    return NULL;
}

static long long resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return (long long)pages * sysconf(_SC_PAGESIZE);
}

static long long heap(void)
{
    struct mallinfo2 all = mallinfo2();
    return (long long)(all.uordblks + all.hblkhd);
}

static void run(long long embeds, int threads)
{
    pthread_t thread[THREADS_MAX + 1];
    unsigned seeds[THREADS_MAX];
    atomic_store(&left, embeds);
    atomic_store(&over, 0);
    for (int i = 0; i < threads; i++) {
        seeds[i] = (unsigned)i * 7919u;
        if (pthread_create(&thread[i], NULL, work, &seeds[i]) != 0)
            exit(1);
    }
    if (pthread_create(&thread[threads], NULL, disturb, NULL) != 0)
        exit(1);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&over, 1);
    pthread_join(thread[threads], NULL);
}

static void open_all(int threads)
{
    moco_context_options computing;
    moco_model_options network;
    moco_augment_options recipe;
    moco_encoder_options options;
    moco_model *model;
    moco_context_options_init(&computing);
    moco_model_options_init(&network);
    moco_encoder_options_init(&options);
    computing.threads = 1;
    network.arch = "resnet18";
    network.stem = "small";
    network.width = 0.25;
    network.dim = DIM;
    network.image_size = SIDE;
    options.workspaces = threads;
    must(moco_context_create(&context, &computing));
    must(moco_device_open(&device, context, "cpu"));
    must(moco_model_create(&model, device, &network));
    must(moco_augment_options_preset(&recipe, "eval", SIDE));
    must(moco_model_set_recipe(model, &recipe));
    int file = mkstemp(path);
    if (file < 0 || close(file) != 0)
        exit(1);
    must(moco_model_save(model, path));
    moco_model_free(model);
    must(moco_encoder_open(&encoder, device, path, &options));
    for (int i = 0; i < KINDS; i++) {
        moco_status status;
        draw_pixels(pixels[i], SIDE, SIDE, i);
        jpeg[i] = draw_jpeg(pixels[i], SIDE, SIDE, (struct jpeg_kind){.components = 3});
        if (i == CUT)
            jpeg[i].size /= 2;
        for (int form = 0; form < 3; form++)
            must(embed(encoder, form, i, 1, &expected[form][i], &status));
    }
}

int main(int argc, char **argv)
{
    long long embeds = argc == 3 ? atoll(argv[1]) : 0;
    int threads = argc == 3 ? atoi(argv[2]) : 0;
    if (embeds < 1000 || threads < 1 || threads > THREADS_MAX) {
        fputs("Usage: tool_soak EMBEDS THREADS\n", stderr);
        return 2;
    }
    int64_t early_bytes, late_bytes;
    mallopt(M_ARENA_MAX, 1);
    open_all(threads);
    time_t begun = time(NULL);
    run(embeds / 10, threads);
    long long early = resident(), early_heap = heap();
    must(moco_context_memory(context, &early_bytes, NULL, NULL));
    run(embeds - embeds / 10, threads);
    long long late = resident(), late_heap = heap();
    must(moco_context_memory(context, &late_bytes, NULL, NULL));
    printf("{\"embeds\":%lld,\"threads\":%d,\"seconds\":%lld,\"wrong\":%lld,\"cancelled_calls\":%lld,\"damaged\":%lld,"
           "\"encoders_opened\":%lld,\"context_bytes\":%lld,\"context_bytes_at_the_end\":%lld,\"heap_bytes\":%lld,"
           "\"heap_bytes_at_the_end\":%lld,\"resident_mb\":%.2f,"
           "\"resident_mb_at_the_end\":%.2f}\n",
           embeds, threads, (long long)(time(NULL) - begun), (long long)wrong, (long long)cancelled, (long long)damaged,
           (long long)opened / 10, (long long)early_bytes, (long long)late_bytes, early_heap, late_heap,
           (double)early / 1e6, (double)late / 1e6);
    moco_encoder_free(encoder);
    moco_device_free(device);
    moco_context_free(context);
    for (int i = 0; i < KINDS; i++)
        free(jpeg[i].at);
    unlink(path);
    return wrong > 0 || damaged == 0 || late_bytes > early_bytes || late_heap - early_heap > 1 << 16 ||
           late - early > 1 << 20;
}
