# SPDX-License-Identifier: MIT
"""encoder_peer: our network, as build/bench/encoder --dump wrote it, in ONNX Runtime or OpenVINO.

    encoder_peer.py --library onnxruntime|openvino --dump DIR [--n 1,8] [--threads 2] [--precision f32|bf16]

First a line that says which version it is and how far its vectors are from ours: for each launch the norm of the
difference over the norm of ours. Then for each line "N MS" of stdin a line with the median milliseconds, and those of
processor time, of a launch of N images, of as many as fit in MS milliseconds. What a reader would get wrong: each size of launch is a model of its
own, with its shape fixed before it is compiled, since that is what each of the two libraries runs fastest.
"""
import argparse
import json
import os
import sys
import time

import numpy


def onnxruntime_of(path, images, args):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    for name, size in zip(("batch", "height", "width"), (len(images),) + images.shape[2:]):
        options.add_free_dimension_override_by_name(name, size)
    if args.profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(args.dump, f"profile-{len(images)}")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, feed)[0]


def openvino_of(path, images, args):
    import openvino
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(images.shape))
    config = {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
              "INFERENCE_PRECISION_HINT": args.precision}
    if args.profile:
        config["PERF_COUNT"] = True
    request = core.compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(images, shared_memory=True))

    def run():
        request.infer()
        return request.get_output_tensor(0).data

    run.request = request
    return run


def distance(ours, theirs):
    ours, theirs = ours.astype("f8"), theirs.astype("f8")
    return float(numpy.linalg.norm(theirs - ours) / numpy.linalg.norm(ours))


def median_ms(run, ms):
    """Of a launch: milliseconds, and those of processor time of all threads."""
    run()
    took, cpu, end = [], [], time.perf_counter() + ms / 1e3
    while len(took) < 3 or time.perf_counter() < end:
        began, before = time.perf_counter(), time.process_time()
        run()
        took.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - before))
    return {"ms": float(numpy.median(took)), "cpu_ms": float(numpy.median(cpu))}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--library", choices=("onnxruntime", "openvino"), required=True)
    p.add_argument("--dump", required=True)
    p.add_argument("--size", type=int, required=True)
    p.add_argument("--n", default="1,8")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    p.add_argument("--profile", action="store_true", help="each layer's time: ONNX Runtime's file, OpenVINO's on stderr")
    args = p.parse_args()
    make = onnxruntime_of if args.library == "onnxruntime" else openvino_of
    images = numpy.fromfile(os.path.join(args.dump, "images.f32"), "f4").reshape(-1, 3, args.size, args.size)
    runs, apart = {}, {}
    for n in map(int, args.n.split(",")):
        runs[n] = make(os.path.join(args.dump, "net.onnx"), numpy.ascontiguousarray(images[:n]), args)
        vectors = numpy.fromfile(os.path.join(args.dump, f"vectors-{n}.f32"), "f4").reshape(n, -1)
        apart[n] = distance(vectors, runs[n]())
    version = __import__(args.library).__version__.split("-")[0]
    print(json.dumps({"ready": args.library, "version": version, "apart": apart}), flush=True)
    for line in sys.stdin:
        n, ms = line.split()
        print(json.dumps({"n": int(n), **median_ms(runs[int(n)], float(ms))}), flush=True)
    if args.profile and args.library == "openvino":
        for n, run in runs.items():
            for layer in run.request.profiling_info:
                if layer.real_time.total_seconds() > 0:
                    print(n, layer.node_name, layer.node_type, layer.exec_type, layer.real_time, file=sys.stderr)


if __name__ == "__main__":
    main()
