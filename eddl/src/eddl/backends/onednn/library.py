"""oneDNN's C API through ctypes: finding the library, loading it, calling it.

The wheel `onednn-cpu-gomp` carries the library, and `EDDL_DNNL` names another one. Constants are
those of the headers of 3.2 and of 3.13, which agree on all that is used here; a version outside
that range is refused, and one that is not the wheel's is warned of. `tests/eddl/backends/onednn`
holds this room.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint, c_void_p
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from eddl.errors import DeviceError

OLDEST, NEWEST = (3, 2), (3, 13)
TRIED = (3, 2)
"""The wheel's, whose results all tests compare. Others have faults of their own: 3.6.2 computes
some convolutions of one channel wrongly, and transposed ones in bfloat16 without their bias.
"""
SUCCESS = 0
FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD = 64, 96, 128
CONVOLUTION_DIRECT, DECONVOLUTION_DIRECT = 1, 10
POOLING_MAX, POOLING_AVERAGE_ALL, POOLING_AVERAGE_INSIDE = 0x1FF, 0x2FF, 0x3FF
ELTWISE_RELU, ELTWISE_TANH, ELTWISE_ELU = 0x20, 0x21, 0x22
ELTWISE_LINEAR, ELTWISE_LOGISTIC = 0x26, 0x29
SOFTMAX, LRN_ACROSS_CHANNELS = 0x30000, 0xAFF
RESAMPLING_NEAREST, RESAMPLING_LINEAR, REDUCTION_SUM = 0x2FFF0, 0x2FFF1, 0x2FFF4
USE_GLOBAL_STATISTICS, USE_SCALE, USE_SHIFT, FUSE_RELU = 1, 2, 4, 8
TYPES = {"bfloat16": 2, "float32": 3, "int32": 4, "int8": 5, "uint8": 6}
FLOATS = ("float32", "bfloat16")
"""The types of values that kernels compute on; they all sum in float32."""
FORMAT_ANY = 1
SCRATCHPAD_USER = 1
QUERY_IMPLEMENTATION = 8
SRC, DST, WEIGHTS, BIAS, MEAN, VARIANCE = 1, 17, 33, 41, 49, 50
SCALE, SHIFT, WORKSPACE, SCRATCHPAD = 51, 52, 64, 80
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 169, 255, 256
MULTIPLE_SRC = 1024
AFTERWARDS = 32768
"""Argument numbers of the operations that follow in a pass begin at multiples of this."""
QUERIES = {SRC: 129, DIFF_SRC: 130, WEIGHTS: 131, DIFF_WEIGHTS: 132, DST: 133, DIFF_DST: 134,
           WORKSPACE: 135, SCRATCHPAD: 136}  # fmt: skip
OPENMP = 2
ISA_WITHOUT_TILES = 0xE7
"""AVX-512 with bfloat16: the most that a processor without usable AMX tiles may be given."""


class Refused(DeviceError):
    """oneDNN has no kernel for what was asked, or failed to make it."""


class _Version(Structure):
    _fields_ = (("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", c_char_p),
                ("cpu_runtime", c_uint), ("gpu_runtime", c_uint))  # fmt: skip


class Library:
    """The loaded library, its one engine and its one stream."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with _threads_that_sleep():
                self.dnnl = ctypes.CDLL(path)
            self.dnnl.dnnl_version.restype = POINTER(_Version)
            version = self.dnnl.dnnl_version().contents
        except (OSError, AttributeError) as error:
            raise DeviceError(f"oneDNN cannot be loaded from {path}: {error}") from error
        self.version = (version.major, version.minor, version.patch)
        if not OLDEST <= self.version[:2] <= NEWEST:
            raise DeviceError(
                f"{path} is oneDNN {'.'.join(map(str, self.version))}; expected a version from "
                f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
            )
        if version.cpu_runtime != OPENMP:
            raise DeviceError(
                f"{path} was built without OpenMP (its runtime is {version.cpu_runtime}); expected "
                "a build whose CPU runtime is OpenMP, such as the package onednn-cpu-gomp"
            )
        if self.version[:2] != TRIED:
            warnings.warn(
                f"{path} is oneDNN {'.'.join(map(str, self.version))}, and eddl was tested with "
                f"{'.'.join(map(str, TRIED))} alone: compare its results with device='cpu:array'",
                RuntimeWarning,
                stacklevel=2,
            )
        if "ONEDNN_MAX_CPU_ISA" not in os.environ and _tiles_are_hidden():
            self.dnnl.dnnl_set_max_cpu_isa(ISA_WITHOUT_TILES)
        self.execute = self.dnnl.dnnl_primitive_execute
        self.execute.argtypes = (c_void_p, c_void_p, c_int, c_void_p)
        self.dnnl.dnnl_memory_desc_get_size.argtypes = (c_void_p,)
        self.dnnl.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.dnnl.dnnl_memory_desc_equal.argtypes = (c_void_p, c_void_p)
        self.dnnl.dnnl_primitive_desc_query_md.restype = c_void_p
        self.engine = self.make("engine_create", c_int(1), ctypes.c_size_t(0))
        self.stream = self.make("stream_create", self.engine, c_uint(1))
        self.shared: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self.making = threading.Lock()

    def alone(self) -> AbstractContextManager[None]:
        """One thread for what this thread asks of oneDNN while the body runs."""
        return self.on(1)

    @contextmanager
    def on(self, threads: int) -> Iterator[None]:
        """So many threads for what this thread asks of oneDNN while the body runs."""
        count = self.dnnl.omp_get_max_threads()
        self.dnnl.omp_set_num_threads(threads)
        try:
            yield
        finally:
            self.dnnl.omp_set_num_threads(count)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; `Refused` where its status is not success."""
        status = getattr(self.dnnl, f"dnnl_{name}")(*arguments)
        if status != SUCCESS:
            raise Refused(f"oneDNN: {name} returned {status}")

    def make(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function whose first argument receives a new handle."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return handle


WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Where a user says how OpenMP's threads wait."""


@contextmanager
def _threads_that_sleep() -> Iterator[None]:
    """OpenMP, if it is loaded in the body, lets threads that wait for others sleep, unless the user
    has said how they are to wait.

    By default they spin for milliseconds. Where other processes want the processors, too, all then
    wait for a thread that cannot run: at a load of 8 on two of them a step of a small network took
    16 times the processor time, one of a U-Net twice. Sleeping costs that U-Net less than a
    hundredth on a machine that has nothing else to do, and the small network a fifteenth.
    """
    if any(name in os.environ for name in WAITING):
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


def find() -> str | None:
    """The path of the library to load, `None` where there is none."""
    given = os.environ.get("EDDL_DNNL")
    if given:
        return given
    try:
        files = distribution("onednn-cpu-gomp").files or []
    except PackageNotFoundError:
        return None
    found = (str(Path(str(f.locate())).resolve()) for f in files if f.name == "libdnnl.so.3")
    return next(found, None)


@lru_cache
def load() -> Library:
    """The library of this process; `DeviceError` with the reason where it cannot be used."""
    path = find()
    if path is None:
        raise DeviceError("oneDNN is not installed: pip install onednn-cpu-gomp (Linux x86-64)")
    return Library(path)


def _tiles_are_hidden() -> bool:
    """Whether the processor advertises AMX and does not say how large its tiles are.

    Some hypervisors hide that leaf; kernels chosen by the flag alone then end the process.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return True
    if "amx_tile" not in flags:
        return False
    try:
        return _cpuid(0, 0) < 0x1D or _cpuid(0x1D, 1) == 0
    except OSError:
        return True


def _cpuid(leaf: int, part: int) -> int:
    """The register EAX that the instruction CPUID gives."""
    code = bytes.fromhex("53 89f8 89f1 0fa2 5b c3")  # push rbx; eax, ecx = arguments; cpuid; pop
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    start = ctypes.c_char.from_buffer(page)
    function = ctypes.CFUNCTYPE(c_uint, c_uint, c_uint)(ctypes.addressof(start))
    value = int(function(leaf, part))
    del start
    page.close()
    return value
