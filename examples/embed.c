/* SPDX-License-Identifier: MIT
 *
 * embed: uses an encoder. It loads encoder.safetensors, encodes images, and prints their feature vectors or, for one
 * image, those most like it; or it writes all vectors, labels and paths for other programs. What a reader would get
 * wrong: an image that cannot be read has no vector. Row i is therefore image ids[i], not image i. */
#include <moco/moco.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/data_source.h"
#include "images/left_out.h"
#include "measure/embed_files.h"
#include "measure/encode.h"
#include "support/cli_options.h"
#include "support/human.h"
#include "support/precision.h"
#include "support/program_name.h"
#include "support/program_start.h"
#include "support/wait_policy.h"

#define NEAREST 5
#define BAD_SHOWN 10

static void check(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_name("embed"), moco_error());
    exit(1);
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "%s: out of memory for the features of %zu images\n", program_name("embed"), count);
        exit(1);
    }
    return memory;
}

/* ---- images to vectors ---- */

static moco_dataset *open_images(moco_context *context, const char *paths)
{
    moco_dataset *images;
    struct err err = {0};
    char sentence[512], shown[4 * sizeof sentence];
    if (data_source_open_all(&images, context, paths, NULL, &err) != MOCO_OK) {
        fprintf(stderr, "%s: %s\n", program_name("embed"), err.text);
        exit(1);
    }
    if (left_out_pictures(images, paths, sentence, sizeof sentence) > 0) {
        human_line(sentence, shown, sizeof shown);
        fprintf(stderr, "%s: %s\n", program_name("embed"), shown);
    }
    return images;
}

/* How images are looked at: as `name` says, or as the encoder's file does. */
static moco_augment_options choose_view(moco_model *model, const char *file, const char *name)
{
    moco_augment_options view;
    moco_model_info info;
    moco_status status = name != NULL ? MOCO_ENOTFOUND : moco_model_recipe(model, &view);
    if (status == MOCO_OK)
        return view;
    if (status != MOCO_ENOTFOUND)
        check(status);
    if (name == NULL)
        fprintf(stderr,
                "%s: %s does not say how images are to be looked at; they are as with --eval-recipe eval (resize to "
                "256/224 of the size, centre crop)\n",
                program_name("embed"), file);
    moco_model_info_init(&info);
    check(moco_model_describe(model, &info));
    check(moco_augment_options_preset(&view, name != NULL ? name : "eval", info.image_size));
    if (view.crop == 0) { /* "none" wants images of the right size; resizing leaves those as they are */
        view.crop = 2;
        view.resize = view.size;
    }
    check(moco_model_set_recipe(model, &view)); /* refuses one that draws at random */
    return view;
}

struct rows {
    int64_t n; /* images that could be read */
    int32_t dim;
    float *features; /* [n, dim], each of length 1: a dot product is a cosine */
    int64_t *ids;    /* [n] */
};

static void normalise(float *features, int64_t n, int32_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        for (int32_t j = 0; j < dim; j++)
            square += (double)features[i * dim + j] * features[i * dim + j];
        for (int32_t j = 0; j < dim; j++)
            features[i * dim + j] /= (float)(sqrt(square) + 1e-12);
    }
}

static void check_file(moco_status status, const struct err *err)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_name("embed"), err->text);
    exit(1);
}

static void add_batch(struct rows *rows, moco_encoder *encoder, const moco_batch *batch)
{
    struct err err = {0};
    float *to = rows->features + rows->n * rows->dim;
    check_file(encode_batch(encoder, MOCO_FEATURES, batch, batch->n, to, &err), &err);
    memcpy(rows->ids + rows->n, batch->ids, (size_t)batch->n * sizeof *rows->ids);
    rows->n += batch->n;
}

/* A line for standard error; a name from a disk may hold anything. */
static void print_bad(int64_t id, const char *path, const char *reason)
{
    char line[4096 + 700], shown[sizeof line];
    snprintf(line, sizeof line, "image number %lld, %s, cannot be read: %s", (long long)id, path, reason);
    human_line(line, shown, sizeof shown);
    fprintf(stderr, "%s: %s\n", program_name("embed"), shown);
}

struct bad {
    int64_t asked; /* the image whose neighbours are wanted; -1: none */
    int met, shown;
};

static int tell_bad(void *user, int64_t id, const char *path, const char *reason)
{
    struct bad *bad = user;
    bad->met |= id == bad->asked;
    if (bad->shown < BAD_SHOWN || id == bad->asked)
        print_bad(id, path, reason);
    bad->shown++;
    return 0;
}

/* Says which images have no vector. Leaves if that is all of them, or the one that is asked about. */
static void judge_bad(moco_loader *loader, int64_t count, int64_t asked)
{
    struct bad bad = {.asked = asked};
    moco_loader_stats stats;
    moco_loader_stats_init(&stats);
    check(moco_loader_get_stats(loader, &stats));
    if (stats.bad_images == 0)
        return;
    check(moco_loader_bad_images(loader, tell_bad, &bad));
    if (bad.shown > BAD_SHOWN)
        fprintf(stderr, "%s: and so on\n", program_name("embed"));
    fprintf(stderr, "%s: %lld of %lld could not be read and %s left out\n", program_name("embed"),
            (long long)stats.bad_images, (long long)count, stats.bad_images == 1 ? "is" : "are");
    if (stats.bad_images == count || bad.met)
        exit(1);
}

/* A loader at the first of all images, in the order of their numbers. */
static moco_loader *start_loader(moco_dataset *images, const moco_augment_options *view, int64_t max_pixels)
{
    moco_loader_options loading;
    moco_loader *loader;
    moco_loader_options_init(&loading);
    loading.batch_size = 64;
    loading.workers = 2;
    loading.permuted = loading.drop_last = 0;
    loading.bad = MOCO_BAD_SKIP;
    loading.max_bad = moco_dataset_count(images);
    if (max_pixels > 0)
        loading.max_pixels = max_pixels;
    loading.recipe[0] = view;
    check(moco_loader_create(&loader, images, &loading));
    check(moco_loader_start(loader, 0));
    return loader;
}

/* Encodes all images that can be read, in the order of their numbers. */
static struct rows encode(moco_encoder *encoder, moco_dataset *images, const moco_augment_options *view,
                          int64_t max_pixels, int64_t asked)
{
    struct rows rows = {.n = 0};
    moco_batch batch;
    moco_status status;
    int64_t count = moco_dataset_count(images);
    rows.dim = encode_dim(encoder, MOCO_FEATURES);
    rows.features = take((size_t)count, (size_t)rows.dim * sizeof *rows.features);
    rows.ids = take((size_t)count, sizeof *rows.ids);
    moco_batch_init(&batch);
    moco_loader *loader = start_loader(images, view, max_pixels);
    while ((status = moco_loader_next(loader, &batch)) == MOCO_OK)
        add_batch(&rows, encoder, &batch);
    if (status != MOCO_EEND)
        check(status);
    judge_bad(loader, count, asked);
    moco_loader_free(loader);
    normalise(rows.features, rows.n, rows.dim);
    return rows;
}

/* The same into files, a batch at a time. */
static void write_files(moco_encoder *encoder, moco_dataset *images, const moco_augment_options *view,
                        int64_t max_pixels, const struct embed_files *files)
{
    struct err err = {0};
    struct embed_writer *writer = NULL;
    moco_batch batch;
    moco_status status;
    int64_t rows, read = 0; /* batches */
    moco_batch_init(&batch);
    check_file(embed_files_begin(&writer, files, encoder, images, &err), &err);
    moco_loader *loader = start_loader(images, view, max_pixels);
    status = moco_loader_next(loader, &batch);
    for (; status == MOCO_OK; status = moco_loader_next(loader, &batch), read++)
        if (embed_files_add(writer, encoder, &batch, &err) != MOCO_OK)
            break;
    if (err.status != MOCO_OK || status != MOCO_EEND) { /* the temporary files go */
        embed_files_abandon(writer);
        check_file(err.status, &err);
        check(status);
    }
    if (read == 0) { /* judge_bad leaves */
        embed_files_abandon(writer);
        writer = NULL;
    }
    judge_bad(loader, moco_dataset_count(images), -1);
    moco_loader_free(loader);
    check_file(embed_files_commit(writer, &rows, &err), &err);
    fprintf(stderr, "%s: %s holds %lld rows\n", program_name("embed"), files->features, (long long)rows);
}

/* ---- what is printed ---- */

static void print_image(const moco_dataset *images, int64_t id)
{
    char path[4096], line[4 * sizeof path];
    check(moco_dataset_path(images, id, path, sizeof path));
    human_line(path, line, sizeof line); /* a tab or a line end in a name would be one of this table */
    printf("%s", line);
}

static void print_vectors(const moco_dataset *images, const struct rows *rows)
{
    for (int64_t i = 0; i < rows->n && !ferror(stdout); i++) {
        print_image(images, rows->ids[i]);
        for (int32_t j = 0; j < rows->dim; j++)
            printf("\t%.6g", rows->features[i * rows->dim + j]);
        printf("\n");
    }
}

static void print_nearest(const moco_dataset *images, const struct rows *rows, int64_t id)
{
    int64_t best[NEAREST], asked = 0;
    double cosine[NEAREST];
    int found = 0;
    while (rows->ids[asked] != id) /* it is there, for it could be read */
        asked++;
    for (int64_t i = 0; i < rows->n; i++) {
        double sum = 0;
        for (int32_t j = 0; j < rows->dim; j++)
            sum += (double)rows->features[i * rows->dim + j] * rows->features[asked * rows->dim + j];
        if (i == asked || (found == NEAREST && sum <= cosine[NEAREST - 1]))
            continue;
        int at = found < NEAREST ? found++ : NEAREST - 1;
        for (; at > 0 && cosine[at - 1] < sum; at--) {
            cosine[at] = cosine[at - 1];
            best[at] = best[at - 1];
        }
        cosine[at] = sum;
        best[at] = i;
    }
    printf("most like ");
    print_image(images, id);
    printf("\n");
    for (int i = 0; i < found; i++) {
        printf("%.4f\t", cosine[i]);
        print_image(images, rows->ids[best[i]]);
        printf("\n");
    }
}

static void print_rows(moco_encoder *encoder, moco_dataset *images, const moco_augment_options *view,
                       int64_t max_pixels, int64_t asked)
{
    struct rows rows = encode(encoder, images, view, max_pixels, asked);
    if (asked >= 0)
        print_nearest(images, &rows, asked);
    else
        print_vectors(images, &rows);
    free(rows.features);
    free(rows.ids);
}

/* ---- the command line ---- */

static const char usage[] =
    "Usage: embed ENCODER IMAGES [OPTIONS]               a line for each image: its path, then its features\n"
    "       embed ENCODER IMAGES NUMBER [OPTIONS]        the images most like number NUMBER (from 0, by name)\n"
    "       embed ENCODER IMAGES --out F.npy [OPTIONS]   files for other programs\n";

static const char more_help[] =
    "\n"
    "ENCODER is a file encoder.safetensors. IMAGES is a folder of images, of tar shards or of CIFAR-10's files, a\n"
    "shard, or a list of images (one path a line); several with colons between them.\n"
    "\n"
    "      --eval-recipe NAME      how images are prepared: eval, simclr-eval or none, as of train_imagenet\n"
    "                              (default: what its file says, which is how training measured the encoder)\n"
    "      --max-pixels N          largest image that is read (default 67108864: 64 M)\n"
    "      --out F.npy             features as NumPy's float32 [images, length], not normalised. Memory does not\n"
    "                              grow with the number of images; no file appears before all are complete\n"
    "      --labels L.npy          with --out: int64 [images], -1 for no label\n"
    "      --paths P.txt           with --out: a line for each row\n"
    "      --projection            with --out: the projection head's output instead of the features\n"
    "      --normalise             with --out: rows of length 1, as printed ones always are\n"
    "      --device NAME           cpu (default); cuda or cuda:N, a GPU; ref\n"
    "      --precision NAME        of the encoder: auto (default: bf16 where the processor has it, else f32), f32,\n"
    "                              bf16, fp16, tf32 or f64, as the device has them\n"
    "      --wait POLICY           how compute threads wait for each other: auto, active or passive, as of\n"
    "                              train_imagenet\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "An image that cannot be read has no line and is nobody's neighbour; standard error names it and says \"1 of 12\n"
    "could not be read\".\n"
    "\n"
    "Exit codes: 0 done, even if some images could not be read. 1 failed: one sentence says why; also if no image\n"
    "could be read, or not image NUMBER. 2 wrong command line.\n";

struct arguments {
    const char *recipe, *wait, *device, *precision, *at[3]; /* encoder, images, number */
    struct embed_files files;
    int64_t max_pixels; /* 0: the loader's default */
    int count;
    const char *wrong; /* the word that cannot be read as a part of the command; NULL: its parts do not fit together */
};

/* The options with a text; NULL: none of them. */
static const char **text_option(struct arguments *a, const char *name)
{
    const struct {
        const char *name, **text;
    } options[] = {{"--eval-recipe", &a->recipe},
                   {"--device", &a->device},
                   {"--out", &a->files.features},
                   {"--labels", &a->files.labels},
                   {"--paths", &a->files.paths}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(options[i].name, name) == 0)
            return options[i].text;
    return NULL;
}

static int parse(struct arguments *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            program_help(usage, stdout);
            program_help(more_help, stdout);
            exit(program_printed(program_name("embed")));
        }
        const char **text = text_option(a, argv[i]);
        if (text != NULL && i + 1 < argc)
            *text = argv[++i];
        else if (strcmp(argv[i], "--projection") == 0)
            a->files.what = MOCO_PROJECTION;
        else if (strcmp(argv[i], "--normalise") == 0)
            a->files.normalise = 1;
        else if (strcmp(argv[i], "--wait") == 0 && i + 1 < argc && wait_policy_known(argv[i + 1]))
            a->wait = argv[++i];
        else if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc && precision_known(argv[i + 1]))
            a->precision = argv[++i];
        else if (strcmp(argv[i], "--max-pixels") == 0 && i + 1 < argc &&
                 cli_int(argv[i + 1], 1, 9e18, &a->max_pixels) == 1)
            i++;
        else if (argv[i][0] == '-' || a->count == 3) {
            a->wrong = argv[i];
            return 0;
        } else
            a->at[a->count++] = argv[i];
    }
    const struct embed_files *f = &a->files;
    int only_files = f->labels != NULL || f->paths != NULL || f->normalise || f->what == MOCO_PROJECTION;
    return f->features != NULL ? a->count == 2 : a->count >= 2 && !only_files;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct arguments a = {.wait = "", .device = "cpu", .precision = "auto", .files = {.what = MOCO_FEATURES}};
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_encoder *encoder;
    moco_dataset *images;
    program_start();
    if (!parse(&a, argc, argv)) {
        if (a.wrong != NULL)
            fprintf(stderr, "%s: %s: no such option, or its value is missing or wrong\n", program_name("embed"),
                    a.wrong);
        program_help(usage, stderr);
        fprintf(stderr, "%s --help explains the options\n", program_name("embed"));
        return 2;
    }
    wait_policy_apply(a.wait, 0, argv); /* how threads wait matters beside other programs */
    check(moco_context_create(&context, NULL));
    check(moco_device_open(&device, context, a.device));
    check(moco_model_open(&model, device, a.at[0]));
    images = open_images(context, a.at[1]);
    int64_t n = moco_dataset_count(images), asked = -1;
    if (a.count > 2 && cli_int(a.at[2], 0, (double)(n - 1), &asked) != 1) {
        fprintf(stderr, "%s: there is no image number %s; there are %lld, from 0\n", program_name("embed"), a.at[2],
                (long long)n);
        exit(2);
    }
    moco_augment_options view = choose_view(model, a.at[0], a.recipe);
    check_file(encode_make(&encoder, model, precision_parse(a.precision), &err), &err);
    moco_model_free(model);
    if (a.files.features != NULL)
        write_files(encoder, images, &view, a.max_pixels, &a.files);
    else
        print_rows(encoder, images, &view, a.max_pixels, asked);
    moco_dataset_free(images);
    moco_encoder_free(encoder);
    moco_device_free(device);
    moco_context_free(context);
    return program_printed(program_name("embed"));
}
