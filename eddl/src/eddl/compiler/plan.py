"""The memory plan: where every value lies, decided before the first run.

Values become buffers: a view shares its input's, an overwriting output takes over a buffer that
ends there, a new state value is written into the state's own memory where nothing still reads the
old one. Each buffer lives from the call that makes it to the last that reads it; workspaces live
during their call. Offsets are given one after the other, each at the lowest place free for its
whole life. Buffers of inputs, constants and states lie outside the slabs and are never overwritten;
what one program leaves for another has a place in the first slab that is given, from its first
call on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from eddl.compiler.protocol import PLAIN, Call, Layout
from eddl.errors import DeviceError
from eddl.graph import Graph, State, Value

FOREVER = 1 << 60
CLOSE = 1.01
"""How near to its bound a plan is good enough."""
TRIALS = 24
"""How often each order is mended where it is not."""
SMALL = 512
"""What part of the peak is small: such buffers are placed last, where the others leave room."""


@dataclass
class Buffer:
    """One stretch of memory: its size, life (call indices) and place."""

    nbytes: int
    birth: int
    death: int
    outside: Value | None = None
    slab: int = 0
    offset: int = 0
    fixed: bool = False
    """Whether another program knows it at this offset of the first slab."""


@dataclass
class Plan:
    """The result: a buffer for each value and workspace, and the slabs' sizes."""

    calls: Sequence[Call]
    layouts: Mapping[Value, Layout] = field(default_factory=dict)
    """The layouts of values that are not plain."""
    buffers: dict[Value, Buffer] = field(default_factory=dict)
    workspaces: dict[int, Buffer] = field(default_factory=dict)
    found: dict[Value, Buffer] = field(default_factory=dict)
    """The places of leaves that another program left in the slabs."""
    left: dict[Value, Buffer] = field(default_factory=dict)
    """The places of what is left for another program; what could not be made there is copied."""
    slabs: list[int] = field(default_factory=list)
    kept: int = 0
    """The bytes of what is computed before the first run and kept, and of copies of inputs."""
    peak: int = 0
    """The most bytes alive at once: no plan of these calls can need less."""
    again: float = 0.0
    """The share of the work that is done again, to save memory."""

    @property
    def transient(self) -> int:
        """The bytes of all slabs."""
        return sum(self.slabs)

    def layout(self, value: Value) -> Layout:
        """How a value lies."""
        return self.layouts.get(value, PLAIN)

    def alive(self) -> list[int]:
        """The bytes alive during each call."""
        changes = [0] * (len(self.calls) + 1)
        for buffer in self.inside():
            changes[max(buffer.birth, 0)] += buffer.nbytes  # what is found is there from the start
            changes[min(buffer.death + 1, len(self.calls))] -= buffer.nbytes
        return list(itertools.accumulate(changes[:-1]))

    def inside(self) -> list[Buffer]:
        """The buffers that lie in the slabs."""
        found = {id(b): b for b in self.buffers.values() if b.outside is None}
        found |= {id(b): b for b in self.left.values()}
        return [*found.values(), *self.workspaces.values()]


def plan_memory(
    graph: Graph,
    calls: Sequence[Call],
    *,
    layouts: Mapping[Value, Layout] | None = None,
    kept: Sequence[Value] = (),
    places: Mapping[Value, int] | None = None,
    alignment: int = 64,
    max_slab: int = FOREVER,
) -> Plan:
    """Plan the memory of `calls`.

    `layouts` gives those of values that are not plain; `kept` values are computed before the calls
    and lie outside the slabs. `places` maps outputs, which stay for another program, and what
    another one left to their offsets in the first slab; an output that cannot be made there is
    copied at the end.
    """
    plan = lives(graph, calls, layouts=layouts, kept=kept, places=places)
    _place(plan, alignment, max_slab)
    return plan


def lives(
    graph: Graph,
    calls: Sequence[Call],
    *,
    layouts: Mapping[Value, Layout] | None = None,
    kept: Sequence[Value] = (),
    places: Mapping[Value, int] | None = None,
) -> Plan:
    """The plan without places: the buffers, their lives and the peak."""
    plan = Plan(calls, layouts or {})
    plan.kept = sum(plan.layout(value).size(value.type) for value in kept)
    _assign(plan, graph, kept, places or {})
    _merge(plan, graph)
    plan.peak = max(plan.alive(), default=0)
    return plan


def _assign(plan: Plan, graph: Graph, kept: Sequence[Value], places: Mapping[Value, int]) -> None:
    """A buffer a value, shared by views, with its life, and those of fixed place."""
    buffers = plan.buffers
    ends = (*graph.outputs, *graph.updates.values())
    used = {value for call in plan.calls for value in call.inputs} | {*ends}
    lent = places.keys() - {*graph.outputs}
    for leaf in dict.fromkeys((*graph.leaves, *kept, *lent)):
        nbytes = plan.layout(leaf).size(leaf.type)
        if leaf in lent:
            buffers[leaf] = Buffer(nbytes, -1, -1, offset=places[leaf], fixed=True)
            plan.found[leaf] = buffers[leaf]
        else:
            buffers[leaf] = Buffer(nbytes, -1, FOREVER, outside=leaf)
    for index, call in enumerate(plan.calls):
        for position, value in enumerate(call.outputs):
            viewed = call.offer.views.get(position)
            source = None if viewed is None else call.inputs[viewed]
            if source is not None:
                buffers[value] = buffers[source]
            else:
                left_out = position in call.offer.optional and value not in used
                nbytes = 0 if left_out else plan.layout(value).size(value.type)
                buffers[value] = Buffer(nbytes, index, index)
        for read in call.inputs:
            if read is not None:
                buffers[read].death = max(buffers[read].death, index)
        if call.offer.workspace:
            plan.workspaces[index] = Buffer(call.offer.workspace, index, index)
    for value in ends:
        buffers[value].death = FOREVER
    last = max(len(plan.calls) - 1, 0)
    for value in graph.outputs:
        if value not in places or value in plan.left:
            continue
        buffer, nbytes = buffers[value], plan.layout(value).size(value.type)
        if buffer.outside is not None or buffer.fixed or buffer.nbytes != nbytes:
            buffer = Buffer(nbytes, last, FOREVER)
        buffer.offset, buffer.fixed = places[value], True
        plan.left[value] = buffer


def _merge(plan: Plan, graph: Graph) -> None:
    """Write results where they belong, and over buffers that end at the call that makes them."""
    buffers = plan.buffers
    members: dict[int, list[Value]] = {}
    for value, buffer in buffers.items():
        members.setdefault(id(buffer), []).append(value)
    last_read: dict[int, int] = {}
    for index, call in enumerate(plan.calls):
        for read in call.inputs:
            if read is not None:
                last_read[id(buffers[read])] = index  # by any view of it

    def replace(old: Buffer, new: Buffer) -> None:
        for value in members.pop(id(old)):
            buffers[value] = new
            members.setdefault(id(new), []).append(value)
        new.death = max(new.death, old.death)

    for state, value in graph.updates.items():
        old = buffers[value]
        if old.outside is not None or old.fixed or not isinstance(state, State):
            continue
        call = plan.calls[old.birth]
        overwritable = any(
            call.inputs[i] is state
            for position, output in enumerate(call.outputs)
            if buffers[output] is old
            for i in call.offer.overwrites.get(position, ())
        )
        once = sum(read is state for read in call.inputs) <= 1
        last = last_read.get(id(buffers[state]), -1)
        if last < old.birth or (last == old.birth and overwritable and once):
            replace(old, buffers[state])
    for index, call in enumerate(plan.calls):
        for position, choices in call.offer.overwrites.items():
            made = buffers[call.outputs[position]]
            if made.outside is not None or made.fixed or made.birth != index:
                continue
            for choice in choices:
                read = call.inputs[choice]
                if read is None:
                    continue
                source = buffers[read]
                shared = sum(v is not None and buffers[v] is source for v in call.inputs)
                if (
                    source.outside is None
                    and source.death == index
                    and source.birth < index
                    and source.nbytes == made.nbytes
                    and plan.layout(read) == plan.layout(call.outputs[position])
                    and shared == 1
                ):
                    replace(made, source)
                    break


def _place(plan: Plan, alignment: int, max_slab: int) -> None:
    """The best of some greedy orders: by size (Pisarchyk and Lee 2020, "Efficient memory management
    for deep neural net inference"), by size times life, by life, and along the calls; and of these
    with what lay highest placed first. Small ones come last in all."""
    inside = plan.inside()
    fixed, todo = ([b for b in inside if b.fixed is yes] for yes in (True, False))
    largest = max((b.offset + b.nbytes for b in inside), default=0)
    if -(-largest // alignment) * alignment > max_slab:
        raise DeviceError(
            f"a value needs {largest} bytes, more than one allocation of the device may hold "
            f"({max_slab}); make the batch or the image smaller"
        )
    ends = {id(b): min(b.death, len(plan.calls)) for b in todo}
    orders: Sequence[Callable[[Buffer], tuple[int, ...]]] = (
        lambda b: (-b.nbytes, b.birth),
        lambda b: (-b.nbytes * (ends[id(b)] - b.birth + 1), b.birth),
        lambda b: (b.birth - ends[id(b)], -b.nbytes),
        lambda b: (b.birth, -b.nbytes),
    )
    small = sorted((b for b in todo if b.nbytes * SMALL < plan.peak), key=orders[0])
    large = [b for b in todo if b.nbytes * SMALL >= plan.peak]

    def mended(order: list[Buffer]) -> list[Buffer]:
        """Keep the places of an order that needs least so far; the order with those first that
        would have to lie lower."""
        slabs, places = _placed(fixed, order, alignment, max_slab)
        if not plan.slabs or sum(slabs) < plan.transient:
            whole, everywhere = _placed(fixed, [*order, *small], alignment, max_slab)
            if not plan.slabs or sum(whole) < plan.transient:
                plan.slabs = whole
                for buffer, (number, offset) in everywhere:
                    buffer.slab, buffer.offset = number, offset
        starts = [0, *itertools.accumulate(slabs)]
        least = (starts[-1] - plan.peak) / 8  # smaller ones lie above others and are not to blame
        high = {id(b) for b, (number, offset) in places
                if starts[number] + offset + b.nbytes > plan.peak and b.nbytes > least}  # fmt: skip
        return sorted(order, key=lambda b: id(b) not in high)

    tried = [sorted(large, key=order) for order in orders]
    for _ in range(1 + TRIALS):
        for index, order in enumerate(tried):
            if not plan.slabs or plan.transient > CLOSE * plan.peak:
                tried[index] = mended(order)


def _placed(
    fixed: Sequence[Buffer], todo: Sequence[Buffer], alignment: int, max_slab: int
) -> tuple[list[int], list[tuple[Buffer, tuple[int, int]]]]:
    """The sizes of slabs, and each buffer with its slab and the lowest offset that is free."""
    slabs: list[_Slab] = []
    sizes: list[int] = []
    places = []
    count = len(fixed) + len(todo)
    if fixed:
        slabs, sizes = [_Slab(count)], [0]
    for buffer in fixed:
        size = -(-buffer.nbytes // alignment) * alignment
        slabs[0].add(buffer, buffer.offset, size)
        sizes[0] = max(sizes[0], buffer.offset + size)
    for buffer in todo:
        size = -(-buffer.nbytes // alignment) * alignment
        for number, slab in enumerate([*slabs, _Slab(count)]):
            offset = slab.lowest(buffer, size)
            if offset + size <= max_slab:
                if number == len(slabs):
                    slabs.append(slab)
                    sizes.append(0)
                places.append((buffer, (number, offset)))
                slab.add(buffer, offset, size)
                sizes[number] = max(sizes[number], offset + size)
                break
    return sizes, places


class _Slab:
    """The lives (first and last call) and places (first byte and end) of what lies in a slab."""

    def __init__(self, capacity: int) -> None:
        self._table = np.zeros((4, capacity), np.int64)
        self._table[1] = -1  # what is not there yet is dead
        self._count = 0

    def add(self, buffer: Buffer, offset: int, size: int) -> None:
        """Put a buffer at an offset."""
        self._table[:, self._count] = buffer.birth, buffer.death, offset, offset + size
        self._count += 1

    def lowest(self, buffer: Buffer, size: int) -> int:
        """The lowest offset at which `size` bytes are free for the buffer's whole life."""
        births, deaths, offsets, ends = self._table  # whole: freed blocks of each size are kept
        busy = (births <= buffer.death) & (deaths >= buffer.birth)
        order = np.argsort(offsets[busy])
        starts = offsets[busy][order]
        reached = np.concatenate([[0], np.maximum.accumulate(ends[busy][order])])
        gaps = np.flatnonzero(reached[:-1] + size <= starts)
        return int(reached[gaps[0] if len(gaps) else -1])
