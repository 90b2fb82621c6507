"""A stop takes effect between steps: Ctrl-C during one is kept until its update is whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT
from types import FrameType

try:  # what `signal` wraps, which at each call looks a function up among the names of numbers
    from _signal import getsignal, signal  # type: ignore[import-not-found]
except ImportError:
    from signal import getsignal, signal


@contextmanager
def between_steps() -> Iterator[None]:
    """Hold back SIGINT while the body runs; outside the main thread there is none to hold."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    previous = getsignal(SIGINT)
    if not callable(previous):
        yield
        return
    signal(SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal(SIGINT, previous)
        if held:
            previous(*held[0])
