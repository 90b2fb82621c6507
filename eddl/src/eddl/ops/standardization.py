"""Normalizations within a sample: of instances, groups and layers.

A forward operator keeps its means and 1 / deviations for a kernel of the gradient; bodies compute
them anew from the data, so that second derivatives see all that depends on it. Statistics are
computed in float32 at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Dim, Node, Type, Value
from eddl.ops.normalization import channelwise, narrowed, widened
from eddl.ops.shapes import positive_axis, same, sum_to
from eddl.ops.table import (
    PRIVATE,
    REQUIRED,
    Call,
    Gradients,
    Operator,
    apply,
    integers,
    make_node,
    register,
)


def _standardized(x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
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
    y = standard * channelwise(narrowed(scale, standard.dtype), rank)
    return narrowed(y + channelwise(narrowed(bias, standard.dtype), rank), dtype)


def _instance_norm(call: Call) -> list[Type]:
    """Y and (saved) the means and 1 / deviations, [N, C, 1...]."""
    (y,) = _channels(call)
    return [y, *_statistics(y, [*y.shape[:2], *[1] * (y.rank - 2)])]


def _statistics(x: Type, shape: Sequence[Dim]) -> list[Type]:
    wide = x.dtype if x.dtype == np.float64 else np.dtype("float32")
    return [Type(wide, shape)] * 2


def _instance_norm_body(node: Node) -> Sequence[Value]:
    x, scale, bias = node.inputs
    assert x is not None
    standard, *kept = _standardized(widened(x), range(2, x.rank), node.attributes["epsilon"])
    return [_scaled(standard, scale, bias, x.dtype), *kept]


def _channels_gradient(node: Node, g: Value, *_: Value | None) -> Gradients:
    return make_node(f"{node.op}Grad", *node.inputs[:2], *node.outputs[1:3], g, domain=PRIVATE,
                     **node.attributes).outputs  # fmt: skip


def _group_norm(call: Call) -> list[Type]:
    x, groups = call.type(0), call.attributes["num_groups"]
    channels = x.shape[1] if x.rank > 1 else None
    if groups < 1 or (isinstance(channels, int) and channels % groups):
        raise call.fail(f"channels that num_groups divides; received {groups}")
    (y,) = _channels(call)
    return [y, *_statistics(y, [y.shape[0], groups, 1])]


def _group_norm_body(node: Node) -> Sequence[Value]:
    """Each group of channels of a sample as one line."""
    x, scale, bias = node.inputs
    assert x is not None
    sizes = x.type.sizes
    lines = apply("Reshape", widened(x), integers([sizes[0], node.attributes["num_groups"], -1]))
    standard, *kept = _standardized(lines, [2], node.attributes["epsilon"])
    return [_scaled(apply("Reshape", standard, integers(sizes)), scale, bias, x.dtype), *kept]


def _group_norm_gradient(node: Node, g: Value, *_: Value | None) -> Gradients:
    own = {key: node.attributes[key] for key in ("epsilon", "num_groups")}
    return make_node("GroupNormalizationGrad", *node.inputs[:2], *node.outputs[1:3], g,
                     domain=PRIVATE, **own).outputs  # fmt: skip


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
    standard, mean, inverse = _standardized(widened(x), axes, node.attributes["epsilon"])
    y = narrowed(standard, x.dtype) * scale
    kind = node.outputs[1].dtype
    return [y if bias is None else y + bias, narrowed(mean, kind), narrowed(inverse, kind)]


def _layer_norm_gradient(node: Node, g: Value | None, *flows: Value | None) -> Gradients:
    x, *vectors = node.inputs
    assert x is not None
    axis = node.attributes["axis"]
    found: Gradients = [None] * 3
    if g is not None:
        found = make_node("LayerNormalizationGrad", x, vectors[0], *node.outputs[1:3], g,
                          domain=PRIVATE, axis=axis,
                          epsilon=node.attributes["epsilon"]).outputs  # fmt: skip
    dx = _through_statistics(node, found[0], range(axis % x.rank, x.rank), flows)
    scale, bias = (*vectors, None)[:2]
    assert scale is not None
    d_bias = found[2]
    if g is not None and bias is not None and bias.shape != scale.shape:
        d_bias = sum_to(g, bias)
    return [dx, found[1], d_bias][: len(node.inputs)]


def _types(call: Call) -> list[Type]:
    if call.type(4) != call.type(0):
        raise call.fail("a gradient of X's type")
    return [call.type(0), call.type(1), call.type(1)]


def _values(node: Node) -> tuple[Value, Value, Value]:
    x, scale, _mean, _inverse, g = node.inputs
    assert x is not None and scale is not None and g is not None
    return x, scale, g


def _back(lines: Value, flow: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value]:
    """The standardized lines, and the gradient of what they were made of. Source: as that of batch
    normalization, Ioffe and Szegedy 2015, section 3, over other axes."""
    standard, _, inverse = _standardized(lines, axes, epsilon)
    along = integers(axes)
    mean = apply("ReduceMean", flow, along, keepdims=1)
    product = apply("ReduceMean", flow * standard, along, keepdims=1)
    return standard, (flow - mean - standard * product) * inverse


def _channel_gradients(node: Node, lines_of: Sequence[int], axes: Sequence[int]) -> Sequence[Value]:
    """The gradients where each channel has a scale and a shift."""
    x, scale, g = _values(node)
    flow, factor = widened(g), channelwise(widened(scale), x.rank)
    shape, sizes = integers(lines_of), integers(x.type.sizes)
    lines, scaled = (apply("Reshape", v, shape) for v in (widened(x), flow * factor))
    standard, dx = _back(lines, scaled, axes, node.attributes["epsilon"])
    beside = integers([axis for axis in range(x.rank) if axis != 1])
    products = flow * apply("Reshape", standard, sizes)
    sums = (apply("ReduceSum", v, beside, keepdims=0) for v in (products, flow))
    return [narrowed(apply("Reshape", dx, sizes), x.dtype),
            *(narrowed(v, scale.dtype) for v in sums)]  # fmt: skip


def _instance_body(node: Node) -> Sequence[Value]:
    x, *_ = _values(node)
    return _channel_gradients(node, x.type.sizes, range(2, x.rank))


def _group_body(node: Node) -> Sequence[Value]:
    x, *_ = _values(node)
    return _channel_gradients(node, [x.type.sizes[0], node.attributes["num_groups"], -1], [2])


def _layer_body(node: Node) -> Sequence[Value]:
    x, scale, g = _values(node)
    flow = widened(g)
    axes = range(node.attributes["axis"] % x.rank, x.rank)
    standard, dx = _back(widened(x), flow * widened(scale), axes, node.attributes["epsilon"])
    sums = (sum_to(v, scale) for v in (flow * standard, flow))
    return [narrowed(dx, x.dtype), *(narrowed(v, scale.dtype) for v in sums)]


def _through_statistics(
    node: Node, own: Value | None, axes: Sequence[int], flows: Sequence[Value | None]
) -> Value | None:
    """The gradient of the data with what flows into the means and the 1 / deviations, which have
    the data's rank."""
    x, (mean, inverse) = node.inputs[0], node.outputs[1:3]
    assert x is not None
    share = 1.0 / math.prod(x.type.sizes[axis] for axis in axes)
    to_mean, to_inverse = (None if f is None else narrowed(f, x.dtype) for f in flows)
    parts = [] if own is None else [own]
    if to_mean is not None:
        parts.append(apply("Expand", to_mean * share, integers(x.type.sizes)))
    if to_inverse is not None:
        cube = narrowed(inverse * inverse * inverse, x.dtype)
        parts.append((narrowed(mean, x.dtype) - x) * (to_inverse * cube * share))
    total = parts[0] if parts else None
    for part in parts[1:]:
        assert total is not None
        total = total + part
    return total


register(
    Operator(
        name="InstanceNormalization",
        inputs=("input", "scale", "B"),
        infer=_instance_norm,
        body=_instance_norm_body,
        gradient=_channels_gradient,
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
        gradient=_group_norm_gradient,
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
        gradient=_layer_norm_gradient,
        any_output=True,
        attributes={"axis": -1, "epsilon": 1e-5, "stash_type": 1},
        since=17,
        float32=True,
    )
)
for name, body, attributes in (
    ("InstanceNormalizationGrad", _instance_body, {}),
    ("GroupNormalizationGrad", _group_body, {"num_groups": REQUIRED}),
    ("LayerNormalizationGrad", _layer_body, {"axis": -1}),
):
    register(
        Operator(
            name=name,
            domain=PRIVATE,
            inputs=("X", "scale", "mean", "inverse_deviation", "dY"),
            outputs=3,
            infer=_types,
            body=body,
            attributes={"epsilon": 1e-5, **attributes},
            float32=True,
        )
    )
