"""Boxes chosen by score and overlap, and the greatest element of each part of a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eddl.backends.array.backend import Array, ArrayBackend, kernel
from eddl.backends.array.evaluator import host
from eddl.compiler.protocol import Offer, Thunk
from eddl.errors import AttributeValueError
from eddl.graph import Node


def _corners(boxes: Array, centered: bool) -> Array:
    """Boxes as [low, low, high, high]."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centered:
        return np.concatenate([first - second / 2, first + second / 2], -1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union with each of several boxes, 0 for boxes without area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=-1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=-1)
    area = np.prod(box[2:] - box[:2])
    union = area + areas - common
    valid = (common > 0) & (areas > 0) & (area > 0) & (union > 0)
    found: Array = np.where(valid, common / np.where(union == 0, 1, union), 0)
    return found


def _first(inputs: Sequence[Any], index: int) -> Any:
    given = inputs[index] if index < len(inputs) else None
    return None if given is None or not np.size(given) else np.reshape(given, -1)[0]


@host("NonMaxSuppression")
def non_max_suppression(backend: ArrayBackend, node: Node, inputs: Sequence[Any]) -> list[Any]:
    """By class, the best boxes that overlap no better one by more than the threshold."""
    boxes, scores = _corners(inputs[0], bool(node.attributes["center_point_box"])), inputs[1]
    limit, overlap, least = (_first(inputs, i) for i in (2, 3, 4))
    found: list[tuple[int, int, int]] = []
    for batch, label in np.ndindex(scores.shape[:2]):
        order = np.argsort(-scores[batch, label], kind="stable")
        if least is not None:
            order = order[scores[batch, label][order] > least]
        kept: list[int] = []
        for index in order:
            if len(kept) >= int(limit or 0):
                break
            near = _overlap(boxes[batch, index], boxes[batch, kept])
            if not np.any(near > (overlap or 0)):
                kept.append(int(index))
        found += [(batch, label, index) for index in kept]
    return [np.asarray(found, np.int64).reshape(-1, 3)]


@kernel("MaxRoiPool")
def max_roi_pool(backend: ArrayBackend, node: Node) -> Offer:
    """Source: Girshick 2015, section 2.1; bins overlap where their bounds are no whole numbers."""
    scale, bins = node.attributes["spatial_scale"], node.attributes["pooled_shape"]

    def bind(inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Thunk:
        def run() -> None:
            (data, rois), (best, chosen) = inputs, outputs
            samples, channels, height, width = data.shape
            best.fill(0)
            if chosen is not None:
                chosen.fill(-1)
            for r, (sample, *box) in enumerate(rois):
                if not 0 <= sample < samples:
                    raise AttributeValueError(
                        f"MaxRoiPool: received the batch index {sample}, expected a number from 0 "
                        f"to {samples - 1}"
                    )
                rows, columns = (
                    _bounds([int(np.floor(v * scale + 0.5)) for v in box[axis::2]], count, size)
                    for axis, count, size in ((1, bins[0], height), (0, bins[1], width))
                )
                first = (int(sample) * channels + np.arange(channels)) * height * width
                for i, j in np.ndindex(*bins):
                    (top, bottom), (left, right) = rows[i], columns[j]
                    part = data[int(sample), :, top:bottom, left:right].reshape(channels, -1)
                    if not part.size:
                        continue
                    place = part.argmax(axis=1)
                    best[r, :, i, j] = part[np.arange(channels), place]
                    if chosen is not None:
                        y, x = np.divmod(place, right - left)
                        chosen[r, :, i, j] = first + (top + y) * width + left + x

        return run

    return Offer("regions", bind, optional=frozenset({1}))


def _bounds(ends: Sequence[int], count: int, size: int) -> list[tuple[int, int]]:
    """The elements of each bin of a region along an axis, both ends of the region within it."""
    start, end = ends
    step = max(end - start + 1, 1) / count

    def inside(place: float) -> int:
        return min(max(int(place) + start, 0), size)

    return [(inside(np.floor(i * step)), inside(np.ceil((i + 1) * step))) for i in range(count)]
