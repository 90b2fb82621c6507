"""Losses of classes: cross-entropy in its forms, focal and hinge.

A categorical target is class indices [N, space...] when its type is integral, one-hot or soft
labels [N, C, space...] when floating; both give the same number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eddl.errors import AttributeValueError, ShapeError
from eddl.graph import Value
from eddl.losses.parts import (
    SMALL,
    Array,
    average,
    classes_of,
    logits_of,
    mean,
    one_hot,
    over,
    paired,
    total,
    wide,
    yes_or_no,
)
from eddl.ops.table import apply


def categorical_cross_entropy(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    class_weights: Sequence[float] | None = None,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
) -> Value:
    """The weighted mean over all positions of -sum_c target_c log p_c.

    Parameters: `prediction` [N, C, space...], logits, or probabilities with `from_logits=False`;
    `target`, class indices or soft labels; `class_weights`, a number a class, so that a position
    weighs sum_c weight_c target_c; `ignore_label`, the index of positions that count nowhere;
    `label_smoothing` e, which replaces target_c by (1 - e) target_c + e / C (Szegedy et al. 2016).

    >>> import eddl
    >>> eddl.losses.categorical_cross_entropy(eddl.Input((5,)), eddl.Input((), dtype="int64")).shape
    ()
    """
    scores, logits = logits_of(prediction, "Softmax", from_logits)
    truth = one_hot(target, scores, ignore_label)
    weighted = truth * _per_class(class_weights, scores) if class_weights is not None else truth
    count = total(weighted)
    _check_share("label_smoothing", label_smoothing)
    if label_smoothing:
        even = over(truth, [1], keepdims=1) * (label_smoothing / classes_of(scores))
        if class_weights is not None:
            even = even * _per_class(class_weights, scores)
        weighted = weighted * (1.0 - label_smoothing) + even
    return average(-total(weighted * _logarithms(scores, logits)), count)


def soft_cross_entropy(
    prediction: Value, target: Value, *, from_logits: bool = True, temperature: float = 1.0
) -> Value:
    """The mean over all positions of -sum_c target_c log softmax(prediction / temperature)_c.

    For targets that are distributions, such as another network's output; with a temperature as
    Hinton et al. 2015 distil. `prediction` [N, C, space...]; `target` floating, of its shape.

    >>> import eddl
    >>> eddl.losses.soft_cross_entropy(eddl.Input((5, 8)), eddl.Input((5, 8))).shape
    ()
    """
    scores, logits = logits_of(prediction, "Softmax", from_logits)
    if target.dtype.kind in "iu":
        raise ShapeError(
            f"soft_cross_entropy: received class indices {target.type}, expected a floating target "
            "of the prediction's shape; for indices take categorical_cross_entropy"
        )
    if not temperature > 0 or (temperature != 1.0 and not logits):
        raise AttributeValueError(
            f"soft_cross_entropy: received temperature={temperature}, expected a number above 0, "
            "and 1 where the prediction holds probabilities"
        )
    if temperature != 1.0:
        scores = scores / temperature
    truth = paired(target, scores)
    return mean(-over(truth * _logarithms(scores, logits), [1]))


def binary_cross_entropy(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    positive_weight: float | Sequence[float] = 1.0,
    ignore_label: int | None = None,
    label_smoothing: float = 0.0,
) -> Value:
    """The mean over all elements of -(w t log p + (1 - t) log(1 - p)).

    Parameters: `prediction`, logits of any shape, or probabilities with `from_logits=False`;
    `target`, 0 and 1 of the same shape (integral ones may lack a single channel's axis), or
    probabilities; `positive_weight` w, one number or one a channel; `ignore_label`, an integral
    label that counts nowhere; `label_smoothing` e, which replaces t by (1 - e) t + e / 2.
    Computed from logits as w t softplus(-x) + (1 - t) softplus(x), which neither overflows nor
    loses a small gradient.

    >>> import eddl
    >>> eddl.losses.binary_cross_entropy(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    scores, logits = logits_of(prediction, "Sigmoid", from_logits)
    truth, weight = yes_or_no(target, scores, ignore_label)
    _check_share("label_smoothing", label_smoothing)
    if isinstance(positive_weight, (int, float)):
        if not positive_weight > 0:
            raise AttributeValueError(
                f"binary_cross_entropy: received positive_weight={positive_weight}, expected a "
                "number above 0, or one a channel"
            )
        positive = np.asarray(positive_weight, scores.dtype)
    else:
        positive = _per_class(positive_weight, scores)
    if label_smoothing:
        truth = truth * (1.0 - label_smoothing) + label_smoothing / 2
    yes, no = _surprises(scores, logits)
    return mean(truth * positive * yes + (1.0 - truth) * no, weight)


def focal(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    gamma: float = 2.0,
    class_weights: Sequence[float] | None = None,
    ignore_label: int | None = None,
) -> Value:
    """The mean over all positions of -sum_c weight_c target_c (1 - p_c)^gamma log p_c.

    Source: Lin et al. 2017, equation 5, whose alpha is `class_weights`; the mean is over the
    positions that are not ignored, whatever their weights. Other parameters as
    `categorical_cross_entropy`.

    >>> import eddl
    >>> eddl.losses.focal(eddl.Input((5, 8)), eddl.Input((8,), dtype="int64")).shape
    ()
    """
    _check_gamma(gamma)
    scores, logits = logits_of(prediction, "Softmax", from_logits)
    truth = one_hot(target, scores, ignore_label)
    logarithms = _logarithms(scores, logits)
    loss = -(truth * _power(1.0 - apply("Exp", logarithms), gamma) * logarithms)
    if class_weights is not None:
        loss = loss * _per_class(class_weights, scores)
    return average(total(loss), total(truth))


def binary_focal(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    gamma: float = 2.0,
    alpha: float | None = None,
    ignore_label: int | None = None,
) -> Value:
    """The mean over all elements of the focal loss of yes or no.

    -(a t (1 - p)^gamma log p + (1 - a) (1 - t) p^gamma log(1 - p)); without `alpha` both weigh 1.
    Source: Lin et al. 2017, equation 5 (there alpha = 0.25). Other parameters as
    `binary_cross_entropy`.

    >>> import eddl
    >>> eddl.losses.binary_focal(eddl.Input((1, 8)), eddl.Input((8,), dtype="int64")).shape
    ()
    """
    _check_gamma(gamma)
    if alpha is not None:
        _check_share("alpha", alpha)
    scores, logits = logits_of(prediction, "Sigmoid", from_logits)
    truth, weight = yes_or_no(target, scores, ignore_label)
    yes, no = _surprises(scores, logits)
    positive = truth * _power(1.0 - apply("Exp", -yes), gamma) * yes
    negative = (1.0 - truth) * _power(1.0 - apply("Exp", -no), gamma) * no
    if alpha is not None:
        positive, negative = alpha * positive, (1.0 - alpha) * negative
    return mean(positive + negative, weight)


def hinge(prediction: Value, target: Value, *, margin: float = 1.0) -> Value:
    """The mean over all elements of max(0, margin - y prediction), y = -1 or 1.

    An integral target holds 0 and 1, which become -1 and 1; a floating one is taken as it is.

    >>> import eddl
    >>> eddl.losses.hinge(eddl.Input((5,)), eddl.Input((5,))).shape
    ()
    """
    scores = wide(prediction)
    truth, _ = yes_or_no(target, scores)
    if target.dtype.kind in "iub":
        truth = 2.0 * truth - 1.0
    return mean(apply("Relu", margin - truth * scores))


def categorical_hinge(
    prediction: Value, target: Value, *, margin: float = 1.0, ignore_label: int | None = None
) -> Value:
    """The mean over all positions of max(0, margin + the greatest other score - the true one).

    Source: Crammer and Singer 2001. `prediction` [N, C, space...]; `target`, class indices or
    one-hot.

    >>> import eddl
    >>> eddl.losses.categorical_hinge(eddl.Input((5,)), eddl.Input((), dtype="int64")).shape
    ()
    """
    scores = wide(prediction)
    truth = one_hot(target, scores, ignore_label)
    beyond = float(np.finfo(scores.dtype).max / 4)
    others = apply("Where", apply("Greater", truth, 0.0), -beyond, scores)
    axis = np.asarray([1], np.int64)
    best = apply("ReduceMax", others, axis, keepdims=0)
    counted = over(truth, [1])
    true = over(truth * scores, [1])
    return average(total(counted * apply("Relu", margin + best - true)), total(counted))


def _per_class(weights: Sequence[float], prediction: Value) -> Array:
    """Class weights as an array that broadcasts to the prediction."""
    given = np.asarray(weights, prediction.dtype)
    if given.shape != (classes_of(prediction),) or not (given >= 0).all() or not given.any():
        raise AttributeValueError(
            f"received the weights {list(weights)}, expected {classes_of(prediction)} numbers, "
            "one a class, none below 0 and not all 0"
        )
    return given.reshape(1, -1, *[1] * (prediction.rank - 2))


def _logarithms(scores: Value, logits: bool) -> Value:
    if logits:
        return apply("LogSoftmax", scores, axis=1)
    return apply("Log", apply("Max", scores, SMALL))


def _surprises(scores: Value, logits: bool) -> tuple[Value, Value]:
    """-log p and -log(1 - p)."""
    if logits:
        return apply("Softplus", -scores), apply("Softplus", scores)
    yes, no = (apply("Log", apply("Max", p, SMALL)) for p in (scores, 1.0 - scores))
    return -yes, -no


def _power(base: Value, gamma: float) -> Value:
    """base^gamma whose gradients are finite at 0, where rounding may take a base below."""
    if gamma == 0.0:
        return base * 0.0 + 1.0
    if gamma == 1.0:
        return base
    if gamma == 2.0:
        return base * base
    return apply("Pow", apply("Max", base, SMALL), gamma)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise AttributeValueError(f"received {name}={value}, expected a number in [0, 1)")


def _check_gamma(gamma: float) -> None:
    if not gamma >= 0:
        raise AttributeValueError(f"focal: received gamma={gamma}, expected at least 0")
