"""Convolutions of any spatial rank, their transposes and the gradient of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eddl.graph import Dim, Node, Type, Value
from eddl.ops.shapes import same
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, integers, register
from eddl.ops.windows import Windows, check_windows, over, transposed

_WINDOWS: dict[str, Any] = {
    "auto_pad": "NOTSET",
    "dilations": (),
    "group": 1,
    "kernel_shape": (),
    "pads": (),
    "strides": (),
}


def windows_of(node: Node) -> Windows:
    """The windows of a Conv, ConvTranspose or ConvWeightGrad node with static shapes."""
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    if node.op == "ConvWeightGrad":
        return over(node.attributes, x.type.sizes[2:], node.attributes["kernel_shape"])
    rule = transposed if node.op == "ConvTranspose" else over
    return rule(node.attributes, x.type.sizes[2:], w.type.sizes[2:])


def _kernel(call: Call) -> list[int]:
    x, w = call.type(0), call.type(1)
    if x.rank < 3 or x.rank != w.rank or x.dtype != w.dtype:
        raise call.fail("X and W of one rank (at least 3: N, C and space) and element type")
    kernel = w.shape[2:]
    given = tuple(call.attributes["kernel_shape"])
    numbers = [k for k in kernel if isinstance(k, int)]
    if len(numbers) != len(kernel) or (given and given != tuple(numbers)):
        raise call.fail(f"kernel_shape as W has it; received {given}")
    check_windows(call, x.rank - 2, numbers)
    return numbers


def _bias(call: Call, filters: Dim) -> None:
    if call.given(2):
        same(call, filters, *call.type(2).shape[:1], what="as many biases as filters")


def _checked(call: Call, sizes: Sequence[Dim]) -> Sequence[Dim]:
    if any(isinstance(size, int) and size < 1 for size in sizes):
        raise call.fail("an input at least as large as the kernel")
    return sizes


def _conv(call: Call) -> list[Type]:
    kernel = _kernel(call)
    x, w, group = call.type(0), call.type(1), call.attributes["group"]
    channels, each, filters = x.shape[1], w.shape[1], w.shape[0]
    if isinstance(channels, int) and isinstance(each, int) and channels != each * group:
        raise call.fail(f"X with W's {each} x group {group} channels")
    if isinstance(filters, int) and filters % group:
        raise call.fail(f"a number of filters that group {group} divides")
    _bias(call, filters)
    output = over(call.attributes, x.shape[2:], kernel).output
    return [x.with_shape([x.shape[0], filters, *_checked(call, output)])]


def _conv_transpose(call: Call) -> list[Type]:
    kernel = _kernel(call)
    x, w, group = call.type(0), call.type(1), call.attributes["group"]
    same(call, x.shape[1], w.shape[0], what="as many channels in X as W's first axis")
    each = w.shape[1]
    filters = each * group if isinstance(each, int) else None
    _bias(call, filters)
    output = transposed(call.attributes, x.shape[2:], kernel).output
    return [x.with_shape([x.shape[0], filters, *_checked(call, output)])]


def _weight_grad(call: Call) -> list[Type]:
    x, g = call.type(0), call.type(1)
    channels = x.shape[1]
    each = channels // call.attributes["group"] if isinstance(channels, int) else None
    return [x.with_shape([g.shape[1], each, *call.attributes["kernel_shape"]])]


def _parts(node: Node) -> tuple[Value, Value, Windows, int]:
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None
    return x, w, windows_of(node), node.attributes["group"]


def _gradients(node: Node, dx: Value, dw: Value, g: Value) -> Gradients:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return (dx, dw, None)[: len(node.inputs)]
    axes = [axis for axis in range(g.rank) if axis != 1]
    return (dx, dw, apply("ReduceSum", g, integers(axes), keepdims=0))


def _transpose_to(g: Value, w: Value, windows: Windows, group: int, sizes: Sequence[int]) -> Value:
    """The transposed convolution of `g` whose result has the spatial `sizes`."""
    shorter = transposed(windows.attributes(), g.type.sizes[2:], windows.kernel).output
    missing = tuple(size - int(have or 0) for size, have in zip(sizes, shorter, strict=True))
    attributes = windows.attributes()
    return apply("ConvTranspose", g, w, group=group, output_padding=missing, **attributes)


def _conv_gradient(node: Node, g: Value) -> Gradients:
    x, w, windows, group = _parts(node)
    dx = _transpose_to(g, w, windows, group, x.type.sizes[2:])
    dw = apply("ConvWeightGrad", x, g, domain=PRIVATE, group=group, **windows.attributes())
    return _gradients(node, dx, dw, g)


def _conv_transpose_gradient(node: Node, g: Value) -> Gradients:
    x, w, windows, group = _parts(node)
    dx = apply("Conv", g, w, group=group, **windows.attributes())
    dw = apply("ConvWeightGrad", g, x, domain=PRIVATE, group=group, **windows.attributes())
    return _gradients(node, dx, dw, g)


def _weight_grad_gradient(node: Node, gw: Value) -> Gradients:
    x, g, windows, group = _parts(node)
    dx = _transpose_to(g, gw, windows, group, x.type.sizes[2:])
    dg = apply("Conv", x, gw, group=group, **windows.attributes())
    return (dx, dg)


def _weight_grad_body(node: Node) -> Sequence[Value]:
    """A convolution over the batch: channels and batch trade places, strides and dilations too."""
    x, g, windows, group = _parts(node)
    swap = (1, 0, *range(2, x.rank))
    parts = []
    for i in range(group):
        part = apply("Conv", _turn(_channels(x, i, group), swap),
                     _turn(_channels(g, i, group), swap),
                     pads=windows.pads, strides=windows.dilations,
                     dilations=windows.strides)  # fmt: skip
        rank = len(windows.kernel)
        part = apply("Slice", part, integers([0] * rank), integers(windows.kernel),
                     integers(range(2, 2 + rank)))  # fmt: skip
        parts.append(_turn(part, swap))
    return [apply("Concat", *parts, axis=0)]


def _turn(x: Value, perm: tuple[int, ...]) -> Value:
    return apply("Transpose", x, perm=perm)


def _channels(x: Value, index: int, group: int) -> Value:
    each = x.type.sizes[1] // group
    bounds = integers([index * each]), integers([(index + 1) * each])
    return apply("Slice", x, *bounds, integers([1]))


register(
    Operator(
        name="Conv",
        inputs=("X", "W", "B?"),
        infer=_conv,
        gradient=_conv_gradient,
        attributes=_WINDOWS,
        since=11,
    )
)
register(
    Operator(
        name="ConvTranspose",
        inputs=("X", "W", "B?"),
        infer=_conv_transpose,
        gradient=_conv_transpose_gradient,
        attributes={**_WINDOWS, "output_padding": (), "output_shape": ()},
        since=11,
    )
)
register(
    Operator(
        name="ConvWeightGrad",
        domain=PRIVATE,
        inputs=("X", "dY"),
        infer=_weight_grad,
        gradient=_weight_grad_gradient,
        body=_weight_grad_body,
        attributes={**_WINDOWS, "kernel_shape": REQUIRED},
    )
)
