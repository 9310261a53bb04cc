#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The linear probe against PyTorch: torch.nn.Linear, CrossEntropyLoss, torch.optim.SGD and a step schedule, in float64.

usage: test_probe.py TOOL        (build/tests/golden/tool_probe; seconds)
Initial weights and the order of each epoch are drawn here again, as docs/randomness.md describes them. Per rate, in norm:
the weights' way from start to end errs by at most 4 times what PyTorch's own float32 does, + 1e-5.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import moco_random

PROBE = 8


def read(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__")
    return {name: np.frombuffer(data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]],
                                dict(F32="<f4")[t["dtype"]]).reshape(t["shape"]) for name, t in header.items()}


def order(seed, epoch, n):
    stream, place = moco_random.Stream(seed, epoch, 0, 1, PROBE), list(range(n))
    for i in range(n - 1, 0, -1):
        j = stream.below(i + 1)
        place[i], place[j] = place[j], place[i]
    return place


def train(weight, x, y, rate, s, dtype):
    layer = torch.nn.Linear(s["dim"], s["classes"]).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), rate, momentum=0.9, weight_decay=s["decay"])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [s["epochs"] // 2, s["epochs"] - 1])
    x = torch.from_numpy(x).to(dtype)
    y = torch.from_numpy(y).long()
    for epoch in range(s["epochs"]):
        places = torch.tensor(order(s["seed"], epoch, len(y)))
        for rows in places.split(s["batch"]):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        logits = layer(x)
        loss = torch.nn.functional.cross_entropy(logits, y, reduction="sum").item()
        ranked = logits.argsort(1, descending=True)
        return layer.weight.double().numpy(), layer.bias.detach().double().numpy(), loss, \
            [(ranked[:, :k] == y[:, None]).any(1).sum().item() for k in (1, 5)]


def error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def compare(tool, s):
    rng = np.random.default_rng(s["seed"])
    y = rng.integers(0, s["classes"], s["n"]).astype("<i4")
    x = np.maximum(rng.normal(size=(s["n"], s["dim"])) * 0.3 + rng.normal(size=(s["classes"], s["dim"]))[y] * 0.1,
                   0).astype("<f4")  # not negative, as pooled features are
    with tempfile.TemporaryDirectory() as folder:
        x.tofile(os.path.join(folder, "features.f32"))
        y.tofile(os.path.join(folder, "labels.i32"))
        out = subprocess.run([tool, os.environ.get("MOCO_TEST_DEVICE", "cpu"), folder,
                              *(str(s[k]) for k in ("n", "dim", "classes", "epochs", "batch", "seed", "decay")),
                              *map(str, s["rates"])], check=True, capture_output=True, text=True).stdout.split()
        before, after = (read(os.path.join(folder, f"{name}.safetensors")) for name in ("before", "after"))
    stream = moco_random.Stream(s["seed"], 0, 0, 0, PROBE)
    drawn = np.array([0.01 * stream.normal() for _ in range(s["classes"] * s["dim"])])
    worst = 0
    for r, rate in enumerate(s["rates"]):
        start = before["fc.weight"][r].astype(np.float64)
        assert np.abs(start.ravel() - drawn).max() < 1e-8 and not before["fc.bias"].any(), "initial weights"
        w, b, loss, right = train(before["fc.weight"][r], x, y, rate, s, torch.float64)
        w32, b32, *_ = train(before["fc.weight"][r], x, y, rate, s, torch.float32)
        rows = [("weight", after["fc.weight"][r] - start, w32 - start, w - start),
                ("bias", after["fc.bias"][r], b32, b)]
        for name, ours, own, exact in rows:
            ours, own = error(ours, exact), error(own, exact)
            worst = max(worst, ours / (4 * own + 1e-5))
            assert ours <= 4 * own + 1e-5, f"rate {rate}: {name} errs by {ours:.2g}, PyTorch's float32 by {own:.2g}"
        top1, top5, sums = int(out[3 * r]), int(out[3 * r + 1]), float(out[3 * r + 2])
        assert abs(sums - loss) <= 1e-4 * loss, f"rate {rate}: loss {sums}, PyTorch {loss}"
        assert abs(top1 - right[0]) <= 1 and abs(top5 - right[1]) <= 1, (rate, top1, top5, right)
    print(f"{s['n']} rows of {s['dim']}, {s['classes']} classes, {len(s['rates'])} rates: at most {worst:.2g} of what"
          " is allowed")


def main():
    torch.manual_seed(0)
    compare(sys.argv[1], dict(n=700, dim=24, classes=10, epochs=6, batch=64, seed=3, decay=0.0, rates=[0.1, 1.0, 30.0]))
    compare(sys.argv[1], dict(n=333, dim=65, classes=37, epochs=4, batch=100, seed=2**63 + 9, decay=0.01, rates=[0.5]))


if __name__ == "__main__":
    main()
