/* SPDX-License-Identifier: MIT
 *
 * gallery: gallery.json of a run folder: what an encoder makes of some images, ready to be drawn without the data
 * set: a map of embeddings, their spectrum, nearest neighbours, and the views that training sees. All of it is
 * checked when it is read, because the file may come from anywhere. */
#ifndef MOCO_EXAMPLES_GALLERY_H
#define MOCO_EXAMPLES_GALLERY_H

#include <stdint.h>

#include "err.h"

#define GALLERY_NEIGHBOURS 5
#define GALLERY_QUERIES_MAX 64
#define GALLERY_VIEWS_MAX 16
#define GALLERY_POINTS_MAX 20000
#define GALLERY_TILE_MAX 48      /* pixels of a picture on the sheet */
#define GALLERY_CLASSES_MAX 2000 /* names kept */

struct gallery_picture {
    char *jpeg; /* base64 */
    int32_t label;
    int64_t id;    /* in its data set */
    double cosine; /* to the query; NAN for the query itself */
};

struct gallery_query {
    struct gallery_picture picture[1 + GALLERY_NEIGHBOURS]; /* the query, then its neighbours */
    int pictures;
};

struct gallery_sheet {
    char *jpeg[1 + GALLERY_VIEWS_MAX]; /* the image, then views of it */
    int pictures;
};

/* The map's pictures, in its order, in rows of `columns`. */
struct gallery_tiles {
    char *jpeg; /* base64; NULL: there are none */
    int side;   /* pixels of each */
    int pitch;  /* from one to the next */
    int columns;
};

struct gallery {
    int64_t step, epoch;
    char *on, *of, *recipe; /* embedding; whose images the map shows; of the views */
    int64_t bank;           /* images that neighbours were looked for among */
    int64_t unreadable;     /* of those asked for, here and for the map; left out */
    int side;               /* pixels of a thumbnail */
    char **class_name;
    int64_t class_names;
    double *x, *y, *label; /* of the map's points: their plane of principal components */
    int64_t points;
    double *part;            /* [2], of the variance */
    double *near_x, *near_y; /* the same points as t-SNE lays them; NULL: a file of before */
    int64_t near_points;
    double perplexity;          /* of that */
    double trust, near_trust;   /* trustworthiness of either; NAN: not said */
    struct gallery_tiles tiles; /* the points' pictures */
    double *spectrum;
    int64_t values;
    double effective_rank, uniformity; /* NAN: not said */
    struct gallery_query query[GALLERY_QUERIES_MAX];
    int queries;
    struct gallery_sheet sheet[GALLERY_QUERIES_MAX];
    int sheets;
};

/* *gallery becomes NULL if there is no such file. MOCO_EFORMAT names what is wrong with it. */
moco_status gallery_read(struct gallery **gallery, const char *folder, struct err *err);
void gallery_free(struct gallery *gallery);

/* The name of a label, "" if there is none. */
const char *gallery_class(const struct gallery *gallery, int64_t label);

#endif
