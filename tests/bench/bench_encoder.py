# SPDX-License-Identifier: MIT
"""bench_encoder: inference beside ONNX Runtime and OpenVINO, which are given the same weights as an ONNX file of our own;
and an encoder as a service has it: its first vector, two callers, its memory, JPEGs.

All of them are started once for a number of threads and then measured in turn, round after round. What a reader would
get wrong: a ratio is ours over the better of the others in the same round; of one thread it is processor time, which is the
same and which other programs on the machine disturb less; and the vectors are compared first, since a time of something
else would mean nothing.
"""
import os
import statistics
import tempfile

from bench_lines import at_least, at_most, fact
from contest import HERE, PROGRAMS, Served, Skip, ours

MS = 400  # of one program in one round; a launch takes longer, and then three of them are run
APART = 1e-5  # norm of the difference over the norm of ours


def start_ours(shape, threads, precision, dump=None, **options):
    command = [PROGRAMS / "encoder", "--serve", 1, "--threads", threads, "--precision", precision]
    for name, value in {**shape, **options}.items():
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


def race(machine, runners, n, threads):
    """name -> milliseconds of each round."""
    took = {name: [] for name in runners}
    for _ in range(machine.rounds):
        for name, runner in runners.items():
            took[name].append(runner.ask(n, MS)["cpu_ms" if threads == 1 else "ms"])
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
                took = race(machine, runners, n, threads)
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
            runners[precision] = start_ours(shape, machine.threads, precision)
        for n in (1, 8):
            took = race(machine, runners, n, machine.threads)
            lines.append(at_least(f"encoder, ResNet-50 at 224 px, n {n}: bf16, times as fast as f32",
                                  statistics.median(a / b for a, b in zip(took["f32"], took["bf16"])), 1.7, told(took)))
    finally:
        for runner in runners.values():
            runner.close()
    return lines


# ---- the other setting of `deterministic` ----

def steady(machine):
    """What it costs that a picture's bits do not depend on its company: linear layers, so projections are asked for."""
    lines = []
    for arch, size, n in (("resnet50", 224, 8), ("resnet18", 32, 64)):
        runners = {}
        try:
            for name, value in (("deterministic", 1), ("not", 0)):
                runners[name] = start_ours({"arch": arch, "size": size, "n": n}, machine.threads, "f32", projection=1,
                                           deterministic=value)
            took = race(machine, runners, n, machine.threads)
            lines.append(at_most(f"encoder, {arch} at {size} px, projections, n {n}: deterministic, times not",
                                 statistics.median(a / b for a, b in zip(took["deterministic"], took["not"])), 1.05,
                                 told(took)))
        finally:
            for runner in runners.values():
                runner.close()
    return lines


# ---- a service ----

SECONDS = 3  # of callers in one measurement


def start_service(callers, threads=1):
    return Served([PROGRAMS / "serve", "--serve", 1, "--callers", callers, "--compute-threads", threads,
                   "--precision", "f32"])


def first_vectors(machine):
    """Of processes that have opened nothing before."""
    lines = []
    for threads in range(1, min(2, machine.threads) + 1):
        starts = []
        for _ in range(machine.rounds):
            service = start_service(1, threads)
            starts.append(service.first)
            service.close()
        took = [s["open_ms"] + s["first_ms"] for s in starts]
        lines.append(at_most(f"encoder, ResNet-50: first vector after opening the file, {threads} "
                             f"{'thread' if threads == 1 else 'threads'}", statistics.median(took) / 1e3, 0.3,
                             f"opening {statistics.median(s['open_ms'] for s in starts):.0f} ms, the vector "
                             f"{statistics.median(s['first_ms'] for s in starts):.0f} ms; processor time of both "
                             f"{statistics.median(s['open_cpu_ms'] + s['first_cpu_ms'] for s in starts):.0f} ms; "
                             f"{machine.rounds} processes",
                             " s"))
    lines.append(at_most("encoder, ResNet-50 at 224 px: memory of one call (n 1)", starts[0]["workspace_mb"], 40,
                         f"weights, once: {starts[0]['weights_mb']:.0f} MB", " MB"))
    return lines


def both(services):
    """Pictures a second of services that one caller asks at the same time."""
    for service in services:
        service.tell(1, SECONDS)
    return sum(service.answer()["pictures_per_second"] for service in services)


def serve(machine):
    """One caller, two on one encoder, and two processes, in turn."""
    lines = first_vectors(machine)
    if machine.threads < 2:
        return lines
    services = []
    try:
        services = [start_service(2), start_service(1)]
        services[0].ask(2, 0.5)
        one, two, apart = [], [], []
        for _ in range(machine.rounds):
            one.append(services[0].ask(1, SECONDS)["pictures_per_second"])
            two.append(services[0].ask(2, SECONDS)["pictures_per_second"])
            apart.append(both(services))
        rates = ", ".join(f"{statistics.median(values):.2f}" for values in (one, two, apart))
        note = f"one caller, two, two processes: {rates} pictures/s; one of the two goals is asked for"
        lines += [at_least("encoder, ResNet-50: two callers, times one",
                           statistics.median(b / a for a, b in zip(one, two)), 1.9, note),
                  at_least("the same, of two processes", statistics.median(a / b for a, b in zip(two, apart)), 0.97, "")]
    finally:
        for service in services:
            service.close()
    return lines


def pictures(machine):
    if machine.images is None:
        raise Skip("no pictures: name a folder of JPEGs with --images")
    run = ours("pictures", processors=machine.threads, rounds=machine.rounds, n=48, folder=machine.images)
    note = f"decoding {run['decode_ms']} ms, network {run['network_ms']} ms a picture; bound {run['bound']} pictures/s"
    return [at_least(f"encoder, JPEGs to vectors, {machine.threads} callers: of the processors' bound",
                     run["callers_of_bound"], 0.97, f"{run['callers_per_s']} pictures/s; {note}"),
            at_least("the same, of its processor time", run["callers_cpu_of_bound"], 0.97, ""),
            fact("the same, one call with a worker", run["call_of_bound"], f"{run['call_per_s']} pictures/s")]
