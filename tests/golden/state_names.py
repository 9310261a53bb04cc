#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints, for each ResNet of torchvision, what tests/unit/network/test_net.c compares with: trainable numbers, tensors of the
state dict, and FNV-1a (64 bits) over the lines "name d0 d1 ...\\n" of its names and shapes in order. Needs torchvision."""
import torchvision

for depth in (18, 34, 50, 101, 152):
    model = getattr(torchvision.models, f"resnet{depth}")()
    numbers = sum(p.numel() for p in model.parameters())
    state = model.state_dict()
    digest = 0xCBF29CE484222325
    for name, tensor in state.items():
        for byte in " ".join([name, *map(str, tensor.shape)]).encode() + b"\n":
            digest = (digest ^ byte) * 0x100000001B3 % 2**64
    print(f'{{"resnet{depth}", {numbers}, {len(state)}, UINT64_C(0x{digest:016x})}},')
