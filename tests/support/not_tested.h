/* SPDX-License-Identifier: MIT
 *
 * not_tested: says what this machine cannot be asked about. A reader might take it for a skip: "SKIPPED: " is for what
 * a package or a build option would bring, and fails where nothing may be missing; what a CPU does not have (bf16) is
 * no fault of a run, so it is only said, and run.sh shows the line beside the test's "ok". */
#ifndef MOCO_TESTS_NOT_TESTED_H
#define MOCO_TESTS_NOT_TESTED_H

/* Prints "not tested here: WHAT" on a line of its own, once for each `what` in a process. */
void not_tested_here(const char *what);

#define NO_BF16 "bf16 on the device of the tests: this CPU has no instructions for it"

#endif
