/* SPDX-License-Identifier: MIT
 *
 * ranks: this process as one of the ranks of a run. What a reader would get wrong: ranks agree at a few places, and every
 * rank has to come to each of them, also one that has failed. Before the first step and at the end of an epoch that
 * place is ranks_share_status; within an epoch it is the step, or ranks_leave instead of it. Rank 0 alone writes files and
 * prints what there is to say; the others say only what they alone have met. */
#ifndef MOCO_EXAMPLES_RANKS_H
#define MOCO_EXAMPLES_RANKS_H

#include <moco/moco.h>

#include "err.h"

struct ranks {
    moco_context *context; /* of the comm */
    moco_device *device;   /* NULL, or the GPU that the comm is over, of that context: the run takes both over */
    moco_comm *comm;       /* NULL: the run has one process */
    int rank, ranks;
    int local;      /* the rank among those of its host */
    int here;       /* of them on this host */
    int processors; /* that this rank should use; 0: all that it may */
    int agreed;     /* the failure that came is that of all ranks */
    char engine[64], host[64];
};

struct ranks_wish {
    const char
        *how; /* "none"; "mpi"; "nccl"; "auto": what the launcher that has started several processes brings: MPI, or
                        for torchrun with a GPU NCCL */
    double silence;              /* seconds, of moco_comm_options */
    const char *device, *folder; /* of the run */
    const moco_context_options *context;
};

/* MOCO_EINVAL: it is the launcher of another MPI. */
moco_status ranks_open(struct ranks *r, const struct ranks_wish *wish, void (*warn)(const char *sentence),
                       struct err *err);
void ranks_close(struct ranks *r);

static inline int ranks_is_first(const struct ranks *r)
{
    return r->rank == 0;
}

/* All ranks call it, each with how it fared; they get the status and the sentence of the first that failed. A failure that
 * they have agreed on is not agreed on again. */
moco_status ranks_share_status(struct ranks *r, moco_status mine, struct err *err);
/* Instead of a step of `trainer`, by a rank that has failed. */
moco_status ranks_leave(struct ranks *r, moco_trainer *trainer, moco_status mine, struct err *err);
/* The answer of a step, whose failure is one of all ranks. */
moco_status ranks_step(struct ranks *r, moco_status status, struct err *err);

/* After MOCO_ECOMM: ends all ranks with `code`, rank 0 after it has saved. A launcher whose ranks end by themselves kills
 * the one that is stopped, and may then answer with that signal. */
void ranks_end(const struct ranks *r, int code);

#endif
