/* SPDX-License-Identifier: MIT
 *
 * import_trainer: reads a training state of another program into fresh memory, which replaces the trainer's at the
 * end. What a reader would get wrong: an optimizer of PyTorch does not name its buffers. Number `id` of its state
 * belongs to the parameter whose position in its list is that of `id`. The query encoder's parameters come first, in
 * the order of ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "algo/import/import.h"
#include "algo/import/import_source.h"
#include "algo/reals.h"
#include "algo/trainer_fresh.h"

enum momentum_kind { MOMENTUM_NONE, MOMENTUM_BY_ORDER, MOMENTUM_BY_NAME };

struct state_source {
    struct trainer *t;
    struct names names;
    struct source query, key;
    enum momentum_kind momentum;
    int64_t queue, queue_ptr; /* numbers of tensors; -1: there is none */
    int views;                /* 1: the file's queue is [C,K]; 2: it is [2,C,K], with the keys of both views */
    struct fresh fresh;
    struct passage passage;
    unsigned char *used;
    moco_import_report *report;
};

/* ---- does it fit? ---- */

static moco_status check_network(const struct state_source *s, const struct net_config *file, struct err *err)
{
    const struct net_config *ours = &s->t->query->config;
    if (file->depth == ours->depth && net_channels(file->width) == net_channels(ours->width) &&
        file->head == ours->head && file->dim == ours->dim)
        return MOCO_OK;
    return err_set(
        err, MOCO_EFORMAT,
        "%.200s: it holds a %s of width %g with the head %s of %d numbers; the trainer's is a %s of width %g "
        "with the head %s of %d",
        weights_path(s->names.w), net_arch_name(file->depth), file->width, net_head_name(file->head), file->dim,
        net_arch_name(ours->depth), ours->width, net_head_name(ours->head), ours->dim);
}

static moco_status match_encoders(struct state_source *s, struct err *err)
{
    struct trainer *t = s->t;
    struct net_config config;
    moco_import_options o = {
        .stem = net_stem_name(t->query->config.stem), .take_head = MOCO_IMPORT_HEAD_TAKE, .image_size = 224};
    TRY(candidate_choose(&s->names, NULL, 0, &s->query.at, err));
    strcpy(s->report->prefix, s->query.at.prefix);
    TRY(source_network(&s->query, &o, &config, s->report, err));
    TRY(check_network(s, &config, err));
    TRY(source_match(&s->query, t->query, s->report, err));
    if (t->key == NULL)
        return MOCO_OK;
    TRY(candidate_partner(&s->names, &s->query.at, &s->key.at, err));
    head_find(&s->names, &s->key.at, &s->key.head);
    s->key.take_head = 1;
    return source_match(&s->key, t->key, s->report, err);
}

/* Finds the queue and compares its shape. A file without one is accepted: the trainer then keeps its own. */
static moco_status match_queue(struct state_source *s, struct err *err)
{
    const struct queue *queue = s->t->queue;
    struct weights_tensor q;
    s->queue = s->queue_ptr = -1;
    if (queue == NULL)
        return MOCO_OK;
    s->queue = beside_find(&s->names, &s->query.at, "queue");
    s->queue_ptr = beside_find(&s->names, &s->query.at, "queue_ptr");
    if (s->queue == -2 || s->queue_ptr == -2)
        return err_set(err, MOCO_EFORMAT, "%.200s: there are two queues in it, wrappers aside",
                       weights_path(s->names.w));
    if (s->queue < 0) {
        import_say(s->report, MOCO_IMPORT_MISSING, "there is no queue; it stays as it is");
        return MOCO_OK;
    }
    weights_at(s->names.w, s->queue, &q);
    s->views = q.ndim == 3 && q.shape[0] == 2 ? 2 : 1;
    int64_t dim = q.ndim == s->views + 1 ? q.shape[q.ndim - 2] : -1, length = q.ndim > 0 ? q.shape[q.ndim - 1] : -1;
    if (dim != queue->dim || (length != queue->length && !(s->views == 2 && 2 * length == queue->length)))
        return err_set(err, MOCO_EFORMAT,
                       "%.160s: %.60s has %d dimensions, the last two %lld and %lld; the trainer's queue has [%d,%lld]",
                       weights_path(s->names.w), q.name, q.ndim, (long long)dim, (long long)length, queue->dim,
                       (long long)queue->length);
    if (s->queue_ptr < 0)
        import_say(s->report, MOCO_IMPORT_MISSING, "there is no queue_ptr; it is 0");
    return MOCO_OK;
}

/* ---- momentum ---- */

static const char *const optimizers[] = {"optimizer", "optimizer_states.0"};

/* Finds the momentum buffer of parameter `i`. -1: there is none. */
static int64_t momentum_tensor(const struct state_source *s, enum momentum_kind kind, const char *optimizer, int i)
{
    char name[IMPORT_NAME], id[32];
    if (kind == MOMENTUM_BY_NAME) {
        snprintf(name, sizeof name, "momentum.encoder_q.%s", s->t->graph->params[i].name);
        return beside_find(&s->names, &s->query.at, name);
    }
    snprintf(name, sizeof name, "%s.param_groups.0.params.%d", optimizer, i);
    if (weights_text(s->names.w, name, id, sizeof id, NULL) != MOCO_OK)
        snprintf(id, sizeof id, "%d", i); /* the file has no such lists; torch has counted parameters so since 1.5 */
    snprintf(name, sizeof name, "%s.state.%s.momentum_buffer", optimizer, id);
    return names_find(&s->names, name);
}

/* Tells whether every parameter has a buffer of its shape. *some is set if at least one has a buffer. */
static int momentum_fits(const struct state_source *s, enum momentum_kind kind, const char *optimizer, int *some)
{
    const struct graph *g = s->t->graph;
    int fits = 1;
    for (int i = 0; i < g->param_count; i++) {
        struct weights_tensor m;
        const struct graph_param *p = &g->params[i];
        int64_t at = momentum_tensor(s, kind, optimizer, i);
        if (at < 0) {
            fits = 0;
            continue;
        }
        *some = 1;
        weights_at(s->names.w, at, &m);
        fits &= m.ndim == p->ndim && memcmp(m.shape, p->shape, (size_t)p->ndim * sizeof p->shape[0]) == 0;
    }
    return fits;
}

/* Tells whether the optimizer has a second group: the order of its parameters is then not that of the encoder's. */
static int more_groups(const struct state_source *s, const char *optimizer)
{
    char name[IMPORT_NAME], id[32];
    snprintf(name, sizeof name, "%s.param_groups.1.params.0", optimizer);
    return weights_text(s->names.w, name, id, sizeof id, NULL) == MOCO_OK;
}

/* Finds the optimizer that holds the momentum. NULL: there is none, and the report says why momentum starts at 0. */
static const char *find_momentum(struct state_source *s)
{
    int some = 0;
    const char *found = NULL;
    s->momentum = MOMENTUM_NONE;
    if (s->t->o.optimizer != MOCO_OPTIMIZER_SGD) {
        import_say(s->report, MOCO_IMPORT_NOTE, "momentum starts at 0: that of other programs is of SGD");
        return NULL;
    }
    if (momentum_fits(s, MOMENTUM_BY_NAME, "", &some)) {
        s->momentum = MOMENTUM_BY_NAME;
        return "";
    }
    for (size_t i = 0; i < sizeof optimizers / sizeof optimizers[0] && found == NULL; i++)
        if (momentum_fits(s, MOMENTUM_BY_ORDER, optimizers[i], &some) && !more_groups(s, optimizers[i]))
            found = optimizers[i];
    if (found != NULL)
        s->momentum = MOMENTUM_BY_ORDER;
    else if (some)
        import_say(s->report, MOCO_IMPORT_MISMATCHED,
                   "the optimizer's buffers are not in the order of the encoder's parameters; momentum starts at 0");
    else
        import_say(s->report, MOCO_IMPORT_MISSING, "there is no momentum; it starts at 0");
    return found;
}

static moco_status read_momentum(struct state_source *s, const char *optimizer, struct err *err)
{
    const struct trainer *t = s->t;
    char became[ENCODER_NAME + 32];
    for (int i = 0; i < t->graph->param_count && s->momentum != MOMENTUM_NONE; i++) {
        int64_t at = momentum_tensor(s, s->momentum, optimizer, i);
        snprintf(became, sizeof became, "momentum.encoder_q.%s", t->graph->params[i].name);
        TRY(source_numbers(&s->names, at, t->real_bytes, became, s->passage.room, s->passage.size, s->report, err));
        TRY(fresh_set_momentum(&s->fresh, i, s->passage.room, s->passage.size, err));
        s->used[at] = 1;
    }
    return MOCO_OK;
}

/* ---- the queue ---- */

/* Turns a queue [2,C,K] into [C,2 K]. Keys of one age are put side by side, so that the oldest are replaced first. */
static moco_status read_both_views(struct state_source *s, struct err *err)
{
    const struct trainer *t = s->t;
    int64_t length = t->queue->length / 2, dim = t->queue->dim;
    size_t size = s->passage.size;
    void *rows = mem_array(t->ctx, (size_t)(2 * length * dim), size, err);
    if (rows == NULL)
        return MOCO_ENOMEM;
    for (int64_t v = 0; v < 2; v++)
        for (int64_t c = 0; c < dim; c++)
            for (int64_t p = 0; p < length; p++)
                real_put(rows, size, (size_t)(c * 2 * length + 2 * p + v),
                         real_at(s->passage.room, size, (size_t)((v * dim + c) * length + p)));
    moco_status status = queue_set(t->queue, &s->fresh.rows, rows, size, err);
    mem_free(t->ctx, rows);
    return status;
}

static moco_status read_queue_ptr(struct state_source *s, int64_t length, struct err *err)
{
    struct weights_tensor p;
    double value = 0;
    if (s->queue_ptr >= 0) {
        weights_at(s->names.w, s->queue_ptr, &p);
        if (p.count != 1)
            return err_set(err, MOCO_EFORMAT, "%.200s: %.100s has %lld numbers; it must have 1",
                           weights_path(s->names.w), p.name, (long long)p.count);
        TRY(source_numbers(&s->names, s->queue_ptr, sizeof(double), "queue_ptr", &value, sizeof value, s->report, err));
        if (!(value >= 0 && value < (double)length) || value != (double)(int64_t)value)
            return err_set(err, MOCO_EFORMAT, "%.200s: %.100s is outside the queue of %lld keys",
                           weights_path(s->names.w), p.name, (long long)length);
        s->used[s->queue_ptr] = 1;
    }
    s->fresh.next = (int64_t)value * (s->t->queue->length / length);
    return MOCO_OK;
}

/* Fills the fresh queue: from the file, or from the trainer's own if the file has none. */
static moco_status read_queue(struct state_source *s, struct err *err)
{
    struct trainer *t = s->t;
    struct weights_tensor q;
    if (t->queue == NULL)
        return MOCO_OK;
    if (s->queue < 0) {
        s->fresh.next = t->queue->next;
        s->fresh.filled = t->queue->filled;
        return t->be->copy(t->dev, s->fresh.rows.at, t->queue->rows.at, t->queue->rows.bytes, err);
    }
    weights_at(s->names.w, s->queue, &q);
    TRY(source_numbers(&s->names, s->queue, t->real_bytes, "queue", s->passage.room, s->passage.size, s->report, err));
    s->used[s->queue] = 1;
    s->fresh.filled = t->queue->length;
    int64_t length = q.shape[q.ndim - 1];
    TRY(read_queue_ptr(s, length, err));
    if (length != t->queue->length)
        return read_both_views(s, err);
    if (s->views == 2)
        import_say(s->report, MOCO_IMPORT_NOTE, "%.300s has keys of two views; those of the first are taken", q.name);
    return queue_set(t->queue, &s->fresh.rows, s->passage.room, s->passage.size, err);
}

/* ---- counters ---- */

static void read_counters(struct state_source *s)
{
    char text[32], *end;
    struct fresh *f = &s->fresh;
    f->step = f->query.tracked[0] / s->t->directions;
    f->position = 0;
    if (weights_text(s->names.w, "epoch", text, sizeof text, NULL) == MOCO_OK) {
        long long epoch = strtoll(text, &end, 10);
        f->epoch = *end == 0 && end != text && epoch >= 0 && epoch < INT64_MAX / 2 ? epoch : 0;
        import_say(s->report, MOCO_IMPORT_NOTE, "it goes on behind step %lld, with epoch %lld (counted from 0)",
                   (long long)f->step, (long long)f->epoch);
    } else {
        import_say(s->report, MOCO_IMPORT_MISSING, "there is no epoch; it goes on behind step %lld, with epoch 0",
                   (long long)f->step);
    }
}

/* ---- all of it ---- */

/* Reads everything into fresh memory. The trainer itself is not changed before the last number was found good. */
static moco_status read_all(struct state_source *s, struct err *err)
{
    struct trainer *t = s->t;
    struct weights_tensor q = {.count = t->queue != NULL ? t->queue->dim * t->queue->length : 0};
    const char *optimizer = find_momentum(s);
    int64_t largest = source_largest(t->query);
    if (s->queue >= 0)
        weights_at(s->names.w, s->queue, &q);
    largest = q.count > largest ? q.count : largest;
    s->used = mem_array(t->ctx, (size_t)s->names.count, 1, err);
    if (s->used == NULL)
        return MOCO_ENOMEM;
    TRY(passage_make(&s->passage, &s->names, t->real_bytes, largest, err));
    TRY(t->be->ready(t->dev, err));
    TRY(fresh_alloc(&s->fresh, err));
    TRY(source_read(&s->query, t->query, &s->fresh.query, &s->passage, s->used, "encoder_q.", s->report, err));
    if (t->key != NULL)
        TRY(source_read(&s->key, t->key, &s->fresh.key, &s->passage, s->used, "encoder_k.", s->report, err));
    TRY(read_queue(s, err));
    TRY(read_momentum(s, optimizer, err));
    read_counters(s);
    return fresh_finish(&s->fresh, err);
}

moco_status import_trainer(struct trainer *t, struct weights *w, moco_import_report *report, struct err *err)
{
    struct state_source s = {.t = t, .fresh = {.trainer = t}, .report = report};
    moco_status status;
    s.query.names = s.key.names = &s.names;
    TRY_GOTO(status, names_open(&s.names, t->ctx, w, err), done);
    TRY_GOTO(status, match_encoders(&s, err), done);
    TRY_GOTO(status, match_queue(&s, err), done);
    TRY_GOTO(status, read_all(&s, err), done);
    source_unused(&s.names, s.used, report);
    encoder_lock(t->query);
    fresh_adopt(&s.fresh);
    encoder_unlock(t->query);
done:
    fresh_free(&s.fresh);
    mem_free(t->ctx, s.passage.room);
    mem_free(t->ctx, s.used);
    mem_free(t->ctx, s.key.tensor);
    mem_free(t->ctx, s.query.tensor);
    names_close(&s.names);
    return status;
}
