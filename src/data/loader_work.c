/* SPDX-License-Identifier: MIT
 *
 * loader_work: making one sample. A bad image is replaced by the next readable one by number; the views are then drawn
 * with the number of the image that should have stood there, so that the neighbour is not shown twice alike. Or it is
 * left out, or ends the epoch: as the caller chose. */
#include <stdio.h>
#include <string.h>

#include "loader_state.h"

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

moco_status loader_make(struct worker *w, struct slot *slot, int index, struct err *err)
{
    struct loader *l = w->loader;
    int64_t wanted = sampler_at(&l->sampler, (slot->position + index) * l->o.ranks + l->o.rank), id = wanted;
    struct drawing drawing = {.loader = l, .wanted = wanted};
    struct image image;
    struct image_box box;
    slot->wanted[index] = wanted;
    moco_status status = read_readable(w, &drawing, &id, &image, err);
    slot->ids[index] = id;
    TRY(status);
    if (id == LEFT_OUT)
        return MOCO_OK;
    if (!drawing.drawn)
        status = draw_views(&drawing, image.w, image.h, &box, err);
    for (int v = 0; v < l->o.views && status == MOCO_OK; v++)
        status = augment_apply(&drawing.params[v], &image, l->o.recipe[v].size, &w->scratch,
                               slot->view[v] + (size_t)index * l->view_bytes, err);
    if (status != MOCO_OK) {
        char name[400];
        loader_name(l, id, name, sizeof name);
        err_prefix(err, name);
    }
    return status;
}

int loader_claim(struct loader *l, struct slot **slot, int *index)
{
    if (!l->running || l->doomed || l->making >= l->batches ||
        l->making >= l->delivered + (l->threads > 0 ? l->o.prefetch : 1))
        return 0;
    struct slot *s = &l->slot[l->making % l->slots];
    if (s->claimed == 0) {
        int64_t left = l->share - l->start - l->making * l->o.batch_size;
        s->n = left < l->o.batch_size ? (int)left : l->o.batch_size;
        s->done = 0;
        s->failed = s->n;
        s->position = l->start + l->making * l->o.batch_size;
        s->error = (struct err){0};
    }
    *slot = s;
    *index = s->claimed++;
    l->busy++;
    if (s->claimed == s->n)
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
