/* SPDX-License-Identifier: MIT
 *
 * tool_draw: pictures for the scripts here: tool_draw FOLDER COUNT SIDE [jpg] writes COUNT PNG (or JPEG) files, train/0
 * to train/2 in turn, and a third as many below test/. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/draw_image.h"
#include "support/scratch_folder.h"

int main(int argc, char **argv)
{
    int jpeg = argc == 5 && strcmp(argv[4], "jpg") == 0;
    if (argc != 4 && !jpeg)
        return 2;
    int count = atoi(argv[2]), side = atoi(argv[3]);
    struct scratch_folder folder;
    uint8_t *pixels = malloc((size_t)side * (size_t)side * 3);
    if (pixels == NULL)
        return 1;
    snprintf(folder.path, sizeof folder.path, "%s", argv[1]);
    for (int i = 0; i < count + count / 3; i++) {
        char name[64];
        draw_pixels(pixels, side, side, i);
        struct bytes file =
            jpeg ? draw_jpeg(pixels, side, side, (struct jpeg_kind){.components = 3})
                 : draw_png(pixels, (size_t)side * 3, side, side, (struct png_kind){.color_type = 2, .depth = 8});
        snprintf(name, sizeof name, "%s/%d/%03d.%s", i < count ? "train" : "test", i % 3, i, jpeg ? "jpg" : "png");
        scratch_write(&folder, name, file.at, file.size);
        free(file.at);
    }
    free(pixels);
    return 0;
}
