"""Metrics of numbers: means over all elements of an epoch, summed in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eddl.graph import Value
from eddl.losses.parts import SMALL, count_of, paired
from eddl.metrics.parts import Array, Counts, ratio
from eddl.ops.table import apply


@dataclass(frozen=True)
class MeanError:
    """The mean over all elements of a function of prediction and target."""

    name: ClassVar[str]

    def init(self, prediction: Value) -> dict[str, Array]:
        """Zeros: the sum and the number of elements."""
        return {"sum": np.zeros(()), "all": np.zeros(())}

    def update(
        self, state: Mapping[str, Value], prediction: Value, target: Value
    ) -> dict[str, Value]:
        """Add a batch's."""
        exact = apply("Cast", prediction, to="float64")
        errors = self.of(exact, paired(target, exact))
        return {
            "sum": state["sum"] + apply("ReduceSum", errors, keepdims=0),
            "all": state["all"] + count_of(errors),
        }

    def of(self, prediction: Value, target: Value) -> Value:
        """The error of each element."""
        raise NotImplementedError

    def result(self, state: Counts) -> float:
        """The mean; NaN when there was nothing."""
        return ratio(state["sum"], state["all"])


class MeanSquaredError(MeanError):
    """The mean of (prediction - target)^2.

    >>> MeanSquaredError().name
    'mean_squared_error'
    """

    name = "mean_squared_error"

    def of(self, prediction: Value, target: Value) -> Value:
        """Its square."""
        return (prediction - target) * (prediction - target)


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (prediction - target)^2.

    >>> RootMeanSquaredError().name
    'root_mean_squared_error'
    """

    name = "root_mean_squared_error"

    def result(self, state: Counts) -> float:
        """The root of the mean; NaN when there was nothing."""
        return float(np.sqrt(super().result(state)))


class MeanAbsoluteError(MeanError):
    """The mean of |prediction - target|.

    >>> MeanAbsoluteError().name
    'mean_absolute_error'
    """

    name = "mean_absolute_error"

    def of(self, prediction: Value, target: Value) -> Value:
        """Its size."""
        return apply("Abs", prediction - target)


@dataclass(frozen=True)
class MeanRelativeError(MeanError):
    """The mean of |prediction - target| / max(|target|, smallest).

    >>> MeanRelativeError().name
    'mean_relative_error'
    """

    smallest: float = SMALL

    name = "mean_relative_error"

    def of(self, prediction: Value, target: Value) -> Value:
        """Its size over the target's."""
        return apply("Abs", prediction - target) / apply("Max", apply("Abs", target), self.smallest)
