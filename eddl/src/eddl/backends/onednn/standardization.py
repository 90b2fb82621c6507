"""Normalization of instances and of layers, and its gradients.

An instance is a batch of one sample: its channels lie innermost, as oneDNN wants them, and each
sample is a call of its own. A layer is a row of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel, strided
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.handles import Descriptor, Kernel, attributes, describe, single
from eddl.backends.onednn.library import (
    BACKWARD,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DST,
    FORWARD_TRAINING,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    USE_SCALE,
    USE_SHIFT,
    VARIANCE,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node, Value

Array = np.ndarray[Any, Any]
FLAGS = USE_SCALE | USE_SHIFT


def _inverse(variance: Array, epsilon: float, result: Array) -> None:
    """1 / deviation."""
    np.add(variance, np.float32(epsilon), out=result)
    np.sqrt(result, out=result)
    np.reciprocal(result, out=result)


def _variance(inverse: Array, result: Array) -> None:
    """The variance, with its epsilon, from 1 / deviation."""
    np.multiply(inverse, inverse, out=result)
    np.reciprocal(result, out=result)


def _sample(backend: OneDnnBackend, node: Node) -> tuple[Value, Descriptor, Descriptor]:
    """The data, a sample of it, and a number a channel."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype != np.float32 or not 3 <= x.rank <= 5:
        raise Refused(f"received {x.type}; only float32 of 3 to 5 axes is computed here")
    whole = strided(backend.library, (1, *x.type.sizes[1:]))
    return x, whole, describe(backend.library, [x.type.sizes[1]], [1])


def _instance_kernel(backend: OneDnnBackend, whole: Descriptor, epsilon: float) -> Kernel:
    library = backend.library
    return Kernel(library, "batch_normalization_forward", library.engine, FORWARD_TRAINING, whole,
                  whole, single(epsilon), FLAGS, attributes(library))  # fmt: skip


@kernel("InstanceNormalization")
def instance_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of each sample's channels, then scale and shift."""
    x, whole, vector = _sample(backend, node)
    samples, channels = x.type.sizes[:2]
    epsilon = float(node.attributes["epsilon"])
    made = _instance_kernel(backend, whole, epsilon)
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, Array, Any]:
        vectors = [space.take((samples, channels), np.float32) for _ in range(2)]
        return vectors[0], vectors[1], space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, shift = straight(inputs[0]), *inputs[1:]
        y, saved, inverse = outputs
        mean, variance, scratch = plan(Workspace(workspace))
        mean = mean if saved is None else saved.reshape(samples, channels)
        calls = [
            made.bind(
                {SRC: (whole, data[n : n + 1]), DST: (whole, y[n : n + 1]),
                 SCALE: (vector, scale), SHIFT: (vector, shift), MEAN: (vector, mean[n]),
                 VARIANCE: (vector, variance[n])},
                scratch,
            )
            for n in range(samples)
        ]  # fmt: skip
        if inverse is not None:
            kept = inverse.reshape(samples, channels)
            calls.append(lambda: _inverse(variance, epsilon, kept))
        return in_turn(calls)

    chosen = Arrangement((CHANNELS_LAST, PLAIN, PLAIN), (CHANNELS_LAST, PLAIN, PLAIN))
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 arrangements=(chosen,))  # fmt: skip


@kernel("InstanceNormalizationGrad", domain="eddl")
def instance_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift, the latter two summed over samples."""
    x, whole, vector = _sample(backend, node)
    samples, channels = x.type.sizes[:2]
    library = backend.library
    hint = _instance_kernel(backend, whole, 0.0)
    made = Kernel(library, "batch_normalization_backward", library.engine, BACKWARD, whole, whole,
                  whole, single(0.0), FLAGS, hint.description, attributes(library))  # fmt: skip
    need = Workspace()

    def plan(space: Workspace) -> tuple[list[Array], Any]:
        vectors = [space.take((samples, channels), np.float32) for _ in range(3)]
        return vectors, space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, flow = straight(inputs[0]), straight(inputs[4])
        scale, (mean, inverse) = inputs[1], (v.reshape(samples, channels) for v in inputs[2:4])
        (variance, scales, shifts), scratch = plan(Workspace(workspace))
        calls: list[Thunk] = [lambda: _variance(inverse, variance)]
        calls += [
            made.bind(
                {SRC: (whole, data[n : n + 1]), MEAN: (vector, mean[n]),
                 VARIANCE: (vector, variance[n]), DIFF_DST: (whole, flow[n : n + 1]),
                 SCALE: (vector, scale), DIFF_SRC: (whole, outputs[0][n : n + 1]),
                 DIFF_SCALE: (vector, scales[n]), DIFF_SHIFT: (vector, shifts[n])},
                scratch,
            )
            for n in range(samples)
        ]  # fmt: skip
        calls += _sums((scales, outputs[1]), (shifts, outputs[2]))
        return in_turn(calls)

    layouts = (CHANNELS_LAST, PLAIN, PLAIN, PLAIN, CHANNELS_LAST)
    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}),
                 arrangements=(Arrangement(layouts, (CHANNELS_LAST, PLAIN, PLAIN)),))  # fmt: skip


def _sums(*pairs: tuple[Array, Array | None]) -> list[Callable[[], Any]]:
    return [partial(np.add.reduce, a, axis=0, out=b) for a, b in pairs if b is not None]


def _rows(backend: OneDnnBackend, node: Node) -> tuple[int, int, list[Descriptor]]:
    """The number of rows and their length; a matrix of them, a number each, and one row."""
    x, scale = node.inputs[:2]
    assert x is not None and scale is not None
    sizes = x.type.sizes
    axis = node.attributes["axis"] % x.rank
    rows, size = math.prod(sizes[:axis]), math.prod(sizes[axis:])
    if any(v is not None and v.dtype != np.float32 for v in (*node.inputs, *node.outputs)):
        raise Refused(f"received {x.type}; only float32 is computed here")
    if any(v is not None and v.type.count != size for v in (*node.inputs[1:2], *_bias(node))):
        raise Refused("a scale or shift that is broadcast")
    library = backend.library
    kinds = [
        describe(library, [rows, size], [size, 1]),
        describe(library, [rows], [1]),
        describe(library, [size], [1]),
    ]
    return rows, size, kinds


def _bias(node: Node) -> Sequence[Value | None]:
    return node.inputs[2:3] if node.op == "LayerNormalization" else ()


def _layer_kernel(
    backend: OneDnnBackend, kinds: Sequence[Descriptor], epsilon: float, flags: int
) -> Kernel:
    library, (matrix, column, _) = backend.library, kinds
    return Kernel(library, "layer_normalization_forward", library.engine, FORWARD_TRAINING, matrix,
                  matrix, column, single(epsilon), flags, attributes(library))  # fmt: skip


@kernel("LayerNormalization")
def layer_norm(backend: OneDnnBackend, node: Node) -> Offer:
    """Statistics of each row, then scale and shift of its elements."""
    rows, _, kinds = _rows(backend, node)
    matrix, column, vector = kinds
    shifted = len(node.inputs) > 2 and node.inputs[2] is not None
    epsilon = float(node.attributes["epsilon"])
    made = _layer_kernel(backend, kinds, epsilon, FLAGS if shifted else USE_SCALE)
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, Array, Any]:
        vectors = [space.take((rows,), np.float32) for _ in range(2)]
        return vectors[0], vectors[1], space.take((made.scratch,), np.uint8)

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        given = [None if v is None else np.ascontiguousarray(v) for v in inputs]
        y, saved, inverse = outputs
        mean, variance, scratch = plan(Workspace(workspace))
        arguments = {
            SRC: (matrix, given[0]), DST: (matrix, y), SCALE: (vector, given[1]),
            MEAN: (column, mean if saved is None else saved), VARIANCE: (column, variance),
        }  # fmt: skip
        if shifted:
            arguments[SHIFT] = vector, given[2]
        run = made.bind(arguments, scratch)
        if inverse is None:
            return run
        kept = inverse.reshape(-1)
        return in_turn([run, lambda: _inverse(variance, epsilon, kept)])

    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}))


@kernel("LayerNormalizationGrad", domain="eddl")
def layer_norm_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """The gradients of data, scale and shift."""
    rows, size, kinds = _rows(backend, node)
    matrix, column, vector = kinds
    library = backend.library
    hint = _layer_kernel(backend, kinds, 0.0, FLAGS)
    made = Kernel(library, "layer_normalization_backward", library.engine, BACKWARD, matrix, matrix,
                  matrix, column, single(0.0), FLAGS, hint.description,
                  attributes(library))  # fmt: skip
    need = Workspace()

    def plan(space: Workspace) -> tuple[Array, list[Array], Any]:
        spare = [space.take((size,), np.float32) for _ in range(2)]
        return (space.take((rows,), np.float32), spare, space.take((made.scratch,), np.uint8))

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, scale, mean, inverse, flow = map(np.ascontiguousarray, inputs)
        variance, spare, scratch = plan(Workspace(workspace))
        vectors = [s if o is None else o for s, o in zip(spare, outputs[1:], strict=True)]
        run = made.bind(
            {SRC: (matrix, data), MEAN: (column, mean), VARIANCE: (column, variance),
             DIFF_DST: (matrix, flow), SCALE: (vector, scale), DIFF_SRC: (matrix, outputs[0]),
             DIFF_SCALE: (vector, vectors[0]), DIFF_SHIFT: (vector, vectors[1]),
             SHIFT: (vector, scale)},  # asked for, and not read
            scratch,
        )  # fmt: skip
        return in_turn([lambda: _variance(inverse.reshape(-1), variance), run])

    return Offer(made.implementation, bind, workspace=need.used, optional=frozenset({1, 2}))
