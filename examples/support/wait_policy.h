/* SPDX-License-Identifier: MIT
 *
 * wait_policy: how the threads that compute wait for each other. GNU OpenMP lets them spin for 300,000 pauses, some
 * milliseconds, before they sleep. That is best for a run alone. Beside another program they spin on the cores that
 * their partners need, and a step takes ten times as long. Sleeping at once costs a quarter of the speed of a small
 * network. The programs let them spin for about 60 microseconds, and more briefly beside others (wait_beside). What
 * a reader would get wrong: GNU OpenMP reads the environment when it is loaded, before main. A program that needs
 * another policy therefore starts itself again, once. The library itself neither reads nor sets any of this, and the
 * computed numbers do not depend on it. */
#ifndef MOCO_EXAMPLES_WAIT_POLICY_H
#define MOCO_EXAMPLES_WAIT_POLICY_H

#include <stdint.h>

#define WAIT_CHOICES "auto|active|passive"
#define WAIT_HELP                                                                                                      \
    "how compute threads wait for each other: auto (spin for 60\n"                                                     \
    "microseconds, or a few while other programs take the processors,\n"                                               \
    "then sleep: the default, unless OMP_WAIT_POLICY or\n"                                                             \
    "GOMP_SPINCOUNT is set), active (spin for milliseconds: for an idle\n"                                             \
    "machine), passive (sleep: beside other programs); the same bits"

/* Call it when the command line has been read, before anything is opened or printed. wanted: auto, active, passive, or
 * "" if the user did not say; threads: that will compute, 0: all. Starts the program again with the same arguments,
 * descriptors and signal mask, if its environment has to change; returns if not, or if it cannot be. */
void wait_policy_apply(const char *wanted, int64_t threads, char **argv);

int wait_policy_known(const char *word); /* one of the three */

/* For records: "auto, 950 pauses", "active", "passive", "OMP_WAIT_POLICY=passive", or what was set. After apply. */
const char *wait_policy_text(void);

/* Whether wait_beside may shorten the wait: it is `auto`, and more than one thread computes. After apply. */
int wait_policy_adapts(void);
int wait_policy_threads(void); /* that compute, 0: all */

/* What loses less time beside other programs: "--wait auto", "--wait passive" or "--threads 1"; "": nothing does. */
const char *wait_policy_advice(void);

/* ---- the decision, for tests ---- */

struct wait_environment {
    const char *policy; /* OMP_WAIT_POLICY; NULL: not set */
    const char *spins;  /* GOMP_SPINCOUNT */
    const char *ours;   /* MOCO_WAIT: what a program of ours has set the other two to, "auto 950" */
};

enum wait_kind { WAIT_AUTO, WAIT_ACTIVE, WAIT_PASSIVE, WAIT_GIVEN };

struct wait_plan {
    enum wait_kind kind;
    int restart; /* the other two variables have to change */
    int again;   /* `ours` holds already */
};

struct wait_plan wait_policy_plan(const char *wanted, const struct wait_environment *environment);

/* Turns of GNU OpenMP's loop that take 60 microseconds, if one takes `ns`. */
int wait_policy_spins(double ns);

#endif
