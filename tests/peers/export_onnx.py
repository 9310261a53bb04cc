"""ONNX and safetensors files of moco/export.h: export_onnx.py FOLDER SIDE, where tool_export wrote them.

onnx's checker, ONNX Runtime against moco_model_embed (1e-5 of the largest number, batches of 1 and 3, bytes and
floats), the safetensors package. A file with one weight changed has to be told apart by the same comparison.
"""
import os
import sys

import numpy as np
import onnx
import onnxruntime
import safetensors
from safetensors.numpy import load_file

BOUND = 1e-5
folder, side = sys.argv[1], int(sys.argv[2])


def path(name):
    return os.path.join(folder, name)


def worst_error(name, batch):
    """The largest difference from moco_model_embed, as a part of the largest number; the outputs' names."""
    kind = "u8" if name.startswith("u8") else "f32"
    if kind == "u8":
        images = np.fromfile(path(f"bytes{batch}.raw"), np.uint8).reshape(batch, side, side, 3)
    else:
        images = np.fromfile(path(f"planes{batch}.raw"), np.float32).reshape(batch, 3, side, side)
    session = onnxruntime.InferenceSession(path(name), providers=["CPUExecutionProvider"])
    names, worst = [output.name for output in session.get_outputs()], 0.0
    for output, got in zip(names, session.run(None, {"images": images})):
        wanted = np.fromfile(path(f"{output}{batch}.{kind}.raw"), np.float32).reshape(batch, -1)
        assert got.shape == wanted.shape and got.dtype == np.float32, (name, output, got.shape)
        worst = max(worst, float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    return worst, names


def check_onnx(name, outputs, nodes):
    model = onnx.load(path(name))
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version, model.producer_name) == (7, 13, "libmoco")
    assert {"model.mean.0", "model.std.2"} <= {text.key for text in model.metadata_props}
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == nodes, (name, kinds)
    errors = []
    for batch in (1, 3):
        error, names = worst_error(name, batch)
        assert names == outputs and error < BOUND, (name, names, error)
        errors.append(error)
    return max(errors)


def check_other_size():
    """Nothing of the image size is in the file."""
    session = onnxruntime.InferenceSession(path("f32.onnx"), providers=["CPUExecutionProvider"])
    features, projection = session.run(None, {"images": np.zeros((2, 3, side + 32, side + 64), np.float32)})
    assert features.shape[0] == projection.shape[0] == 2


def check_damage():
    """A convolution whose weights are a hundredth larger: the comparison sees it."""
    model = onnx.load(path("f32.onnx"))
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "layer4.0.conv2.weight")
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * np.float32(1.01)).tobytes()
    onnx.save(model, path("f32changed.onnx"))
    error, _ = worst_error("f32changed.onnx", 3)
    assert error > BOUND, error
    return error


def check_safetensors():
    backbone, whole, saved = (load_file(path(name + ".safetensors")) for name in ("backbone", "whole", "saved"))
    with safetensors.safe_open(path("backbone.safetensors"), "np") as file:
        texts = file.metadata()
    assert texts["format"] == "pt" and texts["moco.format"] == "1" and texts["kind"] == "backbone", texts
    assert len([key for key in texts if key.startswith("xxh3:")]) == len(backbone)
    assert set(whole) == set(saved) and set(backbone) == {name for name in whole if not name.startswith("fc.")}
    for name, tensor in backbone.items():
        assert tensor.tobytes() == whole[name].tobytes() == saved[name].tobytes(), name
    return len(backbone)


plain = {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"} | ({"MaxPool"} if sys.argv[3] == "pool" else set())
print(f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}")
for name, outputs, nodes in (("f32.onnx", ["features", "projection"], plain),
                             ("u8.onnx", ["features", "projection"], plain | {"Cast", "Transpose", "BatchNormalization"}),
                             ("bn.onnx", ["features", "projection"], plain | {"BatchNormalization"}),
                             ("features.onnx", ["features"], plain - {"Gemm"})):
    print(f"{name}: checked in full; {check_onnx(name, outputs, nodes):.1e} from moco_model_embed")
check_other_size()
print(f"a weight changed by a hundredth: {check_damage():.1e}, and found")
print(f"safetensors {safetensors.__version__}: {check_safetensors()} tensors")
