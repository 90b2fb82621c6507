"""Kernels that one call runs give what they give one by one, and stop where one fails."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from eddl.backends.onednn import loop
from eddl.backends.onednn.library import Refused
from eddl.backends.onednn.recurrent import Packed

from .oracle import ONEDNN

COUNT = 40


def chained():
    """Calls that need each other's results, some of them joined already, and the last result."""
    make = Packed(ONEDNN.library)
    x, y, *kept = (np.full(COUNT, value, "f4") for value in (0.5, 0.25, 0, 0, 0))
    x *= np.linspace(-1, 1, COUNT, dtype="f4")
    chains = [make.chain(np.float32, COUNT, *names)
              for names in (["multiply", "add"], ["tanh", "multiply"], ["subtract"])]  # fmt: skip
    first = chains[0].bind(kept[0], x, y, x)
    others = [chains[1].bind(kept[1], kept[0], y), chains[2].bind(kept[2], kept[1], x)]
    return [first, make.in_turn(others)], kept[2], np.tanh(x * y + x) * y - x


@pytest.mark.parametrize("there", [True, False])
def test_all_kernels_run_in_order(there, monkeypatch):
    if not there:
        monkeypatch.setattr(loop, "loop", lambda: None)
    with ONEDNN.library.alone():
        calls, result, expected = chained()
        whole = loop.in_turn(calls)
        assert isinstance(whole, loop.Joined) == (there and loop.loop() is not None)
        for _ in range(2):
            result.fill(0)
            whole()
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_nothing_runs_after_a_kernel_that_fails():
    if loop.loop() is None:
        pytest.skip("no loop in machine code on this machine")
    seen = []

    @ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)
    def called(number, *others):
        seen.append(number)
        return number == 2

    address = ctypes.cast(called, ctypes.c_void_p).value
    rows = [SimpleNamespace(row=(address, number, 0, 0, 0)) for number in (1, 2, 3)]
    with pytest.raises(Refused, match="failed"):
        loop.Joined(loop.loop(), rows)()
    assert seen == [1, 2]
    loop.Joined(loop.loop(), [rows[0], loop.Joined(loop.loop(), [rows[2], rows[0]]), rows[2]])()
    assert seen[2:] == [1, 3, 1, 3]


def test_calls_of_python_are_made_one_by_one():
    seen = []
    loop.in_turn([lambda: seen.append(1), lambda: seen.append(2)])()
    assert seen == [1, 2]
