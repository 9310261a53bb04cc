/* SPDX-License-Identifier: MIT
 *
 * program_start: what every program does before it opens anything. A standard stream that was closed is opened on
 * /dev/null. Otherwise the first file that the program opens would get its number, and receive everything that is
 * printed. Writing to a pipe without a reader, or beyond a limit on file sizes, fails with a reason instead of
 * ending the process. What a reader would get wrong: a program that was started without a standard output still
 * succeeds. Only if output was lost on the way may the program report it, with program_output_lost. */
#ifndef MOCO_EXAMPLES_PROGRAM_START_H
#define MOCO_EXAMPLES_PROGRAM_START_H

void program_start(void);

/* Why what was printed did not arrive, as the system's reason; NULL: it did. Flushes standard output. */
const char *program_output_lost(void);

/* The exit code of a program whose result is what it prints: 0, or 1 with a sentence where that did not arrive. */
int program_printed(const char *program);

#endif
