/* SPDX-License-Identifier: MIT
 *
 * dnn_library: see dnn_library.h. What a reader would get wrong: the folders are fixed when this is compiled; a variable
 * of the environment adds none, because a library is code that runs in this process. */
#include "backend/cuda/dnn/dnn_library.h"

#include <stdio.h>

#include "dl.h"

#ifndef MOCO_CUDNN_FOLDERS
/* Packages of Debian and Fedora; toolkits; wheels of a system's Python, and of conda's. */
#define MOCO_CUDNN_FOLDERS                                                                                             \
    "/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/lib/aarch64-linux-gnu:/usr/local/cuda/lib64:/usr/local/cuda/lib:"       \
    "/opt/cuda/lib64:/usr/local/lib/python3*/*-packages/nvidia/cudnn/lib:"                                             \
    "/usr/lib/python3*/*-packages/nvidia/cudnn/lib:/opt/conda/lib:"                                                    \
    "/opt/conda/lib/python3*/site-packages/nvidia/cudnn/lib"
#endif

static moco_status fill_table(struct dnn_library *out, void *library, const char *path, struct err *err)
{
#define FILL(member, symbol, result, args)                                                                             \
    if (!dl_function(&out->member, library, #symbol))                                                                  \
        return err_set(err, MOCO_ENODEV, "cuDNN: %.200s is not cuDNN %d: it has no " #symbol, path, DNN_MAJOR);
    DNN_LIBRARY(FILL)
#undef FILL
    return MOCO_OK;
}

moco_status dnn_library_check(const struct dnn_library *lib, const char *path, int driver, int *version,
                              struct err *err)
{
    int is = (int)lib->version(), runtime = (int)lib->runtime_version();
    *version = is;
    if (is / 10000 != DNN_MAJOR || is < DNN_OLDEST)
        return err_set(err, MOCO_ENODEV, "cuDNN: %.200s is version %d.%d.%d; %d.%d or newer of version %d is needed",
                       path, is / 10000, is / 100 % 100, is % 100, DNN_OLDEST / 10000, DNN_OLDEST / 100 % 100,
                       DNN_MAJOR);
    if (driver != 0 && runtime / 1000 > driver / 1000)
        return err_set(err, MOCO_ENODEV,
                       "cuDNN: %.200s was made for CUDA %d, and the driver is of CUDA %d.%d: take a newer driver, or "
                       "cuDNN for CUDA %d",
                       path, runtime / 1000, driver / 1000, driver % 1000 / 10, driver / 1000);
    return MOCO_OK;
}

moco_status dnn_library_load(struct dnn_library *out, const char *folders, int driver, int *version, struct err *err)
{
    char path[DL_PATH], file[32];
    void *library;
    snprintf(file, sizeof file, "libcudnn.so.%d", DNN_MAJOR);
    TRY(dl_load(&library, path, "cuDNN", folders != NULL ? folders : MOCO_CUDNN_FOLDERS, file, err));
    moco_status status = fill_table(out, library, path, err);
    if (status == MOCO_OK)
        status = dnn_library_check(out, path, driver, version, err);
    if (status != MOCO_OK)
        dl_close(library);
    return status;
}
