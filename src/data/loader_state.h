/* SPDX-License-Identifier: MIT
 *
 * loader_state: what loader.c (the caller's side) and loader_work.c (making samples) share. Everything after `lock`
 * in struct loader changes only while the lock is held. The one thread that claimed a sample writes its pixels and
 * ids. */
#ifndef MOCO_DATA_LOADER_STATE_H
#define MOCO_DATA_LOADER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "loader.h"
#include "sampler.h"

#define LEFT_OUT (-1) /* in ids: the sample cannot be read, and has no row in the batch that is delivered */

/* A batch being made or waiting to be fetched. Its items are `n` rows of this rank's share, and behind them, for each
 * direction of key views apart, the n rows of that. */
struct slot {
    int n;                 /* rows, those that are left out among them */
    int items;             /* n, 2 n or 3 n */
    int claimed, done;     /* items given to a thread, items finished */
    int failed;            /* lowest item that failed; items: none */
    int64_t position, end; /* of all ranks' batch in the epoch: its first sample, and behind its last */
    int64_t step;          /* whose shuffle the key views follow */
    uint8_t *view[2];      /* in loader.blocks */
    uint8_t *key[2];       /* of key views apart, if symmetric; see loader_keys */
    int32_t *shuffle[2];   /* [batch_size], of each direction */
    int64_t *ids, *wanted; /* [items] the sample shown (or LEFT_OUT), and the one that is here in the order: differ
                              where that one is bad */
    struct err error;      /* of item `failed` */
};

/* Memory of one view of a batch. */
struct view_block {
    void *at;
    size_t bytes;
    int lent; /* by options.memory; else it is the context's */
};

/* An image that cannot be read. The list is sorted by id; an id enters when a worker meets it, and is counted when a
 * batch that met it is delivered. */
struct bad {
    int64_t id;
    char *reason;
    int counted;
};

/* What one thread needs to make samples. */
struct worker {
    struct loader *loader;
    pthread_t thread;
    struct decoder decoder;
    struct augment_scratch scratch;
};

struct loader {
    struct ctx *ctx;
    const struct dataset *ds;
    struct loader_options o;
    int rows;          /* of a full batch: this rank's share of batch_size */
    size_t view_bytes; /* of one image, or of how it is made */
    int slots;
    struct slot *slot;
    struct view_block *blocks; /* room for 4 of each slot */
    int block_count, ordinary; /* ordinary: some are, though others were asked for */
    struct worker *worker;     /* max(1, workers) of them; with no workers the first is the caller's */
    int threads;               /* running */
    _Atomic int cancel;        /* decoders give up */

    int64_t epoch, start, batches; /* of the run since loader_start */
    struct sampler sampler;
    struct key_order {
        int directions; /* of key views apart; 0: there are none */
        int64_t step;   /* of the first batch */
        uint64_t seed;
    } keys;

    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    int running, quit;
    int64_t making;    /* the batch whose samples are being claimed */
    int64_t delivered; /* batches handed to the caller */
    int held;          /* the caller holds batch delivered - 1 */
    int doomed;        /* a sample failed: nothing after it is begun */
    int busy;          /* threads inside a sample */
    struct bad *bad;
    int64_t bad_count, bad_counted;
    struct err failure; /* sticky until the next start */
    int64_t images;
    double wait_seconds;
};

/* Where the key views of a direction are. A loader that makes them apart for one direction makes no key view of its own
 * samples, so that these have the memory of that. */
static inline uint8_t *loader_keys(const struct loader *l, const struct slot *slot, int direction)
{
    return l->keys.directions == 2 ? slot->key[direction] : slot->view[1];
}

/* Claims the next item if there is one to make; with the lock held. */
int loader_claim(struct loader *l, struct slot **slot, int *index);

/* Makes a claimed item; without the lock. Then loader_finish, with the lock. */
moco_status loader_make(struct worker *w, struct slot *slot, int index, struct err *err);
void loader_finish(struct loader *l, struct slot *slot, int index, moco_status status, const struct err *err);

/* Index of the first entry with an id >= `id`, and the entry of `id`, or NULL; with the lock held. */
int64_t loader_bad_place(const struct loader *l, int64_t id);
struct bad *loader_find_bad(struct loader *l, int64_t id);

/* "PATH" or "image 17" for a sentence. */
void loader_name(const struct loader *l, int64_t id, char *text, size_t size);

#endif
