"""Tensors made from sizes and numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Node, Type, Value
from eddl.ops.table import Call, Operator, apply, register


def _scalar(call: Call, index: int) -> Any:
    data = call.constant(index)
    if data is not None and data.size != 1:
        raise call.fail(f"{call.operator.formal(index)} as one number")
    return None if data is None else data.reshape(-1)[0]


def range_length(start: Any, limit: Any, delta: Any) -> int:
    """The number of elements of a Range."""
    first, end, step = float(start), float(limit), float(delta)
    if np.dtype(type(start)).kind in "iu":
        return max(-((int(start) - int(limit)) // int(delta)), 0)
    return max(math.ceil((end - first) / step), 0)


def _range(call: Call) -> list[Type]:
    start, limit, delta = (_scalar(call, i) for i in range(3))
    if delta is not None and not delta:
        raise call.fail("a delta other than 0")
    if start is None or limit is None or delta is None:
        return [Type(call.type(0).dtype, [None])]
    return [Type(call.type(0).dtype, [range_length(start, limit, delta)])]


def _eye_like(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank != 2:
        raise call.fail("a matrix")
    return [x.with_dtype(call.attributes["dtype"] or x.dtype)]


def _eye_like_body(node: Node) -> Sequence[Value]:
    made = node.outputs[0].type
    rows, columns = made.sizes
    return [Constant(np.eye(rows, columns, k=node.attributes["k"]).astype(made.dtype))]


def _constant_of_shape(call: Call) -> list[Type]:
    value, sizes = call.attributes["value"], call.constant(0)
    dtype = np.dtype("float32") if value is None else value.dtype
    if value is not None and value.size != 1:
        raise call.fail(f"a value of one element; received {value.size}")
    if sizes is None:
        rank = call.type(0).shape[0] if call.type(0).rank else None
        if not isinstance(rank, int):
            raise call.fail("a shape whose length is known")
        return [Type(dtype, [None] * rank)]
    if np.any(sizes < 0):
        raise call.fail(f"sizes of at least 0; received {sizes.tolist()}")
    return [Type(dtype, [int(size) for size in sizes])]


def _constant_of_shape_body(node: Node) -> Sequence[Value]:
    made, value = node.outputs[0].type, node.attributes["value"]
    one = np.zeros(1, made.dtype) if value is None else value.reshape(1)
    return [apply("Expand", one.reshape((1,) * len(made.sizes)), np.asarray(made.sizes, np.int64))]


def _size_body(node: Node) -> Sequence[Value]:
    x = node.inputs[0]
    assert x is not None
    return [Constant(np.asarray(x.type.count, np.int64))]


register(
    Operator(
        name="Range",
        inputs=("start", "limit", "delta"),
        infer=_range,
        attributes={"stash_type": 1},
        since=11,
        constant_inputs=(0, 1, 2),
    )
)
register(
    Operator(
        name="EyeLike",
        inputs=("input",),
        infer=_eye_like,
        body=_eye_like_body,
        gradient=lambda node, g: (None,),
        attributes={"dtype": None, "k": 0},
        since=9,
    )
)
register(
    Operator(
        name="ConstantOfShape",
        inputs=("input",),
        infer=_constant_of_shape,
        body=_constant_of_shape_body,
        attributes={"value": None},
        since=9,
        constant_inputs=(0,),
    )
)
register(
    Operator(
        name="Size",
        inputs=("data",),
        infer=lambda call: [Type("int64", [])],
        body=_size_body,
    )
)
