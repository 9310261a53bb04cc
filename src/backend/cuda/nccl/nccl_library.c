/* SPDX-License-Identifier: MIT
 *
 * nccl_library: see nccl_library.h. What a reader would get wrong: the folders are fixed when this is compiled; a variable
 * of the environment adds none, because a library is code that runs in this process. */
#include "backend/cuda/nccl/nccl_library.h"

#include <stdio.h>

#include "dl.h"

#ifndef MOCO_NCCL_FOLDERS
/* Packages of Debian and Fedora; toolkits; wheels of a system's Python, and of conda's. */
#define MOCO_NCCL_FOLDERS                                                                                              \
    "/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/lib/aarch64-linux-gnu:/usr/local/cuda/lib64:/usr/local/cuda/lib:"       \
    "/opt/cuda/lib64:/usr/local/lib/python3*/*-packages/nvidia/nccl/lib:"                                              \
    "/usr/lib/python3*/*-packages/nvidia/nccl/lib:/opt/conda/lib:"                                                     \
    "/opt/conda/lib/python3*/site-packages/nvidia/nccl/lib"
#endif

static moco_status fill_table(struct nccl_library *out, void *library, const char *path, struct err *err)
{
#define FILL(member, symbol, result, args)                                                                             \
    if (!dl_function(&out->member, library, #symbol))                                                                  \
        return err_set(err, MOCO_ENODEV, "NCCL: %.200s has no " #symbol "; NCCL %d.%d or newer is needed", path,       \
                       NCCL_OLDEST / 10000, NCCL_OLDEST / 100 % 100);
    NCCL_LIBRARY(FILL)
#undef FILL
    return MOCO_OK;
}

static int version_of(const struct nccl_library *lib)
{
    int version = 0;
    return lib->version(&version) == NCCL_OK ? version : 0;
}

static moco_status check(const struct nccl_library *lib, const char *path, struct err *err)
{
    int is = version_of(lib);
    if (is >= NCCL_OLDEST && is / 10000 == NCCL_OLDEST / 10000)
        return MOCO_OK;
    int old = is < 10000; /* it counted otherwise before 2.9 */
    return err_set(err, MOCO_ENODEV, "NCCL: %.200s is version %d.%d.%d; %d.%d or newer of version %d is needed", path,
                   old ? is / 1000 : is / 10000, old ? is / 100 % 10 : is / 100 % 100, is % 100, NCCL_OLDEST / 10000,
                   NCCL_OLDEST / 100 % 100, NCCL_OLDEST / 10000);
}

moco_status nccl_library_load(struct nccl_library *out, const char *folders, struct err *err)
{
    char path[DL_PATH];
    void *library;
    TRY(dl_load(&library, path, "NCCL", folders != NULL ? folders : MOCO_NCCL_FOLDERS, "libnccl.so.2", err));
    moco_status status = fill_table(out, library, path, err);
    if (status == MOCO_OK)
        status = check(out, path, err);
    if (status != MOCO_OK)
        dl_close(library);
    return status;
}

void nccl_library_name(const struct nccl_library *lib, char *text, size_t size)
{
    int version = version_of(lib);
    snprintf(text, size, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}
