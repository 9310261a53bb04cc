/* SPDX-License-Identifier: MIT
 *
 * augment_draw: the random part of a view. What a reader would get wrong: every number below is drawn whether or not
 * it is used, and the crop, the only draw that depends on the size of the image, comes last. A change of a
 * probability or of the picture's size therefore changes no other decision. The order is fixed by
 * docs/randomness.md, "Augmentation". */
#include <math.h>
#include <string.h>

#include "augment.h"

enum { CROP_ATTEMPTS = 10, CROP_ATTEMPTS_MAX = 1000, STRENGTH_MAX = 100, SIGMA_MAX = 100 };
/* What a side can become: see centre_crop. */
enum { RESIZED_MAX = 16 * AUGMENT_SIZE_MAX };

static const char *const recipe_names =
    "moco-v1, moco-v2, cifar10, demo, simclr, simclr-cifar10, eval, simclr-eval, none";

static int is_range(const double range[2], double least, double most)
{
    return range[0] >= least && range[0] <= range[1] && range[1] <= most; /* false for NaN too */
}

static int is_probability(double p)
{
    return p >= 0 && p <= 1;
}

static moco_status check_probabilities(const moco_augment_options *o, struct err *err)
{
    if (!is_probability(o->jitter_p))
        return err_set(err, MOCO_EINVAL, "augmentation: jitter_p must be 0 to 1");
    if (!is_probability(o->grey_p))
        return err_set(err, MOCO_EINVAL, "augmentation: grey_p must be 0 to 1");
    if (!is_probability(o->blur_p))
        return err_set(err, MOCO_EINVAL, "augmentation: blur_p must be 0 to 1");
    if (!is_probability(o->flip_p))
        return err_set(err, MOCO_EINVAL, "augmentation: flip_p must be 0 to 1");
    return MOCO_OK;
}

static moco_status check_crop(const moco_augment_options *o, struct err *err)
{
    if (o->crop < AUGMENT_CROP_NONE || o->crop > AUGMENT_CROP_MIDDLE)
        return err_set(err, MOCO_EINVAL,
                       "augmentation: crop is %d; it must be 0 (none), 1 (random), 2 (resize and centre) or 3 (middle)",
                       o->crop);
    if (o->crop == AUGMENT_CROP_RANDOM && !(is_range(o->scale, 0, 1) && o->scale[1] > 0))
        return err_set(err, MOCO_EINVAL, "augmentation: scale must be two numbers with 0 <= first <= second <= 1");
    if (o->crop == AUGMENT_CROP_RANDOM && !(is_range(o->ratio, 1e-3, 1e3)))
        return err_set(err, MOCO_EINVAL,
                       "augmentation: ratio must be two numbers with 0.001 <= first <= second <= 1000");
    if (o->crop == AUGMENT_CROP_CENTRE && (o->resize < o->size || o->resize > AUGMENT_SIZE_MAX))
        return err_set(err, MOCO_EINVAL, "augmentation: resize is %d; it must be at least size, %d, and at most %d",
                       o->resize, o->size, AUGMENT_SIZE_MAX);
    if (o->crop == AUGMENT_CROP_MIDDLE && !(o->centre_part > 0 && o->centre_part <= 1))
        return err_set(err, MOCO_EINVAL, "augmentation: centre_part must be above 0 and at most 1");
    if (o->crop_attempts < 0 || o->crop_attempts > CROP_ATTEMPTS_MAX)
        return err_set(err, MOCO_EINVAL, "augmentation: crop_attempts is %d; it must be 1 to %d, or 0 for %d",
                       o->crop_attempts, CROP_ATTEMPTS_MAX, CROP_ATTEMPTS);
    if (o->interpolation != AUGMENT_BILINEAR && o->interpolation != AUGMENT_BICUBIC)
        return err_set(err, MOCO_EINVAL, "augmentation: interpolation is %d; it must be 0 (bilinear) or 1 (bicubic)",
                       o->interpolation);
    return MOCO_OK;
}

moco_status augment_check(const moco_augment_options *o, struct err *err)
{
    if (o->size < 1 || o->size > AUGMENT_SIZE_MAX)
        return err_set(err, MOCO_EINVAL, "augmentation: size is %d; it must be 1 to %d", o->size, AUGMENT_SIZE_MAX);
    TRY(check_crop(o, err));
    TRY(check_probabilities(o, err));
    const double strength[3] = {o->brightness, o->contrast, o->saturation};
    for (int i = 0; i < 3; i++)
        if (!(strength[i] >= 0 && strength[i] <= STRENGTH_MAX))
            return err_set(err, MOCO_EINVAL, "augmentation: brightness, contrast and saturation must be 0 to %d",
                           STRENGTH_MAX);
    if (!(o->hue >= 0 && o->hue <= 0.5))
        return err_set(err, MOCO_EINVAL, "augmentation: hue must be 0 to 0.5");
    if (o->blur_p > 0 && !is_range(o->blur_sigma, 0, SIGMA_MAX))
        return err_set(err, MOCO_EINVAL, "augmentation: blur_sigma must be two numbers with 0 <= first <= second <= %d",
                       SIGMA_MAX);
    if (o->grey_first != 0 && o->grey_first != 1)
        return err_set(err, MOCO_EINVAL, "augmentation: grey_first is %d; it must be 0 or 1", o->grey_first);
    return MOCO_OK;
}

moco_status augment_without_chance(moco_augment_options *o, struct err *err)
{
    TRY(augment_check(o, err));
    const char *drawn = o->crop == AUGMENT_CROP_RANDOM ? "crop 1"
                        : o->jitter_p > 0              ? "jitter_p"
                        : o->grey_p > 0                ? "grey_p"
                        : o->blur_p > 0                ? "blur_p"
                        : o->flip_p > 0                ? "flip_p"
                                                       : NULL;
    if (drawn != NULL)
        return err_set(err, MOCO_EINVAL, "augmentation: a recipe to evaluate with draws nothing at random, and %s does",
                       drawn);
    *o = (moco_augment_options){.struct_size = o->struct_size,
                                .size = o->size,
                                .crop = o->crop,
                                .resize = o->crop == AUGMENT_CROP_CENTRE ? o->resize : 0,
                                .centre_part = o->crop == AUGMENT_CROP_MIDDLE ? o->centre_part : 0,
                                .interpolation = o->interpolation};
    return MOCO_OK;
}

moco_status augment_params_check(const struct augment_params *p, int w, int h, int size, struct err *err)
{
    if (p->x < 0 || p->y < 0 || p->w < 1 || p->h < 1 || p->w > w - p->x || p->h > h - p->y)
        return err_set(err, MOCO_EINVAL, "crop %d x %d at %d, %d is not inside the picture of %d x %d", p->w, p->h,
                       p->x, p->y, w, h);
    if (p->rw < 1 || p->rh < 1 || p->rw > RESIZED_MAX || p->rh > RESIZED_MAX)
        return err_set(err, MOCO_EINVAL, "resize is %d x %d; each must be 1 to %d", p->rw, p->rh, RESIZED_MAX);
    if (p->ox < 0 || p->oy < 0 || p->ox > p->rw - size || p->oy > p->rh - size)
        return err_set(err, MOCO_EINVAL, "a view of %d at offset %d, %d is not inside the resized %d x %d", size, p->ox,
                       p->oy, p->rw, p->rh);
    int seen = 0;
    for (int i = 0; i < 4; i++)
        seen |= p->op[i] >= 0 && p->op[i] < 4 ? 1 << p->op[i] : 0;
    if (seen != 15)
        return err_set(err, MOCO_EINVAL, "order is %d, %d, %d, %d; it must hold 0 to 3 once each", p->op[0], p->op[1],
                       p->op[2], p->op[3]);
    for (int i = 0; i < 3; i++)
        if (!(p->factor[i] >= 0 && p->factor[i] <= 1 + STRENGTH_MAX))
            return err_set(err, MOCO_EINVAL, "factor[%d] must be 0 to %d", i, 1 + STRENGTH_MAX);
    if (!(p->factor[AUGMENT_HUE] >= -0.5 && p->factor[AUGMENT_HUE] <= 0.5))
        return err_set(err, MOCO_EINVAL, "factor[3], the hue, must be -0.5 to 0.5");
    if (!(p->sigma >= 0 && p->sigma <= SIGMA_MAX))
        return err_set(err, MOCO_EINVAL, "sigma must be 0 to %d", SIGMA_MAX);
    return MOCO_OK;
}

static double between(struct rng *rng, double low, double high)
{
    return low + (high - low) * rng_uniform(rng);
}

/* Python's round(): halves to even, whatever the rounding mode of the host. x >= 0. */
static double round_even(double x)
{
    double down = floor(x), part = x - down;
    if (part > 0.5 || (part == 0.5 && fmod(down, 2) != 0))
        down += 1;
    return down;
}

void augment_params_recipe(const moco_augment_options *o, struct augment_params *p)
{
    p->skip[AUGMENT_BRIGHTNESS] = o->brightness == 0;
    p->skip[AUGMENT_CONTRAST] = o->contrast == 0;
    p->skip[AUGMENT_SATURATION] = o->saturation == 0;
    p->skip[AUGMENT_HUE] = o->hue == 0;
    p->grey_first = o->grey_first;
    p->interpolation = o->interpolation;
}

/* Draws every number in a fixed order, also those that a view does not use: what a view looks like does not depend on
 * the other options. */
static void draw_colours(const moco_augment_options *o, struct rng *rng, struct augment_params *p)
{
    const double strength[3] = {o->brightness, o->contrast, o->saturation};
    augment_params_recipe(o, p);
    p->jitter = rng_uniform(rng) < o->jitter_p;
    for (int i = 0; i < 4; i++)
        p->op[i] = i;
    for (int i = 3; i > 0; i--) {
        int j = (int)rng_below(rng, (uint64_t)i + 1), held = p->op[i];
        p->op[i] = p->op[j];
        p->op[j] = held;
    }
    for (int i = 0; i < 3; i++)
        p->factor[i] = between(rng, strength[i] < 1 ? 1 - strength[i] : 0, 1 + strength[i]);
    p->factor[AUGMENT_HUE] = between(rng, -o->hue, o->hue);
    p->grey = rng_uniform(rng) < o->grey_p;
    int blur = rng_uniform(rng) < o->blur_p;
    double sigma = between(rng, o->blur_sigma[0], o->blur_sigma[1]);
    p->sigma = blur ? sigma : 0;
    p->flip = rng_uniform(rng) < o->flip_p;
}

/* torchvision's RandomResizedCrop.get_params: some tries, then the largest centred box within the ratios. */
static void draw_crop(const moco_augment_options *o, int w, int h, struct rng *rng, struct augment_params *p)
{
    double area = (double)w * h, low = log(o->ratio[0]), high = log(o->ratio[1]);
    int attempts = o->crop_attempts > 0 ? o->crop_attempts : CROP_ATTEMPTS;
    for (int i = 0; i < attempts; i++) {
        double target = area * between(rng, o->scale[0], o->scale[1]);
        double ratio = exp(between(rng, low, high));
        double cw = round_even(sqrt(target * ratio)), ch = round_even(sqrt(target / ratio));
        if (cw > 0 && cw <= w && ch > 0 && ch <= h) {
            p->w = (int)cw;
            p->h = (int)ch;
            p->y = (int)rng_below(rng, (uint64_t)(h - p->h) + 1);
            p->x = (int)rng_below(rng, (uint64_t)(w - p->w) + 1);
            return;
        }
    }
    double ratio = (double)w / h;
    p->w = w;
    p->h = h;
    if (ratio < o->ratio[0])
        p->h = (int)round_even(w / o->ratio[0]);
    else if (ratio > o->ratio[1])
        p->w = (int)round_even(h * o->ratio[1]);
    /* torchvision would crop an empty box out of 1 x 2000; one row of it is the nearest thing that exists */
    p->w = p->w < 1 ? 1 : p->w > w ? w : p->w;
    p->h = p->h < 1 ? 1 : p->h > h ? h : p->h;
    p->x = (w - p->w) / 2;
    p->y = (h - p->h) / 2;
}

/* torchvision's Resize(resize) and CenterCrop(size). */
static void centre_crop(const moco_augment_options *o, int w, int h, struct augment_params *p)
{
    int shorter = w < h ? w : h, longer = w < h ? h : w;
    int64_t scaled = (int64_t)((double)o->resize * longer / shorter);
    /* A strip of 1 x 60000 would become 256 x 15 million: only the middle of it can reach the view. */
    p->w = w;
    p->h = h;
    if (scaled > RESIZED_MAX) {
        int keep = 16 * shorter;
        p->x = w < h ? 0 : (w - keep) / 2;
        p->y = w < h ? (h - keep) / 2 : 0;
        p->w = w < h ? w : keep;
        p->h = w < h ? keep : h;
        scaled = 16 * (int64_t)o->resize;
    }
    p->rw = w < h ? o->resize : (int)scaled;
    p->rh = w < h ? (int)scaled : o->resize;
    p->ox = (int)round_even((p->rw - o->size) / 2.0);
    p->oy = (int)round_even((p->rh - o->size) / 2.0);
}

/* SimCLR's centre crop: a square in the middle, later resized. A part that rounds to nothing is one pixel. */
static void middle_crop(const moco_augment_options *o, int w, int h, struct augment_params *p)
{
    int side = (int)round_even(o->centre_part * (w < h ? w : h));
    p->w = p->h = side < 1 ? 1 : side;
    p->x = (w - p->w + 1) / 2;
    p->y = (h - p->h + 1) / 2;
}

moco_status augment_draw(const moco_augment_options *o, int w, int h, struct rng *rng, struct augment_params *p,
                         struct err *err)
{
    memset(p, 0, sizeof *p);
    draw_colours(o, rng, p);
    p->rw = p->rh = o->size;
    if (o->crop == AUGMENT_CROP_RANDOM) {
        draw_crop(o, w, h, rng, p);
    } else if (o->crop == AUGMENT_CROP_CENTRE) {
        centre_crop(o, w, h, p);
    } else if (o->crop == AUGMENT_CROP_MIDDLE) {
        middle_crop(o, w, h, p);
    } else {
        if (w != o->size || h != o->size)
            return err_set(err, MOCO_ESHAPE,
                           "the image is %d x %d and the recipe, which does not crop, makes views of %d x %d", w, h,
                           o->size, o->size);
        p->w = w;
        p->h = h;
    }
    return MOCO_OK;
}

struct image_box augment_shown(const struct augment_params *params, int count)
{
    int left = params->x, top = params->y, right = params->x + params->w, bottom = params->y + params->h;
    for (int v = 1; v < count; v++) {
        const struct augment_params *p = &params[v];
        left = p->x < left ? p->x : left;
        top = p->y < top ? p->y : top;
        right = p->x + p->w > right ? p->x + p->w : right;
        bottom = p->y + p->h > bottom ? p->y + p->h : bottom;
    }
    return (struct image_box){left, top, right - left, bottom - top};
}

static void set_crop(moco_augment_options *o, double least, double flip)
{
    o->crop = AUGMENT_CROP_RANDOM;
    o->scale[0] = least;
    o->scale[1] = 1;
    o->ratio[0] = 3.0 / 4.0;
    o->ratio[1] = 4.0 / 3.0;
    o->flip_p = flip;
}

static void set_jitter(moco_augment_options *o, double p, double strength, double hue, double grey)
{
    o->jitter_p = p;
    o->brightness = o->contrast = o->saturation = strength;
    o->hue = hue;
    o->grey_p = grey;
}

static void set_blur(moco_augment_options *o)
{
    o->blur_p = 0.5;
    o->blur_sigma[0] = 0.1;
    o->blur_sigma[1] = 2.0;
}

/* google-research/simclr, data_util.py: colour distortion of strength s, 100 tries to find a crop, bicubic. */
static void set_simclr(moco_augment_options *o, double s)
{
    set_crop(o, 0.08, 0.5);
    set_jitter(o, 0.8, 0.8 * s, 0.2 * s, 0.2);
    o->interpolation = AUGMENT_BICUBIC;
    o->crop_attempts = 100;
}

moco_status augment_recipe(moco_augment_options *o, const char *name, int size, struct err *err)
{
    uint32_t struct_size = o->struct_size;
    memset(o, 0, sizeof *o);
    o->struct_size = struct_size;
    o->size = size;
    if (strcmp(name, "moco-v1") == 0) { /* main_moco.py: grey, then jitter always, hue as strong as the rest */
        set_crop(o, 0.2, 0.5);
        set_jitter(o, 1.0, 0.4, 0.4, 0.2);
        o->grey_first = 1;
    } else if (strcmp(name, "moco-v2") == 0) { /* main_moco.py --aug-plus */
        set_crop(o, 0.2, 0.5);
        set_jitter(o, 0.8, 0.4, 0.1, 0.2);
        set_blur(o);
    } else if (strcmp(name, "cifar10") == 0) { /* the notebook flips before the jitter: the pixels are the same */
        set_crop(o, 0.08, 0.5);
        set_jitter(o, 0.8, 0.4, 0.1, 0.2);
    } else if (strcmp(name, "demo") == 0) {
        set_crop(o, 0.5, 0.5);
        set_jitter(o, 0.8, 0.4, 0.1, 0.2);
    } else if (strcmp(name, "simclr") == 0) {
        set_simclr(o, 1.0);
        set_blur(o);
    } else if (strcmp(name, "simclr-cifar10") == 0) {
        set_simclr(o, 0.5);
    } else if (strcmp(name, "simclr-eval") == 0) {
        o->crop = AUGMENT_CROP_MIDDLE;
        o->centre_part = 0.875;
        o->interpolation = AUGMENT_BICUBIC;
    } else if (strcmp(name, "eval") == 0) {
        o->crop = AUGMENT_CROP_CENTRE;
        o->resize = (int32_t)(((int64_t)size * 256 + 112) / 224);
    } else if (strcmp(name, "none") != 0) {
        return err_set(err, MOCO_ENOTFOUND, "no augmentation recipe \"%s\"; there are %s", name, recipe_names);
    }
    return augment_check(o, err);
}
