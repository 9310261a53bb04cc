#!/bin/sh
# SPDX-License-Identifier: MIT
# A checkpoint of MoCo v2 with ResNet-50 as the reference writes it, in both of torch.save's containers (600 MB): 809
# tensors equal to the last bit, within the promised memory; as they are read, and imported into a trainer.
command -v python3 >/dev/null && /usr/bin/python3 -c 'import torchvision' 2>/dev/null || { echo "SKIPPED: no torchvision (Debian: python3-torchvision)"; exit 0; }
sh "$(dirname "$0")/../golden/test_weights.sh" --full && exec sh "$(dirname "$0")/../golden/test_import.sh" --full
