/* SPDX-License-Identifier: MIT
 *
 * dl: see dl.h. */
#define _GNU_SOURCE /* dladdr1 */
#include "dl.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
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

/* The first file that a pattern names; 0: none. */
static int first_match(char path[DL_PATH], const char *pattern)
{
    glob_t found;
    int is = 0;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    if (found.gl_pathc > 0 && strlen(found.gl_pathv[0]) < DL_PATH) {
        strcpy(path, found.gl_pathv[0]);
        is = 1;
    }
    globfree(&found);
    return is;
}

int dl_find(char path[DL_PATH], const char *folders, const char *file)
{
    char pattern[DL_PATH];
    for (const char *folder = folders; *folder != 0;) {
        size_t length = strcspn(folder, ":");
        int size = snprintf(pattern, sizeof pattern, "%.*s/%s", (int)length, folder, file);
        if (size < DL_PATH && first_match(path, pattern))
            return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

moco_status dl_load(void **library, char path[DL_PATH], const char *what, const char *folders, const char *file,
                    struct err *err)
{
    struct err why = {0};
    if (!dl_find(path, folders, file))
        return err_set(err, MOCO_ENODEV, "%s: there is no %s in %.400s", what, file, folders);
    if (dl_open(library, path, &why) != MOCO_OK)
        return err_set(err, MOCO_ENODEV, "%s: it cannot be loaded: %.400s", what, why.text);
    return MOCO_OK;
}

void *dl_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

int dl_function(void *to, void *library, const char *name)
{
    /* ISO C has no conversion from an address of data to one of a function; POSIX promises that both are alike. */
    void *found = dlsym(library, name);
    if (found != NULL)
        memcpy(to, &found, sizeof found);
    return found != NULL;
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
