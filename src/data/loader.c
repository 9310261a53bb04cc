/* SPDX-License-Identifier: MIT
 *
 * loader: the caller's side of the ring: options, threads, starting an epoch, fetching a batch. Samples are claimed
 * in the order of the epoch. When one fails, every earlier one is therefore finished or will be. That is why the
 * first error by position is the one reported, whichever thread was first in time. */
#include "loader.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "loader_state.h"
#include "share.h"

#define WORKERS_MAX 1024
#define PREFETCH_MAX 64
#define BATCH_MAX (1 << 20)

/* Checks the options and replaces 0 and -1 by what they stand for. */
static moco_status check_options(struct loader_options *o, int64_t count, struct err *err)
{
    if (o->batch_size < 1 || o->batch_size > BATCH_MAX)
        return err_set(err, MOCO_EINVAL, "loader: batch_size is %d; it must be 1 to %d", o->batch_size, BATCH_MAX);
    if (o->workers < 0 || o->workers > WORKERS_MAX)
        return err_set(err, MOCO_EINVAL, "loader: workers is %d; it must be 0 to %d", o->workers, WORKERS_MAX);
    if (o->prefetch < 1 || o->prefetch > PREFETCH_MAX)
        return err_set(err, MOCO_EINVAL, "loader: prefetch is %d; it must be 1 to %d batches", o->prefetch,
                       PREFETCH_MAX);
    if (o->ranks == 0)
        o->ranks = 1;
    if (o->ranks < 1 || o->batch_size % o->ranks != 0)
        return err_set(err, MOCO_EINVAL,
                       "loader: ranks is %d and batch_size %d; every rank must have equally many images of a batch",
                       o->ranks, o->batch_size);
    if (o->rank < 0 || o->rank >= o->ranks)
        return err_set(err, MOCO_EINVAL, "loader: rank is %d of %d ranks; they count from 0", o->rank, o->ranks);
    if (o->drop_last && count < o->batch_size)
        return err_set(err, MOCO_EINVAL,
                       "loader: the data set has %lld images, fewer than the batch of %d, and drop_last leaves nothing",
                       (long long)count, o->batch_size);
    if (o->max_bad < -1)
        return err_set(err, MOCO_EINVAL, "loader: max_bad is %lld; it must be -1 (default) or more",
                       (long long)o->max_bad);
    if (o->bad != MOCO_BAD_REPLACE && o->bad != MOCO_BAD_SKIP && o->bad != MOCO_BAD_FAIL)
        return err_set(err, MOCO_EINVAL,
                       "loader: bad is %d; it must be MOCO_BAD_REPLACE (0), MOCO_BAD_SKIP (1) or MOCO_BAD_FAIL (2)",
                       o->bad);
    if (o->max_pixels < 0)
        return err_set(err, MOCO_EINVAL, "loader: max_pixels is %lld; it must be 0 (default) or more",
                       (long long)o->max_pixels);
    if (o->views < 1 || o->views > 2)
        return err_set(err, MOCO_EINVAL, "loader: there must be one recipe or two");
    for (int v = 0; v < o->views; v++)
        TRY(augment_check(&o->recipe[v], err));
    if (o->views == 2 && o->recipe[0].size != o->recipe[1].size)
        return err_set(err, MOCO_EINVAL, "loader: the recipes make views of %d and %d pixels; both must be of one size",
                       o->recipe[0].size, o->recipe[1].size);
    if (o->max_bad == -1)
        o->max_bad = count / 1000 > 10 ? count / 1000 : 10;
    if (o->max_pixels == 0)
        o->max_pixels = DECODE_MAX_PIXELS;
    return MOCO_OK;
}

/* What is lent is faster, and there may be less of it than wanted: that is no failure. */
static moco_status borrow(struct loader *l, struct view_block *block, struct err *err)
{
    const struct loader_memory *memory = &l->o.memory;
    struct err why = {0};
    if (memory->take == NULL || l->o.side != NULL)
        return MOCO_OK;
    moco_status status = memory->take(memory->user, block->bytes, &block->at, &why);
    block->lent = status == MOCO_OK;
    if (status != MOCO_OK && status != MOCO_ENOMEM)
        return err_set(err, status, "%s", why.text);
    if (status == MOCO_ENOMEM && !l->ordinary) {
        ctx_log(l->ctx, LOG_WARN, "loader: views are made in ordinary memory, which a step copies: %.400s", why.text);
        l->ordinary = 1;
    }
    return MOCO_OK;
}

static moco_status take_view(struct loader *l, uint8_t **out, struct err *err)
{
    struct view_block block = {.bytes = (size_t)l->rows * l->view_bytes};
    TRY(borrow(l, &block, err));
    if (!block.lent && (block.at = mem_alloc(l->ctx, block.bytes, err)) == NULL)
        return MOCO_ENOMEM;
    l->blocks[l->block_count++] = block;
    *out = block.at;
    return MOCO_OK;
}

static void give_views(struct loader *l)
{
    for (int i = 0; i < l->block_count; i++) {
        struct view_block *block = &l->blocks[i];
        if (block->lent)
            l->o.memory.give(l->o.memory.user, block->at, block->bytes);
        else
            mem_free(l->ctx, block->at);
    }
    mem_free(l->ctx, l->blocks);
}

/* Takes the memory of all slots and workers. Key views come later, at the first loader_start_keys. */
static moco_status take_memory(struct loader *l, struct err *err)
{
    size_t rows = (size_t)l->rows, workers = l->o.workers > 0 ? (size_t)l->o.workers : 1;
    l->slot = mem_array(l->ctx, (size_t)l->slots, sizeof *l->slot, err);
    l->worker = mem_array(l->ctx, workers, sizeof *l->worker, err);
    l->blocks = mem_array(l->ctx, (size_t)l->slots * 4, sizeof *l->blocks, err);
    if (l->slot == NULL || l->worker == NULL || l->blocks == NULL)
        return MOCO_ENOMEM;
    for (size_t i = 0; i < workers; i++) {
        l->worker[i].loader = l;
        decoder_init(&l->worker[i].decoder, l->ctx, l->o.max_pixels, &l->cancel);
        augment_scratch_init(&l->worker[i].scratch, l->ctx);
    }
    for (int s = 0; s < l->slots; s++) {
        struct slot *slot = &l->slot[s];
        slot->ids = mem_array(l->ctx, 3 * rows, sizeof(int64_t), err);
        slot->wanted = mem_array(l->ctx, 3 * rows, sizeof(int64_t), err);
        if (slot->ids == NULL || slot->wanted == NULL)
            return MOCO_ENOMEM;
        for (int v = 0; v < l->o.views; v++)
            TRY(take_view(l, &slot->view[v], err));
    }
    return MOCO_OK;
}

/* A worker: claims one image at a time and makes its views without the lock. */
static void *work(void *argument)
{
    struct worker *w = argument;
    struct loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->quit) {
        struct slot *slot;
        int index;
        if (!loader_claim(l, &slot, &index)) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        struct err error = {0};
        moco_status status = loader_make(w, slot, index, &error);
        pthread_mutex_lock(&l->lock);
        loader_finish(l, slot, index, status, &error);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals belong to the program's own threads: ours block them all. */
static moco_status start_threads(struct loader *l, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = 0;
    while (l->threads < l->o.workers && failed == 0) {
        failed = pthread_create(&l->worker[l->threads].thread, NULL, work, &l->worker[l->threads]);
        if (failed == 0) {
            pthread_mutex_lock(&l->lock);
            l->threads++;
            pthread_mutex_unlock(&l->lock);
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0)
        return err_set(err, MOCO_ENOMEM, "loader: thread %d of %d cannot be started: error %d", l->threads + 1,
                       l->o.workers, failed);
    return MOCO_OK;
}

moco_status loader_create(struct loader **out, struct ctx *ctx, const struct dataset *ds,
                          const struct loader_options *options, struct err *err)
{
    *out = NULL;
    struct loader_options o = *options;
    TRY(check_options(&o, ds->count, err));
    struct loader *l = mem_zalloc(ctx, sizeof *l, err);
    if (l == NULL)
        return MOCO_ENOMEM;
    l->ctx = ctx;
    l->ds = ds;
    l->o = o;
    l->rows = o.batch_size / o.ranks;
    l->slots = o.workers > 0 ? o.prefetch + 1 : 1;
    l->view_bytes =
        o.side != NULL ? sizeof(struct pixel_view) : (size_t)o.recipe[0].size * (size_t)o.recipe[0].size * 3;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    moco_status status = take_memory(l, err);
    if (status == MOCO_OK)
        status = start_threads(l, err);
    if (status != MOCO_OK) {
        loader_free(l);
        return status;
    }
    *out = l;
    return MOCO_OK;
}

/* Cancels what is being decoded, waits for the threads, and frees everything; it also frees a loader that was made
 * only in part. */
void loader_free(struct loader *l)
{
    if (l == NULL)
        return;
    atomic_store(&l->cancel, 1);
    pthread_mutex_lock(&l->lock);
    l->quit = 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads; i++)
        pthread_join(l->worker[i].thread, NULL);
    for (int i = 0; l->worker != NULL && i < (l->o.workers > 0 ? l->o.workers : 1); i++) {
        if (l->worker[i].loader == NULL)
            continue;
        decoder_free(&l->worker[i].decoder);
        augment_scratch_free(&l->worker[i].scratch);
    }
    for (int s = 0; l->slot != NULL && s < l->slots; s++) {
        for (int i = 0; i < 2; i++)
            mem_free(l->ctx, l->slot[s].shuffle[i]);
        mem_free(l->ctx, l->slot[s].ids);
        mem_free(l->ctx, l->slot[s].wanted);
    }
    give_views(l);
    for (int64_t i = 0; i < l->bad_count; i++)
        mem_free(l->ctx, l->bad[i].reason);
    mem_free(l->ctx, l->bad);
    mem_free(l->ctx, l->slot);
    mem_free(l->ctx, l->worker);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->ctx, l);
}

/* Batches from `position` on of which this rank has a row: of a last one that is not full it may have none. */
static int64_t batches_from(const struct loader *l, int64_t position)
{
    int64_t left = l->ds->count - position, full = left / l->o.batch_size;
    int last = (int)(left % l->o.batch_size);
    return full + (!l->o.drop_last && share_rows(l->o.batch_size, l->o.interleave, l->o.rank, l->o.ranks, last) > 0);
}

static moco_status check_start(const struct loader *l, int64_t epoch, int64_t position, struct err *err)
{
    if (epoch < 0 || epoch > (int64_t)UINT32_MAX)
        return err_set(err, MOCO_EINVAL, "loader: epoch is %lld; it must be 0 to 4294967295", (long long)epoch);
    if (position < 0 || position > l->ds->count)
        return err_set(err, MOCO_EINVAL, "loader: position is %lld in an epoch of %lld images", (long long)position,
                       (long long)l->ds->count);
    return MOCO_OK;
}

/* Starts an epoch. Workers may be busy with the one before: they are cancelled and waited for. */
static void begin(struct loader *l, int64_t epoch, int64_t position, const struct key_order *keys)
{
    pthread_mutex_lock(&l->lock);
    l->running = 0;
    atomic_store(&l->cancel, 1);
    while (l->busy > 0)
        pthread_cond_wait(&l->ready, &l->lock);
    atomic_store(&l->cancel, 0);
    for (int s = 0; s < l->slots; s++)
        l->slot[s].claimed = 0;
    l->epoch = epoch;
    l->start = position;
    l->batches = batches_from(l, position);
    l->keys = *keys;
    sampler_init(&l->sampler, l->o.permuted, l->o.seed, epoch, l->ds->count);
    l->making = l->delivered = 0;
    l->held = l->doomed = 0;
    l->failure = (struct err){0};
    l->running = 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

moco_status loader_start(struct loader *l, int64_t epoch, int64_t position, struct err *err)
{
    TRY(check_start(l, epoch, position, err));
    begin(l, epoch, position, &(struct key_order){0});
    return MOCO_OK;
}

/* What is taken here is read by nobody before `begin`. */
static moco_status take_key_memory(struct loader *l, int directions, struct err *err)
{
    for (int s = 0; s < l->slots; s++)
        for (int d = 0; d < directions; d++) {
            struct slot *slot = &l->slot[s];
            if (slot->shuffle[d] == NULL)
                slot->shuffle[d] = mem_array(l->ctx, (size_t)l->o.batch_size, sizeof *slot->shuffle[d], err);
            if (slot->shuffle[d] == NULL)
                return MOCO_ENOMEM;
            if (slot->key[d] == NULL && directions == 2)
                TRY(take_view(l, &slot->key[d], err));
        }
    return MOCO_OK;
}

moco_status loader_start_keys(struct loader *l, int64_t epoch, int64_t position, int64_t step, uint64_t seed,
                              int symmetric, struct err *err)
{
    struct key_order keys = {.directions = symmetric ? 2 : 1, .step = step, .seed = seed};
    TRY(check_start(l, epoch, position, err));
    if (step < 0 || step > INT64_MAX / 2)
        return err_set(err, MOCO_EINVAL, "loader: step is %lld; it must be 0 or more", (long long)step);
    if (symmetric != 0 && symmetric != 1)
        return err_set(err, MOCO_EINVAL, "loader: symmetric is %d; it must be 0 or 1", symmetric);
    if (l->o.views != 2)
        return err_set(err, MOCO_EINVAL, "loader: there is one recipe, and key views apart need two");
    if (!l->o.drop_last || l->o.bad == MOCO_BAD_SKIP)
        return err_set(err, MOCO_EINVAL,
                       "loader: key views apart follow the shuffle of full batches: drop_last must be 1, and bad not "
                       "MOCO_BAD_SKIP");
    TRY(take_key_memory(l, keys.directions, err));
    begin(l, epoch, position, &keys);
    return MOCO_OK;
}

/* Counts a bad image of a delivered batch, once. MOCO_EBADDATA if there are too many, also in the epoch after the
 * one that found them. With MOCO_BAD_SKIP the caller can ask for all of them afterwards (loader_bad_after), and gets
 * no warning for each. */
static moco_status count_one(struct loader *l, struct bad *bad)
{
    int skip = l->o.bad == MOCO_BAD_SKIP;
    char name[512];
    if (bad->counted && l->bad_counted <= l->o.max_bad)
        return MOCO_OK;
    loader_name(l, bad->id, name, sizeof name);
    if (!bad->counted) {
        bad->counted = 1;
        l->bad_counted++;
        ctx_log(l->ctx, skip ? LOG_INFO : LOG_WARN, "%s cannot be read and is %s: %s", name,
                skip ? "left out" : "replaced by the next readable image", bad->reason);
    }
    if (l->bad_counted > l->o.max_bad)
        return err_set(&l->failure, MOCO_EBADDATA,
                       "%lld of the data set's %lld images cannot be read and max_bad is %lld; the last is %s: %s",
                       (long long)l->bad_counted, (long long)l->ds->count, (long long)l->o.max_bad, name, bad->reason);
    return MOCO_OK;
}

/* Counts the bad images that item `index` met. */
static moco_status count_bad(struct loader *l, const struct slot *slot, int index)
{
    struct bad *bad;
    int64_t id = slot->wanted[index];
    if (l->o.bad != MOCO_BAD_REPLACE)
        return slot->ids[index] == LEFT_OUT ? count_one(l, loader_find_bad(l, id)) : MOCO_OK;
    for (int64_t tries = 0; tries <= l->o.max_bad && (bad = loader_find_bad(l, id)) != NULL; tries++) {
        TRY(count_one(l, bad));
        id = (id + 1) % l->ds->count;
    }
    return MOCO_OK;
}

/* Moves the rows of a finished batch up to where samples were left out; returns how many rows there are. */
static int close_gaps(const struct loader *l, struct slot *slot)
{
    int rows = 0;
    for (int i = 0; i < slot->n; i++) {
        if (slot->ids[i] == LEFT_OUT)
            continue;
        for (int v = 0; v < l->o.views && rows < i; v++)
            memcpy(slot->view[v] + (size_t)rows * l->view_bytes, slot->view[v] + (size_t)i * l->view_bytes,
                   l->view_bytes);
        slot->ids[rows++] = slot->ids[i];
    }
    return rows;
}

/* Pixels, or how they are made. */
static void give(const struct loader *l, const void *array, const uint8_t **view, const void **made)
{
    *view = l->o.side == NULL ? array : NULL;
    *made = l->o.side != NULL ? array : NULL;
}

static void fill(const struct loader *l, const struct slot *slot, int rows, moco_batch *batch)
{
    batch->n = rows;
    batch->h = batch->w = l->o.recipe[0].size;
    batch->views = l->keys.directions == 1 ? 1 : l->o.views;
    give(l, slot->view[0], &batch->view[0], &batch->made[0]);
    give(l, batch->views == 2 ? slot->view[1] : NULL, &batch->view[1], &batch->made[1]);
    batch->ids = slot->ids;
    batch->epoch = l->epoch;
    batch->position = slot->end;
    for (int d = 0; d < 2; d++)
        give(l, d < l->keys.directions ? loader_keys(l, slot, d) : NULL, &batch->key[d], &batch->made_key[d]);
    batch->key_step = l->keys.directions > 0 ? slot->step : -1;
    batch->key_seed = l->keys.seed;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Until the batch to deliver is whole, or has failed with nothing of it still under way. With the lock held. */
static void await(struct loader *l, struct slot *slot)
{
    double begun = seconds();
    if (l->threads == 0) {
        struct slot *claimed;
        int index;
        while (loader_claim(l, &claimed, &index)) {
            struct err error = {0};
            pthread_mutex_unlock(&l->lock);
            moco_status status = loader_make(&l->worker[0], claimed, index, &error);
            pthread_mutex_lock(&l->lock);
            loader_finish(l, claimed, index, status, &error);
        }
    }
    while (slot->claimed == 0 || slot->done < slot->claimed ||
           (slot->failed == slot->items && slot->done < slot->items))
        pthread_cond_wait(&l->ready, &l->lock);
    l->wait_seconds += seconds() - begun;
}

/* The next batch of the order, whole and counted; *rows may be 0 where bad images are skipped. */
static moco_status finish_batch(struct loader *l, struct slot **out, int *rows)
{
    if (l->held) {
        l->slot[(l->delivered - 1) % l->slots].claimed = 0;
        l->held = 0;
    }
    if (l->delivered == l->batches)
        return MOCO_EEND;
    struct slot *slot = *out = &l->slot[l->delivered % l->slots];
    await(l, slot);
    for (int i = 0; i <= slot->failed && i < slot->items; i++)
        TRY(count_bad(l, slot, i));
    if (slot->failed < slot->items) {
        l->failure = slot->error;
        return slot->error.status;
    }
    *rows = slot->n;
    if (l->o.bad == MOCO_BAD_SKIP) { /* nobody else touches a finished batch: the threads need not wait */
        pthread_mutex_unlock(&l->lock);
        *rows = close_gaps(l, slot);
        pthread_mutex_lock(&l->lock);
    }
    l->delivered++;
    l->held = 1;
    pthread_cond_broadcast(&l->work);
    return MOCO_OK;
}

static moco_status deliver(struct loader *l, moco_batch *batch)
{
    struct slot *slot;
    int rows = 0;
    if (!l->running)
        return err_set(&l->failure, MOCO_ESTATE, "loader: next before start");
    while (rows == 0) /* a batch without a row is passed over */
        TRY(finish_batch(l, &slot, &rows));
    fill(l, slot, rows, batch);
    l->images += rows;
    return MOCO_OK;
}

moco_status loader_next(struct loader *l, moco_batch *batch, struct err *err)
{
    pthread_mutex_lock(&l->lock);
    moco_status status = l->failure.status;
    if (status == MOCO_OK)
        status = deliver(l, batch);
    if (status != MOCO_OK && status != MOCO_EEND)
        err_set(err, status, "%s", l->failure.text);
    pthread_mutex_unlock(&l->lock);
    return status;
}

int64_t loader_batches(const struct loader *l)
{
    return (l->ds->count + (l->o.drop_last ? 0 : l->o.batch_size - 1)) / l->o.batch_size;
}

void loader_stats(struct loader *l, int64_t *bad_images, int64_t *images, double *wait_seconds)
{
    pthread_mutex_lock(&l->lock); /* another thread may be in loader_next */
    *bad_images = l->bad_counted;
    *images = l->images;
    *wait_seconds = l->wait_seconds;
    pthread_mutex_unlock(&l->lock);
}

int loader_bad_after(struct loader *l, int64_t after, int64_t *id, char *reason, size_t size)
{
    int found = 0;
    pthread_mutex_lock(&l->lock);
    for (int64_t i = loader_bad_place(l, after + 1); i < l->bad_count && !found; i++) {
        found = l->bad[i].counted;
        *id = l->bad[i].id;
        snprintf(reason, size, "%s", l->bad[i].reason);
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}
