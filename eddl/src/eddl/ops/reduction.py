"""Reductions over axes, soft maxima, and the index of the greatest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Constant, Dim, Node, Type, Value
from eddl.ops.shapes import axes_of, node_axes, positive_axis
from eddl.ops.table import Call, Gradients, Operator, apply, axes_to_input, integers, register


def _reduced(call: Call) -> list[Type]:
    data = call.type(0)
    axes = axes_of(call, 1, data.rank)
    if not axes:
        axes = () if call.attributes["noop_with_empty_axes"] else tuple(range(data.rank))
    keep = call.attributes["keepdims"]
    shape: list[Dim] = []
    for axis, size in enumerate(data.shape):
        if axis not in axes:
            shape.append(size)
        elif keep:
            shape.append(1)
    return [data.with_shape(shape)]


def reduced_axes(node: Node) -> tuple[int, ...]:
    """The axes a reduction node sums over, counted from the front."""
    data, axes = (*node.inputs, None)[:2]
    assert data is not None
    empty = axes is None or (isinstance(axes, Constant) and axes.data.size == 0)
    if empty and node.attributes["noop_with_empty_axes"]:
        return ()
    return node_axes(axes, data.rank)


def _kept(node: Node, value: Value) -> Value:
    """A reduction's output (or its gradient) with the reduced axes as size 1."""
    x = node.inputs[0]
    assert x is not None
    axes = reduced_axes(node)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.type.sizes)]
    return apply("Reshape", value, integers(shape))


def _spread(node: Node, value: Value) -> Value:
    x = node.inputs[0]
    assert x is not None
    return apply("Expand", _kept(node, value), integers(x.type.sizes))


def _sum_gradient(node: Node, g: Value) -> Gradients:
    return (_spread(node, g), None)[: len(node.inputs)]


def _mean_gradient(node: Node, g: Value) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    share = node.outputs[0].type.count / x.type.count
    return (_spread(node, g * share), None)[: len(node.inputs)]


def _extreme_gradient(node: Node, g: Value) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    if not reduced_axes(node):
        return (g, None)[: len(node.inputs)]
    chosen = apply("Cast", apply("Equal", x, _kept(node, node.outputs[0])), to=x.dtype)
    ties = apply("ReduceSum", chosen, integers(reduced_axes(node)), keepdims=1)
    return (chosen * (_kept(node, g) / ties), None)[: len(node.inputs)]


def _arg_type(call: Call) -> list[Type]:
    data = call.type(0)
    axis = positive_axis(call, call.attributes["axis"], data.rank)
    middle = [1] if call.attributes["keepdims"] else []
    return [Type("int64", [*data.shape[:axis], *middle, *data.shape[axis + 1 :]])]


def _along(call: Call) -> list[Type]:
    positive_axis(call, call.attributes["axis"], call.type(0).rank)
    return [call.type(0)]


def _total(node: Node, value: Value) -> Value:
    axis = node.attributes["axis"] % value.rank
    return apply("ReduceSum", value, integers([axis]), keepdims=1)


def _softmax_gradient(node: Node, g: Value) -> Gradients:
    y = node.outputs[0]
    return (y * (g - _total(node, g * y)),)


def _log_softmax_gradient(node: Node, g: Value) -> Gradients:
    return (g - apply("Exp", node.outputs[0]) * _total(node, g),)


def _prod_gradient(node: Node, g: Value) -> Gradients:
    """Each element takes the product of the others, also where one of them is zero."""
    x = node.inputs[0]
    assert x is not None
    axes = integers(reduced_axes(node))
    if not axes.data.size:
        return (g, None)[: len(node.inputs)]
    zero = apply("Equal", x, 0.0)
    safe = apply("Where", zero, 1.0, x)
    product = apply("ReduceProd", safe, axes, keepdims=1)
    zeros = apply("ReduceSum", apply("Cast", zero, to=x.dtype), axes, keepdims=1)
    at_zero = apply("Where", apply("Equal", zeros, 1.0), product, 0.0)
    elsewhere = apply("Where", apply("Equal", zeros, 0.0), product / safe, 0.0)
    others = apply("Where", zero, at_zero, elsewhere)
    return (_kept(node, g) * others, None)[: len(node.inputs)]


def _part(op: str, node: Node, value: Value) -> Value:
    """Another reduction over a node's axes."""
    return apply(op, value, *node.inputs[1:2], **node.attributes)


def _exact(function: Callable[[Node, Value], Value]) -> Callable[[Node], Sequence[Value]]:
    """A body that computes in float64 for whole numbers, which have no roots nor logarithms."""

    def body(node: Node) -> Sequence[Value]:
        x = node.inputs[0]
        assert x is not None
        if x.dtype.kind not in "iu":
            return [function(node, x)]
        return [apply("Cast", function(node, apply("Cast", x, to=np.dtype("float64"))), to=x.dtype)]

    return body


def _log_sum_exp(node: Node, x: Value) -> Value:
    """The largest element stands outside, so that nothing overflows."""
    options = {**node.attributes, "keepdims": 1}
    largest = apply("ReduceMax", x, *node.inputs[1:2], **options)
    shift = apply("Where", apply("IsInf", largest), 0.0, largest)
    total = apply("Log", _part("ReduceSum", node, apply("Exp", x - shift)))
    return total + apply("Reshape", shift, integers(total.type.sizes))


def _log_sum_exp_gradient(node: Node, g: Value) -> Gradients:
    x = node.inputs[0]
    assert x is not None
    share = apply("Exp", x - _kept(node, node.outputs[0]))
    return (_kept(node, g) * share, None)[: len(node.inputs)]


def _cumulative(call: Call) -> list[Type]:
    x, axis = call.type(0), call.constant(1)
    if axis is not None:
        positive_axis(call, int(axis.reshape(-1)[0]), x.rank)
    return [x]


def _turned(node: Node, g: Value) -> Value:
    attributes = {**node.attributes, "reverse": 1 - node.attributes["reverse"]}
    return apply("CumSum", g, node.inputs[1], **attributes)


def _cumsum_gradient(node: Node, g: Value) -> Gradients:
    return (_turned(node, g), None)


def _cumprod_gradient(node: Node, g: Value) -> Gradients:
    """Defined where no element is zero."""
    return (_turned(node, g * node.outputs[0]) / node.inputs[0], None)


def _hardmax_body(node: Node) -> Sequence[Value]:
    x = node.inputs[0]
    assert x is not None
    axis = node.attributes["axis"] % x.rank
    first = apply("ArgMax", x, axis=axis, keepdims=0)
    depth = np.asarray(x.type.sizes[axis], np.int64)
    return [apply("OneHot", first, depth, np.asarray([0, 1], x.dtype), axis=axis)]


def _norm_body(node: Node) -> Sequence[Value]:
    x = node.inputs[0]
    assert x is not None
    op = "ReduceL1" if node.attributes["p"] == 1 else "ReduceL2"
    norm = apply(op, x, integers([node.attributes["axis"]]), keepdims=1)
    zero = apply("Equal", norm, 0.0)
    return [apply("Where", zero, 0.0, x / apply("Where", zero, 1.0, norm))]


def _norm(call: Call) -> list[Type]:
    if call.attributes["p"] not in (1, 2):
        raise call.fail(f"p of 1 or 2; received {call.attributes['p']}")
    return _along(call)


def _to_last_axes(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 13 soft maxima were over all axes from `axis` (default 1) on."""
    x, axis = inputs[0], attributes.get("axis", 1)
    assert x is not None
    attributes["axis"] = axis
    if not x.type.opaque and any(size != 1 for size in x.shape[axis % max(x.rank, 1) + 1 :]):
        raise AttributeValueError(
            f"received axis {axis} of an opset before 13 for {x.type}, which means all axes from "
            "there on; expected the last axis that is longer than 1"
        )
    return attributes, inputs


_to_last_axes.reads = ("axis",)  # type: ignore[attr-defined]


_AXES = {"keepdims": 1, "noop_with_empty_axes": 0}
_REDUCTIONS: Sequence[tuple[str, int, object]] = (
    ("ReduceSum", 13, _sum_gradient),
    ("ReduceMean", 18, _mean_gradient),
    ("ReduceMax", 18, _extreme_gradient),
    ("ReduceMin", 18, _extreme_gradient),
    ("ReduceProd", 18, _prod_gradient),
)
_BODIES: Sequence[tuple[str, Any, Any]] = (
    ("ReduceL1", lambda node, x: _part("ReduceSum", node, apply("Abs", x)), None),
    ("ReduceL2", lambda node, x: apply("Sqrt", _part("ReduceSum", node, x * x)), None),
    ("ReduceLogSum", lambda node, x: apply("Log", _part("ReduceSum", node, x)), None),
    ("ReduceLogSumExp", _log_sum_exp, _log_sum_exp_gradient),
    ("ReduceSumSquare", lambda node, x: _part("ReduceSum", node, x * x), None),
)


for _name, _since, _gradient in _REDUCTIONS:
    register(
        Operator(
            name=_name,
            inputs=("data", "axes?"),
            infer=_reduced,
            gradient=_gradient,  # type: ignore[arg-type]
            attributes=_AXES,
            since=_since,
            constant_inputs=(1,),
            float32=True,
            upgrades={_since: axes_to_input},
        )
    )
for _name, _function, _own in _BODIES:
    register(
        Operator(
            name=_name,
            inputs=("data", "axes?"),
            infer=_reduced,
            body=_exact(_function),
            gradient=_own,
            attributes=_AXES,
            since=18,
            constant_inputs=(1,),
            float32=True,
            upgrades={18: axes_to_input},
        )
    )
for _name, _own in (("CumSum", _cumsum_gradient), ("CumProd", _cumprod_gradient)):
    register(
        Operator(
            name=_name,
            inputs=("x", "axis"),
            infer=_cumulative,
            gradient=_own,
            attributes={"exclusive": 0, "reverse": 0},
            since=11 if _name == "CumSum" else 26,
            constant_inputs=(1,),
            float32=True,
        )
    )
register(
    Operator(
        name="Hardmax",
        inputs=("input",),
        infer=_along,
        body=_hardmax_body,
        gradient=lambda node, g: (None,),
        attributes={"axis": -1},
        since=13,
        upgrades={13: _to_last_axes},
    )
)
register(
    Operator(
        name="LpNormalization",
        inputs=("input",),
        infer=_norm,
        body=_norm_body,
        attributes={"axis": -1, "p": 2},
        float32=True,
    )
)
for _name in ("ArgMax", "ArgMin"):
    register(
        Operator(
            name=_name,
            inputs=("data",),
            infer=_arg_type,
            attributes={"axis": 0, "keepdims": 1, "select_last_index": 0},
            since=13,
        )
    )
register(
    Operator(
        name="Softmax",
        inputs=("input",),
        infer=_along,
        gradient=_softmax_gradient,
        attributes={"axis": -1},
        since=13,
        float32=True,
        upgrades={13: _to_last_axes},
    )
)
register(
    Operator(
        name="LogSoftmax",
        inputs=("input",),
        infer=_along,
        gradient=_log_softmax_gradient,
        attributes={"axis": -1},
        since=13,
        float32=True,
        upgrades={13: _to_last_axes},
    )
)
