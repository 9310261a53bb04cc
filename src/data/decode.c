/* SPDX-License-Identifier: MIT
 *
 * decode: chooses the codec of a picture and opens its file. A name that ends in .JPEG may hold a PNG (ImageNet has
 * one), and a name that can be opened may be a pipe, which must not be waited for. */
#define _DEFAULT_SOURCE /* O_CLOEXEC with O_NONBLOCK under strict POSIX headers */
#include "decode.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode_codec.h"
#include "file_retry.h"

#define WINDOW ((size_t)256 << 10) /* most photographs of training sets are read in one call */

/* Chooses the codec by the first bytes. If reading failed, that is the error: the codec saw only the end of the
 * data. */
static moco_status decode(struct decoder *decoder, struct source *source, const uint8_t *first, size_t size,
                          struct image *image, struct err *err)
{
    static const uint8_t jpeg[3] = {0xff, 0xd8, 0xff}, png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    enum { WEBP = 12 };
    moco_status status;
    struct err reason = {0};
    if (source->status != MOCO_OK)
        status = source->status;
    else if (size >= sizeof jpeg && memcmp(first, jpeg, sizeof jpeg) == 0)
        status = decode_jpeg(decoder, source, first, size, image, &reason);
    else if (size >= sizeof png && memcmp(first, png, sizeof png) == 0)
        status = decode_png(decoder, source, first, size, image, &reason);
    else if (size >= WEBP && memcmp(first, "RIFF", 4) == 0 && memcmp(first + 8, "WEBP", 4) == 0)
#ifdef MOCO_HAVE_WEBP
        status = decode_webp(decoder, source, first, size, image, &reason);
#else
        return err_set(err, MOCO_EFORMAT, "it is a WebP file, and this libmoco was built without libwebp");
#endif
    else if (size == 0)
        return err_set(err, MOCO_EFORMAT, "it is empty");
    else
        return err_set(err, MOCO_EFORMAT, "it is neither JPEG, PNG nor WebP: it starts with bytes %02x %02x %02x",
                       first[0], size > 1 ? first[1] : 0, size > 2 ? first[2] : 0);
    if (source->status != MOCO_OK) /* the codec saw only the end of the data */
        return err_set(err, source->status, "%s", source->error.text);
    if (status != MOCO_OK)
        return err_set(err, status, "%s", reason.text);
    return MOCO_OK;
}

moco_status decode_memory(struct decoder *decoder, const void *bytes, size_t size, struct image *image, struct err *err)
{
    struct source source = {.fd = -1};
    return decode(decoder, &source, bytes, size, image, err);
}

/* Is a failed open about this file alone, or about the machine? */
static moco_status open_failure(struct decoder *decoder, int error, struct err *err)
{
    char reason[FILE_REASON];
    file_reason(error, reason);
    switch (error) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case EISDIR:
    case ELOOP:
    case ENOTDIR:
    case ENXIO:
    case ENAMETOOLONG:
        decoder->unopened = 1;
        return err_set(err, MOCO_EFORMAT, "it cannot be opened: %s", reason);
    default:
        return err_set(err, file_status(error), "it cannot be opened: %s", reason);
    }
}

/* `size` < 0: up to the end of the file. */
static moco_status decode_range(struct decoder *decoder, const char *path, int64_t offset, int64_t size,
                                struct image *image, struct err *err)
{
    if (decoder->window == NULL && (decoder->window = mem_alloc(decoder->ctx, WINDOW, err)) == NULL)
        return MOCO_ENOMEM;
    int fd, tries = 0;
    decoder->unopened = 0;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (fd < 0 && file_again(&tries));
    if (fd < 0)
        return open_failure(decoder, errno, err);
    struct stat stat;
    moco_status status;
    if (fstat(fd, &stat) != 0) {
        char reason[FILE_REASON];
        status = err_set(err, MOCO_EIO, "its size cannot be read: %s", file_reason(errno, reason));
    } else if (!S_ISREG(stat.st_mode)) {
        decoder->unopened = 1;
        status = err_set(err, MOCO_EFORMAT, "it is not a regular file");
    } else {
        struct source source = {.fd = fd,
                                .at = offset,
                                .end = size < 0 ? (int64_t)stat.st_size : offset + size,
                                .window = decoder->window,
                                .window_size = WINDOW};
        const uint8_t *first;
        size_t got = source_next(&source, &first);
        status = decode(decoder, &source, first, got, image, err);
    }
    close(fd);
    return status;
}

moco_status decode_file(struct decoder *decoder, const char *path, struct image *image, struct err *err)
{
    return decode_range(decoder, path, 0, -1, image, err);
}

moco_status decode_part(struct decoder *decoder, const char *path, int64_t offset, int64_t size, struct image *image,
                        struct err *err)
{
    return decode_range(decoder, path, offset, size, image, err);
}
