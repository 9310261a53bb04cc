#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One full step of MoCo v2 with ResNet-50 at 224 pixels, cpu in f32, against PyTorch in float64.

usage: test_resnet50.py TOOL        (build/tests/golden/tool_step; a minute or two)
Both start from libmoco's initial weights, key encoder and queue of 65,536; batch 4 in 2 groups. Per tensor, in norm, of
gradients and of updates: libmoco errs at most 4 times as much as PyTorch itself in float32 (the largest over three
orders of summation) + 1e-6. Unlike the small fixtures this network is the real one, with all its channels and sizes.
"""
import sys
import time

import numpy as np
import torch

import torch_moco as tm
from step_tool import StepTool, relative, results

SETTINGS = dict(arch="resnet50", stem="imagenet", head="mlp", dim=128, width=1, size=224, batch=4, group=2, queue=65536,
                lr=0.03, t=0.2, m=0.9, wd=0.05, seed=5)
IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


def step(tool, dtype, threads=2, channels_last=False, order=None):
    s = SETTINGS
    torch.set_num_threads(threads)
    nets = []
    for prefix in ("encoder_q.", "encoder_k."):
        net = tm.Encoder(s["arch"], s["stem"], s["head"], s["dim"], s["width"])
        net = net.to(dtype)
        tm.load(net, prefix, tool.initial)
        nets.append(net.to(memory_format=torch.channels_last) if channels_last else net)
    config = dict(batch_size=s["batch"], bn_group_size=s["group"], sgd_momentum=0.9, weight_decay=s["wd"],
                  temperature=s["t"], key_momentum=s["m"], symmetric=0, interleave=0, shuffle=1, seed=s["seed"],
                  channels_last=channels_last, **IMAGENET)
    queue = torch.from_numpy(tool.queue(s["queue"], s["dim"])).to(dtype)
    trainer = tm.Trainer(config, *nets, queue, 0, within=order)
    images = [tm.rule_images(s["seed"], 0, v, s["batch"], s["size"], s["size"]) for v in (0, 1)]
    measured = trainer.step(0, images, s["lr"])
    return results([measured], trainer.gradients(), tool.before, trainer.state())


def main():
    begin = time.time()
    tool = StepTool(sys.argv[1], device="cpu", precision="f32", **SETTINGS)
    exact = step(tool, torch.float64)
    own = {name: 0.0 for name in exact}
    for variant in (dict(), dict(threads=1, order=lambda group: group[::-1]), dict(channels_last=True)):
        for name, value in step(tool, torch.float32, **variant).items():
            own[name] = max(own[name], relative(value, exact[name]))
    ours = results(*(lambda m, g, a: (m, g, tool.before, a))(*tool.rest()))
    assert ours.keys() == exact.keys(), sorted(ours.keys() ^ exact.keys())
    rows = []
    for name in exact:
        error, tolerance = relative(ours[name], exact[name]), 4 * own[name] + 1e-6
        rows.append((error / tolerance, name, error, tolerance))
    rows.sort(reverse=True)
    for ratio, name, error, tolerance in rows[:5]:
        print(f"{name}: {error:.2g} of {tolerance:.2g}")
    ratios = [r[2] / max(own[r[1]], 1e-12) for r in rows if r[1].startswith("grad.")]
    print(f"{len(rows)} tensors; loss {ours['loss'][0]:.6f} (PyTorch {exact['loss'][0]:.6f}); median error on gradients "
          f"{np.median(ratios):.2f} times PyTorch's own; {time.time() - begin:.0f} s")
    # The comparison sees a missing weight decay: without it the momentum buffer would hold the bare gradient.
    weights = [n for n in exact if n.startswith("grad.") and n.endswith(".weight") and exact[n].ndim > 1]
    momentum = lambda n: "update.momentum." + n[len("grad."):]
    seen = sum(relative(exact[n], exact[momentum(n)]) > 4 * own[momentum(n)] + 1e-6 for n in weights)
    print(f"a missing weight decay would show in {seen} of {len(weights)} weights")
    failed = sum(r[0] > 1 for r in rows) + (seen == 0)
    if failed:
        print(f"{failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
