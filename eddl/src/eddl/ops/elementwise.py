"""Elementwise operators: each is a formula over its inputs, a type rule and a gradient.

A formula is a Python expression over the formal inputs and attributes, in the operators
`+ - * /`, comparisons, `& | ~` and the functions that `FUNCTIONS` names. Backends compile it:
`array` into NumPy or CuPy calls, the OpenCL and CUDA backends into source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.graph import Constant, Node, Type, Value, arithmetic
from eddl.ops.shapes import broadcast, sum_to
from eddl.ops.table import Call, Gradients, Operator, apply, register

FUNCTIONS = frozenset(
    {"abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bit_and", "bit_not", "bit_or"}
    | {"bit_xor", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor", "isinf", "isnan"}
    | {"log", "log1p", "maximum", "minimum", "modulo", "passed", "power", "round", "shift_left"}
    | {"shift_right", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "truncated"}
    | {"truncated_modulo", "where"}
)
"""The functions a formula may call.

`passed(a, b)` is b where a > 0 and 0 where not: what a rectifier with the result a lets through of
the gradient b. Where a is not a number it is either, and where b is not finite it may be not a
number instead of 0. `truncated(a, b)` is integer division towards zero, `truncated_modulo` its
remainder and `modulo` the remainder of the division that rounds down; `round` takes halves to the
even number. Shifts by no less than the width leave what the sign bit's extension gives.
"""

Rule = Callable[[Call], Sequence[Type]]


def same_dtype(call: Call, start: int = 0) -> Any:
    """The one element type of the inputs from `start` on."""
    types = [t for t in call.types[start:] if t is not None]
    if len({t.dtype for t in types}) > 1:
        raise call.fail("inputs of one element type")
    return call.type(start).dtype


def _shape(call: Call) -> tuple[Any, ...]:
    return broadcast(call, [t.shape for t in call.types if t is not None])


def _same(call: Call) -> list[Type]:
    return [Type(same_dtype(call), _shape(call))]


def boolean(call: Call) -> list[Type]:
    """The rule of an operator that answers yes or no."""
    same_dtype(call)
    return [Type(bool, _shape(call))]


def _first(call: Call) -> list[Type]:
    return [Type(call.type(0).dtype, _shape(call))]


def _where(call: Call) -> list[Type]:
    if call.type(0).dtype != bool:
        raise call.fail("a boolean condition")
    return [Type(same_dtype(call, 1), _shape(call))]


def elementwise(
    name: str,
    inputs: str,
    formula: str | Callable[[Node], str],
    gradient: Callable[..., Gradients] | None = None,
    *,
    rule: Rule = _same,
    **fields: Any,
) -> None:
    """Add an elementwise operator to the table."""
    register(
        Operator(
            name=name,
            inputs=tuple(inputs.split()),
            infer=rule,
            formula=formula,
            gradient=gradient,
            **fields,
        )
    )


def unary(rule: Callable[[Value, Value], Any]) -> Callable[[Node, Value], Gradients]:
    """A gradient `rule(x, y)`, the factor by which the output's gradient is multiplied."""

    def gradient(node: Node, g: Value) -> Gradients:
        x = node.inputs[0]
        assert x is not None
        return (g * rule(x, node.outputs[0]),)

    return gradient


def binary(
    rule: Callable[[Value, Value, Value, Value], tuple[Value | None, Value | None]],
) -> Callable[[Node, Value], Gradients]:
    """A gradient `rule(a, b, y, g)` before broadcasting is undone."""

    def gradient(node: Node, g: Value) -> Gradients:
        a, b = node.inputs
        assert a is not None and b is not None
        da, db = rule(a, b, node.outputs[0], g)
        return (da and sum_to(da, a), db and sum_to(db, b))

    return gradient


def _chosen(x: Value, y: Value, g: Value) -> Value:
    """The gradient of inputs that equal the chosen output."""
    return apply("Where", apply("Equal", x, y), g, 0.0)


def _extreme_gradient(node: Node, g: Value) -> Gradients:
    """Inputs that share the extreme share its gradient."""
    y, inputs = node.outputs[0], [x for x in node.inputs if x is not None]
    if len(inputs) > 1:
        mine = (apply("Cast", apply("Equal", x, y), to=g.dtype) for x in inputs)
        g = g / apply("Sum", *mine)
    return [sum_to(_chosen(x, y, g), x) for x in inputs]


def _fold(pattern: str) -> Callable[[Node], str]:
    def formula(node: Node) -> str:
        expression = "X0"
        for index in range(1, len(node.inputs)):
            expression = pattern.format(expression, f"X{index}")
        return expression

    return formula


def _sum_gradient(node: Node, g: Value) -> Gradients:
    return [sum_to(g, x) for x in node.inputs if x is not None]


def _mean_formula(node: Node) -> str:
    return f"({_fold('{} + {}')(node)}) / {len(node.inputs)}"


def _mean_gradient(node: Node, g: Value) -> Gradients:
    return [sum_to(g / float(len(node.inputs)), x) for x in node.inputs if x is not None]


def _clip_formula(node: Node) -> str:
    expression = "input"
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        expression = f"maximum({expression}, min)"
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        expression = f"minimum({expression}, max)"
    return expression


def _bounds_to_inputs(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 11 the bounds of Clip were attributes."""
    x = inputs[0]
    assert x is not None
    dtype = np.dtype("float32") if x.type.opaque else x.dtype
    bounds = [attributes.pop(name, None) for name in ("min", "max")]
    return attributes, [x, *(None if b is None else Constant(np.asarray(b, dtype)) for b in bounds)]


def _clip_gradient(node: Node, g: Value) -> Gradients:
    x, *bounds = node.inputs
    assert x is not None
    for bound, outside in zip(bounds, ("Less", "Greater"), strict=False):
        if bound is not None:
            g = apply("Where", apply(outside, x, bound), 0.0, g)
    return (g, *(None for _ in bounds))


def _where_gradient(node: Node, g: Value) -> Gradients:
    condition, x, y = node.inputs
    assert condition is not None and x is not None and y is not None
    zero = np.zeros((), g.dtype)
    return (
        None,
        sum_to(apply("Where", condition, g, zero), x),
        sum_to(apply("Where", condition, zero, g), y),
    )


def _divide(node: Node) -> str:
    return "truncated(A, B)" if node.outputs[0].dtype.kind in "iu" else "A / B"


def _power_gradient(x: Value, y: Value, z: Value, g: Value) -> tuple[Value | None, Value | None]:
    if x.dtype.kind in "iu":
        return None, None
    safe = apply("Where", apply("Greater", x, 0.0), x, 1.0)  # log of nothing but positive bases
    dx = g * y * x ** (y - 1.0) if x.dtype == y.dtype else None
    return dx, g * z * apply("Log", safe)


def flat(node: Node, g: Value) -> Gradients:
    """The gradient of an operator that is constant in pieces."""
    return (None,) * len(node.inputs)


def _mod_formula(node: Node) -> str:
    return "truncated_modulo(A, B)" if node.attributes["fmod"] else "modulo(A, B)"


def _mod_gradient(a: Value, b: Value, y: Value, g: Value) -> tuple[Value | None, Value | None]:
    return g, -g * apply("Round", (a - y) / b)  # y = a - n b with a whole n


def _is_inf_formula(node: Node) -> str:
    match bool(node.attributes["detect_negative"]), bool(node.attributes["detect_positive"]):
        case True, True:
            return "isinf(X)"
        case False, True:
            return "isinf(X) & (X > 0)"
        case True, False:
            return "isinf(X) & (X < 0)"
    return "isinf(X) & ~isinf(X)"


def _inverse_root(x: Value, sign: float, shift: float) -> Value:
    """1 / sqrt(sign x^2 + shift), the derivative of the inverse functions."""
    return apply("Reciprocal", apply("Sqrt", sign * (x * x) + shift))


elementwise("Identity", "input", "input", lambda node, g: (g,))
elementwise("Add", "A B", "A + B", binary(lambda a, b, y, g: (g, g)), since=7)
elementwise("Sub", "A B", "A - B", binary(lambda a, b, y, g: (g, -g)), since=7)
elementwise("Mul", "A B", "A * B", binary(lambda a, b, y, g: (g * b, g * a)), since=7)
elementwise("Div", "A B", _divide, binary(lambda a, b, y, g: (g / b, -g * y / b)), since=7)
elementwise("Pow", "X Y", "power(X, Y)", binary(_power_gradient), rule=_first, since=12)
elementwise("Neg", "X", "-X", unary(lambda x, y: -1.0), since=6)
elementwise("Abs", "X", "abs(X)", unary(lambda x, y: apply("Sign", x)), since=6)
elementwise("Sign", "input", "sign(input)", flat, since=9)
elementwise("Exp", "input", "exp(input)", unary(lambda x, y: y), since=6)
elementwise("Log", "input", "log(input)", lambda node, g: (g / node.inputs[0],), since=6)
elementwise("Sqrt", "X", "sqrt(X)", lambda node, g: (0.5 * g / node.outputs[0],), since=6)
elementwise("Reciprocal", "X", "1 / X", unary(lambda x, y: -(y * y)), since=6)
elementwise("Floor", "X", "floor(X)", flat, since=6)
elementwise("Ceil", "X", "ceil(X)", flat, since=6)
elementwise("Sin", "input", "sin(input)", unary(lambda x, y: apply("Cos", x)), since=7)
elementwise("Cos", "input", "cos(input)", unary(lambda x, y: -apply("Sin", x)), since=7)
elementwise("Tanh", "input", "tanh(input)", unary(lambda x, y: 1.0 - y * y), since=6)
elementwise("Sigmoid", "X", "1 / (1 + exp(-X))", unary(lambda x, y: y * (1.0 - y)),
            since=6)  # fmt: skip
elementwise("Round", "X", "round(X)", flat, since=11)
elementwise("Erf", "input", "erf(input)",
            unary(lambda x, y: 2 / math.sqrt(math.pi) * apply("Exp", -(x * x))),
            since=9)  # fmt: skip
elementwise("Tan", "input", "tan(input)", unary(lambda x, y: 1.0 + y * y), since=7)
elementwise("Sinh", "input", "sinh(input)", unary(lambda x, y: apply("Cosh", x)), since=9)
elementwise("Cosh", "input", "cosh(input)", unary(lambda x, y: apply("Sinh", x)), since=9)
elementwise("Asin", "input", "asin(input)", unary(lambda x, y: _inverse_root(x, -1.0, 1.0)),
            since=7)  # fmt: skip
elementwise("Acos", "input", "acos(input)", unary(lambda x, y: -_inverse_root(x, -1.0, 1.0)),
            since=7)  # fmt: skip
elementwise("Atan", "input", "atan(input)",
            unary(lambda x, y: apply("Reciprocal", 1.0 + x * x)), since=7)  # fmt: skip
elementwise("Asinh", "input", "asinh(input)", unary(lambda x, y: _inverse_root(x, 1.0, 1.0)),
            since=9)  # fmt: skip
elementwise("Acosh", "input", "acosh(input)", unary(lambda x, y: _inverse_root(x, 1.0, -1.0)),
            since=9)  # fmt: skip
elementwise("Atanh", "input", "atanh(input)",
            unary(lambda x, y: apply("Reciprocal", 1.0 - x * x)), since=9)  # fmt: skip
elementwise("Mod", "A B", _mod_formula, binary(_mod_gradient), since=10, attributes={"fmod": 0})
elementwise("IsNaN", "X", "isnan(X)", rule=boolean, since=9)
elementwise("IsInf", "X", _is_inf_formula, rule=boolean, since=10,
            attributes={"detect_negative": 1, "detect_positive": 1})  # fmt: skip
elementwise("Max", "X*", _fold("maximum({}, {})"), _extreme_gradient, since=8)
elementwise("Min", "X*", _fold("minimum({}, {})"), _extreme_gradient, since=8)
elementwise("Sum", "X*", _fold("{} + {}"), _sum_gradient, since=8)
elementwise("Mean", "X*", _mean_formula, _mean_gradient, since=8)
elementwise("Clip", "input min? max?", _clip_formula, _clip_gradient, since=12,
            upgrades={11: _bounds_to_inputs})  # fmt: skip
elementwise("Where", "condition X Y", "where(condition, X, Y)", _where_gradient, rule=_where,
            since=9)  # fmt: skip
elementwise("Equal", "A B", "A == B", rule=boolean, since=7)
elementwise("Greater", "A B", "A > B", rule=boolean, since=7)
elementwise("GreaterOrEqual", "A B", "A >= B", rule=boolean, since=12)
elementwise("Less", "A B", "A < B", rule=boolean, since=7)
elementwise("LessOrEqual", "A B", "A <= B", rule=boolean, since=12)
elementwise("And", "A B", "A & B", rule=boolean, since=7)
elementwise("Or", "A B", "A | B", rule=boolean, since=7)
elementwise("Xor", "A B", "A != B", rule=boolean, since=7)
elementwise("Not", "X", "~X", rule=boolean)

for _name in ("Add", "Sub", "Mul", "Div", "Pow"):
    arithmetic[_name] = lambda a, b, name=_name: apply(name, a, b)
arithmetic["Neg"] = lambda a: apply("Neg", a)
arithmetic["MatMul"] = lambda a, b: apply("MatMul", a, b)
