/* SPDX-License-Identifier: MIT
 *
 * moco/data.h: where images come from and how they become batches of views. */
#ifndef MOCO_DATA_H
#define MOCO_DATA_H

#include "moco/base.h"
#include "moco/trainer.h" /* moco_batch */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- data sets ---- */

typedef struct moco_dataset moco_dataset;

/* A folder of class folders (label = rank of the folder's name in byte order, among those that hold images) or, where
 * `path` has no sub-folders with images, a flat folder of images (no labels). Links are followed, names that start with
 * a dot skipped, order is byte order of names. Images: .jpg .jpeg .jpe .jfif .png .webp, by name in any case; their
 * content decides (WebP is unreadable to a library that was built without libwebp); moco_dataset_left_out counts the
 * others. Owned. Errors: MOCO_EIO (a folder that cannot be listed is never left out), MOCO_EINVAL (no image found: says
 * where it looked), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_open_folder(moco_dataset **dataset, moco_context *context, const char *path);

/* Asked for each folder below the one that is opened. Not 0: it is left out, with all that lies in it. */
typedef int (*moco_leave_out)(void *user, const char *path);

/* As moco_dataset_open_folder, without the folders that `leave_out` (NULL: none) names: they hold no image and are no
 * classes. Threads: any; `leave_out` is called on the caller's. Since 0.1. */
MOCO_API moco_status moco_dataset_open_folder_without(moco_dataset **dataset, moco_context *context, const char *path,
                                                      moco_leave_out leave_out, void *user);

/* CIFAR-10 binary files (1 label byte, 3072 bytes RGB planes, any number of records each), in the order given.
 * Owned. Errors: MOCO_EIO, MOCO_EFORMAT (size not a multiple of 3073, label > 9), MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_open_cifar10(moco_dataset **dataset, moco_context *context, const char *const *paths,
                                               int count);

/* Decoded images in memory: u8 [n,h,w,3]; `labels` [n] or NULL. Both are borrowed until the data set is freed and its
 * loaders too. Owned. Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_from_memory(moco_dataset **dataset, moco_context *context, const moco_tensor *images,
                                              const int32_t *labels);

/* A text file (UTF-8) with one picture a line: PATH, or PATH, a tab and a decimal label up to 1,048,575; anything else
 * behind the tab is no label, with one warning in the log for all. Paths without a leading slash are taken from the
 * folder of the list and may hold spaces and commas; empty lines do not count. Owned. Errors: MOCO_EIO; MOCO_EFORMAT
 * names the line, also where the first picture is not there, and says what it looks like: spaces or commas for tabs, a
 * header; MOCO_EINVAL (no picture), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_open_list(moco_dataset **dataset, moco_context *context, const char *path);

/* Tar shards in WebDataset's layout: neighbouring members that share a key (the path up to the first dot of its last
 * part) are a sample, with one picture (.jpg, .jpeg, .jpe, .jfif, .png, .webp) and perhaps a label (.cls, a decimal
 * number up to 1,048,575; anything else is no label, with one warning in the log for all). A member is what its last
 * extension says; x.jpg goes before x.left.jpg, and of several x.left.jpg, x.right.jpg none is the picture. Archives
 * one after another in one file are read. Indexed here, once; samples are then read at random, 20 to 30 bytes of
 * memory each. Samples without a picture are left out and logged. Owned. Errors: MOCO_EIO; MOCO_EFORMAT names shard and
 * offset (damaged, cut or compressed archive, sparse file, a key that comes back); MOCO_EINVAL (no picture),
 * MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_open_tar(moco_dataset **dataset, moco_context *context, const char *const *paths,
                                           int count);

/* Pictures that the caller makes: a camera's, a renderer's. Encoded ones: see moco_encoded_source. */
typedef struct moco_image_source {
    uint32_t struct_size;
    int32_t classes; /* 0: no labels */
    int64_t count;   /* 1 to 2^48 */
    /* Points `pixels` at picture `id` (0 to count - 1), RGB [h,w,3] without gaps, which stays as it is until `done`.
     * Answers MOCO_OK; MOCO_EFORMAT: this picture is bad (and goes the way of a damaged file: see moco_bad); anything
     * else ends the epoch with that status. The same id gives the same picture each time, or resuming is not exact.
     * Called from loader threads, several at a time. Must not call the loader. */
    moco_status (*read)(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h);
    void (*done)(void *user, int64_t id, const uint8_t *pixels); /* after a successful read, same thread; may be NULL */
    int32_t (*label)(void *user, int64_t id);                    /* 0 to classes - 1, or -1; NULL: no labels */
    void *user;
} moco_image_source;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_image_source_init_sized(moco_image_source *source, size_t size);
#define moco_image_source_init(s) moco_image_source_init_sized((s), sizeof *(s))

/* `source` is copied. Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_from_callback(moco_dataset **dataset, moco_context *context,
                                                const moco_image_source *source);

/* The most that a callback may write as its reason, with the 0 at its end. */
#define MOCO_REASON 256

/* Pictures that the caller has as the bytes of a JPEG, PNG or WebP file: rows of a database, objects of a store, frames
 * of a camera, members of a mapped archive. They are decoded by the loader's threads, as a folder's files are: no more
 * of a picture than its views show. */
typedef struct moco_encoded_source {
    uint32_t struct_size;
    int32_t classes; /* 0: no labels */
    int64_t count;   /* 1 to 2^48 */
    /* Points `bytes` at the `size` bytes of picture `id` (0 to count - 1), which stay as they are until `done`: whoever
     * has them mapped or in a query's result copies nothing. `cookie` (NULL before) is for the caller: what `done` has
     * to release. Answers MOCO_OK; MOCO_EFORMAT: this picture is bad, or there is none (and goes the way of a damaged
     * file: see moco_bad); anything else ends the epoch with that status. Why may be written to `reason` (`room` bytes,
     * MOCO_REASON; "" before) and then stands in the sentence of that picture. The same id gives the same picture each
     * time, or resuming is not exact. Called from loader threads, several at a time. Must not call the loader. */
    moco_status (*read)(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                        size_t room);
    /* After a successful read, on the same thread, as soon as the picture is decoded; may be NULL. */
    void (*done)(void *user, int64_t id, const void *bytes, size_t size, void *cookie);
    int32_t (*label)(void *user, int64_t id); /* 0 to classes - 1, or -1; NULL: no labels. As `read`, from any thread */
    void *user;
} moco_encoded_source;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_encoded_source_init_sized(moco_encoded_source *source, size_t size);
#define moco_encoded_source_init(s) moco_encoded_source_init_sized((s), sizeof *(s))

/* `source` is copied. Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_from_encoded(moco_dataset **dataset, moco_context *context,
                                               const moco_encoded_source *source);

/* The images of `dataset` whose class has a namesake among the classes of `like`, labelled by it, in their order: what
 * one set's labels mean in the other. Folders number their classes by place, so that sets which were opened apart agree
 * only if they have the same folders. Images of other classes and without a label are left out: the counts tell how
 * many. Owned; holds a reference on `dataset`. Errors: MOCO_EINVAL (one has no classes; they share no name), MOCO_ENOMEM.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_match_classes(moco_dataset **out, moco_dataset *dataset, const moco_dataset *like);

/* The images of `first`, then those of `second`: several sets are one. Classes of one name are one class, those that
 * only `second` has follow in its order; where neither names its classes, those of one number are one. Images of a set
 * without labels have none. Owned; holds references on both. Errors: MOCO_EINVAL (the classes of one have names, those
 * of the other numbers), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_join(moco_dataset **out, moco_dataset *first, moco_dataset *second);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_dataset_free(moco_dataset *dataset);

/* Number of images; the label of one, from 0, or -1: it has none; number of classes, 0: there are no labels; name of a
 * class, borrowed from the data set, "" if it has none. Of NULL, or of a number that is none: 0, -1, 0, "".
 * Threads: any. Since 0.1. */
MOCO_API int64_t moco_dataset_count(const moco_dataset *dataset);
MOCO_API int32_t moco_dataset_label(const moco_dataset *dataset, int64_t id);
MOCO_API int32_t moco_dataset_classes(const moco_dataset *dataset);
MOCO_API const char *moco_dataset_class_name(const moco_dataset *dataset, int32_t label);

/* What opening left out because of its name: extension `index` (0, 1, ...), the most frequent first, and in `count`
 * (may be NULL) how many files have it. In lower case with its dot (".bmp"); "" for names without one of 1 to 15
 * letters, digits, - and _; "*" for further ones beyond 64. NULL past the end, and then 0. Borrowed from the data set.
 * Folders: files that are not images, and images that lie beside class folders, which have an image's extension; names
 * that start with a dot (.DS_Store, macOS' ._x.jpg) are not counted, others of the system (Thumbs.db) are.
 * Tar shards: members of samples without an image, but for labels, and members without an extension. Others leave
 * nothing out. Threads: any. Since 0.1. */
MOCO_API const char *moco_dataset_left_out(const moco_dataset *dataset, int index, int64_t *count);

/* Path of a sample, or "" for data in memory, into `text` (ends in 0). MOCO_ESHAPE: too small.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_dataset_path(const moco_dataset *dataset, int64_t id, char *text, size_t size);

/* Called for an image that is bad, on the thread that called verify. Not 0: stop. `path` as of moco_dataset_path. */
typedef int (*moco_bad_image)(void *user, int64_t id, const char *path, const char *reason);

/* Reads images [first, first + count) from beginning to end, which a loader does not: it decodes no more than its views
 * show. `max_pixels` as of a loader, 0: 64 M; `report` may be NULL; `bad` gets the number of bad images. Threads: any
 * number at once, each its own range. Errors: MOCO_EINVAL, MOCO_EIO, MOCO_ENOMEM; MOCO_ECANCELED: report said stop.
 * Since 0.1. */
MOCO_API moco_status moco_dataset_verify(const moco_dataset *dataset, int64_t first, int64_t count, int64_t max_pixels,
                                         moco_bad_image report, void *user, int64_t *bad);

/* ---- recipes ---- */

/* How an image becomes a view. Every random number is Philox(seed; epoch, sample, view, purpose): see
 * docs/randomness.md. Order: crop, [grey if grey_first], jitter (its four ops in random order), [grey], blur, flip. */
typedef struct moco_augment_options {
    uint32_t struct_size;
    int32_t size;    /* of the view, square, pixels */
    int32_t crop;    /* 0: none (image must have `size`), 1: RandomResizedCrop, 2: resize `resize` + centre crop,
                             3: the square in the middle, `centre_part` of the shorter side, resized to `size` */
    int32_t resize;  /* crop 2: length of the shorter side */
    double scale[2]; /* crop 1: part of the area */
    double ratio[2]; /* crop 1: aspect ratio, log-uniform */
    double jitter_p; /* probability of the whole colour jitter */
    double brightness, contrast, saturation, hue;
    double grey_p;
    int32_t grey_first; /* 1: MoCo v1, grey before jitter */
    int32_t reserved0;
    double blur_p;
    double blur_sigma[2]; /* uniform */
    double flip_p;
    int32_t interpolation; /* of the resize, antialiased: 0: bilinear, 1: bicubic (a = -0.5) */
    int32_t crop_attempts; /* crop 1: boxes tried before the largest one in the middle is taken; 0: 10 */
    double centre_part;    /* crop 3: above 0, at most 1 */
} moco_augment_options;

/* Recipes by name. For training: "moco-v1", "moco-v2", "cifar10" (the MoCo notebook's), "demo", "simclr" (jitter of
 * strength s = 1: brightness, contrast, saturation 0.8 s, hue 0.2 s) and "simclr-cifar10" (s = 0.5, no blur). For
 * looking at what was learnt: "eval" (resize to size * 256 / 224, centre crop), "simclr-eval" (middle 87.5 %, bicubic)
 * and "none". Fills `options`, whose struct_size is set by the macro. MOCO_ENOTFOUND lists the names.
 *
 * The simclr recipes have SimCLR's probabilities, ranges and order, and Pillow's operations, as every recipe here.
 * google-research/simclr differs in this: it computes in floating point and clips to [0, 1] after each op (here: rounds
 * to 0..255 after each op, which clips too); its brightness is the product of SimCLR v2, as here, that of v1 a sum; its
 * contrast turns on the mean of each channel, here on the mean luma; its saturation is HSV's, here a blend with luma; its
 * blur is a Gaussian of size / 10 taps with one sigma a batch, here Pillow's three box passes with a sigma a view; its
 * bicubic resize does not smooth what it shrinks, Pillow's does; its aspect ratio is uniform, here log-uniform; where
 * no box fits it takes the whole picture, here the largest box in the middle.
 * Threads: any. Since 0.1. */
MOCO_API moco_status moco_augment_options_preset_sized(moco_augment_options *options, size_t size, const char *name,
                                                       int image_size);
#define moco_augment_options_preset(o, name, image_size)                                                               \
    moco_augment_options_preset_sized((o), sizeof *(o), (name), (image_size))

/* ---- loader ---- */

typedef struct moco_loader moco_loader;

/* What becomes of an image that cannot be read: damaged, cut, not an image, larger than max_pixels. */
typedef enum moco_bad {
    /* For training. The next readable sample number (wrapping) stands in its place, with that one's id in `ids`: every
     * batch is full, and an epoch is as long as the data set says. */
    MOCO_BAD_REPLACE = 0,
    /* For evaluation. It has no row: batch number b still covers the same positions, and holds the rows of those that
     * could be read, in order, so that `n` may be smaller, also with drop_last. A batch of which nothing could be read
     * is passed over (an epoch of nothing else is MOCO_EEND at once). `position` counts images that were left out
     * too, so that a run can stop after any batch and go on with moco_loader_start_at(epoch, position). */
    MOCO_BAD_SKIP = 1,
    /* moco_loader_next answers MOCO_EFORMAT in place of the batch that would hold the first such image by position;
     * the sentence names it. */
    MOCO_BAD_FAIL = 2,
    MOCO_BAD_MAX_ = 0x7fffffff
} moco_bad;

typedef struct moco_loader_options {
    uint32_t struct_size;
    int32_t batch_size; /* of all ranks together, a multiple of `ranks` */
    int32_t workers;    /* threads; 0: decode on the calling thread */
    int32_t prefetch;   /* batches kept ready at most, beside the one that the caller holds; default 2 */
    int32_t permuted;   /* 1: a new order each epoch; 0: sequential */
    int32_t drop_last;  /* 1: leave out the last partial batch */
    uint64_t seed;
    int64_t max_bad;    /* different unreadable images that are replaced or skipped before `next` answers
                           MOCO_EBADDATA; -1: the larger of 10 and 0.1 % of the data set. To skip any number: as many
                           as the data set has. Nothing with MOCO_BAD_FAIL */
    int64_t max_pixels; /* largest image decoded; default 64 M. A picture takes 3 bytes a pixel while it is worked on (a
                           progressive JPEG in full colour 6, in CMYK 8), and at most 4 MiB besides; what would take
                           more (a progressive JPEG of few rows), and a PNG wider than 262,144, counts as unreadable.
                           A WebP's file is held besides, and libwebp takes 5 bytes a pixel more for a lossless one */
    const moco_augment_options *recipe[2]; /* copied; recipe[1] NULL: one view */
    int32_t rank, ranks; /* this loader's share of each batch; default 0 of 1. Batch number b of all ranks together is
                            what one loader gives; positions and numbers of batches are those of all. The share is one
                            slice of batch_size / ranks places, rank 0's first, so that each rank has whole BN groups.
                            Of a last batch that is not full a rank has the same places, as far as they are there; one
                            that has none is passed over */
    int32_t bad;         /* moco_bad; default MOCO_BAD_REPLACE */
    int32_t interleave;  /* as of the trainer: 1: the share is places rank, rank + ranks, ... of each batch */
} moco_loader_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_loader_options_init_sized(moco_loader_options *options, size_t size);
#define moco_loader_options_init(o) moco_loader_options_init_sized((o), sizeof *(o))

typedef struct moco_loader_stats {
    uint32_t struct_size;
    int32_t reserved0;
    int64_t bad_images;  /* different images that could not be read, and were replaced or skipped, since creation */
    int64_t images;      /* rows delivered since creation */
    double wait_seconds; /* that `next` waited for data since creation */
} moco_loader_stats;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_loader_stats_init_sized(moco_loader_stats *stats, size_t size);
#define moco_loader_stats_init(s) moco_loader_stats_init_sized((s), sizeof *(s))

/* Owned; holds a reference on the data set. Errors: MOCO_EINVAL (names the option; drop_last with a data set smaller
 * than the batch), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_loader_create(moco_loader **loader, moco_dataset *dataset,
                                        const moco_loader_options *options);

/* NULL is fine. Promptly, also in the middle of an epoch. Threads: any, once. Since 0.1. */
MOCO_API void moco_loader_free(moco_loader *loader);

/* Starts an epoch at its first sample, or at any: `position` counts samples in the epoch's order, readable or not, of
 * all ranks together. Batches in flight are dropped. Threads: as moco_loader_next. Since 0.1. */
MOCO_API moco_status moco_loader_start(moco_loader *loader, int64_t epoch);
MOCO_API moco_status moco_loader_start_at(moco_loader *loader, int64_t epoch, int64_t position);

/* As moco_loader_start_at, with key views apart (see moco_batch), for a trainer that has committed `step` steps and has
 * this `seed` and `symmetric`: the first batch is for its next step, the second for the one after that. With ranks, each
 * makes the key views of the places of the shuffle that are its share, so that ShuffleBN moves no image from one rank to
 * another; the price is that an image is decoded once for each of its two views. Whether an image is bad is decided by
 * what both views show, in every loader. Takes memory for key views at its first call. Needs two recipes, drop_last, and
 * a `bad` other than MOCO_BAD_SKIP. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: as moco_loader_next. Since 0.1. */
MOCO_API moco_status moco_loader_start_keys(moco_loader *loader, int64_t epoch, int64_t position, int64_t step,
                                            uint64_t seed, int symmetric);

/* Fills `batch`; its arrays are borrowed until the next call on this loader. MOCO_EEND after the last (not a failure).
 * An unreadable image is replaced, skipped or MOCO_EFORMAT, as `bad` says. What is replaced or skipped is counted, and
 * logged once with its path and reason (replaced: MOCO_LOG_WARN; skipped: MOCO_LOG_INFO); MOCO_EBADDATA past max_bad.
 * An I/O error other than a bad image is MOCO_EIO. What a batch holds, which images count as bad and which error comes
 * when do not depend on `workers`. Threads: one call per loader. Since 0.1. */
MOCO_API moco_status moco_loader_next(moco_loader *loader, moco_batch *batch);

/* Batches in an epoch, of all ranks together (`next` gives at most so many: where images are skipped, or this rank has
 * no row of the last one, fewer); what has been delivered. Threads: any, also while another thread waits in
 * moco_loader_next. Since 0.1. */
MOCO_API int64_t moco_loader_batches(const moco_loader *loader);
MOCO_API moco_status moco_loader_get_stats(const moco_loader *loader, moco_loader_stats *stats);

/* Tells `report` of each image that counts in stats.bad_images, in the order of ids, until it answers other than 0: its
 * id, path (as of moco_dataset_path) and why it cannot be read. It must not call the loader. Errors: MOCO_EINVAL.
 * Threads: one call per loader at a time. Since 0.1. */
MOCO_API moco_status moco_loader_bad_images(moco_loader *loader, moco_bad_image report, void *user);

#ifdef __cplusplus
}
#endif
#endif
