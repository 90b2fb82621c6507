"""Normalizations over the batch and over near channels.

Statistics are computed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Node, Type, Value
from eddl.ops.shapes import same
from eddl.ops.table import PRIVATE, REQUIRED, Call, Gradients, Operator, apply, integers, register


def _batch_norm(call: Call) -> list[Type]:
    """Y, the running mean and variance, and (saved) the batch's mean and 1 / deviation."""
    x = call.type(0)
    if x.rank < 2:
        raise call.fail("X of at least 2 axes: N and C")
    channels = [call.type(i).shape[0] if call.type(i).rank == 1 else -1 for i in range(1, 5)]
    if -1 in channels:
        raise call.fail("scale, B, input_mean and input_var of one axis")
    count = same(call, x.shape[1], *channels, what="one scale, B, mean and variance a channel")
    return [x, *(call.type(i).with_shape([count]) for i in (3, 4, 1, 1))]


def channelwise(vector: Value, rank: int) -> Value:
    """A number a channel, as it stands beside values of a rank."""
    return apply("Reshape", vector, integers([1, -1, *[1] * (rank - 2)]))


def _beside_channels(rank: int) -> list[int]:
    return [axis for axis in range(rank) if axis != 1]


def _sum(value: Value) -> Value:
    return apply("ReduceSum", value, integers(_beside_channels(value.rank)), keepdims=0)


def _batch_norm_gradient(node: Node, g: Value | None, *flows: Value | None) -> Gradients:
    x, scale, _shift, mean, variance = node.inputs
    assert x is not None and scale is not None and mean is not None and variance is not None
    if node.attributes["training_mode"]:
        own: Gradients = [None, None, None]
        if g is not None:
            own = _grads(x, scale, node.outputs[3], node.outputs[4], g, training=1)
        return with_statistics(node, own, flows)
    assert g is not None
    inverse = apply("Reciprocal", apply("Sqrt", variance + float(node.attributes["epsilon"])))
    dx, d_scale, d_shift = _grads(x, scale, mean, inverse, g, training=0)
    slope = scale * inverse
    return (dx, d_scale, d_shift, -d_shift * slope, -0.5 * d_scale * slope * inverse)


def with_statistics(node: Node, own: Gradients, flows: Sequence[Value | None]) -> Gradients:
    """The gradients of a training normalization, from `own` (those through its first output) and
    the flows into the running and the batch's statistics, which second derivatives have."""
    moved_mean, moved_variance, to_mean, to_inverse = flows[:4]
    x, (mean, inverse) = node.inputs[0], node.outputs[3:5]
    assert x is not None
    momentum = float(node.attributes["momentum"])
    share = x.type.sizes[1] / x.type.count

    def both(first: Value | None, second: Value | None) -> Value | None:
        if first is None or second is None:
            return second if first is None else first
        return first + second

    def times(flow: Value | None, factor: Value | float) -> Value | None:
        return None if flow is None else flow * factor

    to_mean = both(to_mean, times(moved_mean, 1 - momentum))
    to_variance = both(
        times(to_inverse, -0.5 * inverse * inverse * inverse), times(moved_variance, 1 - momentum)
    )
    dx = own[0]
    if to_mean is not None:
        dx = both(dx, apply("Expand", channelwise(to_mean * share, x.rank), integers(x.type.sizes)))
    if to_variance is not None:
        slope = channelwise(to_variance * (2 * share), x.rank)
        dx = both(dx, (x - channelwise(mean, x.rank)) * slope)
    return (dx, own[1], own[2], times(moved_mean, momentum), times(moved_variance, momentum))


def _grads(*inputs: Value, training: int) -> tuple[Value, ...]:
    """The three outputs of BatchNormalizationGrad."""
    first = apply("BatchNormalizationGrad", *inputs, domain=PRIVATE, training_mode=training)
    assert first.node is not None
    return first.node.outputs


def _grad(call: Call) -> list[Type]:
    return [call.type(0), call.type(1), call.type(1)]


def _grad_body(node: Node) -> Sequence[Value]:
    """Source: Ioffe and Szegedy 2015, section 3, with sums over all axes but the channels'."""
    x, scale, mean, inverse, g = node.inputs
    assert x is not None and scale is not None and mean is not None
    assert inverse is not None and g is not None
    standard = (x - channelwise(mean, x.rank)) * channelwise(inverse, x.rank)
    d_scale, d_shift = _sum(g * standard), _sum(g)
    if node.attributes["training_mode"]:
        share = x.type.sizes[1] / x.type.count
        g = g - (
            channelwise(d_shift * share, x.rank) + standard * channelwise(d_scale * share, x.rank)
        )
    return [g * channelwise(scale * inverse, x.rank), d_scale, d_shift]


def _without_spatial(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 9 statistics could be kept for each position, by spatial=0."""
    if attributes.pop("spatial", 1) != 1:
        raise AttributeValueError("BatchNormalization: received spatial=0, expected 1")
    return attributes, inputs


_without_spatial.reads = ("spatial",)  # type: ignore[attr-defined]


def widened(x: Value) -> Value:
    """In float32, unless it is float64."""
    return x if x.dtype in (np.float32, np.float64) else apply("Cast", x, to=np.dtype("float32"))


def narrowed(x: Value, dtype: Any) -> Value:
    """In a type that was widened."""
    return x if x.dtype == dtype else apply("Cast", x, to=np.dtype(dtype))


def _lrn(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 2 or call.attributes["size"] < 1:
        raise call.fail("X of at least 2 axes and size of at least 1")
    return [x]


def _near(values: Value, before: int, after: int) -> Value:
    """The sums over so many channels before and after each."""
    n, c, *space = values.type.sizes
    planes = apply("Reshape", values, integers([n, 1, c, int(np.prod(space))]), allowzero=1)
    total = apply("SumPool", planes, domain=PRIVATE, kernel_shape=(before + 1 + after, 1),
                  pads=(before, 0, after, 0))  # fmt: skip
    return apply("Reshape", total, integers(values.type.sizes), allowzero=1)


def _lrn_base(node: Node) -> tuple[Value, Value]:
    """The data, and what is raised to a power."""
    x, size = node.inputs[0], node.attributes["size"]
    assert x is not None
    wide = widened(x)
    total = _near(wide * wide, (size - 1) // 2, size // 2)
    return wide, total * float(node.attributes["alpha"] / size) + float(node.attributes["bias"])


def _lrn_body(node: Node) -> Sequence[Value]:
    """Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3, with alpha / size."""
    x, base = _lrn_base(node)
    return [narrowed(x / base ** float(node.attributes["beta"]), node.outputs[0].dtype)]


def _lrn_gradient(node: Node, g: Value) -> Gradients:
    return (apply("LRNGrad", node.inputs[0], g, domain=PRIVATE, **node.attributes),)


def _lrn_grad(call: Call) -> list[Type]:
    if call.type(1) != call.type(0):
        raise call.fail("a gradient of X's type")
    return [call.type(0)]


def _lrn_grad_body(node: Node) -> Sequence[Value]:
    """An element is in the sums of the channels for which it is near, so these are turned round."""
    x, base = _lrn_base(node)
    alpha, beta, size = (node.attributes[key] for key in ("alpha", "beta", "size"))
    assert node.inputs[1] is not None
    own = widened(node.inputs[1]) / base ** float(beta)
    others = _near(own * x / base, size // 2, (size - 1) // 2)
    return [narrowed(own - x * others * (2 * alpha * beta / size), node.outputs[0].dtype)]


register(
    Operator(
        name="BatchNormalization",
        inputs=("X", "scale", "B", "input_mean", "input_var"),
        outputs=3,
        infer=_batch_norm,
        gradient=_batch_norm_gradient,
        any_output=True,
        attributes={"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0},
        since=15,
        float32=True,
        upgrades={9: _without_spatial},
    )
)
register(
    Operator(
        name="BatchNormalizationGrad",
        domain=PRIVATE,
        inputs=("X", "scale", "mean", "inverse_deviation", "dY"),
        outputs=3,
        infer=_grad,
        body=_grad_body,
        attributes={"training_mode": 1},
        float32=True,
    )
)
register(
    Operator(
        name="LRN",
        inputs=("X",),
        infer=_lrn,
        body=_lrn_body,
        gradient=_lrn_gradient,
        attributes={"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": REQUIRED},
        since=13,
        float32=True,
    )
)
register(
    Operator(
        name="LRNGrad",
        domain=PRIVATE,
        inputs=("X", "dY"),
        infer=_lrn_grad,
        body=_lrn_grad_body,
        attributes={"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": REQUIRED},
        float32=True,
    )
)
