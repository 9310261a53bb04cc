/* SPDX-License-Identifier: MIT
 *
 * not_tested: see the header. */
#include "support/not_tested.h"

#include <stdio.h>
#include <string.h>

void not_tested_here(const char *what)
{
    static char said[8][96];
    size_t i = 0;
    while (i < sizeof said / sizeof said[0] && said[i][0] != 0 && strncmp(said[i], what, sizeof said[0] - 1) != 0)
        i++;
    if (i < sizeof said / sizeof said[0]) {
        if (said[i][0] != 0)
            return;
        snprintf(said[i], sizeof said[0], "%s", what);
    }
    printf("not tested here: %s\n", what);
    fflush(stdout);
}
