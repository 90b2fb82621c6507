"""Convolutions of one to three spatial axes, their transposes and the gradients of the weights.

ONNX's transposed convolution is the gradient of a convolution by its data, with the same weights;
with a bias it is oneDNN's deconvolution, whose weights have their channels the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from eddl.backends.array.threads import in_turn
from eddl.backends.onednn import tiled
from eddl.backends.onednn.backend import CHAINS, OneDnnBackend, Packing, kernel, packed
from eddl.backends.onednn.handles import Descriptor, describe, longs, row_major, single
from eddl.backends.onednn.kernels import Attributes, Kernel, Operations, attributes, rectified
from eddl.backends.onednn.library import (
    AFTERWARDS,
    BIAS,
    CONVOLUTION_DIRECT,
    DECONVOLUTION_DIRECT,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Refused,
)
from eddl.compiler.keep import is_kept
from eddl.compiler.protocol import CHANNELS_LAST, PLAIN, Arrangement, Offer, Pattern, Thunk
from eddl.graph import Node, Type, Value
from eddl.ops.convolution import windows_of
from eddl.ops.windows import Windows


def geometry(windows: Windows) -> list[Any]:
    """Strides, dilations (counted from 0) and paddings, as oneDNN takes them; one position is not
    dilated, which ends some of its versions."""
    if min((*windows.before, *windows.after)) < 0:
        raise Refused("negative paddings")
    kernels = zip(windows.kernel, windows.dilations, strict=True)
    return [
        longs(windows.strides),
        longs([d - 1 if k > 1 else 0 for k, d in kernels]),
        longs(windows.before),
        longs(windows.after),
    ]


def weights(
    backend: OneDnnBackend, type: Type, group: int, *, turned: bool = False
) -> tuple[Descriptor, Descriptor]:
    """Weights in ONNX's order, and wherever oneDNN wants them; `turned` swaps their channels."""
    first, second, *kernel_sizes = type.sizes
    dims = [group, first // group, second, *kernel_sizes]
    strides = row_major(dims)
    if turned:
        dims[1:3] = dims[2:0:-1]
        strides[1:3] = strides[2:0:-1]
    if group == 1:
        dims, strides = dims[1:], strides[1:]
    here, kind = backend.library, type.dtype.name
    return describe(here, dims, strides, kind), describe(here, dims, None, kind)


def _values(node: Node) -> tuple[Value, Value, Value | None]:
    first, second, bias = (*node.inputs, None)[:3]
    assert first is not None and second is not None
    if not 3 <= first.rank <= 5:
        raise Refused(f"{first.rank} axes")
    return first, second, bias


def _plain_vector(backend: OneDnnBackend, value: Value | None) -> Descriptor | None:
    return None if value is None else backend.describe(value.type, PLAIN)


@kernel("Conv")
def conv(backend: OneDnnBackend, node: Node, *rest: Node) -> Offer:
    """The forward convolution; `rest` is what follows in the same pass."""
    x, w, bias = _values(node)
    tiled = _tiled(backend, node, "forward", w.type.sizes, rest)
    if tiled is not None:
        return tiled
    if x.dtype != np.float32 and _leaves_gaps(windows_of(node)):
        raise Refused("a convolution that oneDNN 3.2 computes wrongly in halves")
    plain, wanted = weights(backend, w.type, node.attributes["group"])
    source, target = backend.describe(x.type), backend.describe(node.outputs[0].type)
    shift = _plain_vector(backend, bias)
    made = _with(rest, backend, lambda attribute: Kernel(
        backend.library, "convolution_forward", backend.library.engine, FORWARD_TRAINING,
        CONVOLUTION_DIRECT, source, wanted,
        shift, target,
        *geometry(windows_of(node)), attribute,
    ))  # fmt: skip
    return _offer(node, made, Packing(made.descriptor(WEIGHTS, plain.dims), plain),
                  {SRC: source, WEIGHTS: None, BIAS: shift, DST: target}, rest)  # fmt: skip


def _tiled(
    backend: OneDnnBackend, node: Node, kind: str, sizes: Sequence[int], rest: Sequence[Node] = ()
) -> Offer | None:
    """The offer of a convolution with fewer products, where it is the faster one."""
    x, other, _ = _values(node)
    made = (other if kind == "weights" else node.outputs[0]).type
    if node.attributes["group"] != 1 or {x.dtype, other.dtype} != {np.dtype(np.float32)}:
        return None
    samples, _, *space = x.type.sizes
    followers = [*(["Bias"] if len(node.inputs) > 2 else []), *(n.op for n in rest)]
    try:
        slopes = sum(math.prod(_slopes(follower)) for follower in rest if follower.op == "PRelu")
        return tiled.offer(backend, windows_of(node), samples, kind, space, made.sizes[2:],
                           sizes, followers, slopes=slopes, kept=is_kept(other))  # fmt: skip
    except Refused:
        return None


def _with(
    rest: Sequence[Node], backend: OneDnnBackend, make: Callable[[Attributes], Kernel]
) -> Kernel:
    """The kernel with what follows in the same pass."""
    if not rest:
        return make(attributes(backend.library))

    def append(rectify: Callable[[Operations, int], None], operations: Operations) -> None:
        for node in rest:
            if node.op == "Add":
                operations.append("sum", single(1.0), 0, 0)
            elif node.op == "PRelu":
                operations.slope(_slopes(node))
            else:
                rectify(operations, node.outputs[0].rank)

    return rectified(lambda way: make(attributes(backend.library, partial(append, way))))


def _slopes(node: Node) -> list[int]:
    """The sizes of a PRelu's slopes, one or a channel, with as many axes as its result."""
    slope, y = node.inputs[1], node.outputs[0]
    assert slope is not None
    sizes = [1] * (y.rank - slope.rank) + list(slope.type.sizes)
    if math.prod(sizes) not in (1, sizes[1]):
        raise Refused("slopes that differ in space")
    return sizes


def _hint(
    backend: OneDnnBackend, small: Descriptor, large: Descriptor, windows: Windows, w: Descriptor
) -> Kernel:
    """The forward convolution that a gradient belongs to."""
    return Kernel(
        backend.library, "convolution_forward", backend.library.engine, FORWARD_TRAINING,
        CONVOLUTION_DIRECT, large, w, None, small, *geometry(windows),
        attributes(backend.library), slow=True,
    )  # fmt: skip


@kernel("ConvTranspose")
def conv_transpose(backend: OneDnnBackend, node: Node, *rest: Node) -> Offer:
    """The gradient of a convolution by its data, or the deconvolution where there is a bias or
    something follows in the same pass."""
    x, w, bias = _values(node)
    tiled = _tiled(backend, node, "data", w.type.sizes, rest)
    if tiled is not None:
        return tiled
    library, windows, group = backend.library, windows_of(node), node.attributes["group"]
    source, target = backend.describe(x.type), backend.describe(node.outputs[0].type)
    if bias is not None or rest:
        plain, wanted = weights(backend, w.type, group, turned=True)
        shift = _plain_vector(backend, bias)
        made = _with(rest, backend, lambda attribute: Kernel(
            library, "deconvolution_forward", library.engine, FORWARD_TRAINING,
            DECONVOLUTION_DIRECT, source, wanted, shift, target,
            *geometry(windows), attribute,
        ))  # fmt: skip
        if rest and made.implementation.startswith("conv:"):
            raise Refused(f"what follows {made.implementation} would be a pass of its own, scalar")
        return _offer(node, made, Packing(made.descriptor(WEIGHTS, plain.dims), plain),
                      {SRC: source, WEIGHTS: None, BIAS: shift, DST: target}, rest)  # fmt: skip
    plain, wanted = weights(backend, w.type, group)
    hint = _hint(backend, source, target, windows, wanted)
    made = Kernel(
        library, "convolution_backward_data", library.engine, CONVOLUTION_DIRECT, target,
        wanted, source, *geometry(windows), hint, attributes(library),
    )  # fmt: skip
    return _offer(node, made, Packing(made.descriptor(WEIGHTS, plain.dims), plain),
                  {DIFF_DST: source, WEIGHTS: None, DIFF_SRC: target})  # fmt: skip


FOLLOWERS = (("Add", "Relu"), ("Add", "PRelu"), ("Add",), ("Relu",), ("PRelu",))
"""What a convolution does to its result before it stores it."""


def _chains(
    make: Callable[..., Offer | None], backend: OneDnnBackend, node: Node
) -> Sequence[Pattern]:
    def offer(nodes: Sequence[Node]) -> Offer | None:
        made = nodes[0].outputs[0]
        for follower in nodes[1:]:
            values = [v for v in follower.inputs[: 1 + (follower.op == "Add")] if v is not None]
            if any(v.type != made.type for v in values) or values.count(made) > 1:
                return None
        try:
            return make(backend, *nodes)
        except Refused:
            return None

    return [Pattern((node.op, *rest), offer) for rest in FOLLOWERS]


CHAINS["", "Conv"] = partial(_chains, conv)
CHAINS["", "ConvTranspose"] = partial(_chains, conv_transpose)


@kernel("ConvWeightGrad", domain="eddl")
def conv_weight_grad(backend: OneDnnBackend, node: Node, cast: Node | None = None) -> Offer:
    """The gradient of a convolution by its weights; what `cast` makes of it need not be rounded
    before."""
    x, dy, _ = _values(node)
    tiled = _tiled(backend, node, "weights", node.outputs[0].type.sizes)
    if tiled is not None:
        return tiled
    library, windows = backend.library, windows_of(node)
    if x.dtype != np.float32 and _sees_padding_alone(windows, x.type.sizes[2:]):
        raise Refused("a gradient that oneDNN 3.2 leaves undefined: its tiles skip such weights")
    result = (cast or node).outputs[0].type
    plain, wanted = weights(backend, result, node.attributes["group"])
    large, small = backend.describe(x.type), backend.describe(dy.type)
    _, alike = weights(backend, node.outputs[0].type, node.attributes["group"])
    hint = _hint(backend, small, large, windows, alike)
    attribute = attributes(library)
    made = Kernel(
        library, "convolution_backward_weights", library.engine, CONVOLUTION_DIRECT,
        large, wanted, None, small, *geometry(windows), hint,
        attribute,
    )  # fmt: skip
    packing = Packing(made.descriptor(DIFF_WEIGHTS, plain.dims), plain)

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        return made.bind(
            {
                SRC: (large, straight(inputs[0])),
                DIFF_DST: (small, straight(inputs[1])),
                DIFF_WEIGHTS: (packing.packed, outputs[0]),
            },
            workspace,
        )

    chosen = Arrangement((CHANNELS_LAST, CHANNELS_LAST), (packed(packing),))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,))


def _leaves_gaps(windows: Windows) -> bool:
    """Whether the windows of volumes, if larger than a position, leave positions between them."""
    axes = zip(windows.kernel, windows.strides, strict=True)
    return len(windows.kernel) == 3 and max(windows.kernel) > 1 and any(k < s for k, s in axes)


def _sees_padding_alone(windows: Windows, sizes: Sequence[int]) -> bool:
    """Whether some weight is multiplied by nothing but padding."""
    axes = zip(sizes, windows.kernel, windows.strides, windows.dilations, windows.before,
               windows.output, strict=True)  # fmt: skip
    return any(
        not any(0 <= tap * dilation - before + stride * i < size for i in range(int(count or 0)))
        for size, kernel, stride, dilation, before, count in axes
        for tap in range(kernel)
    )


def _cast_gradient(backend: OneDnnBackend, node: Node) -> Sequence[Pattern]:
    def offer(nodes: Sequence[Node]) -> Offer | None:
        try:
            return conv_weight_grad(backend, *nodes)
        except Refused:
            return None

    return [Pattern(("ConvWeightGrad", "Cast"), offer)]


CHAINS["eddl", "ConvWeightGrad"] = _cast_gradient


def straight(x: Any) -> Any:
    """The caller's own array may lie in any way; whatever the program holds lies as planned."""
    turned = x.transpose(0, *range(2, x.ndim), 1)
    return x if x.flags.c_contiguous or turned.flags.c_contiguous else x.copy(order="C")


def _offer(
    node: Node,
    made: Kernel,
    packing: Packing,
    arguments: dict[int, Descriptor | None],
    rest: Sequence[Node] = (),
) -> Offer:
    """The offer of a kernel with data, weights and perhaps a bias, and then what `rest` takes: a
    value to add, which is in the output's memory or copied there, and slopes."""
    whole = {number: packing.packed if d is None and number == WEIGHTS else d
             for number, d in arguments.items()}  # fmt: skip
    data, *others, result = whole
    count = len(node.inputs)
    adds = [follower.op == "Add" for follower in rest]
    slopes = {
        AFTERWARDS * (place + 1) | WEIGHTS: describe(made.library, sizes, row_major(sizes))
        for place, follower in enumerate(rest)
        if follower.op == "PRelu"
        for sizes in [_slopes(follower)]
    }

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        own, more = inputs[:count], inputs[count:]
        curves = map(np.ascontiguousarray, more[sum(adds) :])
        arrays = {data: straight(own[0]), result: outputs[0],
                  **dict(zip(others, own[1:], strict=False)),
                  **dict(zip(slopes, curves, strict=True))}  # fmt: skip
        given = {
            number: (descriptor, arrays[number])
            for number, descriptor in (*whole.items(), *slopes.items())
            if descriptor is not None
        }
        run, target = made.bind(given, workspace), outputs[0]
        if not any(adds) or more[0].ctypes.data == target.ctypes.data:
            return run
        return in_turn([lambda: np.copyto(target, more[0]), run])

    layouts = (CHANNELS_LAST, packed(packing), None)[:count]
    extra = [CHANNELS_LAST] * sum(adds) + [PLAIN] * len(slopes)
    chosen = Arrangement((*layouts, *extra), (CHANNELS_LAST,))
    return Offer(made.implementation, bind, workspace=made.scratch, arrangements=(chosen,),
                 overwrites={0: (count,)} if any(adds) else {})  # fmt: skip
