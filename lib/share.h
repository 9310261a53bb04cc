/* SPDX-License-Identifier: MIT
 *
 * share: which places of a batch belong to which rank. A rank has whole BN groups: where these are contiguous slices of
 * the batch, one contiguous slice of it; where place n belongs to group n mod groups (`interleave`), the places n with
 * n mod ranks = rank, of which local row i belongs to local group i mod (groups / ranks) in turn. What a reader would
 * get wrong: a place belongs to the same rank in every batch, also in a last one that is not full, where some ranks
 * then have fewer places or none. */
#ifndef MOCO_LIB_SHARE_H
#define MOCO_LIB_SHARE_H

/* All: 0 <= rank < ranks, and `batch` is a multiple of `ranks`. */

/* The place of row `local` (0 to batch / ranks - 1) of a rank's share; it grows with `local`. */
int share_place(int batch, int interleave, int rank, int ranks, int local);

/* How many places below `filled` (0 to batch) are this rank's: its rows in a batch of so many samples. */
int share_rows(int batch, int interleave, int rank, int ranks, int filled);

#endif
