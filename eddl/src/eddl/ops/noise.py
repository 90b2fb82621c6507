"""Operators that are there in training alone: noise and random movements.

Each is one private operator: without a step it gives its input, with one what it draws for that
step. Files hold them as functions that give their input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.graph import Node, Type, Value
from eddl.ops.table import PRIVATE, REQUIRED, Call, Operator, apply, integers, make_node, register

Draw = Callable[[Node, Value, Value], Value]


def uniform(node: Node, step: Value, shape: Sequence[int], dtype: Any) -> Value:
    """Numbers in [0, 1) from the node's seed and stream."""
    drawn = apply("Uniform", step, domain=PRIVATE, shape=tuple(shape),
                  seed=node.attributes["seed"], stream=node.attributes["stream"])  # fmt: skip
    return drawn if dtype == np.float32 else apply("Cast", drawn, to=np.dtype(dtype))


def normal(node: Node, step: Value, shape: Sequence[int], dtype: Any) -> Value:
    """Numbers of mean 0 and deviation 1. Source: Box and Muller 1958."""
    pair = uniform(node, step, (2, *shape), np.float32 if dtype != np.float64 else dtype)
    first, second = make_node("Split", pair, integers([1, 1]), axis=0).outputs
    radius = apply("Sqrt", -2.0 * apply("Log", 1.0 - first))
    drawn = radius * apply("Cos", second * (2 * math.pi))
    drawn = apply("Reshape", drawn, integers(shape), allowzero=1)
    return drawn if drawn.dtype == dtype else apply("Cast", drawn, to=np.dtype(dtype))


def _gaussian(node: Node, x: Value, step: Value) -> Value:
    noise = normal(node, step, x.type.sizes, x.dtype) * float(node.attributes["deviation"])
    return x + x * noise if node.attributes["relative"] else x + noise


LOWEST = -1.7580993408473766
"""The value that SELU tends to far below 0: -scale x alpha."""


def _alpha(node: Node, x: Value, step: Value) -> Value:
    """Source: Klambauer et al. 2017, section "New dropout technique"."""
    share = float(node.attributes["ratio"])
    scale = 1 / math.sqrt((1 - share) * (1 + share * LOWEST**2))
    kept = apply("GreaterOrEqual", uniform(node, step, x.type.sizes, np.float32), share)
    return apply("Where", kept, x, LOWEST) * scale - scale * LOWEST * share


def matrices(
    turns: Sequence[Value], scale: Value, shifts: Sequence[Value], space: Sequence[int]
) -> Value:
    """[N, axes, axes + 1] in normalised coordinates, the last axis first, of values [N, 1] each.

    A rotation is one of elements, not of normalised coordinates: where space is not a cube, it is
    scaled by the sizes before and back behind.
    """
    rank = len(space)
    zero = scale * 0.0
    rows = [[scale if i == j else zero for j in range(rank)] for i in range(rank)]
    planes = [(0, 1)] if rank == 2 else [(0, 1), (0, 2), (1, 2)] if rank == 3 else []
    for angle, (a, b) in zip(turns, planes, strict=True):
        cos, sin = apply("Cos", angle), apply("Sin", angle)
        rows = [
            [
                row[a] * cos + row[b] * sin if j == a
                else row[b] * cos - row[a] * sin if j == b
                else row[j]
                for j in range(rank)
            ]
            for row in rows
        ]  # fmt: skip
    size = [float(n) for n in reversed(space)]
    cells = [
        cell
        for i, (row, shift) in enumerate(zip(rows, shifts, strict=True))
        for cell in (*(value * (size[j] / size[i]) for j, value in enumerate(row)), shift)
    ]
    return apply("Reshape", apply("Concat", *cells, axis=1), integers([-1, rank, rank + 1]))


def _affine(node: Node, x: Value, step: Value) -> Value:
    """Each sample turned, scaled and shifted by numbers of its own."""
    count, _, *space = x.type.sizes
    rank, a = len(space), node.attributes
    kind = x.dtype if x.dtype == np.float64 else np.dtype("float32")
    planes = (0, 1, 3)[rank - 1]
    drawn = uniform(node, step, (count, planes + 1 + rank), kind)
    parts = make_node("Split", drawn, integers([1] * (planes + 1 + rank)), axis=1).outputs

    def between(part: Value, low: float, high: float) -> Value:
        return part * (high - low) + low

    limit = math.radians(a["degrees"])
    turns = [between(part, -limit, limit) for part in parts[:planes]]
    low, high = a["scale"]
    # A grid says where an element comes from: what grows is read closer together.
    scale = apply("Reciprocal", apply("Exp", between(parts[planes], math.log(low), math.log(high))))
    move = 2 * float(a["translation"])
    shifts = [between(part, -move, move) for part in parts[planes + 1 :]]
    grid = apply("AffineGrid", matrices(turns, scale, shifts, space), integers(x.type.sizes))
    return apply("GridSample", x, grid, mode=a["mode"], padding_mode=a["padding_mode"])


_BOUNDS = {"ratio": (-1e-9, 1.0), "scale": (0.0, math.inf)}


def _like(call: Call) -> list[Type]:
    if call.type(0).dtype.kind != "f":
        raise call.fail("an input of floating numbers")
    for name, value in call.attributes.items():  # a file may hold anything
        default = call.operator.attributes[name]
        like = 1.0 if default is REQUIRED else default
        numbers = value if isinstance(value, tuple) else (value,)
        fits = isinstance(value, type(like)) and len(numbers) == len(np.atleast_1d(like))
        finite = all(isinstance(n, str) or math.isfinite(n) for n in numbers)
        low, high = _BOUNDS.get(name, (-math.inf, math.inf))
        if not fits or not finite or (name in _BOUNDS and not all(low < n < high for n in numbers)):
            raise call.fail(f"{name} like {like!r}; received {value!r}")
    return [call.type(0)]


def _noise(name: str, draw: Draw, **attributes: Any) -> None:
    def body(node: Node) -> Sequence[Value]:
        x, step = (*node.inputs, None)[:2]
        assert x is not None
        return [apply("Identity", x) if step is None else draw(node, x, step)]

    register(
        Operator(
            name=name,
            domain=PRIVATE,
            inputs=("X", "step?"),
            infer=_like,
            body=body,
            attributes={"seed": 0, "stream": 0, **attributes},
            random=name,
        )
    )


_noise("GaussianNoise", _gaussian, deviation=REQUIRED, relative=0)
_noise("AlphaDropout", _alpha, ratio=REQUIRED)
_noise("RandomAffine", _affine, degrees=0.0, scale=(1.0, 1.0), translation=0.0, mode="linear",
       padding_mode="zeros")  # fmt: skip
