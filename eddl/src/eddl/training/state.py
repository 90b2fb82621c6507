"""What a training remembers beside the weights, and the rules by which parameters move.

Parameters that are updated alike and lie side by side are one `Unit`, a single vector to the
optimizer; a parameter that a regularizer, a constraint or a layerwise optimizer must see in its own
shape is a unit by itself. All of this is shared by the steps of one model: one for each type of
targets, say.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import State, Type, Value
from eddl.optimizers import Optimizer
from eddl.training.store import ALIGNMENT, Arena, Run, runs

Array = np.ndarray[Any, Any]
Regularizer = Callable[[Value], Value]
Constraint = Callable[[Value], Value]
NONFINITE = ("skip", "raise")
PATIENCE = 2000


@dataclass(frozen=True)
class Rules:
    """How parameters move, besides by their optimizer.

    In this order: a gradient is the loss's plus its regularizer's; its elements are clipped to
    [-`clip_value`, `clip_value`]; all gradients of an optimizer are scaled together so that their
    Euclidean norm is at most `clip_norm`; the optimizer runs at its rate times that of `rates`; the
    constraint maps the new parameter.

    Parameters: `clip_norm`, `clip_value`, numbers above 0; `rates`, `regularizers` and
    `constraints`, by parameter (a factor of the learning rate; a function of the parameter to a
    scalar; a function of the parameter to another); `ema`, the decay of averaged weights, in (0,
    1); `nonfinite`, what to do where the loss or a gradient is not finite: "skip" the step, which
    leaves everything as it was, or "raise" an error.

    >>> Rules(clip_norm=1.0).nonfinite
    'skip'
    """

    clip_norm: float | None = None
    clip_value: float | None = None
    rates: Mapping[State, float] = field(default_factory=dict)
    regularizers: Mapping[State, Regularizer] = field(default_factory=dict)
    constraints: Mapping[State, Constraint] = field(default_factory=dict)
    ema: float | None = None
    nonfinite: str = "skip"

    def __post_init__(self) -> None:
        for name in ("clip_norm", "clip_value"):
            bound = getattr(self, name)
            if bound is not None and not 0 < bound < math.inf:
                raise AttributeValueError(f"received {name}={bound!r}, expected a number above 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise AttributeValueError(
                f"received ema={self.ema!r}, expected a decay above 0 and below 1, such as 0.999"
            )
        if self.nonfinite not in NONFINITE:
            raise AttributeValueError(
                f"received nonfinite={self.nonfinite!r}, expected one of {NONFINITE}"
            )
        for rate in self.rates.values():
            if not 0 <= rate < math.inf:
                raise AttributeValueError(
                    f"received {rate!r} as a factor of the learning rate, expected a number of at "
                    "least 0"
                )


@dataclass
class Unit:
    """A run of parameters that move alike, and its slots.

    `shape` is (length,), or the parameter's own; `offset` is where its gradient begins among the
    bytes of all gradients.
    """

    run: Run
    shape: tuple[int, ...]
    rate: float
    regularizer: Regularizer | None
    constraint: Constraint | None
    offset: int
    slots: dict[str, Array]

    @property
    def nbytes(self) -> int:
        """The bytes of its gradient or a slot."""
        return (self.run.stop - self.run.start) * self.run.arena.dtype.itemsize

    def part(self, memory: Array, parameter: State) -> Array:
        """A parameter's place in a slot."""
        segment = parameter.storage
        found: Array = memory[segment.start - self.run.start : segment.stop - self.run.start]
        return found.reshape(segment.shape)

    def cut(self, apart: Container[State]) -> list[Unit]:
        """The unit in parts, over the same memory: those parameters alone, each in its own shape,
        and what lies between them."""
        if not any(parameter in apart for parameter in self.run.members):
            return [self]
        parts = itertools.groupby(self.run.members, lambda p: p if p in apart else None)
        return [self._part(list(part)) for _, part in parts]

    def _part(self, members: list[State]) -> Unit:
        segments = [parameter.storage for parameter in members]
        start, stop = segments[0].start, segments[-1].stop
        shape = segments[0].shape if len(members) == 1 else (stop - start,)
        first, last = start - self.run.start, stop - self.run.start
        return replace(
            self,
            run=Run(self.run.arena, start, stop, tuple(members)),
            shape=shape,
            offset=self.offset + first * self.run.arena.dtype.itemsize,
            slots={name: array[first:last] for name, array in self.slots.items()},
        )


@dataclass
class Group:
    """What one optimizer minimizes: parameters in units, its count of steps, and what is summed
    over micro-batches: losses and their weights."""

    optimizer: Optimizer
    parameters: tuple[State, ...]
    units: list[Unit]
    count: Array = field(default_factory=lambda: np.zeros((), np.int64))
    total: Array = field(default_factory=lambda: np.zeros(()))
    weight: Array = field(default_factory=lambda: np.zeros(()))

    def offset(self, parameter: State) -> int:
        """Where a parameter's gradient begins among the bytes of all gradients."""
        for unit in self.units:
            if parameter in unit.run.members:
                before: int = parameter.storage.start - unit.run.start
                return unit.offset + before * parameter.dtype.itemsize
        raise KeyError(parameter)


class Averages:
    """Exponential moving averages of parameters and running statistics.

    After step n (from 1) an average moves by 1 - min(decay, (1 + n) / (10 + n)) of the way to the
    new value: the decay of Tan and Le 2019 and others, which forgets the first weights quickly.
    """

    def __init__(self, states: Iterable[State], decay: float) -> None:
        self.decay = decay
        self.states = list(dict.fromkeys(states))
        self.active = False
        arenas = {id(s.storage.arena): s.storage.arena.array for s in self.states}
        self._memory = {key: _aligned_copy(array) for key, array in arenas.items()}
        self._known = set(self.states)

    def __contains__(self, state: object) -> bool:
        return state in self._known

    @property
    def nbytes(self) -> int:
        """The bytes they take."""
        return sum(array.nbytes for array in self._memory.values())

    def part(self, run: Run) -> Array:
        """The averages of a run."""
        return run.part(self._memory[id(run.arena)])

    def view(self, state: State) -> Array:
        """The average of a state."""
        found: Array = state.storage.view(self._memory[id(state.storage.arena)])
        return found

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The averages stand where the weights do while the body runs."""
        if self.active:
            yield
            return
        self.active = True
        self._swap()
        try:
            yield
        finally:
            self._swap()
            self.active = False

    def _swap(self) -> None:
        for state in self.states:
            here, there = state.storage.view(), self.view(state)
            kept = here.copy()
            here[...] = there
            there[...] = kept


@dataclass
class LossScale:
    """What a loss is multiplied by so that its gradients are no zeros in float16.

    It is halved by a step that is not finite, which is skipped, and doubled after `PATIENCE` steps
    in a row that were. Source: Micikevicius et al. 2018, section 3.2.
    """

    scale: Array = field(default_factory=lambda: np.full((), 2.0**16))
    calm: Array = field(default_factory=lambda: np.zeros((), np.int64))


@dataclass
class TrainingState:
    """Groups, averages and counts. `gathered` holds the bytes of all gradients where they are
    summed over micro-batches; where they are not, a step's programs hand them over in memory that
    they share. `micro` counts the micro-batches since the last update; `skipped` the steps that
    were not finite; schedules that watch a quantity read `history`."""

    groups: list[Group]
    nonfinite: str = "skip"
    clip_norm: float | None = None
    clip_value: float | None = None
    averages: Averages | None = None
    scale: LossScale | None = None
    gathered: Array | None = None
    skipped: Array = field(default_factory=lambda: np.zeros((), np.int64))
    micro: Array = field(default_factory=lambda: np.zeros((), np.int64))
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    warned: bool = False

    @property
    def parameters(self) -> list[State]:
        """What learns, in the order of the groups."""
        return [parameter for group in self.groups for parameter in group.parameters]

    @property
    def nbytes(self) -> int:
        """The bytes of slots, averages and gathered gradients."""
        units = [unit for group in self.groups for unit in group.units]
        own = sum(array.nbytes for unit in units for array in unit.slots.values())
        own += self.averages.nbytes if self.averages else 0
        return own + (0 if self.gathered is None else self.gathered.nbytes)

    @property
    def gradient_bytes(self) -> int:
        """The bytes of all gradients, with the gaps between them."""
        return sum(_aligned(unit.nbytes) for group in self.groups for unit in group.units)

    def gathered_at(self, offset: int, type: Type) -> Array:
        """The gradient of a type at an offset, a view; the first call takes memory for all."""
        if self.gathered is None:
            self.gathered = Arena(np.dtype(np.uint8), self.gradient_bytes).array
        found = self.gathered[offset : offset + type.nbytes]
        return found.view(type.dtype).reshape(type.sizes)


def begin_training(
    minimize: Sequence[tuple[Sequence[State], Optimizer]], rules: Rules
) -> TrainingState:
    """The state before the first step, averages apart."""
    taken: set[State] = set()
    for parameters, _ in minimize:
        for parameter in dict.fromkeys(parameters):
            if parameter in taken:
                raise AttributeValueError(
                    f"received the parameter {parameter.name or parameter.role} "
                    f"{parameter.type} under two optimizers of one step; expected it under one: "
                    "add the losses, or write two steps, which run one after the other"
                )
            taken.add(parameter)
    for what in ("rates", "regularizers", "constraints"):
        strangers = [p for p in getattr(rules, what) if p not in taken]
        if strangers:
            raise AttributeValueError(
                f"{what}: received {strangers[0]!r}, expected parameters that the step minimizes"
            )
    groups: list[Group] = []
    offset = 0
    for parameters, optimizer in minimize:
        groups.append(_begin_group(parameters, optimizer, rules, offset))
        offset += sum(_aligned(unit.nbytes) for unit in groups[-1].units)
    return TrainingState(groups, rules.nonfinite, rules.clip_norm, rules.clip_value)


def _begin_group(
    parameters: Sequence[State], optimizer: Optimizer, rules: Rules, offset: int
) -> Group:
    layerwise = getattr(optimizer, "layerwise", False)

    def alone(parameter: State) -> bool:
        return layerwise or parameter in rules.regularizers or parameter in rules.constraints

    def alike(parameter: State) -> object:
        return parameter if alone(parameter) else rules.rates.get(parameter, 1.0)

    units: list[Unit] = []
    for run in runs(parameters, alike):
        first, size = run.members[0], run.stop - run.start
        units.append(
            Unit(
                run,
                first.storage.shape if alone(first) else (size,),
                rules.rates.get(first, 1.0),
                rules.regularizers.get(first),
                rules.constraints.get(first),
                offset,
                {name: Arena(run.arena.dtype, size).array for name in optimizer.slots},
            )
        )
        offset += _aligned(units[-1].nbytes)
    return Group(optimizer, tuple(dict.fromkeys(parameters)), units)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _aligned_copy(array: Array) -> Array:
    copy = Arena(array.dtype, array.size).array
    copy[...] = array
    return copy
