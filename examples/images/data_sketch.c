/* SPDX-License-Identifier: MIT
 *
 * data_sketch: see data_sketch.h. */
#include "data_sketch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a, and a mixing at its end (that of SplitMix64), for the sketch wants every bit of a hash to depend on every
 * byte. */
static uint64_t hash_name(const char *name)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *name != 0; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

void data_sketch_add(struct data_sketch *s, const char *name)
{
    uint64_t hash = hash_name(name);
    int at = s->count;
    if (s->count == SKETCH_HASHES && hash >= s->least[SKETCH_HASHES - 1])
        return;
    if (s->count < SKETCH_HASHES)
        s->count++;
    else
        at--;
    for (; at > 0 && s->least[at - 1] > hash; at--)
        s->least[at] = s->least[at - 1];
    s->least[at] = hash;
}

void data_sketch_make(struct data_sketch *s, const moco_dataset *set, const char *folder)
{
    char path[4096];
    size_t root = strlen(folder);
    int64_t count = moco_dataset_count(set);
    s->count = 0;
    for (int64_t id = 0; id < count; id++) {
        if (moco_dataset_path(set, id, path, sizeof path) != MOCO_OK)
            continue;
        const char *name = strncmp(path, folder, root) == 0 ? path + root + strspn(path + root, "/") : path;
        data_sketch_add(s, name);
    }
}

void data_sketch_text(const struct data_sketch *s, char text[SKETCH_TEXT])
{
    text[0] = 0;
    for (int i = 0; i < s->count; i++)
        snprintf(text + 16 * i, 17, "%016" PRIx64, s->least[i]);
}

int data_sketch_parse(struct data_sketch *s, const char *text)
{
    size_t length = strlen(text);
    s->count = 0;
    if (length == 0 || length % 16 != 0 || length >= SKETCH_TEXT || strspn(text, "0123456789abcdef") != length)
        return 0;
    for (; *text != 0; text += 16)
        if (sscanf(text, "%16" SCNx64, &s->least[s->count++]) != 1)
            return 0;
    for (int i = 1; i < s->count; i++)
        if (s->least[i] < s->least[i - 1])
            return 0;
    return 1;
}

int data_sketch_is_part(const struct data_sketch *part, const struct data_sketch *whole)
{
    int both = 0, at = 0;
    for (int i = 0; i < part->count; i++) {
        while (at < whole->count && whole->least[at] < part->least[i])
            at++;
        if (at < whole->count && whole->least[at] == part->least[i])
            both++;
        else if (at < whole->count || whole->count < SKETCH_HASHES)
            return 0; /* it would be in `whole` if that held it */
    }
    return 2 * both >= whole->count;
}
