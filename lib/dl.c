/* SPDX-License-Identifier: MIT
 *
 * dl: see dl.h. */
#define _GNU_SOURCE /* dladdr1 */
#include "dl.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

moco_status dl_open(void **library, const char *path, struct err *err)
{
    *library = NULL;
    if (path[0] != '/')
        return err_set(err, MOCO_EINVAL, "the path of a library must begin with '/', and \"%.200s\" does not", path);
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*library == NULL) {
        const char *why = dlerror();
        return err_set(err, MOCO_EIO, "%s", why != NULL ? why : "the loader gives no reason");
    }
    return MOCO_OK;
}

void *dl_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

void dl_close(void *library)
{
    if (library != NULL)
        dlclose(library);
}

int dl_own_folder(char *folder, size_t size)
{
    static const char here = 0; /* an address inside this library */
    Dl_info info;
    void *map = NULL;
    folder[0] = 0;
    if (dladdr1(&here, &info, &map, RTLD_DL_LINKMAP) == 0 || map == NULL)
        return 0;
    const char *path = ((const struct link_map *)map)->l_name; /* "" for the program itself */
    const char *end = path[0] == '/' ? strrchr(path, '/') : NULL;
    if (end == NULL || (size_t)(end - path) >= size)
        return 0;
    memcpy(folder, path, (size_t)(end - path));
    folder[end - path] = 0;
    return 1;
}
