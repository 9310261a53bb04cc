/* SPDX-License-Identifier: MIT
 *
 * sim_device: "cudasim:0" to "cudasim:7", the CUDA backend's own host code on a simulated driver (sim_driver.h).
 * MOCO_SIMT_SEED: another order of threads, blocks and streams in all of a test program. */
#include <pthread.h>
#include <stdlib.h>

#include "backend/cuda/cuda.h"
#include "support/cudasim/sim_dnn.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/sim_nccl.h"
#include "support/cudasim/simt.h"

static moco_status find_nccl(const struct nccl_library **out, struct err *err)
{
    (void)err;
    *out = &sim_nccl;
    return MOCO_OK;
}

static moco_status sim_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    static const char image[] = "no image: the simulated driver has its kernels";
    *out = NULL;
    struct cuda_tables tables = {.cu = &sim_driver, .image = image, .dnn = &sim_dnn, .without = "", .nccl = find_nccl};
    TRY(cuda_driver_start(&sim_driver, "simulated", err));
    if (cuda_number(name) == 1) {
        tables.dnn = NULL;
        tables.without = "cuDNN: this device is simulated without it";
    }
    return cuda_open(out, ctx, &tables, name, cuda_number(name), err);
}

static void sim_program_reset(struct be_program *program)
{
    if (!sim_faulty(SIM_NO_RESET))
        cuda_slots.program_reset(program);
}

static struct backend be;

static void fill(void)
{
    const char *seed = getenv("MOCO_SIMT_SEED");
    if (seed != NULL) {
        simt_seed(strtoull(seed, NULL, 10));
        sim_seed(strtoull(seed, NULL, 10));
    }
    be = cuda_slots;
    be.abi = BACKEND_ABI;
    be.name = "cudasim";
    be.open = sim_open;
    be.program_reset = sim_program_reset;
}

const struct backend *backend_of_cudasim(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return &be;
}
