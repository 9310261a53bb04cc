"""Reads a safetensors file knowing nothing but the format, and prints it as lines: a reader that shares no code with ours.

usage: read_safetensors.py FILE: for each tensor, by its place in the file, "NAME DTYPE SHAPE CRC32-OF-BYTES", then each
text of __metadata__ as "KEY=VALUE", by key. Ends with status 1 if the file breaks a rule of the format.
"""
import json
import struct
import sys
import zlib

SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def no_duplicates(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise SystemExit("a key is there twice")
    return dict(pairs)


def main(path):
    with open(path, "rb") as file:
        raw = file.read()
    (length,) = struct.unpack("<Q", raw[:8])
    text = raw[8 : 8 + length]
    if len(text) != length or text[:1] != b"{" or (8 + length) % 8 != 0:
        raise SystemExit("the header is cut, does not begin with {, or its end is not aligned")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates)
    metadata = header.pop("__metadata__", {})
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        count = SIZES[entry["dtype"]]
        for size in entry["shape"]:
            count *= size
        if begin != end or stop - begin != count or (8 + length + begin) % SIZES[entry["dtype"]] != 0:
            raise SystemExit(f"{name} lies at {begin} to {stop}; {count} bytes from {end} on, aligned, were expected")
        end = stop
        data = raw[8 + length + begin : 8 + length + stop]
        print(name, entry["dtype"], entry["shape"], f"{zlib.crc32(data):08x}")
    if 8 + length + end != len(raw):
        raise SystemExit(f"the tensors end at {8 + length + end}, the file at {len(raw)}")
    for key, value in sorted(metadata.items(), key=lambda item: item[0].encode()):
        print(f"{key}={value}")


main(sys.argv[1])
