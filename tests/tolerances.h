/* SPDX-License-Identifier: MIT
 *
 * tolerances: every tolerance that more than one test, or a claim in the documentation, leans on, each with its reason.
 * All are relative errors in norm per tensor unless said otherwise. */
#ifndef MOCO_TESTS_TOLERANCES_H
#define MOCO_TESTS_TOLERANCES_H

/* ---- golden: whole steps against PyTorch in float64 ---- */

/* Two computations in double differ by the order of their sums alone: measured at most 4e-14 on these networks (ref
 * against PyTorch 1.13). A missing weight decay changes the update of most weights by more than 1e-3. */
#define TOL_GOLDEN_F64 1e-9
#define TOL_GOLDEN_F64_UPDATE 1e-8

/* PyTorch's own float32 errs by `err` on this tensor (the largest of eight summation orders, stored in the fixture). */
#define TOL_GOLDEN_F32(err) (4 * (err) + 1e-6)

/* `err` is that of an emulation which rounds activations, their gradients and the weights read to bf16: the largest of
 * six draws of the rounding errors. It is some 0.01 on the loss and 0.2 on gradients of these networks, whose BN groups
 * are tiny. Of 17,000 comparisons (ref and cpu on a Zen 5) the worst stood at 2.1 err, on a tensor of two numbers. */
#define TOL_GOLDEN_BF16(err) (3 * (err) + 4e-3)

/* ---- ops: ref against central differences in double ---- */

/* A step of 1e-5 leaves an error of about 1e-10 from the third derivative and as much from rounding. */
#define TOL_REF_DIFFERENCE 1e-8

/* Through a whole network, over the norm of the tensor's gradient: the third derivative of a loss behind a dozen batch
 * norms is large, and the loss itself is rounded at 1e-15. */
#define TOL_REF_NET_DIFFERENCE 1e-6

/* ---- ops: a device against ref; `err` is that of ref with the same rounding points ---- */

/* ref rounds what is stored but sums in double; a device sums in f32. */
#define TOL_DEVICE_F32(err) (8 * (err) + 1e-5)

/* The same through 49 layers and back: a gradient is then a sum of what as many f32 sums left. Measured: 3e-5. */
#define TOL_DEVICE_F32_DEEP(err) (8 * (err) + 1e-4)

/* ReLUs that a device finds open where ref finds them closed, or the other way round: numbers whose rounding error is
 * greater than they are. Measured in f32: 1 of 700,000 after 49 layers, which alone moves gradients by 5 %; none in the
 * shallow networks. In bf16 one in 1,000, and 3 % after 49 layers. The second: how large such a number may be, against
 * the root of the mean square of its map. */
#define TOL_FLIPS_F32 1e-5
#define TOL_FLIPPED_F32 1e-4
#define TOL_FLIPS_BF16 0.06

/* Rounding to bf16 outweighs any sum; the errors of two such computations are of one size but not the same. */
#define TOL_DEVICE_BF16(err) (3 * (err) + 4e-3)

/* TF32 and fp16 have 3 bits more than bf16: the same, an eighth of it. */
#define TOL_DEVICE_TF32(err) (3 * (err) + 5e-4)
#define TOL_FLIPS_TF32 8e-3

/* ---- ops: two ways to the same numbers on one device ---- */

/* The same arithmetic in another order: f64, f32; in bf16 a sum in another order may round to the neighbour. */
#define TOL_SAME(precision) ((precision) == BE_F64 ? 1e-12 : (precision) == BE_F32 ? 2e-5 : 2e-2)

/* BN folded into convolutions against BN after them. In bf16 the folded weights are rounded, not the weights. */
#define TOL_FOLDED(precision) ((precision) == BE_F64 ? 1e-10 : (precision) == BE_F32 ? 2e-4 : 1e-1)

/* One number, computed in reals of the device and once in double. */
#define TOL_REAL(real_bytes) ((real_bytes) == 8 ? 1e-14 : 2e-6)

/* InfoNCE from f32 rows: a similarity errs by some 1e-7, and is divided by the temperature before the exponential. */
#define TOL_INFONCE_F32(temperature) (2e-6 + 4e-7 / (temperature))

/* ---- one step said in two ways, on one device ---- */

/* In double the two differ by the order of their sums: 1e-12 was seen on gradients after three steps of narrow networks
 * whose last layers see four numbers per BN group. */
#define TOL_SUM_ORDER 1e-10

/* In float32, after one step; such BN layers multiply a rounding error by up to a thousand. */
#define TOL_SUM_ORDER_F32 2e-3

#endif
