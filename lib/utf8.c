/* SPDX-License-Identifier: MIT
 *
 * utf8: see utf8.h. */
#include "utf8.h"

#include <stdio.h>
#include <string.h>

size_t utf8_length(const char *text, size_t size)
{
    const unsigned char *b = (const unsigned char *)text;
    if (size == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    size_t length = b[0] >= 0xc2 && b[0] <= 0xdf   ? 2
                    : b[0] >= 0xe0 && b[0] <= 0xef ? 3
                    : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || size < length)
        return 0;
    unsigned low = b[0] == 0xe0   ? 0xa0
                   : b[0] == 0xf0 ? 0x90
                                  : 0x80, /* below: overlong */
        high = b[0] == 0xed   ? 0x9f
               : b[0] == 0xf4 ? 0x8f
                              : 0xbf; /* above: surrogate, beyond U+10FFFF */
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
    return length;
}

/* U+0000 to U+001F, U+007F to U+009F, and the two that end a line without being controls. */
static int is_control(const unsigned char *b, size_t length)
{
    if (length == 1)
        return b[0] < 0x20 || b[0] == 0x7f;
    return (length == 2 && b[0] == 0xc2 && b[1] < 0xa0) ||
           (length == 3 && b[0] == 0xe2 && b[1] == 0x80 && (b[2] == 0xa8 || b[2] == 0xa9));
}

/* How a byte that may not be printed is written; returns the length. */
static size_t escape(char out[8], unsigned char byte)
{
    static const char named[] = "\n\t\r", letters[] = "ntr";
    const char *found = byte != 0 ? strchr(named, byte) : NULL;
    return found != NULL ? (size_t)snprintf(out, 8, "\\%c", letters[found - named])
                         : (size_t)snprintf(out, 8, "\\x%02x", byte);
}

void utf8_printable(char *out, size_t room, const char *text)
{
    size_t size = strlen(text), used = 0;
    for (size_t at = 0; at < size;) {
        char escaped[4 * 8];
        const char *piece = text + at;
        size_t length = utf8_length(piece, size - at), bytes = length;
        if (length == 0 || is_control((const unsigned char *)piece, length)) {
            length = length == 0 ? 1 : length;
            bytes = 0;
            for (size_t i = 0; i < length; i++)
                bytes += escape(escaped + bytes, (unsigned char)text[at + i]);
            piece = escaped;
        }
        if (bytes >= room - used)
            break;
        memcpy(out + used, piece, bytes);
        used += bytes;
        at += length;
    }
    out[used] = 0;
}

int utf8_ends_in(const char *text, const char *ending)
{
    size_t length = strlen(text), end = strlen(ending);
    return length >= end && strcmp(text + length - end, ending) == 0;
}
