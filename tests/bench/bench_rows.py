# SPDX-License-Identifier: MIT
"""bench_rows: what `make bench` measures. A row is a function that runs programs in turn and returns lines of the table.

What a reader would get wrong: goals of the step are shares of its convolutions' bound, and a slow bound would flatter;
so the bound has a goal too, for machines whose speed is known.
"""
import collections
import statistics
import tempfile

import bench_encoder
from bench_lines import at_least, at_most, fact
from contest import Contest, Skip, median, ours, theirs

# 0.9 of the convolution bound of ResNet-50 seen on 2 cores: Zen 5 (AVX-512 with bf16), Zen 3 (AVX2), img/s
BOUND_SEEN = {("avx512bf16", "bf16"): 0.9 * 25.6, ("avx512bf16", "f32"): 0.9 * 12.8, ("avx2", "f32"): 0.9 * 4.2}
OFFICIAL = {"precision": "f32", "layout": "nchw", "malloc": "default"}
OFFICIAL_ROUNDS = 3
R50 = {"arch": "resnet50", "size": 224, "queue": 65536}
CIFAR = {"arch": "resnet18", "size": 32}


class Machine:
    """What rows need to know: rounds, threads, partners (name -> interpreter), a folder of pictures, the CPU's set, an
    interpreter with what inference is compared with."""

    def __init__(self, rounds, threads, partners, images, isa, peers):
        self.rounds, self.threads, self.partners, self.images, self.isa = rounds, threads, partners, images, isa
        self.peers = peers

    def needs_bf16(self):
        if self.isa != "avx512bf16":
            raise Skip(f"bf16 is native with AVX512_BF16 only; this CPU has {self.isa}")

    def native(self):
        return "bf16" if self.isa == "avx512bf16" else "f32"

    def step(self, **options):
        return ours("step", threads=self.threads, **options)

    def torch_steps(self, **options):
        return {name: (lambda python=python: theirs(python, "torch_step.py", threads=self.threads, **options))
                for name, python in self.partners.items()}


def against(contest, what, goal):
    """The line of a contest with its strongest partner; none where PyTorch is missing."""
    if not contest.theirs:
        return []
    best = contest.best()
    return [at_least(f"{what}, times PyTorch best tuned", contest.times(best), goal,
                     f"ours {median(contest.ours, contest.key):.4g}; {contest.told()}")]


def bound_goal(machine, precision):
    return {"bf16": 0.83, "f32": 0.80 if machine.isa.startswith("avx512") else 0.85}[precision]


# ---- ResNet-50 ----

def weights_share(runs, precision):
    """What a step of 256, sixteen launches of 16 and one update, spends on the weights."""
    def share(run):
        parts = run["parts_ms"]
        weights = parts["ema"] + parts["check"] + parts["sgd"]
        return weights / ((sum(parts.values()) - weights) * 256 / run["group"] + weights)

    return at_most(f"weights (average, check, SGD), {precision}: share of a step of 256",
                   statistics.median(share(r) for r in runs), 0.03)


def r50(machine, precision, tuned, official):
    step = dict(R50, precision=precision)
    contest = Contest("img_per_s").hold(
        machine.rounds, lambda: machine.step(group=16, **step), machine.torch_steps(batch=16, **step))
    runs = contest.ours
    bound = median(runs, "conv_bound_img_per_s")
    lines = [at_least(f"ResNet-50 at 224 px, {precision}, group 16: of its convolutions' bound",
                      median(runs, "of_conv_bound"), bound_goal(machine, precision),
                      f"{median(runs, 'img_per_s'):.2f} of {bound:.2f} img/s; {runs[0]['library']}")]
    seen = BOUND_SEEN.get((machine.isa, precision))
    lines.append(at_least(f"that bound, {precision}", bound, seen, "0.9 of what such CPUs showed", " img/s"))
    lines += against(contest, f"ResNet-50, {precision}", tuned)
    if contest.theirs:
        out_of_the_box = Contest("img_per_s").hold(
            min(machine.rounds, OFFICIAL_ROUNDS), lambda: machine.step(group=16, runs=3, bound=0, **step),
            machine.torch_steps(batch=16, runs=2, **dict(R50, **OFFICIAL)))
        # "as people run it" is the PyTorch at hand, the first given: not the quickest of several
        name = next(iter(machine.partners))
        lines.append(at_least(f"ResNet-50, {precision}, times PyTorch as the official script runs (f32, NCHW)",
                              out_of_the_box.times(name), official, out_of_the_box.told()))
    return lines + [weights_share(runs, precision)]


def r50_bf16(machine):
    machine.needs_bf16()
    return r50(machine, "bf16", tuned=1.35, official=6)


def r50_f32(machine):
    return r50(machine, "f32", tuned=1.25, official=2)


def group_line(machine, group, precision, goal):
    run = machine.step(group=group, precision=precision, runs=max(machine.rounds, 3), **R50)
    return at_least(f"ResNet-50, {precision}, group {group}: of its convolutions' bound", run["of_conv_bound"], goal,
                    f"{run['img_per_s']} of {run['conv_bound_img_per_s']} img/s, rounds in one process")


def larger_groups(machine, group):
    lines = [group_line(machine, group, "bf16", 0.90)] if machine.native() == "bf16" else []
    return lines + [group_line(machine, group, "f32", bound_goal(machine, "f32"))]


def group_32(machine):
    return larger_groups(machine, 32)


def group_64(machine):
    return larger_groups(machine, 64)


# ---- ResNet-18 at 32 px ----

def cifar(machine, queue):
    """A step of the preset's batch; PyTorch takes it as one batch, and also a batch of 128, which may suit it better."""
    step = dict(CIFAR, precision=machine.native(), queue=queue)
    partners = {}
    for batch, runs in ((512, 1), (128, 3)):
        for name, run in machine.torch_steps(batch=batch, runs=runs, **step).items():
            partners[f"{name}, batch {batch}"] = run
    contest = Contest("img_per_s").hold(
        machine.rounds, lambda: machine.step(group=64, groups=8, runs=2, **step), partners)
    runs = contest.ours
    what = f"ResNet-18 at 32 px, {machine.native()}, 512 in 8 groups, K {queue}"
    return [at_least(f"{what}: of its convolutions' bound", median(runs, "of_conv_bound"), 0.85,
                     f"{median(runs, 'img_per_s'):.1f} of {median(runs, 'conv_bound_img_per_s'):.1f} img/s")
            ] + against(contest, what, 1.3)


def cifar_4096(machine):
    return cifar(machine, 4096)


def cifar_65536(machine):
    return cifar(machine, 65536)


# ---- memory ----

def memory(machine):
    step = dict(R50, group=16, precision="f32", runs=3, bound=0)
    kept, again = machine.step(**step), machine.step(recompute=1, **step)
    lines = [fact("ResNet-50, f32, group 16: peak resident memory", kept["peak_rss_mb"], "", " MiB"),
             fact("that with recomputed batch norm", again["peak_rss_mb"],
                  f"{again['img_per_s']} img/s beside {kept['img_per_s']}", " MiB")]
    peaks = {name: theirs(python, "torch_step.py", threads=machine.threads, batch=16, precision="f32", runs=1,
                          malloc="default", **R50)["peak_rss_mb"] for name, python in machine.partners.items()}
    if peaks:
        least, told = min(peaks.values()), "; ".join(f"{name}: {mb} MiB" for name, mb in peaks.items())
        lines += [at_most("peak memory, times PyTorch channels-last", kept["peak_rss_mb"] / least, 0.75, told),
                  at_most("that with recomputed batch norm", again["peak_rss_mb"] / least, 0.6, told)]
    return lines


def launches(machine, precision, limit):
    """A batch of 256 as 8 groups of 32 beside one group of 32: the same launches, and no more memory than they need."""
    rounds = min(machine.rounds, 3)
    whole, one = [], []
    for _ in range(rounds):
        whole.append(machine.step(group=32, groups=8, precision=precision, runs=1, bound=0, **R50))
        one.append(machine.step(group=32, groups=1, precision=precision, runs=5, bound=0, **R50))
    ratio = statistics.median(a["img_per_s"] / b["img_per_s"] for a, b in zip(whole, one))
    peak = max(r["peak_rss_mb"] for r in whole) * 1024 * 1024 / 1e9
    what = f"ResNet-50, {precision}, 256 as 8 x 32, K 65536"
    return [at_most(f"{what}: peak resident memory", peak, limit, "", " GB"),
            at_least(f"{what}: img/s, times one group of 32", ratio, 0.95,
                     f"{median(whole, 'img_per_s'):.2f} and {median(one, 'img_per_s'):.2f} img/s, {rounds} rounds")]


def launches_bf16(machine):
    machine.needs_bf16()
    return launches(machine, "bf16", 2.5)


def launches_f32(machine):
    return launches(machine, "f32", 4.2)


# ---- small things ----

def infonce(machine):
    contest = Contest("ms", more_is_better=False).hold(
        machine.rounds, lambda: ours("infonce", threads=machine.threads),
        {name: (lambda python=python: theirs(python, "torch_infonce.py", threads=machine.threads))
         for name, python in machine.partners.items()})
    runs = contest.ours
    lines = [at_least("InfoNCE, 256 x 128 x 65536: of the floor of two matrix products", median(runs, "of_floor"), 0.65,
                      f"{median(runs, 'ms'):.1f} of {median(runs, 'gemm_floor_ms'):.1f} ms"),
             at_most("InfoNCE, extra memory", max(r["extra_bytes"] for r in runs) / 1e6, 16, "", " MB")]
    if contest.theirs:
        goal = 5 if machine.native() == "bf16" else 2.2
        lines.append(at_least("InfoNCE, times PyTorch", contest.times(contest.best()), goal, f"ms: {contest.told()}"))
    return lines


def infonce_4m(machine):
    short = ours("infonce", threads=machine.threads)
    long = ours("infonce", threads=machine.threads, queue=1 << 22, runs=3)
    return [at_most("InfoNCE at 4,194,304 keys: time a key, times that at 65536",
                    long["ms"] / (1 << 22) / (short["ms"] / 65536), 1.25, f"{long['ms']:.0f} ms"),
            at_most("that, extra memory", long["extra_bytes"] / 1e6, 16, "", " MB")]


def weights(machine):
    """Each pass over the weights against a copy of as many bytes as it cannot do without, in turn in one process."""
    lines = []
    for precision in ("bf16", "f32") if machine.native() == "bf16" else ("f32",):
        run = ours("weights", threads=machine.threads, precision=precision, runs=2 * machine.rounds + 1)
        for key, what in (("ema_readers", "momentum update for the key encoder"), ("sgd", "SGD"),
                          ("ema_sgd", "SGD with the momentum update that is kept")):
            lines.append(at_most(f"{what}, {precision}, 28 M parameters: times a copy of its bytes", run[key]["of_copy"],
                                 1.25, f"{run[key]['ms']} ms, {run[key]['mb']} MB; copy {run['copy_gb_per_s']} GB/s"))
    return lines


def export(machine):
    """A ResNet-50 as a file, against a copy of that file that is as safe (fsync, rename), in turn in one process."""
    run = ours("export", runs=2 * machine.rounds + 1)
    return [at_least(f"export of ResNet-50 to .{form}: of a copy's rate", run[form]["of_copy"], 0.5,
                     f"{run[form]['ms']} ms, {run[form]['mb']} MB") for form in ("safetensors", "onnx")]


def importing(machine):
    """A ResNet-50 of torchvision from a file of torch.save, against reading that file from the disk cache."""
    if not machine.partners:
        raise Skip("no Python with PyTorch: nothing writes the file")
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/resnet50.pth"
        theirs(list(machine.partners.values())[0], "torch_file.py", folder=path)
        run = ours("import", threads=machine.threads, runs=2 * machine.rounds + 1, folder=path)
    return [at_least("import of a ResNet-50 .pth: of the disk cache's rate", run["import"]["of_cache"], 0.5,
                     f"{run['import']['ms']} ms, {run['mb']} MB; tensors alone {run['tensors']['of_cache']}")]


def start(machine):
    run = ours("start", threads=machine.threads)
    parts = ", ".join(f"{name} {ms}" for name, ms in run["parts_ms"].items())
    return [at_most("start of a process to its first finished step, tiny model", run["ms"] / 1e3, 0.1,
                    f"{run['runs']} processes; ms: {parts}", " s")]


def threads(machine):
    """How much of the convolutions' own speed-up a second thread gives the step: the ratio of both shares of the bound."""
    if machine.threads < 2:
        raise Skip("one thread: there is no speed-up to compare")
    step = dict(R50, precision=machine.native(), group=16, runs=2)
    one, two = [], []
    for _ in range(machine.rounds):
        one.append(ours("step", threads=1, **step))
        two.append(ours("step", threads=2, **step))

    def speed_up(key):
        return statistics.median(b[key] / a[key] for a, b in zip(one, two))

    return [at_least(f"ResNet-50, {machine.native()}, 1 to 2 threads: speed-up, times the convolutions' own",
                     speed_up("of_conv_bound"), 0.95,
                     f"step {speed_up('img_per_s'):.2f}, convolutions {speed_up('conv_bound_img_per_s'):.2f}")]


def beside(machine):
    """Each of two processes that train at once against one alone; and what waiting as the programs do costs alone."""
    if machine.threads < 2:
        raise Skip("one thread: nobody waits")
    lines = []
    for network, seconds in (("small", 3), ("resnet50", 6)):
        run = ours("beside", network=network, seconds=seconds, rounds=machine.rounds, threads=machine.threads)
        lines += [at_most(f"{network}: a step beside a second process that trains, times one alone", run["times"], 2.3,
                          f"{run['beside_ms']} and {run['alone_ms']} ms; {run['wait']}"),
                  at_most(f"{network}: alone, times alone as OpenMP comes", run["of_default"], 1.02,
                          f"{run['alone_ms']} and {run['default_alone_ms']} ms")]
    return lines


def loader(machine):
    if machine.images is None:
        raise Skip("no pictures: name a folder of JPEGs with --images")
    contest = Contest("img_per_s_per_core").hold(
        machine.rounds, lambda: ours("loader", workers=1, seconds=2, folder=machine.images),
        {name: (lambda python=python: dict(theirs(python, "pil_loader.py", seconds=2, folder=machine.images),
                                           settings="torchvision's transforms", blas="1 worker"))
         for name, python in list(machine.partners.items())})
    runs = contest.ours
    lines = [fact("loader, two views an image, one worker", median(runs, "img_per_s"),
                  f"{median(runs, 'of_decode'):.2f} of a bare decode", " img/s")]
    if contest.theirs:
        lines.append(at_least("loader, times Pillow and torchvision", contest.times(contest.best()), 4.5,
                              contest.told()))
    run = ours("loader", workers=1, seconds=1, rounds=max(machine.rounds, 7), encoded=True, folder=machine.images)
    lines.append(at_least("loader, encoded bytes by callback: of the rate from a folder", run["encoded_of_folder"], 0.97,
                          f"median of {len(run['rounds'])}"))
    return lines


def evaluation(machine):
    runs = dict(threads=machine.threads, runs=max(machine.rounds, 3))
    knn = ours("eval", part="knn", **runs)
    small = ours("eval", part="embed", **runs)
    large = ours("eval", part="embed", arch="resnet50", size=224, **runs)
    return [at_least("kNN, 10,000 queries over 50,000 x 128: of a matrix product's rate", knn["of_gemm"], 0.5,
                     f"{knn['queries_per_s']} queries/s"),
            at_least("features, ResNet-18 at 32 px, f32: of the forward convolutions' bound", small["of_conv_bound"], 0.9,
                     f"{small['img_per_s']} img/s"),
            at_least("features, ResNet-50 at 224 px, f32: of the forward convolutions' bound", large["of_conv_bound"], 0.9,
                     f"{large['img_per_s']} img/s")]


def search(machine):
    runs = dict(threads=machine.threads, runs=max(machine.rounds, 3))
    one, many = (ours("search", queries=queries, **runs) for queries in (1, 64))
    return [at_least("search of 1,000,000 x 128, 1 query: of the rate of reading memory", one["of_reading"], 0.8,
                     f"{one['queries_per_s']} queries/s"),
            at_least("the same, 64 queries: of a matrix product's rate", many["of_gemm"], 0.5,
                     f"{many['queries_per_s']} queries/s")]


# name -> function, seconds of a round and seconds that do not depend on rounds (2 cores of a Zen 5, two partners of
# which one falls behind), what it is; slow ones run only when named
Row = collections.namedtuple("Row", "measure per_round once what slow")
ROWS = {
    "start": Row(start, 0, 2, "a process's first step", False),
    "infonce": Row(infonce, 9, 5, "InfoNCE against matrix products and PyTorch", False),
    "infonce-4m": Row(infonce_4m, 0, 25, "InfoNCE at four million keys (3 GB)", False),
    "weights": Row(weights, 1, 4, "momentum update and SGD against a copy", False),
    "import": Row(importing, 1, 8, "a ResNet-50 of PyTorch's against reading its file", False),
    "export": Row(export, 4, 5, "files for other programs against copies of them", False),
    "r50-bf16": Row(r50_bf16, 22, 100, "ResNet-50 in bf16 against its convolutions and PyTorch, group 16", False),
    "r50-f32": Row(r50_f32, 34, 110, "the same in f32", False),
    "cifar-4096": Row(cifar_4096, 22, 25, "ResNet-18 at 32 px, a batch of 512 in 8 groups", False),
    "cifar-65536": Row(cifar_65536, 23, 25, "the same against a longer queue", False),
    "memory": Row(memory, 0, 40, "peak memory in f32, group 16, against PyTorch", False),
    "group-32": Row(group_32, 12, 10, "ResNet-50 in groups of 32 against its convolutions", False),
    "launches-bf16": Row(launches_bf16, 0, 115, "256 as 8 groups of 32 in bf16: memory and rate", False),
    "launches-f32": Row(launches_f32, 0, 210, "the same in f32", False),
    "threads": Row(threads, 15, 0, "the step's speed-up by a second thread", False),
    "beside": Row(beside, 32, 0, "two processes at once against one", False),
    "loader": Row(loader, 14, 17, "views of JPEGs against Pillow and torchvision; from a folder and by callback", False),
    "eval": Row(evaluation, 5, 10, "kNN and features", False),
    "encoder-r50": Row(bench_encoder.resnet50, 25, 20, "ResNet-50, 1 and 8 pictures, against ONNX Runtime and OpenVINO",
                       False),
    "encoder-r50-bf16": Row(bench_encoder.resnet50_bf16, 20, 20, "the same in bf16 against OpenVINO", False),
    "encoder-r18": Row(bench_encoder.resnet18, 16, 10, "ResNet-18 at 32 px, 1 and 64 pictures, against both", False),
    "encoder-steady": Row(bench_encoder.steady, 2, 10, "deterministic and not", False),
    "encoder-serve": Row(bench_encoder.serve, 14, 10, "a service's first vector, two callers, memory", False),
    "encoder-pictures": Row(bench_encoder.pictures, 8, 20, "JPEGs to vectors", False),
    "search": Row(search, 1, 10, "the nearest of a million vectors", False),
    "group-64": Row(group_64, 25, 15, "ResNet-50 in groups of 64 (4 GB)", True),
}
