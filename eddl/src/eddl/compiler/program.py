"""A program: calls bound to planned memory, run as often as wanted.

Everything but the calls that read the caller's arrays is bound once; those are bound at each run to
the arrays as they are, so that nothing large is copied on the way in. Outputs are copied out:
results own their memory, and no address of a slab leaves this room. Programs that share a `Slabs`
run one at a time and overwrite each other's transient values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.compiler.fallback import Fallback, Shares, evaluated, shares
from eddl.compiler.forks import forks
from eddl.compiler.handover import Handover
from eddl.compiler.plan import FOREVER, Plan
from eddl.compiler.prepare import last_written, written
from eddl.compiler.protocol import Backend, Call, Thunk
from eddl.compiler.slabs import Slabs
from eddl.errors import ShapeError, StateError
from eddl.graph import Constant, Graph, State, Type, Value

COPIED = 1 << 19
"""Bytes up to which an input is copied: that takes less than to bind the calls that read it."""


def copied(types: Iterable[Type]) -> int:
    """The bytes of the copies that a program keeps of inputs of these types."""
    return sum(type.nbytes for type in types if type.nbytes <= COPIED)


class Program:
    """A compiled graph. `run(inputs)` gives host arrays for the graph's outputs, in order.

    `outside` gives the device arrays of states; `left` is what this program leaves for another in
    the slabs instead of returning it (the keys of `plan.left`), `found` what another one left there
    for it. `poison=True` fills every buffer with NaN when its life ends, which the tests use to
    find a read after it.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        backend: Backend,
        slabs: Slabs,
        *,
        outside: Mapping[Value, Any],
        left: Handover | None = None,
        found: Handover | None = None,
        before: Sequence[Call] = (),
        kept: Sequence[Value] = (),
        inlined: Sequence[Fallback] = (),
        poison: bool = False,
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.backend = backend
        self._slabs = slabs
        self.left, self._found = left, found
        self._poison = poison
        self._forks = forks()
        self._version = -1
        self._arrays: dict[Value, Any] = dict(outside)
        for leaf in graph.leaves:
            if isinstance(leaf, Constant):
                self._arrays[leaf] = backend.from_host(leaf.data)
            elif isinstance(leaf, State) and leaf not in self._arrays and not _inside(plan, leaf):
                raise StateError(f"the state {leaf.name} has no memory: place it first")
        self._before = before
        self._inlined = inlined
        self._prepared = -1
        small = [value for value in graph.inputs if value.type.nbytes <= COPIED]
        for value in (*kept, *small):
            self._arrays[value] = self._fresh(value)
        plan.kept += copied(value.type for value in graph.inputs)
        self._entries = [(value, value.type.sizes, value.dtype, self._arrays.get(value))
                         for value in graph.inputs]  # fmt: skip
        self._read = self._used()

    @property
    def shares(self) -> Shares:
        """How many calls of a run the device and the host make, and the fallbacks among them."""
        return shares(self.plan.calls, self._inlined)

    @property
    def kernels(self) -> dict[str, int]:
        """How often each kernel computes which operators."""
        calls = (call for call in (*self._before, *self.plan.calls) if not call.offer.views)
        names = (f"{'+'.join(n.op for n in call.nodes)}: {call.offer.kernel}" for call in calls)
        return dict(sorted(Counter(names).items()))

    def run(self, inputs: Sequence[np.ndarray[Any, Any]] = ()) -> list[np.ndarray[Any, Any]]:
        """Run on host arrays that fit the graph's inputs; they are borrowed for the call only."""
        if forks() != self._forks:
            raise StateError(
                "this program was compiled in another process; build the model anew after a fork"
            )
        for (value, sizes, dtype, _), array in zip(self._entries, inputs, strict=True):
            if array.shape != sizes or array.dtype != dtype:
                raise ShapeError(
                    f"input {value.name}: received {array.dtype}{list(array.shape)}, expected "
                    f"{value.type}"
                )
        with self._slabs.lock:
            return self._run(inputs)

    def _run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        if self._before and self._prepared != last_written():
            self._prepare()
        if self._version != self._slabs.version:
            self._bind()
        self._enter()
        given: dict[Value, Any] = {}
        for (value, _, _, own), array in zip(self._entries, inputs, strict=True):
            if own is None:
                given[value] = self.backend.from_host(array)
            else:
                self.backend.copy(self.backend.from_host(array), own)
        calls = self._thunks
        if self._late:
            calls = calls.copy()
            for place, index in self._late:
                calls[place] = self._thunk(index, given)
        if self._poison:
            calls = self._with_poison(calls)
        moves = self._copies(given) if self._moves is None else self._moves
        self.backend.run([*calls, *moves] if moves else calls)
        if self.graph.updates:
            written()
        self._leave()
        results = []
        for value, found in self._ends:
            array = self._array(value, given) if found is None else found
            results.append(self.backend.to_host(array))
        return results

    def _enter(self) -> None:
        """Have in the slabs what this program finds there, and nothing else that is wanted."""
        if self._found is not None:
            self._slabs.take(self._found)
            return
        if self.left is not None:
            self._slabs.forget(self.left)
        self._slabs.put_aside()

    def _leave(self) -> None:
        """Leave there what another program will read; what this one found has been read."""
        if self.left is not None:
            self._slabs.leave(self.left)
        elif self._found is not None:
            self._slabs.forget(self._found)

    def _prepare(self) -> None:
        """Make the calls that need no run's inputs, as states may have changed since."""
        now = last_written()
        arrays = dict(self._arrays)
        for call in self._before:
            for position, value in enumerate(call.outputs):
                viewed = call.offer.views.get(position)
                source = None if viewed is None else call.inputs[viewed]
                if source is not None:
                    same = arrays[source].reshape(value.type.sizes)
                    if value in self._arrays:
                        self.backend.copy(same, self._arrays[value])
                    arrays[value] = same
                elif value not in arrays:
                    arrays[value] = self._fresh(value)
            if not call.offer.views:
                inputs = [None if v is None else arrays[v] for v in call.inputs]
                need = call.offer.workspace
                space = self.backend.view(self.backend.allocate(need), 0, _bytes(need))
                run = call.offer.bind(inputs, [arrays[v] for v in call.outputs],
                                      space if need else None)  # fmt: skip
                self.backend.run([run])
        self._prepared = now

    def _fresh(self, value: Value) -> Any:
        """Memory of its own for a value."""
        layout = self.plan.layout(value)
        memory = self.backend.allocate(layout.size(value.type))
        return self.backend.view(memory, 0, value.type, layout)

    def _used(self) -> set[Value]:
        calls = (*self._before, *self.plan.calls)
        read = {v for call in calls for v in call.inputs if v is not None}
        return read | {*self.graph.outputs, *self.graph.updates.values()}

    def _bind(self) -> None:
        """Bind all calls that do not read the caller's arrays, as the slabs have moved."""
        self._slabs.reserve(self.plan.slabs)
        borrowed = {
            id(self.plan.buffers[value]) for value in self.graph.inputs if value not in self._arrays
        }

        def late_one(values: Iterable[Value | None]) -> bool:
            return any(v is not None and id(self.plan.buffers[v]) in borrowed for v in values)

        self._ends = [
            (v, None if late_one([v]) else self._array(v, {}))
            for v in self.graph.outputs
            if v not in self.plan.left
        ]
        moved = (*self.graph.updates.values(), *self.plan.left)
        self._moves = None if late_one(moved) else self._copies({})
        self._thunks: list[Thunk] = []
        self._late: list[tuple[int, int]] = []
        """Where among those a call stands that reads the caller's arrays, and its number."""
        for index, call in enumerate(self.plan.calls):
            if call.offer.views and not self._poison:
                continue
            late = late_one((*call.inputs, *call.outputs))
            if late:
                self._late.append((len(self._thunks), index))
            self._thunks.append(_nothing if late else self._thunk(index, {}))
        self._version = self._slabs.version

    def _thunk(self, index: int, given: Mapping[Value, Any]) -> Thunk:
        call = self.plan.calls[index]
        if call.offer.views:
            return _nothing
        inputs = [None if v is None else self._array(v, given) for v in call.inputs]
        outputs = [
            None
            if position in call.offer.optional and value not in self._read
            else self._array(value, given)
            for position, value in enumerate(call.outputs)
        ]
        workspace = None
        if index in self.plan.workspaces:
            buffer = self.plan.workspaces[index]
            workspace = self.backend.view(
                self._slabs.memory[buffer.slab], buffer.offset, _bytes(buffer.nbytes)
            )
        return call.offer.bind(inputs, outputs, workspace)

    def _array(self, value: Value, given: Mapping[Value, Any]) -> Any:
        """The device array of a value: a leaf's own, or the stretch of memory planned for it."""
        buffer = self.plan.buffers[value]
        if buffer.outside is None:
            memory = self._slabs.memory[buffer.slab]
            return self.backend.view(memory, buffer.offset, value.type, self.plan.layout(value))
        array = given.get(buffer.outside)
        if array is None:
            array = self._arrays[buffer.outside]
        if buffer.outside is value or array.shape == value.type.sizes:
            return array
        return array.reshape(value.type.sizes)

    def _copies(self, given: Mapping[Value, Any]) -> list[Thunk]:
        """What the plan could not write in place: new states and what is left for others. What lies
        between one of these and the next is zero."""
        moves = []
        for state, value in self.graph.updates.items():
            if self.plan.buffers[value].outside is not state:
                source = self._array(value, given)
                moves.append((source, self._arrays[state].reshape(source.shape)))
        fills = []
        for value, place in self.plan.left.items():
            memory = self._slabs.memory[place.slab]
            if self.plan.buffers[value] is not place:
                goal = self.backend.view(memory, place.offset, value.type, self.plan.layout(value))
                moves.append((self._array(value, given), goal))
            rest = -place.nbytes % self.backend.alignment
            if rest:
                end = self.backend.view(memory, place.offset + place.nbytes, _bytes(rest))
                fills.append(partial(end.fill, 0))
        return [*(partial(self.backend.copy, *move) for move in moves), *fills]

    def _with_poison(self, calls: Sequence[Thunk]) -> list[Thunk]:
        poisoned: list[Thunk] = []
        for index, call in enumerate(calls):
            poisoned.append(call)
            dead = {
                id(b): b
                for b in self.plan.buffers.values()
                if b.outside is None and b.death == index and b.death != FOREVER
            }
            for buffer in dead.values():
                array = self.backend.view(
                    self._slabs.memory[buffer.slab], buffer.offset, _bytes(buffer.nbytes)
                )
                poisoned.append(partial(array.fill, 0xFF))
        return poisoned


class Evaluation:
    """What no program can hold, since shapes depend on data: run node by node, nothing planned."""

    def __init__(self, graph: Graph, backend: Backend) -> None:
        self.graph = graph
        self.backend = backend

    @property
    def shares(self) -> Shares:
        """All nodes are the host's, unless the device is."""
        return evaluated(self.graph, self.backend)

    def run(self, inputs: Sequence[Any] = ()) -> list[Any]:
        """The graph's outputs: arrays, or lists for sequences."""
        found = self.backend.evaluate_graph(self.graph, inputs)
        return [np.array(x) if isinstance(x, np.ndarray) else x for x in found]


def _inside(plan: Plan, leaf: Value) -> bool:
    """Whether a leaf lies in the slabs: left there, or made of what was."""
    return plan.buffers[leaf].outside is None


def _nothing() -> None:
    """The call of a view."""


def _bytes(count: int) -> Any:
    return Type("uint8", (count,))
