/* SPDX-License-Identifier: MIT
 *
 * child: see child.h. */
#define _DEFAULT_SOURCE /* wait4 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "file_retry.h"
#include "human.h"
#include "stop_signal.h"

extern char **environ;

static volatile sig_atomic_t running, came;

static void on_signal(int number)
{
    came = number;
    if (running > 0)
        kill((pid_t)running, SIGTERM);
}

void child_catch_signals(void)
{
    stop_signal_handle(on_signal);
}

int child_stopped(void)
{
    return came;
}

/* A terminal's interrupt key reaches the whole process group. The child has a group of its own, so that it gets the
 * signal once. */
static int start(pid_t *pid, const char *const *word, const char *log)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t usual;
    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGUSR1); /* SIGHUP stays as it was: caught here it is usual there, ignored it is so in both */
    int error = posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&files, 1, 2);
    if (error == 0)
        error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (error == 0)
        error = posix_spawnattr_setsigdefault(&attributes, &usual);
    if (error == 0)
        error = posix_spawn(pid, word[0], &files, &attributes, (char *const *)(uintptr_t)word, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

moco_status child_run(const char *const *word, const char *log, struct child_result *result, struct err *err)
{
    pid_t pid;
    int status;
    struct rusage usage;
    double begun = seconds_now();
    int error = start(&pid, word, log);
    if (error != 0)
        return err_set(err, MOCO_EIO, "%.300s cannot be run: %s", word[0], file_reason(error, (char[FILE_REASON]){0}));
    running = (sig_atomic_t)pid;
    if (came)
        kill(pid, SIGTERM); /* it came between the two lines above */
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return err_set(err, MOCO_EIO, "waiting for %.300s failed: %s", word[0],
                           file_reason(errno, (char[FILE_REASON]){0}));
    running = 0;
    result->exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result->peak_mb = (double)usage.ru_maxrss / 1024;
    result->seconds = seconds_now() - begun;
    return MOCO_OK;
}
