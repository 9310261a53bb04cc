/* SPDX-License-Identifier: MIT
 *
 * trainer_ranks: see trainer_ranks.h. Gradients are summed in buckets, which are runs of parameters from the slab's end:
 * backward makes those final first. Each is summed in place as soon as it is, while others are still computed; buckets
 * get smaller towards the front, since nothing is left to compute beside the last of them. What a reader would get
 * wrong: buckets start in one order on all ranks, so one that is final early waits for those before it. And a device
 * that is behind its caller has not computed yet what is exchanged: it is begun behind an event of the device's queue.
 * There a part of the step's work ends, so that a device that repeats the step does what it is given here and nothing
 * beyond; then nobody calls ranks_gradient, and ranks_sum begins all buckets, each behind the part that it was begun
 * behind when the step was recorded. */
#include "algo/trainer_ranks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "algo/file_config.h"
#include "backend/fallback.h"
#include "hash.h"

#define AS_TEXT(x) #x
#define DOTTED(major, minor, patch) AS_TEXT(major) "." AS_TEXT(minor) "." AS_TEXT(patch)
#define VERSION DOTTED(MOCO_VERSION_MAJOR, MOCO_VERSION_MINOR, MOCO_VERSION_PATCH)
#define BUCKET_LEAST 1e6 /* bytes: below it an exchange takes its time whatever its size */
#define TEXT 4096
#define PIECE ((size_t)1 << 16) /* bytes of the state that are looked at at once */

/* What a rank says before a step. */
struct greeting {
    struct comm_ballot ballot;
    int64_t step, epoch, position, queue_next;
    double lr, grad_norm;        /* of this step; of the last one, which all ranks should have had alike */
    char state[HASH_DIGITS + 8]; /* what the state was when it was last written to from outside */
};

/* And before the commit. Behind it: mean and sum of squared deviations of each column of its queries. */
struct result {
    struct comm_ballot ballot;
    double loss, top1, top5, pos, neg;
};

struct bucket {
    size_t at, reals;
    int params;
};

struct ranks {
    struct greeting *greetings; /* [ranks] */
    char *results;              /* [ranks] of result_bytes */
    size_t result_bytes;
    void *queries; /* host reals [directions][share][dim] */
    char *piece;   /* of the state */
    char state[HASH_DIGITS + 8];
    uint64_t queue_touched;
    int looked;

    enum { APART, GREETED, OWING } phase;
    int64_t ticket;   /* of the last exchange that was begun */
    moco_status lost; /* of an exchange that was begun in backward */
    struct err why;
    struct err failed; /* status not MOCO_OK: a part could not be begun */

    int buckets, next;     /* of them; the one that is summed next */
    struct bucket *bucket; /* in the order of their sums */
    int *left;             /* [buckets] parameters that are not final yet */
    int *bucket_of;        /* [parameters] */
};

/* ---- exchanges of the device's memory ---- */

/* Behind what the device has been given. A device that is lost marks nothing: the others are owed the exchange all the
 * same, and are told afterwards. */
static void *behind(const struct trainer *t)
{
    void *event = NULL;
    return backend_mark(t->be, t->dev, &event, NULL) == MOCO_OK ? event : NULL;
}

static moco_status gather_bytes(struct trainer *t, void *blocks, size_t each, void *event, int64_t *ticket,
                                struct err *err)
{
    return t->own_memory ? comm_device_gather(t->comm, blocks, each, event, ticket, err)
                         : comm_gather(t->comm, blocks, each, ticket, err);
}

static moco_status sum_reals(struct trainer *t, void *reals, size_t count, void *event, int64_t *ticket,
                             struct err *err)
{
    moco_dtype real = t->real_bytes == sizeof(double) ? MOCO_F64 : MOCO_F32;
    return t->own_memory ? comm_device_sum(t->comm, reals, count, real, event, ticket, err)
                         : comm_sum(t->comm, reals, count, real, ticket, err);
}

/* ---- parts of a step ---- */

/* What an exchange begins behind: of keys, of each bucket, of statistics. The first queries, beside that of keys. Nothing,
 * while keys and while sums are waited for. What is looked at. */
int ranks_parts(const struct trainer *t)
{
    return t->ranks == 1 ? 1 : 1 + t->others->buckets + 1 + 1 + 2 + 1;
}

/* Where an exchange begins, and before and behind the wait for one. What a rank has failed in is dropped: it owes the
 * others exchanges, and its device nothing more. */
static void next_part(struct trainer *t, moco_status mine)
{
    if (mine == MOCO_OK && t->others->failed.status == MOCO_OK)
        t->be->part(t->program, &t->others->failed);
}

/* `mine`, or how a part has failed. */
static moco_status fared(const struct trainer *t, moco_status mine, struct err *err)
{
    const struct err *failed = &t->others->failed;
    return mine != MOCO_OK || failed->status == MOCO_OK ? mine : err_set(err, failed->status, "%s", failed->text);
}

/* The device's memory is exchanged behind all that it was given; the part ends there. */
static void *end_part(struct trainer *t, moco_status mine)
{
    void *event = t->own_memory ? behind(t) : NULL;
    next_part(t, mine);
    return event;
}

/* ---- making ---- */

static void cut_buckets(const struct trainer *t, struct ranks *o)
{
    double largest = comm_bucket_bytes(t->comm), least = largest < BUCKET_LEAST ? largest : BUCKET_LEAST;
    size_t end = t->be->layout_bytes(t->layout);
    for (int param = t->graph->param_count; param > 0;) {
        struct bucket *b = &o->bucket[o->buckets];
        double half = (double)end / 2, wanted = half < largest ? half : largest;
        do {
            o->bucket_of[--param] = o->buckets;
            b->at = t->be->param_at(t->layout, param);
            b->params++;
        } while (param > 0 && (double)(end - b->at) < (wanted > least ? wanted : least));
        if (param == 0)
            b->at = 0;
        b->reals = (end - b->at) / t->real_bytes;
        end = b->at;
        o->buckets++;
    }
}

moco_status ranks_create(struct trainer *t, struct err *err)
{
    size_t ranks = (size_t)t->ranks, params = (size_t)t->graph->param_count;
    if (t->ranks == 1)
        return MOCO_OK;
    struct ranks *o = t->others = mem_zalloc(t->ctx, sizeof *o, err);
    if (o == NULL)
        return MOCO_ENOMEM;
    o->result_bytes = sizeof(struct result) + 2 * (size_t)t->dim * sizeof(double);
    o->greetings = mem_array(t->ctx, ranks, sizeof *o->greetings, err);
    o->results = mem_array(t->ctx, ranks, o->result_bytes, err);
    o->queries = mem_array(t->ctx, (size_t)t->directions * (size_t)t->share, step_row(t), err);
    o->piece = mem_alloc(t->ctx, PIECE, err);
    o->bucket = mem_array(t->ctx, params, sizeof *o->bucket, err);
    o->left = mem_array(t->ctx, params, sizeof *o->left, err);
    o->bucket_of = mem_array(t->ctx, params, sizeof *o->bucket_of, err);
    if (o->greetings == NULL || o->results == NULL || o->queries == NULL || o->piece == NULL || o->bucket == NULL ||
        o->left == NULL || o->bucket_of == NULL)
        return MOCO_ENOMEM;
    cut_buckets(t, o);
    return MOCO_OK;
}

void ranks_free(struct trainer *t, int kept)
{
    struct ranks *o = t->others;
    if (o == NULL)
        return;
    if (!kept) {
        mem_free(t->ctx, o->greetings);
        mem_free(t->ctx, o->results);
    }
    mem_free(t->ctx, o->queries);
    mem_free(t->ctx, o->piece);
    mem_free(t->ctx, o->bucket);
    mem_free(t->ctx, o->left);
    mem_free(t->ctx, o->bucket_of);
    mem_free(t->ctx, o);
}

/* ---- joining ---- */

static moco_status describe(const struct trainer *t, struct safetensors_metadata *m, struct err *err)
{
    struct be_info info;
    t->be->info(t->dev, &info);
    TRY(safetensors_metadata_add(m, "libmoco", VERSION, err)); /* first: others may have other keys */
    TRY(safetensors_metadata_add(m, "device", t->be->name, err));
    TRY(safetensors_metadata_add(m, "instruction set", info.isa, err)); /* it decides where weights are in a slab */
    TRY(config_put_model(m, &t->query->config, err));
    TRY(config_put_trainer(m, &t->o, t->queue_length, t->real_bytes, err));
    TRY(safetensors_metadata_add_double(m, "bucket_bytes", comm_bucket_bytes(t->comm), err));
    return safetensors_metadata_add_int(m, "bytes of all weights", (int64_t)t->be->layout_bytes(t->layout), err);
}

/* What does not say how a training goes on: weights may come from a file. */
static int is_told(const char *key)
{
    return strcmp(key, "model.seed") != 0 && strcmp(key, "model.image_size") != 0;
}

/* "key\nvalue\n" ... */
static moco_status write_text(const struct trainer *t, char *text, struct err *err)
{
    struct safetensors_metadata m;
    size_t at = 0;
    safetensors_metadata_init(&m, t->ctx);
    moco_status status = describe(t, &m, err);
    for (int64_t i = 0; status == MOCO_OK && i < m.count && at < TEXT; i++)
        if (is_told(m.items[i].key))
            at += (size_t)snprintf(text + at, TEXT - at, "%s\n%s\n", m.items[i].key, m.items[i].value);
    safetensors_metadata_free(&m);
    return status;
}

/* The first line of two texts of one form that differs, and the key before it. */
static moco_status compare_texts(const char *a, const char *b, int rank, struct err *err)
{
    const char *key = a;
    for (int line = 0; *a != 0 || *b != 0; line++) {
        int na = (int)strcspn(a, "\n"), nb = (int)strcspn(b, "\n");
        if (na != nb || memcmp(a, b, (size_t)na) != 0)
            return err_set(err, MOCO_EINVAL,
                           "ranks of one training must be made alike: %.*s is %.*s on rank 0 and %.*s on rank %d",
                           (int)strcspn(key, "\n"), key, na, a, nb, b, rank);
        if (line % 2 == 1 && a[na] != 0)
            key = a + na + 1;
        a += na + (a[na] != 0);
        b += nb + (b[nb] != 0);
    }
    return MOCO_OK;
}

/* What a rank says of how its device reaches others. */
struct invitation {
    struct comm_ballot ballot;
    char library[BE_LIBRARY];
    uint8_t id[MOCO_COMM_ID_BYTES]; /* of rank 0 */
};

/* All ranks find the same in these. */
static moco_status compare_invitations(const struct trainer *t, const struct invitation *all, struct err *err)
{
    TRY(comm_count(t->comm, all, sizeof *all, err));
    for (int r = 1; r < t->ranks; r++)
        if (strcmp(all[0].library, all[r].library) != 0)
            return err_set(err, MOCO_EINVAL, "ranks of one training must be made alike: rank 0 has %s, rank %d has %s",
                           all[0].library, r, all[r].library);
    return MOCO_OK;
}

static moco_status invite(struct trainer *t, struct invitation *all, struct err *err)
{
    int64_t ticket;
    struct err why = {0};
    struct invitation *mine = &all[t->rank];
    moco_status status = backend_ranks_id(t->be, t->dev, t->rank == 0 ? mine->id : NULL, mine->library, &why);
    comm_fill(&mine->ballot, status, &why);
    TRY(comm_gather(t->comm, all, sizeof *all, &ticket, err));
    TRY(comm_wait(t->comm, ticket, err));
    return compare_invitations(t, all, err);
}

/* The first exchange of device memory is one of zeros: what cannot be joined is found here, and not in a step. */
static moco_status try_devices(struct trainer *t, struct err *err)
{
    int64_t ticket;
    TRY(sum_reals(t, step_stage(t, STAGE_QUERY, 0), (size_t)t->graph->stat_total, behind(t), &ticket, err));
    return comm_wait(t->comm, ticket, err);
}

/* Memory that is the device's own is exchanged by the device's own means, if the comm has none: rank 0 makes an id, and
 * all join by it. All ranks are made alike, so that they do the same here. */
static moco_status join_devices(struct trainer *t, struct err *err)
{
    moco_comm_engine link;
    if (!t->own_memory || comm_reaches_devices(t->comm))
        return MOCO_OK;
    struct invitation *all = mem_array(t->ctx, (size_t)t->ranks, sizeof *all, err);
    if (all == NULL) /* the others wait for an invitation; a vote has another size */
        return comm_cancel(t->comm), MOCO_ENOMEM;
    moco_status status = invite(t, all, err);
    if (status == MOCO_OK) {
        status = backend_ranks_open(t->be, t->dev, all[0].id, t->rank, t->ranks, &link, err);
        if (status == MOCO_OK)
            comm_link(t->comm, &link, t->dev);
        status = comm_vote(t->comm, status, err);
        if (status == MOCO_OK)
            status = try_devices(t, err);
    }
    if (!comm_written_to(t->comm))
        mem_free(t->ctx, all);
    return status;
}

/* A comm of one device carries the memory of no other. */
static moco_status check_device(const struct trainer *t, moco_status mine, struct err *err)
{
    const void *of = comm_device(t->comm);
    if (mine != MOCO_OK || !t->own_memory || of == NULL || of == t->dev)
        return mine;
    return err_set(err, MOCO_EINVAL, "the comm exchanges the memory of another device than the model's");
}

moco_status ranks_join(struct trainer *t, moco_status mine, struct err *err)
{
    int64_t ticket;
    if (t->ranks == 1)
        return mine;
    mine = check_device(t, mine, err);
    struct err late = {0}, *reason = mine == MOCO_OK ? err : &late;
    char *texts = mem_array(t->ctx, (size_t)t->ranks, TEXT, reason);
    if (texts == NULL) /* the others learn of it here, where they expect a text; a vote has another size */
        return comm_cancel(t->comm), mine != MOCO_OK ? mine : MOCO_ENOMEM;
    if (mine == MOCO_OK)
        mine = write_text(t, texts + (size_t)t->rank * TEXT, err);
    moco_status lost = comm_gather(t->comm, texts, TEXT, &ticket, &late);
    if (lost == MOCO_OK)
        lost = comm_wait(t->comm, ticket, &late);
    if (lost == MOCO_OK)
        mine = comm_vote(t->comm, mine, err);
    for (int r = 1; lost == MOCO_OK && mine == MOCO_OK && r < t->ranks; r++)
        mine = compare_texts(texts, texts + (size_t)r * TEXT, r, err);
    if (lost == MOCO_OK && mine == MOCO_OK)
        mine = join_devices(t, err);
    if (lost == MOCO_OK || !comm_written_to(t->comm))
        mem_free(t->ctx, texts);
    return mine != MOCO_OK || lost == MOCO_OK ? mine : err_set(err, lost, "%s", late.text);
}

/* ---- the state ---- */

static moco_status add_memory(const struct trainer *t, struct hash *hash, const struct be_memory *memory,
                              struct err *err)
{
    for (size_t at = 0; at < memory->bytes; at += PIECE) {
        size_t bytes = memory->bytes - at < PIECE ? memory->bytes - at : PIECE;
        TRY(t->be->read(t->dev, t->others->piece, (const char *)memory->at + at, bytes, err));
        hash_add(hash, t->others->piece, bytes);
    }
    return MOCO_OK;
}

static moco_status add_encoder(const struct trainer *t, struct hash *hash, const struct encoder *encoder,
                               struct err *err)
{
    TRY(add_memory(t, hash, &encoder->numbers.masters, err));
    hash_add(hash, encoder->numbers.tracked, (size_t)t->graph->stat_count * sizeof *encoder->numbers.tracked);
    return add_memory(t, hash, &encoder->numbers.stats, err);
}

moco_status ranks_look(struct trainer *t, struct err *err)
{
    struct hash hash;
    if (t->ranks == 1)
        return MOCO_OK;
    t->others->looked = 0;
    hash_start(&hash);
    TRY(add_encoder(t, &hash, t->query, err));
    if (t->key != NULL)
        TRY(add_encoder(t, &hash, t->key, err));
    TRY(add_memory(t, &hash, &t->momentum, err));
    hash_add(&hash, &t->scale, sizeof t->scale);
    if (t->queue != NULL) {
        TRY(add_memory(t, &hash, &t->queue->rows, err));
        hash_add(&hash, &t->queue->filled, sizeof t->queue->filled);
        t->others->queue_touched = t->queue->touched;
    }
    hash_text(&hash, t->others->state);
    t->others->looked = 1;
    return MOCO_OK;
}

int ranks_have_looked(const struct trainer *t)
{
    return t->ranks == 1 || (t->others->looked && (t->queue == NULL || t->others->queue_touched == t->queue->touched));
}

/* ---- greeting ---- */

/* `why` an exchange was lost, with what a step was at. What this rank met before that is the reason if there is one. */
static moco_status lost(const struct trainer *t, const char *phase, moco_status mine, moco_status status,
                        const struct err *why, struct err *err)
{
    if (mine != MOCO_OK || status == MOCO_OK)
        return mine;
    return err_set(err, status, "in the exchange of %s of step %lld, %s", phase, (long long)t->step, why->text);
}

/* Behind `event`. */
static moco_status begin_keys(struct trainer *t, void *event, struct err *err)
{
    size_t each = (size_t)(t->shared ? 2 : 1) * (size_t)t->share * step_row(t);
    for (int d = 0; d < t->directions; d++)
        TRY(gather_bytes(t, rows_exchange(t, d, 0), each, event, &t->others->ticket, err));
    return MOCO_OK;
}

moco_status ranks_greet(struct trainer *t, const struct step *step, moco_status mine, struct err *err)
{
    struct ranks *o = t->others;
    struct err late = {0};
    if (t->ranks == 1)
        return mine;
    struct greeting *g = &o->greetings[t->rank];
    memset(g, 0, sizeof *g);
    comm_fill(&g->ballot, mine, err);
    g->step = t->step;
    g->epoch = step->batch != NULL ? step->batch->epoch : 0;
    g->position = step->batch != NULL ? step->batch->position : 0;
    g->queue_next = t->queue != NULL ? t->queue->next : 0;
    g->lr = step->lr;
    g->grad_norm = t->reported ? t->report.grad_norm : 0;
    memcpy(g->state, o->state, sizeof g->state);
    o->phase = GREETED;
    o->lost = MOCO_OK;
    o->why = o->failed = (struct err){0};
    o->next = 0;
    for (int b = 0; b < o->buckets; b++)
        o->left[b] = o->bucket[b].params;
    void *event = end_part(t, mine); /* nothing is recorded while ranks meet */
    moco_status status = comm_gather(t->comm, o->greetings, sizeof *g, &o->ticket, &late);
    if (status == MOCO_OK)
        status = begin_keys(t, event, &late);
    return lost(t, "keys", fared(t, mine, err), status, &late, err);
}

/* All ranks have these greetings, and find the same. */
static moco_status compare(const struct trainer *t, struct err *err)
{
    const struct greeting *a = t->others->greetings;
    for (int r = 1; r < t->ranks; r++) {
        const struct greeting *b = &a[r];
        if (a->step != b->step)
            return err_set(err, MOCO_ESTATE, "ranks are not at one step: rank 0 has committed %lld, rank %d %lld",
                           (long long)a->step, r, (long long)b->step);
        if (a->epoch != b->epoch || a->position != b->position)
            return err_set(err, MOCO_ESTATE,
                           "ranks bring different batches: rank 0 one of epoch %lld that ends at %lld, rank %d one of "
                           "epoch %lld that ends at %lld",
                           (long long)a->epoch, (long long)a->position, r, (long long)b->epoch, (long long)b->position);
        if (memcmp(&a->lr, &b->lr, sizeof a->lr) != 0)
            return err_set(err, MOCO_ESTATE, "ranks step with different rates: rank 0 with %g, rank %d with %g", a->lr,
                           r, b->lr);
        if (memcmp(a->state, b->state, sizeof a->state) != 0 || a->queue_next != b->queue_next ||
            memcmp(&a->grad_norm, &b->grad_norm, sizeof a->grad_norm) != 0)
            return err_set(err, MOCO_ESTATE,
                           "ranks hold different states: weights, momentum, statistics or queue of rank %d are not "
                           "those of rank 0; load one checkpoint on all ranks",
                           r);
    }
    return MOCO_OK;
}

/* Of all ranks, in the order of samples. */
static moco_status place_keys(struct trainer *t, const struct step *step, struct err *err)
{
    int batch = t->o.batch_size;
    if (t->shared)
        return t->be->scatter(t->program, step_at(t, t->at.keys), rows_exchange(t, 0, 0), rows_of_all_pairs(t, step),
                              2 * batch, t->dim, err);
    for (int d = 0; d < t->directions; d++)
        TRY(t->be->scatter(t->program, rows_keys(t, d), rows_exchange(t, d, 0), rows_of_all_keys(t, step, d), batch,
                           t->dim, err));
    return MOCO_OK;
}

moco_status ranks_meet(struct trainer *t, const struct step *step, moco_status mine, struct err *err)
{
    struct ranks *o = t->others;
    struct err late = {0};
    if (t->ranks == 1 || o->phase != GREETED)
        return mine;
    o->phase = APART;
    next_part(t, mine);
    moco_status status = comm_wait(t->comm, o->ticket, &late);
    if (status != MOCO_OK)
        return lost(t, "keys", fared(t, mine, err), status, &late, err);
    TRY(comm_count(t->comm, o->greetings, sizeof *o->greetings, err));
    TRY(compare(t, err));
    o->phase = OWING;
    next_part(t, mine);
    mine = fared(t, mine, err);
    return mine != MOCO_OK || step->skip ? mine : place_keys(t, step, err);
}

/* ---- sums ---- */

static void begin_sum(struct trainer *t, moco_status mine, void *reals, size_t count)
{
    struct ranks *o = t->others;
    if (o->lost != MOCO_OK)
        return;
    void *event = end_part(t, mine);
    o->lost = sum_reals(t, reals, count, event, &o->ticket, &o->why);
}

static void sum_bucket(struct trainer *t, moco_status mine)
{
    const struct bucket *b = &t->others->bucket[t->others->next++];
    begin_sum(t, mine, (char *)t->gradients.at + b->at, b->reals);
}

void ranks_gradient(void *user, int first, int count)
{
    struct trainer *t = user;
    struct ranks *o = t->others;
    for (int i = first; i < first + count; i++)
        o->left[o->bucket_of[i]]--;
    while (o->next < o->buckets && o->left[o->next] == 0)
        sum_bucket(t, MOCO_OK);
}

moco_status ranks_sum(struct trainer *t, const struct step *step, moco_status mine, struct err *err)
{
    struct ranks *o = t->others;
    if (t->ranks == 1)
        return mine;
    mine = ranks_meet(t, step, mine, err);
    if (o->phase != OWING)
        return mine;
    while (o->next < o->buckets)
        sum_bucket(t, mine);
    size_t reals = (size_t)t->encoders * (size_t)t->directions * (size_t)t->graph->stat_total;
    begin_sum(t, mine, step_stage(t, STAGE_QUERY, 0), reals);
    if (o->lost == MOCO_OK)
        o->lost = comm_wait(t->comm, o->ticket, &o->why);
    if (o->lost == MOCO_OK)
        next_part(t, mine);
    else
        o->phase = APART;
    return lost(t, "gradients", fared(t, mine, err), o->lost, &o->why, err);
}

/* ---- agreeing ---- */

static double *moments_at(const struct trainer *t, int rank)
{
    return (double *)(void *)(t->others->results + (size_t)rank * t->others->result_bytes + sizeof(struct result));
}

static double real_at(const struct trainer *t, size_t i)
{
    const void *reals = t->others->queries;
    return t->real_bytes == sizeof(double) ? ((const double *)reals)[i] : (double)((const float *)reals)[i];
}

/* Mean and sum of squared deviations of each column of this rank's queries, in two passes. */
static moco_status measure_queries(struct trainer *t, struct err *err)
{
    size_t rows = (size_t)t->directions * (size_t)t->share, dim = (size_t)t->dim;
    double *mean = moments_at(t, t->rank), *squares = mean + dim;
    TRY(t->be->read(t->dev, t->others->queries, rows_queries(t, 0, 0), rows * step_row(t), err));
    for (size_t c = 0; c < dim; c++) {
        double sum = 0, off = 0;
        for (size_t i = 0; i < rows; i++)
            sum += real_at(t, i * dim + c);
        mean[c] = sum / (double)rows;
        for (size_t i = 0; i < rows; i++)
            off += (real_at(t, i * dim + c) - mean[c]) * (real_at(t, i * dim + c) - mean[c]);
        squares[c] = off;
    }
    return MOCO_OK;
}

/* The standard deviation over all ranks' rows, from theirs, in the order of ranks. */
static double merged_std(const struct trainer *t)
{
    double total = 0, rows = (double)t->directions * t->share;
    for (int c = 0; c < t->dim; c++) {
        double mean = 0, squares = 0;
        for (int r = 0; r < t->ranks; r++) {
            double off = moments_at(t, r)[c] - mean;
            mean += off / (r + 1);
            squares += moments_at(t, r)[t->dim + c] + off * off * rows * r / (r + 1);
        }
        total += sqrt(squares / (rows * t->ranks));
    }
    return total / t->dim;
}

static void merge(const struct trainer *t, struct be_outcome *found)
{
    found->loss = found->top1 = found->top5 = found->pos = found->neg = 0;
    for (int r = 0; r < t->ranks; r++) {
        const struct result *one = (const void *)(t->others->results + (size_t)r * t->others->result_bytes);
        found->loss += one->loss;
        found->top1 += one->top1;
        found->top5 += one->top5;
        found->pos += one->pos;
        found->neg += one->neg;
    }
    found->feature_std = merged_std(t);
}

moco_status ranks_agree(struct trainer *t, moco_status mine, struct be_outcome *found, struct err *err)
{
    struct ranks *o = t->others;
    struct err late = {0};
    if (t->ranks == 1 || o->phase != OWING)
        return mine;
    o->phase = APART;
    struct result *r = (void *)(o->results + (size_t)t->rank * o->result_bytes);
    memset(r, 0, o->result_bytes);
    if (mine == MOCO_OK && !t->shared) /* whose loss every rank has computed whole */
        mine = measure_queries(t, err);
    comm_fill(&r->ballot, mine, err);
    if (mine == MOCO_OK) {
        r->loss = found->loss;
        r->top1 = found->top1;
        r->top5 = found->top5;
        r->pos = found->pos;
        r->neg = found->neg;
    }
    moco_status status = comm_gather(t->comm, o->results, o->result_bytes, &o->ticket, &late);
    if (status == MOCO_OK)
        status = comm_wait(t->comm, o->ticket, &late);
    if (status != MOCO_OK)
        return lost(t, "results", mine, status, &late, err);
    TRY(comm_count(t->comm, o->results, o->result_bytes, err));
    if (!t->shared)
        merge(t, found);
    return MOCO_OK;
}
