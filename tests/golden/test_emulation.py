#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Eight BN groups of 4 in one process equal eight ranks of the reference, written out.

usage: test_emulation.py TOOL       (build/tests/golden/tool_step; seconds)
Every rank is a copy of the network with torch's own BatchNorm2d and 4 of the 32 images. They gather the key views, agree
on a permutation, each encodes its share, gather the keys and take back their own; each computes its loss against the
same queue; gradients are averaged as DDP does; one SGD; all keys are enqueued in rank order. Each rank moves its own
running statistics: libmoco's are their mean (moco/trainer.h). The permutation is moco_shuffle_permutation's. Three steps in
float64 on ref, once with all groups in one launch and once one by one: losses and gradients to 1e-9, updates to 1e-8.
"""
import copy
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import moco_random
import torch_moco as tm
from step_tool import StepTool, relative, results

RANKS, LOCAL, STEPS = 8, 4, 3
SETTINGS = dict(device="ref", precision="f64", arch="resnet18", stem="small", head="mlp", dim=16, width=0.0625, size=24,
                batch=RANKS * LOCAL, group=LOCAL, queue=96, steps=STEPS, lr=0.004, t=0.2, m=0.5, wd=0.05, seed=21)
IMAGENET = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


class Rank:
    def __init__(self, q, k, queue):
        self.q, self.k, self.queue, self.ptr = copy.deepcopy(q), copy.deepcopy(k), queue.clone(), 0
        self.optimizer = torch.optim.SGD(self.q.parameters(), lr=SETTINGS["lr"], momentum=0.9,
                                         weight_decay=SETTINGS["wd"])


def all_gather(parts):
    return torch.cat(parts)


def own(rank, gathered):
    return gathered[rank * LOCAL:(rank + 1) * LOCAL]


def step(ranks, number, images):
    x = [tm.to_input(v, IMAGENET["mean"], IMAGENET["std"], torch.float64) for v in images]
    im_q, im_k = [[own(r, v) for r in range(RANKS)] for v in x]
    q = [F.normalize(rank.q(im_q[r]), dim=1) for r, rank in enumerate(ranks)]
    with torch.no_grad():
        for rank in ranks:
            for pk, pq in zip(rank.k.parameters(), rank.q.parameters()):
                pk.mul_(SETTINGS["m"]).add_(pq, alpha=1 - SETTINGS["m"])
        x_all = all_gather(im_k)
        shuffle = torch.tensor(moco_random.shuffle_permutation(SETTINGS["seed"], number, 0, RANKS * LOCAL))
        unshuffle = shuffle.argsort()
        shuffled = [F.normalize(rank.k(x_all[own(r, shuffle)]), dim=1) for r, rank in enumerate(ranks)]
        k_all = all_gather(shuffled)
        k = [k_all[own(r, unshuffle)] for r in range(RANKS)]
    losses = []
    for r, rank in enumerate(ranks):
        l_pos = torch.einsum("nc,nc->n", q[r], k[r]).unsqueeze(1)
        l_neg = torch.einsum("nc,ck->nk", q[r], rank.queue.clone())
        logits = torch.cat([l_pos, l_neg], 1) / SETTINGS["t"]
        losses.append(F.cross_entropy(logits, torch.zeros(LOCAL, dtype=torch.long)))
    for rank, loss in zip(ranks, losses):
        rank.optimizer.zero_grad()
        loss.backward()
    for copies in zip(*(rank.q.parameters() for rank in ranks)):  # DDP: every rank takes the mean
        mean = torch.stack([p.grad for p in copies]).mean(0)
        for p in copies:
            p.grad = mean.clone()
    keys = all_gather(k)
    for rank in ranks:
        rank.optimizer.step()
        rank.queue[:, rank.ptr:rank.ptr + len(keys)] = keys.T
        rank.ptr = (rank.ptr + len(keys)) % rank.queue.shape[1]
    return torch.stack(losses).mean().item()


def emulate(tool):
    nets = []
    for prefix in ("encoder_q.", "encoder_k."):
        net = tm.Encoder(SETTINGS["arch"], SETTINGS["stem"], SETTINGS["head"], SETTINGS["dim"], SETTINGS["width"],
                         norm=nn.BatchNorm2d).double()
        tm.load(net, prefix, tool.initial)
        nets.append(net.train())
    ranks = [Rank(*nets, torch.from_numpy(tool.queue(SETTINGS["queue"], SETTINGS["dim"]).T.copy())) for _ in range(RANKS)]
    losses = []
    for number in range(STEPS):
        n, size = SETTINGS["batch"], SETTINGS["size"]
        losses.append(step(ranks, number, [tm.rule_images(SETTINGS["seed"], number, v, n, size, size) for v in (0, 1)]))
    after = {"queue": ranks[0].queue, "queue_ptr": torch.tensor([ranks[0].ptr])}
    gradients = {}
    for name, p in ranks[0].q.named_parameters():
        gradients["grad.encoder_q." + name] = p.grad
        after["momentum.encoder_q." + name] = ranks[0].optimizer.state[p]["momentum_buffer"]
    for prefix, pick in (("encoder_q.", lambda r: r.q), ("encoder_k.", lambda r: r.k)):
        states = [pick(r).state_dict() for r in ranks]
        for name in states[0]:
            after[prefix + name] = torch.stack([s[name].double() for s in states]).mean(0)
    to_numpy = lambda d: {n: t.detach().double().contiguous().numpy().reshape(-1) for n, t in d.items()}
    return losses, to_numpy(gradients), to_numpy(after)


def main():
    failed = 0
    for launch in (RANKS, 1):
        tool = StepTool(sys.argv[1], launch=launch, **SETTINGS)
        losses, gradients, after = emulate(tool)
        measured, our_gradients, our_after = tool.rest()
        assert our_gradients.keys() == gradients.keys() and our_after.keys() == after.keys()
        worst = [(relative([m["loss"] for m in measured], losses), 1e-9, "loss")]
        worst += [(relative(our_gradients[n], g), 1e-9, n) for n, g in gradients.items()]
        theirs = results([], {}, tool.before, after)
        ours = results([], {}, tool.before, our_after)
        worst += [(relative(ours[n], theirs[n]), 1e-8, n) for n in theirs if n.startswith("update.")]
        worst.sort(key=lambda w: w[0] / w[1], reverse=True)
        failed += sum(error > tolerance for error, tolerance, _ in worst)
        print(f"{RANKS} groups of {LOCAL}, {launch} in a launch: {len(worst)} tensors, worst {worst[0][2]}: "
              f"{worst[0][0]:.2g} of {worst[0][1]:.2g}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
