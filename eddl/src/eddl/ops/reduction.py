"""Reductions over axes, soft maxima, and the index of the greatest."""

from __future__ import annotations

from collections.abc import Sequence

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


_AXES = {"keepdims": 1, "noop_with_empty_axes": 0}
_REDUCTIONS: Sequence[tuple[str, int, object]] = (
    ("ReduceSum", 13, _sum_gradient),
    ("ReduceMean", 18, _mean_gradient),
    ("ReduceMax", 18, _extreme_gradient),
    ("ReduceMin", 18, _extreme_gradient),
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
    )
)
