# SPDX-License-Identifier: MIT
"""contest: runs our benchmark programs and their PyTorch partners in turn, and takes medians.

What a reader would get wrong: a ratio is taken inside a round and the median over the rounds, never one median over
another: neighbours on a shared machine slow single rounds by up to ten times.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = pathlib.Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve() / "bench"
DEADLINE = 600  # seconds of one program
BEHIND = 0.9  # a partner this far behind the best of the first round runs no further


class Skip(Exception):
    """What cannot be measured here, and why, in one sentence."""


def run(command):
    """One program: its last line, which is a JSON object. It is repeated on stderr as it comes."""
    name = pathlib.Path(command[1] if command[0].endswith("python") or "python3" in command[0] else command[0]).name
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    except FileNotFoundError:
        raise Skip(f"{command[0]} is not there") from None
    except subprocess.TimeoutExpired:
        raise Skip(f"{name} did not end within {DEADLINE} s") from None
    said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
    if done.returncode != 0 or not done.stdout.strip():
        raise Skip(f"{name}: {said[-1]}")
    line = done.stdout.strip().splitlines()[-1]
    print(line, file=sys.stderr, flush=True)
    result = json.loads(line)
    if "skipped" in result:
        raise Skip(f"{name}: {result['skipped']}")
    return result


def ours(program, **options):
    """build/bench/PROGRAM --name value ... (True: no value), and `folder` at the end."""
    folder = options.pop("folder", None)
    command = [str(PROGRAMS / program)]
    for name, value in options.items():
        command += ["--" + name] + ([] if value is True else [str(value)])
    return run(command + ([str(folder)] if folder else []))


def theirs(python, script, **options):
    folder = options.pop("folder", None)
    command = [python, str(HERE / script)]
    for name, value in options.items():
        command += ["--" + name, str(value)]
    return run(command + ([str(folder)] if folder else []))


def partners(pythons):
    """Of the given interpreters those that have PyTorch and torchvision: name -> interpreter; and what the others lack."""
    found, missing = {}, []
    for python in pythons:
        ask = [python, "-c", "import torch, torchvision; print(torch.__version__)"]
        try:
            done = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
        except OSError as e:
            missing.append(f"{python}: {e.strerror}")
            continue
        except subprocess.TimeoutExpired:
            missing.append(f"{python} did not import torch within {DEADLINE} s")
            continue
        if done.returncode == 0:
            found.setdefault("PyTorch " + done.stdout.strip(), python)
        else:
            missing.append(f"{python}: {(done.stderr.strip().splitlines() or ['no torch'])[-1]}")
    return found, missing


class Served:
    """A program that is started once and then answers each line of numbers with a line of JSON, so that several can be
    measured in turn without what their starts cost."""

    def __init__(self, command):
        self.name = pathlib.Path(command[1] if "python" in pathlib.Path(command[0]).name else command[0]).name
        try:
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, text=True)
        except OSError as e:
            raise Skip(f"{command[0]}: {e.strerror}") from None
        try:
            self.first = self.answer()
        except Skip:
            self.close()
            raise

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip().splitlines() or ["ended without a word"]
            raise Skip(f"{self.name}: {said[-1]}")
        print(line, end="", file=sys.stderr, flush=True)
        return json.loads(line)

    def tell(self, *numbers):
        """Asks without waiting for the answer."""
        try:
            self.process.stdin.write(" ".join(str(n) for n in numbers) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why

    def ask(self, *numbers):
        self.tell(*numbers)
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.communicate()


def median(runs, key):
    return statistics.median(r[key] for r in runs)


class Contest:
    """`ours` against several partners, in turn. Each is a function without arguments that makes one run."""

    def __init__(self, key, more_is_better=True):
        self.key, self.more = key, more_is_better
        self.ours, self.theirs, self.failed = [], {}, []

    def hold(self, rounds, our_run, their_runs):
        self.theirs = {name: [] for name in their_runs}
        running = dict(their_runs)
        for _ in range(rounds):
            self.ours.append(our_run())
            for name in list(running):
                try:
                    self.theirs[name].append(running[name]())
                except Skip as why:
                    self.failed.append(f"{name} fell out: {why}")
                    del running[name], self.theirs[name]
            best = max((self.rate(self.theirs[name][0]) for name in running), default=0)
            running = {n: r for n, r in running.items() if self.rate(self.theirs[n][0]) >= BEHIND * best}
        return self

    def rate(self, result):
        return result[self.key] if self.more else 1 / result[self.key]

    def best(self):
        """Name of the strongest partner."""
        rounds = max(len(runs) for runs in self.theirs.values())
        whole = [name for name, runs in self.theirs.items() if len(runs) == rounds]
        return max(whole, key=lambda name: statistics.median(self.rate(r) for r in self.theirs[name]))

    def times(self, name):
        """How many times the partner's rate ours is."""
        return statistics.median(self.rate(a) / self.rate(b) for a, b in zip(self.ours, self.theirs[name]))

    def told(self):
        """All partners with their rates, for a note."""
        told = [f"{name}, {runs[0]['settings']}, {runs[0]['blas']}: {median(runs, self.key):.4g}"
                f"{' (1 round)' if len(runs) < len(self.ours) else ''}" for name, runs in self.theirs.items()]
        return "; ".join(told + self.failed)
