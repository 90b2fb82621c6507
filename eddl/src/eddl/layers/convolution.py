"""Convolutions of one to three spatial axes: whole, grouped, by channel, and transposed."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Label, Value
from eddl.layers.build import (
    Padding,
    Sizes,
    Start,
    borders,
    channels,
    extents,
    parameter,
    per_axis,
    spatial_rank,
)
from eddl.ops.table import apply


def _grouped(layer: str, group: int, count: int, filters: int) -> None:
    if filters < 1 or group < 1 or count % group or filters % group:
        raise AttributeValueError(
            f"{layer}: received group={group} for {count} channels and {filters} filters, expected "
            "a number that divides both"
        )


def conv(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "same",
    dilations: Sizes = 1,
    group: int = 1,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """Convolution over 1, 2 or 3 spatial axes, as many as `x` has.

    Parameters: `x` [N, C, space...]; `filters`, the channels it makes; `kernel_size`, `strides` and
    `dilations`, a number for all axes or one an axis; `padding`, "same" (output size is the input's
    over the strides, rounded up; of an odd sum the larger half goes behind), "valid" (no padding),
    a number, one an axis, or a pair (before, after) an axis; `group`, into how many groups the
    channels are split. Returns [N, filters, space...]. Raises `ShapeError` where sizes do not fit.

    >>> import eddl
    >>> eddl.layers.conv(eddl.Input((1, 32, 32)), 8, 3, strides=2).shape
    ('batch', 8, 16, 16)
    """
    return _conv("conv", x, filters, kernel_size, strides, padding, dilations, group, use_bias,
                 initializer, name)  # fmt: skip


def _conv(
    layer: str,
    x: Value,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes,
    padding: Padding,
    dilations: Sizes,
    group: int,
    use_bias: bool,
    initializer: Start,
    name: str | None,
) -> Value:
    rank, label = spatial_rank(x, layer), Label(layer, name)
    count = channels(x, layer)
    _grouped(layer, group, count, filters)
    kernel = per_axis(kernel_size, rank, f"{layer} kernel_size")
    shape = (filters, count // group, *kernel)
    weight = parameter(shape, x.dtype, initializer, label, "weight")
    bias = (parameter((filters,), x.dtype, "zeros", label, "bias"),) if use_bias else ()
    steps = per_axis(strides, rank, f"{layer} strides")
    spread = per_axis(dilations, rank, f"{layer} dilations")
    return apply(
        "Conv",
        x,
        weight,
        *bias,
        label=label,
        kernel_shape=kernel,
        strides=steps,
        dilations=spread,
        group=group,
        **borders(padding, rank, layer, extents(kernel, steps, spread)),
    )


def depthwise_conv(
    x: Value,
    kernel_size: Sizes,
    *,
    multiplier: int = 1,
    strides: Sizes = 1,
    padding: Padding = "same",
    dilations: Sizes = 1,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """A convolution of each channel by itself: channels do not mix.

    Parameters as for `conv`; `multiplier`, how many channels each one makes. Returns [N, C x
    multiplier, space...], those of one channel next to each other. Source: Sifre 2014.

    >>> import eddl
    >>> eddl.layers.depthwise_conv(eddl.Input((8, 32, 32)), 3, multiplier=2).shape
    ('batch', 16, 32, 32)
    """
    count = channels(x, "depthwise_conv")
    return _conv("depthwise_conv", x, count * multiplier, kernel_size, strides, padding, dilations,
                 count, use_bias, initializer, name)  # fmt: skip


def pointwise_conv(
    x: Value,
    filters: int,
    *,
    strides: Sizes = 1,
    group: int = 1,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """A convolution with a kernel of one element, which mixes the channels of each position.

    Parameters as for `conv`. Returns [N, filters, space...].

    >>> import eddl
    >>> eddl.layers.pointwise_conv(eddl.Input((8, 32, 32)), 4).shape
    ('batch', 4, 32, 32)
    """
    return _conv("pointwise_conv", x, filters, 1, strides, "valid", 1, group, use_bias,
                 initializer, name)  # fmt: skip


def separable_conv(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    multiplier: int = 1,
    strides: Sizes = 1,
    padding: Padding = "same",
    dilations: Sizes = 1,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """A `depthwise_conv` without bias, then a `pointwise_conv`.

    Parameters as for those; with a `name`, their parameters are `name_depthwise` and
    `name_pointwise`. Returns [N, filters, space...]. Source: Chollet 2017.

    >>> import eddl
    >>> eddl.layers.separable_conv(eddl.Input((8, 32, 32)), 4, 3).shape
    ('batch', 4, 32, 32)
    """
    deep, flat = (None, None) if name is None else (f"{name}_depthwise", f"{name}_pointwise")
    x = depthwise_conv(
        x, kernel_size, multiplier=multiplier, strides=strides, padding=padding,
        dilations=dilations, use_bias=False, initializer=initializer, name=deep,
    )  # fmt: skip
    return pointwise_conv(x, filters, use_bias=use_bias, initializer=initializer, name=flat)


def conv_transpose(
    x: Value,
    filters: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "same",
    dilations: Sizes = 1,
    group: int = 1,
    output_padding: Sizes = 0,
    use_bias: bool = True,
    initializer: Start = "he_normal",
    name: str | None = None,
) -> Value:
    """Transposed convolution: the way back of a strided convolution, which enlarges.

    Parameters as for `conv`. With "same" padding the output is the input's size times the strides;
    "valid" keeps all that the kernels reach, (size - 1) x strides + extent of the kernel; numbers
    are cut off from that at the borders. `output_padding` adds so much behind each axis (less than
    the stride or the dilation); "same" chooses it itself. Returns [N, filters, space...].

    >>> import eddl
    >>> eddl.layers.conv_transpose(eddl.Input((8, 16, 16)), 4, 2, strides=2).shape
    ('batch', 4, 32, 32)
    """
    layer = "conv_transpose"
    rank, label = spatial_rank(x, layer), Label(layer, name)
    count = channels(x, layer)
    _grouped(layer, group, count, filters)
    kernel = per_axis(kernel_size, rank, f"{layer} kernel_size")
    steps = per_axis(strides, rank, f"{layer} strides")
    spread = per_axis(dilations, rank, f"{layer} dilations")
    extra = per_axis(output_padding, rank, f"{layer} output_padding", least=0)
    edges = borders(padding, rank, layer)
    if edges.pop("auto_pad", None) == "SAME_UPPER":
        if any(extra):
            raise AttributeValueError(
                f"{layer}: received output_padding={output_padding!r} beside padding='same', which "
                "fixes the output's size; expected 'valid' or numbers as padding"
            )
        over = [d * (k - 1) + 1 - s for k, s, d in zip(kernel, steps, spread, strict=True)]
        cut = [max(n, 0) for n in over]
        edges = {"pads": (*(n // 2 for n in cut), *(n - n // 2 for n in cut))}
        extra = tuple(max(-n, 0) for n in over)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, spread, strict=True)):
        raise AttributeValueError(
            f"{layer}: received output_padding={output_padding!r} for strides {steps} and "
            f"dilations {spread}, expected less than one of them along each axis"
        )
    shape = (count, filters // group, *kernel)
    weight = parameter(shape, x.dtype, initializer, label, "weight")
    bias = (parameter((filters,), x.dtype, "zeros", label, "bias"),) if use_bias else ()
    return apply(
        "ConvTranspose",
        x,
        weight,
        *bias,
        label=label,
        kernel_shape=kernel,
        strides=steps,
        dilations=spread,
        group=group,
        output_padding=extra if any(extra) else (),
        **{key: value for key, value in edges.items() if any(value)},
    )
