/* SPDX-License-Identifier: MIT
 *
 * file_folder: see file_folder.h. */
#include "file_folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_retry.h"

moco_status file_folder_make(const char *path, int *made, struct err *err)
{
    struct stat there;
    *made = mkdir(path, 0777) == 0;
    if (*made)
        return MOCO_OK;
    int error = errno;
    if (error == EEXIST && stat(path, &there) == 0 && S_ISDIR(there.st_mode))
        return MOCO_OK;
    return file_error(err, error, path, "the folder cannot be made");
}

void file_folder_remove(const char *path)
{
    (void)!rmdir(path);
}
