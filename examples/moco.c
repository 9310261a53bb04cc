/* SPDX-License-Identifier: MIT
 *
 * moco: the programs of this folder as commands of one program, which `make install` installs. It consists of the
 * same objects: a command is a program's own main under another name (Makefile). */
#include <stdio.h>
#include <string.h>

#include <moco/moco.h>

#include "support/program_name.h"
#include "support/program_start.h"

/* What `objcopy --redefine-sym` makes of each program's main. */
int train_imagenet_main(int argc, char **argv);
int linear_probe_main(int argc, char **argv);
int embed_main(int argc, char **argv);
int compare_main(int argc, char **argv);
int report_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int convert_main(int argc, char **argv);
int show_views_main(int argc, char **argv);
int verify_main(int argc, char **argv);
int serve_main(int argc, char **argv);

static const struct program_command commands[] = {
    {"train", "train_imagenet", train_imagenet_main,
     "learn an encoder from pictures without labels, for a night or a month"},
    {"probe", "linear_probe", linear_probe_main, "measure an encoder: linear classification of its features"},
    {"embed", "embed", embed_main, "features of pictures, and the nearest of them"},
    {"serve", "serve", serve_main, "vectors of pictures as a service on standard input and output"},
    {"compare", "compare", compare_main, "mechanisms side by side: runs of train and probe, and their tables"},
    {"report", "report", report_main, "draw the page of a run again, or of several over each other"},
    {"verify", "verify", verify_main, "read every picture whole, and list those that cannot be read"},
    {"views", "show_views", show_views_main, "one picture and the views that a recipe makes of it"},
    {"inspect", "inspect", inspect_main, "what is in a file of weights of any program"},
    {"convert", "convert", convert_main, "weights from one kind of file to another"},
    {NULL, NULL, NULL, NULL}};

static int help(FILE *to)
{
    fputs("Usage: moco COMMAND [ARGUMENTS]\n"
          "       moco COMMAND --help     options of a command\n"
          "       moco --version\n"
          "\n",
          to);
    for (const struct program_command *c = commands; c->name != NULL; c++)
        fprintf(to, "  %-9s %s\n", c->name, c->summary);
    fputs("\nThe first hour: moco train DIR --preset cifar10 --epochs 10 --out run1, then open run1/report.html.\n",
          to);
    return to == stdout ? program_printed("moco") : 2;
}

int main(int argc, char **argv)
{
    program_start();
    if (argc < 2)
        return help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        int version = moco_version();
        printf("moco %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
        return program_printed("moco");
    }
    for (const struct program_command *c = commands; c->name != NULL; c++)
        if (strcmp(argv[1], c->name) == 0) {
            program_commands(commands);
            return c->main(argc - 1, argv + 1);
        }
    fprintf(stderr, "moco: there is no command %s; moco --help lists them\n", argv[1]);
    return 2;
}
