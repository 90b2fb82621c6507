"""Pools over windows and over all of space, and the way back of the greatest element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Node, Value
from eddl.layers.build import Padding, Sizes, borders, extents, per_axis, spatial_rank, tensor
from eddl.ops.table import apply, integers, make_node


def _pool(
    op: str,
    layer: str,
    x: Value,
    kernel_size: Sizes,
    strides: Sizes | None,
    padding: Padding,
    dilations: Sizes,
    ceil_mode: bool,
    **attributes: Any,
) -> Node:
    rank = spatial_rank(x, layer)
    kernel = per_axis(kernel_size, rank, f"{layer} kernel_size")
    steps = per_axis(kernel if strides is None else strides, rank, f"{layer} strides")
    spread = per_axis(dilations, rank, f"{layer} dilations")
    edges = borders(padding, rank, layer, extents(kernel, steps, spread))
    pads = edges.get("pads", (0,) * (2 * rank))
    if any(pad >= d * (k - 1) + 1 for pad, k, d in zip(pads, kernel * 2, spread * 2, strict=True)):
        raise AttributeValueError(
            f"{layer}: received padding {padding!r} for the kernel {kernel}, expected less than "
            "its extent: a window must hold an element"
        )
    if ceil_mode and padding == "same":
        raise AttributeValueError(f"{layer}: received ceil_mode beside 'same', which rounds up")
    return make_node(
        op,
        x,
        kernel_shape=kernel,
        strides=steps,
        dilations=spread,
        ceil_mode=int(ceil_mode),
        # VALID has no room for windows that end behind the input.
        **({} if ceil_mode and padding == "valid" else edges),
        **attributes,
    )


def max_pool(
    x: Value,
    kernel_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilations: Sizes = 1,
    ceil_mode: bool = False,
) -> Value:
    """The greatest element of each window.

    Parameters: `x` [N, C, space...]; `kernel_size`; `strides`, the kernel's size when left out;
    `padding` as for `conv`, never chosen; `dilations`; `ceil_mode`, whether a last window that ends
    behind the input counts. Returns [N, C, space...].

    >>> import eddl
    >>> eddl.layers.max_pool(eddl.Input((8, 32, 32))).shape
    ('batch', 8, 16, 16)
    """
    node = _pool("MaxPool", "max_pool", x, kernel_size, strides, padding, dilations, ceil_mode)
    return node.outputs[0]


def max_pool_with_indices(
    x: Value,
    kernel_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilations: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[Value, Value]:
    """As `max_pool`, and where each greatest element lay, for `max_unpool`.

    Returns the pooled tensor and int64 indices of its shape, which count the elements of the whole
    of `x` in row-major order, as ONNX has it.

    >>> import eddl
    >>> y, indices = eddl.layers.max_pool_with_indices(eddl.Input((8, 32, 32)))
    >>> indices.dtype
    dtype('int64')
    """
    layer = "max_pool_with_indices"
    node = _pool("MaxPool", layer, x, kernel_size, strides, padding, dilations, ceil_mode)
    return node.outputs[0], node.outputs[1]


def max_unpool(
    x: Value,
    indices: Value,
    kernel_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: int | tuple[int, ...] = 0,
    like: Value | None = None,
) -> Value:
    """Elements put back where a max pool found them, zeros elsewhere.

    Parameters: `x` and `indices` [N, C, space...], as `max_pool_with_indices` gives them;
    `kernel_size`, `strides` and `padding` (a number for all axes or one an axis), the pool's;
    `like`, what was pooled, whose shape the output takes: needed where the windows did not fill it,
    as in an odd size halved, and enough without the others. Returns [N, C, space...]. Source:
    Zeiler and Fergus 2014; SegNet, Badrinarayanan et al. 2017.

    >>> import eddl
    >>> x = eddl.Input((8, 33, 33))
    >>> y, indices = eddl.layers.max_pool_with_indices(x)
    >>> eddl.layers.max_unpool(y, indices, like=x).shape
    ('batch', 8, 33, 33)
    """
    layer = "max_unpool"
    rank = spatial_rank(x, layer)
    if tensor(indices, layer).dtype != "int64" or indices.rank != x.rank:
        raise ShapeError(
            f"{layer}: received indices {indices.type} for {x.type}, expected int64 of its shape: "
            "what max_pool_with_indices returns"
        )
    if like is None:
        kernel = per_axis(kernel_size, rank, f"{layer} kernel_size")
        steps = per_axis(kernel if strides is None else strides, rank, f"{layer} strides")
        sides = per_axis(padding, rank, f"{layer} padding", least=0)
        return apply("MaxUnpool", x, indices, kernel_shape=kernel, strides=steps, pads=sides * 2)
    sizes = [n for n in tensor(like, layer).shape[1:] if isinstance(n, int)]
    if len(sizes) != rank + 1:
        raise ShapeError(
            f"{layer}: received like={like.type}, expected known sizes but the batch's"
        )
    # MaxUnpool's own output_shape is read in two ways by the runtimes; a scatter in one.
    each = math.prod(sizes)
    rows = apply("Reshape", like, integers([0, each]))
    zeros = apply("Where", np.ones((1, 1), bool), np.zeros((1, 1), x.dtype), rows)
    places = apply("Mod", apply("Reshape", indices, integers([0, -1])), each)
    put = apply("ScatterElements", zeros, places, apply("Reshape", x, integers([0, -1])), axis=1)
    return apply("Reshape", put, integers([0, *sizes]))


def average_pool(
    x: Value,
    kernel_size: Sizes = 2,
    *,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilations: Sizes = 1,
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> Value:
    """The mean of each window.

    Parameters as for `max_pool`; `count_padding`, whether the zeros around the input count.

    >>> import eddl
    >>> eddl.layers.average_pool(eddl.Input((8, 32, 32)), 3, strides=2, padding=1).shape
    ('batch', 8, 16, 16)
    """
    node = _pool("AveragePool", "average_pool", x, kernel_size, strides, padding, dilations,
                 ceil_mode, count_include_pad=int(count_padding))  # fmt: skip
    return node.outputs[0]


def lp_pool(
    x: Value,
    kernel_size: Sizes = 2,
    *,
    p: int = 2,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    dilations: Sizes = 1,
    ceil_mode: bool = False,
) -> Value:
    """The p-norm of each window, (sum of |x|^p)^(1/p).

    Parameters as for `max_pool`; `p`, a whole number of at least 1. The gradient where all of a
    window is 0 is taken to be 0.

    >>> import eddl
    >>> eddl.layers.lp_pool(eddl.Input((8, 32, 32)), p=3).shape
    ('batch', 8, 16, 16)
    """
    node = _pool("LpPool", "lp_pool", x, kernel_size, strides, padding, dilations, ceil_mode,
                 p=_power(p, "lp_pool"))  # fmt: skip
    return node.outputs[0]


def _power(p: int, layer: str) -> int:
    if p != int(p) or p < 1:
        raise AttributeValueError(f"{layer}: received p={p}, expected a whole number from 1 on")
    return int(p)


def global_average_pool(x: Value) -> Value:
    """The mean over all spatial axes, which are kept with size 1.

    >>> import eddl
    >>> eddl.layers.global_average_pool(eddl.Input((8, None, None))).shape
    ('batch', 8, 1, 1)
    """
    spatial_rank(x, "global_average_pool")
    return apply("GlobalAveragePool", x)


def global_max_pool(x: Value) -> Value:
    """The greatest element over all spatial axes, which are kept with size 1.

    >>> import eddl
    >>> eddl.layers.global_max_pool(eddl.Input((8, None, None))).shape
    ('batch', 8, 1, 1)
    """
    spatial_rank(x, "global_max_pool")
    return apply("GlobalMaxPool", x)


def global_lp_pool(x: Value, *, p: int = 2) -> Value:
    """The p-norm over all spatial axes, which are kept with size 1.

    >>> import eddl
    >>> eddl.layers.global_lp_pool(eddl.Input((8, None, None))).shape
    ('batch', 8, 1, 1)
    """
    spatial_rank(x, "global_lp_pool")
    return apply("GlobalLpPool", x, p=_power(p, "global_lp_pool"))
