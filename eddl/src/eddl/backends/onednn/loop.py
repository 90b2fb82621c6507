"""Many kernels by one call.

Python's lock is let go and taken again around every kernel, and where two threads call kernels of
some microseconds, each waits for the other again and again. A loop in machine code calls one kernel
after another without the interpreter. oneDNN writes the code of its kernels while the program runs,
so that memory for this loop can be had wherever its kernels can; it is for Linux on x86-64, as the
wheel is. Elsewhere, and where the system lets no memory run, Python calls them.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from collections.abc import Sequence
from ctypes import c_int, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from eddl.backends.array.threads import in_turn as one_by_one
from eddl.backends.onednn.kernels import Execution
from eddl.backends.onednn.library import Refused
from eddl.compiler.protocol import Thunk

CODE = """
    f30f1efa          endbr64
    53                push rbx
    55                push rbp
    4883ec08          sub rsp, 8
    4889fb            mov rbx, rdi             the first call's function and arguments
    4889f5            mov rbp, rsi             how many calls there are
    488b7b08    next: mov rdi, [rbx + 8]
    488b7310          mov rsi, [rbx + 16]
    488b5318          mov rdx, [rbx + 24]
    488b4b20          mov rcx, [rbx + 32]
    ff13              call [rbx]
    4883c328          add rbx, 40
    85c0              test eax, eax
    7505              jne end                  a kernel failed
    48ffcd            dec rbp
    75e1              jne next
    4883c408     end: add rsp, 8
    5d                pop rbp
    5b                pop rbx
    c3                ret
"""
"""`int loop(const call *calls, long count)`, by the calling convention of System V: the status of
the first kernel that fails, or 0."""


@lru_cache
def loop() -> Any:
    """The loop of this process, `None` where it cannot run."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    code = bytes.fromhex("".join(line.split()[0] for line in CODE.split("\n") if line.strip()))
    page = mmap.mmap(-1, mmap.PAGESIZE)
    page.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    runs = mmap.PROT_READ | mmap.PROT_EXEC  # and can be written no more
    if ctypes.CDLL(None).mprotect(c_void_p(start), ctypes.c_size_t(mmap.PAGESIZE), runs):
        return None
    function: Any = ctypes.CFUNCTYPE(c_int, c_void_p, ctypes.c_long)(start)
    function.page = page
    return function


class Joined:
    """Kernels, one after the other, on the thread that calls them; `row` is what calls all."""

    __slots__ = ("_count", "_function", "_kept", "_start", "row")

    def __init__(self, function: Any, calls: Sequence[Any]) -> None:
        rows = [call.row for call in calls]
        table = (c_uint64 * (5 * len(rows)))(*(number for row in rows for number in row))
        self._kept = table, list(calls)  # as long as their addresses are
        self._function, self._start, self._count = function, ctypes.addressof(table), len(rows)
        self.row = ctypes.cast(function, c_void_p).value, self._start, self._count, 0, 0

    def __call__(self) -> None:
        """Run them."""
        if self._function(self._start, self._count):
            raise Refused("oneDNN: a kernel failed while it ran")


def in_turn(calls: Sequence[Thunk]) -> Thunk:
    """One call that runs kernels, one after the other, on the thread that calls it."""
    function = loop()
    if function is None or len(calls) < 2 or not {type(c) for c in calls} <= {Execution, Joined}:
        return one_by_one(calls)
    return Joined(function, calls)
