# SPDX-License-Identifier: MIT
"""Drives tests/golden/tool_step.c: starts it with settings, reads its records from the pipe as it goes."""
import struct
import subprocess
import sys

import numpy as np

NAMES = ("loss", "acc1", "acc5", "pos_cosine", "neg_cosine", "feature_std", "grad_norm")
KINDS = {1: np.int64, 4: np.float32, 8: np.float64}


class StepTool:
    """`before`: the state at the start by name; then `rest()` gives (measured per step, gradients, state at the end)."""

    def __init__(self, path, **settings):
        self.settings = settings
        self.process = subprocess.Popen([path] + [f"{k}={v}" for k, v in settings.items()], stdout=subprocess.PIPE)
        self.waiting = None
        self.before = {}
        while (record := self.read()) and record[0].startswith("before."):
            self.before[record[0][len("before."):]] = record[1]
        self.waiting = record
        if not self.before:
            if self.process.wait() == 3:
                print(f"SKIPPED: this build has no device {settings.get('device', 'ref')}")
                sys.exit(0)
            sys.exit(f"tool_step failed with status {self.process.returncode}")

    def read(self):
        if self.waiting:
            record, self.waiting = self.waiting, None
            return record
        head = self.process.stdout.read(128)
        if len(head) < 128:
            return None
        name, kind, count = struct.unpack_from("<96sQQ", head)
        data = np.frombuffer(self.process.stdout.read(count * (4 if kind == 4 else 8)), KINDS[kind])
        assert data.size == count
        return name.rstrip(b"\0").decode(), data

    def rest(self):
        measured, gradients, after = [], {}, {}
        while record := self.read():
            name, data = record
            if name == "measured":
                measured.append(dict(zip(NAMES, data)))
            elif name.startswith("after."):
                after[name[len("after."):]] = data
            else:
                gradients[name] = data
        if self.process.wait() != 0:
            sys.exit(f"tool_step failed with status {self.process.returncode}")
        return measured, gradients, after

    def initial(self, name, shape):
        """For torch_moco.load."""
        return self.before[name].astype(np.float64).reshape(shape)

    def queue(self, length, dim):
        return self.before["queue"].astype(np.float64).reshape(dim, length).T.copy()


def relative(a, b):
    """|a - b| / |b| of anything array-like, in float64."""
    a, b = np.asarray(a, np.float64).reshape(-1), np.asarray(b, np.float64).reshape(-1)
    size = np.linalg.norm(b)
    return np.linalg.norm(a - b) / size if size > 0 else np.linalg.norm(a)


def results(measured, gradients, before, after):
    """One flat dict of what two programs can be compared by: measurements, gradients, updates."""
    out = {name: np.array([m[name] for m in measured]) for name in NAMES}
    out |= gradients
    for name, value in after.items():
        value = np.asarray(value, np.float64).reshape(-1)
        out["update." + name] = value if name == "queue_ptr" else value - np.asarray(before[name], np.float64).reshape(-1)
    return out
