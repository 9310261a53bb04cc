/* SPDX-License-Identifier: MIT
 *
 * cuda_program: steps. The step's block is in device memory: begin writes it, kernels read their scalars from it and
 * write what they find into it, and program_end copies it into page-locked memory, where the host finds the outcome
 * when the queue has come that far. The first step is queued call by call, the next two are recorded as well, one for
 * each turn, and all others are repeated, part by part (cuda_record.c). begin, decide and program_end are queued by
 * themselves every time, so that a flag to cancel or a veto is never in a recording. What a reader would get wrong: one
 * block is enough for steps that are queued one behind the other, since the next begin's write is in the queue, too; what
 * is copied in from the host, beside the step that computes, and out to it needs a place for each of two. */
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/scalars.h"

/* ---- making ---- */

static moco_status make_turn(struct be_program *p, struct cuda_turn *turn, char *pinned, char *input, struct err *err)
{
    cu_event *events[] = {&turn->loaded, &turn->done};
    turn->given = pinned;
    turn->ended = (struct cuda_step *)(void *)(pinned + p->input_bytes);
    turn->input = input;
    for (int i = 0; i < 2; i++)
        TRY(cuda_said(p->dev, p->dev->cu->event_create(events[i], CU_EVENT_NO_TIMING), "cuEventCreate", err));
    /* Its memory is being filled with zeros. */
    return cuda_said(p->dev, p->dev->cu->event_record(turn->done, p->dev->stream), "cuEventRecord", err);
}

static moco_status make_memory(struct be_program *p, struct err *err)
{
    size_t chain = cuda_up(sizeof(struct cuda_chain)), step = cuda_up(p->step_bytes);
    size_t pinned = p->input_bytes + cuda_up(sizeof(struct cuda_step));
    TRY(cuda_take(p->dev, chain + step + CUDA_TURNS * p->input_bytes, &p->memory, err));
    p->chain = p->memory.at;
    p->step = (struct cuda_step *)(void *)((char *)p->memory.at + chain);
    TRY(cuda_pinned(p->dev, CUDA_TURNS * pinned, &p->pinned, err));
    for (int i = 0; i < CUDA_TURNS; i++)
        TRY(make_turn(p, &p->turn[i], (char *)p->pinned + (size_t)i * pinned,
                      (char *)p->memory.at + chain + step + (size_t)i * p->input_bytes, err));
    for (int i = 0; i < CUDA_TURNS && p->spec.replay; i++)
        if ((p->turn[i].work = mem_array(p->dev->ctx, (size_t)p->parts, sizeof *p->turn[i].work, err)) == NULL)
            return MOCO_ENOMEM;
    if (p->spec.replay)
        TRY(cuda_said(p->dev, p->dev->cu->stream_create(&p->tape, CU_STREAM_OF_ITS_OWN), "cuStreamCreate", err));
    return MOCO_OK;
}

/* The block, indices, what is made, and last the views: a step whose views are made copies nothing of them. */
static void place_input(struct be_program *p)
{
    const struct be_program_spec *s = &p->spec;
    size_t image = (size_t)s->view_size * (size_t)s->view_size * 3;
    p->view_bytes = cuda_up(s->view_bytes);
    p->made_count = image > 0 ? (int)(s->view_bytes / image) : 0;
    p->made_at = cuda_up(p->step_bytes) + cuda_up((size_t)s->index_count * sizeof(int32_t));
    p->views_at = p->made_at + cuda_up((size_t)s->views * (size_t)p->made_count * sizeof(struct pixel_view));
    p->input_bytes = p->views_at + (size_t)s->views * p->view_bytes;
}

moco_status cuda_program_create(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                struct err *err)
{
    *out = NULL;
    if (spec->view_size < 0 || spec->view_size > PIXEL_SIDE_MAX)
        return err_set(err, MOCO_EINVAL, "views of %d cannot be made of pictures: 1 to %d can", spec->view_size,
                       PIXEL_SIDE_MAX);
    if (spec->views < 0 || spec->views > BE_VIEWS || spec->index_count < 0 || spec->range_count < 0)
        return err_set(err, MOCO_EINVAL, "a program of %d views, %d indices and %d ranges is not possible", spec->views,
                       spec->index_count, spec->range_count);
    struct be_program *p = mem_zalloc(dev->ctx, sizeof *p, err);
    if (p == NULL)
        return MOCO_ENOMEM;
    p->dev = dev;
    p->spec = *spec;
    p->parts = scalars_parts(spec);
    p->step_bytes = sizeof(struct cuda_step) + (size_t)spec->range_count * sizeof(struct cuda_range);
    place_input(p);
    moco_status status = cuda_enter(dev, err);
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

/* Nothing that was queued uses its memory from now on. */
static void settle(struct be_program *p)
{
    p->dev->cu->stream_sync(p->dev->loads);
    p->dev->cu->stream_sync(p->dev->stream);
}

void cuda_program_free(struct be_program *p)
{
    if (p == NULL)
        return;
    struct ctx *ctx = p->dev->ctx;
    const struct cuda_driver *cu = p->dev->cu;
    cuda_enter_lost(p->dev);
    cuda_record_drop(p);
    settle(p);
    cuda_record_forget(p);
    for (int i = 0; i < CUDA_TURNS; i++) {
        if (p->turn[i].loaded != NULL)
            cu->event_destroy(p->turn[i].loaded);
        if (p->turn[i].done != NULL)
            cu->event_destroy(p->turn[i].done);
        mem_free(ctx, p->turn[i].work);
    }
    if (p->tape != NULL)
        cu->stream_destroy(p->tape);
    if (p->pinned != NULL)
        cu->host_free(p->pinned);
    cuda_give(p->dev, &p->memory);
    cuda_leave(p->dev);
    mem_free(ctx, p);
}

void cuda_program_reset(struct be_program *p)
{
    cuda_enter_lost(p->dev);
    cuda_record_drop(p);
    settle(p);
    cuda_record_forget(p);
    p->dev->cu->fill(cuda_at(p->chain), 0, sizeof *p->chain, p->dev->stream); /* failures that nobody will fetch */
    cuda_leave(p->dev);
    p->phase = CUDA_IDLE;
    p->told = p->over;
    p->failed_told = 0;
    p->warm = 0;
}

/* ---- a step ---- */

static void fill_step(const struct be_program *p, struct cuda_step *step, const struct be_scalars *s)
{
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

static struct cuda_turn *turn_of(struct be_program *p)
{
    return &p->turn[p->over % CUDA_TURNS];
}

/* Where in the input what view v is made of is described. */
static size_t made_place(const struct be_program *p, int v)
{
    return p->made_at + (size_t)v * (size_t)p->made_count * sizeof(struct pixel_view);
}

static moco_status check_input(const struct be_program *p, const struct be_input *input, struct err *err)
{
    for (int v = 0; v < p->spec.views; v++) {
        if (input->made[v] == NULL)
            continue;
        if (p->made_count == 0 || input->pictures == NULL || input->pictures->dev != p->dev || input->view[v] != NULL)
            return err_set(
                err, MOCO_EINVAL,
                "view %d cannot be made: the program has no view_size, or there are bytes of it, or there are "
                "no pictures on %s",
                v, p->dev->name);
        TRY(cuda_views_check(input->pictures, input->made[v], p->made_count, p->spec.view_size, err));
    }
    return MOCO_OK;
}

static size_t view_place(const struct be_program *p, int v)
{
    return p->views_at + (size_t)v * p->view_bytes;
}

/* Copies the input behind the block, as `at` will have it in device memory; views that lie in page-locked memory of the
 * device's are loaded from there. from[v]: where view v is loaded from; NULL: it is not. */
static void fill_input(struct be_program *p, const struct cuda_turn *turn, const struct be_input *input,
                       struct be_input *at, const void *from[BE_VIEWS])
{
    size_t index = cuda_up(p->step_bytes);
    if (p->spec.index_count > 0 && input->index != NULL) {
        memcpy(turn->given + index, input->index, (size_t)p->spec.index_count * sizeof *input->index);
        at->index = (const int32_t *)(const void *)(turn->input + index);
    }
    for (int v = 0; v < p->spec.views; v++) {
        if (input->made[v] != NULL)
            memcpy(turn->given + made_place(p, v), input->made[v], (size_t)p->made_count * sizeof *input->made[v]);
        if (input->view[v] != NULL && cuda_is_lent(p->dev, input->view[v], p->spec.view_bytes)) {
            from[v] = input->view[v];
            p->borrows = 1;
        } else if (input->view[v] != NULL) {
            from[v] = turn->given + view_place(p, v);
            memcpy(turn->given + view_place(p, v), input->view[v], p->spec.view_bytes);
        }
        if (input->view[v] != NULL || input->made[v] != NULL)
            at->view[v] = turn->input + view_place(p, v);
    }
}

static moco_status copy_in(struct be_program *p, void *to, const void *from, size_t bytes, struct err *err)
{
    return cuda_said(p->dev, p->dev->cu->copy_in(cuda_at(to), from, bytes, p->dev->loads), "cuMemcpyHtoDAsync", err);
}

/* The input comes beside what computes: once the step that had this turn before is over, and before this one begins. */
static moco_status load(struct be_program *p, struct cuda_turn *turn, const struct be_input *input,
                        const void *const from[BE_VIEWS], struct err *err)
{
    const struct cuda_driver *cu = p->dev->cu;
    TRY(cuda_said(p->dev, cu->stream_wait(p->dev->loads, turn->done, 0), "cuStreamWaitEvent", err));
    TRY(copy_in(p, turn->input, turn->given, input != NULL ? p->views_at : p->step_bytes, err));
    for (int v = 0; v < p->spec.views; v++)
        if (from[v] != NULL)
            TRY(copy_in(p, turn->input + view_place(p, v), from[v], p->spec.view_bytes, err));
    for (int v = 0; input != NULL && v < p->spec.views; v++)
        if (input->made[v] != NULL)
            TRY(cuda_views_make(input->pictures,
                                (const struct pixel_view *)(const void *)(turn->input + made_place(p, v)),
                                p->made_count, p->spec.view_size, turn->input + view_place(p, v), err));
    TRY(cuda_said(p->dev, cu->event_record(turn->loaded, p->dev->loads), "cuEventRecord", err));
    TRY(cuda_said(p->dev, cu->stream_wait(p->dev->stream, turn->loaded, 0), "cuStreamWaitEvent", err));
    return cuda_said(p->dev, cu->copy(cuda_at(p->step), cuda_at(turn->input), p->step_bytes, p->dev->stream),
                     "cuMemcpyDtoDAsync", err);
}

/* NULL: nothing was queued in what was recorded. */
static moco_status replay(struct be_program *p, cu_graph_exec graph, struct err *err)
{
    if (graph == NULL)
        return MOCO_OK;
    return cuda_said(p->dev, p->dev->cu->graph_launch(graph, p->dev->stream), "cuGraphLaunch", err);
}

/* The first step runs alone: whatever is made at the first call is not made within a recording. */
static enum cuda_mode mode_of(const struct be_program *p, const struct cuda_turn *turn)
{
    if (p->tape == NULL || !p->warm || p->refused.status != MOCO_OK)
        return CUDA_EAGER;
    return turn->recorded == p->parts && p->commit != NULL ? CUDA_REPEAT : CUDA_RECORD;
}

static moco_status start(struct be_program *p, struct cuda_turn *turn, const struct be_input *input,
                         const void *const from[BE_VIEWS], struct err *err)
{
    TRY(load(p, turn, input, from, err));
    p->mode = mode_of(p, turn);
    if (p->mode == CUDA_REPEAT)
        return replay(p, turn->work[0], err);
    if (p->mode == CUDA_RECORD) {
        cuda_record_forget_turn(p, turn);
        cuda_record_begin(p);
    }
    return MOCO_OK;
}

static moco_status begin(struct be_program *p, struct cuda_turn *turn, const struct be_input *input,
                         const void *const from[BE_VIEWS], struct err *err)
{
    if (cuda_recorder(p->dev) != NULL)
        return err_set(err, MOCO_ESTATE, "%s: this thread is within a step of another program, which is recorded",
                       p->dev->name);
    moco_status status = start(p, turn, input, from, err);
    if (status != MOCO_OK)
        p->dev->cu->stream_sync(p->dev->loads); /* what the host may write from now on is not read any more */
    return status;
}

moco_status cuda_program_begin(struct be_program *p, const struct be_scalars *scalars, const struct be_input *input,
                               struct be_input *at, int *skip, struct err *err)
{
    struct cuda_turn *turn = turn_of(p);
    struct be_input placed = {.index = NULL};
    const void *from[BE_VIEWS] = {NULL};
    *skip = 0;
    if (p->phase != CUDA_IDLE)
        return err_set(err, MOCO_ESTATE, "a step of this program was begun and has not ended");
    if (p->over - p->told >= CUDA_BEHIND)
        return err_set(err, MOCO_ESTATE, "the outcomes of %d steps have not been fetched", CUDA_BEHIND);
    TRY(scalars_check_ranges(scalars, p->spec.range_count, p->spec.layout->count, err));
    if (input != NULL)
        TRY(check_input(p, input, err));
    TRY(cuda_wait(p->dev, turn->loaded, err)); /* of the step that had this turn before */
    fill_step(p, (struct cuda_step *)(void *)turn->given, scalars);
    p->given = (const struct cuda_step *)(const void *)turn->given;
    p->borrows = 0;
    if (input != NULL)
        fill_input(p, turn, input, &placed, from);
    CUDA_WITHIN(p->dev, begin(p, turn, input, from, err));
    p->phase = CUDA_WORK;
    p->part = 0;
    *skip = p->mode == CUDA_REPEAT;
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

/* Ends the recording of the part, if it is recorded. */
static void end_part(struct be_program *p)
{
    struct cuda_turn *turn = turn_of(p);
    if (p->recording && cuda_record_end(p, &turn->work[p->part]))
        turn->recorded = p->part + 1;
}

static moco_status next_part(struct be_program *p, struct err *err)
{
    int recording = p->recording;
    end_part(p);
    p->part++;
    if (p->mode == CUDA_REPEAT)
        return replay(p, turn_of(p)->work[p->part], err);
    if (recording && p->refused.status == MOCO_OK)
        cuda_record_begin(p);
    return MOCO_OK;
}

moco_status cuda_part(struct be_program *p, struct err *err)
{
    TRY(cuda_in_work(p, "part", err));
    TRY(scalars_check_part(&p->spec, p->part + 1, 0, err));
    CUDA_WITHIN(p->dev, next_part(p, err));
    return MOCO_OK;
}

static moco_status verdict(struct be_program *p, struct cuda_step *now, struct err *err)
{
    end_part(p);
    return cuda_fetch(p->dev, now, p->step, sizeof *now, err);
}

moco_status cuda_verdict(struct be_program *p, struct be_outcome *out, struct err *err)
{
    struct cuda_step now;
    TRY(cuda_in_work(p, "verdict", err));
    CUDA_WITHIN(p->dev, verdict(p, &now, err));
    *out = outcome_of(&now);
    return MOCO_OK;
}

/* What was recorded of the commit has no turn, so that the first recording serves all. */
static moco_status decide(struct be_program *p, be_cancel *cancel, uint32_t veto, int *skip, struct err *err)
{
    end_part(p);
    struct verdict_args args = {.step = p->step, .chain = p->chain, .veto = veto};
    cu_address flag = 0;
    if (cancel != NULL && p->dev->cu->host_address(&flag, (void *)(uintptr_t)cancel, 0) != CU_OK)
        return err_set(err, MOCO_EINVAL, "%s: the flag that decide is given was not made by cancel_alloc",
                       p->dev->name);
    args.cancel = (const volatile int32_t *)(uintptr_t)flag;
    TRY(cuda_launch(p->dev, CUDA_decide, 1, 1, 1, &args, err));
    *skip = p->commit != NULL;
    if (*skip)
        return replay(p, p->commit, err);
    if (p->mode == CUDA_RECORD && p->refused.status == MOCO_OK)
        cuda_record_begin(p);
    return MOCO_OK;
}

moco_status cuda_decide(struct be_program *p, be_cancel *cancel, uint32_t veto, int *skip, struct err *err)
{
    *skip = 0;
    TRY(cuda_in_work(p, "decide", err));
    TRY(scalars_check_part(&p->spec, p->part, 1, err));
    CUDA_WITHIN(p->dev, decide(p, cancel, veto, skip, err));
    p->phase = CUDA_COMMIT;
    return MOCO_OK;
}

static moco_status end(struct be_program *p, const struct cuda_turn *turn, struct err *err)
{
    struct verdict_args args = {.step = p->step, .chain = p->chain};
    if (p->recording)
        cuda_record_end(p, &p->commit);
    TRY(cuda_launch(p->dev, CUDA_step_end, 1, 1, 1, &args, err));
    TRY(cuda_said(p->dev, p->dev->cu->copy_out(turn->ended, cuda_at(p->step), sizeof *p->step, p->dev->stream),
                  "cuMemcpyDtoHAsync", err));
    return cuda_said(p->dev, p->dev->cu->event_record(turn->done, p->dev->stream), "cuEventRecord", err);
}

moco_status cuda_program_end(struct be_program *p, struct err *err)
{
    TRY(cuda_in_commit(p, "program_end", err));
    CUDA_WITHIN(p->dev, end(p, turn_of(p), err));
    if (p->borrows) /* from here on the views are the caller's again */
        TRY(cuda_wait(p->dev, turn_of(p)->loaded, err));
    p->phase = CUDA_IDLE;
    p->over++;
    p->warm = 1;
    return MOCO_OK;
}

/* The next step has this turn again: it overwrites what this one has found, and what it was given once that was read. */
void cuda_program_drop(struct be_program *p)
{
    struct cuda_turn *turn = turn_of(p);
    if (p->phase == CUDA_IDLE)
        return;
    cuda_enter_lost(p->dev);
    cuda_record_drop(p);
    if (p->borrows)
        p->dev->cu->stream_sync(p->dev->loads);
    if (p->mode == CUDA_RECORD) /* perhaps half the work */
        cuda_record_forget_turn(p, turn);
    p->dev->cu->event_record(turn->done, p->dev->stream);
    cuda_leave(p->dev);
    p->phase = CUDA_IDLE;
}

/* ---- outcomes ---- */

static moco_status look(struct be_program *p, const struct cuda_turn *turn, int *known, struct err *err)
{
    cu_result result = p->dev->cu->event_query(turn->done);
    if (result == CU_NOT_READY)
        return MOCO_OK;
    TRY(cuda_said(p->dev, result, "cuEventQuery", err));
    *known = 1;
    return MOCO_OK;
}

moco_status cuda_outcome(struct be_program *p, int wait, int *known, struct be_outcome *out, struct err *err)
{
    const struct cuda_turn *turn = &p->turn[p->told % CUDA_TURNS];
    *known = 0;
    if (p->told == p->over)
        return err_set(err, MOCO_ESTATE, "no step has ended whose outcome was not fetched");
    if (wait) {
        TRY(cuda_wait(p->dev, turn->done, err));
        *known = 1;
    } else {
        CUDA_WITHIN(p->dev, look(p, turn, known, err));
    }
    if (!*known)
        return MOCO_OK;
    *out = outcome_of(turn->ended);
    p->told++;
    if (!out->committed)
        p->failed_told++;
    return MOCO_OK;
}

int cuda_behind(const struct be_program *p)
{
    return (int)(p->over - p->told);
}
