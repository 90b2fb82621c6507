"""Convolutions and pools, against loops over windows."""

from __future__ import annotations

import itertools

import numpy as np

from eddl import layers

from .example import Example, each_rank, space


def every(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def same(sizes, kernel, strides, dilations):
    """Paddings of which the output has size / stride elements."""
    pads = []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def windows(x, kernel, strides, dilations, pads, fill=0.0):
    """[N, C, out..., taps] of a padded [N, C, space...]."""
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
    ]
    parts = [
        padded[(..., *(slice(o * d, o * d + (c - 1) * s + 1, s)
                       for o, d, c, s in zip(at, dilations, out, strides, strict=True)))]
        for at in itertools.product(*map(range, kernel))
    ]  # fmt: skip
    return np.stack(parts, -1)


def convolved(x, w, b=None, strides=1, dilations=1, group=1, padding="same"):
    rank, kernel = x.ndim - 2, w.shape[2:]
    strides, dilations = every(strides, rank), every(dilations, rank)
    pads = padding
    if padding == "same":
        pads = same(x.shape[2:], kernel, strides, dilations)
    elif padding == "valid":
        pads = [(0, 0)] * rank
    columns = windows(x, kernel, strides, dilations, pads)
    y = []
    for part, filters in zip(np.split(columns, group, 1), np.split(w, group, 0), strict=True):
        y.append(np.einsum("nc...t,fct->nf...", part, filters.reshape(*filters.shape[:2], -1)))
    y = np.concatenate(y, 1)
    return y if b is None else y + b.reshape(1, -1, *[1] * rank)


def spread_out(x, w, b=None, strides=1, dilations=1, group=1, pads=0, extra=0):
    """A transposed convolution: each element puts its kernel down."""
    rank, kernel = x.ndim - 2, w.shape[2:]
    strides, dilations, extra = every(strides, rank), every(dilations, rank), every(extra, rank)
    pads = [(pads, pads)] * rank if isinstance(pads, int) else pads
    sizes = x.shape[2:]
    steps = list(zip(sizes, kernel, strides, dilations, extra, strict=True))
    full = [(n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in steps]
    y, each = np.zeros((x.shape[0], w.shape[1] * group, *full)), w.shape[1]
    for g in range(group):
        part, filters = np.split(x, group, 1)[g], np.split(w, group)[g]
        for at in itertools.product(*map(range, kernel)):
            place = [
                slice(o * d, o * d + (n - 1) * s + 1, s)
                for o, (n, _, s, d, _) in zip(at, steps, strict=True)
            ]
            y[(slice(None), slice(g * each, (g + 1) * each), *place)] += np.einsum(
                "nc...,cf->nf...", part, filters[(..., *at)]
            )
    cut = tuple(slice(a, y.shape[2 + i] - b) for i, (a, b) in enumerate(pads))
    y = y[(..., *cut)]
    return y if b is None else y + b.reshape(1, -1, *[1] * rank)


def pooled(x, reduce, kernel=2, strides=None, padding=None, dilations=1, fill=np.nan):
    rank = x.ndim - 2
    kernel = every(kernel, rank)
    strides = kernel if strides is None else every(strides, rank)
    dilations = every(dilations, rank)
    pads = [(0, 0)] * rank if padding is None else padding
    if padding == "same":
        pads = same(x.shape[2:], kernel, strides, dilations)
    elif isinstance(padding, int):
        pads = [(padding, padding)] * rank
    return reduce(windows(x, kernel, strides, dilations, pads, fill), -1)


def norm(p):
    return lambda x, axis, **keep: (np.nansum(np.abs(x) ** p, axis, **keep)) ** (1 / p)


def round_trip(x):
    y, indices = layers.max_pool_with_indices(x)
    return layers.max_unpool(y, indices, like=x)


def round_trip_by_size(x):
    y, indices = layers.max_pool_with_indices(x)
    return layers.max_unpool(y, indices)


def greatest_kept(x):
    """x where it is the greatest of its window of two, 0 elsewhere."""
    y = np.zeros_like(x)
    even = tuple(slice(0, n // 2 * 2) for n in x.shape[2:])
    best = pooled(x, np.max)
    for axis in range(2, x.ndim):
        best = best.repeat(2, axis)
    inner = x[(..., *even)]
    y[(..., *even)] = np.where(inner == best, inner, 0)
    return y


def ceiling(x):
    pads = [(0, n % 2) for n in x.shape[2:]]
    return pooled(x, np.nanmax, 2, 2, pads)


EXAMPLES = [
    *each_rank("conv", lambda x: layers.conv(x, 4, 3), convolved),
    *each_rank("conv", lambda x: layers.conv(x, 4, 3, strides=2, padding=[(2, 1)] * (x.rank - 2)),
               lambda x, w, b: convolved(x, w, b, 2, padding=[(2, 1)] * (x.ndim - 2)), note="pads"),
    *each_rank("conv", lambda x: layers.conv(x, 4, 2, dilations=2, padding=1, use_bias=False),
               lambda x, w: convolved(x, w, dilations=2, padding=[(1, 1)] * (x.ndim - 2)),
               note="dilated"),
    *each_rank("conv", lambda x: layers.conv(x, 2, 2, dilations=3),
               lambda x, w, b: convolved(x, w, b, dilations=3), note="dilated, same"),
    *each_rank("conv", lambda x: layers.conv(x, 6, 3, group=3, strides=2),
               lambda x, w, b: convolved(x, w, b, 2, group=3), note="grouped", free=()),
    Example("conv", lambda x: layers.conv(x, 2, (3, 2), strides=(2, 1), padding="valid"),
            lambda x, w, b: convolved(x, w, b, (2, 1), padding="valid"), note="uneven"),
    *each_rank("depthwise_conv", lambda x: layers.depthwise_conv(x, 3, multiplier=2),
               lambda x, w, b: convolved(x, w, b, group=3)),
    *each_rank("pointwise_conv", lambda x: layers.pointwise_conv(x, 4),
               lambda x, w, b: convolved(x, w, b)),
    *each_rank("separable_conv", lambda x: layers.separable_conv(x, 4, 3),
               lambda x, d, w, b: convolved(convolved(x, d, group=3), w, b)),
    *each_rank("conv_transpose", lambda x: layers.conv_transpose(x, 3, 2, strides=2),
               lambda x, w, b: spread_out(x, w, b, 2)),
    *each_rank("conv_transpose", lambda x: layers.conv_transpose(x, 2, 4, strides=2),
               lambda x, w, b: spread_out(x, w, b, 2, pads=1), note="same"),
    *each_rank("conv_transpose", lambda x: layers.conv_transpose(x, 2, 1, strides=2),
               lambda x, w, b: spread_out(x, w, b, 2, extra=1), note="gaps"),
    *each_rank("conv_transpose",
               lambda x: layers.conv_transpose(x, 6, 3, strides=3, dilations=2, group=3,
                                               padding=[(0, 1)] * (x.rank - 2), output_padding=2,
                                               use_bias=False),
               lambda x, w: spread_out(x, w, None, 3, 2, 3, [(0, 1)] * (x.ndim - 2), 2),
               note="everything"),
    *each_rank("max_pool", lambda x: layers.max_pool(x), lambda x: pooled(x, np.max)),
    *each_rank("max_pool", lambda x: layers.max_pool(x, 3, strides=2, padding="same"),
               lambda x: pooled(x, np.nanmax, 3, 2, "same"), note="same", free=()),
    *each_rank("max_pool", lambda x: layers.max_pool(x, 2, strides=1, dilations=2, padding=1),
               lambda x: pooled(x, np.nanmax, 2, 1, 1, 2), note="dilated"),
    *each_rank("max_pool", lambda x: layers.max_pool(x, 3, strides=1, dilations=2, padding="same"),
               lambda x: pooled(x, np.nanmax, 3, 1, "same", 2), note="dilated, same"),
    Example("max_pool", lambda x: layers.max_pool(x, ceil_mode=True), ceiling, ((2, 3, 7, 5),),
            note="ceil", free=(2, 3)),
    *each_rank("max_pool_with_indices", lambda x: layers.max_pool_with_indices(x)[0],
               lambda x: pooled(x, np.max)),
    *each_rank("max_unpool", round_trip, greatest_kept, free=()),
    *each_rank("max_unpool", round_trip_by_size, greatest_kept, note="by size", free=()),
    Example("max_unpool", round_trip, greatest_kept, ((2, 3, 7, 5),), note="odd"),
    *each_rank("average_pool", lambda x: layers.average_pool(x), lambda x: pooled(x, np.mean)),
    *each_rank("average_pool", lambda x: layers.average_pool(x, 3, strides=2, padding=1),
               lambda x: pooled(x, np.nanmean, 3, 2, 1), note="padded"),
    *each_rank("average_pool",
               lambda x: layers.average_pool(x, 3, strides=2, padding=1, count_padding=True),
               lambda x: pooled(x, np.mean, 3, 2, 1, fill=0), note="counted"),
    *each_rank("average_pool", lambda x: layers.average_pool(x, 3, strides=2, padding="same"),
               lambda x: pooled(x, np.nanmean, 3, 2, "same"), note="same", free=()),
    *each_rank("lp_pool", lambda x: layers.lp_pool(x), lambda x: pooled(x, norm(2))),
    *each_rank("lp_pool", lambda x: layers.lp_pool(x, 3, p=3, strides=2, padding=1),
               lambda x: pooled(x, norm(3), 3, 2, 1), note="cubes"),
    *each_rank("global_average_pool", lambda x: layers.global_average_pool(x),
               lambda x: x.mean(space(x), keepdims=True)),
    *each_rank("global_max_pool", lambda x: layers.global_max_pool(x),
               lambda x: x.max(space(x), keepdims=True)),
    *each_rank("global_lp_pool", lambda x: layers.global_lp_pool(x, p=3),
               lambda x: norm(3)(x, space(x), keepdims=True)),
]  # fmt: skip
