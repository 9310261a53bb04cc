/* SPDX-License-Identifier: MIT
 *
 * program_start: see program_start.h. */
#include "program_start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file/file_retry.h"

/* open takes the lowest free number, so each call fills the next gap. Where there is no /dev/null the root folder holds
 * the number: it can neither be read nor written. */
static void fill_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

void program_start(void)
{
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    fill_standard_streams();
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

const char *program_output_lost(void)
{
    static const char *reason; /* of the first failure that was seen: later ones say less */
    static char text[FILE_REASON];
    errno = 0;
    int failed = fflush(stdout) != 0 || ferror(stdout);
    if (failed && reason == NULL)
        reason = errno != 0 ? file_reason(errno, text) : "an earlier write failed";
    return reason;
}

int program_printed(const char *program)
{
    const char *lost = program_output_lost();
    if (lost != NULL)
        fprintf(stderr, "%s: what it prints cannot be written: %s\n", program, lost);
    return lost != NULL;
}
