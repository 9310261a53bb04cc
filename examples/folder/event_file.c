/* SPDX-License-Identifier: MIT
 *
 * event_file: see event_file.h. A TFRecord is a length, its checksum, the message and its checksum. The message is an
 * Event; the field numbers below are those of TensorFlow's event.proto and summary.proto. */
#include "event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codec/crc32c.h"
#include "file/file_retry.h"
#include "run_dir.h"

enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, SESSION_STATUS = 1, SESSION_START = 1 };

static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void little_endian(unsigned char *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static moco_status put_bytes(struct event_file *e, const void *bytes, size_t size, struct err *err)
{
    const char *from = bytes;
    int tries = 0;
    while (size > 0) {
        ssize_t n = write(e->fd, from, size);
        if (n < 0 && file_again(&tries))
            continue;
        if (n < 0)
            return err_set(err, MOCO_EIO, "%.300s cannot be written: %s; make room, then go on with --resume auto",
                           e->path, file_reason(errno, (char[FILE_REASON]){0}));
        tries = 0;
        from += n;
        size -= (size_t)n;
    }
    return MOCO_OK;
}

/* A record that is cut short would hide all after it: what was written of it is taken back. */
static moco_status put_record(struct event_file *e, struct err *err)
{
    const struct protobuf *p = &e->event;
    unsigned char head[12], tail[4];
    if (p->status != MOCO_OK)
        return p->status;
    little_endian(head, p->used, 8);
    little_endian(head + 8, crc32c_masked(crc32c(0, head, 8)), 4);
    little_endian(tail, crc32c_masked(crc32c(0, p->bytes, p->used)), 4);
    off_t begun = lseek(e->fd, 0, SEEK_END);
    moco_status status = put_bytes(e, head, sizeof head, err);
    if (status == MOCO_OK)
        status = put_bytes(e, p->bytes, p->used, err);
    if (status == MOCO_OK)
        status = put_bytes(e, tail, sizeof tail, err);
    if (status != MOCO_OK && begun >= 0 && ftruncate(e->fd, begun) != 0)
        return status; /* the first reason was reported already */
    return status;
}

static void begin_event(struct event_file *e, int64_t step)
{
    protobuf_clear(&e->event);
    protobuf_put_double(&e->event, EVENT_TIME, wall_time());
    if (step > 0)
        protobuf_put_int(&e->event, EVENT_STEP, step);
}

static moco_status put_start(struct event_file *e, int64_t step, struct err *err)
{
    begin_event(e, 0);
    protobuf_put_string(&e->event, EVENT_VERSION, "brain.Event:2");
    TRY(put_record(e, err));
    if (step == 0)
        return MOCO_OK;
    protobuf_clear(&e->value);
    protobuf_put_int(&e->value, SESSION_STATUS, SESSION_START);
    begin_event(e, step + 1); /* what older files say of this step and later ones is void */
    protobuf_put_message(&e->event, EVENT_SESSION, &e->value);
    return put_record(e, err);
}

moco_status event_file_open(struct event_file *e, const char *folder, int64_t step, struct err *err)
{
    char name[80];
    *e = (struct event_file){.fd = -1};
    TRY(ctx_create(&e->ctx, &(struct ctx_options){.threads = 1}, err));
    protobuf_start(&e->event, e->ctx, err);
    protobuf_start(&e->summary, e->ctx, err);
    protobuf_start(&e->value, e->ctx, err);
    double now = wall_time(), seconds = floor(now);
    /* Readers take files in the order of their names. */
    snprintf(name, sizeof name, "events.out.tfevents.%010.0f.%06.0f.moco", seconds, floor((now - seconds) * 1e6));
    run_dir_path(folder, name, e->path);
    e->fd = open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    moco_status status = e->fd >= 0 ? put_start(e, step, err)
                                    : err_set(err, MOCO_EIO, "%.300s cannot be made: %s", e->path,
                                              file_reason(errno, (char[FILE_REASON]){0}));
    if (status != MOCO_OK)
        event_file_close(e);
    return status;
}

moco_status event_file_put(struct event_file *e, int64_t step, const struct event_scalar *scalar, int count,
                           struct err *err)
{
    e->event.err = e->summary.err = e->value.err = err;
    protobuf_clear(&e->summary);
    for (int i = 0; i < count; i++) {
        if (!isfinite(scalar[i].value))
            continue;
        protobuf_clear(&e->value);
        protobuf_put_string(&e->value, VALUE_TAG, scalar[i].tag);
        protobuf_put_float(&e->value, VALUE_SIMPLE, (float)scalar[i].value);
        protobuf_put_message(&e->summary, SUMMARY_VALUE, &e->value);
    }
    if (e->summary.used == 0)
        return e->summary.status;
    begin_event(e, step);
    protobuf_put_message(&e->event, EVENT_SUMMARY, &e->summary);
    return put_record(e, err);
}

moco_status event_file_sync(struct event_file *e, struct err *err)
{
    if (e->fd >= 0 && fdatasync(e->fd) != 0 && errno != EINVAL && errno != EINTR)
        return err_set(err, MOCO_EIO, "%.300s cannot be written: %s", e->path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    return MOCO_OK;
}

void event_file_close(struct event_file *e)
{
    if (e->ctx == NULL)
        return;
    if (e->fd >= 0)
        close(e->fd);
    protobuf_free(&e->event);
    protobuf_free(&e->summary);
    protobuf_free(&e->value);
    ctx_unref(e->ctx);
    *e = (struct event_file){.fd = -1};
}
