#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_isa: the device cpu as older CPUs have it: the same tests with oneDNN, and the kernels that follow it, kept to a
# narrower instruction set from outside. On a CPU that is no wider the runs repeat the ordinary ones.
set -eu
tests=${BUILD:-build}/tests/ops
for isa in AVX2 AVX512_CORE; do
    for test in cpu/test_cpu_backend test_backend_contract; do
        if ! log=$(ONEDNN_MAX_CPU_ISA=$isa "$tests/$test" 2>&1); then
            echo "$log"
            echo "$test failed with ONEDNN_MAX_CPU_ISA=$isa"
            exit 1
        fi
        echo "$test: right with ONEDNN_MAX_CPU_ISA=$isa"
    done
done
