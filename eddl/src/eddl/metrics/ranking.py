"""The area under the receiver operating characteristic, exact over an epoch.

It depends on the order of all scores, which no counts of a fixed size hold, so this metric gathers:
a score and a label a position, kept on the host until the epoch ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eddl.graph import Value
from eddl.losses.parts import classes_of, logits_of, one_hot, over, yes_or_no
from eddl.metrics.parts import Array, Counts, outside
from eddl.ops.table import apply, integers


@dataclass(frozen=True)
class AUC:
    """The probability that a positive scores more than a negative, ties counting one half.

    That is the area under the ROC curve (Hanley and McNeil 1982). One channel, and each one with
    `multilabel`, is ranked by its score; of two classes, class 1 against class 0; of more, each
    against the rest by its log-probability. The result is the mean over the columns that hold both
    kinds, and NaN when none does. `from_logits` says whether several classes come as logits.
    Positions with `ignore_label`, or a label that is no class, count nowhere.

    >>> AUC().name
    'auc'
    """

    multilabel: bool = False
    from_logits: bool = True
    ignore_label: int | None = None

    name: ClassVar[str] = "auc"
    gathers: ClassVar[bool] = True

    def init(self, prediction: Value) -> dict[str, Array]:
        """No rows, of a score and a label a column."""
        classes = classes_of(prediction)
        columns = 1 if classes == 2 and not self.multilabel else classes
        scores = np.zeros((0, columns), np.result_type(prediction.dtype, np.float32))
        return {"scores": scores, "labels": np.zeros((0, columns), np.int8)}

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """A batch's rows; a label is 0, 1, or -1 where nothing counts."""
        classes = classes_of(prediction)
        if self.multilabel or classes == 1:
            scores, _ = logits_of(prediction, "Sigmoid", True)
            truth, weight = yes_or_no(target, scores, outside(target, self.ignore_label))
            counted = weight if weight is not None else truth * 0.0 + 1.0
            positive = apply("Greater", truth, 0.5)
        else:
            scores, logits = logits_of(prediction, "Softmax", self.from_logits)
            truth = one_hot(target, scores, self.ignore_label)
            counted, positive = over(truth, [1], keepdims=1), apply("Greater", truth, 0.5)
            if classes == 2:
                scores, positive = _second(scores) - _first(scores), _second(positive)
            elif logits:
                scores = apply("LogSoftmax", scores, axis=1)
        marks = apply("Where", positive, np.int8(1), np.int8(0))
        marks = apply("Where", apply("Greater", counted, 0.0), marks, np.int8(-1))
        return {"scores": _rows(scores), "labels": _rows(marks)}

    def per_class(self, state: Counts) -> Array:
        """The area of each column; NaN where only one kind is there."""
        pairs = zip(state["scores"].T, state["labels"].T, strict=True)
        return np.array([area(scores, labels) for scores, labels in pairs])

    def result(self, state: Counts) -> float:
        """The mean of the areas."""
        areas = self.per_class(state)
        defined = areas[~np.isnan(areas)]
        return float(defined.mean()) if defined.size else float("nan")


def area(scores: Array, labels: Array) -> float:
    """The Mann-Whitney statistic of scores with labels 1 and 0, divided by the number of pairs.

    >>> import numpy as np
    >>> area(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.875
    """
    counted = labels >= 0
    scores, positive = scores[counted], labels[counted] == 1
    if np.isnan(scores).any():
        return float("nan")
    _, places = np.unique(scores, return_inverse=True)
    both = np.bincount(places)
    ones = np.bincount(places[positive], minlength=len(both))
    zeros = both - ones
    pairs = int(ones.sum()) * int(zeros.sum())
    below = np.cumsum(zeros) - zeros
    return float((ones * (2 * below + zeros)).sum() / (2 * pairs)) if pairs else float("nan")


def _rows(value: Value) -> Value:
    """[N, C, space...] as [N x space, C]."""
    order = (0, *range(2, value.rank), 1)
    last = value.shape[1]
    assert isinstance(last, int)
    return apply("Reshape", apply("Transpose", value, perm=order), integers([-1, last]))


def _first(value: Value) -> Value:
    return apply("Slice", value, integers([0]), integers([1]), integers([1]))


def _second(value: Value) -> Value:
    return apply("Slice", value, integers([1]), integers([2]), integers([1]))
