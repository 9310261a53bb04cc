/* SPDX-License-Identifier: MIT
 *
 * tool_view: libmoco's decoder and augmentation as a filter, for test_pillow.py. Each line of standard input is one of
 *   decode PATH                       -> "W H\n" and W*H*3 bytes of RGB, or "ERROR reason\n"
 *   part x y w h PATH                 -> "W H\n": only this part is decoded, as for a loader whose views show no more
 *   view LEVEL SIZE x y w h rw rh ox oy jitter op[4] factor[4] skip[4] grey grey_first sigma flip cubic
 *                                     -> SIZE*SIZE*3 bytes: the parameters applied to the picture decoded last
 * LEVEL names the instruction set; "level N" answers its name, or "-". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode/decode.h"
#include "data/view/augment.h"
#include "data/view/view_kernels.h"

static void decode(struct decoder *decoder, const char *path, struct image *image)
{
    struct err err = {0};
    if (decode_file(decoder, path, image, &err) != MOCO_OK) {
        printf("ERROR %s\n", err.text);
        return;
    }
    printf("%d %d\n", image->w, image->h);
    fwrite(image->pixels, 3, (size_t)image->w * (size_t)image->h, stdout);
}

static moco_status wish(void *user, int w, int h, struct image_box *box, struct err *err)
{
    (void)w;
    (void)h;
    (void)err;
    *box = *(const struct image_box *)user;
    return MOCO_OK;
}

static int part(struct decoder *decoder, const char *text, struct image *image)
{
    struct image_box box;
    int used = 0;
    struct err err = {0};
    if (sscanf(text, "%d %d %d %d %n", &box.x, &box.y, &box.w, &box.h, &used) != 4)
        return 0;
    decoder->wish = wish;
    decoder->wish_user = &box;
    moco_status status = decode_file(decoder, text + used, image, &err);
    decoder->wish = NULL;
    if (status == MOCO_OK)
        printf("%d %d\n", image->w, image->h);
    else
        printf("ERROR %s\n", err.text);
    return 1;
}

static int view(const char *text, const struct image *image, struct augment_scratch *scratch)
{
    struct augment_params p = {0};
    char level[32];
    int size;
    int got = sscanf(text, "%31s %d %d %d %d %d %d %d %d %d %d %d %d %d %d %lf %lf %lf %lf %d %d %d %d %d %d %lf %d %d",
                     level, &size, &p.x, &p.y, &p.w, &p.h, &p.rw, &p.rh, &p.ox, &p.oy, &p.jitter, &p.op[0], &p.op[1],
                     &p.op[2], &p.op[3], &p.factor[0], &p.factor[1], &p.factor[2], &p.factor[3], &p.skip[0], &p.skip[1],
                     &p.skip[2], &p.skip[3], &p.grey, &p.grey_first, &p.sigma, &p.flip, &p.interpolation);
    if (got != 28)
        return 0;
    const struct view_kernels *kernels;
    for (int i = 0; (kernels = view_kernels_level(i)) != NULL && strcmp(kernels->name, level) != 0; i++) {
    }
    uint8_t *out = malloc((size_t)size * (size_t)size * 3);
    struct err err = {0};
    if (kernels == NULL || out == NULL)
        return 0;
    scratch->kernels = kernels;
    int good = augment_apply(&p, image, size, scratch, out, &err) == MOCO_OK;
    fwrite(out, 3, (size_t)size * (size_t)size, stdout);
    free(out);
    return good;
}

int main(void)
{
    struct ctx *ctx;
    struct err err = {0};
    if (ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err) != MOCO_OK)
        return 1;
    struct decoder decoder;
    struct augment_scratch scratch;
    struct image image = {0};
    decoder_init(&decoder, ctx, DECODE_MAX_PIXELS, NULL);
    augment_scratch_init(&scratch, ctx);
    static char line[8192];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "decode ", 7) == 0) {
            decode(&decoder, line + 7, &image);
        } else if (strncmp(line, "level ", 6) == 0) {
            const struct view_kernels *kernels = view_kernels_level(atoi(line + 6));
            printf("%s\n", kernels != NULL ? kernels->name : "-");
        } else if (strncmp(line, "part ", 5) == 0 && part(&decoder, line + 5, &image)) {
        } else if (strncmp(line, "view ", 5) != 0 || !view(line + 5, &image, &scratch)) {
            fprintf(stderr, "bad line: %s\n", line);
            return 1;
        }
        fflush(stdout);
    }
    augment_scratch_free(&scratch);
    decoder_free(&decoder);
    ctx_unref(ctx);
    return 0;
}
