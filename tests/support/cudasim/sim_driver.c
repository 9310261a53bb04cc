/* SPDX-License-Identifier: MIT
 *
 * sim_driver: see sim_driver.h. One lock guards all of it. */
#include "support/cudasim/sim_state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GPUS = 8, A_FEW = 16, DEPTH = 8 };
#define TOTAL ((size_t)4 << 30)

enum { NO_CONTEXT = 201, BAD_VALUE = 1, NOT_FOUND = 500, TOO_MANY = 701, CAPTURE_OF_OTHER_THREAD = 908 };

struct CUfunc_st {
    const struct sim_kernel *kernel;
};

pthread_mutex_t sim_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t sim_moved = PTHREAD_COND_INITIALIZER;
static struct CUfunc_st functions[256];
static int64_t calls[SIM_GRAPH_REFUSED + 1];
static enum sim_failure failure;
static int failure_after;
static _Thread_local int depth; /* of current contexts */
static _Thread_local cu_context current[DEPTH];
static _Thread_local struct CUstream_st *records_now; /* for this thread */

/* Is this call the one that is to fail? */
static int due(enum sim_failure kind)
{
    calls[kind]++;
    if (failure != kind || failure_after-- > 0)
        return 0;
    failure = SIM_SOUND;
    return 1;
}

/* ---- recordings ---- */

enum { MOST_RECORDED = 4096 };

static struct recorded {
    const struct sim_kernel *kernel;
    struct simt_dim grid;
    char args[SIM_ARGS];
} * recording;
static enum sim_recording record_mode;
static int recorded, compared;
static const char *other; /* the first kernel that was not as recorded */

static void record(const struct work *w)
{
    if (record_mode == SIM_RECORD) {
        if (recorded == MOST_RECORDED)
            sim_fail("a recording is too long");
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
    pthread_mutex_lock(&sim_lock);
    const char *found = other;
    if (record_mode == SIM_COMPARE && found == NULL && compared != recorded)
        found = recording[compared].kernel->name;
    if (recording == NULL && (recording = calloc(MOST_RECORDED, sizeof *recording)) == NULL)
        sim_fail("no memory");
    if (next != SIM_COMPARE)
        recorded = 0;
    if (next == SIM_FORGET) {
        free(recording);
        recording = NULL;
    }
    record_mode = next;
    compared = 0;
    other = NULL;
    pthread_mutex_unlock(&sim_lock);
    return found;
}

int sim_recorded(void)
{
    pthread_mutex_lock(&sim_lock);
    int count = recorded;
    pthread_mutex_unlock(&sim_lock);
    return count;
}

/* ---- the calls ---- */

/* Begins a call that needs a context. */
static cu_result begin(void)
{
    pthread_mutex_lock(&sim_lock);
    return depth > 0 ? sim.error : NO_CONTEXT;
}

static cu_result end(cu_result result)
{
    pthread_mutex_unlock(&sim_lock);
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
    *name = result == CU_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "an error";
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
    pthread_mutex_lock(&sim_lock);
    return end(sim.error);
}

static cu_result sim_context_release(cu_device device)
{
    (void)device;
    if (depth != 0)
        sim_fail("a context is released, and is current");
    pthread_mutex_lock(&sim_lock);
    if (sim.live == 0)
        sim.error = 0; /* of the context, which has come to its end */
    return end(CU_OK);
}

static cu_result sim_context_push(cu_context context)
{
    if (depth == DEPTH)
        sim_fail("contexts are pushed and not popped");
    current[depth++] = context;
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
    *available = TOTAL - (size_t)sim.live;
    return end(result);
}

static cu_result sim_memory_alloc(cu_address *at, size_t bytes)
{
    cu_result result = begin_apart();
    if (result == CU_OK && (bytes > TOTAL - (size_t)sim.live || due(SIM_NO_MEMORY)))
        result = CU_NO_MEMORY;
    if (result == CU_OK && bytes == 0)
        result = BAD_VALUE;
    if (result == CU_OK)
        *at = (cu_address)(uintptr_t)sim_take(bytes, 0)->at;
    return end(result);
}

static cu_result sim_memory_free(cu_address at)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    sim_run_all();
    return end(sim_give((void *)(uintptr_t)at, 0));
}

static cu_result sim_host_alloc(void **memory, size_t bytes, unsigned flags)
{
    cu_result result = begin_apart();
    (void)flags;
    if (result == CU_OK && due(SIM_NO_MEMORY))
        result = CU_NO_MEMORY;
    if (result == CU_OK)
        *memory = sim_take(bytes, 1)->at;
    return end(result);
}

static cu_result sim_host_free(void *memory)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    const struct block *b = sim_find(memory, 1);
    if (b != NULL && sim.error == 0 && sim_is_queued(b))
        sim_fail("page-locked memory is freed, and a copy of it is queued");
    return end(sim_give(memory, 1));
}

static cu_result sim_host_address(cu_address *at, void *memory, unsigned flags)
{
    cu_result result = begin();
    const struct block *b = sim_find(memory, 1);
    (void)flags;
    *at = (cu_address)(uintptr_t)memory;
    return end(result != CU_OK ? result : b != NULL && b->host ? CU_OK : BAD_VALUE);
}

static cu_result copy(char *to, const char *from, size_t bytes, int to_host, int from_host, cu_stream stream)
{
    struct work w = {.kind = WORK_COPY, .to = to, .from = from, .bytes = bytes};
    cu_result result = begin();
    struct block *a = sim_find(to, bytes), *b = sim_find(from, bytes);
    if (result != CU_OK)
        return end(result);
    if ((to_host && a == NULL) || (from_host && b == NULL))
        sim_fail("a copy of host memory that is not page-locked");
    if (a == NULL || b == NULL || a->host != to_host || b->host != from_host)
        return end(BAD_VALUE);
    b->loads += from_host;
    if (from_host)
        w.hash = sim_hash(from, bytes);
    return end(sim_queue(stream, &w));
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
    if (result == CU_OK && sim_find(w.to, bytes) == NULL)
        result = BAD_VALUE;
    return end(result == CU_OK ? sim_queue(stream, &w) : result);
}

/* SIM_SHORT_PART: the last work of a recording is left for the next one. */
static void cut_short(struct CUstream_st *stream, struct works *works)
{
    struct work **last = &works->first;
    if (sim.fault != SIM_SHORT_PART || works->first == NULL || works->first->next == NULL)
        return;
    while ((*last)->next != NULL)
        last = &(*last)->next;
    stream->late = *last;
    *last = NULL;
    works->last = last;
}

static void take_late(struct CUstream_st *stream, struct works *works)
{
    if (stream->late == NULL)
        return;
    works->first = stream->late;
    works->last = &works->first->next;
    stream->late = NULL;
}

static cu_result sim_stream_create(cu_stream *stream, unsigned flags)
{
    cu_result result = begin_apart();
    (void)flags;
    if (result != CU_OK)
        return end(result);
    struct CUstream_st *s = calloc(1, sizeof *s);
    if (s == NULL)
        sim_fail("no memory");
    s->works.last = &s->works.first;
    s->of = current[depth - 1];
    s->next = sim.streams;
    sim.streams = s;
    *stream = s;
    return end(CU_OK);
}

static cu_result sim_stream_destroy(cu_stream stream)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    sim_run_all();
    for (struct CUstream_st **s = &sim.streams; *s != NULL; s = &(*s)->next)
        if (*s == stream) {
            *s = stream->next;
            take_late(stream, &stream->works);
            sim_free_works(&stream->works);
            free(stream);
            break;
        }
    return end(sim.error);
}

static cu_result sim_stream_sync(cu_stream stream)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    if (stream->records != NULL)
        sim_fail("a stream that records is waited for");
    for (int slices = 0; stream->works.first != NULL;)
        if (!sim_run_one())
            sim_wait_for_others("a stream waits for another in vain", &slices);
    sim_fence_all(0);
    return end(result != CU_OK ? result : sim.error);
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
    if (kind == WORK_WAIT && sim.fault == SIM_NO_WAIT)
        return end(CU_OK);
    event->recorded += kind == WORK_RECORD;
    return end(sim_queue(stream, &w));
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
        sim_fail("no memory");
    stream->records->works.last = &stream->records->works.first;
    take_late(stream, &stream->records->works);
    records_now = stream;
    return end(CU_OK);
}

static cu_result sim_capture_end(cu_stream stream, cu_graph *graph)
{
    cu_result result = begin();
    struct CUgraph_st *made = stream->records;
    *graph = NULL;
    if (made == NULL || records_now != stream)
        return end(made == NULL ? BAD_VALUE : CAPTURE_OF_OTHER_THREAD);
    stream->records = NULL;
    records_now = NULL;
    if (made->invalid)
        result = CU_CAPTURE_INVALIDATED;
    cut_short(stream, &made->works);
    if (result == CU_OK) {
        *graph = made;
    } else {
        sim_free_works(&made->works);
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
        sim_fail("no memory");
    made->works = graph->works;
    graph->works = (struct works){.first = NULL};
    for (const struct work *w = made->works.first; w != NULL; w = w->next)
        sim_note_blocks(made, w);
    sim.graphs++;
    *exec = made;
    return end(CU_OK);
}

static cu_result sim_graph_destroy(cu_graph graph)
{
    begin();
    sim_free_works(&graph->works);
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
        return end(sim.error = TOO_MANY);
    w.faults = due(SIM_KERNEL_FAULTS);
    exec->runs++;
    sim.graph_runs++;
    return end(sim_queue(stream, &w));
}

static cu_result sim_graph_exec_destroy(cu_graph_exec exec)
{
    begin();
    while (exec->runs > 0 && sim_run_one()) {
    }
    sim_fence_all(0);
    sim_free_works(&exec->works);
    free(exec->seen);
    free(exec);
    sim.graphs--;
    return end(sim.error);
}

static cu_result sim_stream_wait(cu_stream stream, cu_event event, unsigned flags)
{
    (void)flags;
    return queue_event(stream, event, WORK_WAIT);
}

static cu_result sim_event_create(cu_event *event, unsigned flags)
{
    cu_result result = begin_apart();
    if (result == CU_OK && (*event = calloc(1, sizeof **event)) == NULL)
        sim_fail("no memory");
    if (result == CU_OK)
        (*event)->timed = flags == CU_EVENT_WITH_TIME;
    return end(result);
}

static cu_result sim_event_destroy(cu_event event)
{
    if (begin_apart() == CU_CAPTURE_UNSUPPORTED)
        return end(CU_CAPTURE_UNSUPPORTED);
    sim_run_all();
    free(event);
    return end(sim.error);
}

static cu_result sim_event_record(cu_event event, cu_stream stream)
{
    return queue_event(stream, event, WORK_RECORD);
}

static cu_result sim_event_elapsed(float *milliseconds, cu_event from, cu_event to)
{
    cu_result result = begin();
    if (result == CU_OK && (!from->timed || !to->timed || from->recorded == 0 || to->recorded == 0))
        result = BAD_VALUE;
    if (result == CU_OK && (from->reached < from->recorded || to->reached < to->recorded))
        result = CU_NOT_READY;
    if (result == CU_OK)
        *milliseconds = (float)(to->at - from->at);
    return end(result);
}

void sim_take_time(double milliseconds)
{
    sim.clock += milliseconds;
}

/* Asking brings the queues on by a few works: a thread that only asks, and sleeps between, sees them end all the same. */
static cu_result sim_event_query(cu_event event)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    for (int i = 0; event->reached < event->recorded && i < A_FEW && sim_run_one(); i++) {
    }
    sim_fence_all(0);
    return end(result != CU_OK || sim.error != 0 ? sim.error : event->reached < event->recorded ? CU_NOT_READY : CU_OK);
}

static cu_result sim_event_sync(cu_event event)
{
    cu_result result = begin_apart();
    if (result == CU_CAPTURE_UNSUPPORTED)
        return end(result);
    int slices = 0;
    for (int64_t records = event->recorded; event->reached < records;)
        if (!sim_run_one())
            sim_wait_for_others("an event waits for a stream in vain", &slices);
    sim_fence_all(0);
    return end(result != CU_OK ? result : sim.error);
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
            pthread_mutex_lock(&sim_lock); /* devices may be opened side by side */
            functions[i].kernel = &sim_kernels[i];
            pthread_mutex_unlock(&sim_lock);
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
        return end(sim.error = TOO_MANY);
    if (shared != 0 || function->kernel->bytes > SIM_ARGS || grid_x == 0 || grid_y == 0 || grid_z == 0)
        return end(BAD_VALUE);
    w.faults = due(SIM_KERNEL_FAULTS);
    memcpy(w.args, args[0], function->kernel->bytes);
    if (stream->records == NULL)
        record(&w);
    return end(sim_queue(stream, &w));
}

static cu_result queue_call(cu_stream stream, struct work *w, const struct sim_span *spans, int span_count)
{
    cu_result result = begin();
    if (result != CU_OK)
        return end(result);
    if (due(SIM_LAUNCH_REFUSED))
        return end(sim.error = TOO_MANY);
    for (int i = 0; i < span_count; i++) {
        const struct block *b = sim_find(spans[i].at, spans[i].bytes);
        if (b == NULL || b->host)
            return end(BAD_VALUE);
    }
    w->faults = due(SIM_KERNEL_FAULTS);
    return end(sim_queue(stream, w));
}

cu_result sim_call(cu_stream stream, void (*call)(void *arg), void (*drop)(void *arg), void *arg,
                   const struct sim_span *spans, int span_count)
{
    struct work w = {.kind = WORK_CALL, .call = call, .drop = drop, .arg = arg};
    return queue_call(stream, &w, spans, span_count);
}

cu_result sim_meeting(cu_stream stream, int (*ready)(void *arg), void (*call)(void *arg), void (*drop)(void *arg),
                      void *arg, const struct sim_span *span)
{
    struct work w = {.kind = WORK_CALL, .ready = ready, .call = call, .drop = drop, .arg = arg};
    return queue_call(stream, &w, span, 1);
}

cu_context sim_current(void)
{
    return depth > 0 ? current[depth - 1] : NULL;
}

/* Without the lock, which a thread that waits may hold for long: who waits for others looks again by itself. */
void sim_stir(void)
{
    pthread_cond_broadcast(&sim_moved);
}

#define ENTRY(member, symbol, args) .member = sim_##member,
const struct cuda_driver sim_driver = {CUDA_DRIVER(ENTRY)};

/* ---- for tests ---- */

void sim_plant(enum sim_failure kind, int after)
{
    pthread_mutex_lock(&sim_lock);
    failure = kind;
    failure_after = after;
    pthread_mutex_unlock(&sim_lock);
}

int sim_planted_is_due(void)
{
    pthread_mutex_lock(&sim_lock);
    int is = failure != SIM_SOUND;
    pthread_mutex_unlock(&sim_lock);
    return is;
}

static int64_t look(const int64_t *number)
{
    pthread_mutex_lock(&sim_lock);
    int64_t value = *number;
    pthread_mutex_unlock(&sim_lock);
    return value;
}

int64_t sim_calls(enum sim_failure kind)
{
    return look(&calls[kind]);
}

int64_t sim_live(void)
{
    return look(&sim.live);
}

int64_t sim_pending(void)
{
    return look(&sim.pending);
}

int64_t sim_loads(const void *host)
{
    pthread_mutex_lock(&sim_lock);
    const struct block *b = sim_find(host, 1);
    int64_t loads = b != NULL && b->host ? b->loads : -1;
    pthread_mutex_unlock(&sim_lock);
    return loads;
}

int64_t sim_graphs(void)
{
    return look(&sim.graphs);
}

int64_t sim_graph_runs(void)
{
    return look(&sim.graph_runs);
}

void sim_fault(enum sim_fault planted)
{
    pthread_mutex_lock(&sim_lock);
    sim.fault = planted;
    pthread_mutex_unlock(&sim_lock);
}

int sim_faulty(enum sim_fault what)
{
    pthread_mutex_lock(&sim_lock);
    int is = sim.fault == what;
    pthread_mutex_unlock(&sim_lock);
    return is;
}
