#!/bin/sh
# SPDX-License-Identifier: MIT
# Every form of moco/export.h in the program that it is for: torch.load, torchvision, the reference's module and SGD,
# detectron2's names, timm, onnx's checker, ONNX Runtime, safetensors. A ResNet-50 as MoCo v2 has it, and small networks
# of every stem, head and block.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:=build}"
torch=/usr/bin/python3 onnx=$BUILD/peers/bin/python
"$torch" -c 'import torchvision' 2>/dev/null || { echo "SKIPPED: no torchvision (Debian: python3-torchvision)"; exit 0; }
PYTHONPATH=$BUILD/peers-timm "$torch" -c 'import timm' 2>/dev/null || { echo "SKIPPED: no timm in $BUILD/peers-timm (.ci/run)"; exit 0; }
"$onnx" -c 'import onnx, onnxruntime, safetensors' 2>/dev/null || { echo "SKIPPED: no onnxruntime in $BUILD/peers (.ci/run)"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
write() { # folder, tool_export's arguments
    folder=$work/$1
    shift
    mkdir "$folder" && "$BUILD/tests/peers/tool_export" "$folder" "$@" || { echo "tool_export $*: failed"; failed=1; }
}

write v2
"$BUILD/examples/convert" "$work/v2/state.pth.tar" "$work/v2/state.safetensors" &&
    "$BUILD/examples/convert" "$work/v2/state.safetensors" "$work/v2/back.pth.tar" || failed=1
PYTHONPATH=$BUILD/peers-timm "$torch" tests/peers/export_torch.py "$work/v2" 64 || failed=1
"$onnx" tests/peers/export_onnx.py "$work/v2" 64 pool || failed=1
"$torch" -W ignore tests/peers/export_detection.py "$work/v2/backbone.pth" || failed=1
rm -rf "$work/v2"

# network stem head width dim side
for network in "resnet18 cifar linear 0.25 16 32" "resnet34 small simclr-v1 0.125 8 32" "resnet18 imagenet simclr-v2 0.5 24 64"; do
    # shellcheck disable=SC2086
    write small $network
    echo "== $network"
    case $network in *imagenet*) pool=pool ;; *) pool=none ;; esac
    "$onnx" tests/peers/export_onnx.py "$work/small" "${network##* }" $pool || failed=1
    "$torch" -c 'import sys, torch
for name in ("backbone", "whole"):
    weights = torch.load(f"{sys.argv[1]}/{name}.pth", weights_only=True)
    print(f"{name}.pth: {len(weights)} tensors")' "$work/small" || failed=1
    rm -rf "$work/small"
done
exit $failed
