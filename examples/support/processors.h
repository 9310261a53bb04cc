/* SPDX-License-Identifier: MIT
 *
 * processors: how much of the machine this process gets beside others, found by asking for all of it for a moment. What
 * a reader would get wrong: the load average would say what the last minute was like, and in a container it tells of
 * the whole machine; this is what is given now, and here. */
#ifndef MOCO_EXAMPLES_PROCESSORS_H
#define MOCO_EXAMPLES_PROCESSORS_H

/* Part of the processor time that `threads` busy threads got of what they asked for, 0..1; takes a tenth of a second. 1
 * where it cannot be found out. */
double processors_share(int threads);

#endif
