#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""race_step: build/bench/step and torch_step.py in turn, round after round; medians and the median of each round's ratio.

    /usr/bin/python3 tests/bench/race_step.py [--rounds 7] [--cases r50-bf16,r50-f32,cifar-bf16,cifar-f32] [--as-it-comes]

One JSON object per run goes to stderr as it comes, one per case to stdout at the end. What a reader would get wrong: a
ratio is taken inside a round and the median over the rounds, never one median over another: neighbours on a shared
machine slow single rounds by up to ten times. Run it at raised priority with OMP_WAIT_POLICY=active on a quiet machine.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
STEP = HERE.parent.parent / "build" / "bench" / "step"
IMAGENET = ["--arch", "resnet50", "--size", "224", "--group", "16", "--queue", "65536"]
CIFAR = ["--arch", "resnet18", "--size", "32", "--group", "128", "--queue", "4096"]
CASES = {
    "r50-bf16": IMAGENET + ["--precision", "bf16"],
    "r50-f32": IMAGENET + ["--precision", "f32"],
    "cifar-bf16": CIFAR + ["--precision", "bf16"],
    "cifar-f32": CIFAR + ["--precision", "f32"],
}


def run(command):
    """One benchmark: its JSON object, repeated on stderr."""
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    line = out.strip().splitlines()[-1]
    print(line, file=sys.stderr, flush=True)
    return json.loads(line)


def median(rows, key):
    return round(statistics.median(r[key] for r in rows), 3)


def race(name, rounds, threads, as_it_comes):
    """Rounds of ours, theirs (and theirs as it comes): the case's JSON object."""
    arguments = CASES[name] + ["--threads", str(threads)]
    theirs = [sys.executable, str(HERE / "torch_step.py")] + arguments
    ours, tuned, plain = [], [], []
    for _ in range(rounds):
        ours.append(run([str(STEP)] + arguments))
        tuned.append(run(theirs))
        if as_it_comes:
            plain.append(run(theirs + ["--tuned", "0"]))
    case = {
        "bench": "race_step", "case": name, "rounds": rounds, "threads": threads, "isa": ours[0]["isa"],
        "library": ours[0]["library"], "peer": tuned[0]["library"],
        "img_per_s": median(ours, "img_per_s"), "conv_bound_img_per_s": median(ours, "conv_bound_img_per_s"),
        "of_conv_bound": median(ours, "of_conv_bound"), "peer_img_per_s": median(tuned, "img_per_s"),
        "of_peer": round(statistics.median(a["img_per_s"] / b["img_per_s"] for a, b in zip(ours, tuned)), 3),
        "peak_rss_mb": max(r["peak_rss_mb"] for r in ours), "peer_peak_rss_mb": max(r["peak_rss_mb"] for r in tuned),
    }
    if plain:
        case["peer_as_it_comes_img_per_s"] = median(plain, "img_per_s")
        case["of_peer_as_it_comes"] = round(
            statistics.median(a["img_per_s"] / b["img_per_s"] for a, b in zip(ours, plain)), 3)
    return case


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--cases", default=",".join(CASES))
    p.add_argument("--as-it-comes", action="store_true")
    args = p.parse_args()
    if args.rounds < 1:
        p.error("--rounds: at least 1")
    names = args.cases.split(",")
    for name in names:
        if name not in CASES:
            p.error(f"--cases: {name} is none of {', '.join(CASES)}")
    for name in names:
        print(json.dumps(race(name, args.rounds, args.threads, args.as_it_comes)), flush=True)


if __name__ == "__main__":
    main()
