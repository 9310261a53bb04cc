/* SPDX-License-Identifier: MIT
 *
 * cpu_quota: how much processor time the control groups of this process allow, in version 1 and 2. What a reader
 * would get wrong: a group has no more than any of its ancestors. A container sees neither the whole path of its
 * group nor the hierarchy at the usual path, so that both are looked up. */
#ifndef MOCO_LIB_CPU_QUOTA_H
#define MOCO_LIB_CPU_QUOTA_H

/* The smallest quota of this process's group and of every visible ancestor, in whole processors, rounded up, at most
 * 4096. 0: there is none, or nothing can be read. `root` is put before every path: "" except in tests. */
int cpu_quota(const char *root);

#endif
