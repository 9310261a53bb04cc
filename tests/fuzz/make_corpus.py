#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the seeds of the fuzz targets: usage: make_corpus.py [FOLDER]

Every kind of file once, as small as it goes: the replay changes every byte of every seed. Needs Pillow. What is in
tests/fuzz/corpus was drawn by this, or added from a fuzzer's finds.
"""
import io
import os
import struct
import sys
import tarfile

from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden"))
import oddities

ASK_ALL = 31
FIX_SUMS = 32
ASK_FAULT = 64
RAMP = bytes.fromhex(  # test_decode.c's: coded arithmetically, which Pillow does not write
    "ffd8ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933383740485c4e404457453738506d51575f"
    "626768673e4d71797064785c656763ffc9000b080008000801011100ffcc000600101005ffda0008010100003f00fdc0ebf1a9ffd9")


def write(target, name, content):
    folder = os.path.join(sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as out:
        out.write(content)


def picture(w, h):
    image = Image.new("RGB", (w, h))
    image.putdata([(x * 37 % 256, y * 53 % 256, (x * y * 11 + 90) % 256) for y in range(h) for x in range(w)])
    return image


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def control(window=15, fail_at=0, box=(60, 90, 100, 120), cut=128, ask=ASK_ALL):
    """struct control of picture_target.h."""
    return bytes([ask, window, fail_at, *box, cut])


def jpegs():
    base = picture(35, 19)
    for name, image, options in (
            ("colour420", base, dict(subsampling=2)), ("colour422", base, dict(subsampling=1)),
            ("colour444", picture(9, 9), dict(subsampling=0)), ("grey", base.convert("L"), {}),
            ("cmyk", picture(18, 18).convert("CMYK"), {}), ("progressive", picture(17, 17), dict(progressive=True)),
            ("wide", picture(40, 8), {})):
        content = encoded(image, "JPEG", quality=20, optimize=True, **options)
        write("jpeg", name, content + control())
        if name in ("cmyk", "progressive"):
            for fail_at in (1, 2, 3):
                write("jpeg", f"{name}-memory{fail_at}", content[:40] + content[-60:] + control(0, fail_at, ask=4))
    grey = encoded(picture(8, 8).convert("L"), "JPEG", quality=20, optimize=True)
    write("jpeg", "empty", control())
    write("jpeg", "html", b"<html>" + control())
    write("jpeg", "memory", grey + control(fail_at=2, ask=4))
    frame = grey.index(b"\xff\xc0")
    for name, at, value in (("tall", 5, 0x7f), ("components", 9, 2), ("bits", 4, 12)):
        write("jpeg", name, grey[:frame + at] + bytes([value]) + grey[frame + at + 1:] + control())
    write("jpeg", "tall-part", encoded(picture(8, 64), "JPEG", quality=20, optimize=True) + control(box=(0, 240, 255, 99)))
    two = grey[frame:frame + 3] + b"\x0e" + grey[frame + 4:frame + 9] + b"\x02\x01\x11\0\x02\x11\0"
    write("jpeg", "two-components", grey[:frame] + two + grey[frame + 13:] + control())
    flat = encoded(Image.new("L", (64, 64)), "JPEG", quality=20, optimize=True)  # scans again and again of one component
    frame, scan = flat.index(b"\xff\xc0"), flat.index(b"\xff\xda")
    three = flat[frame:frame + 3] + b"\x11" + flat[frame + 4:frame + 9] + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"
    write("jpeg", "scans", flat[:frame] + three + flat[frame + 13:scan] + 12 * flat[scan:-2] + flat[-2:] + control(ask=1))
    comment = b"\xff\xfe\x00\x42" + b"c" * 64  # longer than a small window: it is skipped
    for at, why in ((0, 2), (0, 3), (0, 4), (0, 6), (0, 7), (1, 1), (2, 1), (2, 2), (3, 1)):  # open, stat, read, close
        write("jpeg", f"fault{at}-{why}", grey + control(fail_at=at, cut=why, ask=ASK_FAULT))
    for name, subsampling in (("420", 2), ("422", 1)):  # a part whose right edge halves a sample of the chroma
        content = encoded(base, "JPEG", quality=20, optimize=True, subsampling=subsampling)
        write("jpeg", f"part-{name}", content + control(box=(60, 90, 108, 120)))
    write("jpeg", "arithmetic", RAMP + control())
    inks = encoded(picture(8, 8).convert("CMYK"), "JPEG", quality=20, progressive=True)
    frame, scan = inks.index(b"\xff\xc2"), inks.index(b"\xff\xda")  # a strip as long as can be, up to its first scan
    write("jpeg", "flat", inks[:frame + 5] + b"\0\x01\xff\xdc" + inks[frame + 9:scan + 20] + control())
    for name, image, options in (("444", picture(40, 24), dict(subsampling=0)), ("420", picture(40, 40), {}),
                                 ("inks", picture(24, 24).convert("CMYK"), {})):
        content = encoded(image, "JPEG", quality=20, progressive=True, **options)
        scans = [at for at in range(len(content)) if content[at:at + 2] == b"\xff\xda"]
        tables = content.index(b"\xff\xc4", scans[1])  # those of the third scan: what it refines is missing then
        write("jpeg", f"missing-{name}", content[:tables] + b"\xff\xd9" + control())
    small = encoded(picture(9, 9), "JPEG", quality=20, optimize=True)
    for name, odd in (*oddities.headers(small), *oddities.tails(small, "small")):
        if name in ("sos-all-255", "jfif-2.1", "adobe-7", "stray-before-dqt", "fill-before-sos", "segment-fe-0",
                    "quantiser-16-bit", "small-9-before-end", "small-text-before-end", "small-then-a-picture"):
            write("jpeg", "odd-" + name.replace("small-", ""), odd + control())
    write("jpeg", "odd-no-end", grey[:-2] + control())
    for name, odd, _, _ in oddities.scripts(encoded(picture(9, 9), "JPEG", quality=20, progressive=True)):
        if name in ("scans-ac-first", "scans-no-dc", "scans-stray-between"):
            write("jpeg", "odd-" + name, odd + control())
    write("jpeg", "comment", grey[:2] + comment + grey[2:] + control(window=3))


def pngs():
    base = picture(11, 9)
    alpha = base.convert("RGBA")
    for name, image, options in (
            ("rgb", base, {}), ("rgba", alpha, {}), ("grey", base.convert("L"), {}), ("grey-alpha", base.convert("LA"), {}),
            ("bit", base.convert("1"), {}), ("palette4", base.quantize(16), dict(bits=4)),
            ("palette", base.quantize(32), {}), ("transparent", base.quantize(4), dict(bits=2, transparency=1)),
            ("grey16", Image.new("I;16", (5, 4), 0x1234), {})):
        write("png", name, encoded(image, "PNG", optimize=True, **options) + control(ask=ASK_ALL | FIX_SUMS))
    rgb = encoded(picture(3, 2), "PNG")
    write("png", "as-it-is", rgb + control())
    for fail_at in (1, 2, 3, 4, 5, 6):
        write("png", f"memory{fail_at}", rgb + control(fail_at=fail_at, ask=4 | FIX_SUMS))
    small = encoded(picture(3, 2).quantize(4), "PNG", optimize=True)
    for name, odd in (*oddities.tail_pngs(small, "small"), *oddities.damaged_pngs(small, "small")):
        if name[6:] in ("then-text", "no-IEND", "no-IDAT-sum", "cut-in-zlib-sum", "no-zlib-sum", "bytes-in-IDAT", "rows-too-many",
                        "IDAT-again", "empty-IDAT", "text-between", "small-window", "IDAT-sum", "zlib-sum", "a-byte-too-few"):
            write("png", "odd-" + name[6:], odd + control())
    for name, before in (("text", oddities.chunk(b"tEXt", b"k", 1)), ("critical", oddities.chunk(b"ABCD", b"")),
                         ("length", b"\xff\xff\xff\xfftEXt")):
        write("png", "odd-" + name, oddities.png(before, base=small) + control())
    for h in (1, 3, 4):
        write("png", f"odd-adam7-{h}", oddities.interlaced(h) + control())
    few = small.index(b"PLTE")
    write("png", "odd-palette", small[:few - 4] + oddities.chunk(b"PLTE", b"rgb") + small[few + 8 + small[few - 1]:] + control())
    for name, at, value in (("interlaced", 28, 1), ("wide", 17, 0xff), ("nothing", 19, 0)):
        write("png", name, rgb[:at] + bytes([value]) + rgb[at + 1:] + control(ask=ASK_ALL | FIX_SUMS))


def riff(*chunks):
    content = b"WEBP" + b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def webps():
    base = picture(21, 18)
    alpha = Image.merge("RGBA", (*base.split(), base.convert("L")))
    files = {}
    for name, image, options in (
            ("lossy", base, dict(quality=40)), ("odd", picture(1, 5), dict(quality=40)), ("alpha", alpha, dict(quality=40)),
            ("lossless", picture(9, 7), dict(lossless=True)), ("palette", base.quantize(3).convert("RGB"), dict(lossless=True)),
            ("lossless-alpha", alpha.resize((6, 5)), dict(lossless=True, exact=True)),
            ("wide", picture(70, 4), dict(quality=80)), ("tall-part", picture(5, 60), dict(quality=30))):
        files[name] = encoded(image, "WEBP", method=6, **options)
        write("webp", name, files[name] + control(box=(60, 200, 100, 60) if name == "tall-part" else (60, 90, 100, 120)))
    simple, small = files["lossy"], encoded(picture(2, 2), "WEBP", quality=10)
    for fail_at in (0, 1, 2, 3, 4):  # a chunk that does not fit the window has memory of its own
        write("webp", f"memory{fail_at}", small + control(fail_at=fail_at, ask=4))
        write("webp", f"window-memory{fail_at}", small + control(window=9, fail_at=fail_at, ask=5))
    for at, why in ((0, 2), (1, 1), (2, 1), (2, 2), (3, 1)):
        write("webp", f"fault{at}-{why}", small + control(fail_at=at, cut=why, ask=ASK_FAULT))
    vp8 = (b"VP8 ", simple[20:20 + struct.unpack("<I", simple[16:20])[0]])
    canvas = struct.pack("<I", 0x3e) + struct.pack("<I", 20)[:3] + struct.pack("<I", 17)[:3]
    place = bytes(6) + struct.pack("<I", 20)[:3] + struct.pack("<I", 17)[:3] + bytes(4)
    frame = (b"ANMF", place + riff(vp8)[12:])
    for name, chunks in (
            ("metadata", [(b"VP8X", canvas), (b"ICCP", b"odd"), vp8, (b"EXIF", b"tag")]), ("none", [(b"VP8X", canvas)]),
            ("animated", [(b"VP8X", canvas), (b"ANIM", bytes(6)), frame]), ("short-canvas", [(b"VP8X", canvas[:9]), vp8]),
            ("short-frame", [(b"ANMF", place[:15])]), ("part", [(b"VP8X", canvas), (b"ANMF", b"\1" + place[1:] + riff(vp8)[12:])]),
            ("no-canvas", [frame]), ("nothing", []), ("empty", [(b"VP8 ", b"")]), ("other", [(b"VP8L", vp8[1])])):
        write("webp", name, riff(*chunks) + control())
    write("webp", "early", riff(vp8)[:-9] + control())
    write("webp", "skips", riff((b"junk", bytes(300)), vp8) + control(window=20))
    write("webp", "skips-early", riff((b"junk", bytes(300)), vp8)[:100] + control())
    for name, cut in (("canvas-early", 25), ("header-early", 16)):
        write("webp", name, riff((b"VP8X", canvas), vp8)[:cut] + control())
    shorter = riff((vp8[0], vp8[1][:-30]))
    write("webp", "shorter", shorter + control())
    write("webp", "inter-frame", riff((b"VP8 ", bytes([vp8[1][0] | 1]) + vp8[1][1:])) + control())


def archive(kind, members):
    """Members (name, content, type); without the padding to twenty blocks; checksums left to the target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, content, member_type in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), member_type
            tar.addfile(info, io.BytesIO(content))
    content = bytearray(out.getvalue().rstrip(b"\0"))
    content += bytes(-len(content) % 512)
    for at in range(0, len(content), 512):
        if content[at + 257:at + 262] == b"ustar":
            content[at + 148:at + 149] = b"?"
    return bytes(content)


def set_size(tar, block, text):
    at = block * 512 + 124
    return tar[:at] + text + tar[at + len(text):]


def tars():
    file, folder, link = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
    png = encoded(picture(2, 2), "PNG")
    sample = [("a/1.png", png, file), ("a/1.cls", b"7\n", file)]
    plain = archive(tarfile.USTAR_FORMAT, [("a", b"", folder), *sample, ("a/l", b"", link), ("a/none.cls", b"1", file)])
    write("tar", "plain", plain + b"\0\0")
    write("tar", "closed", plain + bytes(1024) + b"\0\0")
    write("tar", "shrinks", plain + b"\0\x80")
    for fail_at in range(1, 12):
        write("tar", f"memory{fail_at}", archive(tarfile.GNU_FORMAT, sample[:1]) + bytes([fail_at, 0]))
    long_name = "n" * 120 + ".jpg"
    for fail_at in range(2, 8):
        write("tar", f"long-memory{fail_at}", archive(tarfile.PAX_FORMAT, [(long_name, b"", file)]) + bytes([fail_at, 0]))
    write("tar", "gnu-long", archive(tarfile.GNU_FORMAT, [(long_name, b"x", file)]) + b"\0\0")
    write("tar", "pax-long", archive(tarfile.PAX_FORMAT, [(long_name, b"x", file)]) + b"\0\0")
    write("tar", "prefix", archive(tarfile.USTAR_FORMAT, [("d/" * 60 + "x.jpg", b"x", file)]) + b"\0\0")
    one = archive(tarfile.USTAR_FORMAT, [("1.jpg", b"x", file)])
    write("tar", "twice", archive(tarfile.USTAR_FORMAT, [("1.jpg", b"", file), ("2.jpg", b"", file), ("1.png", b"", file)])
          + b"\0\0")
    write("tar", "two-pictures", archive(tarfile.USTAR_FORMAT, [("1.jpg", b"", file), ("1.png", b"", file)]) + b"\0\0")
    write("tar", "label", archive(tarfile.USTAR_FORMAT, [("1.cls", b"x", file)]) + b"\0\0")
    write("tar", "too-long", set_size(one, 0, b"77777777777") + b"\0\0")
    write("tar", "joined", plain + bytes(1024) + one + bytes(512) + b"\0\0")
    write("tar", "behind", one + bytes(512) + b"x" * 700 + b"\0\0")
    for name, magic in (("gzip", b"\x1f\x8b"), ("zip", b"PK\3\4")):
        write("tar", name, magic + bytes(60) + b"\0\0")
    write("tar", "extensions", archive(tarfile.USTAR_FORMAT, [
        (name, content, file) for name, content in (
            ("1.jpg", png), ("1.seg.png", b""), ("1.cls", b"x"), ("2.seg.png", png), ("2.a.cls", b"1"), ("2.cls", b" 2\r\n"),
            ("3.1.png", b""), ("3.2.png", b""), ("3", b""), ("4.tiff", b""), ("4.cls", b"9999999"))]) + b"\0\0")
    write("tar", "base256", set_size(one, 0, b"\x80" + bytes(10) + b"\x01") + b"\0\0")
    write("tar", "negative", set_size(one, 0, b"\xff" * 12) + b"\0\0")
    write("tar", "spaces", set_size(one, 0, b"         1 \0") + b"\0\0")
    write("tar", "not-a-number", set_size(one, 0, b"1x") + b"\0\0")
    write("tar", "sparse", one[:156] + b"S" + one[157:] + b"\0\0")
    write("tar", "volume", one[:156] + b"g" + one[157:] + one + b"\0\0")
    write("tar", "v7-folder", one[:0] + b"d/" + bytes(3) + one[5:156] + b"\0" + one[157:] + b"\0\0")
    write("tar", "header-cut", one[:700] + one[:100] + b"\0\0")
    write("tar", "extra-last", archive(tarfile.GNU_FORMAT, [(long_name, b"x", file)])[:1024] + b"\0\0")
    huge = set_size(one[:156] + b"L" + one[157:], 0, b"00010000000")
    write("tar", "extra-huge", huge + b"\0\0")
    write("tar", "name-huge", set_size(one[:156] + b"L" + one[157:512], 0, b"00000010004") + b"n" * 4100 + bytes(508) + one
          + b"\0\0")
    for name, record in (("size", b"12 size=100\n"), ("path", b"14 path=x.jpg\n"), ("no-size", b"10 size=x\n"),
                         ("nothing", b"9 sizes1\n"), ("short", b"90 a=b\n"), ("sparse", b"22 GNU.sparse.major=1\n"),
                         ("zero", b"13 path=x\0jpg"[:12] + b"\n")):
        pax = set_size(one[:156] + b"x" + one[157:512], 0, b"%011o" % len(record))
        write("tar", f"pax-{name}", pax + record + bytes(512 - len(record)) + one + b"\0\0")


def lists():
    """The folder of the list is /proc/self/fd: the first picture must be there, so it is 0."""
    write("list", "plain", b"0\n.\nb/c.png\r\n" + b"n" * 300 + b"\n\n/d.jpeg" + b"\0")
    write("list", "labels", b"0\t3\nb.jpg\nc.jpg\t0\n" + b"\0")
    for name, text in (("zero", b"a\0b\n"), ("label", b"0\t\n"), ("letters", b"0\t1x\n1\t 2 \n"), ("no-path", b"\t1\n"),
                       ("empty", b"\n"), ("long", b"p" * 4090 + b"\n"), ("spaces", b"0 1\n"), ("commas", b"0,1\n"),
                       ("semicolons", b"x;1\n"), ("header", b"path\tlabel\n0\t1\n"), ("mark", b"\xef\xbb\xbf0\t1\n"),
                       ("utf16", b"\xff\xfe0\0\n\0"), ("quotes", b'"0"\t1\n'), ("folders", b"a\\b.png\n"),
                       ("turned", b"77\t0\n"), ("blank", b"a.png \n"), ("absolute", b"/none\n"),
                       ("large", b"0\t99999999999\n1\t1048576\n2\t1048575\n")):
        write("list", name, text + b"\0")
    write("list", "late-label", b"0\n" + b"x\n" * 70 + b"y\t2\n" * 3 + b"\0")
    for fail_at in range(1, 9):
        write("list", f"memory{fail_at}", b"0\nb\t1\n" + bytes([fail_at]))


def safetensors():
    """What refuses a header, once each; the other seeds of this target were written by hand."""
    field = '"dtype":"U8","shape":[1],"data_offsets":[0,1]'
    for name, text in (
            ("nul", '{"a\\u0000":{%s}}' % field), ("float", '{"a":{"shape":[1.5]}}'), ("field", '{"a":{"dtype":"U8",%s}}' % field),
            ("axes", '{"a":{"shape":[1,1,1,1,1,1,1,1,1,1]}}'), ("lacks", '{"a":{"dtype":"U8"}}'),
            ("gap", '{"a":{%s},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}' % field),
            ("overlap", '{"a":{%s},"b":{%s}}' % (field, field)), ("key", '{"__metadata__":{"k":"","k":""}}'),
            ("metadata", '{"__metadata__":{},"__metadata__":{}}')):
        write("safetensors", name, text.encode() + bytes([3, 0]))


def cifars():
    records = (b"\3" + bytes(3072)) + (b"\7" + bytes(range(256)) * 2 + bytes(2560))
    write("cifar", "two", records + b"\0\0")
    write("cifar", "shrinks", records + b"\0\1")
    write("cifar", "twice", records + b"\0\2")
    for call, why in ((0, 6), (1, 1), (2, 1), (2, 2), (3, 1), (4, 3)):  # open, stat, read the labels, a picture, another
        write("cifar", f"fault{call}-{why}", records[:3073] + bytes([0, call << 2 | why << 5]))
    write("cifar", "label", b"\x0a" + bytes(3072) + b"\0\0")
    write("cifar", "cut", bytes(99) + b"\0\0")
    write("cifar", "empty", b"\0\0")
    for fail_at in range(1, 8):
        write("cifar", f"memory{fail_at}", bytes(3073) + bytes([fail_at, 0]))


def record(what, tensor=0, number=0, value=0):
    """One change of a tensor: see recipe.h."""
    return bytes([what, tensor]) + number.to_bytes(2, "little") + (value & 0xffffffff).to_bytes(4, "little")


NAN, HUGE, BELOW = 0x7fc00000, 0x7f7fffff, 0xbf800000  # as f32


def changes(target, keys, claims):
    """Changed tensors and metadata of a sound file. `keys`: with the values that are in it; `claims`: with false ones."""
    write(target, "as-it-is", b"\0")
    write(target, "keys", b"\0" + b"".join(b"%s=%s\n" % pair for pair in keys.items()))
    for i, claim in enumerate(claims):
        write(target, f"claim{i}", b"\0" + claim)
    write(target, "without", b"\0" + list(keys)[0] + b"\n")
    for name, content in (
            ("nan", record(0, 0, 0, NAN)), ("below", b"".join(record(0, t, 0, BELOW) for t in range(8))),
            ("large", record(0, 3, 1, HUGE)), ("count", record(0, 1, 0, -1)), ("dropped", record(1, 2)),
            ("bytes", record(2, 0, 0, 2)), ("shape", record(3, 0, 0, 70000)), ("long", record(3 | 15 << 3, 0, 0, 1 << 31)),
            ("axis", record(4)), ("fewer-axes", record(4, 0, 1)), ("name", record(5, 0, 2, 120)),
            ("twice", record(6)), ("more", record(6, 0, 0, 97)), ("cut", record(7, 0, 3))):
        write(target, name, b"\0\n" + content)
    for fail_at in (1, 2, 3, 7, 12):
        write(target, f"memory{fail_at}", bytes([fail_at]))


MODEL = {b"model.arch": b"resnet18", b"model.stem": b"small", b"model.head": b"linear", b"model.width": b"0.0078125",
         b"model.dim": b"2", b"model.mean.0": b"0", b"model.std.1": b"1", b"model.image_size": b"8", b"model.seed": b"1",
         b"model.zero_init": b"0", b"kind": b"encoder", b"moco.format": b"1"}
LARGE = b"model.arch=resnet152\nmodel.width=16\nmodel.dim=65536\nmodel.head=simclr-v2\n"


def states():
    changes("model", MODEL, [LARGE, b"model.dim=4294967298\n", b"model.width=1e-9\n", b"kind=probe\n"])
    changes("trainer", {b"trainer.queue_length": b"4", b"trainer.batch_size": b"4", b"trainer.temperature": b"0.2",
                        b"trainer.real": b"f64", b"trainer.negatives": b"queue", b"state.step": b"0",
                        b"state.queue_filled": b"0", b"note": b"a note", b"kind": b"trainer"},
            [LARGE, b"trainer.queue_length=2147483648\n", b"state.position=9223372036854775807\n",
             b"trainer.temperature=2.0000000000000001e-1\n", b"note=longer than there is room for\n"])
    changes("probe", {b"probe.dim": b"3", b"probe.classes": b"2", b"probe.rates": b"2", b"probe.lr.0": b"1",
                      b"probe.momentum": b"0.9", b"probe.weight_decay": b"0", b"probe.seed": b"0", b"state.step": b"0"},
            [b"probe.dim=1048576\nprobe.classes=1048576\n", b"probe.lr.1=1e301\n", b"probe.momentum=1\n"])


def reports():
    step = b'{"type":"step","epoch":0,"step":%d,"loss":7.1,"chance":0,"acc1":1.5,"lr":0.03,"img_per_s":null}\n'
    write("report", "metrics", b'\0{"type":"config","arch":"resnet18","lr":0.03,"note":"\\u00e9"}\n' + step % 10 + step % 20
          + b'{"type":"epoch","epoch":0,"step":20,"loss":7,"knn":31.5,"seconds":9}\n')
    write("report", "torn", b"\0" + step % 1 + b'{"type":"step","st')
    write("report", "backwards", b"\0" + step % 9 + step % 3 + b"\n{}\nnull\n")
    write("report", "gallery", b'\1{"step":1,"epoch":2,"on":"features","of":"val","bank":9,"side":32,"classes":["a","b"],'
          b'"map":{"x":[0.5,1],"y":[0,-1],"label":[0,1],"part":[0.6,0.2]},"spectrum":[3,1],"effective_rank":1.7,'
          b'"uniformity":-2,"recipe":"moco-v2","neighbours":[[{"jpeg":"/9g=","label":0,"id":4},{"jpeg":"/9g=","label":1,'
          b'"id":5,"cosine":0.9}]],"views":[["/9g=","/9g="]]}')
    write("report", "run-note", b'\2{"program":"train_imagenet","data":"folder 3","epoch_done":1,"epoch_steps":20,'
          b'"epoch_loss":1.5,"arch":"resnet18","lr":0.03}')
    write("report", "probe-note", b"\3data 1\nepoch 1 2 3 4\nposition 12 0.5 3\n")


def indexes():
    """Sizes, times, hash and checksums are left to the target, whose own program is the shard."""
    name = b"/proc/self/exe\0"

    def index(names, entries, classes=2, at=(0, len(name)), count=None):
        text = b"".join(names)
        table = b"".join(struct.pack("<4q", 0, 0, 0, at[i]) for i in range(len(names))) + text
        head = b"mocoidx2" + struct.pack("<3q2i", len(entries) if count is None else count, len(names), len(text), classes, 0)
        head += bytes(64) + table
        return head + bytes(-len(head) % 4096) + b"".join(struct.pack("<qIIiI", *entry, 0) for entry in entries)

    pictures = [(0, 100, 0, -1), (64, 1000, 1, 1), (8, 0, 0, 0)]
    plain = index([name, name], pictures)
    write("index", "plain", plain + b"\0\0")
    write("index", "as-it-is", plain + b"\1\0")
    for fail_at in range(1, 9):
        write("index", f"memory{fail_at}", plain[:4096 + 24].replace(struct.pack("<q", 3), struct.pack("<q", 1), 1)
              + bytes([0, fail_at]))
    write("index", "no-labels", index([name], pictures[:1], classes=0) + b"\0\0")
    for what, entry in (("behind", (1 << 40, 1, 0, 0)), ("negative", (-8, 1, 0, 0)), ("shard", (0, 1, 2, 0)),
                        ("label", (0, 1, 0, 2)), ("label-2", (0, 1, 0, -2))):
        write("index", what, index([name, name], [entry, pictures[0]]) + b"\0\0")
    write("index", "names", index([name, name], pictures, at=(0, 3)) + b"\0\0")
    write("index", "no-end", index([name, name[:-1]], pictures) + b"\0\0")
    write("index", "gone", index([b"/nowhere/1.tar\0"], pictures[:1]) + b"\0\0")
    write("index", "count", index([name], pictures, count=1 << 40) + b"\0\0")
    write("index", "cut", plain[:-1] + b"\0\0")
    write("index", "short", plain[:40] + b"\0\0")


jpegs()
pngs()
webps()
tars()
indexes()
lists()
cifars()
safetensors()
states()
reports()
