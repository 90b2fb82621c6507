"""Rows of pools, resizing and sampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .row import Generator, Row, ints, positive, spread

POOLS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), {"kernel_shape": (3,), "strides": (2,)}),
    ((2, 3, 7, 6), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    ((1, 2, 8, 8), {"kernel_shape": (2, 3), "dilations": (2, 2)}),
    ((1, 2, 7, 8), {"kernel_shape": (2, 2), "strides": (2, 2), "ceil_mode": 1}),
    ((1, 2, 5, 5), {"kernel_shape": (3, 3), "auto_pad": "SAME_LOWER", "strides": (2, 2)}),
    ((1, 2, 4, 4, 6), {"kernel_shape": (2, 2, 2), "strides": (2, 2, 2)}),
]
INCLUDED = {"count_include_pad": 1}
NONE = np.zeros(0)


def _resize(shape: tuple[int, ...], scales: tuple[float, ...], **attributes: Any) -> Row:
    oracle = "onnxruntime" if attributes.get("mode") == "cubic" else "onnx.reference"
    return Row("Resize", lambda r: [spread(r, *shape), NONE, np.array(scales)], attributes,
               constant=(1, 2), oracle=oracle)  # fmt: skip


def _sizes(shape: tuple[int, ...], sizes: tuple[int, ...], **attributes: Any) -> Row:
    return Row("Resize", lambda r: [spread(r, *shape), NONE, NONE, ints(*sizes)], attributes,
               constant=(1, 2, 3), oracle="onnxruntime")  # fmt: skip


TRANSFORMS = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
              "asymmetric")  # fmt: skip
RESIZES = [
    *(_resize((2, 2, 4, 5), (1, 1, 2, 1.5), coordinate_transformation_mode=t, mode=m)
      for t in TRANSFORMS for m in ("nearest", "linear", "cubic")
      if (t, m) != ("align_corners", "cubic")),  # onnxruntime rounds the size that this divides by
    _resize((2, 2, 4, 5), (1, 1, 2, 1.6), coordinate_transformation_mode="align_corners",
            mode="cubic"),
    *(_resize((1, 1, 6, 7), (1, 1, 0.5, 0.75), mode=m, antialias=1) for m in ("linear", "cubic")),
    *(_resize((1, 5, 4), (1, 1.25, 2.5), nearest_mode=n)
      for n in ("round_prefer_ceil", "floor", "ceil")),
    _resize((1, 1, 4, 4), (1, 1, 0.75, 2), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
    _resize((1, 2, 3, 4, 3), (1, 1, 2, 2, 2), mode="linear"),
    _resize((5,), (2,), mode="linear"),
    _resize((3, 4, 2), (2, 1.5), mode="linear", axes=(0, 1)),
    _sizes((1, 1, 4, 6), (1, 1, 7, 3), mode="linear"),
    Row("Resize", lambda r: [spread(r, 1, 1, 4, 5), np.array([0, 0, 0.2, 0.4, 1, 1, 1.3, 0.7]),
                             NONE, ints(1, 1, 5, 3)],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize",
         "extrapolation_value": 3.0}, constant=(1, 2, 3), oracle="onnxruntime"),
    Row("Upsample", lambda r: [spread(r, 1, 2, 3, 2), np.array([1.0, 1, 2, 3])], constant=(1,),
        opset=9),
    Row("Resample", lambda r: [spread(r, 2, 4, 3), r.integers(0, 4, (5, 2)), spread(r, 5, 2)],
        {"axis": 1}, domain="eddl", constant=(1, 2)),
    Row("Resample", lambda r: [spread(r, 2, 4), ints(3, 0, 3)[:, None], np.ones((3, 1))],
        {"axis": 1}, domain="eddl", constant=(1, 2)),
]  # fmt: skip


def _grid(r: Generator, *shape: int) -> np.ndarray:
    return r.uniform(-1.4, 1.4, shape)


def _grid_row(x: tuple[int, ...], grid: tuple[int, ...], **attributes: Any) -> Row:
    return Row("GridSample", lambda r: [spread(r, *x), _grid(r, *grid)], attributes,
               oracle="onnxruntime")  # fmt: skip


def _deform(r: Generator) -> list[np.ndarray]:
    return [spread(r, 2, 4, 5, 4), spread(r, 6, 2, 3, 2), r.uniform(-0.9, 0.9, (2, 24, 3, 2)),
            spread(r, 6), positive(r, 2, 12, 3, 2)]  # fmt: skip


ROIS = np.array([[0.4, 0.7, 4.3, 3.9], [-1.5, 2.1, 3.2, 6.6], [1.1, 1.2, 1.3, 1.4]])
SAMPLING = [
    *(_grid_row((2, 2, 4, 5), (2, 3, 3, 2), mode=m, padding_mode=p, align_corners=a)
      for m in ("linear", "nearest", "cubic") for p in ("zeros", "border", "reflection")
      for a in (0, 1)),
    _grid_row((1, 2, 3, 4, 3), (1, 2, 2, 3, 3)),
    _grid_row((1, 1, 3, 4, 3), (1, 2, 2, 2, 3), mode="nearest", padding_mode="border"),
    Row("DeformConv", _deform, {"group": 2, "offset_group": 2, "strides": (2, 2),
                                "pads": (1, 0, 1, 0), "kernel_shape": (3, 2)},
        oracle="onnxruntime"),
    Row("DeformConv", lambda r: [spread(r, 1, 2, 5, 5), spread(r, 3, 2, 2, 2),
                                 r.uniform(-0.9, 0.9, (1, 8, 3, 3))],
        {"dilations": (2, 2), "kernel_shape": (2, 2), "pads": (0, 0, 0, 0), "strides": (1, 1)},
        oracle="onnxruntime"),
    *(Row("RoiAlign", lambda r: [spread(r, 2, 3, 6, 5), ROIS, ints(0, 1, 1)],
          {"output_height": 3, "output_width": 2, **a}, constant=(1,))
      for a in ({"sampling_ratio": 2}, {"spatial_scale": 0.5},
                {"coordinate_transformation_mode": "output_half_pixel"})),
    Row("RoiAlign", lambda r: [spread(r, 2, 3, 6, 5), ROIS, ints(0, 1, 1)],
        {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "mode": "max"},
        constant=(0, 1)),
    Row("RoiAlignGrad", lambda r: [spread(r, 3, 2, 3, 2), ROIS, ints(0, 1, 1)],
        {"output_height": 3, "output_width": 2, "shape": (2, 2, 6, 5)}, domain="eddl",
        constant=(1,)),
    Row("MaxRoiPool", lambda r: [spread(r, 2, 2, 6, 7), np.array([[0.0, 1, 1, 5, 4],
                                 [1, 0, 2, 6, 5], [1, 3, 3, 3, 3]])],
        {"pooled_shape": (2, 3)}, constant=(1,), oracle="onnxruntime"),
    Row("Col2Im", lambda r: [spread(r, 2, 12, 9), ints(4, 5), ints(2, 3)], constant=(1, 2)),
    Row("Col2Im", lambda r: [spread(r, 1, 4, 9), ints(6, 6), ints(2, 2)],
        {"strides": (2, 2), "dilations": (2, 1), "pads": (1, 0, 1, 0)}, constant=(1, 2)),
]  # fmt: skip
POOLING = [
    *(Row("AveragePool", lambda r, x=x: [spread(r, *x)], a, oracle="onnxruntime")
      for x, a in POOLS),
    *(Row("AveragePool", lambda r, x=x: [spread(r, *x)], a) for x, a in POOLS[:2]),
    Row("AveragePool", lambda r: [spread(r, 2, 3, 7, 6)], {**POOLS[1][1], **INCLUDED}),
    Row("AveragePool", lambda r: [spread(r, 1, 2, 5, 5)], {**POOLS[4][1], **INCLUDED},
        oracle="onnxruntime"),
    Row("AveragePool", lambda r: [spread(r, 1, 2, 7, 7)],
        {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 0, 0), "ceil_mode": 1,
         **INCLUDED}, oracle="onnxruntime"),
    *(Row("LpPool", lambda r, x=x: [spread(r, *x)], {**a, "p": p}, oracle="onnxruntime")
      for p in (2, 3) for x, a in (POOLS[0], POOLS[1], POOLS[5])),
    *(Row("SumPool", lambda r, x=x: [spread(r, *x)], a, domain="eddl") for x, a in POOLS),
    Row("SumPoolGrad", lambda r: [spread(r, 1, 2, 4, 3)], domain="eddl",
        attributes={"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1),
                    "shape": (1, 2, 7, 6)}),
    Row("GlobalMaxPool", lambda r: [spread(r, 2, 3, 4, 5)]),
    *(Row("GlobalLpPool", lambda r: [spread(r, 2, 3, 4)], {"p": p}, oracle="onnxruntime")
      for p in (1, 2, 3)),
    *(Row("MaxPool", lambda r, x=x: [spread(r, *x)], {**a, "storage_order": order}, outputs=2,
          oracle="onnxruntime") for order in (0, 1) for x, a in (POOLS[0], POOLS[1], POOLS[5])),
    Row("MaxUnpool", lambda r: [spread(r, 1, 2, 2, 2), ints(5, 7, 13, 15, 16, 18, 24, 26)
                                .reshape(1, 2, 2, 2)],
        {"kernel_shape": (2, 2), "strides": (2, 2)}),
    Row("MaxUnpool", lambda r: [spread(r, 1, 1, 2, 2), ints(5, 7, 13, 15).reshape(1, 1, 2, 2),
                                ints(1, 1, 5, 6)],
        {"kernel_shape": (2, 2), "strides": (2, 2)}, constant=(2,)),
]  # fmt: skip

GRIDS = [
    Row("AffineGrid",
        lambda r, size=size: [r.standard_normal((size[0], len(size) - 2, len(size) - 1)),
                              ints(*size)],
        {"align_corners": align}, constant=(1,), oracle="onnxruntime")
    for size in ((2, 3, 4, 5), (2, 1, 2, 3, 4)) for align in (0, 1)
]  # fmt: skip

ROWS: list[Row] = [*POOLING, *RESIZES, *SAMPLING, *GRIDS]
