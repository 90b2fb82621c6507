"""Losses of distances, for networks that learn what is alike."""

from __future__ import annotations

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value
from eddl.losses.parts import average, mean, over, total, wide, yes_or_no
from eddl.ops.table import PRIVATE, apply, integers

TINY = 1e-12
"""Below every root, whose slope at 0 would be infinite."""


def distance(first: Value, second: Value) -> Value:
    """The Euclidean distance of each pair of samples, [N, 1].

    >>> import eddl
    >>> eddl.losses.distance(eddl.Input((8,)), eddl.Input((8,))).shape
    ('batch', 1)
    """
    if first.rank < 2 or first.rank != second.rank:
        raise ShapeError(f"distance: received {first.type} and {second.type}, expected [N, ...]")
    difference = wide(first) - wide(second)
    square = over(difference * difference, range(1, first.rank))
    return apply("Unsqueeze", apply("Sqrt", square + TINY), integers([1]))


def contrastive(prediction: Value, target: Value, *, margin: float = 1.0) -> Value:
    """The mean of t d^2 / 2 + (1 - t) max(0, margin - d)^2 / 2 over all pairs.

    `prediction` holds distances d, [N] or [N, 1], as `distance` gives them; `target` is 1 where a
    pair is alike and 0 where it is not. Source: Hadsell et al. 2006, equation 4, whose Y is 1 - t.

    >>> import eddl
    >>> apart = eddl.losses.distance(eddl.Input((8,)), eddl.Input((8,)))
    >>> eddl.losses.contrastive(apart, eddl.Input((), dtype="int64")).shape
    ()
    """
    _check_margin("contrastive", margin)
    apart = wide(prediction)
    alike, _ = yes_or_no(target, apart)
    near = apply("Relu", margin - apart)
    return mean(0.5 * (alike * apart * apart + (1.0 - alike) * near * near))


def triplet(prediction: Value, target: Value, *, margin: float = 1.0) -> Value:
    """The mean of max(0, margin + farthest alike - nearest other) over the samples of a batch.

    `prediction` [N, D] holds embeddings, `target` [N] whole numbers, equal where samples are alike.
    Each sample is an anchor with its farthest alike and its nearest other of the batch; those
    without the one or the other count nowhere. Source: Hermans et al. 2017, equation 5.

    >>> import eddl
    >>> eddl.losses.triplet(eddl.Input((8,)), eddl.Input((), dtype="int64")).shape
    ()
    """
    _check_margin("triplet", margin)
    if prediction.rank != 2 or target.rank != 1 or target.dtype.kind not in "iu":
        raise ShapeError(
            f"triplet: received the prediction {prediction.type} and the target {target.type}; "
            "expected embeddings [N, D] and whole numbers [N]"
        )
    points = wide(prediction)
    kinds = apply("Paired", target, points, domain=PRIVATE, without=1)
    same = apply("Equal", *(apply("Unsqueeze", kinds, integers([axis])) for axis in (0, 1)))
    squares = over(points * points, [1], keepdims=1)
    turned = apply("Transpose", squares, perm=(1, 0))
    products = points @ apply("Transpose", points, perm=(1, 0))
    apart = apply("Sqrt", apply("Max", squares + turned - 2.0 * products, 0.0) + TINY)
    beyond = float(np.finfo(points.dtype).max / 4)
    axis = integers([1])
    farthest = apply("ReduceMax", apply("Where", same, apart, 0.0), axis, keepdims=0)
    nearest = apply("ReduceMin", apply("Where", same, beyond, apart), axis, keepdims=0)
    alike = over(apply("Cast", same, to=points.dtype), [1])
    others = over(1.0 - apply("Cast", same, to=points.dtype), [1])
    whole = apply("And", apply("Greater", alike, 1.5), apply("Greater", others, 0.5))
    counted = apply("Cast", whole, to=points.dtype)
    return average(total(counted * apply("Relu", margin + farthest - nearest)), total(counted))


def triplet_margin(
    anchor: Value, positive: Value, negative: Value, *, margin: float = 1.0
) -> Value:
    """The mean of max(0, margin + |anchor - positive| - |anchor - negative|) over all triplets.

    For a `Step` whose inputs are triplets. Source: Schroff et al. 2015 with plain distances.

    >>> import eddl
    >>> parts = (eddl.Input((8,)), eddl.Input((8,)), eddl.Input((8,)))
    >>> eddl.losses.triplet_margin(*parts).shape
    ()
    """
    _check_margin("triplet_margin", margin)
    return mean(apply("Relu", margin + distance(anchor, positive) - distance(anchor, negative)))


def _check_margin(name: str, margin: float) -> None:
    if not margin > 0:
        raise AttributeValueError(f"{name}: received margin={margin}, expected a number above 0")
