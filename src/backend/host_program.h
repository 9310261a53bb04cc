/* SPDX-License-Identifier: MIT
 *
 * host_program: the program of a device that computes in host memory before a call returns: a copy of the scalars,
 * an outcome, and the slots that are the same for every such device. The device puts the slots below into its table
 * as they are. It writes its own for losses, sums over slabs and the update, with the functions under "for slots".
 * What a reader would get wrong: a finding stops nothing. The calls of the step continue with useless numbers;
 * `found` lets the caller end the step early. */
#ifndef MOCO_BACKEND_HOST_PROGRAM_H
#define MOCO_BACKEND_HOST_PROGRAM_H

#include "backend/backend.h"

struct be_program {
    struct ctx *ctx;
    struct be_device *dev;
    struct be_program_spec spec;
    size_t real_bytes;
    int params;               /* of the layout */
    struct be_scalars now;    /* of the open step; its ranges are the array below */
    struct be_range *ranges;  /* [spec.range_count] */
    struct be_outcome so_far; /* of the open step, or of the last one that ended */
    enum { HOST_IDLE, HOST_WORK, HOST_COMMIT } phase;
    int part;   /* of the open step, from 0 */
    int may;    /* decided: it may commit */
    int untold; /* so_far is the outcome of a step that has ended, and was not fetched */
};

/* `params`: of spec->layout. */
moco_status host_program_create(struct be_program **out, struct ctx *ctx, struct be_device *dev,
                                const struct be_program_spec *spec, size_t real_bytes, int params, struct err *err);
moco_status host_cancel_alloc(struct ctx *ctx, _Atomic int **out, struct err *err);
void host_cancel_free(struct ctx *ctx, _Atomic int *cancel);

/* ---- slots ---- */
void host_program_free(struct be_program *program);
void host_program_reset(struct be_program *program);
moco_status host_program_begin(struct be_program *program, const struct be_scalars *scalars,
                               const struct be_input *input, struct be_input *at, int *skip, struct err *err);
int host_found(const struct be_program *program);
moco_status host_part(struct be_program *program, struct err *err);
moco_status host_verdict(struct be_program *program, struct be_outcome *out, struct err *err);
moco_status host_decide(struct be_program *program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err);
moco_status host_program_end(struct be_program *program, struct err *err);
void host_program_drop(struct be_program *program);
moco_status host_outcome(struct be_program *program, int wait, int *known, struct be_outcome *out, struct err *err);
int host_behind(const struct be_program *program);
moco_status host_gather(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err);
moco_status host_scatter(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err);
moco_status host_check_rows(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                            int n, int dim, struct err *err);
moco_status host_check_stats(struct be_program *program, enum be_what what, const struct graph *graph,
                             const void *stats, struct err *err);
moco_status host_row_std(struct be_program *program, const void *rows, int n, int dim, struct err *err);
moco_status host_push(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err);

/* ---- for slots ---- */
/* MOCO_ESTATE if `call` does not belong here: before decide, or (host_may) after it. */
moco_status host_in_work(const struct be_program *program, const char *call, struct err *err);
/* *may: is the call to be done? */
moco_status host_may(const struct be_program *program, const char *call, int *may, struct err *err);
void host_bad(struct be_program *program, enum be_what what, int64_t index);
/* What a check of gradients has found: `bad` is a parameter, or -1. */
void host_gradient(struct be_program *program, enum be_what what, double sum_squares, int bad);

/* Sums of a loss over the queries of a launch. */
struct host_sums {
    double loss, top1, top5, pos, neg;
};
void host_add_sums(struct be_program *program, const struct host_sums *sums);

/* How the optimizer treats a parameter. */
struct host_rule {
    double lr, weight_decay;
    int frozen;
};
struct host_rule host_rule_of(const struct be_program *program, int param);

#endif
