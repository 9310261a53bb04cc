/* SPDX-License-Identifier: MIT
 *
 * cpu_param: see cpu_param.h. */
#include "backend/cpu/cpu_param.h"

moco_status cpu_param_master(struct shim_md *out, const struct cpu_param *param, struct err *err)
{
    return shim_md_create(out, param->dims, SHIM_F32, param->order, err);
}
