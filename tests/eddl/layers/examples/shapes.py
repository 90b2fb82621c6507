"""Layers that move, pick, resize and reduce, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
from scipy import special

from eddl import layers

from .example import Example, each_rank, normal, positive

LINE = ((2, 3, 8),)


def line(layer, build, oracle, **options):
    return Example(layer, build, oracle, LINE, **{"free": (2,), **options})


def padded(mode, **more):
    def oracle(x):
        widths = [(0, 0), (0, 0), *[(1, 2)] * (x.ndim - 2)]
        return np.pad(x, widths, mode, **more)

    return oracle


def inner(x, cut):
    return x[(..., *(slice(a, n - b) for n, (a, b) in zip(x.shape[2:], cut, strict=True)))]


def middle(x):
    cut = [((n - 3) // 2, n - 3 - (n - 3) // 2) for n in x.shape[2:]]
    return inner(x, cut)


def best(x, k, axis, sign=-1):
    order = np.argsort(sign * x, axis, kind="stable")
    order = np.take(order, range(k), axis)
    return np.take_along_axis(x, order, axis), order


ARRANGED = [
    line("constant", lambda x: x + layers.constant(2.5, x.dtype), lambda x: x + 2.5),
    line("cast", lambda x: layers.cast(x * 4.0, "int32"), lambda x: (4 * x).astype("int32"),
         smooth=False),
    line("cast", lambda x: layers.cast(layers.cast(x, "float16"), x.dtype) * 0.0 + x, lambda x: x,
         note="there and back"),
    *each_rank("flatten", lambda x: layers.flatten(x), lambda x: x.reshape(len(x), -1)),
    *each_rank("reshape", lambda x: layers.reshape(x, (-1, 2)),
               lambda x: x.reshape(len(x), -1, 2)),
    line("permute", lambda x: layers.permute(x, (0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    Example("squeeze", lambda x: layers.squeeze(x, (1, -1)), lambda x: x[:, 0, :, 0],
            ((2, 1, 4, 1),), free=(2,)),
    line("unsqueeze", lambda x: layers.unsqueeze(x, (1, -1)), lambda x: x[:, None, ..., None]),
    Example("expand", lambda x: layers.expand(x, (4, 5)), lambda x: x.repeat(5, 2),
            ((2, 4, 1),)),
    Example("expand", lambda x: layers.expand(x, (3, 4)), lambda x: x[:, None].repeat(3, 1)
            if x.ndim == 2 else x.repeat(3, 1), ((2, 1, 4),), free=(2,), note="middle"),
    line("tile", lambda x: layers.tile(x, (2, 3)), lambda x: np.tile(x, (1, 2, 3))),
    line("slice", lambda x: layers.slice(x, 1, -2, axes=2), lambda x: x[..., 1:-2]),
    line("slice", lambda x: layers.slice(x, 1), lambda x: x[:, 1:], note="rest"),
    line("slice", lambda x: layers.slice(x, (2, -1), (0, 1), axes=(1, 2), step=(-1, -2)),
         lambda x: x[:, 2:0:-1, -1:1:-2], note="backwards"),
    line("slice", lambda x: layers.slice(x, -1, axes=2, step=-1), lambda x: x[..., ::-1],
         note="reversed"),
    *each_rank("crop", lambda x: layers.crop(x, [(1, 0)] + [(0, 2)] * (x.rank - 3)),
               lambda x: inner(x, [(1, 0)] + [(0, 2)] * (x.ndim - 3))),
    *each_rank("center_crop", lambda x: layers.center_crop(x, 3), middle, free=()),
    *each_rank("pad", lambda x: layers.pad(x, [(1, 2)] * (x.rank - 2), value=0.5),
               padded("constant", constant_values=0.5)),
    *each_rank("pad", lambda x: layers.pad(x, [(1, 2)] * (x.rank - 2), mode="reflect"),
               padded("reflect"), note="reflect"),
    *each_rank("pad", lambda x: layers.pad(x, [(1, 2)] * (x.rank - 2), mode="edge"),
               padded("edge"), note="edge"),
    *each_rank("pad", lambda x: layers.pad(x, [(1, 2)] * (x.rank - 2), mode="wrap"),
               padded("wrap"), note="wrap"),
    line("split", lambda x: layers.split(x, 3), lambda x: np.split(x, 3, 1)),
    line("split", lambda x: layers.split(x, (5, 1, 2), axis=-1),
         lambda x: np.split(x, [5, 6], -1), note="sizes", free=()),
    line("gather", lambda x: layers.gather(x, [[0, -1], [2, 2]]),
         lambda x: x[:, [[0, -1], [2, 2]]]),
    Example("gather", lambda x, i: layers.gather(x, i, 2), lambda x, i: x[:, :, i],
            ((2, 3, 8), (2,)), data=(normal, lambda r, s: r.integers(-8, 8, s)),
            note="symbolic"),
    Example("gather_elements", lambda x, i: layers.gather_elements(x, i, 2),
            lambda x, i: np.take_along_axis(x, i, 2), ((2, 3, 8), (2, 3, 4)),
            data=(normal, lambda r, s: r.integers(-8, 8, s))),
    Example("where", lambda c, x, y: layers.where(c, x, y), np.where,
            ((2, 3, 8), (2, 3, 8), (2, 1, 8)), free=(2,),
            data=(lambda r, s: r.random(s) > 0.5, normal, normal)),
    Example("where", lambda c, x: layers.where(c, 0.25, x), lambda c, x: np.where(c, 0.25, x),
            ((2, 3, 8), (2, 3, 8)), data=(lambda r, s: r.random(s) > 0.5, normal), note="number"),
    line("top_k", lambda x: layers.top_k(x, 3), lambda x: best(x, 3, 2)),
    line("top_k", lambda x: layers.top_k(x, 2, 1, largest=False), lambda x: best(x, 2, 1, 1),
         note="least"),
    Example("one_hot", lambda x: layers.one_hot(x, 4, 1),
            lambda x: np.moveaxis(np.eye(4)[x], -1, 1), ((2, 5),), free=(1,), smooth=False,
            data=lambda r, s: r.integers(0, 4, s)),
]  # fmt: skip


def coordinates(n, m, scale, transform):
    y = np.arange(m)
    return {
        "half_pixel": (y + 0.5) / scale - 0.5,
        "half_pixel_symmetric": n / 2 * (1 - m / (scale * n)) + (y + 0.5) / scale - 0.5,
        "pytorch_half_pixel": (y + 0.5) / scale - 0.5,
        "align_corners": y * (n - 1) / max(scale * n - 1, 1),
        "asymmetric": y / scale,
        "tf_half_pixel_for_nn": (y + 0.5) / scale,
    }[transform]


ROUND = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resized(x, sizes=None, scales=None, mode="nearest", transform="half_pixel",
            nearest="round_prefer_floor", a=-0.75, antialias=False, outside=True):  # fmt: skip
    """One axis after the other, element by element."""
    for i in range(x.ndim - 2):
        n = x.shape[2 + i]
        m = int(n * scales) if sizes is None else sizes
        scale = m / n if scales is None else scales
        at = coordinates(n, m, scale, transform)
        matrix = np.zeros((m, n))
        for o, place in enumerate(at):
            if mode == "nearest":
                matrix[o, int(np.clip(ROUND[nearest](place), 0, n - 1))] = 1
                continue
            narrow = min(scale, 1) if antialias else 1
            reach = int(np.ceil((2 if mode == "cubic" else 1) / narrow))
            row = np.zeros(n)
            for tap in range(int(np.floor(place)) + 1 - reach, int(np.floor(place)) + reach + 1):
                d = abs(tap - place) * narrow
                if mode == "linear":
                    weight = max(1 - d, 0)
                elif d <= 1:
                    weight = (a + 2) * d**3 - (a + 3) * d**2 + 1
                else:
                    weight = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0
                if outside or 0 <= tap < n:
                    row[int(np.clip(tap, 0, n - 1))] += weight
            matrix[o] = row / row.sum() if antialias or not outside else row
        x = np.moveaxis(np.tensordot(matrix, x, (1, 2 + i)), 0, 2 + i)
    return x


def resizes(note, ours, theirs, **options):
    return each_rank("resize", lambda x: layers.resize(x, **ours), lambda x: resized(x, **theirs),
                     note=note, **options)  # fmt: skip


ONE = "resizes 1-D and 3-D by neighbours and lines, and 2-D alone by cubes and with antialias"
RESIZED = [
    *resizes("double", {"scales": 2}, {"scales": 2}),
    *resizes("sizes", {"sizes": 5}, {"sizes": 5}),
    *(e for nearest in ROUND for e in resizes(
        nearest, {"scales": 1.7, "nearest_mode": nearest,
                  "coordinate_transformation_mode": "asymmetric"},
        {"scales": np.float32(1.7), "nearest": nearest, "transform": "asymmetric"})),
    *(e for how in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
                    "half_pixel_symmetric") for e in resizes(
        how, {"scales": 1.5, "mode": "linear", "coordinate_transformation_mode": how},
        {"scales": 1.5, "mode": "linear", "transform": how})),
    *resizes("tf nearest", {"scales": 2, "coordinate_transformation_mode": "tf_half_pixel_for_nn",
                            "nearest_mode": "floor"},
             {"scales": 2, "transform": "tf_half_pixel_for_nn", "nearest": "floor"}),
    *resizes("cubic", {"scales": 1.5, "mode": "cubic"}, {"scales": 1.5, "mode": "cubic"},
             runtime=ONE),
    *resizes("cubic inside", {"sizes": 5, "mode": "cubic", "cubic_coeff_a": -0.5,
                              "exclude_outside": True},
             {"sizes": 5, "mode": "cubic", "a": -0.5, "outside": False}, runtime=ONE),
    *(e for mode in ("linear", "cubic") for e in resizes(
        f"antialias {mode}", {"scales": 0.5, "mode": mode, "antialias": True,
                              "exclude_outside": mode == "cubic"},
        {"scales": 0.5, "mode": mode, "antialias": True, "outside": mode == "linear"},
        runtime=ONE)),
    Example("resize", lambda x: layers.resize(x, sizes=6, keep_aspect_ratio_policy="not_larger"),
            lambda x: x[:, :, np.repeat(range(2), 3)][..., np.repeat(range(2), 3)][..., :],
            ((1, 2, 2, 2),), note="policy"),
    Example("resize",
            lambda x: layers.resize(x, sizes=3, mode="linear", roi=(0.25, 0.5, 1.25, 1.0),
                                    coordinate_transformation_mode="tf_crop_and_resize",
                                    extrapolation_value=7.0),
            lambda x: np.stack([x[:, :, 1, [2, 3, 4]], x[:, :, 3, [2, 3, 4]],
                                np.full((2, 3, 3), 7.0)], 2), ((2, 3, 5, 5),), note="crop"),
]  # fmt: skip

MASK = np.asarray([[True, True, False], [True, False, False]])


def reductions(name, oracle, data=normal):
    """Over some axes, over all, and over sequences with a mask."""

    def layer(x, *arguments, **options):
        return getattr(layers, name)(x, *arguments, **options)

    def masked(x):
        return np.stack([oracle(row[keep], 0) for row, keep in zip(x, MASK, strict=True)])

    shape = ((2, 3, 4),)
    return [
        Example(name, lambda x: layer(x, (1, -1)), lambda x: oracle(x, (1, 2)), shape, data=data,
                free=(1,)),
        Example(name, lambda x: layer(x, 2, keepdims=True), lambda x: oracle(x, (2,))[..., None],
                shape, data=data, note="kept", free=(1,)),
        Example(name, lambda x: x * layer(x), lambda x: x * oracle(x, (0, 1, 2)), shape, data=data,
                note="all"),
        Example(name, lambda x, m: layer(x, 1, mask=m), lambda x, m: masked(x),
                (*shape, MASK.shape), data=(data, lambda r, s: MASK), note="masked", free=(1,)),
    ]  # fmt: skip


REDUCED = [
    *reductions("reduce_sum", np.sum),
    *reductions("reduce_mean", np.mean),
    *reductions("reduce_max", np.max),
    *reductions("reduce_min", np.min),
    *reductions("reduce_prod", np.prod, positive),
    *reductions("reduce_l1", lambda x, axes: abs(x).sum(axes)),
    *reductions("reduce_l2", lambda x, axes: np.sqrt((x**2).sum(axes))),
    *reductions("reduce_sum_square", lambda x, axes: (x**2).sum(axes)),
    *reductions("reduce_log_sum", lambda x, axes: np.log(x.sum(axes)), positive),
    *reductions("reduce_log_sum_exp", lambda x, axes: special.logsumexp(x, axes)),
    line("argmax", lambda x: layers.argmax(x), lambda x: x.argmax(1), smooth=False),
    line("argmin", lambda x: layers.argmin(x, 2, keepdims=True),
         lambda x: x.argmin(2, keepdims=True), smooth=False),
]  # fmt: skip

EXAMPLES = [*ARRANGED, *RESIZED, *REDUCED]
