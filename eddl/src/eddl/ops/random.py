"""Random numbers that depend on nothing but a key and a counter, and what is built on them.

`Uniform` is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): key
(seed, stream), counter (element / 4, its high word, micro-batch, step), the last two being the high
and low word of one int64; each of its four words makes one element, its upper 24 bits a float32 in
[0, 1). Every device gives the same bits. Its other generator, "mt19937", is the one with which
ONNX's reference draws for files that say of themselves that they train.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import GraphError
from eddl.graph import Constant, Node, Type, Value
from eddl.ops.table import (
    PRIVATE,
    REQUIRED,
    Call,
    Gradients,
    Operator,
    apply,
    integers,
    register,
    unknown,
)


def _uniform(call: Call) -> list[Type]:
    if call.type(0).dtype != np.int64:
        raise call.fail("an int64 step")
    philox = call.attributes["generator"] == "philox"
    return [Type("float32" if philox else "float64", call.attributes["shape"])]


def _like(call: Call) -> list[Type]:
    x = call.type(0)
    return [x, x.with_dtype(bool)]


def _ratio(node: Node) -> Value:
    x, ratio = (*node.inputs, None)[:2]
    assert x is not None
    return ratio if ratio is not None else Constant(np.asarray(0.5, x.dtype))


def _dropout_body(node: Node) -> Sequence[Value]:
    """In inference the input itself, and a mask that keeps everything; a node whose file says that
    it trains draws from its own seed."""
    x, _, training = (*node.inputs, None, None)[:3]
    assert x is not None
    if training is not None:
        if not isinstance(training, Constant):
            raise GraphError("Dropout: training_mode depends on data; expected a constant")
        if bool(training.data):
            start = np.zeros((), np.int64)
            return _drawn(node, start, seed=node.attributes["seed"] or 0, generator="mt19937")
    mask = apply("Expand", np.ones((1,) * x.rank, bool), integers(x.type.sizes))
    return [apply("Identity", x), mask]


def _random_body(node: Node) -> Sequence[Value]:
    """y = x / (1 - ratio) where a uniform number is at least ratio. Source: Srivastava 2014."""
    return _drawn(node, node.inputs[2], seed=node.attributes["seed"],
                  stream=node.attributes["stream"])  # fmt: skip


def _drawn(node: Node, step: Any, **how: Any) -> Sequence[Value]:
    x, ratio = node.inputs[0], _ratio(node)
    assert x is not None
    number = apply("Uniform", step, domain=PRIVATE, shape=x.type.sizes, **how)
    mask = apply("GreaterOrEqual", number, apply("Cast", ratio, to=number.dtype))
    return [_scaled(x, mask, ratio), mask]


def _scaled(x: Value, mask: Value, ratio: Value) -> Value:
    share = apply("Cast", 1.0 - ratio, to=x.dtype)
    # At ratio 1 nothing is kept; the division must not make infinities of it.
    safe = apply("Where", apply("Greater", share, 0.0), share, 1.0)
    return apply("Where", mask, x / safe, 0.0)


def _random_gradient(node: Node, g: Value, mask_gradient: Value | None) -> Gradients:
    return (_scaled(g, node.outputs[1], _ratio(node)), None, None)


def _ratio_to_input(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 12 the ratio was an attribute."""
    ratio = attributes.pop("ratio", 0.5)
    assert inputs[0] is not None
    dtype = "float32" if inputs[0].type.opaque else inputs[0].dtype
    return attributes, [inputs[0], Constant(np.asarray(ratio, dtype))]


for _name, _inputs, _attributes in (
    ("RandomUniform", (), {"high": 1.0, "low": 0.0, "shape": REQUIRED}),
    ("RandomNormal", (), {"mean": 0.0, "scale": 1.0, "shape": REQUIRED}),
    ("RandomUniformLike", ("input",), {"high": 1.0, "low": 0.0}),
    ("RandomNormalLike", ("input",), {"mean": 0.0, "scale": 1.0}),
    ("Multinomial", ("input",), {"sample_size": 1}),
):
    register(
        Operator(
            name=_name,
            inputs=_inputs,
            infer=unknown,
            attributes={"dtype": None, "seed": None, **_attributes},
            host=True,
        )
    )
register(
    Operator(
        name="Uniform",
        domain=PRIVATE,
        inputs=("step",),
        infer=_uniform,
        attributes={"shape": REQUIRED, "seed": 0, "stream": 0, "generator": "philox"},
    )
)
register(
    Operator(
        name="Dropout",
        inputs=("data", "ratio?", "training_mode?"),
        outputs=2,
        infer=_like,
        body=_dropout_body,
        attributes={"seed": 0},
        random="RandomDropout",
        since=13,
        upgrades={12: _ratio_to_input},
    )
)
register(
    Operator(
        name="RandomDropout",
        domain=PRIVATE,
        inputs=("data", "ratio?", "step"),
        outputs=2,
        infer=_like,
        body=_random_body,
        gradient=_random_gradient,
        attributes={"seed": 0, "stream": 0},
    )
)
