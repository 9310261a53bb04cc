/* SPDX-License-Identifier: MIT
 *
 * unreadable: see unreadable.h. Names come from disks: what would move a terminal's cursor is not printed. */
#include "unreadable.h"

#include <stdio.h>
#include <string.h>

#include "from_moco.h"
#include "utf8.h"

static void copy_printable(char *to, size_t size, const char *from)
{
    utf8_printable(to, size, from);
}

/* The end of a long path tells more than its beginning. */
static void copy_path(char *to, size_t size, const char *path)
{
    size_t length = strlen(path), dots = length < size ? 0 : 3;
    memcpy(to, "...", dots);
    copy_printable(to + dots, size - dots, dots > 0 ? path + length + dots + 1 - size : path);
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
        copy_printable(u->reason, sizeof u->reason, reason);
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
