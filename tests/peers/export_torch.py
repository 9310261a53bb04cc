"""Files of moco/export.h in the hands of PyTorch: export_torch.py FOLDER SIDE, where tool_export wrote them.

Debian's torch and torchvision; timm from build/peers-timm, where CI puts it. With a third argument, "modern", torch is of
version 2 or later, which also maps files, and transformers is there too (peer_debian13.sh). Prints a line for each reader; an
assertion that does not hold ends it with status 1.
"""
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import torch
import torchvision

folder, side, modern = sys.argv[1], int(sys.argv[2]), "modern" in sys.argv[3:]
here = os.path.dirname(os.path.abspath(__file__))
CHECKED = 0


def path(name):
    return os.path.join(folder, name)


def said(line):
    global CHECKED
    CHECKED += 1
    print(line)


def raw(name, dtype, *shape):
    return np.fromfile(path(name), dtype).reshape(shape)


def state_by_name():
    """The training state as moco_trainer_get gave it."""
    numbers, at, found = np.fromfile(path("state.raw"), np.uint8), 0, {}
    for line in open(path("state.txt")):
        name, dtype, count = line.split()
        size = int(count) * np.dtype(dtype).itemsize
        found[name] = numbers[at : at + size].view(dtype)
        at += size
    assert at == len(numbers)
    return found


def same(tensor, wanted, name):
    """Bit for bit."""
    got = tensor.numpy().reshape(-1)
    assert got.dtype == wanted.dtype and got.tobytes() == wanted.tobytes(), name


def close(got, wanted, name, bound=1e-5):
    error = np.abs(got - wanted).max() / np.abs(wanted).max()
    assert error < bound, (name, error)
    return error


def features_of(network):
    network.eval()
    with torch.no_grad():
        return network(torch.from_numpy(raw("planes3.raw", np.float32, 3, 3, side, side))).flatten(1).numpy()


def wanted_features():
    return np.fromfile(path("features3.f32.raw"), np.float32).reshape(3, -1)


def load(name):
    """By torch's reader of safe pickles, which knew no float before torch 2 (of the optimizer's learning rate)."""
    safe = int(torch.__version__.split(".")[0]) >= 2 or not name.endswith(".tar")
    return torch.load(path(name), map_location="cpu", weights_only=safe)


def torchvision_strict(state):
    weights = load("backbone.pth")
    assert list(weights)[:2] == ["conv1.weight", "bn1.weight"] and len(weights) == 318
    for name, tensor in weights.items():
        same(tensor, state["encoder_q." + name], name)
    network = torchvision.models.resnet50()
    network.fc = torch.nn.Identity()
    network.load_state_dict(weights, strict=True)
    error = close(features_of(network), wanted_features(), "torchvision")
    said(f"torchvision {torchvision.__version__}: 318 of 318 tensors of the .pth to the bit, strict; features {error:.1e}")
    whole = load("whole.pth")
    assert len(whole) == 322 and set(whole) - set(weights) == {f"fc.{i}.{k}" for i in (0, 2) for k in ("weight", "bias")}
    for name, tensor in whole.items():
        same(tensor, state["encoder_q." + name], name)
    said("torch.load: 322 of 322 tensors of the .pth with its head to the bit")


class ReferenceMoCo(torch.nn.Module):
    """The reference's builder.py, in what its state dict has."""

    def __init__(self, dim, length):
        super().__init__()
        self.encoder_q, self.encoder_k = (torchvision.models.resnet50(num_classes=dim) for _ in range(2))
        for encoder in (self.encoder_q, self.encoder_k):
            hidden = encoder.fc.weight.shape[1]
            encoder.fc = torch.nn.Sequential(torch.nn.Linear(hidden, hidden), torch.nn.ReLU(), encoder.fc)
        for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            k.requires_grad = False
        self.register_buffer("queue", torch.zeros(dim, length))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


def reference_resumes(state, file):
    checkpoint = load(file)
    assert sorted(checkpoint) == ["arch", "epoch", "optimizer", "state_dict"]
    assert (checkpoint["epoch"], checkpoint["arch"]) == (7, "resnet50")
    model = torch.nn.Module()
    model.module = ReferenceMoCo(128, 64)
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.1, weight_decay=0.7)
    assert len(checkpoint["state_dict"]) == 646
    model.load_state_dict(checkpoint["state_dict"], strict=True)
    optimizer.load_state_dict(checkpoint["optimizer"])
    for name, tensor in model.module.state_dict().items():
        same(tensor, state[name], name)
    assert int(model.module.queue_ptr) == 12 and float(model.module.queue.norm()) > 0
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.03, 0.9, 1e-4, False)
    count = 0
    for name, parameter in model.module.encoder_q.named_parameters():
        same(optimizer.state[parameter]["momentum_buffer"], state["momentum.encoder_q." + name], name)
        count += 1
    assert count == len(optimizer.state) == 163
    parameter = next(model.module.encoder_q.parameters())
    before, momentum = parameter.detach().clone(), optimizer.state[parameter]["momentum_buffer"].clone()
    model.module.encoder_q(torch.rand(2, 3, side, side)).square().sum().backward()
    step = group["momentum"] * momentum + parameter.grad + group["weight_decay"] * before
    optimizer.step()
    assert torch.allclose(parameter, before - group["lr"] * step, rtol=1e-5, atol=1e-6)
    said(f"{file}: the reference's module and SGD: 646 of 646 tensors, 163 of 163 momenta to the bit, and a step from there")


def detectron2_reads(state):
    with open(path("backbone.pkl"), "rb") as file:
        data = pickle.load(file)
    assert data["matching_heuristics"] is True and data["__author__"] == "libmoco", "detectron2 would match no name"
    arrays = data["model"]
    assert len(arrays) == 318
    with open(os.path.join(here, "detectron2-r50c4-keys.txt")) as file:
        wanted = dict(line.split() for line in file)
    # detectron2's heuristic: a name of the file belongs to the one name of the model that ends in it.
    used = set()
    for key, shape in wanted.items():
        matches = [name for name in arrays if key == name or key.endswith("." + name)]
        assert len(matches) == 1 if key.startswith("backbone.") else len(matches) <= 1, (key, matches)
        if matches:
            (name,) = matches
            assert "x".join(map(str, arrays[name].shape)) == shape.replace("scalar", ""), (name, shape)
            used.add(name)
    assert used == set(arrays), sorted(set(arrays) - used)[:5]
    for name, number in (("stem.conv1.weight", "conv1.weight"), ("res2.0.shortcut.norm.running_var", "layer1.0.downsample.1.running_var"),
                         ("res5.2.conv3.norm.bias", "layer4.2.bn3.bias"), ("stem.conv1.norm.num_batches_tracked", "bn1.num_batches_tracked")):
        assert arrays[name].reshape(-1).tobytes() == state["encoder_q." + number].tobytes(), name
    said(f"detectron2's names: {len(used)} of 318 arrays have a place in its R50-C4, by name and shape")


def timm_loads():
    import timm

    network = timm.create_model("local-dir:" + path("folder"), pretrained=True, num_classes=0)
    error = close(features_of(network), wanted_features(), "timm")
    config = network.pretrained_cfg
    assert tuple(config["input_size"]) == (3, 224, 224) and config["crop_pct"] == 0.875, config
    classifier = timm.create_model("local-dir:" + path("folder"), pretrained=True, num_classes=10)
    assert classifier.fc.weight.shape == (10, 2048)
    network = timm.create_model("resnet50", num_classes=0, checkpoint_path=path("backbone.safetensors"))
    close(features_of(network), wanted_features(), "timm, checkpoint_path")
    said(f"timm {timm.__version__}: local-dir:, with and without classes, and checkpoint_path; features {error:.1e}")


def mapped():
    """torch.load without reading: every tensor lies in the file where torch maps it, on a boundary of 64 bytes."""
    for name, part in (("backbone.pth", None), ("state.pth.tar", "state_dict")):
        read = load(name)
        there = torch.load(path(name), map_location="cpu", weights_only=True, mmap=True)
        read, there = (read, there) if part is None else (read[part], there[part])
        assert list(read) == list(there)
        for key, tensor in there.items():
            assert tensor.data_ptr() % 64 == 0 and torch.equal(tensor, read[key]), key
        said(f"torch {torch.__version__}: {name} by weights_only=True and mmap=True, {len(there)} tensors to the bit")


def transformers_loads():
    import transformers

    network = transformers.AutoModel.from_pretrained(path("folder")).eval()
    with torch.no_grad():
        planes = torch.from_numpy(raw("planes3.raw", np.float32, 3, 3, side, side))
        error = close(network(planes).pooler_output.flatten(1).numpy(), wanted_features(), "transformers")
    said(f"transformers {transformers.__version__}: AutoModel; features {error:.1e}")


def damage_is_found():
    """Python's zipfile finds the archive whole, and not after one bit of a number has changed."""
    with open(path("backbone.pth"), "rb") as file:
        content = bytearray(file.read())
    content[content.index(b"archive/data/0") + 4096] ^= 1  # behind the padding of its header
    with open(path("damaged.pth"), "wb") as file:
        file.write(content)
    tests = [zipfile.ZipFile(path(name)).testzip() for name in ("backbone.pth", "state.pth.tar", "damaged.pth")]
    assert tests == [None, None, "archive/data/0"], tests
    said("zipfile: the archives are whole, and one with a bit changed is not")


def main():
    state = state_by_name()
    torchvision_strict(state)
    reference_resumes(state, "state.pth.tar")
    reference_resumes(state, "back.pth.tar")  # by way of safetensors
    detectron2_reads(state)
    timm_loads()
    if modern:
        mapped()
        transformers_loads()
    damage_is_found()
    assert json.load(open(path("folder/config.json")))["architecture"] == "resnet50"
    print(f"{CHECKED} readers of torch's side agree")


main()
