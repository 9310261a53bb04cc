/* SPDX-License-Identifier: MIT
 *
 * cli_options: command lines from a table. One row gives an option's name, type, bounds and help. Parsing, --help,
 * the printed configuration, the note in a checkpoint and the comparison at --resume all read that table, so that
 * none of them can forget an option. What a reader would get wrong: in the struct of values every number is an
 * int64_t or a double, and every text a char array of the size that its kind says. */
#ifndef MOCO_EXAMPLES_CLI_OPTIONS_H
#define MOCO_EXAMPLES_CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

#define CLI_NAME_SIZE 32
#define CLI_PATH_SIZE 1024
#define CLI_LIST_MAX 8
#define CLI_OPTIONS_MAX 96

struct cli_list {
    int32_t at[CLI_LIST_MAX];
    int count;
};

enum cli_kind {
    CLI_PATH, /* char[CLI_PATH_SIZE] */
    CLI_NAME, /* char[CLI_NAME_SIZE]; one of `choices` ("a|b|c"), or anything if that is NULL */
    CLI_INT,  /* int64_t within low..high */
    CLI_REAL, /* double within low..high */
    CLI_FLAG, /* int64_t, 1; --no-NAME sets 0 */
    CLI_LIST, /* struct cli_list of epochs: one argument "120,160" or several */
    CLI_ALIAS /* a shorter way to write another option: `choices` is "name=value" */
};

struct cli_option {
    const char *name; /* without the dashes */
    const char *also; /* a second name, or NULL */
    char letter;      /* or 0 */
    enum cli_kind kind;
    size_t offset; /* in the values struct */
    double low, high;
    const char *choices;
    int saved;         /* 1: decides what is computed, so a checkpoint keeps it and --resume compares it; 2: kept, and
                          may be another from a checkpoint on */
    const char *value; /* what --help calls the value; NULL: none */
    const char *help;  /* starts with "== Heading\n" where a new group begins; NULL: not shown */
};

/* An option that other programs have and that this one knows only to say what to do instead. */
struct cli_foreign {
    const char *name;
    char letter;        /* or 0 */
    const char *answer; /* a sentence that ends in %s, the options: those that share it are answered together */
};

struct cli {
    const char *program;
    const struct cli_option *option;
    int count;
    const struct cli_foreign *foreign; /* ends with a name of NULL; NULL: none */
};

/* Of the distributed runs of the reference's programs, and what is left of theirs. */
extern const struct cli_foreign cli_reference_moco[], cli_reference_lincls[];

/* Sets what the arguments say and marks it in `given`; the positional arguments go to `positional`,
 * with colons between them (CLI_PATH_SIZE; "" if there is none). A long option may be cut short as long as only one begins like it, as in
 * Python's argparse; a whole name is never taken for the beginning of another. MOCO_EINVAL with one sentence. */
moco_status cli_parse(const struct cli *cli, int argc, char **argv, void *values, unsigned char *given,
                      char *positional, struct err *err);

/* 1, and one sentence, if `argument` is a foreign option; the sentence names all of the command line that it answers.
 */
int cli_foreign(const struct cli *cli, int argc, char **argv, const char *argument, struct err *err);

int cli_find(const struct cli *cli, const char *name); /* -1: none */

/* Option `index` from text, with all checks. */
moco_status cli_set(const struct cli *cli, int index, void *values, const char *text, struct err *err);

/* All of `text` as a whole number from `low` to `high`. 1: *value is set; 0: it is no whole number; -1: out of range. */
int cli_int(const char *text, double low, double high, int64_t *value);

/* The value as cli_set would take it; numbers with as many digits as they need to be read back exactly. */
void cli_text(const struct cli *cli, int index, const void *values, char *text, size_t size);

void cli_help(const struct cli *cli, FILE *to);

/* `value` in the fewest digits that read back as the same double. */
void cli_real_text(double value, char *text, size_t size);

#endif
