"""The compiled parts of a step, two programs for inputs of each type that it meets.

One computes outputs and gradients; the other, from what that one leaves in the slabs or has
gathered, new states. The parts for so many types are kept, least recently used first out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from eddl.compiler import (
    Backend,
    Evaluation,
    Found,
    Handover,
    Program,
    Slabs,
    compile_graph,
    copied,
    too_little,
)
from eddl.graph import Graph, State, Type
from eddl.ops.bounds import LIMIT
from eddl.training.finite import losses_are_finite
from eddl.training.fitting import Signature, signature_of
from eddl.training.gradients import GradientsPart
from eddl.training.shares import refuse_fallbacks
from eddl.training.updates import update_graph

KEEP = 8
"""Types of inputs whose parts are kept."""


@dataclass
class Parts:
    """The parts for inputs of certain types."""

    gradients: Program | Evaluation
    update: Program | None = None
    exact: Program | None = None
    """The update that reads all gradients, where a bound cannot say that they are finite."""

    @property
    def left(self) -> Handover | None:
        """The gradients that the first part leaves for the second."""
        return self.gradients.left if isinstance(self.gradients, Program) else None


@dataclass
class Compiled:
    """What is compiled of a step, by the types of its inputs, and how that is done: see `Step`."""

    part: GradientsPart
    backend: Backend
    slabs: Slabs
    device: str
    precision: str
    memory: str | int
    fallback: bool
    poison: bool
    kept: dict[tuple[Signature, bool], Parts] = field(default_factory=dict)
    """By the types of arrays, and whether every gradient is made."""

    def known(self, arrays: Sequence[Any], *, whole: bool = False) -> Parts | None:
        """The parts for these arrays, where arrays of the same types have been looked at."""
        signature = signature_of(arrays)
        return None if signature is None else self._used(signature, whole)

    def of(self, types: Sequence[Type], *, whole: bool = False) -> Parts:
        """The parts for static types; where `whole`, no gradient is left to be made, and nothing is
        updated."""
        signature = tuple([(type.dtype, type.sizes) for type in types])
        found = self._used(signature, whole)
        if found is None:
            found = self._compile(types, whole)
            while len(self.kept) >= KEEP:
                self.kept.pop(next(iter(self.kept)))
            self.kept[signature, whole] = found
        return found

    def update_after(self, parts: Parts | None) -> Program:
        """The update for what these parts computed, which tells for sure whether it is finite."""
        if parts is None or parts.update is None:
            return self._common_update
        left, bounds = parts.left, self.part.bounds
        sure = left is None or not left.bounded or all(bound <= LIMIT for bound in bounds)
        if sure or not losses_are_finite(self.part.state):
            return parts.update
        if parts.exact is None:
            parts.exact = self._update(left, exact=True)
        return parts.exact

    @property
    def kernels(self) -> dict[str, dict[str, int]]:
        """The kernels of each program, by the types of its inputs."""
        programs: dict[str, Program | Evaluation | None] = {}
        for (signature, whole), parts in self.kept.items():
            name = ", ".join(repr(Type(*pair)) for pair in signature)
            name += ", every gradient made" if whole else ""
            programs |= {name: parts.gradients, f"update after {name}": parts.update}
        return {name: p.kernels for name, p in programs.items() if isinstance(p, Program)}

    def _used(self, signature: Signature, whole: bool) -> Parts | None:
        """What is kept for a signature, as the one that was used last."""
        found = self.kept.pop((signature, whole), None)
        if found is not None:
            self.kept[signature, whole] = found
        return found

    def _compile(self, types: Sequence[Type], whole: bool) -> Parts:
        part, groups = self.part, self.part.state.groups
        offsets = [group.offset(p) for group in groups for p in group.parameters]
        left = Handover(
            dict(enumerate(offsets, part.returned)), part.state.gradient_bytes,
            defers=part.defers and not whole,
        )  # fmt: skip
        taken = self._taken(types)
        parts = Parts(
            self._program(
                part.graph, types, left=left if part.hands_over else None,
                precision=self.precision, memory=self.memory, taken=taken,
            )
        )  # fmt: skip
        if not self.fallback:
            refuse_fallbacks(parts.gradients, part.graph, self.device)
        if groups and not whole:
            parts.update = self._update(parts.left) if part.hands_over else self._common_update
            least = parts.update.plan.transient
            if isinstance(self.memory, int) and taken + least > self.memory:
                raise too_little(self.memory, taken, least)
        return parts

    @cached_property
    def _common_update(self) -> Program:
        """The update where nothing is left in the slabs, which is the same for all types."""
        return self._update(None)

    def _update(self, left: Handover | None, *, exact: bool = False) -> Program:
        """The update that follows a program which left this."""
        part = self.part
        tails, known = ((), ()) if left is None else (left.tails, left.bounded)
        number = {p: index for index, p in enumerate(part.state.parameters, part.returned)}
        bounded = {p for p, index in number.items() if index in known and not exact}
        graph, leaves = update_graph(
            part.state, part.waiting, gathered=part.gathers,
            apart={p for p, index in number.items() if index in tails},
            bounded=bounded, bounds=part.bounds if bounded else (),
        )  # fmt: skip
        numbers = {leaf: number[parameter] for leaf, parameter in leaves.items()}
        program = self._program(
            graph, [rate.type for rate in graph.inputs],
            found=None if left is None else Found(left, numbers),
        )  # fmt: skip
        assert isinstance(program, Program)
        return program

    def _program(self, graph: Graph, types: Sequence[Type], **options: Any) -> Program | Evaluation:
        def memory_of(state: State) -> Any:
            return self.backend.from_host(state.storage.view())

        return compile_graph(
            graph, dict(zip(graph.inputs, types, strict=True)), self.backend, self.slabs,
            memory_of=memory_of, poison=self.poison, **options,
        )  # fmt: skip

    def _taken(self, types: Sequence[Type]) -> int:
        """The bytes of all that outlives a step for inputs of these types."""
        states = sum(state.type.nbytes for state in self.part.states)
        rates = [np.dtype(np.float64).itemsize for _ in self.part.state.groups]
        return states + self.part.resident + copied(types) + sum(rates)
