/* SPDX-License-Identifier: MIT
 *
 * cli_options: see cli_options.h. The programs never call setlocale, so printf and strtod use the point of the C
 * locale whatever the user's environment says. */
#include "cli_options.h"
#include "program_name.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *field(const struct cli_option *o, void *values)
{
    return (char *)values + o->offset;
}

static const void *field_of(const struct cli_option *o, const void *values)
{
    return (const char *)values + o->offset;
}

static int same(const char *name, const char *text, size_t length)
{
    return name != NULL && strlen(name) == length && memcmp(name, text, length) == 0;
}

static int find(const struct cli *cli, const char *text, size_t length)
{
    for (int i = 0; i < cli->count; i++)
        if (same(cli->option[i].name, text, length) || same(cli->option[i].also, text, length))
            return i;
    return -1;
}

int cli_find(const struct cli *cli, const char *name)
{
    return find(cli, name, strlen(name));
}

/* ---- values ---- */

static moco_status set_name(const struct cli_option *o, char *to, const char *text, struct err *err)
{
    size_t length = strlen(text);
    for (const char *c = o->choices; c != NULL;) {
        size_t n = strcspn(c, "|");
        if (n == length && memcmp(c, text, n) == 0)
            break;
        if (c[n] == 0)
            return err_set(err, MOCO_EINVAL, "--%s %.40s: it must be one of %s", o->name, text, o->choices);
        c += n + 1;
    }
    if (length >= CLI_NAME_SIZE || length == 0)
        return err_set(err, MOCO_EINVAL, "--%s needs a name of 1 to %d characters", o->name, CLI_NAME_SIZE - 1);
    memcpy(to, text, length + 1);
    return MOCO_OK;
}

int cli_int(const char *text, double low, double high, int64_t *value)
{
    char *end;
    errno = 0;
    long long read = strtoll(text, &end, 10);
    if (end == text || *end != 0 || isspace((unsigned char)*text))
        return 0;
    if (errno != 0 || (double)read < low || (double)read > high)
        return -1;
    *value = read;
    return 1;
}

static moco_status set_int(const struct cli_option *o, int64_t *to, const char *text, struct err *err)
{
    int read = cli_int(text, o->low, o->high, to);
    if (read == 0)
        return err_set(err, MOCO_EINVAL, "--%s %.40s: that is not a whole number", o->name, text);
    if (read < 0)
        return err_set(err, MOCO_EINVAL, "--%s %.40s: it must be %.0f to %.0f", o->name, text, o->low, o->high);
    return MOCO_OK;
}

static moco_status set_real(const struct cli_option *o, double *to, const char *text, struct err *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || isspace((unsigned char)*text) || !isfinite(value))
        return err_set(err, MOCO_EINVAL, "--%s %.40s: that is not a number", o->name, text);
    if (value < o->low || value > o->high)
        return err_set(err, MOCO_EINVAL, "--%s %.40s: it must be %g to %g", o->name, text, o->low, o->high);
    *to = value;
    return MOCO_OK;
}

static moco_status set_list(const struct cli_option *o, struct cli_list *to, const char *text, struct err *err)
{
    struct cli_list list = {{0}, 0};
    const char *at = text;
    while (*at != 0) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (end == at || (*end != 0 && *end != ',') || errno != 0 || value < 1 || value > 1000000)
            return err_set(err, MOCO_EINVAL, "--%s %.60s: it must be epochs from 1 on, such as 120,160", o->name, text);
        if (list.count == CLI_LIST_MAX || (list.count > 0 && value <= list.at[list.count - 1]))
            return err_set(err, MOCO_EINVAL, "--%s %.60s: it must be at most %d epochs, each later than the one before",
                           o->name, text, CLI_LIST_MAX);
        list.at[list.count++] = (int32_t)value;
        at = *end == ',' ? end + 1 : end;
    }
    *to = list;
    return MOCO_OK;
}

moco_status cli_set(const struct cli *cli, int index, void *values, const char *text, struct err *err)
{
    const struct cli_option *o = &cli->option[index];
    switch (o->kind) {
    case CLI_PATH:
        if (strlen(text) >= CLI_PATH_SIZE || *text == 0)
            return err_set(err, MOCO_EINVAL, "--%s needs a path of 1 to %d bytes", o->name, CLI_PATH_SIZE - 1);
        memcpy(field(o, values), text, strlen(text) + 1);
        return MOCO_OK;
    case CLI_NAME:
        return set_name(o, field(o, values), text, err);
    case CLI_INT:
        return set_int(o, field(o, values), text, err);
    case CLI_REAL:
        return set_real(o, field(o, values), text, err);
    case CLI_FLAG:
        if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
            return err_set(err, MOCO_EINVAL, "--%s takes no value", o->name);
        *(int64_t *)field(o, values) = *text - '0';
        return MOCO_OK;
    case CLI_LIST:
        return set_list(o, field(o, values), text, err);
    case CLI_ALIAS:
        break;
    }
    return err_set(err, MOCO_EINVAL, "--%s has no value of its own", o->name);
}

void cli_real_text(double value, char *text, size_t size)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

void cli_text(const struct cli *cli, int index, const void *values, char *text, size_t size)
{
    const struct cli_option *o = &cli->option[index];
    text[0] = 0;
    if (o->kind == CLI_PATH || o->kind == CLI_NAME) {
        snprintf(text, size, "%s", (const char *)field_of(o, values));
    } else if (o->kind == CLI_INT || o->kind == CLI_FLAG) {
        snprintf(text, size, "%lld", (long long)*(const int64_t *)field_of(o, values));
    } else if (o->kind == CLI_REAL) {
        cli_real_text(*(const double *)field_of(o, values), text, size);
    } else if (o->kind == CLI_LIST) {
        const struct cli_list *list = field_of(o, values);
        size_t used = 0;
        for (int i = 0; i < list->count && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%d", i > 0 ? "," : "", (int)list->at[i]);
    }
}

/* ---- the command line ---- */

struct walk {
    const struct cli *cli;
    int argc, at;
    char **argv;
    void *values;
    unsigned char *given;
    struct err *err;
};

/* Levenshtein's distance, for the suggestion. */
static int distance(const char *a, const char *b)
{
    int row[CLI_NAME_SIZE + 1];
    int n = (int)strlen(b);
    if (n > CLI_NAME_SIZE)
        return n;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] != 0; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]);
            int gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < gap ? replace : gap;
        }
    }
    return row[n];
}

static moco_status unknown(const struct walk *w, const char *argument, const char *name)
{
    const struct cli *cli = w->cli;
    struct err *err = w->err;
    if (cli_foreign(cli, w->argc, w->argv, argument, err))
        return MOCO_EINVAL;
    const char *best = NULL;
    int least = 1000;
    for (int i = 0; i < cli->count; i++)
        for (int second = 0; second < 2; second++) {
            const char *candidate = second ? cli->option[i].also : cli->option[i].name;
            int d = candidate != NULL ? distance(name, candidate) : 1000;
            if (d < least) {
                least = d;
                best = candidate;
            }
        }
    if (best != NULL && least <= 1 + (int)strlen(best) / 3)
        return err_set(err, MOCO_EINVAL, "there is no option %.60s; did you mean --%s?", argument, best);
    return err_set(err, MOCO_EINVAL, "there is no option %.60s; --help lists them", argument);
}

static int is_list(const char *text)
{
    return *text != 0 && strspn(text, "0123456789,") == strlen(text);
}

/* `attached` is the value in the same argument, or NULL. */
static moco_status take(struct walk *w, int index, const char *attached)
{
    const struct cli_option *o = &w->cli->option[index];
    if (o->kind == CLI_ALIAS) {
        const char *equals = strchr(o->choices, '=');
        if (attached != NULL)
            return err_set(w->err, MOCO_EINVAL, "--%s takes no value", o->name);
        int target = find(w->cli, o->choices, (size_t)(equals - o->choices));
        w->given[target] = 1;
        return cli_set(w->cli, target, w->values, equals + 1, w->err);
    }
    w->given[index] = 1;
    if (o->kind == CLI_FLAG)
        return cli_set(w->cli, index, w->values, attached != NULL ? attached : "1", w->err);
    if (attached == NULL && (w->at >= w->argc || strcmp(w->argv[w->at], "--") == 0))
        return err_set(w->err, MOCO_EINVAL, "--%s needs a value (%s)", o->name, o->value);
    if (attached != NULL || o->kind != CLI_LIST)
        return cli_set(w->cli, index, w->values, attached != NULL ? attached : w->argv[w->at++], w->err);
    char joined[256] = "";
    size_t used = 0;
    while (w->at < w->argc && is_list(w->argv[w->at]) && used < sizeof joined)
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%s", used > 0 ? "," : "", w->argv[w->at++]);
    if (used == 0)
        return err_set(w->err, MOCO_EINVAL, "--%s needs epochs, such as 120 160", o->name);
    return cli_set(w->cli, index, w->values, joined, w->err);
}

/* ---- names that were cut short ---- */

/* Options that begin like a cut name; `off` counts --no-NAME as another option than --NAME. */
struct beginnings {
    int index, off, count;
    char listed[256]; /* "--size, --stem" */
};

static void begins(struct beginnings *b, const struct cli_option *o, int index, int off, const char *name,
                   size_t length)
{
    const char *candidate[2] = {o->name, o->also};
    for (int i = 0; i < 2; i++) {
        char whole[CLI_NAME_SIZE * 2];
        if (candidate[i] == NULL)
            continue;
        snprintf(whole, sizeof whole, "%s%s", off ? "no-" : "", candidate[i]);
        if (strncmp(whole, name, length) != 0)
            continue;
        size_t used = strlen(b->listed);
        snprintf(b->listed + used, sizeof b->listed - used, "%s--%s", used > 0 ? ", " : "", whole);
        b->index = index;
        b->off = off;
        b->count++;
        return;
    }
}

/* A name of which only the beginning is given. */
static moco_status take_beginning(struct walk *w, const char *argument, size_t length, const char *attached)
{
    struct beginnings b = {0};
    const char *name = argument + 2;
    for (int off = 0; off < 2; off++)
        for (int i = 0; i < w->cli->count && length > 0; i++)
            if (!off || w->cli->option[i].kind == CLI_FLAG)
                begins(&b, &w->cli->option[i], i, off, name, length);
    if (b.count == 1 && !(b.off && attached != NULL))
        return take(w, b.index, b.off ? "0" : attached);
    if (b.count > 1)
        return err_set(w->err, MOCO_EINVAL, "%.60s is the beginning of more than one option: %s; write more of it",
                       argument, b.listed);
    char plain[CLI_NAME_SIZE * 2];
    snprintf(plain, sizeof plain, "%.*s", (int)length, name);
    return unknown(w, argument, plain);
}

static int is_foreign(const struct cli *cli, const char *name, size_t length)
{
    for (const struct cli_foreign *f = cli->foreign; f != NULL && f->name != NULL; f++)
        if (same(f->name, name, length))
            return 1;
    return 0;
}

static moco_status take_long(struct walk *w, const char *argument)
{
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    const char *attached = name[length] == '=' ? name + length + 1 : NULL;
    int index = find(w->cli, name, length);
    if (index >= 0)
        return take(w, index, attached);
    if (length > 3 && strncmp(name, "no-", 3) == 0 && attached == NULL) {
        index = find(w->cli, name + 3, length - 3);
        if (index >= 0 && w->cli->option[index].kind == CLI_FLAG)
            return take(w, index, "0");
    }
    if (is_foreign(w->cli, name, length))
        return unknown(w, argument, name);
    return take_beginning(w, argument, length, attached);
}

moco_status cli_parse(const struct cli *cli, int argc, char **argv, void *values, unsigned char *given,
                      char *positional, struct err *err)
{
    struct walk w = {cli, argc, 1, argv, values, given, err};
    int only_positional = 0;
    positional[0] = 0;
    while (w.at < argc) {
        const char *argument = argv[w.at++];
        if (!only_positional && strcmp(argument, "--") == 0) {
            only_positional = 1;
        } else if (!only_positional && strncmp(argument, "--", 2) == 0) {
            TRY(take_long(&w, argument));
        } else if (!only_positional && argument[0] == '-' && argument[1] != 0) {
            int index = 0;
            while (index < cli->count && cli->option[index].letter != argument[1])
                index++;
            if (index == cli->count)
                return unknown(&w, argument, argument + 1);
            TRY(take(&w, index, argument[2] != 0 ? argument + 2 : NULL));
        } else {
            size_t used = strlen(positional), length = strlen(argument);
            if (length == 0 || used + (used > 0) + length >= CLI_PATH_SIZE)
                return err_set(err, MOCO_EINVAL, "the folder's path must have 1 to %d bytes, several of them together",
                               CLI_PATH_SIZE - 1);
            if (used > 0)
                positional[used++] = ':';
            memcpy(positional + used, argument, length + 1);
        }
    }
    return MOCO_OK;
}

void cli_help(const struct cli *cli, FILE *to)
{
    for (int i = 0; i < cli->count; i++) {
        const struct cli_option *o = &cli->option[i];
        char left[64], words[2048];
        if (o->help == NULL)
            continue;
        snprintf(words, sizeof words, "%s", o->help);
        program_words(words);
        const char *help = words;
        if (strncmp(help, "== ", 3) == 0) {
            size_t n = strcspn(help, "\n");
            fprintf(to, "\n%.*s\n", (int)(n - 3), help + 3);
            help += n + 1;
        }
        int used = o->letter ? snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name)
                             : snprintf(left, sizeof left, "    --%s", o->name);
        snprintf(left + used, sizeof left - (size_t)used, "%s%s", o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        fprintf(to, "  %-28s", left);
        for (const char *line = help;; line++) {
            size_t n = strcspn(line, "\n");
            fprintf(to, "%.*s\n", (int)n, line);
            line += n;
            if (*line == 0)
                break;
            fprintf(to, "%30s", "");
        }
    }
}
