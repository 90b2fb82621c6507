"""Where states live: flat arenas, one for each element type and each of trainable or not.

A state is placed once, when the first model that holds it is made, and never moves; models and
programs hold views, so models that share a state share its memory. Segments begin at multiples of
64 bytes; the gaps between them are zero and stay so.
"""

from __future__ import annotations

import ctypes
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eddl.compiler import written
from eddl.errors import ShapeError
from eddl.graph import Label, State, Type

Array = np.ndarray[Any, Any]
ALIGNMENT = 64
LARGE = 1 << 24
"""Bytes of states from which on it is worth asking what their first contents left behind."""

SMALL = 1 << 14
"""Elements of states that lie together, behind the larger ones."""


class Arena:
    """One flat array with a table of segments."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        memory = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        self.array = memory[start : start + size * dtype.itemsize].view(dtype)

    @property
    def array(self) -> Array:
        """The memory; whoever holds it may write to it, so what was computed from it is stale."""
        written()
        return self._array

    @array.setter
    def array(self, memory: Array) -> None:
        self._array = memory

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        dtype: np.dtype[Any] = self._array.dtype
        return dtype


@dataclass(frozen=True)
class Segment:
    """A state's place: elements `start` to `stop` of an arena, seen with a shape."""

    arena: Arena
    start: int
    stop: int
    shape: tuple[int, ...]

    def view(self, memory: Array | None = None) -> Array:
        """The state's array, or the same place in another array laid out like the arena."""
        flat = self.arena.array if memory is None else memory
        return flat[self.start : self.stop].reshape(self.shape)


def place(states: Iterable[State], names: dict[State, str], seed: int) -> None:
    """Give memory and first content to the states that have none yet."""
    groups: dict[tuple[str, bool], list[State]] = {}
    for state in states:
        if state.storage is None:
            groups.setdefault((state.dtype.str, state.trainable), []).append(state)
    for members in groups.values():
        members.sort(key=lambda state: state.type.count < SMALL)  # one vector to an optimizer
        dtype = members[0].dtype
        unit = max(ALIGNMENT // dtype.itemsize, 1)
        bounds = [0]
        for state in members:
            bounds.append(bounds[-1] + -(-state.type.count // unit) * unit)
        arena = Arena(dtype, bounds[-1])
        for state, start in zip(members, bounds, strict=False):
            shape = state.type.sizes
            state.storage = Segment(arena, start, start + state.type.count, shape)
            content = state.initial(shape, dtype, generator(seed, names[state]))
            if content.shape != shape:
                raise ShapeError(
                    f"{names[state]}: the initializer gave the shape {content.shape}, expected "
                    f"{shape}"
                )
            state.storage.view()[...] = content
            del content
        if arena.array.nbytes >= LARGE:
            _give_back()


def _give_back() -> None:
    """Let the system have what the C library keeps of arrays that were drawn and freed: it would
    stay as large as the largest of them."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on nothing but a seed and a name."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, zlib.crc32(name.encode())]))


@dataclass(frozen=True)
class Run:
    """A stretch of an arena that an optimizer treats as one vector."""

    arena: Arena
    start: int
    stop: int
    members: tuple[State, ...]

    def part(self, memory: Array) -> Array:
        """The stretch of an array laid out like the arena."""
        return memory[self.start : self.stop]


def runs(
    parameters: Sequence[State], alike: Callable[[State], object] = lambda state: None
) -> list[Run]:
    """The fewest stretches that hold the parameters and nothing else but gaps; those for which
    `alike` gives unequal things lie in different ones."""
    unique = sorted(dict.fromkeys(parameters), key=lambda p: (id(p.storage.arena), p.storage.start))
    found: list[Run] = []
    for parameter in unique:
        segment = parameter.storage
        unit = max(ALIGNMENT // segment.arena.dtype.itemsize, 1)
        if found:
            last = found[-1]
            end = -(-last.stop // unit) * unit
            if (
                last.arena is segment.arena
                and end == segment.start
                and alike(last.members[0]) == alike(parameter)
            ):
                found[-1] = Run(last.arena, last.start, segment.stop, (*last.members, parameter))
                continue
        found.append(Run(segment.arena, segment.start, segment.stop, (parameter,)))
    return found


def flat_state(array: Array, role: str) -> State:
    """A state over memory that is there already: a stretch of an arena, a slot, a counter."""
    arena = Arena.__new__(Arena)
    arena.array = array.reshape(-1)
    state = State(
        Type(array.dtype, array.shape),
        lambda shape, dtype, generator: array,
        trainable=False,
        label=Label(role),
        role=role,
    )
    state.storage = Segment(arena, 0, array.size, array.shape)
    return state


def lent_state(type: Type, role: str) -> State:
    """A state without memory of its own: a program finds it where another one left it."""
    return State(
        type,
        lambda shape, dtype, generator: np.zeros(shape, dtype),
        trainable=False,
        label=Label(role),
        role=role,
    )
