/* SPDX-License-Identifier: MIT
 *
 * planted: kernels with one fault each, and some that are sound, run by name in a program of their own: ops/cudasim/test_simt.sh
 * compiles it with and without sanitizers, and wants each fault to be told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kernels/mma.cuh"

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

/* Numbers of 16 bits: a has row * 16 + column, less 128, b 3 * row + 5 * column, less 40, and the sum begins at 2016. Every
 * number of a lane stands where PTX's table says; what comes of it is 2016 if it is the product of the two. `order`: of the
 * words of a, as the table has them 0, 1, 2, 3; `step`: between the two numbers of a word, along k. */
template <class T> static void mma_of_16_bits(const struct planted_args &a, const int (&order)[4], int step)
{
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    uint32_t left[4] = {}, right[2] = {};
    float sum[4] = {2016, 2016, 2016, 2016};
    for (int i = 0; i < 8; i++) {
        const int row = i < 2 || (i >= 4 && i < 6) ? g : g + 8,
                  column = (step == 1 ? 2 * t : t) + i % 2 * step + (i < 4 ? 0 : 8);
        pack<T>(left + order[i / 2], i % 2, (float)(row * 16 + column - 128));
    }
    for (int i = 0; i < 4; i++) {
        const int row = 2 * t + i % 2 + (i < 2 ? 0 : 8);
        pack<T>(right + i / 2, i % 2, (float)(3 * row + 5 * g - 40));
    }
    multiply_16<T>(sum, left, right);
    for (int i = 0; i < 4; i++) {
        const int row = i < 2 ? g : g + 8, column = 2 * t + i % 2;
        for (int k = 0; k < 16; k++)
            sum[i] -= (float)((row * 16 + k - 128) * (3 * k + 5 * column - 40));
    }
    a.numbers[blockIdx.x * 64 + threadIdx.x] = sum[0] == sum[1] && sum[1] == sum[2] && sum[2] == sum[3] ? sum[0] : 0;
}

static const int in_order[4] = {0, 1, 2, 3};

PLANTED(sound_mma_of_bf16)
{
    mma_of_16_bits<struct bf16>(a, in_order, 1);
}

PLANTED(sound_mma_of_fp16)
{
    mma_of_16_bits<struct f16>(a, in_order, 1);
}

PLANTED(mma_with_rows_for_columns)
{
    const int order[4] = {0, 2, 1, 3};
    mma_of_16_bits<struct bf16>(a, order, 1);
}

PLANTED(mma_as_of_tf32) /* whose lanes have columns t and t + 4 */
{
    mma_of_16_bits<struct f16>(a, in_order, 4);
}

PLANTED(mma_of_16_bits_without_a_lane)
{
    if (threadIdx.x == 9)
        return;
    mma_of_16_bits<struct bf16>(a, in_order, 1);
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
} kernels[] = {ROW(sound_sum),
               ROW(sound_shuffle),
               ROW(sound_mma),
               ROW(missing_barrier),
               ROW(write_after_read),
               ROW(shared_overrun),
               ROW(unset_shared),
               ROW(barrier_after_exit),
               ROW(two_blocks_one_number),
               ROW(global_overrun),
               ROW(two_barriers),
               ROW(shuffle_outside),
               ROW(shuffle_alone),
               ROW(mma_of_f32),
               ROW(mma_without_a_lane),
               ROW(too_much_shared),
               ROW(sound_mma_of_bf16),
               ROW(sound_mma_of_fp16),
               ROW(mma_as_of_tf32),
               ROW(mma_with_rows_for_columns),
               ROW(mma_of_16_bits_without_a_lane)};

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
