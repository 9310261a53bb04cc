/* SPDX-License-Identifier: MIT
 *
 * show_views: shows what the network sees of a picture. It draws views with a training recipe, writes them side by side
 * into one PNG, and prints the parameters of each. Introduces moco_image_read, moco_augment_draw and
 * moco_augment_apply.
 *
 *   build/examples/show_views PICTURE OUT.png [--recipe moco-v2] [--views 24] [--size 160] [--seed 0] */
#include <moco/moco.h>

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "images/augment_text.h"
#include "support/cli_options.h"
#include "support/program_name.h"
#include "support/program_start.h"

enum { GAP = 6 };

struct options {
    const char *picture, *out, *recipe, *augment;
    int views, size;
    uint64_t seed;
};

static const char help[] =
    "Usage: show_views PICTURE OUT.png [OPTIONS]\n"
    "\n"
    "Draws views of a picture as training sees them, side by side, into OUT.png, and prints the parameters of each.\n"
    "\n"
    "      --recipe NAME           augmentation, as of train_imagenet (default moco-v2)\n"
    "      --augment TEXT          changes to the recipe, as of train_imagenet\n"
    "      --views N               how many, 1 to 400 (default 24)\n"
    "      --size PIXELS           side of a view, 8 to 512 (default 160)\n"
    "      --seed N                seed of the views: the same one gives the same views (default 0)\n"
    "  -h, --help                  print this and stop\n"
    "\n"
    "Exit codes: 0 done. 1 failed; one sentence on standard error says what and where. 2 wrong command line.\n";

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "%s: %s%s\n", program_name("show_views"), why, what);
    program_help(help, stderr);
    return 2;
}

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_name("show_views"), what, moco_error());
    return 1;
}

/* Would the sheet be written over the picture, by whatever names? */
static int is_one_file(const char *a, const char *b)
{
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static int parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int64_t n = 0;
        if (name[0] != '-') {
            if (o->out != NULL)
                return usage("one argument too many: ", name);
            *(o->picture == NULL ? &o->picture : &o->out) = name;
            continue;
        }
        i++;
        if (strcmp(name, "--recipe") == 0)
            o->recipe = value;
        else if (strcmp(name, "--augment") == 0)
            o->augment = value;
        else if (strcmp(name, "--views") == 0 && cli_int(value, 1, 400, &n) == 1)
            o->views = (int)n;
        else if (strcmp(name, "--size") == 0 && cli_int(value, 8, 512, &n) == 1)
            o->size = (int)n;
        else if (strcmp(name, "--seed") == 0 && cli_int(value, 0, 2147483647, &n) == 1)
            o->seed = (uint64_t)n;
        else
            return usage("not an option, or a wrong value for it: ", name);
    }
    if (o->out != NULL && is_one_file(o->picture, o->out))
        return usage("the views would be written over the picture: ", o->out);
    return o->out == NULL ? usage("it needs a picture and the name of the file to write", "") : 0;
}

static void print_view(int number, const moco_view_params *p)
{
    static const char *const ops[] = {"brightness", "contrast", "saturation", "hue"};
    printf("%3d: crop %dx%d at %d,%d", number, p->crop[2], p->crop[3], p->crop[0], p->crop[1]);
    for (int i = 0; i < 4 && p->jitter; i++)
        printf(", %s %.2f", ops[p->order[i]], p->factor[p->order[i]]);
    if (p->grey)
        printf(", grey");
    if (p->sigma > 0)
        printf(", blur %.2f", p->sigma);
    printf("%s\n", p->flip ? ", flipped" : "");
}

/* A square number of columns that makes the sheet about as wide as it is high. */
static int columns_for(int views)
{
    int columns = 1;
    while (columns * columns < views)
        columns++;
    return columns;
}

/* All views into `sheet`, [rows][side][width][3] of white. */
static int draw_views(const struct options *o, moco_augment *augment, const moco_tensor *image, uint8_t *sheet,
                      size_t width, int columns)
{
    size_t row = (size_t)o->size * 3;
    moco_tensor view;
    moco_tensor_init(&view);
    view.dtype = MOCO_U8;
    view.ndim = 3;
    view.shape[0] = view.shape[1] = o->size;
    view.shape[2] = 3;
    view.data = malloc(row * (size_t)o->size);
    int status = view.data == NULL;
    for (int i = 0; i < o->views && !status; i++) {
        moco_view_params params;
        moco_view_params_init(&params);
        if (moco_augment_draw(augment, (int)image->shape[1], (int)image->shape[0], o->seed, 0, i, 0, &params) !=
                MOCO_OK ||
            moco_augment_apply(augment, image, &params, &view) != MOCO_OK) {
            status = failed("view");
            break;
        }
        print_view(i, &params);
        size_t top = (size_t)(GAP + i / columns * (o->size + GAP)),
               left = (size_t)(GAP + i % columns * (o->size + GAP));
        for (int y = 0; y < o->size; y++)
            memcpy(sheet + ((top + (size_t)y) * width + left) * 3, (const uint8_t *)view.data + (size_t)y * row, row);
    }
    free(view.data);
    return status;
}

/* png_image_write_to_file removes a file that it could not write, even a device or a link of somebody else. */
static int write_png(const char *path, png_image *png, const uint8_t *sheet)
{
    FILE *file = fopen(path, "wb");
    int made = file != NULL && png_image_write_to_stdio(png, file, 0, sheet, 0, NULL);
    if (file != NULL && fclose(file) != 0)
        made = 0;
    if (!made)
        fprintf(stderr, "%s: %s cannot be written: %s\n", program_name("show_views"), path,
                png->message[0] != 0 ? png->message : strerror(errno));
    return !made;
}

static int write_sheet(const struct options *o, moco_augment *augment, const moco_tensor *image)
{
    int columns = columns_for(o->views), rows = (o->views + columns - 1) / columns;
    size_t width = (size_t)(GAP + columns * (o->size + GAP)), height = (size_t)(GAP + rows * (o->size + GAP));
    uint8_t *sheet = malloc(width * height * 3);
    if (sheet == NULL) {
        fprintf(stderr, "%s: no memory for a sheet of %zu x %zu\n", program_name("show_views"), width, height);
        return 1;
    }
    memset(sheet, 255, width * height * 3);
    int status = draw_views(o, augment, image, sheet, width, columns);
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    if (!status)
        status = write_png(o->out, &png, sheet);
    if (!status)
        printf("%s: %d views of %s, recipe %s, %zu x %zu pixels\n", o->out, o->views, o->picture, o->recipe, width,
               height);
    free(sheet);
    return status;
}

/* As train_imagenet --augment. */
static moco_status change_recipe(moco_augment_options *recipe, const char *given)
{
    char text[AUGMENT_TEXT];
    struct err err = {0};
    moco_status status = augment_text_settle(given, text, &err);
    if (status == MOCO_OK)
        status = augment_text_apply(recipe, text, &err);
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", program_name("show_views"), err.text);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.recipe = "moco-v2", .augment = "", .views = 24, .size = 160};
    program_start();
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        program_help(help, stdout);
        return program_printed(program_name("show_views"));
    }
    int status = parse(&o, argc, argv);
    if (status != 0)
        return status;
    moco_context *context = NULL;
    moco_image *image = NULL;
    moco_augment *augment = NULL;
    moco_augment_options recipe;
    moco_tensor pixels;
    moco_tensor_init(&pixels);
    if (moco_augment_options_preset(&recipe, o.recipe, o.size) != MOCO_OK)
        status = failed("recipe");
    else if (change_recipe(&recipe, o.augment) != MOCO_OK)
        status = 1;
    else if (moco_context_create(&context, NULL) != MOCO_OK ||
             moco_image_read(&image, context, o.picture, 0) != MOCO_OK || moco_image_pixels(image, &pixels) != MOCO_OK)
        status = failed("picture");
    else if (moco_augment_create(&augment, context, &recipe) != MOCO_OK)
        status = failed("recipe");
    else
        status = write_sheet(&o, augment, &pixels);
    moco_augment_free(augment);
    moco_image_free(image);
    moco_context_free(context);
    return status;
}
