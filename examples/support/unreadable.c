/* SPDX-License-Identifier: MIT
 *
 * unreadable: see unreadable.h. Names come from disks, so that characters that would move a terminal's cursor are
 * not printed. */
#include "unreadable.h"

#include <stdio.h>
#include <string.h>

#include "from_moco.h"
#include "human.h"

/* The end of a long path is more useful than its beginning. */
static void copy_path(char *to, size_t size, const char *path)
{
    char whole[4 * 4096];
    human_line(path, whole, sizeof whole);
    size_t length = strlen(whole);
    const char *end = whole;
    if (length >= size) {
        memcpy(to, "...", 3);
        to += 3;
        end += length + 4 - size;
        while (((unsigned char)*end & 0xc0) == 0x80) /* within a character */
            end++;
    }
    memcpy(to, end, strlen(end) + 1);
}

static int take(void *user, int64_t id, const char *path, const char *reason)
{
    struct unreadable *u = user;
    char *name = u->name[u->named];
    if (path[0] != 0)
        copy_path(name, sizeof u->name[0], path);
    else
        snprintf(name, sizeof u->name[0], "image %lld", (long long)id);
    if (u->named == 0)
        human_line(reason, u->reason, sizeof u->reason);
    return ++u->named == UNREADABLE_NAMES;
}

moco_status unreadable_ask(struct unreadable *u, moco_loader *loader, int64_t read, struct err *err)
{
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    TRY(from_moco(moco_loader_get_stats(loader, &stats), err));
    *u = (struct unreadable){.count = stats.bad_images, .of = read + stats.bad_images};
    return from_moco(moco_loader_bad_images(loader, take, u), err);
}

const char *unreadable_text(const struct unreadable *u, const char *what, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s: %lld of %lld could not be read and %s left out: ", what,
                                   (long long)u->count, (long long)u->of, u->count == 1 ? "is" : "are");
    for (int i = 0; i < u->named && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", u->name[i]);
        if (i == 0 && used < size)
            used += (size_t)snprintf(text + used, size - used, " (%s)", u->reason);
    }
    if (u->count > u->named && used < size)
        snprintf(text + used, size - used, " and %lld more", (long long)(u->count - u->named));
    return text;
}

moco_status unreadable_check(const struct unreadable *u, const char *what, struct err *err)
{
    if (u->count < u->of)
        return MOCO_OK;
    return err_set(err, MOCO_EINVAL, "%s: none of %lld could be read; the first is %.200s: %.200s", what,
                   (long long)u->of, u->named > 0 ? u->name[0] : "unknown", u->reason);
}
