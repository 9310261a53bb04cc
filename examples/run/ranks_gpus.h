/* SPDX-License-Identifier: MIT
 *
 * ranks_gpus: ranks that a launcher without MPI has started (torchrun, srun), each with a GPU of its own: NCCL carries
 * everything between them, and a file in the run folder the id by which they find each other. What a reader would get
 * wrong: the file is that of one start of one job, by its name, and is gone once all have joined; one that a start which
 * failed has left is of no other. */
#ifndef MOCO_EXAMPLES_RANKS_GPUS_H
#define MOCO_EXAMPLES_RANKS_GPUS_H

#include <moco/moco.h>

#include "launch.h"

/* FOLDER/nccl-id-JOB, of what a launcher calls this start of the job. */
void gpus_id_path(char *path, size_t size, const char *folder, const struct launch *launch);
/* Written beside and renamed: who reads it reads all of it. */
moco_status gpus_write_id(const char *path, const unsigned char id[MOCO_COMM_ID_BYTES], struct err *err);
/* Waits for it. MOCO_ECOMM: it did not come within so many seconds. */
moco_status gpus_read_id(const char *path, unsigned char id[MOCO_COMM_ID_BYTES], double seconds, struct err *err);

/* "cuda" is the GPU whose number is that of the rank on its host; any other name is itself. */
void gpus_device(char *name, size_t size, const char *device, int64_t local);

struct gpus {
    moco_context *context;
    moco_device *device;
    moco_comm *comm;
};

/* Opens the rank's GPU, and the comm over it; on failure what there is so far is the caller's, too. */
moco_status gpus_join(struct gpus *gpus, const struct launch *launch, const char *device, const char *folder,
                      const moco_context_options *context, struct err *err);

#endif
