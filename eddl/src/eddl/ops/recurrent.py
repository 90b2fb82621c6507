"""RNN, GRU and LSTM, each one step written in other operators and repeated over the sequence.

A backend may have kernels for the usual ones and for their gradients, the operators `RNNGrad`,
`GRUGrad` and `LSTMGrad`. For those a forward operator has *saved* outputs: what its gates let
through, [T, D, N, columns], and the cells' states, [T, D, N, H]. The body, which is the reference,
gives none of them, and the body of a gradient, that of the operator differentiated, reads none.

Shapes (layout 0): X [T, N, I], W [D, gates H, I], R [D, gates H, H], B [D, 2 gates H], states
[D, N, H], Y [T, D, N, H]; D counts directions. Source of the equations: the ONNX operator
specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.graph import Dim, Node, Type, Value
from eddl.ops.indexing import filled
from eddl.ops.table import (
    PRIVATE,
    REQUIRED,
    Call,
    Gradients,
    Operator,
    apply,
    entry,
    find,
    integers,
    make_node,
    register,
)

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}


def _types(call: Call) -> list[Type]:
    x, hidden = call.type(0), call.attributes["hidden_size"]
    w, r = call.type(1), call.type(2)
    gates = GATES[call.operator.name]
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise call.fail("X, W and R of three axes")
    directions = 2 if call.attributes["direction"] == "bidirectional" else 1
    if any(
        isinstance(size, int) and size != wanted
        for size, wanted in (
            (w.shape[0], directions),
            (w.shape[1], gates * hidden),
            (r.shape[2], hidden),
        )
    ):
        raise call.fail(f"W [{directions}, {gates * hidden}, I] and R [.., {hidden}]")
    steps, batch = (x.shape[1], x.shape[0]) if call.attributes.get("layout") else x.shape[:2]
    whole: list[Dim] = [steps, directions, batch, hidden]
    last: list[Dim] = [directions, batch, hidden]
    if call.attributes.get("layout"):
        whole, last = [batch, steps, directions, hidden], [batch, directions, hidden]
    count = 2 if call.operator.name == "LSTM" else 1
    public = [x.with_shape(whole), *[x.with_shape(last)] * count]
    if call.operator.name == "RNN" or call.attributes["layout"]:
        return public
    columns = 3 if call.attributes.get("linear_before_reset") == 0 else 4
    saved = [x.with_shape([*whole[:2], columns, *whole[2:]])]
    return [*public, *saved, *([public[0]] if call.operator.name == "LSTM" else [])]


def _activation(name: str, alpha: float | None, beta: float | None) -> Callable[[Value], Value]:
    """An activation by its ONNX name (any case), with its own defaults."""
    a, b = alpha, beta
    match name.lower():
        case "affine":
            return lambda x: x * float(1.0 if a is None else a) + float(b or 0.0)
        case "scaledtanh":
            return lambda x: (
                apply("Tanh", x * float(1.0 if b is None else b)) * float(1.0 if a is None else a)
            )
        case "leakyrelu":
            return lambda x: apply("LeakyRelu", x, alpha=0.01 if a is None else float(a))
        case "thresholdedrelu":
            return lambda x: apply("ThresholdedRelu", x, alpha=1.0 if a is None else float(a))
        case "elu":
            return lambda x: apply("Elu", x, alpha=1.0 if a is None else float(a))
        case "hardsigmoid":
            return lambda x: apply(
                "HardSigmoid",
                x,
                alpha=0.2 if a is None else float(a),
                beta=0.5 if b is None else float(b),
            )
    plain = {n.lower(): n for n in ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus")}
    return lambda x: apply(plain[name.lower()], x)


@dataclass
class _Direction:
    """What one direction works with, weights transposed; the biases are in `projected`."""

    projected: Value
    r: Sequence[Value]
    rb: Value | None
    h: Value
    c: Value | None
    p: Sequence[Value]
    activations: Sequence[Callable[[Value], Value]]


def _part(value: Value, axis: int, start: int, stop: int) -> Value:
    return apply("Slice", value, integers([start]), integers([stop]), integers([axis]))


def _rows(value: Value) -> list[Value]:
    """The elements of the first axis, the axis dropped."""
    count, *sizes = value.type.sizes
    parts = (
        make_node("Split", value, integers([1] * count), axis=0).outputs if count > 1 else [value]
    )
    return [apply("Reshape", part, integers(sizes), allowzero=1) for part in parts]


def _transposed(value: Value) -> Value:
    return apply("Transpose", value, perm=(1, 0))


def _pieces(value: Value, count: int) -> Sequence[Value]:
    """Equal parts of the last axis."""
    size = value.type.sizes[-1] // count
    return make_node("Split", value, integers([size] * count), axis=value.rank - 1).outputs


def _limited(node: Node, value: Value) -> Value:
    limit = node.attributes["clip"]
    return value if limit is None else apply("Clip", value, -float(limit), float(limit))


def _rnn(node: Node, d: _Direction, x: Value, h: Value, c: Value | None) -> tuple[Value, None]:
    return d.activations[0](_limited(node, x + apply("MatMul", h, d.r[0]))), None


def _gru(node: Node, d: _Direction, x: Value, h: Value, c: Value | None) -> tuple[Value, None]:
    f, g = d.activations
    size = h.type.sizes[-1]
    if node.attributes["linear_before_reset"]:
        inner = apply("MatMul", h, d.r[0])
        inner = inner if d.rb is None else inner + d.rb
        xz, xr, xh = _pieces(x, 3)
        hz, hr, hh = _pieces(inner, 3)
        z, r = f(_limited(node, xz + hz)), f(_limited(node, xr + hr))
        new = g(_limited(node, xh + r * hh))
    else:
        xzr, xh = _part(x, 1, 0, 2 * size), _part(x, 1, 2 * size, 3 * size)
        z, r = _pieces(f(_limited(node, xzr + apply("MatMul", h, d.r[0]))), 2)
        new = g(_limited(node, xh + apply("MatMul", r * h, d.r[1])))
    return (1.0 - z) * new + z * h, None


def _lstm(node: Node, d: _Direction, x: Value, h: Value, c: Value | None) -> tuple[Value, Value]:
    assert c is not None
    f, g, out = d.activations
    ti, to, tf, tc = _pieces(x + apply("MatMul", h, d.r[0]), 4)
    if d.p:
        ti, tf = ti + d.p[0] * c, tf + d.p[2] * c
    i = f(_limited(node, ti))
    forget = 1.0 - i if node.attributes["input_forget"] else f(_limited(node, tf))
    cell = forget * c + i * g(_limited(node, tc))
    to = to + d.p[1] * cell if d.p else to
    return f(_limited(node, to)) * out(cell), cell


_STEPS: dict[str, Callable[..., tuple[Value, Value | None]]] = {
    "RNN": _rnn,
    "GRU": _gru,
    "LSTM": _lstm,
}


def _directions(node: Node, x: Value) -> list[_Direction]:
    _, w, r, b, _, h, c, p = (*node.inputs, *[None] * 8)[:8]
    assert w is not None and r is not None
    count, hidden = w.type.sizes[0], node.attributes["hidden_size"]
    names = list(node.attributes["activations"]) or list(DEFAULTS[node.op]) * count
    each = len(DEFAULTS[node.op])
    alphas = iter(node.attributes["activation_alpha"])
    betas = iter(node.attributes["activation_beta"])
    with_alpha = {"affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"}
    with_beta = {"affine", "scaledtanh", "hardsigmoid"}
    made = [
        _activation(
            name,
            next(alphas, None) if name.lower() in with_alpha else None,
            next(betas, None) if name.lower() in with_beta else None,
        )
        for name in names
    ]
    zero = filled(0, x.dtype, (x.type.sizes[1], hidden))
    before = node.attributes.get("linear_before_reset")
    ws, rs = _rows(w), _rows(r)
    given: list[list[Value] | list[None]] = [
        [None] * count if v is None else _rows(v) for v in (b, h, c, p)
    ]
    found = []
    for i in range(count):
        bias, start_h, start_c, peepholes = (rows[i] for rows in given)
        projected = apply("MatMul", x, _transposed(ws[i]))
        inner = None
        if bias is not None:
            outer, inner = _pieces(bias, 2)
            projected = projected + (outer if before else outer + inner)
        back = _transposed(rs[i])
        parts = [back]
        if node.op == "GRU" and not before:
            parts = [_part(back, 1, 0, 2 * hidden), _part(back, 1, 2 * hidden, 3 * hidden)]
        found.append(
            _Direction(
                projected,
                parts,
                inner if before else None,
                start_h or zero,
                (start_c or zero) if node.op == "LSTM" else None,
                [] if peepholes is None else _pieces(peepholes, 3),
                made[i * each : (i + 1) * each],
            )
        )
    return found


def _body(node: Node) -> Sequence[Value]:
    """The sequence unrolled: one product for all inputs, then a step after the other."""
    if node.attributes["layout"]:
        whole, *final = _steps_first(node).outputs[: find(node.op).outputs]
        return [apply("Transpose", whole, perm=(2, 0, 1, 3)), *map(_batch_first, final)]
    x, lengths = node.inputs[0], (*node.inputs, *[None] * 5)[4]
    assert x is not None
    steps, batch, _ = x.type.sizes
    direction = node.attributes["direction"]
    step = _STEPS[node.op]
    alive: list[Value] = []
    if lengths is not None:
        ends = apply("Reshape", lengths, integers([1, batch, 1]))
        alive = _rows(apply("Greater", ends, np.arange(steps, dtype=lengths.dtype)[:, None, None]))
    rows: list[list[Value]] = [[] for _ in range(steps)]
    last_h, last_c = [], []
    for number, d in enumerate(_directions(node, x)):
        backwards = direction == "reverse" or number == 1
        h, c, projected = d.h, d.c, _rows(d.projected)
        for t in reversed(range(steps)) if backwards else range(steps):
            new_h, new_c = step(node, d, projected[t], h, c)
            shown = new_h
            if alive:
                shown = apply("Where", alive[t], new_h, 0.0)
                new_h = apply("Where", alive[t], new_h, h)
                new_c = None if new_c is None or c is None else apply("Where", alive[t], new_c, c)
            h, c = new_h, new_c
            rows[t].append(shown)
        last_h.append(h)
        last_c.append(c)
    whole = _stack([_stack(row) for row in rows])
    final = [_stack(last_h)]
    if node.op == "LSTM":
        final.append(_stack([c for c in last_c if c is not None]))
    return [whole, *final]


def _batch_first(value: Value) -> Value:
    """The first two axes in the other order."""
    return apply("Transpose", value, perm=(1, 0, 2))


def _steps_first(node: Node) -> Node:
    """The node as layout 0 has it."""
    inputs = list(node.inputs)
    for index in (0, 5, 6) if node.op == "LSTM" else (0, 5):
        value = inputs[index] if index < len(inputs) else None
        if value is not None:
            inputs[index] = _batch_first(value)
    how = {**node.attributes, "layout": 0}
    return make_node(node.op, *inputs, label=node.label, **how)


def named(node: Node, values: Sequence[Any]) -> dict[str, Any]:
    """A node's inputs, or what stands for them, by their names; `None` for those left out."""
    operator = entry(node)
    names = [operator.formal(i) for i in range(len(operator.inputs))]
    return dict(zip(names, (*values, *[None] * len(names)), strict=False))


def gradient_names(node: Node) -> list[str]:
    """The inputs of an operator whose gradients the operator of its gradient gives, in order."""
    names = ("X", "W", "R", "B", "initial_h", "initial_c", "P")
    given = named(node, node.inputs)
    return [name for name in names if given.get(name) is not None]


def _gradient(node: Node, *flows: Value | None) -> Gradients:
    operator = entry(node)
    flows = flows[: operator.outputs]
    given = (*node.inputs, *[None] * len(operator.inputs))[: len(operator.inputs)]
    if node.attributes["layout"]:
        inner = _steps_first(node)
        turned = [None if flow is None else _batch_first(flow) for flow in flows[1:]]
        if flows[0] is not None:
            turned.insert(0, apply("Transpose", flows[0], perm=(1, 2, 0, 3)))
        else:
            turned.insert(0, None)
        found = _gradient(inner, *turned)
        return [
            _batch_first(gradient) if gradient is not None and index in (0, 5, 6) else gradient
            for index, gradient in enumerate(found)
        ][: len(node.inputs)]
    saved = (node.outputs[0], *node.outputs[operator.outputs :])
    made = make_node(f"{node.op}Grad", *given, *saved, *flows, domain=PRIVATE, label=node.label,
                     **node.attributes)  # fmt: skip
    found = dict(zip(gradient_names(made), made.outputs, strict=True))
    return [found.get(operator.formal(index)) for index in range(len(node.inputs))]


def _gradient_types(call: Call) -> list[Type]:
    places = {call.operator.formal(i): t for i, t in enumerate(call.types) if t is not None}
    names = ("X", "W", "R", "B", "initial_h", "initial_c", "P")
    return [places[name] for name in names if name in places]


def _stack(values: Sequence[Value]) -> Value:
    expanded = [apply("Reshape", v, integers([1, *v.type.sizes])) for v in values]
    return apply("Concat", *expanded, axis=0)


_SHARED: dict[str, Any] = {
    "activation_alpha": (),
    "activation_beta": (),
    "activations": (),
    "clip": None,
    "direction": "forward",
    "hidden_size": REQUIRED,
    "layout": 0,
}
_INPUTS = ("X", "W", "R", "B?", "sequence_lens?", "initial_h?")
for _name, _inputs, _attributes, _saved, _ends in (
    ("RNN", _INPUTS, {}, (), ("Y", "Y_h")),
    ("GRU", _INPUTS, {"linear_before_reset": 0}, ("values",), ("Y", "Y_h")),
    ("LSTM", (*_INPUTS, "initial_c?", "P?"), {"input_forget": 0}, ("values", "cells"),
     ("Y", "Y_h", "Y_c")),
):  # fmt: skip
    register(
        Operator(
            name=_name,
            inputs=_inputs,
            outputs=len(_ends),
            infer=_types,
            body=_body,
            gradient=_gradient,
            any_output=True,
            attributes={**_SHARED, **_attributes},
            since=14,
        )
    )
    register(
        Operator(
            name=f"{_name}Grad",
            domain=PRIVATE,
            inputs=(*_inputs, "Y", *_saved, *(f"d{end}?" for end in _ends)),
            outputs=7,
            infer=_gradient_types,
            gradient_of=_name,
            attributes={**_SHARED, **_attributes},
        )
    )
