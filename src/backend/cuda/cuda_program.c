/* SPDX-License-Identifier: MIT
 *
 * cuda_program: steps. The step's block is in device memory: begin writes it, kernels read their scalars from it and
 * write what they find into it, and program_end copies it into page-locked memory, where the host finds the outcome
 * when the queue has come that far. What a reader would get wrong: one block is enough for steps that are queued one
 * behind the other, since the next begin's write is in the queue, too; only outcomes need a place each. */
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/scalars.h"

static size_t up(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* ---- making ---- */

static moco_status make_memory(struct be_program *p, struct err *err)
{
    size_t chain = up(sizeof(struct cuda_chain)), step = up(p->step_bytes);
    size_t input = (size_t)p->spec.views * p->view_bytes + (size_t)p->spec.index_count * sizeof(int32_t);
    void *ended;
    TRY(cuda_take(p->dev, chain + step + input, &p->memory, err));
    p->chain = p->memory.at;
    p->step = (struct cuda_step *)(void *)((char *)p->memory.at + chain);
    p->input = (char *)p->memory.at + chain + step;
    TRY(cuda_pinned(p->dev, CUDA_SLOTS * sizeof *p->ended, &ended, err));
    p->ended = ended;
    for (int i = 0; i < CUDA_SLOTS; i++)
        TRY(cuda_said(p->dev, p->dev->cu->event_create(&p->done[i], CU_EVENT_NO_TIMING), "cuEventCreate", err));
    return MOCO_OK;
}

moco_status cuda_program_create(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                struct err *err)
{
    *out = NULL;
    if (spec->views < 0 || spec->views > BE_VIEWS || spec->index_count < 0 || spec->range_count < 0)
        return err_set(err, MOCO_EINVAL, "a program of %d views, %d indices and %d ranges is not possible", spec->views,
                       spec->index_count, spec->range_count);
    struct be_program *p = mem_zalloc(dev->ctx, sizeof *p, err);
    if (p == NULL)
        return MOCO_ENOMEM;
    p->dev = dev;
    p->spec = *spec;
    p->step_bytes = sizeof(struct cuda_step) + (size_t)spec->range_count * sizeof(struct cuda_range);
    p->view_bytes = up(spec->view_bytes);
    p->given = mem_zalloc(dev->ctx, p->step_bytes, err);
    moco_status status = p->given == NULL ? MOCO_ENOMEM : cuda_enter(dev, err);
    if (status == MOCO_OK) {
        status = make_memory(p, err);
        cuda_leave(dev);
    }
    if (status != MOCO_OK) {
        cuda_program_free(p);
        return status;
    }
    *out = p;
    return MOCO_OK;
}

void cuda_program_free(struct be_program *p)
{
    if (p == NULL)
        return;
    struct ctx *ctx = p->dev->ctx;
    cuda_enter_lost(p->dev);
    p->dev->cu->stream_sync(p->dev->stream);
    for (int i = 0; i < CUDA_SLOTS; i++)
        if (p->done[i] != NULL)
            p->dev->cu->event_destroy(p->done[i]);
    if (p->ended != NULL)
        p->dev->cu->host_free(p->ended);
    cuda_give(p->dev, &p->memory);
    cuda_leave(p->dev);
    mem_free(ctx, p->given);
    mem_free(ctx, p);
}

void cuda_program_reset(struct be_program *p)
{
    cuda_enter_lost(p->dev);
    p->dev->cu->fill(cuda_at(p->chain), 0, sizeof *p->chain, p->dev->stream); /* failures that nobody will fetch */
    cuda_leave(p->dev);
    p->phase = CUDA_IDLE;
    p->told = p->over;
    p->failed_told = 0;
}

/* ---- a step ---- */

static void fill_step(struct be_program *p, const struct be_scalars *s)
{
    struct cuda_step *step = p->given;
    struct cuda_range *ranges = (struct cuda_range *)(step + 1);
    *step = (struct cuda_step){.lr = s->lr,
                               .sgd_momentum = s->sgd_momentum,
                               .weight_decay = s->weight_decay,
                               .trust = s->trust,
                               .key_momentum = s->key_momentum,
                               .temperature = s->temperature,
                               .loss_scale = s->loss_scale,
                               .gradient_limit = s->gradient_limit,
                               .step = s->step,
                               .queue_row = s->queue_row,
                               .fetched = p->failed_told,
                               .bad = BE_NOTHING,
                               .range_count = s->range_count};
    for (int i = 0; i < s->range_count; i++) {
        const struct be_range *r = &s->ranges[i];
        ranges[i] = (struct cuda_range){.first = r->first,
                                        .count = r->count,
                                        .frozen = r->frozen,
                                        .rate = r->rate,
                                        .weight_decay = r->weight_decay};
    }
}

/* The input comes to a place of its own. */
static moco_status put_input(struct be_program *p, const struct be_input *input, struct be_input *at, struct err *err)
{
    for (int v = 0; v < p->spec.views && input != NULL; v++)
        if (input->view[v] != NULL) {
            char *to = p->input + (size_t)v * p->view_bytes;
            TRY(cuda_put(p->dev, to, input->view[v], p->spec.view_bytes, err));
            at->view[v] = to;
        }
    if (p->spec.index_count > 0 && input != NULL && input->index != NULL) {
        char *to = p->input + (size_t)p->spec.views * p->view_bytes;
        TRY(cuda_put(p->dev, to, input->index, (size_t)p->spec.index_count * sizeof *input->index, err));
        at->index = (const int32_t *)(void *)to;
    }
    return MOCO_OK;
}

static moco_status begin(struct be_program *p, const struct be_input *input, struct be_input *at, struct err *err)
{
    size_t bytes = sizeof(struct cuda_step) + (size_t)p->given->range_count * sizeof(struct cuda_range);
    TRY(cuda_put(p->dev, p->step, p->given, bytes, err));
    return put_input(p, input, at, err);
}

moco_status cuda_program_begin(struct be_program *p, const struct be_scalars *scalars, const struct be_input *input,
                               struct be_input *at, int *skip, struct err *err)
{
    struct be_input placed = {.index = NULL};
    *skip = 0;
    if (p->phase != CUDA_IDLE)
        return err_set(err, MOCO_ESTATE, "a step of this program was begun and has not ended");
    if (p->over - p->told >= CUDA_BEHIND)
        return err_set(err, MOCO_ESTATE, "the outcomes of %d steps have not been fetched", CUDA_BEHIND);
    TRY(scalars_check_ranges(scalars, p->spec.range_count, p->spec.layout->count, err));
    fill_step(p, scalars);
    CUDA_WITHIN(p->dev, begin(p, input, &placed, err));
    p->phase = CUDA_WORK;
    if (at != NULL)
        *at = placed;
    return MOCO_OK;
}

moco_status cuda_in_work(const struct be_program *p, const char *call, struct err *err)
{
    if (p->phase != CUDA_WORK)
        return err_set(err, MOCO_ESTATE, "%s belongs between program_begin and decide", call);
    return MOCO_OK;
}

moco_status cuda_in_commit(const struct be_program *p, const char *call, struct err *err)
{
    if (p->phase != CUDA_COMMIT)
        return err_set(err, MOCO_ESTATE, "%s belongs between decide and program_end", call);
    return MOCO_OK;
}

int cuda_found(const struct be_program *p)
{
    (void)p;
    return 0; /* nobody knows yet */
}

static struct be_outcome outcome_of(const struct cuda_step *s)
{
    return (struct be_outcome){.step = s->step,
                               .bad = s->bad,
                               .committed = s->committed,
                               .cancelled = s->cancelled,
                               .follows = s->follows,
                               .finite = s->updated && !s->infinite,
                               .loss = s->loss,
                               .top1 = s->top1,
                               .top5 = s->top5,
                               .pos = s->pos,
                               .neg = s->neg,
                               .sum_squares = s->sum_squares,
                               .feature_std = s->feature_std};
}

moco_status cuda_verdict(struct be_program *p, struct be_outcome *out, struct err *err)
{
    struct cuda_step now;
    TRY(cuda_in_work(p, "verdict", err));
    CUDA_WITHIN(p->dev, cuda_fetch(p->dev, &now, p->step, sizeof now, err));
    *out = outcome_of(&now);
    return MOCO_OK;
}

static moco_status decide(struct be_program *p, be_cancel *cancel, uint32_t veto, struct err *err)
{
    struct verdict_args args = {.step = p->step, .chain = p->chain, .veto = veto};
    cu_address flag = 0;
    if (cancel != NULL && p->dev->cu->host_address(&flag, (void *)(uintptr_t)cancel, 0) != CU_OK)
        return err_set(err, MOCO_EINVAL, "%s: the flag that decide is given was not made by cancel_alloc",
                       p->dev->name);
    args.cancel = (const volatile int32_t *)(uintptr_t)flag;
    return cuda_launch(p->dev, CUDA_decide, 1, 1, 1, &args, err);
}

moco_status cuda_decide(struct be_program *p, be_cancel *cancel, uint32_t veto, int *skip, struct err *err)
{
    *skip = 0;
    TRY(cuda_in_work(p, "decide", err));
    CUDA_WITHIN(p->dev, decide(p, cancel, veto, err));
    p->phase = CUDA_COMMIT;
    return MOCO_OK;
}

static moco_status end(struct be_program *p, int slot, struct err *err)
{
    struct verdict_args args = {.step = p->step, .chain = p->chain};
    TRY(cuda_launch(p->dev, CUDA_step_end, 1, 1, 1, &args, err));
    TRY(cuda_said(p->dev, p->dev->cu->copy_out(&p->ended[slot], cuda_at(p->step), sizeof *p->step, p->dev->stream),
                  "cuMemcpyDtoHAsync", err));
    return cuda_said(p->dev, p->dev->cu->event_record(p->done[slot], p->dev->stream), "cuEventRecord", err);
}

moco_status cuda_program_end(struct be_program *p, struct err *err)
{
    TRY(cuda_in_commit(p, "program_end", err));
    CUDA_WITHIN(p->dev, end(p, (int)(p->over % CUDA_SLOTS), err));
    p->phase = CUDA_IDLE;
    p->over++;
    return MOCO_OK;
}

void cuda_program_drop(struct be_program *p)
{
    p->phase = CUDA_IDLE; /* the next begin overwrites what this step has found */
}

/* ---- outcomes ---- */

static moco_status fetch(struct be_program *p, int wait, int slot, int *known, struct err *err)
{
    cu_result result = wait ? p->dev->cu->event_sync(p->done[slot]) : p->dev->cu->event_query(p->done[slot]);
    if (result == CU_NOT_READY)
        return MOCO_OK;
    TRY(cuda_said(p->dev, result, "cuEventSynchronize", err));
    *known = 1;
    return MOCO_OK;
}

moco_status cuda_outcome(struct be_program *p, int wait, int *known, struct be_outcome *out, struct err *err)
{
    int slot = (int)(p->told % CUDA_SLOTS);
    *known = 0;
    if (p->told == p->over)
        return err_set(err, MOCO_ESTATE, "no step has ended whose outcome was not fetched");
    CUDA_WITHIN(p->dev, fetch(p, wait, slot, known, err));
    if (!*known)
        return MOCO_OK;
    *out = outcome_of(&p->ended[slot]);
    p->told++;
    if (!out->committed)
        p->failed_told++;
    return MOCO_OK;
}

int cuda_behind(const struct be_program *p)
{
    return (int)(p->over - p->told);
}
