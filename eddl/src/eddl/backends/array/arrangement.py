"""Operators that move elements: views where the order in memory stays, copies elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.backend import ArrayBackend, alike, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.graph import Constant, Node
from eddl.ops.arrangement import slice_ranges
from eddl.ops.padding import pad_sources, pad_widths


def _no_call(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
    raise AssertionError("a view is never bound")


@kernel("Reshape", "Flatten", "Squeeze", "Unsqueeze")
@kernel("Kept", domain="eddl")
def same_order(backend: ArrayBackend, node: Node) -> Offer:
    """Another shape of the same memory."""
    return Offer("view", _no_call, views={0: 0})


def _copy(backend: ArrayBackend, source: Any, target: Any) -> Thunk:
    """A copy split over the threads along the first axis."""
    parts = backend.threads.split(target.shape[0]) if target.ndim else []
    if len(parts) < 2 or target.nbytes < 1 << 19:
        return lambda: backend.xp.copyto(target, source)
    tasks = [partial(backend.xp.copyto, target[a:b], source[a:b]) for a, b in parts]
    return lambda: backend.threads.run(tasks)


@kernel("Transpose")
def transpose(backend: ArrayBackend, node: Node) -> Offer:
    """A strided copy."""
    perm = node.attributes["perm"] or None
    return Offer("copy", lambda ins, outs, _: _copy(backend, ins[0].transpose(perm), outs[0]))


@kernel("Expand")
def expand(backend: ArrayBackend, node: Node) -> Offer:
    """Repetition by broadcasting."""

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return _copy(backend, backend.xp.broadcast_to(inputs[0], outputs[0].shape), outputs[0])

    return Offer("broadcast", bind, arrangements=alike(node))


@kernel("Concat")
def concat(backend: ArrayBackend, node: Node) -> Offer:
    """Each input is copied to its place."""
    axis = node.attributes["axis"] % node.outputs[0].rank

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        start, copies = 0, []
        for part in inputs:
            index = [slice(None)] * part.ndim
            index[axis] = slice(start, start + part.shape[axis])
            start += part.shape[axis]
            copies.append(_copy(backend, part, outputs[0][tuple(index)]))

        def run() -> None:
            for copy in copies:
                copy()

        return run

    return Offer("copies", bind, arrangements=alike(node))


def _index(ranges: Sequence[tuple[int, int, int]]) -> tuple[slice, ...]:
    return tuple(
        slice(start, None if step < 0 and stop < 0 else stop, step) for start, stop, step in ranges
    )


@kernel("Slice")
def slice_(backend: ArrayBackend, node: Node) -> Offer:
    """A strided copy of a part."""
    index = _index(slice_ranges(node))
    return Offer(
        "copy",
        lambda ins, outs, _: _copy(backend, ins[0][index], outs[0]),
        arrangements=alike(node),
    )


@kernel("Split")
def split(backend: ArrayBackend, node: Node) -> Offer:
    """A strided copy of each part."""
    axis = node.attributes["axis"] % node.outputs[0].rank

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        start, copies = 0, []
        for value, part in zip(node.outputs, outputs, strict=True):
            index = [slice(None)] * value.rank
            index[axis] = slice(start, start + value.type.sizes[axis])
            start += value.type.sizes[axis]
            if part is not None:
                copies.append(_copy(backend, inputs[0][tuple(index)], part))

        def run() -> None:
            for copy in copies:
                copy()

        return run

    return Offer("copies", bind, optional=frozenset(range(len(node.outputs))))


@kernel("SliceGrad", domain="eddl")
def slice_grad(backend: ArrayBackend, node: Node) -> Offer:
    """The part back in its place, zeros elsewhere."""
    index = _index(node.attributes["ranges"])

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        copy = _copy(backend, inputs[0], outputs[0][index])

        def run() -> None:
            outputs[0].fill(0)
            copy()

        return run

    return Offer("place", bind, arrangements=alike(node))


@kernel("Pad")
def pad(backend: ArrayBackend, node: Node) -> Offer:
    """The input between its paddings; negative ones crop."""
    widths, mode = pad_widths(node), node.attributes["mode"]
    if mode != "constant":
        return _repeat(backend, node, widths, mode)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    fill = given.data.reshape(-1)[0] if isinstance(given, Constant) else 0

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        data, result = inputs[0], outputs[0]
        source = tuple(
            slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(data.shape, widths, strict=True)
        )
        target = tuple(
            slice(max(b, 0), n - max(a, 0)) for n, (b, a) in zip(result.shape, widths, strict=True)
        )
        copy = _copy(backend, data[source], result[target])

        def run() -> None:
            result.fill(fill)
            copy()

        return run

    return Offer("place", bind, arrangements=alike(node))


def _repeat(
    backend: ArrayBackend, node: Node, widths: Sequence[tuple[int, int]], mode: str
) -> Offer:
    """Padding with the data's own elements: each axis is read in a fixed order."""
    x = node.inputs[0]
    assert x is not None
    sources = [pad_sources(n, *width, mode) for n, width in zip(x.type.sizes, widths, strict=True)]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        index = np.ix_(*sources) if sources else ()
        return lambda: backend.xp.copyto(outputs[0], inputs[0][index])

    return Offer("repeat", bind)
