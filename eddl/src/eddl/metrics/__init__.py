"""Metrics: `init`, `update`, `result`, exact over an epoch whatever the batches.

`update` is symbolic, so a metric is counted on the device, inside the step; `result` is plain
NumPy. Counts are kept in float64, exact up to 2^53. What no counts of a fixed size can hold is
gathered: see `Metric`.
"""

from __future__ import annotations

from collections.abc import Callable

from eddl.errors import AttributeValueError
from eddl.metrics.classes import Accuracy, BinaryAccuracy, Dice, IoU, Precision, Recall, TopK
from eddl.metrics.errors import (
    MeanAbsoluteError,
    MeanRelativeError,
    MeanSquaredError,
    RootMeanSquaredError,
)
from eddl.metrics.parts import Counts, Metric, gathers
from eddl.metrics.ranking import AUC

__all__ = [
    "AUC",
    "NAMED",
    "Accuracy",
    "BinaryAccuracy",
    "Counts",
    "Dice",
    "IoU",
    "MeanAbsoluteError",
    "MeanRelativeError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopK",
    "gathers",
    "get",
]

NAMED: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "top_5": TopK,
    "binary_accuracy": BinaryAccuracy,
    "dice": Dice,
    "iou": IoU,
    "precision": Precision,
    "recall": Recall,
    "auc": AUC,
    "mean_squared_error": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_relative_error": MeanRelativeError,
}
"""Metrics by name, with their defaults."""


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
