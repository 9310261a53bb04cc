/* SPDX-License-Identifier: MIT
 *
 * late_queue: works that were given and are not done, those that were recorded, and who may give which when. What a
 * reader would get wrong: device memory is open while a work runs, and then only; a work finds everything it needs from
 * the host behind itself, for the caller's arrays may be gone. */
#include "support/late/late.h"

#define ALIGN ((size_t)64)
#define FIRST_SIZE ((size_t)1 << 18)
#define POISON 0xa5

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void late_lock(void)
{
    pthread_mutex_lock(&lock);
}

void late_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

static size_t up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- tapes ---- */

static struct late_call *call_at(const struct late_tape *tape, size_t offset)
{
    return (struct late_call *)(void *)(tape->at + offset);
}

static void *args_of(const struct late_call *call)
{
    return (char *)call + up(sizeof *call);
}

/* Room for `bytes` more at the end; what has run goes. NULL: there is no memory. */
static char *reserve(struct late_tape *tape, size_t bytes, struct err *err)
{
    if (tape->size - tape->used >= bytes)
        return tape->at + tape->used;
    size_t kept = tape->used - tape->done, size = tape->size == 0 ? FIRST_SIZE : tape->size;
    while (size - kept < bytes && size < SIZE_MAX / 4)
        size *= 2;
    char *more = size - kept < bytes ? NULL : late_take(size);
    if (more == NULL) {
        err_set(err, MOCO_ENOMEM, "late: no memory for a queued work of %zu bytes", bytes);
        return NULL;
    }
    if (kept > 0)
        memcpy(more, tape->at + tape->done, kept);
    late_give(tape->at, tape->size);
    tape->at = more;
    tape->size = size;
    tape->used = kept;
    tape->done = 0;
    return tape->at + kept;
}

moco_status late_tape_make(struct late_tape *tape, struct err *err)
{
    char *at = reserve(tape, FIRST_SIZE, err);
    if (at == NULL)
        return MOCO_ENOMEM;
    memset(at, POISON, FIRST_SIZE);
    return MOCO_OK;
}

void late_tape_clear(struct late_tape *tape)
{
    if (tape->used > 0)
        memset(tape->at, POISON, tape->used);
    tape->used = tape->done = 0;
    tape->calls = 0;
}

void late_tape_free(struct late_tape *tape)
{
    late_give(tape->at, tape->size);
    *tape = (struct late_tape){0};
}

/* ---- who may call what ---- */

/* The step that this thread has begun. */
static struct be_program *open_program(const struct be_device *dev)
{
    for (struct be_program *p = dev->programs; p != NULL; p = p->next)
        if (p->phase != LATE_IDLE && pthread_equal(p->owner, pthread_self()))
            return p;
    return NULL;
}

static moco_status check_phase(const struct late_call *call, struct err *err)
{
    int phase = call->program->phase;
    if (call->when == LATE_WORK && phase != LATE_WORKS && phase != LATE_JUDGED)
        return err_set(err, MOCO_ESTATE, "late: %s belongs between program_begin and decide", call->name);
    if (call->when == LATE_COMMIT && phase != LATE_COMMITS)
        return err_set(err, MOCO_ESTATE, "late: %s belongs between decide and program_end", call->name);
    return MOCO_OK;
}

/* *tape: where the call is recorded, or NULL. */
static moco_status check_time(struct be_device *dev, const struct late_call *call, struct late_tape **tape,
                              struct err *err)
{
    *tape = NULL;
    if (call->when == LATE_ONCE)
        return MOCO_OK;
    if (call->program != NULL)
        TRY(check_phase(call, err));
    struct be_program *p = call->program != NULL ? call->program : open_program(dev);
    if (p == NULL || !p->spec.replay || p->phase == LATE_JUDGED || p->phase == LATE_IDLE)
        return MOCO_OK;
    if (call->when == LATE_ANY)
        return err_set(err, MOCO_ESTATE, "late: %s within a step that may be recorded", call->name);
    if (call->when == LATE_MARK) {
        p->ends = p->phase == LATE_WORKS;
        return MOCO_OK;
    }
    if (p->ends)
        return err_set(err, MOCO_ESTATE, "late: %s behind a mark, and no part has ended there", call->name);
    if (p->mode == LATE_REPEAT)
        return err_set(err, MOCO_ESTATE, "late: %s, though the device repeats this part of the step (skip was 1)",
                       call->name);
    if (p->mode == LATE_RECORD)
        *tape = p->phase == LATE_WORKS ? &p->work[p->part] : &p->commit;
    return MOCO_OK;
}

/* ---- giving ---- */

/* Between late_queue_begin and late_queued. */
static struct {
    struct late_tape *tape;
    struct be_device *dev;
    size_t at;
} given;

static moco_status append(struct be_device *dev, struct late_call *call, const void *args, void **tail, struct err *err)
{
    TRY(late_lost(dev, err));
    TRY(check_time(dev, call, &given.tape, err));
    TRY(late_locate(dev, call, err));
    call->size = up(sizeof *call) + up(call->args) + up(call->tail);
    char *place = reserve(&dev->queue, call->size, err);
    if (place == NULL)
        return MOCO_ENOMEM;
    memcpy(place, call, sizeof *call);
    memcpy(place + up(sizeof *call), args, call->args);
    given.dev = dev;
    given.at = dev->queue.used;
    *tail = place + up(sizeof *call) + up(call->args);
    return MOCO_OK;
}

moco_status late_queue_begin(struct be_device *dev, struct late_call *call, const void *args, void **tail,
                             struct err *err)
{
    late_lock();
    moco_status status = append(dev, call, args, tail, err);
    if (status != MOCO_OK)
        late_unlock();
    return status;
}

moco_status late_queued(struct err *err)
{
    const struct late_call *call = call_at(&given.dev->queue, given.at);
    moco_status status = MOCO_OK;
    if (given.tape != NULL) {
        char *place = reserve(given.tape, call->size, err);
        if (place == NULL) {
            status = MOCO_ENOMEM;
        } else {
            memcpy(place, call, call->size);
            given.tape->used += call->size;
            given.tape->calls++;
        }
    }
    if (status == MOCO_OK) {
        given.dev->queue.used += call->size;
        given.dev->pending++;
    }
    late_unlock();
    return status;
}

moco_status late_queue(struct be_device *dev, struct late_call *call, const void *args, size_t bytes, struct err *err)
{
    void *tail;
    call->args = bytes;
    TRY(late_queue_begin(dev, call, args, &tail, err));
    return late_queued(err);
}

/* ---- running ---- */

moco_status late_lost(const struct be_device *dev, struct err *err)
{
    if (dev->lost.status != MOCO_OK)
        return err_set(err, MOCO_EDEVICE, "%s", dev->lost.text);
    return MOCO_OK;
}

static void lose(struct be_device *dev, const char *name, const struct err *err)
{
    err_set(&dev->lost, MOCO_EDEVICE, "late: the device is lost: %s failed: %.400s", name, err->text);
    late_tape_clear(&dev->queue);
    dev->pending = 0;
}

/* With the memory open. */
static int run_next(struct be_device *dev)
{
    struct late_tape *queue = &dev->queue;
    struct err err = {0};
    if (dev->lost.status != MOCO_OK || queue->done == queue->used)
        return 0;
    const struct late_call *call = call_at(queue, queue->done);
    const char *name = call->name;
    size_t size = call->size;
    dev->running = 1;
    moco_status status = dev->breaks ? err_set(&err, MOCO_EDEVICE, "it was broken by a test")
                                     : call->run(dev, call, args_of(call), &err);
    dev->running = 0;
    if (status != MOCO_OK) {
        lose(dev, name, &err);
        return 0;
    }
    queue->done += size;
    dev->pending--;
    if (queue->done == queue->used)
        late_tape_clear(queue);
    return 1;
}

int late_run_one(struct be_device *dev)
{
    late_unfence(dev);
    int ran = run_next(dev);
    late_fence(dev);
    return ran;
}

void late_drain(struct be_device *dev)
{
    if (dev->queue.done == dev->queue.used)
        return;
    late_unfence(dev);
    while (run_next(dev))
        continue;
    late_fence(dev);
}

moco_status late_wait(struct be_device *dev, const char *name, struct err *err)
{
    late_lock();
    struct be_program *p = open_program(dev);
    moco_status status = MOCO_OK;
    if (p != NULL && p->spec.replay && p->phase != LATE_JUDGED)
        status = err_set(err, MOCO_ESTATE, "late: %s waits within a step that may be recorded", name);
    if (status == MOCO_OK)
        late_drain(dev);
    if (status == MOCO_OK)
        status = late_lost(dev, err);
    if (status != MOCO_OK)
        late_unlock();
    return status;
}

moco_status late_touch(struct be_device *dev, const char *name, const void *at, size_t bytes, struct err *err)
{
    if (bytes == 0)
        return MOCO_OK;
    dev->touched = late_find(dev, at, bytes);
    if (dev->touched == NULL)
        return err_set(err, MOCO_EINVAL, "late: %s of %zu bytes that are not within one block of this device's memory",
                       name, bytes);
    late_unfence_one(dev->touched);
    return MOCO_OK;
}

void late_waited(struct be_device *dev)
{
    if (dev->touched != NULL)
        late_fence_one(dev->touched);
    dev->touched = NULL;
    late_unlock();
}

moco_status late_repeat(struct be_device *dev, const struct late_tape *tape, struct err *err)
{
    for (size_t at = 0; at < tape->used; at += call_at(tape, at)->size) {
        const struct late_call *call = call_at(tape, at);
        moco_status status = call->run(dev, call, args_of(call), err);
        if (status != MOCO_OK) {
            if (err != NULL)
                err_prefix(err, call->name);
            return status;
        }
    }
    dev->repeats++;
    return MOCO_OK;
}

const char *late_tape_lost(const struct be_device *dev, const struct late_tape *tape)
{
    for (size_t at = 0; at < tape->used; at += call_at(tape, at)->size)
        if (!late_still_there(dev, call_at(tape, at)))
            return call_at(tape, at)->name;
    return NULL;
}

int late_tape_has(const struct late_tape *tape, const struct be_plan *plan)
{
    for (size_t at = 0; at < tape->used; at += call_at(tape, at)->size)
        if (call_at(tape, at)->plan == plan)
            return 1;
    return 0;
}
