/* SPDX-License-Identifier: MIT
 *
 * disk_need: see disk_need.h. A checkpoint holds the encoders, the momentum and the queue; running statistics and names
 * are less than a hundredth of that. */
#include "disk_need.h"

#include <string.h>
#include <sys/statvfs.h>

#include "folder/run_dir.h"
#include "keeping.h"
#include "support/human.h"

/* Of the folder, or of the nearest one above it that is there. */
static int64_t bytes_left(const char *folder)
{
    char path[CLI_PATH_SIZE];
    struct statvfs fs;
    snprintf(path, sizeof path, "%s", folder);
    while (statvfs(path, &fs) != 0) {
        char *slash = strrchr(path, '/');
        if (strcmp(path, ".") == 0 || strcmp(path, "/") == 0)
            return -1;
        if (slash == NULL)
            snprintf(path, sizeof path, ".");
        else
            slash[slash == path] = 0;
    }
    return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

void disk_need(struct disk_need *need, const struct run_config *c, int64_t parameters)
{
    int64_t bytes = strcmp(c->precision, "f64") == 0 ? 8 : 4;
    int encoders = strcmp(c->encoder_k, "shared") == 0 ? 1 : 2, there = 0;
    struct err none = {0};
    need->checkpoint = ((encoders + 1) * parameters + c->queue * c->dim) * bytes;
    need->checkpoint += need->checkpoint / 100;
    run_dir_count(c->out, &there, &none); /* a folder that is not there holds none */
    int64_t more = keeping_count(c) - there;
    need->count = (more > 0 ? more : 0) + 1;
    need->all = need->count * need->checkpoint + parameters * bytes;
    need->left = bytes_left(c->out);
}

int disk_need_lacks(const struct disk_need *need, const struct run_config *c, char *sentence, size_t size)
{
    if (need->left < 0 || need->left >= need->all)
        return 0;
    const char *fewer = c->keep == 1 && c->keep_every == 0 ? "" : ", or keep fewer (--keep 1)";
    snprintf(sentence, size,
             "the run will write %s (%lld checkpoints of %s) and the file system of %.200s has %s left; free some, or "
             "name another --out%s",
             human_bytes(need->all), (long long)need->count, human_bytes(need->checkpoint), c->out,
             human_bytes(need->left), fewer);
    return 1;
}
