"""Whether this process was forked since, asked at every run: the system takes longer to answer."""

from __future__ import annotations

import os

_count = 0


def forks() -> int:
    """How many forks lie between the process that began and this one."""
    return _count


def _forked() -> None:
    global _count
    _count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
