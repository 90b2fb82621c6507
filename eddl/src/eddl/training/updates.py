"""The update part of a step as one graph: from gradients to new parameters, all or none.

What is not finite is found first: by a bound on the squares of gradients, where their program found
one, else by reading them. Then every new state, of parameters, slots, running statistics, counts
and averages, is selected: the new one where all was finite, else the old one. A slot's new value is
selected where it is computed, so that the optimizer's chain stays fused.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.graph import Graph, Input, Node, State, Type, Value
from eddl.ops.bounds import LIMIT
from eddl.ops.differentiation import gradients
from eddl.ops.table import apply, copy_node, integers
from eddl.training.state import PATIENCE, Averages, Group, TrainingState, Unit
from eddl.training.store import Run, flat_state, lent_state

Array = np.ndarray[Any, Any]
Waiting = Sequence[tuple[Run, Array]]
"""New states that a step computed, beside the runs that they are to replace."""


def update_graph(
    state: TrainingState,
    waiting: Waiting,
    *,
    gathered: bool,
    apart: Container[State] = (),
    bounded: Container[State] = (),
    bounds: Sequence[Array] = (),
) -> tuple[Graph, dict[Value, State]]:
    """Inputs: the learning rate of each group (float64). Output: whether all was finite.

    Gradients are those `gathered` over micro-batches, or leaves without memory of their own,
    returned with the first of the parameters whose gradients each holds; those of the parameters
    `apart` are leaves by themselves. Gradients of `bounded` parameters are finite where `bounds` on
    the squares of their elements, an array a group, are small; all others are read.
    """
    rates = [Input(Type("float64", ()), name=f"rate {i}") for i in range(len(state.groups))]
    counts = [flat_state(group.count, "step") for group in state.groups]
    scale = None if state.scale is None else flat_state(state.scale.scale, "scale")
    flows = [_flows(group, state, scale, gathered, apart) for group in state.groups]
    totals = [flat_state(group.total, "total") for group in state.groups]
    fresh = [_Fresh(run, flat_state(run.part(run.arena.array), "state"), flat_state(new, "new"))
             for run, new in waiting]  # fmt: skip
    every = [flow for part in flows for flow in part]
    read = {leaf: first for flow in every for leaf, first in _read(flow, bounded).items()}
    news = [one.new for one in fresh if one.new.dtype.kind == "f"]
    fine = _finite([*totals, *map(_whole, (*read, *news))])
    for bound in bounds:
        small = apply("LessOrEqual", flat_state(bound, "bound"), LIMIT)
        fine = apply("And", fine, small)
    updates: dict[Value, Value] = {}
    for group, rate, count, part in zip(state.groups, rates, counts, flows, strict=True):
        updates[count] = apply("Where", fine, count + 1, count)
        number = _wide(count + 1)
        shrink = _shrink(part, state.clip_norm)
        for flow in part:
            updates |= _moved(group, flow, rate, number, shrink, fine)
    for one in fresh:
        updates[one.old] = apply("Where", fine, one.new, one.old)
    if state.averages is not None:
        moved = [(flow.unit.run, flow.theta) for part in flows for flow in part]
        moved += [(one.run, one.old) for one in fresh if one.run.members[0] in state.averages]
        updates |= _averaged(state.averages, moved, updates, _wide(counts[0] + 1), fine)
    if state.scale is not None and scale is not None:
        updates |= _scaled(scale, flat_state(state.scale.calm, "calm"), fine)
    graph = Graph(rates, [fine], updates)
    if gathered:
        return graph, {}
    return graph, read | {flow.raw: flow.first for flow in every}


@dataclass(frozen=True)
class _Fresh:
    """A run of states with its new content."""

    run: Run
    old: State
    new: State


@dataclass(frozen=True)
class _Flow:
    """A unit with its parameters, their gradient as it was computed, and as it is followed."""

    unit: Unit
    theta: State
    raw: Value
    followed: Value

    @property
    def first(self) -> State:
        """The first of the parameters."""
        return self.unit.run.members[0]


def _flows(
    group: Group,
    state: TrainingState,
    scale: Value | None,
    gathered: bool,
    apart: Container[State],
) -> list[_Flow]:
    weight = flat_state(group.weight, "weight")
    # Where every label of a step is ignored its weight is 0, and so is its gradient.
    share = apply("Where", apply("Equal", weight, 0.0), 1.0, weight)
    found = []
    for unit in itertools.chain.from_iterable(unit.cut(apart) for unit in group.units):
        memory = unit.run.part(unit.run.arena.array)
        theta = flat_state(memory.reshape(unit.shape), "parameters")
        raw = lent_state(theta.type, "gradients")
        if gathered:
            raw = flat_state(state.gathered_at(unit.offset, theta.type), "gradients")
        flow: Value = raw
        whole = share if gathered else None
        if scale is not None:
            whole = scale if whole is None else whole * scale
        if whole is not None:
            flow = flow / apply("Cast", whole, to=flow.dtype)
        if unit.regularizer is not None:
            flow = flow + gradients(unit.regularizer(theta), [theta])[0]
        if state.clip_value is not None:
            low, high = (np.asarray(b, flow.dtype) for b in (-state.clip_value, state.clip_value))
            flow = apply("Clip", flow, low, high)
        found.append(_Flow(unit, theta, raw, flow))
    return found


def _read(flow: _Flow, bounded: Container[State]) -> dict[Value, State]:
    """Leaves that together are the gradient of a unit but for what is bounded, with the first
    parameter of each; the gradient itself where nothing is."""
    parts = flow.unit.cut(bounded)
    if len(parts) == 1:
        return {} if flow.first in bounded else {flow.raw: flow.first}
    dtype = flow.theta.dtype
    return {
        lent_state(Type(dtype, part.shape), "gradients"): part.run.members[0]
        for part in parts
        if part.run.members[0] not in bounded
    }


def _shrink(flows: Sequence[_Flow], clip_norm: float | None) -> Value | None:
    """What gradients are multiplied by so that their norm is at most `clip_norm`."""
    if clip_norm is None or not flows:
        return None
    norm = apply("Sqrt", _sum([_square(flow.followed) for flow in flows]))
    return apply("Min", clip_norm / (norm + 1e-6), 1.0)


def _moved(
    group: Group, flow: _Flow, rate: Value, number: Value, shrink: Value | None, fine: Value
) -> dict[Value, Value]:
    """The new parameters and slots of a unit."""
    unit, theta, followed = flow.unit, flow.theta, flow.followed
    if shrink is not None:
        followed = followed * apply("Cast", shrink, to=followed.dtype)
    slots = {
        name: flat_state(array.reshape(unit.shape), name) for name, array in unit.slots.items()
    }
    speed = apply("Cast", rate if unit.rate == 1 else rate * unit.rate, to=theta.dtype)
    new, moved = _rule(group, theta, followed, slots, speed, number, fine)
    if unit.constraint is not None:
        new = unit.constraint(new)
    chosen: Value = apply("Where", fine, new, theta)
    return {theta: chosen, **{slots[name]: moved[name] for name in slots}}


def _rule(
    group: Group,
    theta: State,
    flow: Value,
    slots: Mapping[str, State],
    speed: Value,
    number: Value,
    fine: Value,
) -> tuple[Value, dict[str, Value]]:
    """The optimizer's rule, its new slots selected where they are made."""
    places = [Input(v.type) for v in (flow, speed, number)]
    new, moved = group.optimizer.update(theta, places[0], slots, places[1], places[2])
    kept = {moved[name]: slots[name] for name in slots if moved[name] is not slots[name]}

    def rewrite(node: Node, inputs: tuple[Value | None, ...]) -> Sequence[Value]:
        pairs = zip(node.outputs, copy_node(node, inputs), strict=True)
        return [apply("Where", fine, made, kept[old]) if old in kept else made
                for old, made in pairs]  # fmt: skip

    graph = Graph([], [new, *(moved[name] for name in slots)])
    found = graph.transform(rewrite, dict(zip(places, (flow, speed, number), strict=True)))
    return found.outputs[0], dict(zip(slots, found.outputs[1:], strict=True))


def _averaged(
    averages: Averages,
    moved: Iterable[tuple[Run, State]],
    updates: Mapping[Value, Value],
    count: Value,
    fine: Value,
) -> dict[Value, Value]:
    decay = apply("Min", (1.0 + count) / (10.0 + count), averages.decay)
    found: dict[Value, Value] = {}
    for run, state in moved:
        memory = averages.part(run).reshape(state.type.sizes)
        average = flat_state(memory, "average")
        way = apply("Cast", 1.0 - decay, to=average.dtype)
        found[average] = apply("Where", fine, average + (updates[state] - average) * way, average)
    return found


def _scaled(scale: State, calm: State, fine: Value) -> dict[Value, Value]:
    """The loss's scale and the count of finite steps in a row after a step."""
    count = apply("Where", fine, calm + 1, 0)
    grown = apply("Equal", count, PATIENCE)
    kept = apply("Where", grown, scale * 2.0, scale)
    return {
        scale: apply("Where", fine, kept, apply("Max", scale * 0.5, 1.0)),
        calm: apply("Where", grown, 0, count),
    }


def _finite(values: Sequence[Value]) -> Value:
    """Whether the sum of float64 scalars, and so each of them, is finite."""
    whole = _sum(values)
    return apply("Not", apply("Or", apply("IsNaN", whole), apply("IsInf", whole)))


def _whole(value: Value) -> Value:
    """The sum of all elements, which one that is not finite makes not finite."""
    return _wide(apply("ReduceSum", value, keepdims=0))


def _square(flow: Value) -> Value:
    """The sum of squares, a product of a vector with itself: no memory for the squares."""
    flat = flow if flow.rank == 1 else apply("Reshape", flow, integers([-1]))
    row = apply("Unsqueeze", flat, integers([0]))
    return _wide(apply("Reshape", apply("MatMul", row, flat), integers([])))


def _wide(value: Value) -> Value:
    return value if value.dtype == np.float64 else apply("Cast", value, to="float64")


def _sum(values: Sequence[Value]) -> Value:
    return functools.reduce(operator.add, values)
