/* SPDX-License-Identifier: MIT
 *
 * sim_driver: see sim_driver.h. One lock guards all of it. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */
#endif
#include "support/cudasim/sim_driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cuda/kernels/args.h"
#include "support/cudasim/sim_kernels.h"
#include "support/cudasim/simt.h"

enum { PAGE = 4096, GRAIN = 256, GPUS = 2, ARGS = 512, CANARY = 0xff };
#define TOTAL ((size_t)4 << 30)

enum { ILLEGAL_ADDRESS = CU_ILLEGAL_ADDRESS, NO_CONTEXT = 201, BAD_VALUE = 1, NOT_FOUND = 500, TOO_MANY = 701 };
enum { CU_CAPTURE_UNSUPPORTED = 900, CU_CAPTURE_INVALIDATED = 901, CU_CAPTURE_OF_OTHER = 908 };

struct block { /* of device memory, or page-locked */
    struct block *next;
    uint64_t number; /* never given twice: an address may be */
    char *map, *at;
    size_t bytes, mapped; /* asked for; without the guard page */
    int host;
};

struct CUevent_st {
    int64_t recorded, reached; /* how many times; a wait is for those that were queued before it */
};

enum work_kind { WORK_KERNEL, WORK_CALL, WORK_COPY, WORK_FILL, WORK_RECORD, WORK_WAIT, WORK_GRAPH };

struct work {
    struct work *next;
    enum work_kind kind;
    const struct sim_kernel *kernel;
    struct simt_dim grid, block;
    char *to;
    const char *from;
    size_t bytes;
    void (*call)(void *arg), (*drop)(void *arg);
    void *arg;
    int value, faults;
    int64_t records; /* WAIT: of the event, that have to be reached */
    struct CUevent_st *event;
    struct CUgraphExec_st *graph;
    _Alignas(16) char args[ARGS];
};

struct works {
    struct work *first, **last;
};

/* What a stream records; then a graph, which has the works that an instance of it is made of. */
struct CUgraph_st {
    struct works works;
    int invalid; /* something was done that must not be while it records */
};

/* An address that a work in a graph was given, and the block that it lay in. */
struct seen {
    const char *at;
    uint64_t block;
};

struct CUgraphExec_st {
    struct works works;
    struct seen *seen;
    int seen_count;
    int runs;                /* queued, and not run yet */
    struct cuda_step frozen; /* SIM_FROZEN */
    int has_frozen;
};

struct CUstream_st {
    struct CUstream_st *next;
    struct works works;
    struct CUgraph_st *records; /* NULL: what is queued runs */
};

struct CUfunc_st {
    const struct sim_kernel *kernel;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static struct CUstream_st *streams;
static struct CUfunc_st functions[256];
static int error; /* for good */
static int64_t live, pending, graphs, graph_runs, calls[SIM_GRAPH_REFUSED + 1];
static enum sim_failure failure;
static int failure_after;
static uint64_t draws = 88172645463325252u, block_numbers;
static enum sim_fault fault;
static _Thread_local int depth;                       /* of current contexts */
static _Thread_local struct CUstream_st *records_now; /* for this thread */

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "cudasim: %s\n", what);
    abort();
}

/* Is this call the one that is to fail? */
static int due(enum sim_failure kind)
{
    calls[kind]++;
    if (failure != kind || failure_after-- > 0)
        return 0;
    failure = SIM_SOUND;
    return 1;
}

/* ---- memory ---- */

static void fence(const struct block *b, int open)
{
    if (!b->host && mprotect(b->map, b->mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
        fail("mprotect failed");
}

static int all_open;

static void fence_all(int open)
{
    for (const struct block *b = blocks; b != NULL && all_open != open; b = b->next)
        fence(b, open);
    all_open = open;
}

/* At an address that no one may rely on being aligned to more than 256. */
static struct block *take(size_t bytes, int host)
{
    struct block *b = calloc(1, sizeof *b);
    size_t mapped = (GRAIN + bytes + PAGE - 1) / PAGE * PAGE;
    if (b == NULL)
        fail("no memory");
    char *map = mmap(NULL, mapped + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        fail("no memory");
    memset(map, CANARY, mapped);
    if (mprotect(map + mapped, PAGE, PROT_NONE) != 0)
        fail("mprotect failed");
    *b = (struct block){.next = blocks,
                        .number = ++block_numbers,
                        .map = map,
                        .at = map + GRAIN,
                        .bytes = bytes,
                        .mapped = mapped,
                        .host = host};
    fence(b, 0);
    blocks = b;
    if (!host)
        live += (int64_t)bytes;
    return b;
}

static struct block *find(const void *at, size_t bytes)
{
    for (struct block *b = blocks; b != NULL; b = b->next)
        if ((const char *)at >= b->at && (const char *)at + bytes <= b->at + b->bytes)
            return b;
    return NULL;
}

static void look_behind(const struct block *b)
{
    const unsigned char *from = (const unsigned char *)b->map, *end = from + b->mapped;
    for (const unsigned char *c = from; c < (const unsigned char *)b->at; c++)
        if (*c != CANARY)
            fail("somebody wrote before the begin of a block");
    for (const unsigned char *c = (const unsigned char *)b->at + b->bytes; c < end; c++)
        if (*c != CANARY)
            fail("somebody wrote behind the end of a block");
}

static cu_result give(void *at, int host)
{
    for (struct block **b = &blocks; *b != NULL; b = &(*b)->next)
        if ((*b)->at == at && (*b)->host == host) {
            struct block *gone = *b;
            *b = gone->next;
            fence(gone, 1);
            look_behind(gone);
            if (!host)
                live -= (int64_t)gone->bytes;
            munmap(gone->map, gone->mapped + PAGE);
            free(gone);
            return error;
        }
    return BAD_VALUE;
}

/* ---- works ---- */

/* A kernel may go anywhere; a copy is in two blocks, of which one may be the host's. */
static void open_for(const struct work *w, int open)
{
    const struct block *a = find(w->to, w->bytes), *b = w->kind == WORK_COPY ? find(w->from, w->bytes) : NULL;
    if (w->kind == WORK_KERNEL || w->kind == WORK_CALL || w->kind == WORK_GRAPH)
        fence_all(1); /* until the wait is over */
    else if (all_open || (w->kind != WORK_COPY && w->kind != WORK_FILL))
        return;
    else
        for (int i = 0; i < 2; i++)
            if ((i == 0 ? a : b) != NULL)
                fence(i == 0 ? a : b, open);
}

static void drop_work(struct work *w)
{
    if (w->kind == WORK_CALL)
        w->drop(w->arg);
    free(w);
}

static void run_graph(struct CUgraphExec_st *graph);
static void misjudge(const struct work *w);

static void run(struct work *w)
{
    if (w->faults)
        error = ILLEGAL_ADDRESS;
    if (w->kind == WORK_GRAPH)
        w->graph->runs--;
    if (error != 0 && w->kind != WORK_RECORD)
        return;
    if (w->kind == WORK_KERNEL) {
        simt_launch(w->kernel->run, w->args, w->grid, w->block);
        misjudge(w);
    } else if (w->kind == WORK_CALL) {
        w->call(w->arg);
    } else if (w->kind == WORK_COPY) {
        memcpy(w->to, w->from, w->bytes);
    } else if (w->kind == WORK_FILL) {
        memset(w->to, w->value, w->bytes);
    } else if (w->kind == WORK_RECORD) {
        w->event->reached++;
    } else if (w->kind == WORK_GRAPH) {
        run_graph(w->graph);
    }
}

/* The first work of some stream that is not waiting; 0: there is none. */
static int run_one(void)
{
    int count = 0;
    for (const struct CUstream_st *s = streams; s != NULL; s = s->next)
        count++;
    draws ^= draws << 13;
    draws ^= draws >> 7;
    draws ^= draws << 17;
    for (int i = 0, from = count > 0 ? (int)(draws % (uint64_t)count) : 0; i < count; i++) {
        struct CUstream_st *s = streams;
        for (int j = (from + i) % count; j > 0; j--)
            s = s->next;
        struct work *w = s->works.first;
        if (w == NULL || (w->kind == WORK_WAIT && w->event->reached < w->records && error == 0))
            continue;
        s->works.first = w->next;
        if (s->works.first == NULL)
            s->works.last = &s->works.first;
        pending--;
        open_for(w, 1);
        run(w);
        open_for(w, 0);
        drop_work(w);
        return 1;
    }
    return 0;
}

static void run_all(void)
{
    while (run_one()) {
    }
    fence_all(0);
    if (pending > 0)
        fail("streams wait for each other in vain");
}

static cu_result queue(struct CUstream_st *s, const struct work *work)
{
    struct works *works = s->records != NULL ? &s->records->works : &s->works;
    if (s->records != NULL && s->records->invalid)
        return CU_CAPTURE_INVALIDATED;
    struct work *w = malloc(sizeof *w);
    if (w == NULL)
        fail("no memory");
    *w = *work;
    w->next = NULL;
    *works->last = w;
    works->last = &w->next;
    pending += s->records == NULL;
    return CU_OK;
}

/* ---- graphs ---- */

static void free_works(struct works *works)
{
    for (struct work *w = works->first, *next; w != NULL; w = next) {
        next = w->next;
        drop_work(w);
    }
    *works = (struct works){.first = NULL};
}

/* Notes the blocks that a work is about: of a kernel, whatever in its arguments is an address of device memory. */
static void note_blocks(struct CUgraphExec_st *graph, const struct work *w)
{
    const char *at[ARGS / sizeof(char *)] = {w->to, w->kind == WORK_COPY ? w->from : NULL};
    size_t count = 2;
    if (w->kind == WORK_KERNEL) {
        count = w->kernel->bytes / sizeof *at;
        memcpy(at, w->args, count * sizeof *at);
    }
    for (size_t i = 0; i < count; i++) {
        const struct block *b = at[i] != NULL ? find(at[i], 1) : NULL;
        if (b == NULL)
            continue;
        graph->seen = realloc(graph->seen, (size_t)(graph->seen_count + 1) * sizeof *graph->seen);
        if (graph->seen == NULL)
            fail("no memory");
        graph->seen[graph->seen_count++] = (struct seen){at[i], b->number};
    }
}

/* Memory that a graph was recorded with, and that was freed since: a real GPU faults, or computes with what is there now. */
static int all_there(const struct CUgraphExec_st *graph)
{
    for (int i = 0; i < graph->seen_count; i++) {
        const struct block *b = find(graph->seen[i].at, 1);
        if (b == NULL || b->number != graph->seen[i].block)
            return 0;
    }
    return 1;
}

/* The step's block, which is the first argument of most kernels of a step. */
static struct cuda_step *step_in(const struct work *w)
{
    struct cuda_step *step = NULL;
    if (w->kind == WORK_KERNEL &&
        (strcmp(w->kernel->name, "moco_slab_average") == 0 || strcmp(w->kernel->name, "moco_slab_rules") == 0 ||
         strcmp(w->kernel->name, "moco_decide") == 0))
        memcpy(&step, w->args, sizeof step);
    return step;
}

/* SIM_FROZEN: as if what is in the block were arguments of kernels. */
static void freeze(struct CUgraphExec_st *graph)
{
    struct cuda_step *step = NULL;
    for (const struct work *w = graph->works.first; w != NULL && step == NULL; w = w->next)
        step = step_in(w);
    if (fault != SIM_FROZEN || step == NULL)
        return;
    if (!graph->has_frozen)
        graph->frozen = *step;
    graph->has_frozen = 1;
    step->lr = graph->frozen.lr;
    step->sgd_momentum = graph->frozen.sgd_momentum;
    step->key_momentum = graph->frozen.key_momentum;
    step->temperature = graph->frozen.temperature;
    step->queue_row = graph->frozen.queue_row;
}

/* SIM_NO_VERDICT and SIM_FORGETS: behind `decide`. */
static void misjudge(const struct work *w)
{
    struct cuda_step *step = fault == SIM_NO_VERDICT || fault == SIM_FORGETS ? step_in(w) : NULL;
    if (step == NULL || strcmp(w->kernel->name, "moco_decide") != 0 || (fault == SIM_FORGETS && !step->follows))
        return;
    step->may = 1;
    step->follows = 0;
}

static void run_graph(struct CUgraphExec_st *graph)
{
    if (!all_there(graph)) {
        error = ILLEGAL_ADDRESS;
        return;
    }
    freeze(graph);
    for (struct work *w = graph->works.first; w != NULL; w = w->next)
        run(w);
}

/* ---- recordings ---- */

enum { MOST_RECORDED = 4096 };

static struct recorded {
    const struct sim_kernel *kernel;
    struct simt_dim grid;
    char args[ARGS];
} * recording;
static enum sim_recording record_mode;
static int recorded, compared;
static const char *other; /* the first kernel that was not as recorded */

static void record(const struct work *w)
{
    if (record_mode == SIM_RECORD) {
        if (recorded == MOST_RECORDED)
            fail("a recording is too long");
        recording[recorded] = (struct recorded){.kernel = w->kernel, .grid = w->grid};
        memcpy(recording[recorded++].args, w->args, w->kernel->bytes);
    } else if (record_mode == SIM_COMPARE && other == NULL) {
        const struct recorded *r = &recording[compared++];
        if (compared > recorded || r->kernel != w->kernel || memcmp(&r->grid, &w->grid, sizeof r->grid) != 0 ||
            memcmp(r->args, w->args, w->kernel->bytes) != 0)
            other = w->kernel->name;
    }
}

const char *sim_recording(enum sim_recording next)
{
    pthread_mutex_lock(&lock);
    const char *found = other;
    if (record_mode == SIM_COMPARE && found == NULL && compared != recorded)
        found = recording[compared].kernel->name;
    if (recording == NULL && (recording = calloc(MOST_RECORDED, sizeof *recording)) == NULL)
        fail("no memory");
    if (next != SIM_COMPARE)
        recorded = 0;
    if (next == SIM_FORGET) {
        free(recording);
        recording = NULL;
    }
    record_mode = next;
    compared = 0;
    other = NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

int sim_recorded(void)
{
    pthread_mutex_lock(&lock);
    int count = recorded;
    pthread_mutex_unlock(&lock);
    return count;
}

/* ---- the calls ---- */

/* Begins a call that needs a context. */
static cu_result begin(void)
{
    pthread_mutex_lock(&lock);
    return depth > 0 ? error : NO_CONTEXT;
}

static cu_result end(cu_result result)
{
    pthread_mutex_unlock(&lock);
    return result;
}

/* The same for calls that a thread must not make while it records. */
static cu_result begin_apart(void)
{
    cu_result result = begin();
    if (records_now == NULL)
        return result;
    records_now->records->invalid = 1;
    return CU_CAPTURE_UNSUPPORTED;
}

static cu_result sim_init(unsigned flags)
{
    return flags == 0 ? CU_OK : BAD_VALUE;
}

static cu_result sim_driver_version(int *version)
{
    *version = 13000;
    return CU_OK;
}

static cu_result sim_error_name(cu_result result, const char **name)
{
    *name = result == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "an error";
    return CU_OK;
}

static cu_result sim_device_count(int *count)
{
    *count = GPUS;
    return CU_OK;
}

static cu_result sim_device_get(cu_device *device, int number)
{
    *device = number;
    return number >= 0 && number < GPUS ? CU_OK : CU_BAD_DEVICE;
}

static cu_result sim_device_name(char *name, int size, cu_device device)
{
    snprintf(name, (size_t)size, "simulated GPU %d", device);
    return CU_OK;
}

static cu_result sim_device_attribute(int *value, cu_attribute attribute, cu_device device)
{
    (void)device;
    *value = attribute == CU_MAJOR ? 9 : attribute == CU_MULTIPROCESSORS ? 132 : 0;
    return CU_OK;
}

static cu_result sim_context_retain(cu_context *context, cu_device device)
{
    *context = (cu_context)(uintptr_t)(device + 1);
    pthread_mutex_lock(&lock);
    return end(error);
}

static cu_result sim_context_release(cu_device device)
{
    (void)device;
    if (depth != 0)
        fail("a context is released, and is current");
    pthread_mutex_lock(&lock);
    if (live == 0)
        error = 0; /* of the context, which has come to its end */
    return end(CU_OK);
}

static cu_result sim_context_push(cu_context context)
{
    (void)context;
    depth++;
    return CU_OK;
}

static cu_result sim_context_pop(cu_context *context)
{
    *context = NULL;
    return depth-- > 0 ? CU_OK : NO_CONTEXT;
}

static cu_result sim_memory_info(size_t *available, size_t *total)
{
    cu_result result = begin();
    *total = TOTAL;
    *available = TOTAL - (size_t)live;
    return end(result);
}

static cu_result sim_memory_alloc(cu_address *at, size_t bytes)
{
    cu_result result = begin_apart();
    if (result == CU_OK && (bytes > TOTAL - (size_t)live || due(SIM_NO_MEMORY)))
        result = CU_NO_MEMORY;
    if (result == CU_OK && bytes == 0)
        result = BAD_VALUE;
    if (result == CU_OK)
        *at = (cu_address)(uintptr_t)take(bytes, 0)->at;
    return end(result);
}

static cu_result sim_memory_free(cu_address at)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    run_all();
    return end(give((void *)(uintptr_t)at, 0));
}

static cu_result sim_host_alloc(void **memory, size_t bytes, unsigned flags)
{
    cu_result result = begin_apart();
    (void)flags;
    if (result == CU_OK && due(SIM_NO_MEMORY))
        result = CU_NO_MEMORY;
    if (result == CU_OK)
        *memory = take(bytes, 1)->at;
    return end(result);
}

static cu_result sim_host_free(void *memory)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    run_all();
    return end(give(memory, 1));
}

static cu_result sim_host_address(cu_address *at, void *memory, unsigned flags)
{
    cu_result result = begin();
    const struct block *b = find(memory, 1);
    (void)flags;
    *at = (cu_address)(uintptr_t)memory;
    return end(result != CU_OK ? result : b != NULL && b->host ? CU_OK : BAD_VALUE);
}

static cu_result copy(char *to, const char *from, size_t bytes, int to_host, int from_host, cu_stream stream)
{
    const struct work w = {.kind = WORK_COPY, .to = to, .from = from, .bytes = bytes};
    cu_result result = begin();
    const struct block *a = find(to, bytes), *b = find(from, bytes);
    if (result != CU_OK)
        return end(result);
    if ((to_host && a == NULL) || (from_host && b == NULL))
        fail("a copy of host memory that is not page-locked");
    if (a == NULL || b == NULL || a->host != to_host || b->host != from_host)
        return end(BAD_VALUE);
    return end(queue(stream, &w));
}

static cu_result sim_copy_in(cu_address to, const void *from, size_t bytes, cu_stream stream)
{
    return copy((char *)(uintptr_t)to, from, bytes, 0, 1, stream);
}

static cu_result sim_copy_out(void *to, cu_address from, size_t bytes, cu_stream stream)
{
    return copy(to, (const char *)(uintptr_t)from, bytes, 1, 0, stream);
}

static cu_result sim_copy(cu_address to, cu_address from, size_t bytes, cu_stream stream)
{
    return copy((char *)(uintptr_t)to, (const char *)(uintptr_t)from, bytes, 0, 0, stream);
}

static cu_result sim_fill(cu_address at, unsigned char value, size_t bytes, cu_stream stream)
{
    const struct work w = {.kind = WORK_FILL, .to = (char *)(uintptr_t)at, .bytes = bytes, .value = value};
    cu_result result = begin();
    if (result == CU_OK && find(w.to, bytes) == NULL)
        result = BAD_VALUE;
    return end(result == CU_OK ? queue(stream, &w) : result);
}

static cu_result sim_stream_create(cu_stream *stream, unsigned flags)
{
    cu_result result = begin_apart();
    (void)flags;
    if (result != CU_OK)
        return end(result);
    struct CUstream_st *s = calloc(1, sizeof *s);
    if (s == NULL)
        fail("no memory");
    s->works.last = &s->works.first;
    s->next = streams;
    streams = s;
    *stream = s;
    return end(CU_OK);
}

static cu_result sim_stream_destroy(cu_stream stream)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    run_all();
    for (struct CUstream_st **s = &streams; *s != NULL; s = &(*s)->next)
        if (*s == stream) {
            *s = stream->next;
            free(stream);
            break;
        }
    return end(error);
}

static cu_result sim_stream_sync(cu_stream stream)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    if (stream->records != NULL)
        fail("a stream that records is waited for");
    while (stream->works.first != NULL)
        if (!run_one())
            fail("streams wait for each other in vain");
    fence_all(0);
    return end(result != CU_OK ? result : error);
}

static cu_result queue_event(cu_stream stream, cu_event event, enum work_kind kind)
{
    const struct work w = {.kind = kind, .event = event, .records = event->recorded};
    cu_result result = begin();
    if (result != CU_OK)
        return end(result);
    if (stream->records != NULL) { /* no step of ours has other streams in it */
        stream->records->invalid = 1;
        return end(CU_CAPTURE_UNSUPPORTED);
    }
    if (kind == WORK_WAIT && fault == SIM_NO_WAIT)
        return end(CU_OK);
    event->recorded += kind == WORK_RECORD;
    return end(queue(stream, &w));
}

static cu_result sim_capture_begin(cu_stream stream, cu_capture_mode mode)
{
    cu_result result = begin_apart();
    if (result == CU_OK && (mode != CU_CAPTURE_OF_THREAD || stream->records != NULL || stream->works.first != NULL))
        result = BAD_VALUE;
    if (result != CU_OK)
        return end(result);
    stream->records = calloc(1, sizeof *stream->records);
    if (stream->records == NULL)
        fail("no memory");
    stream->records->works.last = &stream->records->works.first;
    records_now = stream;
    return end(CU_OK);
}

static cu_result sim_capture_end(cu_stream stream, cu_graph *graph)
{
    cu_result result = begin();
    struct CUgraph_st *made = stream->records;
    *graph = NULL;
    if (made == NULL || records_now != stream)
        return end(made == NULL ? BAD_VALUE : CU_CAPTURE_OF_OTHER);
    stream->records = NULL;
    records_now = NULL;
    if (made->invalid)
        result = CU_CAPTURE_INVALIDATED;
    if (result == CU_OK) {
        *graph = made;
    } else {
        free_works(&made->works);
        free(made);
    }
    return end(result);
}

/* The first instance takes the works of its graph. */
static cu_result sim_graph_make(cu_graph_exec *exec, cu_graph graph, unsigned long long flags)
{
    cu_result result = begin_apart();
    if (result == CU_OK && (flags != 0 || graph->works.last == NULL))
        result = BAD_VALUE;
    if (result == CU_OK && due(SIM_GRAPH_REFUSED))
        result = CU_CAPTURE_UNSUPPORTED;
    if (result != CU_OK)
        return end(result);
    struct CUgraphExec_st *made = calloc(1, sizeof *made);
    if (made == NULL)
        fail("no memory");
    made->works = graph->works;
    graph->works = (struct works){.first = NULL};
    for (const struct work *w = made->works.first; w != NULL; w = w->next)
        note_blocks(made, w);
    graphs++;
    *exec = made;
    return end(CU_OK);
}

static cu_result sim_graph_destroy(cu_graph graph)
{
    begin();
    free_works(&graph->works);
    free(graph);
    return end(CU_OK);
}

static cu_result sim_graph_launch(cu_graph_exec exec, cu_stream stream)
{
    struct work w = {.kind = WORK_GRAPH, .graph = exec};
    cu_result result = begin();
    if (result != CU_OK)
        return end(result);
    if (due(SIM_LAUNCH_REFUSED))
        return end(error = TOO_MANY);
    w.faults = due(SIM_KERNEL_FAULTS);
    exec->runs++;
    graph_runs++;
    return end(queue(stream, &w));
}

static cu_result sim_graph_exec_destroy(cu_graph_exec exec)
{
    begin();
    while (exec->runs > 0 && run_one()) {
    }
    fence_all(0);
    free_works(&exec->works);
    free(exec->seen);
    free(exec);
    graphs--;
    return end(error);
}

static cu_result sim_stream_wait(cu_stream stream, cu_event event, unsigned flags)
{
    (void)flags;
    return queue_event(stream, event, WORK_WAIT);
}

static cu_result sim_event_create(cu_event *event, unsigned flags)
{
    cu_result result = begin_apart();
    (void)flags;
    if (result == CU_OK && (*event = calloc(1, sizeof **event)) == NULL)
        fail("no memory");
    return end(result);
}

static cu_result sim_event_destroy(cu_event event)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    run_all();
    free(event);
    return end(error);
}

static cu_result sim_event_record(cu_event event, cu_stream stream)
{
    return queue_event(stream, event, WORK_RECORD);
}

/* Asking brings the queue on by one work. */
static cu_result sim_event_query(cu_event event)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    if (event->reached < event->recorded) {
        run_one();
        fence_all(0);
    }
    return end(result != CU_OK || error != 0 ? error : event->reached < event->recorded ? CU_NOT_READY : CU_OK);
}

static cu_result sim_event_sync(cu_event event)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    for (int64_t records = event->recorded; event->reached < records;)
        if (!run_one())
            fail("streams wait for each other in vain");
    fence_all(0);
    return end(result != CU_OK ? result : error);
}

static cu_result sim_module_load(cu_module *module, const void *image)
{
    cu_result result = begin_apart();
    *module = (cu_module)(uintptr_t)image;
    return end(result);
}

static cu_result sim_module_unload(cu_module module)
{
    (void)module;
    return CU_OK;
}

static cu_result sim_module_function(cu_function *function, cu_module module, const char *name)
{
    (void)module;
    for (int i = 0; i < sim_kernel_count; i++)
        if (strcmp(sim_kernels[i].name, name) == 0) {
            functions[i].kernel = &sim_kernels[i];
            *function = &functions[i];
            return CU_OK;
        }
    return NOT_FOUND;
}

static cu_result sim_launch(cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z, unsigned shared, cu_stream stream, void **args,
                            void **extra)
{
    struct work w = {.kind = WORK_KERNEL,
                     .kernel = function->kernel,
                     .grid = {grid_x, grid_y, grid_z},
                     .block = {block_x, block_y, block_z}};
    cu_result result = begin();
    (void)extra;
    if (result != CU_OK)
        return end(result);
    if (due(SIM_LAUNCH_REFUSED))
        return end(error = TOO_MANY);
    if (shared != 0 || function->kernel->bytes > ARGS || grid_x == 0 || grid_y == 0 || grid_z == 0)
        return end(BAD_VALUE);
    w.faults = due(SIM_KERNEL_FAULTS);
    memcpy(w.args, args[0], function->kernel->bytes);
    if (stream->records == NULL)
        record(&w);
    return end(queue(stream, &w));
}

cu_result sim_call(cu_stream stream, void (*call)(void *arg), void (*drop)(void *arg), void *arg,
                   const struct sim_span *spans, int span_count)
{
    struct work w = {.kind = WORK_CALL, .call = call, .drop = drop, .arg = arg};
    cu_result result = begin();
    if (result != CU_OK)
        return end(result);
    if (due(SIM_LAUNCH_REFUSED))
        return end(error = TOO_MANY);
    for (int i = 0; i < span_count; i++) {
        const struct block *b = find(spans[i].at, spans[i].bytes);
        if (b == NULL || b->host)
            return end(BAD_VALUE);
    }
    w.faults = due(SIM_KERNEL_FAULTS);
    return end(queue(stream, &w));
}

#define ENTRY(member, symbol, args) .member = sim_##member,
const struct cuda_driver sim_driver = {CUDA_DRIVER(ENTRY)};

/* ---- for tests ---- */

void sim_plant(enum sim_failure kind, int after)
{
    pthread_mutex_lock(&lock);
    failure = kind;
    failure_after = after;
    pthread_mutex_unlock(&lock);
}

int sim_planted_is_due(void)
{
    pthread_mutex_lock(&lock);
    int is = failure != SIM_SOUND;
    pthread_mutex_unlock(&lock);
    return is;
}

static int64_t look(const int64_t *number)
{
    pthread_mutex_lock(&lock);
    int64_t value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

int64_t sim_calls(enum sim_failure kind)
{
    return look(&calls[kind]);
}

int64_t sim_live(void)
{
    return look(&live);
}

int64_t sim_pending(void)
{
    return look(&pending);
}

int64_t sim_graphs(void)
{
    return look(&graphs);
}

int64_t sim_graph_runs(void)
{
    return look(&graph_runs);
}

void sim_fault(enum sim_fault planted)
{
    pthread_mutex_lock(&lock);
    fault = planted;
    pthread_mutex_unlock(&lock);
}

int sim_faulty(enum sim_fault what)
{
    pthread_mutex_lock(&lock);
    int is = fault == what;
    pthread_mutex_unlock(&lock);
    return is;
}
