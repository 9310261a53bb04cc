/* SPDX-License-Identifier: MIT
 *
 * stop_signal: see stop_signal.h. The handler calls only moco_trainer_cancel and sigaction, which are
 * async-signal-safe. */
#include "stop_signal.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static volatile sig_atomic_t came;
static _Atomic(moco_trainer *) running;

static void on_signal(int number)
{
    if (number == SIGINT || number == SIGTERM) { /* whoever asks again wants no more waiting */
        struct sigaction usual;
        memset(&usual, 0, sizeof usual);
        usual.sa_handler = SIG_DFL;
        sigaction(SIGINT, &usual, NULL);
        sigaction(SIGTERM, &usual, NULL);
    }
    if (came == 0)
        came = number;
    moco_trainer *trainer = atomic_load(&running);
    if (trainer != NULL)
        moco_trainer_cancel(trainer);
}

void stop_signal_handle(void (*handler)(int number))
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    for (int i = 0; i < NUMBERS; i++)
        sigaddset(&action.sa_mask, numbers[i]);
    for (int i = 0; i < NUMBERS; i++) {
        int ignored = sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN;
        if (numbers[i] != SIGHUP || !ignored)
            sigaction(numbers[i], &action, NULL);
    }
}

void stop_signal_catch(void)
{
    stop_signal_handle(on_signal);
}

void stop_signal_cancels(moco_trainer *trainer)
{
    atomic_store(&running, trainer);
}

int stop_signal_came(void)
{
    return came;
}
