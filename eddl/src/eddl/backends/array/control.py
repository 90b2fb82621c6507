"""Branches, loops, sequences and optionals, for the evaluator. A sequence is a list, an absent
optional is `None`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend
from eddl.backends.array.evaluator import evaluate_graph, host
from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Graph, Node


def _captured(node: Node, inputs: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Sequence[Any]]]:
    """The operator's own inputs, and what each subgraph captures."""
    counts = node.attributes["captures"]
    own = len(inputs) - sum(count for _, count in counts)
    found, start = {}, own
    for name, count in counts:
        found[name] = inputs[start : start + count]
        start += count
    return inputs[:own], found


def _body(
    backend: ArrayBackend, node: Node, name: str, values: Sequence[Any], captured: Sequence[Any]
) -> list[Any]:
    graph = node.attributes[name]
    assert isinstance(graph, Graph)
    expected = len(graph.inputs) - len(captured)
    if len(values) != expected:
        raise ShapeError(f"{node.op}: the {name} takes {expected} values, received {len(values)}")
    return evaluate_graph(backend, graph, [*values, *captured])


@host("If")
def if_(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """One of two branches."""
    (condition, *_), captured = _captured(node, inputs)
    name = "then_branch" if bool(np.reshape(condition, -1)[0]) else "else_branch"
    return _body(backend, node, name, [], captured.get(name, ()))


@host("Loop")
def loop(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The body until a count or a condition ends it; further outputs are stacked."""
    (count, condition, *carried), captured = _captured(node, [*inputs, *[None] * (2 - len(inputs))])
    limit = None if count is None else int(np.reshape(count, -1)[0])
    going = True if condition is None else bool(np.reshape(condition, -1)[0])
    stacks: list[list[Any]] = [
        [] for _ in range(len(node.attributes["body"].outputs) - 1 - len(carried))
    ]
    step = 0
    while going and (limit is None or step < limit):
        flag = np.asarray(going)
        results = _body(backend, node, "body", [np.asarray(step, np.int64), flag, *carried],
                        captured.get("body", ()))  # fmt: skip
        going = bool(np.reshape(results[0], -1)[0])
        carried = results[1 : 1 + len(carried)]
        for stack, value in zip(stacks, results[1 + len(carried) :], strict=True):
            stack.append(value)
        step += 1
    return [*carried, *(_stacked(stack, value) for stack, value in zip(
        stacks, node.attributes["body"].outputs[1 + len(carried):], strict=True))]  # fmt: skip


def _stacked(parts: Sequence[Array], value: Any) -> Array:
    if parts:
        return np.stack(parts)
    sizes = () if value.type.opaque else value.type.shape
    shape = [size if isinstance(size, int) else 0 for size in sizes]
    return np.empty((0, *shape), np.float32 if value.type.opaque else value.dtype)


def _per(values: Sequence[int], count: int) -> list[int]:
    return list(values) or [0] * count


@host("Scan")
def scan(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The body over slices of its scanned inputs, with carried states."""
    if node.attributes["batched"]:
        attributes = {**node.attributes, "batched": 0}
        one = Node(node.op, node.inputs, [v.type for v in node.outputs], attributes)
        own, _ = _captured(node, inputs)
        rows = [
            scan(backend, one, [*(x[i] for x in own), *inputs[len(own) :]])
            for i in range(len(own[0]))
        ]
        return [np.stack(column) for column in zip(*rows, strict=True)]
    own, captured = _captured(node, inputs)
    count = node.attributes["num_scan_inputs"]
    states, scanned = list(own[: len(own) - count]), own[len(own) - count :]
    axes = _per(node.attributes["scan_input_axes"], count)
    backwards = _per(node.attributes["scan_input_directions"], count)
    lengths = {x.shape[axis] for x, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise ShapeError(
            f"Scan: received inputs of {sorted(lengths)} steps, expected equal numbers"
        )
    moved = [
        np.flip(np.moveaxis(x, axis, 0), 0) if back else np.moveaxis(x, axis, 0)
        for x, axis, back in zip(scanned, axes, backwards, strict=True)
    ]
    outputs = node.attributes["body"].outputs[len(states) :]
    stacks: list[list[Any]] = [[] for _ in outputs]
    for step in range(lengths.pop()):
        results = _body(backend, node, "body", [*states, *(x[step] for x in moved)],
                        captured.get("body", ()))  # fmt: skip
        states = results[: len(states)]
        for stack, value in zip(stacks, results[len(states) :], strict=True):
            stack.append(value)
    found = []
    for stack, value, axis, back in zip(
        stacks,
        outputs,
        _per(node.attributes["scan_output_axes"], len(stacks)),
        _per(node.attributes["scan_output_directions"], len(stacks)),
        strict=True,
    ):
        whole = _stacked(stack[::-1] if back else stack, value)
        found.append(np.moveaxis(whole, 0, axis))
    return [*states, *found]


def _position(node: Node, value: Any, size: int, default: int) -> int:
    if value is None:
        return default
    position = int(np.reshape(value, -1)[0])
    if not -size <= position <= size:
        raise AttributeValueError(
            f"{node.op}: received position {position} of a sequence of {size}, expected one within"
        )
    return position if position >= 0 else position + size


@host("SequenceConstruct")
def sequence_construct(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A sequence of the inputs."""
    return [list(inputs)]


@host("SequenceEmpty")
def sequence_empty(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A sequence of nothing."""
    return [[]]


@host("SequenceInsert")
def sequence_insert(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A sequence with one more element."""
    sequence, tensor, position = (*inputs, None)[:3]
    at = _position(node, position, len(sequence), len(sequence))
    return [[*sequence[:at], tensor, *sequence[at:]]]


@host("SequenceErase")
def sequence_erase(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A sequence with one element less."""
    sequence, position = (*inputs, None)[:2]
    at = _position(node, position, len(sequence), len(sequence) - 1)
    return [[*sequence[:at], *sequence[at + 1 :]]]


@host("SequenceAt")
def sequence_at(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """One element of a sequence."""
    sequence, position = inputs
    at = _position(node, position, len(sequence), 0)
    if at >= len(sequence):
        raise AttributeValueError(
            f"SequenceAt: received position {at} of a sequence of {len(sequence)}"
        )
    return [sequence[at]]


@host("SequenceLength")
def sequence_length(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The number of elements."""
    return [np.asarray(len(inputs[0]), np.int64)]


@host("SplitToSequence")
def split_to_sequence(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The parts of a tensor along an axis."""
    data, split = (*inputs, None)[:2]
    axis = node.attributes["axis"]
    size = data.shape[axis]
    if split is None:
        parts = np.split(data, size, axis)
        return [parts if node.attributes["keepdims"] else [np.squeeze(p, axis) for p in parts]]
    if split.ndim == 0:
        bounds = list(range(int(split), size, int(split)))
    else:
        bounds = list(np.cumsum(split)[:-1])
        if int(np.sum(split)) != size:
            raise ShapeError(f"SplitToSequence: received {split.tolist()} for an axis of {size}")
    return [np.split(data, bounds, axis)]


@host("ConcatFromSequence")
def concat_from_sequence(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The elements of a sequence, joined or stacked."""
    join = np.stack if node.attributes["new_axis"] else np.concatenate
    return [join(inputs[0], axis=node.attributes["axis"])]


@host("SequenceMap")
def sequence_map(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The body applied to each element; tensors go along unchanged."""
    own, captured = _captured(node, inputs)
    rows = [
        _body(backend, node, "body",
              [x[i] if isinstance(x, list) else x for x in own], captured.get("body", ()))
        for i in range(len(own[0]))
    ]  # fmt: skip
    count = len(node.attributes["body"].outputs)
    return [[row[k] for row in rows] for k in range(count)]


@host("Optional")
def optional(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """A value, or the absence of one."""
    return [inputs[0] if inputs else None]


@host("OptionalHasElement")
def optional_has_element(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Whether there is a value."""
    return [np.asarray(bool(inputs) and inputs[0] is not None)]


@host("OptionalGetElement")
def optional_get_element(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """The value of an optional."""
    if inputs[0] is None:
        raise AttributeValueError("OptionalGetElement: the optional holds nothing")
    return [inputs[0]]
