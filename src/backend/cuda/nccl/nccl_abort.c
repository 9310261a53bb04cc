/* SPDX-License-Identifier: MIT
 *
 * nccl_abort: see nccl_abort.h. What a reader would get wrong: the thread and who waits for it may either be the last to
 * need what they share, so that whoever is frees it; and the device may be closed before an abort that hangs returns,
 * so that the thread looks at nothing of it. */
#include "backend/cuda/nccl/nccl_abort.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define ABORT_SECONDS 2

struct abortion {
    struct ctx *ctx;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    nccl_result (*abort)(nccl_comm comm);
    nccl_comm comm;
    const struct cuda_driver *cu; /* of the module, which stays loaded */
    cu_context context;
    int users, done;
};

static void drop(struct abortion *a)
{
    pthread_mutex_lock(&a->lock);
    int last = --a->users == 0;
    pthread_mutex_unlock(&a->lock);
    if (!last)
        return;
    pthread_cond_destroy(&a->moved);
    pthread_mutex_destroy(&a->lock);
    struct ctx *ctx = a->ctx;
    mem_free(ctx, a);
    ctx_unref(ctx);
}

static void *run(void *argument)
{
    struct abortion *a = argument;
    cu_context ignored;
    a->cu->context_push(a->context);
    nccl_result result = a->abort(a->comm);
    a->cu->context_pop(&ignored);
    pthread_mutex_lock(&a->lock);
    a->done = result == NCCL_OK || result == NCCL_BUSY ? 1 : -1;
    pthread_cond_signal(&a->moved);
    pthread_mutex_unlock(&a->lock);
    drop(a);
    return NULL;
}

static int wait_for(struct abortion *a)
{
    struct timespec until;
    int failed = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ABORT_SECONDS;
    pthread_mutex_lock(&a->lock);
    while (a->done == 0 && failed != ETIMEDOUT)
        failed = pthread_cond_timedwait(&a->moved, &a->lock, &until);
    int gone = a->done == 1;
    pthread_mutex_unlock(&a->lock);
    return gone;
}

int nccl_abort(const struct nccl_library *lib, nccl_comm comm, struct be_device *dev)
{
    sigset_t all, old;
    pthread_t thread;
    struct abortion *a = mem_zalloc(dev->ctx, sizeof *a, NULL);
    if (a == NULL)
        return 0;
    a->ctx = ctx_ref(dev->ctx);
    a->abort = lib->abort;
    a->comm = comm;
    a->cu = dev->cu;
    a->context = dev->context;
    a->users = 2;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->moved, NULL);
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&thread, NULL, run, a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0) {
        a->users = 1;
        drop(a);
        return 0;
    }
    pthread_detach(thread);
    int gone = wait_for(a);
    drop(a);
    return gone;
}
