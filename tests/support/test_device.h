/* SPDX-License-Identifier: MIT
 *
 * test_device: which device a test run is about, decided here alone: MOCO_TEST_DEVICE, or "cpu". What a reader would get
 * wrong: a device that is not there is no reason to skip. A test that runs nothing on the device it was asked about
 * would pass, and whoever asked would believe it; so every test program ends at once, as failed, where
 * MOCO_TEST_DEVICE names no device of this build, and test_device() where it cannot be opened. */
#ifndef MOCO_TESTS_TEST_DEVICE_H
#define MOCO_TESTS_TEST_DEVICE_H

#include <stdint.h>

struct backend;
struct be_plan;
struct graph;
struct relu_masks;

/* Its name. Ends the program, as failed and with the reason, if it cannot be opened. */
const char *test_device(void);

/* What a comparison runs on: "ref", and test_device() if that is another. Their number. */
int test_devices(const char *names[2]);

/* 1: its master type is f64, and it rounds nowhere unless it is told to, as "ref". Ends the program as above. */
int test_device_is_exact(const char *name);

/* 1: it runs behind its caller: what returned may not have been done. */
int test_device_is_behind(const char *name);

/* Bytes that all open devices of this kind hold in memory of their own, which no context counts; 0 where a device takes
 * its memory from the context. */
int64_t test_device_own_bytes(const char *name);

/* How many parts of steps, and commits, all open devices "late" have repeated from a recording. */
int64_t test_device_repeats(void);

/* How often devices of this kind have asked their driver for memory so far; -1: there is no driver that counts. A simulated
 * driver touches pages of its own at any time, so that fresh pages of the process say nothing of such a device. */
int64_t test_device_takes(const char *name);

/* ---- devices that only tests have ---- */

/* "twin:0" and "twin:1": "ref" under a name that nothing in src/ knows. */
const struct backend *backend_twin(void);

/* Reads what the ReLUs of a device's training plan let through (relu_masks.h); NULL: nobody can tell, and a comparison
 * with "ref" has to do without. */
typedef void (*test_mask_reader)(const struct be_plan *plan, const struct graph *graph, struct relu_masks *masks);
test_mask_reader test_device_masks(const char *name);

/* For test_device_own_bytes: -1 where nobody counts them. */
int64_t test_device_counted(const char *name);

#endif
