#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does bf16 move what is measured? usage: bf16_numbers.py ENCODER DIR [--no-probe] (numpy; minutes)

embed turns the held-out pictures of DIR (test/ or val/ in it, with class folders) into features in f32 and in bf16, and
linear_probe --fast trains on those of its train/ folder in both. Fails unless every cosine is at least 0.9999, and kNN
(k 200, T 0.1, one half of the held-out pictures classified by the other, ten halves) and probe are within 0.1 points.
What a reader would get wrong: where a CPU has AVX-512 without bf16 oneDNN computes bf16 by other instructions, slower
than f32; these are its roundings, not the hardware's, which may add in another order.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy

BUILD = os.environ.get("BUILD", "build")
COSINE, POINTS = 0.9999, 0.1
K, TEMPERATURE, HALVES = 200, 0.1, 10


def run(*command):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()[-500:]}")
    return done.stdout


def features(args, folder, precision):
    held_out = next(os.path.join(args.pictures, name) for name in ("test", "val", "validation")
                    if os.path.isdir(os.path.join(args.pictures, name)))
    rows, labels = os.path.join(folder, precision + ".npy"), os.path.join(folder, precision + ".labels.npy")
    run(BUILD + "/examples/embed", "--precision", precision, args.encoder, held_out, "--out", rows, "--labels", labels)
    rows = numpy.load(rows).astype("f8")
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True), numpy.load(labels)


def knn(rows, labels, order):
    """Percent of the first half, in this order, that the second half gives the right label."""
    asked, bank = order[:len(order) // 2], order[len(order) // 2:]
    cosines = rows[asked] @ rows[bank].T
    k = min(K, len(bank))
    near = numpy.argpartition(-cosines, k - 1, axis=1)[:, :k]
    weights = numpy.exp(numpy.take_along_axis(cosines, near, 1) / TEMPERATURE)
    votes = numpy.stack([(weights * (labels[bank][near] == c)).sum(1) for c in range(labels.max() + 1)], axis=1)
    return 100 * (votes.argmax(1) == labels[asked]).mean()


def probe(args, folder, precision):
    out = os.path.join(folder, "probe-" + precision)
    run(BUILD + "/examples/linear_probe", args.pictures, "--pretrained", args.encoder, "--fast", "--precision", precision,
        "--out", out)
    with open(os.path.join(out, "probe.json")) as file:
        return json.load(file)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("encoder")
    p.add_argument("pictures")
    p.add_argument("--no-probe", action="store_true")
    args = p.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        (f32, labels), (bf16, _) = (features(args, folder, precision) for precision in ("f32", "bf16"))
        cosines = (f32 * bf16).sum(1)
        print(f"cosines of {len(cosines)} pictures: least {cosines.min():.6f}, median {numpy.median(cosines):.6f}")
        if cosines.min() < COSINE:
            failed.append("cosines")
        orders = [numpy.random.RandomState(seed).permutation(len(labels)) for seed in range(HALVES)]
        scores = {name: numpy.mean([knn(rows, labels, order) for order in orders])
                  for name, rows in (("f32", f32), ("bf16", bf16))}
        print(f"kNN: f32 {scores['f32']:.3f} %, bf16 {scores['bf16']:.3f} %")
        if abs(scores["f32"] - scores["bf16"]) > POINTS:
            failed.append("kNN")
        if not args.no_probe:
            tops = [probe(args, folder, precision)["top1"] for precision in ("f32", "bf16")]
            print(f"linear probe (--fast): f32 {tops[0]:.3f} %, bf16 {tops[1]:.3f} %")
            if abs(tops[0] - tops[1]) > POINTS:
                failed.append("probe")
    if failed:
        sys.exit(f"bf16 moves {', '.join(failed)}")


if __name__ == "__main__":
    main()
