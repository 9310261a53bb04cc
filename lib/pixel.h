/* SPDX-License-Identifier: MIT
 *
 * pixel: the arithmetic of views, for every device that makes them: Pillow's resize in 22-bit fixed point, its enhancers,
 * HSV and box blur, pixel by pixel. Read by C, C++ and nvcc, so that the bytes are the same wherever a view is made, and
 * what is done to a picture is one struct of numbers. What a reader would get wrong: which product is rounded to float and
 * which stays double is part of the format, and so is every truncation. Whoever includes this is compiled without
 * contraction to fma (-ffp-contract=off, -fmad=false). */
#ifndef MOCO_LIB_PIXEL_H
#define MOCO_LIB_PIXEL_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define PIXEL_FN static __device__ __forceinline__
#else
#define PIXEL_FN static inline
#endif

enum {
    PIXEL_BITS = 22,      /* fraction bits of a resampling weight: 32 - 8 - 2, as in Pillow */
    PIXEL_SIDE_MAX = 4096 /* of a view */
};

/* ---- what is done to a picture ---- */

enum pixel_kind {
    PIXEL_BLEND, /* towards the grey `constant`: brightness is towards black */
    PIXEL_MEAN,  /* towards the mean luma of the view as it is by then: contrast */
    PIXEL_LUMA,  /* towards the pixel's own luma: saturation */
    PIXEL_HUE,   /* turn the hue by `constant` of 256 steps */
    PIXEL_GREY   /* the luma, three times */
};

enum { PIXEL_STEPS = 5 }; /* brightness, contrast, saturation, hue and grey */

struct pixel_step {
    int32_t kind, constant; /* enum pixel_kind */
    float factor;           /* of the blends: 1 is "as it is" */
};

/* A view: of which picture, and how it is made. Crop, resize, flip; then the steps in turn; then the blur. */
struct pixel_view {
    int32_t picture;    /* number in a set; not looked at where the picture is given */
    int32_t x, y, w, h; /* crop box in the picture */
    int32_t rw, rh;     /* the box is resized to this ... */
    int32_t ox, oy;     /* ... and the view starts here in it */
    int32_t cubic;      /* the filter: 0: triangle, 1: Keys' cubic */
    int32_t flip;       /* left and right are exchanged */
    int32_t step_count;
    struct pixel_step step[PIXEL_STEPS];
    int32_t radius;         /* of the blur's boxes, whole pixels; -1: no blur */
    uint32_t inside, edges; /* weights of a box, of 2^24: of each whole pixel, of the two it has a part of */
};

/* ---- resize ---- */

/* The filter of an axis on which `in` samples become `out`. */
struct pixel_filter {
    double scale, stretch, support;
    int32_t cubic, in;
};

PIXEL_FN struct pixel_filter pixel_filter_make(int32_t cubic, int32_t in, int32_t out)
{
    struct pixel_filter f;
    f.scale = (double)in / out;
    f.stretch = f.scale < 1 ? 1 : f.scale;
    f.support = cubic ? 2 * f.stretch : f.stretch;
    f.cubic = cubic;
    f.in = in;
    return f;
}

/* Room for the taps of any output. */
PIXEL_FN int32_t pixel_filter_width(const struct pixel_filter *f)
{
    return (int32_t)ceil(f->support) * 2 + 1;
}

/* The samples [*low, *low + count) of which output `at` is made; returns the count. Resample.c, precompute_coeffs. */
PIXEL_FN int32_t pixel_filter_span(const struct pixel_filter *f, int32_t at, int32_t *low)
{
    double centre = (at + 0.5) * f->scale;
    int32_t first = (int32_t)(centre - f->support + 0.5), end = (int32_t)(centre + f->support + 0.5);
    *low = first < 0 ? 0 : first;
    return (end > f->in ? f->in : end) - *low;
}

/* The weight of sample low + t, before all are divided by their sum (bilinear_filter and bicubic_filter, a = -0.5). */
PIXEL_FN double pixel_filter_weight(const struct pixel_filter *f, int32_t at, int32_t low, int32_t t)
{
    double centre = (at + 0.5) * f->scale;
    double d = fabs((t + low - centre + 0.5) * (1.0 / f->stretch));
    if (!f->cubic)
        return d < 1 ? 1 - d : 0;
    if (d < 1)
        return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0;
}

/* normalize_coeffs_8bpc. Cubic weights may be negative; they round away from zero like the others. */
PIXEL_FN int32_t pixel_filter_tap(double weight, double total)
{
    double part = total != 0 ? weight / total : weight;
    return (int32_t)((part < 0 ? -0.5 : 0.5) + part * (1 << PIXEL_BITS));
}

enum { PIXEL_HALF = 1 << (PIXEL_BITS - 1) }; /* what a sum of samples times taps begins with */

PIXEL_FN uint8_t pixel_clip(int32_t sum)
{
    int32_t value = sum >> PIXEL_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* ---- colour: integers 0..255 ---- */

struct pixel_rgb {
    int32_t r, g, b;
};

PIXEL_FN int32_t pixel_luma(int32_t r, int32_t g, int32_t b)
{
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
}

PIXEL_FN int32_t pixel_blend(int32_t from, int32_t to, float factor)
{
    int32_t value = (int32_t)((float)from + factor * (float)(to - from));
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

/* yes if mask is -1, no if it is 0: a choice the compiler makes no branch of. */
PIXEL_FN int32_t pixel_choose(int32_t mask, int32_t yes, int32_t no)
{
    return (yes & mask) | (no & ~mask);
}

/* RGB -> 8-bit HSV -> hue + turn (mod 256) -> RGB as Pillow's Convert.c does it, which mixes float and double. Here all
 * is float: every step was compared with Pillow's over all its inputs and gives the same bytes. On the way forward the
 * order of roundings matters: h is one float sum, h / 6 and its wrap are two more, and the product with 255, which
 * Pillow forms exactly, is corrected where rounding lifted it to the next integer. */
PIXEL_FN struct pixel_rgb pixel_turn_hue(struct pixel_rgb c, int32_t turn)
{
    int32_t r = c.r, g = c.g, b = c.b;
    int32_t most = r > g ? r : g, least = r < g ? r : g;
    most = most > b ? most : b;
    least = least < b ? least : b;
    int32_t range = most - least, flat = -(range == 0), middle = r + g + b - most - least;
    float m = (float)(most - middle) / (float)(range - flat);
    /* red on top: h = m - 1 over blue, 1 - m over green; green: 1 + m, 3 - m; blue: 3 + m, 5 - m */
    int32_t red = -(r == most), green = -(g == most) & ~red;
    int32_t plus = pixel_choose(red, -(g == least), pixel_choose(green, -(b == least), -(r == least)));
    int32_t base = pixel_choose(red, 1, pixel_choose(green, 3, 5)) + (plus & -2);
    float h = (float)base + m * (float)(1 | ~plus), sixth = h / 6.0f;
    float wrap = (float)(h < 0.0f), whole = sixth + wrap;
    int32_t uh = (int32_t)(whole * 255.0f);
    uh -= whole * 256.0f - (float)uh < whole;
    uh = ((uh & ~flat) + turn) & 255;
    float fs = (float)(int32_t)((float)range / (float)(most + (most == 0)) * 255.0f) / 255.0f;

    int32_t position = uh * 6; /* uh 255 is the end of the last sector, which is the start of the first */
    int32_t sector =
        (position >= 255) + (position >= 510) + (position >= 765) + (position >= 1020) + (position >= 1275);
    float f = (float)(position - 255 * sector) / 255.0f, v = (float)most;
    int32_t lo = (int32_t)(v * (1.0f - fs) + 0.5f);
    int32_t fall = (int32_t)(v * (1.0f - fs * f) + 0.5f);
    int32_t rise = (int32_t)(v * (1.0f - fs * (1.0f - f)) + 0.5f);
    int32_t s0 = -(sector == 0), s1 = -(sector == 1), s2 = -(sector == 2), s3 = -(sector == 3), s4 = -(sector == 4);
    int32_t s5 = -(sector == 5);
    c.r = (most & (s0 | s5)) | (fall & s1) | (lo & (s2 | s3)) | (rise & s4);
    c.g = (most & (s1 | s2)) | (fall & s3) | (lo & (s4 | s5)) | (rise & s0);
    c.b = (most & (s3 | s4)) | (fall & s5) | (lo & (s0 | s1)) | (rise & s2);
    return c;
}

/* What PIXEL_MEAN blends towards. */
PIXEL_FN int32_t pixel_mean(double sum_of_lumas, double pixels)
{
    return (int32_t)(sum_of_lumas / pixels + 0.5);
}

/* ---- blur ---- */

/* One pixel of one box pass: `sum` of 2 radius + 1 pixels, `ends` of the two beside them. */
PIXEL_FN uint8_t pixel_box(uint32_t sum, uint32_t ends, uint32_t inside, uint32_t edges)
{
    return (uint8_t)((sum * inside + ends * edges + (1u << 23)) >> 24);
}

#endif
