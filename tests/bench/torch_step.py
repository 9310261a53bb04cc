#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""torch_step: the same training step in PyTorch, for comparison with build/bench/step: one JSON object.

    tests/bench/torch_step.py [--arch resnet50] [--size 224] [--batch 16] [--queue 65536] [--precision bf16]
                              [--threads N] [--runs 5] [--layout channels-last|nchw] [--malloc tuned|default]

Best tuned: channels-last, with malloc told to keep its pages (glibc reads these settings at start, so that the script
starts itself again). As the official script runs: --precision f32 --layout nchw --malloc default. What a reader would
get wrong: the batch is one BN group, so nothing is shuffled; the encoder is torchvision's.
"""
import argparse
import json
import os
import resource
import statistics
import time

import torch_settings


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--arch", default="resnet50")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--queue", type=int, default=65536)
    p.add_argument("--precision", default="bf16", choices=["bf16", "f32"])
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--layout", default="channels-last", choices=["channels-last", "nchw"])
    p.add_argument("--malloc", default="tuned", choices=["tuned", "default"])
    return p.parse_args()


def encoder(args, torch, torchvision):
    net = getattr(torchvision.models, args.arch)(num_classes=128)
    if args.size < 64:
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
    width = net.fc.in_features
    net.fc = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), net.fc)
    return net


def main():
    args = arguments()
    if args.malloc == "tuned":
        torch_settings.tune_malloc()
    import torch
    import torchvision

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    q_net, k_net = encoder(args, torch, torchvision), encoder(args, torch, torchvision)
    k_net.load_state_dict(q_net.state_dict())
    for p in k_net.parameters():
        p.requires_grad = False
    images = [torch.randn(args.batch, 3, args.size, args.size) for _ in range(2)]
    if args.layout == "channels-last":
        q_net, k_net = (n.to(memory_format=torch.channels_last) for n in (q_net, k_net))
        images = [i.contiguous(memory_format=torch.channels_last) for i in images]
    queue = torch.nn.functional.normalize(torch.randn(128, args.queue), dim=0)
    sgd = torch.optim.SGD(q_net.parameters(), 0.03, momentum=0.9, weight_decay=1e-4)
    bf16 = args.precision == "bf16"
    at = 0

    def embed(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            z = net(x)
        return torch.nn.functional.normalize(z.float(), dim=1)

    def step():
        nonlocal at
        q = embed(q_net, images[0])
        with torch.no_grad():
            for pq, pk in zip(q_net.parameters(), k_net.parameters()):
                pk.mul_(0.999).add_(pq, alpha=0.001)
            k = embed(k_net, images[1])
        positive = (q * k).sum(1, keepdim=True)
        logits = torch.cat([positive, q @ queue.clone().detach()], 1) / 0.2
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros(args.batch, dtype=torch.long))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        queue[:, at:at + args.batch] = k.t()
        at = (at + args.batch) % args.queue

    for _ in range(2):
        step()
    seconds = []
    for _ in range(args.runs):
        began = time.monotonic()
        step()
        seconds.append(time.monotonic() - began)
    print(json.dumps({
        "bench": "torch_step", "arch": args.arch, "precision": args.precision, "size": args.size, "batch": args.batch,
        "queue": args.queue, "threads": args.threads, **torch_settings.describe(torch),
        "settings": f"{args.layout}, malloc {args.malloc}, {args.precision}",
        "img_per_s": round(args.batch / statistics.median(seconds), 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


main()
