/* SPDX-License-Identifier: MIT
 *
 * share: see share.h. */
#include "share.h"

int share_place(int batch, int interleave, int rank, int ranks, int local)
{
    return interleave ? local * ranks + rank : rank * (batch / ranks) + local;
}

int share_rows(int batch, int interleave, int rank, int ranks, int filled)
{
    int most = batch / ranks, rows = interleave ? (filled - rank + ranks - 1) / ranks : filled - rank * most;
    return rows < 0 ? 0 : rows > most ? most : rows;
}
