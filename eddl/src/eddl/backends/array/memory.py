"""How much memory there is, asked before much of it is taken.

Linux grants more than it has and kills later, so a file with a huge shape in it must be refused by
its numbers. `within` and `EDDL_MAX_BYTES` set a lower limit than the memory that is free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from eddl.errors import MemoryLimitError

SMALL = 1 << 26
"""Bytes that are taken without asking."""


_limit: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def within(max_bytes: int | None) -> Iterator[None]:
    """Refuse what needs more than `max_bytes` while the body runs; `None` sets no limit."""
    token = _limit.set(max_bytes)
    try:
        yield
    finally:
        _limit.reset(token)


def free_memory() -> int | None:
    """The bytes that can be had now; `None` where the system does not say."""
    given = os.environ.get("EDDL_MAX_BYTES", "")
    if given.isdigit():
        return int(given)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        return min(free, int(limit) - used) if limit.isdigit() else free
    except (OSError, ValueError):
        return free


def require(nbytes: int, what: str) -> None:
    """Refuse what does not fit, before anything is allocated.

    >>> require(1 << 60, "the values of this graph")
    Traceback (most recent call last):
    eddl.errors.MemoryLimitError: the values of this graph need ... bytes, and ... are free; ...
    """
    limit = _limit.get()
    if limit is not None and nbytes > limit:
        raise MemoryLimitError(
            f"{what} need {nbytes:,} bytes, and max_bytes allows {limit:,}; make the batch or the "
            "image smaller, or allow more"
        )
    if nbytes <= SMALL:
        return
    free = free_memory()
    if free is not None and nbytes > free:
        raise MemoryLimitError(
            f"{what} need {nbytes:,} bytes, and {free:,} are free; make the batch or the image "
            "smaller"
        )
