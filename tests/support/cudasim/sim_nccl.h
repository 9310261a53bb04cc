/* SPDX-License-Identifier: MIT
 *
 * sim_nccl: an NCCL between threads of one process, on the simulated driver (sim_driver.h). An exchange begins on a GPU when
 * its stream comes to it, ends when those of all ranks have, and sums in the order of a ring. Communicators are busy
 * after a call for a drawn number of questions, and what was asked for is in the stream only then; a call to one that is
 * busy, other arguments on another rank, and two ranks on one GPU are refused, as by NVIDIA's. What a reader would get
 * wrong: whatever waits for a GPU in whose stream an exchange stands that not all ranks have come to waits with it. */
#ifndef MOCO_TESTS_SIM_NCCL_H
#define MOCO_TESTS_SIM_NCCL_H

#include "backend/cuda/nccl/nccl_library.h"

extern const struct nccl_library sim_nccl;

enum sim_nccl_fault {
    SIM_NCCL_SOUND,
    SIM_NCCL_NEVER_JOINS,    /* a rank's communicator is never ready: and so nobody's is */
    SIM_NCCL_NEVER_COMES,    /* its GPU never comes to exchange `after`, counted from 0 */
    SIM_NCCL_ERROR,          /* its communicator has an error of its own from exchange `after` on */
    SIM_NCCL_ABORT_HANGS,    /* its abort does not return for SIM_NCCL_HANG seconds */
    SIM_NCCL_FINALIZE_HANGS, /* its finalize never ends */
    SIM_NCCL_OTHER_VERSION   /* the first thread that asks for it is told another version than the rest */
};
enum { SIM_NCCL_HANG = 4 };
void sim_nccl_plant(enum sim_nccl_fault fault, int rank, int after);

/* Communicators that were neither destroyed nor aborted; aborts that were asked for so far. */
int sim_nccl_live(void);
int sim_nccl_aborts(void);

#endif
