/* SPDX-License-Identifier: MIT
 *
 * dataset: a source of images, behind four calls. A data set does not change after it was opened: any number of
 * threads read it at once, each with its own decoder. `read` returns MOCO_EFORMAT for an image that is itself bad
 * (the loader then takes the next one), and MOCO_EIO, MOCO_ENOMEM or MOCO_ECANCELED for a failure that says nothing
 * about the image. */
#ifndef MOCO_DATA_DATASET_H
#define MOCO_DATA_DATASET_H

#include "ctx.h"
#include "data/decode/decode.h"
#include "data/decode/image.h"

struct dataset;

struct dataset_ops {
    moco_status (*read)(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                        struct err *err);
    int32_t (*label)(const struct dataset *ds, int64_t id);                             /* -1: none */
    moco_status (*path)(const struct dataset *ds, int64_t id, char *text, size_t size); /* MOCO_ESHAPE: too small */
    const char *(*class_name)(const struct dataset *ds, int32_t label);                 /* "" if none */
    void (*destroy)(struct dataset *ds);                                                /* frees ds itself too */
};

/* `path` and `class_name` of a data set whose images or classes have none. */
moco_status dataset_no_path(const struct dataset *ds, int64_t id, char *text, size_t size);
const char *dataset_no_class_name(const struct dataset *ds, int32_t label);

struct dataset {
    const struct dataset_ops *ops;
    struct ctx *ctx; /* a counted reference */
    int64_t count;
    int32_t classes;           /* 0: no labels */
    struct left_out *left_out; /* NULL: nothing */
    int32_t w, h;              /* of every picture, where that is known before one is read; else 0 */
};

/* Is this file a picture by its name? */
int dataset_is_picture(const char *name);

/* Counts files of this name's extension as left out; sorting, once all are counted, puts the most frequent first. */
moco_status dataset_leave_out(struct dataset *ds, const char *name, int64_t files, struct err *err);
void dataset_left_out_sort(struct dataset *ds);
/* As moco_dataset_left_out. */
const char *dataset_left_out(const struct dataset *ds, int index, int64_t *files);
/* "12 .webp, 3 .bmp"; returns how many there are in all. */
enum { LEFT_OUT_TEXT = 512 };
int64_t dataset_left_out_text(const struct dataset *ds, char text[LEFT_OUT_TEXT]);

/* A label written as text, which blanks may surround; -1: it is none. */
enum { DATASET_LABEL_MAX = (1 << 20) - 1 }; /* as many classes as a probe may have */
int32_t dataset_read_label(const char *text, size_t size);
/* One line in the log for a whole set; nothing for a count of 0. */
void dataset_warn_labels(struct ctx *ctx, const char *set, int64_t count, const char *first);

/* Folders that `leave_out` (NULL: none) answers not 0 for are passed over. */
moco_status dataset_open_folder(struct dataset **out, struct ctx *ctx, const char *path,
                                int (*leave_out)(void *user, const char *path), void *user, struct err *err);
moco_status dataset_open_cifar10(struct dataset **out, struct ctx *ctx, const char *const *paths, int count,
                                 struct err *err);
/* `pixels` u8 [n,h,w,3] and `labels` [n] or NULL are borrowed. */
moco_status dataset_from_memory(struct dataset **out, struct ctx *ctx, const uint8_t *pixels, int64_t n, int h, int w,
                                const int32_t *labels, struct err *err);
moco_status dataset_open_list(struct dataset **out, struct ctx *ctx, const char *path, struct err *err);
moco_status dataset_open_tar(struct dataset **out, struct ctx *ctx, const char *const *paths, int count,
                             struct err *err);

/* Pictures that the caller hands over, as pixels (see moco_image_source) or encoded (see moco_encoded_source): one of the
 * two reads is set. */
struct dataset_source {
    int64_t count;
    int32_t classes; /* 0: no labels */
    moco_status (*read)(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h);
    void (*done)(void *user, int64_t id, const uint8_t *pixels); /* NULL: nothing to be done */
    moco_status (*read_encoded)(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                                size_t room);
    void (*done_encoded)(void *user, int64_t id, const void *bytes, size_t size, void *cookie); /* NULL likewise */
    int32_t (*label)(void *user, int64_t id);                                                   /* NULL: no labels */
    void *user;
};
moco_status dataset_from_callback(struct dataset **out, struct ctx *ctx, const struct dataset_source *source,
                                  struct err *err);

/* `ds` with the labels of `like`: see moco_dataset_match_classes. `ds` is borrowed, `like` read and left. */
moco_status dataset_match(struct dataset **out, struct ctx *ctx, const struct dataset *ds, const struct dataset *like,
                          struct err *err);

/* Both after each other: see moco_dataset_join. Both are borrowed. */
moco_status dataset_join(struct dataset **out, struct ctx *ctx, const struct dataset *first,
                         const struct dataset *second, struct err *err);

/* Reads every byte of images [first, first + count); `report` (NULL: nobody) answers not 0 to stop: MOCO_ECANCELED. */
moco_status dataset_verify(const struct dataset *ds, int64_t first, int64_t count, int64_t max_pixels,
                           int (*report)(void *user, int64_t id, const char *path, const char *reason), void *user,
                           int64_t *bad, struct err *err);
void dataset_free(struct dataset *ds); /* NULL is fine */

#endif
