/* SPDX-License-Identifier: MIT
 *
 * faulty_calls: lets one system call on files fail while a fuzz target runs the library. Every target is linked with it
 * and with --wrap for those calls (support/files/file_faults.h), the fuzzer's own calls go through while nothing is set. */
#ifndef MOCO_FUZZ_FAULTY_CALLS_H
#define MOCO_FUZZ_FAULTY_CALLS_H

/* Reasons from the list of those that differ to the library, by number; 0: none. */
int faulty_reason(unsigned number);

/* From now on the call number `at`, from 0, fails with errno `error`; 0: none fails. */
void faulty_calls_begin(int at, int error);

enum faulty_outcome {
    FAULTY_NONE,    /* nothing failed, or what the library must make good: EINTR of opening and reading, closing */
    FAULTY_OPEN,    /* it could not be opened */
    FAULTY_FAILURE, /* anything else: an I/O error */
};
enum faulty_outcome faulty_calls_end(void);

#endif
