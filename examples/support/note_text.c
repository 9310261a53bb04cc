/* SPDX-License-Identifier: MIT
 *
 * note_text: see note_text.h. */
#include "note_text.h"

#include <string.h>

static const char digits[] = "0123456789ABCDEF";

int note_text_encode(const char *bytes, char *text, size_t size)
{
    size_t used = 0;
    for (const unsigned char *at = (const unsigned char *)bytes; *at != 0; at++) {
        int plain = *at > 32 && *at < 127 && *at != '"' && *at != '\\' && *at != '%';
        if (used + (plain ? 1 : 3) >= size) {
            text[0] = 0;
            return 0;
        }
        if (plain) {
            text[used++] = (char)*at;
        } else {
            text[used++] = '%';
            text[used++] = digits[*at >> 4];
            text[used++] = digits[*at & 15];
        }
    }
    text[used] = 0;
    return 1;
}

int note_text_decode(const char *text, char *bytes, size_t size)
{
    size_t used = 0;
    for (const char *at = text; *at != 0; at++) {
        char byte = *at;
        if (*at == '%') {
            const char *high = at[1] != 0 ? strchr(digits, at[1]) : NULL;
            const char *low = high != NULL && at[2] != 0 ? strchr(digits, at[2]) : NULL;
            if (low == NULL || (high == digits && low == digits))
                return 0;
            byte = (char)((high - digits) << 4 | (low - digits));
            at += 2;
        }
        if (used + 1 >= size)
            return 0;
        bytes[used++] = byte;
    }
    bytes[used] = 0;
    return 1;
}
