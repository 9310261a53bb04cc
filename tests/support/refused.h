/* SPDX-License-Identifier: MIT
 *
 * refused: calls that must be refused, each with its status and a sentence that starts with the function and names what
 * is wrong. What a reader would get wrong: the sentence is checked too, because "invalid argument" helps nobody. */
#ifndef MOCO_TESTS_REFUSED_H
#define MOCO_TESTS_REFUSED_H

#include <stddef.h>
#include <stdint.h>

#include "moco/moco.h"

/* Fails the test unless the call answers MOCO_`status` and moco_error() is "function: ... `word` ...". */
#define REFUSED(status, word, call) refused((call), MOCO_##status, (word), #call)
void refused(moco_status got, moco_status wanted, const char *word, const char *call);

/* The same without failing: 0 if it is right, otherwise 1 with the reason in `why`. For a forked child. */
int refused_wrong(moco_status got, moco_status wanted, const char *word, const char *call, char *why, size_t size);

/* One field of an options struct, and a value that the call must not take. */
struct bad_field {
    const char *name;
    size_t at;
    enum { BAD_INT32, BAD_INT64, BAD_DOUBLE, BAD_STRING } type;
    int64_t integer;
    double real;
    const char *string;
    const char *word; /* in the sentence; NULL: the field's name */
};
#define BAD_I(type, field, value)                                                                                      \
    {                                                                                                                  \
#field, offsetof(type, field), BAD_INT32, (value), 0, NULL, NULL                                               \
    }
#define BAD_L(type, field, value)                                                                                      \
    {                                                                                                                  \
#field, offsetof(type, field), BAD_INT64, (value), 0, NULL, NULL                                               \
    }
#define BAD_D(type, field, value)                                                                                      \
    {                                                                                                                  \
#field, offsetof(type, field), BAD_DOUBLE, 0, (value), NULL, NULL                                              \
    }
#define BAD_S(type, field, value)                                                                                      \
    {                                                                                                                  \
#field, offsetof(type, field), BAD_STRING, 0, 0, (value), NULL                                                 \
    }
#define BAD_WORD(type, field, kind, whole, number, said)                                                               \
    {                                                                                                                  \
#field, offsetof(type, field), kind, (whole), (number), NULL, (said)                                           \
    }

void bad_field_set(void *options, const struct bad_field *field);
const char *bad_field_word(const struct bad_field *field);

#endif
