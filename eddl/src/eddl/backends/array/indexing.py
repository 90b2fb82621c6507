"""Picking elements by index and putting them back, with every index checked first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.evaluator import host
from eddl.compiler.protocol import Offer, Thunk
from eddl.errors import AttributeValueError
from eddl.graph import Constant, Node

_UFUNCS = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}


def wrapped(op: str, indices: Array, size: int) -> Array:
    """Indices counted from the front; one outside the axis is an error."""
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise AttributeValueError(
            f"{op}: received indices from {indices.min()} to {indices.max()}, expected "
            f"numbers from {-size} to {size - 1}"
        )
    found: Array = np.where(indices < 0, indices + size, indices).astype(np.intp)
    return found


@kernel("Gather")
def gather(backend: ArrayBackend, node: Node) -> Offer:
    """Rows by index."""
    x = node.inputs[0]
    assert x is not None
    axis = node.attributes["axis"] % x.rank
    size = x.type.sizes[axis]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        def run() -> None:
            places = wrapped("Gather", inputs[1], size)
            backend.xp.take(inputs[0], places, axis=axis, out=outputs[0], mode="clip")

        return run

    return Offer("take", bind)


def _element_places(node: Node, shape: Sequence[int], indices: Array) -> Array:
    """The flat position that each index of GatherElements or ScatterElements names."""
    axis = node.attributes["axis"] % len(shape)
    grid: list[Any] = [np.arange(n).reshape(-1, *[1] * (len(shape) - 1 - i))
                       for i, n in enumerate(indices.shape)]  # fmt: skip
    grid[axis] = wrapped(node.op, indices, shape[axis])
    return _flat(shape, grid)


def _flat(shape: Sequence[int], grid: Sequence[Any]) -> Array:
    places: Any = 0
    for size, part in zip(shape, grid, strict=True):
        places = places * size + part
    return np.asarray(places, np.intp)


def _row_places(node: Node, shape: Sequence[int], indices: Array, batch: int = 0) -> Array:
    """The flat position of the row that each index vector of GatherND or ScatterND names."""
    depth = indices.shape[-1]
    grid: list[Any] = [np.arange(n).reshape(-1, *[1] * (indices.ndim - 2 - i))
                       for i, n in enumerate(indices.shape[:batch])]  # fmt: skip
    grid += [wrapped(node.op, indices[..., i], shape[batch + i]) for i in range(depth)]
    places = _flat(shape[: batch + depth], grid)
    return np.broadcast_to(places, indices.shape[:-1])


@kernel("GatherElements")
def gather_elements(backend: ArrayBackend, node: Node) -> Offer:
    """Elements by flat position."""

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        def run() -> None:
            places = _element_places(node, inputs[0].shape, inputs[1])
            backend.xp.take(inputs[0].reshape(-1), places, out=outputs[0], mode="clip")

        return run

    return Offer("take", bind)


@kernel("GatherND")
def gather_nd(backend: ArrayBackend, node: Node) -> Offer:
    """Rows by flat position."""
    batch = node.attributes["batch_dims"]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        def run() -> None:
            data, indices = inputs
            inner = data.shape[batch + indices.shape[-1] :]
            places = _row_places(node, data.shape, indices, batch)
            backend.xp.take(data.reshape(-1, *inner), places, axis=0, out=outputs[0], mode="clip")

        return run

    return Offer("take", bind)


def _scatter(backend: ArrayBackend, reduction: str, rows: Array, places: Array, new: Array) -> None:
    """Put rows at places, or combine them with what is there, in order."""
    if reduction == "none":
        rows[places] = new
        return
    width = rows.shape[1]
    flat = (places[:, None] * width + np.arange(width)).reshape(-1) if width > 1 else places
    getattr(backend.xp, _UFUNCS[reduction]).at(rows.reshape(-1), flat, new.reshape(-1))


@kernel("ScatterElements", "ScatterND")
def scatter(backend: ArrayBackend, node: Node) -> Offer:
    """A copy of the data, then the updates one after the other."""
    reduction, elements = node.attributes["reduction"], node.op == "ScatterElements"

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        def run() -> None:
            data, indices, updates = inputs
            result = outputs[0]
            backend.xp.copyto(result, data)
            if not updates.size:
                return
            if elements:
                places = _element_places(node, data.shape, indices)
            else:
                places = _row_places(node, data.shape, indices)
            rows = updates.reshape(places.size, -1)
            target = result.reshape(-1, rows.shape[1])
            _scatter(backend, reduction, target, places.reshape(-1), rows)

        return run

    return Offer(reduction, bind)


@kernel("TopK")
def top_k(backend: ArrayBackend, node: Node) -> Offer:
    """A stable sort, so that of equal elements the first comes first."""
    x = node.inputs[0]
    assert x is not None
    axis, largest = node.attributes["axis"] % x.rank, node.attributes["largest"]
    size, count = x.type.sizes[axis], node.outputs[0].type.sizes[axis]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp

        def run() -> None:
            data = xp.flip(inputs[0], axis) if largest else inputs[0]
            order = xp.argsort(data, axis=axis, kind="stable")
            if largest:
                order = size - 1 - xp.flip(order, axis)
            order = xp.take(order, range(count), axis=axis)
            for place, found in zip(
                outputs, (xp.take_along_axis(inputs[0], order, axis), order), strict=True
            ):
                if place is not None:
                    xp.copyto(place, found)

        return run

    return Offer("sort", bind, optional=frozenset({0, 1}))


SMALL = 1 << 16
"""Elements of a result below which all classes are compared at once."""


@kernel("OneHot")
def one_hot(backend: ArrayBackend, node: Node) -> Offer:
    """One comparison a class; indices outside the depth leave every class off."""
    axis = node.attributes["axis"] % node.outputs[0].rank
    depth = node.outputs[0].type.sizes[axis]
    values = node.inputs[2]
    assert isinstance(values, Constant)
    off, on = values.data.reshape(-1)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        xp = backend.xp
        result = xp.moveaxis(outputs[0], axis, 0)
        if result.size < SMALL:
            classes = xp.arange(depth).reshape(-1, *[1] * inputs[0].ndim)

            def at_once() -> None:
                result[...] = off
                chosen = xp.logical_or(inputs[0] == classes, inputs[0] == classes - depth)
                xp.copyto(result, on, where=chosen)

            return at_once

        def work(index: int) -> None:
            chosen = xp.logical_or(inputs[0] == index, inputs[0] == index - depth)
            result[index] = off
            xp.copyto(result[index], on, where=chosen)

        return backend.threads.share([partial(work, i) for i in range(depth)])

    assert np.dtype(node.outputs[0].dtype) == values.data.dtype
    return Offer("compare", bind)


@host("Compress")
def compress(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The slices (or elements) whose condition holds."""
    data, condition = inputs
    return [backend.xp.compress(condition, data, axis=node.attributes["axis"])]


@host("NonZero")
def nonzero(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The positions of what is not zero, one column each."""
    data = np.atleast_1d(inputs[0])
    found = np.stack(np.nonzero(data)).astype(np.int64)
    return [found[: np.ndim(inputs[0])]]


@host("Unique")
def unique(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The different elements (or slices), sorted or in order of first appearance."""
    axis = node.attributes["axis"]
    data = inputs[0].reshape(-1) if axis is None else inputs[0]
    found, first, inverse, counts = np.unique(
        data, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not node.attributes["sorted"]:
        order = np.argsort(first)
        found = np.take(found, order, axis=axis or 0)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    return [found, *(part.astype(np.int64) for part in (first, inverse, counts))]
