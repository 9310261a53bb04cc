/* SPDX-License-Identifier: MIT
 *
 * golden_fixture: reads tests/golden/fixtures/NAME.golden, whose format make_fixtures.py describes, and compares. What
 * a reader would get wrong: a big tensor is stored as its sketch, 64 signed sums, whose relative error in norm stands
 * for that of the tensor. */
#ifndef MOCO_TESTS_GOLDEN_FIXTURE_H
#define MOCO_TESTS_GOLDEN_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

struct golden_record {
    char name[96];
    double err32, err16; /* PyTorch's own relative error in float32, and in an emulation of bf16 */
    uint64_t count, stored;
};

struct golden_fixture {
    char *bytes;
    size_t count;
    const struct golden_record **records; /* each followed by its numbers */
};

/* 0, or -1 with a line on stderr. */
int golden_open(struct golden_fixture *fixture, const char *path);
void golden_close(struct golden_fixture *fixture);

const struct golden_record *golden_find(const struct golden_fixture *fixture, const char *name); /* NULL: not there */
const double *golden_values(const struct golden_record *record);

/* "config.key" as a number, or "config.key=text" as text; a missing key ends the test program. */
double golden_number(const struct golden_fixture *fixture, const char *key);
const char *golden_text(const struct golden_fixture *fixture, const char *key);
/* 1 if the fixture has that text under that key; a fixture may lack keys that came later. */
int golden_says(const struct golden_fixture *fixture, const char *key, const char *text);

/* |ours - record| / |record| (|ours| if the record is zero) of `count` numbers; infinite if the counts differ. */
double golden_error(const struct golden_record *record, const double *ours, uint64_t count);

#endif
