/* SPDX-License-Identifier: MIT
 *
 * left_out: see left_out.h. */
#include "left_out.h"

#include <stdio.h>
#include <string.h>

/* An extension of pictures that libmoco does not read. */
static int is_foreign_picture(const char *extension)
{
    static const char *const known[] = {".bmp", ".gif", ".tif", ".tiff", ".heic",  ".heif", ".avif", ".jxl",
                                        ".jp2", ".j2k", ".ppm", ".pgm",  ".pnm",   ".dng",  ".cr2",  ".nef",
                                        ".raw", ".tga", ".svg", ".jpg_", ".jpeg_", NULL};
    for (int i = 0; known[i] != NULL; i++)
        if (strcmp(extension, known[i]) == 0)
            return 1;
    return 0;
}

/* "20 .tiff, 8 .bmp" of those that `wanted` is true for (NULL: of all); returns how many. */
static int64_t list(const moco_dataset *set, int (*wanted)(const char *extension), char text[200])
{
    const char *extension;
    int64_t count, all = 0;
    text[0] = 0;
    for (int i = 0; (extension = moco_dataset_left_out(set, i, &count)) != NULL; i++) {
        char one[48];
        size_t used = strlen(text);
        if (wanted != NULL && !wanted(extension))
            continue;
        all += count;
        snprintf(one, sizeof one, "%lld %.20s", (long long)count, extension[0] != 0 ? extension : "without ending");
        if (used + strlen(one) + 8 < 200)
            snprintf(text + used, 200 - used, "%s%s", used > 0 ? ", " : "", one);
        else if (strcmp(text + used - 3, "...") != 0)
            snprintf(text + used, 200 - used, ", ...");
    }
    return all;
}

void left_out_text(const moco_dataset *set, char *text, size_t size)
{
    char what[200];
    int64_t all = list(set, NULL, what);
    text[0] = 0;
    if (all > 0)
        snprintf(text, size, "%lld files: %s", (long long)all, what);
}

int64_t left_out_pictures(const moco_dataset *set, const char *where, char *sentence, size_t size)
{
    char what[200];
    int64_t pictures = list(set, is_foreign_picture, what);
    if (pictures > 0)
        snprintf(sentence, size,
                 "%lld pictures in %.150s are left out (%s), beside the %lld that are read; libmoco reads .jpg .jpeg "
                 ".jpe .jfif .png and .webp: convert them",
                 (long long)pictures, where, what, (long long)moco_dataset_count(set));
    return pictures;
}
