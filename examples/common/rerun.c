/* SPDX-License-Identifier: MIT
 *
 * rerun: see rerun.h. */
#include "rerun.h"

#include <stdio.h>
#include <string.h>

static size_t put(char *text, size_t size, size_t used, const char *what, size_t length)
{
    for (size_t i = 0; i < length; i++, used++)
        if (used + 1 < size) {
            text[used] = what[i];
            text[used + 1] = 0;
        }
    return used;
}

size_t rerun_add(char *text, size_t size, size_t used, const char *word)
{
    int plain = word[0] != 0 && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                                  "_-./,:=+@%")] == 0;
    if (used > 0)
        used = put(text, size, used, " ", 1);
    if (plain)
        return put(text, size, used, word, strlen(word));
    used = put(text, size, used, "'", 1);
    for (; *word != 0; word++)
        used = *word == '\'' ? put(text, size, used, "'\\''", 4) : put(text, size, used, word, 1);
    return put(text, size, used, "'", 1);
}

static int is_among(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return 1;
    return 0;
}

size_t rerun_command(const struct cli *cli, const char *folder, const void *values, const unsigned char *given,
                     int saved, const char *const *leave_out, char *text, size_t size)
{
    size_t used = rerun_add(text, size, 0, cli->program);
    char path[CLI_PATH_SIZE + 2];
    snprintf(path, sizeof path, "%s%s", folder[0] == '-' ? "./" : "", folder); /* or it would be an option */
    used = rerun_add(text, size, used, path);
    for (int i = 0; i < cli->count; i++) {
        const struct cli_option *o = &cli->option[i];
        char value[CLI_PATH_SIZE], name[CLI_NAME_SIZE + 8];
        if (!given[i] || o->kind == CLI_ALIAS || (o->saved && !saved) || is_among(o->name, leave_out))
            continue;
        cli_text(cli, i, values, value, sizeof value);
        int off = o->kind == CLI_FLAG && value[0] == '0';
        snprintf(name, sizeof name, "--%s%s", off ? "no-" : "", o->name);
        used = rerun_add(text, size, used, name);
        if (o->kind != CLI_FLAG)
            used = rerun_add(text, size, used, value);
    }
    return used;
}
