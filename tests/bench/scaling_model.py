#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a MoCo step on R ranks takes, by the model of docs/scaling.md: bytes, milliseconds, and the part of them that computes.

    tests/bench/scaling_model.py                          the tables of docs/scaling.md
    tests/bench/scaling_model.py --rate 23 --images 128 --launch 32 --gbit 1 --latency 50 --ranks 1,2

--rate: images a second of one rank alone; --images: of a batch on each rank; --launch: of them computed at once, in whose
backward pass gradients are summed; --gbit: of a rank's link, each way; --latency: microseconds of a message. Everything else is of
ResNet-50. What a reader would get wrong: no line of this was measured on that many ranks."""
import argparse
import math

GRADIENTS = 4 * 27.97e6  # bytes, float32: the encoder with its MLP head
STATISTICS = 2 * 4 * 53120  # running means and variances of both encoders
DIM = 128
# Parts of the gradient in the order in which they are summed, and which part of the backward pass they are final after. The
# head and the last stage hold most of it, and come first.
BUCKETS = ((0.28, 0.08), (0.27, 0.19), (0.23, 0.42), (0.11, 0.60), (0.06, 0.75), (0.04, 0.95), (0.01, 1.0))
BACKWARD = 0.5  # of a launch: one forward pass of keys, one of queries, and twice that back


def summed(count, ranks, link, latency):
    """Seconds of a sum of `count` bytes, by whichever of ring and halving takes fewer messages."""
    if ranks == 1:
        return 0.0
    messages = min(2 * (ranks - 1), 2 * math.ceil(math.log2(ranks)))
    return 2 * (ranks - 1) / ranks * count / link + messages * latency


def gathered(count, ranks, link, latency):
    """Seconds until every rank has the `count` bytes of all."""
    return 0.0 if ranks == 1 else (ranks - 1) / ranks * count / link + math.ceil(math.log2(ranks)) * latency


def step(ranks, images, rate, launch, link, latency):
    """(seconds of computing, of the exposed sums, of the keys)"""
    backward = BACKWARD * min(launch, images) / rate
    at = 0.0
    for share, final in BUCKETS:
        at = max(at, final * backward) + summed(share * GRADIENTS, ranks, link, latency)
    at += summed(STATISTICS, ranks, link, latency)
    exposed = max(0.0, at - backward) if ranks > 1 else 0.0
    return images / rate, exposed, gathered(4.0 * DIM * images * ranks, ranks, link, latency)


def table(title, ranks, images, rate, launch, gbit, latency):
    link = gbit * 1e9 / 8 * 0.957  # what TCP leaves of it
    print("%s\n\n| ranks | batch | step ms | sums not hidden | keys | efficiency |\n|---|---|---|---|---|---|" % title)
    for count in ranks:
        compute, exposed, keys = step(count, images, rate, launch, link, latency * 1e-6)
        total = compute + exposed + keys
        print("| %d | %s | %.0f | %.0f | %.1f | %.1f %% |" % (count, format(count * images, ","), 1e3 * total, 1e3 * exposed, 1e3 * keys,
                                                            100 * compute / total))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--launch", type=int, default=32)
    parser.add_argument("--gbit", type=float, default=10)
    parser.add_argument("--latency", type=float, default=15)
    parser.add_argument("--ranks", default="1,2,8,16,64,256,1024")
    given = parser.parse_args()
    ranks = [int(text) for text in given.ranks.split(",")]
    if given.rate:
        table("given", ranks, given.images, given.rate, given.launch, given.gbit, given.latency)
        return
    table("**Two cores a rank** (23 images a second), 1 Gb/s, 128 images a rank in launches of 32", (1, 2, 8), 128, 23, 32, 1, 50)
    many = (1, 2, 8, 16, 64, 256, 1024)
    table("**A node of 64 cores a rank** (460 images a second), 10 Gb/s, 32 images a rank", many, 32, 460, 32, 10, 15)
    table("**The same**, 256 images a rank in launches of 32", many, 256, 460, 32, 10, 15)
    table("**The same**, 256 images a rank in one launch, which takes eight times the memory", many, 256, 460, 256, 10, 15)


if __name__ == "__main__":
    main()
