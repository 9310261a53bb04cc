/* SPDX-License-Identifier: MIT
 *
 * stop_signal: SIGINT, SIGTERM, SIGHUP (the terminal is closed) and SIGUSR1 (a batch system's warning) ask the
 * program to stop in good order: the running step is dropped, which undoes it. What a reader would get wrong: only a
 * second SIGINT or SIGTERM ends the process at once. A closing terminal sends SIGHUP twice, and the end of a session
 * sends SIGTERM after it, while the state is being saved. A SIGHUP that was ignored when the program started (nohup)
 * stays ignored. */
#ifndef MOCO_EXAMPLES_STOP_SIGNAL_H
#define MOCO_EXAMPLES_STOP_SIGNAL_H

#include <moco/moco.h>

void stop_signal_catch(void);
void stop_signal_cancels(moco_trainer *trainer); /* whose step a signal drops; NULL: none. Before freeing it, too */
int stop_signal_came(void);                      /* the first signal's number, or 0 */

/* Calls `handler` from now on when one of the four comes, with the others held back meanwhile. */
void stop_signal_handle(void (*handler)(int number));

#endif
