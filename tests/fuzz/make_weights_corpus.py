#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets zip, pickle and weights: usage: make_weights_corpus.py [FOLDER]

Every form once, as small as it goes: the replay changes every byte of every seed. What is in tests/fuzz/corpus was
written by this, or added from a fuzzer's finds. The last two bytes of a seed are the target's (see fuzz_zip.c).
"""
import io
import os
import struct
import sys
import zipfile
import zlib

END = b"\0\0"
ODICT = b"ccollections\nOrderedDict\n)R"


def write(target, name, content):
    folder = os.path.join(sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(content)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def archive(parts, descriptors=True, end64=True, wide=False):
    """A stored zip archive as torch writes it."""
    out, central = b"", b""
    for name, content in parts:
        flags, crc, local = (0x808 if descriptors else 0x800), zlib.crc32(content), len(out)
        extra = struct.pack("<HHQQ", 1, 16, len(content), len(content)) if wide else b"FB\2\0ZZ"
        sizes = (0, 0, 0) if descriptors else (crc, len(content), len(content))
        if wide:
            sizes = (crc, 0xffffffff, 0xffffffff)
        out += b"PK\3\4" + struct.pack("<5H3I2H", 0, flags, 0, 0, 0, *sizes, len(name), len(extra)) + name + extra + content
        if descriptors:
            out += b"PK\7\x08" + struct.pack("<3I", crc, len(content), len(content))
        extra = struct.pack("<HHQQQ", 1, 24, len(content), len(content), local) if wide else b""
        places = (0xffffffff,) * 3 if wide else (len(content), len(content), local)
        central += b"PK\1\2" + struct.pack("<6H3I5H2I", 0, 0, flags, 0, 0, 0, crc, *places[:2], len(name), len(extra), 0, 0, 0,
                                           0, places[2]) + name + extra
    begin = len(out)
    out += central
    if end64:
        at = len(out)
        out += b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 0, 0, 0, 0, len(parts), len(parts), len(central), begin)
        out += b"PK\6\7" + struct.pack("<IQI", 0, at, 1)
    return out + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, len(parts), len(parts), len(central), begin, 0)


def zips():
    two = [(b"a/b", b"hello"), (b"c", b"")]
    write("zip", "torch", archive(two) + END)
    write("zip", "plain", archive(two, descriptors=False, end64=False) + END)
    write("zip", "wide", archive(two[:1], descriptors=False, wide=True) + END)
    write("zip", "empty", archive([], end64=False) + END)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(zipfile.ZipInfo("deflated"), b"a" * 40, zipfile.ZIP_DEFLATED)
    write("zip", "deflated", out.getvalue() + END)
    for n in range(1, 6):
        write("zip", "memory%d" % n, archive(two[:1]) + bytes([n, 0]))
    for cut in (40, 120, 200):
        write("zip", "shrinks%d" % cut, archive(two[:1]) + bytes([0, cut]))


def storage(kind=b"Float", numel=b"K\4"):
    return b"(" + text(b"storage") + b"ctorch\n" + kind + b"Storage\n" + text(b"0") + text(b"cpu") + numel + b"tQ"


def tensor(kind=b"Float", numel=b"K\4", offset=b"K\0", size=b"K\2K\2\x86", stride=b"K\2K\1\x86", more=b""):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(kind, numel) + offset + size + stride + b"\x89" + ODICT + more
            + b"tR")


def dict_of(*pairs):
    return b"\x80\2}(" + b"".join(text(name) + value for name, value in pairs) + b"u."


def pickles():
    seeds = {
        "scalars": b"\x80\2(NK\1M\1\2J\1\2\3\x84\x88\x89G?\xf8\0\0\0\0\0\0\x8a\1\xff\x8a\0\x8a\x09123456789\x8b\2\0\0\0\1\2t.",
        "texts": b"\x80\4\x95\x10\0\0\0\0\0\0\0(X\1\0\0\0a\x8c\1bU\1cT\1\0\0\0dC\1eB\1\0\0\0ft.",
        "containers": b"\x80\2(]N\x61](NNe\x8f(N\x90}NNs}(NNu(Nl(NNd(N\x91)N\x85NN\x86NNN\x87t.",
        "memo": b"\x80\2]q\0r\1\0\0\0\x94h\0j\1\0\0\0\x86.",
        "calls": b"\x80\2(ca\nb\n)RNaN}s}b" + text(b"a") + text(b"b") + b"\x93)\x81ca\nb\n)}\x92NQt.",
        "ordered": b"\x80\2ccollections\nOrderedDict\n](]" + text(b"w") + b"NeNN\x86e\x85R}b.",
        "itself": b"\x80\2]q\0h\0a.",
        "cut": b"\x80\2X\xff\xff\xff\xff.",
        "unknown": b"\x80\2I1\n.",
        "no-stop": b"\x80\2N",
        "two": b"\x80\2NN.",
        "sparse": b"\x80\2Nr\0\0\0\x80.",
        "memories": b"N" + b"\x94" * 5 + b".",
        "long-name": b"c" + b"n" * 1030 + b"\nb\n.",
    }
    for name, seed in seeds.items():
        write("pickle", name, seed + END)
    for n in range(1, 5):
        write("pickle", "memory%d" % n, b"\x80\2}N]s." + bytes([n, 0]))
    for cut in (60, 200):
        write("pickle", "shrinks%d" % cut, seeds["memo"] + bytes([0, cut]))


def weights():
    for kind, numel in ((b"Float", b"K\4"), (b"Double", b"K\2"), (b"Half", b"K\x08"), (b"BFloat16", b"K\x08"), (b"Long", b"K\2"),
                        (b"Int", b"K\4"), (b"Short", b"K\x08"), (b"Char", b"K\x10"), (b"Byte", b"K\x10"), (b"Bool", b"K\x10"),
                        (b"ComplexFloat", b"K\2"), (b"Odd", b"K\4")):
        write("weights", "zip-" + kind.decode().lower(),
              b"z" + dict_of((b"w", tensor(kind, numel, size=b"K\1K\2\x86", stride=b"K\2K\1\x86"))) + END)
    write("weights", "zip-transposed", b"z" + dict_of((b"w", tensor(stride=b"K\1K\2\x86"))) + END)
    most = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
    write("weights", "zip-absurd", b"z" + dict_of((b"w", tensor(size=b"K\2K\2K\1\x87", stride=b"K\1K\2" + most + b"\x87"))) + END)
    write("weights", "zip-beyond", b"z" + dict_of((b"w", tensor(offset=b"K\1"))) + END)
    write("weights", "zip-metadata", b"z" + dict_of((b"w", tensor(more=b"}"))) + END)
    write("weights", "zip-size", b"z" + dict_of((b"w", tensor(size=b"ctorch\nSize\nK\2K\2\x86\x85R"))) + END)
    write("weights", "zip-parameter", b"z" + dict_of((b"w", b"ctorch._utils\n_rebuild_parameter\n(" + tensor() + b"\x89" + ODICT
                                                      + b"tR")) + END)
    write("weights", "zip-root", b"z\x80\2" + tensor() + b"." + END)
    write("weights", "zip-object", b"z\x80\2cos\nsystem\n" + text(b"true") + b"\x85R." + END)
    write("weights", "zip-texts", b"z" + dict_of((b"a", b"}" + text(b"b") + b"](K\1" + text(b"x") + b"es"), (b"e", b"K\3"), (b"f", b"\x88"),
                                                 (b"g", b"G?\xf8\0\0\0\0\0\0"), (b"h", text(b"hi")), (b"i", b"N")) + END)
    write("weights", "zip-long-text", b"z" + dict_of((b"a", text(b"b" * 80))) + END)
    write("weights", "zip-others", b"z" + dict_of((b"a", b"ca\nb\n)R"), (b"b", b"ca\nb\n"), (b"c", storage()), (b"d", b"}N\x85Ns")) + END)
    write("weights", "zip-twice", b"z\x80\2}(" + text(b"w") + tensor() + b"q\0" + text(b"w") + b"h\0u." + END)
    write("weights", "zip-list", b"z\x80\2](" + tensor() + b"q\0h\0e." + END)
    keys, data = b"\x80\2](" + text(b"0") + b"e.", struct.pack("<Q", 4) + b"0123456789abcdef"
    write("weights", "legacy", b"l" + dict_of((b"w", tensor())) + keys + data + END)
    write("weights", "legacy-odd", b"l" + dict_of((b"w", tensor(b"Odd"))) + keys + data + END)
    write("weights", "legacy-cut", b"l" + dict_of((b"w", tensor())) + keys + data[:-1] + END)
    write("weights", "legacy-keys", b"l" + dict_of((b"w", tensor())) + b"\x80\2](" + text(b"1") + b"e." + data + END)
    magic = b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    write("weights", "legacy-version", b"b" + magic + b"\x80\2M\xea\3." + END)
    write("weights", "legacy-system", b"b" + magic + b"\x80\2M\xe9\3.\x80\2}X\x10\0\0\0protocol_versionM\xe9\3s." + END)
    header = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}}'
    write("weights", "safetensors", b"b" + struct.pack("<Q", len(header)) + header + b"\0<\0\xbc" + END)
    write("weights", "html", b"b<!DOCTYPE html>" + END)
    write("weights", "tar", b"b" + bytes(257) + b"ustar" + END)
    write("weights", "onnx", b"b\x08\x07\x12\x07pytorch" + END)
    write("weights", "script", b"b" + archive([(b"a/code/x", b""), (b"a/data.pkl", b"N.")], False, False) + END)
    write("weights", "npz", b"b" + archive([(b"x.npy", b"")], False, False) + END)
    write("weights", "byteorder", b"b" + archive([(b"a/data.pkl", b"}."), (b"a/version", b"3\n"), (b"a/byteorder", b"big")], False, False)
          + END)
    small = dict_of((b"w", tensor()))
    for n in range(1, 24):
        write("weights", "memory%d" % n, b"z\x80\2}." + bytes([n, 0]))
    write("weights", "shrinks", b"z" + small + bytes([0, 30]))


zips()
pickles()
weights()
