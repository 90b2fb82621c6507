"""Losses by name."""

from __future__ import annotations

from functools import partial

from eddl.errors import AttributeValueError
from eddl.losses import classification, pairs, regions, regression
from eddl.losses.parts import Loss

NAMED: dict[str, tuple[Loss, str | None]] = {
    "categorical_cross_entropy": (classification.categorical_cross_entropy, "Softmax"),
    "soft_cross_entropy": (classification.soft_cross_entropy, "Softmax"),
    "binary_cross_entropy": (classification.binary_cross_entropy, "Sigmoid"),
    "focal": (classification.focal, "Softmax"),
    "binary_focal": (classification.binary_focal, "Sigmoid"),
    "hinge": (classification.hinge, None),
    "categorical_hinge": (classification.categorical_hinge, None),
    "dice": (regions.dice, "Softmax"),
    "binary_dice": (regions.binary_dice, "Sigmoid"),
    "dice_cross_entropy": (regions.dice_cross_entropy, "Softmax"),
    "binary_dice_cross_entropy": (regions.binary_dice_cross_entropy, "Sigmoid"),
    "generalised_dice": (regions.generalised_dice, "Softmax"),
    "tversky": (regions.tversky, "Softmax"),
    "lovasz_softmax": (regions.lovasz_softmax, "Softmax"),
    "lovasz_hinge": (regions.lovasz_hinge, "Sigmoid"),
    "mean_squared_error": (regression.mean_squared_error, None),
    "mean_absolute_error": (regression.mean_absolute_error, None),
    "mean_relative_error": (regression.mean_relative_error, None),
    "mean_squared_logarithmic_error": (regression.mean_squared_logarithmic_error, None),
    "huber": (regression.huber, None),
    "contrastive": (pairs.contrastive, None),
    "triplet": (pairs.triplet, None),
}
"""Losses by name, each with the operator that turns the logits it takes into predictions."""


def get(loss: str | Loss) -> tuple[Loss, str | None]:
    """A loss by name, or as it is, with the operator that its predictions end in.

    A function of this room is known, with options bound, too; another one has the operator that its
    attribute `activation` names, or none.

    >>> from eddl.losses import dice
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
    known = (a for f, a in NAMED.values() if f is inner and takes_logits)
    return loss, next(known, getattr(inner, "activation", None))
