"""Losses: functions `(prediction, target) -> scalar` of symbolic tensors.

A loss given by name takes logits; options are bound with `functools.partial`. A categorical target
is class indices [N, space...] when its type is integral, and one-hot or soft labels [N, C,
space...] when floating.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value
from eddl.ops.table import apply, integers

Loss = Callable[[Value, Value], Value]

SMALL = 1e-7
"""Keeps the logarithm of a probability finite where `from_logits=False`."""


def class_weights(target: Value, prediction: Value) -> Value:
    """A categorical target as a tensor of the prediction's shape [N, C, space...].

    Class indices become one-hot; an index outside 0..C-1 belongs to no class.
    """
    if target.dtype.kind in "iu":
        if target.rank != prediction.rank - 1:
            raise ShapeError(
                f"received class indices {target.type} for the prediction {prediction.type}; "
                "expected one index a position: the prediction's shape without the class axis"
            )
        classes = prediction.shape[1]
        if not isinstance(classes, int):
            raise ShapeError(f"received {prediction.type}, expected a known number of classes")
        values = np.asarray([0, 1], prediction.dtype)
        # OneHot counts negative indices from the end; here they belong to no class.
        kept = apply("Where", apply("Less", target, 0), np.asarray(classes, target.dtype), target)
        return apply("OneHot", kept, np.asarray([classes], np.int64), values, axis=1)
    if target.dtype.kind == "f":
        if target.rank != prediction.rank:
            raise ShapeError(
                f"received a floating target {target.type} for the prediction {prediction.type}; "
                "expected one-hot or soft labels with the class axis; class indices must have an "
                "integral type: target.astype('int64')"
            )
        return (
            target
            if target.dtype == prediction.dtype
            else apply("Cast", target, to=prediction.dtype)
        )
    raise ShapeError(f"received a target of type {target.type}, expected integers or floats")


def categorical_cross_entropy(
    prediction: Value, target: Value, *, from_logits: bool = True
) -> Value:
    """The mean over all positions of -sum_c target_c log p_c.

    `prediction` [N, C, space...]: logits, or probabilities with `from_logits=False`.

    >>> import eddl
    >>> eddl.losses.categorical_cross_entropy(eddl.Input((5,)), eddl.Input((), dtype="int64")).shape
    ()
    """
    weights = class_weights(target, prediction)
    if from_logits:
        logarithm = apply("LogSoftmax", prediction, axis=1)
    else:
        logarithm = apply("Log", apply("Max", prediction, SMALL))
    each = apply("ReduceSum", weights * logarithm, integers([1]), keepdims=0)
    return -apply("ReduceMean", each, keepdims=0)


def dice(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    include_background: bool = False,
    smooth: float = 1.0,
) -> Value:
    """1 - the mean over classes of (2 I + smooth) / (P + T + smooth), sums over the whole batch.

    I is the sum of p_c target_c, P and T those of p_c and target_c. Class 0 is left out unless
    `include_background`. Source: Milletari et al. 2016 (V-Net), without the squares.

    >>> import eddl
    >>> eddl.losses.dice(eddl.Input((5, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    weights = class_weights(target, prediction)
    probability = apply("Softmax", prediction, axis=1) if from_logits else prediction
    axes = integers([axis for axis in range(prediction.rank) if axis != 1])

    def total(value: Value) -> Value:
        return apply("ReduceSum", value, axes, keepdims=0)

    both = total(probability * weights)
    score = (2.0 * both + smooth) / (total(probability) + total(weights) + smooth)
    if not include_background:
        score = apply("Slice", score, integers([1]), integers([np.iinfo(np.int64).max]))
    return 1.0 - apply("ReduceMean", score, keepdims=0)


def dice_cross_entropy(prediction: Value, target: Value, *, from_logits: bool = True) -> Value:
    """`dice` + `categorical_cross_entropy`, which nnU-Net showed to suit most organs.

    >>> import eddl
    >>> labels = eddl.Input((8, 8), dtype="int64")
    >>> eddl.losses.dice_cross_entropy(eddl.Input((5, 8, 8)), labels).shape
    ()
    """
    entropy = categorical_cross_entropy(prediction, target, from_logits=from_logits)
    return dice(prediction, target, from_logits=from_logits) + entropy


def mean_squared_error(prediction: Value, target: Value) -> Value:
    """The mean of (prediction - target)^2 over all elements.

    >>> import eddl
    >>> eddl.losses.mean_squared_error(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    if target.rank != prediction.rank:
        raise ShapeError(
            f"received a target {target.type} for the prediction {prediction.type}; expected equal "
            "shapes"
        )
    if target.dtype != prediction.dtype:
        target = apply("Cast", target, to=prediction.dtype)
    error = prediction - target
    return apply("ReduceMean", error * error, keepdims=0)


NAMED: dict[str, tuple[Loss, str | None]] = {
    "categorical_cross_entropy": (categorical_cross_entropy, "Softmax"),
    "dice": (dice, "Softmax"),
    "dice_cross_entropy": (dice_cross_entropy, "Softmax"),
    "mean_squared_error": (mean_squared_error, None),
}
"""Losses by name, each with the operator that turns the logits it takes into predictions."""


def get(loss: str | Loss) -> tuple[Loss, str | None]:
    """A loss by name with its activation; a function is taken as it is, without one.

    >>> get("dice")[1]
    'Softmax'
    """
    if not isinstance(loss, str):
        return loss, None
    if loss not in NAMED:
        raise AttributeValueError(
            f"received the loss {loss!r}, expected one of {sorted(NAMED)} or a function "
            "(prediction, target) -> scalar"
        )
    return NAMED[loss]
