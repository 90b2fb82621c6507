"""One team of threads for all: the array kernels run on oneDNN's OpenMP threads.

Two pools would fight over the processors, all the more where OpenMP's threads spin for a while
after each kernel. `GOMP_parallel`, which every OpenMP runtime for Linux offers, runs a function on
the team.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence

import numpy as np

from eddl.backends.array.threads import Threads
from eddl.backends.onednn.library import Library

Thunk = Callable[[], None]
_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Team(Threads):
    """OpenMP's threads, as many as `count`."""

    def __init__(self, library: Library, count: int) -> None:
        super().__init__(1)
        self.count = count
        self._parallel = library.dnnl.GOMP_parallel
        self._parallel.argtypes = (_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self._set_threads = library.dnnl.omp_set_num_threads
        self._body = _BODY(self._work)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._tasks: Sequence[Thunk] = ()
        self._errors: list[BaseException] = []

    def claim(self) -> None:
        """Let oneDNN's kernels, called from this thread, run on so many threads."""
        self._set_threads(self.count)

    def run(self, tasks: Sequence[Thunk]) -> None:
        """Make all calls; the first one's exception, if any, is raised when none runs any more."""
        if self.count < 2 or len(tasks) < 2 or not self._lock.acquire(blocking=False):
            for task in tasks:
                task()
            return
        try:
            self._tasks, self._errors = iter(list(tasks)), []  # type: ignore[assignment]
            self._parallel(self._body, None, min(self.count, len(tasks)), 0)
            if self._errors:
                raise self._errors[0]
        finally:
            self._tasks = ()
            self._lock.release()

    def _work(self, _: int | None) -> None:
        """What each thread does: take the next task until there is none."""
        try:
            with np.errstate(all="ignore"):
                for task in self._tasks:
                    task()
        except BaseException as error:
            self._errors.append(error)
