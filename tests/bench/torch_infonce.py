#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""torch_infonce: loss, dL/dq and Acc@1/5 in PyTorch, for comparison with build/bench/infonce: one JSON object.

    tests/bench/torch_infonce.py [--n 256] [--dim 128] [--queue 65536] [--threads N] [--runs 7]

The lines are the reference's (cat of positive and negative logits, cross entropy, topk), malloc tuned. What a reader
would get wrong: the keys are a [dim, queue] matrix, as the reference keeps them.
"""
import argparse
import json
import os
import statistics
import time

import torch_settings


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--n", type=int, default=256)
    p.add_argument("--dim", type=int, default=128)
    p.add_argument("--queue", type=int, default=65536)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--runs", type=int, default=7)
    args = p.parse_args()
    torch_settings.tune_malloc()
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    unit = torch.nn.functional.normalize
    q = unit(torch.randn(args.n, args.dim), dim=1).requires_grad_()
    k, queue = unit(torch.randn(args.n, args.dim), dim=1), unit(torch.randn(args.dim, args.queue), dim=0)
    labels = torch.zeros(args.n, dtype=torch.long)

    def once():
        q.grad = None
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.clone().detach()], 1) / 0.2
        torch.nn.functional.cross_entropy(logits, labels).backward()
        top = logits.detach().topk(5, dim=1).indices
        return (top == 0).sum(0)

    once()
    ms = []
    for _ in range(args.runs):
        began = time.monotonic()
        once()
        ms.append(1e3 * (time.monotonic() - began))
    print(json.dumps({"bench": "torch_infonce", "n": args.n, "dim": args.dim, "queue": args.queue,
                      "threads": args.threads, **torch_settings.describe(torch), "settings": "malloc tuned",
                      "ms": round(statistics.median(ms), 1)}))


main()
