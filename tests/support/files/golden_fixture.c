/* SPDX-License-Identifier: MIT
 *
 * golden_fixture: see golden_fixture.h. */
#include "support/files/golden_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/files/golden_rule.h"

#define SKETCH 64

_Static_assert(sizeof(struct golden_record) == 128, "the file's record header");

int golden_open(struct golden_fixture *fixture, const char *path)
{
    *fixture = (struct golden_fixture){0};
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size < 16 || fseek(file, 0, SEEK_SET) != 0 || !(fixture->bytes = malloc((size_t)size)) ||
        fread(fixture->bytes, 1, (size_t)size, file) != (size_t)size || memcmp(fixture->bytes, "MOCOGOLD", 8) != 0) {
        fprintf(stderr, "%s: not readable, or not a fixture (tests run in the root of the repository)\n", path);
        if (file)
            fclose(file);
        golden_close(fixture);
        return -1;
    }
    fclose(file);
    uint64_t count;
    memcpy(&count, fixture->bytes + 8, sizeof count);
    fixture->records = calloc((size_t)count, sizeof *fixture->records);
    size_t at = 16;
    while (fixture->records && fixture->count < count && at + sizeof(struct golden_record) <= (size_t)size) {
        const struct golden_record *r = (const void *)(fixture->bytes + at);
        at += sizeof *r;
        if (r->stored > ((size_t)size - at) / 8 || !memchr(r->name, 0, sizeof r->name))
            break;
        at += (size_t)r->stored * 8;
        fixture->records[fixture->count++] = r;
    }
    if (fixture->count == count && at == (size_t)size)
        return 0;
    fprintf(stderr, "%s: ends within record %zu\n", path, fixture->count);
    golden_close(fixture);
    return -1;
}

void golden_close(struct golden_fixture *fixture)
{
    free(fixture->bytes);
    free(fixture->records);
    *fixture = (struct golden_fixture){0};
}

const struct golden_record *golden_find(const struct golden_fixture *fixture, const char *name)
{
    for (size_t i = 0; i < fixture->count; i++)
        if (strcmp(fixture->records[i]->name, name) == 0)
            return fixture->records[i];
    return NULL;
}

const double *golden_values(const struct golden_record *record)
{
    return (const double *)(const void *)(record + 1);
}

double golden_number(const struct golden_fixture *fixture, const char *key)
{
    char name[96];
    snprintf(name, sizeof name, "config.%s", key);
    const struct golden_record *r = golden_find(fixture, name);
    if (!r || r->stored != 1) {
        fprintf(stderr, "fixture without the number %s\n", name);
        exit(1);
    }
    return golden_values(r)[0];
}

const char *golden_text(const struct golden_fixture *fixture, const char *key)
{
    char name[96];
    size_t length = (size_t)snprintf(name, sizeof name, "config.%s=", key);
    for (size_t i = 0; i < fixture->count; i++)
        if (strncmp(fixture->records[i]->name, name, length) == 0)
            return fixture->records[i]->name + length;
    fprintf(stderr, "fixture without the text %s\n", name);
    exit(1);
}

int golden_says(const struct golden_fixture *fixture, const char *key, const char *text)
{
    char name[96];
    snprintf(name, sizeof name, "config.%s=%s", key, text);
    return golden_find(fixture, name) != NULL;
}

double golden_error(const struct golden_record *record, const double *ours, uint64_t count)
{
    if (count != record->count)
        return INFINITY;
    const double *theirs = golden_values(record);
    double sums[SKETCH] = {0};
    if (record->stored != count) {
        for (uint64_t i = 0; i < count; i++) {
            uint64_t bits = golden_mix(i);
            for (int s = 0; s < SKETCH; s++)
                sums[s] += bits >> s & 1 ? ours[i] : -ours[i];
        }
        ours = sums;
        if (record->stored != SKETCH)
            return INFINITY;
    }
    double difference = 0, size = 0;
    for (uint64_t i = 0; i < record->stored; i++) {
        difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
        size += theirs[i] * theirs[i];
    }
    double error = sqrt(size > 0 ? difference / size : difference);
    return isfinite(error) ? error : INFINITY;
}
