/* SPDX-License-Identifier: MIT
 *
 * wait_beside: lets compute threads wait long for each other while a run is alone, and briefly while other programs
 * use its processors. GNU OpenMP lets a thread spin for GOMP_SPINCOUNT pauses, but for 100 at most while the process
 * has more OpenMP threads than processors (its manual, GOMP_SPINCOUNT). A second team that only sleeps therefore
 * makes threads wait briefly; when that team ends, they wait long again. No step is interrupted and no number
 * changes. What a reader would get wrong: this is for our programs, which own their process. The library starts no
 * thread that its caller did not ask for. */
#ifndef MOCO_EXAMPLES_WAIT_BESIDE_H
#define MOCO_EXAMPLES_WAIT_BESIDE_H

#include "contention.h"

/* Call it after each step, from the thread that steps. Looks four times a second. Does nothing unless the threads wait
 * as wait_policy settled for `auto`. */
void wait_beside_step(void);

/* Ends the sleeping team, if there is one. At the end of a run, from the same thread. */
void wait_beside_end(void);

/* ---- its parts, for tests ---- */

void wait_beside_team(int wanted); /* is there, or is not */

struct wait_beside {
    int brief;     /* the answer */
    int agreeing;  /* looks in a row that ask for the other one */
    int patience;  /* looks without others until it waits long again; doubles each time that this was too early */
    int64_t since; /* looks since it last changed */
};

/* One look: what was used since the last one. Returns `brief`: 1 when two looks in a row have found others, 0 again when
 * 8 or more have found none. */
int wait_beside_look(struct wait_beside *w, const struct contention_use *passed);

#endif
