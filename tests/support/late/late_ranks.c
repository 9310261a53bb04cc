/* SPDX-License-Identifier: MIT
 *
 * late_ranks: how ranks in threads of one process exchange the memory of late devices. Whoever asks about an exchange that all
 * have come to brings each device's queue as far as the event that the exchange was begun behind, and no further, and
 * then sums in the order of ranks, as ref's ranks do (comm/local.c). What a reader would get wrong: what a device was given
 * behind that event has not run then, however long it has been in the queue, and what it should have been given before,
 * and was not, never will. */
#include <stdio.h>
#include <stdlib.h>

#include "moco/comm.h"
#include "support/late/late.h"

enum { SEATS = 8, UNDER_WAY = 60 };

struct exchange {
    void *data;
    int64_t count; /* of a gather: bytes of a rank */
    int sum;
    struct late_event event; /* dev NULL: none */
};

struct seat {
    struct hall *hall;
    struct be_device *dev;
    int rank, left;
    int64_t came;
    struct exchange row[UNDER_WAY];
};

/* All of it with the lock held. */
struct hall {
    struct hall *next;
    int64_t id;
    int ranks, seated;
    int64_t done; /* exchanges */
    struct seat seat[SEATS];
};

static struct hall *halls;
static int64_t ids;

static void share_blocks(const struct hall *h, int at)
{
    for (int from = 0; from < h->ranks; from++)
        for (int to = 0; to < h->ranks; to++) {
            const struct exchange *a = &h->seat[from].row[at], *b = &h->seat[to].row[at];
            size_t each = (size_t)a->count, place = (size_t)from * each;
            if (from != to)
                memcpy((char *)b->data + place, (const char *)a->data + place, each);
        }
}

static void add_all(const struct hall *h, int at)
{
    const struct exchange *first = &h->seat[0].row[at];
    double *sum = first->data;
    for (int r = 1; r < h->ranks; r++) {
        const double *more = h->seat[r].row[at].data;
        for (int64_t i = 0; i < first->count; i++)
            sum[i] += more[i];
    }
    for (int r = 1; r < h->ranks; r++)
        memcpy(h->seat[r].row[at].data, sum, (size_t)first->count * sizeof *sum);
}

/* One exchange, that all have come to. A device that is lost stays where it is: the others are owed the exchange. */
static int exchange(struct hall *h, char *why, size_t size)
{
    int at = (int)(h->done % UNDER_WAY);
    for (int r = 0; r < h->ranks; r++) {
        struct be_device *dev = h->seat[r].dev;
        const struct late_event *event = &h->seat[r].row[at].event;
        while (event->dev != NULL && !late_reached(event) && late_lost(dev, NULL) == MOCO_OK)
            if (!late_run_one(dev) && late_lost(dev, NULL) == MOCO_OK) {
                snprintf(why, size, "the event of rank %d is never reached", r);
                return 1;
            }
    }
    for (int r = 0; r < h->ranks; r++)
        late_unfence(h->seat[r].dev);
    if (h->seat[0].row[at].sum)
        add_all(h, at);
    else
        share_blocks(h, at);
    for (int r = 0; r < h->ranks; r++)
        late_fence(h->seat[r].dev);
    h->done++;
    return 0;
}

/* ---- the engine's functions ---- */

static int ask(void *user, const struct exchange *x, const struct late_event *event, void **request)
{
    struct seat *s = user;
    late_lock();
    struct exchange *at = &s->row[s->came++ % UNDER_WAY];
    *at = *x;
    if (event != NULL)
        at->event = *event;
    *request = (void *)(intptr_t)s->came;
    late_unlock();
    return 0;
}

static int device_sum(void *user, void *data, int64_t count, int32_t dtype, void *event, void **request, char *why,
                      size_t size)
{
    struct exchange x = {.data = data, .count = count, .sum = 1};
    if (dtype != MOCO_F64) {
        snprintf(why, size, "late sums doubles alone");
        return 1;
    }
    return ask(user, &x, event, request);
}

static int device_gather(void *user, void *blocks, int64_t each, void *event, void **request, char *why, size_t size)
{
    struct exchange x = {.data = blocks, .count = each};
    (void)why, (void)size;
    return ask(user, &x, event, request);
}

static int test(void *user, void *request, int32_t *done, char *why, size_t size)
{
    struct hall *h = ((struct seat *)user)->hall;
    int bad = 0;
    late_lock();
    while (!bad && h->done < (intptr_t)request) {
        int came = h->seated == h->ranks;
        for (int r = 0; r < h->ranks; r++) {
            came &= h->seat[r].came > h->done;
            if (h->seat[r].left) {
                snprintf(why, size, "rank %d has left", r);
                bad = 1;
            }
        }
        if (!came)
            break;
        bad = bad || exchange(h, why, size);
    }
    *done = !bad && h->done >= (intptr_t)request;
    late_unlock();
    return bad;
}

static int close_seat(void *user, int32_t broken)
{
    struct seat *s = user;
    struct hall *h = s->hall;
    (void)broken;
    late_lock();
    s->left = 1;
    int left = 0;
    for (int r = 0; r < h->ranks; r++)
        left += h->seat[r].left;
    if (left == h->seated) {
        for (struct hall **at = &halls; *at != NULL; at = &(*at)->next)
            if (*at == h) {
                *at = h->next;
                break;
            }
        free(h);
    }
    late_unlock();
    return 0;
}

/* ---- slots ---- */

moco_status late_ranks_id(struct be_device *dev, void *id, char library[BE_LIBRARY], struct err *err)
{
    (void)dev, (void)err;
    snprintf(library, BE_LIBRARY, "late (tests only)");
    if (id == NULL)
        return MOCO_OK;
    memset(id, 0, MOCO_COMM_ID_BYTES);
    late_lock();
    ids++;
    memcpy(id, &ids, sizeof ids);
    late_unlock();
    return MOCO_OK;
}

static struct hall *hall_of(int64_t id, int ranks)
{
    struct hall *h = halls;
    while (h != NULL && h->id != id)
        h = h->next;
    if (h != NULL || (h = calloc(1, sizeof *h)) == NULL)
        return h;
    *h = (struct hall){.next = halls, .id = id, .ranks = ranks};
    halls = h;
    return h;
}

moco_status late_ranks_open(struct be_device *dev, const void *id, int rank, int ranks, struct moco_comm_engine *engine,
                            struct err *err)
{
    int64_t number;
    if (ranks > SEATS)
        return err_set(err, MOCO_ENOTSUP, "late: %d ranks; there are seats for %d", ranks, SEATS);
    memcpy(&number, id, sizeof number);
    late_lock();
    struct hall *h = hall_of(number, ranks);
    if (h == NULL) {
        late_unlock();
        return err_set(err, MOCO_ENOMEM, "late: no memory for ranks");
    }
    h->seated++;
    h->seat[rank] = (struct seat){.hall = h, .dev = dev, .rank = rank};
    late_unlock();
    *engine = (moco_comm_engine){.struct_size = sizeof *engine,
                                 .rank = rank,
                                 .ranks = ranks,
                                 .any_thread = 1,
                                 .user = &h->seat[rank],
                                 .name = "late (tests only)",
                                 .test = test,
                                 .close = close_seat,
                                 .device_sum = device_sum,
                                 .device_gather = device_gather};
    return MOCO_OK;
}
