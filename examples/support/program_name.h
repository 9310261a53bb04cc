/* SPDX-License-Identifier: MIT
 *
 * program_name: the name of a program where it runs. Each program is a file of its own in build/examples, and a
 * command of `moco`, which is installed: train_imagenet is `moco train` there, in its sentences, its --help and the
 * command lines that it prints. What a reader would get wrong: a process is one of the two from its start and does
 * not change. */
#ifndef MOCO_EXAMPLES_PROGRAM_NAME_H
#define MOCO_EXAMPLES_PROGRAM_NAME_H

#include <stdio.h>

struct program_command {
    const char *name;    /* "train" */
    const char *program; /* "train_imagenet" */
    int (*main)(int argc, char **argv);
    const char *summary;
};

/* Called by `moco`: names of programs are those of commands from here on. Borrowed; ends with a name of NULL. */
void program_commands(const struct program_command *commands);

/* "train_imagenet", or "moco train"; a program that is no command keeps its name. */
const char *program_name(const char *program);

/* The command that a program is here; NULL: it is a file of its own. */
const char *program_command(const char *program);

/* Prints a text, or changes one where it is, in which programs are named: where a line says how one is called, and
 * those two whose names are no words anywhere. */
void program_help(const char *text, FILE *to);
void program_words(char *text);

/* The whole command line, whose end `argv` is. */
char **program_line(char **argv);

#endif
