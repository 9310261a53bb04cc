/* SPDX-License-Identifier: MIT
 *
 * sim_driver: a CUDA driver that promises what NVIDIA's promises, and no more. Work that is queued runs as late as it
 * may: when somebody waits for it, streams in a drawn order. Device memory faults when the host touches it, and is NaN
 * when it is taken; the bytes behind a block are looked at when it is freed. Page-locked memory is read when a copy runs,
 * not when it is queued, and who has written or freed it meanwhile ends the program, as does a copy of other host
 * memory. A stream that records keeps what it is given, with numbers and addresses as they were given; what must not be
 * done by a thread that records is refused, and spoils the recording; a graph whose memory was freed is an illegal address. What a reader would get wrong: it is stricter
 * than a GPU, on purpose; that something passes here says nothing of speed, nor of a real driver's mistakes. */
#ifndef MOCO_TESTS_SIM_DRIVER_H
#define MOCO_TESTS_SIM_DRIVER_H

#include <stdint.h>

#include "backend/backend.h"
#include "backend/cuda/cuda_driver.h"
#include "support/devices/relu_masks.h"

extern const struct cuda_driver sim_driver;

/* For libraries that queue work of their own (sim_dnn.h): call(arg) when the stream comes to it, unless an error came
 * before; of what is recorded, every time that it runs. drop(arg) when it never will again. Refused if a span is not
 * within one block of device memory; then nothing is dropped. */
struct sim_span {
    const void *at;
    size_t bytes;
};
cu_result sim_call(cu_stream stream, void (*call)(void *arg), void (*drop)(void *arg), void *arg,
                   const struct sim_span *spans, int span_count);
void sim_take_time(double milliseconds); /* within call: so long a GPU would be at it, as events tell */

/* The same for what ranks do together (sim_nccl.h): the stream goes on once ready(arg) is true, which is asked with the
 * driver's lock held, whenever the stream might go on. A thread that waits for it lets others queue their part for
 * SIM_PATIENCE seconds, and then ends the program: a GPU would wait for ever. sim_stir: it may have become true. */
cu_result sim_meeting(cu_stream stream, int (*ready)(void *arg), void (*call)(void *arg), void (*drop)(void *arg),
                      void *arg, const struct sim_span *span);
void sim_stir(void);
cu_context sim_current(void); /* of this thread; NULL: none */
enum { SIM_PATIENCE = 10 };

/* "cudasim:0" to "cudasim:7": the CUDA backend on this driver, all with the simulated cuDNN and NCCL but the second, which
 * has no cuDNN. */
const struct backend *backend_of_cudasim(void);
void relu_masks_read_cuda(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks);

/* A failure that is to come: of the `after`-th call from now, counted from 0. */
enum sim_failure {
    SIM_SOUND,
    SIM_NO_MEMORY,      /* cuMemAlloc and cuMemHostAlloc: once */
    SIM_LAUNCH_REFUSED, /* cuLaunchKernel answers an error, and so does every call from then on */
    SIM_KERNEL_FAULTS,  /* what is launched fails when it runs: every call that waits says so from then on */
    SIM_GRAPH_REFUSED   /* cuGraphInstantiateWithFlags does not take a recording: once */
};
void sim_plant(enum sim_failure failure, int after);
int sim_planted_is_due(void); /* 1: it has not happened yet */

void sim_seed(uint64_t seed); /* of the order in which streams run */

/* Calls that could fail so far, by the kind of failure. */
int64_t sim_calls(enum sim_failure failure);

/* A fault of the driver, of a kernel or of the backend's host code, which tests have to find. */
enum sim_fault {
    SIM_FAULTLESS,
    SIM_FROZEN,     /* a graph has the rates, momenta, temperature and row of the queue of the step that ran it first */
    SIM_NO_WAIT,    /* streams wait for no event */
    SIM_NO_VERDICT, /* a step commits whatever was found */
    SIM_FORGETS,    /* a step commits though one before it failed, and nobody was told */
    SIM_NO_RESET,   /* program_reset does nothing */
    SIM_SHORT_PART  /* what a stream records ends one work early, which the next recording of it begins with */
};
void sim_fault(enum sim_fault fault);
int sim_faulty(enum sim_fault fault); /* is it the one? */

/* Instances of graphs that there are; how many times one was launched. */
int64_t sim_graphs(void);
int64_t sim_graph_runs(void);

/* What a recording of a step would repeat: SIM_RECORD notes the kernels that are queued from now on, with all numbers and
 * addresses that they are given; SIM_COMPARE holds what is queued from now on against that, from the first; SIM_FORGET ends
 * it. Returns the name of the first kernel that was queued with other arguments, or in another place; NULL: there is none. */
enum sim_recording { SIM_FORGET, SIM_RECORD, SIM_COMPARE };
const char *sim_recording(enum sim_recording next);
int sim_recorded(void); /* how many kernels there are in it */

/* Bytes of device memory that are held; works that are queued. */
int64_t sim_live(void);
int64_t sim_pending(void);

/* Copies to a GPU that were queued so far out of the page-locked block in which `host` is; -1: it is in none. */
int64_t sim_loads(const void *host);

#endif
