"""Losses of numbers: each the mean over all elements of a function of the error."""

from __future__ import annotations

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses.parts import SMALL, mean, paired, wide
from eddl.ops.table import apply


def mean_squared_error(prediction: Value, target: Value) -> Value:
    """The mean of (prediction - target)^2 over all elements.

    >>> import eddl
    >>> eddl.losses.mean_squared_error(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    error = _error(prediction, target)
    return mean(error * error)


def mean_absolute_error(prediction: Value, target: Value) -> Value:
    """The mean of |prediction - target| over all elements.

    >>> import eddl
    >>> eddl.losses.mean_absolute_error(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    return mean(apply("Abs", _error(prediction, target)))


def mean_relative_error(prediction: Value, target: Value, *, smallest: float = SMALL) -> Value:
    """The mean of |prediction - target| / max(|target|, smallest) over all elements.

    >>> import eddl
    >>> eddl.losses.mean_relative_error(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    if not smallest > 0:
        raise AttributeValueError(
            f"mean_relative_error: received smallest={smallest}, expected > 0"
        )
    scores = wide(prediction)
    size = apply("Max", apply("Abs", paired(target, scores)), smallest)
    return mean(apply("Abs", _error(scores, target)) / size)


def mean_squared_logarithmic_error(prediction: Value, target: Value) -> Value:
    """The mean of (log(1 + prediction) - log(1 + target))^2, both taken as 0 where negative.

    >>> import eddl
    >>> eddl.losses.mean_squared_logarithmic_error(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    scores = wide(prediction)
    values = (scores, paired(target, scores))
    first, second = (apply("Log", 1.0 + apply("Relu", value)) for value in values)
    return mean((first - second) * (first - second))


def huber(prediction: Value, target: Value, *, delta: float = 1.0) -> Value:
    """The mean of e^2 / 2 where the error |e| < delta, and of delta (|e| - delta / 2) beyond.

    Source: Huber 1964.

    >>> import eddl
    >>> eddl.losses.huber(eddl.Input((5,)), eddl.Input((5,)), delta=0.5).shape
    ()
    """
    if not delta > 0:
        raise AttributeValueError(f"huber: received delta={delta}, expected a number above 0")
    size = apply("Abs", _error(prediction, target))
    near = apply("Min", size, delta)
    return mean(near * (size - 0.5 * near))


def _error(prediction: Value, target: Value) -> Value:
    scores = wide(prediction)
    return scores - paired(target, scores)
