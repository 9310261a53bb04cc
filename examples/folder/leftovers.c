/* SPDX-License-Identifier: MIT
 *
 * leftovers: see leftovers.h. */
#define _DEFAULT_SOURCE /* dirfd */
#include "leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/file_retry.h"

#define DIGITS "0123456789"

const char *const leftovers_of_others[] = {"report.html", "gallery.json", "cell.json", NULL};

/* What follows `pattern` in `name`; NULL: it does not begin so. */
static const char *behind(const char *name, const char *pattern)
{
    for (; *pattern != 0; pattern++) {
        size_t digits = strspn(name, DIGITS);
        if (*pattern == '%' ? digits == 0 : *name != *pattern)
            return NULL;
        name += *pattern == '%' ? digits : 1;
    }
    return name;
}

/* The process of PATTERN.tmp-PID-N; 0: it is no such name. */
static long writer_of(const char *name, const char *pattern)
{
    const char *suffix = behind(name, pattern);
    const char *number = suffix != NULL ? behind(suffix, ".tmp-%-%") : NULL;
    if (number == NULL || *number != 0)
        return 0;
    long pid = strtol(suffix + 5, NULL, 10);
    return pid > 0 ? pid : 0;
}

/* A number that is ours was another's before: this process has saved nothing yet. */
static int is_gone(long pid)
{
    return pid == (long)getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

static int is_leftover(const char *name, const char *const *names, int locked)
{
    for (; *names != NULL; names++) {
        long pid = writer_of(name, *names);
        if (pid > 0)
            return locked || is_gone(pid);
    }
    return 0;
}

static void tell(void (*warn)(const char *sentence), const char *folder, const char *name)
{
    char sentence[700];
    snprintf(sentence, sizeof sentence, "the unfinished file %.200s in %.300s cannot be removed: %s; it does no harm",
             name, folder, file_reason(errno, (char[FILE_REASON]){0}));
    warn(sentence);
}

int leftovers_remove(const char *folder, const char *const *names, int locked, void (*warn)(const char *sentence))
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    struct stat stat_of;
    int removed = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!is_leftover(entry->d_name, names, locked) ||
            fstatat(dirfd(dir), entry->d_name, &stat_of, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat_of.st_mode))
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0)
            removed++;
        else if (errno != ENOENT)
            tell(warn, folder, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return removed;
}

int leftovers_remove_beside(const char *path, void (*warn)(const char *sentence))
{
    char folder[1200];
    const char *slash = strrchr(path, '/');
    const char *const names[] = {slash != NULL ? slash + 1 : path, NULL};
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof folder || strchr(names[0], '%') != NULL)
        return 0;
    snprintf(folder, sizeof folder, "%.*s", length > 0 ? (int)length : 1, length > 0 ? path : ".");
    return leftovers_remove(folder, names, 0, warn);
}

int leftovers_remove_run(const char *folder, int locked, void (*warn)(const char *sentence))
{
    static const char *const own[] = {"checkpoint_%.safetensors", "encoder.safetensors", NULL};
    return leftovers_remove(folder, own, locked, warn) + leftovers_remove(folder, leftovers_of_others, 0, warn);
}
