/* SPDX-License-Identifier: MIT
 *
 * each: see each.h. */
#include "algo/each.h"

#include "backend/fallback.h"

struct work {
    const struct each *each;
    _Atomic int next, stop; /* the tensor to be taken next; nothing is done from `stop` on */
    int failed[EACH_PARTS]; /* the tensor that a part failed at */
    moco_status status[EACH_PARTS];
    struct err err[EACH_PARTS];
};

static void stop_at(struct work *w, int i)
{
    int stop = atomic_load(&w->stop);
    while (i < stop && !atomic_compare_exchange_weak(&w->stop, &stop, i)) {
    }
}

static void run_part(void *arg, int part, int parts)
{
    struct work *w = arg;
    int i;
    (void)parts;
    while (part < w->each->parts && (i = atomic_fetch_add(&w->next, 1)) < atomic_load(&w->stop)) {
        moco_status status = w->each->one(w->each->self, part, i, &w->err[part]);
        if (status != MOCO_OK) {
            w->failed[part] = i;
            w->status[part] = status;
            stop_at(w, i);
            return;
        }
    }
}

moco_status each_run(const struct each *each, int *done, struct err *err)
{
    struct work w = {.each = each};
    int first = -1;
    atomic_init(&w.next, 0);
    atomic_init(&w.stop, each->count);
    if (each->parts > 1 && each->be != NULL)
        TRY(backend_on_host(each->be, each->dev, run_part, &w, err));
    else
        run_part(&w, 0, 1);
    if (done != NULL)
        *done = atomic_load(&w.stop);
    for (int p = 0; p < EACH_PARTS; p++)
        if (w.status[p] != MOCO_OK && (first < 0 || w.failed[p] < w.failed[first]))
            first = p;
    if (first < 0)
        return MOCO_OK;
    if (err != NULL && err->status == MOCO_OK)
        *err = w.err[first];
    return w.status[first];
}
