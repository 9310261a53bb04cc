#!/bin/sh
# SPDX-License-Identifier: MIT
# The simulator of CUDA's threads (tests/support/cudasim/simt.h) finds what it promises to find: kernels with one fault each
# (simt_planted.cc), plain in three orders of threads and blocks, and under two sanitizers; and says nothing of those that are
# sound. Then all kernels of the backend under both sanitizers (simt_kernels.cc, simt_nearest.cc), and with one fault planted in each of
# some copies of them.
set -u
: "${CXX:=c++}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 count=0
fail() {
    echo "$*"
    failed=1
}

compile() { # output, program, kernels' root, flags...
    out=$work/$1 program=$2 root=$3
    shift 3
    "$CXX" -std=c++17 -O1 -g -I"$root" -Iinclude -Ilib -Isrc -Itests -include tests/support/cudasim/simt.h "$@" -o "$out" \
        "tests/ops/cudasim/$program" tests/support/cudasim/simt.cc -fno-exceptions -fno-rtti
}
compile plain simt_planted.cc src &
compile address simt_planted.cc src -fsanitize=address &
compile thread simt_planted.cc src -fsanitize=thread &
wait
for build in plain address thread; do
    [ -x "$work/$build" ] || { echo "no $build build"; exit 1; }
done

seeds() { # of a build: a sanitizer looks at more than what comes out, and is slow to start
    if [ "$1" = plain ]; then echo 1 2 3; else echo 1; fi
}
sound() { # build, kernel
    for seed in $(seeds "$1"); do
        "$work/$1" "$2" $seed >"$work/said" 2>&1 || fail "$1: $2 is sound, and was not found to be: $(head -n 3 "$work/said")"
    done
    count=$((count + 1))
}
found() { # build, kernel, words
    for seed in $(seeds "$1"); do
        "$work/$1" "$2" $seed >"$work/said" 2>&1 && fail "$1: $2 was not found with seed $seed"
        grep -q -- "$3" "$work/said" || fail "$1: $2: \"$3\" is not what was said: $(head -n 3 "$work/said")"
    done
    count=$((count + 1))
}
for build in plain address thread; do
    sound $build sound_sum
    sound $build sound_shuffle
    sound $build sound_mma
    sound $build sound_mma_of_bf16
    sound $build sound_mma_of_fp16
    found $build barrier_after_exit "a thread waits at a barrier, and another has ended: block .*simt_planted.cc:"
    found $build two_barriers "different barriers"
    found $build shuffle_outside "a shuffle outside of its mask"
    found $build shuffle_alone "names a thread that is not there"
    found $build mma_of_f32 "not in TF32: block .*simt_planted.cc:"
    found $build mma_without_a_lane "names a thread that is not there"
    found $build mma_of_16_bits_without_a_lane "names a thread that is not there"
    found $build mma_as_of_tf32 "512 numbers are wrong"
    found $build mma_with_rows_for_columns "512 numbers are wrong"
    found $build too_much_shared "more shared memory than a block has"
    found $build unset_shared "8 numbers are wrong"
done
found plain missing_barrier "numbers are wrong"
found plain write_after_read "numbers are wrong"
found address shared_overrun "AddressSanitizer: use-after-poison"
found address global_overrun "AddressSanitizer: heap-buffer-overflow"
for kernel in missing_barrier write_after_read two_blocks_one_number; do
    found thread $kernel "WARNING: ThreadSanitizer: data race"
done

# ---- the kernels of the backend ----
compile kernels_address simt_kernels.cc src -fsanitize=address,undefined -fno-sanitize-recover=undefined &
compile kernels_thread simt_kernels.cc src -fsanitize=thread &
compile nearest_address simt_nearest.cc src -fsanitize=address,undefined -fno-sanitize-recover=undefined &
compile nearest_thread simt_nearest.cc src -fsanitize=thread &
wait
for build in kernels_address kernels_thread nearest_address nearest_thread; do
    ASAN_OPTIONS=detect_leaks=0 "$work/$build" 1 >"$work/said" 2>&1 || fail "$build: $(head -n 5 "$work/said")"
    count=$((count + 1))
done

# FILE, the fault as an expression of sed, kernels that are run, sanitizer, what it says, [the program that runs them]
mutated() {
    rm -rf "$work/src"
    mkdir -p "$work/src/backend/cuda"
    cp -r src/backend/cuda/kernels "$work/src/backend/cuda"
    sed -i "$2" "$work/src/backend/cuda/kernels/$1"
    cmp -s "$work/src/backend/cuda/kernels/$1" "src/backend/cuda/kernels/$1" && fail "$1: nothing was planted by $2"
    compile mutant "${6:-simt_kernels.cc}" "$work/src" -fsanitize="$4" || fail "$1: $2 does not compile"
    ASAN_OPTIONS=detect_leaks=0 "$work/mutant" 1 "$3" >"$work/said" 2>&1 && fail "$1: $2 was not found"
    grep -q -- "$5" "$work/said" || fail "$1: $2: \"$5\" is not what was said: $(head -n 3 "$work/said")"
    count=$((count + 1))
}
mutated product.cuh 's/^        __syncthreads();//' products thread "data race"
mutated bn.cu 's/^    __syncthreads();//' batch_norm thread "data race"
mutated kernel.cuh 's/^        __syncthreads();//' losses thread "data race"
mutated nce.cu 's/^        __syncthreads();//' one_pass thread "data race"
mutated product.cu 's/if (to_row >= e.rows || to_column >= e.columns)/if (to_row >= e.rows)/' products address "heap-buffer-overflow"
mutated product.cuh 's/row < p.rows \&\& k < p.end ? F::at/row < p.rows ? F::at/' matrices address "heap-buffer-overflow"
mutated nce.cu 's/key < end ?/key <= end ?/' one_pass address "heap-buffer-overflow"
mutated nce.cu 's/(int64_t)blockIdx.y \* a.n + row/row/' one_pass address "is not set"
mutated nce.cu 's/query < end ? query : end - 1/query/' one_pass_of_batch address "heap-buffer-overflow"
mutated nce.cu 's/query < a.length ? fmaf/query <= a.length ? fmaf/' one_pass_of_batch address "heap-buffer-overflow"
mutated bn.cu 's/r + f \* step < my.end ? first/true ? first/' batch_norm address "heap-buffer-overflow"
mutated bn.cu 's/a.c % 8 == 0/a.c > 8/' batch_norm address "heap-buffer-overflow"
mutated kernel.cuh 's/wide \&\& c + 4 <= count/wide/' slabs address "heap-buffer-overflow"
mutated slab.cu 's/row \* param.padded + channel;/row * (param.padded + 1) + channel;/' slabs address "heap-buffer-overflow"
mutated nearest.cu 's/^        __syncthreads();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/^    __syncthreads();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/^            __syncthreads();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/^            __syncwarp();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/^        __syncwarp();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/^    __syncwarp();//' nearest thread "data race" simt_nearest.cc
mutated nearest.cu 's/if (query >= queries)/if (query > queries)/' nearest address "heap-buffer-overflow" simt_nearest.cc
mutated nearest.cu 's/q < queries; q/q <= queries; q/' nearest address "heap-buffer-overflow" simt_nearest.cc
mutated nearest.cu 's/q < a.n - (int)blockIdx.x/q <= a.n - (int)blockIdx.x/' nearest address "heap-buffer-overflow" simt_nearest.cc
mutated nearest.cu 's/fresh <= KEYS - CUDA_TILE/fresh <= KEYS/' nearest address "nearest: neighbour\|AddressSanitizer" simt_nearest.cc
mutated nearest.cu 's/column < rows ? key_of/column <= rows ? key_of/' nearest address "nearest: neighbour\|AddressSanitizer" simt_nearest.cc
mutated nearest.cu 's/if (k > least)/if (k > least + ((key)1 << 55))/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/: bits | 0x80000000u/: bits/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/bits >> 31 ? ~bits :/bits >> 31 ? bits :/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/| ~row : 0/| row : 0/; s/(unsigned)~(unsigned)k/(unsigned)k/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/cosine == cosine ? (key)/true ? (key)/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/KEYS - 1 - at/at/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/KEYS - 1 - t;/t;/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/ \& size) == 0/ \& size) != 0/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/list\[kept - 1\]/list[0]/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/            count\[q\] = 0;//' nearest address "nearest: neighbour\|AddressSanitizer" simt_nearest.cc
mutated nearest.cu 's/at < count ? fresh/true ? fresh/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/at < kept ? best/true ? best/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/ - KEYS)\[threadIdx.x\] = 0/ - KEYS)[threadIdx.x] += 0/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/left <= CUDA_TILE/false/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/s = 1; s < a.slices/s = 1; s < a.slices - 1/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/fma((double)u.v\[i\], (double)v.v\[i\], sum)/(double)fmaf(u.v[i], v.v[i], (float)sum)/' nearest address "nearest: neighbour" simt_nearest.cc
mutated nearest.cu 's/row_of(list\[i\]) < row_of(mine)/row_of(list[i]) > row_of(mine)/' nearest address "nearest: neighbour" simt_nearest.cc
mutated view.cu 's/^    __syncthreads();//' views thread "data race"
mutated view.cu 's/^        __syncthreads();//' views thread "data race"
mutated view.cu 's/if (x >= a.size || y >= a.size)/if (x >= a.size)/' views address "heap-buffer-overflow"
mutated view.cu 's/k > last ? last : k/k/' views address "views: byte"
mutated view.cu 's/a.size - first < rows ? a.size - first : rows/rows/' views address "heap-buffer-overflow"
echo "$count kernels"
exit $failed
