/* SPDX-License-Identifier: MIT
 *
 * share: which positions of a batch belong to which rank. A rank has whole BN groups. If these are contiguous slices
 * of the batch, the rank has one contiguous slice of it. If position n belongs to group n mod groups (`interleave`),
 * the rank has the positions n with n mod ranks = rank, and its local row i belongs to local group i mod (groups /
 * ranks). What a reader would get wrong: a position belongs to the same rank in every batch, also in a last one that
 * is not full; some ranks then have fewer positions or none. */
#ifndef MOCO_LIB_SHARE_H
#define MOCO_LIB_SHARE_H

/* All: 0 <= rank < ranks, and `batch` is a multiple of `ranks`. */

/* The place of row `local` (0 to batch / ranks - 1) of a rank's share; it grows with `local`. */
int share_place(int batch, int interleave, int rank, int ranks, int local);

/* How many places below `filled` (0 to batch) are this rank's: its rows in a batch of so many samples. */
int share_rows(int batch, int interleave, int rank, int ranks, int filled);

#endif
