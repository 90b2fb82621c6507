"""Recurrence of one's own: a step written once and repeated along a sequence, ONNX's Scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Constant, Graph, Input, Label, Value
from eddl.layers.build import Sizes, Start, channels, parameter, per_axis, tensor
from eddl.layers.recurrent import State
from eddl.layers.reductions import over_first_axes
from eddl.ops.table import apply, copy_node, entry, integers, make_node

Step = Callable[..., Sequence[Sequence[Value]]]


def scan(
    step: Step,
    sequences: Value | Sequence[Value],
    states: Value | Sequence[Value],
    *,
    reverse: bool = False,
    name: str | None = None,
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Repeat a step along sequences.

    Parameters: `step`, a function of one step's parts (as many as `sequences`, each without the
    time axis) and of the states, which returns a pair of its outputs and the new states, tuples
    both; it is called once, with symbolic tensors, and may use parameters and values from outside;
    `sequences`, one [N, T, ...] or several of one length; `states`, with which it begins, whose
    types it keeps; `reverse`, whether it goes from the end to the beginning. Returns the outputs of
    all steps [N, T, ...] and the last states. Layers that differ in training (noise, dropout, batch
    normalization) have no place in a step.

    >>> import eddl
    >>> x, start = eddl.Input((12, 3)), eddl.Input((3,))
    >>> (totals,), _ = eddl.layers.scan(lambda x, s: ((x + s,), (x + s,)), x, start)
    >>> totals.shape
    ('batch', 12, 3)
    """
    parts = [sequences] if isinstance(sequences, Value) else list(sequences)
    begin = [states] if isinstance(states, Value) else list(states)
    return _repeated(step, parts, begin, reverse, Label("scan", name))


def _repeated(
    step: Step, parts: Sequence[Value], begin: Sequence[Value], reverse: bool, label: Label
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    if not parts or any(tensor(x, "scan").rank < 2 for x in parts):
        received = ", ".join(str(x.type) for x in parts)
        raise ShapeError(f"scan: received ({received}), expected sequences [N, T, ...]")
    held = [Input(tensor(s, "scan").type, name=f"state_{i}") for i, s in enumerate(begin)]
    seen = [Input(x.type.with_shape((x.shape[0], *x.shape[2:])), name=f"part_{i}")
            for i, x in enumerate(parts)]  # fmt: skip
    made, moved = (tuple(values) for values in step(*seen, *held))
    if [v.type.with_shape([None] * v.rank) for v in moved] != [
        v.type.with_shape([None] * v.rank) for v in held
    ]:
        raise ShapeError(
            f"scan: received the new states ({', '.join(str(v.type) for v in moved)}) for "
            f"({', '.join(str(v.type) for v in held)}), expected the types that they had"
        )
    body, captured = _closed([*held, *seen], [*moved, *made])
    wrong = [n.op for n in body.nodes if entry(n).random or n.op == "BatchNormalization"]
    if wrong:
        raise AttributeValueError(
            f"scan: received a step with {wrong[0]}, which differs in training; expected it before "
            "or behind the scan"
        )
    count, turn = len(parts), int(reverse)
    node = make_node(
        "Scan",
        *begin,
        *parts,
        *captured,
        label=label,
        body=body,
        num_scan_inputs=count,
        captures=(("body", len(captured)),),
        scan_input_axes=(1,) * count,
        scan_output_axes=(1,) * len(made),
        scan_input_directions=(turn,) * count,
        scan_output_directions=(turn,) * len(made),
    )
    return node.outputs[len(begin) :], node.outputs[: len(begin)]


def time_distributed(function: Callable[[Value], Value], x: Value) -> Value:
    """A function of [N, ...] applied to every step of [N, T, ...] at once.

    Parameters: `function`, a layer or a model, say a network over images; `x`, all of whose sizes
    but the batch's are known. Steps count as samples, for the statistics of batch normalization
    too. Returns [N, T, ...].

    >>> import eddl
    >>> frames = eddl.Input((5, 1, 16, 16))
    >>> y = eddl.layers.time_distributed(lambda x: eddl.layers.conv(x, 8, 3, strides=2), frames)
    >>> y.shape[1:]
    (5, 8, 8, 8)
    """
    layer = "time_distributed"
    known = [n for n in tensor(x, layer).shape[1:] if isinstance(n, int)]
    if x.rank < 2 or len(known) != x.rank - 1:
        raise ShapeError(f"{layer}: received {x.type}, expected [N, T, ...] of known sizes")
    y = function(apply("Reshape", x, integers([-1, *known[1:]])))
    sizes = [n for n in tensor(y, layer).shape[1:] if isinstance(n, int)]
    if len(sizes) != y.rank - 1:
        raise ShapeError(f"{layer}: received {y.type} from the function, expected known sizes")
    return apply("Reshape", y, integers([-1, known[0], *sizes]))


def _closed(formal: Sequence[Value], outputs: Sequence[Value]) -> tuple[Graph, list[Value]]:
    """A body whose inputs are the formal ones and what it takes from outside, and the latter.

    What does not depend on the formal inputs is computed outside, once.
    """
    mapping: dict[Value, Value] = {value: value for value in formal}
    captured: dict[Value, Input] = {}

    def inner(value: Value | None) -> Value | None:
        if value is None or isinstance(value, Constant) or value in mapping:
            return value if value is None else mapping.get(value, value)
        return captured.setdefault(value, Input(value.type, name=f"outer_{len(captured)}"))

    for node in Graph([], outputs).nodes:
        if any(value in mapping for value in node.inputs if value is not None):
            mapping.update(zip(node.outputs, copy_node(node, [*map(inner, node.inputs)]),
                               strict=True))  # fmt: skip
    results = [value for value in map(inner, outputs) if value is not None]
    return Graph([*formal, *captured.values()], results), list(captured)


def conv_lstm(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    reverse: bool = False,
    return_sequences: bool = False,
    return_state: bool = False,
    initial_state: State | None = None,
    mask: Value | None = None,
    use_bias: bool = True,
    forget_bias: float = 1.0,
    initializer: Start = "glorot_uniform",
    name: str | None = None,
) -> Any:
    """An LSTM whose products are convolutions, over sequences of images of any spatial rank.

    Parameters: `x` [N, T, C, space...]; `filters`, the channels of its state; `kernel_size`, a
    number for all spatial axes or one an axis; the rest as for `lstm`; `mask` [N, T], True where a
    step counts. One convolution of same size takes input and state side by side; its weight
    [4 x filters, C + filters, kernel...] holds the gates in the order input, output, forget, cell.
    Returns the last state's h [N, filters, space...], or every step's [N, T, filters, space...],
    and with `return_state` a pair of that and (h, c). Source: Shi et al. 2015, without peepholes.

    >>> import eddl
    >>> eddl.layers.conv_lstm(eddl.Input((5, 1, 16, 16)), 8, 3).shape
    ('batch', 8, 16, 16)
    """
    layer = "conv_lstm"
    if tensor(x, layer).rank < 4:
        raise ShapeError(f"{layer}: received {x.type}, expected sequences [N, T, C, space...]")
    frame = apply("Squeeze", apply("Slice", x, *map(integers, ([0], [1], [1]))), integers([1]))
    rank, count, label = x.rank - 3, channels(frame, layer), Label(layer, name)
    kernel = per_axis(kernel_size, rank, f"{layer} kernel_size")
    weight = parameter(
        (4 * filters, count + filters, *kernel), x.dtype, initializer, label, "weight"
    )

    def start(shape: Sequence[int], dtype: Any, generator: np.random.Generator) -> Any:
        return np.repeat([0.0, 0.0, float(forget_bias), 0.0], filters).astype(dtype)

    bias = (parameter((4 * filters,), x.dtype, start, label, "bias"),) if use_bias else ()
    if initial_state is None:
        plane = apply("ReduceMax", frame, integers([1]), keepdims=1)
        empty = apply("Where", np.ones((1,) * plane.rank, bool), np.zeros((), x.dtype), plane)
        empty = apply("Expand", empty, integers([1, filters, *[1] * rank]))
        states = [empty, empty]
    else:
        states = [initial_state] if isinstance(initial_state, Value) else [*initial_state]
        if len(states) != 2 or any(tensor(s, layer).rank != rank + 2 for s in states):
            received = ", ".join(str(s.type) for s in states)
            raise ShapeError(
                f"{layer}: received the state ({received}), expected h and c [N, {filters}, "
                "space...]"
            )

    def step(*values: Value) -> tuple[tuple[Value], tuple[Value, Value]]:
        part, (h, c) = values[0], values[-2:]
        total = apply("Conv", apply("Concat", part, h, axis=1), weight, *bias, label=label,
                      kernel_shape=kernel, auto_pad="SAME_UPPER")  # fmt: skip
        i, o, f, g = make_node("Split", total, integers([filters] * 4), axis=1).outputs
        gates = (apply("Sigmoid", gate) for gate in (i, o, f))
        i, o, f = gates
        new_c = f * c + i * apply("Tanh", g)
        new_h = o * apply("Tanh", new_c)
        if mask is None:
            return (new_h,), (new_h, new_c)
        alive = over_first_axes(new_h, values[1], layer)
        shown = apply("Where", alive, new_h, 0.0)
        return (shown,), (apply("Where", alive, new_h, h), apply("Where", alive, new_c, c))

    sequences = [x]
    if mask is not None:
        if tensor(mask, layer).rank != 2 or mask.dtype != bool:
            raise ShapeError(f"{layer}: received a mask {mask.type}, expected booleans [N, T]")
        sequences.append(mask)
    (whole,), final = _repeated(step, sequences, states, reverse, label)
    y = whole if return_sequences else final[0]
    return (y, final) if return_state else y
