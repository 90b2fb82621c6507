"""Operators that move elements without changing them: shapes, axes, parts and joins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import axes_of, broadcast, known, like, positive_axis, same, sum_to
from eddl.ops.table import (
    PRIVATE,
    REQUIRED,
    Call,
    Gradients,
    Operator,
    apply,
    axes_to_input,
    integers,
    register,
)


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _constant(value: Value | None) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    assert isinstance(value, Constant)
    return value.data.reshape(-1)


def _back_to_input(node: Node, g: Value) -> Gradients:
    x = _need(node.inputs[0])
    rest = [None] * (len(node.inputs) - 1)
    return (apply("Reshape", g, integers(x.type.sizes)), *rest)


def _count(shape: Sequence[Dim]) -> int | None:
    return math.prod(s for s in shape if isinstance(s, int)) if known(*shape) else None


def _reshape(call: Call) -> list[Type]:
    data, wanted = call.type(0), call.constant(1)
    if wanted is None:
        rank = call.type(1).shape[0]
        if not isinstance(rank, int):
            raise call.fail("a shape whose length is known")
        return [data.with_shape([None] * rank)]
    shape: list[Dim] = []
    for axis, size in enumerate(int(s) for s in wanted):
        if size == 0 and not call.attributes["allowzero"]:
            if axis >= data.rank:
                raise call.fail(f"a shape that fits; received {wanted.tolist()}")
            shape.append(data.shape[axis])
        else:
            shape.append(size)
    free = [axis for axis, size in enumerate(shape) if size == -1]
    total = _count(data.shape)
    if len(free) > 1:
        raise call.fail(f"at most one -1 in the shape; received {wanted.tolist()}")
    if free:
        rest = _count([s for s in shape if s != -1])
        if total is None or rest is None:
            shape[free[0]] = None
        else:
            shape[free[0]] = total // rest if rest else 0
    if total is not None and known(*shape) and _count(shape) != total:
        raise call.fail(f"as many elements as before; received the shape {wanted.tolist()}")
    return [data.with_shape(shape)]


def _flatten(call: Call) -> list[Type]:
    data, axis = call.type(0), call.attributes["axis"]
    axis = data.rank if axis == data.rank else positive_axis(call, axis, max(data.rank, 1))
    return [data.with_shape([_count(data.shape[:axis]), _count(data.shape[axis:])])]


def _squeeze(call: Call) -> list[Type]:
    data = call.type(0)
    axes = axes_of(call, 1, data.rank)
    if axes is None:
        axes = tuple(i for i, size in enumerate(data.shape) if size == 1)
    if any(isinstance(data.shape[axis], int) and data.shape[axis] != 1 for axis in axes):
        raise call.fail(f"size 1 along the axes {list(axes)}")
    return [data.with_shape([s for i, s in enumerate(data.shape) if i not in axes])]


def _unsqueeze(call: Call) -> list[Type]:
    data, given = call.type(0), call.constant(1)
    if given is None:
        raise call.fail("axes as a constant")
    rank = data.rank + given.size
    axes = {positive_axis(call, int(axis), rank) for axis in given.reshape(-1)}
    sizes = iter(data.shape)
    return [data.with_shape([1 if axis in axes else next(sizes) for axis in range(rank)])]


def _permutation(call: Call) -> tuple[int, ...]:
    rank = call.type(0).rank
    perm = call.attributes["perm"] or tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise call.fail(f"perm to name each axis once; received {tuple(perm)}")
    return tuple(perm)


def _transpose(call: Call) -> list[Type]:
    data = call.type(0)
    return [data.with_shape([data.shape[axis] for axis in _permutation(call)])]


def _transpose_gradient(node: Node, g: Value) -> Gradients:
    perm = node.attributes["perm"] or tuple(reversed(range(g.rank)))
    return (apply("Transpose", g, perm=tuple(int(i) for i in np.argsort(perm))),)


def _concat(call: Call) -> list[Type]:
    first = call.type(0)
    axis = positive_axis(call, call.attributes["axis"], first.rank)
    types = [t for t in call.types if t is not None]
    if any(t.rank != first.rank or t.dtype != first.dtype for t in types):
        raise call.fail("inputs of one rank and element type")
    shape: list[Dim] = [
        same(call, *(t.shape[i] for t in types), what="equal sizes beside the joined axis")
        if i != axis
        else None
        for i in range(first.rank)
    ]
    joined = [t.shape[axis] for t in types]
    shape[axis] = sum(s for s in joined if isinstance(s, int)) if known(*joined) else None
    return [first.with_shape(shape)]


def _concat_gradient(node: Node, g: Value) -> Gradients:
    axis, start = node.attributes["axis"] % g.rank, 0
    parts = []
    for value in node.inputs:
        size = _need(value).type.sizes[axis]
        parts.append(
            apply("Slice", g, integers([start]), integers([start + size]), integers([axis]))
        )
        start += size
    return parts


def _ranges(
    shape: Sequence[int],
    starts: Iterable[int],
    ends: Iterable[int],
    axes: Sequence[int],
    steps: Sequence[int],
) -> list[tuple[int, int, int]]:
    """Start, stop and step of each axis, with Python's clamping and ONNX's for negative steps."""
    full = [(0, size, 1) for size in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        full[axis] = slice(int(start), int(end), int(step)).indices(shape[axis])
        if step < 0 and end < -shape[axis]:
            full[axis] = (full[axis][0], -1, int(step))
    return full


def slice_ranges(node: Node) -> list[tuple[int, int, int]]:
    """The (start, stop, step) of every axis of a Slice node with constant inputs."""
    data, starts, ends, axes, steps = (*node.inputs, None, None)[:5]
    shape = _need(data).type.sizes
    at = _constant(starts)
    where = [int(a) % len(shape) for a in _constant(axes)] if axes else list(range(at.size))
    by = [int(s) for s in _constant(steps)] if steps else [1] * at.size
    return _ranges(shape, at, _constant(ends), where, by)


def _some_sizes(call: Call, data: Type) -> Type:
    """The type of a slice whose bounds a run will tell: other axes keep their sizes."""
    cut = call.constant(3)
    if cut is None and call.given(3):
        return data.with_shape([None] * data.rank)
    axes = range(data.rank) if cut is None else [int(a) % data.rank for a in cut.reshape(-1)]
    return data.with_shape([None if i in axes else n for i, n in enumerate(data.shape)])


def _slice(call: Call) -> list[Type]:
    data, starts, ends = call.type(0), call.constant(1), call.constant(2)
    if starts is None or ends is None:
        return [_some_sizes(call, data)]
    axes = axes_of(call, 3, data.rank)
    axes = axes if axes is not None else tuple(range(starts.size))
    given_steps = call.constant(4)
    steps = [1] * starts.size if given_steps is None else [int(s) for s in given_steps]
    if 0 in steps:
        raise call.fail("steps other than 0")
    shape: list[Dim] = list(data.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = data.shape[axis]
        if isinstance(size, int):
            ((low, high, by),) = _ranges([size], [start], [end], [0], [step])
            shape[axis] = len(range(low, high, by))
        else:
            shape[axis] = None
    return [data.with_shape(shape)]


def _bounds_to_inputs(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Opset 1 had starts, ends and axes as attributes."""
    starts, ends = attributes.pop("starts", None), attributes.pop("ends", None)
    axes = attributes.pop("axes", None)
    if starts is None or ends is None:
        return attributes, inputs
    where = range(len(starts)) if axes is None else axes
    return attributes, [inputs[0], integers(starts), integers(ends), integers(where)]


_bounds_to_inputs.reads = ("starts", "ends", "axes")  # type: ignore[attr-defined]


def _slice_gradient(node: Node, g: Value) -> Gradients:
    x = _need(node.inputs[0])
    ranges = slice_ranges(node)
    rest = [None] * (len(node.inputs) - 1)
    if all(step == 1 for _, _, step in ranges):
        before = [start for start, _, _ in ranges]
        after = [size - max(stop, start) for size, (start, stop, _) in
                 zip(x.type.sizes, ranges, strict=True)]  # fmt: skip
        return (apply("Pad", g, integers(before + after)), *rest)
    placed = apply("SliceGrad", g, domain="eddl", shape=x.type.sizes, ranges=tuple(ranges))
    return (placed, *rest)


def _slice_grad_type(call: Call) -> list[Type]:
    return [call.type(0).with_shape(call.attributes["shape"])]


def _slice_grad_body(node: Node) -> Sequence[Value]:
    """One-hot rows of each strided axis carry its elements to their places."""
    value = _need(node.inputs[0])
    shape, ranges = node.attributes["shape"], node.attributes["ranges"]
    rank = len(shape)
    for axis, (start, stop, step) in enumerate(ranges):
        chosen = np.arange(shape[axis])[:, None] == np.arange(start, stop, step)[None, :]
        to_last = (*(i for i in range(rank) if i != axis), axis)
        value = apply("Transpose", value, perm=to_last)
        value = apply("MatMul", value, chosen.T.astype(value.dtype))
        value = apply("Transpose", value, perm=tuple(int(i) for i in np.argsort(to_last)))
    return [value]


def _slice_grad_gradient(node: Node, g: Value) -> Gradients:
    starts, stops, steps = zip(*node.attributes["ranges"], strict=True)
    sizes = node.attributes["shape"]
    ends = [-size - 1 if step < 0 and stop < 0 else stop
            for size, stop, step in zip(sizes, stops, steps, strict=True)]  # fmt: skip
    axes = range(len(sizes))
    return (apply("Slice", g, integers(starts), integers(ends), integers(axes), integers(steps)),)


def _expand(call: Call) -> list[Type]:
    data, shape = call.type(0), call.constant(1)
    if shape is None:
        return [data.with_shape([None] * max(data.rank, int(call.type(1).shape[0] or 0)))]
    return [data.with_shape(broadcast(call, [data.shape, [int(s) for s in shape]]))]


def _shape(call: Call) -> list[Type]:
    rank = call.type(0).rank
    end = call.attributes["end"]
    return [Type("int64", [len(range(rank)[call.attributes["start"] : end])])]


def _add(name: str, inputs: str, infer: object, **fields: object) -> None:
    register(Operator(name=name, inputs=tuple(inputs.split()), infer=infer, **fields))  # type: ignore[arg-type]


_add("Reshape", "data shape", _reshape, gradient=_back_to_input, since=14,
     attributes={"allowzero": 0}, constant_inputs=(1,))  # fmt: skip
_add("Kept", "X", like, domain=PRIVATE, gradient=lambda node, g: (g,),
     body=lambda node: [apply("Identity", _need(node.inputs[0]))])  # fmt: skip
_add("Flatten", "input", _flatten, gradient=_back_to_input, since=9, attributes={"axis": 1})
_add("Squeeze", "data axes?", _squeeze, gradient=_back_to_input, since=13, constant_inputs=(1,),
     upgrades={13: axes_to_input})  # fmt: skip
_add("Unsqueeze", "data axes", _unsqueeze, gradient=_back_to_input, since=13,
     constant_inputs=(1,), upgrades={13: axes_to_input})  # fmt: skip
_add("Transpose", "data", _transpose, gradient=_transpose_gradient, attributes={"perm": ()})
_add("Concat", "inputs*", _concat, gradient=_concat_gradient, since=4,
     attributes={"axis": REQUIRED})  # fmt: skip
_add("Slice", "data starts ends axes? steps?", _slice, gradient=_slice_gradient, since=13,
     constant_inputs=(1, 2, 3, 4), upgrades={10: _bounds_to_inputs})  # fmt: skip
_add("SliceGrad", "dY", _slice_grad_type, domain="eddl", body=_slice_grad_body,
     gradient=_slice_grad_gradient, attributes={"shape": REQUIRED, "ranges": REQUIRED})  # fmt: skip
_add("Expand", "input shape", _expand, since=8, constant_inputs=(1,),
     gradient=lambda node, g: (sum_to(g, _need(node.inputs[0])), None))  # fmt: skip
_add("Shape", "data", _shape, since=15, attributes={"start": 0, "end": None})
