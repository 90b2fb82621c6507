"""Kernels of oneDNN's: asked for with what follows in the same pass, chosen, made, and run.

oneDNN chooses when a kernel is described, which is when an offer is made, and writes its code when
it is first bound to memory. All who ask for the same share both.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from ctypes import byref, c_char_p, c_float, c_int, c_int64, c_uint64, c_void_p
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.onednn.handles import (
    Array,
    Descriptor,
    Handle,
    describe,
    memory,
    shared,
    single,
)
from eddl.backends.onednn.library import (
    AFTERWARDS,
    ELTWISE_ELU,
    QUERIES,
    QUERY_IMPLEMENTATION,
    SCRATCHPAD,
    SCRATCHPAD_USER,
    WEIGHTS,
    Library,
    Refused,
)

SMALL = 1 << 17
"""Bytes of all tensors of a kernel below which waiting for other threads costs more than it saves:
much more, where other processes keep those threads from running."""


class Operations(Handle):
    """What follows in the same pass; `given` are the arguments that this takes, by number, and
    `key` is equal where the same follows."""

    __slots__ = ("given", "key")

    def __init__(self, library: Library) -> None:
        super().__init__(library, library.make("post_ops_create"), "post_ops_destroy")
        self.given: dict[int, tuple[Descriptor, Array]] = {}
        self.key: tuple[Any, ...] = ()

    def append(self, name: str, *arguments: Any) -> None:
        """An operation, and what `dnnl_post_ops_append_...` takes of it."""
        self.library.call(f"post_ops_append_{name}", self, *arguments)
        self.key += ((name, *map(_content, arguments)),)

    def rectify(self, rank: int) -> None:
        """The rectifier, of a result of `rank` axes, as a slope of 0 below 0. oneDNN's own one, a
        maximum, gives 0 for what is not a number, and so hides where a network diverges."""
        one = describe(self.library, [1] * rank, [1] * rank)
        self.append("prelu", c_int(0))
        self.given[AFTERWARDS * len(self.key) | WEIGHTS] = one, np.zeros(1, np.float32)

    def rectify_slowly(self, rank: int) -> None:
        """The same as an exponential unit of height 0, where a kernel knows no slopes."""
        self.append("eltwise", c_int(ELTWISE_ELU), single(0.0), single(0.0))

    def slope(self, sizes: Sequence[int]) -> None:
        """Slopes below 0, one or a channel, whose values are given with the call."""
        self.append("prelu", c_int(2 if math.prod(sizes) > 1 else 0))


class Attributes(Handle):
    """A primitive's attributes, the arguments that come with them, and what they are equal by."""

    __slots__ = ("given", "key")

    def __init__(self, library: Library, operations: Operations | None) -> None:
        super().__init__(library, library.make("primitive_attr_create"), "primitive_attr_destroy")
        library.call("primitive_attr_set_scratchpad_mode", self, c_int(SCRATCHPAD_USER))
        if operations is not None:
            library.call("primitive_attr_set_post_ops", self, operations)
        self.given = {} if operations is None else operations.given
        self.key = () if operations is None else operations.key


def attributes(library: Library, post: Callable[[Operations], None] | None = None) -> Attributes:
    """Attributes: scratch memory is given by the caller; `post` appends to the operations that
    follow in the same pass."""
    if post is None:
        return Attributes(library, None)
    operations = Operations(library)
    post(operations)
    return Attributes(library, operations)


class Kernel:
    """A kernel that oneDNN has chosen; the primitive is made when it is first bound. Arguments are
    those of the function that describes it, a tuple being an array of descriptors, and another
    kernel the hint that a gradient takes.

    A reference implementation is refused: it is slower than anything else would be. A small kernel
    runs on the calling thread alone, and so does one that is to be `alone`; a `shared` one is made
    for threads that have been told to work alone, and may be run by several at a time.
    """

    __slots__ = ("_chosen", "_given", "alone", "library")

    def __init__(
        self,
        library: Library,
        name: str,
        *arguments: Any,
        slow: bool = False,
        shared: bool = False,
        alone: bool = False,
    ) -> None:
        self.library = library
        tensors = [a for a in arguments if isinstance(a, Descriptor)]
        self._given = next((a.given for a in arguments if isinstance(a, Attributes)), {})
        small = sum(4 * math.prod(tensor.dims) for tensor in tensors) < SMALL
        self.alone = alone or (small and not shared)
        with library.alone() if self.alone else nullcontext():
            self._chosen = _chosen(library, name, arguments)
        if not slow and self.implementation.startswith(("ref", "simple")):
            raise Refused(f"oneDNN: {name} would run its reference implementation")

    @property
    def key(self) -> tuple[Any, ...]:
        """What kernels are equal by."""
        return self._chosen.key

    @property
    def implementation(self) -> str:
        """What oneDNN calls it."""
        return self._chosen.implementation

    @property
    def description(self) -> Handle | c_void_p:
        """What oneDNN knows it by."""
        return self._chosen.description

    def descriptor(self, argument: int, dims: Sequence[int] = ()) -> Descriptor:
        """The layout the kernel wants for an argument."""
        return self._chosen.descriptor(argument, dims)

    @property
    def scratch(self) -> int:
        """The bytes of scratch memory it needs."""
        return self._chosen.scratch

    def bind(
        self,
        arguments: Mapping[int, tuple[Descriptor, Array]],
        workspace: Array | None = None,
    ) -> Callable[[], None]:
        """The call with its arguments; it keeps alive all it needs."""
        arguments = {**arguments, **self._given}
        if workspace is not None and self.scratch:
            space = describe(self.library, [self.scratch], [1], "uint8")
            arguments[SCRATCHPAD] = space, workspace
        kind = Alone if self.alone else Execution
        return kind(self._chosen.primitive, arguments)


def rectified(make: Callable[[Callable[[Operations, int], None]], Kernel]) -> Kernel:
    """The kernel that `make` gives for a way of rectifying: the fast one, if it takes that."""
    try:
        return make(Operations.rectify)
    except Refused:
        return make(Operations.rectify_slowly)


class Chosen:
    """A kernel of oneDNN's, which all share for whom it chooses the same; its code is made when it
    is first bound.

    From then on oneDNN's description of the choice is the primitive's own, and what it kept to
    choose from is given back: 14 KB each, of which a network with more than a thousand calls has
    as many.
    """

    __slots__ = ("__weakref__", "_description", "_layouts", "_made", "implementation", "key",
                 "library", "scratch", "threads")  # fmt: skip

    def __init__(self, library: Library, key: tuple[Any, ...], made: c_void_p) -> None:
        self.library, self.key = library, key
        self.threads = library.dnnl.omp_get_max_threads()
        self._description: Handle | None = Handle(library, made, "primitive_desc_destroy")
        self._made: Handle | None = None
        self._layouts: dict[tuple[Any, ...], Descriptor] = {}
        self.scratch = int(library.dnnl.dnnl_memory_desc_get_size(self._query(SCRATCHPAD)))
        said = c_char_p()
        library.call("primitive_desc_query", self.description, c_int(QUERY_IMPLEMENTATION),
                     c_int(0), byref(said))  # fmt: skip
        self.implementation = (said.value or b"").decode()

    @property
    def description(self) -> Handle | c_void_p:
        """What oneDNN knows the choice by; whoever has it may use it while another thread makes
        the primitive."""
        described = self._description
        if described is not None:
            return described
        borrowed = c_void_p()
        self.library.call("primitive_get_primitive_desc", self._made, byref(borrowed))
        return borrowed

    @property
    def primitive(self) -> Handle:
        """The code, for as many threads as it was chosen for."""
        with self.library.making:
            if self._made is None:
                with self.library.on(self.threads):
                    made = self.library.make("primitive_create", self.description)
                self._made = Handle(self.library, made, "primitive_destroy")
                self._description = None
            return self._made

    def descriptor(self, argument: int, dims: Sequence[int]) -> Descriptor:
        """The layout for an argument."""
        key = argument, *dims
        found = self._layouts.get(key)
        if found is None:
            borrowed = self._query(argument)
            if not borrowed:
                raise Refused(f"oneDNN: {self.implementation} has no argument {argument}")
            pointer = self.library.make("memory_desc_clone", borrowed)
            found = self._layouts[key] = Descriptor(self.library, pointer, dims)
        return found

    def _query(self, argument: int) -> c_void_p:
        """oneDNN's own descriptor of an argument."""
        query = self.library.dnnl.dnnl_primitive_desc_query_md
        return c_void_p(query(self.description, c_int(QUERIES[argument]), c_int(0)))


def _chosen(library: Library, name: str, arguments: Sequence[Any]) -> Chosen:
    key = name, library.dnnl.omp_get_max_threads(), *map(_content, arguments)
    return shared(library, key, lambda: Chosen(
        library, key,
        library.make(f"{name}_primitive_desc_create", *map(_passed, arguments)),
    ))  # fmt: skip


def _content(argument: Any) -> Any:
    """What arguments of calls that choose the same are equal by."""
    if isinstance(argument, (c_int, c_int64, c_float, c_void_p, ctypes.Array)):
        return bytes(argument)
    if isinstance(argument, (Attributes, Kernel)):
        return argument.key
    return argument


def _passed(argument: Any) -> Any:
    """An argument as the library's functions take it."""
    if isinstance(argument, Kernel):
        return argument.description
    if isinstance(argument, tuple):
        return (c_void_p * len(argument))(*(part.pointer for part in argument))
    return argument


class Execution:
    """A primitive with its arguments: calling it runs the kernel. An argument, `dnnl_exec_arg_t`,
    is a word whose lower half is its number and a word that is a memory object's address."""

    __slots__ = ("_dnnl", "_kept", "_run")

    def __init__(
        self, primitive: Handle, arguments: Mapping[int, tuple[Descriptor, Array]]
    ) -> None:
        library = primitive.library
        memories = [memory(library, *pair) for pair in arguments.values()]
        words = (word for n, m in zip(arguments, memories, strict=True) for word in (n, m.pointer))
        rows = (c_uint64 * (2 * len(memories)))(*words)
        owners = {id(owner): owner for _, array in arguments.values() for owner in [_owner(array)]}
        self._dnnl = library.dnnl
        self._kept = primitive, rows, *memories, *owners.values()  # as long as their addresses are
        self._run = partial(
            library.execute, primitive.pointer, library.stream.value, len(memories),
            ctypes.addressof(rows),
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


def _owner(array: Array) -> Any:
    """What holds an array's memory."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array
