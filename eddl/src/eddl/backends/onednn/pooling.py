"""Pools of one to three spatial axes and their gradients.

oneDNN's greatest element takes no notice of what is not a number, and of nothing but minus
infinities makes the least float32. So the data are looked through, for a hundredth of a network's
time, and where something is not finite NumPy's maxima, which let it show, replace oneDNN's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ctypes import c_int
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.pooling import clipped, indices
from eddl.backends.array.threads import in_turn
from eddl.backends.array.unfolding import Unfolding, Workspace
from eddl.backends.onednn.backend import OneDnnBackend, kernel
from eddl.backends.onednn.convolution import straight
from eddl.backends.onednn.elementwise import flattened
from eddl.backends.onednn.handles import channels_last, describe, longs, single
from eddl.backends.onednn.kernels import Attributes, Kernel, attributes
from eddl.backends.onednn.library import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    ELTWISE_LINEAR,
    FORWARD_INFERENCE,
    FORWARD_TRAINING,
    POOLING_AVERAGE_ALL,
    POOLING_MAX,
    SRC,
    WORKSPACE,
    Refused,
)
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Thunk
from eddl.graph import Node, Type
from eddl.ops.pooling import windows_of

Array = np.ndarray[Any, Any]
FEW = 1 << 15
"""Elements below which NumPy looks through them as fast as several threads."""


def _geometry(node: Node, large: Type) -> list[Any]:
    if not 3 <= large.rank <= 5:
        raise Refused(f"{large.rank} axes")
    windows = windows_of(node)
    if min((*windows.before, *windows.after)) < 0:
        raise Refused("negative paddings")
    return [
        longs(windows.strides),
        longs(windows.kernel),
        longs([d - 1 for d in windows.dilations]),
        longs(windows.before),
        longs(windows.after),
    ]


def _forward(backend: OneDnnBackend, node: Node, large: Type, small: Type) -> Kernel:
    if math.prod(windows_of(node).kernel) > 255:
        raise Refused("a position in the window that takes more than a byte")
    source, target = backend.describe(large), backend.describe(small)
    made = Kernel(
        backend.library, "pooling_forward", backend.library.engine, FORWARD_TRAINING, POOLING_MAX,
        source, target, *_geometry(node, large), attributes(backend.library),
    )  # fmt: skip
    chosen = describe(backend.library, small.sizes, channels_last(small.sizes), "uint8")
    if made.descriptor(WORKSPACE) != chosen:
        raise Refused("positions that are not one byte each, channels last")
    return made


class Look:
    """Says whether all elements are finite; rarely it denies it of large ones.

    `need` is the memory in bytes for the means of the rows, which oneDNN's threads compute of many
    float32: a mean is not finite where an element is not.
    """

    def __init__(self, backend: OneDnnBackend, type: Type) -> None:
        self._threads = backend.threads
        self._means: Kernel | None = None
        self.need = 0
        if type.dtype != np.float32 or type.count <= FEW:
            return
        *others, size = type.sizes
        space, means = [1] * (type.rank - 3), Type(type.dtype, (*others, 1))
        ends = backend.describe(type), backend.describe(means)
        rows, none = longs([*space, size]), longs([0] * (type.rank - 2))
        try:
            self._means = Kernel(
                backend.library, "pooling_forward", backend.library.engine, FORWARD_INFERENCE,
                POOLING_AVERAGE_ALL, *ends, rows, rows, none, none, none,
                attributes(backend.library),
            )  # fmt: skip
        except Refused:
            return
        self._ends, self._count = ends, means.count
        self.need = -(-means.nbytes // 64) * 64 + self._means.scratch

    def bind(self, x: Array, workspace: Any) -> Callable[[], bool]:
        """The call for an array with its channels last."""
        elements = flattened(x)
        if self._means is not None:
            source, target = self._ends
            means = workspace[: self._count * 4].view(np.float32)
            scratch = workspace[-(-means.nbytes // 64) * 64 :] if self._means.scratch else None
            run = self._means.bind({SRC: (source, x), DST: (target, means)}, scratch)

            def look() -> bool:
                run()
                return bool(np.isfinite(np.dot(means, means)))

            return look
        if elements.dtype == np.float32:
            return lambda: bool(np.isfinite(np.dot(elements, elements)))
        return self._halves(elements)

    def _halves(self, elements: Array) -> Callable[[], bool]:
        """Of bfloat16: as integers the greatest of either sign are those that are not finite."""
        few = elements.size <= FEW
        parts = [(0, elements.size)] if few else self._threads.split(elements.size)
        found = [True] * len(parts)

        def look(number: int, part: Array) -> None:
            below = part.view(np.int16).max() < INFINITY
            found[number] = bool(below and part.view(np.uint16).max() < SIGN | INFINITY)

        tasks = [partial(look, i, elements[a:b]) for i, (a, b) in enumerate(parts)]

        def run() -> bool:
            self._threads.run(tasks)
            return all(found)

        return run


SIGN, INFINITY = 0x8000, 0x7F80
"""The bits of bfloat16."""


def _greatest(node: Node, x: Array, result: Array) -> None:
    """The greatest element of each window, by NumPy."""
    result.fill(-np.inf)
    for pooled, whole in clipped(Unfolding.of(windows_of(node)), x.shape[2:]):
        np.maximum(result[pooled], x[whole], out=result[pooled])


@kernel("MaxPool")
def max_pool(backend: OneDnnBackend, node: Node) -> Offer | None:
    """The greatest element of each window, its position there and its index in the input."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    made = _forward(backend, node, x.type, y.type)
    source, target = backend.describe(x.type), backend.describe(y.type)
    places, positions = made.descriptor(WORKSPACE), -(-y.type.count // 64) * 64
    look = Look(backend, x.type)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        chosen = outputs[2]
        if chosen is None:
            chosen = backend.view(workspace, 0, node.outputs[2].type, CHANNELS_LAST)
        data, result = straight(inputs[0]), outputs[0]
        pool = made.bind(
            {SRC: (source, data), DST: (target, result), WORKSPACE: (places, chosen)},
            workspace[positions:] if made.scratch else None,
        )
        finite = look.bind(data, workspace[positions:] if look.need else None)

        def run() -> None:
            pool()
            if not finite():
                _greatest(node, data, result)

        if outputs[1] is None:
            return run
        find = indices(node, chosen, outputs[1])
        return in_turn([run, find])

    chosen = Arrangement((CHANNELS_LAST,), (CHANNELS_LAST, PLAIN, CHANNELS_LAST))
    return Offer(
        made.implementation,
        bind,
        workspace=positions + max(made.scratch, look.need),
        optional=frozenset({1, 2}),
        arrangements=(chosen,),
    )


@kernel("MaxPoolGrad", domain="eddl")
def max_pool_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """Each window's gradient goes to the element it chose."""
    dy, chosen, dx = *node.inputs, node.outputs[0]
    assert dy is not None and chosen is not None
    if chosen.dtype != np.uint8:
        raise Refused("positions of more than a byte")
    hint = _forward(backend, node, dx.type, dy.type)
    large, small = backend.describe(dx.type), backend.describe(dy.type)
    made = Kernel(
        backend.library, "pooling_backward", backend.library.engine, POOLING_MAX, large,
        small, *_geometry(node, dx.type), hint, attributes(backend.library),
    )  # fmt: skip
    places = made.descriptor(WORKSPACE)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind(
            {DIFF_DST: (small, straight(inputs[0])), WORKSPACE: (places, straight(inputs[1])),
             DIFF_SRC: (large, outputs[0])},
            workspace,
        )  # fmt: skip

    layouts = Arrangement((CHANNELS_LAST, CHANNELS_LAST), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(layouts,))


def _average(
    backend: OneDnnBackend, node: Node, large: Type, small: Type, attribute: Attributes
) -> Kernel:
    """Averages over whole windows, paddings counted: a sum but for a factor."""
    return Kernel(
        backend.library, "pooling_forward", backend.library.engine, FORWARD_TRAINING,
        POOLING_AVERAGE_ALL, backend.describe(large), backend.describe(small),
        *_geometry(node, large), attribute,
    )  # fmt: skip


def _count(node: Node) -> list[Any]:
    """A line through 0 whose slope is the number of a window's elements, for oneDNN."""
    return [c_int(ELTWISE_LINEAR), single(math.prod(windows_of(node).kernel)), single(0.0)]


@kernel("SumPool", domain="eddl")
def sum_pool(backend: OneDnnBackend, node: Node) -> Offer:
    """The sum of each window: its average, multiplied in the same pass."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    source, target = backend.describe(x.type), backend.describe(y.type)
    library, line = backend.library, _count(node)
    multiply = attributes(library, lambda o: o.append("eltwise", *line))
    made = _average(backend, node, x.type, y.type, multiply)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind({SRC: (source, straight(inputs[0])), DST: (target, outputs[0])}, workspace)

    chosen = Arrangement((CHANNELS_LAST,), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


@kernel("SumPoolGrad", domain="eddl")
def sum_pool_grad(backend: OneDnnBackend, node: Node) -> Offer:
    """Each element takes the gradients of the windows it is in; these are multiplied before."""
    dy, dx = node.inputs[0], node.outputs[0]
    assert dy is not None
    large, small = backend.describe(dx.type), backend.describe(dy.type)
    library = backend.library
    hint = _average(backend, node, dx.type, dy.type, attributes(library))
    made = Kernel(
        library, "pooling_backward", library.engine, POOLING_AVERAGE_ALL, large,
        small, *_geometry(node, dx.type), hint, attributes(library),
    )  # fmt: skip
    kind, *numbers = _count(node)
    multiply = Kernel(library, "eltwise_forward", library.engine, FORWARD_INFERENCE, kind, small,
                      small, *numbers, attributes(library))  # fmt: skip
    need = Workspace()

    def plan(space: Workspace) -> tuple[Any, Any]:
        scratch = space.take((max(made.scratch, multiply.scratch),), np.uint8)
        return space.take((dy.type.nbytes,), np.uint8), scratch

    plan(need)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        scaled, scratch = plan(Workspace(workspace))
        return in_turn([
            multiply.bind({SRC: (small, straight(inputs[0])), DST: (small, scaled)}, scratch),
            made.bind({DIFF_DST: (small, scaled), DIFF_SRC: (large, outputs[0])}, scratch),
        ])  # fmt: skip

    chosen = Arrangement((CHANNELS_LAST,), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=need.used, arrangements=(chosen,))
