"""Convolutions and dense layers."""

from __future__ import annotations

from typing import Any

from eddl.errors import AttributeValueError
from eddl.graph import Label, Value
from eddl.initializers import Initializer
from eddl.layers.build import Sizes, channels, parameter, per_axis, spatial_rank
from eddl.ops.table import apply, integers

Start = str | Initializer


def _padding(padding: str, layer: str) -> str:
    modes = {"same": "SAME_UPPER", "valid": "VALID"}
    if padding not in modes:
        raise AttributeValueError(
            f"{layer}: received padding {padding!r}, expected one of {sorted(modes)}"
        )
    return modes[padding]


def conv(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: str = "same",
    dilations: Sizes = 1,
    group: int = 1,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """Convolution over 1, 2 or 3 spatial axes, as many as `x` has.

    Parameters: `x` [N, C, space...]; `filters`, the channels it makes; `kernel_size`, `strides` and
    `dilations`, a number for all axes or one an axis; `padding`, "same" (output size is the input's
    over the strides, rounded up) or "valid" (no padding); `group`, into how many groups the
    channels are split. Returns [N, filters, space...]. Raises `ShapeError` where sizes do not fit.

    >>> import eddl
    >>> eddl.layers.conv(eddl.Input((1, 32, 32)), 8, 3, strides=2).shape
    ('batch', 8, 16, 16)
    """
    rank, label = spatial_rank(x, "conv"), Label("conv", name)
    count = channels(x, "conv")
    if group < 1 or count % group or filters % group:
        raise AttributeValueError(
            f"conv: received group={group} for {count} channels and {filters} filters, expected a "
            "number that divides both"
        )
    kernel = per_axis(kernel_size, rank, "conv kernel_size")
    shape = (filters, count // group, *kernel)
    weight = parameter(shape, x.dtype, initializer, label, "weight")
    bias = parameter((filters,), x.dtype, "zeros", label, "bias") if use_bias else None
    return apply(
        "Conv",
        x,
        weight,
        *((bias,) if bias is not None else ()),
        label=label,
        kernel_shape=kernel,
        strides=per_axis(strides, rank, "conv strides"),
        dilations=per_axis(dilations, rank, "conv dilations"),
        auto_pad=_padding(padding, "conv"),
        group=group,
    )


def conv_transpose(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: str = "same",
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """Transposed convolution: the way back of a strided convolution, which enlarges.

    Parameters as for `conv`; with "same" padding the output is the input's size times the strides.
    Returns [N, filters, space...].

    >>> import eddl
    >>> eddl.layers.conv_transpose(eddl.Input((8, 16, 16)), 4, 2, strides=2).shape
    ('batch', 4, 32, 32)
    """
    rank, label = spatial_rank(x, "conv_transpose"), Label("conv_transpose", name)
    kernel = per_axis(kernel_size, rank, "conv_transpose kernel_size")
    steps = per_axis(strides, rank, "conv_transpose strides")
    shape = (channels(x, "conv_transpose"), filters, *kernel)
    weight = parameter(shape, x.dtype, initializer, label, "weight")
    bias = parameter((filters,), x.dtype, "zeros", label, "bias") if use_bias else None
    mode = _padding(padding, "conv_transpose")
    # Where the kernel is as large as the stride both modes are the same, without padding.
    plain = mode == "VALID" or kernel == steps
    return apply(
        "ConvTranspose",
        x,
        weight,
        *((bias,) if bias is not None else ()),
        label=label,
        kernel_shape=kernel,
        strides=steps,
        auto_pad="NOTSET" if plain else mode,
    )


def dense(
    x: Value,
    units: int,
    *,
    use_bias: bool = True,
    initializer: Start = "glorot_uniform",
    name: str | None = None,
) -> Value:
    """A fully connected layer over the last axis.

    Parameters: `x` [..., features]; `units`, the features it makes. Returns [..., units].

    >>> import eddl
    >>> eddl.layers.dense(eddl.Input((20,)), 5).shape
    ('batch', 5)
    """
    label = Label("dense", name)
    features = x.shape[-1]
    if not isinstance(features, int):
        raise AttributeValueError(f"dense: received {x.type}, expected a known last size: flatten")
    weight = parameter((units, features), x.dtype, initializer, label, "weight")
    bias: Any = parameter((units,), x.dtype, "zeros", label, "bias") if use_bias else None
    if x.rank == 2:
        rest = (bias,) if use_bias else ()
        return apply("Gemm", x, weight, *rest, label=label, transB=1)
    product = apply("MatMul", x, apply("Transpose", weight, perm=(1, 0)), label=label)
    return product + bias if use_bias else product


def flatten(x: Value) -> Value:
    """All axes but the batch's as one: [N, features].

    >>> import eddl
    >>> eddl.layers.flatten(eddl.Input((8, 4, 4))).shape
    ('batch', 128)
    """
    sizes = [s for s in x.shape[1:] if isinstance(s, int)]
    if len(sizes) == x.rank - 1:
        count = 1
        for size in sizes:
            count *= size
        return apply("Reshape", x, integers([0, count]))
    return apply("Flatten", x, axis=1)
