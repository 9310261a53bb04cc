/* SPDX-License-Identifier: MIT
 *
 * faulty_calls: see faulty_calls.h. */
#define _GNU_SOURCE
#include "fuzz/support/faulty_calls.h"

#include "support/files/file_faults.h"

int faulty_reason(unsigned number)
{
    static const int errors[] = {0, EIO, EINTR, ENOMEM, ENOENT, EACCES, EMFILE, ESTALE};
    return errors[number % (sizeof errors / sizeof *errors)];
}

void faulty_calls_begin(int at, int error)
{
    fault_set(error != 0 ? FAULT_ERROR : FAULT_NONE, error, 0, at);
}

enum faulty_outcome faulty_calls_end(void)
{
    int again = fault.error == EINTR, open = fault.hit[CALL_OPEN], read = fault.hit[CALL_READ];
    int other = fault.hits - open - read - fault.hit[CALL_CLOSE];
    fault_off();
    if (other > 0 || (read > 0 && !again))
        return FAULTY_FAILURE;
    return open > 0 && !again ? FAULTY_OPEN : FAULTY_NONE;
}
