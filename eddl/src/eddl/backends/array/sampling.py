"""Aligned regions: bilinear sampling is separable, so a region is two small matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.compiler.protocol import Offer, Thunk
from eddl.errors import AttributeValueError
from eddl.graph import Node

Taps = tuple[Array, Array, Array, Array]


def _taps(start: Any, length: Any, bins: int, ratio: int, size: int) -> tuple[Taps, int]:
    """The two elements around each sample along an axis, their weights; samples in a bin.

    Source: the ONNX operator specification of RoiAlign, and He et al. 2017, section 3.
    """
    count = ratio if ratio > 0 else math.ceil(length / bins)
    width = length / bins
    y = start + (np.arange(bins)[:, None] + (np.arange(count) + 0.5) / max(count, 1)) * width
    y = y.reshape(-1)
    inside = (y >= -1.0) & (y <= size)
    y = np.maximum(y, 0)
    low = np.minimum(y.astype(np.int64), size - 1)
    part = np.where(low >= size - 1, 0.0, y - low)
    return (low, np.minimum(low + 1, size - 1), (1 - part) * inside, part * inside), count


def _region(a: Mapping[str, Any], roi: Array, sizes: Sequence[int]) -> list[tuple[Taps, int]]:
    """The taps of a region [x1, y1, x2, y2] along both axes."""
    half = a["coordinate_transformation_mode"] == "half_pixel"
    box = roi.astype(np.promote_types(roi.dtype, np.float32)) * a["spatial_scale"] - 0.5 * half
    bins = (a["output_height"], a["output_width"])
    found = []
    for axis in range(2):
        start, length = box[1 - axis], box[3 - axis] - box[1 - axis]
        if not half:
            length = max(length, length.dtype.type(1))
        found.append(_taps(start, length, bins[axis], a["sampling_ratio"], sizes[axis]))
    return found


def _matrix(taps: Taps, count: int, bins: int, size: int, dtype: Any) -> Array:
    """The mean of each bin's samples, as rows over the axis."""
    low, high, before, after = taps
    matrix = np.zeros((bins, size), dtype)
    rows = np.repeat(np.arange(bins), count)
    np.add.at(matrix, (rows, low), before)
    np.add.at(matrix, (rows, high), after)
    return matrix / max(count, 1)


def _greatest(plane: Array, region: Sequence[tuple[Taps, int]], bins: Sequence[int]) -> Array:
    """The greatest weighted corner of all samples in each bin, as ONNX defines mode max."""
    (rows, in_height), (columns, in_width) = region
    best: Array | None = None
    for y, wy in ((rows[0], rows[2]), (rows[1], rows[3])):
        for x, wx in ((columns[0], columns[2]), (columns[1], columns[3])):
            corner = plane[:, y[:, None], x] * (wy[:, None] * wx)
            best = corner if best is None else np.maximum(best, corner)
    assert best is not None
    if not best.size:
        return np.zeros((len(plane), *bins), plane.dtype)
    apart = best.reshape(len(plane), bins[0], in_height, bins[1], in_width)
    greatest: Array = apart.max(axis=(2, 4))
    return greatest


def _checked(batch: Array, count: int) -> Array:
    if batch.size and (batch.min() < 0 or batch.max() >= count):
        raise AttributeValueError(
            f"RoiAlign: received batch_indices from {batch.min()} to {batch.max()}, expected "
            f"numbers from 0 to {count - 1}"
        )
    return batch


@kernel("RoiAlign")
@kernel("RoiAlignGrad", domain="eddl")
def roi_align(backend: ArrayBackend, node: Node) -> Offer:
    """Region by region: rows times data times columns, or the transposed products added up."""
    a, back = node.attributes, node.op == "RoiAlignGrad"
    bins = (a["output_height"], a["output_width"])

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        result = outputs[0]
        sizes = (result if back else inputs[0]).shape
        working = np.promote_types(result.dtype, np.float32)

        def run() -> None:
            given, rois, batch = inputs
            total = np.zeros(sizes, working) if back else None
            for r, sample in enumerate(_checked(batch, sizes[0])):
                region = _region(a, rois[r], sizes[2:])
                if a["mode"] == "max":
                    plane = given[sample].astype(working, copy=False)
                    result[r] = _greatest(plane, region, bins)
                    continue
                rows, columns = (
                    _matrix(*region[axis], bins[axis], sizes[2 + axis], working)
                    for axis in range(2)
                )
                if total is not None:
                    total[sample] += rows.T @ given[r].astype(working, copy=False) @ columns
                else:
                    result[r] = rows @ given[sample].astype(working, copy=False) @ columns.T
            if total is not None:
                result[...] = total

        return run

    return Offer("matrices", bind)
