#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files of 4 GiB and more: usage: large_files.py [FOLDER] (8 GB there for a while, and minutes; needs torch)

torch.save writes a tensor of 4.3 GB and a small one behind it into a file whose zeros take no room on the disk; inspect
--verify reads all of it. convert writes it anew, which makes an archive with 64-bit sizes: Python's zipfile reads its
members, and torch.load (mapped, where it can) finds the numbers. Archives with more members than 16 bits count are
tests/golden/zip64.py's.
"""
import os
import subprocess
import sys
import tempfile
import zipfile

try:
    import torch
except ImportError:
    if sys.executable == "/usr/bin/python3":
        print("SKIPPED: no PyTorch (Debian: python3-torch)")
        sys.exit(0)
    os.execv("/usr/bin/python3", ["/usr/bin/python3"] + sys.argv)

build = os.environ.get("BUILD", "build")
BIG = (1 << 30) + (1 << 24)  # f32 numbers
MARK = {0: 1.5, BIG // 2: -2.0, BIG - 1: 3.25}


class Sparse:
    """A file that skips what is zero."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.at = 0

    def write(self, data):
        data = memoryview(data).cast("B")
        for begin in range(0, len(data), 1 << 20):
            piece = bytes(data[begin:begin + (1 << 20)])
            if piece.count(0) != len(piece):
                self.file.seek(self.at)
                self.file.write(piece)
            self.at += len(piece)
        return len(data)

    def flush(self):
        pass

    def close(self):
        self.file.truncate(self.at)
        self.file.close()


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, (command, done.stdout[-500:])
    return done.stdout


def main(folder):
    tensor = torch.zeros(BIG)
    for i, value in MARK.items():
        tensor[i] = value
    source, copy = folder + "/source.pth", folder + "/copy.pth"
    out = Sparse(source)
    torch.save({"big": tensor, "small": torch.arange(6.)}, out)
    out.close()
    del tensor
    assert os.path.getsize(source) > 1 << 32
    text = run(build + "/examples/inspect", source, "--verify")
    assert "big" in text and "small" in text, text
    print("inspect --verify read %d bytes of torch %s" % (os.path.getsize(source), torch.__version__))
    run(build + "/examples/convert", source, copy)
    with zipfile.ZipFile(copy) as archive:
        members = {m.filename: m for m in archive.infolist()}
        assert members["archive/data/0"].file_size == 4 * BIG and members["archive/version"].header_offset > 1 << 32
        assert archive.testzip() is None
    print("zipfile read %d bytes that convert wrote" % os.path.getsize(copy))
    mapped = {"mmap": True} if "mmap" in torch.load.__code__.co_varnames else {}
    loaded = torch.load(copy, **mapped)
    assert loaded["big"].shape == (BIG,) and torch.equal(loaded["small"], torch.arange(6.))
    assert all(loaded["big"][i] == value for i, value in MARK.items())
    print("torch.load%s found the numbers" % (", mapped," if mapped else ""))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as work:
            main(work)
