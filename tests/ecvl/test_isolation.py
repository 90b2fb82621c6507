"""What happens to the child does not happen to us."""

import os
import sys
import threading
from typing import Any

import numpy as np
import pytest

from ecvl import FormatError
from ecvl.io.isolation import Worker


@pytest.fixture
def worker() -> Any:
    made = Worker(memory=1 << 29, seconds=20)
    yield made
    made.close()


def test_arrays_come_back(worker: Worker) -> None:
    for content in (b"", b"abc", bytes(1 << 20)):
        found = worker.call("crash", "a", content, how="not")
        assert found.tobytes() == content
    assert worker.call("crash", "a", b"xy", how="print").tolist() == [120, 121]


@pytest.mark.parametrize(
    ("how", "message"), [("abort", "stopped with status"), ("grow", "allocate"), ("write", "large")]
)
def test_a_crash_is_an_error_and_the_next_call_works(
    worker: Worker, how: str, message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=message) as caught:
        worker.call("crash", "scan.png", how=how)
    assert "scan.png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert worker.call("crash", "a", b"abc", how="not").tobytes() == b"abc"
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) == 0


def test_a_call_that_takes_too_long_ends() -> None:
    worker = Worker(seconds=1.5)
    worker.call("crash", "a", how="not")
    with pytest.raises(FormatError, match="took too long"):
        worker.call("crash", "a.png", how="sleep")
    worker.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of processes")
def test_a_call_that_takes_too_much_of_the_processor_ends(worker: Worker) -> None:
    with pytest.raises(FormatError, match="took too long"):
        worker.call("crash", "a.png", how="spin")
    assert worker.call("crash", "a", b"abc", how="not").tobytes() == b"abc"


def test_threads_take_turns(worker: Worker) -> None:
    found: dict[int, bytes] = {}

    def ask(number: int) -> None:
        content = bytes([number]) * 1000
        found[number] = worker.call("crash", "a", content, how="not").tobytes()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == bytes([number]) * 1000 for number in range(8))


def test_only_known_tasks_run(worker: Worker) -> None:
    with pytest.raises(FormatError, match="os:system"):
        worker.call("os:system", "a")
    assert np.array_equal(worker.call("crash", "a", b"a", how="not"), [97])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_gets_its_own_child(worker: Worker) -> None:
    worker.call("crash", "a", b"a", how="not")
    child = os.fork()
    if not child:
        fine = worker.call("crash", "a", b"b", how="not").tobytes() == b"b"
        worker.close()
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert worker.call("crash", "a", b"c", how="not").tobytes() == b"c"
