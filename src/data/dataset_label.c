/* SPDX-License-Identifier: MIT
 *
 * dataset_label: labels written as text. What a reader would get wrong: the largest label decides the number of
 * classes, and with it the size of every array that counts by class. A number that is larger than any real set of
 * classes is therefore not taken as a label, just like a word. */
#include <string.h>

#include "dataset.h"

int32_t dataset_read_label(const char *text, size_t size)
{
    int32_t label = -1;
    while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL && text[size - 1] != 0)
        size--;
    for (; size > 0 && (*text == ' ' || *text == '\t'); size--)
        text++;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        label = (label < 0 ? 0 : label) * 10 + (text[i] - '0');
        if (label > DATASET_LABEL_MAX)
            return -1;
    }
    return label;
}

void dataset_warn_labels(struct ctx *ctx, const char *set, int64_t count, const char *first)
{
    if (count > 0)
        ctx_log(
            ctx, LOG_WARN,
            "%s: %lld pictures have no label, since theirs is not a decimal number up to %d; the first is that of %s",
            set, (long long)count, DATASET_LABEL_MAX, first);
}
