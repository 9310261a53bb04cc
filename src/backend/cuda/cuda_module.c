/* SPDX-License-Identifier: MIT
 *
 * cuda_module: libmoco_cuda.so (backend/module.h): the devices "cuda:0", "cuda:1", ... and the kernels that nvcc made,
 * for all targets in one image. What a reader would get wrong: this file is in no other library, since it alone needs
 * what nvcc makes. */
#include <pthread.h>

#include "backend/cuda/cuda.h"

#ifdef MOCO_CUDA_IMAGE
#define IMAGE ".incbin \"" MOCO_CUDA_IMAGE "\"\n"
#else
#define IMAGE /* of a test: no kernels */
#endif

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "moco_cuda_image:\n" IMAGE ".byte 0\n"
        ".popsection");
extern const unsigned char moco_cuda_image[] __attribute__((visibility("hidden")));

/* The driver is loaded with the first device, and stays; so is cuDNN, where it is. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_driver driver;
static struct dnn_library dnn;
static struct err without_dnn;
static int loaded;

static void load_dnn(void)
{
    int version = 0, of_driver = 0;
    if (driver.driver_version(&of_driver) != CU_OK)
        of_driver = 0;
    dnn_library_load(&dnn, NULL, of_driver, &version, &without_dnn);
}

static moco_status load_once(struct err *err)
{
    pthread_mutex_lock(&lock);
    moco_status status = loaded ? MOCO_OK : cuda_driver_load(&driver, err);
    if (status == MOCO_OK && !loaded)
        load_dnn();
    loaded = status == MOCO_OK;
    pthread_mutex_unlock(&lock);
    return status;
}

static moco_status module_open(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    *out = NULL;
    TRY(load_once(err));
    const struct cuda_tables tables = {.cu = &driver,
                                       .image = moco_cuda_image,
                                       .dnn = without_dnn.status == MOCO_OK ? &dnn : NULL,
                                       .without = without_dnn.text,
                                       .nccl = cuda_nccl};
    return cuda_open(out, ctx, &tables, name, cuda_number(name), err);
}

/* Slots of cuda_slots; C has no way to write this down as a constant. */
extern struct backend moco_backend __attribute__((visibility("default")));
struct backend moco_backend;

__attribute__((constructor)) static void fill_table(void)
{
    moco_backend = cuda_slots;
    moco_backend.abi = BACKEND_ABI;
    moco_backend.name = "cuda";
    moco_backend.open = module_open;
}
