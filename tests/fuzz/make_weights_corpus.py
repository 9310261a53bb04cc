#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets zip, pickle, weights, legacy and import: usage: make_weights_corpus.py [FOLDER]

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


def member_in_member():
    """A member whose content is the other member, header and all: each is right for itself."""
    def local(name, content):
        return b"PK\3\4" + struct.pack("<5H3I2H", 0, 0x800, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0) + name

    def central(name, content, at):
        return b"PK\1\2" + struct.pack("<6H3I5H2I", 0, 0, 0x800, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0,
                                       0, 0, 0, 0, at) + name
    inner = local(b"b", b"x") + b"x"
    outer = local(b"a", inner)
    directory = central(b"a", inner, 0) + central(b"b", b"x", len(outer))
    return outer + inner + directory + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 2, 2, len(directory), len(outer + inner), 0)


def zips():
    write("zip", "nested", member_in_member() + END)
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
        "ordered-pairs": b"\x80\2ccollections\nOrderedDict\n](](" + text(b"w") + b"Ne" + text(b"v") + b"N\x86e\x85R}b.",
        "ordered-one": b"\x80\2ccollections\nOrderedDict\n](N\x85e\x85R.",
        "ordered-int": b"\x80\2ccollections\nOrderedDict\nK\1\x85R.",
        "key-list": b"\x80\2}(]Nu.",
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
    write("weights", "zip-numbered", b"z\x80\2}(K\1}(K\0}(" + text(b"a") + b"K\3uu" + text(b"x") + tensor(b"ComplexFloat") + b"u." + END)
    write("weights", "zip-nul", b"z" + dict_of((b"a", b"}" + text(b"b") + b"](" + text(b"\0x") + b"es")) + END)
    write("weights", "zip-list-text", b"z" + dict_of((b"a", b"}" + text(b"b") + b"](]es")) + END)
    nine = b"(" + 9 * b"K\1" + b"t"
    for name, value in (("nine", tensor(size=nine, stride=nine)), ("offset", tensor(offset=text(b"a"))),
                        ("no-storage", tensor().replace(storage(), b"N")), ("no-parameter", b"ctorch._utils\n_rebuild_parameter\n(N\x89"
                                                                            + ODICT + b"tR")):
        write("weights", "zip-" + name, b"z" + dict_of((b"w", value)) + END)
    for name, old, new in (("class", b"ctorch\nFloatStorage\n", b"N"), ("key", text(b"0"), b"N"), ("place", text(b"cpu"), b"N"),
                           ("many", b"K\4tQ", most + b"tQ"), ("negative", b"K\4tQ", b"J\xff\xff\xff\xfftQ")):
        write("weights", "zip-storage-" + name, b"z" + dict_of((b"w", tensor().replace(old, new))) + END)
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
    write("weights", "json", b'b{"a":1}' + END)
    odd = [(b"a/data.pkl", dict_of()), (b"a/version", b"3\n")]
    for name, parts in (("two-pickles", odd + [(b"b/data.pkl", b"}.")]), ("outside", odd + [(b"b", b"")]),
                        ("no-version", odd[:1]), ("version-long", odd[:1] + [(b"a/version", b"3" * 40)]),
                        ("version-11", odd[:1] + [(b"a/version", b"11\n")]), ("no-pickle", odd[1:]),
                        ("behind", [(b"a/data.pkl", dict_of() + b"x"), odd[1]]), ("long-root", [(b"r" * 300 + b"/data.pkl", b"}.")])):
        write("weights", "parts-" + name, b"b" + archive(parts, False, False) + END)
    again = text(b"") + b"h\0"
    write("weights", "long-names", b"r" + bytes([len(again), 160]) + b"\x80\2}(" + text(b"w") + tensor() + b"q\0" + text(b"n" * 900)
          + b"}(" + again + b"uu." + END)
    write("weights", "zip-long-path", b"z" + dict_of((b"n" * 600, b"}" + text(b"m" * 600) + tensor() + b"s")) + END)
    write("weights", "zip-number", b"z\x80\2K\1." + END)
    write("weights", "zip-huge", b"z" + dict_of((b"w", tensor(size=b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87",
                                                              stride=b"K\1K\1K\1\x87"))) + END)
    hashed = b'{"__metadata__":{"xxh3":"%s","xxh3:w":"%s"},"w":{"dtype":"F64","shape":[5],"data_offsets":[0,40]}}'
    write("weights", "safetensors-hashes", b"b" + struct.pack("<Q", len(hashed % (b"0" * 32, b"0" * 32))) + hashed % (b"0" * 32, b"0" * 32)
          + bytes(40) + END)
    small = dict_of((b"w", tensor()))
    for n in range(1, 24):
        write("weights", "memory%d" % n, b"z\x80\2}." + bytes([n, 0]))
    write("weights", "shrinks", b"z" + small + bytes([0, 30]))



def legacy():
    """Behind "h" the object, the keys of its storages, and their bytes; behind "b" the version and system too."""
    keys, data = b"\x80\2](" + text(b"0") + b"e.", struct.pack("<Q", 4) + b"0123456789abcdef"
    one = dict_of((b"w", tensor()))
    write("legacy", "plain", b"h" + one + keys + data + END)
    for kind, numel in ((b"Double", 2), (b"Half", 8), (b"BFloat16", 8), (b"Long", 2), (b"Int", 4), (b"Short", 8), (b"Char", 16),
                        (b"Byte", 16), (b"Bool", 16)):
        write("legacy", kind.decode().lower(), b"h" + dict_of(
            (b"w", tensor(kind, b"K" + bytes([numel]), size=b"K\1K\2\x86", stride=b"K\2K\1\x86"))) + keys
              + struct.pack("<Q", numel) + data[8:] + END)
    second = tensor(offset=b"K\1", size=b"K\3\x85", stride=b"K\1\x85")
    write("legacy", "shared", b"h" + dict_of((b"w", tensor()), (b"v", second)) + keys + data + END)
    write("legacy", "transposed", b"h" + dict_of((b"w", tensor(stride=b"K\1K\2\x86"))) + keys + data + END)
    other = tensor().replace(text(b"0"), text(b"1"))
    write("legacy", "two", b"h" + dict_of((b"w", tensor()), (b"v", other)) + b"\x80\2](" + text(b"1") + text(b"0") + b"e." + data
          + data + END)
    write("legacy", "view", b"h" + dict_of((b"w", tensor().replace(b"K\4tQ", b"K\4NtQ"))) + keys + data + END)
    write("legacy", "view-of", b"h" + dict_of((b"w", tensor().replace(b"K\4tQ", b"K\4(" + text(b"0") + b"K\0K\4ttQ"))) + keys + data
          + END)
    for name, tail in (("behind", keys + data + b"x"), ("numel", keys + struct.pack("<Q", 5) + data[8:]), ("no-keys", b"\x80\2]."),
                       ("keys-int", b"\x80\2](K\0e." + data), ("keys-dict", b"\x80\2}." + data), ("cut", keys + data[:5]),
                       ("key-twice", b"\x80\2](" + text(b"0") * 2 + b"e." + data + data), ("no-pickle", b"x")):
        write("legacy", name, b"h" + one + tail + END)
    write("legacy", "unused-key", b"h" + one + b"\x80\2](" + text(b"0") + text(b"7") + b"e." + data + data + END)
    write("legacy", "version", b"b\x80\2M\xea\3." + END)
    write("legacy", "version-text", b"b\x80\2X\1\0\0\0a." + END)
    sizes = b"}(" + text(b"short") + b"K\2" + text(b"int") + b"K\4" + text(b"long") + b"K\4u"
    system = [(b"protocol_version", b"M\xe9\3"), (b"little_endian", b"\x88"), (b"type_sizes", sizes)]
    for name, at, value in (("right", 0, b"M\xe9\3"), ("protocol", 0, b"K\1"), ("big-endian", 1, b"\x89"), ("no-sizes", 2, b"N"),
                            ("short", 2, sizes.replace(b"K\2", b"K\1"))):
        write("legacy", "system-" + name, b"b\x80\2M\xe9\3." + dict_of(*system[:at], (system[at][0], value), *system[at + 1:]) + one
              + keys + data + END)
    write("legacy", "system-list", b"b\x80\2M\xe9\3.\x80\2]." + END)
    for n in range(1, 24):
        write("legacy", "memory%d" % n, b"h" + dict_of() + b"\x80\2]." + bytes([n, 0]))
    for cut in (40, 160, 250):
        write("legacy", "shrinks%d" % cut, b"h" + one + keys + data + bytes([0, cut]))


AS_IT_IS, KEY, TAKE, FRESH, PREFIX, STEM, HEAD, CUT = (1 << i for i in range(8))
NAN, BELOW, SIMCLR = 0x7fc00000, 0xbf800000, 128


def state_names():
    """The tensors of the base in the order of its file: elements are of 8 bytes, so that is the order of the names."""
    norm, own = ("weight", "bias"), ("running_mean", "running_var", "num_batches_tracked")
    params, stats = ["conv1.weight"] + ["bn1." + n for n in norm], ["bn1." + n for n in own]
    for layer in range(1, 5):
        for block in range(2):
            at = "layer%d.%d." % (layer, block)
            pairs = [(at + "conv1", at + "bn1"), (at + "conv2", at + "bn2")]
            if layer > 1 and block == 0:
                pairs.append((at + "downsample.0", at + "downsample.1"))
            for conv, bn in pairs:
                params += [conv + ".weight"] + [bn + "." + n for n in norm]
                stats += [bn + "." + n for n in own]
    params += ["fc.weight", "fc.bias"]
    return sorted(["encoder_%s.%s" % (e, n) for e in "qk" for n in params + stats] + ["momentum.encoder_q." + n for n in params]
                  + ["queue", "queue_ptr"])


NAMES = state_names()


def change(what, tensor, number=0, value=0):
    """See recipe.h."""
    at = NAMES.index(tensor)
    return bytes([what | (at >> 8) << 7, at & 255]) + number.to_bytes(2, "little") + value.to_bytes(4, "little")


def imports():
    """The memory that fails, what is asked for, renamings, texts, changes: see fuzz_import.c."""
    def seed(name, ask=STEM, renames=(), texts=(), changes=b"", first=0):
        write("import", name, bytes([first, ask]) + b"".join(b">" + r.encode() + b"\n" for r in renames)
              + b"".join(t.encode() + b"\n" for t in texts) + (b"\n" + changes if changes else b""))

    seed("as-it-is", texts=[""])
    seed("simclr", texts=[""], first=SIMCLR)
    for name, ask in (("key", KEY), ("take", TAKE), ("fresh", FRESH), ("prefix", PREFIX), ("head", HEAD | FRESH)):
        seed(name, STEM | ask, texts=[""])
    seed("no-stem", 0, texts=[""])
    seed("shrinks", STEM | CUT, texts=[""])
    q, k = "encoder_q.", "encoder_k."
    families = {
        "solo": [q + "=backbone.", k + "=momentum_backbone.", "backbone.fc=projector", "momentum_backbone.fc=momentum_projector"],
        "v3": [q + "=module.base_encoder.", k + "=module.momentum_encoder."], "visssl": [q + "=_feature_blocks.", k + "=other."],
        "old-solo": [q + "=encoder.", k + "=momentum_encoder."], "plain": [q + "=", k + "=teacher.", "momentum.=m."],
        "wrapped": [q + "=_orig_mod." + q, k + "=module.model." + k, "queue=module.queue"], "many": [q + "=a.", k + "=b."],
        "numbers": [q + "conv1=encoder_q.0", q + "bn1=encoder_q.1"] + [q + "layer%d=encoder_q.%d" % (i, i + 3) for i in range(1, 5)], "none": [q + "conv1=x", k + "conv1=y"],
        "deep": [q + "conv1=encoder_q.conv1.0", k + "conv1=y"],
        "two-stems": [k + "conv1=module.encoder_q.conv1"],
        "two-queues": ["queue_ptr=module.queue"],
        "two-frameworks": [k + "=base_encoder."],
    }
    for name, renames in families.items():
        seed(name, STEM, renames)
    seed("prefix-of-none", STEM | PREFIX, [k + "=b."])
    seed("heads", STEM, [q + "fc=encoder_q.fc.0"])
    seed("two-heads", STEM, [q + "fc=encoder_q.fc.0", k + "fc=encoder_k.fc.2"])
    seed("mlp", STEM | TAKE, [q + "fc=encoder_q.fc.2", k + "fc=encoder_q.fc.0"])
    seed("other-head", STEM | HEAD, [q + "fc=encoder_q.fc.2", k + "fc=encoder_q.fc.0"])
    seed("deeper-head", STEM, [q + "fc=encoder_q.fc.4"])
    seed("no-last-layer", STEM, [q + "fc=encoder_q.fc.0", k + "fc=encoder_q.fc.1"])
    seed("by-order", STEM, ["#=optimizer"], ["epoch=3"])
    seed("by-order-lightning", STEM, ["#=optimizer_states.0"], ["epoch=3"])
    seed("groups", STEM, ["#=optimizer"], ["epoch=x", "optimizer.param_groups.1.params.0=1"])
    seed("ids", STEM, ["#=optimizer"], ["epoch=x", "optimizer.param_groups.0.params.0=1", "optimizer.param_groups.0.params.1=0"])
    seed("no-momentum", STEM, ["momentum.=m."], ["epoch=-1"])
    seed("no-queue", STEM, ["queue=other"])
    seed("no-pointer", STEM, ["queue_ptr=other"])
    seed("blocks", STEM, [q + "layer1.1=encoder_q.layer9.9"])
    seed("bottleneck", STEM, [q + "layer1.0.bn2=encoder_q.layer1.0.conv3"])
    first = q + "conv1.weight"
    for name, made in (
            ("nan", change(0, first, 0, NAN)), ("below", change(0, q + "bn1.running_var", 0, BELOW)),
            ("count-below", change(0, q + "bn1.num_batches_tracked", 0, 0xffffffff)),
            ("pointer", change(0, "queue_ptr", 0, 9)), ("pointers", change(3, "queue_ptr", 0, 2)),
            ("queue-shape", change(3, "queue", 0, 3)), ("queue-nan", change(0, "queue", 0, NAN)),
            ("two-views", change(4, "queue") + b"".join(change(3, "queue", i, 2) for i in range(3))),
            ("one-view", change(4, "queue") + change(3, "queue", 0, 2) + change(3, "queue", 1, 2) + change(3, "queue", 2, 4)),
            ("dropped", change(1, q + "bn1.weight")), ("dropped-count", change(1, q + "bn1.num_batches_tracked")),
            ("twice", change(6, first)), ("odd-name", change(5, first, 3, 1)),
            ("dtype-f32", b"".join(change(2, q + n, 0, 2) for n in ("conv1.weight", "bn1.weight", "bn1.bias"))),
            ("dtype", b"".join(change(2, NAMES[t], 0, t) for t in range(12))), ("dtype-whole", change(2, first, 0, 1)),
            ("kernel", change(3, first, 2, 7) + change(3, first, 3, 7)), ("kernel-5", change(3, first, 2, 5) + change(3, first, 3, 5)),
            ("colours", change(3, first, 1, 4)), ("wide", change(3, first, 0, 64)), ("vector", change(4, first, 1)),
            ("dim", change(3, q + "fc.weight", 0, 3) + change(3, q + "fc.bias", 0, 3)),
            ("hidden", change(3, q + "fc.weight", 1, 3)), ("momentum-shape", change(3, "momentum." + first, 0, 2)),
            ("momentum-nan", change(0, "momentum." + first, 0, NAN))):
        seed(name, STEM | (TAKE if name == "hidden" else 0), changes=made)
    for n in (1, 2, 5, 9, 20, 40, 100):
        seed("memory%d" % n, first=n, texts=[""])
    header = b'{"conv1.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    write("import", "file", bytes([0, AS_IT_IS]) + struct.pack("<Q", len(header)) + header + b"\0\0\x80?")
    write("import", "no-file", bytes([0, AS_IT_IS]) + b"<!DOCTYPE html>")
    for name, ask in (("torch", AS_IT_IS), ("torch-prefix", AS_IT_IS | PREFIX)):
        write("import", name, bytes([0, ask]) + archive(
            [(b"a/data.pkl", dict_of((b"conv1.weight", tensor()), (b"layer1.0.conv1.weight", tensor()))), (b"a/data/0", bytes(16)),
             (b"a/version", b"3\n")], False, False))


zips()
pickles()
weights()
legacy()
imports()
