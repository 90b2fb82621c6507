"""Metrics of classes: shares of right answers, and overlaps a class.

Positions whose label is `ignore_label`, or no class at all, count nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value
from eddl.losses.parts import classes_of, logits_of, one_hot, over, yes_or_no
from eddl.metrics.parts import (
    Array,
    Counts,
    chosen_and_true,
    count,
    count_all,
    most_probable,
    outside,
    ratio,
)
from eddl.ops.table import apply, integers


@dataclass(frozen=True)
class Accuracy:
    """The share of positions whose most probable class is the target's.

    >>> Accuracy().name
    'accuracy'
    """

    ignore_label: int | None = None
    name: str = "accuracy"

    def init(self, prediction: Value) -> dict[str, Array]:
        """Zeros: right and all."""
        _several(prediction, self.name)
        return _zeros()

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        truth = one_hot(target, prediction, self.ignore_label)
        return _counted(state, most_probable(prediction) * truth, truth)

    def result(self, state: Counts) -> float:
        """Right over all; NaN when there was nothing."""
        return ratio(state["right"], state["all"])


@dataclass(frozen=True)
class TopK:
    """The share of positions at which fewer than `k` classes score more than the target's.

    >>> TopK(3).name
    'top_3'
    """

    k: int = 5
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise AttributeValueError(f"TopK: received k={self.k}, expected at least 1")

    @property
    def name(self) -> str:
        """`top_k` with the number."""
        return f"top_{self.k}"

    def init(self, prediction: Value) -> dict[str, Array]:
        """Zeros: right and all."""
        _several(prediction, self.name)
        return _zeros()

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        truth = one_hot(target, prediction, self.ignore_label)
        lowest = float(np.finfo(prediction.dtype).min)
        theirs = apply("Where", apply("Greater", truth, 0.0), prediction, lowest)
        theirs = apply("ReduceMax", theirs, integers([1]), keepdims=1)
        better = apply("Cast", apply("Greater", prediction, theirs), to=truth.dtype)
        within = apply("Less", over(better, [1], keepdims=1), float(self.k))
        within = apply("And", within, apply("Not", apply("IsNaN", theirs)))
        there = over(truth, [1], keepdims=1)
        return _counted(state, apply("Cast", within, to=there.dtype) * there, there)

    def result(self, state: Counts) -> float:
        """Right over all; NaN when there was nothing."""
        return ratio(state["right"], state["all"])


@dataclass(frozen=True)
class BinaryAccuracy:
    """The share of elements that lie on the target's side of the threshold.

    `threshold` is a probability; with `from_logits` the predictions are logits. A target above 0.5
    is a yes.

    >>> BinaryAccuracy().name
    'binary_accuracy'
    """

    threshold: float = 0.5
    from_logits: bool = True
    ignore_label: int | None = None
    name: str = "binary_accuracy"

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise AttributeValueError(
                f"BinaryAccuracy: received threshold={self.threshold}, expected a probability "
                "between 0 and 1"
            )

    def init(self, prediction: Value) -> dict[str, Array]:
        """Zeros: right and all."""
        return _zeros()

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        scores, logits = logits_of(prediction, "Sigmoid", self.from_logits)
        truth, weight = yes_or_no(target, scores, outside(target, self.ignore_label))
        bound = float(np.log(self.threshold / (1 - self.threshold))) if logits else self.threshold
        found, wanted = apply("Greater", scores, bound), apply("Greater", truth, 0.5)
        right = apply("Cast", apply("Equal", found, wanted), to=scores.dtype)
        weight = weight if weight is not None else right * 0.0 + 1.0
        return _counted(state, right * weight, weight)

    def result(self, state: Counts) -> float:
        """Right over all; NaN when there was nothing."""
        return ratio(state["right"], state["all"])


@dataclass(frozen=True)
class Overlap:
    """The mean over classes of a score of B = found and true, P = found and T = true positions.

    Counts run over the whole epoch. Classes that neither the predictions nor the targets hold are
    left out; with none left the result is NaN. Class 0 is left out unless `include_background`.
    One channel is a yes or no, and so is each one with `multilabel`: then there is no background.
    `from_logits` says whether such channels hold logits.
    """

    include_background: bool = False
    multilabel: bool = False
    from_logits: bool = True
    ignore_label: int | None = None

    name: ClassVar[str]

    def init(self, prediction: Value) -> dict[str, Array]:
        """Zeros, one a class."""
        zeros = np.zeros(classes_of(prediction))
        return {"both": zeros, "found": zeros.copy(), "true": zeros.copy()}

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's counts."""
        chosen, truth, _ = chosen_and_true(
            prediction, target, multilabel=self.multilabel, from_logits=self.from_logits,
            ignore=self.ignore_label,
        )  # fmt: skip
        axes = [axis for axis in range(prediction.rank) if axis != 1]
        batch = {"both": chosen * truth, "found": chosen, "true": truth}
        return {key: state[key] + count(value, axes) for key, value in batch.items()}

    def per_class(self, state: Counts) -> Array:
        """The score of every class, background first; NaN where there is nothing."""
        both, found, true = state["both"], state["found"], state["true"]
        whole = self.whole(both, found, true)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = np.where(whole > 0, both / whole, 0.0)
        return np.where(found + true > 0, scores, np.nan)

    def whole(self, both: Array, found: Array, true: Array) -> Array:
        """What B is divided by."""
        raise NotImplementedError

    def result(self, state: Counts) -> float:
        """The mean over the classes that are there."""
        scores = self.per_class(state)
        if not (self.include_background or self.multilabel or len(scores) == 1):
            scores = scores[1:]
        present = scores[~np.isnan(scores)]
        return float(present.mean()) if present.size else float("nan")


class Dice(Overlap):
    """The mean over the foreground classes of 2 B / (P + T).

    >>> Dice(include_background=True).name
    'dice'
    """

    name = "dice"

    def whole(self, both: Array, found: Array, true: Array) -> Array:
        """(P + T) / 2."""
        return (found + true) / 2


class IoU(Overlap):
    """The mean over the foreground classes of B / (P + T - B), intersection over union.

    >>> IoU().name
    'iou'
    """

    name = "iou"

    def whole(self, both: Array, found: Array, true: Array) -> Array:
        """P + T - B."""
        return found + true - both


class Precision(Overlap):
    """The mean over classes of B / P: how much of what was found is there.

    With two classes, as with one channel, that of class 1, unless `include_background`.

    >>> Precision().name
    'precision'
    """

    name = "precision"

    def whole(self, both: Array, found: Array, true: Array) -> Array:
        """P."""
        return found


class Recall(Overlap):
    """The mean over classes of B / T: how much of what is there was found.

    >>> Recall().name
    'recall'
    """

    name = "recall"

    def whole(self, both: Array, found: Array, true: Array) -> Array:
        """T."""
        return true


def _several(prediction: Value, name: str) -> None:
    if classes_of(prediction) < 2:
        raise ShapeError(
            f"{name}: received {prediction.type}, expected at least 2 classes; for a yes or no in "
            "one channel take binary_accuracy"
        )


def _zeros() -> dict[str, Array]:
    return {"right": np.zeros(()), "all": np.zeros(())}


def _counted(state: Mapping[str, Value], right: Value, every: Value) -> dict[str, Value]:
    return {"right": state["right"] + count_all(right), "all": state["all"] + count_all(every)}
