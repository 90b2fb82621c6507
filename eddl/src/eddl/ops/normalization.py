"""Batch normalization, in inference and in training form."""

from __future__ import annotations

from collections.abc import Sequence

from eddl.graph import Node, Type, Value
from eddl.ops.shapes import same
from eddl.ops.table import PRIVATE, Call, Gradients, Operator, apply, integers, register


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


def _channelwise(vector: Value, rank: int) -> Value:
    return apply("Reshape", vector, integers([1, -1, *[1] * (rank - 2)]))


def _beside_channels(rank: int) -> list[int]:
    return [axis for axis in range(rank) if axis != 1]


def _sum(value: Value) -> Value:
    return apply("ReduceSum", value, integers(_beside_channels(value.rank)), keepdims=0)


def _batch_norm_gradient(node: Node, g: Value, *_: Value | None) -> Gradients:
    x, scale, _shift, mean, variance = node.inputs
    assert x is not None and scale is not None and mean is not None and variance is not None
    if node.attributes["training_mode"]:
        return (*_grads(x, scale, node.outputs[3], node.outputs[4], g, training=1), None, None)
    inverse = apply("Reciprocal", apply("Sqrt", variance + float(node.attributes["epsilon"])))
    dx, d_scale, d_shift = _grads(x, scale, mean, inverse, g, training=0)
    slope = scale * inverse
    return (dx, d_scale, d_shift, -d_shift * slope, -0.5 * d_scale * slope * inverse)


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
    standard = (x - _channelwise(mean, x.rank)) * _channelwise(inverse, x.rank)
    d_scale, d_shift = _sum(g * standard), _sum(g)
    if node.attributes["training_mode"]:
        share = x.type.sizes[1] / x.type.count
        g = g - (
            _channelwise(d_shift * share, x.rank) + standard * _channelwise(d_scale * share, x.rank)
        )
    return [g * _channelwise(scale * inverse, x.rank), d_scale, d_shift]


register(
    Operator(
        name="BatchNormalization",
        inputs=("X", "scale", "B", "input_mean", "input_var"),
        outputs=3,
        infer=_batch_norm,
        gradient=_batch_norm_gradient,
        attributes={"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0},
        since=15,
        float32=True,
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
