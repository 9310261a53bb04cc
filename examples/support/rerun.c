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

/* `word` behind a blank, in quotes where a shell wants them. */
static size_t add(char *text, size_t size, size_t used, const char *word)
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

static size_t add_option(char *text, size_t size, size_t used, const struct cli *cli, int i, const void *values)
{
    const struct cli_option *o = &cli->option[i];
    char value[CLI_PATH_SIZE], name[CLI_NAME_SIZE + 8];
    cli_text(cli, i, values, value, sizeof value);
    int off = o->kind == CLI_FLAG && value[0] == '0';
    snprintf(name, sizeof name, "--%s%s", off ? "no-" : "", o->name);
    used = add(text, size, used, name);
    return o->kind == CLI_FLAG ? used : add(text, size, used, value);
}

size_t rerun_resume(const struct cli *cli, const char *folder, const char *out, int threads, const void *values,
                    const unsigned char *given, int saved, char *text, size_t size)
{
    static const char *const said_below[] = {"threads", "out", "resume", NULL};
    char path[CLI_PATH_SIZE + 2], number[24];
    snprintf(path, sizeof path, "%s%s", folder[0] == '-' ? "./" : "", folder); /* or it would be an option */
    snprintf(number, sizeof number, "%d", threads);
    size_t used = add(text, size, 0, cli->program);
    used = add(text, size, used, path);
    for (int i = 0; i < cli->count; i++)
        if (given[i] && cli->option[i].kind != CLI_ALIAS && (saved || !cli->option[i].saved) &&
            !is_among(cli->option[i].name, said_below))
            used = add_option(text, size, used, cli, i, values);
    const char *const words[] = {"--threads", number, "--out", out, "--resume", "auto"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        used = add(text, size, used, words[i]);
    return used;
}
