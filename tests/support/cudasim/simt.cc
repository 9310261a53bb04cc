/* SPDX-License-Identifier: MIT
 *
 * simt: see simt.h. A block runs in rounds: every thread that may run does so until it waits or ends, then barriers and
 * exchanges that all have come to are opened. A thread that has not waited yet needs no stack of its own: one fiber
 * runs such threads one after another, until one waits and keeps it. ThreadSanitizer alone sees a fiber for each. No C++
 * library is used, since test programs are linked as C. */
#include "support/cudasim/simt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SIMT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIMT_TSAN 1
#endif
#endif

#ifdef SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ASAN(...) __VA_ARGS__
#else
#define ASAN(...)
#endif
#ifdef SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#define TSAN(...) __VA_ARGS__
#else
#define TSAN(...)
#endif
/* Does a launch use the fibers of the one before? Sanitizers see new ones each time. */
#if defined(SIMT_ASAN) || defined(SIMT_TSAN)
#define KEEPS 0
#else
#define KEEPS 1
#endif
/* The scheduler itself is no subject of ThreadSanitizer: it runs on every fiber. */
#define QUIET __attribute__((no_sanitize("thread")))

#ifndef __x86_64__
#include <ucontext.h>
#endif

enum {
    STACK = 128 << 10,
    MOST_THREADS = 1024,
    WARP = 32,
    GAP = 128,              /* bytes of red zone around a shared array */
    SHARED_ARRAYS = 32,     /* a kernel */
    SHARED_BYTES = 48 << 10 /* what every GPU gives a block without being asked */
};

struct simt_dim simt_thread, simt_block, simt_block_size, simt_grid_size;

namespace
{

enum waits { RUNS, AT_BARRIER, AT_EXCHANGE, ENDED };

struct fiber {
#ifdef __x86_64__
    void *context;
#else
    ucontext_t context;
#endif
    char *stack;
    unsigned color; /* stacks of one size, all in use at once: each begins in another set of the caches */
    void *fake, *tsan;
};

struct lane {
    struct fiber *fiber; /* NULL: it has not begun */
    struct simt_dim at;
    unsigned number, mask, line, turn, barriers, warp_barriers;
    enum waits waits;
    const char *file;
    alignas(16) unsigned char out[2][SIMT_SHUFFLE]; /* in turn: nobody is two exchanges ahead */
};

struct shared_array {
    const void *key;
    size_t at;
};

/* Clocks for ThreadSanitizer: two of each in turn, so that a thread which is late does not see what comes after. */
struct clocks {
    char start, end, barrier[2], warp[MOST_THREADS / WARP][2];
};

struct run {
    void (*kernel)(const void *args);
    const void *args;
    struct lane lanes[MOST_THREADS];
    struct fiber fibers[MOST_THREADS], main;
    unsigned order[MOST_THREADS], ready, next; /* of a round: those that run in it; how many of them have begun to */
    unsigned threads,
        prepared; /* fibers that are there; each, when it runs nothing, takes a thread that has not begun */
    struct fiber *idle[MOST_THREADS];
    unsigned idle_count;
    unsigned at_barrier, at_exchange, ended; /* threads */
    struct simt_dim shape;                   /* of the block that `at` of the lanes was made for */
    struct lane *now;
    const void *bottom; /* of the main stack */
    size_t bottom_size;
    char *shared;
    size_t used;
    struct shared_array arrays[SHARED_ARRAYS];
    int array_count;
    struct clocks clocks;
};

enum { ROOM = SHARED_BYTES + SHARED_ARRAYS * GAP };

struct run *the_run;        /* whoever launches holds the driver's lock */
struct run *kept;           /* of the launch before; sanitizers get a new one each time */
char *stacks[MOST_THREADS]; /* of fibers: taken once, and used by every launch */
uint64_t random_state = 0x9e3779b97f4a7c15u;

[[noreturn]] QUIET void fail(const char *what, const struct lane *lane)
{
    fprintf(stderr, "simt: %s: block %u,%u,%u thread %u at %s:%u\n", what, simt_block.x, simt_block.y, simt_block.z,
            lane->number, lane->file, lane->line);
    abort();
}

QUIET uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 32) * below >> 32;
}

QUIET void shuffle(unsigned *order, unsigned count)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned j = (unsigned)draw(i), was = order[i - 1];
        order[i - 1] = order[j];
        order[j] = was;
    }
}

/* ---- fibers ---- */

#ifdef __x86_64__
/* Callee-saved registers and the stack (System V). */
extern "C" void simt_switch(void **save, void *to);
__asm__(".pushsection .text\n"
        "simt_switch:\n"
        " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n"
        ".popsection");

QUIET void fiber_switch(struct fiber *from, struct fiber *to)
{
    simt_switch(&from->context, to->context);
}

QUIET void fiber_prepare(struct fiber *f, void (*entry)(void))
{
    uintptr_t end = (uintptr_t)f->stack + STACK - f->color % 64 * 64;
    void **top = (void **)(end & ~(uintptr_t)15) - 8; /* as if entry had been called */
    memset(top, 0, 8 * sizeof *top);
    top[6] = (void *)entry;
    f->context = top;
}
#else
QUIET void fiber_switch(struct fiber *from, struct fiber *to)
{
    swapcontext(&from->context, &to->context);
}

QUIET void fiber_prepare(struct fiber *f, void (*entry)(void))
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, entry, 0);
}
#endif

QUIET void to_main(struct fiber *self)
{
    ASAN(__sanitizer_start_switch_fiber(&self->fake, the_run->bottom, the_run->bottom_size);)
    TSAN(__tsan_switch_to_fiber(the_run->main.tsan, __tsan_switch_to_fiber_no_sync);)
    fiber_switch(self, &the_run->main);
    ASAN(__sanitizer_finish_switch_fiber(self->fake, NULL, NULL);)
}

QUIET void to_fiber(struct fiber *f)
{
    struct run *r = the_run;
    ASAN(__sanitizer_start_switch_fiber(&r->main.fake, f->stack, STACK);)
    TSAN(__tsan_switch_to_fiber(f->tsan, __tsan_switch_to_fiber_no_sync);)
    fiber_switch(&r->main, f);
    ASAN(__sanitizer_finish_switch_fiber(r->main.fake, NULL, NULL);)
}

QUIET void become(struct lane *l)
{
    the_run->now = l;
    simt_thread = l->at;
}

#ifndef SIMT_TSAN
/* The next thread of the round, if it has not begun: the fiber that runs takes it. */
QUIET struct lane *next_to_begin(struct run *r)
{
    struct lane *l = r->next < r->ready ? &r->lanes[r->order[r->next]] : NULL;
    return l != NULL && l->fiber == NULL ? l : NULL;
}
#endif

/* The thread that runs waits, or has ended: the next one of the round runs, or the scheduler. Sanitizers are told of
 * stacks by the scheduler alone. */
QUIET void hand_over(struct fiber *self)
{
#if KEEPS
    struct run *r = the_run;
    if (r->next < r->ready) {
        struct lane *next = &r->lanes[r->order[r->next++]];
        if (next->fiber == NULL)
            next->fiber = r->idle[--r->idle_count];
        become(next);
        fiber_switch(self, next->fiber);
        return;
    }
#endif
    to_main(self);
}

/* Runs one thread of one block after another. */
QUIET void fiber_main(void)
{
    ASAN(__sanitizer_finish_switch_fiber(NULL, &the_run->bottom, &the_run->bottom_size);)
    for (;;) {
        struct lane *l = the_run->now;
        struct fiber *self = l->fiber;
        TSAN(__tsan_acquire(&the_run->clocks.start);)
        the_run->kernel(the_run->args);
        TSAN(__tsan_release(&the_run->clocks.end);)
        the_run->now->waits = ENDED;
        the_run->ended++;
#ifndef SIMT_TSAN
        struct lane *next = next_to_begin(the_run);
        if (next != NULL) {
            the_run->next++;
            next->fiber = self;
            become(next);
            continue;
        }
        the_run->idle[the_run->idle_count++] = self;
#endif
        hand_over(self); /* for ThreadSanitizer, a fiber is one thread of a block: another would be ordered behind it */
    }
}

QUIET void wait_here(enum waits what, unsigned mask, const char *file, unsigned line, void *clock)
{
    struct lane *l = the_run->now;
    (void)clock;
    TSAN(if (clock != NULL) __tsan_release(clock);)
    l->waits = what;
    if (what == AT_BARRIER)
        the_run->at_barrier++;
    else
        the_run->at_exchange++;
    l->mask = mask;
    l->file = file;
    l->line = line;
    hand_over(l->fiber);
    TSAN(if (clock != NULL) __tsan_acquire(clock);)
}

/* ---- a block ---- */

/* Have all lanes that an exchange names come to it? */
QUIET int exchange_complete(struct run *r, const struct lane *l, unsigned first)
{
    for (unsigned j = 0; j < WARP; j++) {
        const struct lane *other = &r->lanes[first + j];
        if (!(l->mask >> j & 1))
            continue;
        if (first + j >= r->threads || other->waits == ENDED)
            fail("an exchange within a warp names a thread that is not there", l);
        if (other->waits != AT_EXCHANGE || other->mask != l->mask || other->line != l->line)
            return 0;
    }
    return 1;
}

QUIET int open_exchanges(struct run *r, unsigned first)
{
    int any = 0;
    for (unsigned i = first; i < first + WARP && i < r->threads; i++) {
        struct lane *l = &r->lanes[i];
        if (l->waits != AT_EXCHANGE || !exchange_complete(r, l, first))
            continue;
        for (unsigned j = 0, mask = l->mask; j < WARP; j++)
            if (mask >> j & 1) {
                r->lanes[first + j].waits = RUNS;
                r->at_exchange--;
            }
        any = 1;
    }
    return any;
}

QUIET int open_barrier(struct run *r)
{
    const struct lane *first = NULL;
    if (r->at_barrier == 0 || r->at_barrier + r->ended < r->threads)
        return 0;
    for (unsigned i = 0; i < r->threads; i++) {
        struct lane *l = &r->lanes[i];
        if (l->waits != AT_BARRIER)
            continue;
        if (r->ended > 0)
            fail("a thread waits at a barrier, and another has ended", l);
        if (first != NULL && (l->line != first->line || l->file != first->file))
            fail("threads of a block wait at different barriers", l);
        first = l;
        l->waits = RUNS;
    }
    r->at_barrier = 0;
    return 1;
}

QUIET void run_round(struct run *r)
{
    while (r->next < r->ready) {
        struct lane *l = &r->lanes[r->order[r->next++]];
        if (l->fiber == NULL)
            l->fiber = r->idle[--r->idle_count];
        become(l);
        to_fiber(l->fiber);
    }
}

QUIET void run_block(struct run *r)
{
    for (;;) {
        int progress = r->ended + r->at_barrier + r->at_exchange < r->threads;
        r->ready = r->next = 0;
        for (unsigned i = 0; i < r->threads && progress; i++)
            if (r->lanes[i].waits == RUNS)
                r->order[r->ready++] = i;
        shuffle(r->order, r->ready);
        run_round(r);
        for (unsigned first = 0; first < r->threads && r->at_exchange > 0; first += WARP)
            progress |= open_exchanges(r, first);
        if (r->ended == r->threads)
            return;
        if (!open_barrier(r) && !progress)
            for (unsigned i = 0; i < r->threads; i++)
                if (r->lanes[i].waits != ENDED)
                    fail("threads wait for each other in vain", &r->lanes[i]);
    }
}

QUIET void begin_block(struct run *r, unsigned turn)
{
#ifdef SIMT_TSAN
    /* What two blocks share is no shared memory: a new one for each, kept until the grid has ended. */
    char *before = r->shared;
    r->shared = (char *)malloc(ROOM + sizeof(char *));
    if (r->shared == NULL)
        abort();
    memset(r->shared, 0xff, ROOM);
    memcpy(r->shared + ROOM, &before, sizeof before);
#endif
    ASAN(ASAN_UNPOISON_MEMORY_REGION(r->shared, ROOM);)
    memset(r->shared, 0xff, r->used); /* all of it when it was made */
    ASAN(ASAN_POISON_MEMORY_REGION(r->shared, ROOM);)
    r->used = 0;
    r->array_count = 0;
    r->idle_count = 0;
    for (unsigned i = 0, f = turn * 7 % r->threads; i < r->threads; i++) { /* another one first in each block */
        r->idle[r->idle_count++] = &r->fibers[f];
        f = f + 1 < r->threads ? f + 1 : 0;
    }
    for (unsigned i = 0; i < r->threads; i++) {
        struct lane *l = &r->lanes[i];
        l->fiber = NULL;
        l->waits = RUNS;
        l->turn = l->barriers = l->warp_barriers = 0;
    }
    r->at_barrier = r->at_exchange = r->ended = 0;
}

/* Where each thread is in a block of this shape. */
QUIET void place_lanes(struct run *r, struct simt_dim shape)
{
    if (shape.x == r->shape.x && shape.y == r->shape.y && shape.z == r->shape.z)
        return;
    for (unsigned i = 0; i < r->threads; i++) {
        r->lanes[i].number = i;
        r->lanes[i].at = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    }
    r->shape = shape;
}

QUIET void make_run(struct run *r)
{
    TSAN(r->main.tsan = __tsan_get_current_fiber();)
    for (unsigned i = r->prepared; i < r->threads; i++) {
        struct fiber *f = &r->fibers[i];
        if (stacks[i] == NULL)
            stacks[i] = (char *)malloc(STACK);
        if (stacks[i] == NULL)
            abort();
        f->stack = stacks[i];
        f->color = 5 * i;
        ASAN(ASAN_UNPOISON_MEMORY_REGION(f->stack, STACK);)
        fiber_prepare(f, fiber_main);
        TSAN(f->tsan = __tsan_create_fiber(0);)
    }
#ifndef SIMT_TSAN
    if (r->prepared == 0) {
        r->shared = (char *)malloc(ROOM);
        if (r->shared == NULL)
            abort();
        memset(r->shared, 0xff, ROOM);
    }
#endif
    if (r->threads > r->prepared)
        r->prepared = r->threads;
}

QUIET void free_run(struct run *r)
{
    TSAN(for (unsigned i = 0; i < r->threads; i++) __tsan_destroy_fiber(r->fibers[i].tsan);)
#ifdef SIMT_TSAN
    while (r->shared != NULL) {
        char *before;
        memcpy(&before, r->shared + ROOM, sizeof before);
        free(r->shared);
        r->shared = before;
    }
#else
    ASAN(ASAN_UNPOISON_MEMORY_REGION(r->shared, ROOM);)
    free(r->shared);
#endif
    free(r);
}

} // namespace

/* ---- launching ---- */

QUIET void simt_launch(void (*kernel)(const void *args), const void *args, struct simt_dim grid, struct simt_dim block)
{
    unsigned threads = block.x * block.y * block.z, blocks = grid.x * grid.y * grid.z;
    struct run *r = kept != NULL ? kept : (struct run *)calloc(1, sizeof *r);
    unsigned *turn = (unsigned *)calloc(blocks, sizeof *turn);
    if (threads < 1 || threads > MOST_THREADS || blocks < 1 || r == NULL || turn == NULL) {
        fprintf(stderr, "simt: a grid of %u blocks of %u threads cannot run\n", blocks, threads);
        abort();
    }
    r->kernel = kernel;
    r->args = args;
    r->threads = threads;
    simt_block_size = block;
    simt_grid_size = grid;
    the_run = r;
    make_run(r);
    place_lanes(r, block);
    for (unsigned i = 0; i < blocks; i++)
        turn[i] = i;
    shuffle(turn, blocks);
    for (unsigned b = 0; b < blocks; b++) {
        simt_block.x = turn[b] % grid.x;
        simt_block.y = turn[b] / grid.x % grid.y;
        simt_block.z = turn[b] / grid.x / grid.y;
        begin_block(r, b);
        TSAN(__tsan_release(&r->clocks.start);)
        run_block(r);
    }
    TSAN(__tsan_acquire(&r->clocks.end);)
    the_run = NULL;
    kept = KEEPS ? r : NULL;
    if (kept == NULL)
        free_run(r);
    free(turn);
}

void simt_seed(uint64_t seed)
{
    random_state = (seed + 1) * 0x9e3779b97f4a7c15u;
}

/* ---- what kernels call ---- */

QUIET unsigned simt_lane(void)
{
    return the_run->now->number % WARP;
}

QUIET void simt_barrier(const char *file, unsigned line)
{
    struct lane *l = the_run->now;
    wait_here(AT_BARRIER, 0, file, line, &the_run->clocks.barrier[l->barriers++ & 1]);
}

QUIET void simt_warp_barrier(unsigned mask, const char *file, unsigned line)
{
    struct lane *l = the_run->now;
    wait_here(AT_EXCHANGE, mask, file, line, &the_run->clocks.warp[l->number / WARP][l->warp_barriers++ & 1]);
}

/* No call of memcpy, which ThreadSanitizer would look at. */
QUIET static void copy_bytes(void *to, const void *from, size_t bytes)
{
#ifdef SIMT_TSAN
    for (size_t i = 0; i < bytes; i++)
        ((volatile unsigned char *)to)[i] = ((const volatile unsigned char *)from)[i];
#else
    memcpy(to, from, bytes);
#endif
}

/* Orders nothing but itself, as on the device. */
QUIET void simt_exchange(unsigned mask, unsigned from, const void *value, void *out, size_t bytes, const char *file,
                         unsigned line)
{
    struct lane *l = the_run->now;
    unsigned turn = l->turn++ & 1, first = l->number - l->number % WARP;
    l->file = file;
    l->line = line;
    if (from >= WARP || !(mask >> (l->number % WARP) & 1) || !(mask >> from & 1))
        fail("a shuffle outside of its mask", l);
    copy_bytes(l->out[turn], value, bytes);
    wait_here(AT_EXCHANGE, mask, file, line, NULL);
    copy_bytes(out, the_run->lanes[first + from].out[turn], bytes);
}

/* A float in TF32 has 13 bits of zeros at its end; of what is not finite the hardware reads what it likes. */
QUIET static int are_tf32(const float *x, int count)
{
    uint32_t bits, any = 0;
    for (int i = 0; i < count; i++) {
        __builtin_memcpy(&bits, x + i, sizeof bits);
        any |= (bits & 0x7f800000u) == 0x7f800000u ? 0 : bits & 0x1fff;
    }
    return any == 0;
}

/* Towards 0, as tensor cores add: whoever sums much in them is off by as much as here. */
QUIET static float cut(double sum)
{
    float near = (float)sum;
    if (near - near != 0 || __builtin_fabs((double)near) <= __builtin_fabs(sum))
        return near;
    uint32_t bits;
    __builtin_memcpy(&bits, &near, sizeof bits);
    bits--;
    __builtin_memcpy(&near, &bits, sizeof near);
    return near;
}

/* By the table of fragments: lane 4 g + t has rows g and g + 8 of columns t and t + 4 of a, these rows of column g of b,
 * and gets columns 2 t and 2 t + 1 of rows g and g + 8. */
QUIET void simt_mma(float d[4], const float a[4], const float b[2], const char *file, unsigned line)
{
    struct lane *l = the_run->now;
    const struct lane *warp = &the_run->lanes[l->number - l->number % WARP];
    unsigned turn = l->turn++ & 1, g = l->number % WARP / 4, t = l->number % 4;
    float mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    l->file = file;
    l->line = line;
    if (!are_tf32(mine, 6))
        fail("a factor of a product is not in TF32", l);
    copy_bytes(l->out[turn], mine, sizeof mine);
    wait_here(AT_EXCHANGE, 0xffffffffu, file, line, NULL);
    double sum[4] = {(double)d[0], (double)d[1], (double)d[2], (double)d[3]};
    for (unsigned k = 0; k < 8; k++) {
        const float *left = (const float *)(const void *)warp[g * 4 + k % 4].out[turn] + k / 4 * 2;
        const float *right = (const float *)(const void *)warp[2 * t * 4 + k % 4].out[turn];
        const float *next = (const float *)(const void *)warp[(2 * t + 1) * 4 + k % 4].out[turn];
        const double rows[2] = {(double)left[0], (double)left[1]};
        const double columns[2] = {(double)right[4 + k / 4], (double)next[4 + k / 4]};
        for (unsigned i = 0; i < 4; i++)
            sum[i] += rows[i / 2] * columns[i % 2];
    }
    for (unsigned i = 0; i < 4; i++)
        d[i] = cut(sum[i]);
}

/* PTX, "Matrix Fragments for mma.m16n8k16 with floating point type": a lane's numbers 0 to 7 of a are of row g, but of row
 * g + 8 for 2, 3, 6 and 7, and of columns 2 t and 2 t + 1, but 8 more from 4 on; those of b (0 to 3) of column g, and of rows
 * 2 t and 2 t + 1, but 8 more from 2 on; what it gets is as above. */
QUIET void simt_mma_16(float d[4], const uint32_t a[4], const uint32_t b[2], int f16, const char *file, unsigned line)
{
    struct lane *l = the_run->now;
    const struct lane *warp = &the_run->lanes[l->number - l->number % WARP];
    unsigned turn = l->turn++ & 1, g = l->number % WARP / 4, t = l->number % 4;
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    copy_bytes(l->out[turn], mine, sizeof mine);
    wait_here(AT_EXCHANGE, 0xffffffffu, file, line, NULL);
    double sum[4] = {(double)d[0], (double)d[1], (double)d[2], (double)d[3]};
    for (unsigned k = 0; k < 16; k++) {
        const unsigned lane = k % 8 / 2, upper = k / 8, half = k % 2 * 16;
        const uint32_t *left = (const uint32_t *)(const void *)warp[g * 4 + lane].out[turn];
        const uint32_t *right = (const uint32_t *)(const void *)warp[2 * t * 4 + lane].out[turn];
        const uint32_t *next = (const uint32_t *)(const void *)warp[(2 * t + 1) * 4 + lane].out[turn];
        const uint32_t bits[4] = {left[2 * upper], left[2 * upper + 1], right[4 + upper], next[4 + upper]};
        double x[4];
        for (unsigned i = 0; i < 4; i++) {
            const uint16_t number = (uint16_t)(bits[i] >> half);
            x[i] = (double)(f16 ? f16_to_float(number) : bf16_to_float(number));
        }
        for (unsigned i = 0; i < 4; i++)
            sum[i] += x[i / 2] * x[2 + i % 2];
    }
    for (unsigned i = 0; i < 4; i++)
        d[i] = cut(sum[i]);
}

QUIET void *simt_shared(const void *key, size_t bytes, const char *file, unsigned line)
{
    struct run *r = the_run;
    for (int i = 0; i < r->array_count; i++)
        if (r->arrays[i].key == key)
            return r->shared + r->arrays[i].at;
    size_t at = r->used + GAP / 2, room = (bytes + 63) / 64 * 64 + GAP;
    r->now->file = file;
    r->now->line = line;
    if (r->array_count == SHARED_ARRAYS || r->used + room > (size_t)(SHARED_BYTES + (r->array_count + 1) * GAP))
        fail("more shared memory than a block has", r->now);
    r->used += room;
    r->arrays[r->array_count].key = key;
    r->arrays[r->array_count++].at = at;
    ASAN(ASAN_UNPOISON_MEMORY_REGION(r->shared + at, bytes);)
    return r->shared + at;
}
