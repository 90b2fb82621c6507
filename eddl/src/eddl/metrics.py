"""Metrics: `init`, `update`, `result`, exact over an epoch whatever the batches.

`update` is symbolic, so a metric is counted on the device, inside the step; `result` is plain
NumPy. Counts are kept in float64, exact up to 2^53.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value
from eddl.losses import one_hot
from eddl.ops.table import apply, integers

Counts = Mapping[str, np.ndarray[Any, Any]]


class Metric(Protocol):
    """What a metric is; `prediction` holds logits where the loss takes them."""

    name: str

    def init(self, prediction: Value) -> dict[str, np.ndarray[Any, Any]]:
        """The counts before the first batch."""

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """The counts after a batch."""

    def result(self, state: Counts) -> float:
        """The metric from the counts."""


def _classes(prediction: Value) -> int:
    classes = prediction.shape[1] if prediction.rank > 1 else None
    if not isinstance(classes, int):
        raise ShapeError(f"received {prediction.type}, expected a known number of classes (axis 1)")
    return classes


def _chosen(prediction: Value) -> Value:
    """The predicted class as one-hot of the prediction's shape."""
    best = apply("ArgMax", prediction, axis=1, keepdims=0)
    return one_hot(best, prediction)


def _count(value: Value, *, axes: list[int] | None = None) -> Value:
    wide = apply("Cast", value, to="float64")
    return apply("ReduceSum", wide, *([integers(axes)] if axes else []), keepdims=0)


class Dice:
    """The mean over the foreground classes of 2 I / (P + T), from counts over the whole epoch.

    Classes that neither the predictions nor the targets hold are left out; with none left the
    result is NaN.
    """

    name = "dice"

    def init(self, prediction: Value) -> dict[str, np.ndarray[Any, Any]]:
        """Zeros: intersections and sizes, one a class."""
        zeros = np.zeros(_classes(prediction))
        return {"both": zeros, "sizes": zeros.copy()}

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        axes = [axis for axis in range(prediction.rank) if axis != 1]
        chosen, truth = _chosen(prediction), one_hot(target, prediction)
        return {
            "both": state["both"] + _count(chosen * truth, axes=axes),
            "sizes": state["sizes"] + _count(chosen, axes=axes) + _count(truth, axes=axes),
        }

    def per_class(self, state: Counts) -> np.ndarray[Any, Any]:
        """The score of every class, background first; NaN where there is nothing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(2 * state["both"] / state["sizes"])

    def result(self, state: Counts) -> float:
        """The mean over the foreground."""
        scores = self.per_class(state)[1:]
        present = scores[~np.isnan(scores)]
        return float(present.mean()) if present.size else float("nan")


class Accuracy:
    """The share of positions whose most probable class is the target's."""

    name = "accuracy"

    def init(self, prediction: Value) -> dict[str, np.ndarray[Any, Any]]:
        """Zeros: right and all."""
        _classes(prediction)
        return {"right": np.zeros(()), "all": np.zeros(())}

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        truth = one_hot(target, prediction)
        return {
            "right": state["right"] + _count(_chosen(prediction) * truth),
            "all": state["all"] + _count(truth),
        }

    def result(self, state: Counts) -> float:
        """Right over all; NaN when there was nothing."""
        return float(state["right"] / state["all"]) if state["all"] else float("nan")


NAMED: dict[str, type[Dice] | type[Accuracy]] = {"dice": Dice, "accuracy": Accuracy}


def get(metric: str | Metric) -> Metric:
    """A metric by name, or the object itself.

    >>> get("dice").name
    'dice'
    """
    if not isinstance(metric, str):
        return metric
    if metric not in NAMED:
        raise AttributeValueError(
            f"received the metric {metric!r}, expected one of {sorted(NAMED)} or an object with "
            "init, update and result"
        )
    return NAMED[metric]()
