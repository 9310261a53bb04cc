/* SPDX-License-Identifier: MIT
 *
 * report: draws report.html again from the files of a run folder, or draws several runs over each other.
 *
 *   build/examples/report RUN                        RUN/report.html
 *   build/examples/report RUN RUN... --out FILE      one page with all of them (default compare.html)
 *   build/examples/report --csv RUN                  RUN/metrics.csv, and no page
 *   build/examples/report --gallery RUN              first the gallery again, from encoder and images
 *
 * A line of metrics.jsonl that cannot be used is reported with file and line, and left out. */
#include <stdio.h>
#include <string.h>

#include "folder/leftovers.h"
#include "folder/run_csv.h"
#include "folder/run_dir.h"
#include "report/gallery_remake.h"
#include "report/report.h"
#include "support/program_name.h"
#include "support/program_start.h"

static const char help[] =
    "Usage: report RUN... [OPTIONS]\n"
    "\n"
    "Draws RUN/report.html again, from the files of a run folder. Up to 16 runs are drawn over each other on one\n"
    "page, compare.html. RUN is a run folder of train_imagenet. Lines of its metrics.jsonl that cannot be used are\n"
    "reported and left out.\n"
    "\n"
    "      --out FILE              name of the page\n"
    "      --csv                   write RUN/metrics.csv, a line for each step and epoch, and no page\n"
    "      --gallery               first make each run's gallery.json again, from its encoder.safetensors and\n"
    "                              the images that it was trained on\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what and where. 2 wrong command line.\n";

struct arguments {
    const char *folder[REPORT_RUNS_MAX], *out;
    int folders, gallery, csv;
};

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "%s: %s%s\n", program_name("report"), why, what);
    program_help(help, stderr);
    return 2;
}

/* 0, or an exit status + 1. */
static int parse(struct arguments *a, int argc, char **argv)
{
    int only_folders = 0;
    for (int i = 1; i < argc; i++) {
        if (!only_folders && strcmp(argv[i], "--") == 0) {
            only_folders = 1;
        } else if (!only_folders && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            program_help(help, stdout);
            return 1 + program_printed(program_name("report"));
        } else if (!only_folders && strcmp(argv[i], "--out") == 0) {
            if (++i == argc)
                return 1 + usage("--out needs the name of a file", "");
            a->out = argv[i];
        } else if (!only_folders && strcmp(argv[i], "--gallery") == 0) {
            a->gallery = 1;
        } else if (!only_folders && strcmp(argv[i], "--csv") == 0) {
            a->csv = 1;
        } else if (!only_folders && argv[i][0] == '-') {
            return 1 + usage("there is no option ", argv[i]);
        } else if (a->folders == REPORT_RUNS_MAX) {
            return 1 + usage("it shows 16 runs at most; one too many is ", argv[i]);
        } else {
            a->folder[a->folders++] = argv[i];
        }
    }
    return a->folders > 0 ? 0 : 1 + usage("which run?", "");
}

static void warn(const char *sentence)
{
    fprintf(stderr, "%s: warning: %s\n", program_name("report"), sentence);
}

static void tell(const char *sentence)
{
    fprintf(stderr, "%s: %s\n", program_name("report"), sentence);
}

static void tell_problems(const struct run_log *log)
{
    for (int64_t i = 0; i < log->problems && i < RUN_PROBLEMS_KEPT; i++)
        fprintf(stderr, "%s: %s, line %lld: %s; it is left out\n", program_name("report"), log->path,
                (long long)log->problem[i].line, log->problem[i].text);
    if (log->problems > RUN_PROBLEMS_KEPT)
        fprintf(stderr, "%s: %s: %lld more lines are left out\n", program_name("report"), log->path,
                (long long)(log->problems - RUN_PROBLEMS_KEPT));
}

/* Two runs of one name are called by their folders. */
static void tell_apart(struct run_log *const *run, int runs)
{
    int shared[REPORT_RUNS_MAX] = {0};
    for (int i = 0; i < runs; i++)
        for (int j = 0; j < runs; j++)
            shared[i] |= i != j && strcmp(run[i]->name, run[j]->name) == 0;
    for (int i = 0; i < runs; i++)
        if (shared[i])
            snprintf(run[i]->name, sizeof run[i]->name, "%.255s", run[i]->folder);
}

int main(int argc, char **argv)
{
    struct arguments a = {.out = NULL};
    struct run_log *run[REPORT_RUNS_MAX] = {NULL};
    struct gallery *gallery[REPORT_RUNS_MAX] = {NULL};
    struct err err = {0};
    char path[RUN_PATH_SIZE] = "compare.html";
    moco_status status = MOCO_OK;
    program_start();
    int code = parse(&a, argc, argv);
    if (code != 0)
        return code - 1;
    for (int i = 0; i < a.folders && status == MOCO_OK; i++) {
        status = run_log_open(&run[i], a.folder[i], &err);
        if (status == MOCO_OK)
            status = a.csv ? run_csv_write(run[i], path, sizeof path, &err) : run_log_read(run[i], 1, &err);
        if (status != MOCO_OK)
            continue;
        tell_problems(run[i]);
        if (a.csv) {
            printf("%s\n", path);
            continue;
        }
        leftovers_remove(run[i]->folder, leftovers_of_others, 0, tell);
        if (a.gallery)
            TRY_GOTO(status, gallery_remake(run[i], warn, &err), done);
        struct err why = {0};
        if (gallery_read(&gallery[i], run[i]->folder, &why) != MOCO_OK)
            fprintf(stderr, "%s: %s; the page goes without it\n", program_name("report"), why.text);
    }
    if (status == MOCO_OK && !a.csv) {
        tell_apart(run, a.folders);
        if (a.folders == 1)
            run_dir_path(run[0]->folder, "report.html", path);
        int goes_on = a.folders == 1 && a.out == NULL && run_log_busy(run[0]); /* its driver will draw over this */
        leftovers_remove_beside(a.out != NULL ? a.out : path, tell);
        status = report_write(a.out != NULL ? a.out : path, run, gallery, a.folders,
                              goes_on ? REPORT_GOES_ON : REPORT_ENDED, &err);
    }
done:
    if (status == MOCO_OK && !a.csv)
        printf("%s\n", a.out != NULL ? a.out : path);
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", program_name("report"), err.text);
    for (int i = 0; i < a.folders; i++) {
        run_log_free(run[i]);
        gallery_free(gallery[i]);
    }
    return status == MOCO_OK ? 0 : 1;
}
