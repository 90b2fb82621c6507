"""Pools of any spatial rank."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.indexing import filled
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, integers, register
from eddl.ops.windows import Windows, check_windows, over, spatial, transposed


def windows_of(node: Node) -> Windows:
    """The windows of a pool, or of a pool's gradient, with static shapes."""
    x = node.inputs[0]
    assert x is not None
    sizes = node.attributes["shape"][2:] if "shape" in node.attributes else x.type.sizes[2:]
    return over(node.attributes, sizes, node.attributes["kernel_shape"])


def _pool(call: Call) -> list[Type]:
    x, kernel = call.type(0), call.attributes["kernel_shape"]
    if x.rank < 3:
        raise call.fail("X of at least 3 axes: N, C and space")
    check_windows(call, x.rank - 2, kernel)
    windows = over(call.attributes, x.shape[2:], kernel)
    if any(isinstance(size, int) and size < 1 for size in windows.output):
        raise call.fail("an input at least as large as the kernel")
    return [x.with_shape([*x.shape[:2], *windows.output])]


def _max_pool(call: Call) -> list[Type]:
    """The pooled type, Indices, and (saved) the greatest's position within its window."""
    (pooled,) = _pool(call)
    count = math.prod(call.attributes["kernel_shape"])
    return [pooled, pooled.with_dtype("int64"), pooled.with_dtype(np.min_scalar_type(count - 1))]


def _max_pool_gradient(node: Node, g: Value, *_: Value | None) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    return (
        apply("MaxPoolGrad", g, node.outputs[2], domain=PRIVATE, shape=x.type.sizes,
              **windows_of(node).attributes()),
    )  # fmt: skip


def _shape_of(call: Call) -> list[Type]:
    return [call.type(0).with_shape(call.attributes["shape"])]


def _max_pool_grad_body(node: Node) -> Sequence[Value]:
    """Each position of the window in turn takes the gradients of the windows that chose it."""
    g, chosen = node.inputs
    assert g is not None and chosen is not None
    windows = windows_of(node)
    shape = node.attributes["shape"]
    sizes = [n + b + a for n, b, a in zip(shape[2:], windows.before, windows.after, strict=True)]
    total: Value | None = None
    for index, offset in enumerate(itertools.product(*map(range, windows.kernel))):
        part = apply("Where", apply("Equal", chosen, index), g, 0.0)
        ranges = [(0, shape[0], 1), (0, shape[1], 1)]
        for o, d, s, count in zip(
            offset, windows.dilations, windows.strides, windows.output, strict=True
        ):
            assert isinstance(count, int)
            ranges.append((o * d, o * d + (count - 1) * s + 1, s))
        placed = apply("SliceGrad", part, domain=PRIVATE, shape=(*shape[:2], *sizes),
                       ranges=tuple(ranges))  # fmt: skip
        total = placed if total is None else total + placed
    assert total is not None
    ends = [b + n for b, n in zip(windows.before, shape[2:], strict=True)]
    axes = integers(range(2, 2 + len(ends)))
    return [apply("Slice", total, integers(windows.before), integers(ends), axes)]


def _sum_pool_gradient(node: Node, g: Value) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    return (
        apply("SumPoolGrad", g, domain=PRIVATE, shape=x.type.sizes,
              **windows_of(node).attributes()),
    )  # fmt: skip


def _sum_pool_grad_gradient(node: Node, g: Value) -> Gradients:
    return (apply("SumPool", g, domain=PRIVATE, **windows_of(node).attributes()),)


def _planes(x: Value) -> Value:
    """[N, C, ...] as [N * C, 1, ...]."""
    sizes = x.type.sizes
    return apply("Reshape", x, integers([sizes[0] * sizes[1], 1, *sizes[2:]]), allowzero=1)


def _sum_pool_body(node: Node) -> Sequence[Value]:
    """A convolution of each plane with ones."""
    x, windows = node.inputs[0], windows_of(node)
    assert x is not None
    summed = apply("Conv", _planes(x), np.ones((1, 1, *windows.kernel), x.dtype),
                   **windows.attributes())  # fmt: skip
    return [apply("Reshape", summed, integers(node.outputs[0].type.sizes))]


def _sum_pool_grad_body(node: Node) -> Sequence[Value]:
    """The transposed convolution of each plane with ones."""
    g, windows, shape = node.inputs[0], windows_of(node), node.attributes["shape"]
    assert g is not None
    shorter = transposed(windows.attributes(), g.type.sizes[2:], windows.kernel).output
    missing = tuple(n - int(have or 0) for n, have in zip(shape[2:], shorter, strict=True))
    spread = apply("ConvTranspose", _planes(g), np.ones((1, 1, *windows.kernel), g.dtype),
                   output_padding=missing, **windows.attributes())  # fmt: skip
    return [apply("Reshape", spread, integers(shape))]


def _counts(node: Node, windows: Windows, sizes: Sequence[int]) -> np.ndarray[Any, Any]:
    """How many elements each window averages: those inside, with the paddings if they count.

    What `ceil_mode` adds behind the paddings never counts.
    """
    rank = len(sizes)
    paddings: Sequence[int] = (0,) * (2 * rank)
    if node.attributes["count_include_pad"]:
        explicit = node.attributes["auto_pad"] == "NOTSET"
        paddings = spatial(node.attributes, windows.kernel)[2] if explicit else windows.pads
    total = np.ones((), np.int64)
    for i, (size, count) in enumerate(zip(sizes, windows.output, strict=True)):
        first = np.arange(int(count or 0)) * windows.strides[i] - windows.before[i]
        taps = first[:, None] + np.arange(windows.kernel[i]) * windows.dilations[i]
        inside = (taps >= -paddings[i]) & (taps < size + paddings[rank + i])
        total = total[..., None] * np.maximum(inside.sum(axis=1), 1)
    return np.asarray(total)


def _average_pool_body(node: Node) -> Sequence[Value]:
    """The sum of each window over the number of its elements."""
    x, windows = node.inputs[0], windows_of(node)
    assert x is not None
    total = apply("SumPool", x, domain=PRIVATE, **windows.attributes())
    return [total / Constant(_counts(node, windows, x.type.sizes[2:]).astype(x.dtype))]


def _powers(x: Value, p: int) -> Value:
    return apply("Pow", apply("Abs", x), np.asarray(p, x.dtype))


def _root(total: Value, p: int) -> Value:
    """The p-th root of a sum of powers, whose gradient at 0 is taken to be 0."""
    above = apply("Greater", total, np.zeros((), total.dtype))
    safe = apply("Where", above, total, np.ones((), total.dtype))
    root = apply("Pow", safe, np.asarray(1 / p, total.dtype))
    return apply("Where", above, root, np.zeros((), total.dtype))


def _lp_pool_body(node: Node) -> Sequence[Value]:
    x, p = node.inputs[0], node.attributes["p"]
    assert x is not None
    attributes = windows_of(node).attributes()
    return [_root(apply("SumPool", _powers(x, p), domain=PRIVATE, **attributes), p)]


def _max_unpool(call: Call) -> list[Type]:
    x, kernel, wanted = call.type(0), call.attributes["kernel_shape"], call.constant(2)
    check_windows(call, x.rank - 2, kernel)
    if call.given(2):
        if wanted is None or wanted.size != x.rank:
            raise call.fail(f"output_shape as a constant of {x.rank} numbers")
        return [x.with_shape([int(n) for n in wanted])]
    return [x.with_shape(_unpooled(call.attributes, x.shape))]


def _unpooled(attributes: Mapping[str, Any], shape: Sequence[Dim]) -> list[Dim]:
    """The shape that pooling made into `shape`. Source: the ONNX specification of MaxUnpool."""
    kernel = attributes["kernel_shape"]
    strides, _, pads = spatial(attributes, kernel)
    rank = len(kernel)
    return [
        *shape[:2],
        *((n - 1) * strides[i] - pads[i] - pads[rank + i] + kernel[i]
          if isinstance(n, int) else None for i, n in enumerate(shape[2:])),
    ]  # fmt: skip


def _max_unpool_body(node: Node) -> Sequence[Value]:
    """Elements go to their indices among zeros; an output_shape adds zeros behind."""
    x, places = node.inputs[:2]
    assert x is not None and places is not None
    inner = [int(n or 0) for n in _unpooled(node.attributes, x.type.sizes)]
    zeros = filled(0, x.dtype, [math.prod(inner)])
    flat = (apply("Reshape", value, integers([-1])) for value in (places, x))
    whole = apply("Reshape", apply("ScatterElements", zeros, *flat), integers(inner))
    added = [n - m for n, m in zip(node.outputs[0].type.sizes, inner, strict=True)]
    return [apply("Pad", whole, integers([0] * len(inner) + added)) if any(added) else whole]


def _global(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 3:
        raise call.fail("X of at least 3 axes: N, C and space")
    return [x.with_shape([*x.shape[:2], *[1] * (x.rank - 2)])]


def _space(node: Node) -> tuple[Value, Value]:
    x = node.inputs[0]
    assert x is not None
    return x, integers(range(2, x.rank))


def _global_average_body(node: Node) -> Sequence[Value]:
    return [apply("ReduceMean", *_space(node), keepdims=1)]


def _global_max_body(node: Node) -> Sequence[Value]:
    return [apply("ReduceMax", *_space(node), keepdims=1)]


def _global_lp_body(node: Node) -> Sequence[Value]:
    (x, axes), p = _space(node), node.attributes["p"]
    return [_root(apply("ReduceSum", _powers(x, p), axes, keepdims=1), p)]


_WINDOWS = {
    "auto_pad": "NOTSET",
    "ceil_mode": 0,
    "dilations": (),
    "kernel_shape": REQUIRED,
    "pads": (),
    "strides": (),
}
register(
    Operator(
        name="MaxPool",
        inputs=("X",),
        outputs=2,
        infer=_max_pool,
        gradient=_max_pool_gradient,
        attributes={**_WINDOWS, "storage_order": 0},
        since=12,
    )
)
register(
    Operator(
        name="MaxPoolGrad",
        domain=PRIVATE,
        inputs=("dY", "chosen"),
        infer=_shape_of,
        body=_max_pool_grad_body,
        attributes={**_WINDOWS, "shape": REQUIRED},
    )
)
register(
    Operator(name="GlobalAveragePool", inputs=("X",), infer=_global, body=_global_average_body)
)
register(Operator(name="GlobalMaxPool", inputs=("X",), infer=_global, body=_global_max_body))
register(
    Operator(
        name="GlobalLpPool",
        inputs=("X",),
        infer=_global,
        body=_global_lp_body,
        attributes={"p": 2},
        since=2,
    )
)
register(
    Operator(
        name="SumPool",
        domain=PRIVATE,
        inputs=("X",),
        infer=_pool,
        body=_sum_pool_body,
        gradient=_sum_pool_gradient,
        attributes=_WINDOWS,
    )
)
register(
    Operator(
        name="SumPoolGrad",
        domain=PRIVATE,
        inputs=("dY",),
        infer=_shape_of,
        body=_sum_pool_grad_body,
        gradient=_sum_pool_grad_gradient,
        attributes={**_WINDOWS, "shape": REQUIRED},
    )
)
register(
    Operator(
        name="AveragePool",
        inputs=("X",),
        infer=_pool,
        body=_average_pool_body,
        attributes={**_WINDOWS, "count_include_pad": 0},
        since=19,
    )
)
register(
    Operator(
        name="LpPool",
        inputs=("X",),
        infer=_pool,
        body=_lp_pool_body,
        attributes={**_WINDOWS, "p": 2},
        since=18,
    )
)
register(
    Operator(
        name="MaxUnpool",
        inputs=("X", "I", "output_shape?"),
        infer=_max_unpool,
        body=_max_unpool_body,
        attributes={"kernel_shape": REQUIRED, "pads": (), "strides": ()},
        since=11,
        constant_inputs=(2,),
    )
)
