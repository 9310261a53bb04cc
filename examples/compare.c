/* SPDX-License-Identifier: MIT
 *
 * compare: the comparisons of the MoCo papers on a person's own pictures: mechanisms at equal steps, their cost by
 * batch size, and the ablations. Every run is a train_imagenet of its own, with its folder, checkpoints and report,
 * followed by a linear_probe. This program decides which runs are made, says how long they will take, and makes
 * tables of their numbers. What a reader would get wrong: nothing is kept in memory between runs. The same command
 * therefore continues where it was stopped, and a run whose folder was deleted is made again. */
#include <moco/moco.h>

#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare/compare_run.h"
#include "compare/compare_tables.h"
#include "demo/demo_pictures.h"
#include "folder/run_dir.h"
#include "images/draw_patterns.h"
#include "images/open_data.h"
#include "report/report.h"
#include "support/child.h"
#include "support/from_moco.h"
#include "support/human.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/wait_policy.h"

#define AT(member) offsetof(struct compare_settings, member)
#define OF_MEMORY 0.8 /* of what the machine has, what a run may take */

static const struct cli_option table[] = {
    {"tables", NULL, 0, CLI_PATH, AT(tables), 0, 0, NULL, 0, "NAMES",
     "== What to compare\n"
     "accuracy (mechanisms at equal steps), cost (memory and time by batch\n"
     "size), temperature (by head), augmentation, negatives (queue or batch,\n"
     "by batch size), or all; default accuracy,cost"},
    {"patterns", NULL, 0, CLI_FLAG, AT(patterns), 0, 1, NULL, 0, NULL,
     "draw the demo's pictures instead of reading DIR"},
    {"seeds", NULL, 0, CLI_INT, AT(seeds), 1, 100, NULL, 0, "N", "runs of each, with seeds 0 to N - 1 (default 1)"},
    {"epochs", NULL, 0, CLI_INT, AT(epochs), 1, 1000000, NULL, 0, "N", "passes over the pictures (default 20)"},
    {"batch-size", NULL, 'b', CLI_INT, AT(batch), 8, 1 << 20, NULL, 0, "N", "images per step (default: the preset's)"},
    {"lr", NULL, 0, CLI_REAL, AT(lr), 0, 1e6, NULL, 0, "X",
     "learning rate at that batch, for all (default: the preset's)"},
    {"batches", NULL, 0, CLI_LIST, AT(batches), 0, 0, NULL, 0, "N...",
     "batch sizes of the table of negatives (default 32,64,128,256)"},
    {"cost-batches", NULL, 0, CLI_LIST, AT(cost_batches), 0, 0, NULL, 0, "N...",
     "batch sizes of the table of costs (default 32,64,128,256)"},
    {"cost-group", NULL, 0, CLI_INT, AT(cost_group), 1, 1 << 20, NULL, 0, "N",
     "BN group of the table of costs (default 16)"},
    {"cost-steps", NULL, 0, CLI_INT, AT(cost_steps), 2, 1000, NULL, 0, "N",
     "steps of each run of the table of costs (default 4)"},

    {"preset", NULL, 0, CLI_NAME, AT(preset), 0, 0, NULL, 0, "NAME",
     "== The network and the views\nof train_imagenet, for what is not said here (default moco-v2; with\n"
     "--patterns demo)"},
    {"arch", NULL, 'a', CLI_NAME, AT(arch), 0, 0, NULL, 0, "NAME", "resnet18 to resnet152"},
    {"width", NULL, 0, CLI_REAL, AT(width), 0.01, 16, NULL, 0, "X", "multiplies the channels of every layer"},
    {"stem", NULL, 0, CLI_NAME, AT(stem), 0, 0, "imagenet|cifar|small", 0, "NAME", "imagenet, cifar or small"},
    {"size", NULL, 0, CLI_INT, AT(size), 8, 4096, NULL, 0, "PIXELS", "side of a view"},
    {"recipe", NULL, 0, CLI_NAME, AT(recipe), 0, 0, NULL, 0, "NAME", "augmentation of all runs"},
    {"moco-k", NULL, 0, CLI_INT, AT(queue), 1, 1e9, NULL, 0, "K", "negative keys in the queue"},

    {"out", NULL, 0, CLI_PATH, AT(out), 0, 0, NULL, 0, "DIR",
     "== The runs\nfolder of all runs and of compare.md (default moco-compare)"},
    {"dry-run", NULL, 0, CLI_FLAG, AT(dry_run), 0, 1, NULL, 0, NULL, "say what would run and how long it takes"},
    {"device", NULL, 0, CLI_NAME, AT(device), 0, 0, NULL, 0, "NAME", "== The machine\n" DEVICE_HELP},
    {"precision", NULL, 0, CLI_NAME, AT(precision), 0, 0, PRECISION_CHOICES, 0, "NAME", PRECISION_HELP},
    {"threads", NULL, 0, CLI_INT, AT(threads), 0, 1024, NULL, 0, "N", "compute threads (default 0: all it may use)"},
    {"wait", NULL, 0, CLI_NAME, AT(wait), 0, 0, WAIT_CHOICES, 0, "POLICY", WAIT_HELP},
    {"workers", NULL, 'j', CLI_INT, AT(workers), 0, 1024, NULL, 0, "N", "threads that read images"},
    {"help", NULL, 'h', CLI_FLAG, AT(help), 0, 1, NULL, 0, NULL, "print this and stop"},
};
static const struct cli cli = {"compare", table, (int)(sizeof table / sizeof table[0]), NULL};

static const char help_head[] =
    "Usage: compare DIR... [OPTIONS]\n"
    "       compare --patterns [OPTIONS]\n"
    "\n"
    "Trains MoCo v2, MoCo v1, SimCLR and the end-to-end mechanism on the pictures in DIR, measures kNN and linear\n"
    "classification, and what each costs. DIR holds train/ and test/ or val/ with class folders, CIFAR-10's files, or\n"
    "what else linear_probe takes. The program first says how long it will take. The same command goes on where it\n"
    "was stopped.\n";

static const char help_tail[] =
    "\n"
    "Exit codes: 0 done. 1 failed, or some runs did; the same command tries these again. 2 wrong command line. 75\n"
    "stopped by a signal: the same command goes on.\n";

struct compare {
    struct compare_settings settings;
    struct compare_place place;
    struct cells cells;
    struct open_data data;
};

static void on_log(void *user, int level, const char *line)
{
    (void)user;
    if (level >= MOCO_LOG_WARN)
        fprintf(stderr, "%s: warning: %s\n", program_name("compare"), line);
}

/* ---- settings ---- */

static moco_status take_tables(struct compare_settings *s, struct err *err)
{
    const char *at = s->tables;
    while (*at != 0) {
        size_t length = strcspn(at, ",");
        int found = length == 3 && memcmp(at, "all", 3) == 0;
        for (int t = 0; t < TABLES; t++) {
            const char *name = compare_table_names[t];
            int same = strlen(name) == length && memcmp(at, name, length) == 0;
            s->wanted[t] |= same || (length == 3 && memcmp(at, "all", 3) == 0);
            found |= same;
        }
        if (!found)
            return err_set(err, MOCO_EINVAL,
                           "--tables: there is no table \"%.*s\"; there are accuracy, cost, temperature, augmentation, "
                           "negatives and all",
                           (int)(length < 40 ? length : 40), at);
        at += length;
        at += *at == ',';
    }
    return MOCO_OK;
}

static void list_of(struct cli_list *list, const int32_t *values, int count)
{
    if (list->count == 0)
        memcpy(list->at, values, sizeof *values * (size_t)(list->count = count));
}

static moco_status settle(struct compare_settings *s, struct err *err)
{
    static const int32_t batches[] = {32, 64, 128, 256};
    moco_preset preset;
    moco_trainer_options trainer;
    if (s->patterns == (s->data[0] != 0))
        return err_set(err, MOCO_EINVAL,
                       s->patterns ? "either DIR or --patterns, not both"
                                   : "which images? compare DIR, or compare --patterns (--help)");
    if (s->preset[0] == 0)
        snprintf(s->preset, sizeof s->preset, "%s", s->patterns ? "demo" : "moco-v2");
    if (strlen(s->out) > 800)
        return err_set(err, MOCO_EINVAL, "--out is longer than 800 bytes");
    TRY(from_moco(moco_preset_get(&preset, s->preset), err));
    TRY(from_moco(moco_trainer_options_preset(&trainer, s->preset), err));
    if (s->batch == 0)
        s->batch = trainer.batch_size;
    if (s->lr < 0)
        s->lr = preset.lr * (double)s->batch / trainer.batch_size;
    s->group = trainer.bn_group_size;
    list_of(&s->batches, batches, 4);
    list_of(&s->cost_batches, batches, 4);
    return take_tables(s, err);
}

/* ---- pictures ---- */

static moco_status write_png(const uint8_t *rgb, int size, const char *path, struct err *err)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)size,
                     .height = (png_uint_32)size,
                     .format = PNG_FORMAT_RGB};
    if (png_image_write_to_file(&png, path, 0, rgb, 0, NULL))
        return MOCO_OK;
    return err_set(err, MOCO_EIO, "%.300s cannot be written: %s", path, png.message);
}

/* Writes pictures [from, to) as files of a folder for each class, by its name. */
static moco_status write_classes(const struct demo_pictures *p, int64_t from, int64_t to, const char *folder,
                                 struct err *err)
{
    char class[RUN_PATH_SIZE], name[32], path[RUN_PATH_SIZE];
    for (int32_t label = 0; label < p->classes; label++) {
        run_dir_path(folder, pattern_names[label], class);
        TRY(run_dir_make(class, err));
    }
    for (int64_t i = from; i < to; i++) {
        run_dir_path(folder, pattern_names[p->labels[i]], class);
        snprintf(name, sizeof name, "%05lld.png", (long long)i);
        run_dir_path(class, name, path);
        TRY(write_png(demo_picture(p, i), p->size, path, err));
    }
    return MOCO_OK;
}

/* As class folders, so that reports and tables name the patterns. The held-out ones take their name last: if they are
 * there, all pictures are. */
static moco_status draw_patterns(struct compare_settings *s, struct err *err)
{
    char train[RUN_PATH_SIZE], test[RUN_PATH_SIZE], started[RUN_PATH_SIZE];
    struct demo_pictures pictures = {0};
    if (snprintf(s->data, sizeof s->data, "%.1000s/pictures", s->out) >= (int)sizeof s->data)
        return err_set(err, MOCO_EINVAL, "--out is too long");
    run_dir_path(s->data, "train", train);
    run_dir_path(s->data, "test", test);
    run_dir_path(s->data, "started", started);
    if (access(test, R_OK) == 0)
        return MOCO_OK;
    moco_status status = demo_pictures_draw(&pictures, 0, err);
    if (status == MOCO_OK)
        status = write_classes(&pictures, pictures.held_out, pictures.all, train, err);
    if (status == MOCO_OK)
        status = write_classes(&pictures, 0, pictures.held_out, started, err);
    if (status == MOCO_OK && rename(started, test) != 0)
        status = err_set(err, MOCO_EIO, "%.300s cannot take its place", test);
    demo_pictures_free(&pictures);
    return status;
}

/* ---- the plan ---- */

static moco_status find_programs(struct compare_place *place, struct err *err)
{
    ssize_t length = readlink("/proc/self/exe", place->programs, sizeof place->programs - 1);
    if (length <= 0 || (size_t)length >= sizeof place->programs - 1)
        return err_set(err, MOCO_EIO, "it cannot be found out where this program lies");
    place->programs[length] = 0;
    *strrchr(place->programs, '/') = 0;
    return MOCO_OK;
}

static moco_status open_all(struct compare *c, struct err *err)
{
    struct compare_settings *s = &c->settings;
    moco_context_options context;
    moco_context_options_init(&context);
    context.threads = (int32_t)s->threads;
    context.log = on_log;
    TRY(find_programs(&c->place, err));
    c->place.out = s->out;
    c->place.memory_mb = OF_MEMORY * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1048576;
    TRY(from_moco(moco_context_create(&c->place.context, &context), err));
    TRY(from_moco(moco_device_open(&c->place.device, c->place.context, s->device), err));
    if (s->patterns)
        TRY(draw_patterns(s, err));
    TRY(open_data(&c->data, c->place.context, s->data, s->out, err));
    if (c->data.lack[0] != 0 && (s->wanted[TABLE_ACCURACY] || s->wanted[TABLE_TEMPERATURE] ||
                                 s->wanted[TABLE_AUGMENTATION] || s->wanted[TABLE_NEGATIVES]))
        return err_set(err, MOCO_EINVAL, "%.300s: accuracy cannot be compared: %s; --tables cost needs no labels",
                       s->data, c->data.lack);
    c->place.images = moco_dataset_count(c->data.train);
    return cells_make(&c->cells, s, err);
}

/* Marks what is done and sums up the rest. */
static moco_status plan(struct compare *c, double *seconds, double *left, struct err *err)
{
    int done = 0;
    *left = 0;
    for (int i = 0; i < c->cells.count; i++) {
        TRY(compare_estimate(&c->place, &c->cells.cell[i], &seconds[i], err));
        int finished;
        TRY(compare_done(&c->place, &c->cells.cell[i], &finished, err));
        if (finished) {
            seconds[i] = -1;
            done++;
        } else {
            *left += seconds[i];
        }
    }
    printf("%d runs, %d of them done; the others take about %s on this machine, if it does nothing else\n",
           c->cells.count, done, human_seconds(*left));
    if (c->settings.dry_run)
        for (int i = 0; i < c->cells.count; i++)
            printf("  %-44s %s\n", c->cells.cell[i].key,
                   seconds[i] < 0    ? "done"
                   : seconds[i] == 0 ? "counted only: it does not fit in memory"
                                     : human_seconds(seconds[i]));
    return MOCO_OK;
}

/* ---- results ---- */

static moco_status write_tables(const struct compare *c, struct err *err)
{
    char path[RUN_PATH_SIZE], part[RUN_PATH_SIZE];
    run_dir_path(c->settings.out, "compare.md", path);
    run_dir_path(c->settings.out, "compare.md.part", part);
    FILE *f = fopen(part, "w");
    if (f == NULL)
        return err_set(err, MOCO_EIO, "%.300s cannot be made", part);
    fputs("# Comparison\n\n", f);
    compare_tables_write(f, &c->cells);
    int bad = ferror(f);
    if (fclose(f) != 0 || bad || rename(part, path) != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be written", path);
    return MOCO_OK;
}

/* The mechanisms' curves over each other, of seed 0. */
static void overlay(const struct compare *c)
{
    struct run_log *run[REPORT_RUNS_MAX] = {NULL};
    struct gallery *gallery[REPORT_RUNS_MAX] = {NULL};
    char path[RUN_PATH_SIZE];
    int runs = 0;
    for (int i = 0; i < c->cells.count && runs < REPORT_RUNS_MAX; i++) {
        const struct cell *cell = &c->cells.cell[i];
        if (cell->table != TABLE_ACCURACY || cell->seed != 0 || cell->knn < 0)
            continue;
        run_dir_path(c->settings.out, cell->key, path);
        if (run_log_open(&run[runs], path, NULL) != MOCO_OK)
            continue;
        if (run_log_read(run[runs], 1, NULL) == MOCO_OK)
            snprintf(run[runs]->name, sizeof run[runs]->name, "%s", cell->row);
        runs++;
    }
    run_dir_path(c->settings.out, "compare.html", path);
    if (runs > 0 && report_write(path, run, gallery, runs, REPORT_ENDED, NULL) == MOCO_OK)
        printf("curves: %s\n", path);
    for (int i = 0; i < runs; i++)
        run_log_free(run[i]);
}

static void say_result(const struct cell *cell)
{
    if (cell->img_per_s < 0)
        printf("  counted %.0f MiB; it does not fit in memory, so it is not run\n", cell->counted_mb);
    else if (cell->table == TABLE_COST)
        printf("  %.1f img/s  peak %.0f MiB\n", cell->img_per_s, cell->peak_mb);
    else
        printf("  kNN %.1f %%  linear %.1f %%  %.0f img/s%s\n", cell->knn, cell->linear, cell->img_per_s,
               cell->seconds >= 0 ? "" : "  (resumed: peak memory and time are not known)");
    fflush(stdout);
}

/* A run that fails is reported and left out; the others go on. */
static moco_status run_all(struct compare *c, const double *seconds, double left, int *failed, struct err *err)
{
    double begun = seconds_now(), planned = 0;
    for (int i = 0; i < c->cells.count; i++) {
        struct cell *cell = &c->cells.cell[i];
        struct err why = {0};
        if (seconds[i] < 0)
            continue;
        double pace = planned > 0 ? (seconds_now() - begun) / planned : 1;
        printf("[%d/%d] %s  (%s left)\n", i + 1, c->cells.count, cell->key, human_seconds((left - planned) * pace));
        fflush(stdout);
        moco_status status = compare_run(&c->place, &c->settings, cell, &why);
        if (status == MOCO_ECANCELED || (status != MOCO_OK && child_stopped()))
            return err_set(err, MOCO_ECANCELED, "%s", why.text);
        if (status == MOCO_OK)
            say_result(cell);
        else
            fprintf(stderr, "%s: %s\n", program_name("compare"), why.text);
        *failed += status != MOCO_OK;
        planned += seconds[i];
        TRY(write_tables(c, err));
    }
    return MOCO_OK;
}

static moco_status run(struct compare *c, int *failed, struct err *err)
{
    double *seconds, left;
    TRY(settle(&c->settings, err));
    TRY(open_all(c, err));
    seconds = calloc((size_t)c->cells.count + 1, sizeof *seconds);
    if (seconds == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status = plan(c, seconds, &left, err);
    if (status == MOCO_OK && !c->settings.dry_run)
        status = run_dir_make(c->settings.out, err);
    if (status == MOCO_OK && !c->settings.dry_run) {
        child_catch_signals();
        status = run_all(c, seconds, left, failed, err);
    }
    free(seconds);
    if (status != MOCO_OK || c->settings.dry_run)
        return status;
    TRY(write_tables(c, err));
    overlay(c);
    compare_tables_write(stdout, &c->cells);
    return MOCO_OK;
}

int main(int argc, char **argv)
{
    static struct compare c;
    struct err err = {0};
    unsigned char given[CLI_OPTIONS_MAX] = {0};
    int failed = 0;
    program_start();
    c.settings = (struct compare_settings){.out = "moco-compare",
                                           .tables = "accuracy,cost",
                                           .device = "cpu",
                                           .precision = "auto",
                                           .seeds = 1,
                                           .epochs = 20,
                                           .lr = -1,
                                           .workers = -1,
                                           .cost_steps = 4,
                                           .cost_group = 16};
    if (cli_parse(&cli, argc, argv, &c.settings, given, c.settings.data, &err) != MOCO_OK) {
        fprintf(stderr, "%s: %s\n", program_name("compare"), err.text);
        return 2;
    }
    if (c.settings.help) {
        program_help(help_head, stdout);
        cli_help(&cli, stdout);
        program_help(help_tail, stdout);
        return program_printed(program_name("compare"));
    }
    wait_policy_apply(c.settings.wait, c.settings.threads, argv); /* the runs inherit it */
    moco_status status = run(&c, &failed, &err);
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", program_name("compare"), err.text);
    if (failed > 0)
        fprintf(stderr, "%s: %d runs failed; the same command tries them again\n", program_name("compare"), failed);
    cells_free(&c.cells);
    open_data_free(&c.data);
    moco_device_free(c.place.device);
    moco_context_free(c.place.context);
    return status == MOCO_ECANCELED ? 75 : status == MOCO_EINVAL ? 2 : status != MOCO_OK || failed > 0 ? 1 : 0;
}
