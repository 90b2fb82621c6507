"""Resizing along any axes, in every mode: along one axis it is a product with a sparse matrix.

`Resample` is that product: row `o` of the matrix holds `weights[o]` at the columns `indices[o]`.
Its gradient is the product with the transposed matrix, again a `Resample`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import known
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, register

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Line:
    """How one axis is resized: `scale` is output over input, `roi` the part of the input taken."""

    axis: int
    size: int
    count: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def neutral(self) -> bool:
        """Whether the axis stays as it is."""
        return self.size == self.count and self.scale == 1.0 and self.roi == (0.0, 1.0)


def _lines(
    attributes: Mapping[str, Any], shape: Sequence[int], roi: Any, scales: Any, sizes: Any
) -> list[Line]:
    """The resized axes. Source: the ONNX operator specification of Resize."""
    given = attributes["axes"]
    axes = [*range(len(shape))] if given is None else [axis % len(shape) for axis in given]
    old = [shape[axis] for axis in axes]
    if scales is not None:
        factors = [float(s) for s in scales]
        new = [int(f * n) for f, n in zip(factors, old, strict=True)]
    else:
        new = [int(n) for n in sizes]
        factors = [n / max(m, 1) for n, m in zip(new, old, strict=True)]
        policy = attributes["keep_aspect_ratio_policy"]
        if policy != "stretch":
            factors = [(min if policy == "not_larger" else max)(factors)] * len(axes)
            new = [int(f * n + 0.5) for f, n in zip(factors, old, strict=True)]
    parts = [(0.0, 1.0)] * len(axes)
    if attributes["coordinate_transformation_mode"] == "tf_crop_and_resize":
        parts = [(float(roi[i]), float(roi[len(axes) + i])) for i in range(len(axes))]
    return [Line(*line) for line in zip(axes, old, new, factors, parts, strict=True)]


def _coordinates(line: Line, mode: str) -> Array:
    """Where the output's elements lie in the input. Source: as `_lines`."""
    y = np.arange(line.count, dtype=np.float64)
    size, width = line.size, line.scale * line.size
    start, stop = line.roi
    match mode:
        case "half_pixel":
            return (y + 0.5) / line.scale - 0.5
        case "half_pixel_symmetric":
            return size / 2 * (1 - line.count / width) + (y + 0.5) / line.scale - 0.5
        case "pytorch_half_pixel":
            return (y + 0.5) / line.scale - 0.5 if width != 1 else np.full_like(y, -0.5)
        case "tf_half_pixel_for_nn":
            return (y + 0.5) / line.scale
        case "align_corners":
            return y * (size - 1) / (width - 1) if width != 1 else np.zeros_like(y)
        case "tf_crop_and_resize":
            step = y / (width - 1) if width != 1 else np.full_like(y, 0.5)
            return (step * (stop - start) + start) * (size - 1)
    return y / line.scale


def _cubic(distance: Array, a: float) -> Array:
    """Keys' kernel. Source: Keys 1981, equation 15, with -1/2 replaced by a."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    found: Array = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    return found


_ROUNDED: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@lru_cache(maxsize=256)
def _matrix(
    line: Line, transform: str, mode: str, nearest: str, a: float, antialias: bool, exclude: bool
) -> tuple[Array, Array, Array]:
    """Indices and weights of each output element, and which lie outside the input."""
    x = _coordinates(line, transform)
    outside = (x < 0) | (x > line.size - 1)
    if mode == "nearest":
        places = _ROUNDED[nearest](x)[:, None]
        weights = np.ones_like(places)
    else:
        shrink = min(line.scale, 1.0) if antialias else 1.0
        reach = int(np.ceil((2 if mode == "cubic" else 1) / shrink))
        places = np.floor(x)[:, None] + np.arange(1 - reach, reach + 1)
        distance = (places - x[:, None]) * shrink
        weights = _cubic(distance, a) if mode == "cubic" else np.maximum(1 - np.abs(distance), 0)
        if exclude:
            weights[(places < 0) | (places >= line.size)] = 0
        if exclude or antialias:
            total = weights.sum(axis=1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
    return np.clip(places, 0, line.size - 1).astype(np.int64), weights, outside


def transposed(indices: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Indices and weights of the transposed matrix, for rows of `size` columns.

    >>> transposed(np.array([[0], [0], [1]]), np.ones((3, 1)), 2)[0].tolist()
    [[0, 1], [2, 0]]
    """
    rows = np.broadcast_to(np.arange(len(indices))[:, None], indices.shape)
    used = weights.reshape(-1) != 0
    columns, rows = indices.reshape(-1)[used], rows.reshape(-1)[used]
    order = np.argsort(columns, kind="stable")
    counts = np.bincount(columns, minlength=size)
    slot = np.arange(len(columns)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.zeros((size, max(int(counts.max(initial=0)), 1)), np.int64)
    back = np.zeros(found.shape, weights.dtype)
    found[columns[order], slot] = rows[order]
    back[columns[order], slot] = weights.reshape(-1)[used][order]
    return found, back


def resample(x: Value, axis: int, indices: Array, weights: Array) -> Value:
    """The product of a sparse matrix with each line of `x` along an axis."""
    factors = np.ascontiguousarray(weights.astype(x.dtype))
    return apply("Resample", x, indices, factors, domain=PRIVATE, axis=axis)


def _resample(call: Call) -> list[Type]:
    x, axis = call.type(0), call.attributes["axis"]
    return [x.with_shape([*x.shape[:axis], call.type(1).shape[0], *x.shape[axis + 1 :]])]


def _table(node: Node) -> tuple[Value, Array, Array, int]:
    x, indices, weights = node.inputs
    assert x is not None and isinstance(indices, Constant) and isinstance(weights, Constant)
    return x, indices.data, weights.data, node.attributes["axis"]


def _resample_gradient(node: Node, g: Value) -> Gradients:
    x, indices, weights, axis = _table(node)
    return (resample(g, axis, *transposed(indices, weights, x.type.sizes[axis])), None, None)


def _resample_body(node: Node) -> Sequence[Value]:
    """The product with the dense matrix."""
    x, indices, weights, axis = _table(node)
    matrix = np.zeros((x.type.sizes[axis], len(indices)), x.dtype)
    np.add.at(matrix, (indices, np.arange(len(indices))[:, None]), weights)
    order = (*(i for i in range(x.rank) if i != axis), axis)
    turned = apply("MatMul", apply("Transpose", x, perm=order), matrix)
    return [apply("Transpose", turned, perm=tuple(int(i) for i in np.argsort(order)))]


def _constants(read: Any) -> tuple[Any, Any, Any]:
    """roi, scales and sizes, `None` where left out or empty."""
    found = [read(i) for i in (1, 2, 3)]
    roi, scales, sizes = (None if d is None or not d.size else d.reshape(-1) for d in found)
    return roi, scales, sizes


_CHOICES = {
    "mode": ("nearest", "linear", "cubic"),
    "coordinate_transformation_mode": (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_crop_and_resize", "tf_half_pixel_for_nn",
    ),
    "nearest_mode": tuple(_ROUNDED),
    "keep_aspect_ratio_policy": ("stretch", "not_larger", "not_smaller"),
}  # fmt: skip


def _resize(call: Call) -> list[Type]:
    x, (roi, scales, sizes) = call.type(0), _constants(call.constant)
    for name, choices in _CHOICES.items():
        if call.attributes[name] not in choices:
            raise call.fail(f"{name} to be one of {choices}; received {call.attributes[name]!r}")
    if (scales is None) == (sizes is None):
        raise call.fail("either scales or sizes, as a constant")
    axes = call.attributes["axes"]
    count = x.rank if axes is None else len(axes)
    crops = call.attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    if len(scales if sizes is None else sizes) != count or (
        crops and (roi is None or len(roi) != 2 * count)
    ):
        raise call.fail(f"one scale or size for each of {count} axes, and two of roi")
    if scales is not None and min(scales, default=1) <= 0:
        raise call.fail(f"scales above 0; received {scales.tolist()}")
    shape: list[Dim] = list(x.shape)
    chosen = [axis % x.rank for axis in (range(x.rank) if axes is None else axes)]
    if known(*(x.shape[axis] for axis in chosen)):
        known_sizes = [n if isinstance(n, int) else 1 for n in x.shape]
        for line in _lines(call.attributes, known_sizes, roi, scales, sizes):
            shape[line.axis] = line.count
            if line.count and not line.size:
                raise call.fail("an input that is not empty")
        return [x.with_shape(shape)]
    stretched = call.attributes["keep_aspect_ratio_policy"] == "stretch"
    for i, axis in enumerate(chosen):
        if scales is None:
            shape[axis] = int(sizes[i]) if stretched else None
        elif float(scales[i]) != 1.0:
            shape[axis] = None
    return [x.with_shape(shape)]


def _resize_body(node: Node) -> Sequence[Value]:
    """One axis after the other; what is no float is picked, or computed in float64 and rounded."""
    x = node.inputs[0]
    assert x is not None
    a = node.attributes

    def read(index: int) -> Any:
        value = node.inputs[index] if index < len(node.inputs) else None
        return value.data if isinstance(value, Constant) else None

    lines = _lines(a, x.type.sizes, *_constants(read))
    kind, exact = x.dtype, a["mode"] == "nearest" and x.dtype not in (np.float32, np.float64)
    whole = np.issubdtype(kind, np.integer)
    working = np.float64 if whole else np.float32
    wide = exact or kind in (np.float32, np.float64)
    y = x if wide else apply("Cast", x, to=np.dtype(working))
    transform = a["coordinate_transformation_mode"]
    outside = np.zeros((1,) * x.rank, bool)
    for line in lines:
        if line.neutral:
            continue
        indices, weights, beyond = _matrix(
            line, transform, a["mode"], a["nearest_mode"], float(a["cubic_coeff_a"]),
            bool(a["antialias"]), bool(a["exclude_outside"]),
        )  # fmt: skip
        if exact:
            y = apply("Gather", y, indices[:, 0], axis=line.axis)
        else:
            y = resample(y, line.axis, indices, weights)
        outside = outside | beyond.reshape([-1 if i == line.axis else 1 for i in range(x.rank)])
    if transform == "tf_crop_and_resize" and outside.any():
        fill = np.asarray(a["extrapolation_value"], y.dtype)
        y = apply("Where", outside, fill, y)
    if wide:
        return [y]
    if whole:
        bounds = np.iinfo(kind)
        y = apply("Round", y)
        y = apply("Clip", y, np.float64(bounds.min), np.float64(bounds.max))
    return [apply("Cast", y, to=kind)]


def _first_form(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Opset 10 had neither roi nor coordinate transformations. Source: ONNX's version converter."""
    attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return attributes, [inputs[0], None, *inputs[1:]]


def _scales_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    scales = attributes.pop("scales", None)
    if scales is not None:
        inputs = [inputs[0], Constant(np.asarray(scales, np.float32))]
    return attributes, inputs


_scales_to_input.reads = ("scales",)  # type: ignore[attr-defined]
_RESIZE: dict[str, Any] = {
    "antialias": 0,
    "axes": None,
    "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.75,
    "exclude_outside": 0,
    "extrapolation_value": 0.0,
    "keep_aspect_ratio_policy": "stretch",
    "mode": "nearest",
    "nearest_mode": "round_prefer_floor",
}


def _upsample(call: Call) -> list[Type]:
    if call.constant(1) is None:
        raise call.fail("scales as a constant")
    types = (call.types[0], None, call.types[1])
    constants = (None, None, call.constant(1))
    return _resize(Call(call.operator, types, constants, {**_RESIZE, **call.attributes}))


def _upsample_body(node: Node) -> Sequence[Value]:
    x, scales = node.inputs
    return [
        apply("Resize", x, None, scales, mode=node.attributes["mode"], nearest_mode="floor",
              coordinate_transformation_mode="asymmetric"),
    ]  # fmt: skip


register(
    Operator(
        name="Resample",
        domain=PRIVATE,
        inputs=("X", "indices", "weights"),
        infer=_resample,
        gradient=_resample_gradient,
        body=_resample_body,
        attributes={"axis": REQUIRED},
        constant_inputs=(1, 2),
    )
)
register(
    Operator(
        name="Resize",
        inputs=("X", "roi?", "scales?", "sizes?"),
        infer=_resize,
        body=_resize_body,
        attributes=_RESIZE,
        since=19,
        constant_inputs=(1, 2, 3),
        upgrades={11: _first_form},
    )
)
register(
    Operator(
        name="Upsample",
        inputs=("X", "scales"),
        infer=_upsample,
        body=_upsample_body,
        attributes={"mode": "nearest"},
        since=9,
        constant_inputs=(1,),
        upgrades={9: _scales_to_input},
    )
)
