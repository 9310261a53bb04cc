/* SPDX-License-Identifier: MIT
 *
 * module: see module.h. */
#include "backend/module.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dl.h"
#include "file/file_retry.h"

#ifndef MOCO_LIBDIR
#define MOCO_LIBDIR "" /* a build by hand: modules lie beside libmoco.so only */
#endif

enum { FOLDER_SIZE = 4096, FOLDERS = 2 };

struct folders {
    char path[FOLDERS][FOLDER_SIZE];
    int count;
};

static void list_folders(struct folders *folders)
{
    folders->count = dl_own_folder(folders->path[0], FOLDER_SIZE);
    if (MOCO_LIBDIR[0] == '/' && (folders->count == 0 || strcmp(folders->path[0], MOCO_LIBDIR) != 0))
        snprintf(folders->path[folders->count++], FOLDER_SIZE, "%s", MOCO_LIBDIR);
}

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

static moco_status load(const struct backend **out, const char *path, const char *name, struct err *err)
{
    void *library;
    struct err why = {0};
    if (dl_open(&library, path, &why) != MOCO_OK)
        return err_set(err, MOCO_ENODEV, "device %s: its module cannot be loaded: %.400s", name, why.text);
    moco_status status = look_inside(out, library, path, name, err);
    if (status != MOCO_OK)
        dl_close(library);
    return status;
}

moco_status module_find(const struct backend **out, const char *name, const char *device, const char *built_in,
                        struct err *err)
{
    struct folders folders;
    char path[FOLDER_SIZE + 64];
    char reason[FILE_REASON];
    struct stat there;
    *out = NULL;
    list_folders(&folders);
    for (int i = 0; i < folders.count; i++) {
        snprintf(path, sizeof path, "%s/libmoco_%s.so", folders.path[i], name);
        if (stat(path, &there) == 0)
            return load(out, path, name, err);
        if (errno != ENOENT && errno != ENOTDIR)
            return err_set(err, MOCO_ENODEV, "device %s: %.200s: %s", name, path, file_reason(errno, reason));
    }
    if (folders.count == 0)
        return err_set(err, MOCO_ENODEV, "there is no device \"%s\" in this build; there is: %s", device, built_in);
    return err_set(err, MOCO_ENODEV,
                   "there is no device \"%s\": this build has %s, and there is no libmoco_%s.so in %.120s%s%.120s",
                   device, built_in, name, folders.path[0], folders.count > 1 ? " or in " : "",
                   folders.count > 1 ? folders.path[1] : "");
}
