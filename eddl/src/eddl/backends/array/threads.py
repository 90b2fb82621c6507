"""The threads of the array backend: each kernel splits its work, and BLAS runs on one thread.

Splitting samples and rows over threads of our own, with single-threaded matrix products inside,
speeds up the copies as well as the products, and makes the bits of a result independent of the
number of threads.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np

Thunk = Callable[[], None]


def available() -> int:
    """The number of threads to use: `EDDL_NUM_THREADS`, else the CPUs this process may run on."""
    given = os.environ.get("EDDL_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """A fixed number of threads; `run` makes calls on them and returns when all are done."""

    def __init__(self, count: int) -> None:
        self.count = count
        # NumPy's error state belongs to a thread: infinities are results here, not warnings.
        quiet = partial(np.seterr, all="ignore")
        self._pool = ThreadPoolExecutor(count - 1, "eddl", quiet) if count > 1 else None

    def run(self, tasks: Sequence[Thunk]) -> None:
        """Make all calls; the first one's exception, if any, is raised when none runs any more."""
        if self._pool is None or len(tasks) < 2:
            for task in tasks:
                task()
            return
        running = [self._pool.submit(task) for task in tasks[1:]]
        try:
            tasks[0]()
        finally:
            wait(running)
        for future in running:
            future.result()

    def share(self, tasks: Sequence[Thunk]) -> Thunk:
        """One call that makes all tasks, in `count` runs of neighbours."""
        groups = self.split(len(tasks))
        if len(groups) < 2:
            return in_turn(tasks)
        runs = [in_turn(tasks[start:stop]) for start, stop in groups]
        return lambda: self.run(runs)

    def split(self, size: int) -> list[tuple[int, int]]:
        """Up to `count` ranges of nearly equal length that cover `range(size)`."""
        parts = min(self.count, size)
        bounds = [size * i // parts for i in range(parts + 1)] if parts else [0]
        return list(itertools.pairwise(bounds))


def in_turn(tasks: Sequence[Thunk]) -> Thunk:
    """One call that makes all tasks, one after the other."""
    if len(tasks) == 1:
        return tasks[0]

    def run() -> None:
        for task in tasks:
            task()

    return run
