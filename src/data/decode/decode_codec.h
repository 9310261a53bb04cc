/* SPDX-License-Identifier: MIT
 *
 * decode_codec: what decode.c and the codecs share. */
#ifndef MOCO_DATA_DECODE_CODEC_H
#define MOCO_DATA_DECODE_CODEC_H

#include "decode.h"
#include "source.h"

/* `first` is the window's first content, which the sniffing has read. */
moco_status decode_jpeg(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                        struct image *image, struct err *err);
moco_status decode_png(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                       struct image *image, struct err *err);
moco_status decode_webp(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                        struct image *image, struct err *err); /* where it was built: MOCO_HAVE_WEBP */

/* ---- decode_room.c ---- */

/* Refuses w x h above the decoder's max_pixels. */
moco_status decode_limit(const struct decoder *decoder, int64_t w, int64_t h, struct err *err);

/* The same, then takes memory for all of it: RGB rows without gaps. */
moco_status decode_room(struct decoder *decoder, int64_t w, int64_t h, struct image *image, struct err *err);

/* Memory for the part `box` of a picture of w x h, both within the limit. */
moco_status decode_room_for(struct decoder *decoder, int w, int h, struct image_box box, struct image *image,
                            struct err *err);

#endif
