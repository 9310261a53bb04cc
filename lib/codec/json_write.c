/* SPDX-License-Identifier: MIT
 *
 * json_write: the writer of json.h. Text is UTF-8 and unchanged; only quotes, backslashes and control characters are
 * escaped. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "num.h"
#include "utf8.h"

void json_writer_start(struct json_writer *w, struct ctx *ctx, struct err *err)
{
    *w = (struct json_writer){.ctx = ctx, .err = err};
}

void json_writer_free(struct json_writer *w)
{
    mem_free(w->ctx, w->text);
    w->text = NULL;
    w->used = 0;
}

void json_put_raw(struct json_writer *w, const char *bytes, size_t size)
{
    if (w->status != MOCO_OK)
        return;
    char *room = mem_reserve(w->ctx, w->text, w->used + size + 1, w->err);
    if (room == NULL) {
        w->status = MOCO_ENOMEM;
        return;
    }
    w->text = room;
    memcpy(w->text + w->used, bytes, size);
    w->used += size;
    w->text[w->used] = 0;
}

static void element(struct json_writer *w, const char *bytes, size_t size)
{
    if (w->comma)
        json_put_raw(w, ",", 1);
    json_put_raw(w, bytes, size);
    w->comma = 1;
}

static void open_container(struct json_writer *w, const char *bracket)
{
    element(w, bracket, 1);
    w->comma = 0;
}

static void close_container(struct json_writer *w, const char *bracket)
{
    json_put_raw(w, bracket, 1);
    w->comma = 1;
}

void json_put_object(struct json_writer *w)
{
    open_container(w, "{");
}

void json_put_object_end(struct json_writer *w)
{
    close_container(w, "}");
}

void json_put_array(struct json_writer *w)
{
    open_container(w, "[");
}

void json_put_array_end(struct json_writer *w)
{
    close_container(w, "]");
}

static void escaped(struct json_writer *w, unsigned char c)
{
    char text[8];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\\%c", c);
    else if (c == '\n')
        snprintf(text, sizeof text, "\\n");
    else
        snprintf(text, sizeof text, "\\u%04x", c);
    json_put_raw(w, text, strlen(text));
}

void json_put_string(struct json_writer *w, const char *text)
{
    size_t size = strlen(text), plain = 0; /* from `plain` on nothing has been put yet */
    element(w, "\"", 1);
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length(text + at, size - at);
        unsigned char c = (unsigned char)text[at];
        if (length == 0) {
            if (w->status == MOCO_OK)
                w->status = err_set(w->err, MOCO_EINVAL, "a text is not UTF-8 at its byte %zu (0x%02x)", at, c);
            return;
        }
        if (c == '"' || c == '\\' || c < 0x20) {
            json_put_raw(w, text + plain, at - plain);
            escaped(w, c);
            plain = at + 1;
        }
        at += length;
    }
    json_put_raw(w, text + plain, size - plain);
    json_put_raw(w, "\"", 1);
}

void json_put_key(struct json_writer *w, const char *key)
{
    json_put_string(w, key);
    json_put_raw(w, ":", 1);
    w->comma = 0;
}

void json_put_int(struct json_writer *w, int64_t value)
{
    char text[NUM_TEXT];
    element(w, text, num_format_int(text, value));
}

void json_put_double(struct json_writer *w, double value)
{
    char text[NUM_TEXT];
    if (!isfinite(value)) {
        json_put_null(w);
        return;
    }
    size_t length = num_format_double(text, value);
    element(w, text, length);
}

void json_put_bool(struct json_writer *w, int value)
{
    element(w, value ? "true" : "false", value ? 4 : 5);
}

void json_put_null(struct json_writer *w)
{
    element(w, "null", 4);
}
