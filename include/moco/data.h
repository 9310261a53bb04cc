/* SPDX-License-Identifier: MIT
 *
 * moco/data.h: data sets (where images come from), recipes (how an image becomes a view) and loaders (which make
 * batches of views). */
#ifndef MOCO_DATA_H
#define MOCO_DATA_H

#include "moco/base.h"
#include "moco/trainer.h" /* moco_batch */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- data sets ---- */

typedef struct moco_dataset moco_dataset;

/* Opens a folder of class folders. A label is the rank of its folder's name in byte order, among the folders that
 * hold images. If `path` has no sub-folders with images, it is a flat folder of images without labels. Links are
 * followed; names that start with a dot are skipped; images come in byte order of their names. A file is an image if
 * its name ends in .jpg .jpeg .jpe .jfif .png or .webp, in any case; its content decides which kind it is. (WebP
 * cannot be read by a library that was built without libwebp.) moco_dataset_left_out counts the other files. Owned.
 * Errors: MOCO_EIO (a folder that cannot be listed is never left out), MOCO_EINVAL (no image found; the sentence
 * says where it looked), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_open_folder(moco_dataset **dataset, moco_context *context, const char *path);

/* Decides about each folder below the one that is opened. If it returns anything but 0, the folder is left out with
 * everything in it. */
typedef int (*moco_leave_out)(void *user, const char *path);

/* Does what moco_dataset_open_folder does, without the folders that `leave_out` (NULL: none) selects: they hold no
 * images and are not classes.
 * Threads: any thread may call it at any time; `leave_out` is called on that thread. Since 0.1. */
MOCO_API moco_status moco_dataset_open_folder_without(moco_dataset **dataset, moco_context *context, const char *path,
                                                      moco_leave_out leave_out, void *user);

/* Opens CIFAR-10 binary files, in the order given. A record is 1 label byte and 3072 bytes of RGB planes; a file may
 * have any number of them. Owned.
 * Errors: MOCO_EIO, MOCO_EFORMAT (a size that is not a multiple of 3073, or a label > 9), MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_open_cifar10(moco_dataset **dataset, moco_context *context, const char *const *paths,
                                               int count);

/* Makes a data set of decoded images in memory: u8 [n,h,w,3]; `labels` [n] or NULL. Both are borrowed until the data
 * set and its loaders are freed. Owned.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_from_memory(moco_dataset **dataset, moco_context *context, const moco_tensor *images,
                                              const int32_t *labels);

/* Opens a list: a UTF-8 text file with one picture a line. A line is PATH, or PATH, a tab and a decimal label up to
 * 1,048,575. Anything else behind the tab is no label; the log has one warning for all such lines. A path without a
 * leading slash starts at the folder of the list. Paths may hold spaces and commas. Empty lines are skipped. Owned.
 * Errors: MOCO_EIO; MOCO_EFORMAT names the line. It is also the answer if the first picture does not exist; the
 * sentence then says what the file looks like: spaces or commas instead of tabs, or a header. MOCO_EINVAL (no
 * picture), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_open_list(moco_dataset **dataset, moco_context *context, const char *path);

/* Opens tar shards in WebDataset's layout. Neighbouring members that share a key are one sample; the key is the path
 * up to the first dot of its last part. A sample has one picture (.jpg, .jpeg, .jpe, .jfif, .png, .webp) and perhaps
 * a label: .cls, a decimal number up to 1,048,575. Anything else in a .cls is no label; the log has one warning for
 * all. The last extension of a member says what it is. x.jpg is preferred to x.left.jpg; if there are only several
 * such as x.left.jpg and x.right.jpg, none of them is the picture. Several archives in one file, one after another,
 * are read.
 *
 * The shards are indexed by this call, once. Samples are then read in any order; the index takes 20 to 30 bytes of
 * memory a sample. Samples without a picture are left out and logged. Owned.
 * Errors: MOCO_EIO; MOCO_EFORMAT names shard and offset (a damaged, cut or compressed archive, a sparse file, a key
 * that appears again later); MOCO_EINVAL (no picture), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_open_tar(moco_dataset **dataset, moco_context *context, const char *const *paths,
                                           int count);

/* Writes where the pictures of a data set of moco_dataset_open_tar are into a file, for moco_dataset_open_index: 24 bytes
 * for each, and the names of the shards as they were given. What is at `path` is replaced, at the end and at once.
 * Errors: MOCO_ENOTSUP (a data set of another kind), MOCO_EIO, MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_dataset_save_index(const moco_dataset *dataset, const char *path);

/* Opens tar shards by such a file: the same pictures, in the same order. The shards are not walked through, and the file is
 * mapped and not copied: processes on one machine share its pages, and it may be larger than memory. It must not be
 * written to meanwhile. A damaged entry is MOCO_EIO when its picture is read. moco_dataset_left_out has nothing. Owned.
 * Errors: MOCO_EFORMAT: it is no index, or damaged. MOCO_EIO: also if a shard is gone, or was written to since.
 * MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_open_index(moco_dataset **dataset, moco_context *context, const char *path);

/* By what a program may know a large data set again without looking at each picture: a hash of 32 hex digits, taken when the
 * index file was written, of where in the shards all pictures are, and of their labels. It does not depend on the shards'
 * names, folder and times, and is no proof against forgery. NULL for a data set that moco_dataset_open_index has not opened,
 * and for NULL. Borrowed from the data set.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API const char *moco_dataset_index_hash(const moco_dataset *dataset);

/* Decoded pictures that the caller provides: a camera's, a renderer's. For encoded ones see moco_encoded_source. */
typedef struct moco_image_source {
    uint32_t struct_size;
    int32_t classes; /* 0: no labels */
    int64_t count;   /* 1 to 2^48 */
    /* Points `pixels` at picture `id` (0 to count - 1): RGB [h,w,3] without gaps, which must not change until
     * `done`. Returns MOCO_OK, or MOCO_EFORMAT if this picture is bad (it is then treated like a damaged file: see
     * moco_bad). Any other status ends the epoch with that status. The same id must give the same picture each time,
     * or resuming is not exact. It is called from loader threads, several at a time. It must not call the loader. */
    moco_status (*read)(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h);
    void (*done)(void *user, int64_t id, const uint8_t *pixels); /* after a successful read, same thread; may be NULL */
    int32_t (*label)(void *user, int64_t id);                    /* 0 to classes - 1, or -1; NULL: no labels */
    void *user;
} moco_image_source;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_image_source_init_sized(moco_image_source *source, size_t size);
#define moco_image_source_init(s) moco_image_source_init_sized((s), sizeof *(s))

/* `source` is copied. Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any thread may call it at any time. Since
 * 0.1. */
MOCO_API moco_status moco_dataset_from_callback(moco_dataset **dataset, moco_context *context,
                                                const moco_image_source *source);

/* The most bytes that a callback may write as its reason, including the 0 at its end. */
#define MOCO_REASON 256

/* Encoded pictures that the caller provides: the bytes of a JPEG, PNG or WebP file, such as rows of a database,
 * objects of a store, frames of a camera or members of a mapped archive. The loader's threads decode them as they
 * decode a folder's files: only the part of a picture that its views show. */
typedef struct moco_encoded_source {
    uint32_t struct_size;
    int32_t classes; /* 0: no labels */
    int64_t count;   /* 1 to 2^48 */
    /* Points `bytes` at the `size` bytes of picture `id` (0 to count - 1), which must not change until `done`. A
     * caller that has them mapped, or in the result of a query, need not copy them. `cookie` (NULL before) is for
     * the caller: what `done` has to release. Returns MOCO_OK, or MOCO_EFORMAT if this picture is bad or does not
     * exist (it is then treated like a damaged file: see moco_bad). Any other status ends the epoch with that
     * status. It may write why to `reason` (`room` bytes, MOCO_REASON; "" before), which becomes part of that
     * picture's sentence. The same id must give the same picture each time, or resuming is not exact. It is called
     * from loader threads, several at a time. It must not call the loader. */
    moco_status (*read)(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                        size_t room);
    /* Called after a successful read, on the same thread, as soon as the picture is decoded; may be NULL. */
    void (*done)(void *user, int64_t id, const void *bytes, size_t size, void *cookie);
    int32_t (*label)(void *user, int64_t id); /* 0 to classes - 1, or -1; NULL: no labels. On any thread, as `read` */
    void *user;
} moco_encoded_source;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_encoded_source_init_sized(moco_encoded_source *source, size_t size);
#define moco_encoded_source_init(s) moco_encoded_source_init_sized((s), sizeof *(s))

/* `source` is copied. Owned. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any thread may call it at any time. Since
 * 0.1. */
MOCO_API moco_status moco_dataset_from_encoded(moco_dataset **dataset, moco_context *context,
                                               const moco_encoded_source *source);

/* Makes a data set of those images of `dataset` whose class has the same name as a class of `like`. They keep their
 * order and get the labels of `like`. Why it is needed: folders number their classes by rank, so that data sets
 * which were opened separately agree only if they have the same folders. Images of other classes and images without
 * a label are left out; the counts show how many. Owned; it holds a reference on `dataset`.
 * Errors: MOCO_EINVAL (one has no classes, or they share no name), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_match_classes(moco_dataset **out, moco_dataset *dataset, const moco_dataset *like);

/* Joins two data sets: the images of `first`, then those of `second`. Classes of the same name become one class;
 * classes that only `second` has follow in its order. If neither data set names its classes, classes of the same
 * number become one. Images of a data set without labels keep none. Owned; it holds references on both.
 * Errors: MOCO_EINVAL (the classes of one have names, those of the other only numbers), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_join(moco_dataset **out, moco_dataset *first, moco_dataset *second);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_dataset_free(moco_dataset *dataset);

/* The number of images; the label of image `id`, from 0, or -1 if it has none; the number of classes, or 0 if there
 * are no labels; the name of a class, borrowed from the data set, or "" if it has none. For NULL, or for a number
 * out of range, they return 0, -1, 0 and "".
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API int64_t moco_dataset_count(const moco_dataset *dataset);
MOCO_API int32_t moco_dataset_label(const moco_dataset *dataset, int64_t id);
MOCO_API int32_t moco_dataset_classes(const moco_dataset *dataset);
MOCO_API const char *moco_dataset_class_name(const moco_dataset *dataset, int32_t label);

/* What opening left out because of its name: extension `index` (0, 1, ...), the most frequent first. `count` (may be
 * NULL) gets the number of files that have it. An extension is in lower case with its dot (".bmp"); "" stands for
 * names without an extension of 1 to 15 letters, digits, - and _; "*" for all extensions beyond the first 64.
 * Returns NULL past the end, with a count of 0. Borrowed from the data set.
 *
 * Of folders it counts files that are not images, and images that lie beside class folders (these have an image's
 * extension). Names that start with a dot (.DS_Store, macOS' ._x.jpg) are not counted; other files of the system
 * (Thumbs.db) are. Of tar shards it counts members of samples without an image, except labels, and members without
 * an extension. Other data sets leave nothing out.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_dataset_left_out(const moco_dataset *dataset, int index, int64_t *count);

/* Writes the path of a sample, or "" for data in memory, to `text` (ends in 0).
 * Errors: MOCO_ESHAPE: `size` is too small.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_dataset_path(const moco_dataset *dataset, int64_t id, char *text, size_t size);

/* Called for each bad image, on the thread that called verify. If it returns anything but 0, verify stops. `path` is
 * that of moco_dataset_path. */
typedef int (*moco_bad_image)(void *user, int64_t id, const char *path, const char *reason);

/* Reads images [first, first + count) from beginning to end. A loader does not do that: it decodes only what its
 * views show. `max_pixels` is that of a loader (0: 64 M). `report` may be NULL. `bad` gets the number of bad images.
 * Errors: MOCO_EINVAL, MOCO_EIO, MOCO_ENOMEM; MOCO_ECANCELED: `report` stopped it.
 * Threads: any number may call it at once, each for its own range. Since 0.1. */
MOCO_API moco_status moco_dataset_verify(const moco_dataset *dataset, int64_t first, int64_t count, int64_t max_pixels,
                                         moco_bad_image report, void *user, int64_t *bad);

/* ---- recipes ---- */

/* A recipe: how an image becomes a view. Every random number is Philox(seed; epoch, sample, view, purpose): see
 * docs/randomness.md. The order is: crop, [grey if grey_first], jitter (its four operations in random order),
 * [grey], blur, flip. */
typedef struct moco_augment_options {
    uint32_t struct_size;
    int32_t size;    /* of the view, square, pixels */
    int32_t crop;    /* 0: none (the image must have `size`). 1: RandomResizedCrop. 2: resize to `resize`, then centre
                        crop. 3: the square in the middle, `centre_part` of the shorter side, resized to `size` */
    int32_t resize;  /* crop 2: length of the shorter side */
    double scale[2]; /* crop 1: fraction of the area */
    double ratio[2]; /* crop 1: aspect ratio, log-uniform */
    double jitter_p; /* probability of the whole colour jitter */
    double brightness, contrast, saturation, hue;
    double grey_p;
    int32_t grey_first; /* 1: MoCo v1, grey before jitter */
    int32_t reserved0;
    double blur_p;
    double blur_sigma[2]; /* pixels, drawn uniformly from this range */
    double flip_p;
    int32_t interpolation; /* of the resize, with antialiasing. 0: bilinear, 1: bicubic (a = -0.5) */
    int32_t crop_attempts; /* crop 1: boxes tried before the largest one in the middle is taken; 0: 10 */
    double centre_part;    /* crop 3: above 0, at most 1 */
} moco_augment_options;

/* Fills `options` with a recipe by name; the macro sets its struct_size. For training: "moco-v1", "moco-v2",
 * "cifar10" (that of the MoCo notebook), "demo", "simclr" (jitter of strength s = 1: brightness, contrast,
 * saturation 0.8 s, hue 0.2 s) and "simclr-cifar10" (s = 0.5, no blur). For evaluation: "eval" (resize to size * 256
 * / 224, centre crop), "simclr-eval" (the middle 87.5 %, bicubic) and "none" (resize to size, centre crop).
 *
 * The simclr recipes have SimCLR's probabilities, ranges and order, but Pillow's operations, as every recipe here.
 * google-research/simclr differs in these points:
 *  - It computes in floating point and clips to [0, 1] after each operation. Here each operation rounds to 0..255,
 *    which clips too.
 *  - Brightness is the product of SimCLR v2, as here; that of v1 is a sum.
 *  - Contrast pivots on the mean of each channel; here on the mean luma.
 *  - Saturation is HSV's; here it is a blend with luma.
 *  - The blur is a Gaussian of size / 10 taps with one sigma a batch; here it is Pillow's three box passes with a
 *    sigma a view.
 *  - Its bicubic resize does not smooth when it shrinks; Pillow's does.
 *  - The aspect ratio is uniform; here it is log-uniform.
 *  - Where no box fits it takes the whole picture; here it takes the largest box in the middle.
 * Errors: MOCO_EINVAL; MOCO_ENOTFOUND lists the names.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_augment_options_preset_sized(moco_augment_options *options, size_t size, const char *name,
                                                       int image_size);
#define moco_augment_options_preset(o, name, image_size)                                                               \
    moco_augment_options_preset_sized((o), sizeof *(o), (name), (image_size))

/* ---- pictures in the memory of a device ---- */

/* Decodes all pictures of a data set, and keeps them in the memory of a device that makes views itself: 3 bytes a pixel. A
 * loader that is given them (moco_loader_options) gives a trainer on that device what is drawn instead of pixels. Training
 * then has the same bits as with views of the host. `max_pixels` as in moco_loader_options; 0: its default. Every picture is
 * read twice, and none is replaced: one that cannot be read fails the call. A view is made of a picture that is at most 63
 * times as large (bilinear: 127 times); of a larger one a step is MOCO_ENOTSUP. Owned; it holds references on the device
 * and the data set.
 * Errors: MOCO_ENOTSUP (the device makes no views: "cpu" and "ref" do not), MOCO_ENOMEM (also of the device),
 * MOCO_EFORMAT (a picture that cannot be read, by name), MOCO_EIO, MOCO_EINVAL, MOCO_EDEVICE.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_pictures_create(moco_pictures **pictures, moco_device *device, moco_dataset *dataset,
                                          int64_t max_pixels);

/* What moco_pictures_create would take of the device's memory; *bytes is -1 where the sizes of the pictures are not known
 * before they are read (of CIFAR-10 and of images in memory they are).
 * Errors: MOCO_ENOTSUP as there, MOCO_EINVAL.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_pictures_estimate(const moco_device *device, const moco_dataset *dataset, int64_t *bytes);

/* Frees the handle. NULL is allowed. Loaders that were made with it keep the pictures until they are freed, and their batches stay good.
 * Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_pictures_free(moco_pictures *pictures);

/* Bytes of device memory that they take; 0 of an invalid handle.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API int64_t moco_pictures_bytes(const moco_pictures *pictures);

/* ---- loaders ---- */

typedef struct moco_loader moco_loader;

/* What a loader does with an image that cannot be read: damaged, cut, not an image, or larger than max_pixels. */
typedef enum moco_bad {
    /* For training. The next readable sample number (after the last comes 0) takes its position, and its id is the
     * one in `ids`. Every batch is full, and an epoch is as long as the data set says. */
    MOCO_BAD_REPLACE = 0,
    /* For evaluation. The image has no row. Batch number b still covers the same positions and holds the rows of the
     * images that could be read, in order; `n` may therefore be smaller, also with drop_last. A batch of which
     * nothing could be read is skipped (an epoch with nothing else is MOCO_EEND at once). `position` counts the
     * images that were left out too, so that a run can stop after any batch and continue with
     * moco_loader_start_at(epoch, position). */
    MOCO_BAD_SKIP = 1,
    /* moco_loader_next returns MOCO_EFORMAT instead of the batch that would hold the first such image by position;
     * the sentence names it. */
    MOCO_BAD_FAIL = 2,
    MOCO_BAD_MAX_ = 0x7fffffff
} moco_bad;

typedef struct moco_loader_options {
    uint32_t struct_size;
    int32_t batch_size; /* of all ranks together, a multiple of `ranks` */
    int32_t workers;    /* threads; 0: decode on the calling thread */
    int32_t prefetch;   /* most batches kept ready, in addition to the one that the caller holds; default 2 */
    int32_t permuted;   /* 1: a new order each epoch; 0: sequential */
    int32_t drop_last;  /* 1: leave out the last partial batch */
    uint64_t seed;
    int64_t max_bad;    /* how many different unreadable images are replaced or skipped before `next` returns
                           MOCO_EBADDATA; -1: the larger of 10 and 0.1 % of the data set. To skip any number, set it to
                           the size of the data set. It has no meaning with MOCO_BAD_FAIL */
    int64_t max_pixels; /* largest image that is decoded; default 64 M. A picture takes 3 bytes a pixel while it is
                           decoded (a progressive JPEG in full colour 6, in CMYK 8) and at most 4 MiB more. One that
                           would take more (a progressive JPEG of few rows), and a PNG wider than 262,144, counts as
                           unreadable. A WebP takes the size of its file too, and a lossless one 5 bytes a pixel more,
                           which libwebp allocates */
    const moco_augment_options *recipe[2]; /* copied; recipe[1] NULL: one view */
    int32_t rank, ranks; /* this loader's share of each batch; default 0 of 1. All ranks together make the batches that
                            one loader would make; positions and numbers of batches are those of all ranks. The share is
                            one slice of batch_size / ranks rows, rank 0's first, so that each rank has whole BN groups.
                            Of a last batch that is not full a rank has the same rows, as far as they exist; if it has
                            none, this loader skips the batch */
    int32_t bad;         /* moco_bad; default MOCO_BAD_REPLACE */
    int32_t interleave;  /* as in moco_trainer_options. 1: the share is rows rank, rank + ranks, ... of each batch */
    moco_pictures *pictures; /* NULL: the loader makes the views. Else the pictures of this data set in the memory of a
                                device: the loader draws, decodes nothing, and the trainer's device makes the views, with the
                                same bytes. Its batches have no pixels (see moco_batch) and are for moco_trainer_step on
                                that device. The loader holds a reference */
    /* NULL: views are made in ordinary memory. Else the device whose trainer they are for: they are made in memory that it
     * reads without a copy by the host (on "cuda": page-locked). The bytes are the same, and any trainer takes the batches.
     * moco_context_memory of that device's context counts it. If there is no such memory left, ordinary memory is taken,
     * and one line of the log says so. With `pictures` it has no effect. The loader holds a reference */
    moco_device *device;
} moco_loader_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_loader_options_init_sized(moco_loader_options *options, size_t size);
#define moco_loader_options_init(o) moco_loader_options_init_sized((o), sizeof *(o))

typedef struct moco_loader_stats {
    uint32_t struct_size;
    int32_t reserved0;
    int64_t bad_images;  /* different images that could not be read, and were replaced or skipped, since creation */
    int64_t images;      /* rows delivered since creation */
    double wait_seconds; /* how long `next` waited for data since creation */
} moco_loader_stats;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_loader_stats_init_sized(moco_loader_stats *stats, size_t size);
#define moco_loader_stats_init(s) moco_loader_stats_init_sized((s), sizeof *(s))

/* Makes a loader. `options` are copied. Owned; it holds references on the data set and on
 * options.device.
 * Errors: MOCO_EINVAL (names the option; also drop_last with a data set smaller than the batch), MOCO_ENOMEM,
 * MOCO_EDEVICE (options.device is lost).
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_loader_create(moco_loader **loader, moco_dataset *dataset,
                                        const moco_loader_options *options);

/* Frees the handle. NULL is allowed. It returns promptly, also in the middle of an epoch.
 * Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_loader_free(moco_loader *loader);

/* Starts an epoch at its first sample, or at any other. `position` counts samples in the epoch's order, readable or
 * not, of all ranks together. Batches in preparation are dropped.
 * Threads: the rule of moco_loader_next. Since 0.1. */
MOCO_API moco_status moco_loader_start(moco_loader *loader, int64_t epoch);
MOCO_API moco_status moco_loader_start_at(moco_loader *loader, int64_t epoch, int64_t position);

/* Does what moco_loader_start_at does, with key views apart (see moco_batch). It is for a trainer that has committed
 * `step` steps and has this `seed` and `symmetric`: the first batch is for its next step, the second for the one
 * after that. With several ranks, each rank makes the key views of those positions of the shuffle that are its
 * share. ShuffleBN then moves no image from one rank to another; the price is that an image is decoded once for each
 * of its two views. Whether an image is bad is decided by what both views show, in every loader. The first call
 * takes memory for key views. It needs two recipes, drop_last, and a `bad` other than MOCO_BAD_SKIP.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM, MOCO_EDEVICE (the device of its options is lost).
 * Threads: the rule of moco_loader_next. Since 0.1. */
MOCO_API moco_status moco_loader_start_keys(moco_loader *loader, int64_t epoch, int64_t position, int64_t step,
                                            uint64_t seed, int symmetric);

/* Fills `batch`; its arrays are borrowed until the next call on this loader. An unreadable image is replaced,
 * skipped or an error, as `bad` says. Each that is replaced or skipped is counted, and logged once with its path and
 * reason (replaced: MOCO_LOG_WARN; skipped: MOCO_LOG_INFO). What a batch holds, which images count as bad and which
 * error comes when do not depend on `workers`.
 * Errors: MOCO_EEND after the last batch (not a failure); MOCO_EFORMAT with MOCO_BAD_FAIL; MOCO_EBADDATA past
 * max_bad; MOCO_EIO: an I/O error other than a bad image.
 * Threads: a loader serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_loader_next(moco_loader *loader, moco_batch *batch);

/* The number of batches in an epoch, of all ranks together; and what has been delivered so far. `next` gives fewer
 * batches where images are skipped, or where this rank has no row of the last one.
 * Threads: any thread may call it at any time, also while another thread waits in moco_loader_next. Since 0.1. */
MOCO_API int64_t moco_loader_batches(const moco_loader *loader);
MOCO_API moco_status moco_loader_get_stats(const moco_loader *loader, moco_loader_stats *stats);

/* Calls `report` for each image that counts in stats.bad_images, in the order of ids, until it returns anything but
 * 0. It passes the id, the path (that of moco_dataset_path) and the reason. `report` must not call the loader.
 * Errors: MOCO_EINVAL.
 * Threads: a loader serves one call at a time. Since 0.1. */
MOCO_API moco_status moco_loader_bad_images(moco_loader *loader, moco_bad_image report, void *user);

#ifdef __cplusplus
}
#endif
#endif
