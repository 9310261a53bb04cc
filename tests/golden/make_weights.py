#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes files of torch.save of every form that moco/weights.h reads, and beside each what is in it.

usage: make_weights.py FOLDER [--full]

For each NAME.pth (or .legacy.pth) there is a NAME.txt: "tensor NAME DTYPE [shape] [stride] CRC-32" for each tensor in the
order of the file, the CRC-32 of its numbers in C order in the narrowest type of libmoco that holds them; "text KEY=VALUE"
for texts and numbers at the root; "note WORDS" that a note must hold. --full adds a checkpoint of MoCo v2 with ResNet-50
as the reference writes it (646 tensors, 163 momentum buffers), in both containers: 600 MB.

Run with Debian's PyTorch at test time; tests/golden/fixtures/weights-torch-2 was made by it with PyTorch 2.6, and
weights-torch-1.13/omegaconf.zip with OmegaConf 2.4.0, which Debian does not have: where it is missing that case is left out.
"""
import argparse
import collections
import functools
import importlib.util
import os
import pathlib
import sys
import zlib

import numpy as np
import torch
from torch import nn

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
WIDE = {torch.int32: torch.int64, torch.int16: torch.int64, torch.int8: torch.int64,
        torch.bool: torch.uint8}


def numbers(tensor):
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().tobytes()
    if tensor.dtype == torch.float16:
        return tensor.numpy().astype(np.float32).tobytes() # torch's versions differ in the bits of a NaN
    return tensor.to(WIDE.get(tensor.dtype, tensor.dtype)).numpy().tobytes()


def lines_of(value, path=()):
    """The walk of the reader: each container once."""
    seen, out = set(), []

    def visit(value, path):
        if isinstance(value, torch.Tensor):
            if value.dtype in NAMES and value.layout == torch.strided and not value.is_quantized:
                storage = value.storage() if hasattr(value, "storage") else value
                if value.numel() <= len(storage):
                    out.append("tensor %s %s [%s] [%s] %08x" % (
                        ".".join(path), NAMES[value.dtype], ",".join(map(str, value.shape)),
                        ",".join(map(str, value.stride())), zlib.crc32(numbers(value))))
        elif isinstance(value, (dict, list, tuple)) and not isinstance(value, torch.Size):
            if id(value) in seen or len(value) == 0:
                return
            seen.add(id(value))
            for key, content in (value.items() if isinstance(value, dict) else enumerate(value)):
                visit(content, path + (str(key),))

    visit(value, path)
    if isinstance(value, dict):
        for key, content in value.items():
            if isinstance(content, bool):
                out.append("text %s=%s" % (key, str(content).lower()))
            elif type(content) in (int, str):
                out.append("text %s=%s" % (key, content))
            elif type(content) is float:
                out.append("text %s=%r" % (key, content))
    return out


class Net(nn.Module):
    """The modules of a ResNet, once each."""

    def __init__(self, width=4, dim=6):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))


class MoCo(nn.Module):
    """State of the reference's builder: two encoders and a queue."""

    def __init__(self, make, dim, length):
        super().__init__()
        self.encoder_q, self.encoder_k = make(), make()
        for parameter in self.encoder_k.parameters():
            parameter.requires_grad = False
        self.register_buffer("queue", nn.functional.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


class Wrapped(nn.Module):
    """What DistributedDataParallel makes of the names."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def fill(model):
    """Numbers of its own for every buffer, so that one taken for another is seen."""
    for i, buffer in enumerate(model.buffers()):
        buffer.copy_(torch.full_like(buffer, 1000 + i) if buffer.ndim == 0 else torch.randn_like(buffer.float()).to(buffer.dtype))


def checkpoint(model, epoch=3):
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 0.03, momentum=0.9, weight_decay=1e-4)
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return {"epoch": epoch, "arch": "resnet50", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}


class Payload:
    """Pickles as a call of os.system: loading it by Python makes a file."""

    def __reduce__(self):
        return os.system, ("touch %s" % os.path.join(FOLDER, "payload-was-run"),)


def odd():
    base, many = torch.arange(24.).reshape(2, 3, 4), torch.randn(6, 5)
    made = collections.OrderedDict(
        transposed=many.t(), permuted=base.permute(2, 0, 1), offset=base[1, 1:], strided=many[::2, ::3], column=many[:, 2],
        shared_a=base[0], shared_b=base.view(-1)[3:9], scalar=torch.tensor(2.5), count=torch.tensor(7), none=torch.zeros(0, 3),
        nothing=torch.zeros(2, 0), windows=torch.arange(10.).unfold(0, 2, 2), empty_slice=base[2:],
        channels_last=torch.randn(3, 4, 5, 2).contiguous(memory_format=torch.channels_last), one=many[:1].t(),
        parameter=nn.Parameter(torch.randn(3)), frozen=nn.Parameter(torch.randn(2), requires_grad=False))
    for dtype, name in NAMES.items():
        if dtype.is_floating_point:
            values = torch.tensor([0., -0., 1.5, -2.75, 65504., 6e-8, 3e-5, float("inf"), float("nan")], dtype=torch.float64)
        else:
            values = torch.tensor([0, 1, 5, 127]) if name in ("U8", "I8", "BOOL") else torch.tensor([0, -1, 5, 32767])
        made["dtype." + name] = values.to(dtype)
        made["dtype.t." + name] = torch.stack([values, values]).to(dtype).t()
    made["long"] = torch.tensor([2 ** 62 + 1, -2 ** 63, 2 ** 53 + 1])
    return made


def cases():
    """name, object, words that a note must hold."""
    yield "moco", checkpoint(Wrapped(MoCo(Net, 6, 8))), []
    yield "plain", Net().state_dict(), []
    yield "odd", odd(), []
    last = Net().to(memory_format=torch.channels_last)
    yield "channels-last", {"state_dict": last.state_dict(), "best": 71.25, "flag": True}, []
    net = Net()
    yield "lightning", {
        "epoch": 12, "global_step": 4711, "pytorch-lightning_version": "1.9.5", "state_dict": net.state_dict(),
        "loops": {"fit_loop": {"epoch_progress": {"current": {"ready": 13}}}}, "lr_schedulers": [],
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "dirpath": pathlib.PosixPath("/x")}},
        "hyper_parameters": argparse.Namespace(lr=0.3, data=pathlib.PosixPath("/data"), optimizer=functools.partial(torch.optim.SGD, lr=0.1)),
        "optimizer_states": [checkpoint(net)["optimizer"]], "numpy": np.float64(1.5), "dict": collections.defaultdict(list, a=[1]),
        "sets": {1, 2}, "bytes": b"\x00\x01", "huge": {"n": 2 ** 70}, "deep": {"a": {"b": [{"c": torch.ones(2)}, 3]}},
    }, ["the pickle names argparse.Namespace, which was not called", "hyper_parameters is an object of a program, of which nothing was run (argparse.Namespace)"]
    if importlib.util.find_spec("omegaconf"):
        import omegaconf
        conf = omegaconf.OmegaConf.create({"lr": 0.3, "backbone": {"name": "resnet18"}, "crops": [224, 96], "none": None})
        yield "omegaconf", {"epoch": 2, "state_dict": Net().state_dict(), "hyper_parameters": conf, "cfg": {"inner": [conf]}}, [
            "the pickle names omegaconf.dictconfig.DictConfig, which was not called",
            "hyper_parameters is an object of a program, of which nothing was run (omegaconf.dictconfig.DictConfig)"]
    yield "evil", {"state_dict": Net().state_dict(), "callbacks": [Payload()]}, ["the pickle names posix.system, which was not called",
                                                                               "callbacks.0 is an object of a program, of which nothing was run (posix.system)"]
    yield "unread", {"a": torch.ones(2), "complex": torch.ones(2, dtype=torch.complex64), "expanded": torch.ones(1).expand(9),
                     "quantized": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
                     "sparse": torch.eye(3).to_sparse()}, ["complex has numbers of a type that is not read", "expanded has more elements than its storage"]
    yield "list", [torch.ones(2), (torch.zeros(3), [torch.arange(4)])], []
    yield "tensor", torch.randn(3, 2), []
    own = {"x": torch.ones(2)}
    own["again"] = own["x"]
    yield "itself", {"d": own, "e": own, "keys": {1: torch.zeros(1), (1, 2): torch.ones(5), "": torch.ones(3)}}, ["1 values stand under keys"]
    yield "many", {"w%04d" % i: torch.full((1,), float(i)) for i in range(1300)}, []


def write(folder, name, value, notes, full=False):
    forms = [("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})]
    if not full and name in ("moco", "lightning"):
        forms += [("protocol%d" % p, {"pickle_protocol": p}) for p in (3, 4, 5)]
    for form, options in forms:
        base = os.path.join(folder, "%s.%s" % (name, form))
        torch.save(value, base + ".pth", **options)
        lines = lines_of(value)
        if name == "itself":
            lines = [line for line in lines if "(1, 2)" not in line]
        with open(base + ".txt", "w") as out:
            out.write("\n".join(["format torch-%s" % ("legacy" if form == "legacy" else "zip")] + lines
                                + ["note " + note for note in notes]) + "\n")


def resnet50():
    import torchvision
    net = torchvision.models.resnet50(num_classes=128)
    net.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))
    return net


def main():
    global FOLDER
    FOLDER = sys.argv[1]
    os.makedirs(FOLDER, exist_ok=True)
    torch.manual_seed(1)
    with torch.no_grad():
        if "--full" in sys.argv:
            model = Wrapped(MoCo(resnet50, 128, 65536))
            fill(model)
            value = checkpoint(model, 199)
            assert len(value["state_dict"]) == 646 and len(value["optimizer"]["state"]) == 163
            write(FOLDER, "resnet50", value, [], True)
        else:
            for name, value, notes in cases():
                write(FOLDER, name, value, notes)
            torch.save(Net(), os.path.join(FOLDER, "module.pickled"))


main()
