# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# Sourced by tests/gpu/run and tests/gpu/cifar, with BUILD: the shared libraries that `make gpu` packed are found, and the module
# of the CUDA devices lies in the folder that these programs were built to look for it in. Another user's is not taken.
[ -d "$BUILD/lib" ] && export LD_LIBRARY_PATH="$BUILD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
case $device in cuda | cuda:*)
    mkdir -m 700 /tmp/libmoco-gpu 2>/dev/null
    [ -O /tmp/libmoco-gpu ] || { echo "/tmp/libmoco-gpu belongs to somebody else"; exit 1; }
    cp "$BUILD/libmoco_cuda.so" /tmp/libmoco-gpu/ || exit 1
    ;;
esac
