/* SPDX-License-Identifier: MIT
 *
 * verify: reads every picture of a data set whole and lists those that cannot be read: before a night of training,
 * or after a download. What a reader would get wrong: here a picture is only good if all of it can be read, while
 * training reads only the part that its views show. */
#include <moco/moco.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "images/check_pictures.h"
#include "images/data_source.h"
#include "support/cli_options.h"
#include "support/human.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/progress.h"
#include "support/stop_signal.h"

static const char help[] =
    "Usage: verify DIR... [OPTIONS]\n"
    "\n"
    "Reads every picture whole and prints a line for each that cannot be read: its path, a tab, the reason. DIR is\n"
    "a folder of images, of tar shards or of CIFAR-10's files, a shard, or a list of images (one path a line).\n"
    "\n"
    "      --workers N             threads that read (default 2)\n"
    "      --max-pixels N          larger pictures count as bad (default 67108864: 64 M)\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "Exit codes: 0 all can be read. 1 some cannot, or it failed. 2 wrong command line. 75 stopped by a signal.\n";

enum { EXIT_BAD = 1, EXIT_USAGE = 2, EXIT_STOPPED = 75 };

struct arguments {
    char paths[CLI_PATH_SIZE * 4];
    int64_t workers, max_pixels;
};

static void complain(const char *sentence)
{
    fprintf(stderr, "%s: %s\n", program_name("verify"), sentence);
}

static int add_path(struct arguments *a, const char *path)
{
    size_t used = strlen(a->paths), length = strlen(path);
    if (used + length + 2 > sizeof a->paths)
        return 0;
    snprintf(a->paths + used, sizeof a->paths - used, "%s%s", used > 0 ? ":" : "", path);
    return 1;
}

/* 1: go on; 0: help was asked for; -1: it is wrong, and has been said. */
static int parse(struct arguments *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 0;
        if (strcmp(argv[i], "--workers") == 0 && cli_int(value, 1, 64, &a->workers) == 1)
            i++;
        else if (strcmp(argv[i], "--max-pixels") == 0 && cli_int(value, 1, 1e12, &a->max_pixels) == 1)
            i++;
        else if (argv[i][0] == '-' || !add_path(a, argv[i])) {
            fprintf(stderr, "%s: %s is no option, or its value is wrong; --help explains them\n",
                    program_name("verify"), argv[i]);
            return -1;
        }
    }
    if (a->paths[0] != 0)
        return 1;
    complain("which images? Name a folder (--help explains it)");
    return -1;
}

static void show(int64_t looked, int64_t of)
{
    progress_show("reading pictures: %lld of %lld", (long long)looked, (long long)of);
}

static moco_status verify(const struct arguments *a, moco_context *context, int64_t *bad, struct err *err)
{
    struct checked_pictures checked = {0};
    moco_dataset *set = NULL;
    TRY(data_source_open_all(&set, context, a->paths, NULL, err));
    struct check_pictures check = {.set = set,
                                   .max_pixels = a->max_pixels,
                                   .workers = (int)a->workers,
                                   .stop = stop_signal_came,
                                   .progress = progress_on_terminal(STDOUT_FILENO) ? show : NULL};
    double begun = seconds_now();
    moco_status status = check_pictures(&check, &checked, err);
    if (check.progress != NULL)
        fputs("\r\033[K", stdout);
    checked_pictures_print(&checked, stdout, "", "\t");
    fprintf(stderr, "%s: read %s pictures in %s: %s bad\n", program_name("verify"), human_count(checked.looked),
            human_seconds(seconds_now() - begun), human_count(checked.bad));
    *bad = checked.bad;
    checked_pictures_free(&checked);
    moco_dataset_free(set);
    return status;
}

int main(int argc, char **argv)
{
    static struct arguments a = {.workers = 2};
    moco_context *context;
    struct err err = {0};
    int64_t bad = 0;
    program_start();
    int parsed = parse(&a, argc, argv);
    if (parsed == 0) {
        program_help(help, stdout);
        return program_printed(program_name("verify"));
    }
    if (parsed < 0)
        return EXIT_USAGE;
    stop_signal_catch();
    if (moco_context_create(&context, NULL) != MOCO_OK) {
        complain(moco_error());
        return EXIT_BAD;
    }
    moco_status status = verify(&a, context, &bad, &err);
    moco_context_free(context);
    if (status != MOCO_OK)
        complain(err.text);
    int lost = program_printed(program_name("verify"));
    return status == MOCO_ECANCELED ? EXIT_STOPPED : status != MOCO_OK || bad > 0 ? EXIT_BAD : lost;
}
