/* SPDX-License-Identifier: MIT
 *
 * contention: whether a run shares its processors with other programs. That slows it by more than their share: the
 * threads of a step wait for each other, and all wait for a thread that has lost its core. It is reported in one
 * sentence, once. What a reader would get wrong: a run that loses its cores to its own threads (more threads than
 * cores, or the loader's) is not slowed by others, and a run that only waits for data leaves cores idle. Neither
 * counts. */
#ifndef MOCO_EXAMPLES_CONTENTION_H
#define MOCO_EXAMPLES_CONTENTION_H

#include <stddef.h>
#include <stdint.h>

/* What a stretch of a run used, and what there was. */
struct contention_use {
    double seconds;    /* of the clock */
    double own;        /* processor seconds of this process, all its threads */
    double all;        /* of everybody on the processors that it may use, hypervisor's share included */
    int processors;    /* that it may use */
    int64_t preempted; /* times that a thread of it lost its processor against its will */
};

/* What has been used so far, of this process and this machine; 0: /proc does not say. */
int contention_read(struct contention_use *use);

/* What was used between two of them. */
void contention_between(const struct contention_use *from, const struct contention_use *to,
                        struct contention_use *passed);

/* The share of the processors that others took from it, or 0 if they took nothing that it wanted. */
double contention_share(const struct contention_use *use);

struct contention {
    struct contention_use at; /* sums since the machine, or the process, started */
    int started, shared, said;
    char text[400];
};

/* Call it after each step, with what would help (wait_policy_advice). Looks every ten seconds. Returns a sentence when
 * two looks in a row found others, once in a run; NULL otherwise, and where /proc does not tell. */
const char *contention_step(struct contention *contention, const char *advice);

/* The sentence. advice: "" if there is none. */
void contention_sentence(double share, const char *advice, char *text, size_t size);

#endif
