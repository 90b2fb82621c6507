"""Resizing of space, in every mode of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.layers.build import Sizes, per_axis, spatial_rank
from eddl.ops.table import apply, integers


def resize(
    x: Value,
    *,
    sizes: Sizes | None = None,
    scales: float | Sequence[float] | None = None,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    antialias: bool = False,
    exclude_outside: bool = False,
    keep_aspect_ratio_policy: str = "stretch",
    extrapolation_value: float = 0.0,
    roi: Sequence[float] = (),
) -> Value:
    """Space with other sizes.

    Parameters: `x` [N, C, space...]; either `sizes` or `scales` (output over input; sizes are
    rounded down), a number for all spatial axes or one an axis; `mode`, "nearest", "linear" or
    "cubic"; `coordinate_transformation_mode`, where output elements lie in the input:
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize" or "tf_half_pixel_for_nn"; `nearest_mode`, which neighbour is taken:
    "round_prefer_floor", "round_prefer_ceil", "floor" or "ceil"; `cubic_coeff_a`, of the cubic
    curve (-0.75 as PyTorch and OpenCV, -0.5 as TensorFlow); `antialias`, whether linear and cubic
    modes take in more neighbours when they shrink; `exclude_outside`, whether neighbours outside
    get no weight; `keep_aspect_ratio_policy` for `sizes`, "stretch", "not_larger" or "not_smaller";
    for "tf_crop_and_resize" `roi`, all starts then all ends in shares of the spatial axes, and
    `extrapolation_value`, what stands outside. All as ONNX's Resize.

    >>> import eddl
    >>> eddl.layers.resize(eddl.Input((8, 16, 16)), scales=2, mode="linear").shape
    ('batch', 8, 32, 32)
    """
    rank = spatial_rank(x, "resize")
    if (sizes is None) == (scales is None):
        raise AttributeValueError(
            f"resize: received sizes={sizes} and scales={scales}, expected one of them"
        )
    wanted = None if sizes is None else integers(per_axis(sizes, rank, "resize sizes"))
    factors = None
    if scales is not None:
        listed = [*scales] if isinstance(scales, Sequence) else [scales] * rank
        if len(listed) != rank or not all(s > 0 for s in listed):
            raise AttributeValueError(
                f"resize: received scales={scales}, expected a number above 0, or {rank} of them"
            )
        factors = np.asarray(listed, np.float32)
    if antialias and mode == "nearest":
        raise AttributeValueError("resize: received antialias with mode 'nearest', expected others")
    return apply(
        "Resize",
        x,
        np.asarray(roi, np.float32) if len(roi) else None,
        factors,
        *(() if wanted is None else (wanted,)),
        axes=tuple(range(2, 2 + rank)),
        mode=mode,
        coordinate_transformation_mode=coordinate_transformation_mode,
        nearest_mode=nearest_mode,
        cubic_coeff_a=float(cubic_coeff_a),
        antialias=int(antialias),
        exclude_outside=int(exclude_outside),
        keep_aspect_ratio_policy=keep_aspect_ratio_policy,
        extrapolation_value=float(extrapolation_value),
    )
