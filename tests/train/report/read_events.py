# SPDX-License-Identifier: MIT
"""Reads TensorBoard's event files with nothing but their description: every checksum and every byte is looked at."""
import struct


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        length, check = struct.unpack_from("<QI", data, at)
        assert check == masked(data[at:at + 8]), f"checksum of the length at {at}"
        body, (check,) = data[at + 12:at + 12 + length], struct.unpack_from("<I", data, at + 12 + length)
        assert len(body) == length and check == masked(body), f"checksum of the record at {at}"
        at += 16 + length
        yield body


def fields(data):
    """(number, value) of a message: an int, eight or four bytes, or a bytes object."""
    def varint(at):
        value, shift = 0, 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at
    at = 0
    while at < len(data):
        key, at = varint(at)
        kind = key & 7
        if kind == 0:
            value, at = varint(at)
        elif kind == 2:
            size, at = varint(at)
            value, at = data[at:at + size], at + size
            assert len(value) == size
        else:
            size = {1: 8, 5: 4}[kind]
            value, at = struct.unpack_from("<d" if kind == 1 else "<f", data, at)[0], at + size
        yield key >> 3, value


def events(path):
    """[(step, {tag: value}, starts)]; starts: a run goes on here."""
    found = []
    with open(path, "rb") as file:
        for number, body in enumerate(records(file.read())):
            event = dict(fields(body))
            assert 1.6e9 < event[1] < 1e10, "wall time"
            if number == 0:
                assert event[3] == b"brain.Event:2", event
                continue
            values = {}
            for _, value in fields(event.get(5, b"")):
                inner = dict(fields(value))
                values[inner[1].decode()] = inner[2]
            found.append((event.get(2, 0), values, dict(fields(event[7]))[1] == 1 if 7 in event else False))
    return found
