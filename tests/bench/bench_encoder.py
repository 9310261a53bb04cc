# SPDX-License-Identifier: MIT
"""bench_encoder: inference beside ONNX Runtime and OpenVINO, which are given the same weights as an ONNX file of our own.

All of them are started once for a number of threads and then measured in turn, round after round. What a reader would
get wrong: a ratio is ours over the better of the others in the same round; and the vectors are compared first, since a
time of something else would mean nothing.
"""
import os
import statistics
import tempfile

from bench_lines import at_least, at_most
from contest import HERE, PROGRAMS, Served, Skip

MS = 400  # of one program in one round; a launch takes longer, and then three of them are run
APART = 1e-5  # norm of the difference over the norm of ours


def start_ours(shape, threads, precision, dump):
    command = [PROGRAMS / "encoder", "--serve", 1, "--threads", threads, "--precision", precision]
    for name, value in shape.items():
        command += ["--" + name, value]
    return Served(command + (["--dump", dump] if dump else []))


def start_peers(machine, libraries, shape, threads, precision, dump):
    if not os.path.exists(machine.peers):
        raise Skip(f"{machine.peers} is not there; it wants onnxruntime, openvino and numpy (--peers PATH)")
    peers, missing = {}, []
    for library in libraries:
        try:
            peers[library] = Served([machine.peers, HERE / "encoder_peer.py", "--library", library, "--dump", dump,
                                     "--size", shape["size"], "--n", shape["n"], "--threads", threads,
                                     "--precision", precision])
        except Skip as why:
            missing.append(f"not measured beside {library}: {why}")
    if not peers:
        raise Skip("; ".join(missing))
    return peers, missing


def race(machine, runners, n):
    """name -> milliseconds of each round."""
    took = {name: [] for name in runners}
    for _ in range(machine.rounds):
        for name, runner in runners.items():
            took[name].append(runner.ask(n, MS)["ms"])
    return took


def told(took):
    return ", ".join(f"{name} {statistics.median(ms):.2f} ms" for name, ms in took.items())


def against(machine, what, shape, goals, threads, libraries=("onnxruntime", "openvino"), precision="f32"):
    runners, lines = {}, []
    with tempfile.TemporaryDirectory() as dump:
        try:
            runners["ours"] = start_ours(shape, threads, precision, dump)
            peers, missing = start_peers(machine, libraries, shape, threads, precision, dump)
            runners.update(peers)
            what = f"{what}, {threads} {'thread' if threads == 1 else 'threads'}"
            versions = ", ".join(f"{name} {peer.first['version']}" for name, peer in peers.items())
            if precision == "f32":
                lines.append(at_most(f"{what}: vectors apart from theirs",
                                     max(max(peer.first["apart"].values()) for peer in peers.values()) / APART, 1,
                                     f"of {APART}; {versions}"))
            for n, goal in goals.items():
                took = race(machine, runners, n)
                ratio = statistics.median(ms / min(took[name][i] for name in peers)
                                          for i, ms in enumerate(took["ours"]))
                lines.append(at_most(f"{what}, n {n}: time, times the best of the others", ratio, goal,
                                     "; ".join([told(took)] + missing)))
        finally:
            for runner in runners.values():
                runner.close()
    return lines


def by_threads(machine, *args, **options):
    lines = []
    for threads in range(1, min(2, machine.threads) + 1):
        lines += against(machine, *args, threads=threads, **options)
    return lines


def resnet50(machine):
    return by_threads(machine, "encoder, ResNet-50 at 224 px, f32", {"arch": "resnet50", "size": 224, "n": "1,8"},
                      {1: 1.0, 8: 0.95})


def resnet18(machine):
    return by_threads(machine, "encoder, ResNet-18 at 32 px, f32", {"arch": "resnet18", "size": 32, "n": "1,64"},
                      {1: 1.0, 64: 1.0})


def resnet50_bf16(machine):
    machine.needs_bf16()
    shape = {"arch": "resnet50", "size": 224, "n": "1,8"}
    lines = by_threads(machine, "encoder, ResNet-50 at 224 px, bf16", shape, {1: 1.0, 8: 1.0},
                       libraries=("openvino",), precision="bf16")
    runners = {}
    try:
        for precision in ("f32", "bf16"):
            runners[precision] = start_ours(shape, machine.threads, precision, None)
        for n in (1, 8):
            took = race(machine, runners, n)
            lines.append(at_least(f"encoder, ResNet-50 at 224 px, n {n}: bf16, times as fast as f32",
                                  statistics.median(a / b for a, b in zip(took["f32"], took["bf16"])), 1.7, told(took)))
    finally:
        for runner in runners.values():
            runner.close()
    return lines
