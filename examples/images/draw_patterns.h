/* SPDX-License-Identifier: MIT
 *
 * draw_patterns: the demo's pictures: ten classes of grey patterns that differ only in form. Frequency, phase,
 * centre, tilt, contrast and noise are random, and every picture is scaled to one mean and variance, so that raw
 * pixels distinguish the classes badly and brightness not at all. Picture number i is a pure function of (seed, i);
 * its class is i mod 10. Coloured pictures would teach nothing: colour alone would distinguish two crops of one
 * image from all others. */
#ifndef MOCO_EXAMPLES_DRAW_PATTERNS_H
#define MOCO_EXAMPLES_DRAW_PATTERNS_H

#include <stdint.h>

#define PATTERN_CLASSES 10
#define PATTERN_SIZE 32

extern const char *const pattern_names[PATTERN_CLASSES];

/* rgb: [32,32,3], three equal channels. */
void draw_pattern(uint64_t seed, uint64_t number, uint8_t *rgb);

#endif
