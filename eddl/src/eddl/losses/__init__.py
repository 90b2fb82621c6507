"""Losses: functions `(prediction, target) -> scalar` of symbolic tensors.

A loss given by name takes logits; options are bound with `functools.partial`. A network or a value
that ends in the softmax or sigmoid that a loss implies is recognised, and the loss reaches beneath
it. A categorical target is class indices [N, space...] when its type is integral, and one-hot or
soft labels [N, C, space...] when floating.

A mean over positions ends in `average`, by which a batch that is shared out is weighed right; all
else is weighed by the number of samples. `target_check` gives the rule that labels must obey.
"""

from __future__ import annotations

from functools import partial

from eddl.errors import AttributeValueError
from eddl.losses.classification import (
    binary_cross_entropy,
    binary_focal,
    categorical_cross_entropy,
    categorical_hinge,
    focal,
    hinge,
    soft_cross_entropy,
)
from eddl.losses.parts import Loss, average, one_hot, target_check
from eddl.losses.regions import (
    binary_dice,
    binary_dice_cross_entropy,
    dice,
    dice_cross_entropy,
    generalised_dice,
    lovasz_hinge,
    lovasz_softmax,
    tversky,
)
from eddl.losses.regression import (
    huber,
    mean_absolute_error,
    mean_relative_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)

__all__ = [
    "NAMED",
    "Loss",
    "average",
    "binary_cross_entropy",
    "binary_dice",
    "binary_dice_cross_entropy",
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_hinge",
    "dice",
    "dice_cross_entropy",
    "focal",
    "generalised_dice",
    "get",
    "hinge",
    "huber",
    "lovasz_hinge",
    "lovasz_softmax",
    "mean_absolute_error",
    "mean_relative_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "one_hot",
    "soft_cross_entropy",
    "target_check",
    "tversky",
]

NAMED: dict[str, tuple[Loss, str | None]] = {
    "categorical_cross_entropy": (categorical_cross_entropy, "Softmax"),
    "soft_cross_entropy": (soft_cross_entropy, "Softmax"),
    "binary_cross_entropy": (binary_cross_entropy, "Sigmoid"),
    "focal": (focal, "Softmax"),
    "binary_focal": (binary_focal, "Sigmoid"),
    "hinge": (hinge, None),
    "categorical_hinge": (categorical_hinge, None),
    "dice": (dice, "Softmax"),
    "binary_dice": (binary_dice, "Sigmoid"),
    "dice_cross_entropy": (dice_cross_entropy, "Softmax"),
    "binary_dice_cross_entropy": (binary_dice_cross_entropy, "Sigmoid"),
    "generalised_dice": (generalised_dice, "Softmax"),
    "tversky": (tversky, "Softmax"),
    "lovasz_softmax": (lovasz_softmax, "Softmax"),
    "lovasz_hinge": (lovasz_hinge, "Sigmoid"),
    "mean_squared_error": (mean_squared_error, None),
    "mean_absolute_error": (mean_absolute_error, None),
    "mean_relative_error": (mean_relative_error, None),
    "mean_squared_logarithmic_error": (mean_squared_logarithmic_error, None),
    "huber": (huber, None),
}
"""Losses by name, each with the operator that turns the logits it takes into predictions."""


def get(loss: str | Loss) -> tuple[Loss, str | None]:
    """A loss by name, or as it is, with the operator that its predictions end in.

    A function of this room is known, with options bound, too; another function has none.

    >>> get("dice")[1]
    'Softmax'
    >>> get(partial(dice, smooth=0.1))[1], get(partial(dice, from_logits=False))[1]
    ('Softmax', None)
    """
    if isinstance(loss, str):
        if loss not in NAMED:
            raise AttributeValueError(
                f"received the loss {loss!r}, expected one of {sorted(NAMED)} or a function "
                "(prediction, target) -> scalar"
            )
        return NAMED[loss]
    inner: object = loss
    options: dict[str, object] = {}
    while isinstance(inner, partial):
        options = {**inner.keywords, **options}
        inner = inner.func
    takes_logits = options.get("from_logits", True)
    return loss, next((a for f, a in NAMED.values() if f is inner and takes_logits), None)
