"""Pools of any spatial rank."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from eddl.graph import Node, Type, Value
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, integers, register
from eddl.ops.windows import Windows, check_windows, over


def windows_of(node: Node) -> Windows:
    """The windows of a MaxPool or MaxPoolGrad node with static shapes."""
    x = node.inputs[0]
    assert x is not None
    sizes = node.attributes["shape"][2:] if node.op == "MaxPoolGrad" else x.type.sizes[2:]
    return over(node.attributes, sizes, node.attributes["kernel_shape"])


def _max_pool(call: Call) -> list[Type]:
    """The pooled type, and the saved position of each greatest element within its window."""
    x, kernel = call.type(0), call.attributes["kernel_shape"]
    if x.rank < 3:
        raise call.fail("X of at least 3 axes: N, C and space")
    check_windows(call, x.rank - 2, kernel)
    windows = over(call.attributes, x.shape[2:], kernel)
    if any(isinstance(size, int) and size < 1 for size in windows.output):
        raise call.fail("an input at least as large as the kernel")
    pooled = x.with_shape([*x.shape[:2], *windows.output])
    return [pooled, pooled.with_dtype(np.min_scalar_type(math.prod(kernel) - 1))]


def _max_pool_gradient(node: Node, g: Value, saved: Value | None) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    return (
        apply("MaxPoolGrad", g, node.outputs[1], domain=PRIVATE, shape=x.type.sizes,
              **windows_of(node).attributes()),
    )  # fmt: skip


def _max_pool_grad(call: Call) -> list[Type]:
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


def _global(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 3:
        raise call.fail("X of at least 3 axes: N, C and space")
    return [x.with_shape([*x.shape[:2], *[1] * (x.rank - 2)])]


def _global_average_body(node: Node) -> Sequence[Value]:
    x = node.inputs[0]
    assert x is not None
    return [apply("ReduceMean", x, integers(range(2, x.rank)), keepdims=1)]


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
        infer=_max_pool_grad,
        body=_max_pool_grad_body,
        attributes={**_WINDOWS, "shape": REQUIRED},
    )
)
register(
    Operator(name="GlobalAveragePool", inputs=("X",), infer=_global, body=_global_average_body)
)
