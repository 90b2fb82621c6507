"""Padding: with a constant, or with elements of the data itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.resize import resample, transposed
from eddl.ops.shapes import axes_of
from eddl.ops.table import Call, Gradients, Operator, apply, integers, register

PAD_MODES = ("constant", "edge", "reflect", "wrap")


def _need(value: Value | None) -> Value:
    assert value is not None
    return value


def _numbers(value: Value | None) -> list[int]:
    assert isinstance(value, Constant)
    return [int(n) for n in value.data.reshape(-1)]


def pad_widths(node: Node) -> list[tuple[int, int]]:
    """Elements added before and after each axis of a Pad node with constant inputs."""
    data, pads, _, axes = (*node.inputs, None, None)[:4]
    rank = _need(data).rank
    amounts = [int(p) for p in _numbers(pads)]
    half = len(amounts) // 2
    where = [int(a) % rank for a in _numbers(axes)] if axes is not None else list(range(rank))
    widths = [(0, 0)] * rank
    for i, axis in enumerate(where):
        widths[axis] = (amounts[i], amounts[half + i])
    return widths


def _pad(call: Call) -> list[Type]:
    data, pads = call.type(0), call.constant(1)
    mode = call.attributes["mode"]
    if mode not in PAD_MODES:
        raise call.fail(f"mode to be one of {PAD_MODES}; received {mode!r}")
    if pads is None:
        return [data.with_shape([None] * data.rank)]
    axes = axes_of(call, 3, data.rank)
    axes = axes if axes is not None else tuple(range(data.rank))
    if pads.size != 2 * len(axes):
        raise call.fail(f"pads of {2 * len(axes)} numbers; received {pads.size}")
    shape: list[Dim] = list(data.shape)
    for i, axis in enumerate(axes):
        size, before, after = data.shape[axis], int(pads[i]), int(pads[len(axes) + i])
        if isinstance(size, int):
            left = size + min(before, 0) + min(after, 0)
            if left < 0 or (left == 0 and mode != "constant" and max(before, after) > 0):
                raise call.fail(f"pads {pads.tolist()} that leave elements along axis {axis}")
            shape[axis] = size + before + after
        elif before or after:
            shape[axis] = None
    return [data.with_shape(shape)]


def pad_sources(size: int, before: int, after: int, mode: str) -> np.ndarray[Any, Any]:
    """Which element of an axis each padded one repeats, in the modes that repeat elements."""
    kept = np.arange(size)[max(-before, 0) : size - max(-after, 0)]
    return np.pad(kept, (max(before, 0), max(after, 0)), mode)  # type: ignore[call-overload, no-any-return]


def _pad_gradient(node: Node, g: Value) -> Gradients:
    x = _need(node.inputs[0])
    widths, mode = pad_widths(node), node.attributes["mode"]
    rest = [None for _ in node.inputs[1:]]
    if mode != "constant":
        for axis, (size, width) in enumerate(zip(x.type.sizes, widths, strict=True)):
            if any(width):
                sources = pad_sources(size, *width, mode)[:, None]
                g = resample(g, axis, *transposed(sources, np.ones(sources.shape), size))
        return (g, *rest)
    inside = [max(before, 0) for before, _ in widths]
    ends = [size - max(after, 0) for size, (_, after) in zip(g.type.sizes, widths, strict=True)]
    g = apply("Slice", g, integers(inside), integers(ends), integers(range(g.rank)))
    cropped = [max(-w, 0) for pair in zip(*widths, strict=True) for w in pair]
    if any(cropped):
        g = apply("Pad", g, integers(cropped))
    assert g.shape == x.shape
    return (g, *rest)


def _pads_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Opset 2 had pads and value as attributes; the value took the data's type."""
    if "pads" not in attributes:
        return attributes, inputs
    pads, value = attributes.pop("pads"), attributes.pop("value", 0.0)
    fill = Constant(np.asarray(value, _need(inputs[0]).dtype))
    return attributes, [inputs[0], integers(pads), fill]


_pads_to_input.reads = ("pads", "value")  # type: ignore[attr-defined]


register(
    Operator(
        name="Pad",
        inputs=("data", "pads", "constant_value?", "axes?"),
        infer=_pad,
        gradient=_pad_gradient,
        attributes={"mode": "constant"},
        since=18,
        constant_inputs=(1, 2, 3),
        upgrades={11: _pads_to_input},
    )
)
