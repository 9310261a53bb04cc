/* SPDX-License-Identifier: MIT
 *
 * processors: how much of the machine this process gets beside others, measured by using all of it for a moment.
 * What a reader would get wrong: the load average describes the last minute, and in a container the whole machine.
 * This describes now and this process. */
#ifndef MOCO_EXAMPLES_PROCESSORS_H
#define MOCO_EXAMPLES_PROCESSORS_H

/* Part of the processor time that `threads` busy threads got of what they asked for, 0..1; takes a tenth of a second. 1
 * where it cannot be found out. */
double processors_share(int threads);

#endif
