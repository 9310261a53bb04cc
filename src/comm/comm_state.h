/* SPDX-License-Identifier: MIT
 *
 * comm_state: what comm.c (calls of the program) and comm_drive.c (calls of the engine) share. Everything behind `lock`
 * changes under it. The engine is called without the lock, by one thread at a time: the comm's own, or where the engine
 * allows none, whoever begins an exchange or waits for one. */
#ifndef MOCO_COMM_COMM_STATE_H
#define MOCO_COMM_COMM_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "comm/comm.h"

/* Exchanges at most; a further one waits for the first of them. Fewer than a device has events (backend.h, mark). */
#define COMM_UNDER_WAY 60
#define COMM_HOST 64

enum comm_kind { COMM_GATHER, COMM_SUM };

struct comm_job {
    enum comm_kind kind;
    void *data;
    int64_t count; /* bytes of a rank, or reals */
    int32_t dtype;
    int on_device;
    void *event; /* of device memory */
    void *request;
    double asked; /* when, in seconds */
};

struct comm {
    struct ctx *ctx;
    moco_comm_engine engine, link; /* link: what carries the memory of devices, if the engine does not */
    int linked;
    const void *device; /* whose memory that is */
    moco_comm_options o;
    struct comm_ballot *ballots; /* [ranks] */
    char (*hosts)[COMM_HOST];    /* [ranks]; "": not known */
    _Atomic int cancel;
    int threaded;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t work, moved; /* something to do for the thread; something was done */
    int quit;
    struct comm_job job[COMM_UNDER_WAY];
    int64_t begun, started, done, bytes; /* exchanges: asked for, given to the engine, done */
    double waited;
    int broken, closed, written_to;
    int abort_code; /* not 0: all processes are to end with it */
    int survived;   /* 1: the engine has tried */
    struct err why; /* of `broken` */
    struct {
        int asked;         /* 1: the others have been called and have not all answered */
        double since;      /* when they were called, or answered last */
        uint8_t *answered; /* [ranks] */
        struct tale {
            int bytes; /* that are still to come */
            int rank;
        } * tale; /* [ranks] what each of the others is saying of a rank that is lost */
    } roll;
};

/* Does all that can be done without waiting; with the lock held, which it gives back around calls of the engine. 1: an
 * exchange was started or has ended, or the comm broke. */
int comm_drive(struct comm *comm);
/* The thread that does so. */
void *comm_serve(void *comm);
/* With the lock held, which it gives back around the call: has the engine end all processes, if that was asked for. 1: it
 * has tried. */
int comm_end_all(struct comm *comm);
/* With the lock held: closes the engine, once. */
void comm_close(struct comm *comm, int broken);

double comm_now(void);

#endif
