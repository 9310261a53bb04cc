/* SPDX-License-Identifier: MIT
 *
 * stop_signal: SIGINT and SIGTERM ask the program to stop in good order: the running step is dropped, which undoes it.
 * A second signal has its usual effect and ends the process at once. */
#ifndef MOCO_EXAMPLES_STOP_SIGNAL_H
#define MOCO_EXAMPLES_STOP_SIGNAL_H

#include <moco/moco.h>

void stop_signal_catch(void);
void stop_signal_cancels(moco_trainer *trainer); /* whose step a signal drops; NULL: none. Before freeing it, too */
int stop_signal_came(void);                      /* the signal's number, or 0 */

#endif
