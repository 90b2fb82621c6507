"""The one primitive: a step runs a graph and, where it minimizes, updates parameters.

It has a *gradients* part, which computes outputs and writes every gradient into an arena laid out
like the parameters', and an *update* part, which runs the optimizer over those arenas. New states
(running statistics, counts of metrics) wait beside the old ones until the update commits all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl import devices
from eddl.compiler import Evaluation, Program, Slabs, compile_graph, training_form
from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Constant, Graph, Input, State, Type, Value
from eddl.ops.differentiation import gradients
from eddl.ops.table import apply
from eddl.optimizers import Optimizer, rate_at
from eddl.tensors import as_host_array
from eddl.training.store import Arena, Run, flat_state, runs

Array = np.ndarray[Any, Any]
KEEP = 8
"""Programs kept for different input shapes, least recently used first out."""


@dataclass
class Group:
    """What one optimizer minimizes: its parameters in runs, its slots and its count of steps."""

    optimizer: Optimizer
    parameters: tuple[State, ...]
    runs: list[Run]
    slots: list[dict[str, Array]]
    count: Array


class Step:
    """Run a graph; with `minimize`, train.

    Parameters: `inputs`, symbolic tensors in the order in which arrays are given; `outputs`, the
    values to return; `minimize`, triples (scalar loss, parameters, optimizer); `updates`, states
    and their new values; `training`, whether layers such as batch normalization run in their
    training form; `device`; `slabs`, transient memory to share with other steps; `groups`, those of
    another step over the same parameters, to go on with its optimizers' state; `seed`, of the
    random numbers that dropout draws; `max_bytes`, what the values of a run may take (by default
    the memory that is free), beyond which `MemoryLimitError` is raised before any is allocated.

    >>> import eddl, numpy as np
    >>> x, y = eddl.Input((1,)), eddl.Input((1,))
    >>> model = eddl.Model(x, eddl.layers.dense(x, 1))
    >>> loss = eddl.losses.mean_squared_error(model.outputs[0], y)
    >>> step = eddl.Step([x, y], [loss], [(loss, model.parameters, eddl.SGD(0.1))])
    >>> data = np.ones((8, 1), "float32")
    >>> before, after = (float(step(data, 3 * data)[0]) for _ in range(2))
    >>> after < before
    True
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        minimize: Sequence[tuple[Value, Sequence[State], Optimizer]] = (),
        *,
        updates: Mapping[State, Value] | None = None,
        training: bool = True,
        device: str = "cpu",
        slabs: Slabs | None = None,
        groups: Sequence[Group] | None = None,
        seed: int = 0,
        max_bytes: int | None = None,
        poison: bool = False,
    ) -> None:
        self._backend = devices.backend(device)
        self._slabs = slabs or Slabs(self._backend)
        self._poison = poison
        self._max_bytes = max_bytes
        self._programs: dict[tuple[Type, ...], Program | Evaluation] = {}
        self._update_programs: dict[int, Program | Evaluation] = {}
        for loss, _, _ in minimize:
            _check_loss(loss)
        self.groups = list(groups or []) or [
            begin_group(parameters, optimizer) for _, parameters, optimizer in minimize
        ]
        wanted = [
            value
            for (loss, _, _), group in zip(minimize, self.groups, strict=True)
            for value in gradients(loss, group.parameters)
        ]
        owners = [p for group in self.groups for p in group.parameters]
        graph = Graph(inputs, [*outputs, *wanted], {k: v for k, v in (updates or {}).items()})
        if training:
            count = self.groups[0].count if self.groups else np.zeros((), np.int64)
            graph = training_form(graph, flat_state(count, "step"), seed=seed)
        self._count = len(outputs)
        self._moved = list(graph.updates)
        self._arenas = _gradient_arenas(owners)
        self._graph = Graph(
            graph.inputs, [*graph.outputs, *(graph.updates[state] for state in self._moved)]
        )
        self._pending = [np.empty(state.type.sizes, state.dtype) for state in self._moved]
        self._targets = [
            *(self._arenas[id(p.storage.arena)][p.storage.start : p.storage.stop].reshape(
                p.storage.shape) for p in owners),
            *self._pending,
        ]  # fmt: skip
        self._owners = owners

    def __call__(self, *arrays: Any) -> list[Array]:
        """Compute the outputs, then update parameters and states; returns arrays of their own."""
        results = self._run(arrays)
        self._update()
        return results

    def gradients(self, *arrays: Any) -> tuple[list[Array], list[Array]]:
        """The outputs, and a copy of each parameter's gradient; nothing is changed."""
        results = self._run(arrays)
        return results, [t.copy() for t in self._targets[: len(self._owners)]]

    def program(self, *types: Type) -> Program | Evaluation:
        """The compiled gradients part for inputs of static types."""
        key = tuple(types)
        found = self._programs.pop(key, None)
        if found is None:
            found = self._compile(types)
            while len(self._programs) >= KEEP:
                self._programs.pop(next(iter(self._programs)))
        self._programs[key] = found
        return found

    @property
    def resident(self) -> int:
        """Bytes that outlive a run: gradients, waiting states and slots (parameters apart)."""
        slots = sum(a.nbytes for g in self.groups for s in g.slots for a in s.values())
        return slots + sum(a.nbytes for a in (*self._arenas.values(), *self._pending))

    def _run(self, arrays: Sequence[Any]) -> list[Array]:
        inputs = self._graph.inputs
        if len(arrays) != len(inputs):
            raise AttributeValueError(
                f"received {len(arrays)} arrays, expected {len(inputs)}: "
                f"{[value.name for value in inputs]}"
            )
        data = [fit(array, value) for array, value in zip(arrays, inputs, strict=True)]
        _check_batch(inputs, data)
        with self._backend.within(self._max_bytes):
            program = self.program(*(Type(array.dtype, array.shape) for array in data))
            return program.run(data)

    def _compile(self, types: Sequence[Type]) -> Program | Evaluation:
        bound = {
            value: (Value(value.type, name=f"place {i}"), self._backend.from_host(target))
            for i, (value, target) in enumerate(
                zip(self._graph.outputs[self._count :], self._targets, strict=True)
            )
        }
        return compile_graph(
            self._graph,
            dict(zip(self._graph.inputs, types, strict=True)),
            self._backend,
            self._slabs,
            memory_of=lambda state: self._backend.from_host(state.storage.view()),
            bound=bound,
            poison=self._poison,
        )

    def _update(self) -> None:
        for index, group in enumerate(self.groups):
            if index not in self._update_programs:
                self._update_programs[index] = self._compile_update(group)
            rate = rate_at(group.optimizer, int(group.count))
            self._update_programs[index].run([np.asarray(rate)])
        for state, new in zip(self._moved, self._pending, strict=True):
            assert isinstance(state, State)
            state.storage.view()[...] = new

    def _compile_update(self, group: Group) -> Program | Evaluation:
        count = flat_state(group.count, "step")
        rate = Input(Type("float64", ()), name="rate")
        step = count + 1
        number = apply("Cast", step, to="float64")
        updates: dict[Value, Value] = {count: step}
        for run, arrays in zip(group.runs, group.slots, strict=True):
            theta = flat_state(run.part(run.arena.array), "parameters")
            flow = flat_state(run.part(self._arenas[id(run.arena)]), "gradients")
            slots = {name: flat_state(array, name) for name, array in arrays.items()}
            speed = apply("Cast", rate, to=theta.dtype)
            new, moved = group.optimizer.update(theta, flow, slots, speed, number)
            updates.update({theta: new, **{slots[name]: moved[name] for name in slots}})
        return compile_graph(
            Graph([rate], [], updates),
            {rate: rate.type},
            self._backend,
            self._slabs,
            memory_of=lambda state: self._backend.from_host(state.storage.view()),
            poison=self._poison,
        )


def begin_group(parameters: Sequence[State], optimizer: Optimizer) -> Group:
    """An optimizer's state before its first step."""
    found = runs(parameters)
    slots = [
        {name: np.zeros(run.stop - run.start, run.arena.dtype) for name in optimizer.slots}
        for run in found
    ]
    return Group(optimizer, tuple(dict.fromkeys(parameters)), found, slots, np.zeros((), np.int64))


def _check_loss(loss: Value) -> None:
    if loss.type.rank != 0 or loss.dtype.kind != "f":
        raise ShapeError(f"received a loss of type {loss.type}, expected a floating scalar")


def _gradient_arenas(parameters: Sequence[State]) -> dict[int, Array]:
    """A gradient arena for each arena of parameters, of the same layout."""
    arenas: dict[int, Arena] = {id(p.storage.arena): p.storage.arena for p in parameters}
    return {key: np.zeros_like(arena.array) for key, arena in arenas.items()}


def fit(array: Any, value: Value) -> Array:
    """The caller's tensor as a host array of an input's type; copied only if its type differs."""
    host = as_host_array(array, what=f"input {value.name}")
    if len(host.shape) != value.rank or any(
        isinstance(size, int) and size != got
        for size, got in zip(value.shape, host.shape, strict=True)
    ):
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, expected {value.type} with the "
            "batch axis first"
        )
    if 0 in host.shape:
        raise ShapeError(
            f"input {value.name}: received the shape {host.shape}, which holds nothing; expected "
            "at least one sample"
        )
    if host.dtype == value.dtype:
        return host
    if value.dtype.kind == "f" or np.can_cast(host.dtype, value.dtype, "same_kind"):
        return host.astype(value.dtype)
    raise ShapeError(
        f"input {value.name}: received elements of type {host.dtype}, expected {value.dtype}"
    )


def _check_batch(inputs: Sequence[Value], data: Sequence[Array]) -> None:
    """Named sizes must agree over the inputs."""
    seen: dict[str, tuple[int, Any]] = {}
    pairs = itertools.chain.from_iterable(
        ((value, size, got) for size, got in zip(value.shape, array.shape, strict=True))
        for value, array in zip(inputs, data, strict=True)
        if not isinstance(value, Constant)
    )
    for value, size, got in pairs:
        if isinstance(size, str):
            first = seen.setdefault(size, (got, value.name))
            if first[0] != got:
                raise ShapeError(
                    f"received {got} for the size {size!r} of input {value.name} and {first[0]} "
                    f"for that of input {first[1]}; expected equal numbers"
                )
