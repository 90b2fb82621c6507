"""Losses of overlap between regions, for segmentation.

Each is 1 - the mean over classes of a score in [0, 1] whose sums run over all positions of the
batch, or of each sample with `per_sample=True`. As ratios of such sums they are no means over
positions: a loop that shares a batch out weighs the shares by their samples. The `binary_` forms
take one yes or no a channel, by a sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from eddl.errors import AttributeValueError
from eddl.graph import Value
from eddl.losses.classification import binary_cross_entropy, categorical_cross_entropy
from eddl.losses.parts import logits_of, one_hot, over, probabilities, yes_or_no
from eddl.ops.table import apply, integers

Sums = tuple[Value, Value, Value]
"""Sums over positions, one a class: of p target, of p and of target."""


def dice(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    include_background: bool = False,
    per_sample: bool = False,
    smooth: float = 1.0,
    ignore_label: int | None = None,
) -> Value:
    """1 - the mean over classes of (2 I + smooth) / (P + T + smooth).

    I is the sum of p_c target_c, P and T those of p_c and target_c. Class 0 is left out unless
    `include_background`; positions with `ignore_label` count nowhere. Source: Milletari et al. 2016
    (V-Net), without the squares.

    >>> import eddl
    >>> eddl.losses.dice(eddl.Input((5, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    sums = _by_softmax(prediction, target, from_logits, per_sample, ignore_label)
    return _loss(_dice_score(_check(smooth)), sums, include_background)


def binary_dice(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    per_sample: bool = False,
    smooth: float = 1.0,
    ignore_label: int | None = None,
) -> Value:
    """`dice` of one yes or no a channel, which may overlap; the mean is over all channels.

    >>> import eddl
    >>> eddl.losses.binary_dice(eddl.Input((1, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    sums = _by_sigmoid(prediction, target, from_logits, per_sample, ignore_label)
    return _loss(_dice_score(_check(smooth)), sums, True)


def dice_cross_entropy(
    prediction: Value, target: Value, *, from_logits: bool = True, ignore_label: int | None = None
) -> Value:
    """`dice` + `categorical_cross_entropy`, which nnU-Net showed to suit most organs.

    >>> import eddl
    >>> labels = eddl.Input((8, 8), dtype="int64")
    >>> eddl.losses.dice_cross_entropy(eddl.Input((5, 8, 8)), labels).shape
    ()
    """
    options: dict[str, Any] = {"from_logits": from_logits, "ignore_label": ignore_label}
    return dice(prediction, target, **options) + categorical_cross_entropy(
        prediction, target, **options
    )


def binary_dice_cross_entropy(
    prediction: Value, target: Value, *, from_logits: bool = True, ignore_label: int | None = None
) -> Value:
    """`binary_dice` + `binary_cross_entropy`.

    >>> import eddl
    >>> labels = eddl.Input((8, 8), dtype="int64")
    >>> eddl.losses.binary_dice_cross_entropy(eddl.Input((1, 8, 8)), labels).shape
    ()
    """
    options: dict[str, Any] = {"from_logits": from_logits, "ignore_label": ignore_label}
    return binary_dice(prediction, target, **options) + binary_cross_entropy(
        prediction, target, **options
    )


def generalised_dice(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    include_background: bool = True,
    per_sample: bool = False,
    smooth: float = 1e-5,
    ignore_label: int | None = None,
) -> Value:
    """1 - (2 sum_c w_c I_c + smooth) / (sum_c w_c (P_c + T_c) + smooth), w_c = 1 / T_c^2.

    Source: Sudre et al. 2017. A class without a position in the target takes the greatest weight of
    those that are there.

    >>> import eddl
    >>> eddl.losses.generalised_dice(eddl.Input((5, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    _check(smooth)
    sums = _by_softmax(prediction, target, from_logits, per_sample, ignore_label)
    both, predicted, true = (s if include_background else _foreground(s) for s in sums)
    there = apply("Greater", true, 0.0)
    size = apply("Where", there, true, 1.0)
    weight = apply("Where", there, 1.0 / (size * size), 0.0)
    axes = integers([weight.rank - 1])
    greatest = apply("ReduceMax", weight, axes, keepdims=1)
    weight = apply("Where", there, weight, greatest)

    def summed(value: Value) -> Value:
        return apply("ReduceSum", value, axes, keepdims=0)

    score = (2.0 * summed(weight * both) + smooth) / (summed(weight * (predicted + true)) + smooth)
    return 1.0 - apply("ReduceMean", score, keepdims=0)


def tversky(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    include_background: bool = False,
    per_sample: bool = False,
    smooth: float = 1.0,
    ignore_label: int | None = None,
) -> Value:
    """The mean over classes of (1 - (I + smooth) / (I + alpha F + beta M + smooth))^gamma.

    F = P - I is what was found and is not there, M = T - I what is there and was missed; with
    alpha = beta = 0.5 the score is Dice's. Source: Salehi et al. 2017; with gamma, the focal form
    of Abraham and Khan 2019 (their exponent is 1 / their gamma: 0.75).

    >>> import eddl
    >>> eddl.losses.tversky(eddl.Input((5, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    _check(smooth)
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0 and gamma > 0):
        raise AttributeValueError(
            f"tversky: received alpha={alpha}, beta={beta}, gamma={gamma}; expected weights of at "
            "least 0, not both 0, and gamma above 0"
        )

    def score(both: Value, predicted: Value, true: Value) -> Value:
        errors = alpha * (predicted - both) + beta * (true - both)
        return (both + smooth) / (both + errors + smooth)

    sums = _by_softmax(prediction, target, from_logits, per_sample, ignore_label)
    return _loss(score, sums, include_background, gamma)


def lovasz_softmax(
    prediction: Value,
    target: Value,
    *,
    from_logits: bool = True,
    per_sample: bool = False,
    ignore_label: int | None = None,
) -> Value:
    """The Lovasz extension of 1 - IoU of each class, averaged over the classes of the target.

    Source: Berman et al. 2018, equation 11. Parameters as `dice`; needs memory for a sort of all
    positions of each class.

    >>> import eddl
    >>> eddl.losses.lovasz_softmax(eddl.Input((5, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    share = probabilities(prediction, "Softmax", from_logits)
    truth = one_hot(target, share, ignore_label)
    counted = over(truth, [1], keepdims=1)
    errors = apply("Abs", truth - share)
    errors = apply("Where", apply("Greater", counted, 0.0), errors, -1.0)
    return _lovasz(errors, truth, per_sample, only_present=True)


def lovasz_hinge(
    prediction: Value, target: Value, *, per_sample: bool = False, ignore_label: int | None = None
) -> Value:
    """The Lovasz extension of 1 - IoU over the hinge errors of one yes or no a channel.

    Source: Berman et al. 2018, section 3.1. `prediction` holds logits.

    >>> import eddl
    >>> eddl.losses.lovasz_hinge(eddl.Input((1, 8, 8)), eddl.Input((8, 8), dtype="int64")).shape
    ()
    """
    scores, _ = logits_of(prediction, "Sigmoid", True)
    truth, weight = yes_or_no(target, scores, ignore_label)
    errors = 1.0 - scores * (2.0 * truth - 1.0)
    if weight is not None:
        errors = apply("Where", apply("Greater", weight, 0.0), errors, -1.0)
    return _lovasz(errors, truth, per_sample, only_present=False)


def _lovasz(errors: Value, truth: Value, per_sample: bool, *, only_present: bool) -> Value:
    """The mean over classes of sum_i relu(e_i) (J_i - J_(i-1)), errors sorted, greatest first.

    J_i is 1 - IoU where the i positions of the greatest errors are wrong; positions that are
    ignored come with an error below 0, and so last and with nothing.
    """
    order = [1, 0, *range(2, errors.rank)]
    shape = integers([0, 0, -1] if per_sample else [0, -1])

    def lines(value: Value) -> Value:
        value = value if per_sample else apply("Transpose", value, perm=tuple(order))
        return apply("Reshape", value, shape)

    flat = lines(errors)
    made = apply("Sort", flat, domain="eddl", axis=flat.rank - 1, descending=1).node
    assert made is not None
    errors, places = made.outputs
    truth = apply("GatherElements", lines(truth), places, axis=flat.rank - 1)
    last = integers([flat.rank - 1])

    def before(value: Value, exclusive: int) -> Value:
        axis = np.asarray(flat.rank - 1, np.int64)
        return apply("CumSum", value, axis, exclusive=exclusive)

    size = apply("ReduceSum", truth, last, keepdims=1)

    def jaccard(exclusive: int) -> Value:
        union = size + before(1.0 - truth, exclusive)
        both = size - before(truth, exclusive)
        empty = apply("Equal", union, 0.0)
        return 1.0 - apply("Where", empty, 1.0, both / apply("Where", empty, 1.0, union))

    steps = jaccard(0) - jaccard(1)
    each = apply("ReduceSum", apply("Relu", errors) * steps, last, keepdims=0)
    if not only_present:
        return apply("ReduceMean", each, keepdims=0)
    there = apply("Squeeze", apply("Cast", apply("Greater", size, 0.0), to=each.dtype), last)
    classes = [each.rank - 1]
    share = over(each * there, classes) / apply("Max", over(there, classes), 1.0)
    return apply("ReduceMean", share, keepdims=0)


def _by_softmax(
    prediction: Value, target: Value, from_logits: bool, per_sample: bool, ignore: int | None
) -> Sums:
    share = probabilities(prediction, "Softmax", from_logits)
    truth = one_hot(target, share, ignore)
    if ignore is not None or target.dtype.kind == "f":
        # A target that is all zero at a position ignores it: the prediction must not count there.
        counted = apply("Greater", over(truth, [1], keepdims=1), 0.0)
        share = apply("Where", counted, share, 0.0)
    return _sums(share, truth, per_sample)


def _by_sigmoid(
    prediction: Value, target: Value, from_logits: bool, per_sample: bool, ignore: int | None
) -> Sums:
    share = probabilities(prediction, "Sigmoid", from_logits)
    truth, weight = yes_or_no(target, share, ignore)
    return _sums(share if weight is None else share * weight, truth, per_sample)


def _sums(share: Value, truth: Value, per_sample: bool) -> Sums:
    axes = [axis for axis in range(share.rank) if axis != 1 and (axis or not per_sample)]

    def summed(value: Value) -> Value:
        return over(value, axes) if axes else value

    return summed(share * truth), summed(share), summed(truth)


def _dice_score(smooth: float) -> Callable[[Value, Value, Value], Value]:
    return lambda both, predicted, true: (2.0 * both + smooth) / (predicted + true + smooth)


def _loss(
    score: Callable[[Value, Value, Value], Value], sums: Sums, background: bool, gamma: float = 1.0
) -> Value:
    found = score(*(s if background else _foreground(s) for s in sums))
    if gamma == 1.0:
        return 1.0 - apply("ReduceMean", found, keepdims=0)
    # A score of exactly 1 must not make the slope of a root infinite.
    rest = apply("Max", 1.0 - found, 1e-12)
    return apply("ReduceMean", rest**gamma, keepdims=0)


def _foreground(value: Value) -> Value:
    start, end, axis = (integers([n]) for n in (1, np.iinfo(np.int64).max, value.rank - 1))
    return apply("Slice", value, start, end, axis)


def _check(smooth: float) -> float:
    if not smooth > 0:
        raise AttributeValueError(
            f"received smooth={smooth}, expected a number above 0: without it a class that is "
            "nowhere divides by zero"
        )
    return smooth
