/* SPDX-License-Identifier: MIT
 *
 * file_read: the reading half of file.h. */
#define _DEFAULT_SOURCE /* O_CLOEXEC with O_NONBLOCK under strict POSIX headers */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "file_retry.h"

static moco_status open_regular(struct file *f, const char *path, struct err *err)
{
    struct stat stat;
    int tries = 0;
    do {
        f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (f->fd < 0 && file_again(&tries));
    if (f->fd < 0)
        return file_error(err, errno, path, "it cannot be opened");
    if (fstat(f->fd, &stat) != 0)
        return file_error(err, errno, path, "it cannot be examined");
    if (!S_ISREG(stat.st_mode))
        return err_set(err, MOCO_EIO, "%.300s: it is not a regular file", path);
    f->size = (int64_t)stat.st_size;
    return MOCO_OK;
}

moco_status file_open(struct file *f, struct ctx *ctx, const char *path, struct err *err)
{
    *f = (struct file){.ctx = ctx, .fd = -1};
    f->path = mem_strdup(ctx, path, err);
    moco_status status = f->path == NULL ? MOCO_ENOMEM : open_regular(f, path, err);
    if (status != MOCO_OK)
        file_close(f);
    return status;
}

moco_status file_read_at(const struct file *f, int64_t offset, void *bytes, size_t size, struct err *err)
{
    char *to = bytes;
    int tries = 0;
    while (size > 0) {
        ssize_t got = pread(f->fd, to, size, (off_t)offset);
        if (got < 0 && file_again(&tries))
            continue;
        if (got < 0) {
            int error = errno;
            return err_set(err, file_status(error), "%.300s: reading %zu bytes at offset %lld failed: %s", f->path,
                           size, (long long)offset, file_reason(error, (char[FILE_REASON]){0}));
        }
        if (got == 0)
            return err_set(err, MOCO_EIO,
                           "%.300s: it ends at offset %lld while it is being read; %zu more bytes were expected",
                           f->path, (long long)offset, size);
        to += got;
        offset += got;
        size -= (size_t)got;
        tries = 0;
    }
    return MOCO_OK;
}

void file_close(struct file *f)
{
    if (f->ctx == NULL)
        return;
    if (f->fd >= 0)
        close(f->fd); /* nothing was written: its answer says nothing */
    mem_free(f->ctx, f->path);
    *f = (struct file){.fd = -1};
}

moco_status file_read_all(struct ctx *ctx, const char *path, int64_t most, char **bytes, size_t *size, struct err *err)
{
    struct file f;
    *bytes = NULL;
    *size = 0;
    TRY(file_open(&f, ctx, path, err));
    moco_status status = MOCO_OK;
    if (f.size > most)
        status = err_set(err, MOCO_EFORMAT, "%.300s: it has %lld bytes; at most %lld are read", path, (long long)f.size,
                         (long long)most);
    if (status == MOCO_OK && (*bytes = mem_alloc(ctx, (size_t)f.size + 1, err)) == NULL)
        status = MOCO_ENOMEM;
    if (status == MOCO_OK)
        status = file_read_at(&f, 0, *bytes, (size_t)f.size, err);
    if (status == MOCO_OK) {
        *size = (size_t)f.size;
        (*bytes)[f.size] = 0;
    } else {
        mem_free(ctx, *bytes);
        *bytes = NULL;
    }
    file_close(&f);
    return status;
}
