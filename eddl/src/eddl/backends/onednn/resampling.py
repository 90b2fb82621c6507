"""Resampling along one axis, where its weights are those of the nearest or of linear neighbours.

Which ones a node has is told by its table: it is that of oneDNN's kernel for these sizes, or, in a
gradient, the transposed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.kernels import Kernel, attributes
from eddl.backends.onednn.library import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    FORWARD_TRAINING,
    RESAMPLING_LINEAR,
    RESAMPLING_NEAREST,
    SRC,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Constant, Node

Array = np.ndarray[Any, Any]


@kernel("Resample", domain="eddl")
def resample(backend: OneDnnBackend, node: Node) -> Offer:
    """A kernel that resamples, or the gradient of one."""
    x, indices, weights = node.inputs
    y, axis = node.outputs[0], node.attributes["axis"]
    assert x is not None and isinstance(indices, Constant) and isinstance(weights, Constant)
    if not 3 <= x.rank <= 5 or axis < 2:
        raise Refused("another axis than those of space")
    size, count = x.type.sizes[axis], y.type.sizes[axis]
    if size * count > LARGEST:
        raise Refused(f"{size} times {count} elements")
    matrix = np.zeros((count, size), np.float32)
    np.add.at(matrix, (np.arange(count)[:, None], indices.data), weights.data)
    source, target = backend.describe(x.type), backend.describe(y.type)
    library = backend.library
    for mode, table in ((RESAMPLING_NEAREST, nearest), (RESAMPLING_LINEAR, linear)):
        onward = np.allclose(matrix, table(size, count), rtol=0, atol=1e-6)
        if not onward and not np.allclose(matrix.T, table(count, size), rtol=0, atol=1e-6):
            continue
        small, large = (source, target) if onward else (target, source)
        made = Kernel(library, "resampling_forward", library.engine, FORWARD_TRAINING, mode, None,
                      small, large, attributes(library))  # fmt: skip
        arguments = SRC, DST
        if not onward:
            made = Kernel(library, "resampling_backward", library.engine, mode, None, target,
                          source, made, attributes(library))  # fmt: skip
            arguments = DIFF_DST, DIFF_SRC
        break
    else:
        raise Refused("weights other than those of the nearest or of linear neighbours")

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        given, made_of = (source, straight(inputs[0])), (target, outputs[0])
        return made.bind(dict(zip(arguments, (given, made_of), strict=True)), workspace)

    chosen = Arrangement((CHANNELS_LAST, PLAIN, PLAIN), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


LARGEST = 1 << 22
"""Elements of the dense matrices that are compared."""


def _places(size: int, count: int) -> Array:
    """Where the middles of the output's elements lie in the input. Source: oneDNN's guide."""
    return (np.arange(count) + 0.5) * (size / count) - 0.5


def nearest(size: int, count: int) -> Array:
    """The matrix of the nearest neighbours.

    >>> nearest(2, 4).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    matrix = np.zeros((count, size), np.float32)
    places = np.floor(_places(size, count) + 0.5).astype(int)
    matrix[np.arange(count), np.clip(places, 0, size - 1)] = 1
    return matrix


def linear(size: int, count: int) -> Array:
    """The matrix of linear interpolation, of the outermost elements beyond them.

    >>> linear(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    matrix = np.zeros((count, size), np.float32)
    places, rows = _places(size, count), np.arange(count)
    before = np.floor(places).astype(int)
    share = places - before
    np.add.at(matrix, (rows, np.clip(before, 0, size - 1)), 1 - share)
    np.add.at(matrix, (rows, np.clip(before + 1, 0, size - 1)), share)
    return matrix
