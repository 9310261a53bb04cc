/* SPDX-License-Identifier: MIT
 *
 * open_data: see open_data.h. The fingerprint covers the names below the folders, not the path of the folders, so
 * that a run can be resumed after its images were moved. */
#include "open_data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data_sketch.h"
#include "data_source.h"
#include "file/file_retry.h"
#include "left_out.h"
#include "support/from_moco.h"

#define PATH_BYTES 4096

static int is_file(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISREG(stat_of.st_mode);
}

static moco_status open_cifar(struct open_data *d, moco_context *context, const char *folder,
                              const struct data_files *files, struct err *err)
{
    TRY(from_moco(moco_dataset_open_cifar10(&d->train, context, (const char *const *)files->path, files->count), err));
    char test[PATH_BYTES];
    snprintf(test, sizeof test, "%s/test_batch.bin", folder);
    if (is_file(test))
        TRY(data_source_open(&d->held_out, context, test, NULL, err));
    else
        snprintf(d->lack, sizeof d->lack, "there is no test_batch.bin beside the training files");
    if (data_layout_holds_images(folder))
        data_note(&d->notes, "%.300s holds CIFAR-10's files, which are trained on; the images beside them are not used",
                  folder);
    snprintf(d->kind, sizeof d->kind, "%d CIFAR-10 files", files->count);
    return MOCO_OK;
}

/* Shards that lie together: those that are named as held-out ones are it. */
static moco_status open_shards(struct open_data *d, moco_context *context, const struct data_files *files,
                               struct err *err)
{
    const char **part[2] = {malloc((size_t)files->count * sizeof **part), malloc((size_t)files->count * sizeof **part)};
    int count[2] = {0, 0};
    moco_status status = part[0] != NULL && part[1] != NULL ? MOCO_OK : err_set(err, MOCO_ENOMEM, "out of memory");
    for (int i = 0; i < files->count && status == MOCO_OK; i++) {
        int held = data_layout_is_held_out(strrchr(files->path[i], '/') + 1);
        part[held][count[held]++] = files->path[i];
    }
    int only = count[0] == 0; /* nothing to train on: then all of it was meant */
    if (status == MOCO_OK)
        status = from_moco(moco_dataset_open_tar(&d->train, context, part[only], count[only]), err);
    if (status == MOCO_OK && !only && count[1] > 0)
        status = from_moco(moco_dataset_open_tar(&d->held_out, context, part[1], count[1]), err);
    else
        snprintf(d->lack, sizeof d->lack, "nothing is held out (no shard is named val or test)");
    snprintf(d->kind, sizeof d->kind, "%d tar shard%s", count[only], count[only] > 1 ? "s" : "");
    snprintf(d->held_name, sizeof d->held_name, "the held-out shards");
    free(part[0]);
    free(part[1]);
    return status;
}

/* A file: val.EXT or test.EXT beside train.EXT is held out. */
static moco_status open_file(struct open_data *d, moco_context *context, const char *path, struct err *err)
{
    static const char *const held[] = {"val", "validation", "test"};
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *dot = strchr(name, '.');
    TRY(data_source_open(&d->train, context, path, NULL, err));
    snprintf(d->kind, sizeof d->kind, "%.100s", name);
    snprintf(d->lack, sizeof d->lack, "nothing is held out (no val.* or test.* beside train.*)");
    if (dot == NULL || dot - name != 5 || strncmp(name, "train", 5) != 0)
        return MOCO_OK;
    for (int i = 0; i < 3; i++) {
        char other[PATH_BYTES];
        int length = snprintf(other, sizeof other, "%.*s%s%s", (int)(name - path), path, held[i], dot);
        if (length < 0 || length >= (int)sizeof other || !is_file(other))
            continue;
        TRY(data_source_open(&d->held_out, context, other, NULL, err));
        d->lack[0] = 0;
        snprintf(d->kind, sizeof d->kind, "%.60s and %.60s", name, other + (name - path));
        snprintf(d->held_name, sizeof d->held_name, "%s%.20s", held[i], dot);
        break;
    }
    return MOCO_OK;
}

/* The first class of `set` that has no namesake in `like`, and how many there are; NULL: none. */
static const char *first_lacking(const moco_dataset *set, const moco_dataset *like, int32_t *count)
{
    const char *first = NULL;
    *count = 0;
    for (int32_t i = 0; i < moco_dataset_classes(set); i++) {
        const char *name = moco_dataset_class_name(set, i);
        int found = 0;
        for (int32_t j = 0; !found && j < moco_dataset_classes(like); j++)
            found = strcmp(name, moco_dataset_class_name(like, j)) == 0;
        if (!found && (*count)++ == 0)
            first = name;
    }
    return first;
}

/* Labels of the held-out images are made those of the training images' classes of the same name. */
static moco_status match_classes(struct open_data *d, const char *held, struct err *err)
{
    int32_t classes = moco_dataset_classes(d->train), extra, missing;
    int same = moco_dataset_classes(d->held_out) == classes;
    for (int32_t i = 0; same && i < classes; i++)
        same = strcmp(moco_dataset_class_name(d->train, i), moco_dataset_class_name(d->held_out, i)) == 0;
    if (same)
        return MOCO_OK;
    const char *first_extra = first_lacking(d->held_out, d->train, &extra),
               *first_missing = first_lacking(d->train, d->held_out, &missing);
    if (extra == moco_dataset_classes(d->held_out)) {
        snprintf(d->lack, sizeof d->lack,
                 "no class folder of %s/ (%.60s) is named as one of train/ (%.60s); sort its images into folders named "
                 "as those",
                 held, first_extra, first_missing);
        return MOCO_OK;
    }
    moco_dataset *matched;
    int64_t before = moco_dataset_count(d->held_out);
    TRY(from_moco(moco_dataset_match_classes(&matched, d->held_out, d->train), err));
    if (extra > 0)
        data_note(&d->notes,
                  "%s/ has %d class folder%s that train/ has not (%.80s%s), whose %lld images are not measured", held,
                  (int)extra, extra > 1 ? "s" : "", first_extra, extra > 1 ? ", ..." : "",
                  (long long)(before - moco_dataset_count(matched)));
    if (missing > 0)
        data_note(&d->notes, "%s/ has none of the class folder%s %.80s%s of train/: nothing is measured on %s", held,
                  missing > 1 ? "s" : "", first_missing, missing > 1 ? ", ..." : "", missing > 1 ? "them" : "it");
    moco_dataset_free(d->held_out);
    d->held_out = matched;
    return MOCO_OK;
}

/* Labels that are numbers mean the same in both, or nothing can be said. 1: they are, in one of the sets at least. */
static int compare_numbers(struct open_data *d)
{
    int32_t trained = moco_dataset_classes(d->train), held = moco_dataset_classes(d->held_out);
    int names = moco_dataset_class_name(d->train, 0)[0] != 0,
        held_names = moco_dataset_class_name(d->held_out, 0)[0] != 0;
    if (names && held_names)
        return 0;
    if (names != held_names)
        snprintf(d->lack, sizeof d->lack,
                 "the classes of the %s images have names and those of the others only numbers: they cannot be matched",
                 names ? "training" : "held-out");
    else if (held > trained)
        snprintf(d->lack, sizeof d->lack,
                 "the held-out images have labels up to %d, and the training images only up to %d", (int)held - 1,
                 (int)trained - 1);
    return 1;
}

/* Both sets must give one class one number. */
static moco_status compare_classes(struct open_data *d, const char *held, struct err *err)
{
    int32_t classes = moco_dataset_classes(d->train);
    if (classes == 0)
        snprintf(d->lack, sizeof d->lack, "the training images have no labels (no class folders)");
    else if (classes == 1)
        snprintf(d->lack, sizeof d->lack,
                 "the training images are all of one class, so there is nothing to tell apart");
    else if (moco_dataset_classes(d->held_out) == 0)
        snprintf(d->lack, sizeof d->lack,
                 "the held-out images have no labels (no class folders); sort those of %s/ into folders named as "
                 "train/'s",
                 held);
    else if (!compare_numbers(d))
        return match_classes(d, held, err);
    return MOCO_OK;
}

/* 1: images lie beside class folders. */
static int has_images_beside(const moco_dataset *set)
{
    const char *extension;
    for (int i = 0; (extension = moco_dataset_left_out(set, i, NULL)) != NULL; i++)
        if (data_layout_is_image(extension))
            return 1;
    return 0;
}

static void tell_left_out(struct open_data *d, const moco_dataset *set, const char *where, char *text, size_t size)
{
    char sentence[sizeof d->notes.text[0]];
    left_out_text(set, text, size);
    if (left_out_pictures(set, where, sentence, sizeof sentence) > 0)
        data_note(&d->notes, "%s", sentence);
}

/* All images in one folder may be what was wanted, or its folders are the classes. */
static void note_one_class(struct open_data *d, const char *folder)
{
    char path[2 * PATH_BYTES];
    if (moco_dataset_classes(d->train) != 1)
        return;
    const char *name = moco_dataset_class_name(d->train, 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (data_layout_folders_with_images(path, 2) > 1)
        data_note(&d->notes, "all images lie in the one class folder %.300s; if its folders are the classes, name %s",
                  path, strcmp(name, "train") == 0 ? "the folder that holds it" : "it");
    else if (has_images_beside(d->train))
        data_note(&d->notes,
                  "the images beside the one folder %.300s are not trained on, only those in it; move them into it, or "
                  "it elsewhere",
                  path);
}

static moco_status open_folders(struct open_data *d, moco_context *context, const char *folder, const char *out,
                                struct err *err)
{
    struct data_layout layout;
    TRY(data_layout_find(&layout, folder, out, &d->notes, err));
    TRY(data_source_open(&d->train, context, layout.train, out, err));
    snprintf(d->where[0], sizeof d->where[0], "%.290s", layout.train);
    note_one_class(d, layout.train);
    if (layout.held_out[0] != 0) {
        TRY(data_source_open(&d->held_out, context, layout.held_out, out, err));
        snprintf(d->where[1], sizeof d->where[1], "%.290s", layout.held_out);
        snprintf(d->kind, sizeof d->kind, "train/ and %s/", layout.held_name);
        snprintf(d->held_name, sizeof d->held_name, "%s", layout.held_name);
        return MOCO_OK;
    }
    if (strcmp(layout.train, folder) != 0) {
        snprintf(d->kind, sizeof d->kind, "train/");
        snprintf(d->lack, sizeof d->lack, "there is no val/ or test/ beside train/%s%s%s",
                 layout.other_name[0] != 0 ? " (rename " : "", layout.other_name,
                 layout.other_name[0] != 0 ? "/ to val/ to have it held out)" : "");
        return MOCO_OK;
    }
    snprintf(d->kind, sizeof d->kind, "%s", moco_dataset_classes(d->train) > 0 ? "class folders" : "a flat folder");
    snprintf(d->lack, sizeof d->lack, "nothing is held out (no train/ beside val/ or test/)");
    return MOCO_OK;
}

/* An index file has one, so that the start of a run does not look at every entry of it. */
static void fingerprint(struct open_data *d, const char *paths)
{
    const char *index = moco_dataset_index_hash(d->train);
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    char path[PATH_BYTES];
    int64_t count = moco_dataset_count(d->train);
    for (int64_t id = 0; index == NULL && id < count; id++) {
        if (moco_dataset_path(d->train, id, path, sizeof path) != MOCO_OK)
            path[0] = 0;
        for (const char *name = data_sketch_name(paths, path); *name != 0; name++)
            hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
        hash = (hash ^ (uint32_t)moco_dataset_label(d->train, id)) * UINT64_C(1099511628211);
    }
    int length = snprintf(d->print, sizeof d->print, "%lld images, %d classes, ", (long long)count,
                          (int)moco_dataset_classes(d->train));
    if (index != NULL)
        snprintf(d->print + length, sizeof d->print - (size_t)length, "%s", index);
    else
        snprintf(d->print + length, sizeof d->print - (size_t)length, "%016" PRIx64, hash);
}

static void hash_classes(struct open_data *d)
{
    struct hash h;
    hash_start(&h);
    for (int32_t label = 0; label < moco_dataset_classes(d->train); label++) {
        const char *name = moco_dataset_class_name(d->train, label);
        hash_add(&h, name, strlen(name) + 1);
    }
    hash_text(&h, d->classes);
}

/* One folder or file. */
static moco_status open_source(struct open_data *d, moco_context *context, const char *path, const char *out,
                               struct err *err)
{
    struct data_files batches = {0}, shards = {0};
    if (!data_layout_is_folder(path))
        return open_file(d, context, path, err);
    moco_status status = data_files_find(&batches, path, data_files_is_batch, err);
    if (status == MOCO_OK)
        status = data_files_find(&shards, path, data_files_is_shard, err);
    if (status == MOCO_OK && batches.count > 0)
        status = open_cifar(d, context, path, &batches, err);
    else if (status == MOCO_OK && shards.count > 0 && !data_layout_holds_images(path) && !data_layout_has_folders(path))
        status = open_shards(d, context, &shards, err);
    else if (status == MOCO_OK)
        status = open_folders(d, context, path, out, err);
    data_files_free(&batches);
    data_files_free(&shards);
    return status;
}

/* One more, which `d` takes over. */
static moco_status add_source(struct open_data *d, struct open_data *more, struct err *err)
{
    char kind[sizeof d->kind];
    int first = d->train == NULL;
    moco_dataset *train = more->train, *held_out = more->held_out;
    more->train = more->held_out = NULL;
    moco_status status = data_source_join(&d->train, train, err);
    if (status != MOCO_OK) {
        moco_dataset_free(held_out);
        return status;
    }
    TRY(data_source_join(&d->held_out, held_out, err));
    snprintf(kind, sizeof kind, "%.70s%s%.70s", d->kind, first ? "" : ", ", more->kind);
    memcpy(d->kind, kind, sizeof kind);
    if (d->held_name[0] == 0)
        memcpy(d->held_name, more->held_name, sizeof d->held_name);
    if (!first)
        return MOCO_OK;
    memcpy(d->lack, more->lack, sizeof d->lack);
    memcpy(d->where, more->where, sizeof d->where);
    return MOCO_OK;
}

static moco_status open_sources(struct open_data *d, moco_context *context, const char *paths, char *const *path,
                                int count, const char *out, struct err *err)
{
    const char *without = NULL;
    for (int i = 0; i < count; i++) {
        struct open_data one = {.notes = d->notes};
        moco_status status = open_source(&one, context, path[i], out, err);
        d->notes = one.notes;
        if (one.held_out == NULL && without == NULL)
            without = path[i];
        if (status == MOCO_OK)
            status = add_source(d, &one, err);
        open_data_free(&one);
        TRY(status);
    }
    if (d->held_out != NULL && without != NULL)
        data_note(&d->notes, "nothing of %.200s is held out: what is measured is measured on the others", without);
    for (int part = 0; part < 2; part++)
        if (count > 1 || d->where[part][0] == 0)
            snprintf(d->where[part], sizeof d->where[part], "%.290s", paths);
    return MOCO_OK;
}

/* Called when everything is open: reports what was left out, checks whether both parts have the same classes, and
 * takes the fingerprint of the set. */
static moco_status finish(struct open_data *d, const char *paths, struct err *err)
{
    tell_left_out(d, d->train, d->where[0], d->train_left_out, sizeof d->train_left_out);
    if (d->held_out != NULL) {
        d->lack[0] = 0;
        tell_left_out(d, d->held_out, d->where[1], d->held_left_out, sizeof d->held_left_out);
        TRY(compare_classes(d, d->held_name, err));
    }
    fingerprint(d, paths);
    hash_classes(d);
    return MOCO_OK;
}

moco_status open_data(struct open_data *d, moco_context *context, const char *paths, const char *out, struct err *err)
{
    char *path[DATA_SOURCES_MAX];
    memset(d, 0, sizeof *d);
    int count = data_source_split(paths, path, err);
    if (count == 0)
        return err->status;
    moco_status status = open_sources(d, context, paths, path, count, out, err);
    if (status == MOCO_OK)
        status = finish(d, paths, err);
    for (int i = 0; i < count; i++)
        free(path[i]);
    if (status != MOCO_OK)
        open_data_free(d);
    return status;
}

void open_data_free(struct open_data *d)
{
    moco_dataset_free(d->train);
    moco_dataset_free(d->held_out);
    d->train = d->held_out = NULL;
}
