"""Normalizations: over the batch, over layers, groups and instances, and over near channels.

Statistics are computed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Node, Type, Value
from eddl.ops.shapes import positive_axis, same
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


def _channelwise(vector: Value, rank: int) -> Value:
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
        dx = both(
            dx, apply("Expand", _channelwise(to_mean * share, x.rank), integers(x.type.sizes))
        )
    if to_variance is not None:
        slope = _channelwise(to_variance * (2 * share), x.rank)
        dx = both(dx, (x - _channelwise(mean, x.rank)) * slope)
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
    standard = (x - _channelwise(mean, x.rank)) * _channelwise(inverse, x.rank)
    d_scale, d_shift = _sum(g * standard), _sum(g)
    if node.attributes["training_mode"]:
        share = x.type.sizes[1] / x.type.count
        g = g - (
            _channelwise(d_shift * share, x.rank) + standard * _channelwise(d_scale * share, x.rank)
        )
    return [g * _channelwise(scale * inverse, x.rank), d_scale, d_shift]


def _without_spatial(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 9 statistics could be kept for each position, by spatial=0."""
    if attributes.pop("spatial", 1) != 1:
        raise AttributeValueError("BatchNormalization: received spatial=0, expected 1")
    return attributes, inputs


_without_spatial.reads = ("spatial",)  # type: ignore[attr-defined]


def _wide(x: Value) -> Value:
    """In float32, unless it is float64."""
    return x if x.dtype in (np.float32, np.float64) else apply("Cast", x, to=np.dtype("float32"))


def _narrow(x: Value, dtype: Any) -> Value:
    return x if x.dtype == dtype else apply("Cast", x, to=np.dtype(dtype))


def _standard(x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
    """Elements less their mean over their deviation, that mean, and 1 / deviation."""
    mean = apply("ReduceMean", x, integers(axes), keepdims=1)
    centered = x - mean
    variance = apply("ReduceMean", centered * centered, integers(axes), keepdims=1)
    inverse = apply("Reciprocal", apply("Sqrt", variance + float(epsilon)))
    return centered * inverse, mean, inverse


def _channels(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 3:
        raise call.fail("an input of at least 3 axes: N, C and space")
    for i in (1, 2):
        if call.type(i).rank != 1:
            raise call.fail("scale and bias of one axis")
        same(call, x.shape[1], call.type(i).shape[0], what="one scale and bias a channel")
    return [x]


def _scaled(standard: Value, scale: Value | None, bias: Value | None, dtype: Any) -> Value:
    assert scale is not None and bias is not None
    rank = standard.rank
    y = standard * _channelwise(_narrow(scale, standard.dtype), rank)
    return _narrow(y + _channelwise(_narrow(bias, standard.dtype), rank), dtype)


def _instance_norm_body(node: Node) -> Sequence[Value]:
    x, scale, bias = node.inputs
    assert x is not None
    standard, *_ = _standard(_wide(x), range(2, x.rank), node.attributes["epsilon"])
    return [_scaled(standard, scale, bias, x.dtype)]


def _group_norm(call: Call) -> list[Type]:
    x, groups = call.type(0), call.attributes["num_groups"]
    channels = x.shape[1] if x.rank > 1 else None
    if groups < 1 or (isinstance(channels, int) and channels % groups):
        raise call.fail(f"channels that num_groups divides; received {groups}")
    return _channels(call)


def _group_norm_body(node: Node) -> Sequence[Value]:
    """Each group of channels of a sample as one line."""
    x, scale, bias = node.inputs
    assert x is not None
    sizes = x.type.sizes
    lines = apply("Reshape", _wide(x), integers([sizes[0], node.attributes["num_groups"], -1]))
    standard, *_ = _standard(lines, [2], node.attributes["epsilon"])
    return [_scaled(apply("Reshape", standard, integers(sizes)), scale, bias, x.dtype)]


def _per_channel(attributes: dict[str, Any], inputs: list[Value | None]) -> Any:
    """Before opset 21 there was a scale and a bias for each group, not for each channel."""
    x, *vectors = inputs
    groups = attributes["num_groups"]
    if x is None or not isinstance(x.shape[1], int):
        raise AttributeValueError(
            "GroupNormalization of opset 18: received a number of channels that is not known, "
            "expected X with a known one"
        )
    each = x.shape[1] // groups
    spread = []
    for vector in vectors:
        column = apply("Reshape", vector, integers([groups, 1]))
        spread.append(
            apply("Reshape", apply("Expand", column, integers([groups, each])), integers([-1]))
        )
    return attributes, [x, *spread]


_STASH: dict[int, str] = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}


def _layer_norm(call: Call) -> list[Type]:
    """Y and, in the type of `stash_type`, Mean and InvStdDev."""
    x, stash = call.type(0), call.attributes["stash_type"]
    axis = positive_axis(call, call.attributes["axis"], x.rank)
    if stash not in _STASH:
        raise call.fail(f"stash_type to be one of {sorted(_STASH)}; received {stash}")
    kept = [*x.shape[:axis], *[1] * (x.rank - axis)]
    statistics = Type(_STASH[stash], kept)
    return [x, statistics, statistics]


def _layer_norm_body(node: Node) -> Sequence[Value]:
    """Source: Ba, Kiros and Hinton 2016, equation 3, over the axes from `axis` on."""
    x, scale, bias = (*node.inputs, None)[:3]
    assert x is not None and scale is not None
    axes = range(node.attributes["axis"] % x.rank, x.rank)
    standard, mean, inverse = _standard(_wide(x), axes, node.attributes["epsilon"])
    y = _narrow(standard, x.dtype) * scale
    kind = node.outputs[1].dtype
    return [y if bias is None else y + bias, _narrow(mean, kind), _narrow(inverse, kind)]


def _lrn(call: Call) -> list[Type]:
    x = call.type(0)
    if x.rank < 2 or call.attributes["size"] < 1:
        raise call.fail("X of at least 2 axes and size of at least 1")
    return [x]


def _lrn_body(node: Node) -> Sequence[Value]:
    """Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3, with alpha / size."""
    given = node.inputs[0]
    assert given is not None
    x, size = _wide(given), node.attributes["size"]
    n, c, *space = x.type.sizes
    planes = apply("Reshape", x * x, integers([n, 1, c, int(np.prod(space))]), allowzero=1)
    near = apply("SumPool", planes, domain=PRIVATE, kernel_shape=(size, 1),
                 pads=((size - 1) // 2, 0, size // 2, 0))  # fmt: skip
    total = apply("Reshape", near, integers(x.type.sizes), allowzero=1)
    base = total * float(node.attributes["alpha"] / size) + float(node.attributes["bias"])
    return [_narrow(x / base ** float(node.attributes["beta"]), given.dtype)]


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
        name="InstanceNormalization",
        inputs=("input", "scale", "B"),
        infer=_channels,
        body=_instance_norm_body,
        attributes={"epsilon": 1e-5},
        since=6,
        float32=True,
    )
)
register(
    Operator(
        name="GroupNormalization",
        inputs=("X", "scale", "bias"),
        infer=_group_norm,
        body=_group_norm_body,
        attributes={"epsilon": 1e-5, "num_groups": REQUIRED, "stash_type": 1},
        since=21,
        float32=True,
        upgrades={21: _per_channel},
    )
)
register(
    Operator(
        name="LayerNormalization",
        inputs=("X", "Scale", "B?"),
        outputs=3,
        infer=_layer_norm,
        body=_layer_norm_body,
        attributes={"axis": -1, "epsilon": 1e-5, "stash_type": 1},
        since=17,
        float32=True,
    )
)
register(
    Operator(
        name="LRN",
        inputs=("X",),
        infer=_lrn,
        body=_lrn_body,
        attributes={"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": REQUIRED},
        since=13,
        float32=True,
    )
)
