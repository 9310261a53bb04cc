/* SPDX-License-Identifier: MIT
 *
 * scratch_folder: see scratch_folder.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "support/scratch_folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "scratch folder: %s: %s\n", what, strerror(errno));
        abort();
    }
}

void scratch_folder_make(struct scratch_folder *folder)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/moco-test-XXXXXX", base != NULL && *base ? base : "/tmp");
    check(mkdtemp(folder->path) != NULL, folder->path);
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

void scratch_folder_remove(struct scratch_folder *folder)
{
    check(nftw(folder->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, folder->path);
}

struct scratch_folder scratch_group;

int scratch_group_make(void **state)
{
    (void)state;
    scratch_folder_make(&scratch_group);
    return 0;
}

int scratch_group_remove(void **state)
{
    (void)state;
    scratch_folder_remove(&scratch_group);
    return 0;
}

const char *scratch_path(const struct scratch_folder *folder, const char *name)
{
    static char text[4][4096];
    static int next;
    next = (next + 1) % 4;
    snprintf(text[next], sizeof text[next], "%s/%s", folder->path, name);
    return text[next];
}

void scratch_make_folder(const struct scratch_folder *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/", folder->path, name);
    for (char *slash = strchr(path + strlen(folder->path) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        check(mkdir(path, 0777) == 0 || errno == EEXIST, path);
        *slash = '/';
    }
}

void scratch_write(const struct scratch_folder *folder, const char *name, const void *bytes, size_t size)
{
    const char *slash = strrchr(name, '/');
    if (slash != NULL) {
        char parent[2048];
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - name), name);
        scratch_make_folder(folder, parent);
    }
    const char *path = scratch_path(folder, name);
    FILE *file = fopen(path, "wb");
    check(file != NULL, path);
    check(size == 0 || fwrite(bytes, 1, size, file) == size, path);
    check(fclose(file) == 0, path);
}
