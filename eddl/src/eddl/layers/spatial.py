"""Space moved as a whole: by given matrices, by learnt ones, or at random in training.

Coordinates are normalised, -1 at the beginning and 1 at the end of an axis, and name the last axis
first, as ONNX's AffineGrid and GridSample have them. A matrix says for each element of the output
where in the input it is read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Constant, Label, Value
from eddl.layers.build import rounded, spatial_rank, tensor
from eddl.ops.table import PRIVATE, apply, integers

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")


def _checked(layer: str, mode: str, padding_mode: str) -> None:
    if mode not in MODES or padding_mode not in PADDINGS:
        raise AttributeValueError(
            f"{layer}: received mode={mode!r} and padding_mode={padding_mode!r}, expected one of "
            f"{MODES} and one of {PADDINGS}"
        )


def grid_sample(
    x: Value,
    grid: Value,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Value:
    """`x` read at places that a tensor names; gradients flow to both.

    Parameters: `x` [N, C, space...]; `grid` [N, out..., axes], normalised coordinates, the last
    axis first; `mode`, "nearest", "linear" or "cubic"; `padding_mode`, what lies outside: "zeros",
    "border" (the nearest element) or "reflection"; `align_corners`, whether -1 and 1 are the
    centres of the outermost elements instead of their borders. Returns [N, C, out...].

    >>> import eddl
    >>> eddl.layers.grid_sample(eddl.Input((3, 32, 32)), eddl.Input((8, 8, 2))).shape
    ('batch', 3, 8, 8)
    """
    rank = spatial_rank(x, "grid_sample")
    _checked("grid_sample", mode, padding_mode)
    if tensor(grid, "grid_sample").rank != rank + 2 or grid.shape[-1] not in (rank, None):
        raise ShapeError(
            f"grid_sample: received a grid {grid.type} for {x.type}, expected [N, "
            f"{', '.join(['size'] * rank)}, {rank}]"
        )
    return apply("GridSample", x, grid, mode=mode, padding_mode=padding_mode,
                 align_corners=int(align_corners))  # fmt: skip


def affine_transform(
    x: Value,
    matrix: Any,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Value:
    """Space under an affine map.

    Parameters: `x` [N, C, space...] of two or three spatial axes; `matrix`, for all samples an
    array [axes, axes + 1], or for each a symbolic tensor [N, axes, axes + 1], as a network finds it
    (spatial transformers, Jaderberg et al. 2015): the last column is the shift; the others as for
    `grid_sample`. Returns the shape of `x`; gradients flow to it and to the matrix.

    >>> import eddl
    >>> mirrored = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> eddl.layers.affine_transform(eddl.Input((3, 32, 32)), mirrored).shape
    ('batch', 3, 32, 32)
    """
    layer = "affine_transform"
    rank = _plane_or_volume(x, layer)
    _checked(layer, mode, padding_mode)
    theta = matrix if isinstance(matrix, Value) else Constant(np.asarray(matrix, x.dtype)[None])
    if theta.rank != 3 or any(
        n not in (m, None) for n, m in zip(theta.shape[1:], (rank, rank + 1), strict=False)
    ):
        raise ShapeError(
            f"{layer}: received a matrix {theta.type} for {x.type}, expected [{rank}, {rank + 1}], "
            f"or a symbolic tensor [N, {rank}, {rank + 1}]"
        )
    if isinstance(theta, Constant):
        count = apply("Concat", apply("Shape", x, start=0, end=1), integers([1, 1]), axis=0)
        theta = apply("Expand", theta, count)
    grid = apply("AffineGrid", theta, apply("Shape", x), align_corners=int(align_corners))
    y = apply("GridSample", x, grid, mode=mode, padding_mode=padding_mode,
              align_corners=int(align_corners))  # fmt: skip
    known = [n for n in x.shape[1:] if isinstance(n, int)]
    return apply("Reshape", y, integers([0, *known])) if len(known) == rank + 1 else y


def _plane_or_volume(x: Value, layer: str) -> int:
    rank = spatial_rank(x, layer)
    if rank not in (2, 3):
        raise ShapeError(f"{layer}: received {x.type}, expected two or three spatial axes")
    return rank


def random_affine(
    x: Value,
    *,
    degrees: float = 0.0,
    scale: tuple[float, float] = (1.0, 1.0),
    translation: float = 0.0,
    mode: str = "linear",
    padding_mode: str = "zeros",
    name: str | None = None,
) -> Value:
    """In training each sample is turned, scaled and shifted at random; elsewhere nothing happens.

    Parameters: `x` [N, C, space...] of two or three spatial axes; `degrees`, the greatest angle, in
    each plane of axes, where elements are taken as cubes; `scale`, by how much space grows, drawn
    evenly between the logarithms of two numbers; `translation`, the greatest shift along each axis
    as a share of its size; the others as for `grid_sample`. Gradients flow to `x`.

    >>> import eddl
    >>> x = eddl.Input((3, 32, 32))
    >>> eddl.layers.random_affine(x, degrees=10, scale=(0.9, 1.1), translation=0.1).shape
    ('batch', 3, 32, 32)
    """
    layer = "random_affine"
    _plane_or_volume(x, layer)
    _checked(layer, mode, padding_mode)
    low, high = scale
    if not (0 < low <= high and math.isfinite(high) and degrees >= 0 and translation >= 0):
        raise AttributeValueError(
            f"{layer}: received degrees={degrees}, scale={scale}, translation={translation}; "
            "expected numbers from 0 on, and two numbers above 0, the lower one first"
        )
    return apply("RandomAffine", x, domain=PRIVATE, degrees=rounded(degrees),
                 scale=(rounded(low), rounded(high)), translation=rounded(translation), mode=mode,
                 padding_mode=padding_mode, label=Label(layer, name))  # fmt: skip
