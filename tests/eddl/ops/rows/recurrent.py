"""Rows of the recurrent operators: directions, layouts, lengths, states, peepholes, activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .row import Generator, Row

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _inputs(
    r: Generator, op: str, directions: int = 1, layout: int = 0, lengths: bool = False,
    states: bool = True, peepholes: bool = False,
) -> list[Any]:  # fmt: skip
    steps, batch, size, hidden, gates = 4, 3, 2, 3, GATES[op]
    scale = 0.6
    x = r.standard_normal((batch, steps, size) if layout else (steps, batch, size))
    found: list[Any] = [
        x,
        scale * r.standard_normal((directions, gates * hidden, size)),
        scale * r.standard_normal((directions, gates * hidden, hidden)),
        scale * r.standard_normal((directions, 2 * gates * hidden)),
    ]
    shape = (batch, directions, hidden) if layout else (directions, batch, hidden)
    found.append(np.asarray([4, 2, 3], np.int32) if lengths else
                 np.asarray([4] * batch, np.int32))  # fmt: skip
    if states:
        found.append(scale * r.standard_normal(shape))
        if op == "LSTM":
            found.append(scale * r.standard_normal(shape))
            if peepholes:
                found.append(scale * r.standard_normal((directions, 3 * hidden)))
    return found


def _row(op: str, attributes: dict[str, Any], **options: Any) -> Row:
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    layout = attributes.get("layout", 0)
    return Row(
        op,
        lambda r: _inputs(r, op, directions, layout, **options),
        {"hidden_size": 3, **attributes},
        outputs=3 if op == "LSTM" else 2,
        oracle="onnxruntime" if layout == 0 else "onnx.reference",
    )


ROWS: list[Row] = [
    *(_row(op, {}) for op in GATES),
    *(_row(op, {"direction": "reverse"}, lengths=True) for op in GATES),
    *(_row(op, {"direction": "bidirectional"}, lengths=True, states=False) for op in GATES),
    _row("GRU", {"linear_before_reset": 1}),
    _row("LSTM", {}, peepholes=True),
    _row("LSTM", {"input_forget": 1, "clip": 5.0}),
    _row("RNN", {"activations": ("Affine",), "activation_alpha": (0.5,),
                 "activation_beta": (0.1,)}),
    _row("GRU", {"activations": ("Sigmoid", "Softplus")}),
]  # fmt: skip
