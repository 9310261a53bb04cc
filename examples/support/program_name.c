/* SPDX-License-Identifier: MIT
 *
 * program_name: see program_name.h. */
#include "program_name.h"

#include <stdlib.h>
#include <string.h>

static const struct program_command *commands;

void program_commands(const struct program_command *them)
{
    commands = them;
}

static const struct program_command *find(const char *program, size_t length)
{
    for (const struct program_command *c = commands; c != NULL && c->name != NULL; c++)
        if (strlen(c->program) == length && strncmp(c->program, program, length) == 0)
            return c;
    return NULL;
}

const char *program_name(const char *program)
{
    static char text[32]; /* a process is one program, and names itself */
    const struct program_command *c = find(program, strlen(program));
    if (c == NULL)
        return program;
    snprintf(text, sizeof text, "moco %s", c->name);
    return text;
}

const char *program_command(const char *program)
{
    const struct program_command *c = find(program, strlen(program));
    return c != NULL ? c->name : NULL;
}

char **program_line(char **argv)
{
    return commands != NULL ? argv - 1 : argv;
}

/* Is this where a line says how a program is called: "Usage: NAME ", "  NAME " at the start of a line? */
static int is_call(const char *text, const char *at, size_t name)
{
    if (at[name] != ' ')
        return 0; /* "  report.html" */
    static const char usage[] = "Usage: ";
    const size_t length = sizeof usage - 1;
    if ((size_t)(at - text) >= length && memcmp(at - length, usage, length) == 0)
        return 1;
    const char *line = at;
    while (line > text && line[-1] == ' ')
        line--;
    return at - line >= 2 && (line == text || line[-1] == '\n');
}

static size_t word(const char *at)
{
    return strspn(at, "abcdefghijklmnopqrstuvwxyz_");
}

/* How long the folder is that a program lies in where it is built, as our texts name it: build/examples/NAME. */
static size_t folder(const char *at)
{
    static const char *const folders[] = {"build/examples/", "examples/"};
    for (int i = 0; i < 2; i++)
        if (strncmp(at, folders[i], strlen(folders[i])) == 0)
            return strlen(folders[i]);
    return 0;
}

/* The command that is named at `at`, and in `used` how much of the text names it. NULL: none is, or a word like others: to
 * compare, a report. `ours`: a text of ours, where a path cannot be a user's. */
static const struct program_command *named(const char *text, const char *at, int ours, size_t *used)
{
    size_t path = ours ? folder(at) : 0, length = word(at + path);
    const struct program_command *c = length > 0 ? find(at + path, length) : NULL;
    if (c != NULL && path == 0 && !is_call(text, at, length) && memchr(at, '_', length) == NULL)
        c = NULL;
    length = word(at);
    *used = c != NULL ? path + strlen(c->program) : length > 0 ? length : 1;
    return c;
}

/* Both ways of use: to `to`, or in place, since "moco train" is no longer than "train_imagenet". */
static void replace(const char *text, FILE *to, char *in_place)
{
    const char *at = text;
    char *out = in_place;
    while (*at != 0) {
        size_t used;
        const struct program_command *c = named(text, at, to != NULL, &used);
        char name[32];
        size_t size = used;
        const char *put = at;
        if (c != NULL && (to != NULL || strlen(c->name) + 5 <= used)) {
            size = (size_t)snprintf(name, sizeof name, "moco %s", c->name);
            put = name;
        }
        if (to != NULL)
            fwrite(put, 1, size, to);
        else
            memmove(out, put, size);
        out = to == NULL ? out + size : out;
        at += used;
    }
    if (to == NULL)
        *out = 0;
}

void program_help(const char *text, FILE *to)
{
    replace(text, to, NULL);
}

void program_words(char *text)
{
    if (commands != NULL)
        replace(text, NULL, text);
}
