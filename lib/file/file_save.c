/* SPDX-License-Identifier: MIT
 *
 * file_save: the replacing half of file.h. The folder is opened first and everything is done relative to it, so that
 * the file, its temporary and the rename are in one folder even if somebody moves it meanwhile. A temporary file is
 * never opened twice: two processes that save to one path at once write a file each, and the later rename wins. */
#define _DEFAULT_SOURCE /* O_DIRECTORY, O_NOFOLLOW */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "file_retry.h"

#define NAME_KEPT 200 /* longer names leave no room for the suffix in the 255 bytes of a name */
#define NAME_ROOM (NAME_KEPT + 48)

/* 0, or why it failed. */
static int sync_fd(int fd)
{
    int tries = 0, failed;
    do {
        failed = fsync(fd);
    } while (failed != 0 && file_again(&tries));
    return failed != 0 ? errno : 0;
}

static int open_at(int folder, const char *name, int flags)
{
    int tries = 0, fd;
    do {
        fd = openat(folder, name, flags | O_CLOEXEC, 0666);
    } while (fd < 0 && file_again(&tries));
    return fd;
}

static moco_status open_folder(struct file_save *s, struct err *err)
{
    const char *slash = strrchr(s->path, '/');
    s->name = slash != NULL ? slash + 1 : s->path;
    if (*s->name == 0)
        return err_set(err, MOCO_EIO, "%.300s: the path names no file", s->path);
    size_t length = slash == NULL ? 0 : slash == s->path ? 1 : (size_t)(slash - s->path);
    char *parent = mem_alloc(s->ctx, length + 2, err);
    if (parent == NULL)
        return MOCO_ENOMEM;
    memcpy(parent, length > 0 ? s->path : ".", length > 0 ? length : 1);
    parent[length > 0 ? length : 1] = 0;
    s->folder = open_at(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY);
    int error = errno;
    mem_free(s->ctx, parent);
    return s->folder < 0 ? file_error(err, error, s->path, "its folder cannot be opened") : MOCO_OK;
}

/* Creates the temporary file. O_EXCL and O_NOFOLLOW: a file or link that is there already is never written to. */
static moco_status make_temporary(struct file_save *s, struct err *err)
{
    struct stat stat;
    if (fstatat(s->folder, s->name, &stat, 0) == 0 && !S_ISREG(stat.st_mode))
        return err_set(err, MOCO_EIO, "%.300s: it is there and no regular file", s->path);
    if ((s->temporary = mem_zalloc(s->ctx, NAME_ROOM, err)) == NULL)
        return MOCO_ENOMEM;
    const char *stem = strlen(s->name) <= NAME_KEPT ? s->name : "moco";
    for (int n = 0; n < 10000; n++) {
        snprintf(s->temporary, NAME_ROOM, "%s.tmp-%ld-%d", stem, (long)getpid(), n);
        s->fd = open_at(s->folder, s->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
        if (s->fd >= 0 || errno != EEXIST)
            break;
    }
    if (s->fd >= 0)
        return MOCO_OK;
    int error = errno;
    mem_free(s->ctx, s->temporary);
    s->temporary = NULL; /* from here on: it is there and it is ours */
    return file_error(err, error, s->path, "a temporary file beside it cannot be made");
}

/* Writing beyond the limit raises SIGXFSZ, which ends the process: nothing is written then. */
static moco_status check_limit(const struct file_save *s, int64_t size, struct err *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || (uint64_t)size <= limit.rlim_cur)
        return MOCO_OK;
    char reason[FILE_REASON];
    return err_set(err, MOCO_EIO,
                   "%.300s: its %lld bytes are over the process's file size limit of %llu bytes (ulimit -f): %s",
                   s->path, (long long)size, (unsigned long long)limit.rlim_cur, file_reason(EFBIG, reason));
}

static int set_length(int fd, int64_t size)
{
    int tries = 0, failed;
    do {
        failed = ftruncate(fd, (off_t)size);
    } while (failed != 0 && file_again(&tries));
    return failed;
}

/* File systems that cannot reserve say so; there a full disk shows when writing. */
static moco_status reserve(struct file_save *s, struct err *err)
{
    int tries = 0, error = 0;
    if (s->size == 0)
        return MOCO_OK;
    do {
        errno = error = posix_fallocate(s->fd, 0, (off_t)s->size);
    } while (error != 0 && file_again(&tries));
    if (error == 0)
        return MOCO_OK;
    if (error == EINVAL || error == EOPNOTSUPP || error == ENOSYS) {
        if (set_length(s->fd, s->size) == 0)
            return MOCO_OK;
        error = errno;
    }
    char what[64];
    snprintf(what, sizeof what, "there is no room for its %lld bytes", (long long)s->size);
    return file_error(err, error, s->path, what);
}

moco_status file_save_begin(struct file_save *s, struct ctx *ctx, const char *path, int64_t size, struct err *err)
{
    *s = (struct file_save){.ctx = ctx, .folder = -1, .fd = -1, .size = size};
    moco_status status = MOCO_ENOMEM;
    if ((s->path = mem_strdup(ctx, path, err)) != NULL)
        status = check_limit(s, size, err);
    if (status == MOCO_OK)
        status = open_folder(s, err);
    if (status == MOCO_OK)
        status = make_temporary(s, err);
    if (status == MOCO_OK)
        status = reserve(s, err);
    if (status != MOCO_OK)
        file_save_abandon(s);
    return status;
}

moco_status file_save_write_at(struct file_save *s, int64_t offset, const void *bytes, size_t count, struct err *err)
{
    const char *from = bytes;
    int tries = 0;
    if (offset + (int64_t)count > s->size) /* no caller of ours: the limit was asked for `size` alone */
        return err_set(err, MOCO_EINVAL, "%.300s: %zu bytes at offset %lld are beyond the %lld that were asked for",
                       s->path, count, (long long)offset, (long long)s->size);
    while (count > 0) {
        ssize_t put = pwrite(s->fd, from, count, (off_t)offset);
        if (put < 0 && file_again(&tries))
            continue;
        if (put <= 0) {
            int error = put < 0 ? errno : EIO; /* a regular file always takes something */
            return err_set(err, file_status(error), "%.300s: writing %zu bytes at offset %lld failed: %s", s->path,
                           count, (long long)offset, file_reason(error, (char[FILE_REASON]){0}));
        }
        from += put;
        offset += put;
        count -= (size_t)put;
        tries = 0;
    }
    return MOCO_OK;
}

moco_status file_save_shrink(struct file_save *s, int64_t size, struct err *err)
{
    if (size < 0 || size > s->size)
        return err_set(err, MOCO_EINVAL, "%.300s: it cannot shrink from %lld to %lld bytes", s->path,
                       (long long)s->size, (long long)size);
    if (size < s->size && set_length(s->fd, size) != 0)
        return file_error(err, errno, s->path, "it cannot be made shorter");
    s->size = size;
    return MOCO_OK;
}

/* The descriptor is gone even if close fails; and an interrupted close after fsync has lost nothing. */
static moco_status close_temporary(struct file_save *s, struct err *err)
{
    int failed = close(s->fd), error = errno;
    s->fd = -1;
    return failed != 0 && error != EINTR ? file_error(err, error, s->path, "closing the new file failed") : MOCO_OK;
}

static moco_status put_in_place(struct file_save *s, struct err *err)
{
    int tries = 0, failed;
    do {
        failed = renameat(s->folder, s->temporary, s->folder, s->name);
    } while (failed != 0 && file_again(&tries));
    return failed != 0 ? file_error(err, errno, s->path, "the new file cannot take its place") : MOCO_OK;
}

/* Some file systems cannot sync a folder (EINVAL): they promise no more by themselves. */
static moco_status sync_folder(struct file_save *s, struct err *err)
{
    int error = sync_fd(s->folder);
    return error == 0 || error == EINVAL
               ? MOCO_OK
               : file_error(err, error, s->path, "it is written, but its folder cannot be made durable");
}

moco_status file_save_commit(struct file_save *s, struct err *err)
{
    int error = sync_fd(s->fd);
    moco_status status = error == 0 ? MOCO_OK : file_error(err, error, s->path, "making the new file durable failed");
    if (status == MOCO_OK)
        status = close_temporary(s, err);
    if (status == MOCO_OK)
        status = put_in_place(s, err);
    if (status == MOCO_OK) {
        mem_free(s->ctx, s->temporary);
        s->temporary = NULL; /* it is the file now */
        status = sync_folder(s, err);
    }
    file_save_abandon(s);
    return status;
}

void file_save_abandon(struct file_save *s)
{
    if (s->ctx == NULL)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->temporary != NULL)
        unlinkat(s->folder, s->temporary, 0);
    if (s->folder >= 0)
        close(s->folder);
    mem_free(s->ctx, s->temporary);
    mem_free(s->ctx, s->path);
    *s = (struct file_save){.folder = -1, .fd = -1};
}
