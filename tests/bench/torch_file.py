#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Saves a ResNet-50 of torchvision as torch.save does, for the benchmark of imports. Prints its size as JSON.

    python3 tests/bench/torch_file.py FILE
"""
import json
import os
import sys

import torch
import torchvision

torch.save(torchvision.models.resnet50().state_dict(), sys.argv[1])
print(json.dumps({"mb": round(os.path.getsize(sys.argv[1]) / 1e6, 1)}))
