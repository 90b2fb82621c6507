"""Recurrent layers over sequences [N, T, features]: RNN, GRU and LSTM, the operators of ONNX.

A *state* is what a layer hands from step to step: a tuple (h,), or (h, c) for LSTM, [N, units]
each, of a bidirectional layer [N, 2 x units], the forward half first. What one layer gives with
`return_state`, another takes as `initial_state`: an encoder hands over to a decoder so, and a
decoder of one step to itself (`eddl.decode`).

Steps that do not count are named in one of two ways, by values the user passes on; nothing travels
in secret. `lengths` [N] says how many steps of each sequence count, from the first one on: ONNX's
own way. `mask` [N, T], True where a step counts, may have holes and beginnings: its steps are moved
together before the operator and back behind it. A step that does not count leaves the state as it
is and its output is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl import initializers
from eddl.errors import AttributeValueError, ShapeError, TypeMismatchError
from eddl.graph import Label, Value
from eddl.layers.build import Start, parameter, size_of, tensor
from eddl.ops.table import apply, integers, make_node

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
State = Value | Sequence[Value]


def by_gate(initializer: Start, gates: int) -> initializers.Initializer:
    """Draws each direction's and each gate's matrix of [directions, gates x units, inputs] alone,
    so that an initializer sees the fans of one gate."""
    draw = initializers.get(initializer)

    def fill(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Any:
        each = (shape[1] // gates, *shape[2:])
        return np.stack(
            [
                np.concatenate([draw(each, dtype, generator) for _ in range(gates)])
                for _ in range(shape[0])
            ]
        )

    return fill


@dataclass
class _Compact:
    """Sequences whose steps that count come first, and the way back."""

    x: Value
    lengths: Value
    order: Value
    steps: Value

    def back(self, y: Value) -> Value:
        """A sequence of outputs in the order of the input."""
        inverse = make_node("TopK", self.order, self.steps, axis=1, largest=0).outputs[1]
        return _picked(y, inverse)


def _picked(x: Value, order: Value) -> Value:
    return apply("GatherND", x, apply("Unsqueeze", order, integers([2])), batch_dims=1)


def _compact(x: Value, mask: Value, layer: str) -> _Compact:
    if tensor(mask, layer).dtype != bool or mask.rank != 2:
        raise TypeMismatchError(
            f"{layer}: received a mask {mask.type}, expected booleans [N, T], True where a step "
            "counts"
        )
    counts = apply("Cast", mask, to=np.dtype("int64"))
    length = x.shape[1]
    steps: Value = apply("Shape", x, start=1, end=2)
    if isinstance(length, int):
        steps = integers([length])
    order = make_node("TopK", counts, steps, axis=1).outputs[1]  # equal ones keep their order
    lengths = apply("ReduceSum", counts, integers([1]), keepdims=0)
    return _Compact(_picked(x, order), lengths, order, steps)


def _states(
    state: State | None, count: int, units: int, directions: int, layer: str
) -> list[Value | None]:
    """What the user gives as the state, as ONNX takes it: [directions, N, units] each."""
    if state is None:
        return [None] * count
    given = [state] if isinstance(state, Value) else list(state)
    wide = units * directions
    if len(given) != count or any(
        tensor(s, layer).rank != 2 or s.shape[1] not in (wide, None) for s in given
    ):
        received = ", ".join(str(s.type) for s in given)
        raise ShapeError(
            f"{layer}: received the state ({received}), expected {count} of [N, {wide}]: what "
            "return_state gives"
        )
    if directions == 1:
        return [apply("Unsqueeze", s, integers([0])) for s in given]
    apart = (apply("Reshape", s, integers([0, directions, units])) for s in given)
    return [apply("Transpose", s, perm=(1, 0, 2)) for s in apart]


def _together(state: Value, units: int, directions: int) -> Value:
    """[directions, N, units] as [N, directions x units]."""
    if directions == 1:
        return apply("Squeeze", state, integers([0]))
    turned = apply("Transpose", state, perm=(1, 0, 2))
    return apply("Reshape", turned, integers([0, directions * units]))


def _recurrent(
    layer: str,
    x: Value,
    units: int,
    biases: Sequence[float],
    *,
    bidirectional: bool,
    reverse: bool,
    return_sequences: bool,
    return_state: bool,
    initial_state: State | None,
    lengths: Value | None,
    mask: Value | None,
    use_bias: bool,
    initializer: Start,
    recurrent_initializer: Start,
    name: str | None,
    **attributes: Any,
) -> Any:
    if tensor(x, layer).rank != 3:
        raise ShapeError(f"{layer}: received {x.type}, expected sequences [N, T, features]")
    if units < 1 or (bidirectional and reverse):
        raise AttributeValueError(
            f"{layer}: received units={units}, bidirectional={bidirectional}, reverse={reverse}; "
            "expected at least one unit, and one direction to be reversed"
        )
    if lengths is not None and mask is not None:
        raise AttributeValueError(f"{layer}: received lengths and a mask, expected one of them")
    features, gates, label = size_of(x, 2, layer), GATES[layer], Label(layer, name)
    directions = 2 if bidirectional else 1
    count = 2 if layer == "lstm" else 1
    states = _states(initial_state, count, units, directions, layer)
    compact = None if mask is None else _compact(x, mask, layer)
    if compact is not None:
        x, lengths = compact.x, compact.lengths
    if lengths is not None:
        if tensor(lengths, layer).rank != 1 or lengths.dtype.kind not in "iu":
            raise TypeMismatchError(
                f"{layer}: received lengths {lengths.type}, expected a whole number a sequence, [N]"
            )
        lengths = (
            lengths if lengths.dtype == np.int32 else apply("Cast", lengths, to=np.dtype("int32"))
        )

    def start(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Any:
        row = np.repeat(np.asarray([*biases, *[0.0] * gates]), units)
        return np.broadcast_to(row, shape).astype(dtype)

    wide = gates * units
    weights = [
        parameter((directions, wide, features), x.dtype, by_gate(initializer, gates), label, "W"),
        parameter((directions, wide, units), x.dtype, by_gate(recurrent_initializer, gates), label,
                  "R"),
        parameter((directions, 2 * wide), x.dtype, start, label, "B") if use_bias else None,
    ]  # fmt: skip
    node = make_node(
        layer.upper(),
        apply("Transpose", x, perm=(1, 0, 2)),
        *weights,
        lengths,
        *states,
        label=label,
        hidden_size=units,
        direction="bidirectional" if bidirectional else "reverse" if reverse else "forward",
        **attributes,
    )
    final = [_together(state, units, directions) for state in node.outputs[1 : 1 + count]]
    if not return_sequences:
        y = final[0]
    elif directions == 1:
        y = apply("Transpose", apply("Squeeze", node.outputs[0], integers([1])), perm=(1, 0, 2))
    else:
        y = apply("Transpose", node.outputs[0], perm=(2, 0, 1, 3))
        y = apply("Reshape", y, integers([0, 0, directions * units]))
    if compact is not None and return_sequences:
        y = compact.back(y)
    return (y, tuple(final)) if return_state else y


def rnn(
    x: Value,
    units: int,
    *,
    activation: str = "Tanh",
    bidirectional: bool = False,
    reverse: bool = False,
    return_sequences: bool = False,
    return_state: bool = False,
    initial_state: State | None = None,
    lengths: Value | None = None,
    mask: Value | None = None,
    use_bias: bool = True,
    initializer: Start = "glorot_uniform",
    recurrent_initializer: Start = "orthogonal",
    name: str | None = None,
) -> Any:
    """A plain recurrent layer: h = f(x W + h R + b). Source: Elman 1990.

    Parameters: `x` [N, T, features]; `units`; `activation`, f by its ONNX name: "Tanh", "Relu",
    "Sigmoid", "Softsign", "Softplus", "Elu", "LeakyRelu", "HardSigmoid" or "ThresholdedRelu";
    `bidirectional`, whether a second layer reads from the end, its outputs behind the first's;
    `reverse`, whether the only one does; `return_sequences`, every step's output [N, T, units]
    instead of the last state's [N, units]; `return_state`, a pair of output and final state;
    `initial_state`, zeros when left out; `lengths` or `mask`, which steps count; the initializers,
    of input and recurrent weights, each gate by itself (orthogonal recurrent ones: Saxe et al.
    2014). Biases begin with 0.

    >>> import eddl
    >>> eddl.layers.rnn(eddl.Input((28, 10)), 32).shape
    ('batch', 32)
    """
    known = ("Tanh", "Relu", "Sigmoid", "Softsign", "Softplus", "Elu", "LeakyRelu", "HardSigmoid",
             "ThresholdedRelu")  # fmt: skip
    chosen = {n.lower(): n for n in known}.get(activation.lower().replace("_", ""))
    if chosen is None:
        raise AttributeValueError(
            f"rnn: received activation {activation!r}, expected one of {known}"
        )
    return _recurrent(
        "rnn", x, units, [0.0], bidirectional=bidirectional, reverse=reverse,
        return_sequences=return_sequences, return_state=return_state, initial_state=initial_state,
        lengths=lengths, mask=mask, use_bias=use_bias, initializer=initializer,
        recurrent_initializer=recurrent_initializer, name=name,
        activations=(chosen,) * (2 if bidirectional else 1),
    )  # fmt: skip


def gru(
    x: Value,
    units: int,
    *,
    reset_after: bool = True,
    bidirectional: bool = False,
    reverse: bool = False,
    return_sequences: bool = False,
    return_state: bool = False,
    initial_state: State | None = None,
    lengths: Value | None = None,
    mask: Value | None = None,
    use_bias: bool = True,
    initializer: Start = "glorot_uniform",
    recurrent_initializer: Start = "orthogonal",
    name: str | None = None,
) -> Any:
    """Gated recurrent units. Source: Cho et al. 2014.

    Parameters as for `rnn`; `reset_after`, whether the reset gate works on the recurrent product
    (as PyTorch, Keras and cuDNN have it) or on the state before it (as the paper has it). Weights
    hold the gates in ONNX's order: update, reset, new.

    >>> import eddl
    >>> eddl.layers.gru(eddl.Input((28, 10)), 32, return_sequences=True).shape
    ('batch', 28, 32)
    """
    return _recurrent(
        "gru", x, units, [0.0] * 3, bidirectional=bidirectional, reverse=reverse,
        return_sequences=return_sequences, return_state=return_state, initial_state=initial_state,
        lengths=lengths, mask=mask, use_bias=use_bias, initializer=initializer,
        recurrent_initializer=recurrent_initializer, name=name,
        linear_before_reset=int(reset_after),
    )  # fmt: skip


def lstm(
    x: Value,
    units: int,
    *,
    bidirectional: bool = False,
    reverse: bool = False,
    return_sequences: bool = False,
    return_state: bool = False,
    initial_state: State | None = None,
    lengths: Value | None = None,
    mask: Value | None = None,
    use_bias: bool = True,
    forget_bias: float = 1.0,
    initializer: Start = "glorot_uniform",
    recurrent_initializer: Start = "orthogonal",
    name: str | None = None,
) -> Any:
    """Long short-term memory. Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000.

    Parameters as for `rnn`; `forget_bias`, with which the forget gate's bias begins (the others'
    with 0), so that a new network remembers: Jozefowicz et al. 2015. The state is (h, c). Weights
    hold the gates in ONNX's order: input, output, forget, cell.

    >>> import eddl
    >>> y, state = eddl.layers.lstm(eddl.Input((28, 10)), 32, bidirectional=True, return_state=True)
    >>> y.shape, state[1].shape
    (('batch', 64), ('batch', 64))
    """
    return _recurrent(
        "lstm", x, units, [0.0, 0.0, float(forget_bias), 0.0], bidirectional=bidirectional,
        reverse=reverse, return_sequences=return_sequences, return_state=return_state,
        initial_state=initial_state, lengths=lengths, mask=mask, use_bias=use_bias,
        initializer=initializer, recurrent_initializer=recurrent_initializer, name=name,
    )  # fmt: skip
