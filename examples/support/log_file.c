/* SPDX-License-Identifier: MIT
 *
 * log_file: see log_file.h. The file is read with pread through its one descriptor, because closing another one
 * would release the lock. */
#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_retry.h"

#define PIECE ((size_t)1 << 16)
#define LINE_LIMIT ((size_t)1 << 24) /* no program here writes a longer line */

static moco_status in_use(const char *path, struct err *err)
{
    return err_set(err, MOCO_ESTATE,
                   "%.300s is in use by another run; wait for its end, or choose another folder with --out", path);
}

/* Two runs in one folder would overwrite each other's checkpoints. */
static moco_status lock(struct log_file *log, struct err *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    log->locked = fcntl(log->fd, F_SETLK, &whole) == 0;
    if (!log->locked && (errno == EACCES || errno == EAGAIN))
        return in_use(log->path, err);
    return MOCO_OK; /* a file system without locks is no reason to stop */
}

moco_status log_file_unused(const char *path, struct err *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int used = fd >= 0 && fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    return used ? in_use(path, err) : MOCO_OK;
}

int log_file_is_there(const struct log_file *log)
{
    struct stat open_one, named;
    return fstat(log->fd, &open_one) != 0 ||
           (stat(log->path, &named) == 0 && named.st_dev == open_one.st_dev && named.st_ino == open_one.st_ino);
}

moco_status log_file_open(struct log_file *log, const char *path, struct err *err)
{
    *log = (struct log_file){.fd = -1};
    if (strlen(path) >= sizeof log->path)
        return err_set(err, MOCO_EINVAL, "%.300s...: the path is too long", path);
    memcpy(log->path, path, strlen(path) + 1);
    log->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log->fd < 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be opened: %s", path, file_reason(errno, (char[FILE_REASON]){0}));
    log->end = (int64_t)lseek(log->fd, 0, SEEK_END);
    moco_status status = log->end < 0 ? err_set(err, MOCO_EIO, "%.300s is no regular file", path) : lock(log, err);
    if (status != MOCO_OK)
        log_file_close(log);
    return status;
}

void log_file_close(struct log_file *log)
{
    if (log->fd >= 0)
        close(log->fd);
    free(log->owed);
    log->owed = NULL;
    log->fd = -1;
}

/* ---- reading ---- */

struct lines {
    char *text; /* [room]: what has been read and not been given out */
    size_t used, room;
};

static moco_status read_more(struct lines *l, int fd, const char *path, int64_t at, int *over, struct err *err)
{
    if (l->used > LINE_LIMIT)
        return err_set(err, MOCO_EFORMAT, "%.300s has a line of more than %zu bytes; remove that line", path,
                       LINE_LIMIT);
    if (l->room - l->used < PIECE + 1) {
        char *grown = realloc(l->text, l->room + 2 * PIECE);
        if (grown == NULL)
            return err_set(err, MOCO_ENOMEM, "%.300s: out of memory for a line of it", path);
        l->text = grown;
        l->room += 2 * PIECE;
    }
    ssize_t n;
    int tries = 0;
    do {
        n = pread(fd, l->text + l->used, PIECE, (off_t)at);
    } while (n < 0 && file_again(&tries));
    if (n < 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be read at byte %lld: %s; try again when it can be", path,
                       (long long)at, file_reason(errno, (char[FILE_REASON]){0}));
    *over = n == 0;
    l->used += (size_t)n;
    return MOCO_OK;
}

moco_status log_file_lines(int fd, const char *path, int (*line)(void *user, const char *line), void *user,
                           int64_t *end, struct err *err)
{
    struct lines l = {0};
    moco_status status = MOCO_OK;
    int over = 0;
    *end = 0;
    while (status == MOCO_OK && !over) {
        status = read_more(&l, fd, path, *end + (int64_t)l.used, &over, err);
        size_t given = 0;
        for (char *newline; status == MOCO_OK && !over;) {
            newline = l.used > given ? memchr(l.text + given, '\n', l.used - given) : NULL;
            if (newline == NULL)
                break;
            *newline = 0;
            over = !line(user, l.text + given);
            if (!over)
                given = (size_t)(newline + 1 - l.text);
        }
        *end += (int64_t)given;
        l.used -= given;
        if (given > 0)
            memmove(l.text, l.text + given, l.used);
    }
    free(l.text);
    return status;
}

moco_status log_file_cut(struct log_file *log, int (*keeps)(void *user, const char *line), void *user, struct err *err)
{
    int64_t end;
    TRY(log_file_lines(log->fd, log->path, keeps, user, &end, err));
    if (ftruncate(log->fd, (off_t)end) != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be cut back to %lld bytes: %s", log->path, (long long)end,
                       file_reason(errno, (char[FILE_REASON]){0}));
    log->end = end;
    return MOCO_OK;
}

/* ---- writing ---- */

static moco_status cannot_write(const struct log_file *log, int reason, struct err *err)
{
    int full = reason == ENOSPC || reason == EDQUOT;
    return err_set(err, MOCO_EIO, "%.300s cannot be written: %s%s", log->path,
                   file_reason(reason, (char[FILE_REASON]){0}), full ? "; make room there" : "");
}

/* All of the line, or as before. */
static moco_status write_line(struct log_file *log, const char *line, struct err *err)
{
    size_t length = strlen(line), at = 0;
    int tries = 0;
    if (log->torn && ftruncate(log->fd, (off_t)log->end) != 0)
        return cannot_write(log, errno, err);
    log->torn = 0;
    while (at < length) {
        ssize_t n = write(log->fd, line + at, length - at);
        if (n < 0 && file_again(&tries))
            continue;
        if (n < 0) {
            int reason = errno;
            log->torn = at > 0 && ftruncate(log->fd, (off_t)log->end) != 0;
            return cannot_write(log, reason, err);
        }
        at += (size_t)n;
        tries = 0;
    }
    log->end += (int64_t)length;
    return MOCO_OK;
}

static moco_status write_owed(struct log_file *log, struct err *err)
{
    if (log->lost)
        return err_set(err, MOCO_EIO, "%.300s lacks a line that could not be written", log->path);
    if (log->owed == NULL)
        return MOCO_OK;
    TRY(write_line(log, log->owed, err));
    free(log->owed);
    log->owed = NULL;
    return MOCO_OK;
}

moco_status log_file_put(struct log_file *log, const char *line, struct err *err)
{
    moco_status status = write_owed(log, err);
    if (status == MOCO_OK)
        status = write_line(log, line, err);
    if (status == MOCO_OK)
        return MOCO_OK;
    size_t before = log->owed != NULL ? strlen(log->owed) : 0;
    char *owed = realloc(log->owed, before + strlen(line) + 1);
    if (owed != NULL) {
        memcpy(owed + before, line, strlen(line) + 1);
        log->owed = owed;
    } else {
        log->lost = 1;
    }
    return status;
}

moco_status log_file_sync(struct log_file *log, struct err *err)
{
    TRY(write_owed(log, err));
    if (fdatasync(log->fd) != 0 && errno != EINVAL && errno != EINTR) /* EINVAL: no such promise there */
        return cannot_write(log, errno, err);
    return MOCO_OK;
}
