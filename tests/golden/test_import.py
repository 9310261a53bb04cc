#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Encoders and training states of other programs, as PyTorch saves them, and what moco/import.h makes of them.

usage: test_import.py TOOL [--full]          (TOOL: build/tests/golden/tool_import)

Names and wrappings of each framework are made here from one network of torchvision's modules; a narrow ResNet-18 where
the layout alone matters. Every tensor must arrive to the last bit, features must be torchvision's, and what must be
refused is refused with the sentence that says why. --full: a checkpoint of MoCo v2 with ResNet-50 as the reference
writes it, in both containers of torch.save: 809 of 809 tensors (600 MB, minutes).
"""
import argparse
import collections
import os
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import torch
import torchvision
from torch import nn

TOOL = sys.argv[1]
DEVICE = os.environ.get("MOCO_TEST_DEVICE", "cpu")
FOLDER = None
STATUS = {}
failed = checks = 0


def statuses():
    text = open(os.path.join(os.path.dirname(__file__), "../../include/moco/status.h")).read()
    import re
    return {name: int(value) for name, value in re.findall(r"MOCO_(E[A-Z0-9]+) = (-\d+)", text)}


def fail(what):
    global failed
    failed += 1
    print("FAILED " + what)


def check(truth, what):
    global checks
    checks += 1
    if not truth:
        fail(what)


# ---- networks ----

class Narrow(torchvision.models.ResNet):
    """torchvision's ResNet with another number of channels in its stem, and stages that follow from it."""

    def __init__(self, block, layers, width, stem=7, classes=10):
        nn.Module.__init__(self)
        self._norm_layer, self.dilation, self.groups, self.base_width, self.inplanes = nn.BatchNorm2d, 1, 1, 64, width
        self.conv1 = nn.Conv2d(3, width, stem, 2 if stem == 7 else 1, stem // 2, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        for i, count in enumerate(layers):
            setattr(self, "layer%d" % (i + 1), self._make_layer(block, width << i, count, 1 if i == 0 else 2))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear((width << 3) * block.expansion, classes)


BASIC, BOTTLENECK = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck


def fill(model):
    """Numbers of its own for every buffer, so that one taken for another is seen."""
    with torch.no_grad():
        for i, (name, buffer) in enumerate(model.named_buffers()):
            buffer.copy_(torch.full_like(buffer, 1000 + i) if buffer.ndim == 0 else
                         torch.rand_like(buffer) + 0.5 if name.endswith("var") else 0.1 * torch.randn_like(buffer))
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.01)
    return model


def narrow(width=8, stem=7, classes=10):
    return fill(Narrow(BASIC, [2, 2, 2, 2], width, stem, classes))


def mlp(features, hidden, dim):
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, dim))


class MoCo(nn.Module):
    """State of the reference's builder."""

    def __init__(self, make, dim, length):
        super().__init__()
        self.encoder_q, self.encoder_k = make(), make()
        for parameter in self.encoder_k.parameters():
            parameter.requires_grad = False
        self.register_buffer("queue", nn.functional.normalize(torch.randn(dim, length), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


def with_head(net, dim=16, linear=False):
    features = net.fc.in_features
    net.fc = nn.Linear(features, dim) if linear else mlp(features, features, dim)
    return net


def moco(linear=False, length=12):
    model = MoCo(lambda: fill(with_head(narrow(), 16, linear)), 16, length)
    model.queue_ptr[0] = 5
    return model


def checkpoint(model, epoch=7, wrapped=True):
    model = Wrapped(model) if wrapped else model
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 0.03, momentum=0.9, weight_decay=1e-4)
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"epoch": epoch, "arch": "resnet18", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}


# ---- the tool ----

def crc(tensor, real=torch.float32):
    tensor = tensor.detach().contiguous()
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(torch.float64 if DEVICE == "ref" else real)
    return "%08x" % zlib.crc32(tensor.numpy().tobytes())


class Result:
    def __init__(self, text):
        self.text, self.tensors, self.counts, self.lines = text, {}, {}, collections.defaultdict(list)
        self.error = self.status = self.model = self.feature = self.cursor = self.memory = self.prefix = self.fresh = None
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "tensor":
                name, value = rest.split()
                self.tensors[name] = value
            elif kind == "count":
                self.counts[int(rest.split()[0])] = int(rest.split()[1])
            elif kind == "line":
                self.lines[int(rest.split()[0])].append(rest.partition(" ")[2])
            elif kind == "error":
                self.status, self.error = int(rest.split()[0]), rest.partition(" ")[2]
            elif kind == "feature":
                self.feature = np.array([float(x) for x in rest.split()])
            elif kind in ("cursor", "memory"):
                setattr(self, kind, [int(x) for x in rest.split()])
            else:
                setattr(self, kind, rest)


def run(what, path, **words):
    command = [TOOL, what, path, "device=" + DEVICE] + ["%s=%s" % item for item in words.items() if item[1] is not None]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        fail("%s: status %d, %s" % (" ".join(command), done.returncode, done.stderr))
    result = Result(done.stdout)
    if result.error is None:
        for kind, lines in result.lines.items():
            if result.counts.get(kind) != len(lines):
                fail("%s: %d lines of kind %d, counted %s" % (path, len(lines), kind, result.counts.get(kind)))
    return result


def save(value, name, **options):
    path = os.path.join(FOLDER, name)
    torch.save(value, path, **options)
    return path


def compare(label, result, expected, model=None, absent=()):
    """Names of ours to tensors; `absent`: heads that were drawn, whose numbers are not known here."""
    global checks
    checks += 1
    if result.error is not None:
        fail("%s: %s" % (label, result.error))
        return
    if model is not None and result.model != model:
        fail("%s: %s instead of %s" % (label, result.model, model))
    names = {n for n in result.tensors if not n.startswith(tuple(absent))} if absent else set(result.tensors)
    wrong = sorted(names ^ set(expected)) + [n for n in sorted(names & set(expected)) if result.tensors[n] != crc(expected[n])]
    if wrong:
        fail("%s: %d tensors differ: %s" % (label, len(wrong), wrong[:4]))


def refused(label, result, status, *words):
    check(result.error is not None and result.status == STATUS[status] and all(w in result.error for w in words)
          and not result.tensors, "%s: %s, %s; wanted %s, %s" % (label, result.status, result.error, status, words))


def backbone(net):
    return {k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}


def under(prefix, state):
    return collections.OrderedDict((prefix + k, v) for k, v in state.items())


# ---- what comes in ----

PLAIN = "resnet18 imagenet mlp 0.125 128"


def test_containers():
    net = narrow()
    state = net.state_dict()
    assert hasattr(state, "_metadata")
    wanted = backbone(net)
    for form, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        for name, value in (("root", state), ("model", {"model": state}), ("state_dict", {"state_dict": state, "epoch": 3}),
                            ("ddp", Wrapped(net).state_dict()), ("compile", under("_orig_mod.module.", state)),
                            ("fsdp", {"model": under("_fsdp_wrapped_module.", state)})):
            r = run("model", save(value, name + "." + form + ".pth", **options))
            compare(name + " " + form, r, wanted, PLAIN, ("fc.",))
            check(r.counts[6] == (len(wanted) if form == "legacy" else 0) and r.counts[2] == 2 and r.counts[0] == len(wanted)
                  and r.fresh == "1" and any("fc is taken for a classifier" in x for x in r.lines[7]), "%s %s: counts" % (name, form))
    inner = collections.OrderedDict((k.replace("layer1.0.", "layer1._fsdp_wrapped_module.0."), v) for k, v in state.items())
    compare("wrappers within", run("model", save(inner, "inner.pth")), wanted, PLAIN, ("fc.",))
    try:
        from safetensors.torch import save_file
        path = os.path.join(FOLDER, "x.safetensors")
        save_file({k: v.contiguous() for k, v in state.items()}, path)
        r = run("model", path)
        compare("safetensors", r, wanted, PLAIN, ("fc.",))
        check(r.counts[6] == len(wanted), "safetensors: unverified")
    except ImportError:
        print("not tested here: safetensors by its own writer (no such module)")


def test_torchvision():
    torch.manual_seed(3)
    images = torch.randn(2, 3, 64, 64)
    path = os.path.join(FOLDER, "images")
    images.numpy().tofile(path)
    for arch in ("resnet18", "resnet50"):
        net = fill(getattr(torchvision.models, arch)()).eval()
        r = run("model", save(net.state_dict(), arch + ".pth"), features=path, quiet=1)
        compare(arch, r, backbone(net), arch + " imagenet mlp 1 128", ("fc.",))
        double = net.double()
        double.fc = nn.Identity()
        exact = double(images.double()).detach().numpy().ravel()
        own = net.float()(images).detach().numpy().ravel()
        error, theirs = (np.linalg.norm(x - exact) / np.linalg.norm(exact) for x in (r.feature, own))
        check(error <= 4 * theirs + 1e-6, "%s: features are off by %g, torchvision's own by %g" % (arch, error, theirs))


def test_kinds():
    net = narrow()
    last = narrow().to(memory_format=torch.channels_last)
    compare("channels_last", run("model", save(last.state_dict(), "last.pth")), backbone(last), PLAIN, ("fc.",))
    for dtype, count in ((torch.float16, 5), (torch.bfloat16, 5), (torch.float64, 4)):
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
        if dtype == torch.float64:
            state = {k: v + torch.rand_like(v) * 1e-9 if v.is_floating_point() else v for k, v in state.items()}
        r = run("model", save(state, str(dtype) + ".pth"))
        compare(str(dtype), r, {k: v for k, v in state.items() if not k.startswith("fc.")}, PLAIN, ("fc.",))
        reals = sum(v.is_floating_point() for k, v in backbone(net).items())
        check(r.counts[count] == (reals if count == 5 or DEVICE != "ref" else 0), "%s: counted %s" % (dtype, r.counts))
    old = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
    r = run("model", save(old, "old.pth"))
    zero = {k: torch.zeros_like(v) if "num_batches" in k else v for k, v in backbone(net).items()}
    compare("torch 0.4", r, zero, PLAIN, ("fc.",))
    check(r.counts[1] == 20 and "bn1.num_batches_tracked is not there; it is 0" in r.lines[1], "torch 0.4: %s" % r.counts)
    wide = fill(Narrow(BOTTLENECK, [3, 4, 6, 3], 4))
    compare("bottlenecks", run("model", save(wide.state_dict(), "r50.pth")), backbone(wide), "resnet50 imagenet mlp 0.0625 128", ("fc.",))
    for stem in ("cifar", "small"):
        small = narrow(stem=3)
        path = save(small.state_dict(), "small.pth")
        compare(stem, run("model", path, stem=stem), backbone(small), "resnet18 %s mlp 0.125 128" % stem, ("fc.",))


def test_moco():
    for linear in (False, True):
        model = moco(linear)
        kind = "resnet18 imagenet %s 0.125 16" % ("linear" if linear else "mlp")
        for form in ("zip", "legacy"):
            path = save(checkpoint(model), "moco.%s.pth.tar" % form, _use_new_zipfile_serialization=form == "zip")
            compare("official query " + form, run("model", path), model.encoder_q.state_dict(), kind)
            compare("official key " + form, run("model", path, which="key"), model.encoder_k.state_dict(), kind)
            r = run("model", path, prefix="state_dict.module.encoder_k")
            compare("official by prefix " + form, r, model.encoder_k.state_dict(), kind)
            check(r.prefix == "state_dict.module.encoder_k.", "prefix: %s" % r.prefix)
        compare("by a stripped prefix", run("model", path, prefix="state_dict.encoder_q."), model.encoder_q.state_dict(), kind)
        found = run("list", path).text.splitlines()
        check(found == ["candidate 0 state_dict.module.encoder_q.", "candidate 1 state_dict.module.encoder_k."], "list: %s" % found)
        compare("a fresh head", run("model", path, take="fresh", dim=32), backbone(model.encoder_q), "resnet18 imagenet mlp 0.125 32", ("fc.",))
        compare("another dim", run("model", path, dim=32), backbone(model.encoder_q), "resnet18 imagenet mlp 0.125 32", ("fc.",))
        refused("another dim, taken", run("model", path, dim=32, take="take"), "EFORMAT", "another than the options ask for")


def frameworks():
    """name, file, words for the tool, our names to tensors, model."""
    q, k = narrow(), narrow()
    features = q.fc.in_features
    head, key_head = mlp(features, features, 16), mlp(features, features, 16)
    both = lambda net, top: {**backbone(net), **under("fc.", top.state_dict())}
    queue = {"queue": torch.randn(2, 16, 12), "queue_ptr": torch.tensor([4])}
    full = "resnet18 imagenet mlp 0.125 16"
    for old in (False, True):
        prefixes = ("encoder.", "momentum_encoder.") if old else ("backbone.", "momentum_backbone.")
        state = {**under(prefixes[0], backbone(q)), **under("projector.", head.state_dict()), **under("classifier.", nn.Linear(features, 10).state_dict()),
                 **under(prefixes[1], backbone(k)), **under("momentum_projector.", key_head.state_dict()), **queue}
        value = {"epoch": 99, "global_step": 5, "state_dict": state, "hyper_parameters": argparse.Namespace(lr=0.3), "optimizer_states": []}
        yield "solo-learn%s" % (" (old)" if old else ""), value, {}, both(q, head), full
        yield "solo-learn key%s" % (" (old)" if old else ""), value, {"which": "key"}, both(k, key_head), full
    numbered = lambda net: nn.Sequential(*list(net.children())[:-1]).state_dict()
    value = {"state_dict": {**under("backbone.", numbered(q)), **under("projection_head.layers.", head.state_dict()),
                            **under("key_backbone.", numbered(k)), **under("key_projection_head.layers.", key_head.state_dict()),
                            **under("online_classifier.", nn.Linear(features, 10).state_dict())}}
    yield "lightly benchmark", value, {}, both(q, head), full
    yield "lightly benchmark key", value, {"which": "key"}, both(k, key_head), full
    value = {**under("backbone.", numbered(q)), **under("projection_head.layers.", head.state_dict()),
             **under("backbone_momentum.", numbered(k)), **under("projection_head_momentum.layers.", key_head.state_dict())}
    yield "lightly examples", value, {}, both(q, head), full
    yield "lightly examples key", value, {"which": "key"}, both(k, key_head), full
    yield "numbered, alone", numbered(q), {}, backbone(q), None
    value = {"state_dict": {**under("backbone.", backbone(q)), **under("neck.mlp.", head.state_dict()), **queue,
                            **under("encoder_k.module.0.", backbone(k)), **under("encoder_k.module.1.mlp.", key_head.state_dict())}}
    yield "MMPretrain", value, {}, both(q, head), full
    yield "MMPretrain key", value, {"which": "key"}, both(k, key_head), full
    twice = {**under("encoder_q.0.", backbone(q)), **under("backbone.", backbone(q)), **under("encoder_q.1.mlp.", head.state_dict()),
             **under("encoder_k.0.", backbone(k)), **under("encoder_k.1.mlp.", key_head.state_dict())}
    yield "MMSelfSup", {"state_dict": twice}, {}, both(q, head), full
    yield "MMSelfSup key", {"state_dict": twice}, {"which": "key"}, both(k, key_head), full
    three = nn.Sequential(nn.Linear(features, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8, bias=False), nn.BatchNorm1d(8))
    value = {"state_dict": {**under("module.base_encoder.", backbone(q)), **under("module.base_encoder.fc.", three.state_dict()),
                            **under("module.momentum_encoder.", backbone(k)), **under("module.predictor.", three.state_dict())}}
    yield "MoCo v3", value, {}, backbone(q), None
    yield "MoCo v3 key", value, {"which": "key"}, backbone(k), None
    yield "SimSiam", {"state_dict": {**under("module.encoder.", backbone(q)), **under("module.encoder.fc.", three.state_dict())}}, {}, backbone(q), None
    yield "VISSL", {"classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", backbone(q))}}}}, {}, backbone(q), None
    yield "timm EMA", {"state_dict": under("", narrow().state_dict()), "state_dict_ema": q.state_dict()}, {"prefix": "state_dict_ema."}, backbone(q), None


def test_frameworks():
    for name, value, words, wanted, model in frameworks():
        r = run("model", save(value, "framework.pth"), **words)
        compare(name, r, wanted, model or PLAIN, () if model else ("fc.",))
        check(r.fresh == ("0" if model else "1"), "%s: fresh %s" % (name, r.fresh))


class Payload:
    def __reduce__(self):
        return os.system, ("touch %s" % os.path.join(FOLDER, "payload-was-run"),)


def test_objects():
    net = narrow()
    value = {"state_dict": under("model.", net.state_dict()), "hyper_parameters": argparse.Namespace(lr=0.1, when=collections.defaultdict(list)),
             "callbacks": [Payload()]}
    compare("an object beside", run("model", save(value, "evil.pth")), backbone(net), PLAIN, ("fc.",))
    value["state_dict"]["model.layer2.0.bn1.weight"] = Payload()
    refused("an object inside", run("model", save(value, "inside.pth")), "EFORMAT", "layer2.0.bn1.weight is an object of a program")
    check(not os.path.exists(os.path.join(FOLDER, "payload-was-run")), "a payload was run")
    try:
        import omegaconf
        conf = omegaconf.OmegaConf.create({"lr": 0.3, "backbone": {"name": "resnet18"}, "list": [1, 2]})
        compare("OmegaConf", run("model", save({"state_dict": net.state_dict(), "hyper_parameters": conf, "cfg": {"inner": conf}}, "omega.pth")),
                backbone(net), PLAIN, ("fc.",))
    except ImportError:
        print("not tested here: OmegaConf (no such module)")


def test_refused():
    net = narrow()

    def changed(name, make):
        state = net.state_dict()
        if make is None:
            del state[name]
        else:
            state[name] = make(state[name])
        return save(state, "changed.pth")

    def number(value, at):
        def make(tensor):
            tensor = tensor.clone()
            tensor.view(-1)[at] = value
            return tensor
        return make

    bn = "layer3.1.bn2.running_var"
    refused("missing", run("model", changed(bn, None)), "EFORMAT", "there is no tensor " + bn)
    refused("shape", run("model", changed(bn, lambda t: t[:-1].clone())), "EFORMAT", bn + " is [31]", "has [32] there")
    refused("ndim", run("model", changed(bn, lambda t: t[None].clone())), "EFORMAT", bn + " is [1,32]")
    refused("integers", run("model", changed(bn, lambda t: t.long())), "EFORMAT", bn + " is I64; weights are")
    refused("NaN", run("model", changed("layer2.0.conv2.weight", number(float("nan"), 5))), "EFORMAT",
            "number 5 of layer2.0.conv2.weight is nan, which is not finite")
    refused("inf", run("model", changed(bn, number(float("inf"), 0))), "EFORMAT", "number 0 of %s is inf" % bn)
    refused("variance", run("model", changed(bn, number(-1, 3))), "EFORMAT", "number 3 of %s is -1" % bn, "never below 0")
    refused("count", run("model", changed("bn1.num_batches_tracked", lambda t: t - 2000)), "EFORMAT", "bn1.num_batches_tracked")
    if DEVICE != "ref":
        refused("f64 beyond f32", run("model", changed(bn, lambda t: t.double() * 1e300)), "EFORMAT", "not finite in f32")
    r = run("model", changed("layer1.0.conv1.weight", lambda t: torch.randn(16, 8, 3, 3)))
    refused("another width", r, "EFORMAT", "layer1.0.conv1.weight is [16,8,3,3]", "has [8,8,3,3] there")
    for name, make, words in (
            ("wide_resnet50_2", torchvision.models.wide_resnet50_2, ("layer1.0.conv1.weight is [128,64,1,1]", "others do not fit")),
            ("resnext50", torchvision.models.resnext50_32x4d, ("layer1.0.conv1.weight is [128,64,1,1]",)),
            ("vgg", lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), ("there is no ResNet in it",))):
        refused(name, run("model", save(make().state_dict(), "other.pth"), quiet=1), "ENOTFOUND" if name == "vgg" else "EFORMAT", *words)
    deep = {("conv1.0.weight" if k == "conv1.weight" else k): v for k, v in net.state_dict().items()}
    refused("resnet-d", run("model", save(deep, "deep.pth")), "EFORMAT", "conv1.0.weight is there and no conv1.weight", "resnet-d")
    refused("26 layers", run("model", save(Narrow(BOTTLENECK, [2, 2, 2, 2], 8).state_dict(), "r26.pth")), "EFORMAT", "2, 2, 2 and 2 bottlenecks")
    refused("a 3x3 stem", run("model", save(narrow(stem=3).state_dict(), "s.pth")), "EINVAL", "no shape tells its stride", "cifar", "small")
    refused("not that stem", run("model", save(net.state_dict(), "s.pth"), stem="cifar"), "EINVAL", "conv1.weight is a 7x7 convolution; the stem cifar has 3x3")
    refused("grey", run("model", changed("conv1.weight", lambda t: t[:, :1].clone())), "EFORMAT", "conv1.weight is [8,1,7,7]")
    two = {**under("student.", net.state_dict()), **under("teacher.", net.state_dict())}
    two["teacher.conv1.weight"] = two["teacher.conv1.weight"].clone()
    path = save(two, "two.pth")
    refused("two", run("model", path), "EINVAL", "which encoder?", '"student.", "teacher."', "--prefix")
    compare("one of two", run("model", path, prefix="teacher"), backbone(net), PLAIN, ("fc.",))
    refused("no such prefix", run("model", path, prefix="nobody."), "ENOTFOUND", 'no ResNet begins with "nobody."', '"student.", "teacher."')
    refused("no key", run("model", save(net.state_dict(), "s.pth"), which="key"), "ENOTFOUND", "no key encoder")
    refused("no head", run("model", save(backbone(net), "s.pth"), take="take"), "EFORMAT", "no head")
    wide = {**under("encoder_q.", backbone(net)), **under("encoder_q.fc.", mlp(64, 32, 16).state_dict())}
    r = run("model", save(wide, "w.pth"))
    compare("a head of another hidden layer", r, backbone(net), PLAIN, ("fc.",))
    check(any("hidden layer" in x for x in r.lines[7]), "hidden layer: %s" % r.lines[7])
    doubled = {**net.state_dict(), "module.conv1.weight": net.conv1.weight.detach().clone()}
    refused("two of a name", run("model", save(doubled, "d.pth"), prefix=""), "EFORMAT", "two tensors named")
    doubled = {**net.state_dict(), "module.layer1.0.bn1.bias": net.layer1[0].bn1.bias.detach().clone()}
    refused("two of a name", run("model", save(doubled, "d.pth")), "EFORMAT", "two tensors named layer1.0.bn1.bias")
    unread = net.state_dict()
    unread["bn1.weight"] = torch.ones(8, dtype=torch.complex64)
    refused("complex", run("model", save(unread, "c.pth")), "EFORMAT", "bn1.weight", "complex")


# ---- training states ----

def state_of(model, value, directions=1):
    optimizer = value["optimizer"]["state"]
    wanted = {"queue": model.queue, "queue_ptr": model.queue_ptr}
    for name in ("encoder_q", "encoder_k"):
        wanted.update(under(name + ".", getattr(model, name).state_dict()))
    for i, (name, _) in enumerate(model.encoder_q.named_parameters()):
        wanted["momentum.encoder_q." + name] = optimizer[i]["momentum_buffer"] if optimizer else torch.zeros_like(_)
    return wanted


STATE = dict(arch="resnet18", width="0.125", dim=16, queue=12)


def test_states():
    for linear in (False, True):
        model = moco(linear)
        words = dict(STATE, head="linear" if linear else "mlp")
        for form in ("zip", "legacy"):
            value = checkpoint(model)
            r = run("state", save(value, "s.%s" % form, _use_new_zipfile_serialization=form == "zip"), **words)
            compare("state %s" % form, r, state_of(model, value))
            step = int(model.encoder_q.bn1.num_batches_tracked)
            check(r.cursor == [step, 7, 0] and r.counts[2] == 0 and r.counts[1] == 0, "state: %s %s" % (r.cursor, r.counts))
        check(run("state", save(value, "s"), symmetric=1, **words).cursor == [step // 2, 7, 0], "a symmetric step")
    model = moco()
    value = checkpoint(model, wrapped=False)
    value["optimizer"]["state"] = {}
    r = run("state", save(value, "s"), **STATE)
    compare("no step was made", r, state_of(model, value))
    check(any("no momentum" in x for x in r.lines[1]), "no momentum: %s" % r.lines[1])
    value = checkpoint(model)
    ids = {i: (1 << 40) + 7 * (1000 - i) for i in range(len(value["optimizer"]["param_groups"][0]["params"]))}
    old = {"state": {ids[i]: s for i, s in value["optimizer"]["state"].items()},
           "param_groups": [dict(value["optimizer"]["param_groups"][0], params=list(ids.values()))]}
    compare("ids of torch before 1.5", run("state", save(dict(value, optimizer=old), "s"), **STATE), state_of(model, value))
    bare = {k[7:]: v for k, v in value["state_dict"].items()}
    r = run("state", save(bare, "s"), **STATE)
    compare("a bare state", r, state_of(model, {"optimizer": {"state": {}}}))
    check(r.cursor[1] == 0 and r.counts[1] == 2, "a bare state: %s" % r.counts)
    mixed = checkpoint(model)
    places = mixed["optimizer"]["param_groups"][0]["params"]
    half = len(places) // 2
    places[:half] = reversed(places[:half])
    r = run("state", save(mixed, "s"), **STATE)
    compare("another order", r, state_of(model, {"optimizer": {"state": {}}}))
    check(r.counts[3] == 1 and "not in the order" in r.lines[3][0], "another order: %s" % r.lines[3])


def test_solo_queue():
    q, k = narrow(), narrow()
    heads = [mlp(64, 64, 16) for _ in range(2)]
    queue = torch.randn(2, 16, 12)
    state = {**under("backbone.", backbone(q)), **under("projector.", heads[0].state_dict()), **under("momentum_backbone.", backbone(k)),
             **under("momentum_projector.", heads[1].state_dict()), "queue": queue, "queue_ptr": torch.tensor([5])}
    path = save({"state_dict": state, "epoch": 2}, "solo.pth")
    wanted = {**under("encoder_q.", backbone(q)), **under("encoder_q.fc.", heads[0].state_dict()), **under("encoder_k.", backbone(k)),
              **under("encoder_k.fc.", heads[1].state_dict())}
    first = dict(wanted, queue=queue[0], queue_ptr=torch.tensor([5]))
    both = dict(wanted, queue=queue.permute(1, 2, 0).reshape(16, 24), queue_ptr=torch.tensor([10]))
    r = run("state", path, **STATE)
    compare("solo-learn, one view", r, first, absent=("momentum.",))
    check(any("keys of two views" in x for x in r.lines[7]), "solo-learn: %s" % r.lines[7])
    compare("solo-learn, both views", run("state", path, **dict(STATE, queue=24, symmetric=1)), both, absent=("momentum.",))
    del state["queue"], state["queue_ptr"]
    r = run("state", save(state, "solo.pth"), **STATE)
    check(r.error is None and any("no queue" in x for x in r.lines[1]), "no queue: %s %s" % (r.error, r.lines[1]))


def test_states_refused():
    """Nothing of the trainer changes."""
    model = moco()
    untouched = run("state", save(narrow().state_dict(), "s"), **STATE)
    check(untouched.status == STATUS["EFORMAT"] or untouched.status == STATUS["ENOTFOUND"], "a classifier is no state")

    def changed(label, words, make, settings=STATE):
        value = checkpoint(moco())
        make(value)
        r = run("state", save(value, "s"), **settings)
        same = r.tensors == untouched.tensors if settings == STATE else True
        check(r.error is not None and r.status == STATUS["EFORMAT"] and all(w in r.error for w in words) and same
              and r.cursor == [0, 0, 0], "%s: %s %s (unchanged: %s)" % (label, r.status, r.error, same))

    def number(part, name, value):
        def make(file):
            tensor = part(file)[name]
            tensor = tensor.clone()
            tensor.view(-1)[1] = value
            part(file)[name] = tensor
        return make

    nan = float("nan")
    state = lambda file: file["state_dict"]
    changed("NaN in the key encoder", ("number 1 of state_dict.module.encoder_k.fc.2.bias is nan",), number(state, "module.encoder_k.fc.2.bias", nan))
    changed("NaN in the queue", ("number 1 of state_dict.module.queue is nan",), number(state, "module.queue", nan))
    changed("NaN in the momentum", ("optimizer.state.3.momentum_buffer is nan",), number(lambda f: f["optimizer"]["state"][3], "momentum_buffer", nan))
    changed("queue_ptr", ("queue_ptr is outside the queue of 12 keys",), lambda f: state(f).update({"module.queue_ptr": torch.tensor([12])}))
    changed("queue", ("the last two 16 and 11",), lambda f: state(f).update({"module.queue": torch.randn(16, 11)}))
    changed("missing", ("there is no tensor state_dict.module.encoder_k.layer1.0.bn1.bias",), lambda f: state(f).pop("module.encoder_k.layer1.0.bn1.bias"))
    changed("no head", ("no head",), lambda f: [state(f).pop("module.encoder_q.fc.%d.%s" % (i, k)) for i in (0, 2) for k in ("weight", "bias")])
    for settings, words in ((dict(STATE, dim=8), "of 8"), (dict(STATE, width="0.25"), "width 0.25"), (dict(STATE, arch="resnet34"), "resnet34"),
                            (dict(STATE, head="linear"), "linear")):
        changed("another trainer %s" % words, ("the trainer's is a", words), lambda f: None, settings)


def test_memory():
    """The model, one tensor as doubles, and 1 MiB; the file's own tables were taken before."""
    net = fill(torchvision.models.resnet18())
    r = run("model", save(net.state_dict(), "m.pth"), quiet=1)
    largest = 8 * 512 * 512 * 9
    check(r.memory[1] <= r.memory[0] + largest + (1 << 20), "memory: %s, %d" % (r.memory, largest))


def full():
    torch.manual_seed(1)

    def make():
        net = torchvision.models.resnet50()
        return fill(with_head(net, 128))

    model = MoCo(make, 128, 65536)
    model.queue_ptr[0] = 1792
    value = checkpoint(model, 200)
    assert len(value["state_dict"]) == 646 and len(value["optimizer"]["state"]) == 163
    wanted = state_of(model, value)
    assert len(wanted) == 646 + 163
    for form in ("zip", "legacy"):
        path = save(value, "full.pth.tar", _use_new_zipfile_serialization=form == "zip")
        r = run("state", path, arch="resnet50", queue=65536, quiet=1)
        compare("ResNet-50 " + form, r, wanted)
        equal = sum(r.tensors.get(n) == crc(t) for n, t in wanted.items())
        check(r.counts[0] == 809 and r.counts[2] == 0 and r.cursor[1:] == [200, 0], "ResNet-50: %s %s" % (r.counts, r.cursor))
        print("%s: %d of 809 tensors bit-equal; %.0f MB beside the trainer while importing" % (form, equal, r.memory[1] / 1e6))
        os.unlink(path)


def main():
    global FOLDER, STATUS
    STATUS = statuses()
    torch.manual_seed(7)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as FOLDER:
        for test in ((full,) if "--full" in sys.argv else (test_containers, test_torchvision, test_kinds, test_moco, test_frameworks, test_objects,
                                                          test_refused, test_states, test_solo_queue, test_states_refused, test_memory)):
            test()
    print("%d checks, %d failed" % (checks, failed))
    return failed > 0


sys.exit(main())
