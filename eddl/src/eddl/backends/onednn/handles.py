"""What oneDNN makes, owned: each handle is destroyed once, when nothing holds it any more."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from ctypes import byref, c_char_p, c_int, c_int64, c_void_p
from functools import cached_property, partial
from typing import Any

import numpy as np

from eddl.backends.onednn.library import (
    AFTERWARDS,
    ELTWISE_ELU,
    FLOATS,
    FORMAT_ANY,
    QUERIES,
    QUERY_IMPLEMENTATION,
    SCRATCHPAD,
    SCRATCHPAD_USER,
    TYPES,
    WEIGHTS,
    Argument,
    Library,
    Refused,
)

Array = np.ndarray[Any, Any]


class Handle:
    """A pointer and the function that destroys what it points to; an argument of the library's
    functions as it is."""

    __slots__ = ("_as_parameter_", "_destroy", "library")

    def __init__(self, library: Library, pointer: c_void_p, destroy: str) -> None:
        self.library = library
        self._as_parameter_ = pointer
        self._destroy = getattr(library.dnnl, f"dnnl_{destroy}")

    def __del__(self) -> None:
        self._destroy(self._as_parameter_)


class Descriptor(Handle):
    """How a tensor lies in memory. Descriptors of equal content are equal."""

    __slots__ = ("dims", "strides")

    def __init__(
        self,
        library: Library,
        pointer: c_void_p,
        dims: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__(library, pointer, "memory_desc_destroy")
        self.dims, self.strides = tuple(dims), strides

    @property
    def nbytes(self) -> int:
        """The bytes of such a tensor."""
        return int(self.library.dnnl.dnnl_memory_desc_get_size(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descriptor) and bool(
            self.library.dnnl.dnnl_memory_desc_equal(self, other)
        )

    def __hash__(self) -> int:
        return hash(self.dims)


def longs(values: Sequence[int]) -> Any:
    """`dnnl_dims_t`."""
    return (c_int64 * 12)(*values)


def describe(
    library: Library,
    dims: Sequence[int],
    strides: Sequence[int] | None = None,
    dtype: str = "float32",
) -> Descriptor:
    """A tensor with strides in elements; without them, with whatever layout oneDNN likes best."""
    if dtype not in TYPES:
        raise Refused(
            f"received elements of {dtype}; only {' and '.join(FLOATS)} are computed here"
        )
    count, kind = c_int(len(dims)), c_int(TYPES[dtype])
    if strides is None:
        pointer = library.make("memory_desc_create_with_tag", count, longs(dims), kind,
                               c_int(FORMAT_ANY))  # fmt: skip
    else:
        pointer = library.make("memory_desc_create_with_strides", count, longs(dims), kind,
                               longs(strides))  # fmt: skip
    return Descriptor(library, pointer, dims, strides)


def row_major(dims: Sequence[int]) -> list[int]:
    """The strides of a tensor that lies in the order of its axes."""
    strides = [1] * len(dims)
    for axis in range(len(dims) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * dims[axis + 1]
    return strides


def channels_last(dims: Sequence[int]) -> list[int]:
    """The strides of a tensor whose second axis is innermost."""
    order = [0, *range(2, len(dims)), 1]
    inner = row_major([dims[axis] for axis in order])
    strides = [0] * len(dims)
    for axis, stride in zip(order, inner, strict=True):
        strides[axis] = stride
    return strides


class Operations(Handle):
    """What follows in the same pass; `given` are the arguments that this takes, by number."""

    __slots__ = ("given",)

    def __init__(self, library: Library) -> None:
        super().__init__(library, library.make("post_ops_create"), "post_ops_destroy")
        self.given: dict[int, tuple[Descriptor, Array]] = {}

    def rectify(self, rank: int) -> None:
        """The rectifier, of a result of `rank` axes, as a slope of 0 below 0. oneDNN's own one, a
        maximum, gives 0 for what is not a number, and so hides where a network diverges."""
        place = self.library.dnnl.dnnl_post_ops_len(self)
        self.library.call("post_ops_append_prelu", self, c_int(0))
        one = describe(self.library, [1] * rank, [1] * rank)
        self.given[AFTERWARDS * (place + 1) | WEIGHTS] = one, np.zeros(1, np.float32)

    def slope(self, sizes: Sequence[int]) -> None:
        """Slopes below 0, one or a channel, whose values are given with the call."""
        mask = 2 if math.prod(sizes) > 1 else 0
        self.library.call("post_ops_append_prelu", self, c_int(mask))

    def rectify_slowly(self, rank: int) -> None:
        """The same as an exponential unit of height 0, where a kernel knows no slopes."""
        self.library.call("post_ops_append_eltwise", self, c_int(ELTWISE_ELU), single(0.0),
                          single(0.0))  # fmt: skip


class Attributes(Handle):
    """A primitive's attributes, and the arguments that come with them."""

    __slots__ = ("given",)

    def __init__(self, library: Library, operations: Operations | None) -> None:
        super().__init__(library, library.make("primitive_attr_create"), "primitive_attr_destroy")
        library.call("primitive_attr_set_scratchpad_mode", self, c_int(SCRATCHPAD_USER))
        if operations is not None:
            library.call("primitive_attr_set_post_ops", self, operations)
        self.given = {} if operations is None else operations.given


def attributes(library: Library, post: Callable[[Operations], None] | None = None) -> Attributes:
    """Attributes: scratch memory is given by the caller; `post` appends to the operations that
    follow in the same pass."""
    if post is None:
        return Attributes(library, None)
    operations = Operations(library)
    post(operations)
    return Attributes(library, operations)


def rectified(make: Callable[[Callable[[Operations, int], None]], Kernel]) -> Kernel:
    """The kernel that `make` gives for a way of rectifying: the fast one, if it takes that."""
    try:
        return make(Operations.rectify)
    except Refused:
        return make(Operations.rectify_slowly)


SMALL = 1 << 17
"""Bytes of all tensors of a kernel below which waiting for other threads costs more than it saves:
much more, where other processes keep those threads from running."""


class Kernel:
    """A kernel that oneDNN has chosen; the primitive is made when it is first bound.

    A reference implementation is refused: it is slower than anything else would be. A small kernel
    runs on the calling thread alone; a `shared` one is made for threads that have been told to
    work alone, and may be run by several at a time.
    """

    def __init__(
        self,
        library: Library,
        name: str,
        *arguments: Any,
        slow: bool = False,
        shared: bool = False,
    ) -> None:
        self.library = library
        tensors = [a for a in arguments if isinstance(a, Descriptor)]
        self._given = next((a.given for a in arguments if isinstance(a, Attributes)), {})
        small = sum(4 * math.prod(tensor.dims) for tensor in tensors) < SMALL
        self.alone = small and not shared
        with library.alone() if self.alone else nullcontext():
            made = library.make(f"{name}_primitive_desc_create", *arguments)
        self.description = Handle(library, made, "primitive_desc_destroy")
        said = c_char_p()
        library.call("primitive_desc_query", self.description, c_int(QUERY_IMPLEMENTATION),
                     c_int(0), byref(said))  # fmt: skip
        self.implementation = (said.value or b"").decode()
        if not slow and self.implementation.startswith(("ref", "simple")):
            raise Refused(f"oneDNN: {name} would run its reference implementation")
        self._primitive: Handle | None = None

    def descriptor(self, argument: int, dims: Sequence[int] = ()) -> Descriptor:
        """The layout the kernel wants for an argument."""
        borrowed = self.library.dnnl.dnnl_primitive_desc_query_md(
            self.description, c_int(QUERIES[argument]), c_int(0)
        )
        if not borrowed:
            raise Refused(f"oneDNN: {self.implementation} has no argument {argument}")
        pointer = self.library.make("memory_desc_clone", c_void_p(borrowed))
        return Descriptor(self.library, pointer, dims)

    @cached_property
    def scratch(self) -> int:
        """The bytes of scratch memory it needs."""
        return self._scratchpad.nbytes

    @cached_property
    def _scratchpad(self) -> Descriptor:
        return self.descriptor(SCRATCHPAD)

    def bind(
        self,
        arguments: Mapping[int, tuple[Descriptor, Array]],
        workspace: Array | None = None,
    ) -> Callable[[], None]:
        """The call with its arguments; it keeps alive all it needs."""
        if self._primitive is None:
            with self.library.alone() if self.alone else nullcontext():
                made = self.library.make("primitive_create", self.description)
            self._primitive = Handle(self.library, made, "primitive_destroy")
        arguments = {**arguments, **self._given}
        memories = {
            number: memory(self.library, descriptor, array)
            for number, (descriptor, array) in arguments.items()
        }
        if workspace is not None and self.scratch:
            memories[SCRATCHPAD] = memory(self.library, self._scratchpad, workspace)
        arrays = [array for _, array in arguments.values()]
        kind = Alone if self.alone else Execution
        return kind(self._primitive, memories, arrays, workspace)


class Execution:
    """A primitive with its arguments: calling it runs the kernel."""

    __slots__ = ("_dnnl", "_kept", "_run")

    def __init__(self, primitive: Handle, memories: Mapping[int, Handle], *arrays: Any) -> None:
        library = primitive.library
        arguments = (Argument * len(memories))(
            *(Argument(number, handle._as_parameter_) for number, handle in memories.items())
        )
        self._dnnl = library.dnnl
        self._kept = primitive, memories, arrays, arguments  # as long as their addresses are
        self._run = partial(
            library.execute, primitive._as_parameter_.value, library.stream.value, len(memories),
            ctypes.addressof(arguments),
        )  # fmt: skip

    @property
    def row(self) -> tuple[int, ...]:
        """The address of the function that runs it, and its arguments."""
        function: Any = self._run.func
        return ctypes.cast(function, c_void_p).value or 0, *self._run.args

    def __call__(self) -> None:
        """Run it."""
        if self._run():
            raise Refused("oneDNN: a kernel failed while it ran")


class Alone(Execution):
    """One that stays on the thread that calls it: `Library.alone`, without what a context costs."""

    __slots__ = ()

    def __call__(self) -> None:
        """Run it."""
        dnnl = self._dnnl
        count = dnnl.omp_get_max_threads()
        dnnl.omp_set_num_threads(1)
        try:
            failed = self._run()
        finally:
            dnnl.omp_set_num_threads(count)
        if failed:
            raise Refused("oneDNN: a kernel failed while it ran")


def memory(library: Library, descriptor: Descriptor, array: Array) -> Handle:
    """An array as oneDNN sees it; the array must outlive it."""
    pointer = library.make("memory_create", descriptor, library.engine,
                           c_void_p(array.ctypes.data))  # fmt: skip
    return Handle(library, pointer, "memory_destroy")


def single(value: float) -> ctypes.c_float:
    """A number as C's `float`."""
    return ctypes.c_float(value)
