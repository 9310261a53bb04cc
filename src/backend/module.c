/* SPDX-License-Identifier: MIT
 *
 * module: see module.h. */
#include "backend/module.h"

#include <string.h>

#include "dl.h"
#include "module_file.h"

/* The backend that a loaded library offers, or why it is none that can be used. */
static moco_status look_inside(const struct backend **out, void *library, const char *path, const char *name,
                               struct err *err)
{
    const struct backend *be = dl_symbol(library, BACKEND_MODULE_SYMBOL);
    if (be == NULL)
        return err_set(err, MOCO_ENODEV,
                       "device %s: %.200s is no module of libmoco: it has no symbol " BACKEND_MODULE_SYMBOL, name,
                       path);
    if (be->abi != BACKEND_ABI) /* its other members may be anything */
        return err_set(err, MOCO_ENODEV,
                       "device %s: %.200s was built for version %lu of libmoco's contract with its devices, and this "
                       "libmoco has version %d; take the module that belongs to this libmoco",
                       name, path, (unsigned long)be->abi, BACKEND_ABI);
    if (strcmp(be->name, name) != 0)
        return err_set(err, MOCO_ENODEV, "device %s: %.200s is the module of the devices %.20s", name, path, be->name);
    *out = be;
    return MOCO_OK;
}

moco_status module_find(const struct backend **out, const char *name, const char *device, const char *built_in,
                        struct err *err)
{
    void *library;
    char path[MODULE_PATH];
    struct err why = {0};
    *out = NULL;
    if (module_open(&library, path, name, &why) != MOCO_OK)
        return path[0] != 0 ? err_set(err, MOCO_ENODEV, "device %s: %s", name, why.text)
                            : err_set(err, MOCO_ENODEV, "there is no device \"%s\": this build has %s, and %s", device,
                                      built_in, why.text);
    moco_status status = look_inside(out, library, path, name, err);
    if (status != MOCO_OK)
        dl_close(library);
    return status;
}
