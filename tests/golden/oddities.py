# SPDX-License-Identifier: MIT
"""Odd JPEG and PNG files: what phones, webcams, editors and careless programs write, and what damage looks like.

jpegs() and pngs() yield (name, content, plain, whole). True: the picture itself is whole and must be read to the pixels
of `plain`; False: pixels are missing, damaged or invented, and it must be refused; None: that is for Pillow to say.
What a reader would get wrong: for True and False it is not; test_oddities.py asks Pillow too. Needs Pillow.
"""
import io
import struct
import zlib

from PIL import Image

SIDE = (67, 43)


def picture(w=SIDE[0], h=SIDE[1]):
    image = Image.new("RGB", (w, h))
    image.putdata([(x * 37 % 256, y * 53 % 256, (x * y * 11 + 90) % 256) for y in range(h) for x in range(w)])
    return image


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# ---- JPEG ----

def segments(content):
    """(marker, start, end) of everything before the first scan's data, SOS included."""
    at = 2
    while True:
        length = struct.unpack(">H", content[at + 2:at + 4])[0]
        yield content[at + 1], at, at + 2 + length
        if content[at + 1] == 0xda:
            return
        at += 2 + length


def find(content, marker):
    return next((start, end) for code, start, end in segments(content) if code == marker)


def segment(marker, body):
    return bytes([0xff, marker]) + struct.pack(">H", len(body) + 2) + body


def put(content, at, value):
    return content[:at] + value + content[at + len(value):]


def insert(content, at, value):
    return content[:at] + value + content[at:]


def scan_starts(content):
    return [at for at in range(len(content) - 1) if content[at:at + 2] == b"\xff\xda"]


def headers(plain):
    """What stands before the data, none of which concerns a coefficient."""
    app0, sof, dqt, dht, sos = (find(plain, m)[0] for m in (0xe0, 0xc0, 0xdb, 0xc4, 0xda))
    for name, value in (("jfif-2.1", b"\2\1"), ("jfif-0.0", b"\0\0"), ("jfif-255", b"\xff\xff")):
        yield name, put(plain, app0 + 9, value)
    yield "jfif-density", put(plain, app0 + 11, b"\x07\0\0\0\0")
    yield "jfif-thumbnail-missing", put(plain, app0 + 16, b"\x20\x20")
    yield "jfif-short", plain[:app0 + 2] + b"\0\7JFIF\0" + plain[app0 + 18:]
    yield "jfif-none", plain[:app0] + plain[find(plain, 0xe0)[1]:]
    yield "jfif-twice", insert(plain, app0, plain[app0:app0 + 18])
    yield "jfxx", insert(plain, app0 + 18, segment(0xe0, b"JFXX\0\x13\1\1abc"))
    yield "jfxx-unknown", insert(plain, app0 + 18, segment(0xe0, b"JFXX\0\x77"))
    for transform in (1, 2, 7, 255):
        yield f"adobe-{transform}", insert(plain, sof, segment(0xee, b"Adobe\0\x64\0\0\0\0" + bytes([transform])))
    yield "adobe-short", insert(plain, sof, segment(0xee, b"Adobe\0"))
    yield "adobe-long", insert(plain, sof, segment(0xee, b"Adobe\0\x64\0\0\0\0\1" + b"x" * 99))
    for marker in (0xe1, 0xe2, 0xed, 0xef, 0xfe):
        for size in (0, 1, 2, 257, 65533):
            yield f"segment-{marker:02x}-{size}", insert(plain, sof, segment(marker, bytes([0x41]) * size))
    yield "exif-broken", insert(plain, app0, segment(0xe1, b"Exif\0\0II*\0\xff\xff\xff\xff"))
    yield "exif-thumbnail", insert(plain, app0, segment(0xe1, b"Exif\0\0" + encoded(picture(8, 8), "JPEG")))
    yield "icc-missing-part", insert(plain, sof, segment(0xe2, b"ICC_PROFILE\0\2\3" + b"i" * 30))
    yield "icc-part-zero", insert(plain, sof, segment(0xe2, b"ICC_PROFILE\0\0\0"))
    yield "mpf-broken", insert(plain, sof, segment(0xe2, b"MPF\0MM\0*\xff\xff\xff\xff"))
    yield "photoshop-broken", insert(plain, sof, segment(0xed, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"))
    yield "thousand-comments", insert(plain, sof, segment(0xfe, b"c") * 1000)
    for name, at in (("app0", app0), ("dqt", dqt), ("sof", sof), ("dht", dht), ("sos", sos)):
        yield f"fill-before-{name}", insert(plain, at, b"\xff" * 5)
        yield f"stray-before-{name}", insert(plain, at, b"\0\x11\x22")
        yield f"stray-escape-before-{name}", insert(plain, at, b"\xff\0")
        yield f"stray-many-before-{name}", insert(plain, at, bytes(range(1, 255)) * 3)
    yield "tem", insert(plain, sof, b"\xff\x01")
    for name, value in (("band", b"\0\0\0"), ("band-0-0", b"\0\0\0"), ("band-1-63", b"\1\x3f\0"), ("bits", b"\0\x3f\x11"),
                        ("bits-0d", b"\0\x3f\x0d"), ("all-255", b"\xff\xff\xff")):
        yield f"sos-{name}", put(plain, find(plain, 0xda)[1] - 3, value)
    yield "tables-twice", insert(plain, sos, plain[dht:sos])
    yield "tables-unused", insert(plain, dqt, segment(0xdb, b"\3" + bytes(range(1, 65))))
    yield "component-numbers", relabelled(plain, (82, 71, 66) if False else (7, 8, 200))
    yield "dri-zero", insert(plain, sos, segment(0xdd, b"\0\0"))
    yield "dnl", insert(plain, sof, segment(0xdc, b"\0\x2b"))
    wide = segment(0xdb, b"\x10" + b"".join(b"\0" + plain[dqt + 5 + i:dqt + 6 + i] for i in range(64)))
    yield "quantiser-16-bit", plain[:dqt] + wide + plain[dqt + 69:]


def relabelled(plain, numbers):
    sof, sos = find(plain, 0xc0)[0], find(plain, 0xda)[0]
    for i, number in enumerate(numbers):
        plain = put(plain, sof + 10 + 3 * i, bytes([number]))
        plain = put(plain, sos + 5 + 2 * i, bytes([number]))
    return plain


def tails(plain, name):
    """What stands behind the last coefficient."""
    data, other = plain[:-2], encoded(picture(8, 8), "JPEG")
    for what, tail in (("zeros", bytes(100)), ("text", b"trailer " * 300), ("a-picture", other), ("pictures", 3 * other),
                       ("mpo-gap", bytes(30) + other), ("zip", b"PK\3\4" + bytes(200)), ("movie", b"\0\0\0\x18ftypmp42" * 50),
                       ("end-again", b"\xff\xd9"), ("one-byte", b"\0"), ("big", bytes(300000))):
        yield f"{name}-then-{what}", plain + tail
    for what, pad in (("1", b"\0"), ("9", bytes(9)), ("1000", bytes(1000)), ("text", b"a trailer of some phone" * 9),
                      ("fill", b"\xff" * 6), ("rst", b"\xff\xd3"), ("escape", b"\xff\0" * 4)):
        yield f"{name}-{what}-before-end", data + pad + b"\xff\xd9"


def restarts(plain):
    """A restart marker after every row of MCUs, with and without bytes before it."""
    markers = [at for at in range(find(plain, 0xda)[1], len(plain) - 1) if plain[at] == 0xff and 0xd0 <= plain[at + 1] < 0xd8]
    yield "restarts", plain, True
    yield "restart-fill", insert(plain, markers[1], b"\xff" * 4), True
    yield "restart-stray", insert(plain, markers[1], b"\0" * 12), True
    yield "restart-wrong", put(plain, markers[1] + 1, bytes([0xd0 | (plain[markers[1] + 1] + 3 & 7)])), False
    yield "restart-missing", plain[:markers[1]] + plain[markers[1] + 2:], False
    yield "interval-missing", plain[:markers[0]] + plain[markers[1]:], False
    yield "interval-empty", plain[:markers[0] + 2] + plain[markers[1]:], False


def with_restarts():
    """Pillow 9.4 cannot ask for restarts, so the first MCU's interval is stated for a picture of one row of MCUs."""
    rows = [encoded(picture(16, 16).rotate(90 * i), "JPEG", quality=60, subsampling=2) for i in range(4)]
    first = rows[0]
    sof = find(first, 0xc0)[0]
    content = put(first[:find(first, 0xda)[0]], sof + 5, struct.pack(">HH", 64, 16))
    content += segment(0xdd, b"\0\1") + first[find(first, 0xda)[0]:find(first, 0xda)[1]]
    for i, row in enumerate(rows):
        content += row[find(row, 0xda)[1]:-2] + (bytes([0xff, 0xd0 + i]) if i < 3 else b"\xff\xd9")
    return content


def damaged_jpegs(plain, name):
    """Coefficients that are not there."""
    data = scan_starts(plain)[0]
    for part in (2, 3, 5, 9):
        yield f"{name}-cut-{part}", plain[:data + (len(plain) - data) * part // 10]
        yield f"{name}-cut-{part}-end", plain[:data + (len(plain) - data) * part // 10].rstrip(b"\xff") + b"\xff\xd9"
    middle = data + (len(plain) - data) // 2
    yield f"{name}-zero-tail", plain[:middle] + bytes(len(plain) - middle)
    yield f"{name}-marker-inside", put(plain, middle, b"\xff\xd9")
    yield f"{name}-no-end-then-text", plain[:-2] + b"trailer" * 99


def jpegs():
    base = picture()
    kinds = {"s420": dict(subsampling=2), "s444": dict(subsampling=0), "progressive": dict(progressive=True)}
    plain = {name: encoded(base, "JPEG", quality=70, **options) for name, options in kinds.items()}
    plain["grey"] = encoded(base.convert("L"), "JPEG", quality=70)
    plain["cmyk"] = encoded(base.convert("CMYK"), "JPEG", quality=70)
    for name, content in plain.items():
        for odd, changed in tails(content, name):
            yield odd, changed, content, True
        for odd, changed in damaged_jpegs(content, name):
            yield odd, changed, content, False
        yield f"{name}-no-end", content[:-2], content, None  # libjpeg may want to look at bytes behind the last ones
        yield f"{name}-half-end", content[:-1], content, None
    for odd, changed in headers(plain["s420"]):
        yield odd, changed, plain["s420"], None if odd in ("stray-before-app0", "stray-many-before-app0") else True
    for odd, changed, whole in restarts(with_restarts()):
        yield odd, changed, with_restarts(), whole
    yield from scripts(plain["progressive"])


def scripts(plain):
    """Scans of a progressive picture in other orders, doubled and missing."""
    starts = scan_starts(plain)
    tables = [plain.rindex(b"\xff\xc4", 0, at) if plain.rfind(b"\xff\xc4", 0, at) > (starts[i - 1] if i else 0) else at
              for i, at in enumerate(starts)]
    head, ends = plain[:tables[0]], tables[1:] + [len(plain) - 2]
    scans = [plain[start:end] for start, end in zip(tables, ends)]
    band = [scan[scan.index(b"\xff\xda") + 5 + 2 * scan[scan.index(b"\xff\xda") + 4]:][:3] for scan in scans]

    def file(order):
        return head + b"".join(scans[i] for i in order) + b"\xff\xd9"

    everything = list(range(len(scans)))
    first_dc = [i for i in everything if band[i][0] == 0 and band[i][2] >> 4 == 0]
    refines_dc = [i for i in everything if band[i][0] == 0 and band[i][2] >> 4]
    ac = [i for i in everything if band[i][0] > 0]
    yield "scans-as-they-are", file(everything), plain, True
    yield "scans-ac-first", file(ac + first_dc + refines_dc), plain, True
    yield "scans-no-dc", file(ac), plain, False
    yield "scans-dc-refined-twice", file(everything + refines_dc), plain, False
    yield "scans-not-refined-first", file(refines_dc + first_dc + ac), plain, False
    yield "scans-stray-between", head + b"\0\1\2".join(scans) + b"\xff\xd9", plain, True
    yield "scans-fill-between", head + b"\xff\xff\xff".join(scans) + b"\xff\xd9", plain, True


# ---- PNG ----

def chunk(kind, body, wrong=0):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ wrong)


def chunks(content):
    at = 8
    while at < len(content):
        length = struct.unpack(">I", content[at:at + 4])[0]
        yield content[at + 4:at + 8], content[at + 8:at + 8 + length]
        at += 12 + length


ANCILLARY = {b"tEXt": b"k\0v", b"zTXt": b"k\0\0" + zlib.compress(b"v"), b"iTXt": b"k\0\0\0\0\0v", b"gAMA": b"\0\0\xb1\x8f",
             b"cHRM": bytes(32), b"sRGB": b"\0", b"iCCP": b"p\0\0" + zlib.compress(b"profile"), b"sBIT": b"\x08\x08\x08",
             b"bKGD": bytes(6), b"pHYs": b"\0\0\1\0\0\0\1\0\1", b"tIME": b"\x07\xe4\2\x1e\0\0\0", b"hIST": b"\0\1", b"sPLT": b"s\0\x08",
             b"eXIf": b"II*\0", b"oFFs": bytes(9), b"sTER": b"\0", b"prVW": b"p" * 99, b"vpAg": b"v", b"iDOT": bytes(28),
             b"acTL": b"\0\0\0\1\0\0\0\0", b"caBX": b"c"}


def packed(rows, level=9):
    return zlib.compress(rows, level)


def png(before=b"", middle=None, after=b"", data=None, last=chunk(b"IEND", b""), base=None, split=None):
    """A picture out of chunks; `middle` stands between two IDATs."""
    content = dict(chunks(base or encoded(picture(), "PNG")))
    data = content[b"IDAT"] if data is None else data
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", content[b"IHDR"])
    out += chunk(b"PLTE", content[b"PLTE"]) if b"PLTE" in content else b""
    out += before
    pieces = [data] if split is None else [data[:split], data[split:]]
    return out + (middle or b"").join(chunk(b"IDAT", piece) for piece in pieces) + after + last


def ancillary_pngs():
    for kind, body in ANCILLARY.items():
        name = kind.decode()
        yield f"{name}", png(chunk(kind, body))
        yield f"{name}-sum", png(chunk(kind, body, 1))
        yield f"{name}-empty", png(chunk(kind, b""))
        yield f"{name}-long", png(chunk(kind, body * 40000 if len(body) < 100 else body))
        yield f"{name}-garbage", png(chunk(kind, bytes(range(255))))
        yield f"{name}-twice", png(chunk(kind, body) * 2)
        yield f"{name}-behind", png(after=chunk(kind, body, 1))
        yield f"{name}-before-palette", png(base=encoded(picture().quantize(16), "PNG")).replace(b"\0\0\0\x30PLTE", chunk(
            kind, body, 1) + b"\0\0\0\x30PLTE")
    yield "tRNS-alpha", png(chunk(b"tRNS", bytes(6)), base=encoded(picture().convert("RGBA"), "PNG"))
    yield "tRNS-length", png(chunk(b"tRNS", bytes(3)))
    yield "tRNS-sum", png(chunk(b"tRNS", bytes(6), 1))
    yield "bomb", png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(40 << 20), 9)))
    yield "palette-of-colours", png(chunk(b"PLTE", bytes(30)))
    yield "palette-of-colours-odd", png(chunk(b"PLTE", bytes(31)))
    yield "palette-of-colours-sum", png(chunk(b"PLTE", bytes(30), 1))
    yield "palette-of-grey", png(chunk(b"PLTE", bytes(30)), base=encoded(picture().convert("L"), "PNG"))
    yield "unknown-critical", png(chunk(b"ABCD", b"x"))
    yield "unknown-critical-behind", png(after=chunk(b"ABCD", b"x"))
    yield "type-with-a-bad-letter", png(chunk(b"t2X\xff", b"x"))
    yield "thousand-texts", png(chunk(b"tEXt", b"k\0v") * 1200)
    yield "text-of-3-MB", png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * 3000000))


def inflated(data):
    return zlib.decompress(dict(chunks(encoded(picture(), "PNG") if data is None else data))[b"IDAT"])


def tail_pngs(base, name):
    """Everything behind the last pixel."""
    data = dict(chunks(base))[b"IDAT"]
    whole = png(base=base)
    rows = zlib.decompress(data)
    end = whole.rindex(b"\0\0\0\0IEND")
    for what, tail in (("zeros", bytes(100)), ("text", b"trailer" * 99), ("a-picture", whole), ("zip", b"PK\3\4"), ("big", bytes(300000))):
        yield f"{name}-then-{what}", whole + tail
    yield f"{name}-no-IEND", whole[:end]
    yield f"{name}-half-IEND", whole[:end + 6]
    yield f"{name}-no-IEND-sum", whole[:end + 8]
    yield f"{name}-wrong-IEND-sum", whole[:end + 8] + b"abcd"
    yield f"{name}-IEND-with-content", whole[:end] + chunk(b"IEND", b"content")
    yield f"{name}-no-IDAT-sum", whole[:end - 4]
    yield f"{name}-cut-in-zlib-sum", whole[:end - 6]
    yield f"{name}-no-zlib-sum", png(base=base, data=data[:-4])
    yield f"{name}-half-zlib-sum", png(base=base, data=data[:-2])
    yield f"{name}-bytes-in-IDAT", png(base=base, data=data + b"extra" * 9)
    yield f"{name}-many-bytes-in-IDAT", png(base=base, data=data + bytes(200000))
    yield f"{name}-megabytes-in-IDAT", png(base=base, data=data + bytes(3 << 20))
    yield f"{name}-rows-too-many", png(base=base, data=packed(rows + rows))
    yield f"{name}-a-byte-too-many", png(base=base, data=packed(rows + b"\7"))
    yield f"{name}-megabytes-of-rows", png(base=base, data=packed(rows + bytes(5 << 20)))
    yield f"{name}-IDAT-again", png(base=base, after=chunk(b"IDAT", data))
    yield f"{name}-IDAT-again-sum", png(base=base, after=chunk(b"IDAT", data, 1))
    yield f"{name}-empty-IDAT", png(base=base, after=chunk(b"IDAT", b"") * 3)
    yield f"{name}-text-between", png(base=base, middle=chunk(b"tEXt", b"k\0v"), split=len(data) // 2)
    yield f"{name}-split-in-zlib-sum", png(base=base, split=len(data) - 2, middle=b"")
    yield f"{name}-not-packed", png(base=base, data=packed(rows, 0))
    yield f"{name}-small-window", png(base=base, data=b"\x08\x1d" + data[2:])
    yield f"{name}-one-byte-a-chunk", (whole[:whole.index(b"IDAT") - 4] + b"".join(chunk(b"IDAT", bytes([b])) for b in data)
                                       + whole[end:])


def damaged_pngs(base, name):
    data = dict(chunks(base))[b"IDAT"]
    whole = png(base=base)
    rows = zlib.decompress(data)
    first = whole.index(b"IDAT") - 4
    end = whole.rindex(b"\0\0\0\0IEND")
    yield f"{name}-IDAT-sum", whole[:first] + chunk(b"IDAT", data, 1) + whole[end:]
    yield f"{name}-first-IDAT-sum", whole[:first] + chunk(b"IDAT", data[:50], 1) + chunk(b"IDAT", data[50:]) + whole[end:]
    yield f"{name}-zlib-sum", png(base=base, data=data[:-1] + bytes([data[-1] ^ 1]))
    yield f"{name}-IHDR-sum", put(whole, 29, bytes([whole[29] ^ 1]))
    for part in (1, 3, 5, 9):
        yield f"{name}-cut-{part}", whole[:first + 8 + len(data) * part // 10]
        yield f"{name}-data-{part}", png(base=base, data=data[:len(data) * part // 10])
        yield f"{name}-rows-{part}", png(base=base, data=packed(rows[:len(rows) * part // 10]))
    yield f"{name}-a-byte-too-few", png(base=base, data=packed(rows[:-1]))
    yield f"{name}-no-IDAT", whole[:first] + whole[end:]
    yield f"{name}-empty", png(base=base, data=b"")
    yield f"{name}-filter", png(base=base, data=packed(b"\x09" + rows[1:]))
    yield f"{name}-zlib-header", png(base=base, data=b"\x79" + data[1:])
    yield f"{name}-flipped", png(base=base, data=put(data, len(data) // 2, bytes([data[len(data) // 2] ^ 0x10])))


def interlaced(h):
    """Pillow does not write them: Adam7 of a grey picture of 7 x h."""
    rows = [bytes((x * 31 + y * 47) % 256 for x in range(7)) for y in range(h)]
    data = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for y in range(y0, h, dy):
            data += b"\0" + rows[y][x0::dx] if x0 < 7 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, h, 8, 0, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed(data)) + chunk(b"IEND", b"")


def pngs():
    base = picture()
    plain = {"rgb": encoded(base, "PNG"), "palette": encoded(base.quantize(16), "PNG"), "bit": encoded(base.convert("1"), "PNG"),
             "alpha": encoded(base.convert("RGBA"), "PNG"), "adam7": interlaced(10), "adam7-odd": interlaced(9),
             "adam7-row": interlaced(1)}
    for odd, changed in ancillary_pngs():
        kind = "palette" if "before-palette" in odd else "alpha" if odd == "tRNS-alpha" else "rgb"
        if odd == "palette-of-grey":
            yield odd, changed, encoded(base.convert("L"), "PNG"), True
        else:
            yield odd, changed, plain[kind], True
    for name, content in plain.items():
        for odd, changed in tail_pngs(content, name):
            yield odd, changed, content, True
        for odd, changed in damaged_pngs(content, name) if len(content) > 200 else ():
            yield odd, changed, content, False
    few = dict(chunks(plain["palette"]))
    palette = plain["palette"].index(b"PLTE") - 4
    behind = plain["palette"][palette + 12 + len(few[b"PLTE"]):]
    yield "palette-short", plain["palette"][:palette] + chunk(b"PLTE", few[b"PLTE"][:15]) + behind, plain["palette"], None
    yield "palette-sum", plain["palette"][:palette] + chunk(b"PLTE", few[b"PLTE"], 1) + behind, plain["palette"], False
    yield "palette-missing", plain["palette"][:palette] + behind, plain["palette"], False
