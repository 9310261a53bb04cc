/* SPDX-License-Identifier: MIT
 *
 * progress: what a person sees while a run works: one line that is rewritten on a terminal, plain lines elsewhere,
 * and messages that do not collide with it. What a reader would get wrong: a line longer than the width of the
 * terminal cannot be rewritten, because going back to its start only reaches the start of its last row. The width is
 * asked for each time, and what does not fit is left out, the least useful first. */
#ifndef MOCO_EXAMPLES_PROGRESS_H
#define MOCO_EXAMPLES_PROGRESS_H

#include <moco/moco.h>

#define PROGRESS_FIELDS 10

struct progress {
    int terminal;  /* progress_on_terminal(1) */
    int open;      /* there is an unfinished line */
    int64_t every; /* steps between plain lines */
    double shown;  /* when the line was last rewritten */
    double mark;   /* start of the stretch that rates are taken over */
    double mark_wait;
    int64_t mark_step;
    double rate, wait;               /* of the last stretch: steps a second, part of the time spent waiting for data */
    char field[PROGRESS_FIELDS][48]; /* of the last step's line, from left to right */
    int64_t images_per_step;
};

/* Can a line on `fd` be written again? Not in a file or a pipe, nor where TERM is dumb (an editor's shell). */
int progress_on_terminal(int fd);

/* On such a standard output: writes the line again, cut to the width it has (printf's arguments, ASCII). */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void
progress_show(const char *format, ...);

void progress_init(struct progress *progress, int64_t every, int64_t images_per_step);

/* Rates are taken from here on: after a pause, such as the kNN monitor. */
void progress_mark(struct progress *progress, int64_t step, double wait_seconds);

struct progress_step {
    int64_t epoch, epochs; /* from 1 */
    int64_t at, of;        /* step within the epoch, from 1 */
    int64_t left;          /* steps until the run is over */
    double wait_seconds;   /* that the loader made us wait, since it was made */
    const moco_step_report *report;
};
void progress_step(struct progress *progress, const struct progress_step *step);

/* Within a step, on a terminal: a step of a large network takes a while. */
void progress_launch(struct progress *progress, int done, int of);

/* A line of its own, to standard output (printf's arguments, without a newline). */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void
progress_say(struct progress *progress, const char *format, ...);

/* Ends an unfinished line, so that something else can be printed. */
void progress_break(struct progress *progress);

#endif
