#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""measure: every benchmark with its PyTorch partners: a table on stdout, all numbers in build/bench/results.json.

    tests/bench/measure.py [--rows NAME,...|all] [--rounds 7] [--threads N] [--python PATH]... [--images DIR]
                           [--peers PATH] [--list] [--resume]

`make bench BENCH="--rounds 3"` builds the programs and runs this. --python names an interpreter with PyTorch and
torchvision; given several times, each is raced, and the best counts; "as the official script runs" is the first. --images: JPEGs for the loader. --list says what
there is and how long it takes. A row is saved when it is done; --resume measures only what results.json lacks. JSON of
each program goes to stderr. What a reader would get wrong: rows of earlier runs stay in the table, each with its date
and commit; and numbers of a busy machine are worth nothing: its load is printed.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys

import bench_rows
import contest

DEBIAN = "/usr/bin/python3"  # its python3-torch is looked for where no --python is given
RESULTS = contest.PROGRAMS / "results.json"


def arguments():
    p = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default="default", help="names of --list, or all")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    p.add_argument("--python", action="append", help="an interpreter with PyTorch; may be given several times")
    p.add_argument("--images", help="a folder of JPEGs for the loader")
    p.add_argument("--peers", default=str(contest.PROGRAMS.parent / "peers" / "bin" / "python"),
                   help="an interpreter with onnxruntime, openvino and numpy for rows encoder-* (BUILD/peers/bin/python)")
    p.add_argument("--list", action="store_true")
    p.add_argument("--resume", action="store_true")
    args = p.parse_args()
    if args.rounds < 1:
        p.error("--rounds: at least 1")
    rows = bench_rows.ROWS
    if args.rows in ("default", "all"):
        args.rows = [name for name, row in rows.items() if args.rows == "all" or not row.slow]
    else:
        args.rows = args.rows.split(",")
    for name in args.rows:
        if name not in rows:
            p.error(f"--rows: {name} is none of {', '.join(rows)}")
    if args.images is not None and not os.path.isdir(args.images):
        p.error(f"--images: {args.images} is no folder")
    return args


def seconds(row, rounds):
    return row.once + row.per_round * rounds


def show_list(args):
    for name in args.rows:
        row = bench_rows.ROWS[name]
        print(f"{name:14} {seconds(row, args.rounds):5} s  {row.what}{' (only when named)' if row.slow else ''}")
    total = sum(seconds(bench_rows.ROWS[name], args.rounds) for name in args.rows)
    print(f"{'together':14} {total:5} s  with {args.rounds} rounds on 2 cores of a Zen 5")


def commit():
    done = subprocess.run(["git", "-C", str(contest.HERE), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "unknown"


def cpu():
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def instruction_set():
    return contest.ours("infonce", queue=1024, runs=1)["isa"]


# ---- the table ----

def number(value, unit):
    return f"{value:.3f}{unit}" if abs(value) < 10 else f"{value:.1f}{unit}"


def table_row(line):
    goal, verdict = "", ""
    if line["goal"] is not None:
        goal = ("at least " if line["at_least"] else "at most ") + f"{line['goal']:.4g}{line['unit']}"
        verdict = "yes" if line["met"] else "no"
    return f"| {line['what']} | {number(line['value'], line['unit'])} | {goal} | {verdict} | {line['note']} |"


def show_table(results):
    print("\n| | measured | goal | met | |\n|---|---|---|---|---|")
    for name in bench_rows.ROWS:
        entry = results["rows"].get(name)
        if entry is None:
            continue
        for line in entry["lines"]:
            print(table_row(line))
        if "skipped" in entry:
            print(f"| {name} | | | | not measured: {entry['skipped']} |")
    print()
    for run in sorted({(e["date"], e["commit"], e["rounds"], e["machine"]) for e in results["rows"].values()}):
        print("{}, commit {}, {} rounds, {}".format(*run))


def load():
    try:
        return json.loads(RESULTS.read_text())
    except FileNotFoundError:
        return {"rows": {}}


def save(results):
    fresh = RESULTS.with_suffix(".json.new")
    fresh.write_text(json.dumps(results, indent=1) + "\n")
    fresh.rename(RESULTS)


def measure(row, machine):
    """Lines of a row, or why there are none."""
    try:
        lines = row.measure(machine)
    except contest.Skip as why:
        return {"lines": [], "skipped": str(why)}
    done = []
    for line in lines:
        line = line._asdict()
        if line["goal"] is not None:
            line["met"] = line["value"] >= line["goal"] if line["at_least"] else line["value"] <= line["goal"]
        done.append(line)
    return {"lines": done}


def main():
    args = arguments()
    if args.list:
        show_list(args)
        return 0
    try:
        isa = instruction_set()
    except contest.Skip as why:
        print(f"measure: nothing can be measured: {why}", file=sys.stderr)
        return 1
    partners, missing = contest.partners(args.python or list(dict.fromkeys([sys.executable, DEBIAN])))
    if args.python or not partners:
        for reason in missing:
            print(f"no partner: {reason}")
    machine = bench_rows.Machine(args.rounds, args.threads, partners, args.images, isa, args.peers)
    told = f"{cpu()}, {isa}, {args.threads} threads of {os.cpu_count()}"
    print(f"{told}; partners: {', '.join(f'{n} ({p})' for n, p in partners.items()) or 'none'}; "
          f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')}; load {os.getloadavg()[0]:.1f}", flush=True)
    results = load()
    for name in args.rows:
        if args.resume and "skipped" not in results["rows"].get(name, {"skipped": ""}):
            continue
        entry = measure(bench_rows.ROWS[name], machine)
        entry.update(date=datetime.date.today().isoformat(), commit=commit(), rounds=args.rounds, machine=told,
                     partners=list(partners))
        results["rows"][name] = entry
        save(results)
        for line in entry["lines"]:
            print(table_row(line), flush=True)
        if "skipped" in entry:
            print(f"{name}: not measured: {entry['skipped']}", flush=True)
    show_table(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
