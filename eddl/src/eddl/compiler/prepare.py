"""What depends on states and constants alone is computed before the first run, not in each.

Packed and folded weights are such values. They are kept beside the states, count as the program's
own memory, and are computed anew when any state may have been written since: whoever gives out a
state's memory, and every program that updates states, says so by `written`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from eddl.compiler.protocol import Call
from eddl.graph import Constant, Graph, State, Value

_count = itertools.count(1)
_last = 0


def written() -> None:
    """States may have changed: what was computed from them is out of date."""
    global _last
    _last = next(_count)


def last_written() -> int:
    """A number that grows when states may have changed."""
    return _last


def resting(graph: Graph) -> set[Value]:
    """The values that depend on states and constants alone."""
    known: set[Value] = {v for v in graph.leaves if isinstance(v, (Constant, State))}
    for node in graph.nodes:
        inputs = [v for v in node.inputs if v is not None]
        if inputs and all(v in known for v in inputs):
            known.update(node.outputs)
    return known


def separate(graph: Graph, calls: Sequence[Call]) -> tuple[list[Call], list[Call], list[Value]]:
    """The calls that are made beforehand, those of each run, and what the former make for the
    latter. For graphs that only infer: what trains writes states in every run. A view of a leaf
    takes no memory and may be among both."""
    leaves: set[Value] = {v for v in graph.leaves if isinstance(v, (Constant, State))}
    known, ends = set(leaves), set(graph.outputs)
    before: list[Call] = []
    each: list[Call] = []
    for call in calls:
        inputs = [v for v in call.inputs if v is not None]
        rests = bool(inputs) and all(v in known for v in inputs)
        if rests and ends.isdisjoint(call.outputs):
            before.append(call)
            known.update(call.outputs)
            if call.offer.views and inputs[0] in leaves:
                leaves.update(call.outputs)
                each.append(call)
        else:
            each.append(call)
    read = dict.fromkeys(v for call in each for v in call.inputs if v is not None)
    each = [call for call in each if not leaves.intersection(call.outputs).difference(read)]
    made = {v for call in before for v in call.outputs} - leaves
    return before, each, [v for v in read if v in made]
