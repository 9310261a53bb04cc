# SPDX-License-Identifier: MIT
"""MoCo v2's step in PyTorch on a GPU, eager and compiled, on pictures of noise: what tests/gpu/run compares with.

Prints a JSON object a line: pictures a second of ResNet-50 at 224 pixels, batch 256, a queue of 65536 keys, channels
last, in f32 (TF32 off and on) and under autocast to bf16. Batch norm is not split into groups, which favours PyTorch.
"""
import json
import time

import torch
import torchvision

BATCH, KEYS, DIM, SECONDS = 256, 65536, 128, 8


def network():
    net = torchvision.models.resnet50(num_classes=DIM)
    net.fc = torch.nn.Sequential(torch.nn.Linear(2048, 2048), torch.nn.ReLU(), net.fc)
    return net.cuda().to(memory_format=torch.channels_last)


def measure(name, autocast, tf32, compiled):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    query, key = network(), network()
    key.load_state_dict(query.state_dict())
    optimizer = torch.optim.SGD(query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    queue = torch.nn.functional.normalize(torch.randn(KEYS, DIM, device="cuda"))
    pictures = [torch.randn(BATCH, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last) for _ in range(2)]
    run_query, run_key = (torch.compile(query), torch.compile(key)) if compiled else (query, key)
    at = 0

    def step():
        nonlocal at
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            q = torch.nn.functional.normalize(run_query(pictures[0]).float())
            with torch.no_grad():
                for k, p in zip(key.parameters(), query.parameters()):
                    k.mul_(0.999).add_(p, alpha=0.001)
                order = torch.randperm(BATCH, device="cuda")
                keys = torch.nn.functional.normalize(run_key(pictures[1][order]).float())[torch.argsort(order)]
            logits = torch.cat([(q * keys).sum(1, keepdim=True), q @ queue.t()], 1) / 0.2
            loss = torch.nn.functional.cross_entropy(logits, torch.zeros(BATCH, dtype=torch.long, device="cuda"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        queue[at : at + BATCH] = keys
        at = (at + BATCH) % KEYS
        return loss

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    begin, count = time.monotonic(), 0
    while time.monotonic() - begin < SECONDS:
        loss = step()
        count += 1
        torch.cuda.synchronize()
    rate = count * BATCH / (time.monotonic() - begin)
    print(json.dumps({"peer": name, "torch": torch.__version__, "img_per_s": round(rate, 1), "loss": round(loss.item(), 4)}), flush=True)


measure("eager f32", False, False, False)
measure("eager tf32", False, True, False)
measure("eager bf16", True, True, False)
measure("compiled bf16", True, True, True)
