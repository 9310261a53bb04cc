/* SPDX-License-Identifier: MIT
 *
 * cpu_quota: see cpu_quota.h. The files are the kernel's: /proc/self/cgroup says which group ("0::/path" of version
 * 2, "4:cpu,cpuacct:/path" of version 1); /proc/self/mountinfo says where a hierarchy is mounted, and from which of
 * its groups on. If anything is missing or odd, that is no error: there is no quota. */
#include "cpu_quota.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 1024, LINE = 4 * PATH, PROCESSORS = 4096 }; /* bytes: all of it is on the stack */

struct quota {
    const char *root;
    char line[LINE];     /* of mountinfo or cgroup */
    char group[2][PATH]; /* of this process: version 1's controller cpu, and version 2; "": in none */
    char path[2 * PATH]; /* of a file */
    int64_t least;       /* processors; 0: no quota yet */
};

static FILE *open_below(struct quota *q, const char *path)
{
    int length = snprintf(q->path, sizeof q->path, "%s%s", q->root, path);
    return length > 0 && (size_t)length < sizeof q->path ? fopen(q->path, "re") : NULL;
}

/* The next line without its newline; one that is too long is passed over. */
static char *next_line(struct quota *q, FILE *file)
{
    while (fgets(q->line, sizeof q->line, file) != NULL) {
        size_t length = strlen(q->line);
        if (length > 0 && q->line[length - 1] == '\n') {
            q->line[length - 1] = 0;
            return q->line;
        }
        if (feof(file))
            return q->line;
        for (int c = getc(file); c != '\n' && c != EOF; c = getc(file)) {
        }
    }
    return NULL;
}

/* Is `name` one of a list with commas? */
static int listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, name, length) == 0 && (at[length] == 0 || at[length] == ','))
            return 1;
    return 0;
}

/* ---- which group ---- */

static void find_groups(struct quota *q)
{
    FILE *file = open_below(q, "/proc/self/cgroup");
    for (char *line; file != NULL && (line = next_line(q, file)) != NULL;) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL || group[1] != '/' || strlen(group + 1) >= PATH)
            continue;
        *group++ = 0;
        if (controllers[1] == 0)
            strcpy(q->group[1], group);
        else if (listed(controllers + 1, "cpu"))
            strcpy(q->group[0], group);
    }
    if (file != NULL)
        fclose(file);
}

/* ---- what it is allowed ---- */

/* Numbers of "folder/name", up to two; their count. "max" is no number. */
static int read_numbers(struct quota *q, const char *folder, const char *name, long long numbers[2])
{
    char path[PATH + 32], text[64] = {0}, *at = text, *end;
    int length = snprintf(path, sizeof path, "%s/%s", folder, name), count = 0;
    FILE *file = length > 0 && (size_t)length < sizeof path ? open_below(q, path) : NULL;
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    for (; count < 2; count++, at = end) {
        numbers[count] = strtoll(at, &end, 10);
        if (end == at)
            break;
    }
    return count;
}

static void look_at(struct quota *q, const char *folder, int version)
{
    long long numbers[2], period[2] = {0};
    if (version == 2) {
        if (read_numbers(q, folder, "cpu.max", numbers) != 2) /* "QUOTA PERIOD" in microseconds */
            return;
    } else {
        if (read_numbers(q, folder, "cpu.cfs_quota_us", numbers) != 1 || /* -1: none */
            read_numbers(q, folder, "cpu.cfs_period_us", period) != 1)
            return;
        numbers[1] = period[0];
    }
    if (numbers[0] <= 0 || numbers[1] <= 0)
        return;
    int64_t processors = numbers[0] / numbers[1] + (numbers[0] % numbers[1] != 0);
    if (q->least == 0 || processors < q->least)
        q->least = processors;
}

/* The group's folder and every one above it, up to the one that is mounted. */
static void look_upwards(struct quota *q, char *folder, size_t mounted, int version)
{
    for (;;) {
        look_at(q, folder, version);
        char *last = strrchr(folder, '/');
        if (last == NULL || (size_t)(last - folder) < mounted)
            return;
        *last = 0;
    }
}

/* mountinfo writes blanks, and what would be taken for one, as \040 and the like. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at != 0; to++)
        if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
            at[3] <= '7') {
            *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            *to = *at++;
        }
    *to = 0;
}

/* A hierarchy whose group `from` is mounted at `point`. A process outside of what is mounted has that at most. */
static void look_in_mount(struct quota *q, const char *point, const char *from, int version)
{
    char folder[PATH];
    const char *group = q->group[version - 1];
    size_t above = strcmp(from, "/") == 0 ? 0 : strlen(from), mounted = strlen(point);
    if (group[0] == 0 || mounted >= PATH)
        return;
    int inside =
        strncmp(group, from, above) == 0 && (group[above] == '/' || group[above] == 0) && strstr(group, "/..") == NULL;
    const char *below = inside && strcmp(group, "/") != 0 ? group + above : "";
    int length = snprintf(folder, sizeof folder, "%s%s", point, below);
    if (length > 0 && (size_t)length < sizeof folder)
        look_upwards(q, folder, mounted, version);
}

/* "36 25 0:31 FROM POINT OPTIONS ... - TYPE SOURCE SUPEROPTIONS" */
static void look_in_mounts(struct quota *q)
{
    FILE *file = open_below(q, "/proc/self/mountinfo");
    for (char *line; file != NULL && (line = next_line(q, file)) != NULL;) {
        char *field[5] = {0}, *rest = strstr(line, " - "), *save = NULL;
        if (rest == NULL)
            continue;
        *rest = 0;
        rest += 3;
        for (int i = 0; i < 5; i++)
            field[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        char *type = strtok_r(rest, " ", &save), *options = NULL;
        for (int i = 0; type != NULL && i < 2; i++)
            options = strtok_r(NULL, " ", &save);
        if (field[4] == NULL || type == NULL)
            continue;
        unescape(field[3]);
        unescape(field[4]);
        if (strcmp(type, "cgroup2") == 0)
            look_in_mount(q, field[4], field[3], 2);
        else if (strcmp(type, "cgroup") == 0 && options != NULL && listed(options, "cpu"))
            look_in_mount(q, field[4], field[3], 1);
    }
    if (file != NULL)
        fclose(file);
}

int cpu_quota(const char *root)
{
    struct quota q = {.root = root};
    find_groups(&q);
    look_in_mounts(&q);
    return q.least > PROCESSORS ? PROCESSORS : (int)q.least;
}
