"""Normalizations: over the batch, a sample, groups of channels, single channels, near channels.

Statistics are computed in float32 at least.
"""

from __future__ import annotations

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Label, State, Value
from eddl.layers.build import axis_of, channels, parameter, size_of, spatial_rank, tensor
from eddl.ops.table import apply, integers


def batch_norm(
    x: Value, *, momentum: float = 0.9, epsilon: float = 1e-5, name: str | None = None
) -> Value:
    """Batch normalization: each channel to mean 0 and deviation 1, then scaled and shifted.

    In training the batch's statistics are used and the running ones move by 1 - `momentum`
    (ONNX's convention; the running variance is the population's); elsewhere the running ones are
    used. Source: Ioffe and Szegedy 2015.

    >>> import eddl
    >>> eddl.layers.batch_norm(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 32, 32)
    """
    label, shape = Label("batch_norm", name), (channels(x, "batch_norm"),)
    return apply(
        "BatchNormalization",
        x,
        *_scale_and_bias(x, shape, label),
        parameter(shape, x.dtype, "zeros", label, "mean", trainable=False),
        parameter(shape, x.dtype, "ones", label, "variance", trainable=False),
        label=label,
        momentum=float(momentum),
        epsilon=float(epsilon),
    )


def _scale_and_bias(x: Value, shape: tuple[int, ...], label: Label) -> tuple[State, State]:
    return (
        parameter(shape, x.dtype, "ones", label, "scale"),
        parameter(shape, x.dtype, "zeros", label, "bias"),
    )


def _inner(x: Value, axis: int, layer: str) -> tuple[int, tuple[int, ...]]:
    """The first axis that is normalised over, and the sizes from there on."""
    axis = axis_of(x, axis, layer)
    if axis == 0:
        raise AttributeValueError(f"{layer}: received axis 0, the batch's; expected a later one")
    return axis, tuple(size_of(x, i, layer) for i in range(axis, x.rank))


def layer_norm(
    x: Value,
    axis: int = -1,
    *,
    epsilon: float = 1e-5,
    use_bias: bool = True,
    name: str | None = None,
) -> Value:
    """Layer normalization: the axes from `axis` on to mean 0 and deviation 1, scaled and shifted.

    Parameters: `x`; `axis`, counted with the batch's, where the normalised axes begin: the last
    one alone by default, all of a sample with 1. Their sizes must be known; scale and bias have
    them. Source: Ba, Kiros and Hinton 2016.

    >>> import eddl
    >>> eddl.layers.layer_norm(eddl.Input((10, 32))).shape
    ('batch', 10, 32)
    """
    label = Label("layer_norm", name)
    axis, sizes = _inner(x, axis, "layer_norm")
    scale, bias = _scale_and_bias(x, sizes, label)
    return apply("LayerNormalization", x, scale, *((bias,) if use_bias else ()), label=label,
                 axis=axis - x.rank, epsilon=float(epsilon))  # fmt: skip


def rms_norm(x: Value, axis: int = -1, *, epsilon: float = 1e-6, name: str | None = None) -> Value:
    """The axes from `axis` on over the root of their mean square, then scaled.

    Parameters as for `layer_norm`. Source: Zhang and Sennrich 2019.

    >>> import eddl
    >>> eddl.layers.rms_norm(eddl.Input((10, 32))).shape
    ('batch', 10, 32)
    """
    label = Label("rms_norm", name)
    axis, sizes = _inner(x, axis, "rms_norm")
    axes = integers(range(axis - x.rank, 0))
    scale = parameter(sizes, x.dtype, "ones", label, "scale")
    wide = x if x.dtype.itemsize >= 4 else apply("Cast", x, to=np.dtype("float32"))
    square = apply("ReduceMean", wide * wide, axes, keepdims=1)
    y = wide / apply("Sqrt", square + float(epsilon))
    y = y if y.dtype == x.dtype else apply("Cast", y, to=x.dtype)
    return apply("Mul", y, scale, label=label)


def group_norm(x: Value, groups: int, *, epsilon: float = 1e-5, name: str | None = None) -> Value:
    """Each group of channels of a sample to mean 0 and deviation 1, then scaled and shifted.

    Parameters: `x` [N, C, space...]; `groups`, a number that divides the channels. Scale and bias
    are one a channel. Source: Wu and He 2018.

    >>> import eddl
    >>> eddl.layers.group_norm(eddl.Input((8, 32, 32)), 4).shape
    ('batch', 8, 32, 32)
    """
    label = Label("group_norm", name)
    spatial_rank(x, "group_norm")
    count = channels(x, "group_norm")
    if groups < 1 or count % groups:
        raise AttributeValueError(
            f"group_norm: received groups={groups} for {count} channels, expected a number that "
            "divides them"
        )
    return apply("GroupNormalization", x, *_scale_and_bias(x, (count,), label), label=label,
                 num_groups=int(groups), epsilon=float(epsilon))  # fmt: skip


def instance_norm(x: Value, *, epsilon: float = 1e-5, name: str | None = None) -> Value:
    """Each channel of each sample to mean 0 and deviation 1, then scaled and shifted.

    Parameters: `x` [N, C, space...]. Source: Ulyanov, Vedaldi and Lempitsky 2016.

    >>> import eddl
    >>> eddl.layers.instance_norm(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 32, 32)
    """
    label = Label("instance_norm", name)
    spatial_rank(x, "instance_norm")
    shape = (channels(x, "instance_norm"),)
    return apply("InstanceNormalization", x, *_scale_and_bias(x, shape, label), label=label,
                 epsilon=float(epsilon))  # fmt: skip


def local_response_norm(
    x: Value, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Value:
    """x over (bias + alpha / size x the sum of squares of `size` near channels) ^ beta.

    Parameters: `x` [N, C, ...]. Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3, with
    ONNX's division by `size`.

    >>> import eddl
    >>> eddl.layers.local_response_norm(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 32, 32)
    """
    tensor(x, "local_response_norm")
    return apply("LRN", x, size=int(size), alpha=float(alpha), beta=float(beta), bias=float(bias))


def lp_normalise(x: Value, axis: int = 1, *, p: int = 2) -> Value:
    """x over its p-norm along an axis, so that it has length 1; what is all 0 stays so.

    Parameters: `axis`, counted with the batch's; `p`, 1 or 2.

    >>> import eddl
    >>> eddl.layers.lp_normalise(eddl.Input((128,))).shape
    ('batch', 128)
    """
    axis = axis_of(x, axis, "lp_normalise")
    return apply("LpNormalization", x, axis=axis - x.rank, p=int(p))
