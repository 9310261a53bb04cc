/* SPDX-License-Identifier: MIT
 *
 * loader_work: makes one item: the views of a sample, or a key view apart. A bad image is replaced by the next
 * readable one by number. The views are then drawn with the number of the bad image, so that the neighbour is not
 * shown twice alike. Or the bad image is left out, or ends the epoch, as the caller chose. What a reader would get
 * wrong: an item of one view is drawn and decoded for both views, because whether an image is bad must not depend on
 * which rank renders which view of it. */
#include <stdio.h>
#include <string.h>

#include "loader_state.h"
#include "permute.h"
#include "share.h"

void loader_name(const struct loader *l, int64_t id, char *text, size_t size)
{
    if (l->ds->ops->path(l->ds, id, text, size) != MOCO_OK || text[0] == 0)
        snprintf(text, size, "image %lld", (long long)id);
}

int64_t loader_bad_place(const struct loader *l, int64_t id)
{
    int64_t low = 0, high = l->bad_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (l->bad[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct bad *loader_find_bad(struct loader *l, int64_t id)
{
    int64_t place = loader_bad_place(l, id);
    return place < l->bad_count && l->bad[place].id == id ? &l->bad[place] : NULL;
}

/* Keeps an image that cannot be read and why, in the order of ids. */
static moco_status add_bad(struct loader *l, int64_t id, const char *reason, struct err *err)
{
    if (loader_find_bad(l, id) != NULL)
        return MOCO_OK; /* another thread met it at the same time */
    size_t bytes = (size_t)(l->bad_count + 1) * sizeof *l->bad;
    if (l->bad == NULL || mem_size(l->bad) < bytes) {
        struct bad *grown = mem_grow(l->ctx, l->bad, bytes + bytes / 2 + 16 * sizeof *l->bad, err);
        if (grown == NULL)
            return MOCO_ENOMEM;
        l->bad = grown;
    }
    char *copy = mem_strdup(l->ctx, reason, err);
    if (copy == NULL)
        return MOCO_ENOMEM;
    int64_t place = loader_bad_place(l, id);
    memmove(l->bad + place + 1, l->bad + place, (size_t)(l->bad_count - place) * sizeof *l->bad);
    l->bad[place] = (struct bad){id, copy, 0};
    l->bad_count++;
    return MOCO_OK;
}

/* The views of one sample, drawn as soon as the size of a picture is known, so that only what they show is decoded. */
struct drawing {
    const struct loader *loader;
    int64_t wanted;
    int drawn;
    struct augment_params params[2];
};

static moco_status draw_views(void *user, int w, int h, struct image_box *box, struct err *err)
{
    struct drawing *d = user;
    const struct loader *l = d->loader;
    for (int v = 0; v < l->o.views; v++) {
        struct rng rng;
        rng_init(&rng, l->o.seed, (uint64_t)l->epoch, (uint64_t)d->wanted, (unsigned)v, RNG_AUGMENT);
        TRY(augment_draw(&l->o.recipe[v], w, h, &rng, &d->params[v], err));
    }
    *box = augment_shown(d->params, l->o.views);
    d->drawn = 1;
    return MOCO_OK;
}

/* Reads `id` or, where bad images are replaced, the first readable image after it, wrapping; *id becomes LEFT_OUT where
 * they are skipped. Whether an image is readable depends on it and on the views alone, never on what was met before:
 * damage below everything that the views show is not seen. */
static moco_status read_readable(struct worker *w, struct drawing *drawing, int64_t *id, struct image *image,
                                 struct err *err)
{
    struct loader *l = w->loader;
    int64_t count = l->ds->count, others = l->o.bad == MOCO_BAD_REPLACE ? l->o.max_bad : 0;
    for (int64_t tries = 0; tries <= others && tries < count; tries++, *id = (*id + 1) % count) {
        struct err reason = {0};
        drawing->drawn = 0;
        w->decoder.wish = draw_views;
        w->decoder.wish_user = drawing;
        moco_status status = l->ds->ops->read(l->ds, *id, &w->decoder, image, &reason);
        if (status == MOCO_OK)
            return MOCO_OK;
        if (status != MOCO_EFORMAT || l->o.bad == MOCO_BAD_FAIL) {
            char name[400];
            loader_name(l, *id, name, sizeof name);
            err_prefix(&reason, name);
            *err = reason;
            return status;
        }
        pthread_mutex_lock(&l->lock);
        status = add_bad(l, *id, reason.text, err);
        pthread_mutex_unlock(&l->lock);
        TRY(status);
        if (l->o.bad == MOCO_BAD_SKIP) {
            *id = LEFT_OUT;
            return MOCO_OK;
        }
    }
    return err_set(err, MOCO_EBADDATA, "no readable image among %lld in a row",
                   (long long)(l->o.max_bad < count ? l->o.max_bad + 1 : count));
}

/* Views first .. end - 1 of a sample, and where each goes. */
struct item {
    int64_t wanted;
    int first, end;
    uint8_t *to[2];
};

static struct item item_at(const struct loader *l, const struct slot *slot, int index)
{
    int row = index % slot->n, direction = index / slot->n - 1; /* -1: a row of this rank's share */
    int place = share_place(l->o.batch_size, l->o.interleave, l->o.rank, l->o.ranks, row);
    struct item item = {.first = 0, .end = l->keys.directions == 1 ? 1 : l->o.views};
    if (direction >= 0) { /* the keys of the first direction are views 1, of the second views 0 */
        place = slot->shuffle[direction][place];
        item.first = 1 - direction;
        item.end = item.first + 1;
    }
    for (int v = item.first; v < item.end; v++)
        item.to[v] = (direction < 0 ? slot->view[v] : loader_keys(l, slot, direction)) + (size_t)row * l->view_bytes;
    item.wanted = sampler_at(&l->sampler, slot->position + place);
    return item;
}

/* Of pictures that some device keeps: there all are readable, and their sizes known. */
static moco_status describe(struct drawing *drawing, const struct item *item, struct err *err)
{
    const struct loader *l = drawing->loader;
    const int32_t *side = l->o.side[item->wanted];
    struct image_box box;
    TRY(draw_views(drawing, side[0], side[1], &box, err));
    for (int v = item->first; v < item->end; v++) {
        struct pixel_view *how = (struct pixel_view *)(void *)item->to[v];
        augment_how(&drawing->params[v], how);
        how->picture = (int32_t)item->wanted;
    }
    return MOCO_OK;
}

static moco_status name_of(const struct loader *l, int64_t id, moco_status status, struct err *err)
{
    char name[400];
    if (status == MOCO_OK)
        return status;
    loader_name(l, id, name, sizeof name);
    err_prefix(err, name);
    return status;
}

/* Makes item `index` of a slot: reads its image or a replacement, draws the views if the decoder has not asked for
 * them already, and applies them. */
moco_status loader_make(struct worker *w, struct slot *slot, int index, struct err *err)
{
    struct loader *l = w->loader;
    struct item item = item_at(l, slot, index);
    int64_t id = item.wanted;
    struct drawing drawing = {.loader = l, .wanted = item.wanted};
    struct image image;
    struct image_box box;
    slot->wanted[index] = item.wanted;
    slot->ids[index] = id;
    if (l->o.side != NULL)
        return name_of(l, id, describe(&drawing, &item, err), err);
    moco_status status = read_readable(w, &drawing, &id, &image, err);
    slot->ids[index] = id;
    TRY(status);
    if (id == LEFT_OUT)
        return MOCO_OK;
    if (!drawing.drawn)
        status = draw_views(&drawing, image.w, image.h, &box, err);
    for (int v = item.first; v < item.end && status == MOCO_OK; v++)
        status = augment_apply(&drawing.params[v], &image, l->o.recipe[v].size, &w->scratch, item.to[v], err);
    return name_of(l, id, status, err);
}

/* The batch whose items are claimed next. */
static void begin_slot(const struct loader *l, struct slot *s)
{
    int64_t left = l->ds->count - l->start - l->making * l->o.batch_size;
    int filled = left < l->o.batch_size ? (int)left : l->o.batch_size;
    s->n = share_rows(l->o.batch_size, l->o.interleave, l->o.rank, l->o.ranks, filled);
    s->items = s->n * (1 + l->keys.directions);
    s->done = 0;
    s->failed = s->items;
    s->position = l->start + l->making * l->o.batch_size;
    s->end = s->position + filled;
    s->step = l->keys.step + l->making;
    s->error = (struct err){0};
    for (int d = 0; d < l->keys.directions; d++)
        permute_batch(l->keys.seed, (uint64_t)s->step, d, l->o.batch_size, s->shuffle[d]);
}

int loader_claim(struct loader *l, struct slot **slot, int *index)
{
    if (!l->running || l->doomed || l->making >= l->batches ||
        l->making >= l->delivered + (l->threads > 0 ? l->o.prefetch : 1))
        return 0;
    struct slot *s = &l->slot[l->making % l->slots];
    if (s->claimed == 0)
        begin_slot(l, s);
    *slot = s;
    *index = s->claimed++;
    l->busy++;
    if (s->claimed == s->items)
        l->making++;
    return 1;
}

void loader_finish(struct loader *l, struct slot *slot, int index, moco_status status, const struct err *err)
{
    l->busy--;
    slot->done++;
    if (status != MOCO_OK) {
        l->doomed = 1;
        if (index < slot->failed) {
            slot->failed = index;
            slot->error = *err;
            slot->error.status = status;
        }
    }
    if (slot->done == slot->claimed || l->busy == 0)
        pthread_cond_signal(&l->ready);
}
