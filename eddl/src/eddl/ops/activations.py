"""Activations: elementwise operators between layers, each a formula with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from eddl.graph import Node, Type, Value
from eddl.ops.elementwise import elementwise, same_dtype, unary
from eddl.ops.shapes import broadcast, sum_to
from eddl.ops.table import PRIVATE, Call, Gradients, Operator, apply, make_node, register


def _where(condition: str, x: Value, bound: float, yes: Value, no: Value | float) -> Value:
    """A gradient that depends on which side of a bound x lies."""
    return apply("Where", apply(condition, x, bound), yes, no)


def _input(node: Node) -> Value:
    x = node.inputs[0]
    assert x is not None
    return x


def _second(node: Node) -> Value:
    g = node.inputs[1]
    assert g is not None
    return g


def _elu_gradient(node: Node, g: Value) -> Gradients:
    x, y = _input(node), node.outputs[0]
    return (_where("Greater", x, 0.0, g, g * (y + float(node.attributes["alpha"]))),)


def _selu_gradient(node: Node, g: Value) -> Gradients:
    x, y = _input(node), node.outputs[0]
    alpha, gamma = float(node.attributes["alpha"]), float(node.attributes["gamma"])
    return (_where("Greater", x, 0.0, g * gamma, g * (y + alpha * gamma)),)


def _celu_gradient(node: Node, g: Value) -> Gradients:
    x, y = _input(node), node.outputs[0]
    return (_where("Greater", x, 0.0, g, g * (y / float(node.attributes["alpha"]) + 1.0)),)


_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715


def _gelu_formula(node: Node) -> str:
    """Source: Hendrycks and Gimpel 2016, exact and with their approximation."""
    if node.attributes["approximate"] == "tanh":
        return f"0.5 * X * (1 + tanh({_TANH_SCALE} * (X + {_TANH_CUBE} * X * X * X)))"
    return f"0.5 * X * (1 + erf(X * {math.sqrt(0.5)}))"


def _gelu_gradient(node: Node, g: Value) -> Gradients:
    x = _input(node)
    if node.attributes["approximate"] == "tanh":
        t = apply("Tanh", _TANH_SCALE * (x + _TANH_CUBE * (x * x * x)))
        slope = _TANH_SCALE * (1.0 + 3 * _TANH_CUBE * (x * x))
        return (g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope),)
    below = 0.5 * (1.0 + apply("Erf", x * math.sqrt(0.5)))
    density = apply("Exp", -0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))
    return (g * (below + x * density),)


def _hard_sigmoid_gradient(node: Node, g: Value) -> Gradients:
    y = node.outputs[0]
    inside = apply("And", apply("Greater", y, 0.0), apply("Less", y, 1.0))
    return (apply("Where", inside, g * float(node.attributes["alpha"]), 0.0),)


def _hard_swish_gradient(node: Node, g: Value) -> Gradients:
    x = _input(node)
    inner = _where("Less", x, 3.0, g * (x / 3.0 + 0.5), g)
    return (_where("Greater", x, -3.0, inner, 0.0),)


def _leaky_gradient(node: Node, g: Value) -> Gradients:
    return (_where("Greater", _input(node), 0.0, g, g * float(node.attributes["alpha"])),)


def _mish_gradient(node: Node, g: Value) -> Gradients:
    x = _input(node)
    t = apply("Tanh", apply("Softplus", x))
    return (g * (t + x * (1.0 - t * t) * apply("Sigmoid", x)),)


def _softsign_slope(x: Value, y: Value) -> Value:
    inverse = apply("Reciprocal", 1.0 + apply("Abs", x))
    return inverse * inverse


def _swish_gradient(node: Node, g: Value) -> Gradients:
    x, alpha = _input(node), float(node.attributes["alpha"])
    gate = apply("Sigmoid", alpha * x)
    return (g * (gate * (1.0 + alpha * x * (1.0 - gate))),)


def _swiglu_gradient(node: Node, g: Value) -> Gradients:
    """Source: Shazeer 2020, equation 6."""
    a, b = node.inputs
    assert a is not None and b is not None
    alpha = float(node.attributes["alpha"])
    gate = apply("Sigmoid", alpha * a)
    swish = a * gate
    return (g * b * (gate + alpha * swish * (1.0 - gate)), g * swish)


def _swiglu(call: Call) -> list[Type]:
    if call.type(0) != call.type(1):
        raise call.fail("a gate A and a value B of one type")
    return [call.type(0)]


def _prelu(call: Call) -> list[Type]:
    x = call.type(0)
    dtype, shape = same_dtype(call), broadcast(call, [x.shape, call.type(1).shape])
    if len(shape) != x.rank:
        raise call.fail("a slope that broadcasts to X")
    return [Type(dtype, shape)]


def _prelu_gradient(node: Node, g: Value) -> Gradients:
    return make_node("PReluGrad", *node.inputs, g, domain=PRIVATE).outputs


def _prelu_grad(call: Call) -> list[Type]:
    if call.type(2) != call.type(0):
        raise call.fail("a gradient of X's type")
    _prelu(call)
    return [call.type(0), call.type(1)]


def _prelu_grad_body(node: Node) -> Sequence[Value]:
    x, slope, g = node.inputs
    assert x is not None and slope is not None and g is not None
    positive = apply("Greater", x, 0.0)  # at zero the slope is that of below, as in torch
    return [
        apply("Where", positive, g, g * slope),
        sum_to(apply("Where", positive, 0.0, g * x), slope),
    ]


def _slope(call: Call) -> list[Type]:
    if call.type(1) != call.type(0):
        raise call.fail("a gradient of X's type")
    return [call.type(0)]


def _apart(
    name: str, rule: Callable[[Node, Value], Gradients], **attributes: object
) -> Callable[[Node, Value], Gradients]:
    """A gradient that is an operator of its own, for which a backend may have a kernel."""

    def body(node: Node) -> Sequence[Value]:
        (found,) = rule(node, _second(node))
        assert found is not None
        return [found]

    register(
        Operator(
            name=f"{name}Grad", domain=PRIVATE, inputs=("X", "dY"), infer=_slope, body=body,
            attributes=attributes,
        )
    )  # fmt: skip
    return lambda node, g: (
        make_node(f"{name}Grad", _input(node), g, domain=PRIVATE, **node.attributes).outputs
    )


elementwise("Relu", "X", "maximum(X, 0)",
            lambda node, g: (apply("ReluGrad", node.outputs[0], g, domain=PRIVATE),),
            since=6)  # fmt: skip
elementwise("ReluGrad", "Y dY", "passed(Y, dY)",
            lambda node, g: (None, apply("ReluGrad", node.inputs[0], g, domain=PRIVATE)),
            rule=_slope, domain=PRIVATE)  # fmt: skip
elementwise("LeakyRelu", "X", "where(X > 0, X, alpha * X)",
            _apart("LeakyRelu", _leaky_gradient, alpha=0.01), since=6,
            attributes={"alpha": 0.01})  # fmt: skip
elementwise("PRelu", "X slope", "where(X < 0, slope * X, X)", _prelu_gradient, rule=_prelu,
            since=9)  # fmt: skip
register(
    Operator(
        name="PReluGrad",
        domain=PRIVATE,
        inputs=("X", "slope", "dY"),
        outputs=2,
        infer=_prelu_grad,
        body=_prelu_grad_body,
    )
)
elementwise("Softplus", "X", "maximum(X, 0) + log1p(exp(-abs(X)))",
            unary(lambda x, y: apply("Sigmoid", x)))  # fmt: skip
elementwise("Softsign", "input", "input / (1 + abs(input))", unary(_softsign_slope))
elementwise("ThresholdedRelu", "X", "where(X > alpha, X, 0)",
            lambda node, g: (_where("Greater", _input(node), float(node.attributes["alpha"]), g,
                                    0.0),),
            since=10, attributes={"alpha": 1.0})  # fmt: skip
elementwise("Elu", "X", "where(X > 0, X, alpha * expm1(minimum(X, 0)))", _elu_gradient,
            since=6, attributes={"alpha": 1.0})  # fmt: skip
elementwise("Selu", "X", "gamma * where(X > 0, X, alpha * expm1(minimum(X, 0)))", _selu_gradient,
            since=6, attributes={"alpha": 1.6732631921768188,
                                 "gamma": 1.0507010221481323})  # fmt: skip
elementwise("Celu", "X", "where(X > 0, X, alpha * expm1(minimum(X, 0) / alpha))", _celu_gradient,
            since=12, attributes={"alpha": 1.0})  # fmt: skip
elementwise("Gelu", "X", _gelu_formula, _apart("Gelu", _gelu_gradient, approximate="none"),
            since=20, attributes={"approximate": "none"})  # fmt: skip
elementwise("HardSigmoid", "X", "maximum(minimum(alpha * X + beta, 1), 0)",
            _hard_sigmoid_gradient, since=6, attributes={"alpha": 0.2, "beta": 0.5})  # fmt: skip
elementwise("HardSwish", "X", "X * maximum(minimum(X / 6 + 0.5, 1), 0)",
            _apart("HardSwish", _hard_swish_gradient), since=14)  # fmt: skip
elementwise("Mish", "X", "X * tanh(maximum(X, 0) + log1p(exp(-abs(X))))",
            _apart("Mish", _mish_gradient), since=18)  # fmt: skip
elementwise("Shrink", "input",
            "where(input < -lambd, input + bias, where(input > lambd, input - bias, 0))",
            lambda node, g: (_where("Greater", apply("Abs", _input(node)),
                                    float(node.attributes["lambd"]), g, 0.0),),
            since=9, attributes={"bias": 0.0, "lambd": 0.5})  # fmt: skip
elementwise("Swish", "X", "X / (1 + exp(-alpha * X))",
            _apart("Swish", _swish_gradient, alpha=1.0), since=24,
            attributes={"alpha": 1.0})  # fmt: skip
elementwise("SwiGLU", "A B", "A / (1 + exp(-alpha * A)) * B", _swiglu_gradient,
            rule=_swiglu, since=28, attributes={"alpha": 1.0})  # fmt: skip
