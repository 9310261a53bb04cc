/* SPDX-License-Identifier: MIT
 *
 * cuda_record: recordings of a step as CUDA graphs. The step that is recorded also runs: every call is queued as ever, and
 * once more into a stream that records, the program's tape. A recording that a driver or cuDNN does not take is
 * therefore no failure of the step: one line of the log says so, and steps are queued call by call from then on. Calls of
 * other threads, who may embed with the same device meanwhile, are on no tape. Each part of a step's work is a graph of its
 * own. The tape begins to record with the first call of a part and ends with the part, so that it does not record while
 * the caller meets others, perhaps with calls of the driver that would spoil it; a part without a call has no graph. What a
 * reader would get wrong: a graph holds addresses and numbers as they were given. What changes from step to step is in
 * the step's block, which is copied before the graph runs; who moves memory calls program_reset. */
#include "backend/cuda/cuda.h"

struct be_program *cuda_recorder(const struct be_device *dev)
{
    struct be_program *p = dev->recording;
    while (p != NULL && !pthread_equal(p->owner, pthread_self()))
        p = p->next;
    return p;
}

void cuda_recorded(struct be_program *p, cu_result result, const char *what)
{
    const char *name = NULL;
    if (result == CU_OK || p->refused.status != MOCO_OK)
        return;
    if (p->dev->cu->error_name(result, &name) != CU_OK || name == NULL)
        name = "an error without a name";
    err_set(&p->refused, MOCO_EDEVICE, "%s said %.60s (%d)", what, name, result);
}

static void leave_list(struct be_program *p)
{
    struct be_program **at = &p->dev->recording;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->recording = 0;
}

void cuda_record_begin(struct be_program *p)
{
    p->refused = (struct err){.status = MOCO_OK};
    p->owner = pthread_self();
    p->next = p->dev->recording;
    p->dev->recording = p;
    p->recording = 1;
    p->taping = 0;
}

struct be_program *cuda_tape(struct be_device *dev)
{
    struct be_program *p = cuda_recorder(dev);
    if (p != NULL && !p->taping && p->refused.status == MOCO_OK) {
        cuda_recorded(p, dev->cu->capture_begin(p->tape, CU_CAPTURE_OF_THREAD), "cuStreamBeginCapture");
        p->taping = p->refused.status == MOCO_OK;
    }
    return p != NULL && p->taping ? p : NULL;
}

static void destroy(struct be_device *dev, cu_graph_exec *graph)
{
    if (*graph != NULL)
        dev->cu->graph_exec_destroy(*graph);
    *graph = NULL;
}

static cu_graph end_tape(struct be_program *p)
{
    cu_graph graph = NULL;
    leave_list(p);
    if (p->taping)
        cuda_recorded(p, p->dev->cu->capture_end(p->tape, &graph), "cuStreamEndCapture");
    p->taping = 0;
    return graph;
}

int cuda_record_end(struct be_program *p, cu_graph_exec *out)
{
    struct be_device *dev = p->dev;
    cu_graph graph = end_tape(p);
    destroy(dev, out);
    if (p->refused.status == MOCO_OK && graph != NULL)
        cuda_recorded(p, dev->cu->graph_make(out, graph, 0), "cuGraphInstantiateWithFlags");
    if (graph != NULL)
        dev->cu->graph_destroy(graph);
    if (p->refused.status == MOCO_OK)
        return 1;
    *out = NULL;
    if (dev->lost.status == MOCO_OK)
        ctx_log(dev->ctx, LOG_WARN, "%s: steps are queued call by call, and the first of them was not recorded: %.400s",
                dev->name, p->refused.text);
    return 0;
}

void cuda_record_drop(struct be_program *p)
{
    if (!p->recording)
        return;
    cu_graph graph = end_tape(p);
    if (graph != NULL)
        p->dev->cu->graph_destroy(graph);
    p->refused = (struct err){.status = MOCO_OK}; /* nobody was told: the next step is recorded again */
}

void cuda_record_forget_turn(struct be_program *p, struct cuda_turn *turn)
{
    for (int i = 0; turn->work != NULL && i < p->parts; i++)
        destroy(p->dev, &turn->work[i]);
    turn->recorded = 0;
}

void cuda_record_forget(struct be_program *p)
{
    cuda_record_drop(p);
    for (int i = 0; i < CUDA_TURNS; i++)
        cuda_record_forget_turn(p, &p->turn[i]);
    destroy(p->dev, &p->commit);
}
