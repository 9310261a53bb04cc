/* SPDX-License-Identifier: MIT
 *
 * cpu_team: see cpu_team.h. */
#include "backend/cpu/cpu_team.h"

moco_status cpu_enter(const struct be_device *dev, struct parallel_scope *scope, struct err *err)
{
    return parallel_enter(scope, dev->team.threads, err);
}

int cpu_block(const struct be_device *dev)
{
    return dev->isa >= SHIM_ISA_AVX512 ? 16 : 8;
}
