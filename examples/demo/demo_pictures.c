/* SPDX-License-Identifier: MIT
 *
 * demo_pictures: see demo_pictures.h. */
#include "demo_pictures.h"

#include <stdlib.h>
#include <string.h>

#include "images/draw_patterns.h"
#include "support/from_moco.h"

static moco_status take_memory(struct demo_pictures *p, struct err *err)
{
    p->pixels = malloc((size_t)p->all * (size_t)p->size * (size_t)p->size * 3);
    p->labels = calloc((size_t)p->all, sizeof *p->labels);
    if (p->pixels == NULL || p->labels == NULL) {
        demo_pictures_free(p);
        return err_set(err, MOCO_ENOMEM, "out of memory for %lld pictures", (long long)p->all);
    }
    return MOCO_OK;
}

const uint8_t *demo_picture(const struct demo_pictures *p, int64_t number)
{
    return p->pixels + (size_t)number * (size_t)p->size * (size_t)p->size * 3;
}

moco_status demo_pictures_draw(struct demo_pictures *p, int64_t seed, struct err *err)
{
    *p = (struct demo_pictures){.size = PATTERN_SIZE,
                                .channels = 1,
                                .held_out = DEMO_HELD_OUT,
                                .all = DEMO_HELD_OUT + DEMO_TRAIN,
                                .classes = PATTERN_CLASSES};
    TRY(take_memory(p, err));
    for (int64_t i = 0; i < p->all; i++) { /* training pictures have the numbers from 0, so that more can be held out */
        uint64_t number = (uint64_t)(i < DEMO_HELD_OUT ? DEMO_TRAIN + i : i - DEMO_HELD_OUT);
        draw_pattern((uint64_t)seed, number, p->pixels + (size_t)i * PATTERN_SIZE * PATTERN_SIZE * 3);
        p->labels[i] = (int32_t)(number % PATTERN_CLASSES);
    }
    return MOCO_OK;
}

/* As many as p->all, or all there are: p->all becomes how many. */
static moco_status read_all(struct demo_pictures *p, moco_dataset *set, const moco_augment_options *view, int64_t seed,
                            struct unreadable *unreadable, struct err *err)
{
    moco_loader_options o;
    moco_loader *loader = NULL;
    moco_batch batch;
    moco_status status;
    moco_loader_options_init(&o);
    moco_batch_init(&batch);
    o.batch_size = 100;
    o.workers = 2;
    o.permuted = 1;
    o.drop_last = 0;
    o.seed = (uint64_t)seed;
    o.bad = MOCO_BAD_SKIP;
    o.max_bad = moco_dataset_count(set);
    o.recipe[0] = view;
    TRY_GOTO(status, from_moco(moco_loader_create(&loader, set, &o), err), out);
    TRY_GOTO(status, from_moco(moco_loader_start(loader, 0), err), out);
    size_t bytes = (size_t)p->size * (size_t)p->size * 3;
    int64_t done = 0;
    while (done < p->all) {
        status = moco_loader_next(loader, &batch);
        if (status == MOCO_EEND) /* there were unreadable ones */
            break;
        TRY_GOTO(status, from_moco(status, err), out);
        int64_t n = batch.n < p->all - done ? batch.n : p->all - done;
        memcpy(p->pixels + (size_t)done * bytes, batch.view[0], (size_t)n * bytes);
        for (int64_t i = 0; i < n && p->classes > 0; i++)
            p->labels[done + i] = moco_dataset_label(set, batch.ids[i]);
        done += n;
    }
    p->all = done;
    status = unreadable_ask(unreadable, loader, done, err);
out:
    moco_loader_free(loader);
    return status;
}

moco_status demo_pictures_read(struct demo_pictures *p, moco_context *context, const char *folder,
                               const moco_augment_options *view, int64_t seed, int batch_size,
                               struct unreadable *unreadable, struct err *err)
{
    moco_dataset *set = NULL;
    TRY(from_moco(moco_dataset_open_folder(&set, context, folder), err));
    int64_t count = moco_dataset_count(set), most = DEMO_TRAIN + DEMO_HELD_OUT;
    *p = (struct demo_pictures){.size = view->size, .channels = 3, .all = count < most ? count : most};
    p->classes = moco_dataset_classes(set);
    moco_status status = take_memory(p, err);
    if (status == MOCO_OK)
        status = read_all(p, set, view, seed, unreadable, err);
    p->held_out = p->all / 11;
    if (status == MOCO_OK)
        status = unreadable_check(unreadable, "pictures", err);
    if (status == MOCO_OK && p->all - p->held_out < batch_size)
        status = err_set(err, MOCO_EINVAL,
                         "%.300s holds %lld pictures that can be read, and a batch takes %d beside those held out; add "
                         "pictures",
                         folder, (long long)p->all, batch_size);
    if (status != MOCO_OK)
        demo_pictures_free(p);
    moco_dataset_free(set);
    return status;
}

void demo_pictures_free(struct demo_pictures *p)
{
    free(p->pixels);
    free(p->labels);
    p->pixels = NULL;
    p->labels = NULL;
}
