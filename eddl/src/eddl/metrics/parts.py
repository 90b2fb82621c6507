"""What a metric is, and what metrics are counted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eddl.graph import Value
from eddl.losses.parts import classes_of, logits_of, one_hot, over, yes_or_no
from eddl.ops.table import apply

Array = np.ndarray[Any, Any]
Counts = Mapping[str, Array]


@runtime_checkable
class Metric(Protocol):
    """What a metric is; `prediction` holds logits where the loss takes them.

    A metric with an attribute `gathers` that is true has no counts of a fixed size: its `init`
    gives arrays without rows, its `update` the rows of one batch, which the loop appends to them on
    the host, and its `result` sees the rows of the whole epoch.
    """

    @property
    def name(self) -> str:
        """Its name in the history."""

    def init(self, prediction: Value) -> dict[str, Array]:
        """The counts before the first batch."""

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """The counts after a batch."""

    def result(self, state: Counts) -> float:
        """The metric from the counts."""


def gathers(metric: Metric) -> bool:
    """Whether a metric keeps rows instead of counts."""
    return bool(getattr(metric, "gathers", False))


def count(value: Value, axes: Sequence[int]) -> Value:
    """A sum of zeros and ones in float64; lines of space are counted first, in their own type,
    where they are exact up to 2^24 and need no wide copy of everything."""
    last = value.rank - 1
    if last > 1:
        value, axes = over(value, [last]), [axis for axis in axes if axis != last]
    return over(apply("Cast", value, to="float64"), axes)


def count_all(value: Value) -> Value:
    """As `count`, over all axes."""
    return count(value, range(value.rank))


def ratio(part: Array, whole: Array) -> float:
    """part / whole; NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def outside(target: Value, ignore_label: int | None) -> int | None:
    """What to leave out of class indices: a label that is no class counts nowhere, either."""
    return -1 if ignore_label is None and target.dtype.kind in "iu" else ignore_label


def chosen_and_true(
    prediction: Value, target: Value, *, multilabel: bool, from_logits: bool, ignore: int | None
) -> tuple[Value, Value, Value]:
    """What was predicted, what is true, and what counts: 0 and 1 of the prediction's shape.

    One channel, and each channel of a `multilabel` prediction, is a yes or no of its own.
    """
    if multilabel or classes_of(prediction) == 1:
        scores, logits = logits_of(prediction, "Sigmoid", from_logits)
        truth, weight = yes_or_no(target, scores, outside(target, ignore))
        weight = weight if weight is not None else truth * 0.0 + 1.0
        yes = apply("Cast", apply("Greater", scores, 0.0 if logits else 0.5), to=scores.dtype)
        return yes * weight, truth, weight
    truth = one_hot(target, prediction, ignore)
    counted = over(truth, [1], keepdims=1)
    return most_probable(prediction) * counted, truth, counted


def most_probable(prediction: Value) -> Value:
    """The most probable class as one-hot of the prediction's shape."""
    return one_hot(apply("ArgMax", prediction, axis=1, keepdims=0), prediction)
