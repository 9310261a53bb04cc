/* SPDX-License-Identifier: MIT
 *
 * data_layout: see data_layout.h. */
#define _DEFAULT_SOURCE /* realpath */
#include "data_layout.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "folder/run_dir.h"

#define ENTRIES_MAX 2000 /* of a folder that are looked at */
#define FOLDERS_MAX 64   /* a folder with more is one of classes: no data set lies deeper */
#define DEPTH_MAX 3      /* of a data set below the folder that was named */

void data_note(struct data_notes *notes, const char *format, ...)
{
    va_list arguments;
    if (notes->count == LAYOUT_NOTES)
        return;
    va_start(arguments, format);
    vsnprintf(notes->text[notes->count++], sizeof notes->text[0], format, arguments);
    va_end(arguments);
}

/* ---- looking ---- */

int data_layout_is_folder(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
}

static int join(char path[LAYOUT_PATH], const char *folder, const char *name)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    int written = snprintf(path, LAYOUT_PATH, "%.*s/%s", (int)length, folder, name);
    return written > 0 && written < LAYOUT_PATH;
}

static int has_folder(const char *folder, const char *name)
{
    char path[LAYOUT_PATH];
    return join(path, folder, name) && data_layout_is_folder(path);
}

static int ends_with(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (; dot != NULL && *endings != NULL; endings++)
        if (strcasecmp(dot, *endings) == 0)
            return 1;
    return 0;
}
static const char *const archives[] = {".tar", ".tgz", ".gz", ".zip", ".bz2", ".xz", ".7z", ".rar", ".zst", NULL};

int data_layout_is_image(const char *name)
{
    static const char *const images[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", NULL};
    return ends_with(name, images);
}

/* What a folder holds at its top. */
struct look {
    int folders, images, archives, batches; /* batches: CIFAR-10's files */
    int pickled;                            /* the same for Python, which is what most people have */
    char folder[FOLDERS_MAX][256];          /* by name */
    char archive[256];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void look_at(struct look *l, const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    *l = (struct look){0};
    for (int seen = 0; dir != NULL && seen < ENTRIES_MAX && (entry = readdir(dir)) != NULL; seen++) {
        const char *name = entry->d_name;
        if (name[0] == '.')
            continue;
        if (data_layout_is_image(name)) {
            l->images++;
        } else if (ends_with(name, archives)) {
            if (l->archives++ == 0)
                snprintf(l->archive, sizeof l->archive, "%s", name);
        } else if (strncmp(name, "data_batch_", 11) == 0 && ends_with(name, (const char *const[]){".bin", NULL})) {
            l->batches++;
        } else if (strncmp(name, "data_batch_", 11) == 0 && strchr(name, '.') == NULL) {
            l->pickled++;
        } else if (has_folder(folder, name)) {
            if (l->folders < FOLDERS_MAX)
                snprintf(l->folder[l->folders], sizeof l->folder[0], "%.255s", name);
            l->folders++;
        }
    }
    if (dir != NULL)
        closedir(dir);
    qsort(l->folder, (size_t)(l->folders < FOLDERS_MAX ? l->folders : FOLDERS_MAX), sizeof l->folder[0], by_name);
}

static int listed(const struct look *l)
{
    return l->folders < FOLDERS_MAX ? l->folders : FOLDERS_MAX;
}

/* Is there an image in `folder` or in the first folders below it? */
static int holds_image(const char *folder, int depth)
{
    struct look *l = malloc(sizeof *l);
    char path[LAYOUT_PATH];
    if (l == NULL)
        return 0;
    look_at(l, folder);
    int found = l->images > 0;
    for (int i = 0; !found && depth > 0 && i < listed(l); i++)
        found = join(path, folder, l->folder[i]) && holds_image(path, depth - 1);
    free(l);
    return found;
}

int data_layout_holds_images(const char *folder)
{
    return holds_image(folder, 2);
}

int data_layout_has_folders(const char *folder)
{
    struct look *l = malloc(sizeof *l);
    if (l == NULL)
        return 0;
    look_at(l, folder);
    int count = l->folders;
    free(l);
    return count > 0;
}

int data_layout_folders_with_images(const char *folder, int most)
{
    struct look *l = malloc(sizeof *l);
    char path[LAYOUT_PATH];
    int count = 0;
    if (l == NULL)
        return 0;
    look_at(l, folder);
    for (int i = 0; i < listed(l) && count < most; i++)
        count += join(path, folder, l->folder[i]) && holds_image(path, 1);
    free(l);
    return count;
}

int data_layout_is_run(const char *path, const char *out)
{
    static const char first[] = "{\"type\":\"config\"";
    char name[LAYOUT_PATH], begins[sizeof first] = "";
    if (out != NULL && run_dir_same(out, path))
        return 1;
    FILE *log = join(name, path, "metrics.jsonl") ? fopen(name, "r") : NULL;
    if (log == NULL)
        return 0;
    size_t got = fread(begins, 1, sizeof first - 1, log);
    fclose(log);
    return got == sizeof first - 1 && memcmp(begins, first, got) == 0;
}

/* ---- parts of a data set by their names ---- */

enum part { OTHER, TRAINING, HELD_OUT };

static enum part part_of(const char *name)
{
    static const char *const training[] = {"train", "training", "trainset", "train_set", "train-set", NULL},
                             *const held[] = {"val",     "valid",    "validation", "dev",  "test", "testing",
                                              "testset", "test_set", "test-set",   "eval", NULL};
    for (int i = 0; training[i] != NULL; i++)
        if (strcasecmp(name, training[i]) == 0)
            return TRAINING;
    for (int i = 0; held[i] != NULL; i++)
        if (strcasecmp(name, held[i]) == 0)
            return HELD_OUT;
    return OTHER;
}

int data_layout_is_held_out(const char *name)
{
    char word[256];
    int held = 0;
    snprintf(word, sizeof word, "%s", name);
    for (char *at = word, *end; *at != 0; at = end) {
        at += strspn(at, "-_.");
        end = at + strcspn(at, "-_.");
        int last = *end == 0;
        *end = 0;
        if (part_of(at) == TRAINING)
            return 0;
        held |= part_of(at) == HELD_OUT;
        end += !last;
    }
    return held;
}

/* The first folder of that part that holds an image; NULL: there is none. */
static const char *first_part(const struct look *l, const char *folder, enum part part)
{
    char path[LAYOUT_PATH];
    for (int i = 0; i < listed(l); i++)
        if (part_of(l->folder[i]) == part && join(path, folder, l->folder[i]) && holds_image(path, 2))
            return l->folder[i];
    return NULL;
}

/* A folder below this one that holds a whole data set. */
struct deeper {
    char path[LAYOUT_PATH], train[256], held_out[256]; /* held_out "": there is none; train "": CIFAR-10's files */
    int count;                                         /* such folders */
    int others;                                        /* images lie elsewhere, too */
};

/* 1: there is one in `folder` or below it. */
static int seek(struct deeper *d, const char *folder, int depth)
{
    struct look *l = malloc(sizeof *l);
    char path[LAYOUT_PATH];
    int found = 0;
    if (l == NULL)
        return 0;
    look_at(l, folder);
    const char *train = first_part(l, folder, TRAINING), *held = first_part(l, folder, HELD_OUT);
    if (depth < DEPTH_MAX && (l->batches > 0 || (train != NULL && held != NULL))) {
        if (d->count++ == 0) {
            snprintf(d->path, sizeof d->path, "%s", folder);
            snprintf(d->train, sizeof d->train, "%s", l->batches > 0 ? "" : train);
            snprintf(d->held_out, sizeof d->held_out, "%s", l->batches > 0 ? "" : held);
        }
        found = 1;
    } else if (depth > 0 && l->folders <= FOLDERS_MAX) {
        d->others |= l->images > 0;
        for (int i = 0; i < listed(l); i++) {
            if (!join(path, folder, l->folder[i]))
                continue;
            if (data_layout_is_run(path, NULL))
                continue;
            if (seek(d, path, depth - 1))
                found = 1;
            else
                d->others |= holds_image(path, 1);
        }
    }
    free(l);
    return found;
}

/* ---- what was meant ---- */

/* train/ exists; everything beside it is not used. */
static void note_beside(const struct look *l, const char *folder, const char *out, struct data_notes *notes)
{
    char names[256] = "", path[LAYOUT_PATH];
    int count = 0;
    for (int i = 0; i < listed(l); i++) {
        const char *name = l->folder[i];
        if (strcmp(name, "train") == 0 || part_of(name) == HELD_OUT || !join(path, folder, name) ||
            data_layout_is_run(path, out) || !holds_image(path, 1))
            continue;
        size_t used = strlen(names);
        if (count++ < 3)
            snprintf(names + used, sizeof names - used, "%s%.70s/", used > 0 ? ", " : "", name);
    }
    if (count > 0)
        data_note(notes,
                  "%.150s has a folder train/, which is the training set; images in folders beside it (%s%s) are not "
                  "used; if train is a class like them, move all of them into a folder train/ in it",
                  folder, names, count > 3 ? ", ..." : "");
    if (l->images > 0)
        data_note(notes, "%.200s has train/; the %d%s images beside it are not used", folder, l->images,
                  l->images >= ENTRIES_MAX / 2 ? " or more" : "");
}

/* The folder is a part of a data set that has more above it. */
static void note_above(const struct look *l, const char *folder, struct data_notes *notes)
{
    char *real = realpath(folder, NULL);
    char *slash = real != NULL ? strrchr(real, '/') : NULL;
    if (slash != NULL && slash != real) {
        const char *own = slash + 1;
        *slash = 0;
        const char *above = strrchr(real, '/');
        above = above != NULL ? above + 1 : real;
        const char *held = has_folder(real, "val") ? "val" : has_folder(real, "test") ? "test" : NULL;
        if (strcmp(own, "train") == 0 && held != NULL)
            data_note(
                notes,
                "nothing is held out: %.150s is the train/ of %.200s, which has %s/ too; name that folder to have "
                "both",
                folder, real, held);
        else if (l->folders == 0 && part_of(above) == TRAINING && data_layout_folders_with_images(real, 2) > 1)
            data_note(notes, "%.150s is one class folder of %.200s: only its images are trained on", folder, real);
    }
    free(real);
}

static moco_status refuse_parts(const struct look *l, const char *folder, struct err *err)
{
    const char *train = first_part(l, folder, TRAINING), *held = first_part(l, folder, HELD_OUT);
    if (train != NULL && held != NULL)
        return err_set(
            err, MOCO_EINVAL,
            "%.200s holds %.60s/ and %.60s/, which would be two classes with the held-out images among them; "
            "rename them train/ and val/, or name %.200s/%.60s alone",
            folder, train, held, folder, train);
    if (held == NULL)
        return MOCO_OK;
    int parts = 0;
    for (int i = 0; i < listed(l); i++)
        parts += part_of(l->folder[i]) == HELD_OUT;
    if (parts < l->folders || parts < 2)
        return MOCO_OK;
    return err_set(err, MOCO_EINVAL,
                   "%.200s holds %.60s/ and other held-out images and no train/; add train/, or name one of them alone "
                   "to train on it",
                   folder, held);
}

static moco_status look_deeper(const struct look *l, const char *folder, struct data_notes *notes, struct err *err)
{
    struct deeper *d = calloc(1, sizeof *d);
    char what[600];
    if (d == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status = MOCO_OK;
    if (l->folders <= FOLDERS_MAX && seek(d, folder, DEPTH_MAX)) {
        if (d->train[0] != 0)
            snprintf(what, sizeof what, "%.60s/ and %.60s/", d->train, d->held_out);
        else
            snprintf(what, sizeof what, "CIFAR-10's files");
        if (d->others)
            data_note(notes,
                      "%.120s has no train/ of its own, but %.200s holds %s: all of that is trained on, what is held "
                      "out there too; name that folder if it was meant",
                      folder, d->path, what);
        else
            status =
                err_set(err, MOCO_EINVAL, "%.120s has no train/ of its own, but %.300s holds %s%s; name that folder",
                        folder, d->path, what, d->count > 1 ? ", and there are more of the kind" : "");
    }
    free(d);
    return status;
}

moco_status data_layout_find(struct data_layout *layout, const char *folder, const char *out, struct data_notes *notes,
                             struct err *err)
{
    static const char *const held[] = {"val", "test"};
    *layout = (struct data_layout){0};
    struct look *l = malloc(sizeof *l);
    if (l == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    look_at(l, folder);
    moco_status status = MOCO_OK;
    if (has_folder(folder, "train")) {
        join(layout->train, folder, "train");
        for (int i = 0; i < 2 && layout->held_out[0] == 0; i++)
            if (has_folder(folder, held[i])) {
                join(layout->held_out, folder, held[i]);
                snprintf(layout->held_name, sizeof layout->held_name, "%s", held[i]);
            }
        const char *other = layout->held_out[0] == 0 ? first_part(l, folder, HELD_OUT) : NULL;
        snprintf(layout->other_name, sizeof layout->other_name, "%.63s", other != NULL ? other : "");
        note_beside(l, folder, out, notes);
    } else {
        snprintf(layout->train, sizeof layout->train, "%s", folder);
        status = refuse_parts(l, folder, err);
        if (status == MOCO_OK)
            status = look_deeper(l, folder, notes, err);
        if (status == MOCO_OK)
            note_above(l, folder, notes);
    }
    free(l);
    return status;
}

/* cifar-10-batches-py and the like, one folder too high. */
static int holds_pickled(const char *folder, const struct look *l)
{
    char path[LAYOUT_PATH];
    struct look *below = malloc(sizeof *below);
    int found = 0;
    for (int i = 0; below != NULL && !found && i < listed(l); i++)
        if (join(path, folder, l->folder[i])) {
            look_at(below, path);
            found = below->pickled > 0;
        }
    free(below);
    return found;
}

void data_layout_excuse(const char *folder, char *text, size_t size)
{
    struct look *l = malloc(sizeof *l);
    text[0] = 0;
    if (l == NULL)
        return;
    look_at(l, folder);
    if (l->archives > 0)
        snprintf(text, size, "; there are archives (%d, such as %.100s): unpack each into a folder of its own",
                 l->archives, l->archive);
    else if (l->pickled > 0 || holds_pickled(folder, l))
        snprintf(text, size, "; there are CIFAR-10's files for Python: take its binary version (data_batch_1.bin)");
    free(l);
}
