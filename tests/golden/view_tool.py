# SPDX-License-Identifier: MIT
"""Talks to tests/golden/tool_view.c: libmoco's decoder and augmentation, one line a question."""
import subprocess

import numpy as np


class Tool:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.levels = []
        while (name := self.ask(f"level {len(self.levels)}")) != "-":
            self.levels.append(name)

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.send(line)
        return self.process.stdout.readline().decode().strip()

    def decode(self, path):
        answer = self.ask(f"decode {path}")
        if answer.startswith("ERROR"):
            return answer
        w, h = map(int, answer.split())
        return np.frombuffer(self.process.stdout.read(w * h * 3), np.uint8).reshape(h, w, 3)

    def part(self, path, box):
        return self.ask("part " + " ".join(map(str, box)) + f" {path}")

    def view(self, level, size, p):
        numbers = [*p["box"], *p["resized"], *p["offset"], p["jitter"], *p["order"], *map(repr, p["factor"]),
                   *p["skip"], p["grey"], p["grey_first"], repr(p["sigma"]), p["flip"], p["interpolation"]]
        self.send(f"view {level} {size} " + " ".join(map(str, numbers)))
        return np.frombuffer(self.process.stdout.read(size * size * 3), np.uint8).reshape(size, size, 3)
