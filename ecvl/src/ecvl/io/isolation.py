"""A child process for native decoders that a hostile file could crash.

* The child lives on between calls and is started again when it dies; a call costs a copy of the
  bytes each way, well under a millisecond for what a slide or a picture needs.
* It may not grow, write files or leave a core: its limits are set before it sees the first byte. A
  call that takes too long ends with the child.
* Requests and answers are JSON and raw bytes. Nothing is unpickled, for a decoder that was taken
  over must not reach the parent.

Held by `tests/ecvl/test_isolation.py`.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from importlib import import_module
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ecvl.errors import FileError, FormatError, one_line

MEMORY = 2 << 30
SECONDS = 60.0
# What a child ends with that has used up its seconds of the processor, where there are any.
_OUT_OF_TIME = -signal.SIGXCPU if hasattr(signal, "SIGXCPU") else None
# The only code that a child runs: name to module and function, `(content, **params) -> array|JSON`.
TASKS = {
    "deep": "ecvl.io.deep:decode",
    "dicom": "ecvl.io.dicom.decoders:decode_in_time",
    "slide": "ecvl.io.slide_reader:answer",
    "crash": "ecvl.io.isolation:_crash",
}


class Worker:
    """One child process and the way to it; safe to use from several threads, one at a time.

    Args:
        memory: bytes that the child may ask for beyond what it has when it starts.
        seconds: how long a call may take.

    Example:
        >>> worker = Worker()
        >>> worker.call("crash", "a.png", b"ab", how="not")
        array([97, 98], dtype=uint8)
    """

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._memory = memory
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ending: Any = None

    def call(self, task: str, name: str, content: bytes = b"", /, **params: Any) -> Any:
        """Run a task of `TASKS` in the child.

        Args:
            task: its name.
            name: the file's name, for messages.
            content: the bytes to decode.
            params: plain values.

        Returns:
            An array, or plain values.

        Raises:
            FormatError: the task refused the content, crashed, or took too long or too much memory.
            FileError: no child can be started.
        """
        with self._lock:
            child = self._started()
            late = threading.Timer(self._seconds, child.kill)
            late.start()
            try:
                _send(child.stdin, {"task": task, "params": params}, content)
                answer, body = _receive(child.stdout)
            except (OSError, EOFError, ValueError):
                with suppress(OSError):
                    child.kill()
                code = child.wait()
                self.close()
                late_or_limited = not late.is_alive() or code == _OUT_OF_TIME
                why = "took too long" if late_or_limited else f"stopped with status {code}"
                raise FormatError(
                    f"the decoder of {name!r} {why}; the file is damaged or made to do harm"
                ) from None
            finally:
                late.cancel()
        if "error" in answer:
            raise FormatError(f"cannot decode {name!r}: {answer['error']}")
        if "dtype" in answer:
            return np.frombuffer(body, np.dtype(answer["dtype"])).reshape(answer["shape"])
        return answer["value"]

    def close(self) -> None:
        """End the child; the next call starts another."""
        if self._ending is not None:
            self._ending()
        self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        # A forked process must not share its parent's pipe.
        if self._child is not None and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        if self._owner == os.getpid():
            self.close()
        code = f"from ecvl.io.isolation import serve; serve({self._memory})"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            child = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise FileError(f"cannot start a process to decode in: {one_line(error)}") from None
        self._child, self._owner = child, os.getpid()
        self._ending = weakref.finalize(self, _end, child, os.getpid())
        return child


shared = Worker()


def serve(memory: int) -> None:
    """Answer requests from standard input until it ends: what the child runs."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a native library prints must not get between the answers.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limited = False
    while True:
        try:
            request, content = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            module, _, function = TASKS[request["task"]].partition(":")
            act = getattr(import_module(module), function)
            if not limited:
                _limit(memory)
                limited = True
            found = act(content, **request["params"])
        except Exception as error:
            _send(answers, {"error": one_line(error) or type(error).__name__}, b"")
            continue
        if isinstance(found, np.ndarray):
            whole = np.ascontiguousarray(found)
            head = {"dtype": whole.dtype.str, "shape": whole.shape}
            _send(answers, head, whole.reshape(-1).view(np.uint8).data)
        else:
            _send(answers, {"value": found}, b"")


def _limit(memory: int) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def limit_seconds(more: float) -> None:
    """Let this process use the processor for so many further seconds, rounded up, and not longer.

    Example:
        >>> limit_seconds.__name__
        'limit_seconds'
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        limit = math.ceil(used.ru_utime + used.ru_stime + more)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))


def _send(stream: IO[bytes] | None, head: dict[str, Any], body: Any) -> None:
    assert stream is not None
    text = json.dumps(head).encode()
    stream.write(len(text).to_bytes(8, "little") + len(body).to_bytes(8, "little") + text)
    stream.write(body)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> tuple[dict[str, Any], bytes]:
    assert stream is not None
    lengths = _exactly(stream, 16)
    text = _exactly(stream, int.from_bytes(lengths[:8], "little"))
    return json.loads(text), _exactly(stream, int.from_bytes(lengths[8:], "little"))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise EOFError
    return found


def _end(child: "subprocess.Popen[bytes]", owner: int) -> None:
    for stream in (child.stdin, child.stdout):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    if owner == os.getpid():
        with suppress(OSError):
            child.kill()
        child.wait()


def _crash(content: bytes, how: str) -> NDArray[Any]:
    """What the tests do to the child."""
    if how == "abort":
        os.abort()
    if how == "sleep":
        threading.Event().wait(60)
    if how == "spin":
        limit_seconds(0)
        while True:
            pass
    if how == "grow":
        return np.ones(1 << 40, np.uint8)
    if how == "print":
        os.write(1, b"noise")
    if how == "write":
        with open("written-by-a-decoder", "wb") as stream:
            stream.write(b"x")
    return np.frombuffer(content, np.uint8)
