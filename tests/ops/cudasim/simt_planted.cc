/* SPDX-License-Identifier: MIT
 *
 * planted: kernels with one fault each, and three that are sound, run by name in a program of their own: ops/cudasim/test_simt.sh
 * compiles it with and without sanitizers, and wants each fault to be told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct planted_args {
    float *numbers; /* [512] */
};

#define PLANTED(name)                                                                                                  \
    static void name(struct planted_args a);                                                                           \
    static void run_##name(const void *args)                                                                           \
    {                                                                                                                  \
        name(*(const struct planted_args *)args);                                                                      \
    }                                                                                                                  \
    static void name(struct planted_args a)

/* Sums what the block's threads have, by shared memory; then by shuffles. */
PLANTED(sound_sum)
{
    SHARED(float, all, [64]);
    all[threadIdx.x] = (float)threadIdx.x;
    for (unsigned half = 32; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            all[threadIdx.x] += all[threadIdx.x + half];
    }
    __syncthreads();
    a.numbers[blockIdx.x * 64 + threadIdx.x] = all[0];
}

PLANTED(sound_shuffle)
{
    float sum = (float)threadIdx.x;
    for (int x = 16; x > 0; x /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, x);
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum + (threadIdx.x < 32 ? 1520 : 496);
}

/* Of two matrices of ones, 8 deep: what comes of it depends on no lane. */
PLANTED(sound_mma)
{
    const float left[4] = {1, 1, 1, 1}, right[2] = {1, 1};
    float sum[4] = {2008, 2008, 2008, 2008};
    mma_16x8x8(sum, left, right);
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum[threadIdx.x % 4];
}

PLANTED(mma_of_f32)
{
    const float left[4] = {1, 1, 1.0001f, 1}, right[2] = {1, 1};
    float sum[4] = {2008, 2008, 2008, 2008};
    mma_16x8x8(sum, left, right);
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum[0];
}

PLANTED(mma_without_a_lane)
{
    const float left[4] = {1, 1, 1, 1}, right[2] = {1, 1};
    float sum[4] = {2008, 2008, 2008, 2008};
    if (threadIdx.x == 9)
        return;
    mma_16x8x8(sum, left, right);
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum[0];
}

PLANTED(missing_barrier)
{
    SHARED(float, all, [64]);
    all[threadIdx.x] = (float)threadIdx.x;
    a.numbers[blockIdx.x * 64 + threadIdx.x] = all[63 - threadIdx.x] + (float)threadIdx.x + 1953;
}

/* The next round writes what a thread that is late has not read. */
PLANTED(write_after_read)
{
    SHARED(float, one, [1]);
    float sum = 0;
    for (int round = 0; round < 64; round++) {
        if (threadIdx.x == (unsigned)round)
            one[0] = (float)round;
        __syncthreads();
        sum += one[0];
    }
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum;
}

PLANTED(two_blocks_one_number)
{
    a.numbers[threadIdx.x] += 1008.0f;
}

PLANTED(shared_overrun)
{
    SHARED(float, all, [64]);
    all[threadIdx.x + 1] = 1;
}

PLANTED(global_overrun)
{
    a.numbers[blockIdx.x * 64 + threadIdx.x + 449 - 448 * blockIdx.x / 7] = 1;
}

PLANTED(unset_shared)
{
    SHARED(float, all, [64]);
    if (threadIdx.x != 5)
        all[threadIdx.x] = 2016;
    __syncthreads();
    a.numbers[blockIdx.x * 64 + threadIdx.x] = all[threadIdx.x];
}

PLANTED(barrier_after_exit)
{
    if (threadIdx.x == 7)
        return;
    __syncthreads();
    a.numbers[0] = 0;
}

PLANTED(two_barriers)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    a.numbers[0] = 0;
}

PLANTED(shuffle_outside)
{
    a.numbers[blockIdx.x * 64 + threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, threadIdx.x % 32);
}

PLANTED(shuffle_alone)
{
    if (threadIdx.x % 32 != 3)
        a.numbers[blockIdx.x * 64 + threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

PLANTED(too_much_shared)
{
    SHARED(float, all, [13000]);
    all[threadIdx.x] = 1;
    a.numbers[0] = all[threadIdx.x];
}

#define ROW(name)                                                                                                      \
    {                                                                                                                  \
#name, run_##name                                                                                              \
    }
static const struct {
    const char *name;
    void (*run)(const void *args);
} kernels[] = {ROW(sound_sum),       ROW(sound_shuffle),      ROW(sound_mma),
               ROW(missing_barrier), ROW(write_after_read),   ROW(shared_overrun),
               ROW(unset_shared),    ROW(barrier_after_exit), ROW(two_blocks_one_number),
               ROW(global_overrun),  ROW(two_barriers),       ROW(shuffle_outside),
               ROW(shuffle_alone),   ROW(mma_of_f32),         ROW(mma_without_a_lane),
               ROW(too_much_shared)};

/* NAME SEED: every number that comes out must be 2016, the sum of 0 to 63. */
int main(int argc, char **argv)
{
    const struct simt_dim grid = {8, 1, 1}, block = {64, 1, 1};
    struct planted_args args = {(float *)calloc(512, sizeof(float))};
    int wrong = 0, found = 0;
    if (argc != 3 || args.numbers == NULL)
        return 2;
    simt_seed(strtoull(argv[2], NULL, 10));
    for (unsigned i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
        if (strcmp(kernels[i].name, argv[1]) == 0) {
            simt_launch(kernels[i].run, &args, grid, block);
            found = 1;
        }
    int used = strcmp(argv[1], "two_blocks_one_number") == 0 ? 64 : 512;
    for (int i = 0; i < used; i++)
        wrong += args.numbers[i] != (used == 64 ? 8064.0f : 2016.0f);
    if (wrong > 0)
        printf("%d numbers are wrong\n", wrong);
    free(args.numbers);
    return !found ? 2 : wrong > 0;
}
