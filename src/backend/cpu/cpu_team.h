/* SPDX-License-Identifier: MIT
 *
 * cpu_team: what all parts of the device "cpu" share: one oneDNN engine, one team of threads, one table of inner
 * loops. What a reader would get wrong: no code may run a primitive or a kernel outside cpu_enter and
 * parallel_leave. */
#ifndef MOCO_CPU_TEAM_H
#define MOCO_CPU_TEAM_H

#include "backend/cpu/dnnl_shim.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/host_program.h"

struct be_device {
    struct ctx *ctx;
    struct shim_engine *engine;
    struct kern_team team;
    enum shim_isa isa;
    _Atomic int64_t live; /* bytes of its memory */
};

/* Makes the team as wide as the device was opened for; checks that OpenMP delivers it. */
moco_status cpu_enter(const struct be_device *dev, struct parallel_scope *scope, struct err *err);

/* Channels of a block of activations or weights in f32: 16 with AVX-512, else 8. */
int cpu_block(const struct be_device *dev);

#endif
