/* SPDX-License-Identifier: MIT
 *
 * sim_state: what the files of the simulated driver share: blocks of memory (sim_memory.c), works, streams and graphs
 * (sim_work.c), and the calls over them (sim_driver.c). What a reader would get wrong: all of it is guarded by the lock
 * of the calls, and whatever runs has it. */
#ifndef MOCO_TESTS_SIM_STATE_H
#define MOCO_TESTS_SIM_STATE_H

#include <pthread.h>

#include "backend/cuda/kernels/args.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/sim_kernels.h"
#include "support/cudasim/simt.h"

enum { SIM_ARGS = 512 }; /* bytes that a kernel's arguments take at most */

struct block { /* of device memory, or page-locked */
    struct block *next;
    uint64_t number; /* never given twice: an address may be */
    char *map, *at;
    size_t bytes, mapped; /* asked for; without the guard page */
    int host;
    int64_t loads; /* page-locked: copies to a GPU that were queued so far */
};

struct CUevent_st {
    int64_t recorded, reached; /* how many times; a wait is for those that were queued before it */
    int timed;
    double at; /* reached last, milliseconds of sim.clock */
};

enum work_kind { WORK_KERNEL, WORK_CALL, WORK_COPY, WORK_FILL, WORK_RECORD, WORK_WAIT, WORK_GRAPH };

struct work {
    struct work *next;
    enum work_kind kind;
    const struct sim_kernel *kernel;
    struct simt_dim grid, block;
    char *to;
    const char *from;
    size_t bytes;
    void (*call)(void *arg), (*drop)(void *arg);
    int (*ready)(void *arg);
    void *arg;
    int value, faults;
    int64_t records; /* WAIT: of the event, that have to be reached */
    uint64_t hash;   /* COPY from the host: of what it was queued with; else 0 */
    struct CUevent_st *event;
    struct CUgraphExec_st *graph;
    _Alignas(16) char args[SIM_ARGS];
};

struct works {
    struct work *first, **last;
};

/* What a stream records; then a graph, which has the works that an instance of it is made of. */
struct CUgraph_st {
    struct works works;
    int invalid; /* something was done that must not be while it records */
};

/* An address that a work in a graph was given, and the block that it lay in. */
struct seen {
    const char *at;
    uint64_t block;
};

struct CUgraphExec_st {
    struct works works;
    struct seen *seen;
    int seen_count;
    int runs;                /* queued, and not run yet */
    struct cuda_step frozen; /* SIM_FROZEN */
    int has_frozen;
};

struct CUstream_st {
    struct CUstream_st *next;
    struct works works;
    struct CUgraph_st *records; /* NULL: what is queued runs */
    struct work *late;          /* SIM_SHORT_PART */
    cu_context of;              /* whose GPU it is on */
};

struct sim_state {
    struct block *blocks;
    struct CUstream_st *streams;
    int error; /* for good */
    int64_t live, pending, graphs, graph_runs;
    int64_t meetings; /* works that wait to be ready */
    double clock;     /* what works have said that they take, in all */
    enum sim_fault fault;
};
extern struct sim_state sim;
/* `moved`: something was queued, or may run that could not. */
extern pthread_mutex_t sim_lock;
extern pthread_cond_t sim_moved;

_Noreturn void sim_fail(const char *what);

/* ---- sim_memory.c ---- */
struct block *sim_take(size_t bytes, int host);
cu_result sim_give(void *at, int host);
struct block *sim_find(const void *at, size_t bytes); /* NULL: it is not within one block */
/* What is open, the host can touch. Nothing is done for what is open, or closed, already. */
void sim_fence(const struct block *block, int open);
void sim_fence_all(int open);
int sim_all_open(void);

/* ---- sim_work.c ---- */
int sim_run_one(void);  /* the first work of some stream that is not waiting; 0: there is none */
void sim_run_all(void); /* that is queued on the GPU of this thread's context */
/* Nothing can run: lets another thread queue something, which a GPU would wait for, too. Ends the program with `what` once
 * that has come to nothing for SIM_PATIENCE seconds, or if nobody is waited for. `slices`: 0 at first. */
void sim_wait_for_others(const char *what, int *slices);
cu_result sim_queue(struct CUstream_st *stream, const struct work *work);
uint64_t sim_hash(const void *bytes, size_t size); /* never 0 */
int sim_is_queued(const struct block *block);      /* a copy of it, or to it */
void sim_free_works(struct works *works);
void sim_note_blocks(struct CUgraphExec_st *graph, const struct work *work);

#endif
