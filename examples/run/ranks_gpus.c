/* SPDX-License-Identifier: MIT
 *
 * ranks_gpus: see ranks_gpus.h. */
#include "ranks_gpus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "folder/run_dir.h"
#include "support/from_moco.h"
#include "support/human.h"

#define COME_SECONDS 600      /* for rank 0 to write the id */
#define PATIENCE_SECONDS 1800 /* for an exchange: rank 0 may be at a kNN, or save, while the others wait */
#define PAUSE_NANOSECONDS 50000000

/* ---- the id ---- */

void gpus_id_path(char *path, size_t size, const char *folder, const struct launch *launch)
{
    snprintf(path, size, "%s/nccl-id-%s", folder, launch->job);
}

static moco_status file_failed(const char *path, const char *what, struct err *err)
{
    return err_set(err, MOCO_EIO, "%.300s: %s: %s", path, what, strerror(errno));
}

static moco_status write_beside(const char *path, const unsigned char *id, struct err *err)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return file_failed(path, "it cannot be made", err);
    int whole = fwrite(id, MOCO_COMM_ID_BYTES, 1, f) == 1;
    if (fclose(f) != 0 || !whole)
        return file_failed(path, "it cannot be written", err);
    return MOCO_OK;
}

moco_status gpus_write_id(const char *path, const unsigned char id[MOCO_COMM_ID_BYTES], struct err *err)
{
    char beside[RUN_PATH_SIZE];
    snprintf(beside, sizeof beside, "%.1100s.part", path);
    moco_status status = write_beside(beside, id, err);
    if (status == MOCO_OK && rename(beside, path) != 0)
        status = file_failed(path, "it cannot be made", err);
    if (status != MOCO_OK)
        remove(beside);
    return status;
}

moco_status gpus_read_id(const char *path, unsigned char id[MOCO_COMM_ID_BYTES], double seconds, struct err *err)
{
    const struct timespec pause = {0, PAUSE_NANOSECONDS};
    double begun = seconds_now();
    FILE *f;
    while ((f = fopen(path, "rb")) == NULL) {
        if (errno != ENOENT && errno != ESTALE)
            return file_failed(path, "it cannot be read", err);
        if (seconds_now() - begun > seconds)
            return err_set(err, MOCO_ECOMM,
                           "rank 0 has written no %.300s within %g seconds: all ranks must see the run folder", path,
                           seconds);
        nanosleep(&pause, NULL);
    }
    int whole = fread(id, MOCO_COMM_ID_BYTES, 1, f) == 1 && fgetc(f) == EOF;
    fclose(f);
    return whole ? MOCO_OK : err_set(err, MOCO_ECOMM, "%.300s is no id of %d bytes", path, MOCO_COMM_ID_BYTES);
}

/* ---- joining ---- */

void gpus_device(char *name, size_t size, const char *device, int64_t local)
{
    if (strcmp(device, "cuda") == 0)
        snprintf(name, size, "cuda:%lld", (long long)local);
    else
        snprintf(name, size, "%s", device);
}

static moco_status open_device(struct gpus *g, const char *device, int64_t local, const moco_context_options *context,
                               struct err *err)
{
    char name[64];
    gpus_device(name, sizeof name, device, local);
    TRY(from_moco(moco_context_create(&g->context, context), err));
    return from_moco(moco_device_open(&g->device, g->context, name), err);
}

static moco_status exchange_id(moco_device *device, const struct launch *launch, const char *folder, const char *path,
                               unsigned char id[MOCO_COMM_ID_BYTES], struct err *err)
{
    if (launch->rank > 0)
        return gpus_read_id(path, id, COME_SECONDS, err);
    TRY(run_dir_make(folder, err));
    TRY(from_moco(moco_comm_make_id(device, id, MOCO_COMM_ID_BYTES), err));
    return gpus_write_id(path, id, err);
}

moco_status gpus_join(struct gpus *g, const struct launch *launch, const char *device, const char *folder,
                      const moco_context_options *context, struct err *err)
{
    unsigned char id[MOCO_COMM_ID_BYTES];
    char path[RUN_PATH_SIZE];
    moco_comm_options o;
    *g = (struct gpus){NULL, NULL, NULL};
    if (launch->job[0] == 0)
        return err_set(err, MOCO_EINVAL,
                       "--ranks nccl is for processes that torchrun or srun has started%s%s; with --ranks mpi GPUs "
                       "exchange by NCCL, too",
                       launch->by != NULL ? ", not " : "", launch->by != NULL ? launch->by : "");
    moco_comm_options_init(&o);
    o.patience_seconds = PATIENCE_SECONDS;
    TRY(open_device(g, device, launch->local, context, err));
    gpus_id_path(path, sizeof path, folder, launch);
    TRY(exchange_id(g->device, launch, folder, path, id, err));
    moco_status status = from_moco(
        moco_comm_from_id(&g->comm, g->device, (int32_t)launch->rank, (int32_t)launch->processes, id, sizeof id, &o),
        err);
    if (launch->rank == 0)
        remove(path); /* all have read it, or never will */
    return status;
}
