/* SPDX-License-Identifier: MIT
 *
 * module_file: see module_file.h. */
#include "module_file.h"

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

int module_name_length(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length < MODULE_NAME ? (int)length : 0;
}

static moco_status load(void **library, const char *path, struct err *err)
{
    struct err why = {0};
    if (dl_open(library, path, &why) != MOCO_OK)
        return err_set(err, MOCO_ENODEV, "its module cannot be loaded: %.400s", why.text);
    return MOCO_OK;
}

moco_status module_open(void **library, char path[MODULE_PATH], const char *name, struct err *err)
{
    struct folders folders;
    char reason[FILE_REASON];
    struct stat there;
    *library = NULL;
    list_folders(&folders);
    for (int i = 0; i < folders.count; i++) {
        snprintf(path, MODULE_PATH, "%s/libmoco_%s.so", folders.path[i], name);
        if (stat(path, &there) == 0)
            return load(library, path, err);
        if (errno != ENOENT && errno != ENOTDIR)
            return err_set(err, MOCO_ENODEV, "%.200s: %s", path, file_reason(errno, reason));
    }
    path[0] = 0;
    if (folders.count == 0)
        return err_set(err, MOCO_ENODEV, "there is no folder in which a libmoco_%s.so would be looked for", name);
    return err_set(err, MOCO_ENODEV, "there is no libmoco_%s.so in %.120s%s%.120s", name, folders.path[0],
                   folders.count > 1 ? " or in " : "", folders.count > 1 ? folders.path[1] : "");
}
