#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every random number of libmoco a second time, in plain Python, from docs/randomness.md alone.

usage: moco_random.py --check TOOL DOCUMENT   compare with the library (tests/golden/tool_random.c) and the document
       moco_random.py COMMAND...              answer one command, e.g.: moco_random.py shuffle 0 0 0 8

As a module: Stream, shuffle_permutation, epoch_permutation, share, init_param, queue_row, draw_view. What a reader would get
wrong: only integers agree to the bit everywhere; normal numbers go through log, sin and cos, whose last bit is the C
library's own.
"""
import math
import random
import subprocess
import sys

INIT, QUEUE, SHUFFLE, EPOCH_KEYS, EPOCH_BITS, AUGMENT, DEMO, TEST = 1, 2, 3, 4, 5, 6, 7, 200
MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def philox(counter, key):
    """Philox4x32-10: four words of counter and two of key to four words."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        x, y = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (y >> 32) ^ b ^ k, y & MASK32, (x >> 32) ^ d ^ l, x & MASK32
        k, l = (k + 0x9E3779B9) & MASK32, (l + 0xBB67AE85) & MASK32
    return [a, b, c, d]


class Stream:
    """The numbers that one address names, in order."""

    def __init__(self, seed, epoch=0, sample=0, view=0, purpose=TEST):
        self.key = [seed & MASK32, seed >> 32 & MASK32]
        self.tail = [sample & MASK32, purpose << 24 | (view & 255) << 16 | (sample >> 32 & 0xFFFF), epoch & MASK32]
        self.block, self.words, self.spare = 0, [], None

    def u32(self):
        if not self.words:
            self.words = philox([self.block, *self.tail], self.key)
            self.block += 1
        return self.words.pop(0)

    def u64(self):
        high = self.u32()
        return high << 32 | self.u32()

    def uniform(self):
        return (self.u64() >> 11) / 2**53

    def between(self, low, high):
        return low + (high - low) * self.uniform()

    def below(self, n):
        while True:
            product = self.u64() * n
            if product & MASK64 >= 2**64 % n:
                return product >> 64

    def normal(self):
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        u, v = self.uniform(), self.uniform()
        radius, angle = math.sqrt(-2 * math.log(1 - u)), 6.283185307179586476925 * v
        self.spare = radius * math.sin(angle)
        return radius * math.cos(angle)


def shuffle_permutation(seed, step, direction, n):
    """place[p]: which key view stands at place p of the shuffled batch."""
    stream, place = Stream(seed, step, 0, direction, SHUFFLE), list(range(n))
    for i in range(n - 1, 0, -1):
        j = stream.below(i + 1)
        place[i], place[j] = place[j], place[i]
    return place


def epoch_keys(seed, epoch, n):
    stream = Stream(seed, epoch, 0, 0, EPOCH_KEYS)
    return [stream.below(n) for _ in range(32 + 8 * (n - 1).bit_length())]


def epoch_permutation(seed, epoch, n, position, keys=None):
    """The sample at `position` of the order of `epoch`. `keys`: epoch_keys(seed, epoch, n), to ask many times."""
    x = position
    for number, key in enumerate(keys or epoch_keys(seed, epoch, n)):
        partner = (key - x) % n
        pair = max(x, partner)
        word = philox([number, pair & MASK32, EPOCH_BITS << 24 | pair >> 32, epoch & MASK32],
                      [seed & MASK32, seed >> 32])[0]
        if word & 1:
            x = partner
    return x


def share(batch, interleave, rank, ranks):
    """Places of a batch that are a rank's rows."""
    if interleave:
        return [place for place in range(batch) if place % ranks == rank]
    return [place for place in range(batch) if place * ranks // batch == rank]


def init_param(seed, index, kind, shape, fan_in=None):
    """Initial values of parameter number `index`: kind "conv", "linear" or "bias" (then fan_in is its layer's)."""
    stream, count = Stream(seed, index, 0, 0, INIT), math.prod(shape)
    if kind == "conv":
        deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return [deviation * stream.normal() for _ in range(count)]
    bound = 1 / math.sqrt(shape[1] if kind == "linear" else fan_in)
    return [bound * (2 * stream.uniform() - 1) for _ in range(count)]


def queue_row(seed, row, dim):
    stream = Stream(seed, 0, row, 0, QUEUE)
    values = [stream.normal() for _ in range(dim)]
    squares = 0.0
    for v in values:
        squares += v * v
    norm = max(math.sqrt(squares), 1e-12)
    return [v / norm for v in values]


def recipe(name):
    """The training recipes: crop scale and attempts, jitter p, strength, hue, grey p, blur p, flip p."""
    return {
        "moco-v1": (0.2, 10, 1.0, 0.4, 0.4, 0.2, 0.0, 0.5),
        "moco-v2": (0.2, 10, 0.8, 0.4, 0.1, 0.2, 0.5, 0.5),
        "cifar10": (0.08, 10, 0.8, 0.4, 0.1, 0.2, 0.0, 0.5),
        "demo": (0.5, 10, 0.8, 0.4, 0.1, 0.2, 0.0, 0.5),
        "simclr": (0.08, 100, 0.8, 0.8, 0.2, 0.2, 0.5, 0.5),
        "simclr-cifar10": (0.08, 100, 0.8, 0.4, 0.1, 0.2, 0.0, 0.5),
    }[name]


def draw_crop(stream, w, h, least, attempts):
    low, high = math.log(3 / 4), math.log(4 / 3)
    for _ in range(attempts):
        target, ratio = w * h * stream.between(least, 1), math.exp(stream.between(low, high))
        cw, ch = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < cw <= w and 0 < ch <= h:
            y = stream.below(h - ch + 1)
            return stream.below(w - cw + 1), y, cw, ch
    cw, ch = w, h
    if w / h < 3 / 4:
        ch = round(w / (3 / 4))
    elif w / h > 4 / 3:
        cw = round(h * (4 / 3))
    cw, ch = min(max(cw, 1), w), min(max(ch, 1), h)
    return (w - cw) // 2, (h - ch) // 2, cw, ch


def draw_view(name, w, h, seed, epoch, sample, view):
    """Parameters of a view: box x, y, w, h; jitter, order of its ops, grey, flip; four factors; sigma."""
    least, attempts, jitter_p, strength, hue, grey_p, blur_p, flip_p = recipe(name)
    stream = Stream(seed, epoch, sample, view, AUGMENT)
    jitter, order = int(stream.uniform() < jitter_p), [0, 1, 2, 3]
    for i in (3, 2, 1):
        j = stream.below(i + 1)
        order[i], order[j] = order[j], order[i]
    factor = [stream.between(1 - strength, 1 + strength) for _ in range(3)] + [stream.between(-hue, hue)]
    grey, blur = int(stream.uniform() < grey_p), stream.uniform() < blur_p
    sigma = stream.between(0.1 if blur_p else 0, 2.0 if blur_p else 0)
    flip = int(stream.uniform() < flip_p)
    return [*draw_crop(stream, w, h, least, attempts), jitter, *order, grey, flip, *factor, sigma if blur else 0.0]


def answer(command):
    """The tool's language: what the document's vectors are written in."""
    verb, *words = command.split()
    if verb == "philox":
        numbers = [int(w, 16) for w in words]
        return [f"{w:08x}" for w in philox(numbers[:4], numbers[4:])]
    if verb in ("u32", "u64", "uniform", "below", "normal"):
        seed, epoch, sample, view, purpose, count, *n = map(int, words)
        stream = Stream(seed, epoch, sample, view, purpose)
        values = [getattr(stream, verb)(*n) for _ in range(count)]
        return [{"u32": "{:08x}", "u64": "{:016x}", "below": "{}"}.get(verb, "{:.17g}").format(v) for v in values]
    if verb == "shuffle":
        return [str(p) for p in shuffle_permutation(*map(int, words))]
    if verb == "share":
        return [str(p) for p in share(*map(int, words))]
    if verb == "epoch":
        seed, epoch, n, position, count = map(int, words)
        keys = epoch_keys(seed, epoch, n)
        return [str(epoch_permutation(seed, epoch, n, position + i, keys)) for i in range(count)]
    if verb == "init":
        seed, index, kind, *shape = words
        shape = list(map(int, shape))
        fan_in = shape.pop() if kind == "bias" else None
        return ["%.17g" % v for v in init_param(int(seed), int(index), kind, shape, fan_in)]
    if verb == "queue":
        return ["%.17g" % v for v in queue_row(*map(int, words))]
    if verb == "view":
        return ["%.17g" % v for v in draw_view(words[0], *map(int, words[1:]))]
    raise SystemExit(f"moco_random.py: no command {verb!r}")


def same(a, b):
    """Integers and words to the letter; numbers with a point within some units of the last place."""
    if a == b:
        return True
    try:
        x, y = float(a), float(b)
    except ValueError:
        return False
    return not (a + b).strip("-").isdigit() and abs(x - y) <= 2e-15 * max(abs(x), 1e-3)


def vectors(document):
    """Pairs (command, expected words) from the lines `command = answer` of the document's code blocks."""
    found, inside = [], False
    for line in open(document, encoding="utf-8"):
        if line.startswith("```"):
            inside = not inside
        elif inside and " = " in line:
            command, expected = line.split(" = ")
            found.append((command.strip(), expected.split()))
    return found


def random_commands():
    r = random.Random(7)
    seed = lambda: r.choice([0, 1, r.getrandbits(32), r.getrandbits(64), MASK64])
    for _ in range(100):
        address = f"{seed()} {r.getrandbits(32)} {r.getrandbits(48)} {r.randrange(256)} {r.choice([1, 2, 6, 200])}"
        yield "philox " + " ".join(f"{r.getrandbits(32):08x}" for _ in range(6))
        yield f"u32 {address} 9"
        yield f"u64 {address} 5"
        yield f"uniform {address} 7"
        yield f"normal {address} 7"
        yield f"below {address} 8 {r.choice([1, 2, 3, 10, 3 * 2**62, 2**63 + 1, r.randrange(1, 2**48)])}"
        yield f"shuffle {seed()} {r.getrandbits(40)} {r.randrange(2)} {r.choice([1, 2, 8, 33, 256])}"
        n = r.choice([1, 2, 3, 7, 1000, 50000, 1281167, 2**32 + 5, 2**48])
        yield f"epoch {seed()} {r.getrandbits(20)} {n} {r.randrange(max(n - 4, 1))} {min(n, 3)}"
        ranks, rows = r.choice([1, 2, 3, 8]), r.randrange(1, 40)
        yield f"share {ranks * rows} {r.randrange(2)} {r.randrange(ranks)} {ranks}"
        name, w, h = r.choice(["moco-v1", "moco-v2", "cifar10", "demo", "simclr", "simclr-cifar10"]), *r.choices(range(1, 700), k=2)
        yield f"view {name} {w} {h} {seed()} {r.getrandbits(31)} {r.getrandbits(47)} {r.randrange(256)}"
        yield f"init {seed()} {r.randrange(200)} conv {r.randrange(1, 9)} {r.randrange(1, 5)} 3 3"
        yield f"init {seed()} {r.randrange(200)} linear {r.randrange(1, 9)} {r.randrange(1, 9)}"
        yield f"init {seed()} {r.randrange(1, 200)} bias {r.randrange(1, 9)} {r.randrange(1, 9)}"
        yield f"queue {seed()} {r.randrange(20)} {r.choice([2, 8, 128])}"


def check(tool, document):
    pairs = vectors(document)
    commands = [command for command, _ in pairs] + list(random_commands())
    done = subprocess.run([tool], input="\n".join(commands) + "\n", capture_output=True, text=True, check=False)
    answers = done.stdout.splitlines()
    if done.returncode != 0 or len(answers) != len(commands):
        raise SystemExit(f"{tool}: status {done.returncode}, {len(answers)} answers to {len(commands)} commands\n{done.stderr}")
    wrong = 0
    for number, (command, theirs) in enumerate(zip(commands, answers)):
        claims = {"library": theirs.split(), "python": answer(command)}
        if number < len(pairs):
            claims["document"] = pairs[number][1]
        ours = claims["python"]
        if any(len(c) != len(ours) or not all(map(same, c, ours)) for c in claims.values()):
            wrong += 1
            if wrong <= 5:
                print(command, *(f"  {who}: {' '.join(c)}" for who, c in claims.items()), sep="\n")
    print(f"{len(pairs)} vectors of the document, {len(commands) - len(pairs)} random commands, {wrong} differ")
    return 1 if wrong or len(pairs) < 20 else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--check":
        sys.exit(check(sys.argv[2], sys.argv[3]))
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(*answer(" ".join(sys.argv[1:])))
