#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files of torch.save, made by make_weights.py with this Python's PyTorch, and what libmoco reads of them.

usage: test_weights.py TOOL [--full]

Every tensor must be there by name, dtype, shape and stride, in the file's order, equal to the last bit; texts and notes
too. Of --full (a checkpoint of MoCo v2 with ResNet-50) also: the memory that it took, against the promise of
moco/weights.h, which the tool's context measured.
"""
import glob
import os
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SHARE = 1 << 20  # what a pickle's length does not account for


def pickle_bytes(path):
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(m.file_size for m in archive.infolist() if m.filename.endswith("data.pkl"))
    import pickletools
    with open(path, "rb") as file:
        for _ in range(5):
            for _ in pickletools.genops(file):
                pass
        return file.tell()


def compare(tool, path):
    run = subprocess.run([tool, path], capture_output=True, text=True, check=False)
    got = run.stdout.splitlines()
    with open(path[:-4] + ".txt") as file:
        want = file.read().splitlines()
    kept = [line for line in got if line.split()[0] in ("format", "tensor", "text", "error")]
    wrong = ["- " + a + "\n+ " + b for a, b in zip([w for w in want if not w.startswith("note ")] + [""] * 3, kept + [""] * 3)
             if a != b][:5]
    wrong += ["note missing: " + w for w in want if w.startswith("note ") and not any(w in line for line in got)]
    if run.returncode or wrong or len(kept) != sum(not w.startswith("note ") for w in want):
        print("%s: status %d\n%s%s" % (path, run.returncode, "\n".join(wrong), run.stderr))
        return 1
    # The tool takes what it reads tensors into from elsewhere; a piece of 0.25 MiB and the alignment are within SHARE.
    memory, limit = int(got[-1].split()[1]), 4 * pickle_bytes(path) + SHARE
    if memory > limit:
        print("%s: %d bytes of memory; %d were promised" % (path, memory, limit))
        return 1
    return 0


def main():
    tool, full = sys.argv[1], sys.argv[2:]
    failed = tensors = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-W", "ignore", os.path.join(HERE, "make_weights.py"), folder] + full, check=True)
        paths = sorted(glob.glob(os.path.join(folder, "*.pth")))
        for path in paths:
            failed += compare(tool, path)
            with open(path[:-4] + ".txt") as file:
                tensors += file.read().count("tensor ")
        if os.path.exists(os.path.join(folder, "payload-was-run")):
            print("a payload was run")
            failed += 1
        if not full:
            run = subprocess.run([tool, os.path.join(folder, "module.pickled")], capture_output=True, text=True, check=False)
            if "a pickled object of a program (__main__.Net), not a state dict: save model.state_dict()" not in run.stdout:
                print("a pickled module: %s" % run.stdout)
                failed += 1
    print("%d files, %d tensors, %d failed" % (len(paths), tensors, failed))
    return failed > 0 or len(paths) < (2 if full else 20)


sys.exit(main())
