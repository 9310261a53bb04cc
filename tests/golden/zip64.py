# SPDX-License-Identifier: MIT
"""For test_zip64.sh: FOLDER/ours.pth, whose archive is in 64 bits, by zipfile and torch.load; and such archives by zipfile
in every form, read by tool_weights. usage: zip64.py TOOL_WEIGHTS FOLDER"""
import io
import struct
import subprocess
import sys
import zipfile

import torch

tool, folder = sys.argv[1:]
failed = 0


def check(good, what):
    global failed
    if not good:
        print("FAILED:", what)
        failed = 1


def listing(path):
    return subprocess.run([tool, path], stdout=subprocess.PIPE, universal_newlines=True).stdout


ours = folder + "/ours.pth"
raw = open(ours, "rb").read()
with zipfile.ZipFile(ours) as archive:
    check(archive.testzip() is None, "zipfile finds a member damaged")
    names = [m.filename for m in archive.infolist()]
    check(names == ["archive/" + n for n in ("data.pkl", "byteorder", "data/0", "data/1", "version")], names)
    check(archive.read("archive/data/0") == struct.pack("<6f", *range(6)), "the numbers are others")
    for member in archive.infolist():
        check(member.extract_version == 45, "version %d" % member.extract_version)
        local = raw[member.header_offset:member.header_offset + 30]
        check(local[18:26] == b"\xff" * 8, "a local header with 32-bit sizes")
        start = member.header_offset + 30 + sum(struct.unpack("<2H", local[26:30]))
        check(start % 64 == 0, "a content at %d" % start)
check(raw[-22 - 20:-22 - 16] == b"PK\6\7" and raw[-14:-2] == b"\xff" * 12, "an end record with numbers of its own")
options = [{}]
if "mmap" in torch.load.__code__.co_varnames:
    options += [{"mmap": True, "weights_only": True}, {"weights_only": True}]
for option in options:
    loaded = torch.load(ours, **option)
    check(torch.equal(loaded["small"], torch.arange(6.).reshape(2, 3)) and loaded["empty"].shape == (0,), "torch %s" % option)
wanted = listing(ours)
check("small" in wanted and "error" not in wanted, "ours: " + wanted)

with zipfile.ZipFile(ours) as archive:
    contents = [(m.filename, archive.read(m)) for m in archive.infolist()]
limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
for name, limit, count, seekable in (("plain", limits[0], limits[1], 1), ("offsets", 60, limits[1], 1), ("counts", limits[0], 2, 1),
                                     ("all", -1, 0, 1), ("stream", limits[0], limits[1], 0), ("stream-all", -1, 0, 0)):
    class Stream(io.BytesIO):
        def seekable(self):
            return bool(seekable)

        def tell(self):
            if not seekable:
                raise OSError
            return super().tell()

        def seek(self, *args):
            if not seekable:
                raise OSError
            return super().seek(*args)

    out = Stream()
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limit, count
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in contents:
            with archive.open(zipfile.ZipInfo(member), "w", force_zip64=True) as f:
                f.write(content)
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits
    path = "%s/%s.pth" % (folder, name)
    open(path, "wb").write(out.getvalue())
    same = [line.split()[:3] for line in listing(path).splitlines() if line.startswith("tensor")]
    check(same == [line.split()[:3] for line in wanted.splitlines() if line.startswith("tensor")], name + ": " + listing(path))
print("zip64: %s" % ("FAILED" if failed else "ours by zipfile and torch %s, 6 of zipfile by ours" % torch.__version__))
sys.exit(failed)
