#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/fixtures/*.golden: what PyTorch in float64 makes of five training steps, for test_golden.c.

usage: make_fixtures.py [--check] [case ...]        (any PyTorch from 1.13 on; a minute)
  --check compares with the committed files instead of writing them (1e-10 in the values).

A case's images and initial state come from the rules in torch_moco.py, so a fixture holds only results: per step loss,
accuracies, cosines, gradient norm; the gradients of step 1; and the *update* over five steps (state after minus state
before) of every weight, BN buffer, momentum buffer, key weight and queue row. A tensor of more than `full` numbers is
stored as its sketch: 64 sums with signs +-1 from the bits of mix(index); the relative error in norm of a sketch is that of
the tensor within some 10 %.
Beside each tensor stand PyTorch's own relative errors in norm against its float64: `err32` of float32, the largest over
eight summation orders (threads, memory layout, oneDNN or not, order of samples inside BN groups), and `err16` of an
emulation of bf16 (activations, their gradients and the weights read are rounded), the largest over rounding to nearest
and five draws of random rounding. The tolerance of a backend in f32 is 4 err32 + 1e-6 (tests/tolerances.h).

File: "MOCOGOLD", u64 number of records; each record is name[96], f64 err32, f64 err16, u64 count, u64 stored, and
`stored` f64: the numbers themselves if stored == count, else the sketch. Configuration stands in records "config.KEY" of
one number and "config.KEY=TEXT" of none. Little-endian.
"""
import os
import struct
import sys

import numpy as np
import torch

import torch_moco as tm

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
STEPS = 5
LRS = [0.003, 0.005, 0.002, 0.004, 0.001]
IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
CIFAR = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
UNIT = dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])
BATCH = dict(queue=0, negatives="batch", encoder_k="shared")
COMMON = dict(key_momentum=0.5, sgd_momentum=0.9, weight_decay=0.05, symmetric=0, shuffle=1, interleave=0, own_state=0,
              first_ptr=0, full=256)

# With key_momentum 0.5 every term shows, but m and 1 - m are one: hence also 0.75 and 0.9.
# own_state 1: key encoder, momentum buffers and queue_ptr start from values of their own instead of copies and zeros.
CASES = {
    # everything stored in full; one BN group
    "tiny_linear": dict(arch="resnet18", stem="cifar", head="linear", dim=8, width=1 / 32, h=16, w=16, batch_size=8,
                        bn_group_size=8, queue=24, temperature=0.2, seed=16, full=1 << 20, **CIFAR),
    # four groups, MLP head, a queue that the batch does not divide, a state of its own
    "groups_mlp": dict(arch="resnet18", stem="cifar", head="mlp", dim=16, width=0.125, h=16, w=16, batch_size=16,
                       bn_group_size=4, queue=50, temperature=0.07, key_momentum=0.75, seed=14, own_state=1,
                       first_ptr=37, **CIFAR),
    # bottlenecks, 7x7 stem with max-pool, odd sizes on the way down
    "bottleneck_imagenet": dict(arch="resnet50", stem="imagenet", head="mlp", dim=16, width=0.0625, h=48, w=48,
                                batch_size=12, bn_group_size=6, queue=21, temperature=0.2, seed=18, **IMAGENET),
    # interleaved groups; channels that fill a vector of 16; images that are not square
    "interleaved_small": dict(arch="resnet18", stem="small", head="linear", dim=32, width=0.25, h=24, w=20, batch_size=8,
                              bn_group_size=4, interleave=1, queue=32, temperature=0.1, seed=13, own_state=1,
                              first_ptr=5, **IMAGENET),
    # both directions; a batch of keys that wraps within one push
    "symmetric": dict(arch="resnet18", stem="small", head="mlp", dim=16, width=0.0625, h=24, w=24, batch_size=8,
                      bn_group_size=4, symmetric=1, queue=35, temperature=0.2, key_momentum=0.75, seed=14, **CIFAR),
    # deeper basic blocks
    "deep_one_group": dict(arch="resnet34", stem="small", head="mlp", dim=8, width=1 / 32, h=24, w=24, batch_size=8,
                           bn_group_size=8, queue=30, temperature=0.07, key_momentum=0.9, seed=18, own_state=1,
                           first_ptr=29, **IMAGENET),
    # SimCLR: BN over both views at once, a head with BN, LARS at a rate and trust at which its update shows in float32
    "simclr_lars": dict(arch="resnet18", stem="small", head="simclr-v2", dim=16, width=0.125, h=24, w=24, batch_size=12,
                        bn_group_size=24, shuffle=0, loss="ntxent", optimizer="lars", trust=0.5, temperature=0.2,
                        lrs=[0.002, 0.003, 0.001, 0.002, 0.001], seed=14, own_state=1, **BATCH, **UNIT),
    # the same loss over a group of each view, with SGD
    "simclr_sgd": dict(arch="resnet18", stem="cifar", head="simclr-v1", dim=8, width=1 / 16, h=16, w=16, batch_size=16,
                       bn_group_size=16, loss="ntxent", optimizer="sgd", temperature=0.5, seed=14, own_state=1, **BATCH,
                       **CIFAR),
    # the end-to-end mechanism: N queries against N keys, gradients to both; two groups a view, shuffled
    "end_to_end": dict(arch="resnet18", stem="small", head="mlp", dim=16, width=0.125, h=24, w=20, batch_size=12,
                       bn_group_size=6, interleave=1, loss="infonce", optimizer="sgd", temperature=0.2, seed=14, **BATCH,
                       **IMAGENET),
    # a momentum encoder whose negatives are the batch's other keys
    "batch_keys": dict(arch="resnet18", stem="small", head="mlp", dim=16, width=0.0625, h=24, w=24, batch_size=12,
                       bn_group_size=4, interleave=1, symmetric=1, loss="infonce", optimizer="sgd", temperature=0.1,
                       key_momentum=0.75, seed=14, own_state=1, queue=0, negatives="batch", encoder_k="momentum", **CIFAR),
}
CASES = {name: COMMON | c for name, c in CASES.items()}


def initial(case, name):
    """The value of a state tensor at the start: of the rule; or, without a state of its own, the key encoder is a copy and
    momentum is zero."""
    def values(tensor, shape):
        if tensor.startswith("encoder_k.") and not case["own_state"]:
            tensor = "encoder_q." + tensor[len("encoder_k."):]
        if tensor.startswith("momentum.") and not case["own_state"]:
            return np.zeros(shape)
        return tm.rule_state(name, tensor, shape)
    return values


def run(name, case, dtype, variant=None, rounding=False):
    """Five steps: (measured per step, gradients of step 1, state before, state after)."""
    variant = variant or {}
    torch.set_num_threads(variant.get("threads", 1))
    tm.to_bf16.draw = torch.Generator().manual_seed(variant["draw"]) if "draw" in variant else None
    make = lambda: tm.Encoder(case["arch"], case["stem"], case["head"], case["dim"], case["width"]).to(dtype)
    shared = case.get("encoder_k") == "shared"
    q, k = make(), None if shared else make()
    networks = [("encoder_q.", q)] + ([] if shared else [("encoder_k.", k)])
    values = initial(case, name)
    config = dict(case)
    for prefix, net in networks:
        tm.load(net, prefix, values)
        tm.set_rounding(net, rounding)
        if variant.get("channels_last"):
            net.to(memory_format=torch.channels_last)
            config["channels_last"] = True
    within = None
    if "sample_order" in variant:
        rng = np.random.RandomState(variant["sample_order"])
        within = lambda group: [group[i] for i in rng.permutation(len(group))]
    queue = torch.from_numpy(tm.rule_queue(name, case["queue"], case["dim"])).to(dtype) if case["queue"] else None
    buffers = (lambda p, shape: torch.from_numpy(values("momentum.encoder_q." + p, shape))) if case["own_state"] else None
    trainer = (tm.PairTrainer if shared else tm.Trainer)(config, q, k, queue, case["first_ptr"], buffers, within)
    before = {n: np.asarray(values(n, tuple(t.shape))) for prefix, net in networks
              for n, t in ((prefix + s, t) for s, t in net.state_dict().items())}
    for p, t in q.named_parameters():
        before["momentum.encoder_q." + p] = np.asarray(values("momentum.encoder_q." + p, tuple(t.shape)))
    if queue is not None:
        before["queue"] = queue.double().numpy().T.copy()
        before["queue_ptr"] = np.array([float(case["first_ptr"])])
    measured, gradients = [], None
    with torch.backends.mkldnn.flags(enabled=variant.get("mkldnn", True)):
        for step in range(STEPS):
            images = [tm.rule_images(case["seed"], step, v, case["batch_size"], case["h"], case["w"]) for v in (0, 1)]
            measured.append(trainer.step(step, images, case.get("lrs", LRS)[step]))
            if step == 0:
                gradients = trainer.gradients()
    return measured, gradients, before, trainer.state()


def results(name, case, *args, **kw):
    """One flat dict name -> array: what a fixture holds, not yet sketched."""
    measured, gradients, before, after = run(name, case, *args, **kw)
    out = {m: np.array([s[m] for s in measured])
           for m in ("loss", "acc1", "acc5", "pos_cosine", "neg_cosine", "feature_std", "grad_norm")}
    out |= gradients
    for n in after:
        out["update." + n] = after[n] if n == "queue_ptr" else after[n] - before[n]
    return out, min(s["margin"] for s in measured)


def sketch(values, full):
    flat = values.reshape(-1)
    if flat.size <= full:
        return flat
    total = np.zeros(64)
    for start in range(0, flat.size, 1 << 15):
        part = flat[start:start + (1 << 15)]
        bits = tm.mix(np.arange(start, start + part.size, dtype=np.uint64))
        signs = (bits[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        total += part @ (2.0 * signs - 1.0)
    return total


def relative(a, b):
    size = np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / size) if size > 0 else float(np.linalg.norm(a - b))


F32_VARIANTS = [dict(threads=1), dict(threads=2), dict(threads=3), dict(channels_last=True), dict(mkldnn=False),
                dict(sample_order=1), dict(sample_order=2), dict(channels_last=True, sample_order=3, mkldnn=False)]
BF16_VARIANTS = [dict()] + [dict(draw=i) for i in range(1, 6)]


def make(name):
    case = CASES[name]
    exact, margin = results(name, case, torch.float64)
    assert margin > 3e-6, f"{name}: a positive ties with a negative within {margin}; choose another seed"
    stored = {n: sketch(v, case["full"]) for n, v in exact.items()}
    err32, err16 = dict.fromkeys(stored, 0.0), dict.fromkeys(stored, 0.0)
    for errors, variants, dtype, rounding in ((err32, F32_VARIANTS, torch.float32, False),
                                              (err16, BF16_VARIANTS, torch.float64, True)):
        for variant in variants:
            for n, v in results(name, case, dtype, variant, rounding)[0].items():
                errors[n] = max(errors[n], relative(sketch(v, case["full"]), stored[n]))
    records = []
    for key, value in case.items():
        if key == "lrs":
            continue
        if isinstance(value, str):
            records.append((f"config.{key}={value}", 0, 0, 0, []))
        else:
            value = value if isinstance(value, list) else [value]
            records.append((f"config.{key}", 0, 0, len(value), value))
    records.append(("config.lr", 0, 0, STEPS, case.get("lrs", LRS)))
    for n, v in stored.items():
        records.append((n, err32[n], err16[n], exact[n].size, v))
    return records


def write(path, records):
    with open(path, "wb") as f:
        f.write(b"MOCOGOLD" + struct.pack("<Q", len(records)))
        for name, e32, e16, count, values in records:
            assert len(name) < 96, name
            f.write(struct.pack("<96sddQQ", name.encode(), e32, e16, count, len(values)))
            f.write(np.asarray(values, "<f8").tobytes())


def read(path):
    data = open(path, "rb").read()
    assert data[:8] == b"MOCOGOLD"
    at, records = 16, []
    for _ in range(struct.unpack_from("<Q", data, 8)[0]):
        name, e32, e16, count, stored = struct.unpack_from("<96sddQQ", data, at)
        at += 128
        records.append((name.rstrip(b"\0").decode(), e32, e16, count, np.frombuffer(data, "<f8", stored, at)))
        at += 8 * stored
    return records


def main():
    check = "--check" in sys.argv[1:]
    names = [a for a in sys.argv[1:] if a != "--check"] or list(CASES)
    os.makedirs(FOLDER, exist_ok=True)
    failed = 0
    for name in names:
        path = os.path.join(FOLDER, name + ".golden")
        records = make(name)
        if check:
            old = read(path)
            worst = max((relative(np.asarray(r[4], float), o[4]), r[0]) for r, o in zip(records, old) if len(o[4]))
            same = [r[0] for r in records] == [o[0] for o in old] and worst[0] <= 1e-10
            failed += not same
            print(f"{name}: {'ok' if same else 'DIFFERS'}, worst {worst[1]} by {worst[0]:.1e}")
            continue
        write(path, records)
        loss = next(r[4] for r in records if r[0] == "loss")
        for kind, column in (("f32", 1), ("bf16", 2)):
            worst = sorted(((r[column], r[0]) for r in records), reverse=True)[:3]
            print(f"{name}: {kind} worst " + ", ".join(f"{n} {e:.1e}" for e, n in worst))
        print(f"{name}: loss {np.round(loss, 4)}, {os.path.getsize(path)} bytes")
    return failed


if __name__ == "__main__":
    sys.exit(main())
