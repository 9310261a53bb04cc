/* SPDX-License-Identifier: MIT
 *
 * faulty_calls_preload: makes one system call of a whole program fail, for scripts: built as a shared object and put in
 * front of libc by LD_PRELOAD. FAULT_CALL is readdir, opendir, pread, write or fdatasync, FAULT_PATH a part of the
 * file's path, FAULT_ERRNO the reason; FAULT_AFTER calls pass before (0) and FAULT_TIMES calls fail then (all). A
 * failing write writes half of what it is asked first, as a disk that fills up does. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : otherwise;
}

static int fails_on(const char *call, const char *path)
{
    static int seen;
    const char *wanted = getenv("FAULT_CALL"), *part = getenv("FAULT_PATH");
    if (wanted == NULL || strcmp(wanted, call) != 0 || part == NULL || strstr(path, part) == NULL)
        return 0;
    int n = seen++ - number("FAULT_AFTER", 0);
    if (n < 0 || n >= number("FAULT_TIMES", 1 << 30))
        return 0;
    errno = number("FAULT_ERRNO", EIO);
    return 1;
}

static int fails(const char *call, int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return fails_on(call, path);
}

/* ISO C has no conversion between pointers to objects and to functions. */
#define REAL(type, name) ((type)(__extension__(type) dlsym(RTLD_NEXT, name)))

struct dirent *readdir(DIR *dir)
{
    if (fails("readdir", dirfd(dir)))
        return NULL;
    return REAL(struct dirent * (*)(DIR *), "readdir")(dir);
}

DIR *opendir(const char *path)
{
    return fails_on("opendir", path) ? NULL : REAL(DIR * (*)(const char *), "opendir")(path);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    if (fails("pread", fd))
        return -1;
    return REAL(ssize_t(*)(int, void *, size_t, off_t), "pread")(fd, bytes, size, offset);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = REAL(ssize_t(*)(int, const void *, size_t), "write");
    static int half;
    if (half || fails("write", fd)) {
        half = !half && size > 1;
        if (half)
            return real(fd, bytes, size / 2);
        errno = number("FAULT_ERRNO", EIO);
        return -1;
    }
    return real(fd, bytes, size);
}

int fdatasync(int fd)
{
    return fails("fdatasync", fd) ? -1 : REAL(int (*)(int), "fdatasync")(fd);
}
