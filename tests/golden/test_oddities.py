#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Odd files of oddities.py against Pillow: usage: test_oddities.py TOOL [--list]

A whole picture must have the plain file's pixels, a damaged one must be refused, and what Pillow reads must be read to
Pillow's pixels unless its own damage is known. The same verdicts must come from a part of each picture that reaches its
last row. The tool is tests/golden/tool_view.c; --list prints what Pillow does otherwise than libmoco.
"""
import io
import os
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image

import oddities
from view_tool import Tool


def pillow(content):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except Exception as why:  # whatever its plugins raise is a refusal
        return f"{type(why).__name__}: {why}"


def same(a, b):
    return not isinstance(a, str) and not isinstance(b, str) and a.shape == b.shape and bool((a == b).all())


def judge(tool, path, content, plain, whole):
    """What is wrong, or None; and what Pillow does otherwise."""
    with open(path, "wb") as out:
        out.write(content)
    ours, theirs, wanted = tool.decode(path), pillow(content), pillow(plain)
    h, w, _ = wanted.shape
    part = tool.part(path, (w // 2, h // 2, w - w // 2, h - h // 2))
    wrong = None
    if isinstance(wanted, str):
        wrong = f"Pillow does not read the plain picture: {wanted}"
    elif whole is None and (isinstance(ours, str) != isinstance(theirs, str) or not isinstance(ours, str) and not same(ours, theirs)):
        wrong = "Pillow judges otherwise"
    elif whole and not same(ours, wanted):
        wrong = f"whole, but {ours if isinstance(ours, str) else 'other pixels'}"
    elif whole is False and not isinstance(ours, str):
        wrong = "damaged, but read"
    elif part.startswith("ERROR") != isinstance(ours, str):
        wrong = f"of a part: {part}"
    elif whole and not isinstance(theirs, str) and not same(ours, theirs):
        wrong = "Pillow has other pixels"
    other = None
    if isinstance(theirs, str) != isinstance(ours, str):
        other = f"Pillow refuses it ({theirs})" if isinstance(theirs, str) else f"Pillow reads it (here: {ours})"
    return wrong, other


def main():
    tool = Tool(sys.argv[1])
    count = bad = others = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture")
        for kind, source in (("JPEG", oddities.jpegs), ("PNG", oddities.pngs)):
            for name, content, plain, whole in source():
                wrong, other = judge(tool, path, content, plain, whole)
                count += 1
                bad += wrong is not None
                others += other is not None
                if wrong is not None:
                    print(f"{kind} {name}: {wrong}")
                if other is not None and "--list" in sys.argv:
                    print(f"{kind} {name}: {other}")
    print(f"Pillow {Image.__version__}: {count} odd files, {bad} wrong, {others} that Pillow judges otherwise")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
