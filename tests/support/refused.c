/* SPDX-License-Identifier: MIT
 *
 * refused: see refused.h. */
#include "support/refused.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

int refused_wrong(moco_status got, moco_status wanted, const char *word, const char *call, char *why, size_t size)
{
    const char *text = moco_error();
    if (got != wanted) {
        snprintf(why, size, "%s: %s instead of %s (%s)", call, moco_status_text(got), moco_status_text(wanted), text);
        return 1;
    }
    size_t function = strcspn(call, "(");
    if (function > 6 && strncmp(call + function - 6, "_sized", 6) == 0)
        function -= 6; /* a program calls the macro */
    if (strncmp(text, call, function) != 0 || strncmp(text + function, ": ", 2) != 0 ||
        strstr(text + function, word) == NULL || strlen(text + function) < 12) {
        snprintf(why, size, "%s: the sentence does not name its function and \"%s\": %s", call, word, text);
        return 1;
    }
    return 0;
}

void refused(moco_status got, moco_status wanted, const char *word, const char *call)
{
    char why[1024];
    if (refused_wrong(got, wanted, word, call, why, sizeof why))
        fail_msg("%s", why);
}

void bad_field_set(void *options, const struct bad_field *field)
{
    char *at = (char *)options + field->at;
    int32_t narrow = (int32_t)field->integer;
    switch (field->type) {
    case BAD_INT32:
        memcpy(at, &narrow, sizeof narrow);
        break;
    case BAD_INT64:
        memcpy(at, &field->integer, sizeof field->integer);
        break;
    case BAD_DOUBLE:
        memcpy(at, &field->real, sizeof field->real);
        break;
    case BAD_STRING:
        memcpy(at, &field->string, sizeof field->string);
        break;
    }
}

const char *bad_field_word(const struct bad_field *field)
{
    return field->word != NULL ? field->word : field->name;
}
