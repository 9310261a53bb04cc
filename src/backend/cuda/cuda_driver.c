/* SPDX-License-Identifier: MIT
 *
 * cuda_driver: see cuda_driver.h. What a reader would get wrong: the folders are fixed when this is compiled, and no
 * variable of the environment adds one; a driver is code that runs in this process. */
#include "backend/cuda/cuda_driver.h"

#include "dl.h"

#ifndef MOCO_CUDA_FOLDERS
/* Debian and its kin; Fedora and its kin; aarch64; WSL; containers; NixOS. */
#define MOCO_CUDA_FOLDERS                                                                                              \
    "/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/lib/aarch64-linux-gnu:/usr/lib:/usr/lib/wsl/lib:"                       \
    "/usr/local/nvidia/lib64:/run/opengl-driver/lib"
#endif

static moco_status fill_table(struct cuda_driver *out, void *library, const char *path, struct err *err)
{
#define FILL(member, symbol, args)                                                                                     \
    if (!dl_function(&out->member, library, #symbol))                                                                  \
        return err_set(err, MOCO_ENODEV,                                                                               \
                       "cuda: the driver %.200s is too old: it has no " #symbol "; version %d.%d or newer is "         \
                       "needed",                                                                                       \
                       path, CUDA_DRIVER_OLDEST / 1000, CUDA_DRIVER_OLDEST % 1000 / 10);
    CUDA_DRIVER(FILL)
#undef FILL
    return MOCO_OK;
}

moco_status cuda_driver_start(const struct cuda_driver *cu, const char *path, struct err *err)
{
    int version = 0;
    cu_result result = cu->init(0);
    if (result == CU_STUB)
        return err_set(err, MOCO_ENODEV,
                       "cuda: %.200s is the toolkit's stub, to link with, and no driver: install NVIDIA's driver",
                       path);
    if (result == CU_NO_DEVICE)
        return err_set(err, MOCO_ENODEV, "cuda: the driver %.200s finds no GPU", path);
    if (result == CU_MISMATCH)
        return err_set(err, MOCO_ENODEV,
                       "cuda: the driver %.200s does not belong to the kernel module that is loaded: restart the "
                       "machine after an update",
                       path);
    if (result != CU_OK)
        return err_set(err, MOCO_ENODEV, "cuda: the driver %.200s does not start: error %d", path, result);
    if (cu->driver_version(&version) != CU_OK || version < CUDA_DRIVER_OLDEST)
        return err_set(err, MOCO_ENODEV, "cuda: the driver %.200s is of CUDA %d.%d; %d.%d or newer is needed", path,
                       version / 1000, version % 1000 / 10, CUDA_DRIVER_OLDEST / 1000, CUDA_DRIVER_OLDEST % 1000 / 10);
    return MOCO_OK;
}

moco_status cuda_driver_load(struct cuda_driver *out, struct err *err)
{
    char path[DL_PATH];
    void *library;
    struct err why = {0};
    if (!dl_find(path, MOCO_CUDA_FOLDERS, "libcuda.so.1"))
        return err_set(err, MOCO_ENODEV, "cuda: there is no NVIDIA driver here: no libcuda.so.1 in %.300s",
                       MOCO_CUDA_FOLDERS);
    if (dl_open(&library, path, &why) != MOCO_OK)
        return err_set(err, MOCO_ENODEV, "cuda: the driver cannot be loaded: %.400s", why.text);
    moco_status status = fill_table(out, library, path, err);
    if (status == MOCO_OK)
        status = cuda_driver_start(out, path, err);
    if (status != MOCO_OK)
        dl_close(library);
    return status;
}
