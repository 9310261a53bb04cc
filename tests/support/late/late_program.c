/* SPDX-License-Identifier: MIT
 *
 * late_program: steps of the late device. The first of a program with replay is done as it is called, the second is
 * recorded, those after it are repeated, each part of the work when the caller comes to it. What a reader would get wrong:
 * there are two clocks. Members named after calls (`opened`, `ended`, `phase`) follow the caller, those with _run the
 * queue, which may be two steps behind; what a work must know of its step lies in the step's block in device memory. */
#include <stddef.h>

#include "backend/scalars.h"
#include "hash.h"
#include "support/late/late.h"

#define INPUT_ALIGN ((size_t)64)
#define POISON 0xa5

static size_t up(size_t bytes)
{
    return (bytes + INPUT_ALIGN - 1) / INPUT_ALIGN * INPUT_ALIGN;
}

/* ---- memory of a program ---- */

static size_t view_bytes(const struct be_program *p)
{
    return up(p->spec.view_bytes);
}

static struct late_block_of_step *block_at(const struct be_program *p, int slot)
{
    return (struct late_block_of_step *)(void *)((char *)p->memory.at + (size_t)slot * p->block_bytes);
}

/* Place 0 and up: staged inputs of steps, by slot; the two after them: where calls find them. */
static char *input_at(const struct be_program *p, int place)
{
    return (char *)p->memory.at + LATE_SLOTS * p->block_bytes + (size_t)place * p->input_bytes;
}

static void copy_input(const struct be_program *p, char *to, const struct be_input *from)
{
    for (int v = 0; v < p->spec.views; v++)
        if (from->view[v] != NULL)
            memcpy(to + (size_t)v * view_bytes(p), from->view[v], p->spec.view_bytes);
    if (p->spec.index_count > 0 && from->index != NULL)
        memcpy(to + (size_t)p->spec.views * view_bytes(p), from->index,
               (size_t)p->spec.index_count * sizeof *from->index);
}

static struct be_input input_in(const struct be_program *p, char *place, const struct be_input *given)
{
    struct be_input at = {.index = NULL};
    for (int v = 0; v < p->spec.views; v++)
        if (given->view[v] != NULL)
            at.view[v] = place + (size_t)v * view_bytes(p);
    if (p->spec.index_count > 0 && given->index != NULL)
        at.index = (const int32_t *)(void *)(place + (size_t)p->spec.views * view_bytes(p));
    return at;
}

static void hash_input(const struct be_program *p, char text[33])
{
    struct hash hash;
    hash_start(&hash);
    for (int v = 0; v < p->spec.views; v++)
        if (p->given.view[v] != NULL)
            hash_add(&hash, p->given.view[v], p->spec.view_bytes);
    if (p->given.index != NULL)
        hash_add(&hash, p->given.index, (size_t)p->spec.index_count * sizeof *p->given.index);
    hash_text(&hash, text);
}

/* ---- making ---- */

static moco_status make(struct be_program *p, struct err *err)
{
    struct be_program_spec inside = p->spec;
    inside.layout = p->layout->ref;
    inside.parts = 1; /* they are of the queue's caller */
    TRY(backend_ref.program_create(&p->ref, p->dev->ref, &inside, err));
    TRY(backend_ref.program_create(&p->probe, p->dev->ref, &inside, err));
    if ((p->work = mem_array(p->dev->ctx, (size_t)p->parts, sizeof *p->work, err)) == NULL)
        return MOCO_ENOMEM;
    for (int i = 0; i < p->parts && p->spec.replay; i++)
        TRY(late_tape_make(&p->work[i], err));
    if (p->spec.replay)
        TRY(late_tape_make(&p->commit, err));
    p->block_bytes = up(sizeof(struct late_block_of_step) + (size_t)p->spec.range_count * sizeof(struct be_range));
    p->input_bytes = (size_t)p->spec.views * view_bytes(p) + up((size_t)p->spec.index_count * sizeof(int32_t));
    late_lock();
    moco_status status =
        late_map(p->dev, LATE_SLOTS * (p->block_bytes + p->input_bytes) + 2 * p->input_bytes, &p->memory, err);
    if (status == MOCO_OK) {
        const struct late_block *own = late_find(p->dev, p->memory.at, p->memory.bytes);
        late_unfence_one(own);
        memset(p->memory.at, POISON, p->memory.bytes); /* a step takes no page */
        late_fence_one(own);
        p->next = p->dev->programs;
        p->dev->programs = p;
    }
    late_unlock();
    return status;
}

moco_status late_program_create(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                struct err *err)
{
    *out = NULL;
    struct be_program *p = mem_zalloc(dev->ctx, sizeof *p, err);
    if (p == NULL)
        return MOCO_ENOMEM;
    p->dev = dev;
    p->spec = *spec;
    p->layout = spec->layout;
    p->parts = scalars_parts(spec);
    moco_status status = make(p, err);
    if (status != MOCO_OK) {
        late_program_free(p);
        return status;
    }
    *out = p;
    return MOCO_OK;
}

void late_program_free(struct be_program *p)
{
    if (p == NULL)
        return;
    late_lock();
    late_drain(p->dev);
    for (struct be_program **q = &p->dev->programs; *q != NULL; q = &(*q)->next)
        if (*q == p) {
            *q = p->next;
            break;
        }
    if (p->memory.at != NULL)
        late_unmap(p->dev, &p->memory);
    for (int i = 0; i < p->parts && p->work != NULL; i++)
        late_tape_free(&p->work[i]);
    late_tape_free(&p->commit);
    late_unlock();
    if (p->ref != NULL)
        backend_ref.program_free(p->ref);
    if (p->probe != NULL)
        backend_ref.program_free(p->probe);
    mem_free(p->dev->ctx, p->work);
    mem_free(p->dev->ctx, p);
}

static void forget_recorded(struct be_program *p)
{
    for (int i = 0; i < p->parts; i++)
        late_tape_clear(&p->work[i]);
    late_tape_clear(&p->commit);
    p->taped = 0;
    p->stale = NULL;
}

void late_program_reset(struct be_program *p)
{
    late_lock();
    late_drain(p->dev); /* works may lie on the tapes */
    forget_recorded(p);
    p->warm = 0;
    p->told = p->ended; /* of a state that is there no more */
    p->failed_told = p->failed_run;
    late_unlock();
}

/* ---- works of the program itself ---- */

struct step_args {
    int slot, place; /* of the block; of the input */
    struct be_input input;
    be_cancel *cancel;
    uint32_t veto;
};

/* Numbers that a faulty device kept from the step that it recorded. */
static void freeze(struct be_program *p, struct be_scalars *scalars, int repeat)
{
    if (!repeat) {
        p->frozen = *scalars;
        p->frozen.ranges = NULL;
        p->has_frozen = 1;
    } else if (p->has_frozen) {
        int64_t step = scalars->step;
        const struct be_range *ranges = scalars->ranges;
        *scalars = p->frozen;
        scalars->step = step;
        scalars->ranges = ranges;
    }
}

static moco_status run_begin(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    struct be_program *p = call->program;
    const struct step_args *a = args;
    struct late_block_of_step *block = block_at(p, a->slot);
    struct be_scalars scalars = block->scalars;
    char *staged = input_at(p, a->slot);
    struct be_input none = {.index = NULL}, ignored;
    int skip;
    scalars.ranges = (const struct be_range *)(const void *)(block + 1);
    if (dev->fault == LATE_FROZEN)
        freeze(p, &scalars, block->repeat);
    if (dev->fault != LATE_OLD_INPUT || !block->repeat)
        memcpy(input_at(p, a->place), staged, p->input_bytes);
    memset(staged, POISON, p->input_bytes);
    p->opened_run++;
    p->follows = 0;
    return backend_ref.program_begin(p->ref, &scalars, &none, &ignored, &skip, err);
}

struct repeat_args {
    const struct late_tape *tape;
};

static moco_status run_repeat(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    (void)call;
    return late_repeat(dev, ((const struct repeat_args *)args)->tape, err);
}

/* LATE_NO_VERDICT: as if nothing had been found. */
static moco_status pardon(struct be_program *p, const struct be_scalars *scalars, struct err *err)
{
    struct be_input none = {.index = NULL}, ignored;
    int skip;
    backend_ref.program_drop(p->ref);
    return backend_ref.program_begin(p->ref, scalars, &none, &ignored, &skip, err);
}

static moco_status run_decide(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    static const _Atomic int no = 1;
    struct be_program *p = call->program;
    const struct step_args *a = args;
    const struct late_block_of_step *block = block_at(p, a->slot);
    struct be_outcome so_far;
    int skip;
    TRY(backend_ref.verdict(p->ref, &so_far, err));
    int failed = so_far.bad != BE_NOTHING || a->veto != 0 || (a->cancel != NULL && atomic_load(a->cancel) != 0);
    if (dev->fault == LATE_NO_VERDICT && failed) {
        struct be_scalars scalars = block->scalars;
        scalars.ranges = (const struct be_range *)(const void *)(block + 1);
        TRY(pardon(p, &scalars, err));
        return backend_ref.decide(p->ref, NULL, 0, &skip, err);
    }
    p->follows = !failed && p->failed_run != block->fetched && dev->fault != LATE_FORGETS;
    return backend_ref.decide(p->ref, p->follows ? &no : a->cancel, a->veto, &skip, err);
}

static moco_status run_end(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    struct be_program *p = call->program;
    struct be_outcome o;
    int known;
    (void)dev;
    (void)args;
    TRY(backend_ref.program_end(p->ref, err));
    TRY(backend_ref.outcome(p->ref, 1, &known, &o, err));
    if (p->follows) {
        o.cancelled = 0;
        o.follows = 1;
    }
    if (!o.committed)
        p->failed_run++;
    p->outcomes[p->ended_run++ % LATE_SLOTS] = o;
    return MOCO_OK;
}

static moco_status run_drop(struct be_device *dev, const struct late_call *call, const void *args, struct err *err)
{
    (void)dev;
    (void)args;
    (void)err;
    backend_ref.program_drop(call->program->ref);
    return MOCO_OK;
}

static moco_status queue_own(struct be_program *p, const char *name, late_run *run, const struct step_args *args,
                             struct err *err)
{
    struct late_call call = {.name = name, .run = run, .when = LATE_ONCE, .program = p};
    return late_queue(p->dev, &call, args, sizeof *args, err);
}

static moco_status queue_repeat(struct be_program *p, const struct late_tape *tape, struct err *err)
{
    struct repeat_args args = {tape};
    if (tape->used == 0) /* an empty part */
        return MOCO_OK;
    struct late_call call = {.name = "what was recorded", .run = run_repeat, .when = LATE_ONCE, .program = p};
    return late_queue(p->dev, &call, &args, sizeof args, err);
}

/* ---- a step ---- */

static moco_status check_begin(struct be_program *p, const struct be_scalars *scalars, struct err *err)
{
    struct be_input none = {.index = NULL}, ignored;
    int skip;
    TRY(late_lost(p->dev, err));
    if (p->phase != LATE_IDLE)
        return err_set(err, MOCO_ESTATE, "late: a step of this program was begun and has not ended");
    if (p->ended - p->told >= LATE_BEHIND)
        return err_set(err, MOCO_ESTATE, "late: the outcomes of %d steps have not been fetched", LATE_BEHIND);
    TRY(backend_ref.program_begin(p->probe, scalars, &none, &ignored, &skip, err));
    backend_ref.program_drop(p->probe);
    return MOCO_OK;
}

static moco_status choose_mode(struct be_program *p, struct err *err)
{
    p->mode = !p->spec.replay || !p->warm ? LATE_EAGER : p->taped ? LATE_REPEAT : LATE_RECORD;
    if (p->mode != LATE_REPEAT)
        return MOCO_OK;
    const char *lost = p->stale;
    for (int i = 0; i < p->parts && lost == NULL; i++)
        lost = late_tape_lost(p->dev, &p->work[i]);
    if (lost == NULL)
        lost = late_tape_lost(p->dev, &p->commit);
    if (lost == NULL)
        return MOCO_OK;
    return err_set(err, MOCO_EDEVICE,
                   "late: %s was recorded with memory that is there no more; program_reset was not called", lost);
}

/* The step's block and its staged input, which the host writes as if into page-locked memory: nothing that is queued
 * looks at this slot. */
static void stage(struct be_program *p, const struct be_scalars *scalars, int slot)
{
    struct late_block_of_step *block = block_at(p, slot);
    const struct late_block *own = late_find(p->dev, p->memory.at, p->memory.bytes);
    late_unfence_one(own);
    block->scalars = *scalars;
    block->scalars.ranges = NULL;
    if (scalars->range_count > 0)
        memcpy(block + 1, scalars->ranges, (size_t)scalars->range_count * sizeof *scalars->ranges);
    block->fetched = p->failed_told;
    block->repeat = p->mode == LATE_REPEAT;
    copy_input(p, input_at(p, slot), &p->given);
    late_fence_one(own);
}

static int slot_of(const struct be_program *p)
{
    return (int)(p->ended % LATE_SLOTS);
}

static moco_status open_step(struct be_program *p, const struct be_scalars *scalars, const struct be_input *input,
                             struct err *err)
{
    TRY(check_begin(p, scalars, err));
    TRY(choose_mode(p, err));
    if (p->dropped) /* the slot is that of the step which was dropped, and may not have been read yet */
        late_drain(p->dev);
    p->dropped = 0;
    if (p->mode == LATE_RECORD)
        forget_recorded(p);
    p->given = input != NULL ? *input : (struct be_input){.index = NULL};
    p->temperature = scalars->temperature;
    p->owner = pthread_self();
    stage(p, scalars, slot_of(p));
    return MOCO_OK;
}

moco_status late_program_begin(struct be_program *p, const struct be_scalars *scalars, const struct be_input *input,
                               struct be_input *at, int *skip, struct err *err)
{
    *skip = 0;
    late_lock();
    moco_status status = open_step(p, scalars, input, err);
    late_unlock();
    if (status != MOCO_OK)
        return status;
    /* Steps that are not repeated find their input in turn here and there: who keeps an address is found out. */
    int place = p->spec.replay ? p->mode != LATE_EAGER : (int)(p->opened % 2);
    struct step_args args = {.slot = slot_of(p), .place = LATE_SLOTS + place};
    hash_input(p, p->hash);
    TRY(queue_own(p, "program_begin", run_begin, &args, err));
    p->phase = LATE_WORKS;
    p->part = p->ends = 0;
    p->opened++;
    status = p->mode == LATE_REPEAT ? queue_repeat(p, &p->work[0], err) : MOCO_OK;
    if (status != MOCO_OK) {
        late_program_drop(p);
        return status;
    }
    *skip = p->mode == LATE_REPEAT;
    if (at != NULL)
        *at = input_in(p, input_at(p, args.place), &p->given);
    return MOCO_OK;
}

int late_found(const struct be_program *p)
{
    late_lock();
    int found = p->phase != LATE_IDLE && p->opened_run == p->opened && backend_ref.found(p->ref);
    late_unlock();
    return found;
}

moco_status late_part(struct be_program *p, struct err *err)
{
    if (p->phase != LATE_WORKS)
        return err_set(err, MOCO_ESTATE, "late: part belongs between program_begin and verdict or decide");
    TRY(scalars_check_part(&p->spec, p->part + 1, 0, err));
    p->part++;
    p->ends = 0;
    return p->mode == LATE_REPEAT ? queue_repeat(p, &p->work[p->part], err) : MOCO_OK;
}

moco_status late_verdict(struct be_program *p, struct be_outcome *out, struct err *err)
{
    if (p->phase != LATE_WORKS && p->phase != LATE_JUDGED)
        return err_set(err, MOCO_ESTATE, "late: verdict belongs between program_begin and decide");
    p->phase = LATE_JUDGED;
    TRY(late_wait(p->dev, "verdict", err));
    moco_status status = backend_ref.verdict(p->ref, out, err);
    late_waited(p->dev);
    return status;
}

/* A flag of cancel_alloc: the device reads it by itself, from memory that it can reach. */
static moco_status check_cancel(const struct be_program *p, be_cancel *cancel, struct err *err)
{
    late_lock();
    const struct late_cancel *c = p->dev->cancels;
    while (c != NULL && &c->flag != cancel)
        c = c->next;
    late_unlock();
    if (cancel != NULL && c == NULL)
        return err_set(err, MOCO_EINVAL, "late: the flag that decide is given was not made by cancel_alloc");
    return MOCO_OK;
}

moco_status late_decide(struct be_program *p, be_cancel *cancel, uint32_t veto, int *skip, struct err *err)
{
    *skip = 0;
    if (p->phase != LATE_WORKS && p->phase != LATE_JUDGED)
        return err_set(err, MOCO_ESTATE, "late: decide belongs between program_begin and program_end");
    TRY(scalars_check_part(&p->spec, p->part, 1, err));
    TRY(check_cancel(p, cancel, err));
    struct step_args args = {.slot = slot_of(p), .cancel = cancel, .veto = veto};
    TRY(queue_own(p, "decide", run_decide, &args, err));
    if (p->mode == LATE_REPEAT)
        TRY(queue_repeat(p, &p->commit, err));
    p->phase = LATE_COMMITS;
    *skip = p->mode == LATE_REPEAT;
    return MOCO_OK;
}

moco_status late_program_end(struct be_program *p, struct err *err)
{
    if (p->phase != LATE_COMMITS)
        return err_set(err, MOCO_ESTATE, "late: program_end belongs behind decide");
    char now[33];
    hash_input(p, now);
    if (strcmp(now, p->hash) != 0)
        return err_set(err, MOCO_EINVAL,
                       "late: the input of the step was changed between program_begin and program_end");
    struct step_args args = {.slot = slot_of(p)};
    TRY(queue_own(p, "program_end", run_end, &args, err));
    p->given = (struct be_input){.index = NULL};
    p->warm = 1;
    if (p->mode == LATE_RECORD)
        p->taped = 1;
    p->phase = LATE_IDLE;
    p->ended++;
    return MOCO_OK;
}

void late_program_drop(struct be_program *p)
{
    struct step_args args = {.slot = 0};
    if (p->phase == LATE_IDLE)
        return;
    queue_own(p, "program_drop", run_drop, &args, NULL);
    if (p->mode == LATE_RECORD) {
        late_lock();
        forget_recorded(p);
        late_unlock();
    }
    p->dropped = 1;
    p->phase = LATE_IDLE;
}

/* ---- outcomes ---- */

static moco_status fetch(struct be_program *p, int wait, int *known, struct be_outcome *out, struct err *err)
{
    if (p->told == p->ended)
        return err_set(err, MOCO_ESTATE, "late: no step has ended whose outcome was not fetched");
    /* Asking without waiting is answered by one work at a time, as if a device had come that far. */
    for (int works = 0; p->ended_run <= p->told && (wait || works == 0); works++)
        if (!late_run_one(p->dev))
            break;
    TRY(late_lost(p->dev, err));
    if (p->ended_run <= p->told)
        return MOCO_OK;
    *known = 1;
    *out = p->outcomes[p->told++ % LATE_SLOTS];
    if (!out->committed)
        p->failed_told++;
    return MOCO_OK;
}

moco_status late_outcome(struct be_program *p, int wait, int *known, struct be_outcome *out, struct err *err)
{
    *known = 0;
    late_lock();
    moco_status status = fetch(p, wait, known, out, err);
    late_unlock();
    return status;
}

int late_program_has(const struct be_program *p, const struct be_plan *plan)
{
    int has = late_tape_has(&p->commit, plan);
    for (int i = 0; i < p->parts; i++)
        has |= late_tape_has(&p->work[i], plan);
    return has;
}

int late_behind(const struct be_program *p)
{
    return (int)(p->ended - p->told);
}
