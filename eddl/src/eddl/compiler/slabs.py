"""Memory that programs take turns in, and what one leaves there for another.

The transient values of all programs of a model lie in the same slabs, one program's at a time. A
program may leave values at the start of the first slab for another to read
(`eddl.compiler.handover`). If a third one runs in between, they are put aside until they are asked
for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from eddl.compiler.handover import Handover
from eddl.compiler.protocol import Backend
from eddl.errors import StateError
from eddl.graph import Type


class Slabs:
    """Transient memory that the programs of one model share; it grows to the largest need."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.memory: list[Any] = []
        self.sizes: list[int] = []
        self.version = 0
        self.lock = threading.RLock()
        """Held by the program that runs: the others would write to the same memory."""
        self.here: Handover | None = None
        """What one program left in them for another."""
        self._aside: WeakKeyDictionary[Handover, Any] = WeakKeyDictionary()
        """Copies of what others left, as long as anyone may ask for it."""

    def reserve(self, sizes: Sequence[int]) -> None:
        """Make room for slabs of these sizes; memory that is too small is replaced."""
        for index, size in enumerate(sizes):
            if index == len(self.sizes):
                self.memory.append(None)
                self.sizes.append(0)
            if self.sizes[index] < size:
                if index == 0:
                    self.put_aside()
                self.memory[index] = None  # freed before its successor is allocated
                self.memory[index] = self.backend.allocate(size)
                self.sizes[index] = size
                self.version += 1

    def put_aside(self) -> None:
        """Keep what was left for another program, as the slabs are about to be written."""
        left, self.here = self.here, None
        if left is not None:
            copy = self._bytes(self.backend.allocate(left.nbytes), left.nbytes)
            self.backend.copy(self._bytes(self.memory[0], left.nbytes), copy)
            self._aside[left] = copy

    def leave(self, left: Handover) -> None:
        """Say that a program left these values."""
        self.here = left

    def holds(self, left: Handover | None) -> bool:
        """Whether these values were left and nobody has read them yet."""
        return left is not None and (left is self.here or left in self._aside)

    def take(self, left: Handover) -> None:
        """Have these values in their places, for a program that is about to read them."""
        if self.here is left:
            return
        if left not in self._aside:
            raise StateError("this program reads what another one leaves, which has not run before")
        self.put_aside()
        self.backend.copy(self._aside.pop(left), self._bytes(self.memory[0], left.nbytes))
        self.leave(left)

    def forget(self, left: Handover) -> None:
        """Nobody will read these values, or not again."""
        with self.lock:
            if self.here is left:
                self.here = None
            else:
                self._aside.pop(left, None)

    def _bytes(self, memory: Any, count: int) -> Any:
        return self.backend.view(memory, 0, Type("uint8", (count,)))
