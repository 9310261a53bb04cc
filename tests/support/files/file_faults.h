/* SPDX-License-Identifier: MIT
 *
 * file_faults: makes the library's system calls on files fail, come back short, or be the last thing the process does.
 * Included by the one source of a test program that the Makefile links with --wrap for each call below: the library's
 * calls land here, the test's own (which use other calls, or fault_off) go through. */
#ifndef MOCO_TESTS_FILE_FAULTS_H
#define MOCO_TESTS_FILE_FAULTS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum fault_call {
    CALL_OPEN,
    CALL_STAT,
    CALL_READ,
    CALL_RESERVE,
    CALL_WRITE,
    CALL_SYNC,
    CALL_CLOSE,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_COUNT
};
static const char *const fault_names[CALL_COUNT] = {"open", "stat",  "read",   "reserve", "write",
                                                    "sync", "close", "rename", "unlink"};

enum fault_kind {
    FAULT_NONE,
    FAULT_ERROR, /* fails with `error` */
    FAULT_SHORT, /* reads and writes do one byte of what was asked for; others go through */
    FAULT_END,   /* reads say that the file ends here, writes that nothing was taken; others go through */
    FAULT_KILL   /* the process is killed: before the call, or (writes, `half`) in the middle of it */
};

static struct {
    enum fault_kind kind;
    int error, forever, half;
    long at;                   /* number of the call it happens at, from 0 */
    long calls;                /* so far */
    int hit[CALL_COUNT], hits; /* how many faults each got */
    int seen[CALL_COUNT];
    char log[4096]; /* one letter a call, as it was asked for */
} fault;

static inline void fault_off(void)
{
    memset(&fault, 0, sizeof fault);
}

static inline void fault_set(enum fault_kind kind, int error, int forever, long at)
{
    fault_off();
    fault.kind = kind;
    fault.error = error;
    fault.forever = forever;
    fault.at = at;
}

/* 1: this call is to be faulted. */
static inline int fault_now(enum fault_call call)
{
    long number = fault.calls++;
    fault.seen[call]++;
    if (number < (long)sizeof fault.log - 1)
        fault.log[number] = "otrpwscnu"[call]; /* open sTat Read rePerve Write Sync Close reName Unlink */
    if (fault.kind == FAULT_NONE || number < fault.at || (number > fault.at && !fault.forever))
        return 0;
    if (fault.kind == FAULT_KILL && !(fault.half && call == CALL_WRITE))
        kill(getpid(), SIGKILL);
    fault.hit[call]++;
    fault.hits++;
    return 1;
}

static inline int fault_fails(enum fault_call call)
{
    if (!fault_now(call) || fault.kind != FAULT_ERROR)
        return 0;
    errno = fault.error;
    return 1;
}

int __real_open(const char *path, int flags, mode_t mode);
int __real_openat(int folder, const char *path, int flags, mode_t mode);
int __real_fstat(int fd, struct stat *stat);
int __real_fstatat(int folder, const char *path, struct stat *stat, int flags);
ssize_t __real_pread(int fd, void *bytes, size_t size, off_t at);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t at);
int __real_posix_fallocate(int fd, off_t at, off_t size);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_unlinkat(int folder, const char *path, int flags);

int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_openat(int folder, const char *path, int flags, mode_t mode);
int __wrap_fstat(int fd, struct stat *stat);
int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags);
ssize_t __wrap_pread(int fd, void *bytes, size_t size, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at);
int __wrap_posix_fallocate(int fd, off_t at, off_t size);
int __wrap_fsync(int fd);
int __wrap_close(int fd);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_unlinkat(int folder, const char *path, int flags);

int __wrap_open(const char *path, int flags, mode_t mode)
{
    return fault_fails(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int folder, const char *path, int flags, mode_t mode)
{
    return fault_fails(CALL_OPEN) ? -1 : __real_openat(folder, path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *stat)
{
    return fault_fails(CALL_STAT) ? -1 : __real_fstat(fd, stat);
}

int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags)
{
    return fault_fails(CALL_STAT) ? -1 : __real_fstatat(folder, path, stat, flags);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t size, off_t at)
{
    if (fault_now(CALL_READ)) {
        errno = fault.error;
        return fault.kind == FAULT_ERROR ? -1 : fault.kind == FAULT_END ? 0 : __real_pread(fd, bytes, size > 0, at);
    }
    return __real_pread(fd, bytes, size, at);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    if (fault_now(CALL_WRITE)) {
        if (fault.kind == FAULT_KILL) {
            if (__real_pwrite(fd, bytes, size / 2, at) >= 0)
                kill(getpid(), SIGKILL);
        }
        errno = fault.error;
        return fault.kind == FAULT_ERROR ? -1 : fault.kind == FAULT_END ? 0 : __real_pwrite(fd, bytes, size > 0, at);
    }
    return __real_pwrite(fd, bytes, size, at);
}

int __wrap_posix_fallocate(int fd, off_t at, off_t size)
{
    return fault_fails(CALL_RESERVE) ? fault.error : __real_posix_fallocate(fd, at, size);
}

int __wrap_fsync(int fd)
{
    return fault_fails(CALL_SYNC) ? -1 : __real_fsync(fd);
}

int __wrap_close(int fd) /* a close that fails has closed all the same */
{
    int fails = fault_fails(CALL_CLOSE), error = errno, closed = __real_close(fd);
    errno = error;
    return fails ? -1 : closed;
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return fault_fails(CALL_RENAME) ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

int __wrap_unlinkat(int folder, const char *path, int flags)
{
    return fault_fails(CALL_UNLINK) ? -1 : __real_unlinkat(folder, path, flags);
}

#endif
