"""Who may touch a model: one thread at a time, and one training from its beginning to its end.

A model has one lock, held for what must see or change it as a whole: an update, a prediction, an
evaluation, a file. While one thread trains, others predict, evaluate and save between two of its
updates, each from whole weights; nobody is kept waiting while `fit` waits for data. Trainings take
turns: a second one waits for the end of the first. Models that share parameters have a lock each.
`tests/eddl/training/test_threads.py` holds this.
"""

from __future__ import annotations

from threading import RLock, get_ident
from types import TracebackType

from eddl.compiler.forks import forks
from eddl.errors import StateError


class Lock:
    """A re-entrant lock, which a forked process finds open: who held it does not exist there."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._forks = forks()
        self._lock = RLock()
        self._owner, self._depth = 0, 0

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == get_ident() and self._forks == forks()

    def take(self, *, wait: bool = True) -> bool:
        """Hold it; whether it could be had."""
        if self._forks != forks():
            self._renew()
        if not self._lock.acquire(wait):
            return False
        self._owner = get_ident()
        self._depth += 1
        return True

    def give(self) -> None:
        """Let it go, as often as it was taken."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
        self._lock.release()

    def __enter__(self) -> None:
        self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.give()


class Turn(Lock):
    """Held by one training at a time; whoever waits for it must not hold up the one that has it."""

    def __init__(self, lock: Lock) -> None:
        super().__init__()
        self._inner = lock

    def __enter__(self) -> None:
        if not self.take(wait=not self._inner.mine):
            raise StateError(
                "another thread trains this model, and this one keeps it from going on (inside "
                "averaged(), or from the data of evaluate): train outside of that"
            )
