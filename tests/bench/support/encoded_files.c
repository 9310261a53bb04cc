/* SPDX-License-Identifier: MIT
 *
 * encoded_files: see encoded_files.h. */
#include "bench/support/encoded_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct encoded_files {
    int64_t count;
    struct {
        void *bytes;
        size_t size;
    } file[];
};

static moco_status read_file(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                             size_t room)
{
    const struct encoded_files *f = user;
    (void)cookie;
    (void)reason;
    (void)room;
    *bytes = f->file[id].bytes;
    *size = f->file[id].size;
    return MOCO_OK;
}

static moco_status map(struct encoded_files *f, int64_t id, const char *path, struct err *err)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        return err_set(err, MOCO_EIO, "%s: %s", path, strerror(errno));
    f->file[id].size = (size_t)stat.st_size;
    f->file[id].bytes = mmap(NULL, f->file[id].size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    f->count = id + 1;
    return f->file[id].bytes != MAP_FAILED ? MOCO_OK : err_set(err, MOCO_EIO, "%s cannot be mapped", path);
}

moco_status encoded_files_open(struct encoded_files **files, struct dataset **ds, struct ctx *ctx,
                               const struct dataset *folder, struct err *err)
{
    char path[4096];
    struct encoded_files *f = calloc(1, sizeof *f + (size_t)folder->count * sizeof f->file[0]);
    *files = f;
    *ds = NULL;
    if (f == NULL)
        return err_set(err, MOCO_ENOMEM, "no memory for the list of files");
    for (int64_t id = 0; id < folder->count; id++) {
        TRY(folder->ops->path(folder, id, path, sizeof path));
        TRY(map(f, id, path, err));
    }
    const struct dataset_source source = {.count = folder->count, .read_encoded = read_file, .user = f};
    return dataset_from_callback(ds, ctx, &source, err);
}

void encoded_files_free(struct encoded_files *files)
{
    for (int64_t id = 0; files != NULL && id < files->count; id++)
        if (files->file[id].bytes != MAP_FAILED)
            munmap(files->file[id].bytes, files->file[id].size);
    free(files);
}
