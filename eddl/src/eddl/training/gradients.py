"""The gradients part of a step as one graph: from inputs to outputs and gradients.

A gradient is an output of its own, which is left in the slabs for the update part, or is added to
memory that gathers it over several micro-batches. New states that no optimizer makes (running
statistics, counts of metrics) are written beside the old ones, where they wait for the update.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eddl.compiler import training_form
from eddl.graph import Graph, State, Type, Value
from eddl.losses.parts import total_and_count
from eddl.ops.differentiation import gradients
from eddl.ops.table import PRIVATE, apply, copy_node, integers
from eddl.training.state import Averages, TrainingState
from eddl.training.store import Arena, flat_state, runs
from eddl.training.updates import Waiting

Array = np.ndarray[Any, Any]
MICRO = 1 << 32
"""A step's number and the micro-batch's make one counter for random numbers: low and high word."""


@dataclass(frozen=True)
class GradientsPart:
    """What a step computes before its update.

    The first `returned` outputs of the `graph` are the caller's; the gradients of all parameters of
    `state` follow, unless it `gathers` them. `states` are those that the caller's graph holds,
    `waiting` are new ones beside those that they will replace, and `bounds` are on the squares of
    each optimizer's gradients.
    """

    graph: Graph
    returned: int
    state: TrainingState
    states: Sequence[State]
    waiting: Waiting
    bounds: Sequence[Array]
    gathers: bool

    @cached_property
    def hands_over(self) -> bool:
        """Whether gradients are left in the slabs for the update."""
        return bool(self.state.parameters) and not self.gathers

    @property
    def defers(self) -> bool:
        """Whether the update may make some of them, as no rule wants all at once."""
        return self.hands_over and self.state.clip_norm is None

    @cached_property
    def is_followed(self) -> bool:
        """Whether any of what it computes is for the update."""
        return self.hands_over or self.gathers or bool(self.waiting)

    @property
    def resident(self) -> int:
        """Bytes that outlive a step: slots, averages, waiting states and gathered gradients
        (parameters apart)."""
        return self.state.nbytes + sum(memory.nbytes for _, memory in self.waiting)

    def begin(self) -> None:
        """Before the first micro-batch: sums are 0, and new states begin as the old ones."""
        for run, memory in self.waiting:
            memory[...] = run.part(run.arena.array)
        if self.gathers:
            for group in self.state.groups:
                group.total[...] = group.weight[...] = 0
                for unit in group.units:
                    memory = self.state.gathered_at(unit.offset, Type("uint8", (unit.nbytes,)))
                    memory[...] = 0

    def commit(self) -> None:
        """Without an optimizer: new states take the place of the old ones."""
        for run, memory in self.waiting:
            run.part(run.arena.array)[...] = memory


def gradients_part(
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    losses: Sequence[Value],
    state: TrainingState,
    *,
    updates: Mapping[State, Value],
    accumulate: bool,
    training: bool,
    seed: int,
    ema: float | None,
) -> GradientsPart:
    """The part for a loss for each of the groups of `state`. Where `ema` is given, averages of
    parameters and running statistics begin with this decay."""
    parameters = state.parameters
    leaves = Graph(inputs, [*outputs, *parameters, *updates, *updates.values()]).leaves
    bounds = [np.zeros(()) for _ in state.groups]
    flows, sums = _flows(inputs, losses, state, bounds, accumulate)
    graph = Graph(inputs, [*outputs, *flows], sums | dict(updates))
    if training:
        graph = training_form(graph, _moment(state, accumulate), seed=seed)
    moved = [s for s in graph.updates if isinstance(s, State) and s not in sums]
    if ema is not None:
        statistics = [s for s in moved if s not in updates and s.dtype.kind == "f"]
        state.averages = Averages([*parameters, *statistics], ema)
    graph, waiting = _beside(graph, moved, state.averages or ())
    states = [leaf for leaf in leaves if isinstance(leaf, State)]
    return GradientsPart(graph, len(outputs), state, states, waiting, bounds, accumulate)


def _flows(
    inputs: Sequence[Value],
    losses: Sequence[Value],
    state: TrainingState,
    bounds: Sequence[Array],
    accumulate: bool,
) -> tuple[list[Value], dict[Value, Value]]:
    """Gradients, unless they are gathered; and new values of what is summed and, where gradients
    need not all be there at once, of bounds on the squares of each optimizer's."""
    found: list[Value] = []
    sums: dict[Value, Value] = {}
    for loss, group, bound in zip(losses, state.groups, bounds, strict=True):
        total, weight = _weighed(loss, inputs) if accumulate else (loss, None)
        added = {flat_state(group.total, "total"): total}
        if weight is not None:
            added[flat_state(group.weight, "weight")] = weight
        for old, value in added.items():
            wide = apply("Cast", value, to="float64")
            sums[old] = old + wide if accumulate else wide
        if state.scale is not None:
            scale = flat_state(state.scale.scale, "scale")
            total = total * apply("Cast", scale, to=total.dtype)
        flows = gradients(total, group.parameters)
        if accumulate:
            for parameter, flow in zip(group.parameters, flows, strict=True):
                memory = state.gathered_at(group.offset(parameter), parameter.type)
                gathered = flat_state(memory, "gradient")
                sums[gathered] = gathered + flow
        else:
            found += (apply("Identity", flow) for flow in flows)  # no two the same value
            if flows and state.clip_norm is None:
                sums[flat_state(bound, "bound")] = apply("SquareBound", *flows, domain=PRIVATE)
    return found, sums


def _weighed(loss: Value, inputs: Sequence[Value]) -> tuple[Value, Value]:
    """A loss as total and weight, over which micro-batches are summed: a mean's own, else the loss
    times the number of samples, and that number."""
    own = total_and_count(loss)
    if own is not None:
        return own
    batch = next((v for v in inputs if v.rank), None)
    if batch is None:
        return loss, apply("Cast", np.ones(()), to=loss.dtype)
    size = apply("Gather", apply("Shape", batch), integers([0]))
    samples = apply("Reshape", apply("Cast", size, to=loss.dtype), integers([]))
    return loss * samples, samples


def _moment(state: TrainingState, accumulate: bool) -> Value:
    """The counter of random numbers: the step, and the micro-batch in its high word."""
    groups = state.groups
    count = flat_state(groups[0].count if groups else np.zeros((), np.int64), "step")
    if not accumulate:
        return count
    return count + flat_state(state.micro, "micro-batch") * MICRO


def _beside(
    graph: Graph, moved: Sequence[State], averaged: Container[State]
) -> tuple[Graph, Waiting]:
    """The graph with what it moves written to memory where that waits, and those places."""
    waiting = [
        (run, Arena(run.arena.dtype, run.stop - run.start).array)
        for run in runs(moved, lambda state: state in averaged)
    ]
    places: dict[Value, Value] = {
        s: flat_state(memory[s.storage.start - run.start : s.storage.stop - run.start]
                      .reshape(s.storage.shape), "waiting")
        for run, memory in waiting for s in run.members
    }  # fmt: skip
    return graph.transform(copy_node, places), waiting
