/* SPDX-License-Identifier: MIT
 *
 * check_pictures: see check_pictures.h. Threads take the pictures in turn. The list is sorted at the end, so that it
 * does not depend on the number of threads. */
#include "check_pictures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "support/from_moco.h"
#include "support/human.h"

#define CHUNK 16 /* pictures that a thread takes at once */
#define THREADS_MAX 256
#define PROGRESS_SECONDS 0.2

struct work {
    const struct check_pictures *check;
    struct checked_pictures *out;
    int64_t count, of; /* of the set, and how many are looked at */
    double begun;
    pthread_mutex_t lock; /* guards what follows, and `out` */
    int64_t next;
    moco_status status;
    struct err err;
};

/* What one call of moco_dataset_verify found, kept without the lock. */
struct found {
    struct work *work;
    moco_status status;
};

static moco_status keep(struct checked_pictures *out, int64_t id, const char *path, const char *reason)
{
    if ((out->bad & (out->bad - 1)) == 0) { /* a power of 2: full */
        size_t room = out->bad == 0 ? 1 : 2 * (size_t)out->bad;
        struct bad_picture *grown = realloc(out->list, room * sizeof *grown);
        if (grown == NULL)
            return MOCO_ENOMEM;
        out->list = grown;
    }
    struct bad_picture bad = {id, strdup(path), strdup(reason)};
    if (bad.path == NULL || bad.reason == NULL) {
        free(bad.path);
        free(bad.reason);
        return MOCO_ENOMEM;
    }
    out->list[out->bad++] = bad;
    return MOCO_OK;
}

static int on_bad(void *user, int64_t id, const char *path, const char *reason)
{
    struct found *found = user;
    pthread_mutex_lock(&found->work->lock);
    found->status = keep(found->work->out, id, path, reason);
    pthread_mutex_unlock(&found->work->lock);
    return found->status != MOCO_OK;
}

/* Number `i` of those that are looked at. */
static int64_t place(const struct work *w, int64_t i)
{
    return w->of == w->count ? i : (int64_t)((double)i * (double)w->count / (double)w->of);
}

/* Takes up to CHUNK pictures; 0: there are none left. */
static int64_t take(struct work *w, int64_t *first)
{
    const struct check_pictures *c = w->check;
    int64_t taken = 0;
    pthread_mutex_lock(&w->lock);
    if (w->status == MOCO_OK && c->stop != NULL && c->stop())
        w->status = MOCO_ECANCELED;
    int over = c->seconds > 0 && seconds_now() - w->begun > c->seconds;
    if (w->status == MOCO_OK && !over && w->next < w->of) {
        *first = w->next;
        taken = w->of - w->next < CHUNK ? w->of - w->next : CHUNK;
        w->next += taken;
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

static moco_status look(struct work *w, int64_t first, int64_t count, struct err *err)
{
    struct found found = {w, MOCO_OK};
    int whole = w->of == w->count;
    int64_t bad;
    for (int64_t i = 0; i < count; i += whole ? count : 1) {
        moco_status status = moco_dataset_verify(w->check->set, place(w, first + i), whole ? count : 1,
                                                 w->check->max_pixels, on_bad, &found, &bad);
        if (found.status != MOCO_OK)
            return err_set(err, found.status, "out of memory for the list of bad pictures");
        TRY(from_moco(status, err));
    }
    return MOCO_OK;
}

static void run(struct work *w, int shows)
{
    double shown = seconds_now();
    int64_t first, count;
    while ((count = take(w, &first)) > 0) {
        struct err err = {0};
        moco_status status = look(w, first, count, &err);
        pthread_mutex_lock(&w->lock);
        w->out->looked += count;
        if (status != MOCO_OK && w->status == MOCO_OK) {
            w->status = status;
            w->err = err;
        }
        int64_t looked = w->out->looked;
        pthread_mutex_unlock(&w->lock);
        if (shows && seconds_now() - shown >= PROGRESS_SECONDS) {
            w->check->progress(looked, w->of);
            shown = seconds_now();
        }
    }
}

static void *run_thread(void *work)
{
    run(work, 0);
    return NULL;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = ((const struct bad_picture *)a)->id, y = ((const struct bad_picture *)b)->id;
    return x < y ? -1 : x > y;
}

moco_status check_pictures(const struct check_pictures *check, struct checked_pictures *out, struct err *err)
{
    pthread_t thread[THREADS_MAX];
    int threads = check->workers < THREADS_MAX ? check->workers : THREADS_MAX, begun = 1;
    struct work w = {.check = check, .out = out, .count = moco_dataset_count(check->set), .begun = seconds_now()};
    *out = (struct checked_pictures){0};
    w.of = check->limit > 0 && check->limit < w.count ? check->limit : w.count;
    pthread_mutex_init(&w.lock, NULL);
    while (begun < threads && pthread_create(&thread[begun], NULL, run_thread, &w) == 0)
        begun++;
    run(&w, check->progress != NULL);
    for (int i = 1; i < begun; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&w.lock);
    if (out->bad > 1)
        qsort(out->list, (size_t)out->bad, sizeof *out->list, by_number);
    if (w.status != MOCO_OK)
        *err = w.err;
    return w.status;
}

void checked_pictures_print(const struct checked_pictures *checked, FILE *to, const char *lead, const char *between)
{
    char path[4 * 4096], reason[1024];
    for (int64_t i = 0; i < checked->bad; i++) {
        human_line(checked->list[i].path, path, sizeof path);
        human_line(checked->list[i].reason, reason, sizeof reason);
        fprintf(to, "%s%s%s%s\n", lead, path, between, reason);
    }
}

void checked_pictures_free(struct checked_pictures *checked)
{
    for (int64_t i = 0; i < checked->bad; i++) {
        free(checked->list[i].path);
        free(checked->list[i].reason);
    }
    free(checked->list);
    *checked = (struct checked_pictures){0};
}
