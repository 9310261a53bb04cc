/* SPDX-License-Identifier: MIT
 *
 * stop_signal: see stop_signal.h. The handler calls nothing but moco_trainer_cancel and sigaction, which are
 * async-signal-safe. */
#include "stop_signal.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static volatile sig_atomic_t came;
static _Atomic(moco_trainer *) running;

static void on_signal(int number)
{
    struct sigaction usual;
    memset(&usual, 0, sizeof usual);
    usual.sa_handler = SIG_DFL;
    sigaction(SIGINT, &usual, NULL);
    sigaction(SIGTERM, &usual, NULL);
    came = number;
    moco_trainer *trainer = atomic_load(&running);
    if (trainer != NULL)
        moco_trainer_cancel(trainer);
}

void stop_signal_catch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void stop_signal_cancels(moco_trainer *trainer)
{
    atomic_store(&running, trainer);
}

int stop_signal_came(void)
{
    return came;
}
