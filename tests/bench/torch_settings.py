# SPDX-License-Identifier: MIT
"""torch_settings: what the PyTorch partners of our benchmarks share: malloc's thresholds, and which libraries compute.

What a reader would get wrong: Debian's PyTorch calls whatever libblas.so.3 is; with the reference BLAS the loss alone
takes seconds and a comparison is a fake, so that the BLAS in use is printed.
"""
import os
import re
import sys

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


def tune_malloc():
    """Starts the script again with malloc told to keep its pages, unless it was."""
    if any(os.environ.get(k) != v for k, v in MALLOC.items()):
        os.environ.update(MALLOC)
        os.execv(sys.executable, [sys.executable] + sys.argv)


def blas(torch):
    """The BLAS that this process has loaded: call it after a matrix product."""
    if torch.backends.mkl.is_available():
        return "MKL"
    with open("/proc/self/maps") as maps:
        return "OpenBLAS" if "openblas" in maps.read() else "reference BLAS"


def describe(torch):
    onednn = re.search(r"MKL-DNN v([0-9.]+)", torch.__config__.show())
    return {"library": f"PyTorch {torch.__version__}", "onednn": onednn.group(1) if onednn else None, "blas": blas(torch)}
