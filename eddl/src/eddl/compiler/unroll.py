"""Branches whose condition is known, and loops whose length is: put in place of their nodes.

What is left is ordinary nodes, so that it compiles and has gradients. `specialise` asks for this
once sizes are numbers; what stays unknown runs in the evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eddl.graph import Constant, Graph, Node, Value
from eddl.ops.table import apply, integers

Rewrite = Callable[[Node, tuple[Value | None, ...]], Sequence[Value]]

LONGEST = 4096
"""Steps of a loop that is unrolled; a longer one stays a loop."""


def expanded(
    node: Node, inputs: tuple[Value | None, ...], rewrite: Rewrite
) -> Sequence[Value] | None:
    """The outputs of an If, Loop or Scan as ordinary nodes, or `None` where that cannot be.

    `rewrite` is applied to the nodes of the bodies.
    """
    if node.domain or node.op not in ("If", "Loop", "Scan"):
        return None
    own, captured = _captured(node, inputs)

    def run(name: str, values: Sequence[Value]) -> Sequence[Value]:
        body: Graph = node.attributes[name]
        given = [*values, *captured.get(name, ())]
        leaves = {a: b for a, b in zip(body.inputs, given, strict=True) if b is not None}
        return body.transform(rewrite, leaves).outputs

    match node.op:
        case "If":
            return _branch(own, run)
        case "Loop":
            return _loop(node, own, run)
        case _:
            return _scan(node, own, run)


def _captured(
    node: Node, inputs: Sequence[Value | None]
) -> tuple[Sequence[Value | None], dict[str, Sequence[Value | None]]]:
    """The operator's own inputs, and what each body captures."""
    start = len(inputs) - sum(count for _, count in node.attributes["captures"])
    own, found = inputs[:start], {}
    for name, count in node.attributes["captures"]:
        found[name] = inputs[start : start + count]
        start += count
    return own, found


def _truth(value: Value | None) -> bool | None:
    """A known condition; an absent one is true."""
    if value is None:
        return True
    return bool(value.data.reshape(-1)[0]) if isinstance(value, Constant) else None


def _branch(
    own: Sequence[Value | None], run: Callable[[str, Sequence[Value]], Sequence[Value]]
) -> Sequence[Value] | None:
    truth = _truth(own[0])
    return None if truth is None else run("then_branch" if truth else "else_branch", [])


def _loop(
    node: Node,
    own: Sequence[Value | None],
    run: Callable[[str, Sequence[Value]], Sequence[Value]],
) -> Sequence[Value] | None:
    """A Loop of known length that only its length ends."""
    given: list[Value | None] = [*own, *[None] * (2 - len(own))]
    count, condition, carried = given[0], given[1], given[2:]
    body: Graph = node.attributes["body"]
    if not isinstance(count, Constant) or _truth(condition) is not True:
        return None
    goes_on = _passed_on(body.outputs[0])
    if goes_on is not body.inputs[1] and _truth(goes_on) is not True:
        return None
    steps = int(count.data.reshape(-1)[0])
    states = [value for value in carried if value is not None]
    if not 0 < steps <= LONGEST or len(states) != len(carried):
        return None
    stacks: list[list[Value]] = [[] for _ in body.outputs[1 + len(states) :]]
    for step in range(steps):
        start = [Constant(np.asarray(step, np.int64)), Constant(np.asarray(True))]
        results = run("body", [*start, *states])
        states = list(results[1 : 1 + len(states)])
        for stack, value in zip(stacks, results[1 + len(states) :], strict=True):
            stack.append(value)
    return [*states, *(_stacked(stack, 0) for stack in stacks)]


def _passed_on(value: Value) -> Value:
    """What a body passes on under another name."""
    while value.node is not None and value.node.op == "Identity":
        source = value.node.inputs[0]
        assert source is not None
        value = source
    return value


def _scan(
    node: Node,
    own: Sequence[Value | None],
    run: Callable[[str, Sequence[Value]], Sequence[Value]],
) -> Sequence[Value] | None:
    """A Scan over sequences of known length."""
    values = [value for value in own if value is not None]
    count = node.attributes["num_scan_inputs"]
    states, scanned = values[: len(values) - count], values[len(values) - count :]
    if (
        node.attributes["batched"]
        or len(values) != len(own)
        or not all(value.type.static for value in values)
    ):
        return None
    axes = _numbers(node, "scan_input_axes", count)
    lengths = {v.type.sizes[axis] for v, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1 or not 0 < (steps := lengths.pop()) <= LONGEST:
        return None
    backwards = _numbers(node, "scan_input_directions", count)
    outputs = node.attributes["body"].outputs[len(states) :]
    stacks: list[list[Value]] = [[] for _ in outputs]
    for step in range(steps):
        parts = [
            _at(value, axis, steps - 1 - step if back else step)
            for value, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = run("body", [*states, *parts])
        states = list(results[: len(states)])
        for stack, value in zip(stacks, results[len(states) :], strict=True):
            stack.append(value)
    turned = _numbers(node, "scan_output_directions", len(stacks))
    places = _numbers(node, "scan_output_axes", len(stacks))
    found = [
        _stacked(stack[::-1] if back else stack, axis)
        for stack, back, axis in zip(stacks, turned, places, strict=True)
    ]
    return [*states, *found]


def _numbers(node: Node, name: str, count: int) -> Sequence[int]:
    return list(node.attributes[name]) or [0] * count


def _at(value: Value, axis: int, index: int) -> Value:
    """One slice of an axis, the axis dropped."""
    axis %= value.rank
    part = apply("Slice", value, integers([index]), integers([index + 1]), integers([axis]))
    return apply("Squeeze", part, integers([axis]))


def _stacked(values: Sequence[Value], axis: int) -> Value:
    place = axis % (values[0].rank + 1)
    return apply("Concat", *(apply("Unsqueeze", v, integers([place])) for v in values), axis=place)
