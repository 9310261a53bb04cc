/* SPDX-License-Identifier: MIT
 *
 * markup: see markup.h. */
#include "markup.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "num.h"
#include "utf8.h"

static void put(struct markup *m, const char *bytes, size_t size)
{
    if (m->failed)
        return;
    if (m->used + size + 1 > m->room) {
        size_t room = (m->used + size + 1) * 2;
        char *grown = realloc(m->text, room);
        if (grown == NULL) {
            m->failed = 1;
            return;
        }
        m->text = grown;
        m->room = room;
    }
    memcpy(m->text + m->used, bytes, size);
    m->used += size;
    m->text[m->used] = 0;
}

void markup_put(struct markup *m, const char *ours)
{
    put(m, ours, strlen(ours));
}

void markup_printf(struct markup *m, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text)
        m->failed = 1; /* ours, and never so long */
    else
        put(m, text, (size_t)length);
}

/* Length of the character at `text` that a page may contain; 0: it may not, and *skip bytes are not such a
 * character. */
static size_t character(const char *text, size_t left, size_t *skip)
{
    size_t length = utf8_length(text, left);
    unsigned char c = (unsigned char)text[0];
    *skip = length > 0 ? length : 1;
    if (length == 1 && (c < 32 || c == 127) && c != '\t' && c != '\n')
        return 0;
    if (length == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0) /* control characters of Latin-1 */
        return 0;
    if (length == 3 && memcmp(text, "\xef\xbf", 2) == 0 && (unsigned char)text[2] >= 0xbe) /* U+FFFE, U+FFFF */
        return 0;
    return length;
}

void markup_text(struct markup *m, const char *theirs)
{
    size_t left = strlen(theirs), skip;
    for (; left > 0; theirs += skip, left -= skip) {
        size_t length = character(theirs, left, &skip);
        if (length == 0)
            markup_put(m, "\xef\xbf\xbd");
        else if (*theirs == '&')
            markup_put(m, "&amp;");
        else if (*theirs == '<')
            markup_put(m, "&lt;");
        else if (*theirs == '>')
            markup_put(m, "&gt;");
        else if (*theirs == '"')
            markup_put(m, "&quot;");
        else if (*theirs == '\'')
            markup_put(m, "&#39;");
        else
            put(m, theirs, length);
    }
}

void markup_json(struct markup *m, const char *theirs)
{
    size_t left = strlen(theirs), skip;
    markup_put(m, "\"");
    for (; left > 0; theirs += skip, left -= skip) {
        size_t length = character(theirs, left, &skip);
        if (length == 0)
            markup_put(m, "\xef\xbf\xbd");
        else if (length == 1 && (*theirs < 32 || strchr("\"\\<>&'", *theirs) != NULL))
            markup_printf(m, "\\u%04x", (unsigned)*theirs);
        else
            put(m, theirs, length);
    }
    markup_put(m, "\"");
}

void markup_number(struct markup *m, double value)
{
    char text[NUM_TEXT] = "null";
    if (isfinite(value))
        num_format_double(text, value);
    markup_put(m, text);
}

void markup_coordinate(struct markup *m, double value)
{
    char text[NUM_TEXT];
    num_format_double(text, round(value * 100) / 100);
    markup_put(m, text);
}

moco_status markup_save(const struct markup *m, const char *path, struct err *err)
{
    struct ctx *ctx = NULL;
    struct file_save save;
    if (m->failed || m->text == NULL)
        return err_set(err, MOCO_ENOMEM, "%.300s: out of memory while it was made", path);
    TRY(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, err));
    moco_status status = file_save_begin(&save, ctx, path, (int64_t)m->used, err);
    if (status == MOCO_OK)
        status = file_save_write_at(&save, 0, m->text, m->used, err);
    if (status == MOCO_OK)
        status = file_save_commit(&save, err);
    else
        file_save_abandon(&save);
    ctx_unref(ctx);
    return status;
}

void markup_free(struct markup *m)
{
    free(m->text);
    *m = (struct markup){0};
}
