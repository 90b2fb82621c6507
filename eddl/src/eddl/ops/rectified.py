"""Pairs of operators that one kernel does better: made by a pass, with the pair as their body."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Node, Type, Value
from eddl.ops.normalization import with_statistics
from eddl.ops.table import PRIVATE, Call, Gradients, Operator, apply, find, make_node, register


def _types(call: Call) -> list[Type]:
    """As BatchNormalization's, and (saved) which elements are above zero."""
    norm = find("BatchNormalization")
    attributes = {**call.attributes, "training_mode": 1}
    types = norm.infer(Call(norm, call.types, call.constants, attributes))
    return [*types, call.type(0).with_dtype(bool)]


def _body(node: Node) -> Sequence[Value]:
    norm = make_node("BatchNormalization", *node.inputs, training_mode=1, **node.attributes)
    y = apply("Relu", norm.outputs[0])
    return [y, *norm.outputs[1:], apply("Greater", y, 0.0)]


def _gradient(node: Node, g: Value | None, *flows: Value | None) -> Gradients:
    x, scale = node.inputs[:2]
    own: Gradients = [None, None, None]
    if g is not None:
        inputs = (x, scale, *node.outputs[3:5], g, node.outputs[5])
        own = make_node("BatchNormalizationReluGrad", *inputs, domain=PRIVATE).outputs
    return with_statistics(node, own, flows)


def _grad_types(call: Call) -> list[Type]:
    return [call.type(0), call.type(1), call.type(1)]


def _grad_body(node: Node) -> Sequence[Value]:
    *inputs, g, mask = node.inputs
    passed = apply("Where", mask, g, 0.0)
    return make_node("BatchNormalizationGrad", *inputs, passed, domain=PRIVATE,
                     training_mode=1).outputs  # fmt: skip


register(
    Operator(
        name="BatchNormalizationRelu",
        domain=PRIVATE,
        inputs=("X", "scale", "B", "input_mean", "input_var"),
        infer=_types,
        body=_body,
        gradient=_gradient,
        any_output=True,
        attributes={"epsilon": 1e-5, "momentum": 0.9},
        float32=True,
    )
)
register(
    Operator(
        name="BatchNormalizationReluGrad",
        domain=PRIVATE,
        inputs=("X", "scale", "mean", "inverse", "dY", "mask"),
        infer=_grad_types,
        body=_grad_body,
        float32=True,
    )
)
