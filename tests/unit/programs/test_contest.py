#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_contest: medians, partners that fall out and rows that cannot be measured, with programs that only claim numbers.

What a reader would get wrong: nothing is timed here; contest.run is replaced by a table of answers.
"""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
sys.dont_write_bytecode = True
import bench_encoder  # noqa: E402
import bench_rows  # noqa: E402
import contest  # noqa: E402
import measure  # noqa: E402

STEP = dict(img_per_s=20.0, conv_bound_img_per_s=25.0, of_conv_bound=0.8, peak_rss_mb=1000, group=16, library="oneDNN",
            parts_ms=dict(ema=10, check=1, sgd=9, rest=600))
PASS = dict(of_copy=1.1, ms=5.0, mb=200)
ANSWERS = {
    "step": STEP, "infonce": dict(ms=20.0, gemm_floor_ms=22.0, of_floor=1.1, extra_bytes=10 ** 6, isa="avx512bf16"),
    "weights": dict(copy_gb_per_s=50.0, ema_readers=PASS, sgd=PASS, ema_sgd=PASS),
    "start": dict(ms=30.0, runs=15, parts_ms=dict(load=2)), "loader": dict(img_per_s=700.0, img_per_s_per_core=700.0,
                                                                         of_decode=0.6, encoded_of_folder=1.0, rounds=[1.0]),
    "beside": dict(wait="auto", default_alone_ms=28.0, alone_ms=28.2, beside_ms=50.0, times=1.8, of_default=1.007),
    "export": dict(safetensors=dict(of_copy=0.6, ms=90.0, mb=94), onnx=dict(of_copy=0.6, ms=90.0, mb=94)),
    "import": dict({"import": dict(of_cache=0.5, ms=80.0)}, tensors=dict(of_cache=0.6), mb=102.5),
    "torch_file.py": dict(mb=102.5),
    "pictures": dict(decode_ms=1.3, network_ms=55.0, bound=35.5, callers_per_s=35.0, call_per_s=30.0,
                     callers_of_bound=0.98, call_of_bound=0.84, callers_cpu_of_bound=0.98),
    "search": dict(of_reading=0.9, of_gemm=0.7, queries_per_s=9),
    "eval": dict(of_gemm=0.5, queries_per_s=9, of_conv_bound=0.9, img_per_s=9.0),
    "torch_step.py": dict(img_per_s=10.0, peak_rss_mb=2000, settings="s", blas="b"),
    "torch_infonce.py": dict(ms=150.0, settings="s", blas="b"), "pil_loader.py": dict(img_per_s_per_core=100.0),
}


def claims(command):
    script = len(command) > 1 and command[1].endswith(".py")
    return dict(ANSWERS[pathlib.Path(command[1 if script else 0]).name])


def series(*values):
    """A run that gives the values in turn."""
    left = iter(values)
    return lambda: dict(rate=next(left), settings="s", blas="b")


class Contests(unittest.TestCase):
    def test_ratios_within_rounds(self):
        c = contest.Contest("rate").hold(3, series(10, 100, 30), {"a": series(9.5, 50, 10)})
        self.assertEqual(c.times("a"), 2)  # of 1.05, 2, 3; the medians' ratio is 3.16

    def test_less_is_better(self):
        c = contest.Contest("rate", more_is_better=False).hold(1, series(10), {"slow": series(31), "quick": series(30)})
        self.assertEqual((c.best(), c.times(c.best())), ("quick", 3))

    def test_who_is_behind_runs_once(self):
        c = contest.Contest("rate").hold(3, series(1, 1, 1), {"a": series(10, 10, 10), "b": series(8.9),
                                                              "c": series(9.1, 12, 12)})
        self.assertEqual([len(runs) for runs in c.theirs.values()], [3, 1, 3])
        self.assertEqual(c.best(), "c")
        self.assertIn("b, s, b: 8.9 (1 round)", c.told())

    def test_who_fails_falls_out(self):
        def fails():
            raise contest.Skip("no torch here")
        c = contest.Contest("rate").hold(2, series(4, 4), {"a": fails, "b": series(2, 2)})
        self.assertEqual(c.times(c.best()), 2)
        self.assertIn("a fell out: no torch here", c.told())


class Programs(unittest.TestCase):
    def test_what_is_not_there(self):
        with self.assertRaisesRegex(contest.Skip, "^/nowhere/x is not there$"):
            contest.run(["/nowhere/x"])

    def test_the_last_words_of_a_failure(self):
        with self.assertRaisesRegex(contest.Skip, "no memory$"):
            contest.run([sys.executable, "-c", "import sys; sys.exit('first\\nno memory')"])

    def test_an_interpreter_without_torch(self):
        found, missing = contest.partners(["/nowhere/python"])
        self.assertEqual((found, missing), ({}, ["/nowhere/python: No such file or directory"]))


class Serves:
    """Ours takes 9 ms in f32 and 4 in bf16, ONNX Runtime 10, OpenVINO 8 and 5."""
    TAKES = {"onnxruntime": {"f32": 10}, "openvino": {"f32": 8, "bf16": 5}, None: {"f32": 9, "bf16": 4}}

    def __init__(self, command):
        option = dict(zip(command, command[1:]))
        self.ms = self.TAKES[option.get("--library")][option["--precision"]]
        self.first = {"version": "1", "apart": {"1": 2e-7, "8": 3e-7}, "open_ms": 150, "first_ms": 60,
                      "open_cpu_ms": 140, "first_cpu_ms": 55, "workspace_mb": 6, "weights_mb": 128}

    def tell(self, n, ms):
        self.n = n

    def answer(self):
        return {"n": self.n, "ms": self.ms, "cpu_ms": self.ms, "pictures_per_second": 19 * self.n}

    def ask(self, n, ms):
        self.tell(n, ms)
        return self.answer()

    def close(self):
        pass


class Answers(unittest.TestCase):
    SAYS = "import sys\nprint('{\"ready\": 1}', flush=True)\nfor line in sys.stdin: print(line.split()[1], flush=True)"

    def test_each_line_has_its_answer(self):
        with contextlib.redirect_stderr(io.StringIO()):
            program = contest.Served([sys.executable, "-c", self.SAYS])
            self.assertEqual((program.first, program.ask(1, 17), program.ask(2, 4)), ({"ready": 1}, 17, 4))
            program.close()

    def test_the_last_words_of_who_does_not_start(self):
        with self.assertRaisesRegex(contest.Skip, "no such library$"):
            contest.Served([sys.executable, "-c", "import sys; sys.exit('no such library')"])


class Rows(unittest.TestCase):
    def setUp(self):
        self.run, contest.run = contest.run, claims
        self.served, bench_encoder.Served = bench_encoder.Served, Serves

    def tearDown(self):
        contest.run = self.run
        bench_encoder.Served = self.served

    def entries(self, machine):
        return {name: measure.measure(row, machine) for name, row in bench_rows.ROWS.items()}

    def test_every_row_has_lines(self):
        partners = {"PyTorch 1": "python-1", "PyTorch 2": "python-2"}
        for name, entry in self.entries(bench_rows.Machine(7, 2, partners, "/", "avx512bf16", sys.executable)).items():
            self.assertNotIn("skipped", entry, name)
            self.assertTrue(entry["lines"], name)
            for line in entry["lines"]:
                measure.table_row(line)

    def test_goals_are_met_or_not(self):
        machine = bench_rows.Machine(7, 2, {"PyTorch": "python"}, "/", "avx512bf16", sys.executable)
        met = {line["what"]: line["met"] for line in measure.measure(bench_rows.ROWS["r50-bf16"], machine)["lines"]}
        self.assertFalse(met["ResNet-50 at 224 px, bf16, group 16: of its convolutions' bound"])  # 0.8 of 0.83
        self.assertTrue(met["ResNet-50, bf16, times PyTorch best tuned"])  # 2 of 1.35
        self.assertTrue(met["weights (average, check, SGD), bf16: share of a step of 256"])  # 20 of 9620 ms

    def test_inference_is_held_against_the_better(self):
        machine = bench_rows.Machine(3, 1, {}, None, "avx512bf16", sys.executable)
        lines = [line for row in ("encoder-r50", "encoder-r50-bf16")
                 for line in measure.measure(bench_rows.ROWS[row], machine)["lines"]]
        told = {line["what"]: (round(line["value"], 3), line["met"]) for line in lines}
        self.assertEqual(told["encoder, ResNet-50 at 224 px, f32, 1 thread, n 8: time, times the best of the others"],
                         (1.125, False))
        self.assertEqual(told["encoder, ResNet-50 at 224 px, bf16, 1 thread, n 1: time, times the best of the others"],
                         (0.8, True))
        self.assertEqual(told["encoder, ResNet-50 at 224 px, n 1: bf16, times as fast as f32"], (2.25, True))

    def test_a_service(self):
        machine = bench_rows.Machine(3, 2, {}, None, "avx2", "/nowhere/python")
        lines = measure.measure(bench_rows.ROWS["encoder-serve"], machine)["lines"]
        told = {line["what"]: (round(line["value"], 3), line["met"]) for line in lines}
        self.assertEqual(told["encoder, ResNet-50: first vector after opening the file, 2 threads"], (0.21, True))
        self.assertEqual(told["encoder, ResNet-50: two callers, times one"], (2, True))
        self.assertEqual(told["the same, of two processes"], (1, True))

    def test_what_is_missing_is_told(self):
        entries = self.entries(bench_rows.Machine(3, 1, {}, None, "avx2", "/nowhere/python"))
        skipped = {name: entry["skipped"] for name, entry in entries.items() if "skipped" in entry}
        self.assertEqual(set(skipped), {"r50-bf16", "launches-bf16", "threads", "beside", "loader", "import", "encoder-r50",
                                        "encoder-r50-bf16", "encoder-r18", "encoder-pictures"})
        self.assertIn("/nowhere/python is not there", skipped["encoder-r18"])
        self.assertIn("--images", skipped["loader"])
        self.assertTrue(all(entries[name]["lines"] for name in entries if name not in skipped))

    def test_resume_keeps_what_stands(self):
        with tempfile.TemporaryDirectory() as folder:
            measure.RESULTS, arguments = pathlib.Path(folder) / "results.json", sys.argv
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                sys.argv = ["measure", "--python", "/nowhere/python", "--rounds", "1", "--rows", "start"]
                self.assertEqual(measure.main(), 0)
                ANSWERS["start"]["ms"] = 500.0
                sys.argv[-1:] = ["start,infonce", "--resume"]
                self.assertEqual(measure.main(), 0)
            sys.argv = arguments
            rows = json.loads(measure.RESULTS.read_text())["rows"]
        self.assertEqual(set(rows), {"start", "infonce"})
        self.assertEqual(rows["start"]["lines"][0]["value"], 0.03)
        self.assertIn("no partner: /nowhere/python", out.getvalue())


if __name__ == "__main__":
    unittest.main(argv=["test_contest"])
