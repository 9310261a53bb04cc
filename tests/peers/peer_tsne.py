# SPDX-License-Identifier: MIT
"""What build/tests/unit/programs/tool_plane makes of pictures of digits, against scikit-learn: peer_tsne.sh runs it. With the name
of a file of numbers (`embed`'s output: a path, then its embedding, a line), of those instead, and nothing is asserted
about t-SNE's own numbers there."""
import json
import os
import struct
import subprocess
import sys

import numpy
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

BUILD = os.environ.get("BUILD", "build")
POINTS, NEIGHBOURS = 1000, 12


def ours(rows):
    data = struct.pack("ii", *rows.shape) + numpy.ascontiguousarray(rows, "float32").tobytes()
    done = subprocess.run([os.path.join(BUILD, "tests", "unit", "programs", "tool_plane")], input=data, capture_output=True, check=True)
    return json.loads(done.stdout)


def main():
    if len(sys.argv) > 1:
        with open(sys.argv[1]) as file:
            rows = numpy.array([[float(v) for v in line.split("\t")[1:]] for line in file])[:POINTS]
    else:
        rows = load_digits().data[:POINTS]
    rows = (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype("float32").astype("float64")
    found = ours(rows)
    planes = {"pca": numpy.array([found["pca_x"], found["pca_y"]]).T, "tsne": numpy.array([found["x"], found["y"]]).T}
    for kind, name in (("pca", "pca_trust"), ("tsne", "trust")):
        right = trustworthiness(rows, planes[kind], n_neighbors=NEIGHBOURS)
        assert abs(found[name] - right) < 2e-5, f"trustworthiness of {kind}: {found[name]}, scikit-learn says {right}"
    theirs = PCA(2, svd_solver="full").fit_transform(rows)
    held, most = (numpy.square(plane).sum() for plane in (planes["pca"], theirs))
    assert abs(held / most - 1) < 1e-3, f"the plane holds {held / most:.5f} of the variance that the right one holds"
    tsne = TSNE(2, perplexity=found["perplexity"], method="exact", init="pca", learning_rate="auto", random_state=0)
    other = tsne.fit_transform(rows)
    print(json.dumps({"points": len(rows), "divergence": round(found["divergence"], 4), "sklearn_divergence": round(float(tsne.kl_divergence_), 4),
                      "trust": round(found["trust"], 4), "sklearn_trust": round(float(trustworthiness(rows, other, n_neighbors=NEIGHBOURS)), 4),
                      "pca_trust": round(found["pca_trust"], 4), "seconds": found["seconds"]}))
    if len(sys.argv) == 1: # a local minimum each: 5 % is what other starts of scikit-learn's own differ by
        assert found["divergence"] < 1.05 * tsne.kl_divergence_, (found["divergence"], tsne.kl_divergence_)
        assert found["trust"] > found["pca_trust"] + 0.05, "t-SNE keeps no more neighbours than a plane"


main()
