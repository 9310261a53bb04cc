#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds learning curves of libmoco against those of an independent program, as a Markdown table; exit 0 if they agree.

usage: curve_check.py RUN... [--control RUN]... [--reference FILE]...
       curve_check.py --self-test

A RUN is a run folder of train_imagenet, or its metrics.jsonl, or a log of the reference program (objects with epoch, loss
and knn). The reference is by default ../shared/reference/cifar_moco-w16-seed?.jsonl beside this repository.

Criterion: at every epoch the mean of the n runs lies within 3 sd sqrt(1/n + 1/r) of the mean of the r reference seeds, sd
being theirs: three standard errors of the difference, 2.2 sd for three seeds against five; for loss and for kNN. A control
(lr 0, m 0) must lie outside, in loss or in kNN, at the last epoch. The loss of an epoch is the mean over its steps.
"""
import argparse
import glob
import json
import math
import os
import statistics
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFERENCE = os.path.join(ROOT, "..", "shared", "reference", "cifar_moco-w16-seed?.jsonl")


class Curve:
    def __init__(self, path):
        if os.path.isdir(path):
            path = os.path.join(path, "metrics.jsonl")
        self.path, self.loss, self.knn, steps = path, {}, {}, {}
        with open(path) as lines:
            for line in lines:
                o = json.loads(line)
                kind = o.get("type", "epoch" if "knn" in o else None)
                if kind == "step":
                    steps.setdefault(o["epoch"], []).append(o["loss"])
                elif kind == "epoch":
                    knn = o.get("knn", o.get("knn_top1"))
                    if knn is not None:
                        self.knn[o["epoch"]] = knn
                    if "knn" in o and "loss" in o:
                        self.loss[o["epoch"]] = o["loss"]
        for epoch, losses in steps.items():
            self.loss[epoch] = statistics.fmean(losses)
        if not self.loss or not self.knn:
            sys.exit(f"{path}: no loss or no kNN in it")


def spread(curves, what, epoch):
    """Mean and sd over the curves, or None if one lacks the epoch."""
    values = [getattr(c, what).get(epoch) for c in curves]
    if None in values:
        return None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def judge(runs, controls, references, out=sys.stdout):
    """True if all is as the criterion wants."""
    r = len(references)
    epochs = sorted({e for c in references for e in c.knn})
    good = True
    print(f"| epoch | loss, reference (sd, n {r}) | loss, ours (sd, n {len(runs)}) | off by | kNN, reference (sd) "
          "| kNN, ours (sd) | off by | |", file=out)
    print("|---|---|---|---|---|---|---|---|", file=out)
    for epoch in epochs:
        cells, inside = [str(epoch)], True
        for what, digits in (("loss", 3), ("knn", 2)):
            theirs = spread(references, what, epoch)
            if theirs is None:  # no loss before the first epoch
                cells += ["", "", ""]
                continue
            ours = spread(runs, what, epoch)
            if ours is None:
                cells += [f"{theirs[0]:.{digits}f} ({theirs[1]:.{digits}f})", "missing", ""]
                inside = False
                continue
            bound = 3 * theirs[1] * math.sqrt(1 / len(runs) + 1 / r)
            inside &= abs(ours[0] - theirs[0]) <= bound
            cells += [f"{theirs[0]:.{digits}f} ({theirs[1]:.{digits}f})", f"{ours[0]:.{digits}f} ({ours[1]:.{digits}f})",
                      f"{ours[0] - theirs[0]:+.{digits}f} of {bound:.{digits}f}"]
        print("| " + " | ".join(cells) + f" | {'inside' if inside else '**outside**'} |", file=out)
        good &= inside
    last = epochs[-1]
    for control in controls:
        apart = {}
        for what in ("loss", "knn"):
            mean, sd = spread(references, what, last)
            value = getattr(control, what).get(last, math.nan)
            apart[what] = (value, (value - mean) / sd if sd else math.inf)
        outside = any(abs(d) > 3 * math.sqrt(1 + 1 / r) for _, d in apart.values())
        good &= outside
        print(f"\ncontrol {control.path}: epoch {last} " + ", ".join(f"{w} {v:.3f} ({d:+.1f} sd)" for w, (v, d) in apart.items())
              + (": outside, as it must be" if outside else ": **inside, which a control must not be**"), file=out)
    print(f"\n{'The curves agree.' if good else 'The curves do NOT agree.'}", file=out)
    return good


def self_test():
    """Curves that agree, that drift by half a unit of loss, that miss an epoch; a control that looks trained."""
    def write(folder, name, shift, epochs=range(0, 4), ours=True):
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            for e in epochs:
                knn, loss = 30 + 4 * e + shift, 8 - 0.5 * e + shift / 10
                if ours:
                    for s in range(4 if e else 0):
                        print(json.dumps(dict(type="step", epoch=e, step=4 * e + s, loss=loss + (s - 1.5) / 100)), file=f)
                    print(json.dumps(dict(type="epoch", epoch=e, knn_top1=knn, loss=None)), file=f)
                else:
                    print(json.dumps(dict(epoch=e, knn=knn, **(dict(loss=loss) if e else {}))), file=f)
        return Curve(path)

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as null:
        refs = [write(folder, f"ref{i}", s, ours=False) for i, s in enumerate((-1, -.5, 0, .5, 1))]
        near = [write(folder, f"near{i}", s) for i, s in enumerate((-.6, .4, .8))]
        far = [write(folder, f"far{i}", 5 + s) for i, s in enumerate((-.6, .4, .8))]
        short = [write(folder, "short", 0, range(0, 3))] + near[1:]
        flat = write(folder, "flat", -9)
        wanted = [(judge(near, [flat], refs, null), True), (judge(far, [], refs, null), False),
                  (judge(short, [], refs, null), False), (judge(near, [near[0]], refs, null), False)]
    print("self-test:", wanted)
    return all(got == want for got, want in wanted)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--control", action="append", default=[], metavar="RUN")
    parser.add_argument("--reference", action="append", default=[], metavar="FILE")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        return 0 if self_test() else 1
    if not args.runs and not args.control:
        parser.error("no runs")
    references = args.reference or sorted(glob.glob(REFERENCE))
    if len(references) < 2:
        sys.exit(f"no reference logs ({REFERENCE}); name them with --reference")
    curves = lambda paths: [Curve(p) for p in paths]
    return 0 if judge(curves(args.runs), curves(args.control), curves(references)) else 1


if __name__ == "__main__":
    sys.exit(main())
